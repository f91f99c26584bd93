package decide_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

var places = []string{"", "dev", "prod"}

// randomEstate has users 1 to 8, groups 11 to 16 in any tangle, and random
// grants of both planes, some limited by conditions, times and prohibitions.
func randomEstate(t testing.TB, rnd *rand.Rand) *estate.Snapshot {
	t.Helper()
	var recs []record.Record
	for n := 1; n <= 8; n++ {
		u := user(n)
		u.Disabled = rnd.IntN(10) == 0
		if rnd.IntN(10) == 0 {
			u.Tenant = other
		}
		if rnd.IntN(2) == 0 {
			u.Attributes = map[string][]string{"Team_Name": {[]string{"red", "blue"}[rnd.IntN(2)]}}
		}
		recs = append(recs, u)
	}
	for n := 11; n <= 16; n++ {
		recs = append(recs, group(n))
	}
	member := map[[2]int]bool{}
	for range 14 {
		m := [2]int{11 + rnd.IntN(6), 1 + rnd.IntN(16)}
		if m[1] == 9 || m[1] == 10 || member[m] {
			continue
		}
		member[m] = true
		recs = append(recs, in(m[0], m[1]))
	}
	anyone := func() int {
		if rnd.IntN(2) == 0 {
			return 1 + rnd.IntN(8)
		}
		return 11 + rnd.IntN(6)
	}
	roles := []string{"Azure Kubernetes Service RBAC Reader", "Azure Kubernetes Service RBAC Writer", "Azure Kubernetes Service RBAC Admin",
		"Azure Kubernetes Service RBAC Cluster Admin", "Azure Kubernetes Service Cluster User Role", "Contributor", "Reader"}
	type grant struct {
		who  principal.ID
		role azurerbac.DefinitionID
		at   scope.Scope
	}
	seen := map[grant]bool{}
	for n := range 8 {
		a := assign(t, n+1, anyone(), roles[rnd.IntN(len(roles))], somewhere(t, rnd))
		switch rnd.IntN(5) {
		case 0:
			a.NotBefore = now.Add(time.Duration(rnd.IntN(3)-1) * time.Minute)
		case 1:
			a.NotAfter = now.Add(time.Duration(rnd.IntN(3)-1) * time.Minute)
		case 2:
			a.Condition, a.ConditionVersion = `@Principal[Microsoft.Directory/CustomSecurityAttributes/Id:Team_Name] StringEquals 'red'`, "2.0"
		}
		if g := (grant{a.Principal, a.Role, a.Scope}); !seen[g] {
			seen[g] = true
			recs = append(recs, a)
		}
	}
	for n := range 6 {
		el := eligible(t, n+1, anyone(), roles[rnd.IntN(len(roles))], somewhere(t, rnd))
		a := el.Assigned(id(1 + rnd.IntN(8))) // who may not be eligible, or no longer
		a.ID, a.NotAfter = parse[azurerbac.AssignmentID](fmt.Sprintf("41000000-0000-0000-0000-%012d", n+1)), now.Add(time.Duration(rnd.IntN(3)-1)*time.Minute)
		if g := (grant{a.Principal, a.Role, a.Scope}); !seen[g] && !seen[grant{el.Principal, el.Role, el.Scope}] {
			seen[g], seen[grant{el.Principal, el.Role, el.Scope}] = true, true
			recs = append(recs, el, a)
		}
	}
	if rnd.IntN(2) == 0 {
		recs = append(recs, azurerbac.DenyAssignment{
			ID: parse[azurerbac.DenyAssignmentID]("50000000-0000-0000-0000-000000000001"), Name: "d", Scope: somewhere(t, rnd),
			Everyone: rnd.IntN(2) == 0, Principals: []principal.ID{id(anyone())}, ExcludePrincipals: []principal.ID{id(anyone())},
			DoNotApplyToChildren: rnd.IntN(2) == 0,
			Permissions: []azurerbac.Permission{{
				DataActions: []string{"Microsoft.ContainerService/managedClusters/pods/*"}, Actions: []string{"*/read"},
				NotDataActions: []string{"*/delete"}}},
		})
	}
	for n := range 4 {
		b := kuberbac.Binding{Cluster: clusterAt, Namespace: places[rnd.IntN(3)], Name: fmt.Sprint("b", n), RoleIsCluster: true,
			Role: []string{"view", "edit", "cluster-admin", "nothing"}[rnd.IntN(4)]}
		switch rnd.IntN(3) {
		case 0:
			b.Subjects = []kuberbac.Subject{{Kind: kuberbac.User, Name: user(1 + rnd.IntN(8)).UserPrincipalName}}
		case 1:
			b.Subjects = []kuberbac.Subject{{Kind: kuberbac.Group, Name: id(11 + rnd.IntN(6)).String()}}
		default:
			b.Subjects = []kuberbac.Subject{{Kind: kuberbac.ServiceAccount, Name: "sa", Namespace: "dev"}}
		}
		recs = append(recs, b)
	}
	return load(t, recs...)
}

