package api_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var (
	keeper  = servetest.ID("20000000-0000-4000-8000-0000000000b1") // Managed Identity Contributor of the group web
	mate    = servetest.ID("20000000-0000-4000-8000-0000000000b2") // in DevTeam, as Faye is
	miContr = role("e40ec5ca-96e0-45a2-b4ff-59039f2c2b59")         // Managed Identity Contributor
	madeAt  = servetest.Group.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/Shop-Web"
	thereAt = servetest.Group.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi"
)

const shopIssuer = "https://issuer.example/aks-1/"

// requests is a house whose cluster aks-1 has an issuer, and its clock.
type requests struct {
	*house
	ahead atomic.Int64
}

func newRequests(t testing.TB) *requests {
	t.Helper()
	h := new(requests)
	h.house = newHouse(t, func(c *api.Config) { c.Now, c.State = h.now, moved{c.State.(*store.Store), h} })
	c, _ := h.store.Current().Cluster(servetest.AKS1)
	c.OIDCIssuer, c.IssuerURL, c.UID = true, shopIssuer, resource.ClusterID(servetest.ID("90000000-0000-4000-8000-000000000001"))
	web, _ := h.store.Current().ResourceGroup(servetest.Group)
	web.Location = "westeurope"
	h.commit(
		directory.User{ID: keeper, Tenant: servetest.Tenant, UserPrincipalName: "keeper@teknews.cloud"},
		directory.User{ID: mate, Tenant: servetest.Tenant, UserPrincipalName: "mate@teknews.cloud"},
		directory.Membership{Group: servetest.DevTeam, Member: mate},
		azurerbac.Assignment{ID: assignmentID(90), Scope: servetest.Group, Principal: keeper, Role: miContr}, c, web)
	return h
}

// moved is a store that goes by the moved clock, as in a rehearsal.
type moved struct {
	*store.Store
	h *requests
}

func (m moved) Fresh(now time.Time) error {
	return m.Store.Fresh(now.Add(-time.Duration(m.h.ahead.Load())))
}

func (h *requests) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

