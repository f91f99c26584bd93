package azurerbac_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func builtIn(t testing.TB, name string) *azurerbac.Role {
	t.Helper()
	for role := range azurerbac.BuiltInRoles() {
		if role.RoleName == name {
			return role
		}
	}
	t.Fatalf("no built-in role %q", name)
	return nil
}

// TestBuiltInGolden lists the name and id of each built-in role, and how many
// operations it has of each kind: actions, notActions, dataActions, notDataActions.
func TestBuiltInGolden(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for d := range azurerbac.BuiltIn() {
		fmt.Fprintf(&got, "%s %s", d.ID, d.RoleName)
		for _, p := range d.Permissions {
			fmt.Fprintf(&got, " [%d %d %d %d", len(p.Actions), len(p.NotActions), len(p.DataActions), len(p.NotDataActions))
			if p.Condition != "" {
				fmt.Fprintf(&got, " condition %s", p.ConditionVersion)
			}
			got.WriteString("]")
		}
		got.WriteString("\n")
	}
	const file = "testdata/builtin.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("built-in roles changed (-want +got); run with -update if that is right:\n%s", diff)
	}
}

func TestBuiltInRolesAreValidAndDistinct(t *testing.T) {
	t.Parallel()
	ids := make(map[azurerbac.DefinitionID]bool)
	names := make(map[string]bool)
	for d := range azurerbac.BuiltIn() {
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", d.RoleName, err)
		}
		if name := strings.ToLower(d.RoleName); ids[d.ID] || names[name] {
			t.Errorf("%s %s appears twice", d.ID, d.RoleName)
		} else {
			ids[d.ID], names[name] = true, true
		}
	}
	if len(ids) < 70 {
		t.Errorf("%d built-in roles, want at least 70", len(ids))
	}
}

func TestBuiltInRolesAllowWhatAzureSays(t *testing.T) {
	t.Parallel()
	const (
		reader       = "Azure Kubernetes Service RBAC Reader"
		writer       = "Azure Kubernetes Service RBAC Writer"
		admin        = "Azure Kubernetes Service RBAC Admin"
		clusterAdmin = "Azure Kubernetes Service RBAC Cluster Admin"
		user         = "Azure Kubernetes Service Cluster User Role"
		mc           = "microsoft.containerservice/managedclusters/"
	)
	tests := []struct {
		law, role, action string
		data, want        bool
	}{
		{"an owner has no data actions", "Owner", mc + "pods/read", true, false},
		{"an owner may get the admin kubeconfig", "Owner", mc + "listclusteradmincredential/action", false, true},
		{"a contributor may not assign roles", "Contributor", "microsoft.authorization/roleassignments/write", false, false},
		{"a contributor may read assignments", "Contributor", "microsoft.authorization/roleassignments/read", false, true},
		{"a reader may not list credentials", "Reader", mc + "listclusterusercredential/action", false, false},
		{"a reader reads", "Reader", mc + "read", false, true},
		{"a user access administrator may assign roles", "User Access Administrator", "microsoft.authorization/roleassignments/write", false, true},
		{"a cluster user may get a kubeconfig", user, mc + "listclusterusercredential/action", false, true},
		{"a cluster user has no data actions", user, mc + "pods/read", true, false},
		{"RBAC Reader sees no secrets", reader, mc + "secrets/read", true, false},
		{"RBAC Reader sees no roles", reader, mc + "rbac.authorization.k8s.io/roles/read", true, false},
		{"RBAC Reader sees pods", reader, mc + "pods/read", true, true},
		{"RBAC Reader may not exec", reader, mc + "pods/exec/action", true, false},
		{"RBAC Reader cannot download a kubeconfig", reader, mc + "listclusterusercredential/action", false, false},
		{"RBAC Writer sees secrets", writer, mc + "secrets/read", true, true},
		{"RBAC Writer may exec", writer, mc + "pods/exec/action", true, true},
		{"RBAC Writer may impersonate service accounts", writer, mc + "serviceaccounts/impersonate/action", true, true},
		{"RBAC Writer sees no role bindings", writer, mc + "rbac.authorization.k8s.io/rolebindings/read", true, false},
		{"RBAC Writer sees no nodes", writer, mc + "nodes/read", true, false},
		{"RBAC Admin may write roles", admin, mc + "rbac.authorization.k8s.io/roles/write", true, true},
		{"RBAC Admin may not write namespaces", admin, mc + "namespaces/write", true, false},
		{"RBAC Admin may not delete quotas", admin, mc + "resourcequotas/delete", true, false},
		{"RBAC Admin can download a kubeconfig", admin, mc + "listclusterusercredential/action", false, true},
		{"RBAC Cluster Admin may write namespaces", clusterAdmin, mc + "namespaces/write", true, true},
		{"RBAC Cluster Admin of a cluster has nothing on a fleet", clusterAdmin, "microsoft.containerservice/fleets/pods/read", true, false},
		{"Fleet Cluster Admin does not reach members", "Azure Kubernetes Fleet Manager RBAC Cluster Admin", "microsoft.containerservice/fleets/members/pods/read", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			role := builtIn(t, tt.role)
			if got := role.Permissions[0].Covers([]byte(tt.action), tt.data); got != tt.want {
				t.Errorf("%s covers %s (data %t) = %t, want %t", tt.role, tt.action, tt.data, got, tt.want)
			}
		})
	}
}
