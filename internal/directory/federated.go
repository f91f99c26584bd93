package directory

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A FederatedCredential lets a token of another issuer speak for an application
// or a managed identity. Issuer, subject and audience are compared byte for byte;
// no character in them is special. In the place of the subject there may be a
// pattern, which counts where the tenant allows that.
type FederatedCredential struct {
	Owner     AppID    `json:"owner"`
	Name      string   `json:"name"`
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject,omitzero"`
	Audiences []string `json:"audiences"` // exactly one, as in Entra ID
	// SubjectPattern is there when Subject is not.
	SubjectPattern SubjectPattern `json:"subjectPattern,omitzero"`
	// Description is for people, at most 600 bytes.
	Description string `json:"description,omitzero"`
	// Request is the request for an identity that the credential was made for. It
	// counts only as long as what was approved lasts; see estate.TrustsOf.
	Request IdentityRequestID `json:"request,omitzero"`
}

// ExchangeAudience is the audience of tokens that are exchanged in the public cloud.
const ExchangeAudience = "api://AzureADTokenExchange"

// IdentityRequestID is the id of a request for an identity; see package
// identityrequest.
type IdentityRequestID = guid.Of[identityRequest]

type identityRequest struct{}

// maxFederated is how long issuer, subject and audience may be, in bytes.
const maxFederated = 600

// Key implements record.Record.
func (f FederatedCredential) Key() record.Key {
	return record.KeyOf(record.FederatedCredential, f.Owner.String(), f.Name)
}

// Validate implements record.Record. Whether the issuer may be asked for its keys
// depends on the house; see package trust.
func (f FederatedCredential) Validate() error {
	switch {
	case f.Owner.IsZero():
		return record.Invalid("federated credential %q has no owner", f.Name)
	case !validCredentialName(f.Name):
		return record.Invalid("Federated identity credential name '%.200s' is invalid. It has 3 to 120 letters, digits, '-' and '_', and begins with a letter or digit.", f.Name)
	case len(f.Audiences) != 1:
		return record.Invalid("Federated identity credentials must have exactly one audience.")
	}
	if len(f.Description) > maxFederated || !utf8.ValidString(f.Description) {
		return record.Invalid("federated credential %q: the description is longer than %d bytes or not UTF-8", f.Name, maxFederated)
	}
	texts := []struct{ what, text string }{{"issuer", f.Issuer}, {"audience", f.Audiences[0]}}
	switch {
	case f.SubjectPattern == "":
		texts = append(texts, struct{ what, text string }{"subject", f.Subject})
	case f.Subject != "":
		return record.Invalid("federated credential %q has a subject and a pattern of subjects: it takes one of the two", f.Name)
	default:
		if err := f.SubjectPattern.Validate(); err != nil {
			return fmt.Errorf("federated credential %q: %w", f.Name, err)
		}
	}
	for _, p := range texts {
		if !comparable(p.text) {
			return record.Invalid("federated credential %q: the %s %.700q does not have 1 to %d printable ASCII characters, or has blanks at its ends", f.Name, p.what, p.text, maxFederated)
		}
	}
	if u, err := url.Parse(f.Issuer); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return record.Invalid("federated credential %q: issuer %q is not a plain https URL", f.Name, f.Issuer)
	}
	return nil
}

// SameTrust reports whether two credentials are for the same tokens, but for their
// audience. One owner has no two of them.
func (f FederatedCredential) SameTrust(other FederatedCredential) bool {
	return f.Issuer == other.Issuer && f.Subject == other.Subject && f.SubjectPattern == other.SubjectPattern
}

// DefaultIssuer reports whether an issuer is the one that every Kubernetes cluster
// has until somebody gives it another. The keys of one cluster would open what was
// meant for another (FED-15).
func DefaultIssuer(issuer string) bool {
	u, err := url.Parse(issuer)
	return err == nil && strings.HasPrefix(strings.ToLower(u.Hostname())+".", "kubernetes.default.")
}

func validCredentialName(name string) bool {
	for i := range len(name) {
		c := name[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return len(name) >= 3 && len(name) <= 120
}

// comparable reports whether a text has one spelling that people can see: others
// look like another one, and could never be in a token that is accepted.
func comparable(s string) bool {
	if s == "" || len(s) > maxFederated || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
