package arm_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var (
	root    = servetest.ID("20000000-0000-4000-8000-0000000000a1") // Owner at the root
	deputy  = servetest.ID("20000000-0000-4000-8000-0000000000a2") // may give out the role Reader to users in the group web
	ownerRG = servetest.ID("20000000-0000-4000-8000-0000000000a3") // Owner of the group web
	contrib = servetest.ID("20000000-0000-4000-8000-0000000000a4") // Contributor of the subscription
	alien   = servetest.ID("20000000-0000-4000-8000-0000000000a5") // of the other tenant, Owner at the root
	sub2    = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000002")
)

const (
	owner       = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
	contributor = "b24988ac-6180-42a0-ab88-20f7382dd24c"
	rbacAdmin   = "f58310d9-a9f6-439a-9e8d-f62e7b41a168"
	version     = "?api-version=2022-04-01"
	provider    = "/providers/Microsoft.Authorization"
)

func role(s string) azurerbac.DefinitionID { return azurerbac.DefinitionID(servetest.ID(s)) }
func number(n int) string                  { return fmt.Sprintf("62000000-0000-4000-8000-%012d", n) }

type house struct {
	t      testing.TB
	store  *store.Store
	state  *late
	server *servetest.Server
	client *http.Client
	key    token.SigningKey
	// ahead is how far the house's clock, and that of its store, is before the machine's.
	ahead atomic.Int64
}

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

// later moves the clock.
func (h *house) later(d time.Duration) { h.ahead.Add(int64(d)) }

// late is a store in which something else can come first.
type late struct {
	*store.Store
	first func()
	ahead *atomic.Int64
}

func (l *late) Fresh(now time.Time) error {
	return l.Store.Fresh(now.Add(-time.Duration(l.ahead.Load())))
}

func (l *late) Commit(ctx context.Context, c store.Change) (int64, error) {
	if first := l.first; first != nil {
		l.first = nil
		first()
	}
	return l.Store.Commit(ctx, c)
}

func issuer(t directory.TenantID) string { return "https://127.0.0.1:8443/" + t.String() + "/" }

func newHouse(t testing.TB, change ...func(*arm.Config)) *house {
	return newHouseOn(t, new(store.Memory), change...)
}

func newHouseOn(t testing.TB, kv store.KV, change ...func(*arm.Config)) *house {
	t.Helper()
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: sealer, Init: true, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	h := &house{t: t, store: st, state: &late{Store: st}}
	h.state.ahead = &h.ahead
	var records []record.Record
	for r := range servetest.NewWorld(t).Current().Records() {
		records = append(records, r)
	}
	person := func(id principal.ID, name string) record.Record {
		return directory.User{ID: id, Tenant: servetest.Tenant, UserPrincipalName: name}
	}
	give := func(n int, at scope.Scope, who principal.ID, what string) azurerbac.Assignment {
		return azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(number(n))), Scope: at, Principal: who, Role: role(what)}
	}
	limited := give(2, servetest.Group, deputy, rbacAdmin)
	limited.ConditionVersion = "2.0"
	limited.Condition = "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {" + servetest.Reader.String() + "} AND @Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEquals 'User'))" +
		" AND ((!(ActionMatches{'Microsoft.Authorization/roleAssignments/delete'})) OR (@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {" + servetest.Reader.String() + "}))"
	h.put(append(records, person(root, "root@teknews.cloud"), person(deputy, "deputy@teknews.cloud"), person(ownerRG, "owner@teknews.cloud"), person(contrib, "contrib@teknews.cloud"),
		directory.User{ID: alien, Tenant: servetest.Tenant2, UserPrincipalName: "alien@fabrikam.com"},
		resource.Subscription{Scope: sub2, Tenant: servetest.Tenant2},
		resource.Group{Scope: scope.MustParse(sub2.String() + "/resourceGroups/theirs"), Name: "theirs", Location: "westeurope"},
		give(1, scope.Root, root, owner), limited, give(3, servetest.Group, ownerRG, owner), give(4, servetest.Subscription, contrib, contributor), give(5, scope.Root, alien, owner),
		give(6, scope.MustParse("/providers/Microsoft.Foo/bars/b"), alien, owner),
	)...)
	now := time.Now()
	if h.key, err = token.GenerateKey(servetest.Tenant, token.AccessToken, token.ES256, now.Add(-time.Hour), now.Add(400*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	set, err := token.NewKeySet(h.key.Key)
	if err != nil {
		t.Fatal(err)
	}
	conf := arm.Config{
		State: h.state, Keys: func() token.KeySet { return set }, Base: "https://management.azure.com/", Now: h.now,
		Issuers: func(t directory.TenantID) []string { return []string{issuer(t)} },
	}
	for _, c := range change {
		c(&conf)
	}
	door, err := arm.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	h.server = servetest.Start(t, door.Handler(), false)
	h.client = h.server.Anonymous()
	return h
}

func (h *house) put(records ...record.Record) {
	h.t.Helper()
	var ops []estate.Op
	for _, r := range records {
		ops = append(ops, estate.Op{Put: r})
	}
	if _, err := h.store.Commit(context.Background(), store.Change{Ops: ops, Why: "test"}); err != nil {
		h.t.Error(err)
	}
}

func (h *house) token(who principal.ID, audience string) string {
	h.t.Helper()
	now := h.now().Truncate(time.Second)
	raw, err := token.Sign(h.key, token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuer(servetest.Tenant), Audience: audience,
		Subject: "s", Tenant: servetest.Tenant, ObjectID: who, ID: "u", IssuedAt: now, NotBefore: now, Expires: now.Add(time.Hour),
		AppID: directory.AppID(servetest.ID("04b07795-8ddb-461a-bbee-02f9e1bf7b46")), AppAuth: "0",
	}, "JWT")
	if err != nil {
		h.t.Fatal(err)
	}
	return raw
}

