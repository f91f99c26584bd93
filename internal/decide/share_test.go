package decide_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

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

// randomChange writes or deletes something of any kind that a decision rests on.
func randomChange(t testing.TB, rnd *rand.Rand, est *estate.Snapshot) estate.Op {
	t.Helper()
	toggle := func(r record.Record) estate.Op {
		if _, there := est.Get(r.Key()); there {
			return estate.Op{Delete: r.Key()}
		}
		return estate.Op{Put: r}
	}
	kinds := []string{"Azure Kubernetes Service RBAC Reader", "Azure Kubernetes Service RBAC Writer", "Azure Kubernetes Service RBAC Cluster Admin", "Reader"}
	mg, _ := scope.ManagementGroup("corp")
	anywhere := []scope.Scope{clusterAt, namespace(t, "dev"), namespace(t, "prod"), scope.MustParse(sub), mg}
	custom := azurerbac.Definition{ID: parse[azurerbac.DefinitionID]("40000000-0000-0000-0000-000000000009"), RoleName: "custom", AssignableScopes: []scope.Scope{scope.MustParse(sub)},
		Permissions: []azurerbac.Permission{{DataActions: []string{"Microsoft.ContainerService/managedClusters/" + []string{"pods", "secrets", "nodes"}[rnd.IntN(3)] + "/*"}}}}
	switch rnd.IntN(12) {
	case 0:
		return toggle(in(11+rnd.IntN(6), []int{1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13}[rnd.IntN(11)]))
	case 1:
		u, _ := est.User(id(1 + rnd.IntN(8)))
		u.Disabled = !u.Disabled
		return estate.Op{Put: u}
	case 2: // a new name: bindings name users by it
		u, _ := est.User(id(1 + rnd.IntN(8)))
		u.UserPrincipalName = fmt.Sprintf("u%d-%d@x.example", rnd.IntN(8)+1, rnd.IntN(1000))
		return estate.Op{Put: u}
	case 3:
		n := 900 + rnd.IntN(12)
		a := assign(t, n, 1+n%8+10*(n%2), kinds[n%4], anywhere[n%5])
		return toggle(a)
	case 4:
		n := rnd.IntN(4)
		return toggle(azurerbac.DenyAssignment{ID: parse[azurerbac.DenyAssignmentID](fmt.Sprintf("51000000-0000-0000-0000-%012d", n)), Name: fmt.Sprint("deny ", n),
			Scope: anywhere[n], Principals: []principal.ID{id(11 + n)}, Permissions: []azurerbac.Permission{{DataActions: []string{"Microsoft.ContainerService/managedClusters/pods/*"}}}})
	case 5:
		c, _ := est.Cluster(clusterAt)
		c.AzureRBAC = !c.AzureRBAC
		return estate.Op{Put: c}
	case 6:
		n := rnd.IntN(6)
		return toggle(kuberbac.Binding{Cluster: plainAt, Namespace: places[n%3], Name: fmt.Sprint("b", n), RoleIsCluster: true, Role: []string{"own", "edit", "own"}[n%3],
			Subjects: []kuberbac.Subject{{Kind: kuberbac.Group, Name: id(11 + n).String()}, {Kind: kuberbac.User, Name: user(n + 1).UserPrincipalName}}})
	case 7: // what a binding's role allows
		return toggle(kuberbac.Role{Cluster: plainAt, Name: "own", Rules: []kuberbac.Rule{{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"pods"}}}})
	case 8, 9: // what an assignment's role allows
		return estate.Op{Put: custom}
	case 10:
		n := rnd.IntN(6)
		a := assign(t, 950+n, 11+n, "Reader", clusterAt)
		if _, ok := est.Definition(custom.ID); ok {
			a.Role = custom.ID
		}
		return toggle(a)
	default: // where the subscription lies
		s, _ := est.Subscription(scope.MustParse(sub))
		if s.Parent.IsZero() {
			s.Parent = mg
		} else {
			s.Parent = scope.Scope{}
		}
		return estate.Op{Put: s}
	}
}

