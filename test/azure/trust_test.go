package azure_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// Story 29: a service account's token of the wrong issuer, for the wrong subject and for
// the wrong audience, made by kubectl and shown by az, and what the doctor says of each.
func TestStory29(t *testing.T) { // FED-01, FED-02, FED-03
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	known := map[string]string{"issuer": clusterNamed(t, house, "aks-1").IssuerURL}
	const credential = `-g story29 --identity-name story29-web -n pods --issuer $issuer$ --audiences api://AzureADTokenExchange -o none`
	script(t, desk, known, []command{
		{line: `group create -n story29 -l westeurope -o none`},
		{line: `identity create -g story29 -n story29-web --query clientId -o tsv`, as: "client"},
		{line: `identity federated-credential create --subject system:serviceaccount:story29:web ` + credential},
	})
	kubes := map[string]*azure.Desk{"aks-1": signsIn(t, house, ed, "aks-1"), "aks-2": signsIn(t, house, ed, "aks-2")}
	for _, kube := range kubes {
		wantIn(t, "ed, who is cluster-admin", kube.Run(t, "kubectl", "create", "namespace", "story29"))
		for _, account := range []string{"web", "other"} {
			wantIn(t, "ed, who is cluster-admin", kube.Run(t, "kubectl", "create", "serviceaccount", account, "-n", "story29"))
		}
	}
	made := func(t *testing.T, on, account, audience string) string {
		t.Helper()
		res := kubes[on].Run(t, "kubectl", "create", "token", account, "-n", "story29", "--audience", audience)
		wantIn(t, "ed, who is cluster-admin", res)
		return strings.TrimSpace(res.Out)
	}
	shown := func(t *testing.T, token string) azure.Result {
		t.Helper()
		// At a desk of its own: az keeps a refusal for a minute.
		return house.Desk(t).Run(t, "az", "login", "--service-principal", "-u", known["client"], "--federated-token", token, "--tenant", sample.Tenant, "--allow-no-subscriptions", "-o", "none")
	}
	const exchange = "api://AzureADTokenExchange"
	wantIn(t, "the account that is trusted", shown(t, made(t, "aks-1", "web", exchange)))
	for _, tt := range []struct{ law, on, account, audience, code, says string }{
		{"another account", "aks-1", "other", exchange, "AADSTS700213", "the service account is other, not web"},
		{"another audience", "aks-1", "web", "https://vault.azure.net", "AADSTS700212", "must be: " + exchange},
		{"another cluster", "aks-2", "web", exchange, "AADSTS700211", "issuer"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			token := made(t, tt.on, tt.account, tt.audience)
			wantLine(t, shown(t, token), 1, `ERROR: `+tt.code+`: `)
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
				t.Fatal(err)
			}
			if said := house.Find(t, "doctor", "token", file); !strings.Contains(said, "wrong") || !strings.Contains(said, tt.says) {
				t.Errorf("the doctor says:\n%s\nwant %q", said, tt.says)
			}
		})
	}
	script(t, desk, known, []command{{line: `identity federated-credential update --subject system:serviceaccount:story29:other ` + credential}})
	wantIn(t, "put right, as the doctor says, the other account", shown(t, made(t, "aks-1", "other", exchange)))
	wantLine(t, shown(t, made(t, "aks-1", "web", exchange)), 1, `ERROR: AADSTS700213: `)
}
