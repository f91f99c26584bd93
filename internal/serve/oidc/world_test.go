package oidc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/oidc"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

const (
	authority = "https://login.microsoftonline.com"
	password  = "correct horse battery"

	aks      = "6dae42f8-4368-4678-94ff-3960e28e3630"
	kubeClnt = "80faf920-1908-4b52-b5ef-a8e7bedfc67a"
	az       = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	aksScope = aks + "/.default openid offline_access profile"
)

var (
	tenantA = directory.Tenant{ID: parse[directory.TenantID]("aaaaaaaa-0000-4000-8000-000000000001"), Domains: []string{"teknews.cloud", "contoso.com"}, AllowPasswordGrant: true}
	tenantB = directory.Tenant{ID: parse[directory.TenantID]("bbbbbbbb-0000-4000-8000-000000000002"), Domains: []string{"other.example"}}

	faye  = directory.User{ID: principal.ID{1, 1}, Tenant: tenantA.ID, UserPrincipalName: "faye@teknews.cloud", DisplayName: "Faye V.", Mail: "faye@example.com"}
	guest = directory.User{ID: principal.ID{1, 2}, Tenant: tenantA.ID, UserPrincipalName: "guest@contoso.com", DisplayName: "Guest", Guest: true}
	ben   = directory.User{ID: principal.ID{1, 3}, Tenant: tenantB.ID, UserPrincipalName: "ben@other.example", DisplayName: "Ben"}

	web = directory.Application{
		ID: principal.ID{2, 1}, AppID: parse[directory.AppID]("11111111-0000-4000-8000-000000000001"), Tenant: tenantA.ID, DisplayName: "Web",
		RedirectURIs: []string{"https://app.example/callback", "https://app.example/bye", "http://localhost:3000/dev"},
	}
	native = directory.Application{
		ID: principal.ID{2, 2}, AppID: parse[directory.AppID]("11111111-0000-4000-8000-000000000002"), Tenant: tenantA.ID, DisplayName: "Native",
		Public: true, RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]/cb", "http://localhost/cb", "https://native.example/cb"},
	}
	api = directory.Application{
		ID: principal.ID{2, 3}, AppID: parse[directory.AppID]("11111111-0000-4000-8000-000000000003"), Tenant: tenantA.ID, DisplayName: "Orders",
		IdentifierURIs: []string{"https://orders.example"}, TokenVersion: 2, GroupClaims: true, Scopes: []string{"orders.read", "orders.write"},
	}
	webSP    = directory.ServicePrincipal{ID: principal.ID{3, 1}, AppID: web.AppID, Tenant: tenantA.ID, DisplayName: "Web"}
	nativeSP = directory.ServicePrincipal{ID: principal.ID{3, 2}, AppID: native.AppID, Tenant: tenantA.ID, DisplayName: "Native"}
	apiSP    = directory.ServicePrincipal{ID: principal.ID{3, 3}, AppID: api.AppID, Tenant: tenantA.ID, DisplayName: "Orders"}

	inner = directory.Group{ID: principal.ID{4, 1}, Tenant: tenantA.ID, DisplayName: "dev-team"}
	outer = directory.Group{ID: principal.ID{4, 2}, Tenant: tenantA.ID, DisplayName: "everybody"}
)

func parse[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](s string) T {
	var v T
	if err := P(&v).UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return v
}

// A clock runs, and can be put forward.
type clock struct {
	ahead   atomic.Int64
	stopped atomic.Pointer[time.Time] // nil while it runs
}

func (c *clock) Now() time.Time {
	now := time.Now()
	if at := c.stopped.Load(); at != nil {
		now = *at
	}
	return now.Add(time.Duration(c.ahead.Load()))
}

func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// stop makes it go on by forward alone, where what is tried must not depend on how
// long the test takes.
func (c *clock) stop() {
	now := time.Now()
	c.stopped.Store(&now)
}

// A world is a house with its issuer: one store, and one replica or more.
type world struct {
	t        testing.TB
	clock    *clock
	store    *store.Store
	kv       store.KV
	foreign  *foreigners
	issuer   *issue.Issuer
	ring     *keys.Ring
	server   *httptest.Server
	secret   string // of web
	trace    *serve.Trace
	replicas []*httptest.Server
}

func newWorld(t testing.TB) *world { return newWorldOn(t, new(store.Memory), token.ES256) }

