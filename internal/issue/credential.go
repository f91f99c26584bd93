package issue

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// MaxSecretLife is how long a client secret may live.
const MaxSecretLife = 2 * 366 * 24 * time.Hour

// A ClientSecret is a new secret of an application. Text is shown to its owner
// once and kept nowhere.
type ClientSecret struct {
	KeyID   string // by which it can be removed
	Text    Secret
	Hint    string // its first characters, which tell secrets apart in a list
	Expires time.Time
	// Op stores it.
	Op store.PrivateOp
}

// secretMark begins every client secret: scanners find those that were checked in
// by it, and the house those that were sent where they do not belong.
const secretMark = "gh~"

type storedSecret struct {
	Digest string `json:"digest"`
	Hint   string `json:"hint"`
	Name   string `json:"name,omitzero"`
	// Principal is the service principal that it is for; zero means the application,
	// wherever it is.
	Principal principal.ID `json:"principal,omitzero"`
	Created   time.Time    `json:"created"`
	Expires   time.Time    `json:"expires"`
}

// NewClientSecret makes a secret for an application, valid for life.
//
// It is 256 random bits, kept as SHA-256 and compared in constant time. A slow
// hash is for texts that can be guessed; here it would only make every
// machine-to-machine token cost what a password costs.
func NewClientSecret(id directory.AppID, name string, now time.Time, life time.Duration) (ClientSecret, error) {
	return NewSecretOf(Holder{App: id}, name, now, life)
}

// NewSecretOf is NewClientSecret for a secret that may be good in one tenant alone.
func NewSecretOf(of Holder, name string, now time.Time, life time.Duration) (ClientSecret, error) {
	id := of.App
	if id.IsZero() || life <= 0 || life > MaxSecretLife {
		return ClientSecret{}, record.Invalid("a client secret needs an application and a life of up to two years")
	}
	if err := directory.CheckName("name of the secret", name, true); err != nil {
		return ClientSecret{}, err
	}
	text := secretMark + randomText(32)
	s := ClientSecret{KeyID: randomText(16), Text: NewSecret(text), Hint: text[:6], Expires: now.Add(life)}
	var absent int64
	op, err := put(storedSecret{Digest: digest("clientsecret", text), Hint: s.Hint, Name: name, Principal: of.Principal, Created: now, Expires: s.Expires},
		time.Time{}, &absent, bucketSecret, id.String(), s.KeyID)
	s.Op = op
	return s, err
}

// RemoveClientSecret returns the op that ends a secret.
func RemoveClientSecret(id directory.AppID, keyID string) store.PrivateOp {
	return store.PrivateOp{Bucket: bucketSecret, ID: []string{id.String(), keyID}}
}

// A Certificate is one that an application signs assertions with.
type Certificate struct {
	Thumbprint string // SHA-1, upper-case hex, as az shows it
	Expires    time.Time
	// Op registers it.
	Op store.PrivateOp
}

type storedCertificate struct {
	DER       []byte       `json:"der"`
	KeyID     KeyID        `json:"keyId,omitzero"`
	Name      string       `json:"name,omitzero"`
	Principal principal.ID `json:"principal,omitzero"` // as in storedSecret
	Created   time.Time    `json:"created,omitzero"`
}

// AddCertificate registers a certificate, in PEM or DER, for an application. Weak
// keys, certificates of authorities, and certificates that are not valid now are
// refused. A private key beside it is refused as well, because it has no business
// here.
func AddCertificate(id directory.AppID, text []byte, now time.Time) (Certificate, error) {
	return AddCertificateOf(Holder{App: id}, NewKeyID(), "", text, now)
}

// AddCertificateOf is AddCertificate for one that may be good in one tenant alone,
// with an id and a name by which it is listed.
func AddCertificateOf(of Holder, key KeyID, name string, text []byte, now time.Time) (Certificate, error) {
	id := of.App
	if id.IsZero() || key.IsZero() {
		return Certificate{}, record.Invalid("a certificate needs an application and an id")
	}
	if err := directory.CheckName("name of the certificate", name, true); err != nil {
		return Certificate{}, err
	}
	der := text
	if strings.Contains(string(text), "-----BEGIN") {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" || strings.Contains(string(rest), "-----BEGIN") {
			return Certificate{}, record.Invalid("want exactly one PEM block, a CERTIFICATE")
		}
		der = block.Bytes
	}
	cert, err := token.CheckCertificate(der, now)
	if err != nil {
		return Certificate{}, record.Invalid("certificate: %w", err)
	}
	op, err := put(storedCertificate{DER: cert.Raw, KeyID: key, Name: name, Principal: of.Principal, Created: now},
		time.Time{}, nil, bucketCertificate, of.id(certificateID(cert))...)
	short := sha1.Sum(cert.Raw)
	return Certificate{Thumbprint: strings.ToUpper(hex.EncodeToString(short[:])), Expires: cert.NotAfter, Op: op}, err
}

// RemoveCertificate returns the op that ends the use of a certificate.
func RemoveCertificate(id directory.AppID, cert *x509.Certificate) store.PrivateOp {
	return store.PrivateOp{Bucket: bucketCertificate, ID: []string{id.String(), certificateID(cert)}}
}

func certificateID(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}
