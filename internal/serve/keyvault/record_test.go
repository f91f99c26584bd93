package keyvault_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func TestARefusalLeavesOneRecord(t *testing.T) { // ZA-07
	t.Parallel()
	var log servetest.Journal
	trace := serve.NewTrace(100)
	h := newHouse(t, func(c *keyvault.Config) { c.Log, c.Events = log.Log(), trace.Add })
	for law, tt := range map[string]struct {
		who    principal.ID
		refuse func() reply
	}{
		"without a token":          {principal.ID{}, func() reply { return h.bearing("", http.MethodGet, "/secrets/db", "") }},
		"without the right":        {reader, func() reply { return h.ask(reader, http.MethodGet, "/secrets/db", "") }},
		"of what is forbidden":     {barred, func() reply { return h.ask(barred, http.MethodGet, "/secrets/db", "") }},
		"of another tenant":        {principal.ID{}, func() reply { return h.ask(alien, http.MethodGet, "/secrets/db", "") }},
		"of what there is not":     {admin, func() reply { return h.ask(admin, http.MethodGet, "/secrets/nothing", "") }},
		"of a vault there is not":  {principal.ID{}, func() reply { return h.ask(admin, http.MethodGet, "//nothing/secrets/db", "") }},
		"of a vault that is shut":  {admin, func() reply { return h.ask(admin, http.MethodGet, "//private/secrets/db", "") }},
		"by a method there is not": {admin, func() reply { return h.ask(admin, http.MethodPatch, "/secrets", "{}") }},
		"that is none":             {admin, func() reply { return h.ask(admin, http.MethodPut, "/secrets/db", "{") }},
		"that is too large":        {admin, func() reply { return h.ask(admin, http.MethodPut, "/secrets/db", strings.Repeat(" ", 9<<20)) }},
	} {
		r := tt.refuse()
		if r.status < http.StatusBadRequest {
			t.Errorf("%s: %s", law, r)
		}
		if attrs := log.Refused(t, law, "id", r.header.Get("X-Ms-Request-Id")); attrs["error"] == "" {
			t.Errorf("%s: the log does not say why: %v", law, attrs)
		}
		e := servetest.RefusedEvent(t, trace, law, r.header.Get("X-Ms-Request-Id"), tt.who)
		if law == "without the right" && !strings.Contains(e.Reason, "Microsoft.KeyVault/vaults/secrets/getSecret/action") {
			t.Errorf("%s: the trace does not say which: %s", law, e.Reason)
		}
	}
	// A use that was refused is none: the audit log has those alone that were allowed.
	if records, _ := h.audit(); len(records) != 1 {
		t.Errorf("%d records in the audit log, want the one that made the vaults", len(records))
	}
}
