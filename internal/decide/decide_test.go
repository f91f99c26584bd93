package decide_test

import (
	"encoding"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const sub = "/subscriptions/11111111-1111-1111-1111-111111111111"

var (
	now       = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tenantID  = parse[directory.TenantID]("10000000-0000-0000-0000-000000000001")
	other     = parse[directory.TenantID]("10000000-0000-0000-0000-000000000002")
	clusterAt = scope.MustParse(sub + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c1")
	plainAt   = scope.MustParse(sub + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c2")
)

func parse[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](s string) T {
	var v T
	if err := P(&v).UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return v
}

func id(n int) principal.ID {
	return parse[principal.ID](fmt.Sprintf("20000000-0000-0000-0000-%012d", n))
}

func user(n int) directory.User {
	return directory.User{ID: id(n), Tenant: tenantID, UserPrincipalName: fmt.Sprintf("u%d@x.example", n)}
}

func group(n int) directory.Group {
	return directory.Group{ID: id(n), Tenant: tenantID, DisplayName: fmt.Sprintf("g%d", n)}
}

func in(g, m int) directory.Membership { return directory.Membership{Group: id(g), Member: id(m)} }

func role(t testing.TB, name string) azurerbac.DefinitionID {
	t.Helper()
	r, ok := estate.New().DefinitionByName(name)
	if !ok {
		t.Fatalf("no role %q", name)
	}
	return r.ID
}

func assign(t testing.TB, n, who int, roleName string, at scope.Scope) azurerbac.Assignment {
	t.Helper()
	return azurerbac.Assignment{
		ID:    parse[azurerbac.AssignmentID](fmt.Sprintf("30000000-0000-0000-0000-%012d", n)),
		Scope: at, Principal: id(who), Role: role(t, roleName),
	}
}

func load(t testing.TB, extra ...record.Record) *estate.Snapshot {
	t.Helper()
	mg, err := scope.ManagementGroup("corp")
	if err != nil {
		t.Fatal(err)
	}
	recs := append([]record.Record{
		directory.Tenant{ID: tenantID, Domains: []string{"x.example"}},
		directory.Tenant{ID: other, Domains: []string{"y.example"}},
		resource.ManagementGroup{Scope: mg, Tenant: tenantID},
		resource.Subscription{Scope: scope.MustParse(sub), Tenant: tenantID, Parent: mg},
		resource.Group{Scope: scope.MustParse(sub + "/resourceGroups/rg"), Name: "rg"},
		resource.Cluster{Scope: clusterAt, Name: "c1", ResourceGroup: "rg", Tenant: tenantID, EntraSignIn: true, AzureRBAC: true},
		resource.Cluster{Scope: plainAt, Name: "c2", ResourceGroup: "rg", Tenant: tenantID, EntraSignIn: true},
	}, extra...)
	s, err := estate.Load(7, slices.Values(recs))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(who int, verb, resource, ns string) decide.Request {
	res, sub, _ := strings.Cut(resource, "/")
	return decide.Request{Who: decide.Subject{ID: id(who)}, Scope: clusterAt, Now: now,
		Kube: kuberbac.Attributes{Verb: verb, Resource: res, Subresource: sub, Namespace: ns}}
}

func namespace(t testing.TB, name string) scope.Scope {
	t.Helper()
	sc, err := clusterAt.Namespace(name)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func TestDecide(t *testing.T) {
	t.Parallel()
	disabled := user(2)
	disabled.Disabled = true
	stranger := user(3)
	stranger.Tenant = other
	nodes := azurerbac.Definition{ID: parse[azurerbac.DefinitionID]("40000000-0000-0000-0000-000000000001"), RoleName: "node reader", AssignableScopes: []scope.Scope{scope.MustParse(sub)},
		Permissions: []azurerbac.Permission{{DataActions: []string{"Microsoft.ContainerService/managedClusters/nodes/read"}}}}
	watcher := assign(t, 22, 9, "Reader", clusterAt)
	watcher.Role = nodes.ID
	windowed := assign(t, 20, 6, "Azure Kubernetes Service RBAC Reader", clusterAt)
	windowed.NotBefore, windowed.NotAfter = now, now.Add(time.Minute)
	crOnly := assign(t, 21, 7, "Azure Kubernetes Service RBAC Cluster Admin", clusterAt)
	crOnly.Condition = `@Request[Microsoft.ContainerService/managedClusters/customResources:kind] StringEqualsIgnoreCase 'widgets'`
	crOnly.ConditionVersion = "2.0"
	mg, _ := scope.ManagementGroup("corp")
	est := load(t, user(1), disabled, stranger, user(4), user(5), user(6), user(7), user(8), user(9), nodes, watcher, group(10), group(11), in(10, 4), in(11, 10),
		assign(t, 1, 1, "Azure Kubernetes Service RBAC Reader", clusterAt),
		assign(t, 2, 2, "Azure Kubernetes Service RBAC Cluster Admin", clusterAt),
		assign(t, 3, 3, "Azure Kubernetes Service RBAC Cluster Admin", clusterAt),
		assign(t, 4, 11, "Azure Kubernetes Service RBAC Writer", namespace(t, "dev")),
		assign(t, 5, 5, "Owner", scope.MustParse(sub)),
		assign(t, 6, 8, "Azure Kubernetes Service RBAC Cluster Admin", mg),
		windowed, crOnly,
		azurerbac.DenyAssignment{ID: parse[azurerbac.DenyAssignmentID]("50000000-0000-0000-0000-000000000001"), Name: "no secrets",
			Scope: clusterAt, Everyone: true, ExcludePrincipals: []principal.ID{id(10)},
			Permissions: []azurerbac.Permission{{DataActions: []string{"Microsoft.ContainerService/managedClusters/secrets/*"}}}},
		kuberbac.Binding{Cluster: plainAt, Namespace: "dev", Name: "v", RoleIsCluster: true, Role: "view", Subjects: []kuberbac.Subject{{Kind: kuberbac.Group, Name: id(11).String()}}},
		kuberbac.Binding{Cluster: plainAt, Name: "x", RoleIsCluster: true, Role: "missing", Subjects: []kuberbac.Subject{{Kind: kuberbac.User, Name: user(1).UserPrincipalName}}},
	)
	at := func(req decide.Request, sc scope.Scope) decide.Request { req.Scope = sc; return req }
	when := func(req decide.Request, tm time.Time) decide.Request { req.Now = tm; return req }
	group := func(req decide.Request, g string) decide.Request { req.Kube.APIGroup = g; return req }
	for _, tt := range []struct {
		law    string
		req    decide.Request
		effect decide.Effect
		reason decide.Reason
	}{
		{"everything of a custom group is not a reader's", group(ask(1, "get", "*", ""), "example.com"), decide.NoOpinion, decide.NoGrant},
		{"everything of every group meets a prohibition of some of it", group(ask(1, "get", "*", ""), "*"), decide.Deny, decide.DenyAssignment},
		{"a condition on one custom resource is not about all of them", group(ask(7, "get", "*", ""), "example.com"), decide.NoOpinion, decide.NoGrant},
		{"a reader reads", ask(1, "list", "pods", "dev"), decide.Allow, decide.Granted},
		{"a reader reads logs", ask(1, "get", "pods/log", "dev"), decide.Allow, decide.Granted},
		{"a reader writes nothing", ask(1, "create", "pods", "dev"), decide.NoOpinion, decide.NoGrant},
		{"AZ-23: a get on exec is not a read", ask(1, "get", "pods/exec", "dev"), decide.NoOpinion, decide.NoGrant},
		{"AZ-23: a get on attach is not a read", ask(1, "get", "pods/attach", "dev"), decide.NoOpinion, decide.NoGrant},
		{"AZ-23: a get on a proxy is not a read", ask(1, "get", "services/proxy", "dev"), decide.NoOpinion, decide.NoGrant},
		{"AZ-23: the log of a node is more than the node", ask(9, "get", "nodes/log", ""), decide.NoOpinion, decide.NoGrant},
		{"a reader sees no roles", ask(1, "get", "roles", "dev"), decide.NoOpinion, decide.NoGrant},
		{"DIR-11: a disabled user is denied whatever he was given", ask(2, "get", "pods", ""), decide.Deny, decide.Disabled},
		{"JWT-29: an unknown principal is denied", ask(99, "get", "pods", ""), decide.Deny, decide.UnknownPrincipal},
		{"KR-15: a principal of another tenant is not admitted", ask(3, "get", "pods", ""), decide.Deny, decide.NotAdmitted},
		{"a nested group's grant in a namespace counts there", ask(4, "create", "pods", "dev"), decide.Allow, decide.Granted},
		{"a writer may exec", ask(4, "create", "pods/exec", "dev"), decide.Allow, decide.Granted},
		{"AZ-01: and not in a namespace with a longer name", ask(4, "create", "pods", "dev2"), decide.NoOpinion, decide.NoGrant},
		{"AZ-24: nor over all namespaces", ask(4, "list", "pods", ""), decide.NoOpinion, decide.NoGrant},
		{"AZ-08: an excluded group escapes the deny assignment", ask(4, "get", "secrets", "dev"), decide.Allow, decide.Granted},
		{"AZ-08: a deny assignment goes before every grant", ask(8, "get", "secrets", "dev"), decide.Deny, decide.DenyAssignment},
		{"AZ-09: the owner's * does not reach the data plane", ask(5, "get", "pods", "dev"), decide.NoOpinion, decide.NoGrant},
		{"a grant at a management group reaches its clusters", ask(8, "delete", "nodes", ""), decide.Allow, decide.Granted},
		{"a grant counts from its first instant", ask(6, "get", "pods", ""), decide.Allow, decide.Granted},
		{"JIT-01: and no longer at its last", when(ask(6, "get", "pods", ""), now.Add(time.Minute)), decide.NoOpinion, decide.NoGrant},
		{"and not before", when(ask(6, "get", "pods", ""), now.Add(-1)), decide.NoOpinion, decide.NoGrant},
		{"a condition on the custom resource holds for it", ask(7, "get", "widgets", ""), decide.Allow, decide.Granted},
		{"and not for another", ask(7, "get", "gadgets", ""), decide.NoOpinion, decide.NoGrant},
		{"and not where the attribute is absent", ask(7, "get", "pods", ""), decide.NoOpinion, decide.NoGrant},
		{"role assignments do not count on a cluster without Azure RBAC", at(ask(1, "list", "pods", "dev"), plainAt), decide.NoOpinion, decide.NoGrant},
		{"its own bindings do, through nested groups", at(ask(4, "list", "pods", "dev"), plainAt), decide.Allow, decide.Granted},
		{"AZ-03: a namespace of dots is refused", ask(1, "get", "pods", ".."), decide.Deny, decide.Malformed},
		{"AZ-03: a resource of dots is refused", ask(1, "get", "..", "dev"), decide.Deny, decide.Malformed},
		{"WH-07: a question without a place is refused", decide.Request{Who: decide.Subject{ID: id(1)}, Action: "x/read"}, decide.Deny, decide.Malformed},
		{"WH-07: a question with two operations is refused", func() decide.Request { r := ask(1, "get", "pods", ""); r.Action = "x/read"; return r }(), decide.Deny, decide.Malformed},
		{"KR-14: nobody is not allowed anything", decide.Request{Scope: clusterAt, Kube: kuberbac.Attributes{Verb: "get", Resource: "pods"}}, decide.NoOpinion, decide.Nobody},
		{"an owner acts on the control plane", decide.Request{Who: decide.Subject{ID: id(5)}, Scope: clusterAt, Action: "Microsoft.ContainerService/managedClusters/delete"}, decide.Allow, decide.Granted},
		{"a data action needs a data grant there too", decide.Request{Who: decide.Subject{ID: id(5)}, Scope: clusterAt, Action: "Microsoft.ContainerService/managedClusters/pods/read", Data: true}, decide.NoOpinion, decide.NoGrant},
		{"everything is more than a writer's", ask(4, "*", "*", "dev"), decide.NoOpinion, decide.NoGrant},
		{"a prohibition of some of it forbids everything", ask(8, "*", "*", "dev"), decide.Deny, decide.DenyAssignment},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got := decide.Decide(est, tt.req)
			if got.Effect != tt.effect || got.Reason != tt.reason || got.Revision != 7 {
				t.Errorf("Decide = %v because %v at %d, want %v because %v at 7", got.Effect, got.Reason, got.Revision, tt.effect, tt.reason)
			}
			if (got.By != nil) != (got.Reason == decide.Granted || got.Reason == decide.DenyAssignment) {
				t.Errorf("decided by %v because %v", got.By, got.Reason)
			}
			if e := decide.Explain(est, tt.req); e.Decision != got {
				t.Errorf("AZ-29: Explain says %v, Decide says %v", e.Decision, got)
			}
		})
	}
}

func TestTheNearestMissAndTheSmallestFixAreNamed(t *testing.T) {
	t.Parallel()
	est := load(t, user(1), user(2), group(10), in(10, 1), assign(t, 1, 10, "Azure Kubernetes Service RBAC Reader", namespace(t, "prod")))
	e := decide.Explain(est, ask(1, "list", "pods", "dev"))
	if e.Nearest == nil || e.Nearest.Outcome != decide.OtherPlace || !slices.Equal(e.Nearest.Via, []principal.ID{id(10)}) {
		t.Errorf("nearest = %+v, want the reader at another namespace, held through a group", e.Nearest)
	}
	if e.Fix == nil || e.Fix.Role == nil || e.Fix.Role.RoleName != "Azure Kubernetes Service RBAC Reader" || e.Fix.Scope != namespace(t, "dev") {
		t.Errorf("fix = %+v, want RBAC Reader at namespace dev", e.Fix)
	}
	if e := decide.Explain(est, ask(2, "get", "secrets", "dev")); e.Nearest != nil || e.Fix == nil || e.Fix.Role.RoleName != "Azure Kubernetes Service RBAC Writer" {
		t.Errorf("a user without grants: nearest = %v, fix = %+v, want none and RBAC Writer", e.Nearest, e.Fix)
	}
	plain := ask(2, "get", "pods", "dev")
	plain.Scope = plainAt
	if e := decide.Explain(est, plain); e.Fix == nil || e.Fix.ClusterRole != "view" {
		t.Errorf("fix on a cluster of its own roles = %+v, want the cluster role view", e.Fix)
	}
}

func TestAGuestIsKnownToClustersByHisObjectID(t *testing.T) {
	t.Parallel()
	guest := user(1)
	guest.Guest = true
	bind := func(name, subject string) kuberbac.Binding {
		return kuberbac.Binding{Cluster: plainAt, Namespace: name, Name: name, RoleIsCluster: true, Role: "view",
			Subjects: []kuberbac.Subject{{Kind: kuberbac.User, Name: subject}}}
	}
	est := load(t, guest, bind("by-id", id(1).String()), bind("by-name", guest.UserPrincipalName))
	for ns, want := range map[string]decide.Effect{"by-id": decide.Allow, "by-name": decide.NoOpinion} {
		req := ask(1, "get", "pods", ns)
		req.Scope = plainAt
		if got := decide.Decide(est, req).Effect; got != want {
			t.Errorf("%s: Decide = %v, want %v", ns, got, want)
		}
		named := slices.ContainsFunc(decide.WhoCan(est, req), func(h decide.Holder) bool { return h.Principal.ID == id(1) })
		if named != (want == decide.Allow) {
			t.Errorf("%s: WhoCan names the guest: %t", ns, named)
		}
	}
}

func TestNothingHelpsWhoIsDisabled(t *testing.T) {
	t.Parallel()
	gone := user(1)
	gone.Disabled = true
	est := load(t, gone, assign(t, 1, 1, "Azure Kubernetes Service RBAC Reader", namespace(t, "prod")))
	if e := decide.Explain(est, ask(1, "list", "pods", "dev")); e.Nearest != nil || e.Fix != nil || e.Reason != decide.Disabled {
		t.Errorf("nearest = %v, fix = %v, reason = %v, want none, none and disabled", e.Nearest, e.Fix, e.Reason)
	}
}

func TestNoAllocationsOnAllow(t *testing.T) {
	est := load(t, user(1), group(10), in(10, 1), assign(t, 1, 10, "Azure Kubernetes Service RBAC Writer", clusterAt))
	req := ask(1, "create", "deployments", "dev")
	req.Kube.APIGroup = "apps"
	if decide.Decide(est, req).Effect != decide.Allow {
		t.Fatal("not allowed")
	}
	if n := testing.AllocsPerRun(100, func() { decide.Decide(est, req) }); n != 0 {
		t.Errorf("an allowed decision allocates %v times, want 0", n)
	}
}
