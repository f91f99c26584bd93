package vault

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // the hash of RSA-OAEP, which RFC 7518 names so
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"math/big"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// signatures are the algorithms of signatures (RFC 7518, section 3.1).
var signatures = map[string]struct {
	hash  crypto.Hash
	pss   bool
	curve string // "" is RSA
}{
	"RS256": {hash: crypto.SHA256}, "RS384": {hash: crypto.SHA384}, "RS512": {hash: crypto.SHA512},
	"PS256": {hash: crypto.SHA256, pss: true}, "PS384": {hash: crypto.SHA384, pss: true}, "PS512": {hash: crypto.SHA512, pss: true},
	"ES256": {hash: crypto.SHA256, curve: "P-256"}, "ES384": {hash: crypto.SHA384, curve: "P-384"}, "ES512": {hash: crypto.SHA512, curve: "P-521"},
}

// oaep are the algorithms of encryption. RSA1_5 is not among them: whoever can
// ask for decryptions with it can decrypt everything (Bleichenbacher, 1998).
var oaep = map[string]crypto.Hash{"RSA-OAEP": crypto.SHA1, "RSA-OAEP-256": crypto.SHA256}

func badAlgorithm(alg string, what any) error {
	return record.Invalid("algorithm %.32q is none of %s", alg, what)
}

// Sign signs a digest, which the caller made with the hash of the algorithm.
func (k PrivateKey) Sign(alg string, digest []byte) ([]byte, error) {
	s, ok := signatures[alg]
	if ok && len(digest) != s.hash.Size() {
		return nil, record.Invalid("a digest for %s has %d bytes, this one %d", alg, s.hash.Size(), len(digest))
	}
	switch key := k.signer.(type) {
	case *rsa.PrivateKey:
		if !ok || s.curve != "" {
			return nil, badAlgorithm(alg, "an RSA key")
		}
		if s.pss {
			return rsa.SignPSS(rand.Reader, key, s.hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(nil, key, s.hash, digest)
	case *ecdsa.PrivateKey:
		if !ok || s.curve != key.Curve.Params().Name {
			return nil, badAlgorithm(alg, "a key on "+key.Curve.Params().Name)
		}
		r, v, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, err
		}
		n := (key.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), v.FillBytes(make([]byte, n))...), nil // RFC 7518, section 3.4
	}
	return nil, fmt.Errorf("sign: %w", ErrNotPermitted)
}

// Verify reports whether a signature of a digest is the key's.
func (k PublicKey) Verify(alg string, digest, signature []byte) (bool, error) {
	pub, err := k.Public()
	if err != nil {
		return false, err
	}
	s, ok := signatures[alg]
	if ok && len(digest) != s.hash.Size() {
		return false, record.Invalid("a digest for %s has %d bytes, this one %d", alg, s.hash.Size(), len(digest))
	}
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if !ok || s.curve != "" {
			return false, badAlgorithm(alg, "an RSA key")
		}
		if s.pss {
			return rsa.VerifyPSS(pub, s.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil, nil
		}
		return rsa.VerifyPKCS1v15(pub, s.hash, digest, signature) == nil, nil
	case *ecdsa.PublicKey:
		if !ok || s.curve != pub.Curve.Params().Name {
			return false, badAlgorithm(alg, "a key on "+pub.Curve.Params().Name)
		}
		n := (pub.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*n {
			return false, nil
		}
		return ecdsa.Verify(pub, digest, new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:])), nil
	}
	return false, fmt.Errorf("verify: %w", ErrNotPermitted)
}

// Encrypt encrypts a short text to an RSA key.
func (k PublicKey) Encrypt(alg string, plain []byte) ([]byte, error) {
	pub, err := k.Public()
	if err != nil {
		return nil, err
	}
	hash, ok := oaep[alg]
	key, isRSA := pub.(*rsa.PublicKey)
	if !ok || !isRSA {
		return nil, badAlgorithm(alg, "RSA-OAEP and RSA-OAEP-256 of an RSA key")
	}
	if most := key.Size() - 2*hash.Size() - 2; len(plain) > most {
		return nil, record.Invalid("%d bytes are too many for %s and this key, which take %d", len(plain), alg, most)
	}
	return rsa.EncryptOAEP(hash.New(), rand.Reader, key, plain, nil)
}

// Decrypt decrypts what was encrypted to an RSA key.
func (k PrivateKey) Decrypt(alg string, sealed []byte) ([]byte, error) {
	hash, ok := oaep[alg]
	key, isRSA := k.signer.(*rsa.PrivateKey)
	if !ok || !isRSA {
		return nil, badAlgorithm(alg, "RSA-OAEP and RSA-OAEP-256 of an RSA key")
	}
	plain, err := rsa.DecryptOAEP(hash.New(), nil, key, sealed, nil)
	if err != nil {
		return nil, record.Invalid("the value cannot be decrypted with this key and %s", alg)
	}
	return plain, nil
}
