package oidc_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A certificate is what a client signs assertions with.
type certificate struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

var sharedRSA = func() func(testing.TB) *rsa.PrivateKey {
	var cached atomic.Pointer[rsa.PrivateKey]
	return func(t testing.TB) *rsa.PrivateKey {
		if k := cached.Load(); k != nil {
			return k
		}
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		cached.Store(k)
		return k
	}
}()

func newCertificate(t testing.TB, now time.Time) certificate {
	t.Helper()
	key := sharedRSA(t)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "web"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate{key, cert}
}

func (c certificate) register(w *world) {
	w.t.Helper()
	added, err := issue.AddCertificate(web.AppID, c.cert.Raw, w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.private(added.Op)
}

// assertion signs as MSAL for Python does: RS256, padded x5t, fractional times.
// A nil claim is left out.
func (c certificate) assertion(w *world, edit map[string]any) string {
	w.t.Helper()
	now := float64(w.clock.Now().UnixMilli()) / 1000
	claims := map[string]any{
		"iss": web.AppID.String(), "sub": web.AppID.String(), "aud": authority + tokenPath(tenantA.ID.String()),
		"jti": token.NewID(), "iat": now + 0.25, "nbf": now, "exp": now + 600.5,
	}
	maps.Copy(claims, edit)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	sum := sha1.Sum(c.cert.Raw)
	return c.sign(w.t, map[string]any{"alg": "RS256", "typ": "JWT", "x5t": base64.URLEncoding.EncodeToString(sum[:])}, claims)
}

// goAssertion signs as MSAL for Go does: PS256, x5t#S256 in standard base64, x5c.
func (c certificate) goAssertion(w *world) string {
	now := w.clock.Now().Unix()
	sum := sha256.Sum256(c.cert.Raw)
	return c.sign(w.t, map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.StdEncoding.EncodeToString(sum[:]), "x5c": []string{base64.StdEncoding.EncodeToString(c.cert.Raw)}},
		map[string]any{"iss": web.AppID.String(), "sub": web.AppID.String(), "aud": authority + tokenPath(tenantA.ID.String()), "jti": token.NewID(), "nbf": now, "exp": now + 600})
}

