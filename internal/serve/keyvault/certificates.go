package keyvault

import (
	"encoding/base64"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

type certificateBundle struct {
	ID          string         `json:"id"`
	KID         string         `json:"kid,omitzero"`
	SID         string         `json:"sid,omitzero"`
	Thumbprint  string         `json:"x5t,omitzero"`
	CER         []byte         `json:"cer,omitempty"`
	ContentType string         `json:"contentType,omitzero"`
	Attributes  attributes     `json:"attributes"`
	Tags        vault.Tags     `json:"tags,omitempty"`
	Policy      *policyBody    `json:"policy,omitempty"`
	Pending     *pendingAnchor `json:"pending,omitempty"`
	deletion
}

type pendingAnchor struct {
	ID string `json:"id"`
}

func thumbprint(v vault.Version) string {
	if v.Certificate == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(vault.Thumbprint(v.Certificate))
}

func (c *call) certificateBundleOf(o vault.Object, v vault.Version) certificateBundle {
	out := certificateBundle{
		ID: c.idOf(vault.Certificates, o, v.ID), Thumbprint: thumbprint(v), CER: v.Certificate, ContentType: v.ContentType,
		Attributes: c.attributesOf(v.Attributes), Tags: v.Tags, Policy: c.policyOf(o), deletion: c.deletionOf(vault.Certificates, o),
	}
	if !v.IsZero() {
		out.KID, out.SID = c.idOf(vault.Keys, o, v.ID), c.idOf(vault.Secrets, o, v.ID)
	}
	if o.Pending != nil {
		out.Pending = &pendingAnchor{c.idOf(vault.Certificates, o, vault.ID{}) + "/pending"}
	}
	return out
}

// certificate returns the certificate of a call, which may have no version yet.
func (c *call) certificate() (vault.Object, error) {
	o, err := c.d.conf.Safe.Get(c.r.Context(), c.target.ref)
	if err == nil && o.Deleted != nil {
		err = safe.ErrNotFound
	}
	return o, err
}

func (c *call) getCertificate() (answer, error) {
	o, v, err := c.object()
	if err != nil {
		return answer{}, err
	}
	return ok(c.certificateBundleOf(o, v))
}

type certificateInput struct {
	Policy     *policyBody `json:"policy"`
	Attributes *attributes `json:"attributes"`
	Tags       vault.Tags  `json:"tags"`
	Value      string      `json:"value"` // of an import
	Password   string      `json:"pwd"`   // of an import
	Chain      [][]byte    `json:"x5c"`   // of a merge
}

// version is what the caller wrote about the version to come. Its dates are those
// of the certificate.
func (in certificateInput) version() (vault.Version, error) {
	v := vault.Version{Tags: in.Tags}
	if a := in.Attributes; a != nil && a.Enabled != nil {
		v.Disabled = !*a.Enabled
	}
	return v, v.Tags.Validate()
}

// put makes a certificate the newest version of a call's object.
func (c *call) put(why string, n safe.NewCertificate) (vault.Object, error) {
	var o vault.Object
	err := c.d.conf.Safe.Edit(c.r.Context(), c.actor(why), safe.Companions(c.target.ref), func(now []safe.Found) ([]safe.Edit, error) {
		edits, err := c.d.conf.Safe.Edits(now, n)
		if err == nil {
			o = *edits[0].Put
		}
		return edits, err
	})
	return o, err
}

func (c *call) importCertificate() (answer, error) {
	var in certificateInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	v, err := in.version()
	if err != nil {
		return answer{}, err
	}
	n := safe.NewCertificate{Name: c.target.name, Version: v}
	err = c.d.making.do(c.r.Context(), func() (err error) {
		var contentType string
		if n.Bundle, contentType, err = vault.ReadBundle(in.Value, in.Password); err != nil {
			return err
		}
		n.Policy, err = importPolicy(in.Policy, n.Bundle, contentType)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	o, err := c.put("imported "+c.what(), n)
	if err != nil {
		return answer{}, err
	}
	return ok(c.certificateBundleOf(o, o.Current))
}

// importPolicy describes a certificate that was brought along, with what the
// caller says of its secret and of its renewal.
func importPolicy(in *policyBody, b vault.Bundle, contentType string) (vault.Policy, error) {
	var said vault.Policy
	if in != nil {
		if err := in.write(&said); err != nil {
			return vault.Policy{}, err
		}
	}
	if said.ContentType != "" && said.ContentType != contentType {
		return vault.Policy{}, record.Invalid("the certificate is of the content type %s, and the policy says %.64q", contentType, said.ContentType)
	}
	p, err := vault.PolicyOf(b, contentType, said.Hidden)
	p.RenewPercent, p.RenewDays, p.ReuseKey = said.RenewPercent, said.RenewDays, said.ReuseKey
	if said.Issuer != "" {
		p.Issuer = said.Issuer
	}
	if p.Issuer != vault.IssuerSelf && p.Issuer != vault.IssuerUnknown {
		return vault.Policy{}, record.Invalid("there is no issuer %.64q here: want %s or %s", p.Issuer, vault.IssuerSelf, vault.IssuerUnknown)
	}
	return p, err
}

func (c *call) createCertificate() (answer, error) {
	var in certificateInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	v, err := in.version()
	if err != nil {
		return answer{}, err
	}
	policy := in.Policy
	var before *vault.Policy
	if policy == nil { // as it was made before
		o, err := c.certificate()
		if err != nil || o.Policy == nil {
			return answer{}, record.Invalid("the parameter policy must be there")
		}
		before = o.Policy
	}
	p, err := policy.onto(before, c.now)
	if err != nil {
		return answer{}, err
	}
	n := safe.NewCertificate{Name: c.target.name, Policy: *p, Version: v}
	reuse, err := c.d.conf.Safe.KeyOf(c.r.Context(), c.target.ref, n.Policy)
	if err != nil {
		return answer{}, err
	}
	var o vault.Object
	if p.Issuer == vault.IssuerSelf {
		err = c.d.making.do(c.r.Context(), func() (err error) {
			n, err = c.d.conf.Safe.Issue(n, reuse)
			return err
		})
		if err == nil {
			o, err = c.put("made "+c.what(), n)
		}
	} else {
		o, err = c.request(n, reuse)
	}
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusAccepted, c.pendingOf(o)}, nil
}

// noIssuers refuses to set up who would sign certificates.
func (c *call) noIssuers() (answer, error) {
	return answer{}, record.Invalid("there are the issuers %s and %s here, and no others can be set up", vault.IssuerSelf, vault.IssuerUnknown)
}

func (c *call) listIssuers() (answer, error) { return c.page(nil, "") }

func (c *call) noIssuer() (answer, error) {
	return answer{}, refuse(http.StatusNotFound, "IssuerNotFound", "", "Issuer not found.")
}

func (c *call) noContacts() (answer, error) {
	return answer{}, refuse(http.StatusNotFound, "ContactsNotFound", "", "Contacts not found. Nobody is written to from here.")
}
