// Package rehearsal holds the knobs by which a house behaves as a cloud does on
// its bad days: changes that take their time, requests that are too many, doors
// that are shut, limits that are reached, a clock that has moved on.
//
// Knobs are one record of the estate, so that every replica has the same, each
// change of them is in the audit log, and whoever reads the estate sees them. The
// zero Knobs are all off. What a knob does is done by the store and the doors;
// this package only says what is wanted.
package rehearsal

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Knobs are the settings of a rehearsal. There is one record of them at most.
type Knobs struct {
	// PropagationDelay is how long a change of who has what takes until decisions
	// know of it. What was read or acknowledged is not delayed.
	PropagationDelay Duration `json:"propagationDelay,omitzero"`
	// Throttle bounds how often one principal may ask.
	Throttle Throttle `json:"throttle,omitzero"`
	// Outages are doors that do not answer.
	Outages []Outage `json:"outages,omitzero"`
	// Limits are how many there may be of some things.
	Limits Limits `json:"quotas,omitzero"`
	// ClockAhead is how far the house's clock is before the machine's. It is never
	// behind: what the machine's clock has ended must not come back.
	ClockAhead Duration `json:"clockAhead,omitzero"`
}

// The bounds of a Knobs.
const (
	MaxDelay = 24 * time.Hour
	MaxAhead = 10 * 365 * 24 * time.Hour
)

// Key is the key of the only record there is.
func (Knobs) Key() record.Key { return record.KeyOf(record.Rehearsal, "knobs") }

// Validate refuses what makes no sense.
func (k Knobs) Validate() error {
	switch {
	case k.PropagationDelay < 0 || time.Duration(k.PropagationDelay) > MaxDelay:
		return record.Invalid("a propagation delay of %s: it is between 0 and %s", k.PropagationDelay, Duration(MaxDelay))
	case k.ClockAhead < 0:
		return record.Invalid("a clock that is %s behind the machine's: it can only be ahead", -k.ClockAhead)
	case time.Duration(k.ClockAhead) > MaxAhead:
		return record.Invalid("a clock that is %s ahead: at most %s", k.ClockAhead, Duration(MaxAhead))
	}
	for i, o := range k.Outages {
		if err := o.validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(k.Outages[:i], func(p Outage) bool { return p.Door == o.Door }) {
			return record.Invalid("two outages of %s", o.Door)
		}
	}
	if err := k.Throttle.validate(); err != nil {
		return err
	}
	return k.Limits.validate()
}

// Off reports whether nothing is rehearsed at an instant of the machine's clock.
func (k Knobs) Off(now time.Time) bool { return k.Summary(now) == "" }

// Summary says in one line of ASCII what is rehearsed at an instant of the
// machine's clock; "" when all is off. It stands in headers.
func (k Knobs) Summary(now time.Time) string {
	var list []string
	if k.ClockAhead > 0 {
		list = append(list, "clock "+k.ClockAhead.String()+" ahead")
	}
	if k.PropagationDelay > 0 {
		list = append(list, "changes delayed by "+k.PropagationDelay.String())
	}
	for _, o := range k.Outages {
		if o.at(now) {
			list = append(list, "outage of "+string(o.Door))
		}
	}
	if k.Throttle != (Throttle{}) {
		list = append(list, "throttling")
	}
	if k.Limits != (Limits{}) {
		list = append(list, "quotas")
	}
	return strings.Join(list, "; ")
}
