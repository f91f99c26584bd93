package azurerbac_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
)

func TestWellKnownRolesAreTheBuiltInOnes(t *testing.T) {
	t.Parallel()
	names := make(map[azurerbac.DefinitionID]string)
	for d := range azurerbac.BuiltIn() {
		names[d.ID] = d.RoleName
	}
	for id, want := range map[azurerbac.DefinitionID]string{
		azurerbac.Owner: "Owner", azurerbac.Contributor: "Contributor", azurerbac.Reader: "Reader",
		azurerbac.UserAccessAdministrator: "User Access Administrator",
		azurerbac.ClusterAdmin:            "Azure Kubernetes Service Cluster Admin Role",
		azurerbac.RBACClusterAdmin:        "Azure Kubernetes Service RBAC Cluster Admin",
		azurerbac.AcrPull:                 "AcrPull",
		azurerbac.RepositoryReader:        "Container Registry Repository Reader",
		azurerbac.CatalogLister:           "Container Registry Repository Catalog Lister",
		azurerbac.KeyVaultReader:          "Key Vault Reader",
		azurerbac.SecretsUser:             "Key Vault Secrets User",
		azurerbac.CertificateUser:         "Key Vault Certificate User",
		azurerbac.CryptoUser:              "Key Vault Crypto User",
		azurerbac.MetricsPublisher:        "Monitoring Metrics Publisher",
		azurerbac.NetworkContributor:      "Network Contributor",
	} {
		if names[id] != want {
			t.Errorf("%s is %q, want %q", id, names[id], want)
		}
	}
}