func (c certificate) sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	var parts string
	for i, v := range []any{header, claims} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			parts += "."
		}
		parts += base64.RawURLEncoding.EncodeToString(text)
	}
	sum := sha256.Sum256([]byte(parts))
	var sig []byte
	var err error
	if header["alg"] == "PS256" {
		sig, err = rsa.SignPSS(rand.Reader, c.key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		sig, err = rsa.SignPKCS1v15(rand.Reader, c.key, crypto.SHA256, sum[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return parts + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func certificateForm(assertion string, pairs ...string) url.Values {
	return with(form("grant_type", "client_credentials", "client_id", web.AppID.String(), "scope", aks+"/.default",
		"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion), pairs...)
}

// OA-36, OA-38.
func TestClientAssertions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, unregistered := newCertificate(t, w.clock.Now()), newCertificate(t, w.clock.Now())
	c.register(w)
	now := float64(w.clock.Now().Unix())
	tid := tenantA.ID.String()
	for _, tt := range []struct {
		name   string
		form   url.Values
		status int
		code   int
	}{
		{"as az signs", certificateForm(c.assertion(w, nil)), 200, 0},
		{"as kubelogin signs", certificateForm(c.goAssertion(w)), 200, 0},
		{"for the endpoint of another tenant", certificateForm(c.assertion(w, map[string]any{"aud": authority + tokenPath(tenantB.ID.String())})), 401, 700023},
		{"for another endpoint", certificateForm(c.assertion(w, map[string]any{"aud": authority + "/" + tid + "/oauth2/v2.0/devicecode"})), 401, 700023},
		{"for the version 1.0 endpoint", certificateForm(c.assertion(w, map[string]any{"aud": authority + "/" + tid + "/oauth2/token"})), 401, 700023},
		{"for another host", certificateForm(c.assertion(w, map[string]any{"aud": "https://evil.example" + tokenPath(tid)})), 401, 700023},
		{"without an audience", certificateForm(c.assertion(w, map[string]any{"aud": nil})), 401, 700023},
		{"subject of another client", certificateForm(c.assertion(w, map[string]any{"sub": native.AppID.String()})), 401, 700021},
		{"without a subject", certificateForm(c.assertion(w, map[string]any{"sub": nil})), 401, 700021},
		{"without an issuer", certificateForm(c.assertion(w, map[string]any{"iss": nil})), 401, 700021},
		{"without an end", certificateForm(c.assertion(w, map[string]any{"exp": nil})), 401, 700024},
		{"expired", certificateForm(c.assertion(w, map[string]any{"exp": now - 1, "iat": now - 100, "nbf": now - 100})), 401, 700024},
		{"with an end in 20 minutes", certificateForm(c.assertion(w, map[string]any{"exp": now + 1200})), 401, 700024},
		{"not valid yet", certificateForm(c.assertion(w, map[string]any{"nbf": now + 300})), 401, 700024},
		{"without an id", certificateForm(c.assertion(w, map[string]any{"jti": nil})), 401, 50027},
		{"by a certificate that is not registered", certificateForm(unregistered.assertion(w, nil)), 401, 700027},
		{"not a token", certificateForm("a.b.c"), 401, 50027},
		{"of another type", certificateForm(c.assertion(w, nil), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), 400, 900144},
		{"without a type", certificateForm(c.assertion(w, nil), "client_assertion_type", ""), 400, 900144},
		{"federated: of another issuer", certificateForm(c.assertion(w, map[string]any{"iss": "https://oidc.cluster.example", "sub": "system:serviceaccount:a:b"})), 401, 70025},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := postTo(t, w.server, tokenPath(tid), tt.form)
			if r.Status != tt.status || r.Code != tt.code {
				t.Fatalf("got %d %d, want %d %d: %s", r.Status, r.Code, tt.status, tt.code, r.Raw)
			}
			if tt.status == 200 {
				if got := w.verify(r.Access, aks).AppAuth; got != "2" {
					t.Errorf("appidacr = %q", got)
				}
			}
		})
	}
	t.Run("OA-38: x5t#S256 of another certificate", func(t *testing.T) {
		sum := sha256.Sum256(unregistered.cert.Raw)
		short := sha1.Sum(c.cert.Raw)
		raw := c.sign(t, map[string]any{"alg": "RS256", "x5t": base64.RawURLEncoding.EncodeToString(short[:]), "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
			map[string]any{"iss": web.AppID.String(), "sub": web.AppID.String(), "aud": authority + tokenPath(tid), "jti": "j", "exp": now + 300})
		if r := w.post(tokenPath(tid), certificateForm(raw)); r.Code != 700027 {
			t.Errorf("%s", r.Raw)
		}
	})
	t.Run("OA-38: a certificate that was removed", func(t *testing.T) {
		w.private(issue.RemoveCertificate(web.AppID, c.cert))
		if r := w.post(tokenPath(tid), certificateForm(c.assertion(w, nil))); r.Code != 700027 {
			t.Errorf("%s", r.Raw)
		}
	})
	t.Run("OA-38: a certificate that expired", func(t *testing.T) {
		w := newWorld(t)
		c := newCertificate(t, w.clock.Now())
		c.register(w)
		w.clock.forward(25 * time.Hour)
		if r := w.post(tokenPath(tid), certificateForm(c.assertion(w, nil))); r.Status != 401 {
			t.Errorf("%s", r.Raw)
		}
	})
}

// OA-37.
func TestAnAssertionIsGoodOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addReplica()
	c := newCertificate(t, w.clock.Now())
	c.register(w)
	raw := c.assertion(w, nil)
	path := tokenPath(tenantA.ID.String())
	if r := w.post(path, certificateForm(raw)); r.Status != 200 {
		t.Fatal(r.Raw)
	}
	// The same replica, another one, and one that was started since.
	w.addReplica()
	for i, s := range w.replicas {
		if r := postTo(t, s, path, certificateForm(raw)); r.Code != 700027 {
			t.Errorf("replica %d: %d %s", i, r.Status, r.Raw)
		}
	}
	w.clock.forward(9 * time.Minute)
	if r := w.post(path, certificateForm(raw)); r.Code != 700027 {
		t.Errorf("just before its end: %s", r.Raw)
	}
}