type reply struct {
	status int
	header http.Header
	text   string
}

func (r reply) code() string {
	var e struct {
		Error struct{ Code, Message string }
	}
	json.Unmarshal([]byte(r.text), &e)
	return e.Error.Code
}

func (h *house) call(who principal.ID, method, path, body string, header ...string) reply {
	return h.bearing(h.token(who, "https://management.azure.com/"), method, path, body, header...)
}

func (h *house) bearing(raw, method, path, body string, header ...string) reply {
	h.t.Helper()
	req, err := http.NewRequest(method, h.server.URL, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	p, query, _ := strings.Cut(path, "?")
	req.URL.Opaque, req.URL.RawQuery = "//"+req.URL.Host+p, query
	if raw != "" {
		req.Header.Set("Authorization", "Bearer "+raw)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := h.client.Do(req)
	if err != nil {
		h.t.Error(err)
		return reply{}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Error(err)
	}
	return reply{res.StatusCode, res.Header, string(text)}
}

func assign(what string, who principal.ID, more string) string {
	return `{"properties":{"roleDefinitionId":"` + servetest.Subscription.String() + provider + `/roleDefinitions/` + what + `","principalId":"` + who.String() + `"` + more + `}}`
}

func TestTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, tt := range []struct {
		name, audience string
		want           int
	}{
		{"with a slash", "https://management.azure.com/", 200},
		{"without one", "https://management.azure.com", 200},
		{"the older name", "https://management.core.windows.net/", 200},
		{"the older name without a slash", "https://management.core.windows.net", 200},
		{"a token for the house itself", "api://gatehouse", 401},
	} {
		if got := h.bearing(h.token(root, tt.audience), "GET", "/subscriptions"+version, ""); got.status != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.name, got.status, got.text, tt.want)
		}
	}
	got := h.bearing("", "GET", "/subscriptions"+version, "")
	if got.status != 401 || got.code() != "InvalidAuthenticationToken" || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("without a token: %+v", got)
	}
	if got.header.Get("x-ms-request-id") == "" || got.header.Get("x-ms-correlation-request-id") == "" {
		t.Errorf("ARM-17: no ids in %v", got.header)
	}
	if challenge := got.header.Get("WWW-Authenticate"); strings.Contains(challenge, "claims") {
		t.Errorf("without a token: %s", challenge)
	}
	// A client that keeps tokens is told to ask for another one.
	wanted := regexp.MustCompile(`^Bearer (authorization_uri="[^"]+", )?error="insufficient_claims", claims="([^"]+)"$`)
	got = h.call(servetest.Spike, "GET", "/subscriptions"+version, "")
	m := wanted.FindStringSubmatch(got.header.Get("WWW-Authenticate"))
	if got.status != 401 || m == nil {
		t.Fatalf("a disabled user: %+v", got)
	}
	if claims, err := base64.StdEncoding.DecodeString(m[2]); err != nil || !regexp.MustCompile(`^\{"access_token":\{"nbf":\{"essential":true,"value":"\d{10}"\}\}\}$`).Match(claims) {
		t.Errorf("a disabled user: %s %v", claims, err)
	}
}

