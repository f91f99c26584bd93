// Package storetest says what a store.KV must do, as tests that every
// implementation runs.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Run runs the contract against fresh, empty KVs that open returns. The KV must
// also have a method Compact(ctx, rev), because the contract is about what
// compaction does to readers.
func Run(t *testing.T, open func(t *testing.T) store.KV) {
	tests := []struct {
		name string
		law  func(*testing.T, store.KV)
	}{
		{"a key that was never written has revision 0", absent},
		{"a write takes the next revision and is read back", readBack},
		{"all writes of a transaction share one revision", oneRevision},
		{"a failed condition writes nothing", failedCondition},
		{"a condition on revision 0 holds only for an absent key", absentCondition},
		{"a deleted key is absent and may be created again", deleted},
		{"deleting what does not exist takes no revision", deleteNothing},
		{"a key written twice in one transaction is refused", twice},
		{"a transaction over the limits is refused and writes nothing", limits},
		{"pages of one revision do not see later writes", pages},
		{"a range keeps to its prefix", prefixes},
		{"a range after its last key is empty", pastTheEnd},
		{"a range at a compacted revision says so", compactedRange},
		{"a watch delivers every change from its revision on, in order", watchAll},
		{"a watch delivers history, deletions included", watchHistory},
		{"a watch says how far it is when asked", watchProgress},
		{"a watch from a compacted revision says so", watchCompacted},
		{"a closed watch closes its channel", watchClosed},
		{"of writers under one condition exactly one wins", race},
		{"a cancelled context is unavailable", cancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.law(t, open(t))
		})
	}
}

// Put writes one key and returns its revision.
func Put(t testing.TB, kv store.KV, key, value string) int64 {
	t.Helper()
	rev, ok, err := kv.Txn(t.Context(), nil, []store.Write{{Key: key, Value: []byte(value)}})
	if err != nil || !ok {
		t.Fatalf("put %s: %t, %v", key, ok, err)
	}
	return rev
}

func get(t *testing.T, kv store.KV, key string) (store.Item, int64) {
	t.Helper()
	item, rev, err := kv.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return item, rev
}

// Compact compacts the KV.
func Compact(t testing.TB, kv store.KV, rev int64) {
	t.Helper()
	c, ok := kv.(interface {
		Compact(context.Context, int64) error
	})
	if !ok {
		t.Fatalf("%T has no method Compact", kv)
	}
	if err := c.Compact(t.Context(), rev); err != nil {
		t.Fatalf("compact at %d: %v", rev, err)
	}
}

func absent(t *testing.T, kv store.KV) {
	if item, _ := get(t, kv, "/a"); item.Rev != 0 || item.Value != nil {
		t.Errorf("absent key: %+v", item)
	}
}

func readBack(t *testing.T, kv store.KV) {
	_, before := get(t, kv, "/a")
	rev := Put(t, kv, "/a", "1")
	if rev != before+1 {
		t.Errorf("revision %d after %d, want the next one", rev, before)
	}
	item, now := get(t, kv, "/a")
	if diff := cmp.Diff(store.Item{Key: "/a", Value: []byte("1"), Rev: rev}, item); diff != "" || now != rev {
		t.Errorf("at revision %d (-want +got):\n%s", now, diff)
	}
}

func oneRevision(t *testing.T, kv store.KV) {
	Put(t, kv, "/gone", "x")
	rev, ok, err := kv.Txn(t.Context(), nil, []store.Write{
		{Key: "/a", Value: []byte("1")}, {Key: "/b", Value: []byte("2")}, {Key: "/gone", Delete: true},
	})
	if err != nil || !ok {
		t.Fatalf("%t, %v", ok, err)
	}
	for _, key := range []string{"/a", "/b"} {
		if item, _ := get(t, kv, key); item.Rev != rev {
			t.Errorf("%s is of revision %d, want %d", key, item.Rev, rev)
		}
	}
	if item, now := get(t, kv, "/gone"); item.Rev != 0 || now != rev {
		t.Errorf("deleted key: %+v at %d, want none at %d", item, now, rev)
	}
}

func failedCondition(t *testing.T, kv store.KV) {
	a := Put(t, kv, "/a", "1")
	b := Put(t, kv, "/b", "1")
	rev, ok, err := kv.Txn(t.Context(), []store.Cond{{Key: "/a", Rev: a}, {Key: "/b", Rev: b - 1}}, []store.Write{{Key: "/a", Value: []byte("2")}})
	if err != nil || ok || rev != b {
		t.Errorf("= %d, %t, %v; want %d, false", rev, ok, err, b)
	}
	if item, _ := get(t, kv, "/a"); string(item.Value) != "1" {
		t.Errorf("/a = %q after a failed condition", item.Value)
	}
	if _, ok, err := kv.Txn(t.Context(), []store.Cond{{Key: "/a", Rev: a}, {Key: "/b", Rev: b}}, []store.Write{{Key: "/a", Value: []byte("2")}}); err != nil || !ok {
		t.Errorf("conditions that hold: %t, %v", ok, err)
	}
}

