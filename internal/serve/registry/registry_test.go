package registry_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/registry"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

const (
	pullRole   = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
	pushRole   = "8311e382-0749-4cb8-b61a-304f252e45ec"
	deleteRole = "c2f4ef07-c644-48eb-af81-4b1b4947fb11"
	readerRole = "b93aa761-3e63-49ed-ac28-beffa264f7ac" // Container Registry Repository Reader
	listerRole = "bfdb9389-c9a5-478a-bb2f-ba9ca092c3c7" // Container Registry Repository Catalog Lister
	arm        = "https://management.azure.com/"
)

var (
	pusher = servetest.ID("20000000-0000-4000-8000-0000000000c1")
	admin  = servetest.ID("20000000-0000-4000-8000-0000000000c2") // AcrPull and AcrDelete
	alien  = servetest.ID("20000000-0000-4000-8000-0000000000c3") // AcrPull at the root, of the other tenant
	barred = servetest.ID("20000000-0000-4000-8000-0000000000c4") // AcrPull, and denied
	ids    = map[principal.ID]string{pusher: "pusher", admin: "admin", alien: "alien", barred: "barred"}
)

func at(name string) scope.Scope {
	return scope.MustParse(servetest.Group.String() + "/providers/Microsoft.ContainerRegistry/registries/" + name)
}

func issuer(t directory.TenantID) string { return "https://login.example/" + t.String() + "/" }

