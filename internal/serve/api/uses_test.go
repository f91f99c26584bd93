package api_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// Who may read what was done for everybody learns when identities were used, of those
// that are there, and nobody else does.
func TestUsesOfIdentities(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if got, err := h.as(root).IdentityUses(t.Context()); err != nil || !got.Since.IsZero() {
		t.Errorf("before anybody watched, uses are known: %+v, %v", got, err)
	}
	h.store.Used(servetest.Identity)
	h.store.Used(servetest.Robot)
	h.store.Used(principal.NewID())
	if err := h.store.WriteUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := h.as(root).IdentityUses(t.Context())
	if err != nil || got.Since.IsZero() || len(got.Latest) != 1 || got.Latest[servetest.Identity.String()].IsZero() {
		t.Errorf("uses are %+v, %v", got, err)
	}
	for _, who := range []principal.ID{servetest.Faye, ownerRG} {
		if _, err := h.as(who).IdentityUses(t.Context()); code(err) != "AuthorizationFailed" {
			t.Errorf("%s reads the uses of identities: %v", who, err)
		}
	}
}
