package azure_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

const (
	ed           = "ed@teknews.cloud"
	subscription = "5b000000-0000-4000-8000-000000000001"
)

func TestAServicePrincipalSignsIn(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	desk.LoginOperator(t)
	var account struct{ ID, Name, State, TenantID string }
	desk.AzJSON(t, &account, "account", "show")
	if account.ID != subscription || account.State != "Enabled" || account.TenantID != sample.Tenant {
		t.Errorf("az account show: %+v", account)
	}
	if got := desk.Az(t, "group", "list", "--query", "[].name", "-o", "tsv"); !strings.Contains(got, "MyResourceGroup") {
		t.Errorf("az group list: %s", got)
	}
}
