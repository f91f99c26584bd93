package azurerbac_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

func compile(t testing.TB, permissions ...azurerbac.Permission) *azurerbac.Role {
	t.Helper()
	role, err := azurerbac.Compile(azurerbac.Definition{RoleName: "test", Permissions: permissions})
	if err != nil {
		t.Fatal(err)
	}
	return role
}

func TestCovers(t *testing.T) {
	t.Parallel()
	writer := azurerbac.Permission{
		Actions:     []string{"Microsoft.Authorization/*/read"},
		DataActions: []string{"mc/pods/*", "mc/apps/deployments/*", "mc/namespaces/read"},
	}
	admin := azurerbac.Permission{DataActions: []string{"mc/*"}, NotDataActions: []string{"mc/namespaces/write", "mc/quotas/*"}}
	tests := []struct {
		name       string
		permission azurerbac.Permission
		action     string
		data       bool
		want       bool
	}{
		{"an exact operation", writer, "mc/namespaces/read", true, true},
		{"an operation below a star", writer, "mc/pods/exec/action", true, true},
		{"an operation two segments down", writer, "mc/apps/deployments/write", true, true},
		{"the parent of a star is not below it", writer, "mc/pods", true, false},
		{"a sibling with a longer name is not below it", writer, "mc/pods2/read", true, false},
		{"a deeper namesake is another operation", writer, "mc/apps/pods/read", true, false},
		{"a star in the middle", writer, "microsoft.authorization/locks/read", false, true},
		{"data actions say nothing about control (AZ-09)", writer, "mc/pods/read", false, false},
		{"control actions say nothing about data (AZ-09)", azurerbac.Permission{Actions: []string{"*"}}, "mc/pods/read", true, false},
		{"an owner controls everything", azurerbac.Permission{Actions: []string{"*"}}, "mc/pods/read", false, true},
		{"what is excepted is not granted", admin, "mc/namespaces/write", true, false},
		{"nor is what is below an excepted star", admin, "mc/quotas/delete", true, false},
		{"its neighbours are granted", admin, "mc/namespaces/read", true, true},
		{"an exception on one plane leaves the other alone", azurerbac.Permission{Actions: []string{"*"}, NotDataActions: []string{"*"}}, "a/b", false, true},
		{"nothing grants nothing", azurerbac.Permission{}, "a/b", false, false},
		{"exceptions alone grant nothing", azurerbac.Permission{NotActions: []string{"a/b"}}, "a/c", false, false},
		{"no action is covered by no role", azurerbac.Permission{Actions: []string{"*"}}, "", false, false},
		{"an action must come in lower case", writer, "mc/Pods/read", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			role := compile(t, tt.permission)
			if got := role.Permissions[0].Covers([]byte(tt.action), tt.data); got != tt.want {
				t.Errorf("%+v covers %q (data %t) = %t, want %t", tt.permission, tt.action, tt.data, got, tt.want)
			}
		})
	}
}

// AZ-07: an exception reaches no other permission, even of the same role.
func TestExceptionsStayInTheirPermission(t *testing.T) {
	t.Parallel()
	role := compile(t,
		azurerbac.Permission{Actions: []string{"a/*"}, NotActions: []string{"a/write"}},
		azurerbac.Permission{Actions: []string{"a/write"}})
	if role.Permissions[0].Covers([]byte("a/write"), false) || !role.Permissions[1].Covers([]byte("a/write"), false) {
		t.Error("an exception of the first permission is not its own affair")
	}
}

