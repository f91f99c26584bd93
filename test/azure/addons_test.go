package azure_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// An addon is what az aks show says of one.
type addon struct {
	Enabled  bool
	Config   map[string]string
	Identity *struct{ ResourceID, ClientID, ObjectID string }
}

// addons are those of a cluster of its own group, by the names that AKS gives them.
func addons(t *testing.T, desk *azure.Desk, group, cluster string) map[string]addon {
	t.Helper()
	var all map[string]addon
	desk.AzJSON(t, &all, "aks", "show", "-g", group, "-n", cluster, "--query", "addonProfiles")
	return all
}

// A rightsTable says who has which roles, each with its place, as az lists them.
type rightsTable map[string][]string

func rights(t *testing.T, desk *azure.Desk) rightsTable {
	t.Helper()
	var list []struct{ Who, Role, At string }
	desk.AzJSON(t, &list, "role", "assignment", "list", "--all", "--query", "[].{who:principalId, role:roleDefinitionName, at:scope}")
	all := make(rightsTable)
	for _, a := range list {
		all[a.Who] = append(all[a.Who], a.Role+" at "+a.At[strings.LastIndex(a.At, "/")+1:])
	}
	return all
}

func (r rightsTable) want(t *testing.T, who, object string, want ...string) {
	t.Helper()
	if got := slices.Sorted(slices.Values(r[object])); !slices.Equal(got, want) {
		t.Errorf("%s has %q, want %q", who, got, want)
	}
}

