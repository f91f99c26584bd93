package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var (
	root    = servetest.ID("20000000-0000-4000-8000-0000000000a1") // Owner at the root
	deputy  = servetest.ID("20000000-0000-4000-8000-0000000000a2") // may give out Reader roles in the group web, under a condition
	ownerRG = servetest.ID("20000000-0000-4000-8000-0000000000a3") // Owner of the group web
	rooty   = role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635")         // Owner
	rbacAdm = role("f58310d9-a9f6-439a-9e8d-f62e7b41a168")         // Role Based Access Control Administrator
)

func role(s string) azurerbac.DefinitionID { return azurerbac.DefinitionID(servetest.ID(s)) }
func assignmentID(n int) azurerbac.AssignmentID {
	return azurerbac.AssignmentID(servetest.ID(fmt.Sprintf("62000000-0000-4000-8000-%012d", n)))
}

type house struct {
	t      testing.TB
	store  *store.Store
	kv     *store.Memory
	server *servetest.Server
	access token.SigningKey
	trace  *serve.Trace
	calls  []string
}

func issuers(t directory.TenantID) []string {
	return []string{"https://127.0.0.1:8443/" + t.String() + "/"}
}

func newHouse(t testing.TB, change ...func(*api.Config)) *house {
	t.Helper()
	key, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	kv := new(store.Memory)
	st, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: key, Init: true, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	h := &house{t: t, store: st, kv: kv, trace: serve.NewTrace(10)}
	var ops []estate.Op
	for r := range servetest.NewWorld(t).Current().Records() {
		ops = append(ops, estate.Op{Put: r})
	}
	person := func(id principal.ID, name string) estate.Op {
		return estate.Op{Put: directory.User{ID: id, Tenant: servetest.Tenant, UserPrincipalName: name}}
	}
	ops = append(ops, person(root, "root@teknews.cloud"), person(deputy, "deputy@teknews.cloud"), person(ownerRG, "owner@teknews.cloud"),
		estate.Op{Put: azurerbac.Assignment{ID: assignmentID(1), Scope: scope.Root, Principal: root, Role: rooty}},
		estate.Op{Put: azurerbac.Assignment{ID: assignmentID(2), Scope: servetest.Group, Principal: deputy, Role: rbacAdm, ConditionVersion: "2.0",
			Condition: "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR (@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {" + servetest.Reader.String() + "} AND @Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEquals 'User'))" +
				" AND ((!(ActionMatches{'Microsoft.Authorization/roleAssignments/delete'})) OR (@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {" + servetest.Reader.String() + "}))"}},
		estate.Op{Put: azurerbac.Assignment{ID: assignmentID(3), Scope: servetest.Group, Principal: ownerRG, Role: rooty}},
		estate.Op{Put: azurerbac.Assignment{ID: assignmentID(4), Scope: servetest.AKS1, Principal: servetest.Robot, Role: rooty}},
	)
	if _, err := st.Commit(t.Context(), store.Change{Ops: ops, Why: "test"}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if h.access, err = token.GenerateKey(servetest.Tenant, token.AccessToken, token.ES256, now.Add(-time.Hour), now.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	set, err := token.NewKeySet(h.access.Key)
	if err != nil {
		t.Fatal(err)
	}
	conf := api.Config{
		State: st, Keys: func() token.KeySet { return set }, Issuers: issuers, Trace: h.trace,
		ChangePassword: func(_ context.Context, by, user principal.ID, password string) error {
			h.calls = append(h.calls, fmt.Sprint(by, user, password))
			return nil
		},
	}
	for _, f := range change {
		f(&conf)
	}
	door, err := api.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	h.server = servetest.Start(t, door.Handler(), false)
	return h
}

func (h *house) token(who principal.ID, change ...func(*token.Claims)) string {
	h.t.Helper()
	now := time.Now().Truncate(time.Second)
	c := token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuers(servetest.Tenant)[0], Audience: api.Audience,
		Subject: "s", Tenant: servetest.Tenant, ObjectID: who, ID: "u", IssuedAt: now, NotBefore: now, Expires: now.Add(time.Hour),
		AppID: directory.AppID(servetest.ID("04b07795-8ddb-461a-bbee-02f9e1bf7b46")), AppAuth: "0",
	}
	for _, f := range change {
		f(&c)
	}
	raw, err := token.Sign(h.access, c, "JWT")
	if err != nil {
		h.t.Fatal(err)
	}
	return raw
}

func (h *house) as(who principal.ID, change ...func(*token.Claims)) *client.Client {
	raw := h.token(who, change...)
	return &client.Client{Base: h.server.URL, HTTP: h.server.Anonymous(), Token: func(context.Context) (string, error) { return raw, nil }}
}

func put(t testing.TB, r record.Record) wire.Op {
	t.Helper()
	spec, err := record.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Op{Put: &wire.Record{Kind: r.Key().Kind, Spec: jsontext.Value(spec)}}
}

func del(k record.Key, dependents bool) wire.Op {
	n := len(k.Parts)
	for n > 1 && k.Parts[n-1] == "" {
		n--
	}
	return wire.Op{Delete: &wire.Delete{Kind: k.Kind, Parts: k.Parts[:n], Dependents: dependents}}
}

func code(err error) string {
	if refused, ok := errors.AsType[*client.Error](err); ok {
		return refused.Code
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func TestTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, tt := range []struct {
		law    string
		client *client.Client
		code   string
	}{
		{"a token for this door", h.as(root), "ok"},
		{"by its application id", h.as(root, func(c *token.Claims) { c.Audience = api.App }), "ok"},
		{"JWT-14: a token for clusters", h.as(root, func(c *token.Claims) { c.Audience = "6dae42f8-4368-4678-94ff-3960e28e3630" }), "InvalidAuthenticationToken"},
		{"JWT-14: a token for Azure", h.as(root, func(c *token.Claims) { c.Audience = "https://management.azure.com/" }), "InvalidAuthenticationToken"},
		{"JWT-29: of a disabled user", h.as(servetest.Spike), "InvalidAuthenticationToken"},
		{"JWT-29: of a deleted one", h.as(servetest.ID("20000000-0000-4000-8000-0000000000ff")), "InvalidAuthenticationToken"},
		{"of a user of another tenant", h.as(servetest.Vicious), "InvalidAuthenticationToken"},
		{"no token", &client.Client{Base: h.server.URL, HTTP: h.server.Anonymous(), Token: func(context.Context) (string, error) { return "", nil }}, "AuthenticationFailed"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			who, err := tt.client.WhoAmI(t.Context())
			if code(err) != tt.code || err == nil && who.Name != "root@teknews.cloud" {
				t.Errorf("%+v %v, want %s", who, err, tt.code)
			}
		})
	}
}

func TestChangesAreAuthorised(t *testing.T) { // AZ-14
	t.Parallel()
	h := newHouse(t)
	assign := func(n int, at scope.Scope, who principal.ID, r azurerbac.DefinitionID) wire.Op {
		return put(t, azurerbac.Assignment{ID: assignmentID(n), Scope: at, Principal: who, Role: r})
	}
	other := scope.MustParse(servetest.Subscription.String() + "/resourceGroups/other")
	mg := resource.ManagementGroup{Scope: scope.MustParse("/providers/Microsoft.Management/managementGroups/g"), Tenant: servetest.Tenant}
	aks1, _ := h.store.Current().Cluster(servetest.AKS1)
	foreign := aks1
	foreign.Tenant = servetest.Tenant2
	custom := azurerbac.Definition{ID: role("70000000-0000-4000-8000-000000000001"), RoleName: "mine", AssignableScopes: []scope.Scope{servetest.Group, other}, Permissions: []azurerbac.Permission{{Actions: []string{"*"}}}}
	vault := func(properties string) wire.Op {
		p, err := resource.ParseProperties([]byte(properties))
		if err != nil {
			t.Fatal(err)
		}
		return put(t, resource.Other{Scope: scope.MustParse(servetest.Group.String() + "/providers/Microsoft.KeyVault/vaults/kept"), Name: "kept", Type: "Microsoft.KeyVault/vaults", Location: "westeurope", Properties: p})
	}
	narrow := custom
	narrow.AssignableScopes = custom.AssignableScopes[:1]
	for _, tt := range []struct {
		law  string
		who  principal.ID
		ops  []wire.Op
		code string
	}{
		{"an owner assigns in his group", ownerRG, []wire.Op{assign(10, servetest.AKS1, servetest.Faye, servetest.Writer)}, "ok"},
		{"AZ-14: not above it", ownerRG, []wire.Op{assign(11, servetest.Subscription, servetest.Faye, servetest.Reader)}, "AuthorizationFailed"},
		{"AZ-14: not at the root", ownerRG, []wire.Op{assign(11, scope.Root, ownerRG, rooty)}, "AuthorizationFailed"},
		{"AZ-14: not beside it", ownerRG, []wire.Op{assign(11, other, ownerRG, rooty)}, "AuthorizationFailed"},
		{"a deputy gives out what he may", deputy, []wire.Op{assign(12, servetest.AKS1, servetest.Faye, servetest.Reader)}, "ok"},
		{"AZ-14: no higher role", deputy, []wire.Op{assign(13, servetest.AKS1, servetest.Faye, rooty)}, "AuthorizationFailed"},
		{"AZ-14: nor to himself", deputy, []wire.Op{assign(13, servetest.Group, deputy, rooty)}, "AuthorizationFailed"},
		{"AZ-14: nor to a group that is called a user", deputy, []wire.Op{put(t, azurerbac.Assignment{ID: assignmentID(13), Scope: servetest.AKS1, Principal: servetest.Staff, PrincipalType: principal.User, Role: servetest.Reader})}, "AuthorizationFailed"},
		{"AZ-14: nor to nobody yet", deputy, []wire.Op{put(t, azurerbac.Assignment{ID: assignmentID(13), Scope: servetest.AKS1, Principal: servetest.ID("20000000-0000-4000-8000-0000000000ff"), PrincipalType: principal.User, Role: servetest.Reader})}, "AuthorizationFailed"},
		{"AZ-14: nor over a greater one", deputy, []wire.Op{assign(3, servetest.Group, ownerRG, servetest.Reader)}, "AuthorizationFailed"},
		{"AZ-14: nor takes away a greater one", deputy, []wire.Op{del(azurerbac.Assignment{ID: assignmentID(3)}.Key(), false)}, "AuthorizationFailed"},
		{"all ops or none", ownerRG, []wire.Op{assign(14, servetest.AKS1, servetest.Faye, servetest.Reader), assign(15, scope.Root, ownerRG, rooty)}, "AuthorizationFailed"},
		{"what one op gives no other may use", servetest.Faye, []wire.Op{assign(16, servetest.Group, servetest.Faye, rooty), assign(17, servetest.AKS1, servetest.Jet, rooty)}, "AuthorizationFailed"},
		{"a user without rights changes nothing", servetest.Faye, []wire.Op{put(t, directory.Membership{Group: servetest.Admins, Member: servetest.Faye})}, "AuthorizationFailed"},
		{"nor does the owner of a group of resources change the directory", ownerRG, []wire.Op{put(t, directory.Membership{Group: servetest.Admins, Member: ownerRG})}, "AuthorizationFailed"},
		{"who owns the root does", root, []wire.Op{put(t, directory.Membership{Group: servetest.Admins, Member: servetest.Jet})}, "ok"},
		{"an owner changes his cluster", ownerRG, []wire.Op{put(t, aks1)}, "ok"},
		{"but not whose tokens it takes", ownerRG, []wire.Op{put(t, foreign)}, "AuthorizationFailed"},
		{"an owner of a cluster changes no other", servetest.Robot, []wire.Op{put(t, resource.Cluster{Scope: servetest.AKS2, Name: "aks-2", ResourceGroup: "web", Tenant: servetest.Tenant})}, "AuthorizationFailed"},
		{"a role is written where it may be assigned", ownerRG, []wire.Op{put(t, narrow)}, "ok"},
		{"in all of these places", ownerRG, []wire.Op{put(t, custom)}, "AuthorizationFailed"},
		{"a management group is made at the root", ownerRG, []wire.Op{put(t, mg)}, "AuthorizationFailed"},
		{"by who may", root, []wire.Op{put(t, mg)}, "ok"},
		{"a subscription does not move itself", ownerRG, []wire.Op{put(t, resource.Subscription{Scope: servetest.Subscription, Tenant: servetest.Tenant, Parent: mg.Scope})}, "AuthorizationFailed"},
		{"bindings of a cluster are its owner's", servetest.Robot, []wire.Op{put(t, kuberbac.Binding{Cluster: servetest.AKS2, Namespace: "a", Name: "b", RoleIsCluster: true, Role: "admin"})}, "AuthorizationFailed"},
		{"a vault is made", ownerRG, []wire.Op{vault(`{}`)}, "ok"},
		{"that protects what is deleted", ownerRG, []wire.Op{vault(`{"enablePurgeProtection":true,"x":1}`)}, "ok"},
		{"and changes", ownerRG, []wire.Op{vault(`{"enablePurgeProtection":true}`)}, "ok"},
		{"but does not end to protect it", root, []wire.Op{vault(`{"enablePurgeProtection":false}`)}, "BadRequest"},
		{"nor if nothing is said of it", root, []wire.Op{vault(`{}`)}, "BadRequest"},
		{"nor by what cannot be read", root, []wire.Op{vault(`{"enablePurgeProtection":true,"softDeleteRetentionInDays":1}`)}, "BadRequest"},
		{"a system name is refused at write", root, []wire.Op{put(t, directory.Group{ID: servetest.ID("30000000-0000-4000-8000-0000000000aa"), Tenant: servetest.Tenant, DisplayName: "system:masters"})}, "BadRequest"}, // DIR-08
		{"an unknown kind", root, []wire.Op{{Put: &wire.Record{Kind: "Emperor", Spec: jsontext.Value("{}")}}}, "BadRequest"},
		{"a record with a member too many", root, []wire.Op{{Put: &wire.Record{Kind: record.Membership, Spec: jsontext.Value(`{"group":"` + servetest.Admins.String() + `","member":"` + servetest.Jet.String() + `","Member":"x"}`)}}}, "BadRequest"},
		{"an op that is none", root, []wire.Op{{}}, "BadRequest"},
		{"no ops", root, nil, "BadRequest"},
		{"a record that is not there", root, []wire.Op{del(azurerbac.Assignment{ID: assignmentID(99)}.Key(), false)}, "NotFound"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			before := h.store.Current().Revision()
			rev, err := h.as(tt.who).Commit(t.Context(), wire.Changes{Why: tt.law, Ops: tt.ops})
			if code(err) != tt.code {
				t.Fatalf("%v, want %s", err, tt.code)
			}
			if after := h.store.Current().Revision(); err == nil && after < rev || err != nil && after != before {
				t.Errorf("revision %d, then %d, answered %d", before, after, rev)
			}
		})
	}
}

