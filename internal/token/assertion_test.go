package token_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// certificate makes a self-signed certificate of the key, valid around now.
func certificate(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) (*x509.Certificate, []byte) {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, der
}

var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

const endpoint = "https://127.0.0.1:8443/" + tenantText + "/oauth2/v2.0/token"

// assertion is what a client makes: by default as az does it.
func assertion(cert *x509.Certificate, head, body object) string {
	short := sha1.Sum(cert.Raw)
	h := edit([]byte(`{"alg":"RS256","typ":"JWT","x5t":"`+base64.URLEncoding.EncodeToString(short[:])+`"}`), head)
	p := edit([]byte(`{"aud":"`+endpoint+`","iss":"`+client+`","sub":"`+client+`","jti":"j1","iat":1772366400.66,"exp":1772367000.66}`), body)
	signed := b64(h) + "." + b64(p)
	if strings.Contains(string(h), `"PS256"`) {
		digest := sha256.Sum256([]byte(signed))
		sig, err := rsa.SignPSS(rand.Reader, appKey(), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		if err != nil {
			panic(err)
		}
		return signed + "." + b64(sig)
	}
	return signed + "." + b64(rawSign(appKey(), signed))
}

func TestVerifyAssertion(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t, appKey(), nil)
	elder, _ := certificate(t, appKey(), func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) })
	evil, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	evilCert, _ := certificate(t, evil, nil)
	expired, _ := certificate(t, appKey(), func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) })
	long := sha256.Sum256(cert.Raw)
	std, url := base64.StdEncoding.EncodeToString(long[:]), base64.RawURLEncoding.EncodeToString(long[:])
	wanted := token.AssertionWant{ClientID: id[directory.AppID](client), Audiences: []string{"https://x.example", endpoint}}
	unix := now.Unix()
	for _, tt := range []struct {
		law  string
		raw  string
		want error
	}{
		{"az: RS256, x5t, dates with fractions", assertion(cert, nil, nil), nil},
		{"kubelogin: PS256, x5t#S256 in the standard alphabet, x5c", assertion(cert, object{"alg": "PS256", "x5t": nil, "x5t#S256": std, "x5c": []string{"AAAA"}}, object{"iat": unix, "exp": unix + 600, "nbf": unix}), nil},
		{"x5t#S256 as the standard says", assertion(cert, object{"x5t": nil, "x5t#S256": url}, nil), nil},
		{"both thumbprints", assertion(cert, object{"x5t#S256": url}, nil), nil},
		{"the client id in capitals", assertion(cert, nil, object{"iss": strings.ToUpper(client), "sub": strings.ToUpper(client)}), nil},
		{"a clock that is a little ahead", assertion(cert, nil, object{"iat": unix + 50, "exp": unix + 650}), nil},
		{"two thumbprints of two certificates", assertion(elder, object{"x5t#S256": url}, nil), token.ErrKey},
		{"no thumbprint", assertion(cert, object{"x5t": nil}, nil), token.ErrKey},
		{"kid alone", assertion(cert, object{"x5t": nil, "kid": url}, nil), token.ErrKey},
		{"a certificate that is not registered", assertion(evilCert, nil, nil), token.ErrKey},
		{"a certificate of its own in x5c", assertion(evilCert, object{"x5c": []string{base64.StdEncoding.EncodeToString(evilCert.Raw)}}, nil), token.ErrKey},
		{"an expired certificate", assertion(expired, nil, nil), token.ErrExpired},
		{"RS256 text with PS256 in the header", respell(assertion(cert, nil, nil), `"RS256"`, `"PS256"`), token.ErrSignature},
		{"JWT-01: none", assertion(cert, object{"alg": "none"}, nil), token.ErrKey},
		{"JWT-26: PS512", assertion(cert, object{"alg": "PS512"}, nil), token.ErrKey},
		{"JWT-08: crit", assertion(cert, object{"crit": []string{"x"}}, nil), token.ErrMalformed},
		{"JWT-15: another type", assertion(cert, object{"typ": "dpop+jwt"}, nil), token.ErrMalformed},
		{"OA-36: endpoint of another tenant", assertion(cert, nil, object{"aud": strings.ReplaceAll(endpoint, tenantText, otherText)}), token.ErrAudience},
		{"OA-36: another endpoint", assertion(cert, nil, object{"aud": strings.ReplaceAll(endpoint, "token", "devicecode")}), token.ErrAudience},
		{"OA-36: two endpoints", assertion(cert, nil, object{"aud": []string{endpoint, "x"}}), token.ErrMalformed},
		{"OA-36: no audience", assertion(cert, nil, object{"aud": nil}), token.ErrAudience},
		{"OA-36: issuer is not the subject", assertion(cert, nil, object{"iss": server}), token.ErrIssuer},
		{"OA-36: subject is another client", assertion(cert, nil, object{"sub": server, "iss": server}), token.ErrSubject},
		{"OA-36: no subject", assertion(cert, nil, object{"sub": nil, "iss": nil}), token.ErrSubject},
		{"OA-36: no end", assertion(cert, nil, object{"exp": nil}), token.ErrExpired},
		{"OA-36: more than ten minutes and the leeway", assertion(cert, nil, object{"exp": unix + 661}), token.ErrExpired},
		{"OA-36: expired", assertion(cert, nil, object{"exp": unix}), token.ErrExpired},
		{"OA-36: from the future", assertion(cert, nil, object{"iat": unix + 61}), token.ErrExpired},
		{"OA-36: no jti", assertion(cert, nil, object{"jti": nil}), token.ErrMalformed},
		{"OA-36: jti with a blank", assertion(cert, nil, object{"jti": "a b"}), token.ErrMalformed},
		{"JWT-18: sub twice", assertion(cert, nil, object{"SUB": server}), token.ErrMalformed},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := token.VerifyAssertion(tt.raw, []*x509.Certificate{elder, cert, expired}, wanted, now)
			if tt.want != nil {
				mustRefuse(t, got, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != "j1" || !got.Expires.After(now) || got.Certificate != cert {
				t.Errorf("assertion = %+v", got)
			}
		})
	}
	got, err := token.VerifyAssertion(assertion(cert, nil, nil), []*x509.Certificate{cert}, token.AssertionWant{}, now)
	mustRefuse(t, got, err, token.ErrSubject)
	got, err = token.VerifyAssertion(assertion(cert, nil, nil), nil, wanted, now)
	mustRefuse(t, got, err, token.ErrKey)
}