// Each row is one request to a fresh estate, and what it must come to.
func TestAnswers(t *testing.T) {
	t.Parallel()
	sub, group, cluster := servetest.Subscription.String(), servetest.Group.String(), servetest.AKS1.String()
	assignments := group + provider + "/roleAssignments"
	reader := servetest.Reader.String()
	def := func(name, action, at string) string {
		return `{"properties":{"roleName":"` + name + `","description":"d","permissions":[{"actions":["` + action + `"],"notActions":[]}],"assignableScopes":["` + at + `"]}}`
	}
	check := func(who principal.ID) string {
		return `{"Subject":{"Attributes":{"ObjectId":"` + who.String() + `"}},"Actions":[{"Id":"Microsoft.ContainerService/managedClusters/pods/read","IsDataAction":true,"Attributes":null},{"Id":"Microsoft.ContainerService/managedClusters/nodes/read","IsDataAction":true},{"Id":"Microsoft.ContainerService/managedClusters/delete"}],"Resource":{"Id":"` + cluster + `/namespaces/dev"}}`
	}
	for _, tt := range []struct {
		name         string
		who          principal.ID
		method, path string
		body         string
		status       int
		has          string
	}{
		{"the api version is missing", root, "GET", "/subscriptions", "", 400, "MissingApiVersionParameter"},
		{"any api version will do", root, "GET", "/subscriptions?api-version=1999-01-01", "", 200, sub},
		{"a caller sees his tenant alone", servetest.Faye, "GET", "/tenants" + version, "", 200, `"defaultDomain":"teknews.cloud"`},
		{"who has nothing has no subscriptions", servetest.Ed, "GET", "/subscriptions" + version, "", 200, `{"value":[]}`},
		{"who has a role below has the subscription", servetest.Jet, "GET", "/subscriptions" + version, "", 200, `"state":"Enabled"`},
		{"a subscription", contrib, "GET", sub + version, "", 200, `"subscriptionId":"50000000`},
		{"a group in other letters and with a slash (ARM-03)", contrib, "GET", strings.ToUpper(group) + "/" + version, "", 200, `resourceGroups/web"`},
		{"a group is there", contrib, "HEAD", sub + "/resourcegroups/web" + version, "", 204, ""},
		{"a group is not there", contrib, "HEAD", sub + "/resourcegroups/nil" + version, "", 404, ""},
		{"a new group keeps its letters", contrib, "PUT", sub + "/resourcegroups/Ops" + version, `{"location":"West Europe"}`, 201, `resourceGroups/Ops","name":"Ops"`},
		{"a group without a location", contrib, "PUT", sub + "/resourcegroups/ops" + version, `{}`, 400, "LocationRequired"},
		{"a group in no region", contrib, "PUT", sub + "/resourcegroups/ops" + version, `{"location":"nowhere"}`, 400, "LocationNotAvailableForResourceGroup\",\"message\":\"The provided location 'nowhere' is not available for resource group. List of available regions is 'eastus,"},
		{"a group that nobody may make", servetest.Jet, "PUT", sub + "/resourcegroups/ops" + version, `{"location":"x1"}`, 403, "AuthorizationFailed"},
		{"a name that is none (ARM-05)", contrib, "PUT", sub + "/resourcegroups/a%2fb" + version, `{"location":"we"}`, 400, "InvalidResourceId"},
		{"a group name with a sign (ARM-05)", contrib, "PUT", sub + "/resourcegroups/a$b" + version, `{"location":"we"}`, 400, "1 to 90 letters, digits, hyphens, underscores, dots and brackets, the last no dot"},
		{"a group name with a blank is told the rule (ARM-05)", contrib, "PUT", sub + "/resourcegroups/a%20b" + version, `{"location":"westeurope"}`, 400, "is not that of a resource. Its name is 1 to 90 letters, digits, hyphens"},
		{"a place below a name that is none is told what names are made of (ARM-05)", contrib, "GET", sub + "/resourcegroups/r%C3%BC/providers/Microsoft.ManagedIdentity/userAssignedIdentities" + version, "", 400, "Names in it have letters from A to Z, digits and -_.()~@$!+=,: alone."},
		{"ARM-08 two slashes", root, "GET", sub + "//resourcegroups/web" + version, "", 400, "InvalidResourceId"},
		{"ARM-08 two slashes where a parent is left out are what SDKs send", root, "GET", group + "/providers/Microsoft.KeyVault//vaults/x" + version, "", 404, "ResourceNotFound"},
		{"ARM-08 but not anywhere else", root, "GET", group + "/providers//Microsoft.KeyVault/vaults/x" + version, "", 400, "InvalidResourceId"},
		{"ARM-08 and not three", root, "GET", group + "/providers/Microsoft.KeyVault///vaults/x" + version, "", 400, "InvalidResourceId"},
		{"a name that is free", contrib, "POST", sub + "/providers/Microsoft.KeyVault/checkNameAvailability" + version, `{"name":"web-secrets","type":"Microsoft.KeyVault/vaults"}`, 200, `{"nameAvailable":true}`},
		{"a name that is none", contrib, "POST", sub + "/providers/Microsoft.KeyVault/checkNameAvailability" + version, `{"name":"-","type":"Microsoft.KeyVault/vaults"}`, 200, `"nameAvailable":false`},
		{"ARM-08 dots", root, "GET", sub + "/resourcegroups/%2e%2e" + version, "", 400, "InvalidResourceId"},
		{"ARM-08 one slash too many at the beginning is what SDKs send", root, "GET", "/" + assignments + version, "", 200, `"value"`},
		{"ARM-18 TRACE", root, "TRACE", group + version, "", 405, "MethodNotAllowed"},
		{"an unknown type", root, "GET", sub + "/providers/Microsoft.Foo/bars" + version, "", 404, "microsoft.keyvault/vaults"},
		{"ARM-14 a name twice", contrib, "PUT", sub + "/resourcegroups/ops" + version, `{"location":"we","location":"ne"}`, 400, "InvalidRequestContent"},
		{"ARM-14 nesting", contrib, "PUT", sub + "/resourcegroups/ops" + version, `{"tags":` + strings.Repeat("[", 20000), 400, "InvalidRequestContent"},
		{"ARM-14 a large body", contrib, "PUT", sub + "/resourcegroups/ops" + version, `{"location":"` + strings.Repeat("x", 5<<20) + `"}`, 413, "RequestTooLarge"},
		{"ARM-06 an unknown filter", root, "GET", assignments + version + "&$filter=" + url.QueryEscape("foo() or ("+strings.Repeat("(", 100)), "", 400, "InvalidFilterInQueryString"},
		{"ARM-12 a forged token", root, "GET", assignments + version + "&$skipToken=AAAA", "", 400, "InvalidSkipToken"},
		{"ARM-07 a group of another tenant", root, "GET", sub2.String() + "/resourcegroups/theirs" + version, "", 404, "SubscriptionNotFound"},
		{"ARM-07 a group of no subscription", root, "GET", strings.Replace(sub, "01", "09", 1) + "/resourcegroups/theirs" + version, "", 404, "SubscriptionNotFound"},
		{"the words of a refusal", servetest.Faye, "GET", group + version, "", 403, "The client 'faye@teknews.cloud' with object id '" + servetest.Faye.String() + "' does not have authorization to perform action 'Microsoft.Resources/subscriptions/resourceGroups/read' over scope '" + sub + "/resourceGroups/web' or the scope is invalid. If access was recently granted, please refresh your credentials."},

		{"a role by name", root, "GET", group + provider + "/roleDefinitions" + version + "&$filter=" + url.QueryEscape("roleName eq 'azure kubernetes service rbac reader'"), "", 200, `"id":"` + sub + provider + "/roleDefinitions/" + reader},
		{"a role that is not there", root, "GET", group + provider + "/roleDefinitions/" + number(9) + version, "", 404, "RoleDefinitionDoesNotExist"},
		{"a custom role", ownerRG, "PUT", group + provider + "/roleDefinitions/" + number(9) + version, def("Ops", "Microsoft.Compute/*/read", group), 201, `"type":"CustomRole"`},
		{"a custom role for more than one's own", ownerRG, "PUT", group + provider + "/roleDefinitions/" + number(9) + version, def("Ops", "*/read", sub), 403, "LinkedAuthorizationFailed"},
		{"a custom role with a taken name", ownerRG, "PUT", group + provider + "/roleDefinitions/" + number(9) + version, def("Reader", "*/read", group), 409, "RoleDefinitionWithSameNameExists"},
		{"an operation that is none", ownerRG, "PUT", group + provider + "/roleDefinitions/" + number(9) + version, def("Ops", "*/*/*", group), 400, "InvalidActionOrNotAction"},
		{"ARM-09 a built-in role cannot be written over", root, "PUT", group + provider + "/roleDefinitions/" + owner + version, def("Mine", "*", group), 400, "RoleDefinitionUpdateNotPermitted"},
		{"a role that is not there cannot be deleted", ownerRG, "DELETE", group + provider + "/roleDefinitions/" + number(9) + version, "", 204, ""},

		{"an assignment", ownerRG, "PUT", assignments + "/" + number(9) + version, assign(reader, servetest.Faye, `,"principalType":"User","scope":"/","createdBy":"x"`), 201, `"scope":"` + sub + `/resourceGroups/web"`},
		{"an assignment to nobody (AZ-19)", ownerRG, "PUT", assignments + "/" + number(9) + version, assign(reader, servetest.ID(number(77)), ""), 400, "Principal 62000000000040008000000000000077 does not exist in the directory " + servetest.Tenant.String()},
		{"an assignment to another tenant (ARM-07)", ownerRG, "PUT", assignments + "/" + number(9) + version, assign(reader, servetest.Vicious, ""), 400, "PrincipalNotFound"},
		{"an assignment to another sort", ownerRG, "PUT", assignments + "/" + number(9) + version, assign(reader, servetest.Faye, `,"principalType":"Group"`), 400, "UnmatchedPrincipalType"},
		{"an assignment of no role", ownerRG, "PUT", assignments + "/" + number(9) + version, assign(number(8), servetest.Faye, ""), 400, "RoleDefinitionDoesNotExist"},
		{"a name that is no GUID", ownerRG, "PUT", assignments + "/x" + version, assign(reader, servetest.Faye, ""), 400, "InvalidRoleAssignmentId"},
		{"AZ-17 the same under another name", root, "PUT", cluster + provider + "/roleAssignments/" + number(9) + version, assign(reader, servetest.Jet, ""), 409, "The ID of the existing role assignment is 60000000000040008000000000000001."},
		{"AZ-17 another principal under the same name", ownerRG, "PUT", cluster + provider + "/roleAssignments/" + servetest.JetReads.String() + version, assign(reader, servetest.Faye, ""), 400, "RoleAssignmentUpdateNotPermitted"},
		{"AZ-17 another scope under the same name", ownerRG, "PUT", assignments + "/" + servetest.JetReads.String() + version, assign(reader, servetest.Jet, ""), 400, "RoleAssignmentUpdateNotPermitted"},
		{"AZ-17 another role under the same name", ownerRG, "PUT", cluster + provider + "/roleAssignments/" + servetest.JetReads.String() + version, assign(owner, servetest.Jet, ""), 201, owner},
		{"AZ-14 within the condition", deputy, "PUT", assignments + "/" + number(9) + version, assign(reader, servetest.Faye, ""), 201, reader},
		{"AZ-14 a higher role", deputy, "PUT", assignments + "/" + number(9) + version, assign(owner, servetest.Faye, ""), 403, "or an ABAC condition not fulfilled to perform action 'Microsoft.Authorization/roleAssignments/write'"},
		{"AZ-14 to another sort, whatever is said", deputy, "PUT", assignments + "/" + number(9) + version, assign(reader, servetest.Robot, `,"principalType":"User"`), 403, "AuthorizationFailed"},
		{"AZ-14 at a parent", deputy, "PUT", sub + provider + "/roleAssignments/" + number(9) + version, assign(reader, servetest.Faye, ""), 403, "AuthorizationFailed"},
		{"AZ-14 a higher role to oneself", contrib, "PUT", sub + provider + "/roleAssignments/" + number(9) + version, assign(owner, contrib, ""), 403, "AuthorizationFailed"},
		{"AZ-14 deleting outside of the condition", deputy, "DELETE", assignments + "/" + number(3) + version, "", 403, "AuthorizationFailed"},
		{"deleting answers what it was", ownerRG, "DELETE", cluster + provider + "/roleAssignments/" + servetest.JetReads.String() + version, "", 200, servetest.Jet.String()},
		{"deleting what is not there", ownerRG, "DELETE", assignments + "/" + number(99) + version, "", 204, ""},
		{"an assignment in a group that is not there", root, "PUT", sub + "/resourceGroups/nil" + provider + "/roleAssignments/" + number(9) + version, assign(reader, servetest.Faye, ""), 404, "ResourceGroupNotFound"},
		{"one's own permissions", ownerRG, "GET", group + provider + "/permissions" + version, "", 200, `"actions":["*"]`},
		{"one has no permissions", servetest.Faye, "GET", group + provider + "/permissions" + version, "", 200, `{"value":[]}`},
		{"deny assignments", root, "GET", cluster + provider + "/denyAssignments" + version + "&$filter=atScope()", "", 200, `"denyAssignmentName":"no nodes for jet"`},
		{"a deny assignment", root, "GET", cluster + provider + "/denyAssignments/" + servetest.JetDenied.String() + version, "", 200, "managedClusters/aks-1" + provider},
		{"checkaccess for oneself, in order", servetest.Jet, "POST", cluster + "/namespaces/dev" + provider + "/checkaccess" + first, check(servetest.Jet), 200, `[{"accessDecision":"Allowed"`},
		{"checkaccess for another", servetest.Robot, "POST", cluster + "/namespaces/dev" + provider + "/checkaccess" + first, check(servetest.Faye), 403, "Microsoft.Authorization/*/read"},
		{"checkaccess for another with the right", root, "POST", cluster + "/namespaces/dev" + provider + "/checkaccess" + first, check(servetest.Faye), 200, servetest.StaffWrite.String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := newHouse(t).call(tt.who, tt.method, tt.path, tt.body)
			if got.status != tt.status || !strings.Contains(got.text, tt.has) {
				t.Errorf("%s %s = %d %.2000s, want %d and %s", tt.method, tt.path, got.status, got.text, tt.status, tt.has)
			}
		})
	}
}

