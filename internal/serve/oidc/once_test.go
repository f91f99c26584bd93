package oidc_test

import (
	"crypto/elliptic"
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/token"
)

// malleated is the same token with the other ECDSA signature that anybody can make of
// the one that is there.
func malleated(t *testing.T, raw string) string {
	t.Helper()
	at := strings.LastIndexByte(raw, '.')
	sig, err := base64.RawURLEncoding.DecodeString(raw[at+1:])
	if err != nil || len(sig) != 64 {
		t.Fatal(len(sig), err)
	}
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	return raw[:at+1] + base64.RawURLEncoding.EncodeToString(sig)
}

// FED-19: where a tenant says so, an assertion is good once, at all replicas together.
func TestAnAssertionIsGoodOnceWhereATenantSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commit(workload, workloadCredential)
	kube, other := w.foreigner(token.ES256, clusterIssuer), "https://oidc.example/tenant/other/"
	elsewhere := w.foreigner(token.ES256, other)
	second := workloadCredential
	second.Name, second.Issuer = "other", other
	w.commit(second)
	ask := func(i int, raw string) reply {
		return postTo(t, w.replicas[i%len(w.replicas)], tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), raw))
	}
	want := func(law string, r reply, status int) {
		t.Helper()
		if r.Status != status || status == http.StatusUnauthorized && (r.Code != 700027 || !strings.Contains(r.Raw, "used before")) {
			t.Errorf("%s: %d %s", law, r.Status, r.Raw)
		}
	}

	before := kube.token(nil)
	want("without that, the first time", ask(0, before), http.StatusOK)
	want("and the second", ask(1, before), http.StatusOK)

	strict := tenantA
	strict.AssertionsOnce = true
	w.commit(strict)
	for _, tt := range []struct {
		law           string
		first, second string
	}{
		{"the same token again", kube.token(map[string]any{"jti": "1"}), ""},
		{"the same id in another token", kube.token(map[string]any{"jti": "2"}), kube.token(map[string]any{"jti": "2", "exp": time.Now().Unix() + 3000})},
		{"a token without an id", kube.token(map[string]any{"jti": nil, "nonce": "3"}), ""},
		{"its other signature", kube.token(map[string]any{"jti": nil, "nonce": "5"}), "malleated"},
		{"and with an id", kube.token(map[string]any{"jti": "6"}), "malleated"},
	} {
		switch tt.second {
		case "":
			tt.second = tt.first
		case "malleated":
			tt.second = malleated(t, tt.first)
		}
		want(tt.law+", at first", ask(0, tt.first), http.StatusOK)
		want(tt.law, ask(0, tt.second), http.StatusUnauthorized)
		want(tt.law+", at another replica", ask(1, tt.second), http.StatusUnauthorized)
	}
	want("the same id of another issuer", ask(0, elsewhere.token(map[string]any{"iss": other, "jti": "1"})), http.StatusOK)
	want("another token", ask(1, kube.token(nil)), http.StatusOK)
	if r := ask(0, kube.token(map[string]any{"jti": "7", "sub": account + "x"})); r.Code != 700213 {
		t.Errorf("a subject that no credential names: %d %s", r.Status, r.Raw)
	}
	want("which used up no id", ask(0, kube.token(map[string]any{"jti": "7"})), http.StatusOK)

	raw := kube.token(nil)
	var got atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if ask(i, raw).Status == http.StatusOK {
				got.Add(1)
			}
		})
	}
	all.Wait()
	if n := got.Load(); n != 1 {
		t.Errorf("of 20 who sent one assertion at once %d got a token", n)
	}
	late := kube.token(nil)
	want("long before its end", ask(0, late), http.StatusOK)
	w.clock.forward(59 * time.Minute)
	want("just before its end", ask(1, late), http.StatusUnauthorized)
	w.commit(tenantA)
	want("where a tenant says so no longer", ask(1, kube.token(map[string]any{"jti": "1"})), http.StatusOK)
}

// FED-21: where a tenant has clusters asked and nobody can ask them, nobody gets in.
func TestAnIssuerThatCannotAskClustersRefuses(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	asking := tenantA
	asking.AskClusters = true
	w.commit(asking)
	if r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), kube.token(nil))); r.Status != http.StatusServiceUnavailable || r.Access != "" {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
}
