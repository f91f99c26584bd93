package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A Change is what one person (or the house) wants changed at once, and why. A
// Change without ops only leaves its audit record.
type Change struct {
	By      principal.ID // the zero ID is the house itself
	Why     string       // at most 4,096 bytes
	Ops     []estate.Op  // at most one for each record
	Private []PrivateOp
	Uses    []Use // what was read or used, for the audit record alone
	// Base is the snapshot that the ops were computed from. If a record they touch
	// has changed since, the Change is refused. nil is the snapshot at the call.
	Base *estate.Snapshot
	// IfRev names records that must still be of a revision (see Rev), whether or
	// not an op touches them; 0 means that there must be none.
	IfRev map[record.Key]int64
	// Check is asked about the snapshot that the change is made on, each time that
	// it is tried; its error refuses the change. nil allows every one.
	Check func(*estate.Snapshot) error

	alerts []alert.Alert // see Store.Alert
}

const (
	maxWhy = 4096
	// maxAttempts bounds how often a Change is tried again because another
	// replica was faster.
	maxAttempts = 64
)

// Commit makes a change and its audit record in one transaction and returns its
// revision, which Current shows from then on. Ops that do not fit the estate are
// refused with the estate's error. If another change came between, the ops are
// checked anew against it: ErrConflict says that it touched the same records or
// what IfRev names. After any error but ErrUnknown, nothing was written.
func (s *Store) Commit(ctx context.Context, c Change) (int64, error) {
	rev, err := s.commit(ctx, c)
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return rev, nil
}

func (s *Store) commit(ctx context.Context, c Change) (int64, error) {
	if len(c.Why) > maxWhy {
		return 0, record.Invalid("the reason has %d bytes, the limit is %d", len(c.Why), maxWhy)
	}
	if err := s.refuseKnobs(c); err != nil {
		return 0, err
	}
	a, err := s.newAttempt(c)
	if err != nil {
		return 0, err
	}
	// One at a time: each waits for the snapshot that the one before it makes.
	select {
	case s.committing <- struct{}{}:
		defer func() { <-s.committing }()
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	for range maxAttempts {
		rev, err := s.try(ctx, a)
		if err == nil {
			for _, one := range a.record.Alerts {
				s.log.Warn("alert: " + one.String())
			}
			// The change is made, so the caller's patience no longer matters. If the
			// watch does not bring it, the snapshot is stale by the time we give up.
			wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.maxAge)
			defer cancel()
			if s.await(wait, func() bool { return s.Current().Revision() >= rev }) != nil {
				s.log.Warn("store: a change was made but is not visible here yet", "revision", rev)
			}
			return rev, nil
		}
		if !errors.Is(err, errAgain) {
			return 0, err
		}
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return 0, fmt.Errorf("%d others were faster: %w", maxAttempts, ErrConflict)
}

// errAgain says that an attempt failed because another change came first.
var errAgain = errors.New("try again")

// An attempt is a change on its way: its writes, and what it saw at first.
type attempt struct {
	c      Change
	record AuditRecord
	keys   []string         // where the records of c.Ops lie
	writes []Write          // all but the audit record
	lapsed map[int]int64    // private ops whose items expired but are still there
	seen   map[string]int64 // revisions of the touched records; nil before the first try
}

func (s *Store) newAttempt(c Change) (*attempt, error) {
	var request [16]byte
	rand.Read(request[:])
	a := &attempt{c: c, record: AuditRecord{
		Time: s.machine().UTC().Round(0), Request: hex.EncodeToString(request[:]),
		By: c.By, Why: strings.ToValidUTF8(c.Why, "\uFFFD"), Uses: c.Uses,
	}}
	taken := make(map[string]bool, len(c.Ops)+len(c.Private))
	for _, op := range c.Ops {
		rkey := op.Key()
		key := recordKey(rkey)
		if taken[key] {
			return nil, record.Invalid("two ops for %s in one change", rkey)
		}
		taken[key] = true
		w := Write{Key: key, Delete: op.Put == nil}
		change := AuditChange{Kind: rkey.Kind, Parts: trim(rkey.Parts[:])}
		if op.Put != nil {
			var err error
			if w.Value, change.Value, err = encodeRecord(op.Put); err != nil {
				return nil, err
			}
		}
		a.keys = append(a.keys, key)
		a.writes = append(a.writes, w)
		a.record.Changes = append(a.record.Changes, change)
	}
	for _, op := range c.Private {
		w, err := s.privateWrite(op)
		if err != nil {
			return nil, err
		}
		if taken[w.Key] {
			return nil, record.Invalid("two ops for one item of %s in one change", op.Bucket)
		}
		taken[w.Key] = true
		a.writes = append(a.writes, w)
		a.record.Private = append(a.record.Private, AuditPrivate{Bucket: op.Bucket, ID: op.ID, Delete: op.Value == nil})
	}
	return a, nil
}

// trim returns a key's parts without the empty ones at its end.
func trim(parts []string) []string {
	n := len(parts)
	for n > 0 && parts[n-1] == "" {
		n--
	}
	return slices.Clone(parts[:n])
}

// try checks the change against the current snapshot and makes it, under the
// condition that no other change was made since that snapshot.
func (s *Store) try(ctx context.Context, a *attempt) (int64, error) {
	// A replica that lost touch would only find out slowly, and would then have to
	// ask what became of the write.
	if err := s.fresh(s.machine()); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	est, end, headRev, now := s.look(a)
	if err := a.unchanged(est, now); err != nil {
		return 0, err
	}
	for key, want := range a.c.IfRev {
		if got := s.Rev(key); got != want {
			return 0, fmt.Errorf("%s is of revision %d, not %d: %w", key, got, want, ErrConflict)
		}
	}
	if a.c.Check != nil {
		if err := a.c.Check(est); err != nil {
			return 0, err
		}
	}
	next, err := est.Apply(est.Revision()+1, a.c.Ops...)
	if err != nil {
		return 0, err
	}
	if err := a.remember(est); err != nil {
		return 0, err
	}
	a.record.Alerts = slices.Concat(a.c.alerts, alert.Written(est, next, a.c.Ops))
	audit, _, err := s.append(end, a.record)
	if err != nil {
		return 0, err
	}
	conds := []Cond{{Key: headKey, Rev: headRev}}
	for _, key := range a.keys {
		conds = append(conds, Cond{Key: key, Rev: now[key]})
	}
	conds = append(conds, privateConds(a.c.Private, a.lapsed)...)
	writes := slices.Concat(a.writes, audit)
	if err := s.kv.Limits().check(conds, writes); err != nil {
		return 0, err
	}
	rev, ok, err := s.kv.Txn(ctx, conds, writes)
	switch {
	case errors.Is(err, ErrUnknown):
		return s.settle(ctx, end, headRev, a.record.Request, err)
	case err != nil:
		return 0, err
	case ok:
		return rev, nil
	}
	return 0, s.refused(ctx, a, headRev)
}

// remember puts what is deleted into the audit record: nobody could tell later what a
// number was the number of.
func (a *attempt) remember(est *estate.Snapshot) error {
	for i, op := range a.c.Ops {
		if op.Put != nil {
			continue
		}
		a.record.Changes[i].Was = nil
		if old, ok := est.Get(op.Key()); ok {
			var err error
			if _, a.record.Changes[i].Was, err = encodeRecord(old); err != nil {
				return err
			}
		}
	}
	return nil
}

// look returns the snapshot, the chain's end and the revisions of the touched
// records, all of one moment.
func (s *Store) look(a *attempt) (*estate.Snapshot, head, int64, map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[string]int64, len(a.keys))
	for _, key := range a.keys {
		now[key] = s.revs[digestOf(key)]
	}
	return s.Current(), s.head, s.headRev, now
}

