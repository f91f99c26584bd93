package azure_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// A machine's programs sign in as its identities: its own one, and those that were
// assigned to it.
func TestAMachineSignsInByItsIdentities(t *testing.T) { // PI-09
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	own := systemIdentity(t, house, "az-own", sample.Subscription+"/resourceGroups/MyResourceGroup/providers/Microsoft.KeyVault/vaults/az-own")
	web, other := newIdentity(t, house, "az-web"), newIdentity(t, house, "az-other")
	for _, id := range []directory.ManagedIdentity{own, web, other} {
		grant(t, house, id.ID, "Reader", sample.Subscription)
	}
	machine := func(t *testing.T) *azure.Desk {
		t.Helper()
		desk := house.Desk(t)
		desk.Identify(t, own.ID.String(), web.ID.String())
		return desk
	}
	for _, m := range []struct {
		law  string
		args []string
		name string
		is   directory.ManagedIdentity
	}{
		{"its own", nil, "systemAssignedIdentity", own},
		{"by client id", []string{"--username", web.ClientID.String()}, "userAssignedIdentity", web},
		{"by object id", []string{"--username", web.ID.String()}, "userAssignedIdentity", web},
		{"by resource id", []string{"--username", web.Resource.String()}, "userAssignedIdentity", web},
	} {
		t.Run(m.law, func(t *testing.T) {
			t.Parallel()
			desk := machine(t)
			desk.Az(t, append([]string{"login", "--identity"}, m.args...)...)
			wantAccount(t, desk, m.name, "servicePrincipal")
			c := claimsOf(t, desk.Az(t, "account", "get-access-token", "--query", "accessToken", "-o", "tsv"))
			if c.ObjectID != m.is.ID.String() || c.Audience != "https://management.core.windows.net/" {
				t.Errorf("the token is of %s for %s, want %s", c.ObjectID, c.Audience, m.is.ID)
			}
		})
	}
	t.Run("not another's", func(t *testing.T) {
		t.Parallel()
		res := machine(t).Run(t, "az", "login", "--identity", "--username", other.ClientID.String())
		wantLine(t, res, 1, `ERROR: Failed to connect to MSI, check your managed service identity id\.`)
	})
	t.Run("none on a machine without", func(t *testing.T) {
		t.Parallel()
		wantLine(t, house.Desk(t).Run(t, "az", "login", "--identity"), 1, `ERROR: Failed to connect to MSI\.`)
	})
}

// An identity shows itself as an application that trusts it, and an application
// needs no secret then.
func TestAServicePrincipalSignsInByAFederatedToken(t *testing.T) { // FED-01
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	app, web := house.NewApp(t, "federated"), newIdentity(t, house, "az-federated")
	grant(t, house, app.Principal, "Reader", sample.Subscription)
	machine := house.Desk(t)
	machine.Identify(t, web.ID.String())
	machine.Az(t, "login", "--identity", "--allow-no-subscriptions", "-o", "none")
	token := machine.Az(t, "account", "get-access-token", "--resource", "api://AzureADTokenExchange", "--query", "accessToken", "-o", "tsv")
	said := claimsOf(t, token)

	desk := house.Desk(t)
	login := []string{"login", "--service-principal", "-u", app.AppID.String(), "--federated-token", token, "--tenant", sample.Tenant}
	wantLine(t, desk.Run(t, "az", login...), 1, `ERROR: AADSTS70025: The client '`+app.AppID.String()+`'\(federated\) has no configured federated identity credentials\.`)
	house.Change(t, directory.FederatedCredential{Owner: app.AppID, Name: "machine", Issuer: said.Issuer, Subject: web.ID.String(), Audiences: []string{"api://AzureADTokenExchange"}})
	desk = house.Desk(t) // az keeps a refusal for a minute
	desk.Az(t, login...)
	wantAccount(t, desk, app.AppID.String(), "servicePrincipal")
	if !strings.HasSuffix(said.Issuer, "/"+sample.Tenant+"/v2.0") {
		t.Errorf("the token is of %s", said.Issuer)
	}
}
