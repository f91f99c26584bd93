package cluster_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
)

const controllerLists = "/api/v1/nodes" // which the controller manager does all the time

// A program of the control plane reads its files for each connection and never
// fails while the authority changes; who has a certificate of before does.
func TestTheAuthorityChangesUnderWay(t *testing.T) { // LA-05
	t.Parallel()
	s := newStub(t)
	s.says(map[string]any{"allowed": false})
	conf := config(t, s)
	c := start(t, conf)
	old, oldCA := must(c.IssueLocalAdmin(anna, time.Hour)), string(c.CA())
	mirrored := must(c.IssueMirror(time.Hour))
	as(t, c, "", must(old.Pair.TLS())).want(t, secrets, http.StatusOK)
	pids := c.Processes()

	ctx, cancel := context.WithCancel(t.Context())
	var asked, failed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			asked.Add(1)
			if err := asController(c); err != nil {
				failed.Add(1)
				t.Errorf("as the controller manager: %v", err)
				return
			}
		}
	}()
	handed, times := 0, 0
	begin := time.Now()
	var err error
	// One is over within a few requests.
	for err == nil && (times == 0 || asked.Load() < 20) {
		times++
		mirrored = must(c.IssueMirror(time.Hour))
		err = c.RotateAuthority(t.Context(), func() error {
			handed++
			// Both are good at this point: the mirror changes over without a gap.
			for what, pair := range map[string]tls.Certificate{"old": must(mirrored.TLS()), "new": must(must(c.IssueMirror(time.Hour)).TLS())} {
				if code, body, _ := as(t, c, "", pair).get(t, "/apis/rbac.authorization.k8s.io/v1/roles"); code != http.StatusOK {
					t.Errorf("the mirror with its %s certificate: %d %s", what, code, body)
				}
			}
			return nil
		})
	}
	took := time.Since(begin)
	cancel()
	<-done
	if err != nil || handed != times {
		t.Fatalf("rotate: %v, handed over %d of %d times", err, handed, times)
	}
	t.Logf("rotated %d times in %.1f s; %d requests of the controller manager, %d failed", times, took.Seconds(), asked.Load(), failed.Load())
	if now := c.Processes(); now[0] != pids[0] || now[1] == pids[1] {
		t.Errorf("processes %v, before %v: the API server goes on, and the controller manager begins anew", now, pids)
	}
	if string(c.CA()) == oldCA || strings.Count(string(c.CA()), "BEGIN CERTIFICATE") != 1 {
		t.Errorf("the authority is now %s", c.CA())
	}
	as(t, c, "", must(old.Pair.TLS())).want(t, secrets, http.StatusUnauthorized)
	as(t, c, "", must(mirrored.TLS())).want(t, secrets, http.StatusUnauthorized)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(oldCA))
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	if _, err := trusting.Get(c.Server() + "/readyz"); err == nil || !strings.Contains(err.Error(), "x509: ") {
		t.Errorf("an old kubeconfig still trusts the server: %v", err)
	}
	fresh := must(c.IssueLocalAdmin(anna, time.Hour))
	if c.IssuedLocalAdmin(old.Pair.CertPEM) || !c.IssuedLocalAdmin(fresh.Pair.CertPEM) {
		t.Error("the old certificate counts as one of the new authority, or the new one does not")
	}
	as(t, c, "", must(fresh.Pair.TLS())).want(t, secrets, http.StatusOK)

	c.Stop()
	again := start(t, conf)
	if string(again.CA()) != string(c.CA()) {
		t.Error("a restart brings another authority")
	}
	as(t, again, "", must(fresh.Pair.TLS())).want(t, secrets, http.StatusOK)
}

// asController asks once as the controller manager does, by its files.
func asController(c *cluster.Cluster) error {
	pki := func(name string) string { return filepath.Join(c.Dir(), "pki", name) }
	bundle, err := os.ReadFile(pki("ca-bundle.crt"))
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(pki("controller-manager.crt"), pki("controller-manager.key"))
	if err != nil {
		return nil // between the two files: a program reads them again
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Get(c.Server() + controllerLists)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s", res.StatusCode, body)
	}
	return nil
}

