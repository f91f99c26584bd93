package identityrequest

import (
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// An Event is one thing that happened to a request.
type Event struct {
	Act Act          `json:"act"`
	At  time.Time    `json:"at"`
	By  principal.ID `json:"by"`
	Why string       `json:"why,omitzero"`
	// Until is when what was given ends from a renewal on; zero is when it is retired.
	Until time.Time `json:"until,omitzero"`
}

// An Act is what somebody did with a request.
type Act string

// The acts. After Refused, Withdrawn and Retired nothing follows. What is approved may be
// asked to go on, and each time it is approved again, or not.
const (
	Requested      Act = "Requested"
	Approved       Act = "Approved"
	Refused        Act = "Refused"
	Withdrawn      Act = "Withdrawn"
	RenewalAsked   Act = "RenewalAsked"
	Renewed        Act = "Renewed"
	RenewalRefused Act = "RenewalRefused"
	Retired        Act = "Retired"
)

// maxHistory bounds the events of a request: with more, it is retired and asked again.
const maxHistory = 100

// A Status is what a request has come to. The zero Status is none.
type Status string

// The statuses. What time tells, Lapsed and Expired, and what the estate tells,
// Gone, is never stored.
const (
	IsPending   Status = "Pending"
	IsActive    Status = "Active"
	IsRefused   Status = "Refused"
	IsWithdrawn Status = "Withdrawn"
	IsRetired   Status = "Retired"
	IsLapsed    Status = "Lapsed"  // nobody answered in time
	IsExpired   Status = "Expired" // approved, and over
	IsGone      Status = "Gone"    // approved, and the identity, the cluster or its issuer is no longer there
)

// last is the latest event; the zero Event of a request that is none.
func (r Request) last() Event {
	if len(r.History) == 0 {
		return Event{}
	}
	return r.History[len(r.History)-1]
}

// Lapses is when a request that nobody answers is over.
func (r Request) Lapses() time.Time {
	if len(r.History) == 0 {
		return time.Time{}
	}
	return r.History[0].At.Add(Window)
}

// StatusAt is the status at an instant, as far as the history tells. It is never
// earlier than the latest event: a clock that is set back revives nothing (JIT-03).
func (r Request) StatusAt(now time.Time) Status {
	last := r.last()
	if now.Before(last.At) {
		now = last.At
	}
	switch last.Act {
	case Approved, RenewalAsked, Renewed, RenewalRefused:
		if end := r.End(); end.IsZero() || now.Before(end) {
			return IsActive
		}
		return IsExpired
	case Requested:
		if now.Before(r.Lapses()) {
			return IsPending
		}
		return IsLapsed
	case Refused:
		return IsRefused
	case Withdrawn:
		return IsWithdrawn
	case Retired:
		return IsRetired
	}
	return ""
}

// Holds reports whether there is something that the approval made and that was not
// taken back. It may be over all the same; see StatusAt.
func (r Request) Holds() bool {
	switch r.last().Act {
	case Approved, RenewalAsked, Renewed, RenewalRefused:
		return true
	}
	return false
}

// End is when what was approved is over: by the approval, or the latest renewal. Zero is
// when it is retired.
func (r Request) End() time.Time {
	for _, e := range slices.Backward(r.History) {
		if e.Act == Renewed {
			return e.Until
		}
	}
	return r.Given.NotAfter
}

// RenewalLapses is until when a renewal that was asked for waits for its answer; zero when
// none waits.
func (r Request) RenewalLapses(now time.Time) time.Time {
	last := r.last()
	if last.Act != RenewalAsked || r.StatusAt(now) != IsActive {
		return time.Time{}
	}
	lapses := last.At.Add(Window)
	if end := r.End(); end.Before(lapses) { // what has an end alone is renewed
		lapses = end
	}
	if !now.Before(lapses) {
		return time.Time{}
	}
	return lapses
}

// AskRenewal returns an active request that its requester asks to go on. The error wraps
// ErrOwn, or ErrStatus when it is not active, has no end, or is asked already.
func (r Request) AskRenewal(by principal.ID, at time.Time, why string) (Request, error) {
	switch {
	case by != r.Requester:
		return Request{}, fmt.Errorf("renew a request of somebody else: %w", ErrOwn)
	case r.Holds() && r.End().IsZero():
		return Request{}, fmt.Errorf("identity request %s has no end that could be later: %w", r.ID, ErrStatus)
	case !r.RenewalLapses(at).IsZero():
		return Request{}, fmt.Errorf("a renewal of identity request %s waits for its answer: %w", r.ID, ErrStatus)
	case len(r.History) >= maxHistory-2: // for an answer, and its end
		return Request{}, fmt.Errorf("identity request %s was renewed often enough: retire it, and ask again: %w", r.ID, ErrStatus)
	}
	return r.with(Event{Act: RenewalAsked, At: at, By: by, Why: why}, IsActive)
}

// Renew returns the request with an approval of the renewal that waits: it goes on until
// an instant, later than now and, from the answer on, no later than was asked for at first.
func (r Request) Renew(by principal.ID, at time.Time, why string, until time.Time) (Request, error) {
	if err := r.renewable(by, at); err != nil {
		return Request{}, err
	}
	if end := r.EndFrom(at); !end.IsZero() && (until.IsZero() || until.After(end)) {
		return Request{}, fmt.Errorf("it was asked for until %s: %w", end.Format(time.RFC3339), ErrWider)
	}
	if end := r.End(); !until.IsZero() && !until.After(end) {
		return Request{}, record.Invalid("it goes on until %s already", end.Format(time.RFC3339))
	}
	return r.with(Event{Act: Renewed, At: at, By: by, Why: why, Until: until}, IsActive)
}

// RefuseRenewal returns the request with a refusal of the renewal that waits. It goes on to
// its end.
func (r Request) RefuseRenewal(by principal.ID, at time.Time, why string) (Request, error) {
	if err := r.renewable(by, at); err != nil {
		return Request{}, err
	}
	return r.with(Event{Act: RenewalRefused, At: at, By: by, Why: why}, IsActive)
}

func (r Request) renewable(by principal.ID, at time.Time) error {
	if by == r.Requester {
		return fmt.Errorf("answer a request of one's own: %w", ErrOwn)
	}
	if r.RenewalLapses(at).IsZero() {
		return fmt.Errorf("identity request %s is %s, and no renewal of it waits: %w", r.ID, r.StatusAt(at), ErrStatus)
	}
	return nil
}

// Ask begins the history of a request.
func (r Request) Ask(at time.Time, why string) (Request, error) {
	r.History = []Event{{Act: Requested, At: instant(at), By: r.Requester, Why: why}}
	r.Given = Given{}
	return r, r.Validate()
}

// Approve returns the request with an approval. The error wraps ErrStatus when it is
// no longer pending, ErrOwn when it is by's own, and ErrWider.
func (r Request) Approve(by principal.ID, at time.Time, why string, g Given) (Request, error) {
	if err := r.Answerable(by, at); err != nil {
		return Request{}, err
	}
	if end := r.EndFrom(at); !end.IsZero() && (g.NotAfter.IsZero() || g.NotAfter.After(end)) {
		return Request{}, fmt.Errorf("it was asked for until %s: %w", end.Format(time.RFC3339), ErrWider)
	}
	r.Given = g
	return r.with(Event{Act: Approved, At: at, By: by, Why: why}, IsPending)
}

// Answerable refuses somebody who cannot approve or refuse the request at an instant,
// whatever his rights. The error wraps ErrOwn or ErrStatus.
func (r Request) Answerable(by principal.ID, at time.Time) error {
	if by == r.Requester {
		return fmt.Errorf("answer a request of one's own: %w", ErrOwn)
	}
	return r.in(at, IsPending)
}

// in refuses a request that has none of some statuses.
func (r Request) in(at time.Time, statuses ...Status) error {
	if s := r.StatusAt(at); !slices.Contains(statuses, s) {
		return fmt.Errorf("identity request %s is %s: %w", r.ID, s, ErrStatus)
	}
	return nil
}

// EndFrom is when an approval at an instant ends at the latest; zero is never.
func (r Request) EndFrom(at time.Time) time.Time {
	if r.Lasts == 0 {
		return time.Time{}
	}
	return r.notBefore(at).Add(time.Duration(r.Lasts)).Truncate(time.Second)
}

// Refuse returns the request with a refusal, by somebody else than the requester.
func (r Request) Refuse(by principal.ID, at time.Time, why string) (Request, error) {
	if err := r.Answerable(by, at); err != nil {
		return Request{}, err
	}
	return r.with(Event{Act: Refused, At: at, By: by, Why: why}, IsPending)
}

// Withdraw returns the request taken back by the requester before an answer.
func (r Request) Withdraw(by principal.ID, at time.Time, why string) (Request, error) {
	if by != r.Requester {
		return Request{}, fmt.Errorf("withdraw a request of somebody else: %w", ErrOwn)
	}
	return r.with(Event{Act: Withdrawn, At: at, By: by, Why: why}, IsPending)
}

// Retire returns the request with what was approved taken back, before or after it
// was over by itself.
func (r Request) Retire(by principal.ID, at time.Time, why string) (Request, error) {
	return r.with(Event{Act: Retired, At: at, By: by, Why: why}, IsActive, IsExpired)
}

// with adds an event to a request that has one of some statuses.
func (r Request) with(e Event, from ...Status) (Request, error) {
	if err := r.in(e.At, from...); err != nil {
		return Request{}, err
	}
	e.At = r.notBefore(e.At)
	r.History = append(slices.Clone(r.History), e)
	return r, r.Validate()
}

// notBefore is an instant, or that of the latest event if that is later.
func (r Request) notBefore(at time.Time) time.Time {
	if last := r.last().At; at.Before(last) {
		return last
	}
	return instant(at)
}

// instant is a time as it is stored.
func instant(t time.Time) time.Time { return t.UTC().Round(0) }

func (r Request) validateHistory() error {
	for i, e := range r.History {
		if err := r.follows(i, e); err != nil {
			return err
		}
	}
	switch {
	case len(r.History) == 0:
		return record.Invalid("nobody requested it")
	case len(r.History) == 1 || r.History[1].Act != Approved:
		if !r.Given.IsZero() {
			return record.Invalid("something is given without an approval")
		}
		return nil
	}
	return r.Given.validate(r, r.History[1].At)
}

// until is the request as it was before an event.
func (r Request) until(i int) Request {
	r.History = r.History[:i]
	return r
}

// follows checks one event with what came before it.
func (r Request) follows(i int, e Event) error {
	if e.By.IsZero() || e.At.IsZero() {
		return record.Invalid("event %d does not say who or when", i)
	}
	if i > 0 && e.At.Before(r.History[i-1].At) {
		return record.Invalid("event %d comes before the one before it", i)
	}
	legal := false
	switch own := e.By == r.Requester; e.Act {
	case Requested:
		legal = i == 0 && own
	case Approved, Refused:
		legal = i == 1 && !own && e.At.Before(r.Lapses())
	case Withdrawn:
		legal = i == 1 && own && e.At.Before(r.Lapses())
	case RenewalAsked:
		was := r.until(i)
		legal = own && was.Holds() && !was.End().IsZero() && was.StatusAt(e.At) == IsActive && was.RenewalLapses(e.At).IsZero() && i < maxHistory-2
	case Renewed:
		was := r.until(i)
		longest := was.EndFrom(e.At)
		legal = !own && !was.RenewalLapses(e.At).IsZero() && (e.Until.IsZero() || e.Until.After(was.End())) &&
			(longest.IsZero() || !e.Until.IsZero() && !e.Until.After(longest))
	case RenewalRefused:
		legal = !own && !r.until(i).RenewalLapses(e.At).IsZero()
	case Retired:
		legal = r.until(i).Holds()
	}
	if !legal || e.Act != Renewed && !e.Until.IsZero() {
		return record.Invalid("event %d: %.40q cannot follow, or not by whom it is, or not so late", i, string(e.Act))
	}
	return checkWhy(e.Why)
}
