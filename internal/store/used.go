package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

const (
	// UsedEvery is how coarse it is when a principal got its latest token: each replica
	// writes it down at most so often, however many it gets.
	UsedEvery = 10 * time.Minute
	// usedKept is how long it is written for: who got none for so long has never got one.
	usedKept = 400 * 24 * time.Hour
	// watchEvery is how often it is written that somebody watches, and maxUnwatched how
	// long nobody may have: what was used meanwhile may be missing (ST-05).
	watchEvery   = time.Hour
	maxUnwatched = 24 * time.Hour
	// maxNoted bounds how many a replica remembers to have written. Beyond it they are
	// forgotten, and written again.
	maxNoted = 100_000
	// usedBatch is how many are written at once.
	usedBatch = 64
)

// Where uses are: the latest of each principal by its id, and the watch.
const (
	bucketUsed  = "lastused"
	bucketWatch = "lastusedwatch"
)

// used are the latest uses on their way to the database.
type used struct {
	writing sync.Mutex // held by the one WriteUses under way

	mu      sync.Mutex
	noted   map[principal.ID]time.Time // written lately, or waiting
	waiting map[principal.ID]time.Time
}

// Used notes that a principal got a token. It costs no I/O: WriteUses writes it down.
func (s *Store) Used(id principal.ID) {
	now := s.machine().UTC().Round(0)
	u := &s.used
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.noted[id]; ok && !now.Before(at) && now.Sub(at) < UsedEvery {
		return
	}
	if u.noted == nil || len(u.noted) >= maxNoted {
		u.noted = make(map[principal.ID]time.Time)
	}
	if u.waiting == nil {
		u.waiting = make(map[principal.ID]time.Time)
	}
	u.noted[id], u.waiting[id] = now, now
}

// pending are the uses that are not written yet.
func (u *used) pending() map[principal.ID]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.waiting)
}

// A watch says since when no use was missed, and until when somebody has watched.
type watch struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Epoch is that of the store: who restores a backup lacks what was used since.
	Epoch int64 `json:"epoch"`
}

// stands reports whether nothing was missed up to an instant.
func (w watch) stands(now time.Time, epoch int64) bool {
	return !w.Since.IsZero() && w.Epoch == epoch && now.Sub(w.Until).Abs() <= maxUnwatched
}

func (s *Store) loadWatch(ctx context.Context) (watch, int64, error) {
	var w watch
	item, err := s.Private(ctx, bucketWatch, "all")
	if errors.Is(err, ErrNotFound) {
		return w, 0, nil
	}
	if err != nil {
		return w, 0, err
	}
	return w, item.Rev, record.Unmarshal(item.Value, &w)
}

// WriteUses writes down the uses that wait, and that they are watched. It is to be
// called every few seconds; what cannot be written waits for the next time. Where
// nobody wrote for a day, what is known begins anew.
func (s *Store) WriteUses(ctx context.Context) error {
	s.used.writing.Lock()
	defer s.used.writing.Unlock()
	if err := s.keepWatch(ctx); err != nil {
		return fmt.Errorf("write uses: %w", err)
	}
	waiting := s.used.pending()
	ids := slices.SortedFunc(maps.Keys(waiting), func(a, b principal.ID) int { return bytes.Compare(a[:], b[:]) })
	for batch := range slices.Chunk(ids, usedBatch) {
		var ops []PrivateOp
		for _, id := range batch {
			op, err := s.usedOp(ctx, id, waiting[id])
			if err != nil {
				return fmt.Errorf("write uses: %w", err)
			}
			ops = append(ops, op...)
		}
		if len(ops) > 0 {
			if err := s.CommitPrivate(ctx, ops...); err != nil {
				return fmt.Errorf("write uses: %w", err)
			}
		}
		s.used.mu.Lock()
		for _, id := range batch {
			if s.used.waiting[id].Equal(waiting[id]) {
				delete(s.used.waiting, id)
			}
		}
		s.used.mu.Unlock()
	}
	return nil
}

// keepWatch writes that uses are watched, unless that was written lately.
func (s *Store) keepWatch(ctx context.Context) error {
	now := s.machine().UTC().Round(0)
	w, rev, err := s.loadWatch(ctx)
	if err != nil {
		return err
	}
	switch epoch := s.Epoch(); {
	case !w.stands(now, epoch):
		w = watch{Since: now, Epoch: epoch}
	case now.Sub(w.Until) < watchEvery:
		return nil
	}
	w.Until = now
	value, err := record.Marshal(w)
	if err != nil {
		return err
	}
	err = s.CommitPrivate(ctx, PrivateOp{Bucket: bucketWatch, ID: []string{"all"}, Value: value, IfRev: &rev})
	if errors.Is(err, ErrConflict) {
		return nil // another replica wrote it
	}
	return err
}

// usedOp is the write of a use, unless a later one is written: another replica has
// another clock, and a clock may be set back.
func (s *Store) usedOp(ctx context.Context, id principal.ID, at time.Time) ([]PrivateOp, error) {
	item, err := s.Private(ctx, bucketUsed, id.String())
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return nil, err
	default:
		var was time.Time
		if err := was.UnmarshalText(item.Value); err != nil {
			return nil, fmt.Errorf("use of %s: %w", id, ErrSchema)
		}
		if !at.After(was) {
			return nil, nil
		}
	}
	return []PrivateOp{{Bucket: bucketUsed, ID: []string{id.String()}, Value: at.AppendFormat(nil, time.RFC3339Nano), Expires: at.Add(usedKept), Real: true}}, nil
}

// Uses returns when each principal got its latest token, at most UsedEvery too early,
// and since when none is missing; zero is when nobody can say. Who is not there has
// got none since then, in the last 400 days.
func (s *Store) Uses(ctx context.Context) (since time.Time, latest map[principal.ID]time.Time, err error) {
	w, _, err := s.loadWatch(ctx)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("uses: %w", err)
	}
	if !w.stands(s.machine(), s.Epoch()) {
		w.Since = time.Time{}
	}
	// Before the list: what is written in between is in one of the two.
	latest = s.used.pending()
	if latest == nil {
		latest = make(map[principal.ID]time.Time)
	}
	items, err := s.PrivateList(ctx, bucketUsed)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("uses: %w", err)
	}
	for _, item := range items {
		var at time.Time
		if len(item.ID) != 1 || at.UnmarshalText(item.Value) != nil {
			return time.Time{}, nil, fmt.Errorf("uses: an item is no use: %w", ErrSchema)
		}
		id, err := principal.ParseID(item.ID[0])
		if err != nil {
			return time.Time{}, nil, fmt.Errorf("uses: %w: %w", ErrSchema, err)
		}
		if at.After(latest[id]) {
			latest[id] = at
		}
	}
	return w.Since, latest, nil
}
