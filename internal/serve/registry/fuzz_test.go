package registry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve/registry"
)

// What comes out of ParseScopes goes back into it; no value comes with an error.
func FuzzParseScopes(f *testing.F) {
	for _, text := range []string{"", "repository:hello:pull", "repository:a/b-c:pull,push registry:catalog:*", "repository:..:pull", "::", "repository:a:b:c", "repository:0:..", "registry:\u00a0:*"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := registry.ParseScopes(text)
		if err != nil {
			if all != nil {
				t.Fatalf("%q: %q with %v", text, all, err)
			}
			return
		}
		again, err := registry.ParseScopes(strings.Join(all, " "))
		if err != nil || !slices.Equal(all, again) {
			t.Fatalf("%q: %q, then %q, %v", text, all, again, err)
		}
		for _, one := range all {
			name, ok := strings.CutPrefix(one, "repository:")
			name = name[:max(0, strings.LastIndexByte(name, ':'))] // without its actions
			if ok && (strings.Contains(name, "..") || strings.HasPrefix(name, "/") || len(name) > 255) {
				t.Fatalf("%q is a repository", one)
			}
		}
	})
}
