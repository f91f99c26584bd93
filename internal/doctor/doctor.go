// Package doctor says why a workload does not get its token: facts in, findings
// out. Whoever asks gathers the facts, from an API server, the house, a folder or a
// token; nothing is looked up here.
//
// A fact that nobody could find out makes a finding "not evaluated", never one
// that is right. What a federated credential accepts is compared by the code that
// exchanges tokens, in package token, so the two cannot differ.
package doctor

import "fmt"

// A Verdict is the outcome of one check. The zero Verdict is that nobody looked.
type Verdict int

// The verdicts.
const (
	NotEvaluated Verdict = iota
	Right
	Wrong
)

var verdicts = [...]string{NotEvaluated: "not evaluated", Right: "right", Wrong: "wrong"}

func (v Verdict) String() string { return verdicts[v] }

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// A Finding is one check of one thing. It holds no secret and no token.
type Finding struct {
	Check   string  `json:"check"`          // which check, for programs
	About   string  `json:"about,omitzero"` // the thing, such as "pod shop/web"
	Verdict Verdict `json:"verdict"`
	What    string  `json:"what"` // in a sentence
	// Got is what there is and Want what it would have to be, where the two can be
	// compared; Differ says how they differ.
	Got    string      `json:"got,omitzero"`
	Want   string      `json:"want,omitzero"`
	Differ *Difference `json:"differ,omitzero"`
	// Fix is the smallest thing that mends it: a command, a piece of YAML, or words.
	Fix string `json:"fix,omitzero"`
}

// Worst is the verdict of many findings: wrong if one is, else not evaluated if one
// is, or if there are none at all.
func Worst(all []Finding) Verdict {
	worst := NotEvaluated
	for i, f := range all {
		switch {
		case f.Verdict == Wrong:
			return Wrong
		case i == 0 || f.Verdict == NotEvaluated:
			worst = f.Verdict
		}
	}
	return worst
}

// Known is a fact, or why nobody knows it. The zero Known is not known.
type Known[T any] struct {
	value T
	known bool
	why   string
}

// Know is a fact.
func Know[T any](v T) Known[T] { return Known[T]{value: v, known: true} }

// Unknown is a fact that could not be found out, and why.
func Unknown[T any](format string, args ...any) Known[T] {
	return Known[T]{why: fmt.Sprintf(format, args...)}
}

// Get returns the fact, and whether it is known.
func (k Known[T]) Get() (T, bool) { return k.value, k.known }

// Why says why the fact is not known.
func (k Known[T]) Why() string {
	if k.why == "" {
		return "nobody looked"
	}
	return k.why
}

// findings collects what is found about one thing.
type findings struct {
	about string
	all   []Finding
}

func (f *findings) add(x Finding) {
	if x.About == "" {
		x.About = f.about
	}
	f.all = append(f.all, x)
}

func (f *findings) right(check, what string, args ...any) {
	f.add(Finding{Check: check, Verdict: Right, What: fmt.Sprintf(what, args...)})
}

func (f *findings) wrong(check, fix, what string, args ...any) {
	f.add(Finding{Check: check, Verdict: Wrong, What: fmt.Sprintf(what, args...), Fix: fix})
}

func (f *findings) unseen(check, what string, args ...any) {
	f.add(Finding{Check: check, What: fmt.Sprintf(what, args...)})
}
