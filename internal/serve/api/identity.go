package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// defaultSession is how long an identity session lasts.
const defaultSession = 8 * time.Hour

// newIdentitySession lets the caller run programs as managed identities.
func (d *Door) newIdentitySession(w http.ResponseWriter, r *http.Request, s *session) error {
	if d.conf.Sessions == nil {
		return notHere()
	}
	var in wire.NewIdentitySession
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	life := time.Duration(in.Minutes) * time.Minute
	if in.Minutes == 0 {
		life = defaultSession
	}
	if in.Minutes < 0 || life > issue.MaxIdentitySession {
		return record.Invalid("an identity session lasts up to %d minutes", int(issue.MaxIdentitySession.Minutes()))
	}
	var ids []principal.ID
	out := wire.IdentitySession{}
	for _, text := range in.Identities {
		mi, err := s.identity(text)
		if err != nil {
			return err
		}
		ids = append(ids, mi.ID)
		out.Identities = append(out.Identities, wire.Identity{
			Name: mi.DisplayName, ID: mi.ID.String(), ClientID: mi.ClientID.String(), Tenant: mi.Tenant.String(), Resource: mi.Resource.String(),
		})
	}
	secret, begun, err := d.conf.Sessions.StartIdentitySession(r.Context(), s.caller.ID, ids, life)
	if err != nil {
		return err
	}
	out.Secret, out.Expires = secret.Reveal(), begun.Expires.UTC()
	return serve.JSON(w, http.StatusCreated, out)
}

// endIdentitySession ends the session whose secret the caller has.
func (d *Door) endIdentitySession(w http.ResponseWriter, r *http.Request, s *session) error {
	if d.conf.Sessions == nil {
		return notHere()
	}
	var in wire.EndIdentitySession
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "The body must be an object with a secret.") // never repeat what it was
	}
	err := d.conf.Sessions.EndIdentitySession(r.Context(), s.caller.ID, issue.NewSecret(in.Secret))
	if errors.Is(err, issue.ErrNoSession) {
		return serve.Refuse(http.StatusNotFound, "NotFound", "There is no such identity session.")
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// identity returns the managed identity with an id, a client id, a resource or a
// name, if the caller may use it.
func (s *session) identity(text string) (directory.ManagedIdentity, error) {
	none := fmt.Errorf("managed identity %.200q: %w", text, estate.ErrNotFound)
	var found []directory.ManagedIdentity
	if id, err := guid.Parse[struct{}](text); err == nil {
		if mi, ok := s.est.ManagedIdentity(principal.ID(id)); ok {
			found = append(found, mi)
		} else if mi, ok := s.est.ManagedIdentityByClient(directory.AppID(id)); ok {
			found = append(found, mi)
		}
	} else if strings.HasPrefix(text, "/") {
		at, err := scope.Parse(text)
		if err != nil {
			return directory.ManagedIdentity{}, err
		}
		if mi, ok := s.est.IdentityAt(at); ok {
			found = append(found, mi)
		}
	} else {
		for _, p := range s.est.Named(text) {
			if mi, ok := s.est.ManagedIdentity(p.ID); ok {
				found = append(found, mi)
			}
		}
	}
	var usable []directory.ManagedIdentity
	for _, mi := range found {
		if mi.Tenant == s.tenant && serve.ToUse(mi).Allowed(s.est, s.caller.ID, s.now) {
			usable = append(usable, mi)
		}
	}
	switch {
	case len(usable) == 1:
		return usable[0], nil
	case len(usable) > 1:
		return directory.ManagedIdentity{}, record.Invalid("%d managed identities have the name %q; name one by its resource id, or by its client id", len(usable), text)
	case len(found) == 1 && found[0].Tenant == s.tenant && s.may(identityRead, found[0].Resource, nil):
		op := serve.ToUse(found[0])
		return directory.ManagedIdentity{}, s.need(op.Action, op.At, nil)
	}
	// Whether there is one is told to those who may read it.
	return directory.ManagedIdentity{}, none
}

const identityRead = "Microsoft.ManagedIdentity/userAssignedIdentities/read"
