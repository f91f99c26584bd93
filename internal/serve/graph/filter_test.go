package graph_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve/graph"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{ // want "" is an error
		{"a text is compared", "displayName eq 'dev'", "displayName eq 'dev'"},
		{"a quote is written twice", "displayName eq 'O''Brien'", "displayName eq 'O''Brien'"},
		{"and joins", "a eq 'x'  and startswith( b , 'y')", "a eq 'x' and startswith(b,'y')"},
		{"any compares its own variable", "names/any(c:c eq 'x')", "names/any(x:x eq 'x')"},
		{"DIR-15: a quote cannot end a text early", "a eq 'x' or a eq 'y'", ""},
		{"DIR-15: any may not compare another variable", "names/any(c:d eq 'x')", ""},
		{"DIR-15: nothing follows the last term", "a eq 'x')", ""},
		{"DIR-15: a text has an end", "a eq 'x", ""},
		{"DIR-15: parentheses do not nest", strings.Repeat("(", 1000) + "a eq 'x'", ""},
		{"DIR-15: terms are bounded", strings.Repeat("a eq 'x' and ", 16) + "a eq 'x'", ""},
		{"DIR-15: the length is bounded", "a eq '" + strings.Repeat("x", 2048) + "'", ""},
		{"an empty filter says nothing that we could obey", "", ""},
		{"ne is not supported", "a ne 'x'", ""},
		{"and needs blanks", "a eq 'x'and b eq 'y'", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := graph.ReadFilter(tt.in)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("%.80q reads as %q, %v, want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

// FuzzFilter holds that what was read, written and read again is the same, and
// that an error comes with nothing.
func FuzzFilter(f *testing.F) {
	f.Add("displayName eq 'G' and mailNickname eq 'G'")
	f.Add("servicePrincipalNames/any(c:c eq 'api://x')")
	f.Add("startswith(displayName,'it''s')")
	f.Fuzz(func(t *testing.T, in string) {
		once, err := graph.ReadFilter(in)
		if err != nil {
			if once != "" {
				t.Fatalf("%q is refused (%v) and reads as %q", in, err, once)
			}
			return
		}
		// The canonical form may be longer than the limit by the blanks it has.
		if again, err := graph.ReadFilter(once); err == nil && again != once || err != nil && len(once) <= 2048 {
			t.Fatalf("%q reads as %q, which reads as %q, %v", in, once, again, err)
		}
	})
}
