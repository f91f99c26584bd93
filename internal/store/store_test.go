package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

var tenant = directory.Tenant{ID: directory.TenantID{1}, Domains: []string{"corp.example"}}

// user returns user number n, with a display name.
func user(n int, name string) directory.User {
	return directory.User{
		ID: principal.ID{2, byte(n >> 16), byte(n >> 8), byte(n)}, Tenant: tenant.ID,
		UserPrincipalName: fmt.Sprintf("u%d@corp.example", n), DisplayName: name,
	}
}

func put(records ...record.Record) []estate.Op {
	var ops []estate.Op
	for _, r := range records {
		ops = append(ops, estate.Op{Put: r})
	}
	return ops
}

func newKey(t testing.TB, b byte) *store.Key {
	t.Helper()
	key, err := store.NewKey(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open opens a store over kv; edit may change the configuration.
func open(t testing.TB, kv store.KV, edit ...func(*store.Config)) *store.Store {
	t.Helper()
	cfg := store.Config{KV: kv, Sealer: newKey(t, 7), Init: true}
	for _, e := range edit {
		e(&cfg)
	}
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func commit(t testing.TB, s *store.Store, ops ...estate.Op) int64 {
	t.Helper()
	rev, err := s.Commit(t.Context(), store.Change{Why: "test", Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func names(est *estate.Snapshot) []string {
	var out []string
	for r := range est.Records() {
		if u, ok := r.(directory.User); ok {
			out = append(out, u.DisplayName)
		}
	}
	return out
}

func TestWriterReadsHisOwnWrite(t *testing.T) {
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv)
	rev := commit(t, s, put(tenant, user(1, "Ana"))...)
	if got := s.Current().Revision(); got < rev {
		t.Errorf("revision %d after a commit at %d", got, rev)
	}
	if diff := cmp.Diff([]string{"Ana"}, names(s.Current())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := s.Rev(user(1, "").Key()); got != rev {
		t.Errorf("Rev = %d, want %d", got, rev)
	}
	if r, at := s.Get(user(1, "").Key()); at != rev || r.(directory.User).DisplayName != "Ana" {
		t.Errorf("Get = %v at %d, want Ana at %d", r, at, rev)
	}
	if r, at := s.Get(user(9, "").Key()); r != nil || at != 0 {
		t.Errorf("Get of nobody = %v at %d", r, at)
	}
	rev = commit(t, s, estate.Op{Delete: user(1, "").Key()})
	if got := names(s.Current()); got != nil || s.Rev(user(1, "").Key()) != 0 {
		t.Errorf("after the deletion at %d: %v", rev, got)
	}
}

func TestWhatWasCommittedIsThereAfterAnotherStart(t *testing.T) {
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv)
	ops := put(tenant)
	for i := range 5000 {
		ops = append(ops, put(user(i, fmt.Sprintf("User %d", i)))...)
	}
	rev := commit(t, s, ops...)
	again := open(t, kv)
	if diff := cmp.Diff(slices.Collect(s.Current().Records()), slices.Collect(again.Current().Records())); diff != "" {
		t.Errorf("(-committed +read):\n%s", diff)
	}
	if got := again.Rev(user(9, "").Key()); got != rev {
		t.Errorf("Rev = %d, want %d", got, rev)
	}
}

func TestReplicasSeeEachOther(t *testing.T) {
	t.Parallel()
	kv := new(store.Memory)
	a, b := open(t, kv), open(t, kv)
	rev := commit(t, a, put(tenant, user(1, "Ana"))...)
	est, err := b.AtLeast(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Ana"}, names(est)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	rev = commit(t, b, put(user(1, "Ann"))...)
	if est, err = a.AtLeast(t.Context(), rev); err != nil || names(est)[0] != "Ann" {
		t.Errorf("%v, %v", names(est), err)
	}
}

func TestAtLeastARevisionThatChangedSomethingElse(t *testing.T) {
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv)
	if err := s.CommitPrivate(t.Context(), store.PrivateOp{Bucket: "codes", ID: []string{"c"}, Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	item, err := s.Private(t.Context(), "codes", "c")
	if err != nil {
		t.Fatal(err)
	}
	est, err := s.AtLeast(t.Context(), item.Rev)
	if err != nil || est.Revision() < item.Rev {
		t.Errorf("revision %d, %v; want at least %d", est.Revision(), err, item.Rev)
	}
	if _, err := s.AtLeast(t.Context(), item.Rev+1000); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a revision of the future: %v, want ErrNotFound", err)
	}
}

func TestPairing(t *testing.T) { // ST-07, ST-17
	t.Parallel()
	type world struct {
		marked string // the directory's mark: "", "own" or "other"
		filled bool   // the database holds a store
		key    byte
		init   bool
	}
	tests := []struct {
		name string
		world
		want error
	}{
		{"a first start that says so creates a store", world{key: 7, init: true}, nil},
		{"a first start that does not say so is refused", world{key: 7}, store.ErrForeign},
		{"a directory and its store open without saying anything", world{marked: "own", filled: true, key: 7}, nil},
		{"an empty directory over a filled database is refused", world{filled: true, key: 7}, store.ErrForeign},
		{"an empty directory may join if it says so", world{filled: true, key: 7, init: true}, nil},
		{"a marked directory over an empty database is refused", world{marked: "other", key: 7}, store.ErrForeign},
		{"and stays refused on a first start", world{marked: "other", key: 7, init: true}, store.ErrForeign},
		{"another store's directory is refused", world{marked: "other", filled: true, key: 7}, store.ErrForeign},
		{"and stays refused on a first start too", world{marked: "other", filled: true, key: 7, init: true}, store.ErrForeign},
		{"another store's key is refused", world{marked: "own", filled: true, key: 8}, store.ErrForeign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kv, dir := new(store.Memory), filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if tt.filled {
				first := open(t, kv, func(c *store.Config) { c.Dir = filepath.Join(t.TempDir(), "first") })
				if tt.marked == "own" {
					mark(t, dir, first.ID())
				}
			}
			if tt.marked == "other" {
				mark(t, dir, "00112233445566778899aabbccddeeff")
			}
			s, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: newKey(t, tt.key), Dir: dir, Init: tt.init})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil {
				s.Close()
				if again, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: newKey(t, tt.key), Dir: dir}); err != nil {
					t.Errorf("the second start: %v", err)
				} else {
					again.Close()
				}
			}
		})
	}
}

func mark(t *testing.T, dir, id string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "store-id"), []byte(id+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoriesThatOthersMayTouchAreRefused(t *testing.T) { // ZA-03
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o755, 0o710, 0o701} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := store.CheckDir(dir, true); err == nil {
			t.Errorf("mode %04o was accepted", mode)
		}
	}
}

