package safe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

var (
	noon  = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	kv    = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.KeyVault/vaults/kv")
	other = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/db/providers/Microsoft.KeyVault/vaults/other")
	apart = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000002/resourceGroups/web/providers/Microsoft.KeyVault/vaults/apart")
	ana   = principal.ID{42}
	week  = vault.Retention{ForDays: 7}
)

const canary = "canary-7b1f"

// A world is a safe on a real store in memory, with a clock that a test moves.
type world struct {
	*safe.Safe
	t     *testing.T
	kv    *store.Memory
	store *store.Store
	ahead atomic.Int64
	gone  atomic.Bool // the vaults are not there
	asked func()      // after each question whether they are; nil for nothing
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, kv: new(store.Memory)}
	key, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w.store, err = store.Open(t.Context(), store.Config{KV: w.kv, Sealer: key, Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	w.Safe, err = safe.New(safe.Config{State: w.store, Now: w.now, There: func(*estate.Snapshot, scope.Scope) bool {
		if w.asked != nil {
			defer w.asked()
		}
		return !w.gone.Load()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) now() time.Time { return noon.Add(time.Duration(w.ahead.Load())) }

func (w *world) days(n int) { w.ahead.Add(int64(time.Duration(n) * 24 * time.Hour)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func ref(at scope.Scope, kind vault.Kind, name string) vault.Ref {
	n, err := vault.ParseName(name)
	if err != nil {
		panic(err)
	}
	return vault.Ref{Vault: at, Kind: kind, Name: n}
}

func (w *world) set(r vault.Ref, value string) error {
	return w.Edit(w.t.Context(), safe.Actor{By: ana, Why: "set"}, []vault.Ref{r}, func(now []safe.Found) ([]safe.Edit, error) {
		e, err := w.NewSecretVersion(now[0], r.Name.String(), value, vault.Version{})
		return []safe.Edit{e}, err
	})
}

func (w *world) value(r vault.Ref) string {
	w.t.Helper()
	o, err := w.Get(w.t.Context(), r)
	w.must(err)
	m, err := w.Material(w.t.Context(), o, o.Current.ID)
	w.must(err)
	return string(m)
}

func (w *world) remove(r vault.Ref) error {
	return w.Edit(w.t.Context(), safe.Actor{By: ana, Why: "delete"}, safe.Together(r), func(now []safe.Found) ([]safe.Edit, error) {
		edits := make([]safe.Edit, len(now))
		for i, o := range now {
			if o == nil {
				return nil, safe.ErrNotFound
			}
			next, err := o.Delete(w.now(), week)
			if err != nil {
				return nil, err
			}
			edits[i].Put = &next
		}
		return edits, nil
	})
}

func (w *world) purge(r vault.Ref) error {
	return w.Edit(w.t.Context(), safe.Actor{By: ana, Why: "purge"}, safe.Together(r), func(now []safe.Found) ([]safe.Edit, error) {
		edits := make([]safe.Edit, len(now))
		for i := range now {
			edits[i].Purge = true
		}
		return edits, nil
	})
}

// keys counts the items in a bucket of the database.
func (w *world) keys(bucket string) int {
	w.t.Helper()
	page, err := w.kv.Range(w.t.Context(), "/gatehouse/v1/private/"+bucket+"/", "", 100_000, 0)
	w.must(err)
	return len(page.Items)
}

func TestVersionsArePushedBackAndKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	var ids []vault.ID
	for i := range 7 {
		w.must(w.set(r, fmt.Sprint("value ", i)))
		o, err := w.Get(t.Context(), r)
		w.must(err)
		ids = append(ids, o.Current.ID)
	}
	o, err := w.Get(t.Context(), r)
	w.must(err)
	for i, id := range ids {
		v, err := w.Version(t.Context(), o, id)
		w.must(err)
		m, err := w.Material(t.Context(), o, id)
		if err != nil || string(m) != fmt.Sprint("value ", i) || v.ID != id {
			t.Errorf("version %d is %q, %v", i, m, err)
		}
	}
	for _, limit := range []int{1, 2, 3, 100} {
		seen := make(map[vault.ID]int)
		var after vault.ID
		for turns := 0; ; turns++ {
			page, next, err := w.Versions(t.Context(), o, after, limit)
			w.must(err)
			for _, v := range page {
				seen[v.ID]++
			}
			if len(page) > limit || turns > 20 {
				t.Fatalf("a page of %d, turn %d", len(page), turns)
			}
			if next.IsZero() {
				break
			}
			after = next
		}
		if len(seen) != len(ids) {
			t.Errorf("pages of %d list %d versions, want %d", limit, len(seen), len(ids))
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("pages of %d list %s %d times", limit, id, n)
			}
		}
	}
	if _, err := w.Version(t.Context(), o, vault.NewID()); !errors.Is(err, safe.ErrNotFound) {
		t.Errorf("a version that never was: %v", err)
	}
	if _, err := w.Version(t.Context(), o, vault.ID{}); !errors.Is(err, safe.ErrNotFound) {
		t.Errorf("no version: %v", err)
	}
}

func TestListsGoThroughAVaultOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 12 {
		r := ref(kv, vault.Secrets, fmt.Sprintf("s%02d", i))
		w.must(w.set(r, "x"))
		if i%3 == 0 {
			w.must(w.remove(r))
		}
	}
	w.must(w.set(ref(other, vault.Secrets, "s00"), "x"))
	walk := func(limit int, keep func(vault.Object) bool) string {
		var got []string
		var after vault.Name
		for {
			page, next, err := w.List(t.Context(), kv, vault.Secrets, after, limit, keep)
			w.must(err)
			for _, o := range page {
				got = append(got, o.Name)
			}
			if next == (vault.Name{}) {
				return strings.Join(got, " ")
			}
			after = next
		}
	}
	for _, limit := range []int{1, 2, 5, 100} {
		if got, want := walk(limit, func(o vault.Object) bool { return o.Deleted == nil }), "s01 s02 s04 s05 s07 s08 s10 s11"; got != want {
			t.Errorf("pages of %d: %s, want %s", limit, got, want)
		}
		if got, want := walk(limit, func(o vault.Object) bool { return o.Deleted != nil }), "s00 s03 s06 s09"; got != want {
			t.Errorf("deleted, pages of %d: %s, want %s", limit, got, want)
		}
	}
	w.days(7)
	if got := walk(5, func(o vault.Object) bool { return o.Deleted != nil }); got != "" {
		t.Errorf("what is gone is listed: %s", got)
	}
}

// Fifty who set one secret at once all succeed, and none of their values is lost:
// ARM-02.
func TestManySetOneSecretAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	const n = 50
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = w.set(r, fmt.Sprint(i)) })
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		}
	}
	o, err := w.Get(t.Context(), r)
	w.must(err)
	versions, _, err := w.Versions(t.Context(), o, vault.ID{}, 100)
	w.must(err)
	values := make(map[string]bool)
	for _, v := range versions {
		m, err := w.Material(t.Context(), o, v.ID)
		w.must(err)
		values[string(m)] = true
	}
	if done != n || len(values) != n {
		t.Errorf("%d of %d succeeded, and there are %d values", done, n, len(values))
	}
}

