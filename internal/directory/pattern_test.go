package directory_test

import (
	"path"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

func TestSubjectPatterns(t *testing.T) { // FED-02
	t.Parallel()
	for _, tt := range []struct {
		pattern, subject string
		want             bool
	}{
		{"system:serviceaccount:shop:*", "system:serviceaccount:shop:web", true},
		{"system:serviceaccount:shop:*", "system:serviceaccount:shop:", true},
		{"system:serviceaccount:shop:*", "system:serviceaccount:shop2:web", false},
		{"system:serviceaccount:shop:*", "system:serviceaccount:shop:web:admin", false},
		{"system:serviceaccount:shop:*", "system:serviceaccount:shop", false},
		{"system:serviceaccount:team-?:web", "system:serviceaccount:team-a:web", true},
		{"system:serviceaccount:team-?:web", "system:serviceaccount:team-ab:web", false},
		{"system:serviceaccount:team-?:web", "system:serviceaccount:team-:web", false},
		{"system:serviceaccount:team-*:web", "system:serviceaccount:team-a:x:web", false}, // a star is never two parts
		{"system:serviceaccount:*:web", "SYSTEM:serviceaccount:a:web", false},
		{"repo:org/*:ref:refs/heads/main", "repo:org/app:ref:refs/heads/main", true},
		{"repo:org/*:ref:refs/heads/main", "repo:org/app/x:ref:refs/heads/main", false},
		{"repo:org/*:environment:prod", "repo:org:app:environment:prod", false}, // the separators differ
		{"a:b:*x*y*", "a:b:1x2xy3", true},
		{"a:b:*x*y*", "a:b:yx", false},
		{"a:b:**", "a:b:", true},
		{"", "", false},
		{"", "a", false},
		{"a:b:*", "", false},
	} {
		if got := directory.SubjectPattern(tt.pattern).Matches(tt.subject); got != tt.want {
			t.Errorf("%q matches %q: %v, want %v", tt.pattern, tt.subject, got, tt.want)
		}
	}
}

func TestSubjectPatternsThatMustNotBe(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "*", "*:b:c", "a:*", "a:*:c", "a:b*:c", "a:b", "a:b:c", "a:b?", " a:b:*", "a:b:*\n", "a:b:*é", strings.Repeat("a", 600) + ":b:*"} {
		if err := directory.SubjectPattern(bad).Validate(); err == nil {
			t.Errorf("%q is a pattern", bad)
		}
	}
	for _, good := range []string{"a:b:*", "a:b:c*d", "repo:org/*:x", "a:b:c:?"} {
		if err := directory.SubjectPattern(good).Validate(); err != nil {
			t.Error(err)
		}
	}
}

// path.Match is another reader of the same patterns, for one separator.
func FuzzSubjectPattern(f *testing.F) {
	f.Add("system/serviceaccount/*/w?b", "system/serviceaccount/a/web")
	f.Add("a/b/**x", "a/b/xx")
	f.Fuzz(func(t *testing.T, pattern, subject string) {
		if strings.ContainsAny(pattern+subject, `:[]\`) || directory.SubjectPattern(pattern).Validate() != nil {
			t.Skip()
		}
		for i := range len(subject) {
			if subject[i] < ' ' || subject[i] > '~' {
				t.Skip()
			}
		}
		want, err := path.Match(pattern, subject)
		if got := directory.SubjectPattern(pattern).Matches(subject); err != nil || got != (want && subject != "") {
			t.Errorf("%q matches %q: %v; path.Match: %v, %v", pattern, subject, got, want, err)
		}
	})
}
