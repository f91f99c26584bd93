package graph

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// application reads the properties of an application that a client may set, and
// returns what they make of one. What is not there stays.
func (b *body) application() func(*directory.Application) error {
	name, hasName := b.text("displayName")
	uris, hasURIs := b.list("identifierUris")
	audience, hasAudience := b.text("signInAudience")
	_, hasFallback := b.members["isFallbackPublicClient"]
	fallback := b.flag("isFallbackPublicClient", false)
	redirects := func(of string) ([]string, bool) {
		in := b.nested(of)
		if in == nil {
			return nil, false
		}
		list, ok := in.list("redirectUris")
		if err := in.done(); err != nil && b.err == nil {
			b.err = err
		}
		return list, ok
	}
	web, hasWeb := redirects("web")
	public, hasPublic := redirects("publicClient")
	if hasAudience && audience != "AzureADMyOrg" && b.err == nil {
		b.err = bad("signInAudience must be AzureADMyOrg: applications of this house are for its own tenant.")
	}
	return func(a *directory.Application) error {
		if hasName {
			a.DisplayName = name
		}
		if hasURIs {
			a.IdentifierURIs = uris
		}
		if hasFallback {
			a.Public = fallback
		}
		switch {
		case len(web) > 0 && len(public) > 0:
			return bad("An application has redirectUris of 'web' or of 'publicClient' here, not of both.")
		case len(public) > 0:
			if hasFallback && !fallback {
				return bad("redirectUris of 'publicClient' make the application a public client: isFallbackPublicClient cannot be false.")
			}
			a.Public, a.RedirectURIs = true, public
		case len(web) > 0:
			if hasFallback && fallback || a.Public && !hasFallback {
				return bad("A public client has redirectUris of 'publicClient', not of 'web'.")
			}
			a.Public, a.RedirectURIs = false, web
		case hasPublic && a.Public, hasWeb && !a.Public:
			a.RedirectURIs = nil
		}
		return nil
	}
}

// unshared refuses an application whose audience is that of another: whoever
// asks for a token would get one for either.
func (s *session) unshared(next directory.Application) error {
	for a := range s.est.Applications() {
		for _, uri := range next.IdentifierURIs {
			if a.AppID != next.AppID && slices.ContainsFunc(a.IdentifierURIs, func(u string) bool {
				return strings.EqualFold(strings.TrimSuffix(u, "/"), strings.TrimSuffix(uri, "/"))
			}) {
				return bad("Another object with the same value for property identifierUris already exists.")
			}
		}
	}
	return nil
}

func (d *Door) createApplication(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(applications.action + "/write"); err != nil {
		return err
	}
	b := s.sent()
	_, hasName := b.members["displayName"]
	set := b.application()
	if err := b.done(); err != nil {
		return err
	}
	if !hasName {
		return required("displayName", "Application")
	}
	a := directory.Application{ID: principal.NewID(), AppID: directory.NewAppID(), Tenant: s.tenant}
	if err := set(&a); err != nil {
		return err
	}
	err := d.commit(r.Context(), s, "application created", func(s *session) ([]estate.Op, error) {
		if err := s.unshared(a); err != nil {
			return nil, err
		}
		return s.create(a)
	})
	if err != nil {
		return err
	}
	return d.answer(w, r, s, http.StatusCreated, applicationObject(a), nil)
}

func (d *Door) updateApplication(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(applications.action + "/write"); err != nil {
		return err
	}
	b := s.sent()
	set := b.application()
	if err := b.done(); err != nil {
		return err
	}
	err := d.commit(r.Context(), s, "application changed", func(s *session) ([]estate.Op, error) {
		o, ok := applications.find(s, r.PathValue("id"))
		if !ok {
			return nil, notFound(r.PathValue("id"))
		}
		old := o.v.(directory.Application)
		next := old
		if err := set(&next); err != nil {
			return nil, err
		}
		if err := s.unshared(next); err != nil {
			return nil, err
		}
		return s.update(old, next)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
