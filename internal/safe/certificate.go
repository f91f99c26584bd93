package safe

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// A NewCertificate is a certificate that is put into a vault: made here, or
// brought along. Version has its tags, and whether it is disabled.
type NewCertificate struct {
	Name    string
	Bundle  vault.Bundle
	Policy  vault.Policy
	Pending *vault.Pending
	Version vault.Version
}

// Edits returns what becomes of the certificate, its key and its secret, which get
// the same newest version.
func (s *Safe) Edits(now []Found, n NewCertificate) ([]Edit, error) {
	if err := Free(now); err != nil {
		return nil, err
	}
	for _, o := range now {
		if o != nil {
			if err := o.Live(); err != nil {
				return nil, err
			}
		}
	}
	leaf := n.Bundle.Chain[0]
	v := n.Version
	if v.ID.IsZero() {
		v.ID = vault.NewID()
	}
	v.NotBefore, v.Expires = leaf.NotBefore, leaf.NotAfter
	v.Attributes = v.Attributes.Touched(s.conf.Now())
	pub, err := n.Bundle.Key.Public(n.Policy.Key.Ops)
	if err != nil {
		return nil, err
	}
	secret, err := n.Bundle.Secret(n.Policy.ContentType, n.Policy.Hidden)
	if err != nil {
		return nil, err
	}
	der, err := n.Bundle.Key.Marshal()
	if err != nil {
		return nil, err
	}
	edits := make([]Edit, 3)
	for i, material := range [][]byte{nil, der, []byte(secret)} {
		o := vault.Object{Managed: i > 0}
		if now[i] != nil {
			o = *now[i]
		} else if o, err = vault.NewObject(n.Name); err != nil {
			return nil, err
		}
		o.Managed = i > 0
		one := v
		switch i {
		case 0:
			one.Certificate, one.ContentType = leaf.Raw, n.Policy.ContentType
			policy := n.Policy
			if policy.Created.IsZero() {
				policy.Created = v.Created
			}
			policy.Updated = v.Updated
			o.Policy, o.Pending = &policy, n.Pending
		case 1:
			one.Key = &pub
		case 2:
			one.ContentType = n.Policy.ContentType
		}
		if o, err = o.Add(one); err != nil {
			return nil, err
		}
		edits[i].Put = &o
		if material != nil {
			edits[i].Material = map[vault.ID][]byte{v.ID: material}
		}
	}
	if now[0] != nil && now[0].Pending != nil {
		edits[0].Drop = []vault.ID{now[0].Pending.Version}
	}
	return edits, nil
}

// Free refuses a certificate whose name a key or a secret of its own has.
func Free(now []Found) error {
	for i, o := range now {
		if i > 0 && o != nil && !o.Managed {
			return fmt.Errorf("%s: %w", o.Name, ErrTaken)
		}
	}
	return nil
}

// ErrTaken says that a key or secret has the name that a certificate is to have.
var ErrTaken = fmt.Errorf("a key or secret that belongs to no certificate has this name")

// Issue makes the next version of a certificate as a policy describes it, signed
// by itself. Reuse is the key to go on with; zero makes a new one.
func (s *Safe) Issue(n NewCertificate, reuse vault.PrivateKey) (NewCertificate, error) {
	key, err := reuse, error(nil)
	if key.IsZero() {
		if key, err = vault.Generate(n.Policy.Key); err != nil {
			return NewCertificate{}, err
		}
	}
	cert, err := n.Policy.SelfSign(key, s.conf.Now())
	if err != nil {
		return NewCertificate{}, err
	}
	request, err := n.Policy.Request(key)
	if err != nil {
		return NewCertificate{}, err
	}
	pub, err := key.Public(n.Policy.Key.Ops)
	if err != nil {
		return NewCertificate{}, err
	}
	if n.Bundle, err = vault.Merge(key, [][]byte{cert.Raw}); err != nil {
		return NewCertificate{}, err
	}
	n.Version.ID = vault.NewID()
	n.Pending = &vault.Pending{Version: n.Version.ID, RequestID: vault.NewID().String(), Request: request, Completed: true, Key: pub}
	return n, nil
}

