package token_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/token"
)

const place = "/subscriptions/50000000-0000-4000-8000-000000000001/resourcegroups/web/providers/microsoft.containerservice/managedclusters/aks"

// A holder has a key of its own, to which its tokens are bound.
type holder struct {
	key *rsa.PrivateKey
	kid string
	jwk object
}

func newHolder(t testing.TB) holder {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, n := b64(big.NewInt(int64(key.E)).Bytes()), b64(key.N.Bytes())
	sum := sha256.Sum256([]byte(`{"e":"` + e + `","kty":"RSA","n":"` + n + `"}`))
	kid := b64(sum[:])
	return holder{key, kid, object{"e": e, "kty": "RSA", "n": n, "alg": "RS256", "kid": kid}}
}

// request signs as kubelogin does. A nil value removes a member.
func (h holder) request(at string, head, body object) string {
	text, err := json.Marshal(object{"at": at, "ts": now.Unix(), "u": place, "cnf": object{"jwk": h.jwk}, "nonce": "0123456789abcdef"})
	if err != nil {
		panic(err)
	}
	signed := b64(edit([]byte(`{"typ":"pop","alg":"RS256","kid":"`+h.kid+`"}`), head)) + "." + b64(edit(text, body))
	return signed + "." + b64(rawSign(h.key, signed))
}

func (h holder) bound(w world, change object) string {
	all := object{"cnf": object{"kid": h.kid}}
	for k, v := range change {
		all[k] = v
	}
	return forge(w.rsa, header(w.rsa, nil), payload(all))
}

