package vault

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// An Op is what a key may be used for (RFC 7517, section 4.3, and import).
type Op string

// The operations.
const (
	Encrypt Op = "encrypt"
	Decrypt Op = "decrypt"
	Sign    Op = "sign"
	Verify  Op = "verify"
	Wrap    Op = "wrapKey"
	Unwrap  Op = "unwrapKey"
)

// The types of keys.
const (
	RSA = "RSA"
	EC  = "EC"
)

var (
	opsOf  = map[string][]Op{RSA: {Encrypt, Decrypt, Sign, Verify, Wrap, Unwrap}, EC: {Sign, Verify}}
	curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	sizes  = []int{2048, 3072, 4096}
)

// A KeySpec says what key is wanted. Zero fields have Key Vault's defaults.
type KeySpec struct {
	Type  string `json:"type"`           // RSA or EC
	Size  int    `json:"size,omitzero"`  // of RSA, in bits
	Curve string `json:"curve,omitzero"` // of EC
	Ops   []Op   `json:"ops,omitempty"`  // nil is all that the type can
}

// Complete fills in the defaults, and refuses what this house has no keys for.
func (s KeySpec) Complete() (KeySpec, error) {
	switch s.Type {
	case RSA:
		if s.Size == 0 {
			s.Size = sizes[0]
		}
		if !slices.Contains(sizes, s.Size) {
			return KeySpec{}, record.Invalid("an RSA key has 2048, 3072 or 4096 bits, not %d", s.Size)
		}
		if s.Curve != "" {
			return KeySpec{}, record.Invalid("an RSA key has no curve")
		}
	case EC:
		if s.Curve == "" {
			s.Curve = "P-256"
		}
		if curves[s.Curve] == nil {
			return KeySpec{}, record.Invalid("there are the curves P-256, P-384 and P-521 here, not %.32q", s.Curve)
		}
		if s.Size != 0 && s.Size != curves[s.Curve].Params().BitSize {
			return KeySpec{}, record.Invalid("a key on curve %s does not have %d bits", s.Curve, s.Size)
		}
		s.Size = 0
	default:
		return KeySpec{}, record.Invalid("there are keys of the types RSA and EC here, kept in software, not %.32q", s.Type)
	}
	var err error
	s.Ops, err = checkOps(s.Type, s.Ops)
	return s, err
}

func checkOps(typ string, ops []Op) ([]Op, error) {
	if ops == nil {
		return opsOf[typ], nil
	}
	for i, op := range ops {
		if !slices.Contains(opsOf[typ], op) {
			return nil, record.Invalid("key operation %.32q: a key of type %s can %v", op, typ, opsOf[typ])
		}
		if slices.Contains(ops[:i], op) {
			return nil, record.Invalid("key operation %q is there twice", op)
		}
	}
	return ops, nil
}

// A PublicKey is what everybody may know of a key, and what it is for.
type PublicKey struct {
	SPKI []byte `json:"spki"` // DER, RFC 5280, section 4.1.2.7
	Ops  []Op   `json:"ops,omitempty"`
}

// Public returns the key itself: *rsa.PublicKey or *ecdsa.PublicKey.
func (k PublicKey) Public() (crypto.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(k.SPKI)
	if err != nil {
		return nil, record.Invalid("public key: %w", err)
	}
	return pub, nil
}

// Spec says what kind of key it is.
func (k PublicKey) Spec() (KeySpec, error) {
	pub, err := k.Public()
	if err != nil {
		return KeySpec{}, err
	}
	return specOf(pub, k.Ops)
}

func specOf(pub crypto.PublicKey, ops []Op) (KeySpec, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return KeySpec{Type: RSA, Size: pub.N.BitLen(), Ops: ops}.Complete()
	case *ecdsa.PublicKey:
		return KeySpec{Type: EC, Curve: pub.Curve.Params().Name, Ops: ops}.Complete()
	}
	return KeySpec{}, record.Invalid("a key of the type %T", pub)
}

// Permit refuses an operation that the key is not for.
func (k PublicKey) Permit(op Op) error {
	if !slices.Contains(k.Ops, op) {
		return fmt.Errorf("%s: %w", op, ErrNotPermitted)
	}
	return nil
}

// WithOps returns the key for other operations; nil leaves them.
func (k PublicKey) WithOps(ops []Op) (PublicKey, error) {
	if ops == nil {
		return k, nil
	}
	spec, err := k.Spec()
	if err != nil {
		return PublicKey{}, err
	}
	k.Ops, err = checkOps(spec.Type, ops)
	return k, err
}

// A PrivateKey is the secret half of a key. It does not print. The zero
// PrivateKey is none.
type PrivateKey struct{ signer crypto.Signer }

// Format implements fmt.Formatter.
func (PrivateKey) Format(w fmt.State, _ rune) { io.WriteString(w, "[private key]") }

