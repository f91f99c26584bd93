package graph

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Federated credentials of applications. They have a name, which does not change,
// and to clients of Graph also an id, which is made from it.

const actionFederated = "Microsoft.Directory/applications/federatedIdentityCredentials"

type federatedBody struct {
	Context     string       `json:"@odata.context,omitzero"`
	ID          principal.ID `json:"id"`
	Name        string       `json:"name"`
	Issuer      string       `json:"issuer"`
	Subject     string       `json:"subject"`
	Audiences   []string     `json:"audiences"`
	Description any          `json:"description"`
	// Expression is in the place of the subject for many subjects.
	Expression *expression `json:"claimsMatchingExpression,omitzero"`
}

type expression struct {
	Value           string `json:"value"`
	LanguageVersion int    `json:"languageVersion"`
}

func federatedOf(f directory.FederatedCredential) federatedBody {
	shown := federatedBody{ID: federatedID(f), Name: f.Name, Issuer: f.Issuer, Subject: f.Subject, Audiences: f.Audiences, Description: orNull(f.Description)}
	if f.SubjectPattern != "" {
		shown.Expression = &expression{f.SubjectPattern.Expression(), 1}
	}
	return shown
}

// federatedID makes an id of version 8 (RFC 9562, section 5.8) of what names a credential.
func federatedID(f directory.FederatedCredential) principal.ID {
	sum := sha256.Sum256(fmt.Appendf(nil, "gatehouse federated credential\x00%s\x00%s", f.Owner, f.Name))
	id := principal.ID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// federated returns the credential that a path names, by name or by id.
func (s *session) federated(app directory.AppID, text string) (directory.FederatedCredential, bool) {
	if name, ok := between(text, "(name='", "')"); ok {
		text = name
	} else if key, ok := between(text, "('", "')"); ok {
		text = key
	}
	id, err := principal.ParseID(text)
	for _, f := range s.est.FederatedCredentials(app) {
		if f.Name == text || err == nil && federatedID(f) == id {
			return f, true
		}
	}
	return directory.FederatedCredential{}, false
}

func (d *Door) listFederated(w http.ResponseWriter, r *http.Request, s *session) error {
	if _, err := d.parse(r, s, []string{"$top", "$select"}, federatedKind); err != nil {
		return err
	}
	o, err := s.target(applications, r, actionFederated+"/read")
	if err != nil {
		return err
	}
	value := []federatedBody{}
	for _, f := range s.est.FederatedCredentials(o.v.(directory.Application).AppID) {
		value = append(value, federatedOf(f))
	}
	return serve.JSON(w, http.StatusOK, map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#applications('" + o.id.String() + "')/federatedIdentityCredentials", "value": value})
}

// federatedKind is what the options of a list may name.
var federatedKind = &kind{name: "federatedIdentityCredentials", properties: []string{"id", "name", "issuer", "subject", "audiences", "description"}}

func (d *Door) getFederated(w http.ResponseWriter, r *http.Request, s *session) error {
	o, err := s.target(applications, r, actionFederated+"/read")
	if err != nil {
		return err
	}
	f, ok := s.federated(o.v.(directory.Application).AppID, r.PathValue("other"))
	if !ok {
		return notFound(r.PathValue("other"))
	}
	return d.answerFederated(w, http.StatusOK, f)
}

func (d *Door) answerFederated(w http.ResponseWriter, status int, f directory.FederatedCredential) error {
	shown := federatedOf(f)
	shown.Context = d.conf.Base + "/v1.0/$metadata#federatedIdentityCredentials/$entity"
	return serve.JSON(w, status, shown)
}

// trust reads the properties of a credential that a client may set.
func (b *body) trust() func(*directory.FederatedCredential) {
	issuer, hasIssuer := b.text("issuer")
	subject, hasSubject := b.text("subject")
	audiences, hasAudiences := b.list("audiences")
	pattern, hasPattern := b.pattern()
	_, hasDescription := b.members["description"]
	description, _ := b.text("description")
	return func(f *directory.FederatedCredential) {
		if hasIssuer {
			f.Issuer = issuer
		}
		if hasSubject {
			f.Subject = subject
		}
		if hasPattern {
			f.SubjectPattern = pattern
		}
		if hasAudiences {
			f.Audiences = audiences
		}
		if hasDescription {
			f.Description = description
		}
	}
}

// pattern reads the expression that is in the place of a subject.
func (b *body) pattern() (directory.SubjectPattern, bool) {
	in := b.nested("claimsMatchingExpression")
	if in == nil {
		return "", false
	}
	value, _ := in.text("value")
	version := 0
	in.take("languageVersion", &version, "a number")
	err := in.done()
	if err == nil && version != 1 {
		err = bad("The languageVersion of a claimsMatchingExpression is 1.")
	}
	p, parseErr := directory.ParseExpression(value)
	if err = cmp.Or(err, parseErr); err != nil && b.err == nil {
		b.err = err
	}
	return p, err == nil
}

// trusted returns the op that writes a credential, if the caller may and if it is
// one: no other of the application is for the same issuer and subject, and the
// house would ask the issuer (FED-05).
func (d *Door) trusted(s *session, old *directory.FederatedCredential, next directory.FederatedCredential) ([]estate.Op, error) {
	needs := serve.ToPut(s.est, nil, next)
	if old != nil {
		needs = serve.ToPut(s.est, *old, next)
	}
	if err := s.needAll(needs); err != nil {
		return nil, err
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}
	if d.conf.CheckIssuer != nil {
		if err := d.conf.CheckIssuer(next.Issuer); err != nil {
			return nil, err
		}
	}
	for _, f := range s.est.FederatedCredentials(next.Owner) {
		if f.Name != next.Name && f.SameTrust(next) {
			return nil, serve.Refuse(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue",
				"FederatedIdentityCredential with issuer and subject of this one already exists: '"+f.Name+"'.")
		}
	}
	return []estate.Op{{Put: next}}, serve.WithinLimits(s.est, next, s.now)
}

func (d *Door) createFederated(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	name, _ := b.text("name")
	set := b.trust()
	bodyErr := b.done()
	var next directory.FederatedCredential
	err := d.commit(r.Context(), s, "federated credential added", func(s *session) ([]estate.Op, error) {
		o, err := s.target(applications, r, actionFederated+"/write")
		if err != nil {
			return nil, err
		}
		if bodyErr != nil {
			return nil, bodyErr
		}
		next = directory.FederatedCredential{Owner: o.v.(directory.Application).AppID, Name: name}
		if set(&next); name == "" {
			return nil, required("name", "FederatedIdentityCredential")
		}
		if _, taken := s.est.Get(next.Key()); taken {
			return nil, serve.Refuse(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "FederatedIdentityCredential with name "+name+" already exists.")
		}
		return d.trusted(s, nil, next)
	})
	if err != nil {
		return err
	}
	return d.answerFederated(w, http.StatusCreated, next)
}

func (d *Door) updateFederated(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	name, hasName := b.text("name")
	set := b.trust()
	bodyErr := b.done()
	err := d.commit(r.Context(), s, "federated credential changed", func(s *session) ([]estate.Op, error) {
		o, err := s.target(applications, r, actionFederated+"/write")
		if err != nil {
			return nil, err
		}
		if bodyErr != nil {
			return nil, bodyErr
		}
		old, ok := s.federated(o.v.(directory.Application).AppID, r.PathValue("other"))
		if !ok {
			return nil, notFound(r.PathValue("other"))
		}
		if hasName && name != old.Name {
			return nil, bad("The name of a federated identity credential cannot be changed.")
		}
		next := old
		set(&next)
		return d.trusted(s, &old, next)
	})
	if err != nil {
		return err
	}
	return done(w)
}

func (d *Door) removeFederated(w http.ResponseWriter, r *http.Request, s *session) error {
	err := d.commit(r.Context(), s, "federated credential removed", func(s *session) ([]estate.Op, error) {
		o, err := s.target(applications, r, actionFederated+"/delete")
		if err != nil {
			return nil, err
		}
		f, ok := s.federated(o.v.(directory.Application).AppID, r.PathValue("other"))
		if !ok {
			return nil, notFound(r.PathValue("other"))
		}
		return []estate.Op{{Delete: f.Key()}}, s.needAll(serve.ToDelete(s.est, f))
	})
	if err != nil {
		return err
	}
	return done(w)
}
