package authn_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A holder has a key that its tokens are bound to.
type holder struct {
	t    testing.TB
	key  *rsa.PrivateKey
	kid  string
	e, n string
}

func newHolder(t testing.TB) holder {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	e, n := b64(big.NewInt(int64(key.E)).Bytes()), b64(key.N.Bytes())
	sum := sha256.Sum256([]byte(`{"e":"` + e + `","kty":"RSA","n":"` + n + `"}`))
	return holder{t, key, b64(sum[:]), e, n}
}

// request signs an access token for a place.
func (h holder) request(at, host, nonce string, ts time.Time) string {
	h.t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	body, err := json.Marshal(map[string]any{"at": at, "ts": ts.Unix(), "u": host, "nonce": nonce,
		"cnf": map[string]any{"jwk": map[string]any{"kty": "RSA", "e": h.e, "n": h.n, "alg": "RS256", "kid": h.kid}}})
	if err != nil {
		h.t.Fatal(err)
	}
	signed := b64([]byte(`{"typ":"pop","alg":"RS256","kid":"`+h.kid+`"}`)) + "." + b64(body)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, h.key, crypto.SHA256, sum[:])
	if err != nil {
		h.t.Fatal(err)
	}
	return signed + "." + b64(sig)
}

// JWT-32: a token that is bound to a key opens the cluster that its holder signed
// for, and nothing without him.
func TestBoundTokens(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	h, thief := newHolder(t), newHolder(t)
	c := claims(servetest.Faye)
	c.KeyID = h.kid
	at, now := k.sign(k.access, c), time.Now()
	aks1, aks2 := servetest.AKS1.String(), servetest.AKS2.String()
	first := h.request(at, aks1, "n1", now)
	for _, tt := range []struct {
		law string
		at  scope.Scope
		raw string
		yes bool
	}{
		{"the cluster's resource id", servetest.AKS1, first, true},
		{"the same with the next request of a command", servetest.AKS1, first, true},
		{"in capitals, with another nonce", servetest.AKS1, h.request(at, strings.ToUpper(aks1), "n2", now), true},
		{"the nonce in another request", servetest.AKS1, h.request(at, aks1, "n1", now.Add(-time.Second)), false},
		{"and again the first", servetest.AKS1, first, true},
		{"at another cluster", servetest.AKS2, first, false},
		{"for another cluster", servetest.AKS1, h.request(at, aks2, "n3", now), false},
		{"for that cluster", servetest.AKS2, h.request(at, aks2, "n3", now), true},
		{"old", servetest.AKS1, h.request(at, aks1, "n4", now.Add(-16*time.Minute)), false},
		{"of the future", servetest.AKS1, h.request(at, aks1, "n5", now.Add(5*time.Minute)), false},
		{"by a thief", servetest.AKS1, thief.request(at, aks1, "n6", now), false},
		{"without its request", servetest.AKS1, at, false},
		{"a bearer token in a request", servetest.AKS1, h.request(k.sign(k.access, claims(servetest.Faye)), aks1, "n7", now), false},
		{"somebody who is disabled", servetest.AKS1, h.request(k.sign(k.access, bound(claims(servetest.Spike), h)), aks1, "n8", now), false},
		{"an id token", servetest.AKS1, h.request(k.sign(k.id, idToken(claims(servetest.Faye))), aks1, "n9", now), false},
	} {
		got := k.ask(tt.at, tt.raw)
		if got.Authenticated != tt.yes || tt.yes && got.User.Username != "faye@teknews.cloud" {
			t.Errorf("%s: %+v", tt.law, got)
		}
	}
	k.live = func(token.Claims) (bool, error) { return false, nil }
	if got := k.ask(servetest.AKS1, first); got.Authenticated {
		t.Errorf("of a sign-in that was ended: %+v", got)
	}
}

func bound(c token.Claims, h holder) token.Claims {
	c.KeyID = h.kid
	return c
}

func idToken(c token.Claims) token.Claims {
	c.Use, c.AppID, c.AppAuth = token.IDToken, [16]byte{}, ""
	return c
}
