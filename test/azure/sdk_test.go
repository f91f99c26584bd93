package azure_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// program is ./sdk, built once, where the tests' binary is: go test removes both.
var program = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	built := filepath.Join(filepath.Dir(self), "sdk")
	out, err := exec.Command("go", "build", "-o", built, "./sdk").CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return built, nil
})

// asApp is the environment by which the SDKs know who they are.
func asApp(desk *azure.Desk, id, secret string) {
	desk.Env = append(desk.Env, "AZURE_TENANT_ID="+desk.House.Operator.Tenant.String(), "AZURE_CLIENT_ID="+id, "AZURE_CLIENT_SECRET="+secret)
}

func asOperator(desk *azure.Desk) {
	asApp(desk, desk.House.Operator.ClientID.String(), desk.House.Operator.Secret)
}

// moduleVersion is the version of a module of the SDK that this module requires.
func moduleVersion(t *testing.T, name string) string {
	t.Helper()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if f := strings.Fields(line); len(f) >= 2 && strings.Contains(f[0]+"/", "/"+name+"/") {
			return f[1]
		}
	}
	t.Fatalf("no module %s is required", name)
	return ""
}

// people of the sample estate.
const (
	fayeID = "a0000000-0000-4000-8000-000000000002"
	jetID  = "a0000000-0000-4000-8000-000000000003"
)

func settings(desk *azure.Desk, more ...string) {
	desk.Env = append(desk.Env, "SDK_SUBSCRIPTION="+subscription, "SDK_SCOPE="+sample.Subscription+"/resourceGroups/MyResourceGroup", "SDK_GROUP=MyResourceGroup",
		"SDK_PRINCIPAL="+fayeID, "SDK_OTHER="+jetID)
	desk.Env = append(desk.Env, more...)
}

