// Package pki makes the X.509 certificates of the house: certificate
// authorities, and the server and client certificates they sign. Everything is
// a value: the instant is an argument, nothing is read from or written to disk.
//
// A Kubernetes API server takes a client certificate's common name for the user
// and each of its organizations for a group. Subjects are therefore built from
// one fixed template, a common name and one single-valued RDN for each
// organization, and Issue parses what it signed and compares: a name can never
// become two names, or another one.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrInvalid is wrapped by every error about names, keys or PEM text that this
// package refuses.
var ErrInvalid = errors.New("invalid certificate material")

// Backdate is how long before its creation a certificate becomes valid, for
// peers whose clocks are behind.
const Backdate = 5 * time.Minute

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// A CA is a certificate authority. It signs leaves only: its path length is zero.
type CA struct {
	// Cert is the authority's own certificate. It must not be changed.
	Cert *x509.Certificate
	key  crypto.Signer
}

// NewCA returns a self-signed authority with a fresh ECDSA P-256 key, valid from
// now (less Backdate) for life. The name becomes the common name.
func NewCA(name string, now time.Time, life time.Duration) (*CA, error) {
	if err := checkName("name of the authority", name); err != nil {
		return nil, err
	}
	if life <= 0 {
		return nil, invalid("authority %q would live for %s", name, life)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for authority %q: %w", name, err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	cert, err := sign(tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %q: %w", name, err)
	}
	if cert.Subject.CommonName != name {
		return nil, invalid("name %q reads back as %q", name, cert.Subject.CommonName)
	}
	return &CA{Cert: cert, key: key}, nil
}

// LoadCA returns the authority written as one certificate and one private key in
// PEM. The key must belong to the certificate and be ECDSA, or RSA of 2048 bits
// or more; the certificate must be allowed to sign others. Whether it has
// expired is asked when it issues.
func LoadCA(certPEM, keyPEM []byte) (*CA, error) {
	block, err := onePEM(certPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate of the authority: %w", err)
	}
	if block.Type != "CERTIFICATE" {
		return nil, invalid("PEM block %q is not a certificate", block.Type)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, invalid("certificate of the authority: %v", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("key of authority %q: %w", cert.Subject.CommonName, err)
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(cert.PublicKey) {
		return nil, invalid("the key does not belong to the certificate of %q", cert.Subject.CommonName)
	}
	if !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, invalid("the certificate of %q may not sign others", cert.Subject.CommonName)
	}
	return &CA{Cert: cert, key: key}, nil
}

// CertPEM returns the authority's certificate.
func (ca *CA) CertPEM() []byte { return certPEM(ca.Cert.Raw) }

// KeyPEM returns the authority's private key as PKCS #8.
func (ca *CA) KeyPEM() ([]byte, error) { return keyPEM(ca.key) }

// Pool returns a new pool that trusts this authority and nothing else.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// A Pair is a certificate and its private key, in PEM. It does not print.
type Pair struct{ CertPEM, KeyPEM []byte }

// Format keeps private keys out of logs and error texts.
func (p Pair) Format(w fmt.State, _ rune) { fmt.Fprint(w, "[certificate and key]") }

// TLS returns the pair as crypto/tls wants it.
func (p Pair) TLS() (tls.Certificate, error) {
	cert, err := tls.X509KeyPair(p.CertPEM, p.KeyPEM)
	if err != nil {
		return tls.Certificate{}, invalid("%v", err)
	}
	return cert, nil
}

// Leaf returns the first certificate, parsed.
func (p Pair) Leaf() (*x509.Certificate, error) {
	block, _ := pem.Decode(p.CertPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, invalid("no certificate in the PEM text")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, invalid("%v", err)
	}
	return cert, nil
}

// serial returns 128 random bits (RFC 5280, section 4.1.2.2, allows up to 20
// octets and wants a positive number).
func serial() *big.Int {
	var b [16]byte
	for {
		rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
		if n := new(big.Int).SetBytes(b[:]); n.Sign() > 0 {
			return n
		}
	}
}

func sign(tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, invalid("%v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, invalid("read back what was signed: %v", err)
	}
	return cert, nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// onePEM returns the only block of a PEM text. Anything else in the text is an
// error: half of a bundle must not pass for the whole.
func onePEM(text []byte) (*pem.Block, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, invalid("no PEM block")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, invalid("text behind the first PEM block")
	}
	return block, nil
}

func parseKey(text []byte) (crypto.Signer, error) {
	block, err := onePEM(text)
	if err != nil {
		return nil, err
	}
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, invalid("PEM block %q is not a private key", block.Type)
	}
	if err != nil {
		return nil, invalid("%v", err)
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < 2048 {
			return nil, invalid("RSA key of %d bits", bits)
		}
		return key, nil
	}
	return nil, invalid("keys of type %T are not used", key)
}
