// Package vault models what a key vault holds: secrets, keys and certificates,
// their versions, what each may be used for, and how they are deleted, recovered
// and purged. It knows no protocol and keeps nothing.
//
// A secret's value and a private key are never part of an Object: they are kept
// apart, so that what is listed, copied or logged cannot hold them.
package vault

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Kind is one of the three collections of a vault.
type Kind string

// The kinds.
const (
	Secrets      Kind = "secrets"
	Keys         Kind = "keys"
	Certificates Kind = "certificates"
)

// Singular is the kind's word for one of it.
func (k Kind) Singular() string { return strings.TrimSuffix(string(k), "s") }

// Errors that callers branch on. Test for them with errors.Is. What is malformed
// is record.ErrInvalid.
var (
	// ErrDeleted says that an object is deleted, and its name taken until it is
	// recovered or purged.
	ErrDeleted = errors.New("it is deleted but recoverable")
	// ErrManaged says that a key or secret belongs to a certificate.
	ErrManaged = errors.New("it belongs to a certificate")
	// ErrDisabled, ErrNotYetValid and ErrExpired say why something may not be used.
	ErrDisabled    = errors.New("it is disabled")
	ErrNotYetValid = errors.New("it is not valid yet")
	ErrExpired     = errors.New("it has expired")
	// ErrNotPermitted says that a key is not for the operation.
	ErrNotPermitted = errors.New("the key does not permit it")
	// ErrProtected says that the vault lets nobody purge before the time.
	ErrProtected = errors.New("the vault protects what is deleted from being purged")
)

// A Name is what an object is called in its vault: 1 to 127 letters, digits and
// hyphens. Letter case makes no difference. The zero Name is none.
type Name struct{ text string } // lower case

const maxName = 127

// ParseName returns the name written as text.
func ParseName(text string) (Name, error) {
	if text == "" || len(text) > maxName {
		return Name{}, record.Invalid("a name has 1 to %d characters, this one %d", maxName, len(text))
	}
	for i := range len(text) {
		c := text[i] | 0x20
		if ('a' > c || c > 'z') && ('0' > text[i] || text[i] > '9') && text[i] != '-' {
			return Name{}, record.Invalid("name %.127q: want letters, digits and hyphens alone", text)
		}
	}
	return Name{strings.ToLower(text)}, nil
}

// String returns the name in lower case.
func (n Name) String() string { return n.text }

// An ID is 32 hexadecimal digits drawn at random: of a version, or of an object
// as distinct from others that had its name before. The zero ID is none.
type ID struct{ text string }

const idLen = 32

// NewID returns a fresh id.
func NewID() ID {
	var b [idLen / 2]byte
	rand.Read(b[:]) // never fails
	return ID{hex.EncodeToString(b[:])}
}

// ParseID returns the id written as text, in either letter case.
func ParseID(text string) (ID, error) {
	if _, err := hex.DecodeString(text); err != nil || len(text) != idLen {
		return ID{}, record.Invalid("version %.64q: want %d hexadecimal digits", text, idLen)
	}
	return ID{strings.ToLower(text)}, nil
}

// IsZero reports whether there is no id.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the 32 digits, or "".
func (id ID) String() string { return id.text }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	*id, err = ParseID(string(text))
	return err
}

// A Ref names an object: in which vault, of which kind, and its name.
type Ref struct {
	Vault scope.Scope
	Kind  Kind
	Name  Name
}

// Scope is the place at which access to the object can be granted.
func (r Ref) Scope() scope.Scope {
	at, err := scope.Parse(r.Vault.String() + "/" + string(r.Kind) + "/" + r.Name.text)
	if err != nil {
		return scope.Scope{} // no vault, or no name: no grant reaches it
	}
	return at
}
