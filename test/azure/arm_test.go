package azure_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// A command is one run of az, and what it must come to. Words of its line that
// begin with $ stand for what an earlier command has printed.
type command struct {
	line string
	code int
	has  string // in what it prints, or complains
	as   string // the name under which its output is kept, without the line's end
}

// script runs az commands at a desk, one after the other.
func script(t *testing.T, desk *azure.Desk, known map[string]string, commands []command) {
	t.Helper()
	for _, c := range commands {
		args := words(c.line, known)
		got := desk.Run(t, "az", args...)
		if got.Code != c.code || !strings.Contains(got.Out+got.Err, c.has) {
			t.Errorf("az %s: exit code %d, want %d and %q\n%s%s", strings.Join(args, " "), got.Code, c.code, c.has, got.Out, got.Err)
		}
		if c.as != "" {
			known[c.as] = strings.TrimSpace(got.Out)
		}
	}
}

// words splits a line at spaces that stand outside of double quotes.
func words(line string, known map[string]string) []string {
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		for _, w := range strings.Fields(part) {
			for name, value := range known {
				w = strings.ReplaceAll(w, "$"+name+"$", value)
			}
			out = append(out, w)
		}
	}
	return out
}

// The commands of the source documents for roles and identities, word for word but
// for what stands in their brackets. Two of the role names do not exist.
func TestRolesAndIdentitiesOfTheDocuments(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	const cluster = "/subscriptions/" + subscription + "/resourceGroups/rsg-aksIdentityState1/providers/Microsoft.ContainerService/managedClusters/aks-1"
	known := map[string]string{"cluster": cluster, "faye": fayeID, "sub": subscription}
	script(t, desk, known, []command{
		{line: `role assignment create --assignee $faye$ --role "Azure Kubernetes Service Cluster User" --scope $cluster$`, code: 1, has: "Role 'Azure Kubernetes Service Cluster User' doesn't exist."},
		{line: `role assignment create --assignee $faye$ --role "Azure Kubernetes Service RBAC Writer Role" --scope $cluster$`, code: 1, has: "Role 'Azure Kubernetes Service RBAC Writer Role' doesn't exist."},
		{line: `role assignment create --assignee $faye$ --role "Azure Kubernetes Service RBAC Reader" --scope $cluster$/namespaces/web`, has: `"principalId": "` + fayeID + `"`},
		{line: `role assignment create --assignee $faye$ --role "azure kubernetes service rbac writer" --scope $cluster$/namespaces/web`, has: "namespaces/web"},
		{line: `role assignment create --assignee $faye$ --role "Azure Kubernetes Service RBAC Writer" --scope $cluster$/namespaces/web`, has: `"principalId": "` + fayeID + `"`}, // it is there already, and az prints it
		{line: `role assignment list --scope $cluster$/namespaces/web --query [].roleDefinitionName -o tsv`, has: "Azure Kubernetes Service RBAC Writer"},
		{line: `role assignment list --assignee faye@teknews.cloud --all --query [].scope -o tsv`, has: "namespaces/web"},
		{line: `role assignment delete --assignee faye@teknews.cloud --role "Azure Kubernetes Service RBAC Reader" --scope $cluster$/namespaces/web`},
		{line: `role assignment delete --assignee faye@teknews.cloud --role "Azure Kubernetes Service RBAC Writer" --scope $cluster$/namespaces/web`},
		{line: `role assignment list --scope $cluster$/namespaces/web --query length(@)`, has: "0"},

		{line: `group create --name documents --location eastus`, has: `"provisioningState": "Succeeded"`},
		{line: `identity create --resource-group documents --name web-identity --query clientId -o tsv`, as: "client"},
		{line: `identity show -g documents -n web-identity --query principalId -o tsv`, as: "principal"},
		{line: `keyvault create --name documents-vault --resource-group documents --location eastus --enable-rbac-authorization true --query properties.vaultUri -o tsv`, has: "https://documents-vault.vault.azure.net/"},
		{line: `role assignment create --assignee $client$ --role Reader --scope /subscriptions/$sub$/resourceGroups/documents/providers/Microsoft.KeyVault/vaults/documents-vault`, has: `"principalType": "ServicePrincipal"`},
		{line: `role assignment list --assignee $client$ --all --query [].roleDefinitionName -o tsv`, has: "Reader"},
		{line: `identity federated-credential create --name web-pods --identity-name web-identity --resource-group documents --issuer https://eastus.oic.prod-aks.azure.com/x/ --subject system:serviceaccount:web:app`, has: `"api://AzureADTokenExchange"`},
	})
}