func TestWhoTakesANameDoesNotTakeWhatItHeld(t *testing.T) {
	t.Parallel()
	for law, end := range map[string]func(w *world, r vault.Ref) error{
		"purged":                 func(w *world, r vault.Ref) error { return w.purge(r) },
		"its time is over":       func(w *world, r vault.Ref) error { w.days(7); return nil },
		"its time is over, tidy": func(w *world, r vault.Ref) error { w.days(7); return w.Tidy(w.t.Context()) },
	} {
		w := newWorld(t)
		r := ref(kv, vault.Secrets, "db")
		w.must(w.set(r, "one"))
		w.must(w.set(r, canary))
		old, err := w.Get(t.Context(), r)
		w.must(err)
		w.must(w.remove(r))
		if err := w.set(r, "mine"); !errors.Is(err, vault.ErrDeleted) {
			t.Fatalf("%s: the name of what is deleted can be taken: %v", law, err)
		}
		w.must(end(w, r))
		if _, err := w.Get(t.Context(), r); !errors.Is(err, safe.ErrNotFound) {
			t.Errorf("%s: it is still found: %v", law, err)
		}
		w.must(w.set(r, "mine"))
		next, err := w.Get(t.Context(), r)
		w.must(err)
		if next.Line == old.Line || w.value(r) != "mine" {
			t.Errorf("%s: the new secret is the old one", law)
		}
		if _, err := w.Version(t.Context(), next, old.Current.ID); !errors.Is(err, safe.ErrNotFound) {
			t.Errorf("%s: a version of the old one is found: %v", law, err)
		}
		if m, err := w.Material(t.Context(), next, old.Current.ID); !errors.Is(err, safe.ErrNotFound) {
			t.Errorf("%s: the old value is found: %q, %v", law, m, err)
		}
		if n, m, g := w.keys("vault-version"), w.keys("vault-material"), w.keys("vault-garbage"); n != 0 || m != 1 || g != 0 {
			t.Errorf("%s: %d versions, %d values and %d lines of garbage are left in the database", law, n, m, g)
		}
	}
}