func TestRefusalNamesActionAndScope(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, err := h.as(servetest.Faye).Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, azurerbac.Assignment{ID: assignmentID(20), Scope: servetest.Group, Principal: servetest.Faye, Role: rooty})}})
	want := "(AuthorizationFailed) The client 'faye@teknews.cloud' with object id '" + servetest.Faye.String() + "' does not have authorization or an ABAC condition not fulfilled to perform action 'Microsoft.Authorization/roleAssignments/write' over scope '" + servetest.Group.String() + "' or the scope is invalid. If access was recently granted, please refresh your credentials."
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestAssignmentsSayWhoMadeThem(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	forged := azurerbac.Assignment{ID: assignmentID(30), Scope: servetest.AKS1, Principal: servetest.Faye, Role: servetest.Reader, CreatedBy: servetest.Jet, UpdatedBy: servetest.Jet}
	if _, err := h.as(ownerRG).Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, forged)}}); err != nil {
		t.Fatal(err)
	}
	forged.Description = "again"
	if _, err := h.as(root).Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, forged)}}); err != nil {
		t.Fatal(err)
	}
	got, _ := h.store.Current().Assignment(forged.ID)
	if got == nil || got.CreatedBy != ownerRG || got.UpdatedBy != root || got.CreatedOn.IsZero() || got.PrincipalType != principal.User {
		t.Errorf("%+v", got)
	}
}

