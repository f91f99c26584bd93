package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Memory is a KV in memory, for tests and for rehearsals that nothing shall
// survive. The zero value is empty and ready.
type Memory struct {
	mu        sync.Mutex
	rev       int64
	compacted int64
	keys      []string             // sorted; every key that has a version
	versions  map[string][]version // oldest first
	log       []Event              // every write above compacted, in order
	changed   chan struct{}        // closed at the next write, compaction or Close
	closed    bool
}

type version struct {
	rev     int64
	value   []byte
	deleted bool
}

// memoryLimits are those that the embedded etcd is started with.
var memoryLimits = Limits{Ops: 10_000, Bytes: 8 << 20}

// Limits implements KV.
func (m *Memory) Limits() Limits { return memoryLimits }

// Get implements KV.
func (m *Memory) Get(ctx context.Context, key string) (Item, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Item{}, 0, err
	}
	item, _ := m.at(key, m.rev)
	return item, m.rev, nil
}

// Range implements KV.
func (m *Memory) Range(ctx context.Context, prefix, after string, limit int, rev int64) (Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Page{}, err
	}
	if rev == 0 {
		rev = m.rev
	}
	if rev < m.compacted {
		return Page{}, fmt.Errorf("range at revision %d: %w at %d", rev, ErrCompacted, m.compacted)
	}
	if rev > m.rev {
		return Page{}, fmt.Errorf("range at revision %d, which is in the future: %w", rev, ErrUnavailable)
	}
	page := Page{Rev: rev}
	i, _ := slices.BinarySearch(m.keys, max(prefix, after))
	for _, key := range m.keys[i:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		item, found := m.at(key, rev)
		if !found || key == after {
			continue
		}
		if len(page.Items) == limit {
			page.More = true
			break
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

// Txn implements KV.
func (m *Memory) Txn(ctx context.Context, conds []Cond, writes []Write) (int64, bool, error) {
	if err := memoryLimits.check(conds, writes); err != nil {
		return 0, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return 0, false, err
	}
	for _, c := range conds {
		if item, _ := m.at(c.Key, m.rev); item.Rev != c.Rev {
			return m.rev, false, nil
		}
	}
	seen := make(map[string]bool, len(writes))
	for _, w := range writes {
		if seen[w.Key] {
			return 0, false, fmt.Errorf("key %q is written twice in one transaction", w.Key)
		}
		seen[w.Key] = true
	}
	next := m.rev + 1
	for _, w := range writes {
		if _, exists := m.at(w.Key, m.rev); w.Delete && !exists {
			continue
		}
		m.write(next, w)
		m.rev = next
	}
	m.wake()
	return m.rev, true, nil
}

// check refuses a transaction that exceeds the limits.
func (l Limits) check(conds []Cond, writes []Write) error {
	if n := max(len(conds), len(writes)); n > l.Ops {
		return fmt.Errorf("%d operations, the limit is %d: %w", n, l.Ops, ErrTooLarge)
	}
	if n := size(conds, writes); n > l.Bytes {
		return fmt.Errorf("%d bytes, the limit is %d: %w", n, l.Bytes, ErrTooLarge)
	}
	return nil
}

// size is about what a transaction weighs on the wire.
func size(conds []Cond, writes []Write) int {
	const overhead = 24 // the tags, lengths and revisions around each of them
	n := 0
	for _, c := range conds {
		n += len(c.Key) + overhead
	}
	for _, w := range writes {
		n += len(w.Key) + len(w.Value) + overhead
	}
	return n
}

// Compact forgets the history before rev.
func (m *Memory) Compact(_ context.Context, rev int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rev <= m.compacted || rev > m.rev {
		return fmt.Errorf("compact at %d: have %d to %d", rev, m.compacted, m.rev)
	}
	m.compacted = rev
	m.log = slices.DeleteFunc(m.log, func(e Event) bool { return e.Rev < rev })
	m.wake()
	return nil
}

// Close implements KV.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.wake()
	return nil
}

// Watch implements KV.
func (m *Memory) Watch(ctx context.Context, prefix string, from int64) Watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &memoryWatcher{m: m, prefix: prefix, next: from, batches: make(chan Batch), asked: make(chan struct{}, 1), cancel: cancel}
	go w.run(ctx)
	return w
}

func (m *Memory) usable(ctx context.Context) error {
	if m.closed {
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// at returns what key held at revision rev.
func (m *Memory) at(key string, rev int64) (Item, bool) {
	for _, v := range slices.Backward(m.versions[key]) {
		if v.rev <= rev {
			if v.deleted {
				break
			}
			return Item{Key: key, Value: v.value, Rev: v.rev}, true
		}
	}
	return Item{Key: key}, false
}

func (m *Memory) write(rev int64, w Write) {
	if m.versions == nil {
		m.versions = make(map[string][]version)
	}
	if i, found := slices.BinarySearch(m.keys, w.Key); !found {
		m.keys = slices.Insert(m.keys, i, w.Key)
	}
	v := version{rev: rev, value: slices.Clone(w.Value), deleted: w.Delete}
	m.versions[w.Key] = append(m.versions[w.Key], v)
	m.log = append(m.log, Event{Item: Item{Key: w.Key, Value: v.value, Rev: rev}, Delete: w.Delete})
}

// wake tells every watcher that there is something to look at.
func (m *Memory) wake() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

type memoryWatcher struct {
	m       *Memory
	prefix  string
	next    int64 // the first revision that was not delivered
	batches chan Batch
	asked   chan struct{}
	cancel  context.CancelFunc
}

func (w *memoryWatcher) Batches() <-chan Batch { return w.batches }
func (w *memoryWatcher) Close()                { w.cancel() }

func (w *memoryWatcher) AskProgress(context.Context) error {
	select {
	case w.asked <- struct{}{}:
	default: // one is under way
	}
	return nil
}

func (w *memoryWatcher) run(ctx context.Context) {
	defer close(w.batches)
	progress := false
	for {
		batch, changed := w.look()
		if len(batch.Events) > 0 || batch.Err != nil || progress {
			select {
			case w.batches <- batch:
			case <-ctx.Done():
				return
			}
			if batch.Err != nil {
				return
			}
			w.next, progress = max(w.next, batch.Rev+1), false
		}
		select {
		case <-changed:
		case <-w.asked:
			progress = true
		case <-ctx.Done():
			return
		}
	}
}

// look returns what is new, and a channel that is closed when there is more.
func (w *memoryWatcher) look() (Batch, <-chan struct{}) {
	m := w.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	if m.closed {
		return Batch{Err: fmt.Errorf("watch: %w: %w", ErrUnavailable, ErrClosed)}, m.changed
	}
	if w.next < m.compacted {
		return Batch{Err: fmt.Errorf("watch from revision %d: %w at %d", w.next, ErrCompacted, m.compacted)}, m.changed
	}
	batch := Batch{Rev: m.rev}
	i, _ := slices.BinarySearchFunc(m.log, w.next, func(e Event, rev int64) int { return int(e.Rev - rev) })
	for _, e := range m.log[i:] {
		if strings.HasPrefix(e.Key, w.prefix) {
			batch.Events = append(batch.Events, e)
		}
	}
	return batch, m.changed
}
