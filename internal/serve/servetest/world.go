package servetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Who and what there is in every World.
var (
	Tenant  = id[directory.TenantID]("10000000-0000-4000-8000-000000000001")
	Tenant2 = id[directory.TenantID]("10000000-0000-4000-8000-000000000002")

	Faye    = ID("20000000-0000-4000-8000-000000000001") // a user without any right, in DevTeam
	Jet     = ID("20000000-0000-4000-8000-000000000002") // RBAC Reader on AKS1, deny assignment on secrets
	Spike   = ID("20000000-0000-4000-8000-000000000003") // disabled
	Ed      = ID("20000000-0000-4000-8000-000000000004") // a guest
	Vicious = ID("20000000-0000-4000-8000-000000000005") // a user of Tenant2

	DevTeam = ID("30000000-0000-4000-8000-000000000001") // in Staff
	Staff   = ID("30000000-0000-4000-8000-000000000002") // RBAC Writer in namespace dev of AKS1
	Admins  = ID("30000000-0000-4000-8000-000000000003") // admin group of all clusters

	Robot    = ID("40000000-0000-4000-8000-000000000001") // a service principal
	RobotApp = id[directory.AppID]("41000000-0000-4000-8000-000000000001")
	Identity = ID("42000000-0000-4000-8000-000000000001") // a managed identity

	Subscription = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001")
	Group        = scope.MustParse(Subscription.String() + "/resourceGroups/web")
	AKS1         = cluster("aks-1") // Azure RBAC
	AKS2         = cluster("aks-2") // Kubernetes RBAC
	AKS3         = cluster("aks-3") // no Entra sign-in

	Reader     = id[azurerbac.DefinitionID]("7f6c6a51-bcf8-42ba-9220-52d62157d7db")
	Writer     = id[azurerbac.DefinitionID]("a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb")
	JetReads   = id[azurerbac.AssignmentID]("60000000-0000-4000-8000-000000000001")
	StaffWrite = id[azurerbac.AssignmentID]("60000000-0000-4000-8000-000000000002")
	JetDenied  = id[azurerbac.DenyAssignmentID]("61000000-0000-4000-8000-000000000001")
)

// ID reads an object id of a test.
func ID(text string) principal.ID { return id[principal.ID](text) }

func id[T ~[16]byte](text string) T { return T(guid.MustParse[struct{}](text)) }

func cluster(name string) scope.Scope {
	return scope.MustParse(Group.String() + "/providers/Microsoft.ContainerService/managedClusters/" + name)
}

// A World is an estate that a test changes, as a door sees it. It is safe for
// concurrent use.
type World struct {
	t     testing.TB
	est   atomic.Pointer[estate.Snapshot]
	stale atomic.Pointer[error]
}

// NewWorld returns the world that the variables of this package describe.
func NewWorld(t testing.TB) *World {
	t.Helper()
	w := &World{t: t}
	w.est.Store(estate.New())
	user := func(id principal.ID, tenant directory.TenantID, name string) directory.User {
		return directory.User{ID: id, Tenant: tenant, UserPrincipalName: name}
	}
	spike := user(Spike, Tenant, "spike@teknews.cloud")
	spike.Disabled = true
	ed := user(Ed, Tenant, "ed@teknews.cloud")
	ed.Guest = true
	w.Put(
		directory.Tenant{ID: Tenant, Domains: []string{"teknews.cloud"}},
		directory.Tenant{ID: Tenant2, Domains: []string{"fabrikam.com"}},
		user(Faye, Tenant, "faye@teknews.cloud"), user(Jet, Tenant, "jet@teknews.cloud"), spike, ed,
		user(Vicious, Tenant2, "vicious@fabrikam.com"),
		directory.Group{ID: DevTeam, Tenant: Tenant, DisplayName: "dev-team"},
		directory.Group{ID: Staff, Tenant: Tenant, DisplayName: "staff"},
		directory.Group{ID: Admins, Tenant: Tenant, DisplayName: "aks-cluster-admins"},
		directory.Application{ID: ID("41000000-0000-4000-8000-000000000002"), AppID: RobotApp, Tenant: Tenant, DisplayName: "robot"},
		directory.ServicePrincipal{ID: Robot, AppID: RobotApp, Tenant: Tenant, DisplayName: "robot"},
		directory.Membership{Group: DevTeam, Member: Faye},
		directory.Membership{Group: Staff, Member: DevTeam},
		resource.Subscription{Scope: Subscription, Tenant: Tenant},
		resource.Group{Scope: Group, Name: "web"},
		directory.ManagedIdentity{
			ID: Identity, ClientID: id[directory.AppID]("43000000-0000-4000-8000-000000000001"), Tenant: Tenant, DisplayName: "mi",
			Resource: scope.MustParse(Group.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi"),
		},
		resource.Cluster{Scope: AKS1, Name: "aks-1", ResourceGroup: "web", Tenant: Tenant, EntraSignIn: true, AzureRBAC: true, AdminGroups: []principal.ID{Admins}},
		resource.Cluster{Scope: AKS2, Name: "aks-2", ResourceGroup: "web", Tenant: Tenant, EntraSignIn: true, AdminGroups: []principal.ID{Admins}},
		resource.Cluster{Scope: AKS3, Name: "aks-3", ResourceGroup: "web", Tenant: Tenant},
		azurerbac.Assignment{ID: JetReads, Scope: AKS1, Principal: Jet, Role: Reader},
		azurerbac.Assignment{ID: StaffWrite, Scope: scope.MustParse(AKS1.String() + "/namespaces/dev"), Principal: Staff, Role: Writer},
		azurerbac.DenyAssignment{ID: JetDenied, Name: "no nodes for jet", Scope: AKS1, Principals: []principal.ID{Jet},
			Permissions: []azurerbac.Permission{{DataActions: []string{"Microsoft.ContainerService/managedClusters/nodes/*"}}}},
	)
	return w
}

// Put writes records, all at one revision.
func (w *World) Put(records ...record.Record) {
	w.t.Helper()
	ops := make([]estate.Op, len(records))
	for i, r := range records {
		ops[i] = estate.Op{Put: r}
	}
	w.apply(ops)
}

// Delete removes records, all at one revision.
func (w *World) Delete(keys ...record.Key) {
	w.t.Helper()
	ops := make([]estate.Op, len(keys))
	for i, k := range keys {
		ops[i] = estate.Op{Delete: k}
	}
	w.apply(ops)
}

func (w *World) apply(ops []estate.Op) {
	w.t.Helper()
	now := w.est.Load()
	next, err := now.Apply(now.Revision()+1, ops...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.est.Store(next)
}

// Age makes the world too old to trust, or with nil fresh again.
func (w *World) Age(err error) {
	if err == nil {
		w.stale.Store(nil)
		return
	}
	w.stale.Store(&err)
}

// Unload makes the world one that was not read yet.
func (w *World) Unload() { w.est.Store(nil) }

// Current is the estate now.
func (w *World) Current() *estate.Snapshot { return w.est.Load() }

// Fresh is the error given to Age.
func (w *World) Fresh(time.Time) error {
	if err := w.stale.Load(); err != nil {
		return *err
	}
	return nil
}
