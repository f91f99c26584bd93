package store

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
)

// ErrNoRehearsal refuses to turn knobs on in a store that was not opened for
// rehearsals.
var ErrNoRehearsal = errors.New("this house was not started for rehearsals")

// Rehearsal returns the knobs that are in force here. In a store that was not
// opened for rehearsals none is, whatever the estate says.
func (s *Store) Rehearsal() rehearsal.Knobs {
	if est := s.Current(); s.rehearse && est != nil {
		return est.Rehearsal()
	}
	return rehearsal.Knobs{}
}

// Now is the house's clock: the machine's, moved ahead in a rehearsal. Whatever
// has an end by rule (tokens, codes, secrets, the windows of grants) ends by it.
// What keeps the store itself together (ages, leases, the audit log's times) goes
// by the machine's.
func (s *Store) Now() time.Time { return s.machine().Add(s.ahead()) }

func (s *Store) ahead() time.Duration { return time.Duration(s.Rehearsal().ClockAhead) }

// Effective returns the snapshot that decisions are made on when est is the
// current one: est itself, or in a rehearsal of propagation delay the newest that
// has been there for so long. Without a delay it costs nothing.
func (s *Store) Effective(est *estate.Snapshot) *estate.Snapshot {
	if !s.rehearse || est == nil {
		return est
	}
	delay := time.Duration(est.Rehearsal().PropagationDelay)
	if delay == 0 {
		return est
	}
	if old := s.past.at(s.machine(), delay); old != nil {
		return old
	}
	return est // the delay begins with this very snapshot
}

// refuseKnobs refuses a change that turns knobs on where no rehearsal may be.
func (s *Store) refuseKnobs(c Change) error {
	if s.rehearse {
		return nil
	}
	for _, op := range c.Ops {
		if k, ok := op.Put.(rehearsal.Knobs); ok && !k.Off(s.machine()) {
			return fmt.Errorf("%s: %w", k.Key(), ErrNoRehearsal)
		}
	}
	return nil
}

// A past holds the snapshots that are not yet old enough to decide by, and the one
// before them that is.
type past struct {
	mu   sync.Mutex
	list []moment // oldest first
}

// A moment is a snapshot and when it came, by the machine's clock.
type moment struct {
	at  time.Time
	est *estate.Snapshot
}

// maxPast bounds how many snapshots are kept. They share what did not change.
const maxPast = 512

// add notes the newest snapshot. Without a delay it forgets all.
func (p *past) add(est *estate.Snapshot, now time.Time) {
	delay := time.Duration(est.Rehearsal().PropagationDelay)
	p.mu.Lock()
	defer p.mu.Unlock()
	if delay == 0 {
		p.list = nil
		return
	}
	p.drop(now, delay)
	if n := len(p.list); n > 0 && p.list[n-1].est == est {
		return // a revision that changed nothing here
	}
	p.list = append(p.list, moment{now, est})
	if len(p.list) > maxPast {
		p.thin(delay)
	}
}

// at returns the newest snapshot that is old enough; nil when there is none.
func (p *past) at(now time.Time, delay time.Duration) *estate.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return nil
	}
	p.drop(now, delay)
	return p.list[0].est
}

// drop forgets what is older than the newest that is old enough. The first one
// counts, however young: it is what there was when the delay began.
func (p *past) drop(now time.Time, delay time.Duration) {
	n := 0
	for n+1 < len(p.list) && now.Sub(p.list[n+1].at) >= delay {
		n++
	}
	if n > 0 {
		clear(p.list[:n]) // the array may live on for long
		p.list = p.list[n:]
	}
}

// thin keeps one snapshot of those that came at about the same time: the last, so
// that nothing counts too early. What came before it counts late by at most a
// 256th of the delay.
func (p *past) thin(delay time.Duration) {
	kept := []moment{p.list[0]}
	begun := time.Time{}
	for _, m := range p.list[1:] {
		if len(kept) > 1 && m.at.Sub(begun) < delay/(maxPast/2) {
			kept[len(kept)-1] = m
			continue
		}
		kept, begun = append(kept, m), m.at
	}
	p.list = kept
}
