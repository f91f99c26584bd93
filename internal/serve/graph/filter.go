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
	maxTerms  = 32   // comparisons, each value of "in" one
	maxDepth  = 16   // of brackets and "not"
)

// A filter is what $filter says, in the part of OData 4 that clients of the
// directory use. nil lets everything pass.
//
//	or   = and *( " or " and )
//	and  = not *( " and " not )
//	not  = "not " not | "(" or ")" | term
//	term = field ( " eq " | " ne " ) value | field " in (" value *( "," value ) ")"
//	     | ( "startswith" | "endswith" | "contains" ) "(" field "," text ")"
//	     | field "/any(" x ":" x " eq " text ")" | field "/any(" x ":startswith(" x "," text "))"
type filter struct {
	op     op
	kids   []*filter // of or, and, not
	field  string
	values []value // one, but of in
}

type op uint8

const (
	opOr op = iota + 1
	opAnd
	opNot
	opEquals
	opDiffers
	opIn
	opStarts
	opEnds
	opContains
	opAnyEquals
	opAnyStarts
)

// A value is a text, true or false, or null.
type value struct {
	text string
	kind valueKind
}

type valueKind uint8

const (
	isText valueKind = iota
	isFlag           // text is "true" or "false"
	isNull
)

// parseFilter reads a filter, each byte once. An error comes with no filter.
func parseFilter(text string) (*filter, error) {
	if len(text) > maxFilter || !utf8.ValidString(text) {
		return nil, fmt.Errorf("it is longer than %d bytes or not UTF-8", maxFilter)
	}
	p := parser{rest: text}
	f, err := p.or(0)
	if err == nil {
		if p.blank(); p.rest != "" {
			err = fmt.Errorf("only 'and' and 'or' join terms")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("at position %d: %w", len(text)-len(p.rest), err)
	}
	return f, nil
}

type parser struct {
	rest  string
	terms int
}

func (p *parser) or(depth int) (*filter, error) { return p.joined("or", opOr, depth, p.and) }

func (p *parser) and(depth int) (*filter, error) { return p.joined("and", opAnd, depth, p.not) }

// joined reads what is joined by a word.
func (p *parser) joined(word string, as op, depth int, part func(int) (*filter, error)) (*filter, error) {
	var kids []*filter
	for {
		kid, err := part(depth)
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
		before := *p
		if p.blank() && p.word() == word && (p.blank() || strings.HasPrefix(p.rest, "(")) {
			continue
		}
		*p = before
		if len(kids) == 1 {
			return kid, nil
		}
		return &filter{op: as, kids: kids}, nil
	}
}

func (p *parser) not(depth int) (*filter, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	p.blank()
	if p.eat("(") {
		f, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		p.blank()
		if !p.eat(")") {
			return nil, fmt.Errorf("want a closing bracket")
		}
		return f, nil
	}
	before := *p
	if p.word() == "not" && (p.blank() || strings.HasPrefix(p.rest, "(")) {
		kid, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return &filter{op: opNot, kids: []*filter{kid}}, nil
	}
	*p = before
	return p.term()
}

// functions are those of a property and a text.
var functions = map[string]op{"startswith": opStarts, "endswith": opEnds, "contains": opContains}

func (p *parser) term() (*filter, error) {
	field := p.word()
	switch {
	case field == "":
		return nil, fmt.Errorf("want the name of a property")
	case functions[field] != 0 && p.eat("("):
		return p.function(functions[field])
	case p.eat("/"):
		return p.any(field)
	case !p.blank():
		return nil, fmt.Errorf("want a comparison")
	}
	var as op
	switch word := p.word(); word {
	case "eq":
		as = opEquals
	case "ne":
		as = opDiffers
	case "in":
		return p.in(field)
	default:
		return nil, fmt.Errorf("of comparisons, eq, ne, in, startswith, endswith, contains and any are supported")
	}
	if !p.blank() {
		return nil, fmt.Errorf("want a value")
	}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	return p.made(&filter{op: as, field: field, values: []value{v}})
}

// function reads the rest of name(field,'text').
func (p *parser) function(as op) (*filter, error) {
	p.blank()
	field := p.word()
	p.blank()
	if field == "" || !p.eat(",") {
		return nil, fmt.Errorf("want the name of a property and a comma")
	}
	p.blank()
	text, err := p.text()
	if err != nil {
		return nil, err
	}
	if p.blank(); !p.eat(")") {
		return nil, fmt.Errorf("want a closing bracket")
	}
	return p.made(&filter{op: as, field: field, values: []value{{text: text}}})
}

// any reads the rest of field/any(x:x eq 'text'), or of field/any(x:startswith(x,'text')).
func (p *parser) any(field string) (*filter, error) {
	if p.word() != "any" || !p.eat("(") {
		return nil, fmt.Errorf("want any(")
	}
	p.blank()
	x := p.word()
	p.blank()
	if x == "" || !p.eat(":") {
		return nil, fmt.Errorf("want a variable and a colon")
	}
	p.blank()
	f := &filter{op: opAnyEquals, field: field}
	switch word := p.word(); {
	case word == x && p.blank() && p.word() == "eq" && p.blank():
		text, err := p.text()
		if err != nil {
			return nil, err
		}
		f.values = []value{{text: text}}
	case word == "startswith" && p.eat("("):
		in, err := p.function(opAnyStarts)
		if err != nil {
			return nil, err
		}
		if in.field != x {
			return nil, fmt.Errorf("want the variable")
		}
		in.field = field
		p.terms--
		f = in
	default:
		return nil, fmt.Errorf("want the variable, and eq or startswith")
	}
	if p.blank(); !p.eat(")") {
		return nil, fmt.Errorf("want a closing bracket")
	}
	return p.made(f)
}

// in reads the rest of field in ('a','b').
func (p *parser) in(field string) (*filter, error) {
	f := &filter{op: opIn, field: field}
	if p.blank(); !p.eat("(") {
		return nil, fmt.Errorf("want an opening bracket")
	}
	for {
		p.blank()
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		f.values = append(f.values, v)
		p.blank()
		switch {
		case p.eat(","):
		case p.eat(")"):
			return p.made(f)
		default:
			return nil, fmt.Errorf("want a comma or a closing bracket")
		}
	}
}

func (p *parser) made(f *filter) (*filter, error) {
	if p.terms += len(f.values); p.terms > maxTerms {
		return nil, fmt.Errorf("it has more than %d terms", maxTerms)
	}
	return f, nil
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
	for n < len(p.rest) && (letter(p.rest[n]) || n > 0 && digit(p.rest[n])) {
		n++
	}
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return w
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

// value reads a text in quotes, an id without them, true, false or null.
func (p *parser) value() (value, error) {
	if strings.HasPrefix(p.rest, "'") {
		text, err := p.text()
		return value{text: text}, err
	}
	n := 0
	for n < len(p.rest) && (letter(p.rest[n]) || digit(p.rest[n]) || p.rest[n] == '-') {
		n++
	}
	bare := p.rest[:n]
	switch {
	case bare == "true" || bare == "false":
		p.rest = p.rest[n:]
		return value{bare, isFlag}, nil
	case bare == "null":
		p.rest = p.rest[n:]
		return value{"", isNull}, nil
	case len(bare) == 36 && isID(bare):
		p.rest = p.rest[n:]
		return value{text: bare}, nil
	}
	return value{}, fmt.Errorf("want a text in single quotes, true, false or null")
}

// text reads a text in quotes, in which a quote is written twice. az does not do
// that, so a quote between two letters or digits, as in O'Neil, is one of the text
// as well: behind the end of a text there is never a letter, so that it has no
// other reading.
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
		switch {
		case p.eat("'"):
		case before != "" && alnum(before[len(before)-1]) && after != "" && alnum(after[0]):
		default:
			return b.String(), nil
		}
		b.WriteByte('\'')
	}
}

