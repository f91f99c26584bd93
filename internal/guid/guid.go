// Package guid is the one form of a globally unique identifier in this house.
// Each kind of id gets a type of its own, so that the compiler catches a
// tenant's id where a user's is wanted:
//
//	type ID = guid.Of[principal]
//
// There is one way in, Parse, and one spelling out: 36 characters, lower case,
// hyphens at the usual places (RFC 9562, section 4). Braces, spaces and missing
// hyphens are refused, so that one object never has two names.
package guid

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("not a GUID")

// Of is a GUID that names a thing of kind T. The zero value names nothing.
type Of[T any] [16]byte

// Parse returns the GUID written as s, in either letter case. The nil GUID is
// refused: it is our zero value, and a zero value must never be somebody.
func Parse[T any](s string) (Of[T], error) {
	var id Of[T]
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return Of[T]{}, fmt.Errorf("%.64q: %w", s, ErrInvalid)
	}
	var digits [32]byte
	n := copy(digits[:], s[0:8])
	n += copy(digits[n:], s[9:13])
	n += copy(digits[n:], s[14:18])
	n += copy(digits[n:], s[19:23])
	copy(digits[n:], s[24:36])
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return Of[T]{}, fmt.Errorf("%.64q: %w", s, ErrInvalid)
	}
	if id.IsZero() {
		return Of[T]{}, fmt.Errorf("%q is the nil GUID: %w", s, ErrInvalid)
	}
	return id, nil
}

// MustParse is Parse for constants; it panics on a bad one.
func MustParse[T any](s string) Of[T] {
	id, err := Parse[T](s)
	if err != nil {
		panic(err)
	}
	return id
}

// New returns a random GUID (version 4).
func New[T any]() Of[T] {
	var id Of[T]
	rand.Read(id[:]) // never fails: crypto/rand aborts the program instead
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Derived returns the GUID that follows from some texts (version 8): the same texts
// make the same one. No text may hold a zero byte, or two lists could be one.
func Derived[T any](parts ...string) Of[T] {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	var id Of[T]
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x80 // made from a custom hash (RFC 9562, section 5.8)
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IsZero reports whether id names nothing.
func (id Of[T]) IsZero() bool { return id == Of[T]{} }

// String returns the canonical spelling, or "" for the zero value.
func (id Of[T]) String() string {
	if id.IsZero() {
		return ""
	}
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// MarshalText implements encoding.TextMarshaler.
func (id Of[T]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. The empty text is the zero
// value; fields that must name something check IsZero.
func (id *Of[T]) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = Of[T]{}
		return nil
	}
	parsed, err := Parse[T](string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
