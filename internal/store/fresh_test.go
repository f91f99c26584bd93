package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/storetest"
)

const all = 1 << 60 // watches

// A faulty KV fails where a test wants it to.
type faulty struct {
	*store.Memory
	down   atomic.Bool  // no request is answered
	silent atomic.Int64 // so many watches stay connected and deliver nothing
	edit   atomic.Pointer[func(store.Batch) store.Batch]
	watch  atomic.Int64 // how many watches were begun
}

func (f *faulty) Get(ctx context.Context, key string) (store.Item, int64, error) {
	if f.down.Load() {
		return store.Item{}, 0, fmt.Errorf("get: %w", store.ErrUnavailable)
	}
	return f.Memory.Get(ctx, key)
}

func (f *faulty) Watch(ctx context.Context, prefix string, from int64) store.Watcher {
	w := &faultyWatcher{Watcher: f.Memory.Watch(ctx, prefix, from), f: f, number: f.watch.Add(1), batches: make(chan store.Batch)}
	go w.run(ctx)
	return w
}

type faultyWatcher struct {
	store.Watcher
	f       *faulty
	number  int64
	batches chan store.Batch
}

func (w *faultyWatcher) Batches() <-chan store.Batch { return w.batches }

func (w *faultyWatcher) run(ctx context.Context) {
	defer close(w.batches)
	for b := range w.Watcher.Batches() {
		if w.number <= w.f.silent.Load() {
			continue
		}
		if edit := w.f.edit.Load(); edit != nil {
			b = (*edit)(b)
		}
		select {
		case w.batches <- b:
		case <-ctx.Done():
			return
		}
	}
}

func TestAReplicaThatLostTheStoreIsStaleWithinTheBound(t *testing.T) { // ST-09, ST-13
	t.Parallel()
	tests := []struct {
		name       string
		break_, ok func(*faulty)
	}{
		{"the store does not answer", func(f *faulty) { f.down.Store(true) }, func(f *faulty) { f.down.Store(false) }},
		{"the watch is connected and silent", func(f *faulty) { f.silent.Store(all) }, func(f *faulty) { f.silent.Store(0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := &faulty{Memory: new(store.Memory)}
				s := open(t, kv)
				other := open(t, kv.Memory)
				time.Sleep(time.Minute)
				if err := s.Fresh(time.Now()); err != nil {
					t.Fatalf("a healthy replica: %v", err)
				}
				tt.break_(kv)
				rev := commit(t, other, put(tenant, user(1, "Ana"))...)
				time.Sleep(4 * time.Second)
				if err := s.Fresh(time.Now()); err != nil {
					t.Errorf("before the bound: %v", err)
				}
				time.Sleep(2 * time.Second)
				if err := s.Fresh(time.Now()); !errors.Is(err, store.ErrStale) {
					t.Errorf("after the bound: %v, want ErrStale; age %s", err, s.Age(time.Now()))
				}
				tt.ok(kv)
				time.Sleep(5 * time.Second)
				if err := s.Fresh(time.Now()); err != nil {
					t.Errorf("after recovery: %v", err)
				}
				if got := s.Current().Revision(); got < rev {
					t.Errorf("revision %d after recovery, want %d", got, rev)
				}
				s.Close()
				other.Close()
			})
		})
	}
}

func TestASilentWatchIsReplaced(t *testing.T) { // ST-13
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := &faulty{Memory: new(store.Memory)}
		s, other := open(t, kv), open(t, kv.Memory)
		synctest.Wait()
		kv.silent.Store(kv.watch.Load()) // for ever; the next one works
		rev := commit(t, other, put(tenant, user(1, "Ana"))...)
		for range 20 {
			time.Sleep(500 * time.Millisecond)
			if err := s.Fresh(time.Now()); err != nil {
				t.Errorf("a second watch would have done: %v", err)
			}
		}
		if got := s.Current().Revision(); got < rev {
			t.Errorf("revision %d, want %d", got, rev)
		}
		s.Close()
		other.Close()
	})
}

func TestAnIdleStoreStaysFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, new(store.Memory))
		for range 1000 {
			time.Sleep(time.Second)
			if age := s.Age(time.Now()); age > 1100*time.Millisecond {
				t.Fatalf("age %s", age)
			}
		}
		s.Close()
	})
}

func TestAfterAPauseTheFirstAnswerKnowsItIsOld(t *testing.T) { // WH-17
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64 // how far the clocks went on while the process stood still
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		s := open(t, new(store.Memory), func(c *store.Config) { c.Now = now })
		time.Sleep(10 * time.Second)
		ahead.Add(int64(time.Minute))
		if err := s.Fresh(now()); !errors.Is(err, store.ErrStale) {
			t.Errorf("right after the pause: %v, want ErrStale", err)
		}
		time.Sleep(2 * time.Second)
		if err := s.Fresh(now()); err != nil {
			t.Errorf("after a fresh confirmation: %v", err)
		}
		s.Close()
	})
}

func TestAnAnswerThatWaitedProvesNothingNew(t *testing.T) { // WH-17
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := &slowGet{Memory: new(store.Memory)}
		s := open(t, kv)
		kv.delay.Store(int64(4500 * time.Millisecond))
		time.Sleep(7 * time.Second) // the probe of second 1 or 2 was answered in second 6
		if age := s.Age(time.Now()); age < 4*time.Second {
			t.Errorf("age %s: an answer counted from when it came, not from when it was asked for", age)
		}
		s.Close()
	})
}