func (h *requests) commit(recs ...record.Record) {
	h.t.Helper()
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	if _, err := h.store.Commit(h.t.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *requests) delete(key record.Key) {
	h.t.Helper()
	var ops []estate.Op
	for _, dep := range h.store.Current().Dependents(key) {
		ops = append(ops, estate.Op{Delete: dep})
	}
	if _, err := h.store.Commit(h.t.Context(), store.Change{Why: "test", Ops: append(ops, estate.Op{Delete: key})}); err != nil {
		h.t.Fatal(err)
	}
}

// as is a client whose token is of the house's time.
func (h *requests) as(who principal.ID) *client.Client {
	return &client.Client{Base: h.server.URL, HTTP: h.server.Anonymous(), Token: func(context.Context) (string, error) {
		return h.token(who, func(c *token.Claims) {
			at := h.now().Truncate(time.Second)
			c.IssuedAt, c.NotBefore, c.Expires = at, at, at.Add(time.Hour)
		}), nil
	}}
}

func wantRequest(change ...func(*wire.NewIdentityRequest)) wire.NewIdentityRequest {
	in := wire.NewIdentityRequest{
		Identity: madeAt, New: &wire.NewIdentity{Roles: []wire.RoleAt{{Role: servetest.Reader.String(), Scope: servetest.AKS1.String()}}},
		Cluster: servetest.AKS1.String(), Namespace: "dev", ServiceAccounts: []string{"web"}, Lasts: "PT4H", Why: "a shop",
	}
	for _, f := range change {
		f(&in)
	}
	return in
}

func there(in *wire.NewIdentityRequest) { in.Identity, in.New = thereAt, nil }

func (h *requests) ask(who principal.ID, change ...func(*wire.NewIdentityRequest)) wire.IdentityRequest {
	h.t.Helper()
	q, err := h.as(who).AskIdentity(h.t.Context(), wantRequest(change...))
	if err != nil {
		h.t.Fatal(err)
	}
	return q
}

func (h *requests) approve(who principal.ID, id string) wire.IdentityRequest {
	h.t.Helper()
	q, err := h.as(who).ApproveRequest(h.t.Context(), id, wire.AnswerToRequest{Why: "fine"})
	if err != nil {
		h.t.Fatal(err)
	}
	return q
}

// trusts reports whether tokens of a service account are exchanged for those of an
// identity.
func (h *requests) trusts(client, account string) bool {
	var app directory.AppID
	if err := app.UnmarshalText([]byte(client)); err != nil {
		h.t.Fatal(err)
	}
	for _, f := range h.store.Current().TrustsOf(app, h.now()) {
		if token.WantOf(f).Compare(shopIssuer, "system:serviceaccount:dev:"+account, directory.ExchangeAudience).Whole() {
			return true
		}
	}
	return false
}

func TestARequestForAnIdentity(t *testing.T) {
	t.Parallel()
	h := newRequests(t)
	ctx := t.Context()
	q := h.ask(servetest.Faye)
	if q.Status != "Pending" || q.Revision != h.store.Current().Revision() || q.New.Location != "westeurope" || q.Requester.Name != "faye@teknews.cloud" {
		t.Fatalf("asked: %+v", q)
	}
	for who, which := range map[principal.ID]string{servetest.Faye: "mine", ownerRG: "to-approve", keeper: "all"} {
		got, err := h.as(who).IdentityRequests(ctx, which)
		if err != nil || len(got.Requests) != 1 || got.Requests[0].ID != q.ID {
			t.Errorf("%s: %+v, %v", which, got, err)
		}
	}
	for _, which := range []string{"mine", "to-approve", "all"} {
		if got, err := h.as(servetest.Jet).IdentityRequests(ctx, which); err != nil || len(got.Requests) != 0 {
			t.Errorf("a stranger's %s: %+v, %v", which, got, err)
		}
	}
	if _, err := h.as(servetest.Jet).IdentityRequest(ctx, q.ID); code(err) != "NotFound" {
		t.Errorf("a stranger: %v", err)
	}

	done := h.approve(ownerRG, q.ID)
	m, ok := h.store.Current().IdentityAt(scope.MustParse(madeAt))
	if !ok || m.DisplayName != "Shop-Web" || m.Location != "westeurope" || done.ClientID != m.ClientID.String() || done.Status != "Active" || len(done.Credentials) != 1 {
		t.Fatalf("approved: %+v, made %+v", done, m)
	}
	given := h.store.Current().AssignmentsOf(m.ID)
	if len(given) != 1 || given[0].Role != servetest.Reader || !given[0].NotAfter.Equal(done.Ends) || given[0].CreatedBy != ownerRG || done.Ends.Sub(h.now()) > 4*time.Hour {
		t.Errorf("it was given %+v until %s", given, done.Ends)
	}
	if !h.trusts(done.ClientID, "web") || h.trusts(done.ClientID, "other") {
		t.Error("the service account that was asked for, and no other one, is trusted")
	}

	// JIT-01: nothing happens, and it is over.
	h.ahead.Store(int64(4*time.Hour + time.Second))
	if h.trusts(done.ClientID, "web") {
		t.Error("trusted after the end")
	}
	got, err := h.as(servetest.Faye).IdentityRequest(ctx, q.ID)
	if err != nil || got.Status != "Expired" {
		t.Errorf("after the end: %+v, %v", got, err)
	}

	// JIT-11: retired, nothing of it remains but its history.
	gone, err := h.as(servetest.Faye).RetireRequest(ctx, q.ID, wire.AnswerToRequest{Why: "moved"})
	if err != nil || gone.Status != "Retired" || len(gone.Kept) != 0 {
		t.Fatalf("retired: %+v, %v", gone, err)
	}
	est := h.store.Current()
	if _, ok := est.ManagedIdentity(m.ID); ok || len(est.AssignmentsOf(m.ID)) > 0 || len(est.FederatedCredentials(m.ClientID)) > 0 {
		t.Error("something is left")
	}
	var acts []string
	for _, e := range gone.History {
		acts = append(acts, e.Act+" by "+e.By.Name+": "+e.Why)
	}
	if want := []string{"Requested by faye@teknews.cloud: a shop", "Approved by owner@teknews.cloud: fine", "Retired by faye@teknews.cloud: moved"}; !slices.Equal(acts, want) {
		t.Errorf("the history is %q", acts)
	}
	whys := ""
	for rec, err := range h.store.Audit(ctx, 1) {
		if err != nil {
			t.Fatal(err)
		}
		whys += rec.Why + ";"
	}
	if !strings.Contains(whys, "a shop;fine;moved;") {
		t.Errorf("the audit log says %s", whys)
	}
}

func TestWhoMayAskForAnIdentity(t *testing.T) {
	t.Parallel()
	h := newRequests(t)
	aks2, _ := h.store.Current().Cluster(servetest.AKS2)
	aks2.OIDCIssuer = true
	h.commit(aks2)
	for _, tt := range []struct {
		law    string
		who    principal.ID
		change func(*wire.NewIdentityRequest)
		code   string
	}{
		{"who may create pods there", servetest.Faye, there, "ok"},
		{"a program that may", servetest.Robot, there, "AuthorizationFailed"},
		{"not into another namespace", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Namespace = "prod" }, "AuthorizationFailed"},
		{"not into another cluster", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Cluster = servetest.AKS2.String() }, "AuthorizationFailed"},
		{"not who only reads there", servetest.Jet, func(*wire.NewIdentityRequest) {}, "AuthorizationFailed"},
		{"not even the owner of the identity", keeper, func(*wire.NewIdentityRequest) {}, "AuthorizationFailed"},
		{"a namespace that is none", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Namespace = "dev/x" }, "AuthorizationFailed"},
		{"a service account that is none", servetest.Faye, func(in *wire.NewIdentityRequest) { in.ServiceAccounts = []string{"a:b"} }, "BadRequest"},
		{"JIT-06: years", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Lasts = "P1Y" }, "BadRequest"},
		{"JIT-06: nothing", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Lasts = "PT0S" }, "BadRequest"},
		{"JIT-06: a sign", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Lasts = "-PT1H" }, "BadRequest"},
		{"JIT-06: a fraction", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Lasts = "PT1.5H" }, "BadRequest"},
		{"JIT-06: more than fits", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Lasts = "P99999999999D" }, "BadRequest"},
		{"JIT-09: more than the maximum", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Lasts = "P366D" }, "BadRequest"},
		{"a role that nobody knows", servetest.Faye, func(in *wire.NewIdentityRequest) { in.New.Roles[0].Role = madeID }, "UnknownReference"},
		{"whether there is one is not told", servetest.Faye, func(in *wire.NewIdentityRequest) { in.Identity, in.New = madeAt+"2", nil }, "ok"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if _, err := h.as(tt.who).AskIdentity(t.Context(), wantRequest(tt.change)); code(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
}

const madeID = "9f9f9f9f-0000-4000-8000-000000000001"

func TestWhoAsksTellsClustersWithoutAnIssuerApart(t *testing.T) {
	t.Parallel()
	h := newRequests(t)
	c, _ := h.store.Current().Cluster(servetest.AKS1)
	c.OIDCIssuer = false
	h.commit(c)
	if _, err := h.as(servetest.Faye).AskIdentity(t.Context(), wantRequest()); code(err) != "OIDCIssuerNotEnabled" {
		t.Errorf("%v", err)
	}
}

func TestNobodyFillsTheHouseWithRequests(t *testing.T) {
	t.Parallel()
	h := newRequests(t)
	var last error
	for n := range 51 {
		_, last = h.as(servetest.Faye).AskIdentity(t.Context(), wantRequest(func(in *wire.NewIdentityRequest) { in.Identity += fmt.Sprint(n) }))
	}
	if code(last) != "TooManyIdentityRequests" {
		t.Errorf("the 51st: %v", last)
	}
}

// Approvals that are refused: JIT-05 (rows), JIT-08, and the rights of who approves.
func TestWhoMayApprove(t *testing.T) {
	t.Parallel()
	owns := func(h *requests, who principal.ID) {
		h.commit(azurerbac.Assignment{ID: assignmentID(91), Scope: servetest.Group, Principal: who, Role: rooty})
	}
	for _, tt := range []struct {
		law    string
		who    principal.ID
		change func(*wire.NewIdentityRequest)
		before func(h *requests)
		say    wire.AnswerToRequest
		code   string
	}{
		{"the owner of the group", ownerRG, nil, nil, wire.AnswerToRequest{}, "ok"},
		{"a keeper of identities gives no roles", keeper, nil, nil, wire.AnswerToRequest{}, "AuthorizationFailed"},
		{"he approves one that has none", keeper, there, nil, wire.AnswerToRequest{}, "ok"},
		{"but not one that has what he cannot give", keeper, there, func(h *requests) {
			h.commit(azurerbac.Assignment{ID: assignmentID(92), Scope: servetest.Group, Principal: servetest.Identity, Role: rooty})
		}, wire.AnswerToRequest{}, "AuthorizationFailed"},
		{"AZ-14: who delegates under a condition stays within it", deputy, func(in *wire.NewIdentityRequest) {
			in.New.Roles[0] = wire.RoleAt{Role: servetest.Reader.String(), Scope: servetest.AKS1.String()}
		}, func(h *requests) {
			h.commit(azurerbac.Assignment{ID: assignmentID(92), Scope: servetest.Group, Principal: deputy, Role: miContr})
		}, wire.AnswerToRequest{}, "AuthorizationFailed"}, // to users alone
		{"a role outside what he owns", ownerRG, func(in *wire.NewIdentityRequest) { in.New.Roles[0].Scope = servetest.Subscription.String() }, nil, wire.AnswerToRequest{}, "AuthorizationFailed"},
		{"a stranger", servetest.Jet, nil, nil, wire.AnswerToRequest{}, "NotFound"},
		{"the requester, though he owns it all", servetest.Faye, nil, func(h *requests) { owns(h, servetest.Faye) }, wire.AnswerToRequest{}, "OwnIdentityRequest"},
		{"the requester, who owns it through a group", servetest.Faye, nil, func(h *requests) { owns(h, servetest.DevTeam) }, wire.AnswerToRequest{}, "OwnIdentityRequest"},
		{"a mate in that group", mate, nil, func(h *requests) { owns(h, servetest.DevTeam) }, wire.AnswerToRequest{}, "ok"},
		{"JIT-05: the requester was disabled", ownerRG, nil, func(h *requests) {
			u, _ := h.store.Current().User(servetest.Faye)
			u.Disabled = true
			h.commit(u)
		}, wire.AnswerToRequest{}, "RequesterNotEntitled"},
		{"JIT-05: the requester was deleted", ownerRG, nil, func(h *requests) { h.delete(record.KeyOf(record.User, servetest.Faye.String())) }, wire.AnswerToRequest{}, "RequesterNotEntitled"},
		{"JIT-05: the requester left the team", ownerRG, nil, func(h *requests) {
			h.delete(directory.Membership{Group: servetest.DevTeam, Member: servetest.Faye}.Key())
		}, wire.AnswerToRequest{}, "RequesterNotEntitled"},
		{"JIT-05: the cluster was deleted", ownerRG, nil, func(h *requests) { h.delete(record.KeyOf(record.Cluster, servetest.AKS1.String())) }, wire.AnswerToRequest{}, "ResourceNotFound"},
		{"JIT-05: the identity was deleted", ownerRG, there, func(h *requests) { h.delete(record.KeyOf(record.ManagedIdentity, servetest.Identity.String())) }, wire.AnswerToRequest{}, "ResourceNotFound"},
		{"somebody made the new one", ownerRG, nil, func(h *requests) {
			h.commit(directory.ManagedIdentity{ID: principal.NewID(), ClientID: directory.NewAppID(), Tenant: servetest.Tenant, Resource: scope.MustParse(madeAt), DisplayName: "Shop-Web"})
		}, wire.AnswerToRequest{}, "AlreadyExists"},
		{"JIT-08: for longer", ownerRG, nil, nil, wire.AnswerToRequest{Lasts: "PT5H"}, "WiderThanAsked"},
		{"JIT-08: for less", ownerRG, nil, nil, wire.AnswerToRequest{Lasts: "PT1H"}, "ok"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			h := newRequests(t)
			var change []func(*wire.NewIdentityRequest)
			if tt.change != nil {
				change = append(change, tt.change)
			}
			q := h.ask(servetest.Faye, change...)
			if tt.before != nil {
				tt.before(h)
			}
			rev := h.store.Current().Revision()
			_, err := h.as(tt.who).ApproveRequest(t.Context(), q.ID, tt.say)
			if code(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
			if err != nil && h.store.Current().Revision() != rev {
				t.Error("a refused approval changed something")
			}
		})
	}
}

// JIT-09: what was approved goes on when its requester asks and somebody else, who could
// approve it now, approves again; and its history keeps both.
func TestARenewal(t *testing.T) {
	t.Parallel()
	h := newRequests(t)
	ctx := t.Context()
	say := func(why string) wire.AnswerToRequest { return wire.AnswerToRequest{Why: why} }
	q := h.approve(ownerRG, h.ask(servetest.Faye).ID)
	first := q.Ends
	for law, tt := range map[string]struct {
		do   func() (wire.IdentityRequest, error)
		want string
	}{
		"a renewal that nobody asked for":    {func() (wire.IdentityRequest, error) { return h.as(ownerRG).ApproveRequest(ctx, q.ID, say("")) }, "IdentityRequestStatus"},
		"asked by who may approve":           {func() (wire.IdentityRequest, error) { return h.as(ownerRG).RenewRequest(ctx, q.ID, say("")) }, "OwnIdentityRequest"},
		"asked by somebody of the same team": {func() (wire.IdentityRequest, error) { return h.as(mate).RenewRequest(ctx, q.ID, say("")) }, "NotFound"},
	} {
		if _, err := tt.do(); code(err) != tt.want {
			t.Errorf("%s: %v, want %s", law, err, tt.want)
		}
	}
	within := func(who principal.ID, which, within string) int {
		t.Helper()
		got, err := h.as(who).IdentityRequestsEnding(ctx, which, within)
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Requests)
	}
	if within(servetest.Faye, "mine", "PT5H") != 1 || within(servetest.Faye, "mine", "PT3H") != 0 || within(servetest.Jet, "all", "PT5H") != 0 || within(ownerRG, "to-approve", "") != 0 {
		t.Error("what ends within a time is not what is listed")
	}

	h.ahead.Store(int64(3 * time.Hour))
	asked, err := h.as(servetest.Faye).RenewRequest(ctx, q.ID, say("it goes on"))
	if err != nil || asked.Status != "Active" || !asked.RenewalLapses.Equal(first) || !asked.Ends.Equal(first) {
		t.Fatalf("asked: %+v, %v", asked, err)
	}
	if within(ownerRG, "to-approve", "") != 1 || within(servetest.Faye, "to-approve", "") != 0 {
		t.Error("a renewal is not listed for who may approve it, and for nobody else")
	}
	for law, tt := range map[string]struct {
		who  principal.ID
		say  wire.AnswerToRequest
		want string
	}{
		"by the requester":                       {servetest.Faye, say(""), "AuthorizationFailed"},
		"by who may not assign its roles":        {keeper, say(""), "AuthorizationFailed"},
		"for longer than was asked for at first": {ownerRG, wire.AnswerToRequest{Lasts: "PT5H"}, "WiderThanAsked"},
		"for less than it has":                   {ownerRG, wire.AnswerToRequest{Lasts: "PT30M"}, "BadRequest"},
	} {
		if _, err := h.as(tt.who).ApproveRequest(ctx, q.ID, tt.say); code(err) != tt.want {
			t.Errorf("%s: %v, want %s", law, err, tt.want)
		}
	}
	if got, _ := h.as(servetest.Faye).IdentityRequest(ctx, q.ID); !got.Ends.Equal(first) {
		t.Errorf("before the approval it ends %s, want %s", got.Ends, first)
	}
	done, err := h.as(ownerRG).ApproveRequest(ctx, q.ID, say("still fine"))
	if err != nil || !done.RenewalLapses.IsZero() || done.Ends.Sub(first) < 2*time.Hour || done.ClientID != q.ClientID {
		t.Fatalf("renewed: %+v, %v", done, err)
	}
	m, _ := h.store.Current().IdentityAt(scope.MustParse(madeAt))
	if given := h.store.Current().AssignmentsOf(m.ID); len(given) != 1 || !given[0].NotAfter.Equal(done.Ends) {
		t.Errorf("its roles are %+v, want until %s", given, done.Ends)
	}
	for _, f := range h.store.Current().FederatedCredentials(m.ClientID) { // tokens are cut to it
		if end := h.store.Current().TrustEnds(f); !end.Equal(done.Ends) {
			t.Errorf("what trusts %s ends %s, want %s", f.Subject, end, done.Ends)
		}
	}
	h.ahead.Store(int64(6 * time.Hour)) // behind the first end
	if !h.trusts(done.ClientID, "web") {
		t.Error("not trusted after the first end")
	}
	if _, err := h.as(servetest.Faye).RenewRequest(ctx, q.ID, say("")); err != nil {
		t.Fatal(err)
	}
	refused, err := h.as(ownerRG).RefuseRequest(ctx, q.ID, say("enough"))
	if err != nil || refused.Status != "Active" || !refused.Ends.Equal(done.Ends) {
		t.Errorf("a refused renewal: %+v, %v", refused, err)
	}
	var acts []string
	for _, e := range refused.History {
		acts = append(acts, e.Act)
	}
	if want := []string{"Requested", "Approved", "RenewalAsked", "Renewed", "RenewalAsked", "RenewalRefused"}; !slices.Equal(acts, want) {
		t.Errorf("the history is %q", acts)
	}
	h.ahead.Store(int64(7*time.Hour + 2*time.Second))
	if h.trusts(done.ClientID, "web") {
		t.Error("trusted after the second end")
	}
	if _, err := h.as(servetest.Faye).RenewRequest(ctx, q.ID, say("")); code(err) != "IdentityRequestStatus" {
		t.Errorf("asked after its end: %v", err)
	}
	if gone, err := h.as(servetest.Faye).RetireRequest(ctx, q.ID, say("")); err != nil || gone.Status != "Retired" {
		t.Errorf("retired: %+v, %v", gone, err)
	}
}

