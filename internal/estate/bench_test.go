package estate_test

import (
	"fmt"
	"iter"
	"runtime"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const (
	bigUsers, bigGroups, bigAssignments, bigClusters = 100_000, 20_000, 100_000, 50
	groupsOfUser                                     = 5
)

// number returns the n-th id without parsing text.
func number(kind byte, n int) (id principal.ID) {
	id[0], id[13], id[14], id[15] = kind, byte(n>>16), byte(n>>8), byte(n)
	return id
}

// company yields the records of the size that the design is held to.
func company(clusters []scope.Scope) iter.Seq[record.Record] {
	return func(yield func(record.Record) bool) {
		ok := yield(directory.Tenant{ID: tenantID, Domains: []string{"x.example"}}) &&
			yield(resource.Subscription{Scope: scope.MustParse(sub), Tenant: tenantID})
		for _, c := range clusters {
			ok = ok && yield(resource.Cluster{Scope: c, Name: c.Name(), ResourceGroup: "rg", Tenant: tenantID, EntraSignIn: true, AzureRBAC: true})
		}
		for n := range bigGroups {
			ok = ok && yield(directory.Group{ID: number(2, n+1), Tenant: tenantID, DisplayName: fmt.Sprint("group ", n)})
		}
		for n := range bigUsers {
			u := number(1, n+1)
			ok = ok && yield(directory.User{ID: u, Tenant: tenantID, UserPrincipalName: fmt.Sprintf("user%d@x.example", n), DisplayName: fmt.Sprint("User ", n)})
			for g := range groupsOfUser {
				ok = ok && yield(directory.Membership{Group: number(2, (n*7+g*4001)%bigGroups+1), Member: u})
			}
		}
		for n := range bigAssignments {
			a := azurerbac.Assignment{Scope: clusters[n%len(clusters)], Principal: number(2, n%bigGroups+1), Role: reader}
			if ns := n / bigGroups; ns > 0 {
				a.Scope, _ = a.Scope.Namespace(fmt.Sprint("ns", ns))
			}
			id := number(3, n+1)
			a.ID = azurerbac.AssignmentID(id)
			ok = ok && yield(a)
		}
	}
}

// BenchmarkLoad says how long the estate of a company takes to load, and how much
// memory it keeps: before anybody asked, and after every user did.
func BenchmarkLoad(b *testing.B) {
	var clusters []scope.Scope
	for n := range bigClusters {
		clusters = append(clusters, scope.MustParse(fmt.Sprintf("%s/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c%d", sub, n)))
	}
	b.Run(fmt.Sprintf("users=%d/groups=%d/assignments=%d/clusters=%d", bigUsers, bigGroups, bigAssignments, bigClusters), func(b *testing.B) {
		before := heap()
		var s *estate.Snapshot
		for b.Loop() {
			var err error
			if s, err = estate.Load(1, company(clusters)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(heap()-before, "MiB-loaded")
		for n := range bigUsers {
			r, ok := s.Resolve(number(1, n+1))
			if !ok {
				b.Fatal("a user is missing")
			}
			r.On(clusters[n%len(clusters)])
		}
		b.ReportMetric(heap()-before, "MiB-all-asked")
		runtime.KeepAlive(s)
	})
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
