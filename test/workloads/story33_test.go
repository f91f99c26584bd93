package workloads_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

const arm = "https://management.azure.com"

var (
	maya = directory.User{ID: principal.NewID(), Tenant: plane.Tenant.ID, UserPrincipalName: "maya@f.example"} // of the team
	otto = directory.User{ID: principal.NewID(), Tenant: plane.Tenant.ID, UserPrincipalName: "otto@f.example"} // owns the resource group
)

// signedIn is the management API as somebody with a password.
func signedIn(p *plane.Plane, u directory.User) *client.Client {
	return &client.Client{Base: p.House.Authority(), HTTP: p.Client(), Token: func(context.Context) (string, error) {
		_, text, err := sent(p.Client(), p.House.Authority(), url.Values{
			"grant_type": {"password"}, "client_id": {"04b07795-8ddb-461a-bbee-02f9e1bf7b46"}, "username": {u.UserPrincipalName}, "password": {"correct horse battery"}, "scope": {"api://gatehouse/.default"}})
		if err != nil {
			return "", err
		}
		var answer struct {
			AccessToken string `json:"access_token"`
		}
		return answer.AccessToken, json.Unmarshal([]byte(text), &answer)
	}}
}

// asPod gets a token as a pod does, by the SDK and a token of its service account.
func asPod(p *plane.Plane, clientID, account string) (azcore.AccessToken, error) {
	cred, err := azidentity.NewClientAssertionCredential(plane.Tenant.ID.String(), clientID, func(context.Context) (string, error) { return account, nil },
		&azidentity.ClientAssertionCredentialOptions{DisableInstanceDiscovery: true, ClientOptions: azcore.ClientOptions{
			Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: p.House.Authority() + "/"}, Transport: p.Client(), Retry: policy.RetryOptions{MaxRetries: -1}}})
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return cred.GetToken(p.T.Context(), policy.TokenRequestOptions{Scopes: []string{arm + "/.default"}})
}

