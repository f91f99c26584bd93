package estate_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

var strangers = must(parse[directory.TenantID]("10000000-0000-0000-0000-000000000002"))

func directoryRole(name string) directory.RoleID {
	role, ok := directoryrole.ByName(name)
	if !ok {
		panic("no role " + name)
	}
	return directoryrole.ID(role)
}

func admin(n int) directory.RoleAssignment {
	return directory.RoleAssignment{Principal: id(n), Role: directoryrole.GlobalAdministrator}
}

func app(n int) directory.Application {
	return directory.Application{ID: id(n), AppID: directory.AppID(id(n + 500)), Tenant: tenantID, DisplayName: "app"}
}

// people has users 1 to 4, group 10, role-assignable group 11, application 20 and
// a user 90 of another tenant.
func people() []record.Record {
	privileged := group(11)
	privileged.RoleAssignable = true
	stranger := user(90)
	stranger.Tenant = strangers
	return []record.Record{
		directory.Tenant{ID: strangers, Domains: []string{"y.example"}}, stranger,
		user(1), user(2), user(3), user(4), group(10), privileged, app(20),
		directory.ServicePrincipal{ID: id(21), AppID: app(20).AppID, Tenant: tenantID, DisplayName: "app"},
	}
}

func TestWhatADirectoryRefuses(t *testing.T) {
	t.Parallel()
	s := load(t, people()...)
	twin := user(20)
	thief := app(30)
	thief.ID = id(20)
	moved := app(20)
	moved.Tenant = strangers
	opened := group(10)
	opened.RoleAssignable = true
	for _, tt := range []struct {
		law  string
		put  record.Record
		want error
	}{
		{"a role of the directory exists", directory.RoleAssignment{Principal: id(1), Role: directory.RoleID(id(1))}, estate.ErrUnknown},
		{"and is given to somebody", admin(77), estate.ErrUnknown},
		{"a group has one only if it was made for that", admin(10), estate.ErrImmutable},
		{"which cannot be changed later", opened, estate.ErrImmutable},
		{"no group is in such a group", in(11, 10), estate.ErrImmutable},
		{"DIR-14: nobody has a role over an object of another tenant", directory.RoleAssignment{Principal: id(90), Role: directoryrole.GlobalAdministrator, Object: id(1)}, estate.ErrUnknown},
		{"DIR-14: nobody owns an object of another tenant", directory.Ownership{Object: id(20), Owner: id(90)}, estate.ErrUnknown},
		{"a group owns nothing", directory.Ownership{Object: id(20), Owner: id(10)}, estate.ErrImmutable},
		{"a user is owned by nobody", directory.Ownership{Object: id(1), Owner: id(2)}, estate.ErrImmutable},
		{"an object id is that of one object: a user's is not an application's", twin, estate.ErrExists},
		{"nor an application's that of another", thief, estate.ErrExists},
		{"an application stays in its tenant", moved, estate.ErrImmutable},
		{"no role of Azure is given in a directory", azurerbac.Assignment{ID: azurerbac.AssignmentID(id(1)), Scope: directory.Place(tenantID), Principal: id(1), Role: reader}, estate.ErrImmutable},
	} {
		if _, err := s.Apply(2, puts(tt.put)...); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.law, err, tt.want)
		}
	}
}