// Generate makes a key. An RSA key of 4096 bits takes about a second of a core.
func Generate(s KeySpec) (PrivateKey, error) {
	s, err := s.Complete()
	if err != nil {
		return PrivateKey{}, err
	}
	if s.Type == EC {
		key, err := ecdsa.GenerateKey(curves[s.Curve], rand.Reader)
		return PrivateKey{key}, err
	}
	key, err := rsa.GenerateKey(rand.Reader, s.Size)
	return PrivateKey{key}, err
}

// NewPrivateKey takes over a key that was made elsewhere, after checking it.
func NewPrivateKey(key crypto.PrivateKey) (PrivateKey, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if _, err := specOf(&key.PublicKey, nil); err != nil {
			return PrivateKey{}, err
		}
		if err := key.Validate(); err != nil {
			return PrivateKey{}, record.Invalid("the RSA key is not consistent")
		}
		key.Precompute()
		return PrivateKey{key}, nil
	case *ecdsa.PrivateKey:
		if _, err := specOf(&key.PublicKey, nil); err != nil {
			return PrivateKey{}, err
		}
		// Marshalling checks that the scalar is in range; the public half could still
		// be another's.
		d, err := key.Bytes()
		if err != nil {
			return PrivateKey{}, record.Invalid("the EC key is not consistent")
		}
		own, err := ecdsa.ParseRawPrivateKey(key.Curve, d)
		if err != nil || !own.PublicKey.Equal(&key.PublicKey) {
			return PrivateKey{}, record.Invalid("the EC key is not consistent")
		}
		return PrivateKey{own}, nil
	}
	return PrivateKey{}, record.Invalid("there are private keys of the types RSA and EC here, not %T", key)
}

// RSANumbers are the members of a private RSA key (RFC 7518, section 6.3.2).
type RSANumbers struct{ N, E, D, P, Q []byte }

// NewRSA returns the private key of its numbers.
func NewRSA(in RSANumbers) (PrivateKey, error) {
	e := new(big.Int).SetBytes(in.E)
	if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
		return PrivateKey{}, record.Invalid("the public exponent of the RSA key is out of range")
	}
	if len(in.P) == 0 || len(in.Q) == 0 || len(in.N) > 512 || len(in.D) > 512 || len(in.P) > 256 || len(in.Q) > 256 {
		return PrivateKey{}, record.Invalid("a private RSA key has the members n, e, d, p and q, of a key of at most 4096 bits")
	}
	num := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
	return NewPrivateKey(&rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: num(in.N), E: int(e.Int64())}, D: num(in.D), Primes: []*big.Int{num(in.P), num(in.Q)},
	})
}

// NewEC returns the private key of a curve, a scalar and the point that belongs
// to it (RFC 7518, section 6.2).
func NewEC(curve string, d, x, y []byte) (PrivateKey, error) {
	c := curves[curve]
	if c == nil {
		return PrivateKey{}, record.Invalid("there are the curves P-256, P-384 and P-521 here, not %.32q", curve)
	}
	n := (c.Params().BitSize + 7) / 8
	if len(d) != n || len(x) != n || len(y) != n {
		return PrivateKey{}, record.Invalid("d, x and y of a key on %s have %d bytes each", curve, n)
	}
	key, err := ecdsa.ParseRawPrivateKey(c, d)
	if err != nil {
		return PrivateKey{}, record.Invalid("the EC key is not consistent")
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(c, slices.Concat([]byte{4}, x, y))
	if err != nil || !pub.Equal(&key.PublicKey) {
		return PrivateKey{}, record.Invalid("the EC key is not consistent")
	}
	return PrivateKey{key}, nil
}

// ParsePrivateKey reads what Marshal wrote.
func ParsePrivateKey(der []byte) (PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return PrivateKey{}, record.Invalid("private key: not PKCS #8")
	}
	return NewPrivateKey(key)
}

// Marshal returns the key as PKCS #8, which is secret.
func (k PrivateKey) Marshal() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k.signer) }

// Public returns the public half, for the given operations; nil is for all.
func (k PrivateKey) Public(ops []Op) (PublicKey, error) {
	spec, err := specOf(k.signer.Public(), ops)
	if err != nil {
		return PublicKey{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(k.signer.Public())
	return PublicKey{SPKI: spki, Ops: spec.Ops}, err
}

// IsZero reports whether there is no key.
func (k PrivateKey) IsZero() bool { return k.signer == nil }

// Equal reports whether another private key is the same.
func (k PrivateKey) Equal(other PrivateKey) bool {
	return !k.IsZero() && !other.IsZero() && k.matches(other.signer.Public())
}

// matches reports whether a public key is the other half.
func (k PrivateKey) matches(pub crypto.PublicKey) bool {
	own, ok := k.signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(pub)
}
