// Package safe keeps what is in vaults: in the store's private state, sealed, and
// nowhere else. Every change is one transaction with its audit record, and no
// secret leaves before the record of who took it is written.
//
// An object lies in one item, which every change of it rewrites under the
// condition that it is still what was read. Its older versions, and what is secret
// about each version, lie in items of their own, named by the object's line: an
// object that takes the name of another cannot reach what was the other's.
package safe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// Where things lie.
const (
	bucketObject   = "vault-object"   // vault, kind, name
	bucketVersion  = "vault-version"  // line, version: the older ones
	bucketMaterial = "vault-material" // line, version: a secret's value or a private key
	bucketGarbage  = "vault-garbage"  // line: what nobody reaches and is to be removed
	bucketLost     = "vault-lost"     // vault: since when it is not there
	bucketKey      = "vault-backup-key"
)

// ErrNotFound says that there is no such object, version or material.
var ErrNotFound = store.ErrNotFound

// State is what the safe needs from the store.
type State interface {
	ID() string
	Current() *estate.Snapshot
	Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error)
	PrivatePage(ctx context.Context, limit int, after []string, bucket string, idPrefix ...string) ([]store.PrivateItem, bool, error)
	CommitPrivate(ctx context.Context, ops ...store.PrivateOp) error
	Commit(ctx context.Context, c store.Change) (int64, error)
}

// Config is what the safe needs. State is required.
type Config struct {
	State State
	// There reports whether there is a vault at a scope. Nil says yes to all.
	There func(est *estate.Snapshot, at scope.Scope) bool
	Now   func() time.Time // nil means time.Now
	// Machine is the clock by which Tidy removes things for good. It differs from Now
	// when a rehearsal moves the time, which can be moved back. Nil means Now.
	Machine func() time.Time
	Log     *slog.Logger // nil means no log
}

// A Safe is safe for concurrent use.
type Safe struct {
	conf    Config
	uses    uses
	editing chan struct{} // held by the one Edit under way
}

// New checks a configuration and returns the safe.
func New(conf Config) (*Safe, error) {
	if conf.State == nil {
		return nil, errors.New("safe: the state is required")
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Machine == nil {
		conf.Machine = conf.Now
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	return &Safe{conf: conf, editing: make(chan struct{}, 1)}, nil
}

func objectID(r vault.Ref) []string {
	return []string{r.Vault.String(), string(r.Kind), r.Name.String()}
}

// Get returns an object, which may be deleted. One whose time to be recovered is
// over is not found.
func (s *Safe) Get(ctx context.Context, r vault.Ref) (vault.Object, error) {
	o, _, err := s.get(ctx, r)
	if err == nil && o.Gone(s.conf.Now()) {
		err = ErrNotFound
	}
	if err != nil {
		return vault.Object{}, fmt.Errorf("%s %s: %w", r.Kind.Singular(), r.Name, err)
	}
	return o, nil
}

// get returns an object as it lies there, and the revision that wrote it.
func (s *Safe) get(ctx context.Context, r vault.Ref) (vault.Object, int64, error) {
	item, err := s.conf.State.Private(ctx, bucketObject, objectID(r)...)
	if err != nil {
		return vault.Object{}, 0, err
	}
	var o vault.Object
	return o, item.Rev, record.Unmarshal(item.Value, &o)
}

// Version returns one version of an object.
func (s *Safe) Version(ctx context.Context, o vault.Object, id vault.ID) (vault.Version, error) {
	if id == o.Current.ID && !id.IsZero() {
		return o.Current, nil
	}
	var v vault.Version
	item, err := s.conf.State.Private(ctx, bucketVersion, o.Line.String(), id.String())
	if err == nil {
		err = record.Unmarshal(item.Value, &v)
	}
	if err != nil {
		return vault.Version{}, fmt.Errorf("version %s of %s: %w", id, o.Name, err)
	}
	return v, nil
}

// Material returns what is secret about a version. Who may take it, and that he
// did, is the caller's business: see Use.
func (s *Safe) Material(ctx context.Context, o vault.Object, id vault.ID) ([]byte, error) {
	item, err := s.conf.State.Private(ctx, bucketMaterial, o.Line.String(), id.String())
	if err != nil {
		return nil, fmt.Errorf("material of version %s of %s: %w", id, o.Name, err)
	}
	return item.Value, nil
}

// List returns at most limit objects of a kind in a vault that pass a filter, by
// name, from behind a name; and the name to go on from, if there may be others.
func (s *Safe) List(ctx context.Context, at scope.Scope, kind vault.Kind, after vault.Name, limit int, keep func(vault.Object) bool) ([]vault.Object, vault.Name, error) {
	var out []vault.Object
	for {
		var last []string
		if after != (vault.Name{}) {
			last = objectID(vault.Ref{Vault: at, Kind: kind, Name: after})
		}
		page, more, err := s.conf.State.PrivatePage(ctx, limit, last, bucketObject, at.String(), string(kind))
		if err != nil {
			return nil, vault.Name{}, fmt.Errorf("list %s: %w", kind, err)
		}
		for _, item := range page {
			if len(out) == limit {
				return out, after, nil
			}
			var o vault.Object
			if err := record.Unmarshal(item.Value, &o); err != nil {
				return nil, vault.Name{}, err
			}
			if after, err = vault.ParseName(o.Name); err != nil {
				return nil, vault.Name{}, err
			}
			if !o.Gone(s.conf.Now()) && keep(o) {
				out = append(out, o)
			}
		}
		if !more {
			return out, vault.Name{}, nil
		}
	}
}

// Versions returns at most limit versions of an object, the newest first and the
// older ones in the order of their ids, from behind one; and the id to go on from,
// if there may be others.
func (s *Safe) Versions(ctx context.Context, o vault.Object, after vault.ID, limit int) ([]vault.Version, vault.ID, error) {
	var out []vault.Version
	var last []string
	switch {
	case after.IsZero() && !o.Current.IsZero():
		out = append(out, o.Current)
	case !after.IsZero() && after != o.Current.ID:
		last = []string{o.Line.String(), after.String()}
	}
	if limit == len(out) {
		return out, o.Current.ID, nil
	}
	page, more, err := s.conf.State.PrivatePage(ctx, limit-len(out), last, bucketVersion, o.Line.String())
	if err != nil {
		return nil, vault.ID{}, fmt.Errorf("versions of %s: %w", o.Name, err)
	}
	for _, item := range page {
		var v vault.Version
		if err := record.Unmarshal(item.Value, &v); err != nil {
			return nil, vault.ID{}, err
		}
		out = append(out, v)
	}
	if !more || len(page) == 0 {
		return out, vault.ID{}, nil
	}
	return out, out[len(out)-1].ID, nil
}
