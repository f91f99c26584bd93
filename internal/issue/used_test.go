package issue_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

func TestAnIdentityThatGetsATokenIsUsed(t *testing.T) {
	t.Parallel()
	var st *store.Store
	i := open(t, func(s *store.Store) issue.State { st = s; return s })
	m := directory.ManagedIdentity{ID: principal.ID{0x31}, ClientID: directory.AppID{0x32}, Tenant: corp.ID, DisplayName: "web", Location: "westeurope",
		Resource: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web")}
	if _, err := st.Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Put: m}}}); err != nil {
		t.Fatal(err)
	}
	used := func() bool {
		t.Helper()
		_, latest, err := st.Uses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return !latest[m.ID].IsZero()
	}
	if _, err := i.ManagedIdentity(t.Context(), m.ID, "nothing that is there"); err == nil || used() {
		t.Errorf("an identity that is refused is used: %t, %v", used(), err)
	}
	if _, err := i.ManagedIdentity(t.Context(), m.ID, "https://graph.microsoft.com"); err != nil || !used() {
		t.Errorf("an identity with a token is used: %t, %v", used(), err)
	}
}
