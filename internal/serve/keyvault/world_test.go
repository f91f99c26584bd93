package keyvault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
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
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

func person(n int) principal.ID {
	return servetest.ID(fmt.Sprintf("20000000-0000-4000-8000-0000000000b%d", n))
}

// Who there is beside those of every World.
var (
	admin   = person(1) // Key Vault Administrator of kv and of the other vaults
	user    = person(2) // Key Vault Secrets User of kv
	reader  = person(3) // Key Vault Reader of kv
	one     = person(4) // Key Vault Secrets User of the one secret db
	owner   = person(5) // Owner of the subscription
	barred  = person(6) // Key Vault Administrator of kv, but for the values of secrets
	alien   = person(7) // Key Vault Administrator at the root, of the other tenant
	crypto  = person(8) // Key Vault Crypto User of kv
	certs   = person(9) // Key Vault Certificates Officer of kv
	vaultAt = func(name string) scope.Scope {
		return scope.MustParse(servetest.Group.String() + "/providers/Microsoft.KeyVault/vaults/" + name)
	}
)

const (
	canary    = "canary-vault-5e9d"
	authority = "https://login.example"
	version   = "?api-version=7.6"
)

// Roles of Azure.
const (
	administrator = "00482a5a-887f-4fb3-b363-3b7fe8e74483"
	secretsUser   = "4633458b-17de-408a-b874-0445c86b69e6"
	vaultReader   = "21090545-7ca7-4776-b22c-e363652d74d2"
	cryptoUser    = "12338af0-0e69-4776-bea7-57ae8d297424"
	certOfficer   = "a4417e6f-fecd-4de8-b567-7b0420556985"
	ownerRole     = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
)

type house struct {
	t      *testing.T
	store  *store.Store
	state  *late
	door   *keyvault.Door
	server *servetest.Server
	client *http.Client
	key    token.SigningKey
	key2   token.SigningKey // of the other tenant
	ahead  atomic.Int64
	log    *lockedBuffer
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

// late is a store in which something else can come first, and which can fail.
type late struct {
	*store.Store
	first func()
	fail  atomic.Pointer[error]
	stale atomic.Bool
}

func (l *late) Commit(ctx context.Context, c store.Change) (int64, error) {
	if first := l.first; first != nil {
		l.first = nil
		first()
	}
	if err := l.fail.Load(); err != nil {
		return 0, *err
	}
	return l.Store.Commit(ctx, c)
}

func (l *late) Fresh(now time.Time) error {
	if l.stale.Load() {
		return store.ErrStale
	}
	return nil
}

func issuer(t directory.TenantID) string { return authority + "/" + t.String() + "/" }

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

func (h *house) days(n int) { h.ahead.Add(int64(time.Duration(n) * 24 * time.Hour)) }

func give(n int, at scope.Scope, who principal.ID, what string) azurerbac.Assignment {
	return azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(fmt.Sprintf("62000000-0000-4000-8000-%012d", n))), Scope: at, Principal: who, Role: azurerbac.DefinitionID(servetest.ID(what))}
}

func newVault(t testing.TB, name, properties string) resource.Other {
	t.Helper()
	p, err := resource.ParseProperties([]byte(properties))
	if err != nil {
		t.Fatal(err)
	}
	return resource.Other{Scope: vaultAt(name), Name: name, Type: "Microsoft.KeyVault/vaults", Location: "westeurope", Properties: p}
}

