package azure_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// Stories with clusters that are made and changed by az. What a transcript of
// testdata shows is not shown again.

const (
	storyGroup = "MyResourceGroup"
	adminGroup = "b0000000-0000-4000-8000-000000000001" // ed's
	sreGroup   = "b0000000-0000-4000-8000-000000000004" // amy's
	ed, amy    = "ed@teknews.cloud", "amy@teknews.cloud"
	jet        = "jet@teknews.cloud"
)

// aks runs az aks at a desk about a cluster of the stories.
func aks(t *testing.T, desk *azure.Desk, verb, cluster string, flags ...string) string {
	t.Helper()
	return desk.Az(t, append([]string{"aks", verb, "-g", storyGroup, "-n", cluster}, flags...)...)
}

// makeCluster makes a control plane, and returns what removes it.
func makeCluster(t *testing.T, desk *azure.Desk, name string, flags ...string) (remove func()) {
	t.Helper()
	desk.Patience = 5 * time.Minute // a control plane is made between those of others
	aks(t, desk, "create", name, append([]string{"--no-ssh-key", "-o", "none"}, flags...)...)
	return func() {
		desk.Run(t, "az", "aks", "delete", "-g", storyGroup, "-n", name, "--yes", "--no-wait")
	}
}

// adminFile fetches the kubeconfig of a local administrator into a file.
func adminFile(t *testing.T, desk *azure.Desk, group, cluster, file string) string {
	t.Helper()
	path := filepath.Join(desk.Home, file)
	desk.Az(t, "aks", "get-credentials", "-g", group, "-n", cluster, "--admin", "--file", path)
	return path
}

// kubectl runs kubectl with a kubeconfig.
func kubectl(t *testing.T, desk *azure.Desk, file string, args ...string) azure.Result {
	t.Helper()
	at := *desk
	at.Env = append(slices.Clone(desk.Env), "KUBECONFIG="+file)
	return at.Run(t, "kubectl", args...)
}

// wantIn and wantOut want a command of kubectl to be answered, or to be refused
// with some words.
func wantIn(t *testing.T, when string, res azure.Result) {
	t.Helper()
	if res.Code != 0 {
		t.Errorf("%s: exit code %d\n%s%s", when, res.Code, res.Out, res.Err)
	}
}

func wantOut(t *testing.T, when string, res azure.Result, words string) {
	t.Helper()
	if res.Code == 0 || !strings.Contains(res.Err, words) {
		t.Errorf("%s: exit code %d, want %q\n%s%s", when, res.Code, words, res.Out, res.Err)
	}
}

// signsIn is a desk at which a person signs in to a cluster by kubelogin, with the
// kubeconfig of AKS.
func signsIn(t *testing.T, house *azure.House, who, cluster string) *azure.Desk {
	t.Helper()
	desk := house.Desk(t)
	aksKubeconfig(t, desk, clusterNamed(t, house, cluster))
	desk.Env = append(desk.Env, "AAD_USER_PRINCIPAL_NAME="+who, "AAD_USER_PRINCIPAL_PASSWORD="+house.Password)
	if res := desk.Run(t, "kubelogin", "convert-kubeconfig", "-l", "ropc"); res.Code != 0 {
		t.Fatalf("%d\n%s%s", res.Code, res.Out, res.Err)
	}
	return desk
}

// Story 5: the way from Contributor to everything, and who went it. It ends with
// whoever went it.
func TestStory5(t *testing.T) { // LA-07, LA-10
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	app := house.NewApp(t, "story-5")
	grant(t, house, app.Principal, "Contributor", clusterNamed(t, house, "aks-2").Scope.String())
	desk := house.Desk(t)
	desk.LoginApp(t, app)
	const group = "rsg-aksIdentityState2"
	file := adminFile(t, desk, group, "aks-2", "admin")
	if res := kubectl(t, desk, file, "auth", "can-i", "*", "*", "--all-namespaces"); strings.TrimSpace(res.Out) != "yes" {
		t.Errorf("may he do everything? %+v", res)
	}
	if res := kubectl(t, desk, file, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}"); res.Out != "gatehouse:local-admin:"+app.Principal.String()+` ["gatehouse:local-admins","system:authenticated"]` {
		t.Errorf("he is %s", res.Out)
	}
	// What he got is his own: nobody else's, and the same when he asks again.
	again := adminFile(t, desk, group, "aks-2", "again")
	one, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.ReadFile(again); err != nil || string(one) != string(two) {
		t.Errorf("he asked again and got another certificate: %v", err)
	}
	fetched := audited(t, house, func(r auditRecord) bool {
		return r.By.ID == app.Principal.String() && strings.HasPrefix(r.Why, "local admin certificate of cluster aks-2: serial ")
	})
	if len(fetched) != 2 {
		t.Errorf("the audit log has %d of 2 times that he asked", len(fetched))
	}

	sp, ok := house.Store().Current().ServicePrincipal(app.Principal)
	if !ok {
		t.Fatal("he is not there")
	}
	sp.Disabled = true
	house.Change(t, sp)
	wantOut(t, "disabled", kubectl(t, desk, file, "get", "--raw", "/api/v1/namespaces"), "Access denied: the account is disabled.")
}

