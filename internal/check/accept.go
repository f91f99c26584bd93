package check

import (
	"errors"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// An Acceptance says that somebody knows of a finding, and lets it be for a while.
type Acceptance struct {
	Rule  string
	About record.Key
	// What is what the finding says; "" is whatever it says. A finding that says
	// something else by now, because more people are in it, is another one.
	What   string
	Reason string
	// Until is the last day on which it is accepted, in UTC.
	Until time.Time
}

// Check says what an acceptance lacks.
func (a Acceptance) Check() error {
	_, known := FindRule(a.Rule)
	switch {
	case !known && a.Rule != everything.ID:
		return errors.New("it names no rule that there is: see gatehouse check rules")
	case a.About.Kind == "" || a.About.Parts[0] == "":
		return errors.New("it does not say what it is about")
	case a.Reason == "":
		return errors.New("it has no reason")
	case a.Until.IsZero():
		return errors.New("it has no end")
	}
	return nil
}

// EndedAt reports whether an acceptance is over at an instant.
func (a Acceptance) EndedAt(now time.Time) bool { return !now.Before(a.Until.AddDate(0, 0, 1)) }

func (a Acceptance) of(f Finding) bool {
	return a.Rule == f.Rule.ID && a.About == f.About && (a.What == "" || a.What == f.What)
}

// An Accepted finding is one that somebody lets be.
type Accepted struct {
	Finding
	By Acceptance
}

// Accept takes out of findings those that are accepted at an instant. Unused are the
// acceptances that are of no finding, or over.
func Accept(found []Finding, list []Acceptance, now time.Time) (open []Finding, accepted []Accepted, unused []Acceptance) {
	used := make([]bool, len(list))
	for _, f := range found {
		at := -1
		for i, a := range list {
			if at < 0 && !a.EndedAt(now) && a.of(f) {
				at = i
			}
		}
		if at < 0 {
			open = append(open, f)
			continue
		}
		used[at] = true
		accepted = append(accepted, Accepted{f, list[at]})
	}
	for i, a := range list {
		if !used[i] {
			unused = append(unused, a)
		}
	}
	return open, accepted, unused
}