func TestAzManagesIdentities(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	script(t, desk, map[string]string{}, []command{
		{line: `group create -n identities -l westeurope --tags team=web -o none`},
		{line: `identity show -g identities -n nobody`, code: 3, has: "(ResourceNotFound)"},
		{line: `identity create -g identities -n one --tags a=b -o none`},
		{line: `identity create -g nowhere -n one -l westeurope`, code: 3, has: "(ResourceGroupNotFound) Resource group 'nowhere' could not be found."},
		{line: `identity list -g identities --query [].name -o tsv`, has: "one"},
		{line: `identity list --query "[].{n:name,l:location}" -o tsv`, has: "one\twesteurope"},
		{line: `identity federated-credential create --name pods --identity-name one -g identities --issuer https://issuer.example/a/ --subject system:serviceaccount:a:b --audiences one two`, code: 1, has: "Federated Identity Credentials must have exactly one audience."},
		{line: `identity federated-credential create --name pods --identity-name one -g identities --issuer https://issuer.example/a/ --subject system:serviceaccount:a:b -o none`},
		{line: `identity federated-credential create --name pods2 --identity-name one -g identities --issuer https://issuer.example/a/ --subject system:serviceaccount:a:b`, code: 1, has: "Issuer and subject combination already exists for this Managed Identity."},
		{line: `identity federated-credential update --name pods --identity-name one -g identities --issuer https://issuer.example/a/ --subject system:serviceaccount:a:c --query subject -o tsv`, has: "system:serviceaccount:a:c"},
		{line: `identity federated-credential list --identity-name one -g identities --query [].issuer -o tsv`, has: "https://issuer.example/a/"},
		{line: `identity federated-credential show --name pods --identity-name one -g identities --query subject -o tsv`, has: "system:serviceaccount:a:c"},
		{line: `identity federated-credential delete --name pods --identity-name one -g identities --yes`},
		{line: `identity federated-credential list --identity-name one -g identities --query length(@)`, has: "0"},
		{line: `identity delete -g identities -n one`},
		{line: `identity list -g identities --query length(@)`, has: "0"},
		{line: `group show -n identities --query tags.team -o tsv`, has: "web"},
		{line: `group update -n identities --set tags.team=ops -o none`},
		{line: `group list --tag team=ops --query [].name -o tsv`, has: "identities"},
		{line: `group exists -n identities`, has: "true"},
		{line: `group delete -n identities --yes`},
		{line: `group exists -n identities`, has: "false"},
		{line: `group show -n identities`, code: 3, has: "(ResourceGroupNotFound)"},
	})
}

