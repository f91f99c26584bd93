package arm

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const federatedType = identityType + "/federatedIdentityCredentials"

const (
	federatedCredentials kind = "federatedIdentityCredentials"
	federatedCredential  kind = "federatedIdentityCredential"
)

type federatedBody struct {
	ID         string              `json:"id"`
	Name       string              `json:"name"`
	Type       string              `json:"type"`
	Properties federatedProperties `json:"properties"`
}

type federatedProperties struct {
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject,omitzero"`
	Audiences []string `json:"audiences"`
	// ClaimsMatchingExpression is in the place of the subject for many subjects.
	ClaimsMatchingExpression expression `json:"claimsMatchingExpression,omitzero"`
}

type expression struct {
	Value           string `json:"value"`
	LanguageVersion int    `json:"languageVersion"`
}

func expressionOf(p directory.SubjectPattern) expression {
	if p == "" {
		return expression{}
	}
	return expression{p.Expression(), 1}
}

func (s *session) federatedBody(m directory.ManagedIdentity, f directory.FederatedCredential) federatedBody {
	return federatedBody{
		ID: s.spell(m.Resource) + "/federatedIdentityCredentials/" + f.Name, Name: f.Name, Type: federatedType,
		Properties: federatedProperties{f.Issuer, f.Subject, some(f.Audiences), expressionOf(f.SubjectPattern)},
	}
}

// parent returns the identity that a credential is of, for who may do something
// with its credentials.
func (s *session) parent(r *request, verb string) (directory.ManagedIdentity, error) {
	if err := s.needAt(federatedType+"/"+verb, r.at); err != nil {
		return directory.ManagedIdentity{}, err
	}
	m, found := s.identity(r.at)
	if !found {
		return directory.ManagedIdentity{}, s.notThere(r.at)
	}
	return m, nil
}

func listFederated(s *session, r *request) (answer, error) {
	m, err := s.parent(r, "read")
	if err != nil {
		return answer{}, err
	}
	var rows []row
	for _, f := range s.est.FederatedCredentials(m.ClientID) {
		rows = append(rows, row{f.Name, s.federatedBody(m, f)})
	}
	return s.page(r, rows)
}

// federated returns the credential that a request names. Names differ by more than
// letter case.
func (s *session) federated(m directory.ManagedIdentity, name string) (directory.FederatedCredential, bool) {
	for _, f := range s.est.FederatedCredentials(m.ClientID) {
		if lowerASCII(f.Name) == lowerASCII(name) {
			return f, true
		}
	}
	return directory.FederatedCredential{}, false
}

func getFederated(s *session, r *request) (answer, error) {
	m, err := s.parent(r, "read")
	if err != nil {
		return answer{}, err
	}
	f, found := s.federated(m, r.name)
	if !found {
		return answer{}, noResource("The resource '%s/federatedIdentityCredentials/%s' was not found.", s.spell(r.at), serve.Printable(r.name, 130))
	}
	return ok(f, s.federatedBody(m, f)), nil
}

var federatedName = regexp.MustCompile(`^[A-Za-z0-9][-\w]{2,119}$`)

// maxFederatedText bounds issuer, subject and audience, in bytes.
const maxFederatedText = 600

// putFederated makes a credential or changes one. Whoever can sign in as an identity
// has what it has, so that it takes the right to give that (see serve.ToPut).
func putFederated(s *session, r *request) (answer, error) {
	bad := func(format string, args ...any) (answer, error) {
		return answer{}, serve.Refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...))
	}
	m, err := s.parent(r, "write")
	if err != nil {
		return answer{}, err
	}
	next := directory.FederatedCredential{Owner: m.ClientID, Name: r.name}
	var before record.Record
	old, exists := s.federated(m, r.name)
	if exists {
		before, next.Name = old, old.Name
	}
	if !old.Request.IsZero() {
		// To write it would give it an end that nobody approved: none.
		return answer{}, serve.Refuse(http.StatusConflict, "Conflict", fmt.Sprintf(
			"The Federated Identity Credential '%s' was made by the request for an identity '%s' and is not changed. Delete it, or retire the request.", old.Name, old.Request))
	}
	if err := s.need(serve.ToPut(s.est, before, next)...); err != nil {
		return answer{}, err
	}
	var in struct {
		Properties *federatedProperties `json:"properties"`
	}
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Properties == nil || in.Properties.Issuer == "" && in.Properties.Subject == "" && len(in.Properties.Audiences) == 0 {
		return bad("Federated Identity Credential from HTTP body has empty properties")
	}
	next.Issuer, next.Subject, next.Audiences = in.Properties.Issuer, in.Properties.Subject, in.Properties.Audiences
	if x := in.Properties.ClaimsMatchingExpression; x != (expression{}) {
		if x.LanguageVersion != 1 {
			return bad("The language version of a claims matching expression is 1.")
		}
		if next.SubjectPattern, err = directory.ParseExpression(x.Value); err != nil {
			return answer{}, err
		}
	}
	switch {
	case !federatedName.MatchString(next.Name):
		return bad("Federated Identity Credential name '%s' is invalid. It has 3 to 120 letters, digits, hyphens and underscores, and begins with a letter or digit.", serve.Printable(r.name, 130))
	case len(next.Audiences) != 1:
		return bad("Federated Identity Credentials must have exactly one audience.")
	case len(next.Issuer) > maxFederatedText || len(next.Subject) > maxFederatedText || len(next.Audiences[0]) > maxFederatedText:
		return bad("Issuer, subject and audience of a Federated Identity Credential have at most %d characters.", maxFederatedText)
	}
	if err := next.Validate(); err != nil {
		return answer{}, err
	}
	if err := s.issuer(next.Issuer); err != nil { // FED-05
		return answer{}, err
	}
	for _, other := range s.est.FederatedCredentials(m.ClientID) {
		if other.Name != next.Name && other.SameTrust(next) {
			return bad("Issuer and subject combination already exists for this Managed Identity.")
		}
	}
	if err := serve.WithinLimits(s.est, next, s.now); err != nil {
		return answer{}, err
	}
	return wrote(exists, !exists || !reflect.DeepEqual(next, old), next, s.federatedBody(m, next)), nil
}

func deleteFederated(s *session, r *request) (answer, error) {
	if err := s.needAt(federatedType+"/delete", r.at); err != nil {
		return answer{}, err
	}
	m, _ := s.identity(r.at)
	f, found := s.federated(m, r.name)
	if !found {
		return answer{status: http.StatusNoContent}, nil
	}
	return answer{status: http.StatusOK, of: f.Key(), ops: []estate.Op{{Delete: f.Key()}}}, s.need(serve.ToDelete(s.est, f)...)
}