func TestCheckAccessNamesEachDecision(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	body := `{"Subject":{"Attributes":{"ObjectId":"` + servetest.Jet.String() + `"}},"Actions":[{"Id":"Microsoft.ContainerService/managedClusters/nodes/read","IsDataAction":true},{"Id":"Microsoft.ContainerService/managedClusters/delete"},{"Id":"Microsoft.ContainerService/managedClusters/pods/read","IsDataAction":true}]}`
	got := h.call(servetest.Jet, "POST", servetest.AKS1.String()+provider+"/checkaccess"+first, body)
	var list []struct{ AccessDecision, ActionID string }
	if err := json.Unmarshal([]byte(got.text), &list); err != nil || len(list) != 3 {
		t.Fatalf("%d %s: %v", got.status, got.text, err)
	}
	for i, want := range []string{"Denied", "NotAllowed", "Allowed"} {
		if list[i].AccessDecision != want {
			t.Errorf("%d: %+v, want %s", i, list[i], want)
		}
	}
}

// ids returns the names in a list.
func (h *house) ids(who principal.ID, path string) (names []string, next string) {
	h.t.Helper()
	got := h.call(who, "GET", path, "")
	var list struct {
		Value    []struct{ Name string }
		NextLink string
	}
	if err := json.Unmarshal([]byte(got.text), &list); err != nil || got.status != 200 {
		h.t.Fatalf("%s: %d %s", path, got.status, got.text)
	}
	for _, v := range list.Value {
		names = append(names, v.Name)
	}
	return names, list.NextLink
}

