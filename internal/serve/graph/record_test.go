package graph_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/graph"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// An answer of Graph has the id of the request and the one that the client gave to it.
func TestARefusalLeavesOneRecord(t *testing.T) { // ZA-07
	t.Parallel()
	trace := serve.NewTrace(100)
	h := newHouseOn(t, new(store.Memory), func(c *graph.Config) { c.Events = trace.Add })
	const mine = "C0FFEE00-0000-4000-8000-000000000001"
	for law, tt := range map[string]struct {
		who, told            principal.ID
		method, target, body string
	}{
		"without the right":      {servetest.Jet, servetest.Jet, http.MethodPost, "/v1.0/users", "{}"},
		"of who is disabled":     {servetest.Spike, servetest.Spike, http.MethodGet, "/v1.0/me", ""},
		"of what there is not":   {root, root, http.MethodGet, "/v1.0/users/nobody@teknews.cloud", ""},
		"that is none":           {root, root, http.MethodPost, "/v1.0/users", "{"},
		"that is too large":      {root, root, http.MethodPost, "/v1.0/users", strings.Repeat(" ", 1<<20)},
		"where there is nothing": {root, principal.ID{}, http.MethodGet, "/v1.0/nothing", ""},
	} {
		for _, given := range []string{"", mine} {
			var header []string
			if given != "" {
				header = []string{"Client-Request-Id", given}
			}
			status, out := h.do(tt.who, tt.method, tt.target, tt.body, header...)
			if status < http.StatusBadRequest {
				t.Fatalf("%s: %d", law, status)
			}
			problem, _ := out["error"].(object)
			inner, _ := problem["innerError"].(object)
			id, _ := inner["request-id"].(string)
			if e := servetest.RefusedEvent(t, trace, law, id, tt.told); e.CorrelationID != inner["client-request-id"] || given != "" && e.CorrelationID != given {
				t.Errorf("%s: the trace has the id %q of the client, the answer %v", law, e.CorrelationID, inner)
			}
		}
	}
}
