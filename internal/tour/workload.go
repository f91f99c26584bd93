package tour

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// What the stories of workloads make, and take away again.
const (
	shopIdentity = "5b090000-0000-4000-8000-000000000001"
	shopClient   = "5b090000-0000-4000-8000-000000000002" // the client id of shop-web
	shopGroup    = sample.Subscription + "/resourceGroups/rsg-aksIdentityState1"
	shopWebID    = shopGroup + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop-web"
	shopVault    = shopGroup + "/providers/Microsoft.KeyVault/vaults/teknews-shop"
	vaults       = "https://vault.azure.net"
	exchange     = "api://AzureADTokenExchange"
)

// A workload is the pods of a service account of a cluster, as the client that they ask to be.
type workload struct {
	on, account string // the cluster, and NAMESPACE/NAME
	client      string // a client id
}

var shopWeb = workload{"aks-1", "shop/web", shopClient}

// shop is the identity of the web shop, which trusts one service account of a
// cluster, and the vault that it is to read.
func shop(issuer string) string {
	return `kind: ManagedIdentity
id: ` + shopIdentity + `
clientId: ` + shopClient + `
tenant: teknews.cloud
resource: ` + shopWebID + `
displayName: shop-web
---
` + trusting(shopClient, issuer) + vault
}

// trusting is the credential by which the shop's service account is a client.
func trusting(client, issuer string) string {
	return `kind: FederatedCredential
owner: ` + client + `
name: shop-web-pods
issuer: ` + issuer + `
subject: system:serviceaccount:shop:web
audiences: ["` + exchange + `"]
---
`
}

// vault is what the shop keeps its secrets in.
const vault = `kind: Resource
type: Microsoft.KeyVault/vaults
scope: ` + shopVault + `
name: teknews-shop
location: westeurope
properties: {tenantId: ` + sample.Tenant + `, sku: {family: A, name: standard}, enableRbacAuthorization: true}
`

// web is what the team puts into its namespace, to be a client.
func web(client string) string {
	return `apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop, annotations: {azure.workload.identity/client-id: ` + client + `}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {azure.workload.identity/use: "true"}}
spec: {serviceAccountName: web, containers: [{name: app, image: nginx}]}
`
}

var podGetsToken = Story{
	Number: 27, Title: "A pod gets a token, and no secret is stored anywhere", Source: bestPractices + "; " + zeroToHero + ", section 6; " + identityOverview + ", section 4.2",
	People: []string{"ed"},
	tell: func(ctx context.Context, t *telling) {
		t.openShop(ctx, shop, shopClient, works("an identity, whom it trusts, and a vault", "3 changes made"))
		t.putSecret(ctx)
		t.kubectl(ctx, "ed", "aks-1", wire.Kube{}, says("the webhook has told the pod where its token is, and for which identity",
			"AZURE_CLIENT_ID AZURE_TENANT_ID AZURE_FEDERATED_TOKEN_FILE AZURE_AUTHORITY_HOST"),
			"get", "pod", "web", "-n", "shop", "-o", "jsonpath={.spec.containers[0].env[*].name}")
		token := t.exchange(ctx, shopWeb, exchange, works("the pod's token is exchanged for one of the identity", "Bearer token for "+vaults))
		t.read(ctx, shopWeb, token, Want{Words: "an identity without a role reads nothing", Fails: true, Has: []string{"Forbidden: ", "secrets/getSecret/action"}})
		t.operate(ctx, works("a role for this vault alone", `role "Key Vault Secrets User"`),
			"assignment", "create", "--role", "Key Vault Secrets User", "--principal", "shop-web", "--scope", shopVault)
		t.read(ctx, shopWeb, token, says("the next request is answered, with the token that it has", "hello from the vault"))
	},
}