// newHouse is a house with the vaults kv, protected (from purging), policies (of
// access policies), private and walled (by its network rules).
func newHouse(t *testing.T, change ...func(*keyvault.Config)) *house {
	t.Helper()
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{KV: new(store.Memory), Sealer: sealer, Init: true, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	h := &house{t: t, store: st, state: &late{Store: st}, log: new(lockedBuffer)}
	var records []record.Record
	for r := range servetest.NewWorld(t).Current().Records() {
		records = append(records, r)
	}
	for i, name := range []string{"admin", "user", "reader", "one", "owner", "barred", "alien", "crypto", "certs"} {
		tenant := servetest.Tenant
		if name == "alien" {
			tenant = servetest.Tenant2
		}
		records = append(records, directory.User{ID: person(i + 1), Tenant: tenant, UserPrincipalName: name + "@teknews.cloud"})
	}
	rbac := `"tenantId":"` + servetest.Tenant.String() + `","enableRbacAuthorization":true`
	h.put(append(records,
		newVault(t, "kv", `{`+rbac+`,"softDeleteRetentionInDays":7}`), newVault(t, "protected", `{`+rbac+`,"enablePurgeProtection":true}`),
		newVault(t, "policies", `{"accessPolicies":[{"objectId":"`+admin.String()+`"}]}`), newVault(t, "private", `{`+rbac+`,"publicNetworkAccess":"Disabled"}`),
		newVault(t, "walled", `{`+rbac+`,"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"10.0.0.0/8"}]}}`),
		newVault(t, "theirs", `{"tenantId":"`+servetest.Tenant2.String()+`","enableRbacAuthorization":true}`), newVault(t, "odd", `{`+rbac+`,"softDeleteRetentionInDays":1}`),
		give(1, servetest.Group, admin, administrator), give(2, vaultAt("kv"), user, secretsUser), give(3, vaultAt("kv"), reader, vaultReader),
		give(4, scope.MustParse(vaultAt("kv").String()+"/secrets/db"), one, secretsUser), give(5, servetest.Subscription, owner, ownerRole),
		give(6, vaultAt("kv"), barred, administrator), give(7, scope.Root, alien, administrator), give(8, vaultAt("kv"), crypto, cryptoUser), give(9, vaultAt("kv"), certs, certOfficer),
		azurerbac.DenyAssignment{ID: azurerbac.DenyAssignmentID(servetest.ID("61000000-0000-4000-8000-0000000000b1")), Name: "no values", Scope: vaultAt("kv"), Principals: []principal.ID{barred},
			Permissions: []azurerbac.Permission{{DataActions: []string{"Microsoft.KeyVault/vaults/secrets/getSecret/action"}}}},
	)...)
	now := time.Now()
	if h.key, err = token.GenerateKey(servetest.Tenant, token.AccessToken, token.ES256, now.Add(-time.Hour), now.Add(1000*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	theirs, err := token.GenerateKey(servetest.Tenant2, token.AccessToken, token.ES256, now.Add(-time.Hour), now.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	set, err := token.NewKeySet(h.key.Key, theirs.Key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := safe.New(safe.Config{State: h.state, There: keyvault.There, Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	h.server = servetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.door.Handler().ServeHTTP(w, r) }), false)
	conf := keyvault.Config{
		State: h.state, Safe: s, Keys: func() token.KeySet { return set }, Issuers: func(t directory.TenantID) []string { return []string{issuer(t)} },
		Authority: authority, Base: h.server.URL, Now: h.now, Log: slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&conf)
	}
	if h.door, err = keyvault.New(conf); err != nil {
		t.Fatal(err)
	}
	h.client = h.server.Anonymous()
	h.key2 = theirs
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

func (h *house) sign(key token.SigningKey, tenant directory.TenantID, who principal.ID, audience string) string {
	h.t.Helper()
	now := h.now().Truncate(time.Second)
	raw, err := token.Sign(key, token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuer(tenant), Audience: audience,
		Subject: "s", Tenant: tenant, ObjectID: who, ID: "u", IssuedAt: now, NotBefore: now, Expires: now.Add(time.Hour),
		AppID: directory.AppID(servetest.ID("04b07795-8ddb-461a-bbee-02f9e1bf7b46")), AppAuth: "0",
	}, "JWT")
	if err != nil {
		h.t.Fatal(err)
	}
	return raw
}

func (h *house) token(who principal.ID) string {
	return h.sign(h.key, servetest.Tenant, who, keyvault.Resource)
}

type reply struct {
	status int
	header http.Header
	text   string
}

// in returns a member of the answer, by its path.
func (r reply) in(path ...string) string {
	var v any
	json.Unmarshal([]byte(r.text), &v)
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// String is the status, the code and the inner code.
func (r reply) String() string {
	text := fmt.Sprint(r.status)
	for _, part := range []string{r.in("error", "code"), r.in("error", "innererror", "code")} {
		if part != "" {
			text += " " + part
		}
	}
	return text
}

// ask sends a request about the vault kv; the path may name another with a //.
func (h *house) ask(who principal.ID, method, path, body string) reply {
	return h.bearing(h.token(who), method, path, body)
}

func (h *house) bearing(raw, method, path, body string) reply {
	h.t.Helper()
	if other, ok := strings.CutPrefix(path, "//"); ok {
		path = "/vaults/" + other
	} else {
		path = "/vaults/kv" + path
	}
	req, err := http.NewRequest(method, h.server.URL, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	p, query, found := strings.Cut(path, "?")
	if !found {
		query = version[1:]
	}
	req.URL.Opaque, req.URL.RawQuery = "//"+req.URL.Host+p, query
	if raw != "" {
		req.Header.Set("Authorization", "Bearer "+raw)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
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

func (h *house) want(r reply, law, want string) reply {
	h.t.Helper()
	if r.String() != want {
		h.t.Errorf("%s: %s, want %s: %.300s", law, r, want, r.text)
	}
	return r
}

// audit returns all records as JSON.
func (h *house) audit() (records []store.AuditRecord, text string) {
	h.t.Helper()
	for r, err := range h.store.Audit(h.t.Context(), 0) {
		if err != nil {
			h.t.Fatal(err)
		}
		records = append(records, r)
		b, err := record.Marshal(r)
		if err != nil {
			h.t.Fatal(err)
		}
		text += string(b) + "\n"
	}
	return records, text
}
