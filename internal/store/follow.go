package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// errResync says that the watch cannot be continued from where it is.
var errResync = errors.New("the estate must be read anew")

// errSilent says that the watch is connected and delivers nothing.
var errSilent = errors.New("the watch fell silent")

// publish changes what the store shows, and wakes who waits for it. Only the
// follower calls it (and Open, before there is one): there is one writer.
func (s *Store) publish(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.moved)
	s.moved = make(chan struct{})
}

// show makes a snapshot the current one; see publish.
func (s *Store) show(est *estate.Snapshot) {
	s.cur.Store(est)
	if s.rehearse {
		s.past.add(est, s.machine())
	}
}

// A probe is proof of age: at the instant at, the database was at revision rev.
// Once everything up to rev is in the snapshot, the snapshot was complete at that
// instant. A probe that was under way while the process was stopped still
// carries the instant before the stop, so nothing old can pass for fresh.
//
// It also says which revision wrote the audit chain's head at that time: a watch
// that skipped a change shows an older one.
type probe struct {
	at      time.Time
	rev     int64
	headRev int64
	id      string
	epoch   int64
	err     error
}

// prober sends a probe now and then, and when kicked.
func (s *Store) prober(ctx context.Context) {
	tick := time.NewTicker(s.probe)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.kick:
		case <-ctx.Done():
			return
		}
		p := s.takeProbe(ctx)
		if errors.Is(p.err, ErrUnavailable) {
			continue // the age grows, and that is the whole consequence
		}
		select {
		case s.probes <- p:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Store) takeProbe(ctx context.Context) probe {
	ctx, cancel := context.WithTimeout(ctx, s.maxAge)
	defer cancel()
	p := probe{at: s.machine()}
	end, _, err := s.kv.Get(ctx, headKey) // first, so that it is not newer than p.rev
	if err != nil {
		p.err = err
		return p
	}
	p.headRev = end.Rev
	m, rev, newest, err := s.readMeta(ctx)
	if err == nil && rev == 0 {
		err = fmt.Errorf("the store's identity is gone: %w", ErrForeign)
	}
	p.rev, p.id, p.epoch, p.err = newest, m.ID, m.Epoch, err
	if err == nil && (m.Schema != schema || m.Upgrading) {
		p.err = fmt.Errorf("the store is being upgraded: %w", ErrSchema)
	}
	return p
}

// follow keeps the snapshot up to date until ctx ends.
func (s *Store) follow(ctx context.Context) {
	pause := newPause()
	for ctx.Err() == nil {
		err := s.stream(ctx, pause.reset)
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("store: the watch ended", "error", err, "revision", s.Current().Revision())
		if errors.Is(err, ErrUnavailable) || errors.Is(err, errSilent) {
			pause.wait(ctx)
			continue // from the next revision
		}
		for ctx.Err() == nil {
			if err := s.resync(ctx); err == nil {
				s.fault.Store(nil)
				s.log.Info("store: the estate was read anew", "revision", s.Current().Revision())
				break
			} else if !errors.Is(err, ErrUnavailable) {
				s.fault.Store(&err)
				s.log.Error("store: the estate cannot be read; every answer is a refusal until it can", "error", err)
			}
			pause.wait(ctx)
		}
	}
}

