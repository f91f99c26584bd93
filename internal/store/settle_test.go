package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// lossy loses the answers of transactions that write more than one key.
type lossy struct {
	*store.Memory
	mu   sync.Mutex
	fate func(run func()) // what becomes of the next transaction; nil: nothing special
}

func (l *lossy) Txn(ctx context.Context, conds []store.Cond, writes []store.Write) (int64, bool, error) {
	l.mu.Lock()
	fate := l.fate
	if len(writes) > 1 {
		l.fate = nil
	} else {
		fate = nil
	}
	l.mu.Unlock()
	if fate == nil {
		return l.Memory.Txn(ctx, conds, writes)
	}
	fate(func() { l.Memory.Txn(context.WithoutCancel(ctx), conds, writes) })
	return 0, false, fmt.Errorf("no answer: %w: %w", store.ErrUnavailable, store.ErrUnknown)
}

func TestLostAnswers(t *testing.T) { // ST-19
	t.Parallel()
	late := make(chan func(), 1)
	tests := []struct {
		name string
		fate func(run func())
	}{
		{"a change that was made is reported as made, once", func(run func()) { run() }},
		{"a change that was not made is made by the next try", func(func()) {}},
		{"a change that was still on its way is made once", func(run func()) { late <- run }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kv := &lossy{Memory: new(store.Memory)}
			s := open(t, kv)
			commit(t, s, put(tenant)...)
			kv.mu.Lock()
			kv.fate = tt.fate
			kv.mu.Unlock()
			rev := commit(t, s, put(user(1, "Ana"))...)
			select {
			case run := <-late:
				run() // the lost transaction arrives after all
			default:
			}
			if got := s.Rev(user(1, "").Key()); got != rev {
				t.Errorf("Commit said revision %d, the record is of %d", rev, got)
			}
			if n, err := s.VerifyAudit(t.Context()); err != nil || n != 2 {
				t.Errorf("audit log: %d records, %v; want 2", n, err)
			}
			est, err := s.AtLeast(t.Context(), rev)
			if err != nil || len(names(est)) != 1 {
				t.Errorf("users %v, %v", names(est), err)
			}
		})
	}
}

func TestACallerWhoGaveUpLearnsWhatHappened(t *testing.T) { // ST-19
	t.Parallel()
	for _, fate := range []string{"made", "lost", "late"} {
		t.Run(fate, func(t *testing.T) {
			t.Parallel()
			kv := &lossy{Memory: new(store.Memory)}
			s := open(t, kv)
			ctx, cancel := context.WithCancel(t.Context())
			arrive := func() {}
			kv.mu.Lock()
			kv.fate = func(run func()) {
				switch fate {
				case "made":
					run()
				case "late":
					arrive = run
				}
				cancel()
			}
			kv.mu.Unlock()
			rev, err := s.Commit(ctx, store.Change{Ops: put(tenant)})
			made := fate == "made"
			if made && err != nil {
				t.Errorf("a change that was made: %v", err)
			}
			if !made && (!errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknown)) {
				t.Errorf("a change that was not made: %d, %v; want ErrUnavailable and certain", rev, err)
			}
			arrive() // what was said not to be made must not be made later
			if n, err := s.VerifyAudit(t.Context()); err != nil || (n == 1) != made {
				t.Errorf("audit log: %d records, %v", n, err)
			}
		})
	}
}

func TestAStoreThatStaysAwayLeavesTheOutcomeUnknown(t *testing.T) { // ST-19
	t.Parallel()
	kv := &faulty{Memory: new(store.Memory)}
	cut := &cutKV{faulty: kv}
	s := open(t, cut, func(c *store.Config) { c.MaxAge = 300 * time.Millisecond; c.Probe = 50 * time.Millisecond })
	cut.armed.Store(true)
	_, err := s.Commit(t.Context(), store.Change{Ops: put(tenant)})
	if !errors.Is(err, store.ErrUnknown) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v, want ErrUnknown and ErrUnavailable", err)
	}
	until(t, func() bool { return s.Fresh(time.Now()) != nil })
	if _, err := s.Commit(t.Context(), store.Change{}); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("a change while the store is away: %v, want ErrUnavailable and certain", err)
	}
}

// cutKV goes away with the next transaction.
type cutKV struct {
	*faulty
	armed atomic.Bool
}

func (c *cutKV) Txn(ctx context.Context, conds []store.Cond, writes []store.Write) (int64, bool, error) {
	if c.armed.Load() {
		c.down.Store(true)
		return 0, false, fmt.Errorf("cut: %w: %w", store.ErrUnavailable, store.ErrUnknown)
	}
	return c.Memory.Txn(ctx, conds, writes)
}