// WH-11, WH-12: there is no cache of decisions whose keys could be confused, and
// nothing that lets one asker have another's answer. What is kept beside the
// principals is tried here: askers of several revisions ask at the same time, and
// each gets what an estate answers that was loaded for him alone.
func TestAskersNeverShareAnAnswer(t *testing.T) {
	t.Parallel()
	type asked struct {
		est  *estate.Snapshot
		req  decide.Request
		want decide.Decision
	}
	allowed := 0
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		est := randomEstate(t, rnd)
		var questions []asked
		for range 12 {
			var err error
			for range 3 {
				next, bad := est.Apply(est.Revision()+1, randomChange(t, rnd, est))
				if bad == nil {
					est = next
				} else {
					err = bad // a name is taken: another change, then
				}
			}
			fresh, bad := estate.Load(est.Revision(), est.Records())
			if bad != nil {
				t.Fatal(bad, err)
			}
			for n := 1; n <= 8; n++ {
				for _, at := range []scope.Scope{clusterAt, plainAt} {
					q := randomQuestion(rnd)
					q.Who, q.Scope = decide.Subject{ID: id(n)}, at
					want := decide.Decide(fresh, q)
					if want.Effect == decide.Allow {
						allowed++
					}
					questions = append(questions, asked{est, q, want})
				}
			}
		}
		var wg sync.WaitGroup
		for worker := range uint64(4) {
			wg.Go(func() {
				mine := slices.Clone(questions)
				r := rand.New(rand.NewPCG(seed, worker))
				r.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				for _, a := range mine {
					if got := decide.Decide(a.est, a.req); got.Effect != a.want.Effect || got.Reason != a.want.Reason || got.Revision != a.want.Revision {
						t.Errorf("seed %d revision %d: %v because %v, alone %v because %v, for %+v", seed, a.est.Revision(), got.Effect, got.Reason, a.want.Effect, a.want.Reason, a.req)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	if allowed < 500 {
		t.Errorf("only %d questions were allowed: this shows little", allowed)
	}
}

func TestWhatFailsDoesNotAllow(t *testing.T) {
	t.Parallel()
	// A name that is compared as a number: an error, and neither true nor false.
	const cannot = `@Request[Microsoft.ContainerService/managedClusters/resources:subresource] NumericEquals 5`
	const cannotWho = `@Principal[Microsoft.Directory/CustomSecurityAttributes/Id:Team_Name] NumericEquals 5`
	forbid := func(n int, who principal.ID, condition string) azurerbac.DenyAssignment {
		d := azurerbac.DenyAssignment{ID: parse[azurerbac.DenyAssignmentID](fmt.Sprintf("52000000-0000-0000-0000-%012d", n)), Name: fmt.Sprint("deny ", n), Scope: clusterAt,
			Principals: []principal.ID{who}, Permissions: []azurerbac.Permission{{DataActions: []string{"Microsoft.ContainerService/managedClusters/pods/*"}, Condition: condition}}}
		if condition != "" {
			d.Permissions[0].ConditionVersion = "2.0"
		}
		return d
	}
	const admin = "Azure Kubernetes Service RBAC Cluster Admin"
	unsure := assign(t, 4, 4, admin, clusterAt)
	unsure.Condition, unsure.ConditionVersion = cannot, "2.0"
	red := user(2)
	red.Attributes = map[string][]string{"Team_Name": {"red"}}
	ending := assign(t, 5, 5, admin, clusterAt)
	ending.NotAfter = now
	nested := forbid(6, id(21), "")
	mgOther := resource.ManagementGroup{Scope: scope.MustParse("/providers/Microsoft.Management/managementGroups/theirs"), Tenant: other}
	// DIR-07: a group that is called by another group's object id.
	impostor := group(22)
	impostor.DisplayName = id(23).String()
	est := load(t, user(1), red, user(3), user(4), user(5), user(6), user(7), user(8), group(20), group(21), impostor, group(23), in(20, 6), in(21, 20), in(22, 7), mgOther,
		assign(t, 1, 1, admin, clusterAt), forbid(1, id(1), cannot),
		assign(t, 2, 2, admin, clusterAt), forbid(2, id(2), cannotWho),
		assign(t, 3, 3, admin, clusterAt), forbid(3, id(3), `@Request[Microsoft.ContainerService/managedClusters/resources:subresource] StringEquals 'log'`),
		unsure, ending, assign(t, 6, 6, admin, clusterAt), nested,
		assign(t, 7, 23, admin, clusterAt),
		assign(t, 8, 8, "Owner", scope.Root),
		kuberbac.Binding{Cluster: plainAt, Name: "x", RoleIsCluster: true, Role: "cluster-admin", Subjects: []kuberbac.Subject{{Kind: kuberbac.Group, Name: id(23).String()}}},
	)
	forgotten := ask(5, "get", "pods", "")
	forgotten.Now = forgotten.Now.AddDate(-1, 0, 0)
	if decide.Decide(est, forgotten).Effect != decide.Allow {
		t.Fatal("the assignment that ends grants nothing before its end; the row below shows nothing")
	}
	forgotten.Now = (decide.Request{}).Now
	onPlain := ask(7, "get", "pods", "")
	onPlain.Scope = plainAt
	log := ask(3, "get", "pods/log", "")
	for _, tt := range []struct {
		law    string
		req    decide.Request
		effect decide.Effect
		reason decide.Reason
	}{
		{"AZ-11: a deny assignment whose condition cannot be evaluated denies", ask(1, "get", "pods/log", ""), decide.Deny, decide.DenyAssignment},
		{"AZ-11: whatever it asks about", ask(2, "get", "pods", ""), decide.Deny, decide.DenyAssignment},
		{"AZ-11: but only what it speaks of", ask(1, "get", "nodes/status", ""), decide.Allow, decide.Granted},
		{"AZ-11: and not when its condition does not hold", func() decide.Request { r := log; r.Kube.Subresource = "status"; return r }(), decide.Allow, decide.Granted},
		{"AZ-11: it does when it holds", log, decide.Deny, decide.DenyAssignment},
		{"AZ-11: a role assignment whose condition cannot be evaluated grants nothing", ask(4, "get", "pods/log", ""), decide.NoOpinion, decide.NoGrant},
		{"AZ-08: a deny assignment of a group that is reached through another one", ask(6, "get", "pods", ""), decide.Deny, decide.DenyAssignment},
		{"an assignment with an end is over for whoever forgets the time", forgotten, decide.NoOpinion, decide.NoGrant},
		{"DIR-07: a group's name is nobody's id: role assignments", ask(7, "get", "pods", ""), decide.NoOpinion, decide.NoGrant},
		{"DIR-07: a group's name is nobody's id: bindings", onPlain, decide.NoOpinion, decide.NoGrant},
		{"DIR-14: the owner of the root is a stranger in another tenant's management group", decide.Request{Who: decide.Subject{ID: id(8)}, Scope: mgOther.Scope, Action: "Microsoft.Management/managementGroups/read", Now: now}, decide.Deny, decide.NotAdmitted},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if got := decide.Decide(est, tt.req); got.Effect != tt.effect || got.Reason != tt.reason {
				t.Errorf("%v because %v, want %v because %v", got.Effect, got.Reason, tt.effect, tt.reason)
			}
		})
	}
}

// DIR-05: whoever comes under the name of somebody who is gone gets nothing of his,
// and of a group neither.
func TestASecondComingInheritsNothing(t *testing.T) {
	t.Parallel()
	est := load(t, user(1), group(10), in(10, 1), assign(t, 1, 1, "Azure Kubernetes Service RBAC Cluster Admin", clusterAt), assign(t, 2, 10, "Azure Kubernetes Service RBAC Reader", clusterAt),
		kuberbac.Binding{Cluster: plainAt, Name: "g", RoleIsCluster: true, Role: "view", Subjects: []kuberbac.Subject{{Kind: kuberbac.Group, Name: id(10).String()}}})
	again, sameGroup := user(2), group(11)
	again.UserPrincipalName, sameGroup.DisplayName = user(1).UserPrincipalName, group(10).DisplayName
	apply := func(ops ...estate.Op) {
		t.Helper()
		next, err := est.Apply(est.Revision()+1, ops...)
		if err != nil {
			t.Fatal(err)
		}
		est = next
	}
	plain := func(n int) decide.Request { r := ask(n, "get", "pods", ""); r.Scope = plainAt; return r }
	if decide.Decide(est, ask(1, "delete", "nodes", "")).Effect != decide.Allow || decide.Decide(est, plain(1)).Effect != decide.Allow {
		t.Fatal("the first one has nothing; this shows nothing")
	}
	apply(estate.Op{Delete: in(10, 1).Key()}, estate.Op{Delete: user(1).Key()}, estate.Op{Delete: group(10).Key()})
	apply(estate.Op{Put: again}, estate.Op{Put: sameGroup}, estate.Op{Put: directory.Membership{Group: sameGroup.ID, Member: again.ID}})
	for _, q := range []decide.Request{ask(2, "delete", "nodes", ""), ask(2, "get", "pods", ""), plain(2)} {
		if got := decide.Decide(est, q); got.Effect != decide.NoOpinion {
			t.Errorf("%v because %v for %+v", got.Effect, got.Reason, q)
		}
	}
	if got := decide.Decide(est, ask(1, "get", "pods", "")); got.Effect != decide.Deny || got.Reason != decide.UnknownPrincipal {
		t.Errorf("the first one: %v because %v", got.Effect, got.Reason)
	}
}
