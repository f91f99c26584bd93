package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A PrivateItem is a piece of private state as it is now.
type PrivateItem struct {
	ID      []string
	Value   []byte
	Rev     int64     // the revision that wrote it
	Expires time.Time // zero: never
	real    bool
}

// A PrivateOp sets a private item, or deletes it.
type PrivateOp struct {
	Bucket  string
	ID      []string
	Value   []byte    // nil deletes
	Expires time.Time // from then on the item is not there; zero: never
	// Real makes Expires an instant of the machine's clock, whatever a rehearsal's
	// clock says. It is for notes about what others made by their own clocks.
	Real  bool
	IfRev *int64 // the item must be of this revision; 0: must not exist
}

// storedPrivate is a private item in the database. Expires can be read without
// the key, so that anybody can sweep; the seal covers it.
type storedPrivate struct {
	Schema  int       `json:"schema"`
	Expires time.Time `json:"expires,omitzero"`
	Real    bool      `json:"real,omitzero"`
	Sealed  []byte    `json:"sealed"`
}

func (s *Store) privateBinding(bucket string, id []string, expires time.Time, real bool) []byte {
	what := "private"
	if real {
		what = "private, in real time"
	}
	texts := append([]string{what, s.id, expires.UTC().Format(time.RFC3339Nano), bucket}, id...)
	return bind(texts...)
}

// privateWrite is the write that an op makes.
func (s *Store) privateWrite(op PrivateOp) (Write, error) {
	if op.Bucket == "" || len(op.ID) == 0 {
		return Write{}, record.Invalid("a private item needs a bucket and an id")
	}
	w := Write{Key: privateKey(op.Bucket, op.ID), Delete: op.Value == nil}
	if w.Delete {
		return w, nil
	}
	expires := op.Expires.UTC().Round(0)
	var err error
	w.Value, err = record.Marshal(storedPrivate{Schema: schema, Expires: expires, Real: op.Real, Sealed: s.sealer.Seal(op.Value, s.privateBinding(op.Bucket, op.ID, expires, op.Real))})
	return w, err
}

// privateConds are the conditions of ops. lapsed are items that expired and are
// still in the database: to their op they do not exist.
func privateConds(ops []PrivateOp, lapsed map[int]int64) []Cond {
	var conds []Cond
	for i, op := range ops {
		if op.IfRev == nil {
			continue
		}
		rev := *op.IfRev
		if at, ok := lapsed[i]; ok {
			rev = at
		}
		conds = append(conds, Cond{Key: privateKey(op.Bucket, op.ID), Rev: rev})
	}
	return conds
}

// findLapsed returns, for ops whose item must not exist, the revisions of those
// items that exist but have expired.
func (s *Store) findLapsed(ctx context.Context, ops []PrivateOp) (map[int]int64, error) {
	lapsed := make(map[int]int64)
	for i, op := range ops {
		if op.IfRev == nil || *op.IfRev != 0 {
			continue
		}
		item, _, err := s.kv.Get(ctx, privateKey(op.Bucket, op.ID))
		if err != nil {
			return nil, err
		}
		if item.Rev == 0 {
			continue
		}
		v, err := decodePrivate(item)
		if err != nil {
			return nil, err
		}
		if s.gone(v.Expires, v.Real) {
			lapsed[i] = item.Rev
		}
	}
	return lapsed, nil
}

// gone reports whether an item that ends at an instant has ended, by its clock.
func (s *Store) gone(expires time.Time, real bool) bool {
	if real {
		return expired(expires, s.machine())
	}
	return expired(expires, s.Now())
}

// CommitPrivate makes all ops in one transaction, or none of them. It is for the
// state of flows (codes, refresh tokens, sessions) and leaves no audit record.
// ErrConflict says that an IfRev did not hold. After ErrUnknown, ops with an
// IfRev may be tried again: what was written makes them conflict.
func (s *Store) CommitPrivate(ctx context.Context, ops ...PrivateOp) error {
	writes := make([]Write, len(ops))
	for i, op := range ops {
		var err error
		if writes[i], err = s.privateWrite(op); err != nil {
			return fmt.Errorf("commit private: %w", err)
		}
	}
	var lapsed map[int]int64
	for {
		conds := privateConds(ops, lapsed)
		if err := s.kv.Limits().check(conds, writes); err != nil {
			return fmt.Errorf("commit private: %w", err)
		}
		_, ok, err := s.kv.Txn(ctx, conds, writes)
		if err != nil {
			return fmt.Errorf("commit private: %w", err)
		}
		if ok {
			return nil
		}
		if lapsed != nil {
			return fmt.Errorf("commit private: %w", ErrConflict)
		}
		if lapsed, err = s.findLapsed(ctx, ops); err != nil {
			return fmt.Errorf("commit private: %w", err)
		}
		if len(lapsed) == 0 {
			return fmt.Errorf("commit private: %w", ErrConflict)
		}
	}
}

