package arm_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// Clients show people the correlation id of what was refused; one line of the log and one
// event of the trace have it. ZA-07.
func TestARefusalLeavesOneRecord(t *testing.T) {
	t.Parallel()
	var log servetest.Journal
	trace := serve.NewTrace(100)
	h := newHouse(t, func(c *arm.Config) { c.Log, c.Events = log.Log(), trace.Add })
	at := servetest.Group.String() + provider + "/roleAssignments/" + number(900)
	nobody := principal.ID{}
	for law, tt := range map[string]struct {
		who    principal.ID
		refuse func() reply
	}{
		"without a token": {nobody, func() reply { return h.bearing("", http.MethodGet, servetest.Group.String()+version, "") }},
		"with a token for another": {nobody, func() reply {
			return h.bearing(h.token(root, "https://vault.azure.net"), http.MethodGet, servetest.Group.String()+version, "")
		}},
		"of who is disabled": {servetest.Spike, func() reply { return h.call(servetest.Spike, http.MethodGet, servetest.Group.String()+version, "") }},
		"without the right": {contrib, func() reply {
			return h.call(contrib, http.MethodPut, at+version, assign(servetest.Reader.String(), contrib, ""))
		}},
		"of another tenant":          {nobody, func() reply { return h.call(alien, http.MethodGet, servetest.Group.String()+version, "") }},
		"of no version":              {root, func() reply { return h.call(root, http.MethodGet, servetest.Group.String(), "") }},
		"that is none":               {root, func() reply { return h.call(root, http.MethodPut, at+version, "{") }},
		"that is too large":          {root, func() reply { return h.call(root, http.MethodPut, at+version, strings.Repeat(" ", 9<<20)) }},
		"where there is nothing":     {root, func() reply { return h.call(root, http.MethodGet, "/nothing"+version, "") }},
		"at a path of two spellings": {root, func() reply { return h.call(root, http.MethodGet, "/subscriptions/../"+version, "") }},
	} {
		r := tt.refuse()
		if r.status < http.StatusBadRequest {
			t.Errorf("%s: %d", law, r.status)
		}
		attrs := log.Refused(t, law, "correlation", r.header.Get("X-Ms-Correlation-Request-Id"))
		if attrs["id"] != r.header.Get("X-Ms-Request-Id") || attrs["error"] == "" {
			t.Errorf("%s: %d, and the log says %v", law, r.status, attrs)
		}
		if e := servetest.RefusedEvent(t, trace, law, r.header.Get("X-Ms-Request-Id"), tt.who); e.CorrelationID != r.header.Get("X-Ms-Correlation-Request-Id") {
			t.Errorf("%s: the trace has the correlation id %q, the answer %q", law, e.CorrelationID, r.header.Get("X-Ms-Correlation-Request-Id"))
		}
	}
	if r := h.call(root, http.MethodGet, servetest.Group.String()+version, ""); r.status != http.StatusOK || len(trace.Recent(100, func(serve.Event) bool { return true })) != 10 {
		t.Errorf("%d: what is allowed is in the trace of what was refused", r.status)
	}
	mine := "c0ffee00-0000-4000-8000-000000000001"
	h.call(contrib, http.MethodPut, at+version, assign(servetest.Reader.String(), contrib, ""), "X-Ms-Correlation-Request-Id", mine)
	log.Refused(t, "by an id of the client's own", "correlation", mine)
}
