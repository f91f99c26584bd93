package keyvault

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// bytes64 are bytes as base64url without padding (RFC 7518, section 2).
type bytes64 []byte

// MarshalText implements encoding.TextMarshaler.
func (b bytes64) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. Padding is no matter.
func (b *bytes64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(string(text), "="))
	return err
}

// jwk is a key (RFC 7517). The private members are only ever read.
type jwk struct {
	KID string     `json:"kid,omitzero"`
	Kty string     `json:"kty"`
	Ops []vault.Op `json:"key_ops,omitempty"`
	N   bytes64    `json:"n,omitempty"`
	E   bytes64    `json:"e,omitempty"`
	Crv string     `json:"crv,omitzero"`
	X   bytes64    `json:"x,omitempty"`
	Y   bytes64    `json:"y,omitempty"`
	D   bytes64    `json:"d,omitempty"`
	P   bytes64    `json:"p,omitempty"`
	Q   bytes64    `json:"q,omitempty"`
}

type keyBundle struct {
	Key        jwk        `json:"key"`
	Attributes attributes `json:"attributes"`
	Tags       vault.Tags `json:"tags,omitempty"`
	Managed    bool       `json:"managed,omitzero"`
	deletion
}

func (c *call) keyBundleOf(o vault.Object, v vault.Version) (keyBundle, error) {
	out := keyBundle{Attributes: c.attributesOf(v.Attributes), Tags: v.Tags, Managed: o.Managed, deletion: c.deletionOf(vault.Keys, o)}
	if v.Key == nil {
		return keyBundle{}, safe.ErrNotFound
	}
	pub, err := v.Key.Public()
	if err != nil {
		return keyBundle{}, err
	}
	out.Key = jwk{KID: c.idOf(vault.Keys, o, v.ID), Ops: v.Key.Ops}
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		out.Key.Kty, out.Key.N, out.Key.E = vault.RSA, pub.N.Bytes(), big.NewInt(int64(pub.E)).Bytes()
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			return keyBundle{}, err
		}
		half := len(point) / 2
		out.Key.Kty, out.Key.Crv, out.Key.X, out.Key.Y = vault.EC, pub.Curve.Params().Name, point[1:1+half], point[1+half:]
	}
	return out, nil
}

func (c *call) getKey() (answer, error) {
	o, v, err := c.object()
	if err != nil {
		return answer{}, err
	}
	return c.answerBundle(o, v)
}

type keyInput struct {
	Kty        string      `json:"kty"`
	Size       int         `json:"key_size"`
	Exponent   int         `json:"public_exponent"`
	Crv        string      `json:"crv"`
	Ops        []vault.Op  `json:"key_ops"`
	Attributes *attributes `json:"attributes"`
	Tags       vault.Tags  `json:"tags"`
	Release    any         `json:"release_policy"`
	// Of an import.
	HSM bool `json:"Hsm"`
	Key *jwk `json:"key"`
}

func (in keyInput) check() error {
	switch {
	case in.Release != nil:
		return record.Invalid("no key can be released from here")
	case in.HSM:
		return record.Invalid("there is no hardware for keys here: they are kept in software")
	case in.Exponent != 0 && in.Exponent != 65537:
		return record.Invalid("the public exponent of keys that are made here is 65537, not %d", in.Exponent)
	}
	return nil
}

func (c *call) createKey() (answer, error) {
	var in keyInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if err := in.check(); err != nil {
		return answer{}, err
	}
	return c.addKey("made "+c.what(), in, in.Ops, func() (vault.PrivateKey, error) {
		return vault.Generate(vault.KeySpec{Type: in.Kty, Size: in.Size, Curve: in.Crv, Ops: in.Ops})
	})
}

func (c *call) importKey() (answer, error) {
	var in keyInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if err := in.check(); err != nil {
		return answer{}, err
	}
	if in.Key == nil {
		return answer{}, record.Invalid("the parameter key must be there")
	}
	return c.addKey("imported "+c.what(), in, in.Key.Ops, func() (vault.PrivateKey, error) {
		k := in.Key
		switch k.Kty {
		case vault.RSA:
			return vault.NewRSA(vault.RSANumbers{N: k.N, E: k.E, D: k.D, P: k.P, Q: k.Q})
		case vault.EC:
			return vault.NewEC(k.Crv, k.D, k.X, k.Y)
		}
		return vault.PrivateKey{}, record.Invalid("keys of the types RSA and EC can be imported here, not %.32q", k.Kty)
	})
}

// addKey makes a key the newest version of a call's object.
func (c *call) addKey(why string, in keyInput, ops []vault.Op, make func() (vault.PrivateKey, error)) (answer, error) {
	a, err := in.Attributes.onto(vault.Attributes{})
	if err != nil {
		return answer{}, err
	}
	var key vault.PrivateKey
	err = c.d.making.do(c.r.Context(), func() (err error) {
		key, err = make()
		return err
	})
	if err != nil {
		return answer{}, err
	}
	pub, err := key.Public(ops)
	if err != nil {
		return answer{}, err
	}
	v := vault.Version{ID: vault.NewID(), Attributes: a, Tags: in.Tags, Key: &pub}
	var o vault.Object
	err = c.d.conf.Safe.Edit(c.r.Context(), c.actor(why), []vault.Ref{c.target.ref}, func(now []safe.Found) ([]safe.Edit, error) {
		e, err := c.d.conf.Safe.NewKeyVersion(now[0], c.target.name, key, v)
		if err != nil {
			return nil, err
		}
		o = *e.Put
		return []safe.Edit{e}, nil
	})
	if err != nil {
		return answer{}, err
	}
	return c.answerBundle(o, o.Current)
}

