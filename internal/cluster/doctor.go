package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Severity says what a finding means for the cluster.
type Severity string

// The severities. What could not be looked at is NotEvaluated and never fine.
const (
	Fine         Severity = "ok"
	Warning      Severity = "warning"
	Error        Severity = "error"
	NotEvaluated Severity = "not evaluated"
)

// A Finding is the outcome of one check.
type Finding struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	What     string   `json:"what"`          // what was found
	Why      string   `json:"why,omitempty"` // why that is bad; empty when it is fine
	Fix      string   `json:"fix,omitempty"`
}

// A Patient is a cluster to examine, as far as it can be reached. Every field may
// be zero; what needs it is then not evaluated.
type Patient struct {
	// Flags are the arguments of kube-apiserver (see ManifestFlags, K3sFlags).
	Flags []string
	// Authorization, Authentication and TokenReview are the paths of the files
	// that the flags would name, for when only the files are at hand.
	Authorization, Authentication, TokenReview string
	// ReadFile reads a file by the path that the API server knows it by.
	ReadFile func(path string) ([]byte, error)
	// Scope is the cluster that it is meant to be.
	Scope scope.Scope
	// API asks the API server as an administrator; Anonymous as nobody.
	API, Anonymous *API
	// Groups reports whether the directory has a group of this object id; nil
	// leaves that question out.
	Groups func(objectID string) bool
	Now    time.Time
}

// errNotRead is wrapped by the reasons why something could not be looked at.
var errNotRead = errors.New("could not be read")

func notRead(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errNotRead}, args...)...)
}

// A check looks at one thing. Its run returns what was found, and whether that
// is as it should be; an error means that it could not tell.
type check struct {
	id       string
	severity Severity // when it is not as it should be
	why, fix string
	run      func(context.Context, *chart) (what string, good bool, err error)
}

// Doctor examines a cluster and returns one finding for each check, in a fixed
// order. It changes nothing: the reviews that it posts are not stored.
func Doctor(ctx context.Context, p Patient) []Finding {
	c := newChart(p)
	var all []Finding
	for _, group := range [][]check{chainChecks, signInChecks, webhookChecks, liveChecks} {
		for _, check := range group {
			all = append(all, check.finding(ctx, c))
		}
	}
	return all
}

func (k check) finding(ctx context.Context, c *chart) Finding {
	what, good, err := k.run(ctx, c)
	switch {
	case err != nil:
		return Finding{ID: k.id, Severity: NotEvaluated, What: err.Error(), Why: k.why, Fix: "give the doctor what it needs to look at this"}
	case good:
		return Finding{ID: k.id, Severity: Fine, What: what}
	}
	return Finding{ID: k.id, Severity: k.severity, What: what, Why: k.why, Fix: k.fix}
}
