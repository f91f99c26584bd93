package vault

import (
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Attributes say whether and when a version is good. Instants are whole seconds.
type Attributes struct {
	Disabled  bool      `json:"disabled,omitzero"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
}

// Validate checks that the end does not come before the beginning.
func (a Attributes) Validate() error {
	if !a.NotBefore.IsZero() && !a.Expires.IsZero() && a.Expires.Before(a.NotBefore) {
		return record.Invalid("it would expire at %s, before it is valid from %s", a.Expires.Format(time.RFC3339), a.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// Enabled refuses what is disabled.
func (a Attributes) Enabled() error {
	if a.Disabled {
		return ErrDisabled
	}
	return nil
}

// Valid refuses what is disabled, and what is not good at an instant.
func (a Attributes) Valid(now time.Time) error {
	switch {
	case a.Disabled:
		return ErrDisabled
	case !a.NotBefore.IsZero() && now.Before(a.NotBefore):
		return ErrNotYetValid
	case !a.Expires.IsZero() && !now.Before(a.Expires):
		return ErrExpired
	}
	return nil
}

// Touched returns the attributes with the instant of their last change.
func (a Attributes) Touched(now time.Time) Attributes {
	a.Updated = now.UTC().Truncate(time.Second)
	if a.Created.IsZero() {
		a.Created = a.Updated
	}
	return a
}

// Tags are what people stick on a version, name to value.
type Tags map[string]string

const (
	maxTags = 15
	maxTag  = 256
)

// Validate checks the number of tags and how long they are.
func (t Tags) Validate() error {
	if len(t) > maxTags {
		return record.Invalid("%d tags, at most %d", len(t), maxTags)
	}
	for name, value := range t {
		if name == "" || len(name) > maxTag || len(value) > maxTag {
			return record.Invalid("tag %.80q: name and value have at most %d characters, and the name one", name, maxTag)
		}
	}
	return nil
}

// Retention is how a vault treats what is deleted.
type Retention struct {
	// ForDays is how long it can be recovered; 0 is 90.
	ForDays int
	// PurgeProtection keeps it for all of that time.
	PurgeProtection bool
}

// How many days what is deleted can be recovered.
const (
	MinRetention = 7
	MaxRetention = 90
)

// Days is how long what is deleted can be recovered, within the bounds.
func (r Retention) Days() int {
	if r.ForDays == 0 {
		return MaxRetention
	}
	return min(max(r.ForDays, MinRetention), MaxRetention)
}

// Level is the word of Key Vault for it.
func (r Retention) Level() string {
	level := "Recoverable"
	if r.Days() < MaxRetention {
		level = "CustomizedRecoverable"
	}
	if !r.PurgeProtection {
		level += "+Purgeable"
	}
	return level
}
