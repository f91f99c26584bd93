package graph

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a filter: nobody needs more, and the work of a list is their product
// with the directory (DIR-15).
const (
	maxFilter = 2048 // bytes
	maxTerms  = 16
)

// A filter is what $filter says, in the part of OData 4 that clients of the
// directory use: terms joined with "and". A list of none lets everything pass.
//
//	term = field " eq " text | "startswith(" field "," text ")" | field "/any(" x ":" x " eq " text ")"
type filter []term

// How a term compares.
type comparison uint8

const (
	equals comparison = iota + 1
	startsWith
	anyEquals
)

type term struct {
	field string
	how   comparison
	value string
}

// parseFilter reads a filter, each byte once. An error comes with no filter.
func parseFilter(text string) (filter, error) {
	if len(text) > maxFilter || !utf8.ValidString(text) {
		return nil, fmt.Errorf("it is longer than %d bytes or not UTF-8", maxFilter)
	}
	p := parser{rest: text}
	var f filter
	for {
		t, err := p.term()
		if err != nil {
			return nil, fmt.Errorf("at position %d: %w", len(text)-len(p.rest), err)
		}
		if f = append(f, t); len(f) > maxTerms {
			return nil, fmt.Errorf("it has more than %d terms", maxTerms)
		}
		blank := p.blank()
		if p.rest == "" {
			return f, nil
		}
		if w := p.word(); w != "and" || !blank || !p.blank() {
			return nil, fmt.Errorf("at position %d: only 'and' joins terms", len(text)-len(p.rest))
		}
	}
}

type parser struct{ rest string }

func (p *parser) term() (term, error) {
	p.blank()
	field := p.word()
	switch {
	case field == "":
		return term{}, fmt.Errorf("want the name of a property")
	case field == "startswith" && p.eat("("):
		p.blank()
		if field = p.word(); field == "" {
			return term{}, fmt.Errorf("want the name of a property")
		}
		p.blank()
		if !p.eat(",") {
			return term{}, fmt.Errorf("want a comma")
		}
		p.blank()
		return p.close(term{field: field, how: startsWith})
	case p.eat("/"):
		if p.word() != "any" || !p.eat("(") {
			return term{}, fmt.Errorf("want any(")
		}
		p.blank()
		x := p.word()
		p.blank()
		if x == "" || !p.eat(":") {
			return term{}, fmt.Errorf("want a variable and a colon")
		}
		p.blank()
		if p.word() != x || !p.equal() {
			return term{}, fmt.Errorf("want the variable, and eq")
		}
		return p.close(term{field: field, how: anyEquals})
	case p.equal():
		value, err := p.text()
		return term{field, equals, value}, err
	}
	return term{}, fmt.Errorf("only eq, startswith and any are supported")
}

func (p *parser) equal() bool { return p.blank() && p.word() == "eq" && p.blank() }

func (p *parser) close(t term) (term, error) {
	value, err := p.text()
	if err != nil {
		return term{}, err
	}
	p.blank()
	if !p.eat(")") {
		return term{}, fmt.Errorf("want a closing parenthesis")
	}
	t.value = value
	return t, nil
}

func (p *parser) blank() bool {
	n := len(p.rest)
	p.rest = strings.TrimLeft(p.rest, " ")
	return len(p.rest) < n
}

func (p *parser) eat(s string) (ok bool) {
	p.rest, ok = strings.CutPrefix(p.rest, s)
	return ok
}

func (p *parser) word() string {
	n := 0
	for n < len(p.rest) && (p.rest[n]|0x20 >= 'a' && p.rest[n]|0x20 <= 'z' || n > 0 && p.rest[n] >= '0' && p.rest[n] <= '9') {
		n++
	}
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return w
}

// text reads a text in quotes, in which a quote is written twice.
func (p *parser) text() (string, error) {
	if !p.eat("'") {
		return "", fmt.Errorf("want a text in single quotes")
	}
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(p.rest, "'")
		if !ok {
			return "", fmt.Errorf("the text has no end")
		}
		b.WriteString(before)
		p.rest = after
		if !p.eat("'") {
			return b.String(), nil
		}
		b.WriteByte('\'')
	}
}

// String writes the filter as parseFilter reads it.
func (f filter) String() string {
	terms := make([]string, len(f))
	for i, t := range f {
		value := "'" + strings.ReplaceAll(t.value, "'", "''") + "'"
		switch t.how {
		case equals:
			terms[i] = t.field + " eq " + value
		case startsWith:
			terms[i] = "startswith(" + t.field + "," + value + ")"
		case anyEquals:
			terms[i] = t.field + "/any(x:x eq " + value + ")"
		}
	}
	return strings.Join(terms, " and ")
}

// check refuses properties that a kind cannot be searched by.
func (f filter) check(k *kind) error {
	for _, t := range f {
		_, single := k.texts[t.field]
		_, many := k.lists[t.field]
		if t.how == anyEquals && !many || t.how != anyEquals && !single {
			return fmt.Errorf("objects of %s cannot be filtered by %s of property '%s'", k.name, [...]string{equals: "eq", startsWith: "startswith", anyEquals: "any"}[t.how], t.field)
		}
	}
	return nil
}

// match reports whether an object passes. Letter case does not count, as in Entra.
func (f filter) match(k *kind, s *session, o any) bool {
	for _, t := range f {
		ok := false
		switch t.how {
		case equals:
			ok = strings.EqualFold(k.texts[t.field](o), t.value)
		case startsWith:
			ok = hasPrefixFold(k.texts[t.field](o), t.value)
		case anyEquals:
			for _, v := range k.lists[t.field](s, o) {
				ok = ok || strings.EqualFold(v, t.value)
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// hasPrefixFold compares rune by rune, because the two cases of a letter need not
// have the same number of bytes.
func hasPrefixFold(s, prefix string) bool {
	n := utf8.RuneCountInString(prefix)
	end := 0
	for range n {
		if end == len(s) {
			return false
		}
		_, size := utf8.DecodeRuneInString(s[end:])
		end += size
	}
	return strings.EqualFold(s[:end], prefix)
}