// Story 6: every way to a static credential is shut, and the other door open.
func TestStory6(t *testing.T) { // LA-01
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	const at = sample.Subscription + "/resourceGroups/rsg-aksIdentityState3/providers/Microsoft.ContainerService/managedClusters/aks-3"
	const words = "Getting static credential is not allowed because this cluster is set to disable local accounts."
	for _, way := range []string{"listClusterAdminCredential", "listClusterMonitoringUserCredential", "accessProfiles/clusterAdmin/listCredential"} {
		wantOut(t, way, desk.Run(t, "az", "rest", "--method", "post", "--url", at+"/"+way+"?api-version=2023-10-01"), words)
	}
	if name := desk.Az(t, "rest", "--method", "post", "--url", at+"/listClusterUserCredential?api-version=2023-10-01", "--query", "kubeconfigs[0].name", "-o", "tsv"); name != "clusterUser" {
		t.Errorf("the kubeconfig of who signs in: %s", name)
	}
	person := signsIn(t, house, ed, "aks-3")
	wantIn(t, "an administrator who signs in", person.Run(t, "kubectl", "get", "namespaces"))
}

// Story 13: disabled means now, for what was handed out before as well; a rotation
// and being enabled again bring nothing back; and the audit log says who did it.
func TestStory13(t *testing.T) { // LA-01, LA-02, LA-08
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	const name = "story-13"
	defer makeCluster(t, desk, name, "--enable-aad", "--aad-admin-group-object-ids", adminGroup)()
	get := func(file string) azure.Result { return kubectl(t, desk, file, "get", "secrets", "-A", "-o", "name") }

	old := adminFile(t, desk, storyGroup, name, "old")
	wantIn(t, "before", get(old))
	aks(t, desk, "update", name, "--disable-local-accounts", "-o", "none")
	disabled := time.Now()
	// The API server starts anew with another authority, and whoever asks it in
	// that second or later is refused, by one of the two.
	if res := get(old); res.Code == 0 {
		t.Errorf("a certificate of before works after local accounts were disabled: %s", res.Out)
	}
	t.Logf("refused %s after the disabling was acknowledged, without a rotation", time.Since(disabled).Round(time.Millisecond))
	wantIn(t, "an administrator who signs in, while they are disabled", signsIn(t, house, ed, name).Run(t, "kubectl", "get", "secrets", "-A", "-o", "name"))

	aks(t, desk, "update", name, "--enable-local-accounts", "-o", "none")
	if res := get(old); res.Code == 0 {
		t.Errorf("enabling local accounts brought a certificate of before back: %s", res.Out)
	}
	second := adminFile(t, desk, storyGroup, name, "second")
	wantIn(t, "enabled again", get(second))
	aks(t, desk, "rotate-certs", name, "--yes", "-o", "none")
	if res := get(second); res.Code == 0 {
		t.Errorf("a certificate of before the rotation works: %s", res.Out)
	}
	wantIn(t, "after the rotation", get(adminFile(t, desk, storyGroup, name, "third")))

	// Each time that the operator switched them, in order.
	var switched []bool
	last := false
	operator, _ := house.Store().Current().ServicePrincipalOf(house.Operator.Tenant, house.Operator.ClientID)
	for _, r := range audited(t, house, func(r auditRecord) bool { return r.By.ID == operator.ID.String() }) {
		for _, c := range r.Changes {
			var cluster struct {
				Name                 string
				DisableLocalAccounts bool
			}
			if c.Kind == "Cluster" && json.Unmarshal(c.Value, &cluster) == nil && cluster.Name == name && cluster.DisableLocalAccounts != last {
				last = !last
				switched = append(switched, last)
				if r.Why != "Azure Resource Manager API" || r.By.Name == "" {
					t.Errorf("by %q, because %q", r.By.Name, r.Why)
				}
			}
		}
	}
	if !slices.Equal(switched, []bool{true, false}) {
		t.Errorf("the audit log says of the operator that local accounts were disabled: %t, want true and false", switched)
	}
}

