package authz_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// newStoreKnocker asks a door over a real store.
func newStoreKnocker(t *testing.T) (*knocker, *store.Store) {
	t.Helper()
	key, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{KV: new(store.Memory), Sealer: key, Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var ops []estate.Op
	for r := range servetest.NewWorld(t).Current().Records() {
		ops = append(ops, estate.Op{Put: r})
	}
	if _, err := s.Commit(t.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		t.Fatal(err)
	}
	door, err := authz.New(authz.Config{Estates: s})
	if err != nil {
		t.Fatal(err)
	}
	return &knocker{t: t, server: servetest.Start(t, door.Handler(), true)}, s
}

// A write that was acknowledged is in every answer of the replica that took it,
// from the very next one on. WH-13.
func TestNoAnswerIsOlderThanAnAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	k, s := newStoreKnocker(t)
	client := k.server.Cluster(servetest.AKS1)
	body, err := json.Marshal(review(resource(by("jet@teknews.cloud", servetest.Jet), "list", "pods", "")))
	if err != nil {
		t.Fatal(err)
	}
	jet, _ := s.Current().User(servetest.Jet)
	reads, _ := s.Current().Assignment(servetest.JetReads)
	member := directory.Membership{Group: servetest.Admins, Member: servetest.Jet}
	// Each round takes something from Jet, or gives it back.
	type change struct {
		op   estate.Op
		want string
	}
	disabled := jet
	disabled.Disabled = true
	cycle := []change{
		{estate.Op{Delete: reads.Assignment.Key()}, "no opinion"},
		{estate.Op{Put: reads.Assignment}, "allow"},
		{estate.Op{Put: disabled}, "deny"},
		{estate.Op{Put: jet}, "allow"},
		{estate.Op{Put: azurerbac.DenyAssignment{ID: azurerbac.DenyAssignmentID(servetest.ID("61000000-0000-4000-8000-0000000000aa")), Name: "no pods", Scope: servetest.Subscription, Everyone: true,
			Permissions: []azurerbac.Permission{{DataActions: []string{"*/pods/*"}}}}}, "deny"},
		{estate.Op{Delete: azurerbac.DenyAssignment{ID: azurerbac.DenyAssignmentID(servetest.ID("61000000-0000-4000-8000-0000000000aa"))}.Key()}, "allow"},
		{estate.Op{Put: member}, "allow"}, // nothing that counts here changes
		{estate.Op{Delete: member.Key()}, "allow"},
	}
	stale := 0
	begun := time.Now()
	for n := range rounds {
		c := cycle[n%len(cycle)]
		if _, err := s.Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{c.op}}); err != nil {
			t.Fatal(err)
		}
		status, text := k.server.Post(client, path(servetest.AKS1), string(body))
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		if got := effect(parse(t, text)); got != c.want {
			if stale++; stale < 5 {
				t.Errorf("round %d: %s, want %s", n, got, c.want)
			}
		}
	}
	t.Logf("%d changes, each asked about at once: %d stale answers, %s a round", rounds, stale, time.Since(begun)/time.Duration(rounds))
}

// WH-12: askers at the same time, over shared connections, get each his own answer
// and his own name in it.
func TestAskersAtOnceGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	k := newKnocker(t)
	client := k.server.Cluster(servetest.AKS1)
	type asker struct{ body, effect, reason string }
	var askers []asker
	add := func(effect, reason string, spec any) {
		body, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		askers = append(askers, asker{string(body), effect, reason})
	}
	// WH-11: pairs of questions that a careless key would take for one.
	jet, faye := by("jet@teknews.cloud", servetest.Jet), by("faye@teknews.cloud", servetest.Faye, servetest.DevTeam, servetest.Staff)
	add("allow", "to user jet@teknews.cloud", review(resource(jet, "list", "pods", "")))
	add("allow", "to user faye@teknews.cloud", review(resource(faye, "create", "pods", "dev")))
	add("no opinion", noGrant, review(resource(faye, "create", "pods", "de")))
	add("no opinion", noGrant, review(resource(faye, "create", "podsdev", "dev")))
	add("deny", "no longer in group", review(resource(by("jet@teknews.cloud", servetest.Jet, servetest.Staff), "list", "pods", "")))
	add("deny", "another name", review(resource(by("jet@teknews.cloud", servetest.Faye), "list", "pods", "")))
	add("deny", "another name", review(resource(by("faye@teknews.cloud", servetest.Jet), "create", "pods", "dev")))
	add("deny", "disabled", review(resource(by("spike@teknews.cloud", servetest.Spike), "list", "pods", "")))
	add("deny", "another tenant", review(resource(by("vicious@fabrikam.com", servetest.Vicious), "list", "pods", "")))
	without := resource(jet, "list", "pods", "")
	without.Extra = nil
	add("no opinion", notAAD, review(without))
	subresource := resource(jet, "get", "pods", "x")
	subresource.ResourceAttributes.Subresource = "exec"
	add("no opinion", noGrant, review(subresource))
	named := resource(jet, "get", "pods", "x")
	named.ResourceAttributes.Name = "exec"
	add("allow", "to user jet@teknews.cloud", review(named))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for n := range 400 {
				a := askers[(n*7+worker)%len(askers)]
				status, text := k.server.Post(client, path(servetest.AKS1), a.body)
				if got := parse(t, text); status != http.StatusOK || effect(got) != a.effect || !strings.Contains(got.Reason, a.reason) {
					t.Errorf("%d %s, want %s %q for %s", status, text, a.effect, a.reason, a.body)
					return
				}
			}
		})
	}
	wg.Wait()
}