func newWorldOn(t testing.TB, kv store.KV, alg string) *world {
	t.Helper()
	w := &world{t: t, clock: new(clock), kv: kv, foreign: newForeigners()}
	w.store, w.ring, w.issuer, w.server = w.replica(alg)
	w.replicas = []*httptest.Server{w.server}

	members := []record.Record{
		directory.Membership{Group: inner.ID, Member: faye.ID},
		directory.Membership{Group: outer.ID, Member: inner.ID},
	}
	w.commit(append([]record.Record{tenantA, tenantB, faye, guest, ben, inner, outer, web, native, api, webSP, nativeSP, apiSP}, members...)...)
	if err := w.ring.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	secret, err := issue.NewClientSecret(web.AppID, "test", w.clock.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.secret = secret.Text.Reveal()
	w.private(secret.Op)
	hash := sharedPassword(t)
	for _, u := range []directory.User{faye, guest, ben} {
		op := hash
		op.ID = []string{u.ID.String()}
		w.private(op)
	}
	return w
}

// sharedPassword hashes the password of everybody once: it takes a while.
var passwordOnce = func() func(testing.TB) store.PrivateOp {
	var cached atomic.Pointer[store.PrivateOp]
	return func(t testing.TB) store.PrivateOp {
		if op := cached.Load(); op != nil {
			return *op
		}
		op, err := issue.PasswordOp(faye.ID, password, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		cached.Store(&op)
		return op
	}
}()

func sharedPassword(t testing.TB) store.PrivateOp { return passwordOnce(t) }

func (w *world) replica(alg string) (*store.Store, *keys.Ring, *issue.Issuer, *httptest.Server) {
	t := w.t
	t.Helper()
	if w.trace == nil {
		w.trace = serve.NewTrace(100)
	}
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{KV: w.kv, Sealer: sealer, Init: true, Now: w.clock.Now, MaxAge: 1e6 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(t.Context(), keys.Config{State: s, Alg: alg, Now: w.clock.Now, MaxAge: 1e6 * time.Hour, Poll: 5 * time.Millisecond, SignFor: 1e5 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	iss, err := issue.New(issue.Config{State: s, Keys: ring, Foreign: w.foreign, Authority: authority, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(oidc.New(oidc.Config{Issuer: iss, Trace: w.trace}))
	t.Cleanup(func() {
		server.Close()
		ring.Close()
		s.Close()
	})
	return s, ring, iss, server
}

// addReplica starts another replica over the same database.
func (w *world) addReplica() *httptest.Server {
	_, _, _, server := w.replica(token.ES256)
	w.replicas = append(w.replicas, server)
	return server
}

func (w *world) commit(recs ...record.Record) {
	w.t.Helper()
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	if _, err := w.store.Commit(w.t.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(keys ...record.Key) {
	w.t.Helper()
	var ops []estate.Op
	for _, k := range keys {
		ops = append(ops, estate.Op{Delete: k})
	}
	if _, err := w.store.Commit(w.t.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) private(ops ...store.PrivateOp) {
	w.t.Helper()
	if err := w.store.CommitPrivate(context.Background(), ops...); err != nil {
		w.t.Fatal(err)
	}
}

// verify returns the claims of an access token of tenant A.
func (w *world) verify(raw string, audiences ...string) token.Claims {
	w.t.Helper()
	c, err := w.check(raw, token.AccessToken, audiences...)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) check(raw string, purpose token.Purpose, audiences ...string) (token.Claims, error) {
	w.t.Helper()
	return w.checkAt(tenantA.ID, raw, purpose, audiences...)
}

// checkAt is check for who accepts tokens of another tenant.
func (w *world) checkAt(tenant directory.TenantID, raw string, purpose token.Purpose, audiences ...string) (token.Claims, error) {
	tid := tenant.String()
	want := token.Want{Tenant: tenant, Issuers: []string{"https://sts.windows.net/" + tid + "/", authority + "/" + tid + "/v2.0"}, Audiences: audiences, Purpose: purpose}
	return token.Verify(raw, w.ring.Set(), want, w.clock.Now())
}

// A reply is what an endpoint for programs said.
type reply struct {
	Status  int
	Header  http.Header
	Body    map[string]any
	Raw     string
	Error   string
	Code    int // the first of error_codes
	Access  string
	Refresh string
	ID      string
}

func readReply(t testing.TB, res *http.Response, err error) reply {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{Status: res.StatusCode, Header: res.Header, Raw: string(raw)}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &r.Body); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	}
	r.Error, _ = r.Body["error"].(string)
	if codes, _ := r.Body["error_codes"].([]any); len(codes) > 0 {
		n, _ := codes[0].(float64)
		r.Code = int(n)
	}
	r.Access, _ = r.Body["access_token"].(string)
	r.Refresh, _ = r.Body["refresh_token"].(string)
	r.ID, _ = r.Body["id_token"].(string)
	return r
}

// post sends a form as a program does.
func (w *world) post(path string, form url.Values) reply {
	w.t.Helper()
	return postTo(w.t, w.server, path, form)
}

func postTo(t testing.TB, s *httptest.Server, path string, form url.Values) reply {
	t.Helper()
	res, err := s.Client().PostForm(s.URL+path, form)
	return readReply(t, res, err)
}

func (w *world) get(path string) reply {
	w.t.Helper()
	res, err := w.server.Client().Get(w.server.URL + path)
	return readReply(w.t, res, err)
}

// form makes a form of names and values in turn.
func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// with returns form v with some values changed; an empty one is left out.
func with(v url.Values, pairs ...string) url.Values {
	out := url.Values{}
	for k, all := range v {
		out[k] = all
	}
	for i := 0; i < len(pairs); i += 2 {
		out.Del(pairs[i])
		if pairs[i+1] != "" {
			out.Set(pairs[i], pairs[i+1])
		}
	}
	return out
}

func tokenPath(realm string) string { return "/" + realm + "/oauth2/v2.0/token" }

// A browser keeps cookies and follows nothing.
type browser struct {
	t      testing.TB
	w      *world
	client *http.Client
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	c := *w.server.Client()
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{t: w.t, w: w, client: &c}
}

func (b *browser) get(path string) reply {
	b.t.Helper()
	res, err := b.client.Get(b.w.server.URL + path)
	return readReply(b.t, res, err)
}

var (
	actionRE = regexp.MustCompile(`<form [^>]*action="([^"]*)"`)
	hiddenRE = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	unescape = strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">")
)

// submit fills in the form of a page and presses a button.
func (b *browser) submit(page reply, pairs ...string) reply {
	b.t.Helper()
	m := actionRE.FindStringSubmatch(page.Raw)
	if m == nil {
		b.t.Fatalf("no form in %d: %s", page.Status, page.Raw)
	}
	f := hidden(page)
	for i := 0; i < len(pairs); i += 2 {
		f.Set(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.w.server.URL+unescape.Replace(m[1]), strings.NewReader(f.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := b.client.Do(req)
	return readReply(b.t, res, err)
}

func hidden(page reply) url.Values {
	f := url.Values{}
	for _, h := range hiddenRE.FindAllStringSubmatch(page.Raw, -1) {
		f.Set(unescape.Replace(h[1]), unescape.Replace(h[2]))
	}
	return f
}

// location returns the parameters of a redirect.
func location(t testing.TB, r reply) url.Values {
	t.Helper()
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil || r.Status != http.StatusSeeOther {
		t.Fatalf("no redirect by 303: %d %q %s", r.Status, r.Header.Get("Location"), r.Raw)
	}
	return u.Query()
}

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorizeQuery is a good request of the native client.
func authorizeQuery() url.Values {
	return form("client_id", native.AppID.String(), "response_type", "code", "redirect_uri", "http://127.0.0.1:4711/cb",
		"scope", aksScope, "state", "s t+ä", "nonce", "n-1", "code_challenge", challenge(), "code_challenge_method", "S256")
}

func authorizePath(q url.Values) string {
	return "/" + tenantA.ID.String() + "/oauth2/v2.0/authorize?" + q.Encode()
}

// code signs faye in and returns a code of the native client.
func (w *world) code(q url.Values) string {
	w.t.Helper()
	b := w.browser()
	done := b.submit(b.get(authorizePath(q)), "username", faye.UserPrincipalName, "password", password, "action", "signin")
	code := location(w.t, done).Get("code")
	if code == "" {
		w.t.Fatalf("no code: %s", done.Header.Get("Location"))
	}
	return code
}

func redeem(code string) url.Values {
	return form("grant_type", "authorization_code", "client_id", native.AppID.String(), "code", code,
		"redirect_uri", "http://127.0.0.1:4711/cb", "code_verifier", verifier, "scope", aksScope, "client_info", "1")
}

// ropc is a token request with faye's password.
func ropc(pairs ...string) url.Values {
	return with(form("grant_type", "password", "client_id", az, "username", faye.UserPrincipalName, "password", password,
		"scope", "https://management.core.windows.net//.default offline_access openid profile"), pairs...)
}