// A house is a door with the registries one, two (where nobody has a role), modern
// (rights for single repositories), strict (no tokens of ARM), private and walled,
// and three whose properties have a value that is not known here.
type house struct {
	t     *testing.T
	world *servetest.World
	door  *registry.Door
	now   time.Time
	dead  bool // whether sign-ins were ended
	busy  bool

	access, foreign, registry, registry2 token.SigningKey

	mu     sync.Mutex
	events []serve.Event
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, world: servetest.NewWorld(t), now: time.Now()}
	n := 0
	give := func(where scope.Scope, who principal.ID, role string) azurerbac.Assignment {
		n++
		return azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(fmt.Sprintf("62000000-0000-4000-8000-%012d", n))), Scope: where, Principal: who, Role: azurerbac.DefinitionID(servetest.ID(role))}
	}
	some := give(at("modern"), servetest.Identity, readerRole)
	some.ConditionVersion = "2.0"
	some.Condition = "((!(ActionMatches{'Microsoft.ContainerRegistry/registries/repositories/content/read'})) OR (@Request[Microsoft.ContainerRegistry/registries/repositories:name] StringEqualsIgnoreCase 'team/app'))"
	for id, name := range ids {
		tenant := servetest.Tenant
		if id == alien {
			tenant = servetest.Tenant2
		}
		h.world.Put(directory.User{ID: id, Tenant: tenant, UserPrincipalName: name + "@teknews.cloud"})
	}
	for name, properties := range map[string]string{
		"one": `{}`, "two": `{}`, "modern": `{"roleAssignmentMode":"AbacRepositoryPermissions"}`, "private": `{"publicNetworkAccess":"Disabled"}`,
		"walled": `{"networkRuleSet":{"defaultAction":"Deny"}}`, "strict": `{"policies":{"azureADAuthenticationAsArmPolicy":{"status":"disabled"}}}`,
		"perimeter": `{"publicNetworkAccess":"SecuredByPerimeter"}`, "fenced": `{"networkRuleSet":{"defaultAction":"Prompt"}}`, "newer": `{"roleAssignmentMode":"Other"}`,
		"unclear": `{"policies":{"azureADAuthenticationAsArmPolicy":{"status":"off"}}}`,
	} {
		p, err := resource.ParseProperties([]byte(properties))
		if err != nil {
			t.Fatal(err)
		}
		h.world.Put(resource.Other{Scope: at(name), Name: name, Type: "Microsoft.ContainerRegistry/registries", Location: "westeurope", Properties: p},
			give(at(name), barred, pullRole))
	}
	h.world.Put(
		give(at("one"), servetest.Identity, pullRole), give(at("one"), servetest.Robot, pullRole), give(at("one"), pusher, pushRole), give(at("one"), admin, pullRole), give(at("one"), admin, deleteRole),
		give(at("strict"), servetest.Identity, pullRole), give(at("private"), servetest.Identity, pullRole), give(at("walled"), servetest.Identity, pullRole),
		give(at("perimeter"), servetest.Identity, pullRole), give(at("fenced"), servetest.Identity, pullRole), give(at("newer"), servetest.Identity, pullRole), give(at("unclear"), servetest.Identity, pullRole),
		give(scope.Root, alien, pullRole), some, give(at("modern"), pusher, pushRole), give(at("modern"), admin, listerRole),
		azurerbac.DenyAssignment{ID: azurerbac.DenyAssignmentID(servetest.ID("61000000-0000-4000-8000-0000000000c1")), Name: "no images", Scope: servetest.Group, Principals: []principal.ID{barred},
			Permissions: []azurerbac.Permission{{Actions: []string{"Microsoft.ContainerRegistry/*"}}}},
	)
	key := func(tenant directory.TenantID, purpose token.Purpose) token.SigningKey {
		k, err := token.GenerateKey(tenant, purpose, token.ES256, h.now.Add(-time.Hour), h.now.Add(1000*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	h.access, h.foreign = key(servetest.Tenant, token.AccessToken), key(servetest.Tenant2, token.AccessToken)
	h.registry, h.registry2 = key(servetest.Tenant, token.RegistryToken), key(servetest.Tenant2, token.RegistryToken)
	set, err := token.NewKeySet(h.access.Key, h.foreign.Key, h.registry.Key, h.registry2.Key)
	if err != nil {
		t.Fatal(err)
	}
	h.door, err = registry.New(registry.Config{
		State: h.world, Keys: func() token.KeySet { return set }, Issuers: func(t directory.TenantID) []string { return []string{issuer(t)} },
		Sign: func(_ context.Context, c token.RegistryClaims) (string, error) {
			if h.busy {
				return "", keys.ErrBusy
			}
			return token.SignRegistry(h.registry, c)
		},
		Live:   func(context.Context, token.Claims) (bool, error) { return !h.dead, nil },
		Events: func(e serve.Event) { h.mu.Lock(); defer h.mu.Unlock(); h.events = append(h.events, e) },
		Now:    func() time.Time { return h.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// entra is an access token of the directory.
func (h *house) entra(key token.SigningKey, who principal.ID, audience string) string {
	h.t.Helper()
	return h.lasting(time.Hour, key, who, audience)
}

func (h *house) lasting(life time.Duration, key token.SigningKey, who principal.ID, audience string) string {
	h.t.Helper()
	now := h.now.Truncate(time.Second)
	raw, err := token.Sign(key, token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuer(key.Tenant), Audience: audience, Subject: "s", Tenant: key.Tenant, ObjectID: who, ID: "u",
		IssuedAt: now, NotBefore: now, Expires: now.Add(life), AppID: directory.AppID(servetest.ID("04b07795-8ddb-461a-bbee-02f9e1bf7b46")), AppAuth: "0",
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

func (r reply) in(name string) string {
	var m map[string]any
	json.Unmarshal([]byte(r.text), &m)
	s, _ := m[name].(string)
	return s
}

func (h *house) do(name string, r *http.Request) reply {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.door.Registry(name).ServeHTTP(w, r)
	if w.Header().Get("Cache-Control") != "no-store" {
		h.t.Errorf("%s may be kept: %v", r.URL.Path, w.Header())
	}
	return reply{w.Code, w.Header(), w.Body.String()}
}

// form posts a form whose service is the registry's.
func (h *house) form(name, path string, pairs ...string) reply {
	v := url.Values{"service": {name + ".azurecr.io"}}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return h.do(name, r)
}

func (h *house) exchange(name, entra string) reply {
	return h.form(name, "/oauth2/exchange", "grant_type", "access_token", "access_token", entra)
}

// refresh is a refresh token of a registry.
func (h *house) refresh(name string, who principal.ID) string {
	h.t.Helper()
	got := h.exchange(name, h.entra(h.access, who, arm))
	if got.status != http.StatusOK || got.in("refresh_token") == "" {
		h.t.Fatalf("exchange at %s: %d %s", name, got.status, got.text)
	}
	return got.in("refresh_token")
}

func (h *house) token(name, refresh, scope string) reply {
	return h.form(name, "/oauth2/token", "grant_type", "refresh_token", "refresh_token", refresh, "scope", scope)
}

// rights are what an access token of a registry says, in one line.
func (h *house) rights(name string, got reply) string {
	h.t.Helper()
	if got.status != http.StatusOK {
		return fmt.Sprint(got.status)
	}
	set, _ := token.NewKeySet(h.registry.Key)
	c, err := token.VerifyRegistry(got.in("access_token"), set, servetest.Tenant, name+".azurecr.io", token.RegistryAccess, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	var all []string
	for _, r := range c.Access {
		all = append(all, r.Type+":"+r.Name+":"+strings.Join(r.Actions, ","))
	}
	return strings.Join(all, " ")
}

// Story 23: each row is what somebody asks for, and what the token says.
func TestATokenSaysWhatItsHolderMayDo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, tt := range []struct {
		law, registry string
		who           principal.ID
		scope, want   string
	}{
		{"who may pull pulls", "one", servetest.Identity, "repository:hello:pull", "repository:hello:pull"},
		{"a service principal, too", "one", servetest.Robot, "repository:hello:pull", "repository:hello:pull"},
		{"who may pull does not push", "one", servetest.Identity, "repository:hello:push", "401"},
		{"of two actions the one that he may", "one", servetest.Identity, "repository:hello:push,pull", "repository:hello:pull"},
		{"who may push does both", "one", pusher, "repository:team/app:pull,push", "repository:team/app:pull,push"},
		{"who may push does not delete", "one", pusher, "repository:hello:delete", "401"},
		{"who may delete deletes", "one", admin, "repository:hello:delete", "repository:hello:delete"},
		{"everything is what he may of everything", "one", admin, "repository:hello:*", "repository:hello:delete,metadata_read,pull"},
		{"an action is there once", "one", servetest.Identity, "repository:hello:pull,pull", "repository:hello:pull"},
		{"two repositories", "one", servetest.Identity, "repository:a:pull repository:b:pull", "repository:a:pull repository:b:pull"},
		{"the catalog", "one", servetest.Identity, "registry:catalog:*", "registry:catalog:*"},
		{"no scope at all", "one", servetest.Identity, "", ""},
		{"an action that nobody has", "one", admin, "repository:hello:own", "401"},
		{"a type that nobody has", "one", admin, "plugin:hello:pull", "401"},
		{"another name of the registry", "one", admin, "registry:everything:*", "401"},
		{"ARM-05: a name that is none", "one", admin, "repository:../two:pull", "400"},
		{"ARM-05: a name in capitals", "one", admin, "repository:Hello:pull", "400"},
		{"ARM-05: no actions", "one", admin, "repository:hello", "400"},
		{"ARM-05: a name that is too long", "one", admin, "repository:" + strings.Repeat("a", 256) + ":pull", "400"},
		{"ARM-05: too many scopes", "one", admin, strings.Repeat("repository:a:pull ", 51), "400"},
		{"rights for single repositories: the one that a condition names", "modern", servetest.Identity, "repository:team/app:pull", "repository:team/app:pull"},
		{"and no other", "modern", servetest.Identity, "repository:team/other:pull", "401"},
		{"and no pushing", "modern", servetest.Identity, "repository:team/app:push", "401"},
		{"AcrPush does not count there", "modern", pusher, "repository:team/app:pull,push", "401"},
		{"nor is the catalog among them", "modern", servetest.Identity, "registry:catalog:*", "401"},
		{"the catalog has a role of its own there", "modern", admin, "registry:catalog:*", "registry:catalog:*"},
	} {
		if got := h.rights(tt.registry, h.token(tt.registry, h.refresh(tt.registry, tt.who), tt.scope)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.law, got, tt.want)
		}
	}
}

// A refusal names what is missing, in the shape of registries.
func TestARefusalSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	got := h.token("one", h.refresh("one", servetest.Identity), "repository:hello:push")
	const want = `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required, visit https://aka.ms/acr/authorization for more information.","detail":[{"Type":"repository","Name":"hello","Action":"push"}]}]}`
	if got.text != want {
		t.Errorf("%s", got.text)
	}
	h.busy = true
	if got := h.exchange("one", h.entra(h.access, servetest.Identity, arm)); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("busy: %d %s", got.status, got.text)
	}
}

// Who gets a refresh token, and who does not.
func TestWhoIsGivenARefreshToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	robot, _ := token.SignRegistry(h.registry, token.RegistryClaims{Grant: token.RegistryRefresh, Registry: "one.azurecr.io", Tenant: servetest.Tenant, ObjectID: servetest.Identity, ID: "j", SignIn: "u", IssuedAt: h.now, Expires: h.now.Add(time.Hour)})
	for _, tt := range []struct {
		law, registry, token string
		want                 int
	}{
		{"who may pull", "one", h.entra(h.access, servetest.Identity, arm), 200},
		{"with a token for registries", "one", h.entra(h.access, servetest.Identity, "https://containerregistry.azure.net"), 200},
		{"who has no role at that registry", "two", h.entra(h.access, servetest.Identity, arm), 401},
		{"who has no role at all", "one", h.entra(h.access, servetest.Faye, arm), 401},
		{"whom a deny assignment forbids", "one", h.entra(h.access, barred, arm), 401},
		{"who is disabled", "one", h.entra(h.access, servetest.Spike, arm), 401},
		{"AZ-20: who is gone", "one", h.entra(h.access, servetest.ID("20000000-0000-4000-8000-0000000000ff"), arm), 401},
		{"ARM-07: somebody of another tenant", "one", h.entra(h.foreign, alien, arm), 401},
		{"a token for Kubernetes", "one", h.entra(h.access, servetest.Identity, "6dae42f8-4368-4678-94ff-3960e28e3630"), 401},
		{"a token for vaults", "one", h.entra(h.access, servetest.Identity, "https://vault.azure.net"), 401},
		{"a token of the registry itself", "one", robot, 401},
		{"something that is no token", "one", "x.y.z", 401},
		{"nothing", "one", "", 400},
		{"a token of Azure Resource Manager where that is off", "strict", h.entra(h.access, servetest.Identity, arm), 401},
		{"a token for registries there", "strict", h.entra(h.access, servetest.Identity, "https://containerregistry.azure.net/"), 200},
		{"a registry that is closed to the network", "private", h.entra(h.access, servetest.Identity, arm), 403},
		{"a registry with rules about addresses", "walled", h.entra(h.access, servetest.Identity, arm), 403},
		{"a registry that is closed in a way that is not known here", "perimeter", h.entra(h.access, servetest.Identity, arm), 403},
		{"a registry with rules that are not known here", "fenced", h.entra(h.access, servetest.Identity, arm), 403},
		{"a registry whose rights are given in another way", "newer", h.entra(h.access, servetest.Identity, arm), 403},
		{"a token of Azure Resource Manager where nobody knows whether that is off", "unclear", h.entra(h.access, servetest.Identity, arm), 401},
		{"a registry that is not there", "none", h.entra(h.access, servetest.Identity, arm), 404},
		{"the registry with no name", "", h.entra(h.access, servetest.Identity, arm), 404},
	} {
		if got := h.exchange(tt.registry, tt.token); got.status != tt.want || (got.status == 200) != (got.in("refresh_token") != "") {
			t.Errorf("%s: %d %s, want %d", tt.law, got.status, got.text, tt.want)
		}
	}
	raw := h.entra(h.access, servetest.Identity, arm)
	for law, got := range map[string]reply{
		"for another service": h.do("one", post("/oauth2/exchange", "grant_type=access_token&service=two.azurecr.io&access_token="+raw)),
		"for no service":      h.do("one", post("/oauth2/exchange", "grant_type=access_token&access_token="+raw)),
		"two tokens":          h.do("one", post("/oauth2/exchange", "grant_type=access_token&service=one.azurecr.io&access_token="+raw+"&access_token="+raw)),
		"another grant":       h.form("one", "/oauth2/exchange", "grant_type", "password", "access_token", raw),
	} {
		if got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", law, got.status, got.text)
		}
	}
}

// A body may take its time. What counts is the registry as it is then, and nothing of
// what it was when the request began.
func TestARegistryThatIsChangedWhileABodyArrives(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	form := url.Values{"service": {"modern.azurecr.io"}, "grant_type": {"access_token"}, "access_token": {h.entra(h.access, servetest.Faye, arm)}}.Encode()
	ask := func(first func()) reply {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/exchange", servetest.After(first, strings.NewReader(form)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return h.do("modern", r)
	}
	if got := ask(func() {}); got.status != http.StatusOK { // only a scope can tell
		t.Fatalf("rights for single repositories: %d %s", got.status, got.text)
	}
	got := ask(func() {
		now, _ := h.world.Current().Resource(at("modern"))
		now.Properties = resource.Properties{}
		h.world.Put(now)
	})
	if got.status != http.StatusUnauthorized {
		t.Errorf("rights for all of it, of which the caller has none: %d %s", got.status, got.text)
	}
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// A refresh token is good for its registry, its purpose, its time, and its holder as
// he is now.
func TestARefreshTokenEnds(t *testing.T) {
	t.Parallel()
	for law, tt := range map[string]struct {
		registry string
		change   func(h *house, refresh string) string
		want     int
	}{
		"as it is":    {"one", func(_ *house, raw string) string { return raw }, 200},
		"its time":    {"one", func(h *house, raw string) string { h.now = h.now.Add(registry.RefreshLife); return raw }, 401},
		"before that": {"one", func(h *house, raw string) string { h.now = h.now.Add(registry.RefreshLife - time.Second); return raw }, 200},
		"at another registry where he has the role": {"two", func(h *house, raw string) string {
			h.world.Put(azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID("62000000-0000-4000-8000-00000000cc01")), Scope: at("two"), Principal: servetest.Identity, Role: azurerbac.DefinitionID(servetest.ID(pullRole))})
			return raw
		}, 401},
		"an access token of the registry":  {"one", func(h *house, raw string) string { return h.token("one", raw, "repository:a:pull").in("access_token") }, 401},
		"an access token of the directory": {"one", func(h *house, _ string) string { return h.entra(h.access, servetest.Identity, arm) }, 401},
		"signed by the key of another tenant": {"one", func(h *house, _ string) string {
			raw, err := token.SignRegistry(h.registry2, token.RegistryClaims{Grant: token.RegistryRefresh, Registry: "one.azurecr.io", Tenant: servetest.Tenant2, ObjectID: alien, ID: "j", SignIn: "u", IssuedAt: h.now, Expires: h.now.Add(time.Hour)})
			if err != nil {
				h.t.Fatal(err)
			}
			return raw
		}, 401},
		"changed in one letter": {"one", func(_ *house, raw string) string { return raw[:len(raw)-2] + "AA" }, 401},
		"the identity is deleted": {"one", func(h *house, raw string) string {
			m, _ := h.world.Current().ManagedIdentity(servetest.Identity)
			h.world.Delete(m.Key())
			return raw
		}, 401},
		"the role is taken away": {"one", func(h *house, raw string) string {
			for _, a := range h.world.Current().AssignmentsOf(servetest.Identity) {
				if a.Scope == at("one") {
					h.world.Delete(a.Key())
				}
			}
			return raw
		}, 401},
		"the sign-in is ended": {"one", func(h *house, raw string) string { h.dead = true; return raw }, 401},
		"the registry is gone": {"one", func(h *house, raw string) string {
			est := h.world.Current()
			o, _ := est.Resource(at("one"))
			h.world.Delete(append(est.Dependents(o.Key()), o.Key())...)
			return raw
		}, 404},
		"the house is not fresh": {"one", func(h *house, raw string) string { h.world.Age(context.DeadlineExceeded); return raw }, 503},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			raw := tt.change(h, h.refresh("one", servetest.Identity))
			got := h.token(tt.registry, raw, "repository:hello:pull")
			if got.status != tt.want || strings.Contains(got.text, "access_token") != (tt.want == 200) {
				t.Errorf("%d %s, want %d", got.status, got.text, tt.want)
			}
		})
	}
}

