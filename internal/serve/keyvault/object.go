package keyvault

import (
	"encoding/base64"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// edit changes the object of a call, with its companions if it is a certificate.
// Plan is given those that there are; none of them is nil.
func (c *call) edit(why string, plan func(now []safe.Found) ([]safe.Edit, error)) error {
	refs := safe.Together(c.target.ref)
	return c.d.conf.Safe.Edit(c.r.Context(), c.actor(why), refs, func(now []safe.Found) ([]safe.Edit, error) {
		if now[0] == nil {
			return nil, safe.ErrNotFound
		}
		return plan(now)
	})
}

// change is an edit that makes something else of each object.
func (c *call) change(why string, next func(vault.Object) (vault.Object, error)) (vault.Object, error) {
	var out vault.Object
	err := c.edit(why, func(now []safe.Found) ([]safe.Edit, error) {
		edits := make([]safe.Edit, len(now))
		for i, o := range now {
			if o == nil {
				continue // the key and secret of a certificate that is still awaited
			}
			changed, err := next(*o)
			if err != nil {
				return nil, err
			}
			if edits[i].Put = &changed; i == 0 {
				out = changed
			}
		}
		return edits, nil
	})
	return out, err
}

// own refuses what belongs to a certificate, unless it is the certificate.
func (c *call) own(o vault.Object) error {
	if c.target.ref.Kind == vault.Certificates {
		return nil
	}
	return o.Own()
}

func (c *call) delete() (answer, error) {
	o, err := c.change("deleted "+c.what(), func(o vault.Object) (vault.Object, error) {
		if o.Deleted != nil {
			return vault.Object{}, safe.ErrNotFound
		}
		if o.Managed && c.target.ref.Kind != vault.Certificates {
			return vault.Object{}, o.Own()
		}
		return o.Delete(c.now, c.vault.Retention)
	})
	if err != nil {
		return answer{}, err
	}
	return c.answerBundle(o, o.Current)
}

// deleted returns the deleted object of a call.
func (c *call) deleted() (vault.Object, error) {
	o, err := c.d.conf.Safe.Get(c.r.Context(), c.target.ref)
	if err == nil && o.Deleted == nil {
		err = safe.ErrNotFound
	}
	return o, err
}

func (c *call) getDeleted() (answer, error) {
	o, err := c.deleted()
	if err != nil {
		return answer{}, err
	}
	return c.answerBundle(o, o.Current)
}

func (c *call) recover() (answer, error) {
	o, err := c.change("recovered "+c.what(), func(o vault.Object) (vault.Object, error) {
		if o.Deleted == nil {
			return vault.Object{}, safe.ErrNotFound
		}
		if err := c.own(o); err != nil {
			return vault.Object{}, err
		}
		return o.Recover()
	})
	if err != nil {
		return answer{}, err
	}
	return c.answerBundle(o, o.Current)
}

func (c *call) purge() (answer, error) {
	err := c.edit("purged "+c.what(), func(now []safe.Found) ([]safe.Edit, error) {
		edits := make([]safe.Edit, len(now))
		for i, o := range now {
			if o == nil {
				continue
			}
			if o.Deleted == nil {
				return nil, safe.ErrNotFound
			}
			if err := c.own(*o); err != nil {
				return nil, err
			}
			if err := o.Purgeable(c.now, c.vault.Retention); err != nil {
				return nil, err
			}
			edits[i].Purge = true
		}
		return edits, nil
	})
	return answer{status: http.StatusNoContent}, err
}

// what names the object of a call in the audit log.
func (c *call) what() string { return c.target.ref.Kind.Singular() + " " + c.target.ref.Name.String() }

// updateInput is what can be changed about a version without making another.
type updateInput struct {
	Attributes  *attributes `json:"attributes"`
	Tags        vault.Tags  `json:"tags"`
	ContentType *string     `json:"contentType"`
	Ops         []vault.Op  `json:"key_ops"`
	Release     any         `json:"release_policy"`
	Policy      *policyBody `json:"policy"`
}

func (c *call) update() (answer, error) {
	var in updateInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Release != nil {
		return answer{}, record.Invalid("no key can be released from here")
	}
	var object vault.Object
	var version vault.Version
	err := c.edit("changed "+c.what(), func(now []safe.Found) ([]safe.Edit, error) {
		edits := make([]safe.Edit, len(now))
		for i, o := range now {
			if o == nil || o.Deleted != nil {
				return nil, safe.ErrNotFound
			}
			if err := c.own(*o); err != nil {
				return nil, err
			}
			id := c.target.version
			if id.IsZero() {
				id = now[0].Current.ID
			}
			was, err := c.d.conf.Safe.Version(c.r.Context(), *o, id)
			if err != nil {
				return nil, err
			}
			next, err := c.updated(in, was)
			if err != nil {
				return nil, err
			}
			put := *o
			if id == o.Current.ID {
				put.Current = next
			} else {
				edits[i].Older = &next
			}
			if i == 0 && in.Policy != nil {
				if put.Policy, err = c.next(in.Policy, o.Policy); err != nil {
					return nil, err
				}
			}
			if edits[i].Put = &put; i == 0 {
				object, version = put, next
			}
		}
		return edits, nil
	})
	if err != nil {
		return answer{}, err
	}
	return c.answerBundle(object, version)
}

// updated is a version with what the caller wrote.
func (c *call) updated(in updateInput, v vault.Version) (vault.Version, error) {
	var err error
	if c.target.ref.Kind == vault.Certificates && in.Attributes != nil {
		in.Attributes.NotBefore, in.Attributes.Expires = nil, nil // they are in the certificate
	}
	if v.Attributes, err = in.Attributes.onto(v.Attributes); err != nil {
		return vault.Version{}, err
	}
	if in.Tags != nil {
		v.Tags = in.Tags
	}
	if in.ContentType != nil && c.target.ref.Kind == vault.Secrets {
		v.ContentType = *in.ContentType
	}
	if in.Ops != nil && c.target.ref.Kind == vault.Keys {
		key, err := v.Key.WithOps(in.Ops)
		if err != nil {
			return vault.Version{}, err
		}
		v.Key = &key
	}
	v.Attributes = v.Attributes.Touched(c.now)
	return v, v.Validate()
}

// backupBody is a backup: base64url without padding.
type backupBody struct {
	Value string `json:"value"`
}

func (c *call) backup() (answer, error) {
	o, _, err := c.object()
	if err != nil {
		return answer{}, err
	}
	if err := c.own(o); err != nil {
		return answer{}, err
	}
	var sealed []byte
	err = c.d.making.do(c.r.Context(), func() (err error) {
		sealed, err = c.d.conf.Safe.Backup(c.r.Context(), c.target.ref)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	if err := c.use(o.Current.ID); err != nil {
		return answer{}, err
	}
	return ok(backupBody{base64.RawURLEncoding.EncodeToString(sealed)})
}

func (c *call) restore() (answer, error) {
	var in backupBody
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	sealed, err := base64.RawURLEncoding.DecodeString(in.Value)
	if err != nil {
		return answer{}, safe.ErrBackup
	}
	var o vault.Object
	err = c.d.making.do(c.r.Context(), func() (err error) {
		o, err = c.d.conf.Safe.Restore(c.r.Context(), c.actor("restored a "+c.target.ref.Kind.Singular()), c.resource.Scope, c.target.ref.Kind, sealed)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return c.answerBundle(o, o.Current)
}