func TestWhatIsNotUnderstoodIsNotSkipped(t *testing.T) { // WH-18
	t.Parallel()
	uid := user(1, "").ID.String()
	tid := tenant.ID.String()
	tests := []struct{ name, key, value string }{
		{"an unknown kind", "/gatehouse/v1/estate/Denial/1", `{"schema":1,"record":{}}`},
		{"a schema of the future", "/gatehouse/v1/estate/Tenant/" + tid, `{"schema":2,"record":{"id":"` + tid + `","domains":["a.example"]}}`},
		{"a value without schema", "/gatehouse/v1/estate/Tenant/" + tid, `{"record":{"id":"` + tid + `","domains":["a.example"]}}`},
		{"an unknown member", "/gatehouse/v1/estate/Tenant/" + tid, `{"schema":1,"record":{"id":"` + tid + `","domains":["a.example"],"denies":true}}`},
		{"a record under another's key", "/gatehouse/v1/estate/Tenant/" + uid, `{"schema":1,"record":{"id":"` + tid + `","domains":["a.example"]}}`},
		{"a key in another spelling", "/gatehouse/v1/estate/Tenant/%30" + tid[1:], `{"schema":1,"record":{"id":"` + tid + `","domains":["a.example"]}}`},
		{"a value that is no JSON", "/gatehouse/v1/estate/Tenant/" + tid, `{`},
		{"something beside the estate", "/gatehouse/v1/estate.bak", `{}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kv := new(store.Memory)
			running := open(t, kv)
			rev, _, err := kv.Txn(t.Context(), nil, []store.Write{{Key: tt.key, Value: []byte(tt.value)}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: newKey(t, 7)}); !errors.Is(err, store.ErrSchema) {
				t.Errorf("open: %v, want ErrSchema", err)
			}
			// A replica that runs already must stop answering.
			until(t, func() bool { return errors.Is(running.Fresh(time.Now()), store.ErrSchema) })
			if _, err := running.Commit(t.Context(), store.Change{}); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("commit: %v, want ErrUnavailable", err)
			}
			// And starts again when the thing is gone.
			if _, _, err := kv.Txn(t.Context(), []store.Cond{{Key: tt.key, Rev: rev}}, []store.Write{{Key: tt.key, Delete: true}}); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool { return running.Fresh(time.Now()) == nil })
		})
	}
}

// until waits for what the background brings about. A test that waits in vain
// ends with its deadline.
func until(t testing.TB, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("waited in vain")
		}
	}
}

func TestANewerStoreIsRefused(t *testing.T) { // WH-18
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv)
	s.Close()
	if _, _, err := kv.Txn(t.Context(), nil, []store.Write{{Key: "/gatehouse/v1/meta", Value: fmt.Appendf(nil, `{"schema":99,"id":"%s","epoch":1}`, s.ID())}}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: newKey(t, 7)}); !errors.Is(err, store.ErrSchema) {
		t.Errorf("open: %v, want ErrSchema", err)
	}
}

func TestLostUpdates(t *testing.T) {
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv)
	commit(t, s, put(tenant, user(1, "Ana"))...)
	old := s.Current()
	oldRev := s.Rev(user(1, "").Key())
	commit(t, s, put(user(1, "Ann"))...)
	key := user(1, "").Key()
	tests := []struct {
		name   string
		change store.Change
		want   error
	}{
		{"a change computed from an older snapshot conflicts", store.Change{Ops: put(user(1, "Eve")), Base: old}, store.ErrConflict},
		{"an older entity tag conflicts", store.Change{Ops: put(user(1, "Eve")), IfRev: map[record.Key]int64{key: oldRev}}, store.ErrConflict},
		{"a creation of what exists conflicts", store.Change{Ops: put(user(1, "Eve")), IfRev: map[record.Key]int64{key: 0}}, store.ErrConflict},
		{"an older snapshot is no obstacle to other records", store.Change{Ops: put(user(2, "Bob")), Base: old}, nil},
		{"the right entity tag is accepted", store.Change{Ops: put(user(1, "Anna")), IfRev: map[record.Key]int64{key: s.Rev(key)}}, nil},
		{"what was created since the snapshot conflicts", store.Change{Ops: put(user(2, "Eve")), Base: old}, store.ErrConflict},
	}
	for _, tt := range tests { // in this order
		if _, err := s.Commit(t.Context(), tt.change); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if diff := cmp.Diff([]string{"Anna", "Bob"}, names(s.Current())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	base := s.Current()
	commit(t, s, estate.Op{Delete: key})
	if _, err := s.Commit(t.Context(), store.Change{Ops: put(user(1, "Eve")), Base: base}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a change of what was deleted since: %v, want ErrConflict", err)
	}
}

func TestRefusedChangesWriteNothing(t *testing.T) { // ST-18
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv)
	commit(t, s, put(tenant)...)
	_, before, err := kv.Get(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	var many []estate.Op
	for i := range kv.Limits().Ops {
		many = append(many, put(user(i, "x"))...)
	}
	tests := []struct {
		name   string
		change store.Change
		want   error
	}{
		{"more ops than fit in one transaction", store.Change{Ops: many}, store.ErrTooLarge},
		{"more bytes than fit in one transaction", store.Change{Private: []store.PrivateOp{{Bucket: "b", ID: []string{"1"}, Value: make([]byte, kv.Limits().Bytes)}}}, store.ErrTooLarge},
		{"two ops for one record", store.Change{Ops: put(user(1, "a"), user(1, "b"))}, record.ErrInvalid},
		{"a record that is not valid", store.Change{Ops: put(directory.User{ID: principal.ID{9}})}, record.ErrInvalid},
		{"a good record beside one that is not valid", store.Change{Ops: put(user(1, "a"), directory.User{ID: principal.ID{9}})}, record.ErrInvalid},
		{"a reason without end", store.Change{Why: string(make([]byte, 5000))}, record.ErrInvalid},
		{"a private item without id", store.Change{Private: []store.PrivateOp{{Bucket: "b", Value: []byte("x")}}}, record.ErrInvalid},
	}
	for _, tt := range tests {
		if _, err := s.Commit(t.Context(), tt.change); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, after, err := kv.Get(t.Context(), "/"); err != nil || after != before {
		t.Errorf("revision %d, %v; before %d", after, err, before)
	}
}

func TestStormOfUpdates(t *testing.T) { // ST-20
	t.Parallel()
	kv := new(store.Memory)
	replicas := []*store.Store{open(t, kv), open(t, kv), open(t, kv)}
	rev := commit(t, replicas[0], put(tenant, user(1, "0"))...)
	for _, s := range replicas {
		if _, err := s.AtLeast(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
	}
	const writers, each = 12, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			s := replicas[w%len(replicas)]
			for n := range each {
				increment(t, s)
				// Others' records are no conflict, but the audit chain is shared.
				if _, err := s.Commit(t.Context(), store.Change{Ops: put(user(100+w, fmt.Sprint(n)))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	rev = commit(t, replicas[0], put(user(2, "end"))...)
	for _, s := range replicas {
		est, err := s.AtLeast(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{fmt.Sprint(writers * each), "end"}, names(est)[:2]); diff != "" {
			t.Errorf("updates were lost (-want +got):\n%s", diff)
		}
	}
	if n, err := replicas[0].VerifyAudit(t.Context()); err != nil || n != 2*writers*each+2 {
		t.Errorf("audit log: %d records, %v; want %d", n, err, 2*writers*each+2)
	}
}

// increment adds one to the number that is user 1's name.
func increment(t *testing.T, s *store.Store) {
	for {
		base := s.Current()
		r, ok := base.Get(user(1, "").Key())
		if !ok {
			continue // not here yet
		}
		var n int
		fmt.Sscan(r.(directory.User).DisplayName, &n)
		_, err := s.Commit(t.Context(), store.Change{Ops: put(user(1, fmt.Sprint(n+1))), Base: base})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			t.Error(err)
		}
		return
	}
}

// An earlier version let a tenant be deleted while programs and places named it, and
// did not start any more. AZ-20
func TestAStoreWithWhatDanglesIsOpenedAndSaysSo(t *testing.T) {
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv)
	gone := directory.Tenant{ID: directory.TenantID{9}, Domains: []string{"gone.example"}}
	left := directory.Application{ID: principal.ID{9, 1}, AppID: directory.AppID{9, 2}, Tenant: gone.ID, DisplayName: "left"}
	commit(t, s, put(tenant, user(1, "Ana"), gone, left)...)
	if _, err := s.Commit(t.Context(), store.Change{Ops: []estate.Op{{Delete: gone.Key()}}}); !errors.Is(err, estate.ErrInUse) || !strings.Contains(err.Error(), left.Key().String()) {
		t.Fatalf("the tenant is deleted under its application: %v", err)
	}
	if _, ok, err := kv.Txn(t.Context(), nil, []store.Write{{Key: store.RecordKey(gone.Key()), Delete: true}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	var log bytes.Buffer
	again := open(t, kv, func(c *store.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	if !strings.Contains(log.String(), left.AppID.String()) || !strings.Contains(log.String(), gone.ID.String()) {
		t.Errorf("the log does not say what dangles, and why:\n%s", log.String())
	}
	commit(t, again, put(user(2, "Bob"))...)
	rev := commit(t, again, estate.Op{Delete: left.Key()})
	for _, replica := range []*store.Store{again, s} { // s saw it happen
		est, err := replica.AtLeast(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		for key, why := range est.Dangling() {
			t.Errorf("%s still dangles: %v", key, why)
		}
	}
}