func absentCondition(t *testing.T, kv store.KV) {
	create := func() bool {
		_, ok, err := kv.Txn(t.Context(), []store.Cond{{Key: "/a"}}, []store.Write{{Key: "/a", Value: []byte("1")}})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !create() || create() {
		t.Error("want the first creation to win and the second to fail")
	}
}

func deleted(t *testing.T, kv store.KV) {
	Put(t, kv, "/a", "1")
	rev, ok, err := kv.Txn(t.Context(), nil, []store.Write{{Key: "/a", Delete: true}})
	if err != nil || !ok {
		t.Fatalf("%t, %v", ok, err)
	}
	if item, now := get(t, kv, "/a"); item.Rev != 0 || now != rev {
		t.Errorf("%+v at %d", item, now)
	}
	if _, ok, err := kv.Txn(t.Context(), []store.Cond{{Key: "/a"}}, []store.Write{{Key: "/a", Value: []byte("2")}}); err != nil || !ok {
		t.Errorf("create again: %t, %v", ok, err)
	}
}

func deleteNothing(t *testing.T, kv store.KV) {
	before := Put(t, kv, "/b", "1")
	rev, ok, err := kv.Txn(t.Context(), nil, []store.Write{{Key: "/a", Delete: true}})
	if err != nil || !ok || rev != before {
		t.Errorf("= %d, %t, %v; want %d, true", rev, ok, err, before)
	}
}

func twice(t *testing.T, kv store.KV) {
	if _, _, err := kv.Txn(t.Context(), nil, []store.Write{{Key: "/a", Value: []byte("1")}, {Key: "/a", Value: []byte("2")}}); err == nil {
		t.Error("no error")
	}
	if item, _ := get(t, kv, "/a"); item.Rev != 0 {
		t.Errorf("written: %+v", item)
	}
}

func limits(t *testing.T, kv store.KV) {
	max := kv.Limits()
	writes := make([]store.Write, max.Ops)
	for i := range writes {
		writes[i] = store.Write{Key: fmt.Sprintf("/many/%06d", i), Value: []byte("x")}
	}
	if _, ok, err := kv.Txn(t.Context(), nil, writes); err != nil || !ok {
		t.Errorf("%d writes: %t, %v", len(writes), ok, err)
	}
	_, before := get(t, kv, "/a")
	tooMany := append(slices.Clone(writes), store.Write{Key: "/many/more"})
	if _, _, err := kv.Txn(t.Context(), nil, tooMany); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("%d writes: %v, want ErrTooLarge", len(tooMany), err)
	}
	big := []store.Write{{Key: "/a", Value: []byte(strings.Repeat("x", max.Bytes+1))}}
	if _, _, err := kv.Txn(t.Context(), nil, big); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("%d bytes: %v, want ErrTooLarge", max.Bytes+1, err)
	}
	if item, now := get(t, kv, "/a"); item.Rev != 0 || now != before {
		t.Errorf("a refused transaction wrote: %+v at %d, before %d", item, now, before)
	}
}