var wrongTrust = Story{
	Number: 29, Title: "A wrong issuer, subject or audience, and which of them it is", Source: bestPractices,
	People: []string{"ed"},
	tell: func(ctx context.Context, t *telling) {
		t.openShop(ctx, shop, shopClient, works("an identity, whom it trusts, and a vault", "3 changes made"))
		t.must(t.quietly(ctx, "ed", "aks-1", "create", "serviceaccount", "batch", "-n", "shop"))
		t.must(t.quietly(ctx, "ed", "aks-1", "annotate", "serviceaccount", "batch", "-n", "shop", "azure.workload.identity/client-id="+shopClient))
		no := func(words, code string) Want { return Want{Words: words, Fails: true, Has: []string{code}} }
		t.exchange(ctx, workload{"aks-1", "shop/batch", shopClient}, exchange, no("another service account", "AADSTS700213"))
		got, err := t.stage.Operate(ctx, "doctor", "token", t.keep("batch.token", t.token(ctx, "aks-1", "shop/batch", exchange)))
		t.must(err)
		t.step(Step{Who: "operator", Command: "gatehouse doctor token batch.token"}, got, Want{Words: "the doctor says which part differs from what is trusted, and where", Fails: true,
			Has: []string{"must be: system:serviceaccount:shop:web", "the service account is batch, not web"}})
		t.exchange(ctx, shopWeb, "https://vault.azure.net", no("a token for another audience", "AADSTS700212"))
		t.exchange(ctx, workload{"aks-2", "default/default", shopClient}, exchange, no("a token of another cluster", "AADSTS700211"))
		t.operate(ctx, works("what a code means is said without a house as well", "AADSTS700211", "issuer"), "doctor", "AADSTS700211")
	},
}

// openShop makes whom the team's pods are to be, given the issuer that it is to trust, and the team's namespace.
func (t *telling) openShop(ctx context.Context, text func(issuer string) string, client string, want Want) {
	aks1, err := t.stage.Cluster(ctx, "aks-1")
	t.must(err)
	t.must(t.closeShop(ctx)) // a story that was killed left it open
	t.later(t.closeShop)
	t.apply(ctx, "shop.yaml", text(aks1.IssuerURL), want)
	t.must(t.quietly(ctx, "ed", "aks-1", "create", "namespace", "shop"))
	got, err := t.person("ed").KubectlWith(ctx, "aks-1", web(client), "apply", "-f", "-")
	t.must(err)
	t.step(Step{Who: "ed", On: "aks-1", Command: "kubectl apply -f web.yaml"}, got, says("a service account that names who it is to be, and a pod that asks for that",
		"serviceaccount/web created\npod/web created"))
}

// closeShop takes away what the stories of the shop made, as far as it is there.
func (t *telling) closeShop(ctx context.Context) error {
	if err := t.takeAway(ctx); err != nil {
		return err
	}
	return t.quietly(ctx, "ed", "aks-1", "delete", "namespace", "shop", "--ignore-not-found", "--timeout=60s")
}

// takeAway deletes the shop's identity, who asked for it, its application and its vault, with all that hangs on them.
func (t *telling) takeAway(ctx context.Context) error {
	if err := t.stage.look(ctx); err != nil {
		return err
	}
	est, at := t.stage.est, scope.MustParse(shopWebID)
	keys := []record.Key{resource.Other{Scope: scope.MustParse(shopVault)}.Key()}
	for _, q := range est.IdentityRequestsFor(at) {
		keys = append(keys, q.Key())
	}
	if m, there := est.IdentityAt(at); there {
		keys = append(keys, m.Key())
	}
	return t.delete(ctx, append(keys, record.KeyOf(record.Application, shopApp))...)
}

// delete deletes records that may be there, with all that hangs on them.
func (t *telling) delete(ctx context.Context, keys ...record.Key) error {
	var ops []estate.Op
	for _, key := range keys {
		if _, there := t.stage.est.Get(key); !there {
			continue
		}
		for _, at := range append(t.stage.est.Dependents(key), key) {
			if op := (estate.Op{Delete: at}); !slices.Contains(ops, op) {
				ops = append(ops, op)
			}
		}
	}
	if len(ops) == 0 {
		return nil
	}
	return t.stage.Commit(ctx, "the tour takes away what it made", ops...)
}