func somewhere(t testing.TB, rnd *rand.Rand) scope.Scope {
	mg, err := scope.ManagementGroup("corp")
	if err != nil {
		t.Fatal(err)
	}
	all := []scope.Scope{scope.Root, mg, scope.MustParse(sub), scope.MustParse(sub + "/resourceGroups/rg"), clusterAt,
		namespace(t, "dev"), namespace(t, "prod"), plainAt}
	return all[rnd.IntN(len(all))]
}

func randomQuestion(rnd *rand.Rand) decide.Request {
	if rnd.IntN(4) == 0 {
		return decide.Request{Scope: clusterAt, Now: now, Action: []string{
			"Microsoft.ContainerService/managedClusters/read",
			"Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action",
			"Microsoft.Authorization/roleAssignments/write"}[rnd.IntN(3)]}
	}
	verbs := []string{"get", "list", "create", "delete", "escalate", "*"}
	resources := []string{"pods", "secrets", "pods/exec", "pods/log", "nodes", "resourcequotas", "widgets", "*"}
	return ask(0, verbs[rnd.IntN(len(verbs))], resources[rnd.IntN(len(resources))], places[rnd.IntN(3)])
}

func eligible(t testing.TB, n, who int, role string, at scope.Scope) azurerbac.Eligibility {
	t.Helper()
	a := assign(t, 1, who, role, at)
	return azurerbac.Eligibility{ID: parse[azurerbac.EligibilityID](fmt.Sprintf("42000000-0000-0000-0000-%012d", n)), Scope: at, Principal: a.Principal, Role: a.Role}
}

// An eligibility grants nothing, whoever has it, wherever, and whenever.
func TestEligibilitiesDecideNothing(t *testing.T) {
	t.Parallel()
	all := []string{"Owner", "Azure Kubernetes Service RBAC Cluster Admin", "User Access Administrator", "Contributor"}
	refused := 0
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		est := randomEstate(t, rnd)
		var ops []estate.Op
		for n := range 30 {
			who := []int{1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16}[n%14]
			el := eligible(t, 100+n, who, all[(n/14+rnd.IntN(2))%len(all)], somewhere(t, rnd))
			if rnd.IntN(2) == 0 {
				el.NotBefore, el.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
			}
			taken := slices.ContainsFunc(est.EligibilitiesOf(el.Principal), func(o *azurerbac.Eligibility) bool { return o.Scope == el.Scope && o.Role == el.Role }) ||
				slices.ContainsFunc(ops, func(op estate.Op) bool {
					o := op.Put.(azurerbac.Eligibility)
					return o.Principal == el.Principal && o.Scope == el.Scope && o.Role == el.Role
				})
			if !taken {
				ops = append(ops, estate.Op{Put: el})
			}
		}
		with, err := est.Apply(est.Revision(), ops...)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			q := randomQuestion(rnd)
			for n := 1; n <= 8; n++ {
				q.Who = decide.Subject{ID: id(n)}
				a, b := decide.Decide(est, q), decide.Decide(with, q)
				if a.Effect != b.Effect || a.Reason != b.Reason {
					t.Fatalf("seed %d: %v without and %v with eligibilities, for %+v", seed, a, b, q)
				}
				if a.Effect != decide.Allow {
					refused++
				}
			}
			if a, b := len(decide.WhoCan(est, q)), len(decide.WhoCan(with, q)); a != b {
				t.Fatalf("seed %d: %d can without and %d with eligibilities, for %+v", seed, a, b, q)
			}
		}
	}
	if refused < 5000 {
		t.Errorf("only %d questions were refused; the test proves too little", refused)
	}
}