func TestListsOfAssignments(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, tt := range []struct {
		name  string
		who   principal.ID
		at    scope.Scope
		query string
		want  []string
	}{
		{"without a filter: above, at and below, and none of another tenant (ARM-07, ARM-11)", root, servetest.Group, "", []string{servetest.JetReads.String(), servetest.StaffWrite.String(), number(1), number(2), number(3), number(4)}},
		{"at the scope and above", root, servetest.Group, "atScope()", []string{number(1), number(2), number(3), number(4)}},
		{"of one principal", root, servetest.Subscription, "principalId eq '" + servetest.Staff.String() + "'", []string{servetest.StaffWrite.String()}},
		{"at the root, which tenants share (ARM-07)", root, scope.MustParse("/providers/Microsoft.Foo/bars/b"), "", []string{number(1)}},
		{"through a group", root, servetest.Subscription, "assignedTo('" + servetest.Faye.String() + "')", []string{servetest.StaffWrite.String()}},
		{"through a group, but not below", root, servetest.Subscription, "assignedTo('" + servetest.Faye.String() + "') and atScope()", nil},
	} {
		got, _ := h.ids(tt.who, tt.at.String()+provider+"/roleAssignments"+version+"&$filter="+url.QueryEscape(tt.query))
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPagesAreWhole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var groups []record.Record
	for i := range 1001 {
		name := fmt.Sprintf("g%04d", i)
		groups = append(groups, resource.Group{Scope: scope.MustParse(servetest.Subscription.String() + "/resourceGroups/" + name), Name: name, Location: "we"})
	}
	h.put(groups[:500]...)
	h.put(groups[500:]...)
	first, next := h.ids(contrib, servetest.Subscription.String()+"/resourcegroups"+version)
	rest, ok := strings.CutPrefix(next, "https://management.azure.com")
	if len(first) != 1000 || !ok {
		t.Fatalf("%d groups, next %q", len(first), next)
	}
	second, next := h.ids(contrib, rest)
	if len(second) != 2 || second[0] != "g1000" || next != "" {
		t.Errorf("then %v, next %q", second, next)
	}
}

func TestAGroupGoesWithAllThatIsInIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for c := range h.store.Current().Clusters() {
		c.Attached = true // those that the house runs take their time: see TestAGroupWaitsForItsClusters
		h.put(c)
	}
	path := servetest.Group.String() + version
	if got := h.call(servetest.Jet, "DELETE", path, ""); got.status != 403 {
		t.Fatalf("%+v", got)
	}
	if got := h.call(contrib, "DELETE", path, ""); got.status != 403 { // there is a deny assignment in it
		t.Fatalf("%+v", got)
	}
	// ARM-15: something comes into the group between the answer and the write.
	late := azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(number(50))), Scope: servetest.AKS2, Principal: servetest.Jet, Role: servetest.Reader}
	h.state.first = func() { h.put(late) }
	if got := h.call(ownerRG, "DELETE", path, ""); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	est := h.store.Current()
	for rec := range est.Records() {
		if strings.Contains(rec.Key().String(), "/resourcegroups/web") {
			t.Errorf("%s is left", rec.Key())
		}
	}
	if _, ok := est.Assignment(late.ID); ok {
		t.Error("an orphan is left")
	}
	if _, ok := est.ManagedIdentity(servetest.Identity); ok {
		t.Error("the identity is left")
	}
}

