package safe

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// An Actor is who changes something, and why. Check is asked about the estate that
// the change is made on; its error refuses it. Nil is for the house itself.
type Actor struct {
	By    principal.ID
	Why   string
	Check func(*estate.Snapshot) error
}

// A Found is an object that an Edit begins with. Nil means that there is none.
type Found = *vault.Object

// An Edit is what becomes of one object.
type Edit struct {
	// Put is the object as it is to be; nil leaves it. When its current version is
	// another than before, the one before is kept as an older one.
	Put *vault.Object
	// Purge removes it with everything that belongs to it.
	Purge bool
	// Older is an older version as it is to be.
	Older *vault.Version
	// Material is what is secret about versions, Drop what is to be forgotten.
	Material map[vault.ID][]byte
	Drop     []vault.ID
	// Begun is set when the object's line was written before, as garbage: the
	// revision of that note. The line is garbage no more.
	Begun int64
}

// maxTries is how often an edit is planned anew because others were faster.
const maxTries = 16

// Edit changes objects together. Plan is given them as they are, and returns what
// becomes of each; it is asked again when they changed in between, so it must have
// no effects. An object whose time is over is none, and makes place.
func (s *Safe) Edit(ctx context.Context, who Actor, refs []vault.Ref, plan func(now []Found) ([]Edit, error)) error {
	// One at a time, as the store commits: those of one house do not race each other.
	select {
	case s.editing <- struct{}{}:
		defer func() { <-s.editing }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	for try := 1; ; try++ {
		err := s.edit(ctx, who, refs, plan)
		if err == nil || try == maxTries || !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func (s *Safe) edit(ctx context.Context, who Actor, refs []vault.Ref, plan func(now []Found) ([]Edit, error)) error {
	was, revs := make([]Found, len(refs)), make([]int64, len(refs))
	now := make([]Found, len(refs))
	for i, r := range refs {
		o, rev, err := s.get(ctx, r)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return fmt.Errorf("%s %s: %w", r.Kind.Singular(), r.Name, err)
		}
		was[i], revs[i] = &o, rev
		if !o.Gone(s.conf.Now()) {
			now[i] = &o
		}
	}
	edits, err := plan(now)
	if err != nil {
		return err
	}
	var ops []store.PrivateOp
	var lines []vault.ID
	for i, e := range edits {
		more, line, err := e.ops(refs[i], was[i], revs[i])
		if err != nil {
			return err
		}
		ops = append(ops, more...)
		if !line.IsZero() {
			lines = append(lines, line)
		}
	}
	if len(ops) == 0 {
		return nil
	}
	if _, err := s.conf.State.Commit(ctx, store.Change{By: who.By, Why: who.Why, Private: ops, Check: who.Check}); err != nil {
		return err
	}
	for _, line := range lines {
		// Nobody reaches it any more. If it cannot be removed now, Tidy does.
		if err := s.collect(ctx, line); err != nil {
			s.conf.Log.Warn("vault: what was purged is still in the database, and is removed later", "error", err)
		}
	}
	return nil
}

// ops are the writes of an edit, and the line that becomes garbage by it.
func (e Edit) ops(r vault.Ref, was Found, rev int64) (ops []store.PrivateOp, garbage vault.ID, err error) {
	put := func(bucket string, id []string, v any) {
		value, failed := record.Marshal(v)
		err = errors.Join(err, failed)
		ops = append(ops, store.PrivateOp{Bucket: bucket, ID: id, Value: value})
	}
	head := func(value []byte) {
		ops = append(ops, store.PrivateOp{Bucket: bucketObject, ID: objectID(r), Value: value, IfRev: &rev})
	}
	if was != nil && (e.Purge || e.Put != nil && e.Put.Line != was.Line) {
		garbage = was.Line
		put(bucketGarbage, []string{garbage.String()}, waste{})
	}
	if e.Purge {
		if was == nil {
			return nil, vault.ID{}, fmt.Errorf("purge %s: %w", r.Name, ErrNotFound)
		}
		head(nil)
		return ops, garbage, err
	}
	if e.Put == nil {
		return nil, vault.ID{}, nil
	}
	value, err := record.Marshal(*e.Put)
	if err != nil {
		return nil, vault.ID{}, err
	}
	head(value)
	line := e.Put.Line.String()
	if was != nil && was.Line == e.Put.Line && !was.Current.IsZero() && was.Current.ID != e.Put.Current.ID {
		put(bucketVersion, []string{line, was.Current.ID.String()}, was.Current)
	}
	if e.Older != nil {
		put(bucketVersion, []string{line, e.Older.ID.String()}, *e.Older)
	}
	for id, secret := range e.Material {
		if secret == nil {
			secret = []byte{} // a PrivateOp without value deletes
		}
		ops = append(ops, store.PrivateOp{Bucket: bucketMaterial, ID: []string{line, id.String()}, Value: secret})
	}
	for _, id := range e.Drop {
		ops = append(ops, store.PrivateOp{Bucket: bucketMaterial, ID: []string{line, id.String()}})
	}
	if e.Begun != 0 {
		ops = append(ops, store.PrivateOp{Bucket: bucketGarbage, ID: []string{line}, IfRev: &e.Begun})
	}
	return ops, garbage, err
}

// Companions are the certificate, the key and the secret of a certificate, in this
// order: they live and die together.
func Companions(r vault.Ref) []vault.Ref {
	out := make([]vault.Ref, 3)
	for i, kind := range []vault.Kind{vault.Certificates, vault.Keys, vault.Secrets} {
		out[i] = vault.Ref{Vault: r.Vault, Kind: kind, Name: r.Name}
	}
	return out
}

// Together are the objects that are changed when one is: a certificate with its
// companions, all others alone.
func Together(r vault.Ref) []vault.Ref {
	if r.Kind == vault.Certificates {
		return Companions(r)
	}
	return []vault.Ref{r}
}