// unchanged refuses the change if a record it touches is not as it was seen.
func (a *attempt) unchanged(est *estate.Snapshot, now map[string]int64) error {
	first := a.seen == nil
	if first {
		a.seen = now
	}
	for i, op := range a.c.Ops {
		key, conflict := a.keys[i], false
		if a.seen[key] != now[key] {
			conflict = true
		} else if first && a.c.Base != nil {
			_, was := a.c.Base.Get(op.Key())
			conflict = was != (now[key] != 0) || now[key] > a.c.Base.Revision()
		}
		if conflict {
			return fmt.Errorf("%s: %w", op.Key(), ErrConflict)
		}
	}
	return nil
}

// refused finds out why a transaction's conditions did not hold.
func (s *Store) refused(ctx context.Context, a *attempt, headRev int64) error {
	item, _, err := s.kv.Get(ctx, headKey)
	if err != nil {
		return err
	}
	if item.Rev != headRev {
		s.kickProbe()
		if err := s.await(ctx, func() bool { return s.Current().Revision() >= item.Rev }); err != nil {
			return err
		}
		return errAgain
	}
	if a.lapsed == nil {
		if a.lapsed, err = s.findLapsed(ctx, a.c.Private); err != nil {
			return err
		}
		if len(a.lapsed) > 0 {
			return errAgain
		}
	}
	return ErrConflict
}

// settle finds out what became of a transaction whose answer was lost. It would
// not do to look only: the transaction may still be on its way. So it moves the
// head itself, under the same condition; then the transaction can no longer
// succeed, unless it already has.
func (s *Store) settle(ctx context.Context, end head, headRev int64, request string, cause error) (int64, error) {
	// The caller may have given up; the answer matters all the same.
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.maxAge)
	defer cancel()
	for pause := newPause(); detached.Err() == nil; pause.wait(detached) {
		item, _, err := s.kv.Get(detached, headKey)
		if err != nil {
			continue
		}
		if item.Rev != headRev {
			rev, found, err := s.findRequest(detached, end.seq+1, request)
			if err != nil {
				continue
			}
			if found {
				return rev, nil
			}
			return 0, errAgain
		}
		fence, err := s.encodeHead(end)
		if err != nil {
			return 0, err
		}
		// Whatever comes of it, the head says so on the next turn.
		_, _, _ = s.kv.Txn(detached, []Cond{{Key: headKey, Rev: headRev}}, []Write{{Key: headKey, Value: fence}})
	}
	return 0, cause
}

func (s *Store) findRequest(ctx context.Context, seq int64, request string) (int64, bool, error) {
	item, _, err := s.kv.Get(ctx, auditKey(seq))
	if err != nil || item.Rev == 0 {
		return 0, false, err
	}
	r, err := decodeAudit(item)
	return item.Rev, r.Request == request, err
}

// expired reports whether something that may have an expiry has ended.
func expired(expires, now time.Time) bool { return !expires.IsZero() && !now.Before(expires) }