// A token that was cut short, because the request for an identity that gave it ends, buys
// nothing that goes on.
func TestWhatWasCutShortEndsInTime(t *testing.T) { // FED-17
	t.Parallel()
	h := newHouse(t)
	h.now = h.now.Truncate(time.Second)
	ends := h.now.Add(6 * time.Minute)
	got := h.exchange("one", h.lasting(6*time.Minute, h.access, servetest.Identity, arm))
	refresh := got.in("refresh_token")
	if refresh == "" {
		t.Fatalf("%d %s", got.status, got.text)
	}
	set, _ := token.NewKeySet(h.registry.Key)
	access := h.token("one", refresh, "repository:hello:pull")
	for law, tt := range map[string]struct {
		raw   string
		grant token.RegistryGrant
	}{"the refresh token": {refresh, token.RegistryRefresh}, "the access token": {access.in("access_token"), token.RegistryAccess}} {
		if c, err := token.VerifyRegistry(tt.raw, set, servetest.Tenant, "one.azurecr.io", tt.grant, h.now); err != nil || !c.Expires.Equal(ends) {
			t.Errorf("%s ends at %s, %v, want %s", law, c.Expires, err, ends)
		}
	}
	if !strings.Contains(access.text, `"expires_in":360`) {
		t.Errorf("the answer says another end: %s", access.text)
	}
	raw := h.lasting(6*time.Minute, h.access, servetest.Identity, arm)
	h.now = ends
	for law, got := range map[string]reply{"the access token of the directory": h.exchange("one", raw), "the refresh token": h.token("one", refresh, "repository:hello:pull")} {
		if got.status != http.StatusUnauthorized {
			t.Errorf("%s at its end: %d %s", law, got.status, got.text)
		}
	}
}

