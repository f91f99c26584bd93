// Package tour plays stories against a live house: people of the sample estate
// sign in through the pages, as they would in a browser, and use the real kubectl
// on the real control planes. Every step says what was typed, what came out, what
// was expected, and why the house answered so.
//
// The stories are those that the source documents tell about AKS; each names its
// source. What a story changes, it changes back, also when it fails.
package tour

import (
	"context"
	"fmt"
	"time"
)

// A Story is one of the numbered stories.
type Story struct {
	Number int
	Title  string
	Source string // the documents that tell it
	// People sign in before the story begins.
	People []string
	tell   func(ctx context.Context, t *telling)
}

// The documents that tell the stories.
const (
	bestPractices2019 = "Operator best practices - Identity in AKS, 2019"
	bestPractices     = "Best practices for authentication and authorization in AKS"
	zeroToHero        = "From zero to hero with identity and access control in AKS, 2025"
	enterpriseScale   = "Identity and access management for the AKS enterprise-scale scenario, 2021"
	identityOverview  = "an article on identity management in AKS"
)

// Stories returns all stories, by number.
func Stories() []Story {
	return []Story{
		adminGroup, clusterUserOnly, readerOnTwoClusters, bothPlanesAddUp, noRoleAtAll,
		financeApp, groupsByID, oneNamespace, podReader, fourRoles, tenSteps,
		addOns, usedElsewhere, farIdentity,
		podGetsToken, ownApplication, wrongTrust, identityOnRequest, needless,
	}
}

// Find returns the story with a number.
func Find(number int) (Story, bool) {
	for _, s := range Stories() {
		if s.Number == number {
			return s, true
		}
	}
	return Story{}, false
}

// A Step is one thing that somebody did in a story.
type Step struct {
	Who     string `json:"who"`         // "faye", "operator"
	On      string `json:"on,omitzero"` // the cluster, for kubectl
	Command string `json:"command"`     // as it is typed
	Output  string `json:"output"`
	Exit    int    `json:"exit"`
	Want    string `json:"want"` // what was expected, in words
	OK      bool   `json:"ok"`
	Missing string `json:"missing,omitzero"` // how the outcome differs from it
	Why     string `json:"why,omitzero"`     // by what the house decided so
	Took    int64  `json:"tookMs"`
}

// A Report is how a story went.
type Report struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Source string `json:"source"`
	Steps  []Step `json:"steps"`
	// Failure is what kept the story from being told to its end.
	Failure string `json:"failure,omitzero"`
	OK      bool   `json:"ok"`
	Took    int64  `json:"tookMs"`
}

// Play tells a story on a stage. Tell, which may be nil, hears of each step when
// it is done.
func (s Story) Play(ctx context.Context, stage *Stage, tell func(Step)) (r Report) {
	start := time.Now()
	r = Report{Number: s.Number, Title: s.Title, Source: s.Source}
	t := &telling{stage: stage, report: &r, tell: tell}
	defer func() {
		if stopped := recover(); stopped != nil {
			end, ok := stopped.(failure)
			if !ok {
				panic(stopped)
			}
			r.Failure = end.Error()
		}
		if err := t.undo(ctx); err != nil && r.Failure == "" {
			r.Failure = err.Error()
		}
		r.OK = r.Failure == "" && len(r.Steps) > 0
		for _, step := range r.Steps {
			r.OK = r.OK && step.OK
		}
		r.Took = time.Since(start).Milliseconds()
	}()
	if err := stage.SignIn(ctx, s.People...); err != nil {
		panic(failure{err})
	}
	s.tell(ctx, t)
	return r
}

// A failure ends a story: what was to come has no ground to stand on.
type failure struct{ error }

// A telling is a story while it is told.
type telling struct {
	stage  *Stage
	report *Report
	tell   func(Step)
	back   []func(context.Context) error
}

// must ends the story when something beside its steps goes wrong.
func (t *telling) must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// later has something undone when the story is over, however it ends.
func (t *telling) later(f func(context.Context) error) { t.back = append(t.back, f) }

// undo undoes what is left to undo, the latest first, also when the story was
// interrupted.
func (t *telling) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	var first error
	for i := len(t.back) - 1; i >= 0; i-- {
		if err := t.back[i](ctx); err != nil && first == nil {
			first = fmt.Errorf("clean up: %w", err)
		}
	}
	t.back = nil
	return first
}

// step records what somebody did.
func (t *telling) step(s Step, got Outcome, want Want) {
	s.Output, s.Exit, s.Want, s.Took = got.Text, got.Exit, want.Words, got.Took.Milliseconds()
	s.Missing = want.missing(got)
	s.OK = s.Missing == ""
	t.report.Steps = append(t.report.Steps, s)
	if t.tell != nil {
		t.tell(s)
	}
}
