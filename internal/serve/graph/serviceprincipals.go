package graph

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

func (d *Door) createServicePrincipal(w http.ResponseWriter, r *http.Request, s *session) error {
	if _, err := s.mayMake(servicePrincipals); err != nil {
		return err
	}
	b := s.sent()
	text, _ := b.text("appId")
	enabled := b.flag("accountEnabled", true)
	if err := b.done(); err != nil {
		return err
	}
	app, err := parseApp(text)
	if err != nil {
		return bad("The appId '" + serve.Printable(text, 64) + "' is not the GUID of an application.")
	}
	sp := directory.ServicePrincipal{ID: principal.NewID(), AppID: app, Tenant: s.tenant, Disabled: !enabled}
	err = d.commit(r.Context(), s, "service principal created", func(s *session) ([]estate.Op, error) {
		a, ok := s.est.Application(app)
		if !ok || a.Tenant != s.tenant {
			// Not in the words of Graph: az would try this for three minutes.
			return nil, bad("There is no application with the appId '" + app.String() + "' in this directory.")
		}
		if _, taken := s.est.ServicePrincipalOf(s.tenant, app); taken {
			return nil, serve.Refuse(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue",
				"The service principal cannot be created, updated, or restored because the service principal name "+app.String()+" is already in use.")
		}
		sp.DisplayName = a.DisplayName
		if owned, err := s.mayMake(servicePrincipals); err == nil && owned {
			// Only that of an application which he could change himself.
			if err := s.needOf(applicationObject(a), applications.action+"/write"); err != nil {
				return nil, err
			}
		}
		return s.make(servicePrincipals, sp.ID, estate.Op{Put: sp})
	})
	if err != nil {
		return err
	}
	return d.created(w, r, s, object{servicePrincipals, sp.ID, sp.Key(), servicePrincipal{ServicePrincipal: sp}})
}

func (d *Door) updateServicePrincipal(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	name, hasName := b.text("displayName")
	_, hasEnabled := b.members["accountEnabled"]
	enabled := b.flag("accountEnabled", true)
	keys := b.keys()
	only := keys != nil && b.only
	bodyErr := b.done()
	p := func(s *session) ([]estate.Op, error) {
		var needs []string
		if !only {
			needs = append(needs, servicePrincipals.action+"/write")
		}
		o, err := s.target(servicePrincipals, r, needs...)
		if err == nil {
			err = notManaged(o)
		}
		if err == nil && keys != nil {
			err = s.credential(o, true)
		}
		if err != nil {
			return nil, err
		}
		if bodyErr != nil {
			return nil, bodyErr
		}
		if only {
			return nil, nil
		}
		old := o.v.(servicePrincipal).ServicePrincipal
		next := old
		if hasName {
			next.DisplayName = name
		}
		if hasEnabled {
			next.Disabled = !enabled
		}
		return s.update(old, next)
	}
	if _, err := p(s); err != nil {
		return err
	}
	var private []store.PrivateOp
	if keys != nil {
		o, _ := servicePrincipals.find(s, r.PathValue("id"))
		var err error
		if private, err = d.replaceKeys(r.Context(), s, o, keys); err != nil {
			return err
		}
	}
	if err := d.commit(r.Context(), s, "service principal changed", p, private...); err != nil {
		return err
	}
	return done(w)
}
