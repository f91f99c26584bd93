package azure_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

const (
	penny        = "penny@teknews.cloud" // Contributor
	subscription = "5b000000-0000-4000-8000-000000000001"
)

// An account is what az shows of one.
type account struct {
	ID, Name, State, TenantID string
	User                      struct{ Name, Type string }
}

// wantAccount checks whom az has signed in, and that he reaches the API.
func wantAccount(t *testing.T, desk *azure.Desk, name, kind string) {
	t.Helper()
	var got account
	desk.AzJSON(t, &got, "account", "show")
	want := account{ID: subscription, Name: "teknews production", State: "Enabled", TenantID: sample.Tenant}
	want.User.Name, want.User.Type = name, kind
	if got != want {
		t.Errorf("az account show: %+v, want %+v", got, want)
	}
	if groups := desk.Az(t, "group", "list", "--query", "[].name", "-o", "tsv"); !strings.Contains(groups, "MyResourceGroup") {
		t.Errorf("az group list as %s: %q", name, groups)
	}
}

func TestAServicePrincipalSignsInBySecret(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	wantAccount(t, desk, house.Operator.ClientID.String(), "servicePrincipal")
}

func TestAServicePrincipalSignsInByCertificate(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	app := house.NewApp(t, "certified")
	grant(t, house, app.Principal, "Reader", sample.Subscription)
	text := certify(t, house, app).pem
	desk := house.Desk(t)
	file := filepath.Join(desk.Home, "cert.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	desk.Az(t, "login", "--service-principal", "-u", app.AppID.String(), "-p", file, "--tenant", sample.Tenant)
	wantAccount(t, desk, app.AppID.String(), "servicePrincipal")
}

func TestAPersonSignsInByPassword(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	desk.Login(t, penny)
	wantAccount(t, desk, penny, "user")
}

func TestAPersonSignsInByDeviceCode(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	res := desk.ByDevice(t, penny, "az", "login", "--use-device-code")
	if res.Code != 0 {
		t.Fatalf("%d\n%s%s", res.Code, res.Out, res.Err)
	}
	// The page must be one that a browser outside of the shell reaches.
	if page := house.Authority() + issue.DevicePage; !strings.Contains(res.Err, page) {
		t.Errorf("az names another page than %s:\n%s", page, res.Err)
	}
	wantAccount(t, desk, penny, "user")
}

func TestAPersonSignsInInTheBrowser(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	if res := desk.ByBrowser(t, penny, "az", "login"); res.Code != 0 {
		t.Fatalf("%d\n%s%s", res.Code, res.Out, res.Err)
	}
	wantAccount(t, desk, penny, "user")
}

// One desk, many commands: each costs a second or two.
func TestAccountsTokensAndGroups(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	desk.Login(t, penny)

	var accounts []account
	if desk.AzJSON(t, &accounts, "account", "list"); len(accounts) != 1 || accounts[0].ID != subscription {
		t.Errorf("az account list: %+v", accounts)
	}
	for _, resource := range []string{"https://management.core.windows.net/", "https://graph.microsoft.com", "6dae42f8-4368-4678-94ff-3960e28e3630", "https://vault.azure.net"} {
		var token struct{ AccessToken, Tenant, TokenType string }
		desk.AzJSON(t, &token, "account", "get-access-token", "--resource", resource)
		claims := claimsOf(t, token.AccessToken)
		if claims.Audience != resource || claims.Issuer != "https://sts.windows.net/"+sample.Tenant+"/" || claims.UPN != penny {
			t.Errorf("token for %s: %+v", resource, claims)
		}
	}
	if name := desk.Az(t, "ad", "signed-in-user", "show", "--query", "userPrincipalName", "-o", "tsv"); name != penny {
		t.Errorf("az ad signed-in-user show: %q", name)
	}

	desk = azure.Shared(t, azure.Options{}).Desk(t)
	desk.LoginOperator(t)
	var group struct {
		ID, Name, Location string
		Properties         struct{ ProvisioningState string }
	}
	desk.AzJSON(t, &group, "group", "create", "-n", "Rehearsal", "-l", "westeurope")
	if want := "/subscriptions/" + subscription + "/resourceGroups/Rehearsal"; group.ID != want || group.Location != "westeurope" || group.Properties.ProvisioningState != "Succeeded" {
		t.Errorf("az group create: %+v, want the id %s", group, want)
	}
	if desk.AzJSON(t, &group, "group", "show", "-n", "REHEARSAL"); group.Name != "Rehearsal" {
		t.Errorf("az group show: %+v", group)
	}
	if names := strings.Fields(desk.Az(t, "group", "list", "--query", "[].name", "-o", "tsv")); !slices.Contains(names, "Rehearsal") {
		t.Errorf("az group list: %v", names)
	}
	if there := desk.Az(t, "group", "exists", "-n", "Rehearsal"); there != "true" {
		t.Errorf("az group exists: %s", there)
	}
	desk.Az(t, "group", "delete", "-n", "Rehearsal", "--yes")
	if there := desk.Az(t, "group", "exists", "-n", "Rehearsal"); there != "false" {
		t.Errorf("az group exists after az group delete: %s", there)
	}
	gone := desk.Run(t, "az", "group", "show", "-n", "Rehearsal")
	wantLine(t, gone, 3, `ERROR: \(ResourceGroupNotFound\) Resource group '(?i:Rehearsal)' could not be found\.`)
}

func TestWhoIsWrongIsToldSoInOneLine(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	app := house.NewApp(t, "nobody")
	id := app.AppID.String()
	for _, tt := range []struct {
		law  string
		args []string
		want string
	}{
		{"a wrong password", []string{"-u", penny, "-p", "wrong"}, `ERROR: AADSTS50126: Error validating credentials due to invalid username or password\.`},
		{"a wrong secret", []string{"--service-principal", "-u", id, "-p", "wrong", "--tenant", sample.Tenant}, `ERROR: AADSTS7000215: Invalid client secret provided\.`},
		{"an unknown application", []string{"--service-principal", "-u", "00000000-0000-4000-8000-00000000dead", "-p", "x", "--tenant", sample.Tenant}, `ERROR: AADSTS700016: Application with identifier '00000000-0000-4000-8000-00000000dead' was not found`},
		{"no role anywhere", []string{"--service-principal", "-u", id, "-p", app.Secret, "--tenant", sample.Tenant}, `ERROR: No subscriptions found for ` + id + `\.`},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			wantLine(t, house.Desk(t).Run(t, "az", append([]string{"login"}, tt.args...)...), 1, tt.want)
		})
	}
	t.Run("an unknown tenant", func(t *testing.T) {
		t.Parallel()
		res := house.Desk(t).Run(t, "az", "login", "--service-principal", "-u", id, "-p", app.Secret, "--tenant", "nowhere.example")
		wantLine(t, res, 1, `ERROR: Failed to resolve tenant 'nowhere\.example'\.`)
		if !strings.Contains(res.Err, "AADSTS90002: Tenant 'nowhere.example' not found.") {
			t.Errorf("az does not say why:\n%s", res.Err)
		}
	})
}

// wantLine wants a command to fail with an error in one line, and no traceback.
func wantLine(t *testing.T, res azure.Result, code int, pattern string) {
	t.Helper()
	var errors []string
	for line := range strings.Lines(res.Err) {
		if strings.HasPrefix(line, "ERROR: ") {
			errors = append(errors, line)
		}
	}
	if res.Code != code || len(errors) != 1 || !regexp.MustCompile(`^`+pattern).MatchString(errors[0]) || strings.Contains(res.Err, "Traceback") {
		t.Errorf("exit code %d, want %d and one line like %s:\n%s", res.Code, code, pattern, res.Err)
	}
}

// grant gives somebody a role.
func grant(t *testing.T, house *azure.House, who principal.ID, role, at string) {
	t.Helper()
	def, ok := estate.New().DefinitionByName(role)
	if !ok {
		t.Fatalf("there is no role %s", role)
	}
	house.Change(t, azurerbac.Assignment{ID: azurerbac.NewAssignmentID(), Scope: scope.MustParse(at), Principal: who, Role: def.ID})
}

// selfSigned makes a certificate, and a file of it with its key as az wants it.
func selfSigned(t *testing.T) (cert, both []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "certified"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, bytes.Join([][]byte{pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), cert}, nil)
}
