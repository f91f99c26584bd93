package azurerbac_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

var (
	_ record.Record = azurerbac.Definition{}
	_ record.Record = azurerbac.Assignment{}
	_ record.Record = azurerbac.DenyAssignment{}

	subscription = scope.MustParse("/subscriptions/11111111-1111-1111-1111-111111111111")
	anna, _      = principal.ParseID("aaaaaaaa-0000-4000-8000-000000000001")
)

const holds = "Exists @Resource[a]"

func group(name string) scope.Scope {
	s, err := scope.ManagementGroup(name)
	if err != nil {
		panic(err)
	}
	return s
}

// parsed reads an id whose type has no name outside its package.
func parsed[ID any, P interface {
	*ID
	UnmarshalText([]byte) error
}](t *testing.T, s string) (id ID) {
	t.Helper()
	if err := P(&id).UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return id
}

func newDefinitionID(t *testing.T) azurerbac.DefinitionID {
	return parsed[azurerbac.DefinitionID](t, "dddddddd-0000-4000-8000-000000000001")
}

func newAssignmentID(t *testing.T) azurerbac.AssignmentID {
	return parsed[azurerbac.AssignmentID](t, "dddddddd-0000-4000-8000-000000000002")
}

func newDenyID(t *testing.T) azurerbac.DenyAssignmentID {
	return parsed[azurerbac.DenyAssignmentID](t, "dddddddd-0000-4000-8000-000000000003")
}

// sameScope lets cmp compare scopes, which hide what they hold.
var sameScope = cmp.Comparer(func(a, b scope.Scope) bool { return a == b })

// check reports when err is not as the case wants it.
func check(t *testing.T, err error, ok bool) {
	t.Helper()
	if (err == nil) != ok || err != nil && !errors.Is(err, record.ErrInvalid) {
		t.Errorf("Validate() = %v, want valid %t", err, ok)
	}
}

func TestDefinitionValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(*azurerbac.Definition)
		ok   bool
	}{
		{"a plain custom role is valid", func(*azurerbac.Definition) {}, true},
		{"a role has an id", func(d *azurerbac.Definition) { d.ID = azurerbac.DefinitionID{} }, false},
		{"a role has a name", func(d *azurerbac.Definition) { d.RoleName = "" }, false},
		{"a name has no spaces around it", func(d *azurerbac.Definition) { d.RoleName = "Owner " }, false},
		{"a name prints", func(d *azurerbac.Definition) { d.RoleName = "Own\ner" }, false},
		{"a name has up to 512 characters", func(d *azurerbac.Definition) { d.RoleName = strings.Repeat("ä", 512) }, true},
		{"and not more", func(d *azurerbac.Definition) { d.RoleName = strings.Repeat("a", 513) }, false},
		{"a description has up to 2 KB", func(d *azurerbac.Definition) { d.Description = strings.Repeat("a", 2048) }, true},
		{"and not more than that", func(d *azurerbac.Definition) { d.Description = strings.Repeat("a", 2049) }, false},
		{"a role may be assigned somewhere", func(d *azurerbac.Definition) { d.AssignableScopes = nil }, false},
		{"a custom role may not be assigned at the root", func(d *azurerbac.Definition) { d.AssignableScopes = []scope.Scope{scope.Root} }, false},
		{"nor at the root among other places", func(d *azurerbac.Definition) { d.AssignableScopes = []scope.Scope{subscription, scope.Root} }, false},
		{"nor nowhere", func(d *azurerbac.Definition) { d.AssignableScopes = []scope.Scope{{}} }, false},
		{"a place is named once", func(d *azurerbac.Definition) { d.AssignableScopes = []scope.Scope{subscription, subscription} }, false},
		{"one management group is fine", func(d *azurerbac.Definition) { d.AssignableScopes = []scope.Scope{subscription, group("a")} }, true},
		{"two management groups are not", func(d *azurerbac.Definition) { d.AssignableScopes = []scope.Scope{group("a"), group("b")} }, false},
		{"2000 places are fine", func(d *azurerbac.Definition) { d.AssignableScopes = places(2000) }, true},
		{"2001 places are not", func(d *azurerbac.Definition) { d.AssignableScopes = places(2001) }, false},
		{"a built-in role may be assigned at the root", func(d *azurerbac.Definition) { d.BuiltIn, d.AssignableScopes = true, []scope.Scope{scope.Root} }, true},
		{"a built-in role may be assigned nowhere else", func(d *azurerbac.Definition) { d.BuiltIn = true }, false},
		{"a role has permissions", func(d *azurerbac.Definition) { d.Permissions = nil }, false},
		{"a custom role has one wildcard an operation", func(d *azurerbac.Definition) { d.Permissions[0].Actions = []string{"a/*/read"} }, true},
		{"and not two", func(d *azurerbac.Definition) { d.Permissions[0].NotDataActions = []string{"a/*/b/*"} }, false},
		{"two stars in a row are two", func(d *azurerbac.Definition) { d.Permissions[0].Actions = []string{"**"} }, false},
		{"an operation is an operation", func(d *azurerbac.Definition) { d.Permissions[0].DataActions = []string{"a b"} }, false},
		{"a condition holds the version 2.0", func(d *azurerbac.Definition) {
			d.Permissions[0].Condition, d.Permissions[0].ConditionVersion = holds, "2.0"
		}, true},
		{"a condition has that version by default", func(d *azurerbac.Definition) { d.Permissions[0].Condition = holds }, true},
		{"a custom role has no condition of version 1.0", func(d *azurerbac.Definition) {
			d.Permissions[0].Condition, d.Permissions[0].ConditionVersion = holds, "1.0"
		}, false},
		{"a built-in role may have one", func(d *azurerbac.Definition) {
			d.BuiltIn, d.AssignableScopes = true, []scope.Scope{scope.Root}
			d.Permissions[0].Condition, d.Permissions[0].ConditionVersion = holds, "1.0"
		}, true},
		{"a version needs a condition", func(d *azurerbac.Definition) { d.Permissions[0].ConditionVersion = "2.0" }, false},
		{"a condition parses", func(d *azurerbac.Definition) { d.Permissions[0].Condition = "true" }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := azurerbac.Definition{
				ID: newDefinitionID(t), RoleName: "Pod Watcher",
				AssignableScopes: []scope.Scope{subscription},
				Permissions:      []azurerbac.Permission{{Actions: []string{"*/read"}}},
			}
			tt.edit(&d)
			check(t, d.Validate(), tt.ok)
		})
	}
}