// AZ-08: that a star inside of an operation may stand for no segment widens what is
// forbidden, and never narrows it. Each row is one deny assignment, and what it must
// still forbid, or not.
func TestAStarForNoSegmentLiftsNoProhibition(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		actions, except []string
		action          string
		want            bool
	}{
		{"forbidden with a segment", []string{"p/a/*/b"}, nil, "p/a/x/b", true},
		{"forbidden without one", []string{"p/a/*/b"}, nil, "p/a/b", true},
		{"taken out with a segment", []string{"*"}, []string{"p/a/*/b"}, "p/a/x/b", false},
		{"taken out with two", []string{"*"}, []string{"p/a/*/b"}, "p/a/x/y/b", false},
		{"not taken out without one", []string{"*"}, []string{"p/a/*/b"}, "p/a/b", true},
		{"nor where stars follow one another", []string{"p/*"}, []string{"p/*/*/b"}, "p/b", true},
		{"nor where two are needed", []string{"p/*"}, []string{"p/*/*/b"}, "p/x/b", true},
		{"nor behind a star of another sort", []string{"p/*"}, []string{"p*/a/*/b"}, "p/q/a/b", true},
		{"nor at the beginning", []string{"*/b"}, []string{"p/*/b"}, "p/b", true},
		{"a star at the end is not concerned", []string{"p/*"}, []string{"p/a/*"}, "p/a/b", false},
	} {
		for _, data := range []bool{false, true} {
			p := azurerbac.Permission{Actions: tt.actions, NotActions: tt.except}
			if data {
				p = azurerbac.Permission{DataActions: tt.actions, NotDataActions: tt.except}
			}
			deny, err := azurerbac.CompileDeny(azurerbac.DenyAssignment{Permissions: []azurerbac.Permission{p}})
			if err != nil {
				t.Fatal(err)
			}
			if got := deny.Permissions[0].Covers([]byte(tt.action), data); got != tt.want {
				t.Errorf("%s: %v but for %v forbids %s (data %t) = %t, want %t", tt.name, tt.actions, tt.except, tt.action, data, got, tt.want)
			}
		}
	}
	// In a role it is the other way round: what is taken out is taken out of a right.
	if compile(t, azurerbac.Permission{Actions: []string{"*"}, NotActions: []string{"p/a/*/b"}}).Permissions[0].Covers([]byte("p/a/b"), false) {
		t.Error("a role grants what its exception takes out without a segment")
	}
}

func TestCompileRefusesHalfARole(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]azurerbac.Permission{
		"an operation that is none":           {Actions: []string{"a/*"}, NotActions: []string{"a b"}},
		"a data action that is none":          {DataActions: []string{""}},
		"a condition that does not parse":     {Actions: []string{"a/*"}, Condition: "true"},
		"a condition that mixes AND and OR":   {Actions: []string{"*"}, Condition: "Exists @Resource[a] AND Exists @Resource[b] OR Exists @Resource[c]"},
		"an excepted data action with spaces": {NotDataActions: []string{" a/b"}},
	} {
		if role, err := azurerbac.Compile(azurerbac.Definition{Permissions: []azurerbac.Permission{p}}); !errors.Is(err, record.ErrInvalid) || role != nil {
			t.Errorf("%s: Compile = %v, %v, want no role and an invalid record", name, role, err)
		}
		if deny, err := azurerbac.CompileDeny(azurerbac.DenyAssignment{Permissions: []azurerbac.Permission{p}}); !errors.Is(err, record.ErrInvalid) || deny != nil {
			t.Errorf("%s: CompileDeny = %v, %v, want no deny assignment and an invalid record", name, deny, err)
		}
	}
}