// Somebody is made eligible, activates by az rest what he is eligible for, and does
// with az what it lets him do.
func TestAzActivatesARole(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	admin, jet := house.Desk(t), house.Desk(t)
	admin.LoginOperator(t)
	jet.Login(t, "jet@teknews.cloud")
	script(t, admin, map[string]string{}, []command{{line: `group create -n activation -l westeurope -o none`}})
	at := "/subscriptions/" + subscription + "/resourceGroups/activation"
	ask := func(desk *azure.Desk, kind, name, typ, duration string) azure.Result {
		body := `{"properties":{"principalId":"` + jetID + `","roleDefinitionId":"/subscriptions/` + subscription + `/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7",` +
			`"requestType":"` + typ + `","justification":"incident 42","scheduleInfo":{"expiration":{"type":"AfterDuration","duration":"` + duration + `"}}}}`
		return desk.Run(t, "az", "rest", "--method", "put", "--url", at+"/providers/Microsoft.Authorization/"+kind+"/22220000-0000-4000-8000-00000000000"+name+"?api-version=2020-10-01",
			"--body", body, "--query", "properties.status", "-o", "tsv")
	}
	want := func(step string, got azure.Result, code int, has string) {
		t.Helper()
		if got.Code != code || !strings.Contains(got.Out+got.Err, has) {
			t.Fatalf("%s: exit code %d, want %d and %q\n%s%s", step, got.Code, code, has, got.Out, got.Err)
		}
	}
	want("before", jet.Run(t, "az", "group", "show", "-n", "activation"), 1, "AuthorizationFailed")
	want("too early", ask(jet, "roleAssignmentScheduleRequests", "1", "SelfActivate", "PT1H"), 1, "EligibilityRule")
	want("eligible", ask(admin, "roleEligibilityScheduleRequests", "2", "AdminAssign", "P30D"), 0, "Provisioned")
	want("still nothing", jet.Run(t, "az", "group", "show", "-n", "activation"), 1, "AuthorizationFailed")
	want("too long", ask(jet, "roleAssignmentScheduleRequests", "3", "SelfActivate", "PT9H"), 1, "ExpirationRule")
	want("active", ask(jet, "roleAssignmentScheduleRequests", "3", "SelfActivate", "PT1H"), 0, "Provisioned")
	want("the group", jet.Run(t, "az", "group", "show", "-n", "activation", "--query", "location", "-o", "tsv"), 0, "westeurope")
	want("an assignment like others", admin.Run(t, "az", "role", "assignment", "list", "--assignee", "jet@teknews.cloud", "--scope", at, "--query", "[].roleDefinitionName", "-o", "tsv"), 0, "Reader")
	want("taken away", ask(admin, "roleEligibilityScheduleRequests", "4", "AdminRemove", "P30D"), 0, "Revoked")
	want("afterwards", jet.Run(t, "az", "group", "show", "-n", "activation"), 1, "AuthorizationFailed")
	script(t, admin, map[string]string{}, []command{{line: `group delete -n activation --yes`}})
}

