package house_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	apiclient "github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

const (
	password   = "canary-password-5f1d"
	azClient   = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	kubeServer = "6dae42f8-4368-4678-94ff-3960e28e3630"
	subOfDoors = "/subscriptions/50000000-0000-4000-8000-0000000000d0"
)

func idOf[T ~[16]byte](text string) T { return T(guid.MustParse[struct{}](text)) }

var (
	tenant    = directory.Tenant{ID: idOf[directory.TenantID]("10000000-0000-4000-8000-0000000000d0"), Domains: []string{"doors.example"}, AllowPasswordGrant: true}
	ana       = directory.User{ID: idOf[principal.ID]("20000000-0000-4000-8000-0000000000d1"), Tenant: tenant.ID, UserPrincipalName: "ana@doors.example", DisplayName: "Ana"}
	robotApp  = directory.Application{ID: idOf[principal.ID]("40000000-0000-4000-8000-0000000000d1"), AppID: idOf[directory.AppID]("41000000-0000-4000-8000-0000000000d1"), Tenant: tenant.ID, DisplayName: "robot"}
	robot     = directory.ServicePrincipal{ID: idOf[principal.ID]("42000000-0000-4000-8000-0000000000d1"), AppID: robotApp.AppID, Tenant: tenant.ID, DisplayName: "robot"}
	identity  = directory.ManagedIdentity{ID: idOf[principal.ID]("43000000-0000-4000-8000-0000000000d1"), ClientID: idOf[directory.AppID]("44000000-0000-4000-8000-0000000000d1"), Tenant: tenant.ID, DisplayName: "mi", Resource: scope.MustParse(subOfDoors + "/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi")}
	clusterAt = scope.MustParse(subOfDoors + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks")
	reader    = idOf[azurerbac.DefinitionID]("7f6c6a51-bcf8-42ba-9220-52d62157d7db")

	vaultAt     = scope.MustParse(subOfDoors + "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv")
	secretsUser = idOf[azurerbac.DefinitionID]("4633458b-17de-408a-b874-0445c86b69e6")
)

func assignmentTo(n int, who principal.ID) azurerbac.Assignment {
	return azurerbac.Assignment{ID: idOf[azurerbac.AssignmentID](fmt.Sprintf("60000000-0000-4000-8000-%012d", n)), Scope: clusterAt, Principal: who, Role: reader}
}

func doorRecords() []record.Record {
	return []record.Record{
		tenant, ana, robotApp, robot,
		resource.Subscription{Scope: scope.MustParse(subOfDoors), Tenant: tenant.ID},
		resource.Group{Scope: scope.MustParse(subOfDoors + "/resourceGroups/rg"), Name: "rg"}, identity,
		resource.Cluster{Scope: clusterAt, Name: "aks", ResourceGroup: "rg", Tenant: tenant.ID, EntraSignIn: true, AzureRBAC: true, Attached: true},
		assignmentTo(1, ana.ID), assignmentTo(2, robot.ID), assignmentTo(3, identity.ID),
	}
}

// A gate is a house with all its doors, as clients and an attached cluster see it.
type gate struct {
	t        *testing.T
	conf     house.Config
	house    *house.House
	log      *lockedBuffer
	op       house.Operator
	operator *apiclient.Client
	public   *http.Client
	cluster  *http.Client // shows the certificate of the attached cluster
	paths    wire.Attachment
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newGate(t *testing.T, change ...func(*house.Config)) *gate {
	t.Helper()
	g := &gate{t: t, log: new(lockedBuffer)}
	g.conf = config(t, t.TempDir()+"/data")
	g.conf.First, g.conf.FirstPassword = doorRecords(), password
	g.conf.Log = slog.New(slog.NewJSONHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, f := range change {
		f(&g.conf)
	}
	var err error
	if g.house, err = house.Start(t.Context(), g.conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.house.Stop)
	g.public = client(t, g.conf.Dir)
	op, token := operatorToken(t, g.conf.Dir)
	g.op = op
	g.operator = &apiclient.Client{Base: op.Authority, HTTP: g.public, Token: func(context.Context) (string, error) { return token, nil }}
	if g.paths, err = g.operator.Attach(t.Context(), clusterAt); err != nil {
		t.Fatal(err)
	}
	g.cluster = clusterClient(t, g.paths)
	return g
}

func clusterClient(t *testing.T, a wire.Attachment) *http.Client {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(a.ClientCert), []byte(a.ClientKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.CA))
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Timeout: time.Minute, Transport: tr}
}

// token asks the token endpoint, and returns all of the answer.
func (g *gate) token(pairs ...string) (int, map[string]any, string) {
	g.t.Helper()
	f := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		f.Set(pairs[i], pairs[i+1])
	}
	res, err := g.public.PostForm(g.op.Authority+"/"+tenant.ID.String()+"/oauth2/v2.0/token", f)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		g.t.Fatalf("%d %s", res.StatusCode, text)
	}
	return res.StatusCode, m, string(text)
}