func TestCompileKeepsConditionsAndOrder(t *testing.T) {
	t.Parallel()
	deny, err := azurerbac.CompileDeny(azurerbac.DenyAssignment{Permissions: []azurerbac.Permission{
		{Actions: []string{"a/*"}},
		{Actions: []string{"*/b/*/c*"}, Condition: "Exists @Resource[x]"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if deny.Permissions[0].Condition != nil || deny.Permissions[1].Condition.String() != "Exists @Resource[x]" {
		t.Errorf("conditions are %v and %v", deny.Permissions[0].Condition, deny.Permissions[1].Condition)
	}
	if !deny.Permissions[1].Covers([]byte("a/b/x/cd"), false) {
		t.Error("a deny assignment may have several stars in one operation")
	}
}

// AZ-05: a compiled permission says what its patterns say one by one.
func TestCoversAgreesWithMatch(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	segment := func() string { return []string{"a", "b", "ab", "ba", "read", "p.q"}[r.IntN(6)] }
	operation := func() string {
		parts := make([]string, 1+r.IntN(4))
		for i := range parts {
			parts[i] = segment()
		}
		return strings.Join(parts, "/")
	}
	pattern := func() string {
		switch op := operation(); r.IntN(6) {
		case 0:
			return op
		case 1:
			return "*/" + op
		case 2:
			return op + "*"
		case 3:
			return op + "/*/" + segment()
		case 4:
			return []string{"*", "a*/b*", "*a*"}[r.IntN(3)]
		default:
			return op + "/*"
		}
	}
	list := func() []string {
		l := make([]string, r.IntN(8))
		for i := range l {
			l[i] = pattern()
		}
		return l
	}
	covered := 0
	for range 3000 {
		p := azurerbac.Permission{DataActions: list(), NotDataActions: list()[:0]}
		if r.IntN(2) == 0 {
			p.NotDataActions = list()
		}
		role := compile(t, p)
		for range 20 {
			action := operation()
			matches := func(s string) bool {
				p, err := azurerbac.ParsePattern(s)
				if err != nil {
					t.Fatal(err)
				}
				return p.Match(action)
			}
			want := slices.ContainsFunc(p.DataActions, matches) && !slices.ContainsFunc(p.NotDataActions, matches)
			if want {
				covered++
			}
			if got := role.Permissions[0].Covers([]byte(action), true); got != want {
				t.Fatalf("%q without %q covers %q = %t, want %t", p.DataActions, p.NotDataActions, action, got, want)
			}
		}
	}
	if covered < 1000 {
		t.Errorf("only %d operations were covered at all", covered)
	}
}

// AZ-06: patterns made to be slow are not.
func TestCoversIsLinear(t *testing.T) {
	t.Parallel()
	role := compile(t, azurerbac.Permission{Actions: []string{strings.Repeat("*a", 200) + "*ab*"}})
	action := []byte(strings.Repeat("a", 10_000))
	best := time.Hour // of many, because the machine is shared
	for range 100 {
		start := time.Now()
		if role.Permissions[0].Covers(action, false) {
			t.Fatal("a run of a is covered by a pattern that wants a b")
		}
		best = min(best, time.Since(start))
	}
	if best > time.Millisecond {
		t.Errorf("one match takes %v, want less than a millisecond", best)
	}
}

func TestCoversDoesNotAllocate(t *testing.T) {
	role := builtIn(t, "Azure Kubernetes Service RBAC Writer")
	action := []byte("microsoft.containerservice/managedclusters/rbac.authorization.k8s.io/roles/read")
	if n := testing.AllocsPerRun(100, func() { role.Permissions[0].Covers(action, true) }); n != 0 {
		t.Errorf("Covers allocates %v times, want none", n)
	}
}

func BenchmarkCovers(b *testing.B) {
	const cluster = "microsoft.containerservice/managedclusters/"
	for _, bb := range []struct{ name, role, action string }{
		{"hit", "Azure Kubernetes Service RBAC Writer", cluster + "apps/deployments/write"},
		{"miss", "Azure Kubernetes Service RBAC Writer", cluster + "rbac.authorization.k8s.io/roles/read"},
		{"miss", "Azure Kubernetes Service RBAC Reader", cluster + "secrets/read"},
		{"miss", "Azure Kubernetes Service RBAC Admin", cluster + "namespaces/write"},
		{"hit", "Azure Kubernetes Service RBAC Cluster Admin", cluster + "pods/read"},
	} {
		role := builtIn(b, bb.role)
		d := role.Definition.Permissions[0]
		b.Run(fmt.Sprintf("patterns=%d/%s", len(d.DataActions)+len(d.NotDataActions), bb.name), func(b *testing.B) {
			action := []byte(bb.action)
			p := &role.Permissions[0]
			b.ReportAllocs()
			for b.Loop() {
				if p.Covers(action, true) != (bb.name == "hit") {
					b.Fatal("wrong answer")
				}
			}
		})
	}
	for _, n := range []int{1, 10, 100, 1000} {
		actions := make([]string, n)
		for i := range actions {
			actions[i] = fmt.Sprintf("%stype%d/*", cluster, i)
		}
		p := &compile(b, azurerbac.Permission{DataActions: actions}).Permissions[0]
		b.Run(fmt.Sprintf("patterns=%d/subtrees", n), func(b *testing.B) {
			action := []byte(cluster + "other/read")
			b.ReportAllocs()
			for b.Loop() {
				p.Covers(action, true)
			}
		})
	}
}