// slowGet answers what was asked for, late.
type slowGet struct {
	*store.Memory
	delay atomic.Int64
}

func (s *slowGet) Get(ctx context.Context, key string) (store.Item, int64, error) {
	item, rev, err := s.Memory.Get(ctx, key)
	time.Sleep(time.Duration(s.delay.Load()))
	return item, rev, err
}

func TestWatchFaultsEndInTheRightEstate(t *testing.T) { // ST-11, ST-12
	t.Parallel()
	drop := func(*atomic.Int64) func(store.Batch) store.Batch {
		lost := user(7, "").ID.String()
		return func(b store.Batch) store.Batch {
			for _, e := range b.Events {
				if strings.HasSuffix(e.Key, lost) {
					b.Events = slices.DeleteFunc(slices.Clone(b.Events), func(o store.Event) bool { return o.Rev == e.Rev })
				}
			}
			return b
		}
	}
	tests := []struct {
		name  string
		fault func(n *atomic.Int64) func(store.Batch) store.Batch
	}{
		{"a change is left out", drop},
		{"events come twice", func(*atomic.Int64) func(store.Batch) store.Batch {
			return func(b store.Batch) store.Batch {
				b.Events = append(b.Events[:len(b.Events):len(b.Events)], b.Events...)
				return b
			}
		}},
		{"the history is compacted", func(n *atomic.Int64) func(store.Batch) store.Batch {
			return func(b store.Batch) store.Batch {
				if n.Add(-1) == 0 {
					return store.Batch{Err: fmt.Errorf("test: %w", store.ErrCompacted)}
				}
				return b
			}
		}},
		{"the watch breaks off", func(n *atomic.Int64) func(store.Batch) store.Batch {
			return func(b store.Batch) store.Batch {
				if n.Add(-1) == 0 {
					return store.Batch{Err: fmt.Errorf("test: %w", store.ErrUnavailable)}
				}
				return b
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kv := &faulty{Memory: new(store.Memory)}
			writer := open(t, kv.Memory)
			commit(t, writer, put(tenant, user(0, "x"))...)
			s := open(t, kv)
			var n atomic.Int64
			n.Store(5)
			edit := tt.fault(&n)
			kv.edit.Store(&edit)
			var rev int64
			for i := range 20 {
				rev = commit(t, writer, put(user(i, fmt.Sprint(i)))...)
			}
			est, err := s.AtLeast(t.Context(), rev)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(names(est)); got != 20 {
				t.Errorf("%d users, want 20", got)
			}
		})
	}
}

func TestCompactionOvertakesAReplica(t *testing.T) { // ST-11
	t.Parallel()
	kv := &faulty{Memory: new(store.Memory)}
	s := open(t, kv)
	writer := open(t, kv.Memory)
	first := kv.watch.Load()
	kv.silent.Store(all)
	edit := func(store.Batch) store.Batch { return store.Batch{Err: fmt.Errorf("cut: %w", store.ErrUnavailable)} }
	kv.edit.Store(&edit)
	commit(t, writer, put(tenant, user(1, "Ana"))...)
	rev := commit(t, writer, put(user(1, "Ann"), user(2, "Bob"))...)
	storetest.Compact(t, kv.Memory, rev)
	kv.silent.Store(0)
	commit(t, writer, put(user(3, "Cid"))...) // the batch that cuts the watch
	until(t, func() bool { return kv.watch.Load() > first })
	kv.edit.Store(nil)
	rev = commit(t, writer, put(user(4, "Dan"))...)
	est, err := s.AtLeast(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(names(est)); got != "[Ann Bob Cid Dan]" {
		t.Errorf("users %s", got)
	}
}

func TestARestoredStoreIsReadAnew(t *testing.T) { // ST-14
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv, func(c *store.Config) { c.Probe = 5 * time.Millisecond })
	commit(t, s, put(tenant, user(1, "Ana"))...)
	meta, _, err := kv.Get(t.Context(), "/gatehouse/v1/meta")
	if err != nil {
		t.Fatal(err)
	}
	if s.Epoch() != 1 {
		t.Errorf("epoch %d, want 1", s.Epoch())
	}
	restored := fmt.Appendf(nil, `{"schema":1,"id":%q,"epoch":2}`, s.ID())
	if _, ok, err := kv.Txn(t.Context(), []store.Cond{{Key: meta.Key, Rev: meta.Rev}}, []store.Write{{Key: meta.Key, Value: restored}}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	until(t, func() bool { return s.Epoch() == 2 && s.Fresh(time.Now()) == nil })
}

func TestAReplicaRefusesWhenTheStoreBecomesAnother(t *testing.T) { // ST-17
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv, func(c *store.Config) { c.Probe = 5 * time.Millisecond })
	storetest.Put(t, kv, "/gatehouse/v1/meta", `{"schema":1,"id":"00112233445566778899aabbccddeeff","epoch":1}`)
	until(t, func() bool { return errors.Is(s.Fresh(time.Now()), store.ErrForeign) })
}
