package house_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	apiclient "github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

var (
	identityOperator = idOf[azurerbac.DefinitionID]("f1a07417-d97a-45cb-824c-7a7467783830")
	clusterOwner     = idOf[azurerbac.DefinitionID]("ed7f3fbd-7b88-4dd4-9017-9adb7ce333f8") // Azure Kubernetes Service Contributor Role
	readerRole       = idOf[azurerbac.DefinitionID]("acdd72a7-3385-48ef-bd42-f606fba81ae7")

	ofCluster = directory.ManagedIdentity{ID: idOf[principal.ID]("43000000-0000-4000-8000-0000000000d2"), ClientID: idOf[directory.AppID]("44000000-0000-4000-8000-0000000000d2"),
		Tenant: tenant.ID, DisplayName: "aks", Resource: clusterAt, SystemAssigned: true}
)

func given(n int, role azurerbac.DefinitionID, at scope.Scope) azurerbac.Assignment {
	a := assignmentTo(n, ana.ID)
	a.Role, a.Scope = role, at
	return a
}

// as is the management API in the name of a person who signs in.
func (g *gate) as(user directory.User) *apiclient.Client {
	g.t.Helper()
	raw, _ := g.signIn("api://gatehouse")["access_token"].(string)
	return &apiclient.Client{Base: g.op.Authority, HTTP: g.public, Token: func(context.Context) (string, error) { return raw, nil }}
}

// machine asks as a program on a machine does, and returns the token or the answer.
func (g *gate) machine(c *http.Client, method, target, body string, header ...string) (string, int, string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	var m struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		g.t.Fatalf("%d %s", res.StatusCode, text)
	}
	return m.Token, res.StatusCode, string(text)
}

const askKube = "?api-version=2018-02-01&resource=" + kubeServer

// use asks for a token of the cluster's server with a session's secret.
func (g *gate) use(secret string, more ...string) (string, int, string) {
	return g.machine(g.public, http.MethodGet, g.op.Authority+"/metadata/identity/oauth2/token"+askKube+strings.Join(more, ""), "", "Metadata", "true", "X-IDENTITY-HEADER", secret)
}

func code(err error) string {
	if e, ok := errors.AsType[*apiclient.Error](err); ok {
		return e.Code
	}
	return ""
}

