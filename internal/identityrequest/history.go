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
}

// An Act is what somebody did with a request.
type Act string

// The acts. After Refused, Withdrawn and Retired nothing follows.
const (
	Requested Act = "Requested"
	Approved  Act = "Approved"
	Refused   Act = "Refused"
	Withdrawn Act = "Withdrawn"
	Retired   Act = "Retired"
)

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
	case Requested:
		if now.Before(r.Lapses()) {
			return IsPending
		}
		return IsLapsed
	case Approved:
		if r.Given.NotAfter.IsZero() || now.Before(r.Given.NotAfter) {
			return IsActive
		}
		return IsExpired
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
func (r Request) Holds() bool { return r.last().Act == Approved }

// Ask begins the history of a request.
func (r Request) Ask(at time.Time, why string) (Request, error) {
	r.History = []Event{{Requested, instant(at), r.Requester, why}}
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
	return r.with(Event{Approved, at, by, why}, IsPending)
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
	return r.with(Event{Refused, at, by, why}, IsPending)
}

// Withdraw returns the request taken back by the requester before an answer.
func (r Request) Withdraw(by principal.ID, at time.Time, why string) (Request, error) {
	if by != r.Requester {
		return Request{}, fmt.Errorf("withdraw a request of somebody else: %w", ErrOwn)
	}
	return r.with(Event{Withdrawn, at, by, why}, IsPending)
}

// Retire returns the request with what was approved taken back, before or after it
// was over by itself.
func (r Request) Retire(by principal.ID, at time.Time, why string) (Request, error) {
	return r.with(Event{Retired, at, by, why}, IsActive, IsExpired)
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
	case Retired:
		legal = i == 2 && r.History[1].Act == Approved
	}
	if !legal {
		return record.Invalid("event %d: %.40q cannot follow, or not by whom it is, or not so late", i, string(e.Act))
	}
	return checkWhy(e.Why)
}