func TestOwnersAndRolesAreFoundFromBothEnds(t *testing.T) {
	t.Parallel()
	owns := directory.Ownership{Object: id(20), Owner: id(1)}
	scoped := directory.RoleAssignment{Principal: id(2), Role: directoryRole("Groups Administrator"), Object: id(10)}
	s := load(t, append(people(), owns, directory.Ownership{Object: id(10), Owner: id(1)}, scoped, admin(3))...)
	if got := slices.Collect(s.Owners(id(20))); !slices.Equal(got, []principal.ID{id(1)}) {
		t.Errorf("the owners are %v", got)
	}
	if got := s.Owned(id(1)); len(got) != 2 {
		t.Errorf("he owns %v", got)
	}
	if got := slices.Collect(s.DirectoryRoles(tenantID)); len(got) != 2 {
		t.Errorf("the roles are %v", got)
	}
	if got := slices.Collect(s.DirectoryRoles(strangers)); len(got) != 0 {
		t.Errorf("ARM-07: another tenant's are %v", got)
	}
	r, _ := s.Resolve(id(2))
	if len(r.Directory) != 1 || r.Directory[0].Scope != directory.PlaceOf(tenantID, id(10)) || r.Directory[0].Record() != record.Record(scoped) {
		t.Errorf("a role for one object is %+v", r.Directory)
	}
	// Deleting the object, or the one who has it, takes all of it (DIR-05).
	for _, key := range []record.Key{group(10).Key(), user(1).Key(), user(2).Key(), app(20).Key()} {
		if _, err := s.Apply(2, estate.Op{Delete: key}); !errors.Is(err, estate.ErrInUse) {
			t.Errorf("%s is deleted alone: %v", key, err)
		}
		ops := []estate.Op{{Delete: key}}
		for _, dep := range s.Dependents(key) {
			ops = append(ops, estate.Op{Delete: dep})
		}
		next, err := s.Apply(2, ops...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := estate.Load(2, next.Records())
		if err != nil {
			t.Fatal(err)
		}
		if a, b := slices.Collect(next.Records()), slices.Collect(again.Records()); len(a) != len(b) {
			t.Errorf("%s: %d records are left, %d when loaded anew", key, len(a), len(b))
		}
	}
}

func TestATenantKeepsAGlobalAdministrator(t *testing.T) { // DIR-12
	t.Parallel()
	disabled := user(1)
	disabled.Disabled = true
	s := load(t, append(people(), admin(1))...)
	group := load(t, append(people(), admin(11), in(11, 1))...)
	for _, tt := range []struct {
		law string
		s   *estate.Snapshot
		ops []estate.Op
		ok  bool
	}{
		{"the role is not taken from the last one", s, []estate.Op{{Delete: admin(1).Key()}}, false},
		{"he is not deleted", s, []estate.Op{{Delete: user(1).Key()}, {Delete: admin(1).Key()}}, false},
		{"he is not disabled", s, puts(disabled), false},
		{"nor taken out of the group that has the role", group, []estate.Op{{Delete: in(11, 1).Key()}}, false},
		{"nor disabled where a group has it", group, puts(disabled), false},
		{"a role for one object does not take his place", s, append(puts(directory.RoleAssignment{Principal: id(2), Role: directoryrole.GlobalAdministrator, Object: id(10)}), estate.Op{Delete: admin(1).Key()}), false},
		{"somebody else does", s, append(puts(admin(2)), estate.Op{Delete: admin(1).Key()}), true},
		{"what does not concern him passes", s, puts(user(5)), true},
		{"a tenant that never had one needs none", load(t, people()...), puts(disabled), true},
	} {
		_, err := tt.s.Apply(2, tt.ops...)
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, estate.ErrLastAdmin) {
			t.Errorf("%s: %v", tt.law, err)
		}
	}
}

func TestOfTwoAdministratorsWhoRemoveEachOtherOneStays(t *testing.T) { // DIR-12
	t.Parallel()
	for range 50 {
		// A store makes one change after the other, each on the estate that it finds.
		var mu sync.Mutex
		s := load(t, append(people(), admin(1), admin(2))...)
		var won int
		var all sync.WaitGroup
		for _, n := range []int{1, 2} {
			all.Go(func() {
				mu.Lock()
				defer mu.Unlock()
				if next, err := s.Apply(s.Revision()+1, estate.Op{Delete: admin(n).Key()}); err == nil {
					s, won = next, won+1
				}
			})
		}
		all.Wait()
		if won != 1 {
			t.Fatalf("%d of two removals came through", won)
		}
	}
}
