package azure_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// hire makes a person by az, who may have the kubeconfig of a cluster and, if a role
// is named, has that as well.
func hire(t *testing.T, house *azure.House, desk *azure.Desk, name, cluster, role string) (upn string) {
	t.Helper()
	upn = name + "@teknews.cloud"
	id := desk.Az(t, "ad", "user", "create", "--display-name", name, "--user-principal-name", upn, "--password", house.Password, "--query", "id", "-o", "tsv")
	roles := []string{"Azure Kubernetes Service Cluster User Role"}
	if role != "" {
		roles = append(roles, role)
	}
	for _, r := range roles {
		desk.Az(t, "role", "assignment", "create", "--assignee-object-id", id, "--assignee-principal-type", "User", "--role", r, "--scope", cluster, "-o", "none")
	}
	return upn
}

// Story 7: who has no role there gets no kubeconfig, and is told which right at which
// place he lacks.
func TestStory7(t *testing.T) { // ARM-07
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	app := house.NewApp(t, "story-7")
	grant(t, house, app.Principal, "Reader", sample.Subscription+"/resourceGroups/rsg-aksIdentityState2")
	desk := house.Desk(t)
	desk.LoginApp(t, app)
	res := desk.Run(t, "az", "aks", "get-credentials", "-g", "rsg-aksIdentityState1", "-n", "aks-1", "--file", "kubeconfig")
	wantOut(t, "no role", res, "(AuthorizationFailed) The client")
	wantOut(t, "the action and the place", res, "does not have authorization to perform action 'Microsoft.ContainerService/managedClusters/listClusterUserCredential/action' over scope '"+
		sample.Subscription+"/resourceGroups/rsg-aksIdentityState1/providers/Microsoft.ContainerService/managedClusters/aks-1'")
	if res.Out != "" {
		t.Errorf("he got %s", res.Out)
	}
}

// Story 8: a role of the cluster itself, for one person in one namespace, until his
// account is disabled.
func TestStory8(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	at := clusterNamed(t, house, "aks-2")
	who := hire(t, house, desk, "story8", at.Scope.String(), "")
	admin := adminFile(t, desk, "rsg-aksIdentityState2", "aks-2", "admin")
	for _, args := range [][]string{
		{"create", "namespace", "finance-8"},
		{"-n", "finance-8", "create", "role", "finance-app-full-access-role", "--verb=*", "--resource=*.*"},
		{"-n", "finance-8", "create", "rolebinding", "finance-app-full-access", "--role=finance-app-full-access-role", "--user=" + who},
	} {
		wantIn(t, strings.Join(args, " "), kubectl(t, desk, admin, args...))
	}
	person := signsIn(t, house, who, "aks-2")
	kube := func(args ...string) azure.Result { return person.Run(t, "kubectl", args...) }
	wantIn(t, "he writes in his namespace", kube("-n", "finance-8", "create", "configmap", "books", "--from-literal=a=b"))
	wantIn(t, "and reads its secrets", kube("-n", "finance-8", "get", "secrets"))
	wantOut(t, "elsewhere he reads nothing", kube("-n", "default", "get", "pods"), `cannot list resource "pods" in API group "" in the namespace "default"`)
	wantOut(t, "and nothing of the cluster", kube("get", "nodes"), `cannot list resource "nodes"`)

	desk.Az(t, "ad", "user", "update", "--id", who, "--account-enabled", "false")
	wantOut(t, "disabled, the next request is refused", kube("-n", "finance-8", "get", "configmaps"), "disabled")
}

// Story 12: the four roles side by side, given by az, asked by kubectl.
func TestStory12(t *testing.T) { // AZ-01
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	const at = sample.Subscription + "/resourceGroups/rsg-aksIdentityState1/providers/Microsoft.ContainerService/managedClusters/aks-1"
	questions := [][]string{
		{"list", "pods"}, {"get", "secrets"}, {"list", "roles"}, {"create", "deployments"}, {"create", "pods/exec"}, {"create", "roles"}, {"create", "rolebindings"},
		{"create", "resourcequotas"}, {"create", "namespaces"},
	}
	for _, tt := range []struct{ name, role, want string }{
		{"reader12", "Azure Kubernetes Service RBAC Reader", "yes no no no no no no no no"},
		{"writer12", "Azure Kubernetes Service RBAC Writer", "yes yes no yes yes no no no no"},
		{"admin12", "Azure Kubernetes Service RBAC Admin", "yes yes yes yes yes yes yes no no"},
		{"cluster12", "Azure Kubernetes Service RBAC Cluster Admin", "yes yes yes yes yes yes yes yes yes"},
	} {
		person := signsIn(t, house, hire(t, house, desk, tt.name, at, tt.role), "aks-1")
		var got []string
		for _, q := range questions {
			res := person.Run(t, "kubectl", append([]string{"auth", "can-i", "-n", "default"}, q...)...)
			answer, _, _ := strings.Cut(strings.TrimSpace(res.Out), " ") // a no says why behind it
			got = append(got, answer)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v\nmay %v\nwant %s", tt.role, questions, got, tt.want)
		}
	}
}
