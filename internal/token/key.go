package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// Purpose is what a key signs. A key has exactly one, and a verifier asks for
// exactly one, so that a token of one sort never passes for another. The zero
// Purpose is none.
type Purpose string

// The purposes of keys whose public halves are published.
const (
	AccessToken   Purpose = "access"   // for a resource: proof of what a client may do
	IDToken       Purpose = "id"       // for the client: proof of who signed in
	RegistryToken Purpose = "registry" // for a container registry; see RegistryClaims
)

// The algorithms of tokens (RFC 7518, section 3.1). PS256 is for client
// assertions alone.
const (
	RS256 = "RS256"
	ES256 = "ES256"
	ps256 = "PS256"
)

// A Key verifies tokens of one tenant and purpose.
type Key struct {
	// ID is the kid: base64url of the SHA-1 thumbprint of Certificate, which
	// clients know as x5t.
	ID      string
	Tenant  directory.TenantID
	Purpose Purpose
	// Alg is the only algorithm it is used with: RS256 or ES256.
	Alg    string
	Public crypto.PublicKey
	// NotBefore and NotAfter bound the time at which its tokens are accepted.
	NotBefore, NotAfter time.Time
	// Certificate is the DER of a self-signed certificate of the key, for x5c.
	Certificate []byte
}

func (k Key) validAt(now time.Time) bool {
	return !now.Before(k.NotBefore) && now.Before(k.NotAfter)
}

// check refuses keys that should not verify anything.
func (k Key) check() error {
	if !isID(k.ID) || k.Tenant.IsZero() || k.Purpose == "" || !k.NotBefore.Before(k.NotAfter) {
		return fmt.Errorf("%w: key %.64q lacks kid, tenant, purpose or time", ErrKey, k.ID)
	}
	return checkPublic(k.Alg, k.Public)
}

// maxRSA bounds the work that one verification can be made to do.
const maxRSA = 8192

func checkPublic(alg string, pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		bits := pub.N.BitLen()
		if alg == RS256 && bits >= 2048 && bits <= maxRSA && pub.E >= 65537 && pub.E&1 == 1 {
			return nil
		}
		return fmt.Errorf("%w: RSA key of %d bits with exponent %d for %.16q", ErrKey, bits, pub.E, alg)
	case *ecdsa.PublicKey:
		if alg == ES256 && pub.Curve == elliptic.P256() {
			return nil
		}
	}
	return fmt.Errorf("%w: %T is no key for %.16q", ErrKey, pub, alg)
}

// verify reports whether sig is the key's signature over signed.
func (k Key) verify(alg, signed string, sig []byte) bool {
	h := sha256.New()
	io.WriteString(h, signed)
	digest := h.Sum(make([]byte, 0, sha256.Size))
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		switch alg {
		case RS256:
			return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, sig) == nil
		case ps256:
			return rsa.VerifyPSS(pub, crypto.SHA256, digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	case *ecdsa.PublicKey:
		// Two numbers of 32 bytes (RFC 7518, section 3.4), never their DER form.
		if alg == ES256 && len(sig) == 64 {
			return ecdsa.Verify(pub, digest, new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
		}
	}
	return false
}

// A KeySet is an immutable set of keys of this house, each with a kid of its own.
// The zero KeySet has none.
type KeySet struct{ keys map[string]Key }

// NewKeySet returns the set of these keys. Weak keys, keys without tenant,
// purpose or end, and two keys with one kid are errors.
func NewKeySet(keys ...Key) (KeySet, error) {
	set := KeySet{keys: make(map[string]Key, len(keys))}
	for _, k := range keys {
		if err := k.check(); err != nil {
			return KeySet{}, err
		}
		if _, dup := set.keys[k.ID]; dup {
			return KeySet{}, fmt.Errorf("%w: kid %.64q twice", ErrKey, k.ID)
		}
		set.keys[k.ID] = k
	}
	return set, nil
}

// Find returns the key with this kid.
func (s KeySet) Find(kid string) (Key, bool) {
	k, ok := s.keys[kid]
	return k, ok
}

// Len is the number of keys.
func (s KeySet) Len() int { return len(s.keys) }

// All yields the keys in the order of their kids.
func (s KeySet) All() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.keys)) {
			if !yield(s.keys[id]) {
				return
			}
		}
	}
}

