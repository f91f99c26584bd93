package azure_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/pfx"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// aksKubeconfig puts the kubeconfig of AKS on a desk, word for word: the public
// cloud, the public name of the API server.
func aksKubeconfig(t *testing.T, desk *azure.Desk, rec resource.Cluster) {
	t.Helper()
	text := cluster.UserKubeconfig(
		cluster.Endpoint{Name: rec.Name, ResourceGroup: rec.ResourceGroup, Server: "https://" + rec.FQDN + ":443", CA: []byte(rec.CertificateAuthority)},
		cluster.Kubelogin(cluster.SignIn{Tenant: rec.Tenant}))
	if !strings.Contains(string(text), "AzurePublicCloud") || strings.Contains(string(text), "authority-host") {
		t.Fatalf("not the kubeconfig of AKS:\n%s", text)
	}
	if err := os.WriteFile(filepath.Join(desk.Home, "shell", "kube", "config"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A mode is a way in which kubelogin signs in.
type mode struct {
	law     string
	convert string                                           // flags of kubelogin convert-kubeconfig
	prepare func(d *azure.Desk)                              // the desk; nil does nothing
	run     func(d *azure.Desk, args ...string) azure.Result // runs kubectl; nil runs it with nobody near
	who     string                                           // as whom the API server knows him
	refused string                                           // part of what kubectl complains about; "" if he gets in
}

// Every way in which kubelogin signs in, from the kubeconfig of AKS to the answer
// of an API server: what a Reader may see and what he may not.
func TestEveryModeOfKubelogin(t *testing.T) { // JWT-32
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	rec := clusterNamed(t, house, "aks-1")
	at := rec.Scope.String()

	app := house.NewApp(t, "modes")
	grant(t, house, app.Principal, "Azure Kubernetes Service RBAC Reader", at)
	certificate := certify(t, house, app)
	stranger := certify(t, house, house.NewApp(t, "modes-stranger"))
	web, other := newIdentity(t, house, "modes-web"), newIdentity(t, house, "modes-other")
	own := systemIdentity(t, house, "modes-own", sample.Subscription+"/resourceGroups/MyResourceGroup/providers/Microsoft.KeyVault/vaults/modes")
	for _, id := range []principal.ID{web.ID, own.ID} {
		grant(t, house, id, "Azure Kubernetes Service RBAC Reader", at)
	}
	admin := house.AdminKubeconfig(t, "aks-1")
	house.Change(t, directory.FederatedCredential{Owner: web.ClientID, Name: "pods", Issuer: clusterNamed(t, house, "aks-1").IssuerURL,
		Subject: "system:serviceaccount:default:default", Audiences: []string{"api://AzureADTokenExchange"}})

	env := func(vars ...string) func(*azure.Desk) {
		return func(d *azure.Desk) { d.Env = append(d.Env, vars...) }
	}
	secret := func(text string) func(*azure.Desk) {
		return env("AAD_SERVICE_PRINCIPAL_CLIENT_ID="+app.AppID.String(), "AAD_SERVICE_PRINCIPAL_CLIENT_SECRET="+text)
	}
	file := func(d *azure.Desk, name string, data []byte) string {
		path := filepath.Join(d.Home, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password := func(text string) func(*azure.Desk) {
		return env("AAD_USER_PRINCIPAL_NAME=jet@teknews.cloud", "AAD_USER_PRINCIPAL_PASSWORD="+text)
	}
	identities := func(names ...string) func(*azure.Desk) {
		return func(d *azure.Desk) { d.Identify(t, names...) }
	}
	// A pod's variables, as the webhook sets them.
	pod := func(namespace string, as directory.AppID) func(*azure.Desk) {
		return func(d *azure.Desk) {
			token := kubectl(t, d, admin, "create", "token", "default", "-n", namespace, "--audience", "api://AzureADTokenExchange")
			if token.Code != 0 {
				t.Fatalf("kubectl create token: %s", token.Err)
			}
			env("AZURE_CLIENT_ID="+as.String(), "AZURE_TENANT_ID="+sample.Tenant, "AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/",
				"AZURE_FEDERATED_TOKEN_FILE="+file(d, "token", []byte(strings.TrimSpace(token.Out))))(d)
		}
	}
	device := func(d *azure.Desk, args ...string) azure.Result {
		return d.ByDevice(t, "jet@teknews.cloud", "kubectl", args...)
	}
	browser := func(d *azure.Desk, args ...string) azure.Result {
		return d.ByBrowser(t, "jet@teknews.cloud", "kubectl", args...)
	}
	const unauthorized = "You must be logged in to the server"
	another := strings.Replace(at, "aks-1", "aks-2", 1)

	for _, m := range []mode{
		{law: "a secret", convert: "-l spn", prepare: secret(app.Secret), who: app.Principal.String()},
		{law: "a secret, in version 1.0", convert: "-l spn --legacy", prepare: secret(app.Secret), who: app.Principal.String()},
		{law: "a secret, bound to a key", convert: "-l spn --pop-enabled --pop-claims u=" + at, prepare: secret(app.Secret), who: app.Principal.String()},
		{law: "a wrong secret", convert: "-l spn", prepare: secret("wrong"), refused: "AADSTS7000215"},
		{law: "a wrong secret, in version 1.0", convert: "-l spn --legacy", prepare: secret("wrong"), refused: "AADSTS7000215"},
		{law: "a secret, bound to a key for another cluster", convert: "-l spn --pop-enabled --pop-claims u=" + another, prepare: secret(app.Secret), refused: unauthorized},

		{law: "a certificate", convert: "-l spn", who: app.Principal.String(), prepare: func(d *azure.Desk) {
			env("AAD_SERVICE_PRINCIPAL_CLIENT_ID="+app.AppID.String(), "AAD_SERVICE_PRINCIPAL_CLIENT_CERTIFICATE="+file(d, "app.pem", certificate.pem))(d)
		}},
		{law: "a certificate in PKCS #12", convert: "-l spn", who: app.Principal.String(), prepare: func(d *azure.Desk) {
			env("AZURE_CLIENT_ID="+app.AppID.String(), "AZURE_CLIENT_CERTIFICATE_PATH="+file(d, "app.pfx", certificate.pfx), "AZURE_CLIENT_CERTIFICATE_PASSWORD="+pfxPassword)(d)
		}},
		{law: "a certificate, bound to a key", convert: "-l spn --pop-enabled --pop-claims u=" + at, who: app.Principal.String(), prepare: func(d *azure.Desk) {
			env("AAD_SERVICE_PRINCIPAL_CLIENT_ID="+app.AppID.String(), "AAD_SERVICE_PRINCIPAL_CLIENT_CERTIFICATE="+file(d, "app.pem", certificate.pem))(d)
		}},
		{law: "a certificate of somebody else", convert: "-l spn", refused: "AADSTS700027", prepare: func(d *azure.Desk) {
			env("AAD_SERVICE_PRINCIPAL_CLIENT_ID="+app.AppID.String(), "AAD_SERVICE_PRINCIPAL_CLIENT_CERTIFICATE="+file(d, "app.pem", stranger.pem))(d)
		}},

		{law: "a password", convert: "-l ropc", prepare: password(house.Password), who: "jet@teknews.cloud"},
		{law: "a password, bound to a key", convert: "-l ropc --pop-enabled --pop-claims u=" + at, prepare: password(house.Password), who: "jet@teknews.cloud"},
		{law: "a wrong password", convert: "-l ropc", prepare: password("wrong"), refused: "AADSTS50126"},

		{law: "the machine's own identity", convert: "-l msi", prepare: identities(own.ID.String(), web.ID.String()), who: own.ID.String()},
		{law: "an identity by its client id", convert: "-l msi --client-id " + web.ClientID.String(), prepare: identities(own.ID.String(), web.ID.String()), who: web.ID.String()},
		{law: "an identity by its resource id", convert: "-l msi --identity-resource-id " + web.Resource.String(), prepare: identities(own.ID.String(), web.ID.String()), who: web.ID.String()},
		{law: "an identity that is not the machine's", convert: "-l msi --client-id " + other.ClientID.String(), prepare: identities(web.ID.String()), refused: "isn't assigned to this resource"},
		{law: "no machine", convert: "-l msi", refused: "Identity not found"},

		{law: "a service account", convert: "-l workloadidentity", prepare: pod("default", web.ClientID), who: web.ID.String()},
		{law: "a service account of another namespace", convert: "-l workloadidentity", prepare: pod("kube-public", web.ClientID), refused: "AADSTS700213"},
		{law: "a service account for another identity", convert: "-l workloadidentity", prepare: pod("default", other.ClientID), refused: "AADSTS70025"},

		{law: "a device code, in version 1.0", convert: "-l devicecode --legacy", run: device, who: "jet@teknews.cloud"},
		{law: "a browser", convert: "-l interactive", run: browser, who: "jet@teknews.cloud"},
		{law: "a browser, bound to a key", convert: "-l interactive --pop-enabled --pop-claims u=" + at, run: browser, who: "jet@teknews.cloud"},
	} {
		t.Run(m.law, func(t *testing.T) {
			t.Parallel()
			desk := house.Desk(t)
			aksKubeconfig(t, desk, rec)
			if m.prepare != nil {
				m.prepare(desk)
			}
			if res := desk.Run(t, "kubelogin", append([]string{"convert-kubeconfig"}, strings.Fields(m.convert)...)...); res.Code != 0 {
				t.Fatalf("convert-kubeconfig: %d\n%s%s", res.Code, res.Out, res.Err)
			}
			run := func(args ...string) azure.Result { return desk.Run(t, "kubectl", args...) }
			if m.run != nil {
				run = func(args ...string) azure.Result { return m.run(desk, args...) }
			}
			// One command: kubelogin signs in anew for each where it has no keyring.
			res := run("get", "namespaces,secrets", "-o", "name")
			if m.refused != "" {
				if res.Code == 0 || !strings.Contains(res.Err, m.refused) || res.Out != "" {
					t.Errorf("gets in: %d, want %q\n%s%s", res.Code, m.refused, res.Out, res.Err)
				}
				return
			}
			if want := `Error from server (Forbidden): secrets is forbidden: User "` + m.who + `" cannot list resource "secrets" in API group "" in the namespace "default": ` +
				"User does not have access to the resource in Azure. Update role assignment to allow access.\n"; res.Code != 1 ||
				!strings.Contains(res.Out, "namespace/kube-system\n") || strings.Contains(res.Out, "secret/") || !strings.HasSuffix(res.Err, want) {
				t.Errorf("exit code %d\n%s%s\nwant the namespaces, and %s", res.Code, res.Out, res.Err, want)
			}
		})
	}
}

// newIdentity makes a user-assigned identity that may do nothing yet.
func newIdentity(t *testing.T, house *azure.House, name string) directory.ManagedIdentity {
	t.Helper()
	return putIdentity(t, house, directory.ManagedIdentity{DisplayName: name, Location: "westeurope",
		Resource: scope.MustParse(sample.Subscription + "/resourceGroups/MyResourceGroup/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name)})
}

// systemIdentity makes the identity of a resource that may do nothing yet.
func systemIdentity(t *testing.T, house *azure.House, name, of string) directory.ManagedIdentity {
	t.Helper()
	return putIdentity(t, house, directory.ManagedIdentity{DisplayName: name, Resource: scope.MustParse(of), SystemAssigned: true})
}

func putIdentity(t *testing.T, house *azure.House, id directory.ManagedIdentity) directory.ManagedIdentity {
	t.Helper()
	id.ID, id.ClientID, id.Tenant = principal.NewID(), directory.NewAppID(), house.Operator.Tenant
	house.Change(t, id)
	return id
}

const pfxPassword = "kept in a file"

// A credential is a certificate with its key, in the two forms of file.
type credential struct{ pem, pfx []byte }

// certify gives an application a certificate.
func certify(t *testing.T, house *azure.House, app azure.App) credential {
	t.Helper()
	cert, both := selfSigned(t)
	added, err := issue.AddCertificate(app.AppID, cert, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := house.Store().Commit(t.Context(), store.Change{Why: "test", Private: []store.PrivateOp{added.Op}}); err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(both)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	block, _ = pem.Decode(rest)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := pfx.Encode(pfx.Contents{Key: key, Certificates: []*x509.Certificate{parsed}}, pfxPassword)
	if err != nil {
		t.Fatal(err)
	}
	return credential{both, packed}
}
