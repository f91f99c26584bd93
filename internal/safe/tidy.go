package safe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// waste says since when a line is garbage, or may become an object that is being
// restored. Zero is at once.
type waste struct {
	Since time.Time `json:"since,omitzero"`
}

// restoreTime is how long a restoration may take before its pieces are garbage.
const restoreTime = 10 * time.Minute

const pageSize = 250

// Tidy does what is due in all vaults: it removes for good what was deleted long
// enough ago, rotates keys and renews certificates as their policies say. What
// fails does not keep the rest from being done.
func (s *Safe) Tidy(ctx context.Context) error {
	return errors.Join(s.sweep(ctx), s.tend(ctx))
}

// sweep removes garbage.
func (s *Safe) sweep(ctx context.Context) error {
	var failed error
	for item, err := range s.all(ctx, bucketGarbage) {
		if err != nil {
			return fmt.Errorf("sweep vaults: %w", err)
		}
		var w waste
		line, err := vault.ParseID(item.ID[0])
		if err = errors.Join(err, record.Unmarshal(item.Value, &w)); err != nil {
			return fmt.Errorf("sweep vaults: %w", err)
		}
		if !w.Since.IsZero() && s.conf.Machine().Sub(w.Since) < restoreTime {
			continue
		}
		failed = errors.Join(failed, s.collect(ctx, line))
	}
	return failed
}

// collect removes what belongs to a line that nobody reaches any more.
func (s *Safe) collect(ctx context.Context, line vault.ID) error {
	for _, bucket := range []string{bucketMaterial, bucketVersion} {
		for more := true; more; {
			page, rest, err := s.conf.State.PrivatePage(ctx, pageSize, nil, bucket, line.String())
			if err != nil {
				return fmt.Errorf("remove what was purged: %w", err)
			}
			more = rest
			ops := make([]store.PrivateOp, len(page))
			for i, item := range page {
				ops[i] = store.PrivateOp{Bucket: bucket, ID: item.ID}
			}
			if len(ops) == 0 {
				break
			}
			if err := s.conf.State.CommitPrivate(ctx, ops...); err != nil {
				return fmt.Errorf("remove what was purged: %w", err)
			}
		}
	}
	return s.conf.State.CommitPrivate(ctx, store.PrivateOp{Bucket: bucketGarbage, ID: []string{line.String()}})
}

// all yields the items of a bucket, page by page.
func (s *Safe) all(ctx context.Context, bucket string) func(yield func(store.PrivateItem, error) bool) {
	return func(yield func(store.PrivateItem, error) bool) {
		var after []string
		for {
			page, more, err := s.conf.State.PrivatePage(ctx, pageSize, after, bucket)
			if err != nil {
				yield(store.PrivateItem{}, err)
				return
			}
			for _, item := range page {
				if after = item.ID; !yield(item, nil) {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

// A place is an object that was met on the way through all of them.
type place struct {
	ref  vault.Ref
	line vault.ID
}

// tend goes through all objects.
func (s *Safe) tend(ctx context.Context) error {
	var failed error
	lost := make(map[scope.Scope][]place)
	for item, err := range s.all(ctx, bucketObject) {
		if err != nil {
			return fmt.Errorf("tend vaults: %w", err)
		}
		var o vault.Object
		if err := record.Unmarshal(item.Value, &o); err != nil {
			return fmt.Errorf("tend vaults: %w", err)
		}
		at, err1 := scope.Parse(item.ID[0])
		name, err2 := vault.ParseName(o.Name)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("tend vaults: %w", err)
		}
		r := vault.Ref{Vault: at, Kind: vault.Kind(item.ID[1]), Name: name}
		if s.conf.There != nil && !s.conf.There(s.conf.State.Current(), at) {
			lost[at] = append(lost[at], place{r, o.Line})
			continue
		}
		if err := s.tendOne(ctx, r, o); err != nil {
			failed = errors.Join(failed, fmt.Errorf("tend %s %s: %w", r.Kind.Singular(), name, err))
		}
	}
	return errors.Join(failed, s.forget(ctx, lost))
}

func (s *Safe) tendOne(ctx context.Context, r vault.Ref, o vault.Object) error {
	now := s.conf.Now()
	if o.Gone(s.conf.Machine()) {
		return s.expire(ctx, place{r, o.Line}, Actor{Why: "purged: the time to recover it is over"})
	}
	if o.Deleted != nil || o.Current.IsZero() || o.Current.Disabled {
		return nil
	}
	switch {
	case o.Rotation != nil && o.Rotation.Due(o.Current.Attributes, now):
		_, err := s.Rotate(ctx, Actor{Why: "key rotated as its policy says"}, r, o.Current.ID)
		return err
	case o.Policy != nil && o.Policy.Issuer == vault.IssuerSelf:
		due := o.Policy.RenewAt(o.Current.Created, o.Current.Expires)
		if due.IsZero() || now.Before(due) {
			return nil
		}
		_, err := s.Renew(ctx, Actor{Why: "certificate renewed as its policy says"}, r, o.Current.ID)
		return err
	}
	return nil
}

// forget purges what is in vaults that are gone for as long as it takes: until
// then, a vault that is made again in the same place finds what was in it, as one
// that is recovered does in Azure.
func (s *Safe) forget(ctx context.Context, lost map[scope.Scope][]place) error {
	now := s.conf.Machine()
	for item, err := range s.all(ctx, bucketLost) {
		if err != nil {
			return fmt.Errorf("forget vaults: %w", err)
		}
		at, err := scope.Parse(item.ID[0])
		var w waste
		if err = errors.Join(err, record.Unmarshal(item.Value, &w)); err != nil {
			return fmt.Errorf("forget vaults: %w", err)
		}
		places, still := lost[at]
		delete(lost, at) // it is noted
		if still && now.Before(w.Since.AddDate(0, 0, vault.MaxRetention)) {
			continue
		}
		by := Actor{Why: "purged: the vault is gone for good", Check: func(est *estate.Snapshot) error {
			if s.conf.There(est, at) {
				return errBack
			}
			return nil
		}}
		for _, p := range places {
			if err := s.expire(ctx, p, by); errors.Is(err, errBack) {
				break
			} else if err != nil {
				return err
			}
		}
		if err := s.conf.State.CommitPrivate(ctx, store.PrivateOp{Bucket: bucketLost, ID: item.ID}); err != nil {
			return fmt.Errorf("forget vaults: %w", err)
		}
	}
	for at := range lost {
		note, err := record.Marshal(waste{Since: now})
		if err == nil {
			err = s.conf.State.CommitPrivate(ctx, store.PrivateOp{Bucket: bucketLost, ID: []string{at.String()}, Value: note})
		}
		if err != nil {
			return fmt.Errorf("forget vaults: %w", err)
		}
	}
	return nil
}

// errBack is that a vault was made again while what was in it was to be purged.
var errBack = errors.New("the vault is there again")

// expire purges an object for good, unless it is not what it was any more.
func (s *Safe) expire(ctx context.Context, p place, by Actor) error {
	o, rev, err := s.get(ctx, p.ref)
	if errors.Is(err, ErrNotFound) || err == nil && o.Line != p.line {
		return nil
	}
	if err != nil {
		return err
	}
	ops, garbage, err := Edit{Purge: true}.ops(p.ref, &o, rev)
	if err != nil {
		return err
	}
	if _, err := s.conf.State.Commit(ctx, store.Change{By: by.By, Why: by.Why, Private: ops, Check: by.Check}); err != nil {
		return err
	}
	return s.collect(ctx, garbage)
}
