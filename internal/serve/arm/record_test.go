package arm_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// Clients show people the correlation id of what was refused; one line of the log has it.
func TestARefusalLeavesOneRecord(t *testing.T) {
	t.Parallel()
	var log servetest.Journal
	h := newHouse(t, func(c *arm.Config) { c.Log = log.Log() })
	at := servetest.Group.String() + provider + "/roleAssignments/" + number(900)
	for law, refuse := range map[string]func() reply{
		"without a token": func() reply { return h.bearing("", http.MethodGet, servetest.Group.String()+version, "") },
		"with a token for another": func() reply {
			return h.bearing(h.token(root, "https://vault.azure.net"), http.MethodGet, servetest.Group.String()+version, "")
		},
		"without the right": func() reply {
			return h.call(contrib, http.MethodPut, at+version, assign(servetest.Reader.String(), contrib, ""))
		},
		"of another tenant":          func() reply { return h.call(alien, http.MethodGet, servetest.Group.String()+version, "") },
		"of no version":              func() reply { return h.call(root, http.MethodGet, servetest.Group.String(), "") },
		"that is none":               func() reply { return h.call(root, http.MethodPut, at+version, "{") },
		"that is too large":          func() reply { return h.call(root, http.MethodPut, at+version, strings.Repeat(" ", 9<<20)) },
		"where there is nothing":     func() reply { return h.call(root, http.MethodGet, "/nothing"+version, "") },
		"at a path of two spellings": func() reply { return h.call(root, http.MethodGet, "/subscriptions/../"+version, "") },
	} {
		r := refuse()
		if r.status < http.StatusBadRequest {
			t.Errorf("%s: %d", law, r.status)
		}
		attrs := log.Refused(t, law, "correlation", r.header.Get("X-Ms-Correlation-Request-Id"))
		if attrs["id"] != r.header.Get("X-Ms-Request-Id") || attrs["error"] == "" {
			t.Errorf("%s: %d, and the log says %v", law, r.status, attrs)
		}
	}
	mine := "c0ffee00-0000-4000-8000-000000000001"
	h.call(contrib, http.MethodPut, at+version, assign(servetest.Reader.String(), contrib, ""), "X-Ms-Correlation-Request-Id", mine)
	log.Refused(t, "by an id of the client's own", "correlation", mine)
}