// WH-13 for this door: what took the caller's right came first.
func TestARightEndsBetweenTheAnswerAndTheWrite(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.state.first = func() {
		h.put(directory.User{ID: ownerRG, Tenant: servetest.Tenant, UserPrincipalName: "owner@teknews.cloud", Disabled: true})
	}
	got := h.call(ownerRG, "PUT", servetest.Group.String()+provider+"/roleAssignments/"+number(9)+version, assign(owner, servetest.Faye, ""))
	if got.status != 403 {
		t.Errorf("%+v", got)
	}
}

// ARM-02: of many identical writes at once none fails, and one assignment is there.
func TestManyWritesOfOneAssignment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			got := h.call(ownerRG, "PUT", servetest.Group.String()+provider+"/roleAssignments/"+number(9)+version, assign(owner, servetest.Faye, ""))
			if got.status != 201 {
				t.Errorf("%d %s", got.status, got.text)
			}
		})
	}
	wg.Wait()
	if n := len(h.store.Current().AssignmentsOf(servetest.Faye)); n != 1 {
		t.Errorf("%d assignments", n)
	}
}

// ARM-01
func TestPreconditions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.put(resource.Group{Scope: servetest.Group, Name: "web", Location: "westeurope"})
	for _, tt := range []struct {
		header, value, group string
		want                 int
	}{
		{"If-None-Match", "*", "web", 412},
		{"If-None-Match", "*", "new", 201},
		{"If-Match", `"old"`, "web", 412},
		{"If-Match", "*", "web", 200},
		{"If-Match", "*", "none", 412},
	} {
		got := h.call(contrib, "PUT", servetest.Subscription.String()+"/resourceGroups/"+tt.group+version, `{"location":"westeurope"}`, tt.header, tt.value)
		if got.status != tt.want {
			t.Errorf("%s: %s of %s = %d %s, want %d", tt.header, tt.value, tt.group, got.status, got.text, tt.want)
		}
	}
}

