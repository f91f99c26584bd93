package arm

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// maxFilter bounds a $filter, in bytes.
const maxFilter = 2 << 10

// A term is one condition of a $filter: a function, as in atScope() and
// assignedTo('…'), or a comparison, as in roleName eq '…'.
type term struct {
	name  string // as it was written in the list of what is allowed
	value string
	bare  bool // a function without an argument
	eq    bool // a comparison
	// op compares with an instant, in the place of eq: ge or le.
	op string
}

func (t term) String() string {
	quoted := "'" + strings.ReplaceAll(t.value, "'", "''") + "'"
	switch {
	case t.bare:
		return t.name + "()"
	case t.eq:
		return t.name + " eq " + quoted
	case t.op != "":
		return t.name + " " + t.op + " " + quoted
	}
	return t.name + "(" + quoted + ")"
}

// A filter is the conjunction of its terms; without any it lets everything pass.
type filter []term

func (f filter) String() string {
	parts := make([]string, len(f))
	for i, t := range f {
		parts[i] = t.String()
	}
	return strings.Join(parts, " and ")
}

// get returns the value of a term, and whether there is one.
func (f filter) get(name string) (string, bool) {
	for _, t := range f {
		if t.name == name {
			return t.value, true
		}
	}
	return "", false
}

// parseFilter reads a $filter whose terms have the shapes of allowed, each at most
// once and joined by "and". It has no parentheses, so there is nothing to nest.
func parseFilter(text string, allowed ...term) (filter, error) {
	if len(text) > maxFilter {
		return nil, badFilter(text, allowed)
	}
	var f filter
	rest := strings.TrimSpace(text)
	for rest != "" {
		t, after, ok := parseTerm(rest, allowed)
		if !ok || slices.ContainsFunc(f, func(o term) bool { return o.name == t.name && o.op == t.op }) {
			return nil, badFilter(text, allowed)
		}
		f = append(f, t)
		rest = strings.TrimLeft(after, " ")
		if rest == "" {
			break
		}
		if len(rest) < 5 || !strings.EqualFold(rest[:4], "and ") || after == rest {
			return nil, badFilter(text, allowed)
		}
		if rest = strings.TrimLeft(rest[4:], " "); rest == "" {
			return nil, badFilter(text, allowed)
		}
	}
	return f, nil
}

func parseTerm(s string, allowed []term) (t term, rest string, ok bool) {
	n := 0
	for n < len(s) && ('a' <= s[n] && s[n] <= 'z' || 'A' <= s[n] && s[n] <= 'Z') {
		n++
	}
	i := slices.IndexFunc(allowed, func(a term) bool { return strings.EqualFold(a.name, s[:n]) })
	if i < 0 {
		return term{}, "", false
	}
	t, s = allowed[i], s[n:]
	if t.op != "" {
		return t.instant(s, allowed)
	}
	if t.bare {
		rest, ok = strings.CutPrefix(s, "()")
		return t, rest, ok
	}
	if t.eq {
		trimmed := strings.TrimLeft(s, " ")
		if trimmed == s || len(trimmed) < 3 || !strings.EqualFold(trimmed[:3], "eq ") {
			return term{}, "", false
		}
		s = strings.TrimLeft(trimmed[3:], " ")
		if t.value, rest, ok = bareWord(s); ok {
			return t, rest, ok
		}
		t.value, rest, ok = unquote(s)
		return t, rest, ok
	}
	if s, ok = strings.CutPrefix(s, "("); !ok {
		return term{}, "", false
	}
	if t.value, rest, ok = unquote(s); !ok {
		return term{}, "", false
	}
	rest, ok = strings.CutPrefix(rest, ")")
	return t, rest, ok
}

// instant reads the rest of a comparison with an instant, by whichever of the allowed
// ones it is. az writes the instant without quotes.
func (t term) instant(s string, allowed []term) (_ term, rest string, ok bool) {
	seg := strings.SplitN(strings.TrimLeft(s, " "), " ", 2)
	i := slices.IndexFunc(allowed, func(a term) bool { return a.name == t.name && strings.EqualFold(a.op, seg[0]) })
	if i < 0 || len(seg) < 2 || !strings.HasPrefix(s, " ") {
		return term{}, "", false
	}
	t, s = allowed[i], strings.TrimLeft(seg[1], " ")
	if t.value, rest, ok = unquote(s); ok {
		return t, rest, true
	}
	t.value, rest, _ = strings.Cut(s, " ")
	if rest != "" {
		rest = " " + rest
	}
	return t, rest, t.value != "" && !strings.ContainsAny(t.value, "'()")
}

// bareWord reads a value without quotes, as the documentation writes ids.
func bareWord(s string) (value, rest string, ok bool) {
	n := 0
	for n < len(s) && (s[n] == '-' || '0' <= s[n] && s[n] <= '9' || 'a' <= s[n] && s[n] <= 'z' || 'A' <= s[n] && s[n] <= 'Z') {
		n++
	}
	return s[:n], s[n:], n > 0
}

// unquote reads a text in single quotes, in which two stand for one.
func unquote(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '\'' {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), s[i+1:], true
	}
	return "", "", false
}

func badFilter(text string, allowed []term) error {
	parts := make([]string, len(allowed))
	for i, t := range allowed {
		t.value = "…"
		parts[i] = t.String()
	}
	return serve.Refuse(http.StatusBadRequest, "InvalidFilterInQueryString", fmt.Sprintf(
		"The filter '%s' is not supported. Supported here, joined by 'and': %s.", serve.Printable(text, 100), strings.Join(parts, ", ")))
}
