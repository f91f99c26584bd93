package doctor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func TestACredentialOfARequestThatHasEnded(t *testing.T) {
	t.Parallel()
	const rg = "/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/shop/providers/"
	tenant := directory.Tenant{ID: directory.NewTenantID(), Domains: []string{"teknews.cloud"}}
	mi := directory.ManagedIdentity{ID: principal.NewID(), ClientID: directory.NewAppID(), Tenant: tenant.ID, DisplayName: "shop", Resource: scope.MustParse(rg + "Microsoft.ManagedIdentity/userAssignedIdentities/shop")}
	aks := resource.Cluster{Scope: scope.MustParse(rg + "Microsoft.ContainerService/managedClusters/aks"), Name: "aks", ResourceGroup: "shop", Tenant: tenant.ID, OIDCIssuer: true, IssuerURL: "https://issuer.example/aks/"}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	r, err := identityrequest.Request{ID: identityrequest.NewID(), Tenant: tenant.ID, Requester: principal.NewID(), Identity: mi.Resource, Cluster: aks.Scope, Namespace: "shop",
		ServiceAccounts: []string{"web"}, Lasts: azurerbac.Duration(time.Hour)}.Ask(now, "")
	if err != nil {
		t.Fatal(err)
	}
	if r, err = r.Approve(principal.NewID(), now, "", identityrequest.Given{Object: mi.ID, Client: mi.ClientID, Issuer: aks.IssuerURL, NotAfter: r.EndFrom(now)}); err != nil {
		t.Fatal(err)
	}
	est, err := estate.New().Apply(1, estate.Op{Put: tenant}, estate.Op{Put: mi}, estate.Op{Put: aks}, estate.Op{Put: r}, estate.Op{Put: r.Credentials()[0]})
	if err != nil {
		t.Fatal(err)
	}
	token := doctor.Presented{Issuer: doctor.Know(aks.IssuerURL), Subject: doctor.Know("system:serviceaccount:shop:web"), Audience: doctor.Know(doctor.Exchange)}
	for at, want := range map[time.Duration]doctor.Verdict{time.Hour - 1: doctor.Right, time.Hour: doctor.Wrong} {
		d := doctor.Estate{Snapshot: est, Now: now.Add(at)}
		i, _ := d.Identity(mi.ClientID)
		found := d.Trust(token, i, true)
		if got := doctor.Worst(found); got != want {
			t.Errorf("after %s: %v, want %v: %+v", at, got, want, found)
		}
		if last := found[len(found)-1]; want == doctor.Wrong && (last.Check != "request" || last.Got != "Expired" || !strings.Contains(last.Fix, r.ID.String())) {
			t.Errorf("%+v", last)
		}
	}
}