// alnum takes every byte of a letter that is not ASCII for one.
func alnum(c byte) bool { return letter(c) || digit(c) || c >= utf8.RuneSelf }

// String writes the filter as parseFilter reads it.
func (f *filter) String() string {
	if f == nil {
		return ""
	}
	quoted := func(v value) string {
		if v.kind == isText {
			return "'" + strings.ReplaceAll(v.text, "'", "''") + "'"
		}
		if v.kind == isNull {
			return "null"
		}
		return v.text
	}
	switch f.op {
	case opOr, opAnd:
		word := map[op]string{opOr: " or ", opAnd: " and "}[f.op]
		parts := make([]string, len(f.kids))
		for i, kid := range f.kids {
			parts[i] = kid.String()
			if kid.op == opOr || kid.op == opAnd {
				parts[i] = "(" + parts[i] + ")"
			}
		}
		return strings.Join(parts, word)
	case opNot:
		if kid := f.kids[0]; kid.op == opOr || kid.op == opAnd {
			return "not (" + kid.String() + ")"
		}
		return "not " + f.kids[0].String()
	case opEquals:
		return f.field + " eq " + quoted(f.values[0])
	case opDiffers:
		return f.field + " ne " + quoted(f.values[0])
	case opIn:
		list := make([]string, len(f.values))
		for i, v := range f.values {
			list[i] = quoted(v)
		}
		return f.field + " in (" + strings.Join(list, ",") + ")"
	case opAnyEquals:
		return f.field + "/any(x:x eq " + quoted(f.values[0]) + ")"
	case opAnyStarts:
		return f.field + "/any(x:startswith(x," + quoted(f.values[0]) + "))"
	}
	for name, as := range functions {
		if as == f.op {
			return name + "(" + f.field + "," + quoted(f.values[0]) + ")"
		}
	}
	return ""
}
