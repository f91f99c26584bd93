package graph

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A body is the object that a client sent. Members are taken out as they are
// read; what is left at the end is what this house does not keep. Its errors never
// repeat a value: it may be a password.
type body struct {
	members map[string]jsontext.Value
	only    bool  // it came with one member
	err     error // the first
}

func (s *session) sent() *body {
	return readObject(s.body)
}

func readObject(text []byte) *body {
	b := &body{}
	if record.Unmarshal(text, &b.members) != nil || b.members == nil {
		b.err = bad("The body must be one JSON object.")
	}
	b.only = len(b.members) == 1
	return b
}

// take reads a member into v and reports whether it is there and not null.
func (b *body) take(name string, v any, what string) bool {
	text, ok := b.members[name]
	if !ok || b.err != nil {
		return false
	}
	delete(b.members, name)
	if text.Kind() == 'n' {
		return false
	}
	if record.Unmarshal(text, v) != nil {
		b.err = bad("The property '" + name + "' must be " + what + ".")
		return false
	}
	return true
}

func (b *body) text(name string) (v string, ok bool) {
	ok = b.take(name, &v, "a text")
	return v, ok
}

func (b *body) flag(name string, otherwise bool) bool {
	v := otherwise
	if !b.take(name, &v, "true or false") {
		return otherwise
	}
	return v
}

func (b *body) list(name string) (v []string, ok bool) {
	ok = b.take(name, &v, "a list of texts")
	return v, ok
}

// nested reads a member that is an object; nil means that there is none.
func (b *body) nested(name string) *body {
	var v jsontext.Value
	if !b.take(name, &v, "an object") {
		return nil
	}
	in := readObject(v)
	if in.err != nil {
		b.err = bad("The property '" + name + "' must be an object.")
	}
	return in
}

// nestedList reads a member that is a list of objects; nil means that there is none.
func (b *body) nestedList(name string) []*body {
	var list []jsontext.Value
	if !b.take(name, &list, "a list of objects") {
		return nil
	}
	out := make([]*body, len(list))
	for i, v := range list {
		if out[i] = readObject(v); out[i].err != nil && b.err == nil {
			b.err = bad("The property '" + name + "' must be a list of objects.")
		}
	}
	return out
}

// done returns the first error, or that of a member which this house would drop.
// Null and what is empty says nothing, and clients send much of it.
func (b *body) done() error {
	if b == nil {
		return nil
	}
	if b.err != nil {
		return b.err
	}
	for _, name := range slices.Sorted(maps.Keys(b.members)) {
		if strings.HasPrefix(name, "@odata.") {
			continue
		}
		switch text := b.members[name]; strings.Join(strings.Fields(string(text)), "") {
		case "null", "[]", "{}", `""`:
		default:
			return bad("Invalid property '" + serve.Printable(name, 64) + "': this house does not keep it, or it cannot be changed here.")
		}
	}
	return nil
}
