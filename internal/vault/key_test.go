package vault_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

func generate(t testing.TB, s vault.KeySpec) (vault.PrivateKey, vault.PublicKey) {
	t.Helper()
	key, err := vault.Generate(s)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := key.Public(s.Ops)
	if err != nil {
		t.Fatal(err)
	}
	return key, pub
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	for law, s := range map[string]vault.KeySpec{
		"no type": {}, "a key in hardware": {Type: "RSA-HSM"}, "a symmetric key": {Type: "oct"}, "a short key": {Type: "RSA", Size: 1024},
		"an endless key": {Type: "RSA", Size: 16384}, "an odd curve": {Type: "EC", Curve: "P-256K"}, "RSA on a curve": {Type: "RSA", Curve: "P-256"},
		"EC that encrypts": {Type: "EC", Ops: []vault.Op{vault.Encrypt}}, "an operation twice": {Type: "EC", Ops: []vault.Op{vault.Sign, vault.Sign}},
		"an unknown operation": {Type: "RSA", Ops: []vault.Op{"export"}},
	} {
		if key, err := vault.Generate(s); !errors.Is(err, record.ErrInvalid) || !key.IsZero() {
			t.Errorf("%s: %v, want ErrInvalid", law, err)
		}
	}
}

func TestSignaturesAreThoseOfTheAlgorithm(t *testing.T) {
	t.Parallel()
	rsaKey, rsaPub := generate(t, vault.KeySpec{Type: "RSA"})
	digests := map[int][]byte{32: sum256("text"), 48: sum384("text"), 64: sum512("text")}
	for _, tt := range []struct {
		alg   string
		size  int
		curve string
		want  int // bytes of the signature
	}{
		{"RS256", 32, "", 256}, {"RS384", 48, "", 256}, {"RS512", 64, "", 256}, {"PS256", 32, "", 256}, {"PS384", 48, "", 256}, {"PS512", 64, "", 256},
		{"ES256", 32, "P-256", 64}, {"ES384", 48, "P-384", 96}, {"ES512", 64, "P-521", 132},
	} {
		key, pub := rsaKey, rsaPub
		if tt.curve != "" {
			key, pub = generate(t, vault.KeySpec{Type: "EC", Curve: tt.curve})
		}
		digest := digests[tt.size]
		sig, err := key.Sign(tt.alg, digest)
		if err != nil || len(sig) != tt.want {
			t.Errorf("%s: a signature of %d bytes, %v; want %d", tt.alg, len(sig), err, tt.want)
			continue
		}
		if ok, err := pub.Verify(tt.alg, digest, sig); !ok || err != nil {
			t.Errorf("%s: the signature is not the key's: %v", tt.alg, err)
		}
		other := bytes.Clone(digest)
		other[0] ^= 1
		sig2 := bytes.Clone(sig)
		sig2[len(sig2)-1] ^= 1
		for law, try := range map[string][2][]byte{"another digest": {other, sig}, "another signature": {digest, sig2}, "none": {digest, nil}, "a long one": {digest, append(sig2, 0)}} {
			if ok, _ := pub.Verify(tt.alg, try[0], try[1]); ok {
				t.Errorf("%s: %s is accepted", tt.alg, law)
			}
		}
		if _, err := key.Sign(tt.alg, digest[1:]); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: a digest that is too short: %v", tt.alg, err)
		}
	}
	_, ecPub := generate(t, vault.KeySpec{Type: "EC"})
	for _, alg := range []string{"", "none", "HS256", "ES256", "ES256K", "rs256"} {
		if _, err := rsaKey.Sign(alg, digests[32]); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("an RSA key signs with %q: %v", alg, err)
		}
		if ok, err := rsaPub.Verify(alg, digests[32], nil); ok || !errors.Is(err, record.ErrInvalid) {
			t.Errorf("an RSA key verifies with %q: %t, %v", alg, ok, err)
		}
	}
	for _, alg := range []string{"ES384", "RS256"} {
		if ok, err := ecPub.Verify(alg, digests[48], make([]byte, 96)); ok || err == nil {
			t.Errorf("a key on P-256 verifies with %q: %t, %v", alg, ok, err)
		}
	}
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	key, pub := generate(t, vault.KeySpec{Type: "RSA"})
	for _, alg := range []string{"RSA-OAEP", "RSA-OAEP-256"} {
		sealed, err := pub.Encrypt(alg, []byte("canary"))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := key.Decrypt(alg, sealed); err != nil || string(plain) != "canary" {
			t.Errorf("%s: %q, %v", alg, plain, err)
		}
		sealed[9] ^= 1
		if plain, err := key.Decrypt(alg, sealed); !errors.Is(err, record.ErrInvalid) || plain != nil {
			t.Errorf("%s: a changed text is %q, %v", alg, plain, err)
		}
		if _, err := pub.Encrypt(alg, make([]byte, 255)); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: a text that is too long: %v", alg, err)
		}
	}
	// A key that decrypts RSA1_5 for others is one that decrypts everything.
	for _, alg := range []string{"RSA1_5", "", "A256GCM"} {
		if _, err := pub.Encrypt(alg, nil); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("encrypts with %q: %v", alg, err)
		}
		if _, err := key.Decrypt(alg, make([]byte, 256)); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("decrypts with %q: %v", alg, err)
		}
	}
	ec, ecPub := generate(t, vault.KeySpec{Type: "EC"})
	if _, err := ecPub.Encrypt("RSA-OAEP", nil); err == nil {
		t.Error("a key on a curve encrypts")
	}
	if _, err := ec.Decrypt("RSA-OAEP", nil); err == nil {
		t.Error("a key on a curve decrypts")
	}
}

