// Package store is where the house keeps its state. A change is committed in one
// transaction together with its audit record, so that an unaudited write cannot
// be expressed; every replica follows the changes into an immutable snapshot, so
// that a decision never waits for the store; and a replica that lost touch with
// the store knows how old its snapshot is, and says so.
//
// What is not public within the house (password hashes, signing keys, codes,
// sessions) is private state: sealed before it leaves the process, read from the
// database each time, and never in a snapshot.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
)

// More errors that callers branch on.
var (
	// ErrStale says that the snapshot is older than the bound allows; whoever
	// gets it must refuse.
	ErrStale = errors.New("the snapshot may be out of date")
	// ErrForeign says that the data directory, the key and the database do not
	// belong together, or that one of them is empty where it should not be.
	ErrForeign = errors.New("the data directory and the store do not belong together")
	// ErrSchema says that the store holds what this version cannot read. It is
	// never skipped: what it cannot read may be a denial.
	ErrSchema = errors.New("written by a version of Gatehouse that this one does not understand")
	// ErrTampered says that the audit log is not what was written.
	ErrTampered = errors.New("the audit log was tampered with")
)

// Defaults of a Config.
const (
	DefaultMaxAge = 5 * time.Second
	DefaultProbe  = time.Second
)

// A Config says how to open a store.
type Config struct {
	// KV is the database. The store does not close it.
	KV KV
	// Sealer keeps private state secret in the database; see LoadKey.
	Sealer Sealer
	// Dir is where this replica notes which store it belongs to. "" is for stores
	// that end with the process: nothing is noted, and nothing checked.
	Dir string
	// Init allows to create a store in an empty database, and to adopt an existing
	// store in an empty directory. It never overrides a note that says otherwise.
	Init bool
	// AcceptLoss opens a store that lacks changes which this replica has seen; see
	// ErrLost. What is missing is given up.
	AcceptLoss bool
	// Migrations lead from older schemas to this one; nil if there are none.
	Migrations []Migration
	// MaxAge is how long a snapshot may go unconfirmed before Fresh refuses it;
	// 0 is DefaultMaxAge.
	MaxAge time.Duration
	// Probe is how often the snapshot's age is confirmed; 0 is DefaultProbe.
	Probe time.Duration
	// Now is the machine's clock; nil is time.Now. Ages use its monotonic reading
	// as well.
	Now func() time.Time
	// Rehearse lets the knobs of a rehearsal be turned on, and heeds them.
	Rehearse bool
	// Log takes what happens in the background; nil discards it.
	Log *slog.Logger
}

// A Store is one replica's view of the state. Any number of goroutines may use it.
type Store struct {
	kv     KV
	sealer Sealer
	// machine is the machine's clock; Now is the house's.
	machine func() time.Time

	rehearse bool
	past     past

	log    *slog.Logger
	maxAge time.Duration
	probe  time.Duration
	id     string       // of the store, from its meta key
	epoch  atomic.Int64 // of the store's history; a restored backup begins a new one

	cur     atomic.Pointer[estate.Snapshot]
	freshAt atomic.Pointer[time.Time] // when cur was last known to be complete
	fault   atomic.Pointer[error]     // why cur cannot be continued

	seen    *seen // the follower's alone, after Open
	mu      sync.Mutex
	head    head             // the audit chain's end, as of applied
	headRev int64            // which revision wrote it
	revs    map[digest]int64 // which revision wrote each record
	applied int64            // everything up to here is in cur
	wanted  int64            // the highest revision that somebody waits for
	moved   chan struct{}    // closed and replaced when applied moves

	alerts     alerts
	used       used
	committing chan struct{}  // held by the one Commit under way
	probes     chan probe     // from the prober to the follower
	kick       chan struct{}  // asks for a probe now
	stop       func()         // ends the background
	background sync.WaitGroup // follower and prober
}