func (c *call) rotateKey() (answer, error) {
	o, _, err := c.object()
	if err == nil {
		err = o.Own()
	}
	if err != nil {
		return answer{}, err
	}
	err = c.d.making.do(c.r.Context(), func() (err error) {
		o, err = c.d.conf.Safe.Rotate(c.r.Context(), c.actor("rotated "+c.what()), c.target.ref, vault.ID{})
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return c.answerBundle(o, o.Current)
}

// rotationBody is a rotation policy.
type rotationBody struct {
	ID         string           `json:"id,omitzero"`
	Actions    []lifetimeAction `json:"lifetimeActions"`
	Attributes struct {
		Expiry  *string `json:"expiryTime"`
		Created *int64  `json:"created,omitempty"`
		Updated *int64  `json:"updated,omitempty"`
	} `json:"attributes"`
}

type lifetimeAction struct {
	Trigger struct {
		AfterCreate  *string `json:"timeAfterCreate,omitempty"`
		BeforeExpiry *string `json:"timeBeforeExpiry,omitempty"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"type"`
	} `json:"action"`
}

// defaultNotice is what a key without a policy is said to have.
var defaultNotice = vault.Period{Days: 30}

func (c *call) rotationOf(o vault.Object) rotationBody {
	out := rotationBody{ID: c.idOf(vault.Keys, o, vault.ID{}) + "/rotationpolicy"}
	p := vault.RotationPolicy{Notify: defaultNotice}
	if o.Rotation != nil {
		p = *o.Rotation
	}
	add := func(typ string, after, before vault.Period) {
		if after == (vault.Period{}) && before == (vault.Period{}) {
			return
		}
		var a lifetimeAction
		a.Action.Type = typ
		if after != (vault.Period{}) {
			a.Trigger.AfterCreate = new(after.String())
		} else {
			a.Trigger.BeforeExpiry = new(before.String())
		}
		out.Actions = append(out.Actions, a)
	}
	add("Rotate", p.AfterCreate, p.BeforeExpiry)
	add("Notify", vault.Period{}, p.Notify)
	if p.Life != (vault.Period{}) {
		out.Attributes.Expiry = new(p.Life.String())
	}
	out.Attributes.Created, out.Attributes.Updated = seconds(p.Created), seconds(p.Updated)
	return out
}

func (c *call) getRotation() (answer, error) {
	o, _, err := c.object()
	if err != nil {
		return answer{}, err
	}
	return ok(c.rotationOf(o))
}

func (c *call) putRotation() (answer, error) {
	var in rotationBody
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	p, err := in.policy()
	if err != nil {
		return answer{}, err
	}
	o, err := c.change("rotation policy of "+c.what(), func(o vault.Object) (vault.Object, error) {
		if o.Deleted != nil {
			return vault.Object{}, safe.ErrNotFound
		}
		next := p
		next.Updated = c.now.UTC().Truncate(time.Second)
		if next.Created = next.Updated; o.Rotation != nil {
			next.Created = o.Rotation.Created
		}
		o.Rotation = &next
		return o, o.Own()
	})
	if err != nil {
		return answer{}, err
	}
	return ok(c.rotationOf(o))
}

// policy reads a rotation policy.
func (in rotationBody) policy() (vault.RotationPolicy, error) {
	var p vault.RotationPolicy
	period := func(text *string, to *vault.Period) error {
		if text == nil || *text == "" {
			return nil
		}
		if *to != (vault.Period{}) {
			return record.Invalid("a rotation policy has an action of each type at most once")
		}
		return to.UnmarshalText([]byte(*text))
	}
	if err := period(in.Attributes.Expiry, &p.Life); err != nil {
		return vault.RotationPolicy{}, err
	}
	for _, a := range in.Actions {
		var err error
		switch {
		case strings.EqualFold(a.Action.Type, "Rotate"):
			if err = period(a.Trigger.AfterCreate, &p.AfterCreate); err == nil {
				err = period(a.Trigger.BeforeExpiry, &p.BeforeExpiry)
			}
		case strings.EqualFold(a.Action.Type, "Notify") && a.Trigger.AfterCreate == nil:
			err = period(a.Trigger.BeforeExpiry, &p.Notify)
		default:
			err = record.Invalid("the actions of a rotation policy are Rotate, and Notify some time before the key expires, not %.32q", a.Action.Type)
		}
		if err != nil {
			return vault.RotationPolicy{}, err
		}
	}
	return p, p.Validate()
}

// random answers random bytes.
func (c *call) random() (answer, error) {
	var in struct {
		Count int `json:"count"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Count < 1 || in.Count > 128 {
		return answer{}, record.Invalid("count is %d, want 1 to 128", in.Count)
	}
	return answer{http.StatusOK, valueBody{randomBytes(in.Count)}}, nil
}
