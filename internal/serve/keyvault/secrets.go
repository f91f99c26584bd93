package keyvault

import (
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

type secretInput struct {
	Value       *string     `json:"value"`
	ContentType string      `json:"contentType"`
	Attributes  *attributes `json:"attributes"`
	Tags        vault.Tags  `json:"tags"`
}

type secretBundle struct {
	Value       *string    `json:"value,omitempty"`
	ContentType string     `json:"contentType,omitzero"`
	ID          string     `json:"id"`
	Attributes  attributes `json:"attributes"`
	Tags        vault.Tags `json:"tags,omitempty"`
	KID         string     `json:"kid,omitzero"`
	Managed     bool       `json:"managed,omitzero"`
	deletion
}

func (c *call) secretBundleOf(o vault.Object, v vault.Version) secretBundle {
	out := secretBundle{
		ContentType: v.ContentType, ID: c.idOf(vault.Secrets, o, v.ID), Attributes: c.attributesOf(v.Attributes),
		Tags: v.Tags, Managed: o.Managed, deletion: c.deletionOf(vault.Secrets, o),
	}
	if o.Managed {
		out.KID = c.idOf(vault.Keys, o, v.ID)
	}
	return out
}

// getSecret gives out a value. One that has expired or is not valid yet is given
// out as well, as in Key Vault: what its dates mean is the reader's to know.
func (c *call) getSecret() (answer, error) {
	o, v, err := c.object()
	if err != nil {
		return answer{}, err
	}
	if err := v.Enabled(); err != nil {
		return answer{}, err
	}
	value, err := c.d.conf.Safe.Material(c.r.Context(), o, v.ID)
	if err != nil {
		return answer{}, err
	}
	if err := c.use(v.ID); err != nil {
		return answer{}, err
	}
	out := c.secretBundleOf(o, v)
	out.Value = new(string(value))
	return ok(out)
}

func (c *call) setSecret() (answer, error) {
	var in secretInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Value == nil {
		return answer{}, record.Invalid("the parameter value must be there")
	}
	a, err := in.Attributes.onto(vault.Attributes{})
	if err != nil {
		return answer{}, err
	}
	v := vault.Version{ID: vault.NewID(), Attributes: a, Tags: in.Tags, ContentType: in.ContentType}
	var o vault.Object
	err = c.d.conf.Safe.Edit(c.r.Context(), c.actor("set "+c.what()), []vault.Ref{c.target.ref}, func(now []safe.Found) ([]safe.Edit, error) {
		e, err := c.d.conf.Safe.NewSecretVersion(now[0], c.target.name, *in.Value, v)
		if err != nil {
			return nil, err
		}
		o = *e.Put
		return []safe.Edit{e}, nil
	})
	if err != nil {
		return answer{}, err
	}
	// Who wrote it knows it: Key Vault says it once more.
	out := c.secretBundleOf(o, o.Current)
	out.Value = in.Value
	return ok(out)
}
