package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

const (
	defaultEvents = 100
	maxEvents     = 1000
)

// trace answers what the doors did lately. ?user= is an object id or a user name,
// ?cluster= a scope, ?request= the trace, request or correlation id of an answer,
// ?refused=true leaves out what was not refused, ?limit= how many. Everybody may see
// what was done for himself; the rest takes a right, at the cluster or at the root.
func (d *Door) trace(w http.ResponseWriter, r *http.Request, s *session) error {
	q := r.URL.Query()
	limit := defaultEvents
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxEvents {
			return record.Invalid("limit=%.40q, want 1 to %d", text, maxEvents)
		}
		limit = n
	}
	var cluster scope.Scope
	if text := q.Get("cluster"); text != "" {
		var err error
		if cluster, err = scope.Parse(text); err != nil {
			return err
		}
	}
	user, err := s.whose(q.Get("user"))
	if err != nil {
		return err
	}
	request := q.Get("request")
	refused := false
	if text := q.Get("refused"); text != "" {
		if refused, err = strconv.ParseBool(text); err != nil {
			return record.Invalid("refused=%.40q, want true or false", text)
		}
	}
	may := make(map[scope.Scope]bool)
	events := d.conf.Trace.Recent(limit, func(e serve.Event) bool {
		if !cluster.IsZero() && e.Cluster != cluster || user != nil && !user(e) ||
			refused && e.Effect != serve.Refused ||
			request != "" && !strings.EqualFold(e.TraceID, request) && !strings.EqualFold(e.CorrelationID, request) {
			return false
		}
		if e.ID == s.caller.ID {
			return true
		}
		at := e.Cluster
		if at.IsZero() {
			at = scope.Root
		}
		ok, asked := may[at]
		if !asked {
			ok = s.may(actionTrace, at, nil)
			may[at] = ok
		}
		return ok
	})
	out := wire.Trace{Events: make([]wire.Event, len(events)), Rehearsal: d.conf.Stage.Summary()}
	for i, e := range events {
		out.Events[i] = wireEvent(e)
	}
	return serve.JSON(w, http.StatusOK, out)
}

// identityUses answers when managed identities got their latest tokens, to who may read
// everybody's events.
func (d *Door) identityUses(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(actionTrace, scope.Root, nil); err != nil {
		return err
	}
	since, latest, err := d.conf.State.Uses(r.Context())
	if err != nil {
		return err
	}
	out := wire.IdentityUses{Since: since, Latest: make(map[string]time.Time)}
	for m := range s.est.Identities() {
		if at, ok := latest[m.ID]; ok {
			out.Latest[m.ID.String()] = at.UTC()
		}
	}
	return serve.JSON(w, http.StatusOK, out)
}

// whose returns a filter for a user's events; nil for everybody's.
func (s *session) whose(name string) (func(serve.Event) bool, error) {
	switch {
	case name == "":
		return nil, nil
	case strings.Contains(name, "@"):
		if u, ok := s.est.UserByName(name); ok {
			return func(e serve.Event) bool { return e.ID == u.ID }, nil
		}
		return func(e serve.Event) bool { return strings.EqualFold(e.User, name) }, nil
	}
	id, err := principal.ParseID(name)
	if err != nil {
		return nil, record.Invalid("user %.80q is neither a user principal name nor an object id", name)
	}
	return func(e serve.Event) bool { return e.ID == id }, nil
}

func wireEvent(e serve.Event) wire.Event {
	out := wire.Event{
		At: e.At.UTC(), Door: e.Door, Cluster: e.Cluster.String(), ID: e.ID.String(), User: serve.Printable(e.User, 256), Asked: e.Asked,
		Effect: e.Effect, Reason: e.Reason, By: e.By, Groups: e.Groups, Revision: e.Revision,
		Took: e.Took.Nanoseconds(), AuditID: e.AuditID,
		TraceID: e.TraceID, CorrelationID: e.CorrelationID, Client: e.Client, Issuer: e.Issuer, Subject: e.Subject, Audience: e.Audience,
	}
	if e.Attributes != (kuberbac.Attributes{}) {
		a := e.Attributes
		out.Kube = &wire.Kube{
			Verb: printable(a.Verb), APIGroup: printable(a.APIGroup), Resource: printable(a.Resource), Subresource: printable(a.Subresource),
			Namespace: printable(a.Namespace), Name: printable(a.Name), Path: printable(a.Path),
		}
	}
	return out
}

func printable(s string) string { return serve.Printable(s, 256) }
