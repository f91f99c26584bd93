package keyvault

import (
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// policyBody is the policy of a certificate. What is not there is left as it was.
type policyBody struct {
	ID         string         `json:"id,omitzero"`
	Key        *keyProps      `json:"key_props,omitempty"`
	Secret     *secretProps   `json:"secret_props,omitempty"`
	X509       *x509Props     `json:"x509_props,omitempty"`
	Actions    []policyAction `json:"lifetime_actions,omitempty"`
	Issuer     *issuerProps   `json:"issuer,omitempty"`
	Attributes *attributes    `json:"attributes,omitempty"`
}

type keyProps struct {
	Exportable *bool  `json:"exportable,omitempty"`
	Kty        string `json:"kty,omitzero"`
	Size       int    `json:"key_size,omitzero"`
	Crv        string `json:"crv,omitzero"`
	Reuse      *bool  `json:"reuse_key,omitempty"`
}

type secretProps struct {
	ContentType string `json:"contentType,omitzero"`
}

type x509Props struct {
	Subject  *string  `json:"subject,omitempty"`
	SANs     *sans    `json:"sans,omitempty"`
	Extended []string `json:"ekus,omitempty"`
	Usages   []string `json:"key_usage,omitempty"`
	Months   int      `json:"validity_months,omitzero"`
}

type sans struct {
	DNS    []string `json:"dns_names,omitempty"`
	Emails []string `json:"emails,omitempty"`
	UPNs   []string `json:"upns,omitempty"`
	IPs    []string `json:"ipAddresses,omitempty"`
	URIs   []string `json:"uris,omitempty"`
}

type issuerProps struct {
	Name string `json:"name,omitzero"`
}

type policyAction struct {
	Trigger struct {
		Percent int `json:"lifetime_percentage,omitzero"`
		Days    int `json:"days_before_expiry,omitzero"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"action_type"`
	} `json:"action"`
}

// onto writes a policy over another, or over none, and completes it.
func (in *policyBody) onto(base *vault.Policy, now time.Time) (*vault.Policy, error) {
	var p vault.Policy
	if base != nil {
		p = *base
	}
	if in != nil {
		if err := in.write(&p); err != nil {
			return nil, err
		}
	}
	p, err := p.Complete()
	if err != nil {
		return nil, err
	}
	p.Updated = now.UTC().Truncate(time.Second)
	if p.Created.IsZero() {
		p.Created = p.Updated
	}
	return &p, nil
}

func (in *policyBody) write(p *vault.Policy) error {
	if k := in.Key; k != nil {
		p.Key = vault.KeySpec{Type: k.Kty, Size: k.Size, Curve: k.Crv}
		if k.Exportable != nil {
			p.Hidden = !*k.Exportable
		}
		if k.Reuse != nil {
			p.ReuseKey = *k.Reuse
		}
	}
	if in.Secret != nil {
		p.ContentType = in.Secret.ContentType
	}
	if in.Issuer != nil {
		p.Issuer = in.Issuer.Name
	}
	if x := in.X509; x != nil {
		if x.Subject != nil {
			p.Subject = *x.Subject
		}
		if s := x.SANs; s != nil {
			if len(s.UPNs)+len(s.IPs)+len(s.URIs) > 0 {
				return record.Invalid("alternative names are dns_names and emails here, not upns, ipAddresses or uris")
			}
			p.DNS, p.Emails = s.DNS, s.Emails
		}
		if x.Extended != nil {
			p.Extended = x.Extended
		}
		if x.Usages != nil {
			p.Usages = x.Usages
		}
		if x.Months != 0 {
			p.Months = x.Months
		}
	}
	if in.Actions != nil {
		p.RenewPercent, p.RenewDays = 0, 0
		for _, a := range in.Actions {
			switch {
			case strings.EqualFold(a.Action.Type, "AutoRenew"):
				p.RenewPercent, p.RenewDays = a.Trigger.Percent, a.Trigger.Days
			case !strings.EqualFold(a.Action.Type, "EmailContacts"): // nobody is written to from here
				return record.Invalid("the action %.32q is neither AutoRenew nor EmailContacts", a.Action.Type)
			}
		}
	}
	return nil
}

// policyOf writes the policy of a certificate.
func (c *call) policyOf(o vault.Object) *policyBody {
	p := o.Policy
	if p == nil {
		return nil
	}
	out := &policyBody{
		ID:     c.idOf(vault.Certificates, o, vault.ID{}) + "/policy",
		Key:    &keyProps{new(!p.Hidden), p.Key.Type, p.Key.Size, p.Key.Curve, new(p.ReuseKey)},
		Secret: &secretProps{p.ContentType},
		X509:   &x509Props{Subject: new(p.Subject), Extended: p.Extended, Usages: p.Usages, Months: p.Months},
		Issuer: &issuerProps{p.Issuer},
		Attributes: &attributes{
			Enabled: new(true), Created: p.Created.Unix(), Updated: p.Updated.Unix(),
		},
	}
	if len(p.DNS)+len(p.Emails) > 0 {
		out.X509.SANs = &sans{DNS: p.DNS, Emails: p.Emails}
	}
	if p.RenewPercent+p.RenewDays > 0 {
		a := policyAction{}
		a.Action.Type, a.Trigger.Percent, a.Trigger.Days = "AutoRenew", p.RenewPercent, p.RenewDays
		out.Actions = []policyAction{a}
	}
	return out
}

func (c *call) getPolicy() (answer, error) {
	o, err := c.certificate()
	if err != nil {
		return answer{}, err
	}
	return ok(c.policyOf(o))
}

// next is the policy of the call's certificate as it is to be. One that the next
// version could not be made by is refused now, and not when it is due.
func (c *call) next(in *policyBody, base *vault.Policy) (*vault.Policy, error) {
	p, err := in.onto(base, c.now)
	if err != nil {
		return nil, err
	}
	_, err = c.d.conf.Safe.KeyOf(c.r.Context(), c.target.ref, *p)
	return p, err
}

func (c *call) updatePolicy() (answer, error) {
	var in policyBody
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	var out vault.Object
	err := c.edit("policy of "+c.what(), func(now []safe.Found) ([]safe.Edit, error) {
		out = *now[0]
		if out.Deleted != nil {
			return nil, safe.ErrNotFound
		}
		var err error
		if out.Policy, err = c.next(&in, out.Policy); err != nil {
			return nil, err
		}
		return []safe.Edit{{Put: &out}, {}, {}}, nil
	})
	if err != nil {
		return answer{}, err
	}
	return ok(c.policyOf(out))
}
