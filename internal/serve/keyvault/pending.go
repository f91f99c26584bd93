package keyvault

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// pendingBody is how far the making of a certificate is.
type pendingBody struct {
	ID        string      `json:"id"`
	Issuer    issuerProps `json:"issuer"`
	Request   []byte      `json:"csr"`
	Cancelled bool        `json:"cancellation_requested"`
	Status    string      `json:"status"`
	Details   string      `json:"status_details,omitzero"`
	Target    string      `json:"target,omitzero"`
	RequestID string      `json:"request_id"`
}

func (c *call) pendingOf(o vault.Object) pendingBody {
	p := o.Pending
	out := pendingBody{ID: c.idOf(vault.Certificates, o, vault.ID{}) + "/pending", Request: p.Request, Cancelled: p.Cancelled, RequestID: p.RequestID}
	if o.Policy != nil {
		out.Issuer.Name = o.Policy.Issuer
	}
	switch {
	case p.Completed:
		out.Status, out.Target = "completed", c.idOf(vault.Certificates, o, vault.ID{})
	case p.Cancelled:
		out.Status, out.Details = "cancelled", "The certificate will not be made."
	default:
		out.Status, out.Details = "inProgress", "Pending certificate created. Please Perform Merge to complete the request."
	}
	return out
}

// request begins a certificate that somebody else signs. Its key waits beside it.
func (c *call) request(n safe.NewCertificate, key vault.PrivateKey) (vault.Object, error) {
	var p vault.Pending
	err := c.d.making.do(c.r.Context(), func() (err error) {
		if key.IsZero() {
			if key, err = vault.Generate(n.Policy.Key); err != nil {
				return err
			}
		}
		if p.Request, err = n.Policy.Request(key); err != nil {
			return err
		}
		p.Key, err = key.Public(n.Policy.Key.Ops)
		return err
	})
	if err != nil {
		return vault.Object{}, err
	}
	der, err := key.Marshal()
	if err != nil {
		return vault.Object{}, err
	}
	p.Version, p.RequestID, p.Tags, p.Disabled = vault.NewID(), vault.NewID().String(), n.Version.Tags, n.Version.Disabled
	var o vault.Object
	err = c.d.conf.Safe.Edit(c.r.Context(), c.actor("requested "+c.what()), safe.Companions(c.target.ref), func(now []safe.Found) ([]safe.Edit, error) {
		if err := safe.Free(now); err != nil {
			return nil, err
		}
		e := safe.Edit{Material: map[vault.ID][]byte{p.Version: der}}
		var err error
		if now[0] == nil {
			if o, err = vault.NewObject(n.Name); err != nil {
				return nil, err
			}
		} else if o = *now[0]; o.Pending != nil && !o.Pending.Completed {
			e.Drop = []vault.ID{o.Pending.Version}
		}
		if err := o.Live(); err != nil {
			return nil, err
		}
		o.Policy, o.Pending = &n.Policy, &p
		put := o
		e.Put = &put
		return []safe.Edit{e, {}, {}}, nil
	})
	return o, err
}

// pending returns the certificate of a call that is being made, or was.
func (c *call) pending() (vault.Object, error) {
	o, err := c.certificate()
	if err == nil && o.Pending == nil {
		err = vault.ErrNoPending
	}
	return o, err
}

func (c *call) getPending() (answer, error) {
	o, err := c.pending()
	if err != nil {
		return answer{}, err
	}
	return ok(c.pendingOf(o))
}

// changePending is an edit of what is being made.
func (c *call) changePending(why string, next func(o *vault.Object, e *safe.Edit) error) (vault.Object, error) {
	var o vault.Object
	err := c.edit(why+" "+c.what(), func(now []safe.Found) ([]safe.Edit, error) {
		if o = *now[0]; o.Deleted != nil || o.Pending == nil {
			return nil, vault.ErrNoPending
		}
		var e safe.Edit
		put := o
		if err := next(&put, &e); err != nil {
			return nil, err
		}
		e.Put = &put
		return []safe.Edit{e, {}, {}}, nil
	})
	return o, err
}

func (c *call) cancelPending() (answer, error) {
	var in struct {
		Cancel bool `json:"cancellation_requested"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if !in.Cancel {
		return answer{}, record.Invalid("cancellation_requested must be true: what is cancelled does not go on")
	}
	_, err := c.changePending("cancelled", func(o *vault.Object, e *safe.Edit) error {
		if o.Pending.Completed {
			return record.Invalid("the certificate is made already")
		}
		p := *o.Pending
		p.Cancelled = true
		o.Pending, e.Drop = &p, []vault.ID{p.Version}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return c.getPending()
}

func (c *call) deletePending() (answer, error) {
	o, err := c.changePending("forgot the request of", func(o *vault.Object, e *safe.Edit) error {
		e.Drop = []vault.ID{o.Pending.Version}
		o.Pending = nil
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return ok(c.pendingOf(o))
}

// mergeCertificate completes a certificate with what somebody else signed.
func (c *call) mergeCertificate() (answer, error) {
	var in certificateInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	v, err := in.version()
	if err != nil {
		return answer{}, err
	}
	o, err := c.pending()
	if err != nil {
		return answer{}, err
	}
	p := o.Pending
	if p.Completed || p.Cancelled || o.Policy == nil {
		return answer{}, vault.ErrNoPending
	}
	der, err := c.d.conf.Safe.Material(c.r.Context(), o, p.Version)
	if err != nil {
		return answer{}, err
	}
	n := safe.NewCertificate{Name: o.Name, Policy: *o.Policy, Version: v}
	if in.Tags == nil {
		n.Version.Tags = p.Tags
	}
	if in.Attributes == nil || in.Attributes.Enabled == nil {
		n.Version.Disabled = p.Disabled
	}
	n.Version.ID = p.Version
	done := *p
	done.Completed = true
	n.Pending = &done
	err = c.d.making.do(c.r.Context(), func() error {
		key, err := vault.ParsePrivateKey(der)
		if err != nil {
			return err
		}
		// The policy may have become another one since the request was made.
		if err := c.d.conf.Safe.Shows(c.r.Context(), c.target.ref, key, n.Policy); err != nil {
			return err
		}
		n.Bundle, err = vault.Merge(key, in.Chain)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	err = c.d.conf.Safe.Edit(c.r.Context(), c.actor("merged "+c.what()), safe.Companions(c.target.ref), func(now []safe.Found) ([]safe.Edit, error) {
		if now[0] == nil || now[0].Pending == nil || now[0].Pending.Version != p.Version || now[0].Pending.Completed || now[0].Pending.Cancelled {
			return nil, vault.ErrNoPending
		}
		edits, err := c.d.conf.Safe.Edits(now, n)
		if err == nil {
			o = *edits[0].Put
		}
		return edits, err
	})
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusCreated, c.certificateBundleOf(o, o.Current)}, nil
}
