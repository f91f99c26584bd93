package keyvault_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func TestARefusalLeavesOneRecord(t *testing.T) {
	t.Parallel()
	var log servetest.Journal
	h := newHouse(t, func(c *keyvault.Config) { c.Log = log.Log() })
	for law, refuse := range map[string]func() reply{
		"without a token":          func() reply { return h.bearing("", http.MethodGet, "/secrets/db", "") },
		"without the right":        func() reply { return h.ask(reader, http.MethodGet, "/secrets/db", "") },
		"of what is forbidden":     func() reply { return h.ask(barred, http.MethodGet, "/secrets/db", "") },
		"of another tenant":        func() reply { return h.ask(alien, http.MethodGet, "/secrets/db", "") },
		"of what there is not":     func() reply { return h.ask(admin, http.MethodGet, "/secrets/nothing", "") },
		"of a vault there is not":  func() reply { return h.ask(admin, http.MethodGet, "//nothing/secrets/db", "") },
		"of a vault that is shut":  func() reply { return h.ask(admin, http.MethodGet, "//private/secrets/db", "") },
		"by a method there is not": func() reply { return h.ask(admin, http.MethodPatch, "/secrets", "{}") },
		"that is none":             func() reply { return h.ask(admin, http.MethodPut, "/secrets/db", "{") },
		"that is too large":        func() reply { return h.ask(admin, http.MethodPut, "/secrets/db", strings.Repeat(" ", 9<<20)) },
	} {
		r := refuse()
		if r.status < http.StatusBadRequest {
			t.Errorf("%s: %s", law, r)
		}
		if attrs := log.Refused(t, law, "id", r.header.Get("X-Ms-Request-Id")); attrs["error"] == "" {
			t.Errorf("%s: the log does not say why: %v", law, attrs)
		}
	}
	// A use that was refused is none: the audit log has those alone that were allowed.
	if records, _ := h.audit(); len(records) != 1 {
		t.Errorf("%d records in the audit log, want the one that made the vaults", len(records))
	}
}
