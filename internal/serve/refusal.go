package serve

import (
	"errors"
	"net/http"
	"time"
)

// Refused is the effect of an event that tells of a refusal.
const Refused = "refused"

// Refusals say where a door notes what it refused, so that it can be found by whom it
// was refused to and by the ids of the answer. The zero Refusals note nothing.
type Refusals struct {
	Door string
	Add  func(Event) // must not block
	// Say returns what the answer says of an error. The cause stays in the log: whoever
	// was refused may read his own events, and would learn from it what the door hides.
	// Nil means the code and message of Status.
	Say func(error) string
}

// Bounds of what is noted, in bytes. A reason has the words of Azure, with a scope in them.
const (
	maxAsked   = 1024
	maxRefusal = 1024
)

// note adds one event about a request that was refused.
func (f Refusals) note(r *http.Request, id, correlation string, at time.Time, took time.Duration, err error) {
	if f.Add == nil {
		return
	}
	say := f.Say
	if say == nil {
		say = says
	}
	var to *refusedTo
	if !errors.As(err, &to) {
		to = new(refusedTo)
	}
	f.Add(Event{
		At: at, Door: f.Door, ID: to.who.ID, User: to.who.Name, Groups: len(to.who.Groups), Effect: Refused, Took: took,
		Asked:  Printable(r.Method+" "+r.Host+r.URL.Path, maxAsked),
		Reason: Printable(say(err), maxRefusal), TraceID: id, CorrelationID: correlation,
	})
}

func says(err error) string {
	_, code, message := Status(err)
	return code + ": " + message
}

// refusedTo is an error together with whom it was given to.
type refusedTo struct {
	who Caller
	error
}

func (e *refusedTo) Unwrap() error { return e.error }

// To is an error with whom it is given to, for the events of Refusals. Nothing is
// given to the zero Caller, and no error stays none.
func To(who Caller, err error) error {
	if err == nil || who.ID.IsZero() {
		return err
	}
	return &refusedTo{who, err}
}