// respell replaces text in the header and keeps the signature.
func respell(raw, from, to string) string {
	head, rest, _ := strings.Cut(raw, ".")
	return b64([]byte(strings.Replace(string(decode(head)), from, to, 1))) + "." + rest
}

func TestCheckCertificate(t *testing.T) { // JWT-23
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, good := certificate(t, appKey(), nil)
	sha1 := bytes.ReplaceAll(good, []byte{1, 1, 11}, []byte{1, 1, 5})
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, short := certificate(t, small, nil)
	_, expired := certificate(t, appKey(), func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) })
	_, early := certificate(t, appKey(), func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) })
	_, ca := certificate(t, appKey(), func(c *x509.Certificate) { c.IsCA = true })
	_, ecc := certificate(t, ec, nil)
	_, crypt := certificate(t, appKey(), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })
	for _, tt := range []struct {
		law  string
		der  []byte
		want error
	}{
		{"a good one", good, nil},
		{"RSA-1024", short, token.ErrKey},
		{"e=1", withExponent(t, 1), token.ErrKey},
		{"e=3", withExponent(t, 3), token.ErrKey},
		{"SHA-1, by itself, as az makes them", sha1, nil},
		{"SHA-1, by another", bytes.Replace(sha1, []byte("app"), []byte("apq"), 1), token.ErrKey},
		{"MD5", bytes.ReplaceAll(good, []byte{1, 1, 11}, []byte{1, 1, 4}), token.ErrKey},
		{"expired", expired, token.ErrExpired},
		{"not yet valid", early, token.ErrExpired},
		{"CA:TRUE", ca, token.ErrKey},
		{"ECDSA", ecc, token.ErrKey},
		{"not for signatures", crypt, token.ErrKey},
		{"half of one", good[:len(good)/2], token.ErrMalformed},
		{"more than one", append(append([]byte{}, good...), good...), token.ErrMalformed},
		{"nothing", nil, token.ErrMalformed},
		{"64 KB", make([]byte, 64<<10), token.ErrMalformed},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := token.CheckCertificate(tt.der, now)
			if tt.want != nil {
				mustRefuse(t, got, err, tt.want)
			} else if err != nil || got == nil {
				t.Errorf("CheckCertificate = %v, %v", got, err)
			}
		})
	}
}

// withExponent returns a certificate of a key that its own authority did not check.
func withExponent(t *testing.T, e int) []byte {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &rsa.PublicKey{N: appKey().N, E: e}, appKey())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// FuzzAssertion: nothing that the fuzzer writes was signed by the client, and no
// reader answers with both an error and something else.
func FuzzAssertion(f *testing.F) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	cert, _ := certificate(f, other, nil)
	f.Add(assertion(cert, nil, nil))
	f.Add(assertion(cert, object{"alg": "PS256", "x5t": nil, "x5t#S256": "AA+/"}, object{"aud": []string{"a"}}))
	wanted := token.AssertionWant{ClientID: id[directory.AppID](client), Audiences: []string{endpoint}}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := token.VerifyAssertion(raw, []*x509.Certificate{cert}, wanted, now)
		mustRefuse(t, got, err, token.ErrInvalid)
		if says, err := token.Peek(raw); err != nil {
			mustRefuse(t, says, err, token.ErrMalformed)
		}
	})
}

// FuzzCheckCertificate: what passes can be asked again, and is no authority.
func FuzzCheckCertificate(f *testing.F) {
	_, good := certificate(f, appKey(), nil)
	f.Add(good)
	f.Add(good[:100])
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := token.CheckCertificate(der, now)
		if err != nil {
			mustRefuse(t, cert, err, token.ErrInvalid)
			return
		}
		if again, err := token.CheckCertificate(cert.Raw, now); err != nil || !again.Equal(cert) || cert.IsCA {
			t.Fatalf("accepted %v, then %v", cert.Subject, err)
		}
	})
}