// TestNothingReadableReachesTheDatabase: ZA-01.
func TestNothingReadableReachesTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	w.must(w.set(r, canary))
	w.must(w.Use(t.Context(), store.Use{By: ana, Time: noon, Action: "getSecret", On: []string{"db"}}))
	page, err := w.kv.Range(t.Context(), "/", "", 1000, 0)
	w.must(err)
	for _, item := range page.Items {
		if bytes.Contains(item.Value, []byte(canary)) || strings.Contains(item.Key, canary) {
			t.Errorf("%s holds the value of a secret", item.Key)
		}
	}
	if len(page.Items) < 5 {
		t.Errorf("only %d items", len(page.Items))
	}
}

// Everybody who is answered is in the log, once, and before he is answered: ZA-07.
func TestEveryUseIsRecordedBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := w.Use(t.Context(), store.Use{By: ana, Time: noon, Action: "getSecret", On: []string{fmt.Sprint(i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen, records := make(map[string]int), 0
	for r, err := range w.store.Audit(t.Context(), 0) {
		w.must(err)
		records++
		for _, u := range r.Uses {
			seen[u.On[0]]++
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d uses are in the log", len(seen), n)
	}
	for on, times := range seen {
		if times != 1 {
			t.Errorf("use %s is in the log %d times", on, times)
		}
	}
	t.Logf("%d uses in %d records", n, records)
}

// A gated state lets a test hold back and fail the writes of the audit log.
type gated struct {
	*store.Store
	enter chan struct{}
	leave chan error
}

func (g *gated) Commit(ctx context.Context, c store.Change) (int64, error) {
	g.enter <- struct{}{}
	if err := <-g.leave; err != nil {
		return 0, err
	}
	return g.Store.Commit(ctx, c)
}

func TestNobodyIsAnsweredWithoutARecord(t *testing.T) { // ZA-08
	t.Parallel()
	w := newWorld(t)
	g := &gated{w.store, make(chan struct{}), make(chan error)}
	s, err := safe.New(safe.Config{State: g})
	w.must(err)
	answers := make(chan error, 3)
	ask := func(ctx context.Context, on string) {
		go func() { answers <- s.Use(ctx, store.Use{By: ana, Action: "getSecret", On: []string{on}}) }()
	}
	ask(t.Context(), "first")
	<-g.enter
	select {
	case err := <-answers:
		t.Fatalf("answered before the record was written: %v", err)
	default:
	}
	g.leave <- store.ErrUnavailable
	if err := <-answers; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a record that was not written: %v, want ErrUnavailable", err)
	}
	// Who goes away does not take the others' records along.
	ctx, cancel := context.WithCancel(t.Context())
	ask(ctx, "gone")
	<-g.enter
	cancel()
	if err := <-answers; !errors.Is(err, context.Canceled) {
		t.Errorf("who went away: %v", err)
	}
	ask(t.Context(), "stays")
	g.leave <- nil
	<-g.enter
	g.leave <- nil
	if err := <-answers; err != nil {
		t.Errorf("who stayed: %v", err)
	}
	var got []string
	for r, err := range w.store.Audit(t.Context(), 0) {
		w.must(err)
		for _, u := range r.Uses {
			got = append(got, u.On[0])
		}
	}
	if diff := cmp.Diff([]string{"gone", "stays"}, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}
