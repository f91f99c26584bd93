package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	tenantText = "11111111-1111-4111-8111-111111111111"
	otherText  = "22222222-2222-4222-8222-222222222222"
	oidText    = "33333333-3333-4333-8333-333333333333"
	server     = "6dae42f8-4368-4678-94ff-3960e28e3630"
	client     = "80faf920-1908-4b52-b5ef-a8e7bedfc67a"
	issuer     = "https://sts.windows.net/" + tenantText + "/"
)

func id[ID ~[16]byte](s string) ID { return ID(guid.MustParse[struct{}](s)) }

var (
	tenant = id[directory.TenantID](tenantText)
	other  = id[directory.TenantID](otherText)
	want   = token.Want{Tenant: tenant, Issuers: []string{issuer}, Audiences: []string{server, "spn:" + server}, Purpose: token.AccessToken}
)

// world has a key for every row of the matrix that a verifier must tell apart.
type world struct {
	rsa, es                            token.SigningKey // the right ones
	id, staging, foreign, retired, new token.SigningKey // of another purpose, tenant or time
	set                                token.KeySet
}

var theWorld = sync.OnceValue(func() world {
	make := func(t directory.TenantID, p token.Purpose, alg string, from, to time.Time) token.SigningKey {
		k, err := token.GenerateKey(t, p, alg, from, to)
		if err != nil {
			panic(err)
		}
		return k
	}
	from, to := now.Add(-time.Hour), now.Add(24*time.Hour)
	w := world{
		rsa:     make(tenant, token.AccessToken, token.RS256, from, to),
		es:      make(tenant, token.AccessToken, token.ES256, from, to),
		id:      make(tenant, token.IDToken, token.ES256, from, to),
		staging: make(tenant, "staging", token.ES256, from, to),
		foreign: make(other, token.AccessToken, token.ES256, from, to),
		retired: make(tenant, token.AccessToken, token.ES256, from, now),
		new:     make(tenant, token.AccessToken, token.ES256, now.Add(1), to),
	}
	set, err := token.NewKeySet(w.rsa.Key, w.es.Key, w.id.Key, w.staging.Key, w.foreign.Key, w.retired.Key, w.new.Key)
	if err != nil {
		panic(err)
	}
	w.set = set
	return w
})

func private(k token.SigningKey) crypto.Signer {
	der, err := k.PKCS8()
	if err != nil {
		panic(err)
	}
	p, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		panic(err)
	}
	return p.(crypto.Signer)
}

func claims() token.Claims {
	return token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuer, Audience: server, Subject: "pairwise-subject", Tenant: tenant,
		ObjectID: id[principal.ID](oidText), ID: "uti-1", IssuedAt: now, NotBefore: now, Expires: now.Add(time.Hour), AuthTime: now.Add(-time.Minute),
		AppID: id[directory.AppID](client), AppAuth: "0", UPN: "ana@contoso.example", Username: "ana@contoso.example", Name: "Ana Silva",
		GivenName: "Ana", FamilyName: "Silva", AMR: []string{"pwd"}, ACR: "1", Scopes: []string{"user.read"},
		Groups: []principal.ID{id[principal.ID](otherText)}, IDType: "user", Capabilities: []string{"cp1"},
	}
}

type object = map[string]any

// payload is the JSON of claims, changed; a nil value removes a member.
func payload(change object) []byte {
	text, err := json.Marshal(claims())
	if err != nil {
		panic(err)
	}
	return edit(text, change)
}

func edit(text []byte, change object) []byte {
	o := object{}
	if err := json.Unmarshal(text, &o); err != nil {
		panic(err)
	}
	maps.Copy(o, change)
	for k, v := range o {
		if v == nil {
			delete(o, k)
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return text
}

func header(k token.SigningKey, change object) []byte {
	return edit([]byte(`{"typ":"JWT","alg":"`+k.Alg+`","kid":"`+k.ID+`"}`), change)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// forge signs any header and payload with the key, by the key's own algorithm.
func forge(k token.SigningKey, header, payload []byte) string {
	signed := b64(header) + "." + b64(payload)
	return signed + "." + b64(rawSign(private(k), signed))
}

func rawSign(key crypto.Signer, signed string) []byte {
	digest := sha256.Sum256([]byte(signed))
	var sig []byte
	var err error
	switch key := key.(type) {
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, key, digest[:])
		err, sig = e, make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
	}
	if err != nil {
		panic(err)
	}
	return sig
}

// mustRefuse fails unless a verifier answered with an error and nothing else (JWT-33).
func mustRefuse[T any](t *testing.T, got T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted: %+v", got)
	}
	if !is(err, token.ErrInvalid) || !is(err, want) {
		t.Errorf("error = %v, want one that wraps %v", err, want)
	}
	if !reflect.ValueOf(got).IsZero() {
		t.Errorf("an error together with %+v", got)
	}
}

func decode(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// trailingBits respells s, whose last character must have unused bits.
func trailingBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(alphabet) {
		if again := s[:len(s)-1] + alphabet[i:i+1]; again != s && string(decode(again)) == string(decode(s)) {
			return again
		}
	}
	panic("no unused bits")
}

func bareVerify(pub crypto.PublicKey, signed string, sig []byte) bool {
	digest := sha256.Sum256([]byte(signed))
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig) == nil
	case *ecdsa.PublicKey:
		return ecdsa.Verify(pub, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	return false
}