func scopeOf(text string) scope.Scope { return scope.MustParse(text) }

func sortedKeys(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

// AZ-18
func TestTheLastOwnerStays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sub := servetest.Subscription.String()
	at := sub + provider + "/roleAssignments/"
	give := func(n int, who principal.ID) azurerbac.Assignment {
		return azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(number(n))), Scope: servetest.Subscription, Principal: who, Role: role(owner)}
	}
	ended := give(92, servetest.Jet)
	ended.NotAfter = time.Now().Add(time.Hour)
	h.put(give(90, servetest.Faye), give(91, servetest.Spike), ended, give(93, servetest.Admins)) // Spike is disabled, nobody is in Admins
	h.walk([]step{
		{"the only owner who can sign in for good", root, "DELETE", at + number(90), "", 400, "Cannot delete the last RBAC admin assignment"},
		{"is not made a reader either", root, "PUT", at + number(90), assign(servetest.Reader.String(), servetest.Faye, ""), 400, "CannotDeleteLastRbacAdminAssignment"},
		{"one who cannot sign in may go", root, "DELETE", at + number(91), "", 200, ""},
		{"the owner of the root as well stays", root, "DELETE", provider + "/roleAssignments/" + number(1), "", 400, "CannotDeleteLastRbacAdminAssignment"},
		{"the owner of a group may go", root, "DELETE", servetest.Group.String() + provider + "/roleAssignments/" + number(3), "", 200, ""},
	})
	// Two owners take each other's role away at once.
	h.put(give(94, contrib))
	var wg sync.WaitGroup
	codes := make([]int, 2)
	for i, who := range []principal.ID{servetest.Faye, contrib} {
		wg.Go(func() { codes[i] = h.call(who, "DELETE", at+number(94-4*i)+version, "").status })
	}
	wg.Wait()
	left := 0
	for _, a := range h.store.Current().AssignmentsAt(servetest.Subscription) {
		if a.Role == role(owner) && (a.Principal == servetest.Faye || a.Principal == contrib) {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d owners are left, the answers were %v", left, codes)
	}
}

func TestListsCanBeCutAndAsked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	base := servetest.Group.String() + provider + "/roleAssignments" + version
	seen := make(map[string]bool)
	pages := 0
	for next := base + "&$top=4"; next != ""; pages++ {
		var names []string
		names, next = h.ids(root, strings.TrimPrefix(next, "https://management.azure.com"))
		if len(names) > 4 || pages > 9 {
			t.Fatalf("page %d has %v", pages, names)
		}
		for _, n := range names {
			seen[n] = true
		}
	}
	if pages != 2 || len(seen) != 6 {
		t.Errorf("%d pages, %v", pages, seen)
	}
	for query, want := range map[string]string{
		"$top=0": "InvalidTopParameter",
		"$top=x": "InvalidTopParameter",
		"$filter=principalId eq " + servetest.Staff.String(): servetest.StaffWrite.String(),
		"tenantId=" + servetest.Tenant2.String():             `{"value":[]}`,
	} {
		if got := h.call(root, "GET", base+"&"+strings.ReplaceAll(query, " ", "%20"), ""); !strings.Contains(got.text, want) {
			t.Errorf("%s: %d %.300s, want %s", query, got.status, got.text, want)
		}
	}
}
