package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

var (
	helper      = servetest.ID("20000000-0000-4000-8000-0000000000b1") // Contributor at the root
	gone        = servetest.ID("20000000-0000-4000-8000-0000000000b2") // deleted; his assignment is still there
	ownerAKS    = servetest.ID("20000000-0000-4000-8000-0000000000b3") // Owner of the cluster aks-1
	sleepers    = servetest.ID("30000000-0000-4000-8000-0000000000b2") // a group that is eligible for much
	wasElig     = servetest.ID("30000000-0000-4000-8000-0000000000b3") // somebody who is gone, and was eligible
	empty       = servetest.ID("30000000-0000-4000-8000-0000000000b1") // a group that has nothing
	contributor = role("b24988ac-6180-42a0-ab88-20f7382dd24c")
)

// newEscalationHouse has people who may do much, and must not get more by it.
func newEscalationHouse(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.commit(
		directory.User{ID: helper, Tenant: servetest.Tenant, UserPrincipalName: "helper@teknews.cloud"},
		directory.User{ID: ownerAKS, Tenant: servetest.Tenant, UserPrincipalName: "aks@teknews.cloud"},
		azurerbac.Assignment{ID: assignmentID(43), Scope: servetest.AKS1, Principal: ownerAKS, Role: rooty},
		directory.Group{ID: empty, Tenant: servetest.Tenant, DisplayName: "empty"},
		directory.Group{ID: sleepers, Tenant: servetest.Tenant, DisplayName: "sleepers"},
		azurerbac.Eligibility{ID: azurerbac.EligibilityID(assignmentID(44)), Scope: scope.Root, Principal: sleepers, Role: rooty},
		azurerbac.Eligibility{ID: azurerbac.EligibilityID(assignmentID(45)), Scope: scope.Root, Principal: wasElig, Role: rooty},
		azurerbac.Assignment{ID: assignmentID(40), Scope: scope.Root, Principal: helper, Role: contributor},
		azurerbac.Assignment{ID: assignmentID(41), Scope: scope.Root, Principal: gone, Role: rooty},
		azurerbac.DenyAssignment{ID: azurerbac.DenyAssignmentID(servetest.ID("61000000-0000-4000-8000-0000000000b1")), Name: "not for staff", Scope: servetest.AKS2,
			Principals: []principal.ID{servetest.DevTeam}, Permissions: []azurerbac.Permission{{Actions: []string{"*"}}}},
	)
	return h
}

func (h *house) commit(recs ...record.Record) {
	h.t.Helper()
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	if _, err := h.store.Commit(h.t.Context(), store.Change{Ops: ops, Why: "test"}); err != nil {
		h.t.Fatal(err)
	}
}

// DIR-13: nodes and their pods get tokens of the kubelets' identity, and none of the
// control plane's. Who may write a cluster and not assign the latter does not move it.
func TestTheIdentityOfAControlPlaneDoesNotComeToTheNodes(t *testing.T) {
	t.Parallel()
	h := newEscalationHouse(t)
	identity, _ := h.store.Current().ManagedIdentity(servetest.Identity)
	mi := resource.IdentityRef{Resource: identity.Resource, Object: identity.ID}
	c, _ := h.store.Current().Cluster(servetest.AKS1)
	c.Identity = resource.ControlIdentity{Type: resource.UserAssigned, Resource: mi.Resource, Object: mi.Object}
	h.commit(c)
	kubelet, addon, both := c, c, c
	kubelet.KubeletIdentity = mi
	addon.Addons = map[string]resource.Addon{"x": {Enabled: true, Identity: mi}}
	both.KubeletIdentity, both.Identity = mi, resource.ControlIdentity{}
	for law, next := range map[string]resource.Cluster{"as the kubelets'": kubelet, "as an add-on's": addon, "by taking it from the control plane": both} {
		if _, err := h.as(ownerAKS).Commit(t.Context(), wire.Changes{Why: law, Ops: []wire.Op{put(t, next)}}); code(err) != "AuthorizationFailed" {
			t.Errorf("%s: %v", law, err)
		}
	}
	if _, err := h.as(ownerRG).Commit(t.Context(), wire.Changes{Why: "his own", Ops: []wire.Op{put(t, kubelet)}}); err != nil {
		t.Errorf("who may assign it: %v", err)
	}
	kubelet.Identity = resource.ControlIdentity{}
	if _, err := h.as(ownerAKS).Commit(t.Context(), wire.Changes{Why: "less", Ops: []wire.Op{put(t, kubelet)}}); err != nil {
		t.Errorf("who leaves it where it is: %v", err)
	}
}

