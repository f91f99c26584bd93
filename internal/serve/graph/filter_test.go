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
		{"or for being different", "displayName ne 'dev'", "displayName ne 'dev'"},
		{"a quote is written twice", "displayName eq 'O''Brien'", "displayName eq 'O''Brien'"},
		{"or once between two letters, as az does", "displayName eq 'O'Neil'", "displayName eq 'O''Neil'"},
		{"where no end of a text could be", "displayName eq 'é'é' and a eq 'x'", "displayName eq 'é''é' and a eq 'x'"},
		{"and joins", "a eq 'x'  and startswith( b , 'y')", "a eq 'x' and startswith(b,'y')"},
		{"or joins what and has joined", "a eq 'x' or b eq 'y' and c eq 'z'", "a eq 'x' or (b eq 'y' and c eq 'z')"},
		{"brackets come first", "(a eq 'x' or b eq 'y') and not(c eq 'z')", "(a eq 'x' or b eq 'y') and not c eq 'z'"},
		{"a list of texts", "id in ( 'a' , 'b')", "id in ('a','b')"},
		{"flags, nothing, and an id without quotes", "a eq true and b ne null and c eq 10000000-0000-4000-8000-000000000001",
			"a eq true and b ne null and c eq '10000000-0000-4000-8000-000000000001'"},
		{"any compares its own variable", "names/any(c:c eq 'x')", "names/any(x:x eq 'x')"},
		{"or its beginning", "names/any(c:startswith(c,'x'))", "names/any(x:startswith(x,'x'))"},
		{"a property may be called like a word", "not eq 'x'", ""},
		{"DIR-15: any may not compare another variable", "names/any(c:d eq 'x')", ""},
		{"DIR-15: nor its beginning", "names/any(c:startswith(d,'x'))", ""},
		{"DIR-15: nothing follows the last term", "a eq 'x')", ""},
		{"DIR-15: a text has an end", "a eq 'x", ""},
		{"DIR-15: a quote before a blank is the end", "a eq 'x' y'", ""},
		{"DIR-15: brackets nest 16 deep", strings.Repeat("(", 17) + "a eq 'x'" + strings.Repeat(")", 17), ""},
		{"DIR-15: not by the thousand", strings.Repeat("not ", 500) + "a eq 'x'", ""},
		{"DIR-15: terms are bounded", strings.Repeat("a eq 'x' and ", 32) + "a eq 'x'", ""},
		{"DIR-15: the values of a list are terms", "a in (" + strings.Repeat("'x',", 32) + "'x')", ""},
		{"DIR-15: the length is bounded", "a eq '" + strings.Repeat("x", 2048) + "'", ""},
		{"an empty filter says nothing that we could obey", "", ""},
		{"gt is not supported", "a gt 'x'", ""},
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
	f.Add("not (a eq 'O'Neil' or b in ('x',null)) and not not c ne true")
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
