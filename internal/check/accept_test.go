package check_test

import (
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/check"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

func TestAcceptances(t *testing.T) {
	t.Parallel()
	rule, _ := check.FindRule("local-accounts")
	about := record.KeyOf(record.Cluster, "/subscriptions/x")
	found := []check.Finding{{Rule: &rule, About: about, Verdict: doctor.Wrong, What: "two people"}}
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	good := check.Acceptance{Rule: rule.ID, About: about, Reason: "break glass", Until: day}
	for _, tt := range []struct {
		law    string
		change func(*check.Acceptance)
		now    time.Time
		open   int
	}{
		{"it is accepted on the last day", func(*check.Acceptance) {}, day.Add(23 * time.Hour), 0},
		{"and fires again on the next", func(*check.Acceptance) {}, day.Add(24 * time.Hour), 1},
		{"another rule is another finding", func(a *check.Acceptance) { a.Rule = "azure-rbac" }, day, 1},
		{"another thing is another finding", func(a *check.Acceptance) { a.About.Parts[0] += "y" }, day, 1},
		{"what says the same is the same", func(a *check.Acceptance) { a.What = "two people" }, day, 0},
		{"what has grown fires again", func(a *check.Acceptance) { a.What = "one person" }, day, 1},
	} {
		a := good
		tt.change(&a)
		open, accepted, unused := check.Accept(found, []check.Acceptance{a}, tt.now)
		if len(open) != tt.open || len(accepted) != 1-tt.open || len(unused) != tt.open {
			t.Errorf("%s: %d open, %d accepted, %d unused", tt.law, len(open), len(accepted), len(unused))
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for law, bad := range map[string]func(*check.Acceptance){
		"an unknown rule": func(a *check.Acceptance) { a.Rule = "no-rule" },
		"nothing":         func(a *check.Acceptance) { a.About = record.Key{} },
		"no reason":       func(a *check.Acceptance) { a.Reason = "" },
		"no end":          func(a *check.Acceptance) { a.Until = time.Time{} },
	} {
		a := good
		bad(&a)
		if a.Check() == nil {
			t.Errorf("an acceptance of %s is taken", law)
		}
	}
}
