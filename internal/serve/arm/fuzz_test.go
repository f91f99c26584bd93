package arm_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
)

// Whatever the letters, a path means one thing; an error comes without a route; and
// a place that was understood is a scope by itself (ARM-03, ARM-08).
func FuzzRoute(f *testing.F) {
	f.Add("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.Authorization/roleAssignments/x")
	f.Add("//providers/Microsoft.Authorization/roleDefinitions/")
	f.Add("/subscriptions/%2e%2e/%2f")
	f.Fuzz(func(t *testing.T, path string) {
		kind, at, name, err := arm.ParseRoute(path)
		if err != nil {
			if kind != "" || at != "" {
				t.Fatalf("%q is both %s and %v", path, kind, err)
			}
			return
		}
		if sc, err := scope.Parse(at); err != nil || sc.String() != at || strings.ContainsAny(name, "/%") {
			t.Fatalf("%q: place %q, name %q", path, at, name)
		}
		if strings.Contains(path, "%") {
			return // its escapes have letters of their own
		}
		for _, other := range []string{path + "/", strings.ToUpper(path)} {
			kind2, at2, name2, err := arm.ParseRoute(other)
			if strings.HasSuffix(path, "/") && other == path+"/" || !strings.EqualFold(strings.ToUpper(path), path) {
				continue
			}
			if err != nil || kind2 != kind || at2 != at || !strings.EqualFold(name2, name) {
				t.Fatalf("%q is %s %s %s, %q is %s %s %s %v", path, kind, at, name, other, kind2, at2, name2, err)
			}
		}
	})
}

// ARM-06: a filter that was understood is written so that it is understood again.
func FuzzFilter(f *testing.F) {
	f.Add("atScope() and principalId eq 'it''s'")
	f.Add("ASSIGNEDTO('x')")
	f.Add("principalId  eq  ''''")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := arm.ParseFilter(text)
		if err != nil {
			if first != "" {
				t.Fatalf("%q is both %q and %v", text, first, err)
			}
			return
		}
		if len(first) > 2<<10 { // spaces were added
			return
		}
		if again, err := arm.ParseFilter(first); err != nil || again != first {
			t.Fatalf("%q = %q, which is %q, %v", text, first, again, err)
		}
	})
}