func TestDeleteWithDependents(t *testing.T) { // DIR-05
	t.Parallel()
	h := newHouse(t)
	key := directory.User{ID: servetest.Faye}.Key()
	if _, err := h.as(root).Commit(t.Context(), wire.Changes{Ops: []wire.Op{del(key, false)}}); code(err) != "InUse" {
		t.Errorf("with memberships left behind: %v", err)
	}
	if _, err := h.as(root).Commit(t.Context(), wire.Changes{Ops: []wire.Op{del(key, true)}}); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.store.Current().User(servetest.Faye); ok {
		t.Error("she is still there")
	}
	if _, err := h.as(servetest.Faye).WhoAmI(t.Context()); code(err) != "InvalidAuthenticationToken" { // JWT-29
		t.Errorf("her token: %v", err)
	}
}

func TestIfRevision(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.as(root)
	member := directory.Membership{Group: servetest.Admins, Member: servetest.Jet}
	seen := h.store.Current().Revision()
	rev, err := c.Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, member)}, IfRevision: seen})
	if err != nil || c.AtLeast != rev {
		t.Fatal(rev, err)
	}
	if _, err := c.Commit(t.Context(), wire.Changes{Ops: []wire.Op{del(member.Key(), false)}, IfRevision: seen}); code(err) != "Conflict" {
		t.Errorf("over a change that was not seen: %v", err)
	}
	if _, err := c.Commit(t.Context(), wire.Changes{Ops: []wire.Op{del(member.Key(), false)}, IfRevision: rev}); err != nil {
		t.Errorf("over one that was: %v", err)
	}
}

