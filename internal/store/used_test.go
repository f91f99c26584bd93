package store_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A full is a database that cannot be written while it is full.
type full struct {
	*store.Memory
	is     atomic.Bool
	writes atomic.Int64
}

func (f *full) Txn(ctx context.Context, conds []store.Cond, writes []store.Write) (int64, bool, error) {
	if f.is.Load() {
		return 0, false, store.ErrNoSpace
	}
	f.writes.Add(1)
	return f.Memory.Txn(ctx, conds, writes)
}

// A usedClock is a clock that a test sets.
type usedClock struct{ at atomic.Int64 }

func (c *usedClock) now() time.Time       { return time.Unix(0, c.at.Load()) }
func (c *usedClock) pass(d time.Duration) { c.at.Add(int64(d)) }
func (c *usedClock) in(cfg *store.Config) { cfg.Now = c.now }
func newUsedClock() *usedClock            { c := new(usedClock); c.at.Store(1_800_000_000e9); return c }
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Who was used is not said to be unused: whatever two replicas, a full disk and ends
// without a warning do, for each use there is a note that is at most UsedEvery older, or
// the house says that it knows only what was later. The one thing that is missed is what
// a replica takes with it that ends within a day after it could not write any more.
func TestNoUseIsMissed(t *testing.T) { // ST-05
	t.Parallel()
	type use struct {
		id     principal.ID
		at     time.Time
		waits  bool // it may not be written yet
		missed bool
	}
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		kv, clock := &full{Memory: new(store.Memory)}, newUsedClock()
		replicas := []*store.Store{open(t, kv, clock.in), open(t, kv, clock.in)}
		uses := make([][]*use, len(replicas))
		missed := 0
		for range 600 {
			n := random.IntN(len(replicas))
			switch random.IntN(12) {
			case 0:
				kv.is.Store(random.IntN(2) == 0)
			case 1:
				must(t, replicas[n].Close()) // without a warning
				for _, u := range uses[n] {
					if u.waits && clock.now().Sub(u.at) <= 24*time.Hour {
						u.missed = true
						missed++
					}
					u.waits = false
				}
				clock.pass(time.Duration(random.Int64N(int64(40 * time.Hour))))
				kv.is.Store(false)
				replicas[n] = open(t, kv, clock.in)
			case 2, 3:
				clock.pass(time.Duration(random.Int64N(int64(9 * time.Hour))))
			default:
				clock.pass(time.Duration(random.Int64N(int64(4 * time.Minute))))
				u := &use{id: principal.ID{9, byte(random.IntN(5))}, at: clock.now(), waits: true}
				replicas[n].Used(u.id)
				uses[n] = append(uses[n], u)
			}
			for i, r := range replicas {
				if err := r.WriteUses(t.Context()); err != nil {
					if !kv.is.Load() {
						t.Fatal(err)
					}
					continue
				}
				for _, u := range uses[i] {
					u.waits = false
				}
			}
			since, latest, err := replicas[n].Uses(t.Context())
			must(t, err)
			for i := range uses {
				for _, u := range uses[i] {
					if since.IsZero() || u.at.Before(since) || u.missed || u.waits && i != n {
						continue
					}
					if u.at.Sub(latest[u.id]) > store.UsedEvery {
						t.Fatalf("seed %d: of a use at %s the house knows %s, and says that it knows all since %s", seed, u.at, latest[u.id], since)
					}
				}
			}
		}
		if missed == 0 {
			t.Errorf("seed %d: no replica ended that could not write", seed)
		}
	}
}

func TestAUseIsWrittenOnceInAWhile(t *testing.T) {
	t.Parallel()
	kv, clock := &full{Memory: new(store.Memory)}, newUsedClock()
	s := open(t, kv, clock.in)
	one, two := principal.ID{9, 1}, principal.ID{9, 2}
	must(t, s.WriteUses(t.Context()))
	before := kv.writes.Load()
	for range 1000 {
		s.Used(one)
		s.Used(two)
		must(t, s.WriteUses(t.Context()))
	}
	if n := kv.writes.Load() - before; n != 1 {
		t.Errorf("%d writes for 2,000 uses at once, want one", n)
	}
	first := clock.now()
	for range 1_000_000 { // others' uses push out nothing
		s.Used(two)
	}
	clock.pass(store.UsedEvery - 1)
	s.Used(one)
	must(t, s.WriteUses(t.Context()))
	if _, latest, err := s.Uses(t.Context()); err != nil || !latest[one].Equal(first) {
		t.Errorf("within %s the use is of %s, %v, want %s", store.UsedEvery, latest[one], err, first)
	}
	clock.pass(1)
	s.Used(one)
	if _, latest, err := s.Uses(t.Context()); err != nil || !latest[one].Equal(clock.now()) || !latest[two].Equal(first) {
		t.Errorf("what waits to be written is %v, %v", latest, err)
	}
	must(t, s.WriteUses(t.Context()))
	clock.pass(-store.UsedEvery * 3) // a clock that is set back takes nothing back
	s.Used(one)
	must(t, s.WriteUses(t.Context()))
	if _, latest, err := open(t, kv, clock.in).Uses(t.Context()); err != nil || !latest[one].Equal(first.Add(store.UsedEvery)) {
		t.Errorf("after the clock was set back the use is of %s, %v", latest[one], err)
	}
}

func TestWhatNobodyWatchedIsNotKnown(t *testing.T) {
	t.Parallel()
	kv, clock := &full{Memory: new(store.Memory)}, newUsedClock()
	s := open(t, kv, clock.in)
	since := func() time.Time {
		t.Helper()
		at, _, err := s.Uses(t.Context())
		must(t, err)
		return at
	}
	if at := since(); !at.IsZero() {
		t.Errorf("before anybody watches, uses are known since %s", at)
	}
	must(t, s.WriteUses(t.Context()))
	begun := clock.now()
	for range 40 {
		clock.pass(23 * time.Hour)
		must(t, s.WriteUses(t.Context()))
	}
	if at := since(); !at.Equal(begun) {
		t.Errorf("uses are known since %s, want %s", at, begun)
	}
	kv.is.Store(true) // the disk is full
	clock.pass(25 * time.Hour)
	if s.WriteUses(t.Context()) == nil {
		t.Error("a watch is written on a full disk")
	}
	if at := since(); !at.IsZero() {
		t.Errorf("of a day in which nothing could be written, uses are known, since %s", at)
	}
	kv.is.Store(false)
	must(t, s.WriteUses(t.Context()))
	if at := since(); !at.Equal(clock.now()) {
		t.Errorf("after it uses are known since %s, want %s", at, clock.now())
	}
	clock.pass(-365 * 24 * time.Hour)
	if at := since(); !at.IsZero() {
		t.Errorf("by a clock that was a year ahead, uses are known since %s", at)
	}
}
