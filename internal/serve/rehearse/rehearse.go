// Package rehearse does at the doors what the knobs of a rehearsal say: it shuts
// them, it counts who asks too often, and it says on every answer that this is a
// rehearsal, so that nobody takes it for the real thing.
package rehearse

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Header is on every answer of a house in which something is rehearsed, and says what.
const Header = "X-Gatehouse-Rehearsal"

// A Stage is where a rehearsal takes place: the knobs that are in force, and the
// machine's clock, by which outages end.
type Stage struct {
	Knobs   func() rehearsal.Knobs
	Machine func() time.Time
	// Allowed is set where knobs may be turned on.
	Allowed bool
}

// Summary says what is rehearsed now; "" is nothing. The zero Stage has nothing.
func (s Stage) Summary() string {
	if s.Knobs == nil {
		return ""
	}
	return s.Knobs().Summary(s.Machine())
}

// Announce returns h with the Header.
func (s Stage) Announce(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if summary := s.Summary(); summary != "" {
			w.Header().Set(Header, summary)
		}
		h.ServeHTTP(w, r)
	})
}

// Shut returns a door with the Header that does not answer while there is an
// outage of it. Requests in passes are left to the door, which calls Refused.
func (s Stage) Shut(door rehearsal.Door, h http.Handler, passes ...string) http.Handler {
	return s.Announce(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if how, out := s.Knobs().OutageOf(door, s.Machine()); out && !endsIn(r.URL.Path, passes) {
			fall(w, r, door, how)
			return
		}
		h.ServeHTTP(w, r)
	}))
}

func endsIn(path string, ends []string) bool {
	for _, end := range ends {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

// Refused reports whether there is an outage of a door that is served as
// Unavailable, and does not return where the connection is cut or nothing is said.
func (s Stage) Refused(w http.ResponseWriter, r *http.Request, door rehearsal.Door) bool {
	how, out := s.Knobs().OutageOf(door, s.Machine())
	if out && how != rehearsal.Unavailable {
		fall(w, r, door, how)
	}
	return out
}

// fall does not answer, in one of the ways there are.
func fall(w http.ResponseWriter, r *http.Request, door rehearsal.Door, how rehearsal.How) {
	switch how {
	case rehearsal.Unavailable:
		unavailable(w, door)
	case rehearsal.Timeout:
		wait(r)
		panic(http.ErrAbortHandler)
	default: // what is not known is an outage all the same
		panic(http.ErrAbortHandler)
	}
}

const (
	// maxWait is longer than any client waits that is in use.
	maxWait = 2 * time.Minute
	// maxWaiting bounds how many requests are held; others are cut at once.
	maxWaiting = 1000
	// maxDrain is how much of a body is read: the end of a connection is only seen
	// when nothing of the request is left.
	maxDrain = 4 << 20
)

var waiting atomic.Int64

// wait holds a request for as long as its client waits.
func wait(r *http.Request) {
	defer waiting.Add(-1)
	if waiting.Add(1) > maxWaiting {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxDrain)) // whatever comes of it
	t := time.NewTimer(maxWait)
	defer t.Stop()
	select {
	case <-r.Context().Done():
	case <-t.C:
	}
}

// unavailable answers 503 as the door's protocol has it.
func unavailable(w http.ResponseWriter, door rehearsal.Door) {
	const text = "The service is unavailable: an outage is being rehearsed."
	var body string
	switch door {
	case rehearsal.OIDC:
		// 90033: a transient error.
		body = `{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred. Please try again. An outage is being rehearsed.","error_codes":[90033]}`
	case rehearsal.Graph:
		body = `{"error":{"code":"serviceNotAvailable","message":"` + text + `"}}`
	case rehearsal.IMDS:
		body = `{"error":"temporarily_unavailable","error_description":"` + text + `"}`
	default:
		body = `{"error":{"code":"ServiceUnavailable","message":"` + text + `"}}`
	}
	w.Header().Set("Cache-Control", "no-store")
	serve.WriteJSON(w, http.StatusServiceUnavailable, []byte(body))
}