// JWT-32: a request that its holder signed is good for one place, for a while, with
// one key.
func TestVerifyPoP(t *testing.T) {
	t.Parallel()
	w := theWorld()
	h, thief := newHolder(t), newHolder(t)
	at := h.bound(w, nil)
	cnf := func(jwk object) object { return object{"cnf": object{"jwk": jwk}} }
	with := func(change object) object {
		jwk := object{}
		for k, v := range h.jwk {
			jwk[k] = v
		}
		for k, v := range change {
			if v == nil {
				delete(jwk, k)
				continue
			}
			jwk[k] = v
		}
		return jwk
	}
	// The exponent with a leading zero is the same key under another thumbprint.
	padded := b64(append([]byte{0}, big.NewInt(int64(h.key.E)).Bytes()...))
	good := h.request(at, nil, nil)
	for _, tt := range []struct {
		law  string
		raw  string
		want error
	}{
		{"as kubelogin signs it", good, nil},
		{"the type in capitals", h.request(at, object{"typ": "PoP"}, nil), nil},
		{"the time as a text", h.request(at, nil, object{"ts": fmt.Sprint(now.Unix())}), nil},
		{"the place in capitals", h.request(at, nil, object{"u": strings.ToUpper(place)}), nil},
		{"members that nobody reads", h.request(at, nil, object{"m": "GET", "p": "/api"}), nil},
		{"14 minutes old", h.request(at, nil, object{"ts": now.Add(-14 * time.Minute).Unix()}), nil},
		{"half a minute of the future", h.request(at, nil, object{"ts": now.Add(30 * time.Second).Unix()}), nil},
		{"a key that says no more than it must", h.request(at, nil, cnf(with(object{"alg": nil, "kid": nil}))), nil},

		{"JWT-32: another place", h.request(at, nil, object{"u": place + "2"}), token.ErrAudience},
		{"JWT-32: the place above", h.request(at, nil, object{"u": place[:len(place)-4]}), token.ErrAudience},
		{"JWT-32: no place", h.request(at, nil, object{"u": nil}), token.ErrAudience},
		{"JWT-32: the place in Kelvin", h.request(at, nil, object{"u": strings.Replace(place, "k", "\u212a", 1)}), token.ErrAudience},
		{"JWT-32: old", h.request(at, nil, object{"ts": now.Add(-15 * time.Minute).Unix()}), token.ErrExpired},
		{"JWT-32: of the future", h.request(at, nil, object{"ts": now.Add(2 * time.Minute).Unix()}), token.ErrExpired},
		{"JWT-32: of a text of the future", h.request(at, nil, object{"ts": fmt.Sprint(now.Add(time.Hour).Unix())}), token.ErrExpired},
		{"JWT-32: no time", h.request(at, nil, object{"ts": nil}), token.ErrMalformed},
		{"JWT-32: a time in words", h.request(at, nil, object{"ts": "now"}), token.ErrMalformed},
		{"JWT-32: a time of -1", h.request(at, nil, object{"ts": -1}), token.ErrMalformed},
		{"JWT-32: no nonce", h.request(at, nil, object{"nonce": nil}), token.ErrMalformed},
		{"JWT-32: a nonce of nothing", h.request(at, nil, object{"nonce": ""}), token.ErrMalformed},
		{"JWT-32: a nonce with a line end", h.request(at, nil, object{"nonce": "a\nb"}), token.ErrMalformed},
		{"JWT-32: a thief's key and request", thief.request(at, nil, nil), token.ErrKey},
		{"JWT-32: a thief's key under the holder's name", thief.request(at, object{"kid": h.kid}, nil), token.ErrKey},
		{"JWT-32: the holder's key and a thief's signature", thief.request(at, object{"kid": h.kid}, cnf(h.jwk)), token.ErrSignature},
		{"JWT-32: a thief's key that claims the holder's thumbprint", thief.request(at, nil, cnf(object{"e": thief.jwk["e"], "n": thief.jwk["n"], "kty": "RSA", "kid": h.kid})), token.ErrKey},
		{"JWT-32: a bearer token inside", h.request(forge(w.rsa, header(w.rsa, nil), payload(nil)), nil, nil), token.ErrKey},
		{"JWT-32: a token that is bound to a thief", h.request(thief.bound(w, nil), nil, nil), token.ErrKey},
		{"a token that has expired", h.request(h.bound(w, object{"exp": now.Unix(), "iat": now.Unix() - 60, "nbf": now.Unix() - 60}), nil, nil), token.ErrExpired},
		{"a token for another audience", h.request(h.bound(w, object{"aud": client}), nil, nil), token.ErrAudience},
		{"a token of another tenant's key", h.request(forge(w.foreign, header(w.foreign, nil), payload(object{"cnf": object{"kid": h.kid}})), nil, nil), token.ErrKey},
		{"a token whose binding is a whole key", h.request(h.bound(w, object{"cnf": object{"jwk": h.jwk}}), nil, nil), token.ErrMalformed},
		{"a token whose binding is a text", h.request(h.bound(w, object{"cnf": h.kid}), nil, nil), token.ErrMalformed},
		{"no token", h.request("x", object{}, object{"at": nil}), token.ErrMalformed},
		{"a request in the request", h.request(good, nil, nil), token.ErrMalformed},
		{"no key", h.request(at, nil, object{"cnf": object{}}), token.ErrMalformed},
		{"a key with its private half", h.request(at, nil, cnf(with(object{"d": "AQAB"}))), token.ErrKey},
		{"a key for encryption", h.request(at, nil, cnf(with(object{"use": "enc"}))), token.ErrKey},
		{"a symmetric key", h.request(at, nil, cnf(object{"kty": "oct", "k": "AA"})), token.ErrKey},
		{"a key of another spelling", h.request(at, nil, cnf(with(object{"e": padded}))), nil},
		{"no kid", h.request(at, object{"kid": nil}, nil), token.ErrKey},
		{"JWT-01: no algorithm", h.request(at, object{"alg": "none"}, nil), token.ErrMalformed},
		{"JWT-26: another algorithm", h.request(at, object{"alg": "PS256"}, nil), token.ErrMalformed},
		{"the type of a token", h.request(at, object{"typ": "JWT"}, nil), token.ErrMalformed},
		{"JWT-08: crit", h.request(at, object{"crit": []string{"x"}}, nil), token.ErrMalformed},
		{"JWT-18: U", h.request(at, nil, object{"U": place}), token.ErrMalformed},
		{"JWT-20: another spelling", strings.Replace(good, ".", "=.", 1), token.ErrMalformed},
		{"a bearer token", at, token.ErrMalformed},
		{"nothing", "", token.ErrMalformed},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, proof, err := token.VerifyPoP(tt.raw, w.set, want, token.PoPWant{Hosts: []string{"aks.example:443", place}, Now: now}, now)
			if tt.want != nil {
				mustRefuse(t, got, err, tt.want)
				if proof != (token.Proof{}) {
					t.Errorf("an error together with %+v", proof)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.ObjectID != claims().ObjectID || got.KeyID != h.kid || proof.KeyID != h.kid || proof.Nonce == "" || !proof.Until.After(now) {
				t.Errorf("%+v %+v", got, proof)
			}
		})
	}
	got, _, err := token.VerifyPoP(good, w.set, want, token.PoPWant{Now: now}, now)
	mustRefuse(t, got, err, token.ErrAudience)
	got, _, err = token.VerifyPoP(good, w.set, want, token.PoPWant{Hosts: []string{place}}, now)
	mustRefuse(t, got, err, token.ErrExpired)
	// Without its request a bound token is worth nothing.
	got, err = token.Verify(at, w.set, want, now)
	mustRefuse(t, got, err, token.ErrBound)
	got, err = token.Verify(good, w.set, want, now)
	mustRefuse(t, got, err, token.ErrMalformed)
	if !token.IsPoP(good) || token.IsPoP(at) || token.IsPoP("") {
		t.Error("IsPoP takes one for the other")
	}
}