// Docker and containerd send the refresh token as a password.
func TestTheRefreshTokenAsAPassword(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	raw := h.refresh("one", servetest.Identity)
	get := func(query, user, password string) reply {
		r := httptest.NewRequest(http.MethodGet, "/oauth2/token?"+query, nil)
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		return h.do("one", r)
	}
	const pull = "service=one.azurecr.io&scope=repository%3Ahello%3Apull"
	for _, tt := range []struct {
		law  string
		got  reply
		want string
	}{
		{"as docker asks", get(pull, registry.Nobody, raw), "repository:hello:pull"},
		{"two scopes", get(pull+"&scope=repository%3Aother%3Apull", registry.Nobody, raw), "repository:hello:pull repository:other:pull"},
		{"as containerd asks", h.form("one", "/oauth2/token", "grant_type", "password", "username", registry.Nobody, "password", raw, "scope", "repository:hello:pull"), "repository:hello:pull"},
		{"under another name", get(pull, "admin", raw), "401"},
		{"without a name", get(pull, "", ""), "401"},
		{"another password", get(pull, registry.Nobody, "secret"), "401"},
		{"containerd under another name", h.form("one", "/oauth2/token", "grant_type", "password", "username", "admin", "password", raw), "401"},
		{"another service", get("service=two.azurecr.io&scope=repository%3Ahello%3Apull", registry.Nobody, raw), "400"},
		{"an unknown grant", h.form("one", "/oauth2/token", "grant_type", "client_credentials", "refresh_token", raw), "400"},
	} {
		if got := h.rights("one", tt.got); got != tt.want {
			t.Errorf("%s: %s, want %s: %s", tt.law, got, tt.want, tt.got.text)
		}
	}
}