// apply has the operator apply a file.
func (t *telling) apply(ctx context.Context, name, text string, want Want) {
	got, err := t.stage.Operate(ctx, "apply", "--yes", "-f", t.keep(name, text))
	t.must(err)
	t.step(Step{Who: "operator", Command: "gatehouse apply --yes -f " + name}, got, want)
}

// keep writes a file for the operator, and returns its path.
func (t *telling) keep(name, text string) string {
	path := filepath.Join(t.stage.conf.Dir, name)
	t.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// putSecret has ed, who may, write the secret that the shop is to read.
func (t *telling) putSecret(ctx context.Context) {
	t.operate(ctx, works("ed looks after the vault", `role "Key Vault Secrets Officer"`),
		"assignment", "create", "--role", "Key Vault Secrets Officer", "--principal", "ed@teknews.cloud", "--scope", shopVault)
	t.login(ctx, "ed")
	ed := t.person("ed")
	got, err := ed.Gatehouse(ctx, "vault", "secret", "set", "teknews-shop", "greeting", "--file", t.keep("greeting.txt", "hello from the vault"), "--server", t.stage.conf.API.Base)
	t.must(err)
	t.step(Step{Who: "ed", Command: "gatehouse vault secret set teknews-shop greeting --file greeting.txt"}, got, works("a secret is kept in the vault", "greeting"))
}

// token is what a cluster gives to the pods of a service account, NAMESPACE/NAME.
func (t *telling) token(ctx context.Context, on, account, audience string) string {
	namespace, name, _ := strings.Cut(account, "/")
	// A control plane that has just started makes its own accounts in a moment.
	t.must(t.quietly(ctx, "ed", on, "wait", "--for=create", "serviceaccount/"+name, "-n", namespace, "--timeout=60s"))
	got, err := t.person("ed").Kubectl(ctx, on, "create", "token", name, "-n", namespace, "--audience", audience)
	t.must(err)
	if got.Exit != 0 {
		t.must(errors.New(got.Text))
	}
	return got.Text
}

// exchange has a pod of a service account send its token to the house, as the SDKs do. It returns what the pod got for it.
func (t *telling) exchange(ctx context.Context, w workload, audience string, want Want) string {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {w.client}, "scope": {vaults + "/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {t.token(ctx, w.on, w.account, audience)}}
	path := "/" + sample.Tenant + "/oauth2/v2.0/token"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.stage.conf.API.Base+path, strings.NewReader(form.Encode()))
	t.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
		Type        string `json:"token_type"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	out := t.send(req, &answer)
	// A token is no part of a story: it is still good when the story is told.
	out.Text = answer.Type + " token for " + vaults
	if answer.Error != "" {
		what, _, _ := strings.Cut(answer.Description, " Trace ID: ")
		out.Text = answer.Error + ": " + what
	}
	t.step(Step{Who: w.account, On: w.on, Command: "POST " + path + " client_id=" + w.client + " client_assertion=(its token for " + audience + ")"}, out, want)
	return answer.AccessToken
}

// read has a workload read the secret.
func (t *telling) read(ctx context.Context, w workload, token string, want Want) {
	const path = "/vaults/teknews-shop/secrets/greeting"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.stage.conf.API.Base+path+"?api-version=7.4", nil)
	t.must(err)
	req.Header.Set("Authorization", "Bearer "+token)
	var answer struct {
		Value string
		Error struct{ Code, Message string }
	}
	out := t.send(req, &answer)
	out.Text = answer.Value
	if answer.Error.Code != "" {
		out.Text = answer.Error.Code + ": " + strings.ReplaceAll(answer.Error.Message, "\r\n", "\n")
	}
	t.step(Step{Who: w.account, Command: "GET " + path}, out, want)
}

// send sends a request and reads its answer into v. An answer of 400 and more has
// the exit code 22, which is that of curl --fail.
func (t *telling) send(req *http.Request, v any) Outcome {
	start := time.Now()
	res, err := t.stage.http.Do(req)
	t.must(err)
	defer res.Body.Close()
	t.must(json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(v))
	out := Outcome{Took: time.Since(start)}
	if res.StatusCode >= http.StatusBadRequest {
		out.Exit = 22
	}
	return out
}
