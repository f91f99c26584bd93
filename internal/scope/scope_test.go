package scope_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const sub = "/subscriptions/11111111-1111-1111-1111-111111111111"
const cluster = sub + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c1"

func TestContains(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law, grant, asked string
		want              bool
	}{
		{"the root contains everything", "/", cluster, true},
		{"a scope contains itself in any letter case", strings.ToUpper(sub), sub, true},
		{"a subscription contains its groups", sub, sub + "/resourceGroups/rg", true},
		{"a cluster contains its namespaces", cluster, cluster + "/namespaces/dev", true},
		{"AZ-01: a prefix of a name is not a parent", cluster, cluster + "0", false},
		{"AZ-01: a prefix of a namespace is not that namespace", cluster + "/namespaces/dev", cluster + "/namespaces/dev2", false},
		{"a child does not contain its parent", cluster + "/namespaces/dev", cluster, false},
		{"nothing contains the root but the root", sub, "/", false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if got := scope.MustParse(tt.grant).Contains(scope.MustParse(tt.asked)); got != tt.want {
				t.Errorf("%q contains %q = %t, want %t", tt.grant, tt.asked, got, tt.want)
			}
		})
	}
	if (scope.Scope{}).Contains(scope.Root) || scope.Root.Contains(scope.Scope{}) {
		t.Error("no place must contain nothing and be nowhere")
	}
}

func TestParseRefuses(t *testing.T) { // AZ-02
	t.Parallel()
	for _, in := range []string{
		"", "x", "//", sub + "//resourceGroups/rg", sub + "/resourceGroups/..", sub + "/resourceGroups/.",
		sub + "/resourceGroups/a%2fb", sub + "/resourceGroups/a\x00", sub + "/resourceGroups/\u212a", "/subscriptions/s1",
		sub + "/resourceGroups", sub + "/providers/Microsoft.X", cluster + "/namespaces", sub + "/other/rg", sub + "/resourceGroups/a\\b",
		"/" + strings.Repeat("a", 3000), sub + "/resourceGroups/rg?x", sub + "/resourceGroups/r g", cluster + "//",
		"/providers/Microsoft.X/providers/Microsoft.Y/t/n", sub + "/providers/Microsoft.X/Providers/n",
	} {
		if got, err := scope.Parse(in); !errors.Is(err, scope.ErrInvalid) || !got.IsZero() {
			t.Errorf("Parse(%.80q) = %q, %v, want no scope and ErrInvalid", in, got, err)
		}
	}
}

func TestARefusalNamesTheNameAndTheRule(t *testing.T) {
	t.Parallel()
	_, err := scope.Parse(sub + "/resourceGroups/b\u00fcro")
	if want := `"büro" has the character 'ü': names have letters from A to Z, digits and -_.()~@$!+=,: alone`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestAncestorsEndAtTheRootAndSkipProviders(t *testing.T) {
	t.Parallel()
	var got []string
	for s := range scope.MustParse(cluster + "/namespaces/dev").Ancestors() {
		got = append(got, s.String())
	}
	c := strings.ToLower(cluster)
	want := []string{c + "/namespaces/dev", c, strings.ToLower(sub + "/resourceGroups/rg"), sub, "/"}
	if !slices.Equal(got, want) {
		t.Errorf("ancestors = %q, want %q", got, want)
	}
	for s := range scope.MustParse("/providers/Microsoft.Management/managementGroups/mg").Ancestors() {
		if s != scope.Root && s.Type() != "microsoft.management/managementgroups" {
			t.Errorf("a management group has the ancestor %q", s)
		}
	}
}

// A resource may be called providers: what comes behind is still below it, and of its type.
func TestANameIsNoMark(t *testing.T) { // AZ-02
	t.Parallel()
	for text, want := range map[string]string{
		"/":                            "",
		sub:                            "subscriptions",
		sub + "/resourceGroups/rg":     "resourcegroups",
		cluster:                        "microsoft.containerservice/managedclusters",
		cluster + "/namespaces/dev":    "microsoft.containerservice/managedclusters/namespaces",
		cluster + "/providers/M.X/t/n": "m.x/t",
		sub + "/resourceGroups/providers/providers/M.X/t/n":                                  "m.x/t",
		sub + "/providers/M.X/t/providers/Microsoft.ContainerService/managedClusters":        "m.x/t/microsoft.containerservice",
		sub + "/providers/Microsoft.ContainerService/managedClusters/providers/namespaces/n": "microsoft.containerservice/managedclusters/namespaces",
	} {
		if got := scope.MustParse(text).Type(); got != want {
			t.Errorf("%s is of type %q, want %q", text, got, want)
		}
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	ns := scope.MustParse(cluster + "/namespaces/dev")
	if c, name, ok := ns.CutNamespace(); !ok || name != "dev" || c != scope.MustParse(cluster) {
		t.Errorf("CutNamespace(%q) = %q, %q, %t", ns, c, name, ok)
	}
	if again, err := scope.MustParse(cluster).Namespace("dev"); err != nil || again != ns {
		t.Errorf("Namespace(dev) = %q, %v, want %q", again, err, ns)
	}
	for _, bad := range []string{"", "..", ".", "a/b", "a%2fb"} { // AZ-03
		if got, err := scope.MustParse(cluster).Namespace(bad); err == nil {
			t.Errorf("Namespace(%q) = %q, want an error", bad, got)
		}
	}
	if s, ok := ns.Subscription(); !ok || s.String() != sub {
		t.Errorf("Subscription = %q, %t", s, ok)
	}
	if g, ok := ns.ResourceGroup(); !ok || g != scope.MustParse(sub+"/resourceGroups/rg") {
		t.Errorf("ResourceGroup = %q, %t", g, ok)
	}
}

func FuzzParseRoundTrips(f *testing.F) {
	f.Add(cluster)
	f.Add("/")
	f.Add(sub + "/")
	f.Add("/providers/0/providers/0/0/0")
	f.Add("/providers/0/t/providers/0/0")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := scope.Parse(in)
		if err != nil {
			if !s.IsZero() {
				t.Fatalf("Parse(%q) = %q together with %v", in, s, err)
			}
			return
		}
		if again, err := scope.Parse(s.String()); err != nil || again != s {
			t.Fatalf("Parse(%q) = %q, which parses to %q, %v", in, s, again, err)
		}
		n := 0
		for a := range s.Ancestors() {
			if !a.Contains(s) {
				t.Fatalf("%q is an ancestor of %q but does not contain it", a, s)
			}
			if _, err := scope.Parse(a.String()); err != nil {
				t.Fatalf("ancestor %q of %q does not parse: %v", a, s, err)
			}
			if n++; n > 1024 {
				t.Fatalf("%q has no end of ancestors", s)
			}
		}
	})
}
