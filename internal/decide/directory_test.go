package decide_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func directoryRole(name string) directory.RoleID {
	role, ok := directoryrole.ByName(name)
	if !ok {
		panic("no role " + name)
	}
	return directoryrole.ID(role)
}

var directoryRoles = []string{"Global Administrator", "User Administrator", "Groups Administrator", "Application Administrator", "Helpdesk Administrator", "Directory Readers"}

// withDirectory adds applications 31 to 33, groups 21 and 22 that may have roles,
// and random roles, owners and prohibitions to what randomEstate has.
func withDirectory(t testing.TB, rnd *rand.Rand) *estate.Snapshot {
	t.Helper()
	est := randomEstate(t, rnd)
	var ops []estate.Op
	add := func(r record.Record) {
		if _, there := est.Get(r.Key()); !there && !slices.ContainsFunc(ops, func(o estate.Op) bool { return o.Key() == r.Key() }) {
			ops = append(ops, estate.Op{Put: r})
		}
	}
	g := group(1)
	for _, n := range []int{21, 22} {
		g.ID, g.RoleAssignable = id(n), true
		add(g)
		for range 2 {
			add(in(n, 1+rnd.IntN(8)))
		}
	}
	for n := 31; n <= 33; n++ {
		add(directory.Application{ID: id(n), AppID: directory.AppID(id(n + 500)), Tenant: tenantID, DisplayName: fmt.Sprint("a", n)})
	}
	for range 6 {
		a := directory.RoleAssignment{Principal: id([]int{1, 2, 3, 4, 5, 6, 21, 22}[rnd.IntN(8)]), Role: directoryRole(directoryRoles[rnd.IntN(len(directoryRoles))])}
		if rnd.IntN(2) == 0 {
			a.Object = id([]int{1, 2, 11, 31}[rnd.IntN(4)])
		}
		add(a)
		add(directory.Ownership{Object: id([]int{11, 12, 31, 32, 33}[rnd.IntN(5)]), Owner: id(1 + rnd.IntN(8))})
	}
	if rnd.IntN(3) == 0 {
		add(azurerbac.DenyAssignment{ID: parse[azurerbac.DenyAssignmentID]("50000000-0000-0000-0000-000000000077"), Name: "directory", Scope: directory.PlaceOf(tenantID, id(31)),
			Principals: []principal.ID{id(1 + rnd.IntN(8))}, Permissions: []azurerbac.Permission{{Actions: []string{"*/write"}}}})
	}
	// Some of it is refused, because somebody is of another tenant.
	for _, op := range ops {
		if next, err := est.Apply(est.Revision()+1, op); err == nil {
			est = next
		}
	}
	return est
}

func directoryQuestion(rnd *rand.Rand) decide.Request {
	at := directory.Place(tenantID)
	if rnd.IntN(4) > 0 {
		at = directory.PlaceOf(tenantID, id([]int{1, 2, 3, 11, 12, 31, 32, 33, 77}[rnd.IntN(9)]))
	}
	return decide.Request{Scope: at, Now: now, Action: "Microsoft.Directory/" + []string{"users/read", "users/write", "users/password/write", "groups/members/write", "groups/owners/write",
		"applications/write", "applications/credentials/write", "applications/read", "roleAssignments/write", "*"}[rnd.IntN(10)]}
}

func TestWhoCanAgreesWithDecideInADirectory(t *testing.T) { // G30
	t.Parallel()
	allowed, by := 0, make(map[string]int)
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		est := withDirectory(t, rnd)
		for range 20 {
			q := directoryQuestion(rnd)
			var want []principal.ID
			for n := 1; n <= 8; n++ {
				r := q
				r.Who = decide.Subject{ID: id(n)}
				dec := decide.Decide(est, r)
				if dec.Effect == decide.Allow {
					want = append(want, id(n))
					by[fmt.Sprintf("%T", dec.By.Record())]++
				}
				e := decide.Explain(est, r)
				if e.Effect != dec.Effect || e.Reason != dec.Reason || (e.By == nil) != (dec.By == nil) || e.By != nil && !reflect.DeepEqual(e.By.Record(), dec.By.Record()) {
					t.Fatalf("seed %d: Explain says %v, Decide says %v for %+v", seed, e.Decision, dec, r)
				}
			}
			var got []principal.ID
			for _, h := range decide.WhoCan(est, q) {
				got = append(got, h.Principal.ID)
			}
			slices.SortFunc(got, func(a, b principal.ID) int { return slices.Compare(a[:], b[:]) })
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: WhoCan = %v, Decide allows %v for %+v", seed, got, want, q)
			}
			allowed += len(want)
		}
	}
	if allowed < 3000 || len(by) < 4 {
		t.Errorf("%d of 48,000 were allowed, by %v; the test proves too little", allowed, by)
	}
}

