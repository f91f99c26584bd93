package azurerbac

import (
	"bytes"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// maxPattern bounds one operation; Azure's longest is below 200 characters.
const maxPattern = 512

// A Pattern is an operation in which each * stands for any run of characters,
// slashes included and none too, so that "*/read" is every read. A star that is a
// whole segment may also stand for no segment: Managed Identity Operator may
// userAssignedIdentities/*/assign/action, and Azure takes that for
// userAssignedIdentities/assign/action. Patterns are comparable. The zero Pattern
// matches nothing.
type Pattern struct{ text string } // lower case, no two stars in a row

// ParsePattern returns the pattern written as s, in any letter case.
func ParsePattern(s string) (Pattern, error) {
	if s == "" || len(s) > maxPattern {
		return Pattern{}, record.Invalid("operation %.80q: want 1 to %d characters", s, maxPattern)
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("./-_:*$~+(){}", c) >= 0:
		default:
			return Pattern{}, record.Invalid("operation %q: character %q", s, c)
		}
		if c == '*' && len(b) > 0 && b[len(b)-1] == '*' {
			continue
		}
		b = append(b, c)
	}
	for segment := range bytes.SplitSeq(b, []byte("/")) {
		if len(bytes.Trim(segment, ".")) == 0 {
			return Pattern{}, record.Invalid("operation %q: empty or dot segment", s)
		}
	}
	return Pattern{string(b)}, nil
}

// String returns the pattern in lower case.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern matches an operation, in any letter case.
// The empty operation is none: nothing matches it.
func (p Pattern) Match(action string) bool {
	if p.text == "" || action == "" {
		return false
	}
	w := newWildcard(p.text)
	return w.match([]byte(lower(action)))
}

// lower folds ASCII letters only: an operation with a foreign letter is not one
// that a role names.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// A wildcard is a pattern cut at its stars.
type wildcard struct {
	text   string
	prefix string
	suffix string
	middle [][]byte
	exact  bool // no star; prefix is all of it
	// literal keeps a star that is a whole segment from standing for no segment.
	literal bool
}

func newWildcard(text string) wildcard {
	pieces := strings.Split(text, "*")
	w := wildcard{text: text, prefix: pieces[0], exact: len(pieces) == 1}
	if w.exact {
		return w
	}
	w.suffix = pieces[len(pieces)-1]
	for _, mid := range pieces[1 : len(pieces)-1] {
		w.middle = append(w.middle, []byte(mid))
	}
	return w
}

// match takes each piece between stars at its leftmost place: if any
// arrangement fits, that one does, so that nothing is tried twice.
func (w *wildcard) match(action []byte) bool {
	if w.exact {
		return string(action) == w.prefix
	}
	if len(action) < len(w.prefix) || string(action[:len(w.prefix)]) != w.prefix {
		return false
	}
	at := len(w.prefix)
	for _, mid := range w.middle {
		from := w.shared(action, at, mid[0])
		i := bytes.Index(action[from:], mid)
		if i < 0 {
			return false
		}
		at = from + i + len(mid)
	}
	if w.suffix == "" {
		return true
	}
	from := len(action) - len(w.suffix)
	return from >= w.shared(action, at, w.suffix[0]) && string(action[from:]) == w.suffix
}

// shared is where the piece behind a star may begin when the piece before it ends
// at a place: both may share their slash, so that the star is no segment.
func (w *wildcard) shared(action []byte, at int, first byte) int {
	if !w.literal && first == '/' && at > 0 && action[at-1] == '/' {
		return at - 1
	}
	return at
}

// parsePatterns reads the operations of one list, of which each may have at
// most stars wildcards (negative: any number).
func parsePatterns(list []string, stars int) ([]Pattern, error) {
	if len(list) > maxPatterns {
		return nil, record.Invalid("%d operations, at most %d", len(list), maxPatterns)
	}
	patterns := make([]Pattern, len(list))
	for i, s := range list {
		p, err := ParsePattern(s)
		if err != nil {
			return nil, err
		}
		if n := strings.Count(s, "*"); stars >= 0 && n > stars {
			return nil, record.Invalid("operation %q: %d wildcards, at most %d", s, n, stars)
		}
		patterns[i] = p
	}
	return patterns, nil
}
