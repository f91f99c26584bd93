package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// follow keeps the view up to date until ctx ends, and withdraws it when the store
// has not answered for MaxAge. It does nothing slow, see tendAlways.
func (r *Ring) follow(ctx context.Context) {
	tick := time.NewTicker(r.Poll)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_, err := r.refresh(ctx)
		switch {
		case err == nil:
			if failing {
				r.Log.Info("keys: the store answers again")
			}
		case ctx.Err() != nil:
			return
		default:
			if !failing {
				r.Log.Warn("keys: cannot read the signing keys", "error", err)
			}
			if r.tooOld() {
				r.withdraw(err)
			}
		}
		failing = err != nil
	}
}

// tooOld reports whether the store last answered longer than MaxAge ago. The
// monotonic clock stands still while a machine sleeps; the wall clock does not.
func (r *Ring) tooOld() bool {
	asked := r.asked.Load()
	return asked == nil || max(time.Since(*asked), time.Now().Round(0).Sub(asked.Round(0))) > r.MaxAge
}

func (r *Ring) withdraw(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view.Load().err == nil {
		r.Log.Error("keys: no token is accepted or signed until the store answers", "error", why)
		r.view.Store(&view{err: fmt.Errorf("%w: %w", ErrStale, why)})
	}
}

// maxAsk bounds one refresh, for which the next one waits.
const maxAsk = 3 * time.Second

// refresh reads the head, and the keys if it is another one than the view's. A key
// that cannot be read is left out: its tokens are refused, and only those.
func (r *Ring) refresh(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, min(maxAsk, r.MaxAge))
	defer cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := time.Now()
	item, err := r.State.Private(ctx, bucket, headID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	old := r.view.Load()
	if old != nil && old.err == nil && old.rev == item.Rev {
		r.asked.Store(&asked)
		return old, nil
	}
	v := &view{rev: item.Rev, chains: make(map[chainID]chain)}
	if item.Rev != 0 {
		if err := record.Unmarshal(item.Value, &v.head); err != nil {
			return nil, fmt.Errorf("read the signing keys: %w", err)
		}
	}
	// The keys may be newer than the head. Then the head is too, which the next
	// poll sees, and an update in between is refused.
	items, err := r.State.PrivateList(ctx, bucket, keyID)
	if err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	byChain := make(map[chainID][]ringKey)
	for _, item := range items {
		k, err := parseKey(item)
		if err != nil {
			r.Log.Error("keys: a signing key is not usable", "error", err)
			continue
		}
		id := chainID{k.Tenant, k.Purpose}
		byChain[id] = append(byChain[id], k)
	}
	var accepted []token.Key
	for id, keys := range byChain {
		v.chains[id] = newChain(keys, r.TokenLife)
		v.order = append(v.order, id)
		for _, k := range v.chains[id] {
			if k.NotBefore.Before(k.NotAfter) {
				accepted = append(accepted, k.Key)
			}
		}
	}
	slices.SortFunc(v.order, func(a, b chainID) int {
		return cmp.Or(slices.Compare(a.tenant[:], b.tenant[:]), cmp.Compare(a.purpose, b.purpose))
	})
	if v.set, err = token.NewKeySet(accepted...); err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	r.view.Store(v)
	r.asked.Store(&asked)
	return v, nil
}

// maxAttempts bounds how often an update is tried because another replica was
// faster.
const maxAttempts = 16

// update changes the keys: ops are computed from the newest view, and committed
// only if it is still the newest. No ops is no change. The view shows the change
// when update returns.
func (r *Ring) update(ctx context.Context, by principal.ID, change func(v *view) (next head, why string, ops []store.PrivateOp, err error)) error {
	for range maxAttempts {
		v, err := r.refresh(ctx)
		if err != nil {
			return err
		}
		next, why, ops, err := change(v)
		if err != nil || len(ops) == 0 && next == v.head {
			return err
		}
		value, err := record.Marshal(next)
		if err != nil {
			return fmt.Errorf("encode the head of the keys: %w", err)
		}
		ops = append(ops, store.PrivateOp{Bucket: bucket, ID: []string{headID}, Value: value, IfRev: &v.rev})
		_, err = r.State.Commit(ctx, store.Change{By: by, Why: why, Private: ops})
		switch {
		case err == nil:
			_, err = r.refresh(ctx)
			return err
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrUnknown):
			// Computed anew from what is there now, it cannot be done twice.
		default:
			return fmt.Errorf("%s: %w", why, err)
		}
	}
	return fmt.Errorf("change the signing keys: %d others were faster: %w", maxAttempts, store.ErrConflict)
}