// Whoever may attach an identity to a machine may run programs as that identity,
// through the proxy or the endpoints of App Service and Cloud Shell; nobody else (PI-09).
func TestIdentitySessions(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(c *house.Config) { c.ProxyListen = "127.0.0.1:0" })
	g.put(ofCluster)
	api := g.as(ana)
	ask := func(name string) (wire.IdentitySession, error) {
		return api.NewIdentitySession(t.Context(), wire.NewIdentitySession{Identities: []string{name}})
	}
	names := []string{identity.DisplayName, identity.ID.String(), identity.ClientID.String(), identity.Resource.String(), strings.ToUpper(identity.Resource.String())}
	for _, name := range names {
		if _, err := ask(name); code(err) != "NotFound" {
			t.Errorf("without a right, by %s: %v", name, err)
		}
	}
	g.put(given(50, readerRole, identity.Resource))
	if _, err := ask("mi"); code(err) != "AuthorizationFailed" || !strings.Contains(err.Error(), "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action") {
		t.Errorf("who may read it: %v", err)
	}
	g.put(given(51, identityOperator, identity.Resource))
	var session wire.IdentitySession
	for _, name := range names {
		var err error
		if session, err = ask(name); err != nil || len(session.Identities) != 1 || session.Identities[0].ID != identity.ID.String() {
			t.Fatalf("by %s: %v %+v", name, err, session.Identities)
		}
	}
	if left := time.Until(session.Expires); left > 8*time.Hour || left < 7*time.Hour {
		t.Errorf("it ends in %s", left)
	}
	for _, bad := range []wire.NewIdentitySession{{}, {Identities: []string{"nobody"}}, {Identities: []string{"mi", "nobody"}}, {Identities: []string{"mi"}, Minutes: -1}, {Identities: []string{"mi"}, Minutes: 1441}, {Identities: []string{""}}} {
		if got, err := api.NewIdentitySession(t.Context(), bad); err == nil {
			t.Errorf("%+v: %+v", bad, got)
		}
	}

	// A cluster's own identity takes the right to write the cluster.
	if _, err := ask("aks"); code(err) != "NotFound" {
		t.Errorf("a cluster's identity: %v", err)
	}
	g.put(given(52, identityOperator, scope.MustParse(subOfDoors)))
	if _, err := ask("aks"); code(err) == "" {
		t.Errorf("a cluster's identity by who may assign identities: %v", err)
	}
	g.put(given(53, clusterOwner, clusterAt))
	both, err := api.NewIdentitySession(t.Context(), wire.NewIdentitySession{Identities: []string{"mi", "aks"}})
	if err != nil {
		t.Fatal(err)
	}

	proxied := *g.public
	proxied.Transport = &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
		proxy, err := g.conf.Dir.Proxy()
		return &url.URL{Scheme: "http", User: url.UserPassword("identity", session.Secret), Host: proxy}, err
	}}
	base := g.op.Authority + "/msi/token"
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("identity", session.Secret)
	for law, get := range map[string]func() (string, int, string){
		"a machine, through the proxy": func() (string, int, string) {
			return g.machine(&proxied, http.MethodGet, "http://169.254.169.254/metadata/identity/oauth2/token"+askKube, "", "Metadata", "true")
		},
		"App Service": func() (string, int, string) {
			return g.machine(g.public, http.MethodGet, base+"?api-version=2019-08-01&resource="+kubeServer, "", "X-IDENTITY-HEADER", session.Secret)
		},
		"App Service, as az asks": func() (string, int, string) {
			return g.machine(g.public, http.MethodGet, base+"/?resource="+kubeServer+"&api-version=2017-09-01", "", "secret", session.Secret)
		},
		"Cloud Shell": func() (string, int, string) {
			return g.machine(g.public, http.MethodPost, u.String(), "resource="+kubeServer, "Metadata", "true", "Content-Type", "application/x-www-form-urlencoded")
		},
	} {
		if raw, status, text := get(); status != http.StatusOK || !g.authenticated(raw) {
			t.Errorf("%s: %d %s", law, status, text)
		}
	}
	// Which of two; the machine's own comes first.
	for more, want := range map[string]principal.ID{"": ofCluster.ID, "&client_id=" + identity.ClientID.String(): identity.ID, "&msi_res_id=" + url.QueryEscape(identity.Resource.String()): identity.ID} {
		if _, status, text := g.use(both.Secret, more); status != http.StatusOK || !strings.Contains(text, clientOf(want)) {
			t.Errorf("%q: %d %s", more, status, text)
		}
	}
	for law, secret := range map[string]string{"no secret": "", "another": "x" + session.Secret[1:], "in part": session.Secret[:40], "a client secret": g.op.Secret, "in capitals": strings.ToUpper(session.Secret)} {
		if raw, status, text := g.use(secret); status != http.StatusBadRequest || raw != "" || !strings.Contains(text, "Identity not found") {
			t.Errorf("%s: %d %s", law, status, text)
		}
	}
	if raw, status, text := g.use(session.Secret, "&client_id="+ofCluster.ClientID.String()); status != http.StatusBadRequest || raw != "" {
		t.Errorf("an identity of another session: %d %s", status, text)
	}
	// Two secrets in one request: whose it is cannot be told.
	if raw, status, text := g.machine(g.public, http.MethodGet, base+"?api-version=2019-08-01&resource="+kubeServer, "", "X-IDENTITY-HEADER", session.Secret, "secret", both.Secret); raw != "" {
		t.Errorf("two secrets: %d %s", status, text)
	}
	if strings.Contains(g.log.String(), session.Secret) || strings.Contains(g.log.String(), both.Secret) {
		t.Error("ZA-01: the secret of a session is in the log")
	}
}

func clientOf(id principal.ID) string {
	if id == identity.ID {
		return identity.ClientID.String()
	}
	return ofCluster.ClientID.String()
}

// An identity session ends with its identity, with the right of whoever began it,
// by his word, and by itself.
func TestIdentitySessionsEnd(t *testing.T) {
	t.Parallel()
	off, gone := identity, ana
	off.Disabled, gone.Disabled = true, true
	operator := given(51, identityOperator, identity.Resource)
	for law, end := range map[string]func(g *gate, api *apiclient.Client, secret string){
		"the identity is disabled": func(g *gate, _ *apiclient.Client, _ string) { g.put(off) },
		"the identity is deleted": func(g *gate, _ *apiclient.Client, _ string) {
			g.commit(estate.Op{Delete: operator.Key()}, estate.Op{Delete: identity.Key()})
		},
		"the right is taken away": func(g *gate, _ *apiclient.Client, _ string) { g.commit(estate.Op{Delete: operator.Key()}) },
		"the person is disabled":  func(g *gate, _ *apiclient.Client, _ string) { g.put(gone) },
		"the person ends it": func(g *gate, api *apiclient.Client, secret string) {
			if err := api.EndIdentitySession(g.t.Context(), secret); err != nil {
				g.t.Error(err)
			}
			if err := api.EndIdentitySession(g.t.Context(), secret); code(err) != "NotFound" {
				g.t.Errorf("twice: %v", err)
			}
		},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.put(operator)
			api := g.as(ana)
			session, err := api.NewIdentitySession(t.Context(), wire.NewIdentitySession{Identities: []string{"mi"}, Minutes: 5})
			if err != nil {
				t.Fatal(err)
			}
			if raw, status, text := g.use(session.Secret); status != http.StatusOK || !g.authenticated(raw) {
				t.Fatalf("%d %s", status, text)
			}
			end(g, api, session.Secret)
			if raw, status, text := g.use(session.Secret); status != http.StatusBadRequest || raw != "" || !strings.Contains(text, "Identity not found") {
				t.Errorf("%d %s", status, text)
			}
		})
	}
}