func TestKeysGoOutAndComeBack(t *testing.T) {
	t.Parallel()
	for _, s := range []vault.KeySpec{{Type: "RSA", Size: 3072}, {Type: "EC"}, {Type: "EC", Curve: "P-521"}} {
		key, pub := generate(t, s)
		der, err := key.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := vault.ParsePrivateKey(der)
		if err != nil {
			t.Fatal(err)
		}
		got, err := again.Public(nil)
		if err != nil || !bytes.Equal(got.SPKI, pub.SPKI) {
			t.Errorf("%+v: another key came back: %v", s, err)
		}
		spec, err := pub.Spec()
		if want, _ := s.Complete(); err != nil || spec.Type != want.Type || spec.Size != want.Size || spec.Curve != want.Curve {
			t.Errorf("%+v is read as %+v, %v", s, spec, err)
		}
		if text := fmt.Sprintf("%v %+v %#v %s", key, key, key, key); text != "[private key] [private key] [private key] [private key]" {
			t.Errorf("a private key prints as %q", text)
		}
	}
}

func TestKeysThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	n := vault.RSANumbers{N: own.N.Bytes(), E: []byte{1, 0, 1}, D: own.D.Bytes(), P: own.Primes[0].Bytes(), Q: own.Primes[1].Bytes()}
	if _, err := vault.NewRSA(n); err != nil {
		t.Fatal(err)
	}
	for law, change := range map[string]func(*vault.RSANumbers){
		"the modulus of another key": func(n *vault.RSANumbers) { n.N = other.N.Bytes() },
		"the exponent of another":    func(n *vault.RSANumbers) { n.D = other.D.Bytes() },
		"a prime of another":         func(n *vault.RSANumbers) { n.P = other.Primes[0].Bytes() },
		"no primes":                  func(n *vault.RSANumbers) { n.P, n.Q = nil, nil },
		"an exponent of one":         func(n *vault.RSANumbers) { n.E = []byte{1} },
		"numbers without end":        func(n *vault.RSANumbers) { n.D = make([]byte, 1<<20) },
	} {
		bad := n
		change(&bad)
		if key, err := vault.NewRSA(bad); !errors.Is(err, record.ErrInvalid) || !key.IsZero() {
			t.Errorf("%s: %v, want ErrInvalid", law, err)
		}
	}
	a, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	point := func(k *ecdsa.PrivateKey) (x, y []byte) {
		raw, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return raw[1:33], raw[33:]
	}
	d, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := point(a)
	x2, y2 := point(b)
	if _, err := vault.NewEC("P-256", d, x, y); err != nil {
		t.Fatal(err)
	}
	for law, try := range map[string][4]any{
		"the point of another key": {"P-256", d, x2, y2}, "no point of the curve": {"P-256", d, x, y2}, "a scalar of zero": {"P-256", make([]byte, 32), x, y},
		"another curve": {"P-384", d, x, y}, "no curve": {"P-224", d, x, y}, "no scalar": {"P-256", []byte{}, x, y},
	} {
		if key, err := vault.NewEC(try[0].(string), try[1].([]byte), try[2].([]byte), try[3].([]byte)); !errors.Is(err, record.ErrInvalid) || !key.IsZero() {
			t.Errorf("%s: %v, want ErrInvalid", law, err)
		}
	}
}

func TestAKeyIsForWhatItIsFor(t *testing.T) {
	t.Parallel()
	_, pub := generate(t, vault.KeySpec{Type: "EC", Ops: []vault.Op{vault.Verify}})
	if err := pub.Permit(vault.Verify); err != nil {
		t.Error(err)
	}
	if err := pub.Permit(vault.Sign); !errors.Is(err, vault.ErrNotPermitted) {
		t.Errorf("sign: %v, want ErrNotPermitted", err)
	}
	if err := (vault.PublicKey{}).Permit(vault.Sign); !errors.Is(err, vault.ErrNotPermitted) {
		t.Errorf("the zero key: %v, want ErrNotPermitted", err)
	}
	if _, err := pub.WithOps([]vault.Op{vault.Decrypt}); err == nil {
		t.Error("a key on a curve is made to decrypt")
	}
}

func sum256(s string) []byte { d := sha256.Sum256([]byte(s)); return d[:] }
func sum384(s string) []byte { d := sha512.Sum384([]byte(s)); return d[:] }
func sum512(s string) []byte { d := sha512.Sum512([]byte(s)); return d[:] }
