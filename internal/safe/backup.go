package safe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// A backup is an object with its companions, all their versions, and what is
// secret about them. It exists sealed alone.
type backup struct {
	Schema int        `json:"schema"`
	Kind   vault.Kind `json:"kind"`
	Parts  []part     `json:"parts"`
}

type part struct {
	Object   vault.Object    `json:"object"`
	Versions []vault.Version `json:"versions,omitempty"` // the older ones
	Material []secret        `json:"material,omitempty"`
}

type secret struct {
	ID    vault.ID `json:"id"`
	Value []byte   `json:"value"`
}

const (
	backupSchema = 1
	// maxVersions is how many versions an object may have to be backed up, as in Azure.
	maxVersions = 500
	// MaxBackup bounds a backup, in bytes before it is encoded.
	MaxBackup = 16 << 20
)

// ErrBackup says that a backup is none of this house and subscription, or of
// another kind of object, or was changed.
var ErrBackup = errors.New("it is no backup that was made by this house, for this subscription and this kind of object")

// sealer returns what backups are sealed with. The key is made once, and lies in
// the private state.
func (s *Safe) sealer(ctx context.Context) (store.Sealer, error) {
	for range 2 {
		item, err := s.conf.State.Private(ctx, bucketKey, "1")
		if err == nil {
			return store.NewKey(item.Value)
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("key of backups: %w", err)
		}
		key := make([]byte, 32)
		rand.Read(key) // never fails
		err = s.conf.State.CommitPrivate(ctx, store.PrivateOp{Bucket: bucketKey, ID: []string{"1"}, Value: key, IfRev: new(int64)})
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, fmt.Errorf("key of backups: %w", err)
		}
	}
	return nil, fmt.Errorf("key of backups: %w", store.ErrConflict)
}

// belongs is what a backup is sealed for: a house, a subscription and a kind. A
// vault of another subscription, whose people may be others, does not take it.
func (s *Safe) belongs(at scope.Scope, kind vault.Kind) ([]byte, error) {
	sub, ok := at.Subscription()
	if !ok {
		return nil, record.Invalid("vault %s is in no subscription", at)
	}
	return record.Marshal([]string{"gatehouse vault backup", s.conf.State.ID(), sub.String(), string(kind)})
}

// Backup returns an object with everything that belongs to it, sealed.
func (s *Safe) Backup(ctx context.Context, r vault.Ref) ([]byte, error) {
	b := backup{Schema: backupSchema, Kind: r.Kind}
	for _, one := range Together(r) {
		o, err := s.Get(ctx, one)
		if err != nil {
			return nil, err
		}
		if err := o.Live(); err != nil {
			return nil, err
		}
		if o.Current.IsZero() { // a certificate that is still awaited
			return nil, fmt.Errorf("back up %s: %w", r.Name, ErrNotFound)
		}
		p := part{Object: o}
		if p.Versions, err = s.older(ctx, o); err != nil {
			return nil, err
		}
		for _, v := range append([]vault.Version{o.Current}, p.Versions...) {
			if one.Kind == vault.Certificates {
				break
			}
			m, err := s.Material(ctx, o, v.ID)
			if err != nil {
				return nil, err
			}
			p.Material = append(p.Material, secret{v.ID, m})
		}
		// What is being made is not backed up: its key would be left behind.
		p.Object.Pending = nil
		b.Parts = append(b.Parts, p)
	}
	plain, err := record.Marshal(b)
	if err != nil {
		return nil, err
	}
	if len(plain) > MaxBackup {
		return nil, record.Invalid("a backup of %d bytes, at most %d", len(plain), MaxBackup)
	}
	sealer, err := s.sealer(ctx)
	if err != nil {
		return nil, err
	}
	belongs, err := s.belongs(r.Vault, r.Kind)
	if err != nil {
		return nil, err
	}
	return sealer.Seal(plain, belongs), nil
}

func (s *Safe) older(ctx context.Context, o vault.Object) ([]vault.Version, error) {
	var out []vault.Version
	var after vault.ID
	for {
		page, next, err := s.Versions(ctx, o, after, pageSize)
		if err != nil {
			return nil, err
		}
		for _, v := range page {
			if v.ID != o.Current.ID {
				out = append(out, v)
			}
		}
		if len(out) >= maxVersions {
			return nil, record.Invalid("%s has more than %d versions, too many for a backup", o.Name, maxVersions)
		}
		if next.IsZero() {
			return out, nil
		}
		after = next
	}
}

