package token_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/token"
)

func is(err, target error) bool { return errors.Is(err, target) }

func TestVerifyAcceptsWhatWasSigned(t *testing.T) {
	t.Parallel()
	w := theWorld()
	for _, key := range []token.SigningKey{w.rsa, w.es} {
		for _, version := range []string{token.V1, token.V2} {
			t.Run(key.Alg+" in version "+version, func(t *testing.T) {
				t.Parallel()
				c := claims()
				if c.Version = version; version == token.V2 { // has no such claims
					c.UPN, c.GivenName, c.FamilyName, c.AMR, c.ACR = "", "", "", nil, ""
				}
				raw, err := token.Sign(key, c, "JWT")
				if err != nil {
					t.Fatal(err)
				}
				got, err := token.Verify(raw, w.set, want, now)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c, got); diff != "" {
					t.Errorf("claims changed (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestAnotherImplementationAgrees(t *testing.T) {
	t.Parallel()
	w := theWorld()
	for _, key := range []token.SigningKey{w.rsa, w.es} {
		ours, err := token.Sign(key, claims(), "JWT")
		if err != nil {
			t.Fatal(err)
		}
		jws, err := jose.ParseSignedCompact(ours, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Alg)})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := w.set.JWKS(tenant, issuer, now)
		if err != nil {
			t.Fatal(err)
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(doc, &set); err != nil {
			t.Fatal(err)
		}
		published := set.Key(key.ID)
		if len(published) != 1 {
			t.Fatalf("%d published keys with kid %s", len(published), key.ID)
		}
		if _, err := jws.Verify(published[0]); err != nil {
			t.Errorf("%s: go-jose refuses our token: %v", key.Alg, err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Alg), Key: jose.JSONWebKey{Key: private(key), KeyID: key.ID}},
			(&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		obj, err := signer.Sign(payload(nil))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := obj.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.Verify(theirs, w.set, want, now); err != nil {
			t.Errorf("%s: we refuse a token of go-jose: %v", key.Alg, err)
		}
	}
}

// TestVerifyRefuses is the table of forged tokens. The first row shows that the
// forge makes tokens that are accepted when nothing is wrong with them.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	w := theWorld()
	h := func(change object) string { return forge(w.rsa, header(w.rsa, change), payload(nil)) }
	p := func(change object) string { return forge(w.rsa, header(w.rsa, nil), payload(change)) }
	text := func(from, to string) string {
		return forge(w.rsa, header(w.rsa, nil), bytes.Replace(payload(nil), []byte(from), []byte(to), 1))
	}
	unsigned := func(h []byte) string { return b64(h) + "." + b64(payload(nil)) + "." }
	good := h(nil)
	if _, err := token.Verify(good, w.set, want, now); err != nil {
		t.Fatalf("the forge is blunt: %v", err)
	}
	parts := strings.Split(good, ".")
	jwk, err := json.Marshal(jose.JSONWebKey{Key: w.rsa.Public})
	if err != nil {
		t.Fatal(err)
	}
	evil, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	evilJWK := jose.JSONWebKey{Key: evil.Public()}
	byEvil := func(change object) string {
		signed := b64(header(w.rsa, change)) + "." + b64(payload(nil))
		return signed + "." + b64(rawSign(evil, signed))
	}
	_, evilCert := certificate(t, evil, nil)

	type row struct {
		law string
		raw string
		err error
	}
	rows := []row{
		{"JWT-03: another token's signature", parts[0] + "." + parts[1] + "." + strings.Split(p(object{"uti": "x"}), ".")[2], token.ErrSignature},
		{"JWT-03: empty signature", parts[0] + "." + parts[1] + ".", token.ErrMalformed},
		{"JWT-03: two dots", "..", token.ErrMalformed},
		{"JWT-03: last byte flipped", parts[0] + "." + parts[1] + "." + flip(parts[2]), token.ErrSignature},
		{"JWT-03: no dot", parts[0], token.ErrMalformed},
		{"JWT-03: a fourth part", good + ".x", token.ErrMalformed},
		{"JWT-03: nothing", "", token.ErrMalformed},
		{"JWT-05: jwk", byEvil(object{"jwk": evilJWK}), token.ErrSignature},
		{"JWT-05: jwk without kid", byEvil(object{"jwk": evilJWK, "kid": nil}), token.ErrMalformed},
		{"JWT-06: jku", byEvil(object{"jku": "https://evil.example/keys"}), token.ErrSignature},
		{"JWT-06: x5u", byEvil(object{"x5u": "https://evil.example/cert"}), token.ErrSignature},
		{"JWT-07: x5c", byEvil(object{"x5c": []string{b64(evilCert)}}), token.ErrSignature},
		{"JWT-08: crit", h(object{"crit": []string{"x"}, "x": 1}), token.ErrMalformed},
		{"JWT-08: empty crit", h(object{"crit": []string{}}), token.ErrMalformed},
		{"JWT-08: b64", h(object{"b64": false}), token.ErrMalformed},
		{"JWT-11: tenant of another issuer", p(object{"tid": otherText}), token.ErrIssuer},
		{"JWT-11: no tenant", p(object{"tid": nil}), token.ErrMalformed},
		{"JWT-11: another issuer", p(object{"iss": strings.ReplaceAll(issuer, tenantText, otherText)}), token.ErrIssuer},
		{"JWT-11: issuer without slash", p(object{"iss": strings.TrimSuffix(issuer, "/")}), token.ErrIssuer},
		{"JWT-11: issuer in capitals", p(object{"iss": strings.ToUpper(issuer)}), token.ErrIssuer},
		{"JWT-11: no issuer", p(object{"iss": nil}), token.ErrMalformed},
		{"JWT-15: an ID token", sign(t, w.id, func(c *token.Claims) { c.Use = token.IDToken; c.AppID, c.AppAuth = [16]byte{}, "" }), token.ErrKey},
		{"JWT-15: an ID token's claim under the right key", p(object{"token_use": "id", "appid": nil, "appidacr": nil}), token.ErrKey},
		{"JWT-15: no token_use", p(object{"token_use": nil}), token.ErrMalformed},
		{"JWT-15: typ of an assertion", h(object{"typ": "client-authentication+jwt"}), token.ErrMalformed},
		{"JWT-15: typ of a logout token", h(object{"typ": "logout+jwt"}), token.ErrMalformed},
		{"JWT-15: an opaque refresh token", "0.AXkA" + strings.Repeat("x", 500), token.ErrMalformed},
		{"JWT-15: a SAML-like blob", "<saml:Assertion>...</saml:Assertion>", token.ErrMalformed},
		{"JWT-17: ten years", p(object{"exp": now.AddDate(10, 0, 0).Unix()}), token.ErrExpired},
		{"JWT-17: one second more than a day", p(object{"exp": now.Add(token.MaxLife + time.Second).Unix()}), token.ErrExpired},
		{"expired this instant", p(object{"exp": now.Unix(), "iat": now.Unix() - 9, "nbf": now.Unix() - 9}), token.ErrExpired},
		{"issued beyond the leeway", p(object{"iat": now.Add(token.Leeway + time.Second).Unix()}), token.ErrExpired},
		{"not valid before the leeway", p(object{"nbf": now.Add(token.Leeway + time.Second).Unix()}), token.ErrExpired},
		{"ends before it begins", p(object{"exp": now.Unix() + 1, "iat": now.Unix() + 2}), token.ErrMalformed},
		{"no end", p(object{"exp": nil}), token.ErrMalformed},
		{"no beginning", p(object{"iat": nil}), token.ErrMalformed},
		{"an end in text", p(object{"exp": fmt.Sprint(now.Unix() + 60)}), token.ErrMalformed},
		{"an end beyond time", text(`"exp":`, `"exp":1e400,"x":`), token.ErrMalformed},
		{"an end beyond the calendar", text(`"exp":`, `"exp":1e300,"x":`), token.ErrMalformed},
		{"a negative end", text(`"exp":`, `"exp":-1,"x":`), token.ErrMalformed},
		{"JWT-21: data behind the payload", forge(w.rsa, header(w.rsa, nil), append(payload(nil), "{}"...)), token.ErrMalformed},
		{"JWT-21: a BOM", forge(w.rsa, header(w.rsa, nil), append([]byte("\xef\xbb\xbf"), payload(nil)...)), token.ErrMalformed},
		{"JWT-21: invalid UTF-8", text("Ana Silva", "Ana \xff"), token.ErrMalformed},
		{"JWT-21: half a surrogate pair", text("Ana Silva", `\ud800`), token.ErrMalformed},
		{"JWT-21: data behind the header", forge(w.rsa, append(header(w.rsa, nil), " {}"...), payload(nil)), token.ErrMalformed},
		{"JWT-21: an array for a payload", forge(w.rsa, header(w.rsa, nil), []byte("[]")), token.ErrMalformed},
		{"JWT-21: null for a payload", forge(w.rsa, header(w.rsa, nil), []byte("null")), token.ErrMalformed},
		{"JWT-26: RS256 key, PS256 in the header", h(object{"alg": "PS256"}), token.ErrKey},
		{"no kid", h(object{"kid": nil}), token.ErrMalformed},
		{"unknown kid", h(object{"kid": "nobody"}), token.ErrKey},
		{"kid of another algorithm", h(object{"kid": w.es.ID}), token.ErrKey},
		{"claims of both versions", p(object{"azp": client}), token.ErrMalformed},
		{"groups twice", p(object{"_claim_names": object{"groups": "src1"}, "_claim_sources": object{"src1": object{"endpoint": "https://g.example"}}}), token.ErrMalformed},
		{"_claim_names without _claim_sources", p(object{"groups": nil, "_claim_names": object{"groups": "src1"}}), token.ErrMalformed},
		{"groups that are no GUIDs", p(object{"groups": []string{"system:masters"}}), token.ErrMalformed},
		{"groups in text", p(object{"groups": otherText}), token.ErrMalformed},
		{"null groups", text(`"groups":[`, `"groups":null,"x":[`), token.ErrMalformed},
		{"null name", text(`"upn":"`, `"upn":null,"x":"`), token.ErrMalformed},
	}
	for _, alg := range []any{"none", "None", "nOnE", "", []string{"RS256"}, nil, 5} { // JWT-01
		rows = append(rows, row{fmt.Sprintf("JWT-01: alg %v, signed", alg), h(object{"alg": alg}), token.ErrInvalid},
			row{fmt.Sprintf("JWT-01: alg %v, unsigned", alg), unsigned(header(w.rsa, object{"alg": alg})), token.ErrInvalid})
	}
	spki, err := x509.MarshalPKIXPublicKey(w.rsa.Public)
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	for i, secret := range [][]byte{pemKey, bytes.TrimSpace(pemKey), spki, append(bytes.Clone(spki), '\n'), jwk, append(bytes.Clone(jwk), '\n')} { // JWT-02
		signed := b64(header(w.rsa, object{"alg": "HS256"})) + "." + b64(payload(nil))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		rows = append(rows, row{fmt.Sprintf("JWT-02: HS256 with the public key, form %d", i), signed + "." + b64(mac.Sum(nil)), token.ErrKey})
	}
	for _, alg := range []string{"PS512", "ES256K", "RS1", "RS384", "RS512", "EdDSA", "HS256", "rs256"} { // JWT-26
		rows = append(rows, row{"JWT-26: " + alg, h(object{"alg": alg}), token.ErrKey})
	}
	pss := sha512.Sum512([]byte(b64(header(w.rsa, object{"alg": "PS512"})) + "." + b64(payload(nil))))
	sig, err := rsa.SignPSS(rand.Reader, private(w.rsa).(*rsa.PrivateKey), crypto.SHA512, pss[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	rows = append(rows, row{"JWT-26: a true PS512 signature", b64(header(w.rsa, object{"alg": "PS512"})) + "." + b64(payload(nil)) + "." + b64(sig), token.ErrKey})

	for i, aud := range []any{ // JWT-13
		"", nil, 5, []string{server}, []string{}, []string{server, client}, strings.ToUpper(server), server + "/", server[:len(server)-1], "x" + server,
		client, " " + server, object{"a": server}, append(make([]string, 49), server),
	} {
		rows = append(rows, row{fmt.Sprintf("JWT-13: audience %d", i), p(object{"aud": aud}), token.ErrInvalid})
	}
	for _, name := range []string{"sub", "oid"} { // JWT-27
		for i, v := range []any{5, []string{"x"}, "", nil, " ", "a b", "a\n", strings.Repeat("x", 300), object{}} {
			rows = append(rows, row{fmt.Sprintf("JWT-27: %s of form %d", name, i), p(object{name: v}), token.ErrMalformed})
		}
		rows = append(rows, row{"JWT-27: null " + name, text(`"`+name+`":"`, `"`+name+`":null,"x":"`), token.ErrMalformed})
	}
	for _, m := range []string{ // JWT-18
		`"sub":"bob"`, `"SUB":"bob"`, `"Sub":"bob"`, `"` + "\u017f" + `ub":"bob"`, `"\u0073ub":"bob"`, `"aud":"x"`, `"TID":"x"`, `"groupS":[]`,
		`"x":{"a":1,"a":2}`, `"x":1,"x":2`, `"AZP":"x"`, `"Token_Use":"access"`,
	} {
		for where, raw := range map[string][]byte{
			"before": append([]byte("{"+m+","), payload(nil)[1:]...),
			"behind": append(bytes.TrimSuffix(payload(nil), []byte("}")), ("," + m + "}")...),
		} {
			rows = append(rows, row{"JWT-18: " + m + " " + where, forge(w.rsa, header(w.rsa, nil), raw), token.ErrMalformed})
		}
	}
	for _, m := range []string{`"alg":"RS256"`, `"ALG":"none"`, `"kid":"x"`, `"Kid":"x"`, `"Crit":["x"]`} { // JWT-18
		rows = append(rows, row{"JWT-18: header with " + m, forge(w.rsa, append([]byte("{"+m+","), header(w.rsa, nil)[1:]...), payload(nil)), token.ErrMalformed})
	}
	for i, respelt := range []string{ // JWT-20
		good + "=", good + "\n", "\n" + good, " " + good, good + " ", parts[0] + "=." + parts[1] + "." + parts[2], parts[0] + "." + parts[1] + "\r\n." + parts[2],
		parts[0][:4] + "\n" + parts[0][4:] + "." + parts[1] + "." + parts[2], strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/"),
		parts[0] + "." + parts[1] + "." + trailingBits(parts[2]),
	} {
		if respelt != good {
			rows = append(rows, row{fmt.Sprintf("JWT-20: respelling %d", i), respelt, token.ErrInvalid})
		}
	}
	for name, k := range map[string]token.SigningKey{"JWT-12: purpose": w.id, "JWT-12: staging": w.staging, "JWT-12: tenant": w.foreign, "JWT-25: retired": w.retired, "JWT-25: not yet": w.new} {
		rows = append(rows, row{name, forge(k, header(k, nil), payload(nil)), token.ErrKey})
	}
	for _, r := range rows {
		t.Run(r.law, func(t *testing.T) {
			t.Parallel()
			got, err := token.Verify(r.raw, w.set, want, now)
			mustRefuse(t, got, err, r.err)
		})
	}
}

func TestVerifyRefusesECDSA(t *testing.T) { // JWT-09
	t.Parallel()
	w := theWorld()
	signed := b64(header(w.es, nil)) + "." + b64(payload(nil))
	digest := sha256.Sum256([]byte(signed))
	key := private(w.es).(*ecdsa.PrivateKey)
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, s, err := ecdsa.Sign(rand.Reader, p384, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	good := rawSign(key, signed)
	n := key.Params().N.Bytes()
	for _, tt := range []struct {
		law string
		sig []byte
	}{
		{"zero r and s", make([]byte, 64)},
		{"zero s", append(bytes.Clone(good[:32]), make([]byte, 32)...)},
		{"r of n", append(bytes.Clone(n), good[32:]...)},
		{"s of n", append(bytes.Clone(good[:32]), n...)},
		{"r above n", append(bytes.Repeat([]byte{255}, 32), good[32:]...)},
		{"DER", der},
		{"swapped halves", append(bytes.Clone(good[32:]), good[:32]...)},
		{"P-384", append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)},
		{"a byte more", append([]byte{0}, good...)},
		{"a byte more that changes no number", slices.Concat(good[:32], []byte{0}, good[32:])},
		{"a byte less", good[:63]},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := token.Verify(signed+"."+b64(tt.sig), w.set, want, now)
			mustRefuse(t, got, err, token.ErrSignature)
		})
	}
	if _, err := token.Verify(signed+"."+b64(good), w.set, want, now); err != nil {
		t.Errorf("the right signature: %v", err)
	}
}

func TestWantRefuses(t *testing.T) {
	t.Parallel()
	w := theWorld()
	raw := sign(t, w.rsa, func(*token.Claims) {})
	for _, tt := range []struct {
		law    string
		change func(*token.Want)
		err    error
	}{
		{"no tenant", func(w *token.Want) { w.Tenant = [16]byte{} }, token.ErrKey},
		{"another tenant", func(w *token.Want) { w.Tenant = other }, token.ErrKey},
		{"no issuer", func(w *token.Want) { w.Issuers = nil }, token.ErrIssuer},
		{"JWT-14: another audience", func(w *token.Want) { w.Audiences = []string{"https://management.azure.com/"} }, token.ErrAudience},
		{"no audience", func(w *token.Want) { w.Audiences = nil }, token.ErrAudience},
		{"no purpose", func(w *token.Want) { w.Purpose = "" }, token.ErrKey},
		{"another purpose", func(w *token.Want) { w.Purpose = token.IDToken }, token.ErrKey},
		{"nothing", func(w *token.Want) { *w = token.Want{} }, token.ErrKey},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			wanted := want
			tt.change(&wanted)
			got, err := token.Verify(raw, w.set, wanted, now)
			mustRefuse(t, got, err, tt.err)
		})
	}
	got, err := token.Verify(raw, token.KeySet{}, want, now)
	mustRefuse(t, got, err, token.ErrKey)
}

func TestVerifyReadsFractionalDates(t *testing.T) {
	t.Parallel()
	w := theWorld()
	raw := forge(w.rsa, header(w.rsa, nil), payload(object{"iat": float64(now.Unix()) + .66, "exp": float64(now.Unix()) + 600.5}))
	c, err := token.Verify(raw, w.set, want, now)
	if err != nil {
		t.Fatal(err)
	}
	if d := c.Expires.Sub(now.Add(600*time.Second + 500*time.Millisecond)).Abs(); d > time.Millisecond {
		t.Errorf("exp is off by %s", d)
	}
	if _, err := token.Verify(raw, w.set, want, now.Add(600*time.Second+501*time.Millisecond)); !is(err, token.ErrExpired) {
		t.Errorf("after its fraction: %v, want ErrExpired", err)
	}
}

func TestVerifyIsCheapOnFloods(t *testing.T) { // JWT-19
	w := theWorld()
	deep := strings.Repeat("[", token.MaxSize/2)
	for law, raw := range map[string]string{
		"64 KB":          strings.Repeat("a", 64<<10),
		"1 MB":           strings.Repeat("a", 1<<20),
		"100 MB":         strings.Repeat("a", 100<<20),
		"a million dots": strings.Repeat(".", 1_000_000),
		"16 KB of dots":  strings.Repeat(".", token.MaxSize),
		"deep header":    b64([]byte(deep)) + ".e30.AAAA",
		"deep member":    b64([]byte(`{"alg":"RS256","x":`+deep)) + ".e30.AAAA",
	} {
		t.Run(law, func(t *testing.T) {
			best := time.Hour // of some, because the machine is shared
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			const tries = 20
			for range tries {
				start := time.Now()
				got, err := token.Verify(raw, w.set, want, now)
				best = min(best, time.Since(start))
				mustRefuse(t, got, err, token.ErrMalformed)
			}
			runtime.ReadMemStats(&after)
			if best > 5*time.Millisecond {
				t.Errorf("refused in %s, want less than 5 ms", best)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > tries<<20 {
				t.Errorf("%d refusals allocated %d bytes", tries, used)
			}
		})
	}
}

func sign(t testing.TB, key token.SigningKey, change func(*token.Claims)) string {
	t.Helper()
	c := claims()
	change(&c)
	raw, err := token.Sign(key, c, "JWT")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// flip changes the last byte of what s encodes.
func flip(s string) string {
	b := decode(s)
	b[len(b)-1] ^= 1
	return b64(b)
}