func TestEstateIsFiltered(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	kinds := func(who principal.ID, only ...record.Kind) []record.Kind {
		t.Helper()
		e, err := h.as(who).Estate(t.Context(), only...)
		if err != nil {
			t.Fatal(err)
		}
		var list []record.Kind
		for _, r := range e.Records {
			if _, err := estate.Decode(r.Kind, r.Spec); err != nil {
				t.Errorf("what was read cannot be put again: %v", err)
			}
			list = append(list, r.Kind)
		}
		return slices.Compact(list)
	}
	if got := kinds(root); !slices.Contains(got, record.User) || !slices.Contains(got, record.DenyAssignment) {
		t.Errorf("the owner of the root reads %v", got)
	}
	if got := kinds(root, record.Cluster, record.Group); !slices.Equal(got, []record.Kind{record.Group, record.Cluster}) {
		t.Errorf("of two kinds he reads %v", got)
	}
	if got := kinds(servetest.Identity); len(got) != 0 {
		t.Errorf("who has no right reads %v", got)
	}
	if got := kinds(servetest.Ed); !slices.Equal(got, []record.Kind{record.User}) {
		t.Errorf("a guest reads %v, want himself alone", got)
	}
	if got := kinds(servetest.Faye); !slices.Equal(got, []record.Kind{record.Tenant, record.User, record.Group, record.Application, record.ServicePrincipal, record.Membership, record.RoleAssignment}) {
		t.Errorf("a writer in one namespace reads %v, want the directory, and the assignments there", got)
	}
	if got := kinds(ownerRG); slices.Contains(got, record.Subscription) || !slices.Contains(got, record.Cluster) {
		t.Errorf("the owner of a group of resources reads %v", got)
	}
	e, err := h.as(servetest.Faye).Estate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range e.Records {
		if strings.Contains(string(r.Spec), servetest.Tenant2.String()) {
			t.Errorf("ARM-07: a member of one tenant reads %s of another", r.Spec)
		}
	}
	if _, err := h.as(root).Estate(t.Context(), "Emperor"); code(err) != "BadRequest" {
		t.Errorf("an unknown kind: %v", err)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pods := &wire.Kube{Verb: "list", Resource: "pods", Namespace: "dev"}
	at := servetest.AKS1.String()
	for _, tt := range []struct {
		law  string
		who  principal.ID
		ask  wire.Question
		want string // effect or code
	}{
		{"everybody asks about himself", servetest.Faye, wire.Question{Scope: at, Kube: pods}, "allow"},
		{"by name as well", servetest.Faye, wire.Question{Who: "Faye@teknews.cloud", Scope: at, Kube: pods}, "allow"},
		{"about others only who may read assignments", servetest.Faye, wire.Question{Who: "jet@teknews.cloud", Scope: at, Kube: pods}, "AuthorizationFailed"},
		{"nor whether they exist", servetest.Faye, wire.Question{Who: "nobody@teknews.cloud", Scope: at, Kube: pods}, "AuthorizationFailed"},
		{"an owner may", ownerRG, wire.Question{Who: "jet@teknews.cloud", Scope: at, Kube: pods}, "allow"},
		{"of his own place", ownerRG, wire.Question{Who: "jet@teknews.cloud", Scope: servetest.Subscription.String(), Action: "x/read"}, "AuthorizationFailed"},
		{"an Azure operation", ownerRG, wire.Question{Scope: at, Action: "Microsoft.ContainerService/managedClusters/read"}, "allow"},
		{"a service account", ownerRG, wire.Question{Subject: &wire.Subject{User: "system:serviceaccount:a:b"}, Scope: at, Kube: pods}, "no opinion"},
		{"both operations", ownerRG, wire.Question{Scope: at, Action: "a/read", Kube: pods}, "BadRequest"},
		{"neither", ownerRG, wire.Question{Scope: at}, "BadRequest"},
		{"a place that is none", ownerRG, wire.Question{Scope: "aks-1", Kube: pods}, "BadRequest"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			d, err := h.as(tt.who).CanI(t.Context(), tt.ask)
			got := d.Effect
			if err != nil {
				got = code(err)
			}
			e, whyErr := h.as(tt.who).Why(t.Context(), tt.ask)
			if got != tt.want || code(whyErr) != code(err) || e.Effect != d.Effect {
				t.Errorf("can-i %s (%v), why %s (%v), want %s", got, err, e.Effect, whyErr, tt.want)
			}
		})
	}
	holders, err := h.as(ownerRG).WhoCan(t.Context(), wire.Question{Scope: at, Kube: pods})
	names := ""
	for _, who := range holders.Holders {
		names += who.Principal.Name + " "
	}
	if err != nil || !strings.Contains(names, "faye@teknews.cloud") || strings.Contains(names, "spike") {
		t.Errorf("who can: %s%v", names, err)
	}
	if _, err := h.as(servetest.Faye).WhoCan(t.Context(), wire.Question{Scope: at, Kube: pods}); code(err) != "AuthorizationFailed" {
		t.Errorf("who can, asked by anybody: %v", err)
	}
	p, err := h.as(servetest.Faye).WhatCan(t.Context(), wire.Question{Scope: at + "/namespaces/dev"})
	if err != nil || len(p.Held) == 0 || len(p.Abilities) == 0 {
		t.Errorf("what can: %+v %v", p, err)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := h.as(root).SetPassword(t.Context(), servetest.Faye.String(), "correct horse"); err != nil || len(h.calls) != 1 {
		t.Errorf("%v %v", err, h.calls)
	}
	if err := h.as(ownerRG).SetPassword(t.Context(), servetest.Faye.String(), "correct horse"); code(err) != "AuthorizationFailed" {
		t.Errorf("by anybody: %v", err)
	}
	if err := h.as(root).SetPassword(t.Context(), servetest.ID("20000000-0000-4000-8000-0000000000ff").String(), "correct horse"); code(err) != "NotFound" {
		t.Errorf("of nobody: %v", err)
	}
	secret, err := h.as(root).NewSecret(t.Context(), servetest.RobotApp.String(), wire.NewSecret{Name: "ci", Days: 30})
	if err != nil || len(secret.Text) < 40 || time.Until(secret.Expires) > 31*24*time.Hour {
		t.Errorf("%+v %v", secret, err)
	}
	list, err := h.as(root).Secrets(t.Context())
	if err != nil || len(list.Secrets) != 1 || list.Secrets[0].App != servetest.RobotApp.String() || list.Secrets[0].Name != "ci" ||
		!list.Secrets[0].Expires.Equal(secret.Expires) || list.Secrets[0].Created.IsZero() || strings.Contains(fmt.Sprint(list), secret.Text) {
		t.Errorf("listed: %+v %v", list, err)
	}
	if list, err := h.as(servetest.Ed).Secrets(t.Context()); err != nil || len(list.Secrets) > 0 {
		t.Errorf("listed to whoever may not read applications: %+v %v", list, err)
	}
	if _, err := h.as(ownerRG).NewSecret(t.Context(), servetest.RobotApp.String(), wire.NewSecret{}); code(err) != "AuthorizationFailed" {
		t.Errorf("by anybody: %v", err)
	}
	if _, err := h.as(root).NewSecret(t.Context(), servetest.RobotApp.String(), wire.NewSecret{Days: 100_000}); code(err) != "BadRequest" {
		t.Errorf("for ever: %v", err)
	}
	if err := h.as(root).RotateKeys(t.Context()); code(err) != "NotImplemented" {
		t.Errorf("rotation without keys: %v", err)
	}
}

func TestTraceShowsWhatOneMaySee(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, e := range []serve.Event{
		{Door: "authz", Cluster: servetest.AKS1, ID: servetest.Faye, User: "faye@teknews.cloud", Effect: "allow", Attributes: kuberbac.Attributes{Verb: "list", Resource: "pods"}},
		{Door: "authz", Cluster: servetest.AKS2, ID: servetest.Jet, User: "jet@teknews.cloud", Effect: "no opinion"},
		{Door: "oidc", ID: servetest.Jet, User: "jet@teknews.cloud", Effect: "issued"},
	} {
		h.trace.Add(e)
	}
	for _, tt := range []struct {
		law           string
		who           principal.ID
		user, cluster string
		want          int
	}{
		{"his own", servetest.Jet, "", "", 2},
		{"nobody else's", servetest.Faye, "jet@teknews.cloud", "", 0},
		{"an owner sees his clusters", ownerRG, "", "", 2},
		{"the owner of one sees one", servetest.Robot, "", "", 1},
		{"the owner of the root sees all", root, "", "", 3},
		{"of a user", root, servetest.Jet.String(), "", 2},
		{"of a user by name", root, "JET@teknews.cloud", "", 2},
		{"on a cluster", root, "", servetest.AKS1.String(), 1},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := h.as(tt.who).Trace(t.Context(), tt.user, tt.cluster, 0)
			if err != nil || len(got) != tt.want {
				t.Errorf("%d events, want %d: %+v %v", len(got), tt.want, got, err)
			}
		})
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.as(root)
	c.AtLeast = h.store.Current().Revision()
	if _, err := c.WhoAmI(t.Context()); err != nil {
		t.Error(err)
	}
	c.AtLeast += 1000
	if _, err := c.WhoAmI(t.Context()); code(err) != "NotFound" {
		t.Errorf("a revision that is not there yet: %v", err)
	}
}

func TestMethodsAndBodies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	status, text := h.server.Post(h.server.Anonymous(), wire.PathChanges, `{"why":"x","WHY":"y","ops":[]}`, "Authorization", "Bearer "+h.token(root))
	if status != http.StatusBadRequest {
		t.Errorf("a body that can be read in two ways: %d %s", status, text)
	}
	if status, text := h.server.Post(h.server.Anonymous(), wire.PathChanges, `{}`); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", status, text)
	}
	if status, text := h.server.Post(h.server.Anonymous(), "/gatehouse/v1/nothing", `{}`); status != http.StatusNotFound {
		t.Errorf("elsewhere: %d %s", status, text)
	}
}