// JIT-05: who asked may no longer ask, or what was approved is gone, while a renewal waits.
func TestARenewalOfWhatNoLongerStands(t *testing.T) {
	t.Parallel()
	for law, tt := range map[string]struct {
		before func(h *requests, m directory.ManagedIdentity)
		want   string
	}{
		"the requester is disabled": {func(h *requests, _ directory.ManagedIdentity) {
			u, _ := h.store.Current().User(servetest.Faye)
			u.Disabled = true
			h.commit(u)
		}, "RequesterNotEntitled"},
		"the cluster has another issuer": {func(h *requests, _ directory.ManagedIdentity) {
			c, _ := h.store.Current().Cluster(servetest.AKS1)
			c.IssuerURL = "https://issuer.example/other/"
			h.commit(c)
		}, "IdentityRequestStatus"},
		"the identity is gone": {func(h *requests, m directory.ManagedIdentity) { h.delete(m.Key()) }, "IdentityRequestStatus"},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			h := newRequests(t)
			q := h.approve(ownerRG, h.ask(servetest.Faye).ID)
			h.ahead.Store(int64(time.Hour))
			if _, err := h.as(servetest.Faye).RenewRequest(t.Context(), q.ID, wire.AnswerToRequest{}); err != nil {
				t.Fatal(err)
			}
			m, _ := h.store.Current().IdentityAt(scope.MustParse(madeAt))
			tt.before(h, m)
			if _, err := h.as(ownerRG).ApproveRequest(t.Context(), q.ID, wire.AnswerToRequest{}); code(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestARequestLapses(t *testing.T) { // JIT-05
	t.Parallel()
	h := newRequests(t)
	old, err := identityrequest.Request{ID: identityrequest.NewID(), Tenant: servetest.Tenant, Requester: servetest.Faye, Identity: scope.MustParse(thereAt),
		Cluster: servetest.AKS1, Namespace: "dev", ServiceAccounts: []string{"web"}}.Ask(h.now().Add(-identityrequest.Window), "")
	if err != nil {
		t.Fatal(err)
	}
	h.commit(old)
	if _, err := h.as(ownerRG).ApproveRequest(t.Context(), old.ID.String(), wire.AnswerToRequest{}); code(err) != "IdentityRequestStatus" {
		t.Errorf("approved: %v", err)
	}
	if got, err := h.as(ownerRG).IdentityRequest(t.Context(), old.ID.String()); err != nil || got.Status != "Lapsed" {
		t.Errorf("%+v, %v", got, err)
	}
}

// JIT-07: whoever is first, there is one end, and what is there is what it says.
func TestAnswersThatRace(t *testing.T) {
	t.Parallel()
	h := newRequests(t)
	for range 5 {
		q := h.ask(servetest.Faye, there)
		var good atomic.Int32
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				var err error
				switch ctx := t.Context(); n % 4 {
				case 0:
					_, err = h.as(servetest.Faye).WithdrawRequest(ctx, q.ID, wire.AnswerToRequest{})
				case 1:
					_, err = h.as(keeper).RefuseRequest(ctx, q.ID, wire.AnswerToRequest{})
				default:
					_, err = h.as(ownerRG).ApproveRequest(ctx, q.ID, wire.AnswerToRequest{})
				}
				switch code(err) {
				case "ok":
					good.Add(1)
				case "Conflict", "IdentityRequestStatus":
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		got, err := h.as(servetest.Faye).IdentityRequest(t.Context(), q.ID)
		if err != nil || good.Load() != 1 || len(got.History) != 2 || (got.Status == "Active") != (len(got.Credentials) == 1) {
			t.Fatalf("%d answers were accepted: %+v, %v", good.Load(), got, err)
		}
		if got.Status == "Active" {
			if _, err := h.as(servetest.Faye).RetireRequest(t.Context(), q.ID, wire.AnswerToRequest{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestARetiredIdentityStaysForOthers(t *testing.T) {
	t.Parallel()
	h := newRequests(t)
	first := h.approve(ownerRG, h.ask(servetest.Faye).ID)
	second := h.approve(ownerRG, h.ask(mate, func(in *wire.NewIdentityRequest) {
		in.Identity, in.New, in.ServiceAccounts = madeAt, nil, []string{"batch"}
	}).ID)
	if first.ClientID != second.ClientID {
		t.Fatal("another identity")
	}
	if _, err := h.as(servetest.Jet).RetireRequest(t.Context(), first.ID, wire.AnswerToRequest{}); code(err) != "NotFound" {
		t.Errorf("a stranger: %v", err)
	}
	got, err := h.as(keeper).RetireRequest(t.Context(), first.ID, wire.AnswerToRequest{})
	if err != nil || len(got.Kept) != 1 || got.Kept[0] != (wire.Kept{Kind: record.FederatedCredential, Count: 1}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if h.trusts(first.ClientID, "web") || !h.trusts(first.ClientID, "batch") {
		t.Error("the one is over and the other is not")
	}
	if m, ok := h.store.Current().IdentityAt(scope.MustParse(madeAt)); !ok || len(h.store.Current().AssignmentsOf(m.ID)) != 0 {
		t.Error("the identity stays, and what the first request gave it does not")
	}
}

func TestWhatWasApprovedGoesAway(t *testing.T) {
	t.Parallel()
	for law, tt := range map[string]struct {
		away func(h *requests)
		lack string
	}{
		"the identity is deleted": {func(h *requests) {
			h.delete(record.KeyOf(record.ManagedIdentity, servetest.Identity.String()))
		}, "the managed identity was deleted"},
		"the cluster is deleted": {func(h *requests) { h.delete(record.KeyOf(record.Cluster, servetest.AKS1.String())) }, "the cluster was deleted"},
		"FED-15: another cluster is made at its place, with its issuer": {func(h *requests) {
			c, _ := h.store.Current().Cluster(servetest.AKS1)
			h.delete(c.Key())
			c.UID = resource.ClusterID(servetest.ID("90000000-0000-4000-8000-000000000002"))
			h.commit(c)
		}, "the cluster was deleted"},
		"the issuer is turned off": {func(h *requests) {
			c, _ := h.store.Current().Cluster(servetest.AKS1)
			c.OIDCIssuer = false
			h.commit(c)
		}, "the cluster has another issuer of tokens, or none"},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			h := newRequests(t)
			q := h.approve(ownerRG, h.ask(servetest.Faye, there).ID)
			tt.away(h)
			if h.trusts(q.ClientID, "web") {
				t.Error("still trusted")
			}
			got, err := h.as(servetest.Faye).IdentityRequest(t.Context(), q.ID)
			if err != nil || got.Status != "Gone" || !slices.Contains(got.Lacks, tt.lack) {
				t.Fatalf("%+v, %v", got, err)
			}
			if got, err = h.as(servetest.Faye).RetireRequest(t.Context(), q.ID, wire.AnswerToRequest{}); err != nil || got.Status != "Retired" || len(got.Credentials) > 0 {
				t.Errorf("retired: %+v, %v", got, err)
			}
		})
	}
}

// Who owns the group may write all that is in it, and rewrites no history: neither
// what was approved nor how long.
func TestHistoryIsNotWritten(t *testing.T) {
	t.Parallel()
	h := newRequests(t)
	done := h.approve(ownerRG, h.ask(servetest.Faye, there).ID)
	pending := h.ask(mate, func(in *wire.NewIdentityRequest) { there(in); in.ServiceAccounts = []string{"batch"} })
	get := func(id string) identityrequest.Request {
		var key identityrequest.ID
		if err := key.UnmarshalText([]byte(id)); err != nil {
			t.Fatal(err)
		}
		q, _ := h.store.Current().IdentityRequest(key)
		return q
	}
	q, p := get(done.ID), get(pending.ID)
	longer := q
	longer.Given.NotAfter = q.Given.NotAfter.Add(-time.Minute)
	forged, err := p.Approve(keeper, h.now(), "", identityrequest.Given{Object: q.Given.Object, Client: q.Given.Client, Issuer: q.Given.Issuer, ClusterUID: q.Given.ClusterUID, NotAfter: p.EndFrom(h.now())})
	if err != nil {
		t.Fatal(err)
	}
	cred := q.Credentials()[0]
	endless := cred
	endless.Request = identityrequest.ID{}
	other := cred
	other.Name, other.Subject = "request-x", "system:serviceaccount:prod:web"
	early := forged.Credentials()[0]
	for law, tt := range map[string]struct {
		who  principal.ID
		rec  record.Record
		code string
	}{
		"an approval is forged":              {ownerRG, forged, "AuthorizationFailed"},
		"by who rules the house it is not":   {root, longer, "UpdateNotPermitted"},
		"a credential loses its end":         {ownerRG, endless, "UpdateNotPermitted"},
		"a credential of no approval":        {ownerRG, other, "UpdateNotPermitted"},
		"a credential before its approval":   {ownerRG, early, "UpdateNotPermitted"},
		"a credential of a request not made": {ownerRG, func() record.Record { f := other; f.Request = identityrequest.NewID(); return f }(), "UnknownReference"},
	} {
		if _, err := h.as(tt.who).Commit(t.Context(), wire.Changes{Why: law, Ops: []wire.Op{put(t, tt.rec)}}); code(err) != tt.code {
			t.Errorf("%s: %v, want %s", law, err, tt.code)
		}
	}
	// The owner may take the credential away, as any other one.
	if _, err := h.as(ownerRG).Commit(t.Context(), wire.Changes{Ops: []wire.Op{del(cred.Key(), false)}}); err != nil {
		t.Error(err)
	}
	if h.trusts(done.ClientID, "web") {
		t.Error("still trusted")
	}
	if got, err := h.as(servetest.Faye).RetireRequest(t.Context(), done.ID, wire.AnswerToRequest{}); err != nil || got.Status != "Retired" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Whatever people do, in whatever order: nobody's tokens are trusted but by an
// approval of somebody else who had the right to it then, and while it lasts.
func TestNoTrustWithoutAnApproval(t *testing.T) {
	t.Parallel()
	people := []principal.ID{servetest.Faye, mate, ownerRG, keeper, deputy, servetest.Jet, root}
	accounts := []string{"web", "batch", "cron"}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newRequests(t)
			rnd := rand.New(rand.NewPCG(seed, 1))
			h.commit(azurerbac.Assignment{ID: assignmentID(93), Scope: servetest.Group, Principal: mate, Role: miContr})
			type model struct {
				by      principal.ID
				account string
				state   string
				end     time.Time
			}
			known := map[string]*model{}
			var ids []string
			client := ""
			approvals := 0
			for range 120 {
				h.ahead.Add(rnd.Int64N(int64(20 * time.Minute)))
				who := people[rnd.IntN(len(people))]
				c := h.as(who)
				if len(ids) == 0 || rnd.IntN(4) == 0 {
					account := accounts[rnd.IntN(len(accounts))]
					q, err := c.AskIdentity(t.Context(), wantRequest(there, func(in *wire.NewIdentityRequest) { in.ServiceAccounts, in.Lasts = []string{account}, "PT1H" }))
					if may := who == servetest.Faye || who == mate; may != (err == nil) && code(err) != "TooManyIdentityRequests" {
						t.Fatalf("%s asked: %v", who, err)
					}
					if err == nil {
						ids = append(ids, q.ID)
						known[q.ID] = &model{by: who, account: account, state: "pending"}
					}
					continue
				}
				id := ids[rnd.IntN(len(ids))]
				m := known[id]
				owner := who == ownerRG || who == keeper || who == mate || who == root
				before := h.now()
				switch rnd.IntN(4) {
				case 0, 1:
					q, err := c.ApproveRequest(t.Context(), id, wire.AnswerToRequest{})
					if err == nil {
						if !owner || who == m.by || m.state != "pending" {
							t.Fatalf("%s approved a request of %s that is %s", who, m.by, m.state)
						}
						m.state, m.end, client = "approved", before.Add(time.Hour), q.ClientID
						approvals++
					}
				case 2:
					_, err := c.RetireRequest(t.Context(), id, wire.AnswerToRequest{})
					if (err == nil) != ((owner || who == m.by) && m.state == "approved") {
						t.Fatalf("%s retired a request of %s that is %s: %v", who, m.by, m.state, err)
					}
					if err == nil {
						m.state = "retired"
					}
				case 3:
					if _, err := c.WithdrawRequest(t.Context(), id, wire.AnswerToRequest{}); err == nil {
						if who != m.by || m.state != "pending" {
							t.Fatalf("%s withdrew a request of %s that is %s", who, m.by, m.state)
						}
						m.state = "withdrawn"
					}
				}
				if client == "" {
					continue
				}
				for _, account := range accounts {
					// An end is within a second of what was asked, rounded down.
					must, may := false, false
					for _, m := range known {
						if m.account == account && m.state == "approved" {
							must = must || h.now().Before(m.end.Add(-2*time.Second))
							may = may || h.now().Before(m.end.Add(2*time.Second))
						}
					}
					if got := h.trusts(client, account); got && !may || !got && must {
						t.Fatalf("tokens of %s are trusted: %t", account, got)
					}
				}
			}
			if approvals == 0 {
				t.Error("nothing was ever approved; the generator has lost touch")
			}
		})
	}
}
