package safe

import (
	"context"
	"fmt"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// NewKeyVersion returns what becomes of a key, or of none, with a private key as
// its newest version.
func (s *Safe) NewKeyVersion(now Found, name string, key vault.PrivateKey, v vault.Version) (Edit, error) {
	o, err := objectFor(now, name)
	if err != nil {
		return Edit{}, err
	}
	der, err := key.Marshal()
	if err != nil {
		return Edit{}, err
	}
	if v.ID.IsZero() {
		v.ID = vault.NewID()
	}
	v.Attributes = v.Attributes.Touched(s.conf.Now())
	if o.Rotation != nil && o.Rotation.Life != (vault.Period{}) && v.Expires.IsZero() {
		v.Expires = o.Rotation.Life.After(v.Created)
	}
	if o, err = o.Add(v); err != nil {
		return Edit{}, err
	}
	return Edit{Put: &o, Material: map[vault.ID][]byte{v.ID: der}}, nil
}

// objectFor returns the object that gets another version: the one that is there,
// or a new one.
func objectFor(now Found, name string) (vault.Object, error) {
	if now == nil {
		return vault.NewObject(name)
	}
	if err := now.Live(); err != nil {
		return vault.Object{}, err
	}
	return *now, now.Own()
}

// NewSecretVersion returns what becomes of a secret, or of none, with a value as
// its newest version.
func (s *Safe) NewSecretVersion(now Found, name, value string, v vault.Version) (Edit, error) {
	o, err := objectFor(now, name)
	if err != nil {
		return Edit{}, err
	}
	if len(value) > vault.MaxValue {
		return Edit{}, record.Invalid("the value has %d bytes, at most %d", len(value), vault.MaxValue)
	}
	if v.ID.IsZero() {
		v.ID = vault.NewID()
	}
	v.Attributes = v.Attributes.Touched(s.conf.Now())
	if o, err = o.Add(v); err != nil {
		return Edit{}, err
	}
	return Edit{Put: &o, Material: map[vault.ID][]byte{v.ID: []byte(value)}}, nil
}

// Rotate gives a key another version of the same kind. With a version given, only
// that one is replaced: whoever comes second leaves it.
func (s *Safe) Rotate(ctx context.Context, who Actor, r vault.Ref, only vault.ID) (vault.Object, error) {
	o, err := s.Get(ctx, r)
	if err != nil {
		return vault.Object{}, err
	}
	if o.Current.Key == nil {
		return vault.Object{}, fmt.Errorf("rotate %s: %w", r.Name, ErrNotFound)
	}
	spec, err := o.Current.Key.Spec()
	if err != nil {
		return vault.Object{}, err
	}
	key, err := vault.Generate(spec)
	if err != nil {
		return vault.Object{}, err
	}
	pub, err := key.Public(o.Current.Key.Ops)
	if err != nil {
		return vault.Object{}, err
	}
	err = s.Edit(ctx, who, []vault.Ref{r}, func(now []Found) ([]Edit, error) {
		if now[0] == nil || now[0].Line != o.Line {
			return nil, fmt.Errorf("key %s: %w", r.Name, ErrNotFound)
		}
		o = *now[0]
		if !only.IsZero() && o.Current.ID != only {
			return nil, nil
		}
		e, err := s.NewKeyVersion(now[0], o.Name, key, vault.Version{Key: &pub, Tags: o.Current.Tags})
		if err != nil {
			return nil, err
		}
		o = *e.Put
		return []Edit{e}, nil
	})
	return o, err
}
