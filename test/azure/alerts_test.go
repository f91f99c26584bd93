package azure_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/azure"
)

// Story 25: a kubelet identity that gets a credential of somebody else, and is then used
// by a program that is no node, is in the activity log as az lists it, with the changes
// around it, and a rule that watches for it is kept.
func TestStory25(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	known := map[string]string{}
	script(t, desk, known, []command{
		{line: `group create -n story25 -l westeurope -o none`},
		{line: `aks create -g story25 -n c25 --enable-addons azure-policy --generate-ssh-keys --no-wait`},
		{line: `aks show -g story25 -n c25 --query id -o tsv`, as: "cluster"},
		{line: `aks show -g story25 -n c25 --query identityProfile.kubeletidentity.objectId -o tsv`, as: "kubelet"},
		{line: `aks show -g story25 -n c25 --query addonProfiles.azurepolicy.identity.objectId -o tsv`, as: "policy"},
		{line: `monitor activity-log list -g story25 --query "[?category.value=='Security']"`, has: "[]"},
		{line: `identity federated-credential create -g MC_story25_c25_westeurope --identity-name c25-agentpool -n git --issuer https://token.actions.githubusercontent.com --subject repo:a/b:ref:refs/heads/main --audiences api://AzureADTokenExchange -o none`},
	})
	for range 2 { // the second one is told with the first
		identityToken(t, house, known["kubelet"])
	}
	identityToken(t, house, known["policy"])

	const alerts = `--query "[?category.value=='Security'].[operationName.value, status.value, properties.way, properties.compromisedEntity]" -o tsv`
	for _, place := range []string{"-g story25", "--resource-id $cluster$"} {
		script(t, desk, known, []command{{line: "monitor activity-log list " + place + " --max-events 500 " + alerts, has: "activate/action", as: "list"}})
		list := known["list"]
		for what, want := range map[string]int{
			"identity session\t":                               2,
			"federated credential written\t":                   1,
			"userAssignedIdentities/azurepolicy-c25":           1,
			"userAssignedIdentities/c25-agentpool":             2,
			"Microsoft.Security/locations/alerts/activate/act": 3,
		} {
			if got := strings.Count(list, what); got != want {
				t.Errorf("%s: %d of %q, want %d:\n%s", place, got, what, want, list)
			}
		}
	}
	script(t, desk, known, []command{
		{line: `monitor activity-log list -g MC_story25_c25_westeurope --query "[].[operationName.value, caller, resourceGroupName]" -o tsv`,
			has: "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write"},
		{line: `monitor activity-log list -g story25 --select caller eventTimestamp operationName --query "[?operationName.value=='Microsoft.ContainerService/managedClusters/write'] | [0].[operationName.value, resourceId]" -o tsv`,
			has: "Microsoft.ContainerService/managedClusters/write\nNone"},
		{line: `monitor activity-log list -g story25 --start-time 2020-01-01 --end-time 2020-01-02`, has: "[]"},
		{line: `monitor activity-log list -g story25 --caller nobody@teknews.cloud`, has: "[]"},
		{line: `monitor activity-log alert create -g story25 -n outside --condition category=Security --query condition.allOf[0].equals -o tsv`, has: "Security"},
		{line: `monitor activity-log alert list -g story25 --query [].name -o tsv`, has: "outside"},
	})
	if audit := house.Operate(t, "audit"); !strings.Contains(audit, "alert c25-agentpool identity session") {
		t.Errorf("gatehouse audit says nothing of it:\n%s", audit)
	}
}
