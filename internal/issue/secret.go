package issue

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

// A Secret is a credential in memory. It holds a pointer, so that printing a
// struct with a Secret in an unexported field, whose methods fmt cannot call,
// shows an address. The zero Secret is no secret at all.
type Secret struct{ value *string }

// NewSecret returns s as a Secret; the empty text is no secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.value == nil }

// Reveal returns the text. Whoever calls it answers for where the text goes.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Format implements fmt.Formatter: a secret does not print.
func (Secret) Format(w fmt.State, _ rune) { io.WriteString(w, "[secret]") }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// randomText returns n random bytes as base64url. Everything that this package
// hands out has at least 16 of them, which nobody guesses; that is why a plain
// SHA-256 is enough to keep such a text at rest, whereas passwords, which people
// choose, need a slow hash.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand aborts the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// digest is the form in which a text of ours is stored and looked up. The purpose
// keeps a text of one sort from being found as another.
func digest(purpose, text string) string {
	h := sha256.New()
	io.WriteString(h, purpose)
	h.Write([]byte{0})
	io.WriteString(h, text)
	return hex.EncodeToString(h.Sum(nil))
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
