package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func TestARefusalLeavesOneRecord(t *testing.T) { // ZA-07
	t.Parallel()
	var log servetest.Journal
	h := newHouse(t, func(c *api.Config) { c.Log = log.Log() })
	change := `{"why":"x","ops":[{"delete":{"kind":"User","parts":["` + servetest.Faye.String() + `"]}}]}`
	for law, tt := range map[string]struct {
		who        principal.ID
		path, body string
		want       int
	}{
		"without a token":         {principal.ID{}, wire.PathChanges, change, http.StatusUnauthorized},
		"without the right":       {servetest.Jet, wire.PathChanges, change, http.StatusForbidden},
		"of what is needed":       {root, wire.PathChanges, strings.Replace(change, "User", "Tenant", 1), http.StatusNotFound},
		"that is none":            {root, wire.PathChanges, "{", http.StatusBadRequest},
		"that is too large":       {root, wire.PathCanI, strings.Repeat(" ", 9<<20), http.StatusRequestEntityTooLarge},
		"where there is nothing":  {root, "/gatehouse/v1/nothing", "{}", http.StatusNotFound},
		"by a method that is not": {root, wire.PathEstate, "{}", http.StatusNotFound},
	} {
		var header []string
		if !tt.who.IsZero() {
			header = []string{"Authorization", "Bearer " + h.token(tt.who)}
		}
		res, text := h.server.Send(h.server.Anonymous(), tt.path, tt.body, header...)
		if res.StatusCode != tt.want {
			t.Errorf("%s: %d %s, want %d", law, res.StatusCode, text, tt.want)
		}
		if attrs := log.Refused(t, law, "id", res.Header.Get("X-Request-Id")); attrs["error"] == "" {
			t.Errorf("%s: the log does not say why: %v", law, attrs)
		}
		who := tt.who
		if tt.path == "/gatehouse/v1/nothing" || tt.path == wire.PathEstate {
			who = principal.ID{} // nobody is asked who he is where there is nothing
		}
		servetest.RefusedEvent(t, h.trace, law, res.Header.Get("X-Request-Id"), who)
	}
}