// auditRecord is what gatehouse audit -o json says of a change.
type auditRecord struct {
	By      struct{ ID, Name string }
	Why     string
	Changes []struct {
		Kind  string
		Value json.RawMessage
	}
}

// audited returns the records of gatehouse audit that are meant.
func audited(t *testing.T, house *azure.House, meant func(auditRecord) bool) []auditRecord {
	t.Helper()
	var log struct{ Records []auditRecord }
	if err := json.Unmarshal([]byte(house.Operate(t, "audit", "-o", "json")), &log); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(log.Records, func(r auditRecord) bool { return !meant(r) })
}

// Story 14: each flag has its effect on the API server that runs.
func TestStory14(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	const name = "story-14"
	identity := newIdentity(t, house, "story-14")
	defer makeCluster(t, desk, name, "--assign-identity", identity.Resource.String())()
	at := clusterNamed(t, house, name).Scope.String()
	asks := func(who string) azure.Result {
		return signsIn(t, house, who, name).Run(t, "kubectl", "get", "pods", "-A")
	}
	const unknown, forbidden = "You must be logged in to the server", "Error from server (Forbidden): pods is forbidden"
	const azureForbidden = "User does not have access to the resource in Azure."

	wantOut(t, "without --enable-aad nobody signs in", asks(ed), unknown)
	aks(t, desk, "update", name, "--enable-aad", "--aad-admin-group-object-ids", adminGroup, "-o", "none")
	wantIn(t, "--enable-aad and --aad-admin-group-object-ids: the admin group", asks(ed))
	wantOut(t, "--aad-admin-group-object-ids: another group", asks(amy), forbidden)
	aks(t, desk, "update", name, "--aad-admin-group-object-ids", sreGroup, "-o", "none")
	wantOut(t, "another admin group: the one of before", asks(ed), forbidden)
	wantIn(t, "another admin group", asks(amy))

	grant(t, house, principal.ID(jetGUID(t)), "Azure Kubernetes Service RBAC Reader", at)
	if res := asks(jet); res.Code == 0 || strings.Contains(res.Err, azureForbidden) {
		t.Errorf("without --enable-azure-rbac a role assignment is nothing to the cluster: %d %s%s", res.Code, res.Out, res.Err)
	}
	aks(t, desk, "update", name, "--enable-azure-rbac", "-o", "none")
	wantIn(t, "--enable-azure-rbac", asks(jet))
	aks(t, desk, "update", name, "--disable-azure-rbac", "-o", "none")
	wantOut(t, "--disable-azure-rbac", asks(jet), forbidden)

	var shown struct {
		AADProfile struct {
			Managed             bool
			AdminGroupObjectIDs []string `json:"adminGroupObjectIDs"`
		} `json:"aadProfile"`
		Identity struct {
			Type                   string
			UserAssignedIdentities map[string]struct{ ClientID, PrincipalID string }
		}
		OIDCIssuerProfile struct{ IssuerURL string } `json:"oidcIssuerProfile"`
	}
	desk.AzJSON(t, &shown, "aks", "show", "-g", storyGroup, "-n", name)
	if p := shown.AADProfile; !p.Managed || !slices.Equal(p.AdminGroupObjectIDs, []string{sreGroup}) {
		t.Errorf("aadProfile is %+v", p)
	}
	if id := shown.Identity; id.Type != "UserAssigned" || len(id.UserAssignedIdentities) != 1 {
		t.Errorf("--assign-identity: %+v", id)
	}
	for _, id := range shown.Identity.UserAssignedIdentities {
		if id.ClientID != identity.ClientID.String() || id.PrincipalID != identity.ID.String() {
			t.Errorf("--assign-identity: %+v, want %s", id, identity.ID)
		}
	}
	// --enable-oidc-issuer: what the API server signs is of the issuer that is shown,
	// whose document says so to everybody.
	issuer := shown.OIDCIssuerProfile.IssuerURL
	token := kubectl(t, desk, adminFile(t, desk, storyGroup, name, "admin"), "create", "token", "default")
	wantIn(t, "kubectl create token", token)
	var says struct{ Iss string }
	if readClaims(t, strings.TrimSpace(token.Out), &says); says.Iss != issuer || issuer == "" {
		t.Errorf("--enable-oidc-issuer: a token of %q, want %q", says.Iss, issuer)
	}
	answer, err := house.Cloud.Get(issuer + ".well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var document struct{ Issuer string }
	if err := json.NewDecoder(answer.Body).Decode(&document); err != nil || document.Issuer != issuer {
		t.Errorf("--enable-oidc-issuer: the document of %q, %v", document.Issuer, err)
	}
}

func jetGUID(t *testing.T) principal.ID {
	t.Helper()
	id, err := principal.ParseID(jetID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Story 20: the integration that AKS had first, with applications of the cluster's
// owner, is shown and reported as such, works, and ends with one update.
func TestStory20(t *testing.T) { // JWT-13
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	server := house.NewApp(t, "story-20-server")
	public := directory.Application{ID: principal.NewID(), AppID: directory.NewAppID(), Tenant: house.Operator.Tenant, DisplayName: "story-20-client", Public: true}
	house.Change(t, public, directory.ServicePrincipal{ID: principal.NewID(), AppID: public.AppID, Tenant: public.Tenant, DisplayName: public.DisplayName})
	const name = "story-20"
	defer makeCluster(t, desk, name, "--aad-server-app-id", server.AppID.String(), "--aad-server-app-secret", server.Secret, "--aad-client-app-id", public.AppID.String())()

	var shown struct{ Managed, ServerAppID, ClientAppID, ServerAppSecret, EnableAzureRBAC any }
	desk.AzJSON(t, &shown, "aks", "show", "-g", storyGroup, "-n", name, "--query", "aadProfile")
	if shown.Managed == true || shown.ServerAppID != server.AppID.String() || shown.ClientAppID != public.AppID.String() || shown.ServerAppSecret != nil {
		t.Errorf("az aks show: %+v", shown)
	}
	if list := house.Operate(t, "cluster", "list"); !strings.Contains(list, "teknews.cloud (legacy)") {
		t.Errorf("gatehouse cluster list:\n%s", list)
	}
	if one := house.Operate(t, "cluster", "show", name); !strings.Contains(one, "server story-20-server, client story-20-client; az aks update --enable-aad ends it") {
		t.Errorf("gatehouse cluster show:\n%s", one)
	}

	// Somebody signs in with the kubeconfig that az writes, and is whom Kubernetes
	// RBAC knows.
	admin := adminFile(t, desk, storyGroup, name, "admin")
	wantIn(t, "a binding", kubectl(t, desk, admin, "create", "clusterrolebinding", "jet", "--clusterrole=view", "--user="+jet))
	person := house.Desk(t)
	text := aks(t, desk, "get-credentials", name, "--file", "-")
	if err := os.WriteFile(filepath.Join(person.Home, "shell", "kube", "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{server.AppID.String(), public.AppID.String(), "--legacy"} {
		if !strings.Contains(text, words) {
			t.Errorf("the kubeconfig has no %s:\n%s", words, text)
		}
	}
	wantIn(t, "by device code, at version 1.0", person.ByDevice(t, jet, "kubectl", "get", "pods", "-A"))
	const unknown = "You must be logged in to the server"
	wantOut(t, "a token of the application of all clusters", signsIn(t, house, jet, name).Run(t, "kubectl", "get", "pods", "-A"), unknown)
	rec := clusterNamed(t, house, name)
	ca := filepath.Join(person.Home, "ca.crt")
	if err := os.WriteFile(ca, []byte(rec.CertificateAuthority), 0o600); err != nil {
		t.Fatal(err)
	}
	// An API server remembers for ten seconds whose a token is: each is a new one.
	bearing := func() azure.Result {
		t.Helper()
		one := house.Desk(t)
		one.Env = append(one.Env, "AAD_USER_PRINCIPAL_NAME="+jet, "AAD_USER_PRINCIPAL_PASSWORD="+house.Password)
		got := one.Run(t, "kubelogin", "get-token", "-l", "ropc", "--server-id", server.AppID.String(), "--client-id", public.AppID.String(), "--tenant-id", sample.Tenant)
		var credential struct{ Status struct{ Token string } }
		if err := json.Unmarshal([]byte(got.Out), &credential); err != nil {
			t.Fatalf("%v\n%s%s", err, got.Out, got.Err)
		}
		return kubectl(t, one, "/dev/null", "get", "pods", "-A", "--server", rec.Endpoint, "--certificate-authority", ca, "--token", credential.Status.Token)
	}
	wantIn(t, "a token of the cluster's own application", bearing())

	aks(t, desk, "update", name, "--enable-aad", "-o", "none")
	if managed := aks(t, desk, "show", name, "--query", "[aadProfile.managed, aadProfile.serverAppId]", "-o", "tsv"); !strings.HasPrefix(managed, "true") && !strings.HasPrefix(managed, "True") || strings.Contains(managed, server.AppID.String()) {
		t.Errorf("after az aks update --enable-aad: %s", managed)
	}
	wantIn(t, "the same person, by the application of all clusters", signsIn(t, house, jet, name).Run(t, "kubectl", "get", "pods", "-A"))
	wantOut(t, "a token of the application of before", bearing(), unknown)
	if list := house.Operate(t, "cluster", "list"); strings.Contains(list, "(legacy)") {
		t.Errorf("gatehouse cluster list after the update:\n%s", list)
	}
}

// Story 21: an identity of the cluster dies with it, one of its owner's survives,
// and what the dead one had is nobody's, ever.
func TestStory21(t *testing.T) { // AZ-19, DIR-05
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	const name = "story-21"
	own := newIdentity(t, house, "story-21")
	makeCluster(t, desk, name, "--assign-identity", own.Resource.String())
	at := sample.Subscription + "/resourceGroups/" + storyGroup
	grant(t, house, own.ID, "Reader", at)
	aks(t, desk, "update", name, "--enable-managed-identity", "--yes", "-o", "none")
	system := aks(t, desk, "show", name, "--query", "identity.principalId", "-o", "tsv")
	id, err := principal.ParseID(system)
	if err != nil || id == own.ID {
		t.Fatalf("the identity of the system is %q", system)
	}
	desk.Az(t, "role", "assignment", "create", "--assignee-object-id", system, "--assignee-principal-type", "ServicePrincipal", "--role", "Reader", "--scope", at, "-o", "none")
	if who := desk.Az(t, "ad", "sp", "show", "--id", system, "--query", "displayName", "-o", "tsv"); who != name {
		t.Errorf("the identity of the cluster is called %s", who)
	}

	aks(t, desk, "delete", name, "--yes")
	wantLine(t, desk.Run(t, "az", "ad", "sp", "show", "--id", system), 3, `ERROR: `)
	if has := desk.Az(t, "role", "assignment", "list", "--scope", at, "--query", "[?principalId=='"+own.ID.String()+"'].roleDefinitionName", "-o", "tsv"); has != "Reader" {
		t.Errorf("the owner's identity has %q", has)
	}
	if who := desk.Az(t, "identity", "show", "-g", storyGroup, "-n", "story-21", "--query", "principalId", "-o", "tsv"); who != own.ID.String() {
		t.Errorf("the owner's identity is %q", who)
	}
	// Nobody can be born with its id while anything is left of it, and nothing that
	// is left grants anything.
	heir := directory.ManagedIdentity{ID: id, ClientID: directory.NewAppID(), Tenant: house.Operator.Tenant, DisplayName: "heir",
		Resource: scope.MustParse(at + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/heir")}
	spec, err := record.Marshal(heir)
	if err != nil {
		t.Fatal(err)
	}
	left := slices.Collect(assignmentsOf(house, id))
	_, err = house.API().Commit(t.Context(), wire.Changes{Why: "test", Ops: []wire.Op{{Put: &wire.Record{Kind: heir.Key().Kind, Spec: spec}}}})
	if refused, ok := errors.AsType[*client.Error](err); len(left) == 0 || !ok || refused.Code != "PrincipalIdInUse" {
		t.Errorf("an heir of %d role assignments: %v", len(left), err)
	}
}

// assignmentsOf are the role assignments that somebody has, were he there.
func assignmentsOf(house *azure.House, id principal.ID) func(yield func(azurerbac.Assignment) bool) {
	return func(yield func(azurerbac.Assignment) bool) {
		for r := range house.Store().Current().Records() {
			if a, ok := r.(azurerbac.Assignment); ok && a.Principal == id && !yield(a) {
				return
			}
		}
	}
}
