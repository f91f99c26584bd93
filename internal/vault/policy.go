package vault

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// The issuers of certificates that there are here.
const (
	IssuerSelf    = "Self"    // the certificate signs itself
	IssuerUnknown = "Unknown" // somebody else signs, and the certificate is merged
)

// The content types of a certificate's secret.
const (
	PKCS12 = "application/x-pkcs12"
	PEM    = "application/x-pem-file"
)

// A Policy says what the next version of a certificate is to be.
type Policy struct {
	Issuer      string  `json:"issuer"`
	Key         KeySpec `json:"key"`
	ReuseKey    bool    `json:"reuseKey,omitzero"`
	ContentType string  `json:"contentType"`
	// Hidden keeps the private key out of the certificate's secret.
	Hidden bool `json:"hidden,omitzero"`
	// Subject is a distinguished name, such as CN=web.example, O=Example.
	Subject  string   `json:"subject"`
	DNS      []string `json:"dns,omitempty"`
	Emails   []string `json:"emails,omitempty"`
	Usages   []string `json:"usages,omitempty"`   // of the key, by their names in X.509
	Extended []string `json:"extended,omitempty"` // object identifiers
	Months   int      `json:"months"`
	// RenewPercent and RenewDays say when the next version is made by itself: after
	// so much of its life, or so many days before its end. Both zero is never.
	RenewPercent int       `json:"renewPercent,omitzero"`
	RenewDays    int       `json:"renewDays,omitzero"`
	Created      time.Time `json:"created,omitzero"`
	Updated      time.Time `json:"updated,omitzero"`
}

// A Pending is a certificate that is being made.
type Pending struct {
	Version   ID     `json:"version"`
	RequestID string `json:"requestId"`
	// Request is the DER of the certificate signing request.
	Request   []byte `json:"request"`
	Completed bool   `json:"completed,omitzero"`
	// PublicKey is that of the version to come.
	Key       PublicKey `json:"key"`
	Tags      Tags      `json:"tags,omitzero"`
	Disabled  bool      `json:"disabled,omitzero"`
	Cancelled bool      `json:"cancelled,omitzero"`
}

const (
	defaultMonths = 12
	maxMonths     = 1200
	maxNames      = 100
)

var keyUsages = map[string]x509.KeyUsage{
	"digitalSignature": x509.KeyUsageDigitalSignature, "nonRepudiation": x509.KeyUsageContentCommitment,
	"keyEncipherment": x509.KeyUsageKeyEncipherment, "dataEncipherment": x509.KeyUsageDataEncipherment,
	"keyAgreement": x509.KeyUsageKeyAgreement, "keyCertSign": x509.KeyUsageCertSign, "cRLSign": x509.KeyUsageCRLSign,
	"encipherOnly": x509.KeyUsageEncipherOnly, "decipherOnly": x509.KeyUsageDecipherOnly,
}