// The challenge says where to get a token; a token opens the door of this registry.
func TestTheChallenge(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ask := func(path string, bearer ...string) reply {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for _, b := range bearer {
			r.Header.Add("Authorization", "Bearer "+b)
		}
		return h.do("one", r)
	}
	got := ask("/v2/")
	if got.status != 401 || got.header.Get("WWW-Authenticate") != `Bearer realm="https://one.azurecr.io/oauth2/token",service="one.azurecr.io"` || got.header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
		t.Errorf("%d %v %s", got.status, got.header, got.text)
	}
	refresh := h.refresh("one", servetest.Identity)
	access := h.token("one", refresh, "repository:hello:pull").in("access_token")
	for law, tt := range map[string]struct {
		got  reply
		want int
	}{
		"with an access token":            {ask("/v2/", access), 200},
		"an image":                        {ask("/v2/hello/manifests/latest", access), 404},
		"an image without a token":        {ask("/v2/hello/manifests/latest"), 401},
		"with two":                        {ask("/v2/", access, access), 401},
		"with a refresh token":            {ask("/v2/", refresh), 401},
		"with a token of the directory":   {ask("/v2/", h.entra(h.access, servetest.Identity, arm)), 401},
		"in another path":                 {ask("/oauth2/exchange"), 404},
		"in a path with another spelling": {ask("/oauth2/%74oken"), 404},
	} {
		if tt.got.status != tt.want {
			t.Errorf("%s: %d %s, want %d", law, tt.got.status, tt.got.text, tt.want)
		}
	}
	h.now = h.now.Add(registry.AccessLife)
	if got := ask("/v2/", access); got.status != 401 {
		t.Errorf("after its time: %d", got.status)
	}
}