// DIR-13: an identity that has nothing yet is somebody's all the same. Who may write a
// cluster does not bind it, though others have, and wait for what it is given.
func TestWhoMayBindAnIdentity(t *testing.T) {
	t.Parallel()
	h := newEscalationHouse(t)
	identity, _ := h.store.Current().ManagedIdentity(servetest.Identity)
	h.commit(directory.BindingCredential(identity))
	c, _ := h.store.Current().Cluster(servetest.AKS1)
	c.IdentityBindings = []resource.IdentityBinding{{Name: "web", Identity: resource.IdentityRef{Resource: identity.Resource, Object: identity.ID}}}
	for law, tt := range map[string]struct {
		who  principal.ID
		code string
	}{
		"who owns the cluster alone": {ownerAKS, "AuthorizationFailed"},
		"who owns both":              {ownerRG, "ok"},
	} {
		if _, err := h.as(tt.who).Commit(t.Context(), wire.Changes{Why: law, Ops: []wire.Op{put(t, c)}}); code(err) != tt.code {
			t.Errorf("%s: %v, want %s", law, err, tt.code)
		}
		h.commit(func() resource.Cluster { free := c; free.IdentityBindings = nil; return free }())
	}
}

func TestNobodyGivesMoreThanHeMayGive(t *testing.T) { // DIR-13, DIR-05, DIR-14
	t.Parallel()
	h := newEscalationHouse(t)
	identity, _ := h.store.Current().ManagedIdentity(servetest.Identity)
	eligible := func(at scope.Scope, who principal.ID) wire.Op {
		return put(t, azurerbac.Eligibility{ID: azurerbac.NewEligibilityID(), Scope: at, Principal: who, Role: contributor})
	}
	heir := identity
	heir.ID, heir.ClientID = gone, directory.AppID(servetest.ID("43000000-0000-4000-8000-0000000000b1"))
	heir.Resource = scope.MustParse(servetest.Group.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/heir")
	moved := identity
	moved.Tenant = servetest.Tenant2
	faye, _ := h.store.Current().User(servetest.Faye)
	faye.Tenant = servetest.Tenant2
	cluster := func(change func(*resource.Cluster)) wire.Op {
		c, _ := h.store.Current().Cluster(servetest.AKS1)
		change(&c)
		return put(t, c)
	}
	mi := resource.IdentityRef{Resource: identity.Resource, Object: identity.ID}
	federated := func(owner directory.AppID) wire.Op {
		return put(t, directory.FederatedCredential{Owner: owner, Name: "x-1", Issuer: "https://evil.example", Subject: "s", Audiences: []string{"a"}})
	}
	member := func(group, who principal.ID) wire.Op {
		return put(t, directory.Membership{Group: group, Member: who})
	}
	for _, tt := range []struct {
		law  string
		who  principal.ID
		op   wire.Op
		code string
	}{
		{"who keeps the directory fills a group that has nothing", helper, member(empty, helper), "ok"},
		{"DIR-13: but not one that has a role", helper, member(servetest.Staff, helper), "AuthorizationFailed"},
		{"DIR-13: nor one that is in such a group", helper, member(servetest.DevTeam, helper), "AuthorizationFailed"},
		{"DIR-13: nor puts his own group into one", helper, member(servetest.Staff, empty), "AuthorizationFailed"},
		{"DIR-13: nor one that is eligible for a role", helper, member(sleepers, helper), "AuthorizationFailed"},
		{"DIR-13: nor does he make himself eligible", helper, eligible(scope.Root, helper), "AuthorizationFailed"},
		{"DIR-13: nor does an owner beyond what he owns", ownerAKS, eligible(servetest.Group, helper), "AuthorizationFailed"},
		{"what he owns he may make others eligible for", ownerAKS, eligible(servetest.AKS1, helper), "ok"},
		{"DIR-05: nobody becomes the heir of somebody who was eligible", root, put(t, directory.User{ID: wasElig, Tenant: servetest.Tenant, UserPrincipalName: "heir2@teknews.cloud"}), "PrincipalIdInUse"},
		{"who may give the role may fill the group", root, member(servetest.Staff, servetest.Jet), "ok"},
		{"DIR-13: leaving a group that is forbidden something needs the right to allow it", helper,
			del(directory.Membership{Group: servetest.DevTeam, Member: servetest.Faye}.Key(), false), "AuthorizationFailed"},
		{"DIR-13: a credential for an application that has a role", helper, federated(servetest.RobotApp), "AuthorizationFailed"},
		{"DIR-13: a credential for a managed identity without a role", ownerRG, federated(identity.ClientID), "ok"},
		{"DIR-05: nobody makes an heir of somebody who is gone", ownerRG, put(t, heir), "PrincipalIdInUse"},
		{"DIR-05: whoever he is", root, put(t, directory.User{ID: gone, Tenant: servetest.Tenant, UserPrincipalName: "heir@teknews.cloud"}), "PrincipalIdInUse"},
		{"who owns a cluster makes it no identity that he may not assign", ownerAKS, cluster(func(c *resource.Cluster) { c.Addons = map[string]resource.Addon{"x": {Identity: mi}} }), "AuthorizationFailed"},
		{"wherever he says that it lies", ownerAKS, cluster(func(c *resource.Cluster) {
			c.Identity = resource.ControlIdentity{Type: resource.SystemAssigned, Object: identity.ID}
		}), "AuthorizationFailed"},
		{"who owns both does an identity of his", ownerRG, cluster(func(c *resource.Cluster) { c.KubeletIdentity = mi }), "ok"},
		{"nor does he have a group deleted with his cluster that he may not delete", ownerAKS, cluster(func(c *resource.Cluster) { c.NodeResourceGroup = "web" }), "AuthorizationFailed"},
		{"who may delete it does", ownerRG, cluster(func(c *resource.Cluster) { c.NodeResourceGroup = "web" }), "ok"},
		{"FED-15: nobody takes the issuer of somebody else for his cluster", ownerRG, cluster(func(c *resource.Cluster) { c.IssuerURL = "https://token.actions.example/" }), "AuthorizationFailed"},
		{"FED-15: but who rules the house", root, cluster(func(c *resource.Cluster) { c.IssuerURL = "https://token.actions.example/" }), "ok"},
		{"FED-15: who takes no default, which is everybody's", root, cluster(func(c *resource.Cluster) { c.IssuerURL = "https://kubernetes.default.svc.cluster.local/" }), "BadRequest"},
		{"DIR-14: an object id is of one tenant, for ever", root, put(t, faye), "UpdateNotPermitted"},
		{"DIR-14: that of an identity too", ownerRG, put(t, moved), "UpdateNotPermitted"},
		{"DIR-14: and of one kind", root, put(t, directory.Group{ID: servetest.Faye, Tenant: servetest.Tenant2, DisplayName: "faye"}), "AlreadyExists"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			if _, err := h.as(tt.who).Commit(t.Context(), wire.Changes{Why: tt.law, Ops: []wire.Op{tt.op}}); code(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
	// Once the identity has a role, its owner can no longer speak for it.
	h.commit(azurerbac.Assignment{ID: assignmentID(42), Scope: servetest.Subscription, Principal: servetest.Identity, Role: contributor})
	op := federated(identity.ClientID)
	if _, err := h.as(ownerRG).Commit(t.Context(), wire.Changes{Ops: []wire.Op{op}}); code(err) != "AuthorizationFailed" {
		t.Errorf("DIR-13: a credential for an identity with a role: %v", err)
	}
	if err := h.as(helper).SetPassword(t.Context(), root.String(), "correct horse"); code(err) != "AuthorizationFailed" || len(h.calls) != 0 {
		t.Errorf("DIR-13: the password of an owner: %v %v", err, h.calls)
	}
	if err := h.as(helper).SetPassword(t.Context(), servetest.Vicious.String(), "correct horse"); err != nil {
		t.Errorf("the password of somebody who has nothing: %v", err)
	}
	if _, err := h.as(helper).NewSecret(t.Context(), servetest.RobotApp.String(), wire.NewSecret{Name: "ci", Days: 1}); code(err) != "AuthorizationFailed" {
		t.Errorf("DIR-13: a secret of an application that owns a cluster: %v", err)
	}
}

func TestARoleIsChangedOnlyWhereItReaches(t *testing.T) { // AZ-15
	t.Parallel()
	h := newEscalationHouse(t)
	other := scope.MustParse(servetest.Subscription.String() + "/resourceGroups/other")
	small := azurerbac.Definition{ID: role("70000000-0000-4000-8000-0000000000b1"), RoleName: "small", AssignableScopes: []scope.Scope{servetest.Group},
		Permissions: []azurerbac.Permission{{Actions: []string{"*/read"}}}}
	wide := small
	wide.ID, wide.RoleName, wide.AssignableScopes = role("70000000-0000-4000-8000-0000000000b2"), "wide", []scope.Scope{servetest.Group, other}
	h.commit(small, wide,
		azurerbac.Assignment{ID: assignmentID(50), Scope: servetest.Group, Principal: servetest.Faye, Role: small.ID},
		azurerbac.Assignment{ID: assignmentID(51), Scope: servetest.Group, Principal: servetest.Jet, Role: contributor})
	all := []azurerbac.Permission{{Actions: []string{"*"}}}
	with := func(d azurerbac.Definition, change func(*azurerbac.Definition)) wire.Op {
		change(&d)
		return put(t, d)
	}
	builtIn, _ := h.store.Current().Definition(rooty)
	for _, tt := range []struct {
		law  string
		who  principal.ID
		op   wire.Op
		code string
	}{
		{"its holder adds operations", servetest.Faye, with(small, func(d *azurerbac.Definition) { d.Permissions = all }), "AuthorizationFailed"},
		{"a contributor of the place does", servetest.Jet, with(small, func(d *azurerbac.Definition) { d.Permissions = all }), "AuthorizationFailed"},
		{"a deputy who may only assign does", deputy, with(small, func(d *azurerbac.Definition) { d.Permissions = all }), "AuthorizationFailed"},
		{"the owner of one place of two", ownerRG, with(wide, func(d *azurerbac.Definition) { d.Permissions = all }), "AuthorizationFailed"},
		{"who cuts it down to his own place", ownerRG, with(wide, func(d *azurerbac.Definition) { d.AssignableScopes = d.AssignableScopes[:1] }), "AuthorizationFailed"},
		{"who widens it beyond his place", ownerRG, with(small, func(d *azurerbac.Definition) { d.AssignableScopes = []scope.Scope{servetest.Subscription} }), "AuthorizationFailed"},
		{"a role without a place, which nobody guards", ownerRG, with(small, func(d *azurerbac.Definition) { d.AssignableScopes = nil }), "BadRequest"},
		{"a role for the root", root, with(small, func(d *azurerbac.Definition) { d.AssignableScopes = []scope.Scope{scope.Root} }), "BadRequest"},
		{"a copy of Owner under the id of a built-in role", root, put(t, azurerbac.Definition{ID: contributor, RoleName: "Contributor", AssignableScopes: []scope.Scope{servetest.Group}, Permissions: all}), "UpdateNotPermitted"},
		{"a copy of Owner that calls itself built in", root, put(t, builtIn.Definition), "UpdateNotPermitted"},
		{"a copy of Owner under its name", root, put(t, azurerbac.Definition{ID: role("70000000-0000-4000-8000-0000000000b3"), RoleName: "owner", AssignableScopes: []scope.Scope{servetest.Group}, Permissions: all}), "AlreadyExists"},
		{"its owner changes it", ownerRG, with(small, func(d *azurerbac.Definition) { d.Description = "mine" }), "ok"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			if _, err := h.as(tt.who).Commit(t.Context(), wire.Changes{Why: tt.law, Ops: []wire.Op{tt.op}}); code(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
}

// disguises are names that somebody could take for one of the control plane, and
// what must not be in a name at all.
var disguises = []string{
	"system:masters", "System:Masters", "SYSTEM:masters", "sYsTeM:node:x", "system:serviceaccount:a:b", "system:admin", "system:",
	"ｓｙｓｔｅｍ：masters", "ｓystem:masters", "system：masters", " system:masters", "system:masters ", "\tsystem:masters", "\u00a0system:masters",
	"sys\u200btem:masters", "\u2060system:masters", "\ufeffsystem:masters", "ſystem:masters", "s\u0301ystem:masters", "system:\u202emasters", "system:\x00masters",
}

func TestNoNameOfTheControlPlaneIsWritten(t *testing.T) { // DIR-08, KR-12
	t.Parallel()
	h := newHouse(t)
	id := servetest.ID("30000000-0000-4000-8000-0000000000c1")
	app := directory.AppID(servetest.ID("30000000-0000-4000-8000-0000000000c2"))
	raw := func(kind record.Kind, format, name string) wire.Op {
		text, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		return wire.Op{Put: &wire.Record{Kind: kind, Spec: jsontext.Value(fmt.Sprintf(format, text))}}
	}
	tenant := servetest.Tenant.String()
	kinds := map[record.Kind]string{
		record.Group:            `{"id":"` + id.String() + `","tenant":"` + tenant + `","displayName":%s}`,
		record.Application:      `{"id":"` + id.String() + `","appId":"` + app.String() + `","tenant":"` + tenant + `","displayName":%s}`,
		record.ServicePrincipal: `{"id":"` + id.String() + `","appId":"` + app.String() + `","tenant":"` + tenant + `","displayName":%s}`,
		record.ManagedIdentity:  `{"id":"` + id.String() + `","clientId":"` + app.String() + `","tenant":"` + tenant + `","resource":"` + servetest.Group.String() + `/providers/Microsoft.ManagedIdentity/userAssignedIdentities/x","displayName":%s}`,
		record.User:             `{"id":"` + id.String() + `","tenant":"` + tenant + `","userPrincipalName":%s}`,
	}
	if len(disguises) < 20 {
		t.Fatalf("only %d names", len(disguises))
	}
	before := h.store.Current().Revision()
	for kind, format := range kinds {
		for _, name := range disguises {
			if kind == record.User {
				name += "@teknews.cloud"
			}
			if _, err := h.as(root).Commit(t.Context(), wire.Changes{Ops: []wire.Op{raw(kind, format, name)}}); code(err) != "BadRequest" {
				t.Errorf("%s %q: %v, want BadRequest", kind, name, err)
			}
		}
		good := "plain"
		if kind == record.User {
			good = "plain@teknews.cloud"
		}
		if r, err := estate.Decode(kind, fmt.Appendf(nil, format, `"`+good+`"`)); err != nil || r.Validate() != nil {
			t.Errorf("%s %q is refused as well: %v; this shows nothing", kind, good, err)
		}
	}
	if after := h.store.Current().Revision(); after != before {
		t.Errorf("something was written: revision %d, then %d", before, after)
	}
}

// A body that arrives slowly must not carry a right beyond its end: what counts is
// the directory when all of it is there. WH-13 for the management door.
func TestARightEndsWhileTheRequestIsUnderWay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	body, send := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.server.URL+wire.PathChanges, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+h.token(ownerRG))
	req.ContentLength = -1
	client := h.server.Anonymous()
	type result struct {
		status int
		text   string
	}
	answered := make(chan result, 1)
	go func() {
		res, err := client.Do(req)
		if err != nil {
			answered <- result{text: err.Error()}
			return
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		answered <- result{res.StatusCode, string(text)}
	}()
	// A write to the pipe returns when the client has taken it; more than the
	// buffers on the way hold means that the server is reading, and has let him in.
	io.WriteString(send, `{"why":"slow","ops":[`+strings.Repeat(" ", 8<<20))
	u, _ := h.store.Current().User(ownerRG)
	u.Disabled = true
	h.commit(u)
	op, err := json.Marshal(put(t, azurerbac.Assignment{ID: assignmentID(60), Scope: servetest.AKS1, Principal: servetest.Faye, Role: rooty}))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		io.WriteString(send, string(op)+"]}")
		send.Close()
	}()
	got := <-answered
	if _, ok := h.store.Current().Assignment(assignmentID(60)); ok || got.status != http.StatusUnauthorized {
		t.Errorf("written %t, answered %d %s; want 401 and nothing", ok, got.status, got.text)
	}
}

func TestAdminCredentialsStopWithLocalAccounts(t *testing.T) { // LA-01
	t.Parallel()
	asked := 0
	h := newHouse(t, func(c *api.Config) {
		c.AdminKubeconfig = func(context.Context, scope.Scope, principal.ID) ([]byte, error) {
			asked++
			return []byte("apiVersion: v1"), nil
		}
	})
	door := h.server
	body := `{"scope":"` + servetest.AKS2.String() + `"}`
	auth := []string{"Authorization", "Bearer " + h.token(ownerRG)}
	if status, text := door.Post(door.Anonymous(), wire.PathAdmin, body, auth...); status != http.StatusOK || asked != 1 {
		t.Errorf("%d %s", status, text)
	}
	c, _ := h.store.Current().Cluster(servetest.AKS2)
	c.DisableLocalAccounts = true
	h.commit(c)
	if status, text := door.Post(door.Anonymous(), wire.PathAdmin, body, auth...); status != http.StatusBadRequest || asked != 1 || !strings.Contains(text, "disable local accounts") {
		t.Errorf("switched off: %d %s", status, text)
	}
	if status, text := door.Post(door.Anonymous(), wire.PathAdmin, body, "Authorization", "Bearer "+h.token(servetest.Faye)); status != http.StatusForbidden || asked != 1 {
		t.Errorf("for anybody: %d %s", status, text)
	}
}
