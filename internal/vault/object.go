package vault

import (
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// An Object is a secret, key or certificate as it is now, without what is secret
// about it. Older versions are kept beside it.
type Object struct {
	// Name has the letters in which it was first written.
	Name string `json:"name"`
	// Line tells the object from others that had its name before.
	Line ID `json:"line"`
	// Current is the newest version; zero while a first certificate is awaited.
	Current Version `json:"current,omitzero"`
	// Managed is set for the key and the secret of a certificate.
	Managed bool      `json:"managed,omitzero"`
	Deleted *Deletion `json:"deleted,omitempty"`
	// Rotation is a key's.
	Rotation *RotationPolicy `json:"rotation,omitempty"`
	// Policy and Pending are a certificate's.
	Policy  *Policy  `json:"policy,omitempty"`
	Pending *Pending `json:"pending,omitempty"`
}

// A Version is one value that an object had or has.
type Version struct {
	ID ID `json:"id"`
	Attributes
	Tags Tags `json:"tags,omitzero"`
	// ContentType is a secret's.
	ContentType string `json:"contentType,omitzero"`
	// Key is what everybody may know of a key.
	Key *PublicKey `json:"key,omitempty"`
	// Certificate is the DER of a certificate.
	Certificate []byte `json:"certificate,omitempty"`
}

// IsZero reports whether there is no version.
func (v Version) IsZero() bool { return v.ID.IsZero() }

// A Deletion says when an object was deleted, and when that becomes final.
type Deletion struct {
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	// Protected is set when the vault let nobody purge it then. It stays so, whatever
	// becomes of the vault.
	Protected bool `json:"protected,omitzero"`
}

// NewObject returns an object without a version.
func NewObject(name string) (Object, error) {
	if _, err := ParseName(name); err != nil {
		return Object{}, err
	}
	return Object{Name: name, Line: NewID()}, nil
}

// Gone reports whether the object's time to be recovered is over: it is as good
// as purged.
func (o Object) Gone(now time.Time) bool { return o.Deleted != nil && !now.Before(o.Deleted.Until) }

// Live refuses an object that is deleted.
func (o Object) Live() error {
	if o.Deleted != nil {
		return fmt.Errorf("%s: %w", o.Name, ErrDeleted)
	}
	return nil
}

// Own refuses to change by itself what belongs to a certificate.
func (o Object) Own() error {
	if o.Managed {
		return fmt.Errorf("%s: %w", o.Name, ErrManaged)
	}
	return nil
}

// Add returns the object with another newest version.
func (o Object) Add(v Version) (Object, error) {
	if err := o.Live(); err != nil {
		return Object{}, err
	}
	if err := v.Validate(); err != nil {
		return Object{}, err
	}
	o.Current = v
	return o, nil
}

// Delete returns the object deleted.
func (o Object) Delete(now time.Time, r Retention) (Object, error) {
	if err := o.Live(); err != nil {
		return Object{}, err
	}
	now = now.UTC().Truncate(time.Second)
	o.Deleted = &Deletion{At: now, Until: now.AddDate(0, 0, r.Days()), Protected: r.PurgeProtection}
	return o, nil
}

// Recover returns the object as it was before it was deleted.
func (o Object) Recover() (Object, error) {
	if o.Deleted == nil {
		return Object{}, record.Invalid("%s is not deleted", o.Name)
	}
	o.Deleted = nil
	return o, nil
}

// Purgeable refuses to remove an object for good: one that is not deleted, and
// one whose vault protects it, or did when it was deleted, until its time is over.
func (o Object) Purgeable(now time.Time, r Retention) error {
	if o.Deleted == nil {
		return record.Invalid("%s is not deleted", o.Name)
	}
	if (r.PurgeProtection || o.Deleted.Protected) && !o.Gone(now) {
		return fmt.Errorf("%s: %w", o.Name, ErrProtected)
	}
	return nil
}

// Validate checks a version by itself.
func (v Version) Validate() error {
	if v.ID.IsZero() {
		return record.Invalid("a version without id")
	}
	if len(v.ContentType) > maxContentType {
		return record.Invalid("the content type has %d characters, at most %d", len(v.ContentType), maxContentType)
	}
	if err := v.Tags.Validate(); err != nil {
		return err
	}
	return v.Attributes.Validate()
}

const (
	maxContentType = 255
	// MaxValue is how many bytes the value of a secret has at most.
	MaxValue = 25 * 1024
)
