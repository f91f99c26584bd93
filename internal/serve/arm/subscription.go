package arm

import (
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

type tenantBody struct {
	ID             string   `json:"id"`
	TenantID       string   `json:"tenantId"`
	DisplayName    string   `json:"displayName"`
	DefaultDomain  string   `json:"defaultDomain,omitzero"`
	Domains        []string `json:"domains"`
	TenantCategory string   `json:"tenantCategory"`
}

// listTenants lists the caller's tenant: he is in no other.
func listTenants(s *session, r *request) (answer, error) {
	t, ok := s.est.Tenant(s.tenant)
	if !ok {
		return s.page(r, nil)
	}
	body := tenantBody{ID: "/tenants/" + t.ID.String(), TenantID: t.ID.String(), DisplayName: t.DisplayName, Domains: t.Domains, TenantCategory: "Home"}
	if len(t.Domains) > 0 {
		body.DefaultDomain = t.Domains[0]
	}
	return s.page(r, []row{{t.ID.String(), body}})
}

type subscriptionBody struct {
	ID                  string   `json:"id"`
	SubscriptionID      string   `json:"subscriptionId"`
	TenantID            string   `json:"tenantId"`
	DisplayName         string   `json:"displayName"`
	State               string   `json:"state"`
	AuthorizationSource string   `json:"authorizationSource"`
	ManagedByTenants    []string `json:"managedByTenants"`
}

const readSubscription = "Microsoft.Resources/subscriptions/read"

// sees reports whether a subscription is one of the caller's: he may read it, or
// has a role for something in it.
func (s *session) sees(sub resource.Subscription) bool {
	return sub.Tenant == s.tenant && s.has(sub.Scope, readSubscription)
}

func (s *session) subscriptionBody(sub resource.Subscription) subscriptionBody {
	name := sub.DisplayName
	if name == "" {
		name = sub.Scope.Name()
	}
	return subscriptionBody{
		ID: sub.Scope.String(), SubscriptionID: sub.Scope.Name(), TenantID: sub.Tenant.String(), DisplayName: name,
		State: "Enabled", AuthorizationSource: "RoleBased", ManagedByTenants: []string{},
	}
}

func listSubscriptions(s *session, r *request) (answer, error) {
	var rows []row
	for sub := range s.est.Subscriptions() {
		if s.sees(sub) {
			rows = append(rows, row{sub.Scope.Name(), s.subscriptionBody(sub)})
		}
	}
	return s.page(r, rows)
}

func getSubscription(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	sub, _ := s.est.Subscription(r.at)
	if !s.sees(sub) {
		return answer{}, s.needAt(readSubscription, r.at)
	}
	return ok(sub, s.subscriptionBody(sub)), nil
}
