package azure_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/azure"
)

// unproxied is a desk from which only the house's own URL is reached.
func unproxied(t *testing.T, house *azure.House, vars ...string) *azure.Desk {
	t.Helper()
	desk := house.Desk(t)
	desk.Env = append([]string{"HTTPS_PROXY=http://127.0.0.1:1", "https_proxy=http://127.0.0.1:1"}, vars...)
	return desk
}

// A cloud of its own, which az knows from one variable.
func TestACloudFromItsMetadata(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := unproxied(t, house, "ARM_CLOUD_METADATA_URL="+house.Authority()+"/metadata/endpoints?api-version=2019-05-01")
	if name := desk.Az(t, "cloud", "show", "--query", "name", "-o", "tsv"); name != "Gatehouse" {
		t.Errorf("az cloud show: %q", name)
	}
	desk.Login(t, penny)
	wantAccount(t, desk, penny, "user")
	if name := desk.Az(t, "ad", "signed-in-user", "show", "--query", "userPrincipalName", "-o", "tsv"); name != penny {
		t.Errorf("az ad signed-in-user show: %q", name)
	}
	claims := claimsOf(t, desk.Az(t, "account", "get-access-token", "--query", "accessToken", "-o", "tsv"))
	if !strings.HasPrefix(claims.Issuer, house.Authority()+"/") || claims.Audience != "https://management.core.windows.net/" {
		t.Errorf("the token is of %s, for %s", claims.Issuer, claims.Audience)
	}
}

// A cloud that is registered by the address of its Resource Manager; what az does
// not ask for, which is the address of Graph, is given with it.
func TestACloudIsRegistered(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := unproxied(t, house)
	text, err := json.Marshal(map[string]any{"endpoints": map[string]string{
		"resourceManager": house.Authority(), "management": house.Authority(), "microsoftGraphResourceId": house.Authority() + "/"}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(desk.Home, "cloud.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	desk.Az(t, "cloud", "register", "-n", "rehearsal", "--cloud-config", "@"+file)
	desk.Az(t, "cloud", "set", "-n", "rehearsal")
	desk.LoginOperator(t)
	wantAccount(t, desk, house.Operator.ClientID.String(), "servicePrincipal")
	groups := strings.Fields(desk.Az(t, "ad", "group", "list", "--query", "[].displayName", "-o", "tsv"))
	if !slices.Contains(groups, "aks-cluster-admins") {
		t.Errorf("az ad group list: %v", groups)
	}
}