// What registries verify tokens with is published, and nothing else is.
func TestTheKeysOfRegistries(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	got := h.do("one", httptest.NewRequest(http.MethodGet, "/oauth2/keys", nil))
	var doc struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal([]byte(got.text), &doc); err != nil || got.status != 200 || len(doc.Keys) != 1 || doc.Keys[0].Kid != h.registry.ID {
		t.Errorf("%d %s", got.status, got.text)
	}
	set, _ := token.NewKeySet(h.access.Key, h.registry.Key)
	if text, err := set.JWKS(servetest.Tenant, "", h.now); err != nil || strings.Contains(string(text), h.registry.ID) {
		t.Errorf("the keys of the directory are %s, %v", text, err)
	}
}

// JWT-12: a token of a registry is no token of the directory, whatever it says.
func TestATokenOfARegistryIsNoneOfTheDirectory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	raw := h.token("one", h.refresh("one", servetest.Identity), "repository:hello:pull").in("access_token")
	set, _ := token.NewKeySet(h.access.Key, h.registry.Key)
	for _, purpose := range []token.Purpose{token.AccessToken, token.IDToken, token.RegistryToken} {
		want := token.Want{Tenant: servetest.Tenant, Issuers: []string{issuer(servetest.Tenant), "Azure Container Registry"}, Audiences: []string{"one.azurecr.io", arm}, Purpose: purpose}
		if _, err := token.Verify(raw, set, want, h.now); err == nil {
			t.Errorf("it passes as one for %q", purpose)
		}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if claims["iss"] != "Azure Container Registry" || claims["aud"] != "one.azurecr.io" || claims["grant_type"] != "access_token" || claims["sub"] != servetest.Identity.String() {
		t.Errorf("it says %s", payload)
	}
}