// play runs a play of ./sdk and compares what it says. Calls are those that it
// makes, as module: Type.Method.
func play(t *testing.T, desk *azure.Desk, name string, calls map[string][]string, want ...string) {
	t.Helper()
	for module, list := range calls {
		azure.Tried(t, module, moduleVersion(t, module), list...)
	}
	sdk, err := program()
	if err != nil {
		t.Fatal(err)
	}
	res := desk.Run(t, sdk, name)
	got := strings.Split(strings.TrimSpace(res.Out), "\n")
	if res.Code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", name, res.Code, res.Out, res.Err)
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%s says\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestTheSDKForGoGetsTokens(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	asOperator(desk)
	settings(desk, "SDK_USER="+penny, "SDK_PASSWORD="+desk.House.Password)
	play(t, desk, "credentials", map[string][]string{"azidentity": {"ClientSecretCredential", "EnvironmentCredential", "DefaultAzureCredential", "UsernamePasswordCredential"}},
		"ClientSecretCredential: a token of 3 parts until later",
		"EnvironmentCredential: a token of 3 parts until later",
		"DefaultAzureCredential: a token of 3 parts until later",
		"UsernamePasswordCredential: a token of 3 parts until later",
		"a wrong secret: refused")
}

func TestTheSDKForGoAssignsRoles(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	asOperator(desk)
	settings(desk, "SDK_NAME1=11110000-0000-4000-8000-000000000001", "SDK_NAME2=11110000-0000-4000-8000-000000000002")
	play(t, desk, "roles", map[string][]string{"armauthorization": {
		"RoleDefinitionsClient.NewListPager", "RoleAssignmentsClient.Create", "RoleAssignmentsClient.NewListForScopePager", "RoleAssignmentsClient.Get",
		"RoleAssignmentsClient.GetByID", "RoleAssignmentsClient.Delete", "DenyAssignmentsClient.NewListForScopePager",
	}},
		"role: Azure Kubernetes Service RBAC Reader, BuiltInRole",
		"create: by the SDK for Go for a User",
		"create it again under another name: 409 RoleAssignmentExists",
		"give it to somebody else: 400 RoleAssignmentUpdateNotPermitted",
		"give it to nobody: 400 PrincipalNotFound",
		"list: it is there 1 times",
		"get: the same: true",
		"get it after its deletion: 404 RoleAssignmentNotFound",
		"deny assignments: 0")
}

func TestTheSDKForGoActivatesARole(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	asOperator(desk)
	settings(desk, "SDK_USER=faye@teknews.cloud", "SDK_PASSWORD="+desk.House.Password, "SDK_NAME1=11110000-0000-4000-8000-0000000000a1",
		"SDK_NAME2=11110000-0000-4000-8000-0000000000a2", "SDK_NAME3=11110000-0000-4000-8000-0000000000a3", "SDK_NAME4=11110000-0000-4000-8000-0000000000a4")
	play(t, desk, "eligibility", map[string][]string{"armauthorization": {
		"RoleManagementPolicyAssignmentsClient.NewListForScopePager", "RoleManagementPoliciesClient.Update", "RoleEligibilityScheduleRequestsClient.Create",
		"RoleEligibilityScheduleInstancesClient.NewListForScopePager", "RoleAssignmentScheduleRequestsClient.Create", "RoleAssignmentScheduleInstancesClient.NewListForScopePager",
		"RoleAssignmentSchedulesClient.NewListForScopePager",
	}},
		"an activation ends within PT2H",
		"made eligible: Provisioned, User",
		"eligible for: Contributor",
		"SelfActivate for PT3H: 400 RoleAssignmentRequestPolicyValidationFailed",
		"SelfActivate for PT1H: Provisioned",
		"SelfActivate for PT1H: 400 RoleAssignmentExists",
		"active: Activated, from an eligibility: true",
		"SelfDeactivate for : 400 ActiveDurationTooShort",
		"left of it: 0")
}

func TestTheSDKForGoIsToldWhyItIsRefused(t *testing.T) { // AZ-14
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	app := desk.House.NewApp(t, "nobody much")
	asApp(desk, app.AppID.String(), app.Secret)
	settings(desk, "SDK_NAME1=11110000-0000-4000-8000-000000000003", "SDK_PRINCIPAL="+app.Principal.String())
	play(t, desk, "refused", nil, "make oneself Owner: 403 AuthorizationFailed")
}

func TestTheSDKForGoMakesIdentities(t *testing.T) { // FED-02, FED-03
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	asOperator(desk)
	settings(desk)
	play(t, desk, "identities", map[string][]string{"armmsi": {
		"UserAssignedIdentitiesClient.CreateOrUpdate", "UserAssignedIdentitiesClient.Update", "UserAssignedIdentitiesClient.Get", "UserAssignedIdentitiesClient.Delete",
		"FederatedIdentityCredentialsClient.CreateOrUpdate", "FederatedIdentityCredentialsClient.NewListPager", "FederatedIdentityCredentialsClient.Delete",
	}},
		"create: sdk-go in westeurope, tagged a",
		"update: tagged b, the same client id: true",
		"federated credential: system:serviceaccount:default:app",
		"the same issuer and subject again: 400 BadRequest",
		"two audiences: 400 BadRequest",
		"list: 1",
		"get it after its deletion: 404 ResourceNotFound")
}

func TestTheSDKForGoReadsClusters(t *testing.T) { // LA-01
	t.Parallel()
	desk := azure.Shared(t, azure.Options{Clusters: true}).Desk(t)
	asOperator(desk)
	settings(desk)
	play(t, desk, "clusters", map[string][]string{"armcontainerservice": {
		"ManagedClustersClient.NewListPager", "ManagedClustersClient.ListClusterUserCredentials", "ManagedClustersClient.ListClusterAdminCredentials", "ManagedClustersClient.Get",
	}},
		"aks-1: azure rbac true, local accounts off false",
		"aks-2: azure rbac false, local accounts off false",
		"aks-3: azure rbac false, local accounts off true",
		"credentials: clusterUser",
		"admin credentials of a cluster without local accounts: 400 BadRequest",
		"a cluster that is not there: 404 ResourceNotFound")
}

func TestTheSDKForGoMakesAndRemovesAControlPlane(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{Clusters: true}).Desk(t)
	asOperator(desk)
	settings(desk)
	play(t, desk, "lifecycle", map[string][]string{"armcontainerservice": {
		"ManagedClustersClient.BeginCreateOrUpdate", "ManagedClustersClient.BeginDelete", "ManagedClustersClient.Get",
	}},
		"create: Succeeded, 1 agent pool, an issuer: true, a principal: true",
		"update: local accounts off true, still azure rbac true",
		"get it after its deletion: 404 ResourceNotFound")
}