func TestAzManagesRoles(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	const sub = "/subscriptions/" + subscription
	write := func(name, action string) {
		text := `{"Name":"Vault Watcher","Description":"sees vaults","Actions":["` + action + `"],"DataActions":["Microsoft.ContainerService/managedClusters/pods/read"],"AssignableScopes":["` + sub + `"]}`
		if err := os.WriteFile(filepath.Join(desk.Home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("role.json", "Microsoft.KeyVault/vaults/read")
	write("wrong.json", "Microsoft.Authorization/roleAssignment/write")
	known := map[string]string{"sub": sub, "faye": fayeID}
	script(t, desk, known, []command{
		{line: `role definition create --role-definition wrong.json`, code: 1, has: "'Microsoft.Authorization/roleAssignment/write' does not match any of the actions supported by the providers."},
		{line: `role definition create --role-definition role.json --query roleType -o tsv`, has: "CustomRole"},
		{line: `role definition create --role-definition role.json`, code: 1, has: "(RoleDefinitionWithSameNameExists)"},
		{line: `role definition list --custom-role-only --query [].roleName -o tsv`, has: "Vault Watcher"},
		{line: `role definition list --name AcrPull --query [].roleType -o tsv`, has: "BuiltInRole"},
		{line: `role assignment create --assignee faye@teknews.cloud --role "Vault Watcher" --scope $sub$ -o none`},
		{line: `role definition delete --name "Vault Watcher"`, code: 1, has: "(RoleDefinitionHasAssignments)"},
		{line: `role assignment create --assignee-object-id $faye$ --assignee-principal-type Group --role Reader --scope $sub$`, code: 1, has: "(UnmatchedPrincipalType)"},
		{line: `role assignment create --assignee-object-id 00000000-0000-4000-8000-00000000dead --assignee-principal-type User --role Reader --scope $sub$`, code: 1, has: "(PrincipalNotFound) Principal 0000000000004000800000000000dead does not exist in the directory " + sample.Tenant},
		{line: `role assignment create --assignee faye@teknews.cloud --role Reader --scope $sub$/resourceGroups/nowhere`, code: 3, has: "(ResourceGroupNotFound)"},
		{line: `role assignment list --assignee faye@teknews.cloud --role "Vault Watcher" --query [].id -o tsv`, as: "id"},
		{line: `role assignment delete --ids $id$`},
		{line: `role definition delete --name "Vault Watcher"`},
		{line: `role definition list --custom-role-only --name "Vault Watcher" --query length(@)`, has: "0"},
		{line: `rest --method get --url /providers/Microsoft.ContainerService/operations?api-version=2018-10-31 --query length(value[?isDataAction])`},
		{line: `provider operation show --namespace Microsoft.ManagedIdentity --query resourceTypes[].name -o tsv`, has: "userAssignedIdentities"},
	})
}

func TestAzManagesOtherResources(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.Login(t, penny)
	if err := os.WriteFile(filepath.Join(desk.Home, "net.json"), []byte(`{"addressSpace":{"addressPrefixes":["10.0.0.0/8"]},"subnets":[{"name":"nodes","properties":{"addressPrefix":"10.1.0.0/16"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	script(t, desk, map[string]string{}, []command{
		{line: `group create -n others -l westeurope -o none`},
		{line: `keyvault create -n others-vault -g others --query properties.accessPolicies[0].objectId -o tsv`, has: "a0000000-0000-4000-8000-000000000005"},
		{line: `keyvault show -n others-vault --query properties.vaultUri -o tsv`, has: "https://others-vault.vault.azure.net/"},
		{line: `keyvault list -g others --query [].name -o tsv`, has: "others-vault"},
		{line: `keyvault update -n others-vault --enable-rbac-authorization true --query properties.enableRbacAuthorization`, has: "true"},
		{line: `acr create -n othersregistry -g others --sku Basic --query loginServer -o tsv`, has: "othersregistry.azurecr.io"},
		{line: `acr show -n othersregistry --query id -o tsv`, has: "/registries/othersregistry"},
		{line: `acr check-name -n othersregistry --query nameAvailable`, has: "false"},
		// az network does not run in Debian's az; az resource asks the provider which version to use.
		{line: `resource create -g others -n net --resource-type Microsoft.Network/virtualNetworks -p @net.json --query properties.subnets[].name -o tsv`, has: "nodes"},
		{line: `resource show -g others -n nodes --parent virtualNetworks/net --namespace Microsoft.Network --resource-type subnets --query id -o tsv`, has: "/virtualNetworks/net/subnets/nodes"},
		{line: `resource tag -g others -n net --resource-type Microsoft.Network/virtualNetworks --tags a=b --query tags.a -o tsv`, has: "b"},
		{line: `resource delete -g others -n nodes --parent virtualNetworks/net --namespace Microsoft.Network --resource-type subnets`},
		{line: `network private-dns zone create -g others -n privatelink.westeurope.azmk8s.io --query name -o tsv`, has: "privatelink.westeurope.azmk8s.io"},
		{line: `monitor log-analytics workspace create -g others -n others-logs --query customerId -o tsv`},
		{line: `resource list -g others --query [].type -o tsv`, has: "Microsoft.Network/virtualNetworks"},
		{line: `resource list --resource-type Microsoft.KeyVault/vaults --query [].name -o tsv`, has: "others-vault"},
		{line: `keyvault delete -n others-vault`},
		{line: `account list-locations --query length(@)`},
		{line: `provider show -n Microsoft.ManagedIdentity --query registrationState -o tsv`, has: "Registered"},
		{line: `provider register -n Microsoft.KeyVault`},
		{line: `provider list --query "[?namespace=='Microsoft.ContainerService'].registrationState" -o tsv`, has: "Registered"},
		{line: `rest --method get --url /subscriptions/{subscriptionId}/providers/Microsoft.Network/dnsZones?api-version=2018-05-01`, code: 1, has: "Supported are"},
		{line: `group delete -n others --yes`},
	})
}

func TestAzManagesManagementGroups(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	script(t, desk, map[string]string{"sub": subscription}, []command{
		{line: `account management-group create --name Corp-1 --display-name "Corporation" --no-register --query displayName -o tsv`, has: "Corporation"},
		{line: `account management-group create --name dev-1 --parent Corp-1 --no-register --query details.parent.displayName -o tsv`, has: "Corporation"},
		{line: `account management-group show --name corp-1 --expand --recurse --no-register --query children[].name -o tsv`, has: "dev-1"},
		{line: `account management-group list --no-register --query [].name -o tsv`, has: "Corp-1"},
		{line: `account management-group update --name dev-1 --display-name "Developers" --query displayName -o tsv`, has: "Developers"},
		{line: `account management-group delete --name corp-1 --no-register`, code: 1, has: "has children"},
		{line: `account management-group delete --name dev-1 --no-register`},
		{line: `account management-group delete --name corp-1 --no-register`},
		{line: `account management-group show --name corp-1 --no-register`, code: 3, has: "(NotFound)"},
	})
}