func TestBoundClaimsAreWrittenAndRead(t *testing.T) {
	t.Parallel()
	w := theWorld()
	h := newHolder(t)
	c := claims()
	c.KeyID = h.kid
	raw, err := token.Sign(w.rsa, c, "JWT")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := token.VerifyPoP(h.request(raw, nil, nil), w.set, want, token.PoPWant{Hosts: []string{place}, Now: now}, now); err != nil {
		t.Error(err)
	}
	for text, good := range map[string]bool{
		`{"kid":"` + h.kid + `","xms_ksl":"sw"}`: true, `{"kid":"` + h.kid + `"}`: true,
		`{"kid":"x"}`: false, `{"kid":"` + h.kid + `","kid":"` + h.kid + `"}`: false, `{"KID":"` + h.kid + `"}`: false, `{}`: false, `[]`: false, ``: false, `{"jwk":{}}`: false,
		`{"kid":"` + h.kid + `","x":"` + strings.Repeat("x", 2000) + `"}`: false,
	} {
		kid, err := token.ParseConfirmation(base64.RawURLEncoding.EncodeToString([]byte(text)))
		if good && (err != nil || kid != h.kid) || !good && (err == nil || kid != "") {
			t.Errorf("%.80s: %q, %v", text, kid, err)
		}
	}
	if kid, err := token.ParseConfirmation(base64.URLEncoding.EncodeToString([]byte(`{"kid":"` + h.kid + `","x":1}`))); err == nil {
		t.Errorf("padded: %q", kid)
	}
}

func FuzzVerifyPoP(f *testing.F) {
	w := theWorld()
	h := newHolder(f)
	good := h.request(h.bound(w, nil), nil, nil)
	f.Add(good)
	f.Add(h.request("x", nil, object{"at": nil}))
	f.Fuzz(func(t *testing.T, raw string) {
		got, _, err := token.VerifyPoP(raw, w.set, want, token.PoPWant{Hosts: []string{place}, Now: now}, now)
		if err == nil && raw != good {
			t.Fatalf("accepted %q: %+v", raw, got)
		}
		if err != nil && !is(err, token.ErrInvalid) {
			t.Fatalf("an error that is not ErrInvalid: %v", err)
		}
	})
}
