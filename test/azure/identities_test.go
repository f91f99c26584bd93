package azure_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	apiclient "github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// Story 22: az aks create is refused before anything is built while the identity of
// the control plane lacks a right that it will need, and works when it has it.
func TestStory22(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	if err := os.WriteFile(filepath.Join(desk.Home, "net.json"), []byte(`{"addressSpace":{"addressPrefixes":["10.0.0.0/8"]},"subnets":[{"name":"nodes","properties":{"addressPrefix":"10.1.0.0/16"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const create = `aks create -g story22 -n c22 --assign-identity $control$ --vnet-subnet-id $subnet$ --skip-subnet-role-assignment --enable-private-cluster --private-dns-zone $zone$ --generate-ssh-keys --no-wait`
	script(t, desk, map[string]string{}, []command{
		{line: `group create -n story22 -l westeurope -o none`},
		{line: `resource create -g story22 -n net --resource-type Microsoft.Network/virtualNetworks -p @net.json --query properties.subnets[0].id -o tsv`, as: "subnet"},
		{line: `network private-dns zone create -g story22 -n privatelink.westeurope.azmk8s.io --query id -o tsv`, as: "zone"},
		{line: `identity create -g story22 -n control --query id -o tsv`, as: "control"},
		{line: `identity show -g story22 -n control --query principalId -o tsv`, as: "oid"},
		{line: create, code: 1, has: "(CustomPrivateDNSZoneMissingPermissionError) Service principal or user-assigned identity must be given permission to read and write to custom private dns zone"},
		{line: `role assignment create --assignee-object-id $oid$ --assignee-principal-type ServicePrincipal --role Reader --scope $zone$ -o none`},
		{line: create, code: 1, has: "Check access result not allowed for action Microsoft.Network/privateDnsZones/write."},
		{line: `role assignment create --assignee-object-id $oid$ --assignee-principal-type ServicePrincipal --role "Private DNS Zone Contributor" --scope $zone$ -o none`},
		{line: create, code: 1, has: "(ResourceMissingPermissionError)"},
		{line: create, code: 1, has: "Check access result not allowed for action Microsoft.Network/virtualNetworks/subnets/read."},
		{line: `group exists -n MC_story22_c22_westeurope`, has: "false"},
		{line: `aks show -g story22 -n c22`, code: 3, has: "(ResourceNotFound)"},
		{line: `role assignment create --assignee-object-id $oid$ --assignee-principal-type ServicePrincipal --role "Network Contributor" --scope $subnet$ -o none`},
		{line: create},
		{line: `aks show -g story22 -n c22 --query nodeResourceGroup -o tsv`, has: "MC_story22_c22_westeurope"},
	})
}

// Story 23: the identity of a cluster's nodes, and an image that they pull with AcrPull
// on one registry, from a registry that takes the house's tokens.
func TestStory23(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	known := map[string]string{}
	script(t, desk, known, []command{
		{line: `group create -n story23 -l westeurope -o none`},
		{line: `acr create -g story23 -n storyimages --sku Basic --query id -o tsv`, as: "acr"},
		{line: `acr create -g story23 -n storyothers --sku Basic -o none`},
		{line: `aks create -g story23 -n c23 --generate-ssh-keys --no-wait`},
		{line: `aks show -g story23 -n c23 --query identityProfile.kubeletidentity.resourceId -o tsv`, has: "/resourceGroups/MC_story23_c23_westeurope/providers/Microsoft.ManagedIdentity/userAssignedIdentities/c23-agentpool"},
		{line: `aks show -g story23 -n c23 --query identityProfile.kubeletidentity.objectId -o tsv`, as: "kubelet"},
		{line: `role assignment create --assignee-object-id $kubelet$ --assignee-principal-type ServicePrincipal --role AcrPull --scope $acr$ --query id -o tsv`, as: "right"},
		{line: `acr login -n storyimages --expose-token --query accessToken -o tsv`, as: "owner"},
	})
	ours, others := "storyimages.azurecr.io", "storyothers.azurecr.io"
	cloud := &shelf{house: house.Cloud.Transport, images: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	owner := &authn.Basic{Username: "00000000-0000-0000-0000-000000000000", Password: known["owner"]}
	image, err := random.Image(512, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := cloud.push(t, ours, owner, image); err != nil {
		t.Fatalf("the owner pushes: %v", err)
	}

	exchange := func(server string) (int, string) {
		t.Helper()
		res, err := house.Cloud.PostForm("https://"+server+"/oauth2/exchange", url.Values{"grant_type": {"access_token"}, "service": {server}, "access_token": {identityToken(t, house, known["kubelet"])}})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var out struct {
			Token string `json:"refresh_token"`
		}
		text, _ := io.ReadAll(res.Body)
		json.Unmarshal(text, &out)
		return res.StatusCode, out.Token
	}
	status, refresh := exchange(ours)
	if status != http.StatusOK {
		t.Fatalf("the exchange: %d", status)
	}
	nodes := &authn.Basic{Username: owner.Username, Password: refresh}
	got, err := cloud.pull(t, ours, nodes)
	if want, _ := image.Digest(); err != nil || got != want {
		t.Fatalf("the nodes pull %v, %v; want %v", got, err, want)
	}
	forged, err := random.Image(512, 1) // one that is there already needs no writing
	if err != nil {
		t.Fatal(err)
	}
	if err := cloud.push(t, ours, nodes, forged); err == nil {
		t.Error("the nodes push")
	}
	if _, err := cloud.pull(t, others, nodes); err == nil {
		t.Error("a token of one registry is good at another")
	}
	if status, _ := exchange(others); status != http.StatusUnauthorized {
		t.Errorf("the exchange at another registry: %d", status)
	}
	if _, err := cloud.pull(t, ours, authn.Anonymous); err == nil {
		t.Error("nobody pulls")
	}
	script(t, desk, known, []command{{line: `role assignment delete --ids $right$`}})
	if _, err := cloud.pull(t, ours, nodes); err == nil {
		t.Error("the nodes pull without the role")
	}
}

// Stories 21 to 23, as az does them by itself: the control plane may assign the identity
// that the nodes are to be, these may pull from one registry, and what its owner brought
// outlives the cluster.
func TestAzBringsTheNodesAnIdentityAndARegistry(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	desk := house.Desk(t)
	desk.LoginOperator(t)
	desk.Patience = 5 * time.Minute
	known := map[string]string{}
	script(t, desk, known, []command{
		{line: `group create -n brought -l westeurope -o none`},
		{line: `acr create -g brought -n broughtimages --sku Basic --query id -o tsv`, as: "acr"},
		{line: `identity create -g brought -n control --query id -o tsv`, as: "control"},
		{line: `identity create -g brought -n nodes --query id -o tsv`, as: "nodes"},
		{line: `aks create -g brought -n brought --assign-identity $control$ --assign-kubelet-identity $nodes$ --attach-acr broughtimages --no-ssh-key --yes -o none`},
		{line: `aks show -g brought -n brought --query "[identityProfile.kubeletidentity.resourceId, identityProfile.kubeletidentity.clientId]" -o tsv`, has: "/userAssignedIdentities/nodes"},
		{line: `identity show -g brought -n control --query principalId -o tsv`, as: "controlID"},
		{line: `identity show -g brought -n nodes --query principalId -o tsv`, as: "nodesID"},
	})
	has := rights(t, desk)
	has.want(t, "the control plane", known["controlID"], "Contributor at MC_brought_brought_westeurope", "Managed Identity Operator at nodes")
	has.want(t, "the nodes", known["nodesID"], "AcrPull at broughtimages")
	script(t, desk, known, []command{
		{line: `identity list -g MC_brought_brought_westeurope --query length(@)`, has: "0"},
		{line: `aks update -g brought -n brought --detach-acr broughtimages -o none`},
		{line: `role assignment list --scope $acr$ --query length(@)`, has: "0"},
		{line: `aks update -g brought -n brought --attach-acr $acr$ -o none`},
		{line: `role assignment list --scope $acr$ --query [].principalId -o tsv`, has: known["nodesID"]},
		{line: `aks delete -g brought -n brought --yes`},
		{line: `group exists -n MC_brought_brought_westeurope`, has: "false"},
		{line: `identity list -g brought --query "sort([].principalId)" -o tsv`, as: "left"},
	})
	if left := strings.Fields(known["left"]); len(left) != 2 || !slices.Contains(left, known["controlID"]) || !slices.Contains(left, known["nodesID"]) {
		t.Errorf("of %s and %s the cluster left %q", known["controlID"], known["nodesID"], left)
	}
	rights(t, desk).want(t, "the control plane of a cluster that is gone", known["controlID"], "Managed Identity Operator at nodes")
}

// identityToken is a token of a managed identity for Azure Resource Manager, as a
// program on a machine that has it gets one.
func identityToken(t *testing.T, house *azure.House, object string) string {
	t.Helper()
	get := func(c *http.Client, r *http.Request) string {
		t.Helper()
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var out struct {
			Token string `json:"access_token"`
		}
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil || out.Token == "" {
			t.Fatalf("%s: %d %v", r.URL.Path, res.StatusCode, err)
		}
		return out.Token
	}
	op := house.Operator
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {op.ClientID.String()}, "client_secret": {op.Secret}, "scope": {"api://gatehouse/.default"}}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, op.Authority+"/"+op.Tenant.String()+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	token := get(house.HTTP, r)
	api := &apiclient.Client{Base: op.Authority, HTTP: house.HTTP, Token: func(context.Context) (string, error) { return token, nil }}
	session, err := api.NewIdentitySession(t.Context(), wire.NewIdentitySession{Identities: []string{object}})
	if err != nil {
		t.Fatal(err)
	}
	r, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, op.Authority+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/", nil)
	r.Header.Set("Metadata", "true")
	r.Header.Set("X-IDENTITY-HEADER", session.Secret)
	return get(house.HTTP, r)
}

// A shelf is the part of a registry that keeps images, under the registries' own names:
// it takes tokens that the published keys of a registry verify, and what concerns
// tokens it leaves to the house.
type shelf struct {
	house  http.RoundTripper
	images http.Handler
}

func (s *shelf) ref(t *testing.T, server string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(server + "/team/hello:1")
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

func (s *shelf) push(t *testing.T, server string, as authn.Authenticator, image v1.Image) error {
	return remote.Write(s.ref(t, server), image, remote.WithTransport(s), remote.WithAuth(as), remote.WithContext(t.Context()))
}

// pull fetches an image with all of its layers.
func (s *shelf) pull(t *testing.T, server string, as authn.Authenticator) (v1.Hash, error) {
	image, err := remote.Image(s.ref(t, server), remote.WithTransport(s), remote.WithAuth(as), remote.WithContext(t.Context()))
	if err != nil {
		return v1.Hash{}, err
	}
	layers, err := image.Layers()
	if err != nil {
		return v1.Hash{}, err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return v1.Hash{}, err
		}
		_, err = io.Copy(io.Discard, r)
		r.Close()
		if err != nil {
			return v1.Hash{}, err
		}
	}
	return image.Digest()
}

func (s *shelf) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/v2/") || r.URL.Path == "/v2/" {
		return s.house.RoundTrip(r)
	}
	w := httptest.NewRecorder()
	server, action := r.URL.Host, "push"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		action = "pull"
	}
	if err := s.allows(server, r.Header.Get("Authorization"), action); err != nil {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%s",scope="repository:team/hello:%s"`, server, server, action))
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"`+err.Error()+`"}]}`, http.StatusUnauthorized)
	} else {
		in := r.Clone(r.Context())
		in.RequestURI = r.URL.RequestURI()
		if in.Body == nil {
			in.Body = http.NoBody
		}
		s.images.ServeHTTP(w, in)
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

// allows verifies a token as any registry would that knows nothing of the house but the
// address of its keys.
func (s *shelf) allows(server, authorization, action string) error {
	parts := strings.Split(strings.TrimPrefix(authorization, "Bearer "), ".")
	if len(parts) != 3 {
		return fmt.Errorf("no token")
	}
	var head struct{ Kid, Alg string }
	var claims struct {
		Iss, Aud string
		Exp      int64
		Access   []struct {
			Type, Name string
			Actions    []string
		}
	}
	for i, to := range []any{&head, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, to) != nil {
			return fmt.Errorf("malformed")
		}
	}
	res, err := (&http.Client{Transport: s.house}).Get("https://" + server + "/oauth2/keys")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var doc struct{ Keys []struct{ Kid, N, E string } }
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
		return err
	}
	for _, k := range doc.Keys {
		n, _ := base64.RawURLEncoding.DecodeString(k.N)
		e, _ := base64.RawURLEncoding.DecodeString(k.E)
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		if k.Kid != head.Kid || head.Alg != "RS256" || err != nil {
			continue
		}
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) != nil || claims.Iss != "Azure Container Registry" || claims.Aud != server {
			return fmt.Errorf("not a token of this registry")
		}
		for _, a := range claims.Access {
			if a.Type == "repository" && a.Name == "team/hello" && slices.Contains(a.Actions, action) {
				return nil
			}
		}
		return fmt.Errorf("not allowed to %s", action)
	}
	return fmt.Errorf("no such key")
}
