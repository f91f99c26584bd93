package azurerbac_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
)

// AZ-05.
func TestPatternMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, pattern, action string
		want                  bool
	}{
		{"a star alone is everything", "*", "Microsoft.Compute/virtualMachines/read", true},
		{"two stars are one", "**", "a/read", true},
		{"every read", "*/read", "Microsoft.Compute/virtualMachines/read", true},
		{"every read, but no other verb", "*/read", "Microsoft.Compute/virtualMachines/start/action", false},
		{"every read has something before the slash or not", "*/read", "/read", true},
		{"read alone has no slash", "*/read", "read", false},
		{"a star reaches over slashes", "Microsoft.ContainerService/managedClusters/*", "Microsoft.ContainerService/managedClusters/pods/exec/action", true},
		{"a star is also nothing", "a/b*", "a/b", true},
		{"a star behind a slash needs the slash", "a/b/*", "a/b", false},
		{"a star in the middle", "Microsoft.Authorization/*/Write", "microsoft.authorization/roleAssignments/write", true},
		{"a star in the middle of a segment", "a/b*d/read", "a/bcd/read", true},
		{"a star that is a segment may be none", "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action", "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", true},
		{"two of them", "a/*/*/b", "a/b", true},
		{"but both slashes stay where there is something between them", "a/*/b", "a/xb", false},
		{"a star that is a part of a segment stays in it", "a/b*/c", "a/c", false},
		{"the sides of a star do not overlap", "a/ab*ab/x", "a/ab/x", false},
		{"letter case does not matter", "MICROSOFT.Compute/Read", "microsoft.compute/rEAD", true},
		{"a prefix is no match", "a/b", "a/b/read", false},
		{"a suffix is no match", "b/read", "a/b/read", false},
		{"a longer name is no match", "a/pods/read", "a/pods2/read", false},
		{"three stars", "*/a*/b*", "x/ay/bz", true},
		{"three stars in another order", "*/b*/a*", "x/ay/bz", false},
		{"no action is matched by nothing", "*", "", false},
		{"the Kelvin sign is no k", "a/k", "a/\u212a", false},
		{"a star in an action is a character", "a/b", "a/*", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := azurerbac.ParsePattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Match(tt.action); got != tt.want {
				t.Errorf("%q matches %q = %t, want %t", tt.pattern, tt.action, got, tt.want)
			}
		})
	}
	if (azurerbac.Pattern{}).Match("a") || (azurerbac.Pattern{}).Match("") {
		t.Error("the zero pattern matches something")
	}
}

func TestParsePatternRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"nothing":               "",
		"spaces":                "a/b ",
		"question marks":        "a/?",
		"an empty segment":      "a//b",
		"a slash in front":      "/a",
		"a slash behind":        "a/",
		"a dot segment":         "a/./b",
		"a way up":              "a/../b",
		"foreign letters":       "a/\u212a",
		"NUL":                   "a/\x00",
		"escapes":               "a/%2e%2e",
		"more than an op holds": "a/" + strings.Repeat("b", 600),
	} {
		if p, err := azurerbac.ParsePattern(s); err == nil || p != (azurerbac.Pattern{}) {
			t.Errorf("%s: ParsePattern(%q) = %q, %v, want an error and no pattern", name, s, p, err)
		}
	}
}

// reference is the meaning of a pattern in the words of regular expressions.
func reference(pattern string) *regexp.Regexp {
	for strings.Contains(pattern, "**") {
		pattern = strings.ReplaceAll(pattern, "**", "*")
	}
	segments := strings.Split(pattern, "/")
	text := ""
	for i, s := range segments {
		switch last := i == len(segments)-1; {
		case s == "*" && i > 0 && !last:
			text += "(?:.*/)?"
		case last:
			text += strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, ".*")
		default:
			text += strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, ".*") + "/"
		}
	}
	return regexp.MustCompile("(?is)^(?:" + text + ")$")
}

// words returns every word over the letters of at most n letters, but the empty one.
func words(letters string, n int) []string {
	all, last := []string(nil), []string{""}
	for range n {
		var longer []string
		for _, w := range last {
			for _, c := range letters {
				longer = append(longer, w+string(c))
			}
		}
		all, last = append(all, longer...), longer
	}
	return all
}

// AZ-05: Match, and Covers of a role with that one pattern, agree with a slow
// matcher on every short pattern and action.
func TestMatchAgreesWithRegexp(t *testing.T) {
	t.Parallel()
	actions := words("ab/", 5)
	tried := 0
	for _, pattern := range words("ab/*", 5) {
		p, err := azurerbac.ParsePattern(pattern)
		if err != nil {
			continue
		}
		role := compile(t, azurerbac.Permission{Actions: []string{pattern}})
		want := reference(pattern)
		for _, action := range actions {
			tried++
			w := want.MatchString(action)
			if got := p.Match(action); got != w {
				t.Fatalf("%q matches %q = %t, want %t", pattern, action, got, w)
			}
			if got := role.Permissions[0].Covers([]byte(action), false); got != w {
				t.Fatalf("a role with %q covers %q = %t, want %t", pattern, action, got, w)
			}
		}
	}
	if tried < 100_000 {
		t.Errorf("only %d comparisons", tried)
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("Microsoft.Authorization/*/Write", "microsoft.authorization/roleassignments/write")
	f.Add("*a*a*a*b", "aaaaaaaaaaaaaaaa")
	f.Add("a/**/b", "a//b")
	f.Fuzz(func(t *testing.T, pattern, action string) {
		p, err := azurerbac.ParsePattern(pattern)
		if err != nil {
			if p != (azurerbac.Pattern{}) {
				t.Fatalf("ParsePattern(%q) = %q together with %v", pattern, p, err)
			}
			return
		}
		if again, err := azurerbac.ParsePattern(p.String()); err != nil || again != p {
			t.Fatalf("ParsePattern(%q) = %q, which parses to %q, %v", pattern, p, again, err)
		}
		for i := range len(action) {
			if action[i] >= 0x80 {
				return // a regular expression folds foreign letters
			}
		}
		if want := action != "" && reference(pattern).MatchString(action); p.Match(action) != want {
			t.Fatalf("%q matches %q = %t, want %t", pattern, action, !want, want)
		}
	})
}