// Story 24: an add-on comes with an identity in the node resource group, which has what
// AKS and az give it and no more, and goes with it: with its tokens, also those of
// before, and with its rights, also for the next one of its name.
func TestStory24(t *testing.T) { // AZ-19
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	desk.Patience = 5 * time.Minute
	const (
		group = sample.Subscription + "/resourceGroups/story24"
		nodes = sample.Subscription + "/resourceGroups/MC_story24_c24_westeurope"
		vault = "https://story24-vault.vault.azure.net/secrets/mine?api-version=7.4"
	)
	if err := os.WriteFile(filepath.Join(desk.Home, "net.json"), []byte(`{"addressSpace":{"addressPrefixes":["10.0.0.0/8"]},"subnets":[{"name":"nodes"},{"name":"aci"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	script(t, desk, known, []command{
		{line: `group create -n story24 -l westeurope -o none`},
		{line: `resource create -g story24 -n net --resource-type Microsoft.Network/virtualNetworks -p @net.json --query "properties.subnets[?name=='nodes'].id" -o tsv`, as: "subnet"},
		{line: `keyvault create -g story24 -n story24-vault --enable-rbac-authorization true --query id -o tsv`, as: "vault"},
		{line: `aks create -g story24 -n c24 --enable-addons azure-keyvault-secrets-provider,monitoring,azure-policy --vnet-subnet-id $subnet$ --no-ssh-key -o none`},
	})
	defer desk.Run(t, "az", "aks", "delete", "-g", "story24", "-n", "c24", "--yes", "--no-wait")

	profiles := addons(t, desk, "story24", "c24")
	type identity struct{ ID, Name, ClientID, PrincipalID, Location, TenantID string }
	var made []identity
	desk.AzJSON(t, &made, "identity", "list", "-g", "MC_story24_c24_westeurope")
	for name, called := range map[string]string{"azureKeyvaultSecretsProvider": "azurekeyvaultsecretsprovider-c24", "omsagent": "omsagent-c24", "azurepolicy": "azurepolicy-c24"} {
		p := profiles[name]
		if !p.Enabled || p.Identity == nil || p.Identity.ResourceID != nodes+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"+called {
			t.Fatalf("%s: %+v", name, p)
		}
		want := identity{p.Identity.ResourceID, called, p.Identity.ClientID, p.Identity.ObjectID, "westeurope", sample.Tenant}
		if !slices.Contains(made, want) {
			t.Errorf("the identities are %+v, want %+v", made, want)
		}
	}
	if len(made) != 4 { // and that of the nodes
		t.Errorf("the identities are %+v", made)
	}
	secrets, agent, policy := *profiles["azureKeyvaultSecretsProvider"].Identity, *profiles["omsagent"].Identity, *profiles["azurepolicy"].Identity
	if at := profiles["omsagent"].Config["logAnalyticsWorkspaceResourceID"]; !strings.HasSuffix(at, "/providers/Microsoft.OperationalInsights/workspaces/DefaultWorkspace-"+subscription+"-WEU") {
		t.Errorf("az made the workspace %q", at)
	}
	has := rights(t, desk)
	has.want(t, "the agent of Log Analytics", agent.ObjectID, "Monitoring Metrics Publisher at c24")
	has.want(t, "the agent of policies", policy.ObjectID)
	has.want(t, "the provider of secrets", secrets.ObjectID)
	excess := func() string { return house.Find(t, "check", "--rule", "node-identity-rights", "--cluster", "c24") }
	if found := excess(); !strings.Contains(found, "0 high, 0 medium, 0 low, 0 not evaluated") {
		t.Errorf("gatehouse check says of what az has given:\n%s", found)
	}

	// The identity reads a secret, on a machine that has it, once its owner has given it that.
	operator, _ := house.Store().Current().ServicePrincipalOf(house.Operator.Tenant, house.Operator.ClientID)
	grant(t, house, operator.ID, "Key Vault Secrets Officer", known["vault"])
	desk.Az(t, "rest", "--method", "put", "--url", vault, "--resource", "https://vault.azure.net", "--body", `{"value":"hush"}`, "-o", "none")
	machine := func(object string) *azure.Desk {
		t.Helper()
		d := house.Desk(t)
		d.Identify(t, object)
		d.Az(t, "login", "--identity", "--allow-no-subscriptions", "-o", "none")
		return d
	}
	read := []string{"rest", "--method", "get", "--url", vault, "--resource", "https://vault.azure.net", "--query", "value", "-o", "tsv"}
	pod := machine(secrets.ObjectID)
	wantOut(t, "before it is given the role", pod.Run(t, "az", read...), "Forbidden")
	desk.Az(t, "role", "assignment", "create", "--assignee-object-id", secrets.ObjectID, "--assignee-principal-type", "ServicePrincipal", "--role", "Key Vault Secrets User", "--scope", known["vault"], "-o", "none")
	if value := pod.Az(t, read...); value != "hush" {
		t.Errorf("the secret is %q", value)
	}
	token := pod.Az(t, "account", "get-access-token", "--resource", "https://vault.azure.net", "--query", "accessToken", "-o", "tsv")
	holding := append(slices.Clone(read), "--skip-authorization-header", "--headers", "Authorization=Bearer "+token)
	if value := desk.Az(t, holding...); value != "hush" {
		t.Errorf("by its token the secret is %q", value)
	}
	may := func() string {
		t.Helper()
		return house.Operate(t, "who-can", "--data", "--action", "Microsoft.KeyVault/vaults/secrets/getSecret/action", "--scope", known["vault"])
	}
	if list := may(); !strings.Contains(list, "azurekeyvaultsecretsprovider-c24") {
		t.Errorf("who may read secrets:\n%s", list)
	}

	desk.Az(t, "aks", "disable-addons", "-g", "story24", "-n", "c24", "--addons", "azure-keyvault-secrets-provider,monitoring", "-o", "none")
	profiles = addons(t, desk, "story24", "c24")
	for _, name := range []string{"azureKeyvaultSecretsProvider", "omsagent"} {
		if p, there := profiles[name]; !there || p.Enabled || p.Config != nil || p.Identity != nil {
			t.Errorf("%s is disabled: %+v", name, p)
		}
	}
	if p := profiles["azurepolicy"]; !p.Enabled || p.Identity == nil || *p.Identity != policy {
		t.Errorf("azurepolicy was left alone: %+v, want %+v", p, policy)
	}
	if left := strings.Fields(desk.Az(t, "identity", "list", "-g", "MC_story24_c24_westeurope", "--query", "sort([].name)", "-o", "tsv")); !slices.Equal(left, []string{"azurepolicy-c24", "c24-agentpool"}) {
		t.Errorf("in the node resource group are %q", left)
	}
	wantLine(t, desk.Run(t, "az", "ad", "sp", "show", "--id", secrets.ObjectID), 3, `ERROR: `)
	wantOut(t, "a token of before", desk.Run(t, "az", holding...), "Unauthorized")
	wantOut(t, "another token", pod.Run(t, "az", read...), "MSI")
	if list := may(); strings.Contains(list, "azurekeyvaultsecretsprovider-c24") || strings.Contains(list, secrets.ObjectID) {
		t.Errorf("who may read secrets, when it is gone:\n%s", list)
	}
	rights(t, desk).want(t, "nobody, as in Azure,", secrets.ObjectID, "Key Vault Secrets User at story24-vault")

	// Enabled again it is somebody else. The others that az knows come with it, and
	// the agent by a rule of what is collected, for which it needs no right.
	script(t, desk, known, []command{
		{line: `aks enable-addons -g story24 -n c24 --addons azure-keyvault-secrets-provider,virtual-node,ingress-appgw,http_application_routing,open-service-mesh --subnet-name aci --appgw-subnet-cidr 10.2.0.0/16 --enable-secret-rotation -o none`},
		{line: `monitor log-analytics workspace create -g story24 -n story24-logs --query id -o tsv`, as: "logs"},
		{line: `aks enable-addons -g story24 -n c24 --addons monitoring --enable-msi-auth-for-monitoring --workspace-resource-id $logs$ -o none`},
		{line: `rest --method get --url ` + group + `/providers/Microsoft.ContainerService/managedClusters/c24/providers/Microsoft.Insights/dataCollectionRuleAssociations/ContainerInsightsExtension?api-version=2021-04-01 --query properties.dataCollectionRuleId -o tsv`,
			has: group + "/providers/Microsoft.Insights/dataCollectionRules/MSCI-westeurope-c24"},
	})
	profiles = addons(t, desk, "story24", "c24")
	enabled := slices.Sorted(maps.Keys(profiles))
	if !slices.Equal(enabled, []string{"aciConnectorLinux", "azureKeyvaultSecretsProvider", "azurepolicy", "httpApplicationRouting", "ingressApplicationGateway", "omsagent", "openServiceMesh"}) {
		t.Fatalf("the add-ons are %q", enabled)
	}
	if p := profiles["openServiceMesh"]; !p.Enabled || p.Identity != nil {
		t.Errorf("an add-on without an identity: %+v", p)
	}
	again := profiles["azureKeyvaultSecretsProvider"]
	if again.Identity == nil || again.Identity.ResourceID != secrets.ResourceID || again.Identity.ObjectID == secrets.ObjectID || again.Identity.ClientID == secrets.ClientID || again.Config["enableSecretRotation"] != "true" {
		t.Fatalf("enabled again: %+v, and it was %+v", again, secrets)
	}
	has = rights(t, desk)
	has.want(t, "the provider of secrets, enabled again,", again.Identity.ObjectID)
	wantOut(t, "enabled again, it has nothing of before", machine(again.Identity.ObjectID).Run(t, "az", read...), "Forbidden")
	wantOut(t, "nor has a token of before", desk.Run(t, "az", holding...), "Unauthorized")
	for name, want := range map[string][]string{
		"omsagent":                  nil,
		"aciConnectorLinux":         {"Contributor at MC_story24_c24_westeurope", "Contributor at net"},
		"ingressApplicationGateway": {"Contributor at MC_story24_c24_westeurope", "Contributor at net"},
		"httpApplicationRouting":    {"Reader at MC_story24_c24_westeurope"},
	} {
		if id := profiles[name].Identity; id == nil || id.ResourceID != nodes+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"+strings.ToLower(name)+"-c24" {
			t.Errorf("%s: %+v", name, profiles[name])
		} else {
			has.want(t, name, id.ObjectID, want...)
		}
	}
	if found := excess(); !strings.Contains(found, "the add-on aciConnectorLinux of cluster c24 has more than it needs: Contributor at ") {
		t.Errorf("gatehouse check says of what az has given to a virtual node:\n%s", found)
	}
	script(t, desk, known, []command{
		{line: `aks disable-addons -g story24 -n c24 --addons monitoring -o none`},
		{line: `aks disable-addons -g story24 -n c24 --addons virtual-node,ingress-appgw,http_application_routing -o none`},
		{line: `rest --method get --url ` + group + `/providers/Microsoft.ContainerService/managedClusters/c24/providers/Microsoft.Insights/dataCollectionRuleAssociations?api-version=2021-04-01 --query length(value) -o tsv`, has: "0"},
	})
	has = rights(t, desk)
	has.want(t, "the virtual node, when it is gone,", profiles["aciConnectorLinux"].Identity.ObjectID, "Contributor at net")

	// The control plane becomes an identity that its owner brings, and the add-ons stay who they are.
	own := newIdentity(t, house, "story-24")
	grant(t, house, own.ID, "Network Contributor", known["subnet"])
	system := aks24(t, desk, "identity.principalId")
	has.want(t, "the control plane", system, "Contributor at MC_story24_c24_westeurope", "Network Contributor at nodes")
	desk.Az(t, "aks", "update", "-g", "story24", "-n", "c24", "--enable-managed-identity", "--assign-identity", own.Resource.String(), "--yes", "-o", "none")
	if is := aks24(t, desk, "identity.userAssignedIdentities.*.principalId"); is != own.ID.String() {
		t.Errorf("the control plane is %q, want %s", is, own.ID)
	}
	profiles = addons(t, desk, "story24", "c24")
	if p, q := profiles["azurepolicy"].Identity, profiles["azureKeyvaultSecretsProvider"].Identity; p == nil || *p != policy || q == nil || *q != *again.Identity {
		t.Errorf("the add-ons are %+v and %+v, want %+v and %+v", p, q, policy, *again.Identity)
	}
	wantLine(t, desk.Run(t, "az", "ad", "sp", "show", "--id", system), 3, `ERROR: `)
	for _, a := range house.Store().Current().AssignmentsAt(scope.MustParse(nodes)) {
		if a.Principal != own.ID {
			t.Errorf("somebody else than the control plane has something in the node resource group: %+v", a)
		}
	}
}

// aks24 asks for something of the cluster of story 24.
func aks24(t *testing.T, desk *azure.Desk, query string) string {
	t.Helper()
	return desk.Az(t, "aks", "show", "-g", "story24", "-n", "c24", "--query", query, "-o", "tsv")
}

// Story 26: a service principal as what a cluster is, and an identity in another region,
// are reported, with what ends them.
func TestStory26(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	desk.Patience = 5 * time.Minute
	app := house.NewApp(t, "story-26")
	known := map[string]string{"app": app.AppID.String(), "secret": app.Secret}
	script(t, desk, known, []command{
		{line: `group create -n story26 -l westeurope -o none`},
		{line: `identity create -g story26 -n far -l northeurope --query id -o tsv`, as: "far"},
		{line: `aks create -g story26 -n c26 --service-principal $app$ --client-secret $secret$ --enable-addons azure-policy --no-ssh-key -o none`},
		{line: `aks show -g story26 -n c26 --query "[servicePrincipalProfile.clientId, identity, identityProfile, addonProfiles.azurepolicy.identity]" -o json`, has: app.AppID.String(), as: "shown"},
	})
	defer desk.Run(t, "az", "aks", "delete", "-g", "story26", "-n", "c26", "--yes", "--no-wait")
	if nulls := strings.Count(known["shown"], "null"); nulls != 3 {
		t.Errorf("besides its service principal the cluster is %s", known["shown"])
	}
	check := func(rule string) string {
		t.Helper()
		return house.Find(t, "check", "--rule", rule, "--cluster", "c26")
	}
	if found := check("service-principal"); !strings.Contains(found, "its control plane is the service principal of application "+app.AppID.String()) || !strings.Contains(found, "az aks update --resource-group story26 --name c26 --enable-managed-identity") {
		t.Errorf("gatehouse check says:\n%s", found)
	}
	desk.Az(t, words(`aks update -g story26 -n c26 --enable-managed-identity --assign-identity $far$ --yes -o none`, known)...)
	if found := check("service-principal"); !strings.Contains(found, "0 high, 0 medium, 0 low, 0 not evaluated") {
		t.Errorf("gatehouse check says, with an identity:\n%s", found)
	}
	if p := addons(t, desk, "story26", "c26")["azurepolicy"]; p.Identity == nil {
		t.Error("the add-on has no identity of its own now")
	}
	if found := check("identity-region"); !strings.Contains(found, "the control plane of cluster c26 is in northeurope, and the cluster in westeurope") {
		t.Errorf("gatehouse check says of the region:\n%s", found)
	}
	// This az leaves one identity that somebody brought in the place of another.
	desk.Az(t, "aks", "update", "-g", "story26", "-n", "c26", "--enable-managed-identity", "--yes", "-o", "none")
	if found := check("identity-region"); !strings.Contains(found, "0 high, 0 medium, 0 low, 0 not evaluated") {
		t.Errorf("gatehouse check says of the region, with the identity of the system:\n%s", found)
	}
}

// Story 34: the identity of a workload that needs nothing outside of its cluster is
// reported until it is given something.
func TestStory34(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	known := map[string]string{"issuer": clusterNamed(t, house, "aks-1").IssuerURL}
	script(t, desk, known, []command{
		{line: `group create -n story34 -l westeurope -o none`},
		{line: `identity create -g story34 -n story34-report --query principalId -o tsv`, as: "id"},
		{line: `identity federated-credential create -g story34 --identity-name story34-report -n pods --issuer $issuer$ --subject system:serviceaccount:shop:report --audiences api://AzureADTokenExchange -o none`},
	})
	const needless = "managed identity story34-report\n"
	if found := house.Find(t, "check", "--rule", "identity-unneeded"); !strings.Contains(found, needless) || !strings.Contains(found, "az identity delete --name story34-report --resource-group story34") {
		t.Errorf("gatehouse check says:\n%s", found)
	}
	script(t, desk, known, []command{{line: `role assignment create --assignee-object-id $id$ --assignee-principal-type ServicePrincipal --role Reader -g story34 -o none`}})
	if found := house.Find(t, "check", "--rule", "identity-unneeded"); strings.Contains(found, needless) {
		t.Errorf("gatehouse check says of an identity that was given something:\n%s", found)
	}
}