// directoryEstate has one of each: user 1 a Global Administrator, 2 a User
// Administrator through group 21, 3 owner of application 31, 4 nothing, 5 a guest,
// 6 of another tenant, 7 Owner of Azure at the root, 8 a User Administrator for
// group 11 alone.
func directoryEstate(t testing.TB) *estate.Snapshot {
	guest, stranger, privileged := user(5), user(6), group(21)
	guest.Guest, stranger.Tenant, privileged.RoleAssignable = true, other, true
	return load(t, user(1), user(2), user(3), user(4), guest, stranger, user(7), user(8), group(11), privileged, in(21, 2), in(21, 6),
		directory.Application{ID: id(31), AppID: directory.AppID(id(531)), Tenant: tenantID, DisplayName: "a"},
		directory.Application{ID: id(32), AppID: directory.AppID(id(532)), Tenant: tenantID, DisplayName: "b"},
		directory.RoleAssignment{Principal: id(1), Role: directoryrole.GlobalAdministrator},
		directory.RoleAssignment{Principal: id(21), Role: directoryRole("User Administrator")},
		directory.RoleAssignment{Principal: id(8), Role: directoryRole("User Administrator"), Object: id(11)},
		directory.Ownership{Object: id(31), Owner: id(3)},
		assign(t, 1, 7, "Owner", scope.Root))
}

func TestDirectoryRolesAreGrants(t *testing.T) {
	t.Parallel()
	est := directoryEstate(t)
	whole, user4, group11, app31, app32 := directory.Place(tenantID), directory.PlaceOf(tenantID, id(4)), directory.PlaceOf(tenantID, id(11)), directory.PlaceOf(tenantID, id(31)), directory.PlaceOf(tenantID, id(32))
	for _, tt := range []struct {
		law    string
		who    int
		action string
		at     scope.Scope
		want   bool
	}{
		{"a Global Administrator writes what is in his directory", 1, "applications/write", app32, true},
		{"DIR-14: not in another one", 1, "users/read", directory.Place(other), false},
		{"nor does he have anything at the root", 1, "users/write", scope.Root, false},
		{"nor any right in Azure", 1, "*", scope.MustParse(sub), false},
		{"he does not rule over domains, which tenants share", 1, "tenants/write", whole, false},
		{"a role is had through a group", 2, "users/write", user4, true},
		{"and is no other role", 2, "applications/write", app31, false},
		{"DIR-14: a stranger in the group has nothing of it", 6, "users/write", user4, false},
		{"a role for one object reaches it", 8, "groups/members/write", group11, true},
		{"and nothing else", 8, "users/write", user4, false},
		{"nor the whole", 8, "groups/write", whole, false},
		{"an owner writes what he owns", 3, "applications/credentials/write", app31, true},
		{"and nothing else", 3, "applications/write", app32, false},
		{"a member reads the directory", 4, "users/read", directory.PlaceOf(tenantID, id(1)), true},
		{"and writes nothing", 4, "users/write", user4, false},
		{"a guest reads himself", 5, "users/read", directory.PlaceOf(tenantID, id(5)), true},
		{"and nobody else", 5, "users/read", user4, false},
		{"a member of another tenant reads nothing here", 6, "users/read", user4, false},
		{"who owns the root owns the directories", 7, "users/write", user4, true},
	} {
		action := tt.action
		if action != "*" {
			action = "Microsoft.Directory/" + action
		}
		req := decide.Request{Who: decide.Subject{ID: id(tt.who)}, Scope: tt.at, Action: action, Now: now}
		if got := decide.Decide(est, req).Effect == decide.Allow; got != tt.want {
			t.Errorf("%s: %t", tt.law, got)
		}
	}
}

func TestWhySaysWhichDirectoryRoleItWas(t *testing.T) {
	t.Parallel()
	est := directoryEstate(t)
	at := directory.PlaceOf(tenantID, id(4))
	why := func(who int, action string) decide.Explanation {
		return decide.Explain(est, decide.Request{Who: decide.Subject{ID: id(who)}, Scope: at, Action: "Microsoft.Directory/" + action, Now: now})
	}
	e := why(2, "users/write")
	if e.By == nil || e.By.Role.RoleName != "User Administrator" || !slices.Equal(e.Considered[0].Via, []principal.ID{id(21)}) {
		t.Errorf("user 2 by %+v", e.Considered)
	}
	e = why(8, "users/write")
	if e.Effect != decide.NoOpinion || e.Nearest == nil || e.Nearest.Outcome != decide.OtherPlace || e.Nearest.Grant.Role.RoleName != "User Administrator" {
		t.Errorf("user 8: %v, nearest %+v", e.Effect, e.Nearest)
	}
	for action, want := range map[string]string{"users/write": "Directory Writers", "users/password/write": "Helpdesk Administrator", "roleAssignments/write": "Privileged Role Administrator"} {
		if e = why(4, action); e.Fix == nil || e.Fix.Role.RoleName != want || e.Fix.Scope != at {
			t.Errorf("the smallest fix for %s is %+v, want %s", action, e.Fix, want)
		}
	}
	if e = why(1, "users/write"); e.By == nil || e.By.Role.RoleName != "Global Administrator" {
		t.Errorf("user 1 by %+v", e.By)
	}
	if e = why(4, "users/read"); e.By == nil || e.By.Record() != nil || e.By.Role != directoryrole.Member() {
		t.Errorf("a member by %+v", e.By)
	}
}
