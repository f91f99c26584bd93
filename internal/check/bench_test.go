package check_test

import (
	"fmt"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/check"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// number returns the n-th id without parsing text.
func number(kind byte, n int) (id principal.ID) {
	id[0], id[13], id[14], id[15] = kind, byte(n>>16), byte(n>>8), byte(n)
	return id
}

// company is an estate of n users and n role assignments, n/5 groups, n/100 identities
// with federated credentials, n/20 bindings, and 50 clusters with local accounts.
func company(b *testing.B, n int) *estate.Snapshot {
	b.Helper()
	const sub, clusters = "/subscriptions/50000000-0000-4000-8000-000000000001", 50
	tenant := directory.TenantID(guid.MustParse[struct{}]("7e000000-0000-4000-8000-000000000001"))
	groups, identities := n/5, n/100
	roles := make(map[string]azurerbac.DefinitionID)
	for d := range azurerbac.BuiltIn() {
		roles[d.RoleName] = d.ID
	}
	given := 0
	give := func(who principal.ID, role string, at scope.Scope) azurerbac.Assignment {
		given++
		return azurerbac.Assignment{ID: azurerbac.AssignmentID(number(9, given)), Scope: at, Principal: who, Role: roles[role]}
	}
	group := func(i int) scope.Scope { return scope.MustParse(fmt.Sprintf("%s/resourceGroups/rg%d", sub, i)) }
	at := func(i int) scope.Scope {
		return scope.MustParse(fmt.Sprintf("%s/providers/Microsoft.ContainerService/managedClusters/c%d", group(i), i))
	}
	recs := []record.Record{directory.Tenant{ID: tenant, Domains: []string{"x.example"}}, resource.Subscription{Scope: scope.MustParse(sub), Tenant: tenant}}
	for i := range clusters {
		recs = append(recs, resource.Group{Scope: group(i), Name: fmt.Sprint("rg", i), Location: "westeurope"},
			resource.Cluster{Scope: at(i), Name: fmt.Sprint("c", i), ResourceGroup: fmt.Sprint("rg", i), Location: "westeurope", Tenant: tenant, EntraSignIn: true, AzureRBAC: true,
				OIDCIssuer: true, WorkloadIdentity: true, IssuerURL: fmt.Sprintf("https://oidc.example/t/%d/", i), AdminGroups: []principal.ID{number(2, i+1)}})
	}
	for i := range groups {
		recs = append(recs, directory.Group{ID: number(2, i+1), Tenant: tenant, DisplayName: fmt.Sprint("group ", i)})
	}
	for i := range n {
		recs = append(recs, directory.User{ID: number(1, i+1), Tenant: tenant, UserPrincipalName: fmt.Sprintf("user%d@x.example", i)})
		for g := range 5 {
			recs = append(recs, directory.Membership{Group: number(2, (i*7+g*4001)%groups+1), Member: number(1, i+1)})
		}
	}
	for i := range identities {
		id, rg := number(4, i+1), i%clusters
		m := directory.ManagedIdentity{ID: id, ClientID: directory.AppID(number(5, i+1)), Tenant: tenant, DisplayName: fmt.Sprint("identity ", i), Location: "westeurope",
			Resource: scope.MustParse(fmt.Sprintf("%s/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i%d", group(rg), i))}
		recs = append(recs, m, directory.FederatedCredential{Owner: m.ClientID, Name: "workload", Issuer: fmt.Sprintf("https://oidc.example/t/%d/", rg),
			Subject: fmt.Sprintf("system:serviceaccount:ns%d:app", i%100), Audiences: []string{"api://AzureADTokenExchange"}},
			give(id, "Key Vault Secrets User", scope.MustParse(fmt.Sprintf("%s/providers/Microsoft.KeyVault/vaults/v%d", group(rg), i))))
	}
	for i := range n / 20 {
		recs = append(recs, kuberbac.Binding{Cluster: at(i % clusters), Namespace: fmt.Sprint("ns", i%100), Name: fmt.Sprint("b", i), Role: "edit", RoleIsCluster: true,
			Subjects: []kuberbac.Subject{{Kind: kuberbac.Group, Name: number(2, i%groups+1).String()}}})
	}
	for i := 0; given < n; i++ {
		g := number(2, i%groups+1)
		switch {
		case i%5000 == 0: // some rule the subscription
			recs = append(recs, give(g, "Contributor", scope.MustParse(sub)))
		case i%500 == 0: // and some a group
			recs = append(recs, give(g, "Contributor", group(i/500%clusters)))
		default:
			ns, err := at(i % clusters).Namespace(fmt.Sprint("ns", i/clusters%1000))
			if err != nil {
				b.Fatal(err)
			}
			recs = append(recs, give(g, "Azure Kubernetes Service RBAC Writer", ns))
		}
	}
	est, err := estate.Load(1, func(yield func(record.Record) bool) {
		for _, r := range recs {
			if !yield(r) {
				return
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	return est
}

// BenchmarkRun says how long all rules take over the estate of a company, and those
// rules that ask the most.
func BenchmarkRun(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		est := company(b, n)
		f := check.Facts{Now: now, Estate: doctor.Estate{Snapshot: est}}
		b.Run(fmt.Sprintf("assignments=%d/rules=all", n), func(b *testing.B) {
			found := 0
			for b.Loop() {
				found = len(check.Run(f))
			}
			b.ReportMetric(float64(found), "findings")
		})
		for _, id := range []string{"identity-escalation", "pod-escalation"} {
			r, _ := check.FindRule(id)
			b.Run(fmt.Sprintf("assignments=%d/rules=%s", n, r.ID), func(b *testing.B) {
				for b.Loop() {
					check.Run(f, r)
				}
			})
		}
	}
}