// TestStory33 is story 33: an application team asks for an identity; its owner
// approves; it is associated with a namespace, and later retired. JIT-01, JIT-11.
func TestStory33(t *testing.T) {
	t.Parallel()
	p := plane.Start(t, plane.Options{
		Records: []record.Record{maya, otto, azurerbac.Assignment{
			ID: azurerbac.NewAssignmentID(), Scope: scope.MustParse(plane.Group), Principal: otto.ID,
			Role: azurerbac.DefinitionID(guid.MustParse[struct{}]("8e3af657-a8ff-443c-a75c-2fe8c4bcb635"))}},
		Configure: func(c *house.Config) { c.Rehearse = true },
	})
	ctx := t.Context()
	p.Must("", "create", "namespace", "shop")
	p.Must("", "-n", "shop", "create", "serviceaccount", "web")
	account := strings.TrimSpace(p.Must("", "-n", "shop", "create", "token", "web", "--audience", "api://AzureADTokenExchange", "--duration=3h"))
	ask := wire.NewIdentityRequest{
		Identity: plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop-web",
		New:      &wire.NewIdentity{Location: "westeurope", Roles: []wire.RoleAt{{Role: "acdd72a7-3385-48ef-bd42-f606fba81ae7", Scope: plane.Group}}}, // Reader
		Cluster:  plane.At.String(), Namespace: "shop", ServiceAccounts: []string{"web"}, Lasts: "PT8H", Why: "the shop lists its resources",
	}
	request := func() (q wire.IdentityRequest) {
		p.Until("who may create pods in the namespace asks", func() (done bool) {
			var err error
			q, err = signedIn(p, maya).AskIdentity(ctx, ask)
			return err == nil
		})
		return q
	}

	if _, err := signedIn(p, maya).AskIdentity(ctx, ask); err == nil || !strings.Contains(err.Error(), "pods/write") {
		t.Fatalf("she has no part in the namespace: %v", err)
	}
	p.Must("", "-n", "shop", "create", "rolebinding", "maya", "--clusterrole=edit", "--user="+maya.UserPrincipalName)
	q := request()
	if _, err := signedIn(p, maya).ApproveRequest(ctx, q.ID, wire.AnswerToRequest{}); err == nil {
		t.Fatal("she approves it herself")
	}
	list, err := signedIn(p, otto).IdentityRequests(ctx, "to-approve")
	if err != nil || len(list.Requests) != 1 || list.Requests[0].ID != q.ID {
		t.Fatalf("the owner has to approve %+v, %v", list, err)
	}
	active, err := signedIn(p, otto).ApproveRequest(ctx, q.ID, wire.AnswerToRequest{Why: "for the morning", Lasts: "PT2H"})
	if err != nil || active.Status != "Active" {
		t.Fatalf("%+v, %v", active, err)
	}

	tok, err := asPod(p, active.ClientID, account)
	if err != nil {
		t.Fatal(err)
	}
	if status := getGroup(p, tok.Token); status != http.StatusOK {
		t.Errorf("the identity reads its resource group: %d", status)
	}
	p.Must("", "create", "namespace", "market")
	p.Must("", "-n", "market", "create", "serviceaccount", "web")
	other := strings.TrimSpace(p.Must("", "-n", "market", "create", "token", "web", "--audience", "api://AzureADTokenExchange"))
	if _, err := asPod(p, active.ClientID, other); err == nil || !strings.Contains(err.Error(), "AADSTS700213") {
		t.Errorf("the service account of another namespace: %v", err)
	}

	// Two hours later, and nobody did anything.
	p.Put(rehearsal.Knobs{ClockAhead: rehearsal.Duration(2 * time.Hour)})
	if _, err := asPod(p, active.ClientID, account); err == nil || !strings.Contains(err.Error(), "AADSTS70025") {
		t.Errorf("after its end: %v", err)
	}
	if over, err := signedIn(p, maya).IdentityRequest(ctx, q.ID); err != nil || over.Status != "Expired" {
		t.Errorf("%+v, %v", over, err)
	}
	retired, err := signedIn(p, maya).RetireRequest(ctx, q.ID, wire.AnswerToRequest{Why: "over"})
	if err != nil || len(retired.Kept) > 0 {
		t.Fatalf("%+v, %v", retired, err)
	}

	// Asked for again, and taken away by the owner in the middle of it.
	again, err := signedIn(p, otto).ApproveRequest(ctx, request().ID, wire.AnswerToRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if tok, err = asPod(p, again.ClientID, account); err != nil {
		t.Fatal(err)
	}
	if _, err := signedIn(p, otto).RetireRequest(ctx, again.ID, wire.AnswerToRequest{Why: "the shop closes"}); err != nil {
		t.Fatal(err)
	}
	if _, err := asPod(p, again.ClientID, account); err == nil || !strings.Contains(err.Error(), "AADSTS700016") {
		t.Errorf("retired with its identity: %v", err)
	}
	if status := getGroup(p, tok.Token); status != http.StatusUnauthorized {
		t.Errorf("a token of before: %d", status)
	}

	var acts []string
	for _, e := range retired.History {
		acts = append(acts, e.Act+" by "+e.By.Name+": "+e.Why)
	}
	if want := []string{"Requested by maya@f.example: the shop lists its resources", "Approved by otto@f.example: for the morning", "Retired by maya@f.example: over"}; !slices.Equal(acts, want) {
		t.Errorf("the history is %q", acts)
	}
	if left := p.House.Store().Current(); len(slices.Collect(left.Identities())) != 0 {
		t.Error("an identity is left")
	}
}

// getGroup reads the resource group through Azure Resource Manager.
func getGroup(p *plane.Plane, token string) int {
	p.T.Helper()
	req, err := http.NewRequestWithContext(p.T.Context(), http.MethodGet, p.House.Authority()+plane.Group+"?api-version=2021-04-01", nil)
	if err != nil {
		p.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := p.Client().Do(req)
	if err != nil {
		p.T.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}
