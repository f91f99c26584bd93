package oidc_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// startEtcd runs an embedded etcd until the test ends.
func startEtcd(t *testing.T) store.KV {
	t.Helper()
	now := time.Now()
	ca, err := pki.NewCA("test", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{CommonName: "gatehouse", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, Life: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := etcd.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	for path, text := range map[string][]byte{files.Cert: pair.CertPEM, files.Key: pair.KeyPEM, files.CA: ca.CertPEM()} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	srv, err := etcd.Start(t.Context(), etcd.ServerConfig{Dir: t.TempDir(), TLS: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	kv, err := etcd.Dial(srv.ClientConfig(files))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kv.Close() })
	return kv
}

// OA-01 and OA-25 over the database of the house, with its keys as they are in use.
func TestOnceMeansOnceOverEtcd(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, startEtcd(t), token.RS256)
	w.addReplica()
	tid := tenantA.ID.String()

	race := func(n int, ask func(i int) reply) []reply {
		var wg sync.WaitGroup
		replies := make([]reply, n)
		for i := range n {
			wg.Go(func() { replies[i] = ask(i) })
		}
		wg.Wait()
		return replies
	}
	code := w.code(authorizeQuery())
	won := 0
	for _, r := range race(50, func(i int) reply { return postTo(t, w.replicas[i%2], tokenPath(tid), redeem(code)) }) {
		switch {
		case r.Status == http.StatusOK:
			won++
		case r.Error != "invalid_grant" && r.Status != http.StatusServiceUnavailable:
			t.Errorf("a loser got %d %s", r.Status, r.Raw)
		}
	}
	if won != 1 {
		t.Errorf("%d of 50 redeemed one code", won)
	}
	old := w.post(tokenPath(tid), ropc()).Refresh
	successors := make(map[string]bool)
	for _, r := range race(20, func(i int) reply { return postTo(t, w.replicas[i%2], tokenPath(tid), refresh(az, old)) }) {
		if r.Status == http.StatusOK {
			successors[r.Refresh] = true
		} else if r.Status != http.StatusServiceUnavailable {
			t.Errorf("within the grace: %d %s", r.Status, r.Raw)
		}
	}
	if len(successors) != 1 {
		t.Errorf("one refresh token has %d successors", len(successors))
	}
	d := w.startDevice()
	w.approve(d)
	if r := w.post(tokenPath(tid), poll(d)); r.Access == "" {
		t.Errorf("%s", r.Raw)
	}
}
