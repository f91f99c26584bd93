package azure_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// keeper makes somebody who has a role of the directory and nothing in Azure.
func keeper(t *testing.T, house *azure.House, name, role string) *azure.Desk {
	t.Helper()
	u, ok := house.Store().Current().UserByName(name)
	def, known := directoryrole.ByName(role)
	if !ok || !known {
		t.Fatalf("there is no %s, or no role %s", name, role)
	}
	house.Change(t, directory.RoleAssignment{Principal: u.ID, Role: directoryrole.ID(def)})
	desk := house.Desk(t)
	desk.Login(t, name)
	return desk
}

// lines are what az prints, one value a line.
func lines(desk *azure.Desk, t *testing.T, args ...string) []string {
	t.Helper()
	return strings.Fields(desk.Az(t, append(args, "-o", "tsv")...))
}

func one(desk *azure.Desk, t *testing.T, query string, args ...string) string {
	t.Helper()
	return desk.Az(t, append(args, "--query", query, "-o", "tsv")...)
}

func TestAzUsersAndGroups(t *testing.T) {
	t.Parallel()
	house := azure.Start(t, azure.Options{})
	desk := keeper(t, house, "raj@teknews.cloud", "User Administrator")

	// Users.
	id := one(desk, t, "id", "ad", "user", "create", "--display-name", "Ana O'Neil", "--user-principal-name", "Ana@teknews.cloud", "--password", "correct horse battery")
	if got := one(desk, t, "[userPrincipalName,mailNickname]", "ad", "user", "show", "--id", "ana@teknews.cloud"); got != "ana@teknews.cloud\nAna" {
		t.Errorf("az ad user show: %q", got)
	}
	if got := lines(desk, t, "ad", "user", "list", "--upn", "ana@teknews.cloud", "--query", "[].id"); !slices.Equal(got, []string{id}) {
		t.Errorf("az ad user list --upn: %v", got)
	}
	if got := lines(desk, t, "ad", "user", "list", "--display-name", "Ana O'N", "--query", "[].id"); !slices.Equal(got, []string{id}) {
		t.Errorf("az ad user list --display-name: %v", got)
	}
	if got := lines(desk, t, "ad", "user", "list", "--filter", "displayName eq 'Ana O'Neil' and accountEnabled eq true", "--query", "[].id"); !slices.Equal(got, []string{id}) {
		t.Errorf("az ad user list --filter, with the quote that az does not write twice: %v", got)
	}
	desk.Az(t, "ad", "user", "update", "--id", id, "--display-name", "Ana", "--account-enabled", "false", "--mail-nickname", "anita", "--password", "another horse battery", "--force-change-password-next-sign-in", "false")
	if got := one(desk, t, "[displayName,mailNickname]", "ad", "user", "show", "--id", id); got != "Ana\nanita" {
		t.Errorf("after az ad user update: %q", got)
	}

	// Who was given a password chooses another one first.
	desk.Az(t, "ad", "user", "update", "--id", id, "--account-enabled", "true", "--password", "given by the boss", "--force-change-password-next-sign-in", "true")
	wantLine(t, house.Desk(t).Run(t, "az", "login", "-u", "ana@teknews.cloud", "-p", "given by the boss", "--allow-no-subscriptions"), 1, `ERROR: AADSTS50055: The password is expired\.`)

	// Groups. A nickname that is not the name makes no second group.
	group := one(desk, t, "id", "ad", "group", "create", "--display-name", "crew", "--mail-nickname", "the-crew", "--description", "all of us")
	if again := one(desk, t, "id", "ad", "group", "create", "--display-name", "crew", "--mail-nickname", "the-crew"); again != group {
		t.Errorf("the same group again is %s, not %s", again, group)
	}
	outer := one(desk, t, "id", "ad", "group", "create", "--display-name", "everybody", "--mail-nickname", "everybody")
	desk.Az(t, "ad", "group", "member", "add", "--group", "crew", "--member-id", id)
	desk.Az(t, "ad", "group", "member", "add", "--group", "everybody", "--member-id", group)
	wantLine(t, desk.Run(t, "az", "ad", "group", "member", "add", "--group", "crew", "--member-id", id), 1,
		`ERROR: One or more added object references already exist for the following modified properties: 'members'\.`)
	if got := one(desk, t, "value", "ad", "group", "member", "check", "--group", outer, "--member-id", id); got != "true" {
		t.Errorf("az ad group member check through another group: %s", got)
	}
	if got := lines(desk, t, "ad", "group", "member", "list", "--group", "crew", "--query", "[].id"); !slices.Equal(got, []string{id}) {
		t.Errorf("az ad group member list: %v", got)
	}
	if got := lines(desk, t, "ad", "user", "get-member-groups", "--id", id, "--query", "sort([].displayName)"); !slices.Equal(got, []string{"crew", "everybody"}) {
		t.Errorf("az ad user get-member-groups: %v", got)
	}
	if got := lines(desk, t, "ad", "group", "get-member-groups", "--group", "crew"); !slices.Equal(got, []string{outer}) {
		t.Errorf("az ad group get-member-groups: %v", got)
	}
	me := one(desk, t, "id", "ad", "signed-in-user", "show")
	desk.Az(t, "ad", "group", "owner", "add", "--group", group, "--owner-object-id", me)
	desk.Az(t, "ad", "group", "owner", "add", "--group", group, "--owner-object-id", me)
	if got := lines(desk, t, "ad", "group", "owner", "list", "--group", group, "--query", "[].id"); !slices.Equal(got, []string{me}) {
		t.Errorf("az ad group owner list: %v", got)
	}
	if got := lines(desk, t, "ad", "signed-in-user", "list-owned-objects", "--type", "group", "--query", "[].id"); !slices.Equal(got, []string{group}) {
		t.Errorf("az ad signed-in-user list-owned-objects: %v", got)
	}
	wantLine(t, desk.Run(t, "az", "ad", "group", "owner", "remove", "--group", group, "--owner-object-id", me), 1, `ERROR: The group must have at least one owner`)
	desk.Az(t, "ad", "group", "member", "remove", "--group", "crew", "--member-id", id)
	if got := lines(desk, t, "ad", "group", "list", "--display-name", "cre", "--query", "[].displayName"); !slices.Equal(got, []string{"crew"}) {
		t.Errorf("az ad group list: %v", got)
	}
	desk.Az(t, "ad", "group", "delete", "--group", "crew")
	wantLine(t, desk.Run(t, "az", "ad", "group", "show", "--group", group), 3, `ERROR: Resource '`+group+`' does not exist`)
	desk.Az(t, "ad", "user", "delete", "--id", "ana@teknews.cloud")
	wantLine(t, desk.Run(t, "az", "ad", "user", "show", "--id", "ana@teknews.cloud"), 3, `ERROR: Resource 'ana@teknews.cloud' does not exist`)

	// What his role does not let him do.
	wantLine(t, desk.Run(t, "az", "ad", "app", "create", "--display-name", "x"), 1, `ERROR: Directory permission is needed for the current user to register the application\..*Insufficient privileges`)
}

