package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

func withRing(t *testing.T) func(*api.Config) {
	return func(c *api.Config) {
		ring, err := keys.Open(t.Context(), keys.Config{State: c.State.(*store.Store), Alg: token.ES256})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ring.Close() })
		c.Ring = ring
	}
}

func TestSigningKeysAreForWhoMayRuleThem(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withRing(t))
	c := h.as(root)
	before, err := c.Keys(t.Context())
	if err != nil || before.Stopped || len(before.Keys) == 0 || !before.Keys[0].Signs {
		t.Fatalf("%+v %v", before, err)
	}
	if err := c.RotateKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := c.Keys(t.Context())
	if err != nil || len(after.Keys) != 2*len(before.Keys) {
		t.Errorf("after a rotation %d keys, before %d: %v", len(after.Keys), len(before.Keys), err)
	}
	if err := c.StopKey(t.Context(), before.Keys[0].ID); err != nil {
		t.Fatal(err)
	}
	if now, err := c.Keys(t.Context()); err != nil || strings.Contains(ids(now), before.Keys[0].ID) {
		t.Errorf("the stopped key is still there: %s %v", ids(now), err)
	}
	if err := c.StopKey(t.Context(), "no-such-key"); code(err) != "NotFound" {
		t.Errorf("stop of a key that is not there: %v", err)
	}
	if err := c.SetIssuing(t.Context(), wire.Issuing{Stopped: true, Why: "drill"}); err != nil {
		t.Fatal(err)
	}
	if now, err := c.Keys(t.Context()); err != nil || !now.Stopped || now.Keys[0].Signs {
		t.Errorf("issuing goes on: %+v %v", now, err)
	}
	if err := c.SetIssuing(t.Context(), wire.Issuing{Why: "the drill is over"}); err != nil {
		t.Fatal(err)
	}
	other := h.as(ownerRG)
	_, err = other.Keys(t.Context())
	for what, err := range map[string]error{
		"list": err, "rotate": other.RotateKeys(t.Context()), "stop": other.StopKey(t.Context(), after.Keys[0].ID),
		"stop issuing": other.SetIssuing(t.Context(), wire.Issuing{Stopped: true}),
	} {
		if code(err) != "AuthorizationFailed" {
			t.Errorf("%s by who has no right to it: %v", what, err)
		}
	}
}

func ids(k wire.Keys) string {
	var all []string
	for _, k := range k.Keys {
		all = append(all, k.ID)
	}
	return strings.Join(all, " ")
}

func TestAuditNamesWhoAndWhat(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.as(root)
	member := directory.Membership{Group: servetest.Admins, Member: servetest.Jet}
	if _, err := c.Commit(t.Context(), wire.Changes{Why: "jet joins", Ops: []wire.Op{put(t, member)}}); err != nil {
		t.Fatal(err)
	}
	var last wire.AuditRecord
	n := int64(0)
	for r, err := range c.Audit(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; r.Seq != n {
			t.Errorf("record %d has number %d", n, r.Seq)
		}
		last = r
	}
	if last.By.Name != "root@teknews.cloud" || last.Why != "jet joins" || len(last.Changes) != 1 || !strings.HasPrefix(last.Changes[0].Name, "jet@teknews.cloud in ") {
		t.Errorf("the last record is %+v", last)
	}
	v, err := c.VerifyAudit(t.Context())
	if err != nil || !v.Intact || v.Records != n {
		t.Errorf("verdict %+v %v, want %d records", v, err, n)
	}
	for r, err := range c.Audit(t.Context(), n) {
		if err != nil || r.Seq != n {
			t.Errorf("from %d on: %+v %v", n, r, err)
		}
	}
	for _, err := range h.as(ownerRG).Audit(t.Context(), 1) {
		if code(err) != "AuthorizationFailed" {
			t.Errorf("by who may not read it: %v", err)
		}
	}
	if _, err := h.as(ownerRG).VerifyAudit(t.Context()); code(err) != "AuthorizationFailed" {
		t.Errorf("verified by who may not read it: %v", err)
	}
}