// A house that is killed while the authority changes finds one authority again.
func TestAnInterruptedRotationIsFinished(t *testing.T) {
	t.Parallel()
	conf := fake(t, "exit 1")
	cluster.Start(t.Context(), conf) // fails, and has made its files
	pki := func(name string) string { return filepath.Join(conf.Dir, "pki", name) }
	read := func(name string) string { return string(must(os.ReadFile(pki(name)))) }
	other := fake(t, "exit 1")
	cluster.Start(t.Context(), other)
	for _, at := range []string{"before", "after the old key is gone", "after the new certificate is there"} {
		nextCert := must(os.ReadFile(filepath.Join(other.Dir, "pki", "ca.crt")))
		nextKey := must(os.ReadFile(filepath.Join(other.Dir, "pki", "ca.key")))
		put := func(name string, data []byte) {
			if err := os.WriteFile(pki(name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("ca-next.crt", nextCert)
		put("ca-next.key", nextKey)
		switch at {
		case "after the new certificate is there":
			put("ca.crt", nextCert)
			fallthrough
		case "after the old key is gone":
			os.Remove(pki("ca.key"))
		}
		cluster.Start(t.Context(), conf)
		if read("ca.crt") != string(nextCert) || read("ca.key") != string(nextKey) || read("ca-bundle.crt") != string(nextCert) {
			t.Errorf("%s: the authority is not the new one", at)
		}
		if _, err := os.Stat(pki("ca-next.key")); !os.IsNotExist(err) {
			t.Errorf("%s: the new authority is still waiting", at)
		}
	}
}

// token returns a token of a service account, the key that signed it, and its issuer.
func token(t *testing.T, c caller) (raw, kid, iss string) {
	t.Helper()
	var out struct{ Status struct{ Token string } }
	eventually(t, patience, "the service account is there", func() bool {
		req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, c.server+"/api/v1/namespaces/default/serviceaccounts/default/token",
			strings.NewReader(`{"spec":{"expirationSeconds":999999}}`)))
		req.Header.Set("Content-Type", "application/json")
		res, err := c.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusCreated && json.NewDecoder(res.Body).Decode(&out) == nil
	})
	parts := strings.Split(out.Status.Token, ".")
	var head struct{ Kid string }
	var body struct {
		Iss      string
		Exp, Iat int64
	}
	if json.Unmarshal(must(base64.RawURLEncoding.DecodeString(parts[0])), &head) != nil || json.Unmarshal(must(base64.RawURLEncoding.DecodeString(parts[1])), &body) != nil {
		t.Fatalf("token %s", out.Status.Token)
	}
	if life := body.Exp - body.Iat; life > 86400 {
		t.Errorf("a token lives for %d s, and its key is retired after a day", life)
	}
	return out.Status.Token, head.Kid, body.Iss
}

// Tokens of the key and of the issuer of before are good while they are named, and
// no longer.
func TestServiceAccountTokensOverARotation(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.says(map[string]any{"allowed": false})
	conf := config(t, s)
	c := start(t, conf)
	server := c.Server()
	admin := func() caller { return as(t, c, "", must(must(c.IssueLocalAdmin(anna, time.Hour)).Pair.TLS())) }
	good := func(what, raw string, want int) {
		t.Helper()
		if got, body, _ := as(t, c, raw).get(t, "/api/v1/namespaces/default/pods"); got != want {
			t.Errorf("%s: %d, want %d: %s", what, got, want, body)
		}
	}
	first, kid1, iss := token(t, admin())
	if iss != server {
		t.Errorf("without an issuer of its own, tokens come from %s", iss)
	}
	good("a fresh token", first, http.StatusForbidden) // known, and may nothing

	c.Stop()
	conf.ServiceAccountIssuer = "https://eastus.oic.prod-aks.azure.com/t/g/"
	c = start(t, conf)
	second, kid2, iss := token(t, admin())
	if iss != conf.ServiceAccountIssuer || kid1 != kid2 {
		t.Errorf("issuer %s, kid %s and %s", iss, kid1, kid2)
	}
	good("a token of before the issuer was switched on", first, http.StatusForbidden)
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal([]byte(admin().want(t, "/.well-known/openid-configuration", http.StatusOK)), &doc); err != nil || doc.Issuer != iss || doc.JWKS != iss+"openid/v1/jwks" {
		t.Errorf("the document of the API server says %+v %v", doc, err)
	}

	old := string(must(c.ServiceAccountKey()))
	if err := c.RotateSigningKey(); err != nil {
		t.Fatal(err)
	}
	c.Stop()
	conf.RetiredKeys = []string{old}
	c = start(t, conf)
	third, kid3, _ := token(t, admin())
	if kid3 == kid2 || string(must(c.ServiceAccountKey())) == old {
		t.Error("the key that signs is the old one")
	}
	good("a token of the old key", second, http.StatusForbidden)
	good("a token of the new key", third, http.StatusForbidden)

	c.Stop()
	conf.RetiredKeys = nil
	c = start(t, conf)
	good("a token of a key that was dropped", second, http.StatusUnauthorized)
	good("a token of the key that signs", third, http.StatusForbidden)
}

func TestLocalAdministratorsAreSwitchedOffAtAStart(t *testing.T) { // LA-02, LA-08
	t.Parallel()
	s := newStub(t)
	s.says(map[string]any{"allowed": false})
	conf := config(t, s)
	c := start(t, conf)
	old := must(c.IssueLocalAdmin(anna, time.Hour))
	c.Stop()
	conf.NoLocalAdmins = true
	c = start(t, conf)
	as(t, c, "", must(old.Pair.TLS())).want(t, secrets, http.StatusUnauthorized)
	if _, err := c.IssueLocalAdmin(anna, time.Hour); err == nil || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("a certificate is issued: %v", err)
	}
	c.Stop()
	conf.NoLocalAdmins = false
	c = start(t, conf)
	as(t, c, "", must(old.Pair.TLS())).want(t, secrets, http.StatusUnauthorized)
	as(t, c, "", must(must(c.IssueLocalAdmin(anna, time.Hour)).Pair.TLS())).want(t, secrets, http.StatusOK)
}

func TestADirectoryIsOfOneCluster(t *testing.T) { // AZ-20
	t.Parallel()
	conf := fake(t, "exit 1")
	conf.UID = "11111111-0000-4000-8000-000000000001"
	cluster.Start(t.Context(), conf)
	if m := must(cluster.Remember(conf.Dir)); m.UID != conf.UID {
		t.Errorf("it remembers %+v", m)
	}
	conf.UID = "11111111-0000-4000-8000-000000000002"
	if _, err := cluster.Start(t.Context(), conf); err == nil || !strings.Contains(err.Error(), "earlier cluster") {
		t.Errorf("another cluster at the same scope takes the directory over: %v", err)
	}
}