// Private returns a private item, or ErrNotFound if there is none or it has
// expired. It asks the database, so it never returns what is out of date.
func (s *Store) Private(ctx context.Context, bucket string, id ...string) (PrivateItem, error) {
	item, _, err := s.kv.Get(ctx, privateKey(bucket, id))
	if err != nil {
		return PrivateItem{}, fmt.Errorf("private %s: %w", bucket, err)
	}
	if item.Rev == 0 {
		return PrivateItem{}, fmt.Errorf("private %s: %w", bucket, ErrNotFound)
	}
	p, err := s.openPrivate(item, bucket, id)
	if err != nil {
		return PrivateItem{}, fmt.Errorf("private %s: %w", bucket, err)
	}
	if s.gone(p.Expires, p.real) {
		return PrivateItem{}, fmt.Errorf("private %s: it has expired: %w", bucket, ErrNotFound)
	}
	return p, nil
}

// PrivateList returns the items of a bucket whose ids begin with idPrefix and go
// on after it, ordered by key, without those that have expired.
func (s *Store) PrivateList(ctx context.Context, bucket string, idPrefix ...string) ([]PrivateItem, error) {
	prefix := privateKey(bucket, idPrefix)
	if len(idPrefix) > 0 {
		prefix += "/"
	}
	var out []PrivateItem
	for item, err := range s.items(ctx, prefix, "", 0) {
		if err != nil {
			return nil, fmt.Errorf("list private %s: %w", bucket, err)
		}
		p, err := s.listed(item, bucket)
		if err != nil {
			return nil, fmt.Errorf("list private %s: %w", bucket, err)
		}
		if !s.gone(p.Expires, p.real) {
			out = append(out, p)
		}
	}
	return out, nil
}

// PrivatePage returns at most limit items of a bucket whose ids begin with
// idPrefix and go on after it, ordered by key, from behind the one whose id is
// after; nil is from the first. More says that there may be others. Items that
// have expired are left out, so that a page may be short before the end, but then
// it is not empty.
func (s *Store) PrivatePage(ctx context.Context, limit int, after []string, bucket string, idPrefix ...string) (items []PrivateItem, more bool, err error) {
	prefix, last := privateKey(bucket, idPrefix), ""
	if len(idPrefix) > 0 {
		prefix += "/"
	}
	if after != nil {
		last = privateKey(bucket, after)
	}
	for more = true; more && len(items) == 0; {
		page, err := s.kv.Range(ctx, prefix, last, limit, 0)
		if err != nil {
			return nil, false, fmt.Errorf("page of private %s: %w", bucket, err)
		}
		more = page.More
		for _, item := range page.Items {
			last = item.Key
			p, err := s.listed(item, bucket)
			if err != nil {
				return nil, false, fmt.Errorf("page of private %s: %w", bucket, err)
			}
			if !s.gone(p.Expires, p.real) {
				items = append(items, p)
			}
		}
	}
	return items, more, nil
}

// listed opens an item of a bucket that was found by its key.
func (s *Store) listed(item Item, bucket string) (PrivateItem, error) {
	id, err := split(strings.TrimPrefix(item.Key, privateKey(bucket, nil)))
	if err != nil {
		return PrivateItem{}, fmt.Errorf("key %q: %w", item.Key, ErrSchema)
	}
	return s.openPrivate(item, bucket, id)
}

func decodePrivate(item Item) (storedPrivate, error) {
	var v storedPrivate
	if err := record.Unmarshal(item.Value, &v); err != nil {
		return storedPrivate{}, fmt.Errorf("%s: %w: %w", item.Key, ErrSchema, err)
	}
	if v.Schema != schema {
		return storedPrivate{}, fmt.Errorf("%s has schema %d: %w", item.Key, v.Schema, ErrSchema)
	}
	return v, nil
}

func (s *Store) openPrivate(item Item, bucket string, id []string) (PrivateItem, error) {
	v, err := decodePrivate(item)
	if err != nil {
		return PrivateItem{}, err
	}
	value, err := s.sealer.Open(v.Sealed, s.privateBinding(bucket, id, v.Expires, v.Real))
	if err != nil {
		return PrivateItem{}, err
	}
	return PrivateItem{ID: id, Value: value, Rev: item.Rev, Expires: v.Expires, real: v.Real}, nil
}

// Sweep deletes the private items that have expired by now, and returns how many.
// now is the machine's clock: what a rehearsal's clock has ended, such as the note
// that something was used, is needed again when that clock is moved back.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	swept := 0
	for item, err := range s.items(ctx, privatePrefix, "", 0) {
		if err != nil {
			return swept, fmt.Errorf("sweep: %w", err)
		}
		v, err := decodePrivate(item)
		if err != nil {
			return swept, fmt.Errorf("sweep: %w", err)
		}
		if !expired(v.Expires, now) {
			continue
		}
		// An item that was written again in the meantime stays.
		_, ok, err := s.kv.Txn(ctx, []Cond{{Key: item.Key, Rev: item.Rev}}, []Write{{Key: item.Key, Delete: true}})
		if err != nil {
			return swept, fmt.Errorf("sweep: %w", err)
		}
		if ok {
			swept++
		}
	}
	return swept, nil
}
