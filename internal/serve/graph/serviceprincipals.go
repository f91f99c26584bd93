package graph

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

func (d *Door) createServicePrincipal(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(servicePrincipals.action + "/write"); err != nil {
		return err
	}
	b := s.sent()
	text, _ := b.text("appId")
	enabled := b.flag("accountEnabled", true)
	if err := b.done(); err != nil {
		return err
	}
	var app directory.AppID
	if app.UnmarshalText([]byte(text)) != nil || app.IsZero() {
		return bad("The appId '" + serve.Printable(text, 64) + "' is not the GUID of an application.")
	}
	sp := directory.ServicePrincipal{ID: principal.NewID(), AppID: app, Tenant: s.tenant, Disabled: !enabled}
	err := d.commit(r.Context(), s, "service principal created", func(s *session) ([]estate.Op, error) {
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
		return s.create(sp)
	})
	if err != nil {
		return err
	}
	return d.answer(w, r, s, http.StatusCreated, object{servicePrincipals, sp.ID, sp.Key(), servicePrincipal{ServicePrincipal: sp}}, nil)
}