// A SigningKey is a Key with its private half, which does not print.
type SigningKey struct {
	Key
	private crypto.Signer
}

// Format keeps private keys out of logs and error texts.
func (k SigningKey) Format(w fmt.State, _ rune) { fmt.Fprintf(w, "[signing key %s]", k.ID) }

// keyBits is the size of new RSA keys: 112 bits of security, which NIST SP
// 800-57 accepts until 2030 and every verifier reads; 3072 bits sign at a third
// of the speed.
const keyBits = 2048

// GenerateKey makes a signing key for RS256 or ES256 with a self-signed
// certificate. Its tokens are accepted from notBefore until notAfter.
func GenerateKey(tenant directory.TenantID, purpose Purpose, alg string, notBefore, notAfter time.Time) (SigningKey, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, keyBits)
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		err = fmt.Errorf("%w: algorithm %.16q", ErrKey, alg)
	}
	if err != nil {
		return SigningKey{}, fmt.Errorf("make a signing key: %w", err)
	}
	var der []byte
	// People give a kid to commands, where one that begins with a dash is a flag.
	for len(der) == 0 || thumbprint(der)[0] == '-' {
		var serial [16]byte
		rand.Read(serial[:])
		tmpl := &x509.Certificate{
			SerialNumber: new(big.Int).SetBytes(append([]byte{1}, serial[:15]...)),
			Subject:      pkix.Name{CommonName: "Gatehouse token signing"},
			NotBefore:    notBefore, NotAfter: notAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		}
		if der, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private); err != nil {
			return SigningKey{}, fmt.Errorf("certify a signing key: %w", err)
		}
	}
	return NewSigningKey(Key{
		ID: thumbprint(der), Tenant: tenant, Purpose: purpose, Alg: alg, Public: private.Public(),
		NotBefore: notBefore, NotAfter: notAfter, Certificate: der,
	}, private)
}

// NewSigningKey joins a key with its private half, which must be of the same
// pair: *rsa.PrivateKey or *ecdsa.PrivateKey.
func NewSigningKey(key Key, private crypto.Signer) (SigningKey, error) {
	if err := key.check(); err != nil {
		return SigningKey{}, err
	}
	var same bool
	switch p := private.(type) {
	case *rsa.PrivateKey:
		same = p != nil && p.PublicKey.Equal(key.Public)
	case *ecdsa.PrivateKey:
		same = p != nil && p.PublicKey.Equal(key.Public)
	}
	if !same {
		return SigningKey{}, fmt.Errorf("%w: private key of %s is another one's, or a %T", ErrKey, key.ID, private)
	}
	return SigningKey{Key: key, private: private}, nil
}

// PKCS8 returns the private half, to be sealed and stored.
func (k SigningKey) PKCS8() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encode signing key %s: %w", k.ID, err)
	}
	return der, nil
}

func (k SigningKey) sign(text []byte) ([]byte, error) {
	digest := sha256.Sum256(text)
	switch p := k.private.(type) {
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(rand.Reader, p, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, p, digest[:])
		if err != nil {
			return nil, err
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig, nil
	}
	return nil, fmt.Errorf("%w: no private key", ErrKey)
}

// thumbprint is the SHA-1 thumbprint of a certificate as x5t writes it (RFC 7515,
// section 4.1.7). It names a key; nothing rests on SHA-1 being strong.
func thumbprint(der []byte) string {
	sum := sha1.Sum(der)
	return canonical.EncodeToString(sum[:])
}