// stream follows one watch and returns why it ended, never nil. It calls
// delivered when the watch works.
func (s *Store) stream(ctx context.Context, delivered func()) error {
	ctx, cancel := context.WithCancel(ctx) // ends questions for progress as well
	defer cancel()
	w := s.kv.Watch(ctx, watched, s.applied+1)
	defer w.Close()
	var open []probe // not yet proven, oldest first
	begun := s.machine()
	for {
		select {
		case b, ok := <-w.Batches():
			if !ok {
				return fmt.Errorf("%w: the watch ended", ErrUnavailable)
			}
			if b.Err != nil {
				return b.Err
			}
			if err := s.advance(b); err != nil {
				return err
			}
			delivered()
		case p := <-s.probes:
			switch {
			case p.err != nil:
				return fmt.Errorf("%w: %w", errResync, p.err)
			case p.id != s.id || p.epoch != s.epoch.Load() || p.rev < s.applied:
				return fmt.Errorf("%w: the store is now %s, epoch %d, revision %d", errResync, p.id, p.epoch, p.rev)
			}
			open = append(open, p)
			if p.rev > s.applied {
				go w.AskProgress(ctx)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		for len(open) > 0 && open[0].rev <= s.applied {
			if s.headRev < open[0].headRev {
				return fmt.Errorf("%w: the change at revision %d was not delivered", errResync, open[0].headRev)
			}
			s.freshAt.Store(&open[0].at)
			open = open[1:]
		}
		if len(open) > 0 {
			since := open[0].at
			if begun.After(since) {
				since = begun
			}
			if s.machine().Sub(since) > s.maxAge/2 {
				return errSilent
			}
		}
	}
}

// advance applies a batch, revision by revision.
func (s *Store) advance(b Batch) error {
	for events := b.Events; len(events) > 0; {
		n := 1
		for n < len(events) && events[n].Rev == events[0].Rev {
			n++
		}
		if err := s.step(events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	if b.Rev <= s.applied {
		return nil
	}
	next := s.Current()
	if s.isWanted(b.Rev) {
		// Somebody waits for a revision that changed nothing here. The snapshot is
		// right at that revision as well, and says so now.
		var err error
		if next, err = next.Apply(b.Rev); err != nil {
			return err
		}
	}
	s.publish(func() {
		s.applied = b.Rev
		s.show(next)
	})
	return nil
}

func (s *Store) isWanted(rev int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted > s.Current().Revision() && rev >= s.wanted
}

// step applies the events of one revision.
func (s *Store) step(events []Event) error {
	rev := events[0].Rev
	if rev <= s.applied {
		return nil // delivered twice
	}
	end, audited := s.head, false
	ops := make([]estate.Op, 0, len(events))
	for _, e := range events {
		if e.Key == headKey {
			if e.Delete {
				return fmt.Errorf("%w: the head of the audit chain was deleted: %w", errResync, ErrTampered)
			}
			var err error
			if end, err = s.decodeHead(e.Value); err != nil {
				return fmt.Errorf("%w: %w", errResync, err)
			}
			audited = true
			continue
		}
		op, err := opOf(e)
		if err != nil {
			return fmt.Errorf("%w: %w", errResync, err)
		}
		ops = append(ops, op)
	}
	if gap := end.seq - s.head.seq; gap != 0 && gap != 1 || audited && gap == 0 && end.hash != s.head.hash {
		return fmt.Errorf("%w: audit record %d was followed by %d", errResync, s.head.seq, end.seq)
	}
	if !audited {
		s.log.Error("store: records were changed behind the back of the house", "revision", rev, "records", len(ops))
	}
	next, err := s.Current().Apply(rev, ops...)
	if err != nil {
		return fmt.Errorf("%w: revision %d: %w", errResync, rev, err)
	}
	// Noted before anybody is told, so that what was acknowledged was noted.
	if err := s.seen.note(end.seq); err != nil {
		s.log.Error("store: how far the store was seen could not be noted; a later loss may go unnoticed", "error", err)
	}
	s.publish(func() {
		for _, e := range events {
			switch {
			case e.Key == headKey:
				s.head, s.headRev = end, rev
			case e.Delete:
				delete(s.revs, digestOf(e.Key))
			default:
				s.revs[digestOf(e.Key)] = rev
			}
		}
		s.applied = rev
		s.show(next)
	})
	return nil
}

func opOf(e Event) (estate.Op, error) {
	if e.Delete {
		key, err := parseRecordKey(e.Key)
		return estate.Op{Delete: key}, err
	}
	r, err := decodeRecord(e.Item)
	return estate.Op{Put: r}, err
}

// Get returns a record and the revision that wrote it, both of one moment: what
// to show, and its entity tag for Change.IfRev. The revision is 0 if there is no
// such record.
func (s *Store) Get(key record.Key) (record.Record, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.Current().Get(key)
	if !ok {
		return nil, 0
	}
	return r, s.revs[digestOf(recordKey(key))]
}

// Rev returns the revision that wrote a record, 0 if there is no such record. It
// may be newer than a snapshot taken before; Get cannot be.
func (s *Store) Rev(key record.Key) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revs[digestOf(recordKey(key))]
}

// A pause is the wait between attempts. It doubles from 20 ms up to a second.
type pause struct{ next time.Duration }

func newPause() *pause { return &pause{next: 20 * time.Millisecond} }

func (p *pause) reset() { p.next = 20 * time.Millisecond }

func (p *pause) wait(ctx context.Context) {
	t := time.NewTimer(p.next)
	defer t.Stop()
	p.next = min(2*p.next, time.Second)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