func TestAChangedAuditRecordIsFound(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.as(root)
	if _, err := c.Commit(t.Context(), wire.Changes{Why: "jet joins", Ops: []wire.Op{put(t, directory.Membership{Group: servetest.Admins, Member: servetest.Jet})}}); err != nil {
		t.Fatal(err)
	}
	page, err := h.kv.Range(t.Context(), "", "", 10_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range page.Items {
		if text := string(item.Value); strings.Contains(text, `"why":"jet joins"`) {
			forged := store.Write{Key: item.Key, Value: []byte(strings.Replace(text, "jet joins", "faye joins", 1))}
			if _, ok, err := h.kv.Txn(t.Context(), nil, []store.Write{forged}); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	v, err := c.VerifyAudit(t.Context())
	if err != nil || v.Intact || v.Problem == "" {
		t.Errorf("verdict on a forged log: %+v %v", v, err)
	}
}

func attached() resource.Cluster {
	at := scope.MustParse(servetest.Group.String() + "/providers/Microsoft.ContainerService/managedClusters/edge")
	return resource.Cluster{Scope: at, Name: "edge", ResourceGroup: servetest.Group.Name(), Tenant: servetest.Tenant, EntraSignIn: true, Attached: true}
}

func TestOnlyAttachedClustersGetACertificate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *api.Config) {
		c.AttachCluster = func(_ context.Context, at scope.Scope, who principal.ID) (api.Attachment, error) {
			return api.Attachment{TokenReview: "/t" + at.String(), ClientKey: []byte(who.String())}, nil
		}
		c.Examine = func(context.Context, scope.Scope) ([]cluster.Finding, error) {
			return []cluster.Finding{{ID: "x", Severity: cluster.Fine}}, nil
		}
	})
	edge := attached()
	if _, err := h.as(ownerRG).Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, edge)}}); err != nil {
		t.Fatal(err)
	}
	a, err := h.as(ownerRG).Attach(t.Context(), edge.Scope)
	if err != nil || a.TokenReview != "/t"+edge.Scope.String() || a.ClientKey != ownerRG.String() {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := h.as(ownerRG).Attach(t.Context(), servetest.AKS1); code(err) != "BadRequest" {
		t.Errorf("for a cluster that the house runs: %v", err)
	}
	if _, err := h.as(servetest.Faye).Attach(t.Context(), edge.Scope); code(err) != "AuthorizationFailed" {
		t.Errorf("for who may not write the cluster: %v", err)
	}
	if f, err := h.as(ownerRG).Examine(t.Context(), servetest.AKS1); err != nil || len(f.Findings) != 1 {
		t.Errorf("examined: %+v %v", f, err)
	}
	if _, err := h.as(ownerRG).Examine(t.Context(), edge.Scope); code(err) != "BadRequest" {
		t.Errorf("examined from afar: %v", err)
	}
	if _, err := h.as(servetest.Faye).Examine(t.Context(), servetest.AKS1); code(err) != "AuthorizationFailed" {
		t.Errorf("examined by anybody: %v", err)
	}
}

func TestWhatTheHouseFindsOutIsNotWrittenByOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.as(root)
	rec, _ := h.store.Current().Cluster(servetest.AKS1)
	rec.Mirrored, rec.Endpoint, rec.CertificateAuthority = true, "https://127.0.0.1:6443", "pem"
	binding := kuberbac.Binding{Cluster: servetest.AKS1, Namespace: "dev", Name: "mirrored", RoleIsCluster: true, Role: "view",
		Subjects: []kuberbac.Subject{{Kind: kuberbac.User, Name: "x"}}}
	if _, err := h.store.Commit(t.Context(), store.Change{Ops: []estate.Op{{Put: rec}, {Put: binding}}}); err != nil {
		t.Fatal(err)
	}
	changed := binding
	changed.Role = "admin"
	for what, op := range map[string]wire.Op{"changed": put(t, changed), "deleted": del(binding.Key(), false)} {
		_, err := c.Commit(t.Context(), wire.Changes{Ops: []wire.Op{op}})
		if code(err) != "ReadFromCluster" || !strings.Contains(err.Error(), "kubectl apply") || !strings.Contains(err.Error(), "dev/mirrored") {
			t.Errorf("a binding of a mirrored cluster %s: %v", what, err)
		}
	}
	forged := rec
	forged.Mirrored, forged.Endpoint, forged.CertificateAuthority, forged.FQDN = false, "https://evil.example", "", "evil.example"
	forged.Doing = resource.Work{Kind: resource.Delete, Operation: guid.New[resource.Work](), Since: time.Unix(1, 0)}
	forged.ServiceAccountKeys = []resource.ServiceAccountKey{{PEM: "mine"}}
	group, _ := h.store.Current().ResourceGroup(servetest.Group)
	group.Doing, group.ManagedBy = forged.Doing, servetest.AKS1.String()
	if _, err := c.Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, forged), put(t, group)}}); err != nil {
		t.Fatal(err)
	}
	now, _ := h.store.Current().Cluster(servetest.AKS1)
	if now.Endpoint != rec.Endpoint || !now.Mirrored || now.CertificateAuthority != "pem" || now.FQDN != rec.FQDN || !now.Doing.IsZero() || now.ServiceAccountKeys != nil {
		t.Errorf("the cluster is now %+v", now)
	}
	if now, _ := h.store.Current().ResourceGroup(servetest.Group); !now.Doing.IsZero() || now.ManagedBy != "" {
		t.Errorf("the group is to be deleted: %+v", now)
	}
	away := rec
	away.Attached = true
	if _, err := c.Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, away)}}); code(err) != "UpdateNotPermitted" {
		t.Errorf("a cluster of the house given away: %v", err)
	}
	if _, err := c.Commit(t.Context(), wire.Changes{Ops: []wire.Op{del(rec.Key(), true)}}); err != nil {
		t.Errorf("a mirrored cluster deleted with all it has: %v", err)
	}
}

func TestAChangeBeyondTheLimitIsRefusedWhole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var ops []wire.Op
	for range 10_001 {
		ops = append(ops, wire.Op{Delete: &wire.Delete{Kind: record.RoleAssignment, Parts: []string{azurerbac.NewAssignmentID().String()}}})
	}
	_, err := h.as(root).Commit(t.Context(), wire.Changes{Ops: ops})
	if code(err) != "RequestTooLarge" || !strings.Contains(err.Error(), "never split") {
		t.Errorf("%v", err)
	}
}
