package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Leaf describes a certificate to be issued. The zero Leaf is refused: it is
// good for neither end of a connection.
type Leaf struct {
	// CommonName is required. For a Kubernetes API server it is the user.
	CommonName string
	// Organizations are groups for a Kubernetes API server. system:masters is
	// refused: no authoriser is asked about its members, so that nothing could
	// take back what such a certificate grants.
	Organizations []string
	// DNS, IPs and URIs are the subject alternative names. A server needs a DNS
	// name or an address, because clients look at nothing else.
	DNS  []string
	IPs  []net.IP
	URIs []*url.URL
	// Server and Client say which end of a connection it is good for; one of them
	// must be set.
	Server, Client bool
	// Life is how long from now it is valid; it never outlives its authority.
	Life time.Duration
}

// masters is the group that Kubernetes binds to all rights in its own code.
const masters = "system:masters"

// maxName bounds each part of a subject, in bytes. It is above the 64 characters
// of X.520, which user principal names exceed and no TLS stack enforces.
const maxName = 256

var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
)

// Issue signs a certificate for a fresh ECDSA P-256 key, valid from now (less
// Backdate). The error wraps ErrInvalid when the leaf asks for what is never
// given, and when the authority is not valid now.
func (ca *CA) Issue(leaf Leaf, now time.Time) (Pair, error) {
	if err := leaf.check(); err != nil {
		return Pair{}, err
	}
	if now.Before(ca.Cert.NotBefore) || !now.Before(ca.Cert.NotAfter) {
		return Pair{}, invalid("authority %q is not valid at %s", ca.Cert.Subject.CommonName, now.UTC().Format(time.RFC3339))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key for %q: %w", leaf.CommonName, err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               leaf.subject(),
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(leaf.Life),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		DNSNames:              leaf.DNS,
		IPAddresses:           leaf.IPs,
		URIs:                  leaf.URIs,
	}
	if tmpl.NotAfter.After(ca.Cert.NotAfter) {
		tmpl.NotAfter = ca.Cert.NotAfter
	}
	if leaf.Server {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if leaf.Client {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	cert, err := sign(tmpl, ca.Cert, key.Public(), ca.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue for %q: %w", leaf.CommonName, err)
	}
	if err := leaf.matches(cert); err != nil {
		return Pair{}, err
	}
	private, err := keyPEM(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{CertPEM: certPEM(cert.Raw), KeyPEM: private}, nil
}

// subject is the one template. One RDN for each organization, because DER sorts
// the values of a shared one, and some readers take only its first.
func (l Leaf) subject() pkix.Name {
	names := []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: l.CommonName}}
	for _, o := range l.Organizations {
		names = append(names, pkix.AttributeTypeAndValue{Type: oidOrganization, Value: o})
	}
	return pkix.Name{ExtraNames: names}
}

// matches holds the law of this package against a signed certificate: who reads
// it sees the names that were asked for, and no other.
func (l Leaf) matches(cert *x509.Certificate) error {
	if cert.Subject.CommonName != l.CommonName || !slices.Equal(cert.Subject.Organization, l.Organizations) ||
		len(cert.Subject.Names) != 1+len(l.Organizations) {
		return invalid("subject of %q reads back as %q", l.CommonName, cert.Subject)
	}
	if !slices.Equal(cert.DNSNames, l.DNS) || len(cert.IPAddresses) != len(l.IPs) || len(cert.URIs) != len(l.URIs) ||
		len(cert.EmailAddresses) != 0 {
		return invalid("alternative names of %q do not read back", l.CommonName)
	}
	for i, ip := range l.IPs {
		if !cert.IPAddresses[i].Equal(ip) {
			return invalid("address %s of %q reads back as %s", ip, l.CommonName, cert.IPAddresses[i])
		}
	}
	for i, u := range l.URIs {
		if cert.URIs[i].String() != u.String() {
			return invalid("URI %q of %q reads back as %q", u, l.CommonName, cert.URIs[i])
		}
	}
	return nil
}

func (l Leaf) check() error {
	if err := checkName("common name", l.CommonName); err != nil {
		return err
	}
	for i, o := range l.Organizations {
		if err := checkName("organization", o); err != nil {
			return err
		}
		if strings.EqualFold(strings.TrimSpace(o), masters) {
			return invalid("%q: nothing can take back membership of %s", l.CommonName, masters)
		}
		if slices.Contains(l.Organizations[:i], o) {
			return invalid("%q: organization %q twice", l.CommonName, o)
		}
	}
	switch {
	case !l.Server && !l.Client:
		return invalid("%q is for neither end of a connection", l.CommonName)
	case l.Life <= 0:
		return invalid("%q would live for %s", l.CommonName, l.Life)
	case l.Server && len(l.DNS) == 0 && len(l.IPs) == 0:
		return invalid("server %q has neither DNS name nor address", l.CommonName)
	}
	for _, d := range l.DNS {
		if !isHostName(d) {
			return invalid("%q: %q is not a host name", l.CommonName, d)
		}
	}
	for _, ip := range l.IPs {
		if ip.To16() == nil {
			return invalid("%q: an address of %d bytes", l.CommonName, len(ip))
		}
	}
	for _, u := range l.URIs {
		if u == nil || u.Scheme == "" {
			return invalid("%q: a URI without scheme", l.CommonName)
		}
	}
	return nil
}

// checkName refuses what a reader could take for another name, or not see. Commas,
// slashes and equals signs are fine: DER gives them no meaning.
func checkName(what, name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return invalid("%s %.300q is empty, longer than %d bytes or not UTF-8", what, name, maxName)
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return invalid("%s %q has the invisible character %U", what, name, r)
		}
	}
	return nil
}

// isHostName accepts letters, digits, hyphens and dots; no wildcard, because the
// house knows each of its names.
func isHostName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return true
}
