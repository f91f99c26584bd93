package serve_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func TestOneTooManyIsRefusedWhereThereAreLimits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	mg := scope.MustParse("/providers/Microsoft.Management/managementGroups/top")
	other := scope.MustParse("/subscriptions/50000000-0000-4000-8000-0000000000bb")
	assignment := func(n int, at scope.Scope) azurerbac.Assignment {
		return azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(fmt.Sprintf("60000000-0000-4000-8000-%012d", 900+n))),
			Scope: at, Principal: servetest.ID(fmt.Sprintf("20000000-0000-4000-8000-%012d", 900+n)), Role: servetest.Reader}
	}
	later := func(a azurerbac.Assignment) azurerbac.Assignment {
		a.NotBefore = now.Add(time.Hour)
		return a
	}
	credential := func(name string, owner directory.AppID) directory.FederatedCredential {
		return directory.FederatedCredential{Owner: owner, Name: name, Issuer: "https://issuer.example", Subject: name, Audiences: []string{"api://AzureADTokenExchange"}}
	}
	role := func(n int, at scope.Scope) azurerbac.Definition {
		return azurerbac.Definition{ID: azurerbac.DefinitionID(servetest.ID(fmt.Sprintf("70000000-0000-4000-8000-%012d", n))), RoleName: fmt.Sprint("role ", n),
			AssignableScopes: []scope.Scope{at}, Permissions: []azurerbac.Permission{{Actions: []string{"Microsoft.Resources/subscriptions/read"}}}}
	}
	// The world has two assignments in its subscription already.
	two := rehearsal.Limits{AssignmentsOfSubscription: 2, AssignmentsOfManagementGroup: 1, FederatedCredentials: 1, CustomRoles: 1}
	for _, tt := range []struct {
		law    string
		limits rehearsal.Limits
		there  []record.Record
		next   record.Record
		code   string // "" is no refusal
	}{
		{"without limits there may be any number", rehearsal.Limits{}, nil, assignment(1, servetest.AKS1), ""},
		{"a subscription that is full is full in all of its places", two, nil, assignment(1, servetest.AKS1), "RoleAssignmentLimitExceeded"},
		{"and itself", two, nil, assignment(1, servetest.Subscription), "RoleAssignmentLimitExceeded"},
		{"one below the limit fits", rehearsal.Limits{AssignmentsOfSubscription: 3}, nil, assignment(1, servetest.AKS1), ""},
		{"another subscription is not concerned", two, nil, assignment(1, other), ""},
		{"what is there is written again", two, []record.Record{assignment(1, servetest.AKS1)}, assignment(1, servetest.AKS1), ""},
		{"what begins later does not count", rehearsal.Limits{AssignmentsOfSubscription: 3}, []record.Record{later(assignment(1, servetest.AKS1))}, assignment(2, servetest.AKS1), ""},
		{"and is not counted against", two, nil, later(assignment(1, servetest.AKS1)), ""},
		{"a management group has a limit of its own", two, []record.Record{assignment(1, mg)}, assignment(2, mg), "RoleAssignmentLimitExceeded"},
		{"and what is below it has not", two, nil, assignment(2, mg), ""},
		{"the root has none", two, nil, assignment(1, scope.Root), ""},
		{"FED-18: an identity has so many credentials", two, []record.Record{credential("c-a", servetest.RobotApp)}, credential("c-b", servetest.RobotApp), "LimitExceeded"},
		{"each of its own", two, nil, credential("c-b", servetest.RobotApp), ""},
		{"a tenant has so many custom roles", two, []record.Record{role(1, servetest.Subscription)}, role(2, servetest.Group), "RoleDefinitionLimitExceeded"},
		{"whichever place they are for", two, []record.Record{role(1, mg)}, role(2, servetest.Group), "RoleDefinitionLimitExceeded"},
		{"and another tenant others", two, []record.Record{role(1, other)}, role(2, servetest.Group), ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			w := servetest.NewWorld(t)
			w.Put(resource.ManagementGroup{Scope: mg, Tenant: servetest.Tenant}, resource.Subscription{Scope: other, Tenant: servetest.Tenant2})
			w.Put(tt.there...)
			w.Put(rehearsal.Knobs{Limits: tt.limits})
			err := serve.WithinLimits(w.Current(), tt.next, now)
			var refused *serve.Error
			if code := ""; errors.As(err, &refused) {
				code = refused.Code
				if code != tt.code {
					t.Errorf("%v, want %q", err, tt.code)
				}
			} else if err != nil || tt.code != "" {
				t.Errorf("%v, want %q", err, tt.code)
			}
		})
	}
}
