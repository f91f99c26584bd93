package vault

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pfx"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// backdate is how long before its creation a certificate becomes valid, for peers
// whose clocks are behind.
const backdate = 10 * time.Minute

// A Bundle is a private key and its certificates, that of the key first.
type Bundle struct {
	Key   PrivateKey
	Chain []*x509.Certificate
}

// SelfSign makes the certificate that a policy describes.
func (p Policy) SelfSign(key PrivateKey, now time.Time) (*x509.Certificate, error) {
	tmpl, err := p.template()
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] &= 0x7f
	tmpl.SerialNumber = new(big.Int).Add(new(big.Int).SetBytes(b), big.NewInt(1))
	tmpl.NotBefore, tmpl.NotAfter = now.Add(-backdate), now.AddDate(0, p.Months, 0)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.signer.Public(), key.signer)
	if err != nil {
		return nil, record.Invalid("the certificate cannot be made: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Request makes the signing request of the certificate that a policy describes.
func (p Policy) Request(key PrivateKey) ([]byte, error) {
	tmpl, err := p.template()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		RawSubject: tmpl.RawSubject, DNSNames: tmpl.DNSNames, EmailAddresses: tmpl.EmailAddresses,
	}, key.signer)
	if err != nil {
		return nil, record.Invalid("the request cannot be made: %w", err)
	}
	return der, nil
}

// Merge checks that certificates, that of the key first, answer a request.
func Merge(key PrivateKey, chain [][]byte) (Bundle, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return Bundle{}, record.Invalid("%d certificates, want 1 to %d", len(chain), maxChain)
	}
	b := Bundle{Key: key}
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return Bundle{}, record.Invalid("certificate: %w", err)
		}
		b.Chain = append(b.Chain, cert)
	}
	if !key.matches(b.Chain[0].PublicKey) {
		return Bundle{}, record.Invalid("the public key of the certificate is not that of the request")
	}
	return b, nil
}

const maxChain = 10

// ReadBundle reads a private key and its certificates: PEM, or PKCS #12 in base64,
// and says which of the two content types it was.
func ReadBundle(value, password string) (Bundle, string, error) {
	if strings.Contains(value, "-----BEGIN ") {
		b, err := readPEM([]byte(value))
		return b, PEM, err
	}
	der, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return Bundle{}, "", record.Invalid("the certificate is neither PEM nor PKCS #12 in base64")
	}
	c, err := pfx.Decode(der, password)
	if err != nil {
		return Bundle{}, "", record.Invalid("%w", err)
	}
	key, err := NewPrivateKey(c.Key)
	if err != nil {
		return Bundle{}, "", err
	}
	if len(c.Certificates) > maxChain {
		return Bundle{}, "", record.Invalid("%d certificates, at most %d", len(c.Certificates), maxChain)
	}
	return Bundle{key, c.Certificates}, PKCS12, nil
}

func readPEM(text []byte) (Bundle, error) {
	var b Bundle
	if len(text) > pfx.MaxSize {
		return Bundle{}, record.Invalid("the PEM text has %d bytes, at most %d", len(text), pfx.MaxSize)
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return Bundle{}, record.Invalid("certificate: %w", err)
			}
			b.Chain = append(b.Chain, cert)
		case "PRIVATE KEY":
			if !b.Key.IsZero() || len(block.Bytes) > 4<<10 {
				return Bundle{}, record.Invalid("want one private key, of at most 4 KiB")
			}
			var err error
			if b.Key, err = ParsePrivateKey(block.Bytes); err != nil {
				return Bundle{}, err
			}
		default:
			return Bundle{}, record.Invalid("a PEM block %.32q: want one PRIVATE KEY (PKCS #8) and CERTIFICATEs", block.Type)
		}
	}
	if len(bytes.TrimSpace(text)) > 0 {
		return Bundle{}, record.Invalid("text behind the last PEM block")
	}
	if b.Key.IsZero() || len(b.Chain) == 0 || len(b.Chain) > maxChain {
		return Bundle{}, record.Invalid("%d certificates, want a private key and 1 to %d", len(b.Chain), maxChain)
	}
	leaf := slices.IndexFunc(b.Chain, func(c *x509.Certificate) bool { return b.Key.matches(c.PublicKey) })
	if leaf < 0 {
		return Bundle{}, record.Invalid("no certificate belongs to the private key")
	}
	first := b.Chain[leaf]
	b.Chain = append([]*x509.Certificate{first}, slices.Delete(b.Chain, leaf, leaf+1)...)
	return b, nil
}

// Secret writes the bundle as the value of the certificate's secret. With hidden,
// the private key is left out.
func (b Bundle) Secret(contentType string, hidden bool) (string, error) {
	if contentType == PKCS12 && !hidden {
		der, err := pfx.Encode(pfx.Contents{Key: b.Key.signer, Certificates: b.Chain}, "")
		return base64.StdEncoding.EncodeToString(der), err
	}
	var text strings.Builder
	if !hidden {
		der, err := b.Key.Marshal()
		if err != nil {
			return "", err
		}
		pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: der}) // a Builder takes everything
	}
	if contentType == PKCS12 {
		return base64.StdEncoding.EncodeToString(b.Chain[0].Raw), nil
	}
	for _, c := range b.Chain {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return text.String(), nil
}

// PolicyOf describes a certificate that was made elsewhere.
func PolicyOf(b Bundle, contentType string, hidden bool) (Policy, error) {
	leaf := b.Chain[0]
	spec, err := specOf(leaf.PublicKey, nil)
	if err != nil {
		return Policy{}, err
	}
	months := int(leaf.NotAfter.Sub(leaf.NotBefore).Hours()/24/30.4 + 0.5)
	p := Policy{
		Issuer: IssuerUnknown, Key: spec, ContentType: contentType, Hidden: hidden, Subject: leaf.Subject.String(),
		DNS: leaf.DNSNames, Emails: leaf.EmailAddresses, Months: min(max(months, 1), maxMonths), Usages: []string{}, Extended: []string{},
	}
	for name, bit := range keyUsages {
		if leaf.KeyUsage&bit != 0 {
			p.Usages = append(p.Usages, name)
		}
	}
	slices.Sort(p.Usages)
	if _, err := p.template(); err != nil {
		// What it calls itself cannot be written as a policy: it is kept as it is, and
		// the next one needs a policy of its own.
		p.Subject = ""
		if _, err := p.template(); err != nil {
			p.DNS, p.Emails = nil, nil
		}
	}
	return p, nil
}

// Thumbprint is the SHA-1 of a certificate, by which Key Vault calls it.
func Thumbprint(der []byte) []byte {
	sum := sha1.Sum(der)
	return sum[:]
}

// ErrNoPending says that no certificate is being made.
var ErrNoPending = errors.New("no certificate is being made")