func (g *gate) signIn(resource string) map[string]any {
	g.t.Helper()
	status, m, text := g.token("grant_type", "password", "client_id", azClient, "username", ana.UserPrincipalName, "password", password, "scope", resource+"/.default openid profile offline_access")
	if status != http.StatusOK {
		g.t.Fatalf("%d %s", status, text)
	}
	return m
}

func (g *gate) post(path string, in, out any) (int, string) {
	g.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		g.t.Fatal(err)
	}
	res, err := g.cluster.Post("https://"+g.conf.WebhookListen+path, "application/json", bytes.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		g.t.Fatalf("%d %s", res.StatusCode, text)
	}
	return res.StatusCode, string(text)
}

// authenticated asks a TokenReview.
func (g *gate) authenticated(raw string) bool {
	g.t.Helper()
	var out authenticationv1.TokenReview
	g.post(g.paths.TokenReview, authenticationv1.TokenReview{TypeMeta: metav1.TypeMeta{Kind: "TokenReview", APIVersion: "authentication.k8s.io/v1"},
		Spec: authenticationv1.TokenReviewSpec{Token: raw}}, &out)
	return out.Status.Authenticated
}

func listPods(name string, id principal.ID) authorizationv1.SubjectAccessReview {
	return authorizationv1.SubjectAccessReview{TypeMeta: metav1.TypeMeta{Kind: "SubjectAccessReview", APIVersion: "authorization.k8s.io/v1"},
		Spec: authorizationv1.SubjectAccessReviewSpec{User: name, Groups: []string{"system:authenticated"}, Extra: map[string]authorizationv1.ExtraValue{"oid": {id.String()}},
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", Version: "v1", Namespace: "default"}}}
}

// may asks a SubjectAccessReview: may he list pods?
func (g *gate) may(name string, id principal.ID) string {
	g.t.Helper()
	var out authorizationv1.SubjectAccessReview
	g.post(g.paths.SubjectAccessReview, listPods(name, id), &out)
	switch {
	case out.Status.Denied:
		return "deny"
	case out.Status.Allowed:
		return "allow"
	}
	return "no opinion"
}

func (g *gate) api(raw string) bool {
	g.t.Helper()
	c := &apiclient.Client{Base: g.op.Authority, HTTP: g.public, Token: func(context.Context) (string, error) { return raw, nil }}
	_, err := c.WhoAmI(g.t.Context())
	if e, ok := errors.AsType[*apiclient.Error](err); err != nil && !ok {
		g.t.Fatal(err)
	} else if ok && e.Code != "InvalidAuthenticationToken" {
		g.t.Errorf("the management door says %v", e)
	}
	return err == nil
}

// opens reports whether a token opens a path of the public listener.
func (g *gate) opens(path string) func(raw string) bool {
	return func(raw string) bool {
		g.t.Helper()
		status, _ := get(g.t, g.conf.Dir, g.op, raw, path)
		return status == http.StatusOK
	}
}

func (g *gate) userInfo(raw string) bool {
	g.t.Helper()
	return g.opens("/" + tenant.ID.String() + "/openid/userinfo")(raw)
}

func (g *gate) put(rec record.Record) { g.t.Helper(); g.commit(estate.Op{Put: rec}) }

func (g *gate) commit(ops ...estate.Op) {
	g.t.Helper()
	if _, err := g.house.Store().Commit(g.t.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		g.t.Fatal(err)
	}
}

// JWT-14 and JWT-15: a token opens the one door that it was asked for.
func TestATokenOpensOneDoor(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.put(resource.Other{Scope: vaultAt, Name: "kv", Type: "Microsoft.KeyVault/vaults"})
	g.put(azurerbac.Assignment{ID: idOf[azurerbac.AssignmentID]("60000000-0000-4000-8000-000000000009"), Scope: vaultAt, Principal: ana.ID, Role: secretsUser})
	texts := map[string]string{}
	for name, resource := range map[string]string{"cluster": kubeServer, "api": "api://gatehouse", "graph": "https://graph.microsoft.com", "arm": "https://management.azure.com", "vault": "https://vault.azure.net"} {
		m := g.signIn(resource)
		texts[name], _ = m["access_token"].(string)
		if name == "api" {
			texts["id token"], _ = m["id_token"].(string)
			texts["refresh token"], _ = m["refresh_token"].(string)
		}
	}
	secret, err := g.operator.NewSecret(t.Context(), robotApp.AppID.String(), wire.NewSecret{Name: "ci", Days: 1})
	if err != nil {
		t.Fatal(err)
	}
	texts["client secret"] = secret.Text
	doors := []struct {
		name, opens string
		ask         func(string) bool
	}{{"TokenReview", "cluster", g.authenticated}, {"management API", "api", g.api}, {"userinfo", "graph", g.userInfo},
		{"Azure Resource Manager", "arm", g.opens("/subscriptions?api-version=2022-12-01")}, {"Graph", "graph", g.opens("/v1.0/me")},
		{"Key Vault", "vault", g.opens("/vaults/kv/secrets?api-version=7.6")}}
	for name, raw := range texts {
		if raw == "" {
			t.Fatalf("no %s", name)
		}
		for _, d := range doors {
			if got, want := d.ask(raw), d.opens == name; got != want {
				t.Errorf("%s takes the %s token: %t, want %t", d.name, name, got, want)
			}
		}
	}
}

// JWT-29, DIR-11, OA-27: whoever is disabled or deleted is nobody at any door from
// the next request on, whatever he still holds.
func TestWhoIsGoneIsNobodyAtAnyDoor(t *testing.T) {
	t.Parallel()
	pods := startIssuer(t)
	g := newGate(t, pods.open)
	ofRobot := pods.credential()
	ofRobot.Owner = robotApp.AppID
	g.commit(estate.Op{Put: pods.credential()}, estate.Op{Put: ofRobot})
	secret, err := g.operator.NewSecret(t.Context(), robotApp.AppID.String(), wire.NewSecret{Name: "ci", Days: 1})
	if err != nil {
		t.Fatal(err)
	}
	robotToken := func(resource string) (string, bool) {
		status, m, _ := g.token("grant_type", "client_credentials", "client_id", robotApp.AppID.String(), "client_secret", secret.Text, "scope", resource+"/.default")
		raw, _ := m["access_token"].(string)
		return raw, status == http.StatusOK
	}
	signedIn := g.signIn(kubeServer)
	anaCluster, refresh := signedIn["access_token"].(string), signedIn["refresh_token"].(string)
	anaAPI := g.signIn("api://gatehouse")["access_token"].(string)
	robotCluster, _ := robotToken(kubeServer)
	robotAPI, _ := robotToken("api://gatehouse")
	robotByPod, _, _ := g.exchange(pods, robotApp.AppID, kubeServer)

	anaAsks := func() map[string]bool {
		pw, _, _ := g.token("grant_type", "password", "client_id", azClient, "username", ana.UserPrincipalName, "password", password, "scope", "openid")
		again, m, _ := g.token("grant_type", "refresh_token", "client_id", azClient, "refresh_token", refresh, "scope", kubeServer+"/.default")
		if next, ok := m["refresh_token"].(string); ok {
			refresh = next
		}
		return map[string]bool{"TokenReview": g.authenticated(anaCluster), "SubjectAccessReview": g.may(ana.UserPrincipalName, ana.ID) == "allow",
			"management API": g.api(anaAPI), "password": pw == 200, "refresh": again == 200}
	}
	robotAsks := func() map[string]bool {
		_, issued := robotToken(kubeServer)
		_, exchanged, _ := g.exchange(pods, robotApp.AppID, kubeServer)
		return map[string]bool{"SubjectAccessReview": g.may(robot.ID.String(), robot.ID) == "allow", "TokenReview": g.authenticated(robotCluster), "TokenReview of a token by a federated one": g.authenticated(robotByPod),
			"management API": g.api(robotAPI), "client secret": issued, "federated token": exchanged == http.StatusOK}
	}
	held := map[string]string{}
	for _, resource := range []string{kubeServer, "api://gatehouse", "https://management.azure.com", "https://graph.microsoft.com"} {
		held[resource], _, _ = g.identityToken(pods, resource)
	}
	identityAsks := func() map[string]bool {
		_, status, _ := g.identityToken(pods, kubeServer)
		return map[string]bool{"SubjectAccessReview": g.may(identity.ID.String(), identity.ID) == "allow", "TokenReview": g.authenticated(held[kubeServer]), "federated token": status == 200,
			"management API": g.api(held["api://gatehouse"]), "Azure Resource Manager": g.opens("/subscriptions?api-version=2022-12-01")(held["https://management.azure.com"]),
			"Graph": g.opens("/v1.0/servicePrincipals/" + identity.ID.String())(held["https://graph.microsoft.com"])}
	}
	off := func(r record.Record) estate.Op {
		switch r := r.(type) {
		case directory.User:
			r.Disabled = true
			return estate.Op{Put: r}
		case directory.ServicePrincipal:
			r.Disabled = true
			return estate.Op{Put: r}
		case directory.ManagedIdentity:
			r.Disabled = true
			return estate.Op{Put: r}
		case directory.Application:
			r.Disabled = true
			return estate.Op{Put: r}
		}
		panic("no such kind")
	}
	for _, tt := range []struct {
		law       string
		end, mend estate.Op
		ask       func() map[string]bool
	}{
		{"a disabled user", off(ana), estate.Op{Put: ana}, anaAsks},
		{"FED-17: a disabled application", off(robotApp), estate.Op{Put: robotApp}, robotAsks},
		{"FED-17: a disabled service principal", off(robot), estate.Op{Put: robot}, robotAsks},
		{"FED-17: a disabled managed identity", off(identity), estate.Op{Put: identity}, identityAsks},
		{"FED-17: a deleted managed identity", estate.Op{Delete: identity.Key()}, estate.Op{}, identityAsks},
		{"FED-17: a deleted service principal", estate.Op{Delete: robot.Key()}, estate.Op{}, robotAsks},
		{"a deleted user", estate.Op{Delete: ana.Key()}, estate.Op{}, anaAsks},
	} {
		t.Run(tt.law, func(t *testing.T) {
			for door, open := range tt.ask() {
				if !open {
					t.Errorf("before: %s is closed; this shows nothing", door)
				}
			}
			if tt.end.Delete == identity.Key() {
				g.commit(estate.Op{Delete: pods.credential().Key()}, tt.end)
			} else {
				g.commit(tt.end)
			}
			begun := time.Now()
			for door, open := range tt.ask() {
				if open {
					t.Errorf("%s is open", door)
				}
			}
			t.Logf("all doors asked within %s of the order", time.Since(begun))
			if tt.mend.Put != nil {
				g.commit(tt.mend)
			}
		})
	}
}

// ZA-01: what is secret is in no log line, no error text, no address and no audit
// record, whatever goes wrong on the way.
func TestSecretsStayIn(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	seen := new(lockedBuffer) // what the house says, apart from the answers that hand out a secret
	say := func(text string) { io.WriteString(seen, text+"\n") }
	canaries := map[string]string{"password": password, "operator's secret": g.op.Secret}

	signedIn := g.signIn("api://gatehouse")
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		canaries[name], _ = signedIn[name].(string)
	}
	secret, err := g.operator.NewSecret(t.Context(), robotApp.AppID.String(), wire.NewSecret{Name: "ci", Days: 1})
	if err != nil {
		t.Fatal(err)
	}
	canaries["client secret"] = secret.Text
	const fresh, wrong = "canary-new-password-77ab", "canary-wrong-password-0c3e"
	canaries["new password"], canaries["wrong password"] = fresh, wrong
	// Wrong turns: the same secrets where they do not belong.
	for _, form := range [][]string{
		{"grant_type", "password", "client_id", azClient, "username", ana.UserPrincipalName, "password", wrong, "scope", "openid"},
		{"grant_type", "password", "client_id", azClient, "username", password, "password", password, "scope", password},
		{"grant_type", secret.Text, "client_id", robotApp.AppID.String(), "client_secret", secret.Text},
		{"grant_type", "client_credentials", "client_id", secret.Text, "client_secret", secret.Text, "scope", "x/.default"},
		{"grant_type", "client_credentials", "client_id", robotApp.AppID.String(), "client_secret", secret.Text + "x", "scope", kubeServer + "/.default"},
		{"grant_type", "refresh_token", "client_id", robotApp.AppID.String(), "client_secret", secret.Text, "refresh_token", canaries["refresh_token"], "scope", "openid"},
		{"grant_type", "refresh_token", "client_id", azClient, "refresh_token", canaries["refresh_token"] + "A", "scope", "openid"},
		{"grant_type", "authorization_code", "client_id", azClient, "code", canaries["refresh_token"], "redirect_uri", "http://localhost/" + password, "code_verifier", password},
	} {
		_, _, text := g.token(form...)
		if form[5] == password {
			continue // a scope is named to the client that asked for it
		}
		say(text)
	}
	api := &apiclient.Client{Base: g.op.Authority, HTTP: g.public, Token: func(context.Context) (string, error) { return canaries["access_token"] + "x", nil }}
	_, err = api.WhoAmI(t.Context())
	say(fmt.Sprint(err))
	say(fmt.Sprint(g.operator.SetPassword(t.Context(), ana.ID.String(), fresh)))
	say(fmt.Sprint(g.operator.SetPassword(t.Context(), robot.ID.String(), fresh)))
	for _, path := range []string{"/gatehouse/v1/trace", "/gatehouse/v1/estate", "/gatehouse/v1/keys", "/gatehouse/v1/audit"} {
		raw, err := g.operator.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		canaries["operator's token"] = raw
		status, text := get(t, g.conf.Dir, g.op, raw, path)
		if status != http.StatusOK || len(text) < 20 {
			t.Errorf("%s: %d %.200s", path, status, text)
		}
		say(text)
	}
	for _, raw := range []string{canaries["access_token"], canaries["refresh_token"], password} {
		var out authenticationv1.TokenReview
		_, text := g.post(g.paths.TokenReview, authenticationv1.TokenReview{TypeMeta: metav1.TypeMeta{Kind: "TokenReview", APIVersion: "authentication.k8s.io/v1"}, Spec: authenticationv1.TokenReviewSpec{Token: raw}}, &out)
		say(text)
	}
	canaries["certificate key"] = pemBody(g.paths.ClientKey)
	key, err := os.ReadFile(string(g.conf.Dir) + "/key")
	if err != nil {
		t.Fatal(err)
	}
	canaries["sealing key"] = strings.TrimSpace(string(key))
	if log := g.log.String(); len(log) < 1000 {
		t.Errorf("a log of %d bytes: this shows nothing", len(log))
	}
	for name, text := range canaries {
		if len(text) < 12 {
			t.Fatalf("%s: %q is too short to look for", name, text)
		}
		for _, form := range []string{text, url.QueryEscape(text)} {
			if i := strings.Index(g.log.String(), form); i >= 0 {
				t.Errorf("the log has the %s: %.300q", name, around(g.log.String(), i))
			}
			if i := strings.Index(seen.String(), form); i >= 0 {
				t.Errorf("an answer has the %s: %.300q", name, around(seen.String(), i))
			}
		}
	}
}

func around(text string, i int) string { return text[max(0, i-150):min(len(text), i+100)] }

func pemBody(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[1]
}

// RX-02: whoever floods the token endpoint with passwords waits in his own line.
// How much decisions are slowed down is reported; what is asserted is only that
// they go on, because tests share their machine.
func TestAFloodOfPasswordsDoesNotStopDecisions(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	g := newGate(t)
	measure := func(n int) (p50, p99 time.Duration) {
		var took []time.Duration
		for range n {
			begun := time.Now()
			if got := g.may(ana.UserPrincipalName, ana.ID); got != "allow" {
				t.Fatalf("%s", got)
			}
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		return took[n/2], took[n*99/100]
	}
	const asked = 500
	measure(asked)
	quiet50, quiet99 := measure(asked)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	flooded := make(chan struct{}) // the first of the flood was answered
	begun := sync.OnceFunc(func() { close(flooded) })
	for n := range 64 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				f := url.Values{"grant_type": {"password"}, "client_id": {azClient}, "username": {fmt.Sprintf("u%d-%d@doors.example", n, i)}, "password": {"wrong password"}, "scope": {"openid"}}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.op.Authority+"/"+tenant.ID.String()+"/oauth2/v2.0/token", strings.NewReader(f.Encode()))
				if err != nil {
					return
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				res, err := g.public.Do(req)
				if err != nil {
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				mu.Lock()
				codes[res.StatusCode]++
				mu.Unlock()
				begun()
			}
		})
	}
	select {
	case <-flooded:
	case <-time.After(time.Minute):
		t.Fatal("the flood is never answered")
	}
	flood50, flood99 := measure(asked)
	stop()
	wg.Wait()
	t.Logf("decisions in quiet p50 %s p99 %s, in the flood p50 %s p99 %s: %.1f and %.1f times; the flood was answered %v",
		quiet50, quiet99, flood50, flood99, float64(flood50)/float64(quiet50), float64(flood99)/float64(quiet99), codes)
	if flood50 > 3*time.Second {
		t.Errorf("p50 %s in the flood: API servers give up after 3 s", flood50)
	}
	if codes[200] != 0 || codes[400]+codes[429]+codes[503] == 0 {
		t.Errorf("the flood was answered %v", codes)
	}
}
