package condition

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Value is what an attribute holds: one or more strings, whole numbers or
// GUIDs, or a truth value, or an instant. The zero Value, and a set without
// members, is an absent attribute: "every member of nothing" must not be true.
type Value struct{ atoms []atom }

type kind string

const (
	kindString kind = "string"
	kindNumber kind = "number"
	kindBool   kind = "boolean"
	kindTime   kind = "date and time"
	kindGUID   kind = "GUID"
)

// An atom is one scalar. Only the field of its kind is set, except that the
// literals of a condition also keep their compiled pattern.
type atom struct {
	kind kind
	text string
	num  int64
	yes  bool
	when time.Time
	id   [16]byte
	like *pattern
}

// String returns a string, or a set of strings. Strings also serve where a GUID
// or an instant is compared, when they are spelled like one.
func String(members ...string) Value {
	atoms := make([]atom, len(members))
	for i, s := range members {
		atoms[i] = atom{kind: kindString, text: s}
	}
	return Value{atoms}
}

// Number returns a whole number, or a set of them.
func Number(members ...int64) Value {
	atoms := make([]atom, len(members))
	for i, n := range members {
		atoms[i] = atom{kind: kindNumber, num: n}
	}
	return Value{atoms}
}

// GUID returns a GUID, or a set of them.
func GUID(members ...[16]byte) Value {
	atoms := make([]atom, len(members))
	for i, id := range members {
		atoms[i] = atom{kind: kindGUID, id: id}
	}
	return Value{atoms}
}

// Bool returns a truth value.
func Bool(b bool) Value { return Value{[]atom{{kind: kindBool, yes: b}}} }

// Time returns an instant.
func Time(t time.Time) Value { return Value{[]atom{{kind: kindTime, when: t}}} }

// as returns a as a value of kind k.
func (a atom) as(k kind) (atom, error) {
	switch {
	case a.kind == kindString && !utf8.ValidString(a.text):
		return atom{}, fmt.Errorf("%w: a string that is not UTF-8", ErrType)
	case a.kind == k:
		return a, nil
	case a.kind == kindString && k == kindGUID:
		if id, ok := parseGUID(a.text); ok {
			return atom{kind: k, id: id}, nil
		}
	case a.kind == kindString && k == kindTime:
		if t, ok := parseTime(a.text); ok {
			return atom{kind: k, when: t}, nil
		}
	}
	return atom{}, fmt.Errorf("%w: a %s where a %s is compared", ErrType, a.kind, k)
}

// parseGUID accepts 36 characters with hyphens or 32 without: Azure's own roles
// use both. The nil GUID is a value here, as it is to Azure.
func parseGUID(s string) (id [16]byte, ok bool) {
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		s = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	}
	if len(s) != 32 {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}

func formatGUID(id [16]byte) string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// parseTime accepts yyyy-mm-ddThh:mm:ss[.fffffffff]Z and nothing that
// time.Parse takes besides: offsets, a decimal comma, hours of one digit.
func parseTime(s string) (time.Time, bool) {
	const shape = "0000-00-00T00:00:00"
	frac, zulu := strings.CutSuffix(s, "Z")
	if !zulu || len(frac) < len(shape) || len(frac) > len(shape)+10 {
		return time.Time{}, false
	}
	for i := range len(frac) {
		c := frac[i]
		switch digit := '0' <= c && c <= '9'; {
		case i < len(shape) && shape[i] == '0', i > len(shape):
			if !digit {
				return time.Time{}, false
			}
		case i < len(shape) && c != shape[i], i == len(shape) && c != '.':
			return time.Time{}, false
		}
	}
	t, err := time.Parse("2006-01-02T15:04:05.999999999Z", s)
	return t, err == nil
}

// fold makes strings that differ in letter case alone equal, as .NET's ordinal
// comparison does: character by character, and no foreign letter ever becomes
// an ASCII one, so that the Kelvin sign is not "k".
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			if 'a' <= r && r <= 'z' {
				r -= 'a' - 'A'
			}
			return r
		}
		if up := unicode.ToUpper(r); up >= utf8.RuneSelf {
			return up
		}
		return r
	}, s)
}

// lower folds ASCII letters only; operations and attribute names are ASCII.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// caseSensitive ends the name of an attribute whose key, the part behind the
// first colon, keeps its letter case.
const caseSensitive = "<$key_case_sensitive$>"

// CanonicalName returns the one spelling of an attribute's name that
// Input.Attribute is asked for: lower case, but for the key of a name like
// ".../blobs/tags:Project<$key_case_sensitive$>".
func CanonicalName(name string) string {
	if i := len(name) - len(caseSensitive); i > 0 && lower(name[i:]) == caseSensitive {
		if space, key, ok := strings.Cut(name[:i], ":"); ok {
			return lower(space) + ":" + key + caseSensitive
		}
	}
	return lower(name)
}
