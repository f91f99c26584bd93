package manifest_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func TestWhatAHouseFindsOutIsNoDifference(t *testing.T) {
	t.Parallel()
	tenant := directory.Tenant{ID: directory.NewTenantID(), DisplayName: "t", Domains: []string{"t.example"}}
	sub := resource.Subscription{Scope: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001"), Tenant: tenant.ID}
	group := resource.Group{Scope: scope.MustParse(sub.Scope.String() + "/resourceGroups/g"), Name: "g"}
	written := resource.Cluster{Scope: scope.MustParse(group.Scope.String() + "/providers/Microsoft.ContainerService/managedClusters/c"),
		Name: "c", ResourceGroup: "g", Tenant: tenant.ID, EntraSignIn: true}
	files := []record.Record{tenant, sub, group, written}
	running := written
	running.Endpoint, running.CertificateAuthority, running.Mirrored = "https://127.0.0.1:6443", "pem", true
	read := kuberbac.Binding{Cluster: written.Scope, Name: "b", RoleIsCluster: true, Role: "view", Subjects: []kuberbac.Subject{{Kind: kuberbac.User, Name: "x"}}}
	est := apply(t, tenant, sub, group, running, read)
	if got := manifest.Diff(est, files, true); len(got) != 0 {
		t.Errorf("the files that made a house differ from it: %+v", got)
	}
	changed := written
	changed.AzureRBAC = true
	got := manifest.Diff(est, []record.Record{changed}, false)
	if len(got) != 1 {
		t.Fatalf("%d changes, want the one", len(got))
	}
	want := running
	want.AzureRBAC = true
	if now, ok := got[0].After.(resource.Cluster); !ok || now.Endpoint != want.Endpoint || !now.Mirrored || !now.AzureRBAC {
		t.Errorf("the change is to %+v", got[0].After)
	}
	unread := running
	unread.Mirrored = false
	if got := manifest.Diff(apply(t, tenant, sub, group, unread, read), files, true); len(got) != 1 || got[0].Key != read.Key() {
		t.Errorf("of a cluster that is not read, what the files lack goes: %+v", got)
	}
}

func apply(t *testing.T, recs ...record.Record) *estate.Snapshot {
	t.Helper()
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	est, err := estate.New().Apply(1, ops...)
	if err != nil {
		t.Fatal(err)
	}
	return est
}
