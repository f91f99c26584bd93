package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// stored is a record in the database.
type stored struct {
	Schema int            `json:"schema"`
	Record jsontext.Value `json:"record"`
}

// encodeRecord returns the stored form of a record, and its bare JSON.
func encodeRecord(r record.Record) (value []byte, bare jsontext.Value, err error) {
	bare, err = record.Marshal(r)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.Key(), err)
	}
	value, err = record.Marshal(stored{Schema: schema, Record: bare})
	return value, bare, err
}

// decodeRecord reads what lies under an estate key. Whatever this version does
// not understand completely is ErrSchema: a kind, a version, a member's name.
func decodeRecord(item Item) (record.Record, error) {
	key, err := parseRecordKey(item.Key)
	if err != nil {
		return nil, err
	}
	var v stored
	if err := record.Unmarshal(item.Value, &v); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", item.Key, ErrSchema, err)
	}
	if v.Schema != schema {
		return nil, fmt.Errorf("%s has schema %d: %w", item.Key, v.Schema, ErrSchema)
	}
	r, err := estate.Decode(key.Kind, v.Record)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", item.Key, ErrSchema, err)
	}
	if r.Key() != key {
		return nil, fmt.Errorf("%s holds the record %s: %w", item.Key, r.Key(), ErrSchema)
	}
	return r, nil
}

// resync reads the whole estate anew, at one revision, and publishes it.
func (s *Store) resync(ctx context.Context) error {
	for {
		err := s.load(ctx)
		// A slow reader may lose the revision it reads at; the newest is there.
		if !errors.Is(err, ErrCompacted) {
			return err
		}
	}
}

func (s *Store) load(ctx context.Context) error {
	begun := s.machine()
	m, rev, _, err := s.readMeta(ctx)
	if err != nil {
		return err
	}
	if rev == 0 || m.ID != s.id {
		return fmt.Errorf("the database holds store %q, this was opened for %s: %w", m.ID, s.id, ErrForeign)
	}
	if m.Schema != schema || m.Upgrading {
		return fmt.Errorf("the store has schema %d and is being upgraded or was set back: %w", m.Schema, ErrSchema)
	}
	l := loader{s: s, revs: make(map[digest]int64), kinds: make(map[record.Kind][]record.Record)}
	for page, err := range s.prefetch(ctx, watched) {
		if err == nil {
			err = l.add(page)
		}
		if err != nil {
			return fmt.Errorf("read the estate: %w", err)
		}
	}
	if l.headRev == 0 {
		return fmt.Errorf("read the estate: the head of the audit chain is missing: %w", ErrTampered)
	}
	est, err := estate.Reload(l.rev, l.records())
	if err != nil {
		return fmt.Errorf("read the estate: %w", err)
	}
	for key, why := range est.Dangling() {
		s.log.Error("store: a record refers to what is not there, and grants nothing until that is there again or the record is deleted", "record", key.String(), "error", why)
	}
	s.publish(func() {
		s.epoch.Store(m.Epoch)
		s.head, s.headRev, s.revs, s.applied = l.head, l.headRev, l.revs, l.rev
		s.show(est)
		s.freshAt.Store(&begun)
	})
	return nil
}

// A loader collects one reading of the estate.
type loader struct {
	s       *Store
	rev     int64
	head    head
	headRev int64
	revs    map[digest]int64
	kinds   map[record.Kind][]record.Record
}

func (l *loader) add(page Page) error {
	l.rev = page.Rev
	for _, item := range page.Items {
		if item.Key == headKey {
			var err error
			if l.head, err = l.s.decodeHead(item.Value); err != nil {
				return err
			}
			l.headRev = item.Rev
			continue
		}
		r, err := decodeRecord(item)
		if err != nil {
			return err
		}
		l.revs[digestOf(item.Key)] = item.Rev
		l.kinds[r.Key().Kind] = append(l.kinds[r.Key().Kind], r)
	}
	return nil
}

// records yields what was read, each kind after those it refers to.
func (l *loader) records() iter.Seq[record.Record] {
	return func(yield func(record.Record) bool) {
		for _, kind := range record.Kinds {
			for _, r := range l.kinds[kind] {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// prefetch yields the pages of a prefix at one revision, and reads the next one
// while the caller works on the last.
func (s *Store) prefetch(ctx context.Context, prefix string) iter.Seq2[Page, error] {
	// etcd counts all that is left of a range for each page, so small pages make
	// the whole quadratic.
	const pageSize = 10_000
	type result struct {
		page Page
		err  error
	}
	return func(yield func(Page, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		pages := make(chan result, 1)
		go func() {
			defer close(pages)
			after, rev := "", int64(0)
			for {
				page, err := s.kv.Range(ctx, prefix, after, pageSize, rev)
				select {
				case pages <- result{page, err}:
				case <-ctx.Done():
					return
				}
				if err != nil || !page.More || len(page.Items) == 0 {
					return
				}
				after, rev = page.Items[len(page.Items)-1].Key, page.Rev
			}
		}()
		for r := range pages {
			if !yield(r.page, r.err) || r.err != nil {
				return
			}
		}
	}
}
