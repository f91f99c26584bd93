package corpus_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/manifest/corpus"
	"github.com/gatehouse-io/gatehouse/internal/sample"
)

const folder = "../../../test/scenarios"

// TestScenarios asks every question of the corpus, and asks it of every part of
// the engine that has an answer to it.
func TestScenarios(t *testing.T) {
	t.Parallel()
	common, err := manifest.ReadDir(os.DirFS(folder + "/common"))
	if err != nil {
		t.Fatal(err)
	}
	teknews, err := manifest.ReadDir(sample.FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []struct {
		dir  string
		base manifest.Files
	}{{folder, common}, {folder + "/sample", teknews}} {
		scenarios, err := corpus.Read(os.DirFS(set.dir), set.base)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scenarios {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				for _, q := range s.Questions {
					if err := q.Check(decide.Decide(s.Estate, q.Request)); err != nil {
						t.Errorf("question %d: %v", q.Line, err)
					}
					if err := agree(s, q); err != nil {
						t.Errorf("question %d: %s: %v", q.Line, q.Text, err)
					}
				}
			})
		}
	}
}

// agree checks that explain and who-can say what Decide says (AZ-29).
func agree(s corpus.Scenario, q corpus.Question) error {
	dec := decide.Decide(s.Estate, q.Request)
	if e := decide.Explain(s.Estate, q.Request); e.Effect != dec.Effect || corpus.GrantName(e.By) != corpus.GrantName(dec.By) {
		return fmt.Errorf("explained as %s by %s", e.Effect, corpus.GrantName(e.By))
	}
	if q.Request.Who.ID.IsZero() {
		return nil
	}
	can, everybody := false, false
	for _, h := range decide.WhoCan(s.Estate, q.Request) {
		can = can || h.Principal.ID == q.Request.Who.ID
		everybody = everybody || h.Everyone
	}
	if want := dec.Effect == decide.Allow; can != want && !(want && everybody) {
		return fmt.Errorf("who-can lists him: %t, but the decision is %s", can, dec.Effect)
	}
	return nil
}

func TestMistakesInScenarios(t *testing.T) {
	t.Parallel()
	const estate = "-- e.yaml --\nkind: Tenant\nid: 10000000-0000-4000-8000-000000000001\ndomains: [x.example]\n---\nkind: User\nid: 20000000-0000-4000-8000-000000000001\ntenant: x.example\nuserPrincipalName: ana@x.example\n"
	tests := []struct{ law, text, want string }{
		{"a scenario asks something", estate, "no questions"},
		{"a question has an answer", estate + "-- questions --\nana@x.example action a/b at /\n", "no => in it"},
		{"an answer is one of four", estate + "-- questions --\nana@x.example action a/b at / => yes\n", "want allow by GRANT"},
		{"an allowance names its grant", estate + "-- questions --\nana@x.example action a/b at / => allow\n", "want allow by GRANT"},
		{"who asks is known", estate + "-- questions --\nbob@x.example action a/b at / => none\n", "0 principals"},
		{"a place is known", estate + "-- questions --\nana@x.example get pods @c9 => none\n", `no cluster "c9"`},
		{"a scope is a scope", estate + "-- questions --\nana@x.example action a/b at /x => none\n", "not a scope"},
		{"an instant is an instant", estate + "-- questions --\nana@x.example action a/b at / when tomorrow => none\n", "parsing time"},
		{"a plane is a plane", estate + "-- questions --\nana@x.example action a/b at / only kube => none\n", "only kube"},
		{"other files are refused", estate + "-- notes.txt --\n", "neither *.yaml nor questions"},
		{"mistakes of the estate are told", "-- e.yaml --\nkind: Usre\n", "e.yaml:1: unknown kind"},
	}
	for _, tt := range tests {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			_, err := corpus.Parse("s", []byte(tt.text), nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestWrongAnswersAreFound: a corpus that cannot fail proves nothing.
func TestWrongAnswersAreFound(t *testing.T) {
	t.Parallel()
	base, err := manifest.ReadDir(sample.FS())
	if err != nil {
		t.Fatal(err)
	}
	const questions = `-- questions --
jet@teknews.cloud list pods @aks-1/default => none
jet@teknews.cloud list pods @aks-1/default => allow by Owner
faye@teknews.cloud list pods @aks-1/default => allow by Owner
faye@teknews.cloud list pods @aks-1/default => deny because the principal is disabled
a0000000-0000-4000-8000-0000000000ff list pods @aks-1/default => deny because the principal is disabled
`
	s, err := corpus.Parse("wrong", []byte(questions), base)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range s.Questions {
		if err := q.Check(decide.Decide(s.Estate, q.Request)); err == nil {
			t.Errorf("%s: passed", q.Text)
		}
	}
}

// FuzzParse: there is never a scenario with questions together with an error.
func FuzzParse(f *testing.F) {
	f.Add("-- questions --\nx get pods @c => none\n")
	f.Add("-- e.yaml --\nkind: Tenant\nid: 10000000-0000-4000-8000-000000000001\ndomains: [x.example]\n-- questions --\na+b action x/y at / => allow by x\na+b get /healthz @c when 2026-01-01T00:00:00Z only azure with a=b => deny because x # y\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := corpus.Parse("s", []byte(text), nil)
		if err == nil && len(s.Questions) == 0 {
			t.Fatal("a scenario without questions, and no error")
		}
		for _, q := range s.Questions {
			if q.Want == decide.Allow && q.By == "" {
				t.Fatalf("%q allows by nothing", q.Text)
			}
		}
	})
}