func TestWhoCanAgreesWithDecide(t *testing.T) { // G30
	t.Parallel()
	allowed := 0
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		est := randomEstate(t, rnd)
		for range 20 {
			q := randomQuestion(rnd)
			q.Only = decide.Plane(rnd.IntN(3))
			var want []principal.ID
			for n := 1; n <= 8; n++ {
				r := q
				r.Who = decide.Subject{ID: id(n)}
				dec := decide.Decide(est, r)
				if dec.Effect == decide.Allow {
					want = append(want, id(n))
				}
				if e := decide.Explain(est, r); e.Decision != dec {
					t.Fatalf("seed %d: Explain says %v, Decide says %v for %+v", seed, e.Decision, dec, r)
				}
			}
			var got []principal.ID
			everyone := false
			for _, h := range decide.WhoCan(est, q) {
				everyone = everyone || h.Everyone
				if !h.Principal.ID.IsZero() {
					got = append(got, h.Principal.ID)
				}
			}
			if everyone {
				continue // whoever signs in: not listed one by one
			}
			slices.SortFunc(got, func(a, b principal.ID) int { return slices.Compare(a[:], b[:]) })
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: WhoCan = %v, Decide allows %v for %+v", seed, got, want, q)
			}
			allowed += len(want)
		}
	}
	if allowed < 5000 {
		t.Errorf("only %d questions of 64,000 were allowed; the test proves too little", allowed)
	}
}

func TestWhatCanAgreesWithDecide(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		est := randomEstate(t, rand.New(rand.NewPCG(seed, 3)))
		for n := 1; n <= 8; n++ {
			at := clusterAt
			ns := places[n%3]
			if ns != "" {
				at = namespace(t, ns)
			}
			can := map[string]bool{}
			for _, a := range decide.WhatCan(est, decide.Subject{ID: id(n)}, at, now).Abilities {
				for _, v := range a.Verbs {
					can[a.APIGroup+"|"+a.Resource+"|"+v] = true
				}
			}
			for _, res := range []string{"pods", "secrets", "nodes"} {
				for _, v := range decide.Verbs {
					want := decide.Decide(est, ask(n, v, res, ns)).Effect == decide.Allow
					if got := can["|"+res+"|"+v]; got != want {
						t.Fatalf("seed %d: user %d %s %s in %q: WhatCan %t, Decide %t", seed, n, v, res, ns, got, want)
					}
				}
			}
		}
	}
}

func TestAReusedResolutionIsNeverOld(t *testing.T) { // WH-13
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		est := randomEstate(t, rnd)
		for step := range 30 {
			m := in(11+rnd.IntN(6), []int{1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13}[rnd.IntN(11)])
			op := estate.Op{Put: m}
			if _, ok := est.Get(m.Key()); ok {
				op = estate.Op{Delete: m.Key()}
			}
			next, err := est.Apply(est.Revision()+1, op)
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := estate.Load(next.Revision(), next.Records())
			if err != nil {
				t.Fatal(err)
			}
			for n := 1; n <= 8; n++ {
				q := randomQuestion(rnd)
				q.Who = decide.Subject{ID: id(n)}
				if a, b := decide.Decide(next, q), decide.Decide(fresh, q); a.Effect != b.Effect || a.Reason != b.Reason {
					t.Fatalf("seed %d step %d: after changes %v, loaded afresh %v for %+v", seed, step, a, b, q)
				}
			}
			est = next
		}
	}
}
