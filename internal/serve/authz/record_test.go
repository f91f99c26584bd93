package authz_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// Who asks for what he may not leaves one event, by the id of the API server's audit
// log; what is no question leaves one line of ours.
func TestARefusalLeavesOneRecord(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	var log servetest.Journal
	door, err := authz.New(authz.Config{Estates: k.world, Events: traceEvents(k.events), Log: log.Log()})
	if err != nil {
		t.Fatal(err)
	}
	k.server = servetest.Start(t, door.Handler(), true)
	asking := func(user string) string {
		body, err := json.Marshal(review(resource(by(user, servetest.Jet), "delete", "pods", "")))
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	unknown := scope.MustParse(strings.Replace(servetest.AKS1.String(), "aks-1", "aks-9", 1))
	for law, tt := range map[string]struct {
		as, at scope.Scope
		body   string
		status int
	}{
		"what nothing grants":                {servetest.AKS1, servetest.AKS1, asking("jet@teknews.cloud"), http.StatusOK},
		"under another name":                 {servetest.AKS1, servetest.AKS1, asking("faye@teknews.cloud"), http.StatusOK},
		"at a cluster there is not":          {unknown, unknown, asking("jet@teknews.cloud"), http.StatusOK},
		"what is no question":                {servetest.AKS1, servetest.AKS1, "{", http.StatusBadRequest},
		"too much":                           {servetest.AKS1, servetest.AKS1, strings.Repeat(" ", 4<<20), http.StatusRequestEntityTooLarge},
		"with the other cluster's certicate": {servetest.AKS2, servetest.AKS1, asking("jet@teknews.cloud"), http.StatusForbidden},
	} {
		audit := "audit-" + strings.ReplaceAll(law, " ", "-")
		res, text := k.server.Send(k.server.Cluster(tt.as), path(tt.at), tt.body, "Audit-ID", audit)
		if res.StatusCode != tt.status || strings.Contains(text, `"allowed":true`) {
			t.Fatalf("%s: %d %s", law, res.StatusCode, text)
		}
		events := k.events.Recent(100, func(e serve.Event) bool { return e.AuditID == audit })
		switch {
		case tt.status != http.StatusOK:
			if attrs := log.Refused(t, law, "id", res.Header.Get("X-Request-Id")); len(events) != 0 || attrs["error"] == "" {
				t.Errorf("%s: the log says %v, and %d events tell of it as well", law, attrs, len(events))
			}
		case len(events) != 1 || events[0].Effect == "allow" || events[0].Reason == "":
			t.Errorf("%s: the events are %+v", law, events)
		}
	}
}
