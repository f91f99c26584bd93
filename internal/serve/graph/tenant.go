package graph

import (
	"net/http"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// The tenant as clients see it: organization, and its domains. Both are read here
// and written as records, because tenants share what domains there are.

const actionTenant = "Microsoft.Directory/tenants/read"

func (s *session) organization() (directory.Tenant, error) {
	if err := s.need(actionTenant); err != nil {
		return directory.Tenant{}, err
	}
	t, ok := s.est.Tenant(s.tenant)
	if !ok {
		return t, notFound(s.tenant.String())
	}
	return t, nil
}

func organizationBody(t directory.Tenant) map[string]any {
	domains := make([]map[string]any, len(t.Domains))
	for i, name := range t.Domains {
		domains[i] = map[string]any{"name": name, "isDefault": i == 0, "isInitial": i == 0, "capabilities": "", "type": "Managed"}
	}
	return map[string]any{"id": t.ID, "displayName": orNull(t.DisplayName), "tenantType": "AAD", "verifiedDomains": domains,
		"countryLetterCode": nil, "createdDateTime": nil, "assignedPlans": []string{}, "businessPhones": []string{}, "technicalNotificationMails": []string{}}
}

func (d *Door) organizations(w http.ResponseWriter, r *http.Request, s *session) error {
	t, err := s.organization()
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#organization", "value": []any{organizationBody(t)}})
}

func (d *Door) getOrganization(w http.ResponseWriter, r *http.Request, s *session) error {
	t, err := s.organization()
	if err != nil {
		return err
	}
	if r.PathValue("id") != t.ID.String() {
		return notFound(r.PathValue("id"))
	}
	return serve.JSON(w, http.StatusOK, organizationBody(t))
}

func domainBody(t directory.Tenant, name string) map[string]any {
	first := name == t.Domains[0]
	return map[string]any{"id": name, "authenticationType": "Managed", "isAdminManaged": true, "isDefault": first, "isInitial": first,
		"isRoot": true, "isVerified": true, "supportedServices": []string{}}
}

func (d *Door) domains(w http.ResponseWriter, r *http.Request, s *session) error {
	t, err := s.organization()
	if err != nil {
		return err
	}
	value := make([]map[string]any, len(t.Domains))
	for i, name := range t.Domains {
		value[i] = domainBody(t, name)
	}
	return serve.JSON(w, http.StatusOK, map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#domains", "value": value})
}

func (d *Door) getDomain(w http.ResponseWriter, r *http.Request, s *session) error {
	t, err := s.organization()
	if err != nil {
		return err
	}
	if !slices.Contains(t.Domains, r.PathValue("id")) {
		return notFound(r.PathValue("id"))
	}
	return serve.JSON(w, http.StatusOK, domainBody(t, r.PathValue("id")))
}