// open reads a backup for a vault and a kind.
func (s *Safe) open(ctx context.Context, at scope.Scope, kind vault.Kind, sealed []byte) (backup, error) {
	sealer, err := s.sealer(ctx)
	if err != nil {
		return backup{}, err
	}
	belongs, err := s.belongs(at, kind)
	if err != nil {
		return backup{}, err
	}
	plain, err := sealer.Open(sealed, belongs)
	if err != nil {
		return backup{}, ErrBackup
	}
	var b backup
	if err := record.Unmarshal(plain, &b); err != nil {
		return backup{}, ErrBackup
	}
	if b.Schema != backupSchema || b.Kind != kind || len(b.Parts) == 0 {
		return backup{}, ErrBackup
	}
	return b, nil
}

// ErrExists says that the name of what is to be restored is taken.
var ErrExists = errors.New("there is an object of this name already")

// Restore puts what a backup holds into a vault. The versions are written first,
// in as many steps as they take, where nobody reaches them: the last step makes
// them an object.
func (s *Safe) Restore(ctx context.Context, who Actor, at scope.Scope, kind vault.Kind, sealed []byte) (vault.Object, error) {
	b, err := s.open(ctx, at, kind, sealed)
	if err != nil {
		return vault.Object{}, err
	}
	name, err := vault.ParseName(b.Parts[0].Object.Name)
	if err != nil {
		return vault.Object{}, err
	}
	refs := Together(vault.Ref{Vault: at, Kind: kind, Name: name})
	// Asked before anything is written: else a backup that is sent again and again fills
	// the database with pieces of what is there. It is asked once more in the end.
	for _, r := range refs {
		switch o, err := s.Get(ctx, r); {
		case err == nil:
			return vault.Object{}, taken(o)
		case !errors.Is(err, ErrNotFound):
			return vault.Object{}, err
		}
	}
	edits := make([]Edit, len(refs))
	for i := range b.Parts {
		if edits[i], err = s.begin(ctx, b.Parts[i]); err != nil {
			return vault.Object{}, err
		}
	}
	err = s.Edit(ctx, who, refs, func(now []Found) ([]Edit, error) {
		for _, o := range now {
			if o != nil {
				return nil, taken(*o)
			}
		}
		return edits, nil
	})
	if err != nil {
		return vault.Object{}, err
	}
	return *edits[0].Put, nil
}

// taken is why nothing is restored over an object.
func taken(o vault.Object) error {
	if err := o.Live(); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", o.Name, ErrExists)
}

// begin writes the versions of a part under a line of its own, and returns the
// edit that makes it an object.
func (s *Safe) begin(ctx context.Context, p part) (Edit, error) {
	p.Object.Line, p.Object.Deleted = vault.NewID(), nil
	line := p.Object.Line.String()
	note, err := record.Marshal(waste{Since: s.conf.Machine()})
	if err != nil {
		return Edit{}, err
	}
	ops := []store.PrivateOp{{Bucket: bucketGarbage, ID: []string{line}, Value: note}}
	for _, v := range p.Versions {
		value, err := record.Marshal(v)
		if err != nil {
			return Edit{}, err
		}
		ops = append(ops, store.PrivateOp{Bucket: bucketVersion, ID: []string{line, v.ID.String()}, Value: value})
	}
	for _, m := range p.Material {
		if m.Value == nil {
			m.Value = []byte{}
		}
		ops = append(ops, store.PrivateOp{Bucket: bucketMaterial, ID: []string{line, m.ID.String()}, Value: m.Value})
	}
	const step = 30 // of at most 25 KiB each: well below the limit of any database
	for len(ops) > 0 {
		n := min(step, len(ops))
		if err := s.conf.State.CommitPrivate(ctx, ops[:n]...); err != nil {
			return Edit{}, fmt.Errorf("restore %s: %w", p.Object.Name, err)
		}
		ops = ops[n:]
	}
	begun, err := s.conf.State.Private(ctx, bucketGarbage, line)
	return Edit{Put: &p.Object, Begun: begun.Rev}, err
}
