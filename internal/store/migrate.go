package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A Migration rewrites what schema From wrote into what schema From+1 reads.
type Migration struct {
	From int
	// Rewrite returns what takes the place of one item of the estate or of the
	// private state: usually one write of the same key. It must depend on its
	// arguments alone, and what it writes must lie under a key not after the
	// item's, or it would be rewritten again.
	Rewrite func(key string, value []byte) ([]Write, error)
}

// migrationPage is how many items are rewritten in one transaction.
const migrationPage = 50

// migrate brings an older store to this schema. Each transaction rewrites some
// items and notes how far it came, so that it may be killed anywhere, run twice,
// and run by two replicas at once; every item is rewritten exactly once. While it
// runs nobody can open the store for other purposes.
func (s *Store) migrate(ctx context.Context, table []Migration) error {
	for {
		m, rev, newest, err := s.readMeta(ctx)
		if err != nil {
			return err
		}
		if m.Schema == schema && !m.Upgrading {
			return nil
		}
		step, err := migrationFrom(table, m.Schema)
		if err != nil {
			return err
		}
		if err := s.migratePage(ctx, step, m, rev, newest); err != nil && !errors.Is(err, ErrCompacted) {
			return fmt.Errorf("upgrade from schema %d: %w", m.Schema, err)
		}
	}
}

func migrationFrom(table []Migration, from int) (Migration, error) {
	for _, step := range table {
		if step.From == from {
			return step, nil
		}
	}
	return Migration{}, fmt.Errorf("the store has schema %d, and this version has no way up from there: %w", from, ErrSchema)
}

// migratePage does the next transaction of an upgrade. If another replica did it
// first, it does nothing.
func (s *Store) migratePage(ctx context.Context, step Migration, m meta, rev, newest int64) error {
	if !m.Upgrading { // announce it first: from here on everybody else stays out
		m.Upgrading, m.After = true, ""
		return s.writeMeta(ctx, m, rev, nil, nil)
	}
	conds, writes, after, err := s.rewrites(ctx, step, m.After, newest)
	if err != nil {
		return err
	}
	if after == "" {
		m = meta{Schema: step.From + 1, ID: m.ID, Epoch: m.Epoch}
	} else {
		m.After = after
	}
	return s.writeMeta(ctx, m, rev, conds, writes)
}

// rewrites returns the next items' new forms, and the last of their keys; "" if
// there are no more. The items are as they were when it was read how far the upgrade
// came: another replica may have rewritten them since.
func (s *Store) rewrites(ctx context.Context, step Migration, after string, rev int64) (conds []Cond, writes []Write, last string, err error) {
	for _, prefix := range []string{estatePrefix, privatePrefix} {
		page, err := s.kv.Range(ctx, prefix, after, migrationPage, rev)
		if err != nil {
			return nil, nil, "", err
		}
		for _, item := range page.Items {
			w, err := step.Rewrite(item.Key, item.Value)
			if err != nil {
				return nil, nil, "", fmt.Errorf("%s: %w", item.Key, err)
			}
			conds = append(conds, Cond{Key: item.Key, Rev: item.Rev})
			writes = append(writes, w...)
			last = item.Key
		}
		if last != "" {
			return conds, writes, last, nil
		}
	}
	return nil, nil, "", nil
}

func (s *Store) writeMeta(ctx context.Context, m meta, rev int64, conds []Cond, writes []Write) error {
	value, err := record.Marshal(m)
	if err != nil {
		return err
	}
	conds = append(conds, Cond{Key: metaKey, Rev: rev})
	writes = append(writes, Write{Key: metaKey, Value: value})
	// If the conditions do not hold, another replica did it; the caller looks again.
	_, _, err = s.kv.Txn(ctx, conds, writes)
	return err
}