func pages(t *testing.T, kv store.KV) {
	var want []string
	for i := range 7 {
		key := fmt.Sprintf("/p/%d", i)
		Put(t, kv, key, "old")
		want = append(want, key+"=old")
	}
	var got []string
	after, rev := "", int64(0)
	for i := 0; ; i++ {
		page, err := kv.Range(t.Context(), "/p/", after, 3, rev)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) > 3 {
			t.Fatalf("a page of %d items, limit 3", len(page.Items))
		}
		for _, item := range page.Items {
			got = append(got, item.Key+"="+string(item.Value))
			after = item.Key
		}
		if rev = page.Rev; !page.More {
			break
		}
		Put(t, kv, "/p/6", "new")
		Put(t, kv, fmt.Sprintf("/p/7%d", i), "new")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func prefixes(t *testing.T, kv store.KV) {
	for _, key := range []string{"/p", "/p/", "/p/a", "/p0", "/q/a", "/o/z"} {
		Put(t, kv, key, "x")
	}
	page, err := kv.Range(t.Context(), "/p/", "", 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range page.Items {
		got = append(got, item.Key)
	}
	if diff := cmp.Diff([]string{"/p/", "/p/a"}, got); diff != "" || page.More {
		t.Errorf("more=%t (-want +got):\n%s", page.More, diff)
	}
}

func pastTheEnd(t *testing.T, kv store.KV) {
	Put(t, kv, "/p/a", "x")
	Put(t, kv, "/q/a", "x")
	for _, after := range []string{"/p/a", "/p/z", "/q", "/q/a", "/z"} {
		page, err := kv.Range(t.Context(), "/p/", after, 10, 0)
		if err != nil || len(page.Items) > 0 || page.More {
			t.Errorf("after %s: %+v, %v", after, page, err)
		}
	}
}

func compactedRange(t *testing.T, kv store.KV) {
	old := Put(t, kv, "/a", "1")
	rev := Put(t, kv, "/a", "2")
	Compact(t, kv, rev)
	if _, err := kv.Range(t.Context(), "/", "", 10, old); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("at %d: %v, want ErrCompacted", old, err)
	}
	if _, err := kv.Range(t.Context(), "/", "", 10, rev); err != nil {
		t.Errorf("at the compacted revision itself: %v", err)
	}
}

// follow reads a watch until it has delivered revision to.
func follow(t *testing.T, w store.Watcher, to int64) []string {
	t.Helper()
	var got []string
	last := int64(0)
	for {
		select {
		case b, open := <-w.Batches():
			if !open || b.Err != nil {
				t.Fatalf("watch ended: %v; got %v", b.Err, got)
			}
			for _, e := range b.Events {
				if e.Rev < last {
					t.Errorf("revision %d after %d", e.Rev, last)
				}
				last = e.Rev
				if e.Delete {
					got = append(got, "-"+e.Key)
				} else {
					got = append(got, e.Key+"="+string(e.Value))
				}
			}
			if b.Rev >= to {
				return got
			}
		case <-t.Context().Done():
			t.Fatal("test ended")
		}
	}
}

func watchAll(t *testing.T, kv store.KV) {
	first := Put(t, kv, "/w/0", "x")
	w := kv.Watch(t.Context(), "/w/", first)
	defer w.Close()
	want := []string{"/w/0=x"}
	var rev int64
	for i := range 20 {
		rev = Put(t, kv, fmt.Sprintf("/w/%d", i%3), fmt.Sprint(i))
		Put(t, kv, "/other", "x")
		want = append(want, fmt.Sprintf("/w/%d=%d", i%3, i))
	}
	if diff := cmp.Diff(want, follow(t, w, rev)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func watchHistory(t *testing.T, kv store.KV) {
	Put(t, kv, "/w/a", "0")
	from := Put(t, kv, "/w/a", "1")
	to, _, err := kv.Txn(t.Context(), nil, []store.Write{{Key: "/w/a", Delete: true}, {Key: "/w/b", Value: []byte("1")}})
	if err != nil {
		t.Fatal(err)
	}
	w := kv.Watch(t.Context(), "/w/", from)
	defer w.Close()
	if diff := cmp.Diff([]string{"/w/a=1", "-/w/a", "/w/b=1"}, follow(t, w, to)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func watchProgress(t *testing.T, kv store.KV) {
	rev := Put(t, kv, "/w/a", "1")
	w := kv.Watch(t.Context(), "/w/", rev+1)
	defer w.Close()
	for range 3 {
		rev = Put(t, kv, "/elsewhere", "x")
	}
	// An answer may be lost or tell of an earlier revision: ask until it is there.
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	bound := time.After(2 * time.Minute)
	for {
		if err := w.AskProgress(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case b := <-w.Batches():
			if b.Err != nil || len(b.Events) > 0 {
				t.Fatalf("batch %+v, want progress", b)
			}
			if b.Rev >= rev {
				return
			}
		case <-again.C:
		case <-bound:
			t.Fatalf("no progress up to revision %d although it was asked for again and again", rev)
		}
	}
}

func watchCompacted(t *testing.T, kv store.KV) {
	old := Put(t, kv, "/w/a", "1")
	for range 3 {
		Put(t, kv, "/w/a", "2")
	}
	Compact(t, kv, Put(t, kv, "/w/a", "3"))
	w := kv.Watch(t.Context(), "/w/", old)
	defer w.Close()
	if b := <-w.Batches(); !errors.Is(b.Err, store.ErrCompacted) || len(b.Events) > 0 {
		t.Errorf("batch %+v, want ErrCompacted", b)
	}
	if _, open := <-w.Batches(); open {
		t.Error("the channel is open after an error")
	}
}

func watchClosed(t *testing.T, kv store.KV) {
	w := kv.Watch(t.Context(), "/w/", Put(t, kv, "/w/a", "1")+1)
	w.Close()
	for range w.Batches() { // ends, or the test times out
	}
}

func race(t *testing.T, kv store.KV) {
	rev := Put(t, kv, "/a", "0")
	var won sync.Map
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			_, ok, err := kv.Txn(t.Context(), []store.Cond{{Key: "/a", Rev: rev}}, []store.Write{{Key: "/a", Value: fmt.Append(nil, i)}})
			if err != nil {
				t.Error(err)
			}
			if ok {
				won.Store(i, true)
			}
		})
	}
	wg.Wait()
	winners := 0
	won.Range(func(i, _ any) bool {
		winners++
		if item, _ := get(t, kv, "/a"); string(item.Value) != fmt.Sprint(i) {
			t.Errorf("writer %d won, but the value is %q", i, item.Value)
		}
		return true
	})
	if winners != 1 {
		t.Errorf("%d writers won", winners)
	}
}

func cancelled(t *testing.T, kv store.KV) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := kv.Get(ctx, "/a"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("get: %v, want ErrUnavailable", err)
	}
	if _, _, err := kv.Txn(ctx, nil, []store.Write{{Key: "/a"}}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("txn: %v, want ErrUnavailable", err)
	}
}