// KeyOf returns the private key of the newest version of a certificate that is to
// be kept; zero if its policy asks for another one, or there is none yet. A key that
// was hidden is not kept by a policy that shows it.
func (s *Safe) KeyOf(ctx context.Context, r vault.Ref, policy vault.Policy) (vault.PrivateKey, error) {
	if !policy.ReuseKey {
		return vault.PrivateKey{}, nil
	}
	key, o, err := s.newestKey(ctx, r)
	if err == nil && !key.IsZero() && !policy.Hidden {
		err = s.shown(ctx, r, o.Current.ID)
	}
	if err != nil {
		return vault.PrivateKey{}, err
	}
	return key, nil
}

// newestKey returns the private key of the newest version of a certificate, and the
// object that it lies in; zero if there is none yet.
func (s *Safe) newestKey(ctx context.Context, r vault.Ref) (vault.PrivateKey, vault.Object, error) {
	o, err := s.Get(ctx, Companions(r)[1])
	if errors.Is(err, ErrNotFound) || err == nil && o.Current.IsZero() {
		return vault.PrivateKey{}, vault.Object{}, nil // the first version has no key before it
	}
	if err != nil {
		return vault.PrivateKey{}, vault.Object{}, err
	}
	der, err := s.Material(ctx, o, o.Current.ID)
	if err != nil {
		return vault.PrivateKey{}, vault.Object{}, err
	}
	key, err := vault.ParsePrivateKey(der)
	return key, o, err
}

// Shows refuses to write a key into the secret of the next version of a certificate,
// if it is that of the newest one and was hidden there. What nobody was to have is not
// had by changing the policy and renewing.
func (s *Safe) Shows(ctx context.Context, r vault.Ref, key vault.PrivateKey, policy vault.Policy) error {
	if policy.Hidden {
		return nil
	}
	newest, o, err := s.newestKey(ctx, r)
	if err != nil || newest.IsZero() || !newest.Equal(key) {
		return err
	}
	return s.shown(ctx, r, o.Current.ID)
}

// shown refuses a version of a certificate whose secret is without its key.
func (s *Safe) shown(ctx context.Context, r vault.Ref, version vault.ID) error {
	o, err := s.Get(ctx, Companions(r)[2])
	if err != nil {
		return err
	}
	value, err := s.Material(ctx, o, version)
	if err != nil {
		return err
	}
	if _, _, err := vault.ReadBundle(string(value), ""); err != nil {
		return record.Invalid("the key of certificate %s was made not to be exported, and a version that can be exported needs another one: set reuse_key to false", r.Name)
	}
	return nil
}

// Renew gives a certificate that signs itself another version. With a version
// given, only that one is replaced: whoever comes second leaves it.
func (s *Safe) Renew(ctx context.Context, who Actor, r vault.Ref, only vault.ID) (vault.Object, error) {
	o, err := s.Get(ctx, r)
	if err != nil {
		return vault.Object{}, err
	}
	if o.Policy == nil {
		return vault.Object{}, fmt.Errorf("renew %s: %w", r.Name, ErrNotFound)
	}
	policy, err := o.Policy.Complete()
	if err != nil {
		return vault.Object{}, err
	}
	reuse, err := s.KeyOf(ctx, r, policy)
	if err != nil {
		return vault.Object{}, err
	}
	n, err := s.Issue(NewCertificate{Name: o.Name, Policy: policy, Version: vault.Version{Tags: o.Current.Tags}}, reuse)
	if err != nil {
		return vault.Object{}, err
	}
	err = s.Edit(ctx, who, Companions(r), func(now []Found) ([]Edit, error) {
		if now[0] == nil || now[0].Line != o.Line {
			return nil, fmt.Errorf("certificate %s: %w", r.Name, ErrNotFound)
		}
		if o = *now[0]; !only.IsZero() && o.Current.ID != only {
			return nil, nil
		}
		edits, err := s.Edits(now, n)
		if err == nil {
			o = *edits[0].Put
		}
		return edits, err
	})
	return o, err
}