// Complete fills in what a policy leaves open, as Key Vault does, and refuses what
// cannot be made here.
func (p Policy) Complete() (Policy, error) {
	if p.Issuer == "" {
		p.Issuer = IssuerSelf
	}
	if p.Issuer != IssuerSelf && p.Issuer != IssuerUnknown {
		return Policy{}, record.Invalid("there is no issuer %.64q here: want %s, or %s to have the certificate signed elsewhere", p.Issuer, IssuerSelf, IssuerUnknown)
	}
	if p.Key.Type == "" {
		p.Key.Type = RSA
	}
	var err error
	if p.Key, err = p.Key.Complete(); err != nil {
		return Policy{}, err
	}
	if p.ContentType == "" {
		p.ContentType = PKCS12
	}
	if p.ContentType != PKCS12 && p.ContentType != PEM {
		return Policy{}, record.Invalid("the secret of a certificate is of the type %s or %s, not %.64q", PKCS12, PEM, p.ContentType)
	}
	if p.Months == 0 {
		p.Months = defaultMonths
	}
	if p.Months < 1 || p.Months > maxMonths {
		return Policy{}, record.Invalid("a certificate is valid for 1 to %d months, not %d", maxMonths, p.Months)
	}
	if p.Usages == nil {
		p.Usages = []string{"digitalSignature", "keyEncipherment"}
		if p.Key.Type == EC {
			p.Usages = []string{"digitalSignature"}
		}
	}
	if p.Extended == nil {
		p.Extended = []string{"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}
	}
	if p.RenewPercent < 0 || p.RenewPercent > 99 || p.RenewDays < 0 || p.RenewPercent != 0 && p.RenewDays != 0 {
		return Policy{}, record.Invalid("a certificate is renewed after 1 to 99 percent of its life, or some days before its end, and not both")
	}
	// As in Azure. A version that is due when it is made would make others without end.
	if most := 27 * p.Months; p.RenewDays > most {
		return Policy{}, record.Invalid("a certificate of %d months is renewed at most %d days before its end, not %d", p.Months, most, p.RenewDays)
	}
	if _, err = p.template(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// template is the certificate that the policy describes, without key and dates.
func (p Policy) template() (*x509.Certificate, error) {
	subject, err := parseSubject(p.Subject)
	if err != nil {
		return nil, err
	}
	if len(subject) == 0 && len(p.DNS)+len(p.Emails) == 0 {
		return nil, record.Invalid("a certificate needs a subject or an alternative name")
	}
	raw, err := asn1.Marshal(subject)
	if err != nil {
		return nil, record.Invalid("subject: %w", err)
	}
	if len(p.DNS)+len(p.Emails) > maxNames {
		return nil, record.Invalid("%d alternative names, at most %d", len(p.DNS)+len(p.Emails), maxNames)
	}
	tmpl := &x509.Certificate{RawSubject: raw, DNSNames: p.DNS, EmailAddresses: p.Emails, BasicConstraintsValid: true}
	for _, n := range slices.Concat(p.DNS, p.Emails) {
		if n == "" || len(n) > 254 || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, record.Invalid("alternative name %.64q: want printable ASCII", n)
		}
	}
	for _, n := range p.DNS {
		if u, err := url.Parse("//" + n); err != nil || u.Host != n || u.Port() != "" {
			return nil, record.Invalid("%.64q is not the name of a host", n)
		}
	}
	for _, name := range p.Usages {
		usage, ok := keyUsages[name]
		if !ok {
			return nil, record.Invalid("key usage %.32q: there is no such usage", name)
		}
		tmpl.KeyUsage |= usage
	}
	for _, text := range p.Extended {
		oid, err := x509.ParseOID(text)
		if err != nil {
			return nil, record.Invalid("extended key usage %.64q is not an object identifier", text)
		}
		var arcs asn1.ObjectIdentifier
		for arc := range strings.SplitSeq(oid.String(), ".") {
			n := 0
			for _, d := range arc {
				if n = n*10 + int(d-'0'); n > 1<<28 {
					return nil, record.Invalid("extended key usage %.64q has a number that is too large", text)
				}
			}
			arcs = append(arcs, n)
		}
		tmpl.UnknownExtKeyUsage = append(tmpl.UnknownExtKeyUsage, arcs)
	}
	return tmpl, nil
}

// RenewAt is when a certificate with a life is to be renewed; zero is never.
func (p Policy) RenewAt(from, until time.Time) time.Time {
	switch {
	case p.RenewPercent > 0:
		return from.Add(until.Sub(from) / 100 * time.Duration(p.RenewPercent))
	case p.RenewDays > 0:
		return until.AddDate(0, 0, -p.RenewDays)
	}
	return time.Time{}
}

var subjectTypes = map[string]asn1.ObjectIdentifier{
	"CN": {2, 5, 4, 3}, "SERIALNUMBER": {2, 5, 4, 5}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8}, "S": {2, 5, 4, 8},
	"STREET": {2, 5, 4, 9}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "DC": {0, 9, 2342, 19200300, 100, 1, 25}, "E": {1, 2, 840, 113549, 1, 9, 1},
}

// parseSubject reads a distinguished name such as CN=web.example, O="Example, Inc".
// A comma inside of a value stands between quotes or behind a backslash.
func parseSubject(text string) (pkix.RDNSequence, error) {
	if len(text) > 512 {
		return nil, record.Invalid("the subject has %d characters, at most 512", len(text))
	}
	var out pkix.RDNSequence
	rest := strings.TrimSpace(text)
	for rest != "" {
		name, after, ok := strings.Cut(rest, "=")
		oid := subjectTypes[strings.ToUpper(strings.TrimSpace(name))]
		if !ok || oid == nil {
			return nil, record.Invalid("subject %.128q: want a distinguished name such as CN=web.example, O=Example", text)
		}
		value, next, err := cutValue(after)
		if err != nil {
			return nil, record.Invalid("subject %.128q: %s", text, err)
		}
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
			return nil, record.Invalid("subject %.128q: a value is empty or has characters that do not print", text)
		}
		out = append(out, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}})
		rest = next
	}
	// In a certificate the most general name comes first.
	slices.Reverse(out)
	return out, nil
}

// cutValue reads a value up to the comma that ends it.
func cutValue(text string) (value, rest string, err error) {
	var b strings.Builder
	quoted, kept := false, 0 // kept is how much of b does not end in trimmed spaces
	text = strings.TrimLeft(text, " ")
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			if i++; i == len(text) {
				return "", "", errors.New("a backslash at its end")
			}
			b.WriteByte(text[i])
			kept = b.Len()
		case c == '"':
			quoted = !quoted
			kept = b.Len()
		case c == ',' && !quoted:
			if rest = strings.TrimSpace(text[i+1:]); rest == "" {
				return "", "", errors.New("a comma at its end")
			}
			return b.String()[:kept], rest, nil
		default:
			b.WriteByte(c)
			if c != ' ' || quoted {
				kept = b.Len()
			}
		}
	}
	if quoted {
		return "", "", errors.New("a quote that does not end")
	}
	return b.String()[:kept], "", nil
}
