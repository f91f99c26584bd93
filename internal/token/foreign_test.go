package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/token"
)

const (
	clusterIssuer = "https://oidc.example/tenant/cluster/"
	account       = "system:serviceaccount:web:frontend"
	exchange      = "api://AzureADTokenExchange"
)

// doc is a key document of another issuer, as go-jose writes it.
func doc(t testing.TB, keys ...any) []byte {
	t.Helper()
	text, err := json.Marshal(object{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parseJWKS(t testing.TB, keys ...any) token.ForeignKeys {
	t.Helper()
	set, skipped, err := token.ParseJWKS(doc(t, keys...))
	if err != nil || len(skipped) != 0 {
		t.Fatalf("ParseJWKS: %v, skipped %v", err, skipped)
	}
	return set
}

func TestVerifyForeign(t *testing.T) {
	t.Parallel()
	w := theWorld()
	evil, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := parseJWKS(t,
		jose.JSONWebKey{Key: evil.Public(), KeyID: w.es.ID, Use: "sig"}, // JWT-24: two keys with one kid
		jose.JSONWebKey{Key: w.es.Public, KeyID: w.es.ID, Use: "sig"},
		jose.JSONWebKey{Key: w.rsa.Public, KeyID: w.rsa.ID, Algorithm: "RS256"},
		jose.JSONWebKey{Key: w.id.Public}, // JWT-24: and one without
	)
	wants := []token.ForeignWant{
		{},
		{Issuer: clusterIssuer, Subject: "system:serviceaccount:web:other", Audiences: []string{"y"}},
		{Issuer: clusterIssuer, Subject: account, Audiences: []string{"x", exchange}},
		{Issuer: clusterIssuer, Subject: "repo:a/b:environment:far east", Audiences: []string{exchange}},
	}
	unix := now.Unix()
	body := func(change object) []byte {
		return edit(fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":[%q],"iat":%d,"nbf":%d,"exp":%d,"jti":"j","kubernetes.io":{"namespace":"web"}}`,
			clusterIssuer, account, exchange, unix, unix, unix+3600), change)
	}
	kube := func(k token.SigningKey) []byte { return header(k, object{"typ": nil}) } // kube-apiserver writes no typ
	for _, tt := range []struct {
		law  string
		raw  string
		want error
	}{
		{"a service account's token", forge(w.rsa, kube(w.rsa), body(nil)), nil},
		{"one audience in text", forge(w.rsa, header(w.rsa, nil), body(object{"aud": exchange})), nil},
		{"JWT-24: the second of two keys with one kid", forge(w.es, kube(w.es), body(nil)), nil},
		{"JWT-24: a key without kid", forge(w.id, header(w.id, object{"kid": nil}), body(nil)), nil},
		{"no dates but the end", forge(w.rsa, kube(w.rsa), body(object{"iat": nil, "nbf": nil, "jti": nil})), nil},
		{"JWT-17: ten years", forge(w.rsa, kube(w.rsa), body(object{"exp": now.AddDate(10, 0, 0).Unix()})), token.ErrExpired},
		{"JWT-17: ten years, without iat", forge(w.rsa, kube(w.rsa), body(object{"exp": now.AddDate(10, 0, 0).Unix(), "iat": nil})), token.ErrExpired},
		{"JWT-17: the last day of ten years", forge(w.rsa, kube(w.rsa), body(object{"iat": now.AddDate(-10, 0, 0).Unix()})), token.ErrExpired},
		{"no end", forge(w.rsa, kube(w.rsa), body(object{"exp": nil})), token.ErrExpired},
		{"expired", forge(w.rsa, kube(w.rsa), body(object{"exp": unix})), token.ErrExpired},
		{"another issuer", forge(w.rsa, kube(w.rsa), body(object{"iss": strings.TrimSuffix(clusterIssuer, "/")})), token.ErrIssuer},
		{"another subject", forge(w.rsa, kube(w.rsa), body(object{"sub": account + "2"})), token.ErrSubject},
		{"another want's audience", forge(w.rsa, kube(w.rsa), body(object{"aud": "y"})), token.ErrAudience},
		{"a subject with a blank, as GitHub's environments have", forge(w.rsa, kube(w.rsa), body(object{"sub": wants[3].Subject})), nil},
		{"a blank at the end of the subject", forge(w.rsa, kube(w.rsa), body(object{"sub": account + " "})), token.ErrMalformed},
		{"a subject of 600 bytes", forge(w.rsa, kube(w.rsa), body(object{"sub": strings.Repeat("s", 600)})), token.ErrSubject},
		{"a subject of 601 bytes", forge(w.rsa, kube(w.rsa), body(object{"sub": strings.Repeat("s", 601)})), token.ErrMalformed},
		{"FED-02: a homoglyph in the subject", forge(w.rsa, kube(w.rsa), body(object{"sub": "system:serviceаccount:web:frontend"})), token.ErrMalformed},
		{"FED-02: a wildcard in the subject", forge(w.rsa, kube(w.rsa), body(object{"sub": "system:serviceaccount:web:*"})), token.ErrSubject},
		{"a subject in capitals", forge(w.rsa, kube(w.rsa), body(object{"sub": strings.ToUpper(account)})), token.ErrSubjectCase},
		{"no subject", forge(w.rsa, kube(w.rsa), body(object{"sub": nil})), token.ErrSubject},
		{"another audience", forge(w.rsa, kube(w.rsa), body(object{"aud": "api://other"})), token.ErrAudience},
		{"JWT-13: ours among others", forge(w.rsa, kube(w.rsa), body(object{"aud": []string{exchange, "y"}})), token.ErrAudiences},
		{"no audience", forge(w.rsa, kube(w.rsa), body(object{"aud": nil})), token.ErrAudience},
		{"JWT-18: SUB", forge(w.rsa, kube(w.rsa), body(object{"SUB": "x"})), token.ErrMalformed},
		{"JWT-26: another algorithm", forge(w.rsa, header(w.rsa, object{"alg": "PS256"}), body(nil)), token.ErrKey},
		{"JWT-01: none", forge(w.rsa, header(w.rsa, object{"alg": "none"}), body(nil)), token.ErrKey},
		{"no kid where no key of its algorithm lacks one", forge(w.rsa, header(w.rsa, object{"kid": nil}), body(nil)), token.ErrKey},
		{"unknown kid", forge(w.foreign, header(w.foreign, nil), body(nil)), token.ErrKey},
		{"another key's signature", forge(w.foreign, header(w.es, nil), body(nil)), token.ErrSignature},
		{"a logout token", forge(w.rsa, header(w.rsa, object{"typ": "logout+jwt"}), body(nil)), token.ErrMalformed},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := token.VerifyForeign(tt.raw, keys, wants, now)
			if tt.want != nil {
				mustRefuse(t, got, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Issuer != clusterIssuer || got.Subject != wants[got.Fits].Subject || got.Audience != exchange || !got.Expires.After(now) {
				t.Errorf("foreign = %+v", got)
			}
		})
	}
	good := forge(w.rsa, kube(w.rsa), body(nil))
	for _, empty := range []token.ForeignWant{{}, {Issuer: clusterIssuer}, {Issuer: clusterIssuer, Subject: account}} {
		got, err := token.VerifyForeign(good, keys, []token.ForeignWant{empty}, now)
		mustRefuse(t, got, err, token.ErrInvalid)
	}
	peeked, err := token.Peek(good)
	if diff := cmp.Diff(token.Unverified{Issuer: clusterIssuer, Subject: account, Audience: exchange, KeyID: w.rsa.ID}, peeked); diff != "" || err != nil {
		t.Errorf("Peek: %v (-want +got):\n%s", err, diff)
	}
}

func TestForeignKeysAreTriedTenTimesAtMost(t *testing.T) { // JWT-24
	t.Parallel()
	w := theWorld()
	var keys []any
	for range 10 {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, jose.JSONWebKey{Key: k.Public(), KeyID: "k"})
	}
	raw := forge(w.es, header(w.es, object{"kid": "k"}), payload(nil))
	got, err := token.VerifyForeign(raw, parseJWKS(t, append(keys, jose.JSONWebKey{Key: w.es.Public, KeyID: "k"})...), []token.ForeignWant{{}}, now)
	mustRefuse(t, got, err, token.ErrSignature)
	got, err = token.VerifyForeign(raw, parseJWKS(t, append(keys[1:], jose.JSONWebKey{Key: w.es.Public, KeyID: "k"})...), []token.ForeignWant{{}}, now)
	mustRefuse(t, got, err, token.ErrIssuer)
}

func TestParseJWKSSkips(t *testing.T) { // JWT-23
	t.Parallel()
	w := theWorld()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(jose.JSONWebKey{Key: w.rsa.Public, KeyID: "good", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	change := func(change object) json.RawMessage { return edit(raw, change) }
	for law, key := range map[string]any{
		"symmetric":           jose.JSONWebKey{Key: []byte("0123456789abcdef")},
		"private":             jose.JSONWebKey{Key: private(w.rsa)},
		"private EC":          jose.JSONWebKey{Key: private(w.es)},
		"P-384":               jose.JSONWebKey{Key: p384.Public()},
		"for encryption":      change(object{"use": "enc"}),
		"to encrypt":          change(object{"key_ops": []string{"encrypt"}}),
		"RSA-1024":            change(object{"n": b64(bytes.Repeat([]byte{255}, 128))}),
		"RSA-65536":           change(object{"n": b64(bytes.Repeat([]byte{255}, 8192))}),
		"e=1":                 change(object{"e": "AQ"}),
		"an even exponent":    change(object{"e": b64([]byte{1, 0, 2})}),
		"an endless exponent": change(object{"e": b64(bytes.Repeat([]byte{255}, 64))}),
		"for PS256":           change(object{"alg": "PS256"}),
		"for HS256":           change(object{"alg": "HS256"}),
		"of no sort":          change(object{"kty": nil}),
		"kid of another type": change(object{"kid": 5}),
		"padded base64":       change(object{"n": b64(bytes.Repeat([]byte{255}, 256)) + "=="}),
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			set, skipped, err := token.ParseJWKS(doc(t, key, json.RawMessage(raw)))
			if err != nil || set.Len() != 1 || len(skipped) != 1 || !is(skipped[0], token.ErrInvalid) {
				t.Errorf("%d keys, skipped %v, error %v; want the other key alone", set.Len(), skipped, err)
			}
		})
	}
	many := make([]any, 101)
	for i := range many {
		many[i] = json.RawMessage(raw)
	}
	for law, text := range map[string][]byte{
		"nothing": nil, "no object": []byte("[]"), "no keys": []byte("{}"), "keys twice": []byte(`{"keys":[],"keys":[]}`),
		"data behind": append(doc(t), '{'), "too many": doc(t, many...), "too long": append(doc(t), bytes.Repeat([]byte(" "), 300<<10)...),
	} {
		if set, skipped, err := token.ParseJWKS(text); !is(err, token.ErrMalformed) || set.Len() != 0 || skipped != nil {
			t.Errorf("%s: %d keys, %v, %v; want ErrMalformed", law, set.Len(), skipped, err)
		}
	}
}

func TestPublishedKeys(t *testing.T) {
	t.Parallel()
	w := theWorld()
	text, err := w.set.JWKS(tenant, "https://i.example", now)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Keys []struct {
			KTY, Use, KID, X5T, N, E, CRV, X, Y, Issuer string
			X5C                                         [][]byte
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, k := range got.Keys {
		seen[k.KID] = true
		if k.Use != "sig" || k.X5T != k.KID || k.Issuer != "https://i.example" || len(k.X5C) != 1 || len(k.KID) != 27 {
			t.Errorf("published key %+v", k)
		}
		if k.KTY == "RSA" && (k.E != "AQAB" || len(k.N) != 342 || k.CRV != "") || k.KTY == "EC" && (k.CRV != "P-256" || len(k.X) != 43 || len(k.Y) != 43 || k.N != "") {
			t.Errorf("published key %+v", k)
		}
	}
	want := map[string]bool{w.rsa.ID: true, w.es.ID: true, w.id.ID: true, w.new.ID: true} // not staging, foreign, retired
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("published kids (-want +got):\n%s", diff)
	}
	if bytes.Contains(text, []byte(`"d"`)) {
		t.Error("a private half is published")
	}
	set, skipped, err := token.ParseJWKS(text)
	if err != nil || len(skipped) != 0 || set.Len() != len(got.Keys) {
		t.Errorf("our own document reads as %d keys, skipped %v, %v", set.Len(), skipped, err)
	}
}

func TestKeySetRefuses(t *testing.T) {
	t.Parallel()
	w := theWorld()
	for law, change := range map[string]func(*token.Key){
		"no kid":             func(k *token.Key) { k.ID = "" },
		"no tenant":          func(k *token.Key) { k.Tenant = [16]byte{} },
		"no purpose":         func(k *token.Key) { k.Purpose = "" },
		"no end":             func(k *token.Key) { k.NotAfter = k.NotBefore },
		"another algorithm":  func(k *token.Key) { k.Alg = token.ES256 },
		"an algorithm of HS": func(k *token.Key) { k.Alg = "HS256" },
		"a key of bytes":     func(k *token.Key) { k.Public = []byte("secret") },
		"a key of nothing":   func(k *token.Key) { k.Public = nil },
		"the kid of another": func(k *token.Key) { k.ID = w.es.ID },
	} {
		k := w.rsa.Key
		change(&k)
		if set, err := token.NewKeySet(w.es.Key, k); !is(err, token.ErrKey) || set.Len() != 0 {
			t.Errorf("%s: %d keys, %v; want ErrKey", law, set.Len(), err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %x", w.rsa, w.rsa, w.rsa, w.rsa); strings.Count(text, "[signing key "+w.rsa.ID+"]") != 4 || len(text) > 200 {
		t.Errorf("a signing key prints as %.300s", text)
	}
	if _, err := token.NewSigningKey(w.es.Key, private(w.id)); !is(err, token.ErrKey) {
		t.Errorf("another pair's private half: %v, want ErrKey", err)
	}
}

func FuzzParseJWKS(f *testing.F) {
	w := theWorld()
	f.Add(doc(f, jose.JSONWebKey{Key: w.rsa.Public, KeyID: "a"}, jose.JSONWebKey{Key: w.es.Public}))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	raw := forge(w.staging, header(w.staging, nil), payload(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, _, err := token.ParseJWKS(text)
		if err != nil && set.Len() != 0 {
			t.Fatal("keys together with an error")
		}
		// No document that was not made from this key verifies its tokens.
		if got, err := token.VerifyForeign(raw, set, []token.ForeignWant{{}}, now); err == nil {
			t.Fatalf("accepted: %+v", got)
		}
	})
}
