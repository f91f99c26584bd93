package token

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// MaxAssertionLife is how far ahead a client assertion may end, to which Leeway
// is added: MSAL for Python writes now plus ten minutes and a fraction, by the
// client's clock.
const MaxAssertionLife = 10 * time.Minute

// AssertionWant is what a client assertion must say. The zero AssertionWant
// refuses every assertion.
type AssertionWant struct {
	ClientID directory.AppID
	// Audiences are the spellings of the token endpoint it may be for.
	Audiences []string
}

// Assertion is what must be remembered of an assertion: until Expires, no other
// one of the client may have this ID.
type Assertion struct {
	ID      string
	Expires time.Time
	// Certificate is the registered certificate that proved it.
	Certificate *x509.Certificate
}

// VerifyAssertion verifies what a client signed with the key of one of its
// registered certificates (RFC 7523, section 3). The header must name that
// certificate by x5t or x5t#S256, in base64 of any kind, because clients differ;
// RS256 and PS256 are accepted. Certificates in the token are not read. Every
// error wraps ErrInvalid and comes with a zero Assertion. The caller must refuse
// an ID it has seen.
func VerifyAssertion(raw string, certs []*x509.Certificate, want AssertionWant, now time.Time) (Assertion, error) {
	jws, err := split(raw)
	if err != nil {
		return Assertion{}, err
	}
	if typ := jws.header.Typ; typ != "" && !strings.EqualFold(string(typ), "JWT") {
		return Assertion{}, fmt.Errorf("%w: type %.32q", ErrMalformed, string(typ))
	}
	cert, err := jws.header.certificate(certs)
	if err != nil {
		return Assertion{}, err
	}
	if err := checkCertificate(cert, now); err != nil {
		return Assertion{}, err
	}
	if alg := string(jws.header.Alg); alg != RS256 && alg != ps256 {
		return Assertion{}, fmt.Errorf("%w: algorithm %.16q", ErrKey, alg)
	}
	if !(Key{Public: cert.PublicKey}).verify(string(jws.header.Alg), jws.signed, jws.signature) {
		return Assertion{}, ErrSignature
	}
	f, err := jws.foreign()
	if err != nil {
		return Assertion{}, err
	}
	var client directory.AppID
	err = readID(&client, f.Subject)
	switch {
	case err != nil || want.ClientID.IsZero() || client != want.ClientID:
		return Assertion{}, fmt.Errorf("%w: %.64q", ErrSubject, string(f.Subject))
	case f.Issuer != f.Subject:
		return Assertion{}, fmt.Errorf("%w: %.64q", ErrIssuer, string(f.Issuer))
	case f.Audience == "" || !slices.Contains(want.Audiences, string(f.Audience)):
		return Assertion{}, fmt.Errorf("%w: %.200q", ErrAudience, string(f.Audience))
	case !isID(string(f.ID)):
		return Assertion{}, fmt.Errorf("%w: jti %.64q", ErrMalformed, string(f.ID))
	}
	if err := checkTimes(f.IssuedAt.Time, f.NotBefore.Time, f.Expires.Time, now); err != nil {
		return Assertion{}, err
	}
	if f.Expires.Sub(now) > MaxAssertionLife+Leeway {
		return Assertion{}, fmt.Errorf("%w: the assertion would live for more than %s", ErrExpired, MaxAssertionLife)
	}
	return Assertion{ID: string(f.ID), Expires: f.Expires.Time, Certificate: cert}, nil
}

// certificate returns the registered certificate that the header names.
func (h header) certificate(certs []*x509.Certificate) (*x509.Certificate, error) {
	if h.X5T == "" && h.X5TS256 == "" {
		return nil, fmt.Errorf("%w: neither x5t nor x5t#S256", ErrKey)
	}
	for _, c := range certs {
		short, long := sha1.Sum(c.Raw), sha256.Sum256(c.Raw)
		if (h.X5T == "" || names(string(h.X5T), short[:])) && (h.X5TS256 == "" || names(string(h.X5TS256), long[:])) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: no registered certificate with thumbprint %.64q", ErrKey, string(h.X5T+h.X5TS256))
}

// names reports whether s is a thumbprint in base64: kubelogin writes the
// standard alphabet, az pads, RFC 7515 does neither. The thumbprint is public and
// chooses a key; many spellings of it do no harm.
func names(s string, thumbprint []byte) bool {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	got, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && bytes.Equal(got, thumbprint)
}

// CheckCertificate returns the certificate in der, if a client may log in with
// it: RSA of 2048 to 8192 bits with a sound exponent, no signature by SHA-1 or
// MD5, valid now, and no authority. Self-signed is fine: it is registered by hand.
// Then its signature vouches for nothing, and may be by SHA-1: az makes such ones.
func CheckCertificate(der []byte, now time.Time) (*x509.Certificate, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("%w: certificate of %d bytes", ErrMalformed, len(der))
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate: %w", ErrMalformed, err)
	}
	if err := checkCertificate(cert, now); err != nil {
		return nil, err
	}
	return cert, nil
}

func checkCertificate(cert *x509.Certificate, now time.Time) error {
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return fmt.Errorf("%w: certificate valid from %s until %s", ErrExpired, cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339))
	}
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
		return fmt.Errorf("%w: certificate of a %T", ErrKey, cert.PublicKey)
	}
	if err := checkPublic(RS256, cert.PublicKey); err != nil {
		return err
	}
	switch cert.SignatureAlgorithm {
	case x509.UnknownSignatureAlgorithm, x509.MD2WithRSA, x509.MD5WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return fmt.Errorf("%w: certificate signed with %s", ErrKey, cert.SignatureAlgorithm)
	case x509.SHA1WithRSA:
		if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			break
		}
		return fmt.Errorf("%w: certificate signed with %s", ErrKey, cert.SignatureAlgorithm)
	}
	if cert.IsCA {
		return fmt.Errorf("%w: certificate of an authority", ErrKey)
	}
	if cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("%w: certificate not for signatures", ErrKey)
	}
	return nil
}