// Open checks that database, directory and key belong together, upgrades older
// schemas, reads the estate and starts to follow it. The Store must be closed.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.KV == nil || cfg.Sealer == nil {
		return nil, errors.New("open store: KV and Sealer are required")
	}
	s := &Store{
		rehearse: cfg.Rehearse,
		kv:       cfg.KV, sealer: cfg.Sealer, machine: cfg.Now, log: cfg.Log, maxAge: cfg.MaxAge, probe: cfg.Probe,
		moved:      make(chan struct{}),
		committing: make(chan struct{}, 1),
		probes:     make(chan probe),
		kick:       make(chan struct{}, 1),
	}
	if s.machine == nil {
		s.machine = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.maxAge == 0 {
		s.maxAge = DefaultMaxAge
	}
	if s.probe == 0 {
		s.probe = DefaultProbe
	}
	if err := s.pair(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.migrate(ctx, cfg.Migrations); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.resync(ctx); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	seen, err := openSeen(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := seen.check(s.head.seq, cfg.AcceptLoss); err != nil {
		seen.close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.seen = seen
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.background.Go(func() { s.follow(bg) })
	s.background.Go(func() { s.prober(bg) })
	return s, nil
}

// Close ends the background work. The snapshot can still be read; it ages.
func (s *Store) Close() error {
	s.stop()
	s.background.Wait()
	return s.seen.close()
}

// ID names the store for life: what was sealed for one store opens in no other.
func (s *Store) ID() string { return s.id }

// Epoch counts the histories of the store. It is 1 at first, and whoever restores
// a backup begins the next: revisions of different epochs do not compare.
func (s *Store) Epoch() int64 { return s.epoch.Load() }

// Current returns the newest snapshot. It costs one atomic load. It is never nil.
func (s *Store) Current() *estate.Snapshot { return s.cur.Load() }

// Next waits until the snapshot shows more than a revision, and returns it.
func (s *Store) Next(ctx context.Context, after int64) (*estate.Snapshot, error) {
	if err := s.await(ctx, func() bool { return s.Current().Revision() > after }); err != nil {
		return nil, fmt.Errorf("wait for a change after revision %d: %w", after, err)
	}
	return s.Current(), nil
}

// AtLeast waits until the snapshot shows a revision, and returns it. A revision
// that the store has not reached is ErrNotFound.
func (s *Store) AtLeast(ctx context.Context, rev int64) (*estate.Snapshot, error) {
	if est := s.Current(); est.Revision() >= rev {
		return est, nil
	}
	_, newest, err := s.kv.Get(ctx, metaKey)
	if err != nil {
		return nil, fmt.Errorf("wait for revision %d: %w", rev, err)
	}
	if rev > newest {
		return nil, fmt.Errorf("wait for revision %d: the store is at %d: %w", rev, newest, ErrNotFound)
	}
	s.mu.Lock()
	s.wanted = max(s.wanted, rev)
	s.mu.Unlock()
	s.kickProbe()
	if err := s.await(ctx, func() bool { return s.Current().Revision() >= rev }); err != nil {
		return nil, fmt.Errorf("wait for revision %d: %w", rev, err)
	}
	return s.Current(), nil
}

// Age is how long ago the snapshot was last known to be complete, counted on the
// monotonic clock and on the wall clock, whichever says more: the one stands
// still while a machine sleeps, and the other can be set back.
func (s *Store) Age(now time.Time) time.Duration {
	at := *s.freshAt.Load()
	return max(now.Sub(at), now.Round(0).Sub(at.Round(0)), 0)
}

// Fresh returns nil if answers may be given from the snapshot at now, an instant of
// the house's clock. It costs three atomic loads. When the clock is moved between
// the reading of now and the question, that one answer may be a refusal.
func (s *Store) Fresh(now time.Time) error { return s.fresh(now.Add(-s.ahead())) }

// fresh is Fresh by the machine's clock.
func (s *Store) fresh(now time.Time) error {
	if fault := s.fault.Load(); fault != nil {
		return fmt.Errorf("%w: %w", ErrStale, *fault)
	}
	if age := s.Age(now); age > s.maxAge {
		return fmt.Errorf("%w: last confirmed %s ago, the bound is %s", ErrStale, age.Round(time.Millisecond), s.maxAge)
	}
	return nil
}

// await blocks until done reports true; it looks again whenever applied moves.
func (s *Store) await(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		moved := s.moved
		s.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

func (s *Store) kickProbe() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
