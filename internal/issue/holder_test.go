package issue_test

import (
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// An application of corp that is in two tenants, and the secret of its service
// principal in the other one.
func TestASecretOfAServicePrincipalIsGoodInItsTenant(t *testing.T) { // DIR-14
	t.Parallel()
	var st *store.Store
	i := open(t, func(s *store.Store) issue.State { st = s; return s })
	other := directory.Tenant{ID: directory.TenantID{9}, Domains: []string{"other.example"}}
	app := directory.Application{ID: principal.ID{4}, AppID: directory.AppID{5}, Tenant: corp.ID, DisplayName: "app"}
	here := directory.ServicePrincipal{ID: principal.ID{6}, AppID: app.AppID, Tenant: corp.ID, DisplayName: "app"}
	there := directory.ServicePrincipal{ID: principal.ID{7}, AppID: app.AppID, Tenant: other.ID, DisplayName: "app"}
	now := time.Now()
	wide, err := issue.NewClientSecret(app.AppID, "of the application", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := issue.NewSecretOf(issue.Holder{App: app.AppID, Principal: there.ID}, "of the principal", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	commit := func(change store.Change) {
		t.Helper()
		if _, err := st.Commit(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	commit(store.Change{Why: "test", Ops: []estate.Op{{Put: other}, {Put: app}, {Put: here}, {Put: there}}, Private: []store.PrivateOp{wide.Op, narrow.Op}})
	for _, tt := range []struct {
		law    string
		realm  string
		secret issue.Secret
		code   int
	}{
		{"a secret of the application is good at home", "corp.example", wide.Text, 0},
		{"and wherever it is", "other.example", wide.Text, 0},
		{"one of a service principal is good where that is", "other.example", narrow.Text, 0},
		{"and nowhere else", "corp.example", narrow.Text, 7000215},
	} {
		_, err := i.Token(t.Context(), issue.TokenRequest{Realm: tt.realm, GrantType: "client_credentials", ClientID: app.AppID.String(), Scope: "https://graph.microsoft.com/.default", ClientSecret: tt.secret})
		// Whether the new tenant has a signing key yet is not what is asked here.
		if got := code(err); (got == 7000215) != (tt.code == 7000215) {
			t.Errorf("%s: %v, want %d", tt.law, err, tt.code)
		}
	}
	for _, tt := range []struct {
		of   issue.Holder
		want []string
	}{
		{issue.Holder{App: app.AppID}, []string{"of the application"}},
		{issue.Holder{App: app.AppID, Principal: there.ID}, []string{"of the principal"}},
		{issue.Holder{App: app.AppID, Principal: here.ID}, nil},
	} {
		list, err := issue.Secrets(t.Context(), st, tt.of)
		if err != nil || len(list) != len(tt.want) || len(list) > 0 && list[0].Name != tt.want[0] {
			t.Errorf("%+v has %+v, %v", tt.of, list, err)
		}
	}
	// Whoever forgets the principal leaves the application what it has; and the other
	// way round nothing is left.
	for _, tt := range []struct {
		gone []estate.Op
		left int
	}{{[]estate.Op{{Delete: there.Key()}}, 1}, {[]estate.Op{{Delete: here.Key()}, {Delete: app.Key()}}, 0}} {
		ops, err := issue.Ending(t.Context(), st, st.Current(), tt.gone)
		if err != nil {
			t.Fatal(err)
		}
		commit(store.Change{Why: "test", Ops: tt.gone, Private: ops})
		if left, err := st.PrivateList(t.Context(), "clientsecret", app.AppID.String()); err != nil || len(left) != tt.left {
			t.Errorf("after %+v %d are left, %v", tt.gone, len(left), err)
		}
	}
}