func TestAzApplicationsAndServicePrincipals(t *testing.T) {
	t.Parallel()
	house := azure.Start(t, azure.Options{})
	desk := keeper(t, house, "amy@teknews.cloud", "Application Administrator")

	app := one(desk, t, "appId", "ad", "app", "create", "--display-name", "ci")
	if again := one(desk, t, "appId", "ad", "app", "create", "--display-name", "ci", "--web-redirect-uris", "https://ci.example.com/cb"); again != app {
		t.Errorf("az ad app create makes a second application of one name: %s, %s", app, again)
	}
	desk.Az(t, "ad", "app", "update", "--id", app, "--identifier-uris", "api://"+app)
	if got := one(desk, t, "[displayName,identifierUris[0],web.redirectUris[0]]", "ad", "app", "show", "--id", "api://"+app); got != "ci\napi://"+app+"\nhttps://ci.example.com/cb" {
		t.Errorf("az ad app show: %q", got)
	}
	desk.Az(t, "ad", "app", "update", "--id", app, "--display-name", "build")
	if got := lines(desk, t, "ad", "app", "list", "--display-name", "bui", "--query", "[].appId"); !slices.Equal(got, []string{app}) {
		t.Errorf("az ad app list: %v", got)
	}

	sp := one(desk, t, "id", "ad", "sp", "create", "--id", app)
	if got := one(desk, t, "[id,servicePrincipalType]", "ad", "sp", "show", "--id", "api://"+app); got != sp+"\nApplication" {
		t.Errorf("az ad sp show: %q", got)
	}
	if got := lines(desk, t, "ad", "sp", "list", "--spn", app, "--query", "[].id"); !slices.Equal(got, []string{sp}) {
		t.Errorf("az ad sp list: %v", got)
	}
	me := one(desk, t, "id", "ad", "signed-in-user", "show")
	desk.Az(t, "ad", "app", "owner", "add", "--id", app, "--owner-object-id", me)
	if got := lines(desk, t, "ad", "app", "owner", "list", "--id", app, "--query", "[].userPrincipalName"); !slices.Equal(got, []string{"amy@teknews.cloud"}) {
		t.Errorf("az ad app owner list: %v", got)
	}
	if got := lines(desk, t, "ad", "app", "list", "--show-mine", "--query", "[].appId"); !slices.Equal(got, []string{app}) {
		t.Errorf("az ad app list --show-mine: %v", got)
	}
	desk.Az(t, "ad", "app", "owner", "remove", "--id", app, "--owner-object-id", me)
	if got := desk.Az(t, "ad", "sp", "owner", "list", "--id", app, "-o", "tsv"); got != "" {
		t.Errorf("az ad sp owner list: %q", got)
	}

	// Secrets: what az prints is what signs in.
	secret := one(desk, t, "password", "ad", "app", "credential", "reset", "--id", app, "--display-name", "one")
	signIn(t, house, app, secret)
	desk.Az(t, "ad", "app", "credential", "reset", "--id", app, "--display-name", "two", "--append")
	signIn(t, house, app, secret)
	if got := lines(desk, t, "ad", "app", "credential", "list", "--id", app, "--query", "[].displayName"); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("az ad app credential list: %v", got)
	}
	desk.Az(t, "ad", "app", "credential", "delete", "--id", app, "--key-id", one(desk, t, "[0].keyId", "ad", "app", "credential", "list", "--id", app))
	wantLine(t, house.Desk(t).Run(t, "az", "login", "--service-principal", "-u", app, "-p", secret, "--tenant", sample.Tenant, "--allow-no-subscriptions"), 1, `ERROR: AADSTS7000215`)
	own := one(desk, t, "password", "ad", "sp", "credential", "reset", "--id", app)
	signIn(t, house, app, own)
	if got := lines(desk, t, "ad", "sp", "credential", "list", "--id", app, "--query", "[].keyId"); len(got) != 1 {
		t.Errorf("az ad sp credential list: %v", got)
	}

	// Certificates.
	cert, both := selfSigned(t)
	file := filepath.Join(desk.Home, "cert.pem")
	public := filepath.Join(desk.Home, "public.pem")
	for name, text := range map[string][]byte{file: both, public: cert} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	desk.Az(t, "ad", "app", "credential", "reset", "--id", app, "--cert", "@"+public, "--append")
	signIn(t, house, app, file)
	made := one(desk, t, "fileWithCertAndPrivateKey", "ad", "app", "credential", "reset", "--id", app, "--create-cert", "--append")
	signIn(t, house, app, made)
	keys := lines(desk, t, "ad", "app", "credential", "list", "--id", app, "--cert", "--query", "[].keyId")
	if len(keys) != 2 {
		t.Errorf("az ad app credential list --cert: %v", keys)
	}
	for _, key := range keys {
		desk.Az(t, "ad", "app", "credential", "delete", "--id", app, "--cert", "--key-id", key)
	}

	// What it says that it needs, and whom it trusts.
	const graph, read = "00000003-0000-0000-c000-000000000000", "e1fe6dd8-ba31-4d61-89e7-88639da4683d"
	desk.Az(t, "ad", "app", "permission", "add", "--id", app, "--api", graph, "--api-permissions", read+"=Scope")
	if got := one(desk, t, "[0].resourceAccess[0].id", "ad", "app", "permission", "list", "--id", app); got != read {
		t.Errorf("az ad app permission list: %q", got)
	}
	desk.Az(t, "ad", "app", "permission", "delete", "--id", app, "--api", graph)
	if got := desk.Az(t, "ad", "app", "permission", "list-grants", "--id", app, "-o", "tsv"); got != "" {
		t.Errorf("az ad app permission list-grants: %q", got)
	}
	trust := filepath.Join(desk.Home, "trust.json")
	write := func(subject string) string {
		text, err := json.Marshal(map[string]any{"name": "main", "issuer": "https://token.actions.githubusercontent.com", "subject": subject, "audiences": []string{"api://AzureADTokenExchange"}})
		if err == nil {
			err = os.WriteFile(trust, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return "@" + trust
	}
	desk.Az(t, "ad", "app", "federated-credential", "create", "--id", app, "--parameters", write("repo:a/b:ref:refs/heads/main"))
	desk.Az(t, "ad", "app", "federated-credential", "update", "--id", app, "--federated-credential-id", "main", "--parameters", write("repo:a/b:environment:prod"))
	if got := one(desk, t, "subject", "ad", "app", "federated-credential", "show", "--id", app, "--federated-credential-id", "main"); got != "repo:a/b:environment:prod" {
		t.Errorf("az ad app federated-credential show: %q", got)
	}
	if got := lines(desk, t, "ad", "app", "federated-credential", "list", "--id", app, "--query", "[].name"); !slices.Equal(got, []string{"main"}) {
		t.Errorf("az ad app federated-credential list: %v", got)
	}
	desk.Az(t, "ad", "app", "federated-credential", "delete", "--id", app, "--federated-credential-id", "main")

	desk.Az(t, "ad", "sp", "update", "--id", app, "--set", "accountEnabled=false")
	wantLine(t, house.Desk(t).Run(t, "az", "login", "--service-principal", "-u", app, "-p", own, "--tenant", sample.Tenant, "--allow-no-subscriptions"), 1, `ERROR: AADSTS7000112`)
	desk.Az(t, "ad", "sp", "delete", "--id", app)
	wantLine(t, desk.Run(t, "az", "ad", "sp", "show", "--id", sp), 3, `ERROR: Resource '`+sp+`' does not exist`)
	desk.Az(t, "ad", "app", "delete", "--id", app)
	if got := desk.Az(t, "ad", "app", "list", "--app-id", app, "-o", "tsv"); got != "" {
		t.Errorf("after az ad app delete: %q", got)
	}
}

func TestAzCreateForRBAC(t *testing.T) {
	t.Parallel()
	house := azure.Start(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	group := sample.Subscription + "/resourceGroups/MyResourceGroup"

	var made struct{ AppID, Password, Tenant, DisplayName, FileWithCertAndPrivateKey string }
	desk.AzJSON(t, &made, "ad", "sp", "create-for-rbac", "--name", "deploy", "--role", "Contributor", "--scopes", group)
	if made.DisplayName != "deploy" || made.Tenant != sample.Tenant {
		t.Errorf("az ad sp create-for-rbac: %+v", made)
	}
	worker := signIn(t, house, made.AppID, made.Password)
	if got := one(worker, t, "name", "group", "show", "-n", "MyResourceGroup"); got != "MyResourceGroup" {
		t.Errorf("with its role: %q", got)
	}
	// Again it is the same application, with another secret.
	before := made
	desk.AzJSON(t, &made, "ad", "sp", "create-for-rbac", "--name", "deploy", "--role", "Contributor", "--scopes", group)
	if made.AppID != before.AppID || made.Password == before.Password {
		t.Errorf("az ad sp create-for-rbac again: %s, then %s", before.AppID, made.AppID)
	}
	wantLine(t, house.Desk(t).Run(t, "az", "login", "--service-principal", "-u", before.AppID, "-p", before.Password, "--tenant", sample.Tenant), 1, `ERROR: AADSTS7000215`)
	desk.AzJSON(t, &made, "ad", "sp", "create-for-rbac", "--create-cert", "--role", "Reader", "--scopes", group)
	worker = signIn(t, house, made.AppID, made.FileWithCertAndPrivateKey)

	// Names in role assignments, and who is signed in.
	if got := lines(desk, t, "role", "assignment", "list", "--assignee", before.AppID, "--all", "--query", "[].[principalName,roleDefinitionName]"); !slices.Equal(got, []string{before.AppID, "Contributor"}) {
		t.Errorf("az role assignment list: %v", got)
	}
	wantLine(t, desk.Run(t, "az", "ad", "signed-in-user", "show"), 1, `ERROR: /me request is only valid with delegated authentication flow\.`)
	// A program has no more than its roles: it does not read the directory.
	wantLine(t, worker.Run(t, "az", "ad", "user", "list"), 1, `ERROR: Insufficient privileges to complete the operation\.`)
}

// signIn signs a program in with a secret, or with the file of a certificate.
func signIn(t *testing.T, house *azure.House, app, secret string) *azure.Desk {
	t.Helper()
	desk := house.Desk(t)
	desk.Az(t, "login", "--service-principal", "-u", app, "-p", secret, "--tenant", sample.Tenant, "--allow-no-subscriptions", "-o", "none")
	return desk
}