// On a front that has one host for all, registries are told apart by the path.
func TestRegistriesBelowAPath(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for path, want := range map[string]int{"/registries/one/v2/": 401, "/registries/ONE/v2/": 401, "/registries/none/v2/": 404, "/registries//v2/": 404, "/elsewhere/one/v2/": 404} {
		w := httptest.NewRecorder()
		h.door.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// What is given out, and what is not, is in the trace once, without a token.
func TestTheTrace(t *testing.T) { // ZA-07
	t.Parallel()
	h := newHouse(t)
	raw := h.refresh("one", servetest.Identity)
	h.token("one", raw, "repository:hello:pull")
	refused := []reply{
		h.token("one", raw, "repository:hello:push"),
		h.exchange("two", h.entra(h.access, servetest.Identity, arm)),
		h.exchange("one", h.entra(h.foreign, servetest.Identity, arm)),
		h.do("one", httptest.NewRequest(http.MethodGet, "/v2/", nil)),
		h.do("one", httptest.NewRequest(http.MethodGet, "/nothing?secret=x", nil)),
		h.do("three", httptest.NewRequest(http.MethodGet, "/v2/", nil)),
	}
	h.dead = true
	refused = append(refused, h.token("one", raw, "repository:hello:pull"))
	who := map[bool]string{true: "its own", false: "nobody's"}
	var got []string
	for _, e := range h.events {
		if e.Door != "registry" || strings.Contains(e.Asked+e.Reason, "secret") || strings.Contains(e.Asked+e.Reason, raw) {
			t.Errorf("an event is %+v", e)
		}
		got = append(got, who[e.ID == servetest.Identity]+" "+e.Effect+" "+e.Reason)
		if e.Effect != serve.Refused {
			continue
		}
		if len(refused) == 0 || e.TraceID != refused[0].header.Get("X-Request-Id") {
			t.Fatalf("an event has the id %s, which no answer has", e.TraceID)
		}
		refused = refused[1:]
	}
	want := []string{
		"its own issued refresh token of one.azurecr.io", "its own issued token for repository:hello:pull at one.azurecr.io",
		"its own refused UNAUTHORIZED: nothing of repository:hello:push at one.azurecr.io", "its own refused UNAUTHORIZED: no role at two.azurecr.io",
		"nobody's refused UNAUTHORIZED: InvalidAuthenticationToken: The access token is not accepted.: the account is of another tenant",
		"nobody's refused UNAUTHORIZED: authentication required, visit https://aka.ms/acr/authorization for more information.",
		"nobody's refused NOT_FOUND: There is nothing here.", "nobody's refused NAME_UNKNOWN: There is no registry 'three' here.",
		"its own refused UNAUTHORIZED: InvalidAuthenticationToken: The access token is not accepted.: the sign-in that the token came from was ended",
	}
	if !slices.Equal(got, want) || len(refused) != 0 {
		t.Errorf("the trace is %s", strings.Join(got, "\n"))
	}
}
