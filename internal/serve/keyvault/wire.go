package keyvault

import (
	"net/http"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// attributes are those of any object, as clients write and read them. Instants
// are seconds since 1970.
type attributes struct {
	Enabled         *bool  `json:"enabled,omitempty"`
	NotBefore       *int64 `json:"nbf,omitempty"`
	Expires         *int64 `json:"exp,omitempty"`
	Created         int64  `json:"created,omitzero"`
	Updated         int64  `json:"updated,omitzero"`
	RecoveryLevel   string `json:"recoveryLevel,omitzero"`
	RecoverableDays int    `json:"recoverableDays,omitzero"`
	// Exportable is a key's. There are none that are.
	Exportable *bool `json:"exportable,omitempty"`
}

func seconds(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.Unix())
}

// attributesOf writes the attributes of a version.
func (c *call) attributesOf(a vault.Attributes) attributes {
	if a.Created.IsZero() { // a certificate that is still awaited
		return attributes{}
	}
	return attributes{
		Enabled: new(!a.Disabled), NotBefore: seconds(a.NotBefore), Expires: seconds(a.Expires),
		Created: a.Created.Unix(), Updated: a.Updated.Unix(),
		RecoveryLevel: c.vault.Retention.Level(), RecoverableDays: c.vault.Retention.Days(),
	}
}

// onto changes what the caller wrote, and leaves the rest.
func (in *attributes) onto(a vault.Attributes) (vault.Attributes, error) {
	if in == nil {
		return a, nil
	}
	if in.Exportable != nil && *in.Exportable {
		return vault.Attributes{}, record.Invalid("no key can be exported from here")
	}
	if in.Enabled != nil {
		a.Disabled = !*in.Enabled
	}
	for _, one := range []struct {
		from *int64
		to   *time.Time
	}{{in.NotBefore, &a.NotBefore}, {in.Expires, &a.Expires}} {
		if one.from == nil {
			continue
		}
		const last = 253402300799 // the end of the year 9999
		if *one.from < 0 || *one.from > last {
			return vault.Attributes{}, record.Invalid("nbf and exp are seconds since 1970, not %d", *one.from)
		}
		*one.to = time.Unix(*one.from, 0).UTC()
	}
	return a, a.Validate()
}

// id is the name of a version, or without one of the object, on the vault's own
// host: whichever way a client came, an object has one id, and SDKs take it apart.
func (c *call) idOf(kind vault.Kind, o vault.Object, version vault.ID) string {
	id := "https://" + c.name + Suffix + "/" + string(kind) + "/" + o.Name
	if !version.IsZero() {
		id += "/" + version.String()
	}
	return id
}

// item is an object or a version in a list.
type item struct {
	ID          string     `json:"id,omitzero"`
	KID         string     `json:"kid,omitzero"` // of keys, instead of id
	Thumbprint  string     `json:"x5t,omitzero"`
	ContentType string     `json:"contentType,omitzero"`
	Attributes  attributes `json:"attributes"`
	Tags        vault.Tags `json:"tags,omitempty"`
	Managed     bool       `json:"managed,omitzero"`
	deletion
}

// deletion is what is told of what is deleted.
type deletion struct {
	RecoveryID     string `json:"recoveryId,omitzero"`
	Deleted        int64  `json:"deletedDate,omitzero"`
	ScheduledPurge int64  `json:"scheduledPurgeDate,omitzero"`
}

func (c *call) deletionOf(kind vault.Kind, o vault.Object) deletion {
	if o.Deleted == nil {
		return deletion{}
	}
	return deletion{
		RecoveryID: "https://" + c.name + Suffix + "/deleted" + string(kind) + "/" + o.Name,
		Deleted:    o.Deleted.At.Unix(), ScheduledPurge: o.Deleted.Until.Unix(),
	}
}

// itemOf writes a version for a list; without withVersion it stands for the object.
func (c *call) itemOf(o vault.Object, v vault.Version, withVersion bool) item {
	kind := c.target.ref.Kind
	id := c.idOf(kind, o, vault.ID{})
	if withVersion {
		id = c.idOf(kind, o, v.ID)
	}
	out := item{Attributes: c.attributesOf(v.Attributes), Tags: v.Tags, Managed: o.Managed, deletion: c.deletionOf(kind, o)}
	switch kind {
	case vault.Keys:
		out.KID = id
	case vault.Certificates:
		out.ID, out.Thumbprint = id, thumbprint(v)
	default:
		out.ID, out.ContentType = id, v.ContentType
	}
	return out
}

// bundleOf writes a version of an object without anything secret.
func (c *call) bundleOf(o vault.Object, v vault.Version) (any, error) {
	switch c.target.ref.Kind {
	case vault.Keys:
		return c.keyBundleOf(o, v)
	case vault.Certificates:
		return c.certificateBundleOf(o, v), nil
	}
	return c.secretBundleOf(o, v), nil
}

func (c *call) answerBundle(o vault.Object, v vault.Version) (answer, error) {
	body, err := c.bundleOf(o, v)
	return answer{http.StatusOK, body}, err
}
