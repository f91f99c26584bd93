package arm

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// events is the kind of the activity log of a subscription: the changes in the audit
// log that are about something in it, and the alerts about its clusters.
const events kind = "activityLog"

// readEvents is what it takes to read an event of a place.
const readEvents = "Microsoft.Insights/eventtypes/values/Read"

var eventShapes = map[string]kind{"subscriptions/*|providers/microsoft.insights/eventtypes/management/values": events}

var eventHandlers = map[kind]map[string]handler{events: {"GET": listEvents}}

// Bounds of one page.
const (
	maxEvents  = 200         // but a page has all events of a record that it begins with
	maxScanned = 2_000       // audit records that are looked at
	maxSkew    = time.Minute // by which the clocks of replicas may differ
)

// An eventQuery is what a client asks the activity log for.
type eventQuery struct {
	from, until time.Time
	at          scope.Scope // everything in it
	terms       filter
	names       []string // of the members that are wanted; none means all
}

// listEvents lists events, newest first. The right is asked at the place that the
// filter names, and once more at the place of each event.
func listEvents(s *session, r *request) (answer, error) {
	q, bad := s.eventQuery(r)
	if err := s.needAt(readEvents, q.at); err != nil {
		return answer{}, err
	}
	if err := s.exists(r.at); err != nil {
		return answer{}, err
	}
	if bad != nil {
		return answer{}, bad
	}
	seq := int64(0)
	key, given, err := r.skipped()
	if err != nil {
		return answer{}, err
	}
	if given {
		if seq, err = strconv.ParseInt(key, 10, 64); err != nil || seq < 1 {
			return answer{}, badSkip()
		}
	}
	return answer{then: func(ctx context.Context, d *Door) (answer, error) {
		if !given {
			if seq, err = d.conf.State.AuditUntil(ctx, q.until.Add(maxSkew)); err != nil {
				return answer{}, err
			}
		}
		out, err := s.eventsBack(r, q, d.conf.State.AuditBack(ctx, seq))
		return answer{status: http.StatusOK, body: out}, err
	}}, nil
}

// eventsBack gathers a page of events from audit records, newest first.
func (s *session) eventsBack(r *request, q eventQuery, back func(func(store.AuditRecord, error) bool)) (list, error) {
	out := list{Value: []any{}}
	scanned := 0
	for rec, err := range back {
		if err != nil {
			return list{}, err
		}
		if rec.Time.Before(q.from.Add(-maxSkew)) {
			return out, nil
		}
		if scanned == maxScanned || len(out.Value) >= maxEvents {
			out.NextLink = s.nextLink(r, strconv.FormatInt(rec.Seq, 10))
			return out, nil
		}
		scanned++
		if rec.Time.Before(q.from) || rec.Time.After(q.until) {
			continue
		}
		for _, e := range s.eventsOf(rec, r.at) {
			if q.wants(e) && s.may(readEvents, e.at) {
				out.Value = append(out.Value, q.shown(e))
			}
		}
	}
	return out, nil
}

// The terms of a $filter.
var eventTerms = []term{
	{name: "eventTimestamp", op: "ge"}, {name: "eventTimestamp", op: "le"}, {name: "resourceGroupName", eq: true}, {name: "resourceUri", eq: true}, {name: "resourceId", eq: true},
	{name: "resourceProvider", eq: true}, {name: "caller", eq: true}, {name: "correlationId", eq: true}, {name: "status", eq: true},
}

// eventQuery reads what is asked for. The place is good even with an error.
func (s *session) eventQuery(r *request) (q eventQuery, err error) {
	q.at, q.until = r.at, s.now
	if q.terms, err = parseFilter(r.query.Get("$filter"), eventTerms...); err != nil {
		return q, err
	}
	if at, err := q.terms.place(r.at); err != nil {
		return q, err
	} else if !at.IsZero() {
		q.at = at
	}
	for _, t := range q.terms {
		to := map[string]*time.Time{"ge": &q.from, "le": &q.until}[t.op]
		if to == nil {
			continue
		}
		if *to, err = parseInstant(t.value); err != nil {
			return q, err
		}
	}
	if q.from.IsZero() {
		return q, serve.Refuse(http.StatusBadRequest, "BadRequest", "The $filter must say from when on: eventTimestamp ge '2026-01-31T12:00:00Z'.")
	}
	for name := range strings.SplitSeq(r.query.Get("$select"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			q.names = append(q.names, lowerASCII(name))
		}
	}
	return q, nil
}

// place is the resource group or resource that a filter names in a subscription; no
// place when it names none.
func (f filter) place(sub scope.Scope) (at scope.Scope, err error) {
	for _, name := range []string{"resourceGroupName", "resourceUri", "resourceId"} {
		text, given := f.get(name)
		if !given {
			continue
		}
		if name == "resourceGroupName" {
			text = sub.String() + "/resourceGroups/" + text
		}
		next, err := scope.Parse(text)
		if err != nil || !sub.Contains(next) || name == "resourceGroupName" && next.Type() != "resourcegroups" {
			return scope.Scope{}, serve.Refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf("The %s of the filter names nothing in this subscription.", name))
		}
		if !at.IsZero() && at != next {
			return scope.Scope{}, serve.Refuse(http.StatusBadRequest, "BadRequest", "The filter names two places.")
		}
		at = next
	}
	return at, nil
}

// parseInstant reads an instant as clients write it: az leaves out the zone, and means
// UTC.
func parseInstant(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, serve.Refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf("'%s' is no instant like 2026-01-31T12:00:00Z.", serve.Printable(text, 40)))
}

// wants reports whether an event is asked for.
func (q eventQuery) wants(e event) bool {
	if !q.at.Contains(e.at) && !q.at.Contains(e.about) {
		return false
	}
	for name, is := range map[string][]string{
		"caller": {e.body.Caller, e.by}, "correlationId": {e.body.CorrelationID}, "status": {e.body.Status.Value}, "resourceProvider": {e.body.ResourceProviderName.Value},
	} {
		if want, given := q.terms.get(name); given && !(strings.EqualFold(want, is[0]) || len(is) > 1 && is[1] != "" && strings.EqualFold(want, is[1])) {
			return false
		}
	}
	return true
}

// shown is an event with the members that are asked for.
func (q eventQuery) shown(e event) any {
	if len(q.names) == 0 {
		return e.body
	}
	all := make(members)
	text, err := record.Marshal(e.body)
	if err != nil || json.Unmarshal(text, &all) != nil {
		return e.body
	}
	some := make(members)
	for name, v := range all {
		for _, want := range q.names {
			if lowerASCII(name) == want {
				some[name] = v
			}
		}
	}
	return some
}