func places(n int) []scope.Scope {
	all := make([]scope.Scope, n)
	for i := range all {
		all[i] = scope.MustParse(fmt.Sprintf("/subscriptions/11111111-1111-1111-1111-%012d", i))
	}
	return all
}

func TestAssignmentValidate(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		edit func(*azurerbac.Assignment)
		ok   bool
	}{
		{"a plain assignment is valid", func(*azurerbac.Assignment) {}, true},
		{"an assignment has an id", func(a *azurerbac.Assignment) { a.ID = azurerbac.AssignmentID{} }, false},
		{"an assignment has a scope", func(a *azurerbac.Assignment) { a.Scope = scope.Scope{} }, false},
		{"an assignment has a principal", func(a *azurerbac.Assignment) { a.Principal = principal.ID{} }, false},
		{"an assignment has a role", func(a *azurerbac.Assignment) { a.Role = azurerbac.DefinitionID{} }, false},
		{"the root is a scope", func(a *azurerbac.Assignment) { a.Scope = scope.Root }, true},
		{"a managed identity is a type", func(a *azurerbac.Assignment) { a.PrincipalType = principal.ManagedIdentity }, true},
		{"a device is not", func(a *azurerbac.Assignment) { a.PrincipalType = "Device" }, false},
		{"a type has its letter case", func(a *azurerbac.Assignment) { a.PrincipalType = "user" }, false},
		{"an assignment may end", func(a *azurerbac.Assignment) { a.NotAfter = noon }, true},
		{"an assignment may begin", func(a *azurerbac.Assignment) { a.NotBefore = noon }, true},
		{"it ends after it begins", func(a *azurerbac.Assignment) { a.NotBefore, a.NotAfter = noon, noon.Add(1) }, true},
		{"and not at once", func(a *azurerbac.Assignment) { a.NotBefore, a.NotAfter = noon, noon }, false},
		{"a condition parses", func(a *azurerbac.Assignment) { a.Condition = "x" }, false},
		{"a condition is of version 2.0", func(a *azurerbac.Assignment) { a.Condition, a.ConditionVersion = holds, "2.0" }, true},
		{"and of no other", func(a *azurerbac.Assignment) { a.Condition, a.ConditionVersion = holds, "1.0" }, false},
		{"a version needs a condition", func(a *azurerbac.Assignment) { a.ConditionVersion = "2.0" }, false},
		{"a description has up to 2 KB", func(a *azurerbac.Assignment) { a.Description = strings.Repeat("a", 2049) }, false},
		{"AND and OR do not mix (AZ-13)", func(a *azurerbac.Assignment) { a.Condition = holds + " AND " + holds + " OR " + holds }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := azurerbac.Assignment{
				ID: newAssignmentID(t), Scope: subscription, Principal: anna, Role: builtIn(t, "Reader").ID,
			}
			tt.edit(&a)
			check(t, a.Validate(), tt.ok)
		})
	}
}

func TestDenyAssignmentValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(*azurerbac.DenyAssignment)
		ok   bool
	}{
		{"a plain deny assignment is valid", func(*azurerbac.DenyAssignment) {}, true},
		{"a deny assignment has an id", func(d *azurerbac.DenyAssignment) { d.ID = azurerbac.DenyAssignmentID{} }, false},
		{"a deny assignment has a name", func(d *azurerbac.DenyAssignment) { d.Name = "" }, false},
		{"a deny assignment has a scope", func(d *azurerbac.DenyAssignment) { d.Scope = scope.Scope{} }, false},
		{"a deny assignment forbids something", func(d *azurerbac.DenyAssignment) { d.Permissions = nil }, false},
		{"to somebody", func(d *azurerbac.DenyAssignment) { d.Principals = nil }, false},
		{"or to everyone", func(d *azurerbac.DenyAssignment) { d.Principals, d.Everyone = nil, true }, true},
		{"somebody is not nobody", func(d *azurerbac.DenyAssignment) { d.Principals = []principal.ID{{}} }, false},
		{"nor is nobody excluded", func(d *azurerbac.DenyAssignment) { d.ExcludePrincipals = []principal.ID{{}} }, false},
		{"an operation may have many wildcards", func(d *azurerbac.DenyAssignment) { d.Permissions[0].Actions = []string{"*/a/*/b*"} }, true},
		{"a condition parses", func(d *azurerbac.DenyAssignment) { d.Permissions[0].Condition = "(" }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := azurerbac.DenyAssignment{
				ID: newDenyID(t), Name: "lock", Scope: subscription, Principals: []principal.ID{anna},
				Permissions: []azurerbac.Permission{{Actions: []string{"*/write"}}},
			}
			tt.edit(&d)
			check(t, d.Validate(), tt.ok)
		})
	}
}

func TestActiveAt(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	hour := azurerbac.Assignment{NotBefore: noon, NotAfter: noon.Add(time.Hour)}
	tests := []struct {
		name string
		a    azurerbac.Assignment
		now  time.Time
		want bool
	}{
		{"without bounds it is always active", azurerbac.Assignment{}, noon, true},
		{"not before it begins", hour, noon.Add(-1), false},
		{"from its very beginning", hour, noon, true},
		{"until just before its end", hour, noon.Add(time.Hour - 1), true},
		{"not at its end", hour, noon.Add(time.Hour), false},
		{"after its beginning, when it has no end", azurerbac.Assignment{NotBefore: noon}, noon.AddDate(9, 0, 0), true},
		{"before its end, when it has no beginning", azurerbac.Assignment{NotAfter: noon}, noon.AddDate(-9, 0, 0), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.a.ActiveAt(tt.now); got != tt.want {
				t.Errorf("active at %v = %t, want %t", tt.now, got, tt.want)
			}
		})
	}
}

func TestWithDefaults(t *testing.T) {
	t.Parallel()
	got := []azurerbac.Assignment{
		azurerbac.Assignment{}.WithDefaults(),
		azurerbac.Assignment{Condition: holds}.WithDefaults(),
	}
	want := []azurerbac.Assignment{{}, {Condition: holds, ConditionVersion: "2.0"}}
	if diff := cmp.Diff(want, got, sameScope); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestRecordsSurviveJSON(t *testing.T) {
	t.Parallel()
	want := azurerbac.Assignment{
		ID: newAssignmentID(t), Scope: subscription, Principal: anna, PrincipalType: principal.User, Role: builtIn(t, "Reader").ID,
		Condition: holds, ConditionVersion: "2.0", NotAfter: time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC),
	}
	data, err := record.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got azurerbac.Assignment
	if err := record.Unmarshal(data, &got); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	if diff := cmp.Diff(want, got, sameScope); diff != "" {
		t.Errorf("through %s (-want +got):\n%s", data, diff)
	}
}
