package azurerbac_test

import (
	"slices"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
)

func TestOperations(t *testing.T) {
	t.Parallel()
	list := azurerbac.Operations()
	const aks = "Microsoft.ContainerService/managedClusters/"
	for _, want := range []azurerbac.Operation{
		{aks + "read", false}, {aks + "listClusterAdminCredential/action", false},
		{aks + "pods/read", true}, {aks + "pods/exec/action", true}, {aks + "apps/deployments/write", true}, {aks + "bindings/write", true},
		{aks + "rbac.authorization.k8s.io/roles/escalate/action", true}, {aks + "customresources/read", true}, {aks + "apis/apps/v1/read", true}, {aks + "serviceaccounts/impersonate/action", true},
		{"Microsoft.ContainerService/fleets/secrets/read", true}, {"Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", false},
		{"Microsoft.KeyVault/vaults/secrets/getSecret/action", true}, {"Microsoft.ContainerRegistry/registries/pull/read", false},
	} {
		if !slices.Contains(list, want) {
			t.Errorf("there is no %+v", want)
		}
	}
	for _, not := range []azurerbac.Operation{
		{aks + "bindings/read", true}, {aks + "pods/read", false}, {"Microsoft.ContainerService/fleets/pods/exec/action", true}, {aks + "metrics.k8s.io/pods/write", true},
	} {
		if slices.Contains(list, not) {
			t.Errorf("there is %+v", not)
		}
	}
	// guard reads the verb of an operation from its last segment, or its last two.
	data := 0
	for _, op := range list {
		if op.Data && len(op.Name) > len(aks) && op.Name[:len(aks)] == aks {
			data++
		}
	}
	if data < 250 {
		t.Errorf("only %d data operations of clusters", data)
	}
}

func TestUnknownOperation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern string
		data    bool
		want    bool
	}{
		{"Microsoft.ContainerService/managedClusters/pods/read", true, false},
		{"microsoft.containerservice/MANAGEDCLUSTERS/pods/*", true, false},
		{"Microsoft.ContainerService/managedClusters/podz/read", true, true},
		{"Microsoft.ContainerService/managedClusters/pods/read", false, false}, // of the control plane not all is known
		{"Microsoft.Authorization/roleAssignments/write", false, false},
		{"Microsoft.Authorization/*/Write", false, false},
		{"Microsoft.Authorization/roleAssignment/write", false, true},
		{"Microsoft.ManagedIdentity/userAssignedIdentities/assign", false, true},
		{"Microsoft.Sql/servers/read", false, false},
		{"*", false, false},
		{"*/read", true, false},
		{"", false, true},
	} {
		if got := azurerbac.UnknownOperation(tt.pattern, tt.data); got != tt.want {
			t.Errorf("UnknownOperation(%q, %t) = %t, want %t", tt.pattern, tt.data, got, tt.want)
		}
	}
}

// What Azure itself writes into its roles is known.
func TestBuiltInRolesNameKnownOperations(t *testing.T) {
	t.Parallel()
	for d := range azurerbac.BuiltIn() {
		for _, p := range d.Permissions {
			for _, name := range slices.Concat(p.Actions, p.NotActions) {
				if azurerbac.UnknownOperation(name, false) {
					t.Errorf("%s: %s", d.RoleName, name)
				}
			}
			for _, name := range slices.Concat(p.DataActions, p.NotDataActions) {
				if azurerbac.UnknownOperation(name, true) {
					t.Errorf("%s: data %s", d.RoleName, name)
				}
			}
		}
	}
}
