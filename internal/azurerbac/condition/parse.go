package condition

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A parser reads tokens by recursive descent.
type parser struct {
	tokens []token // the end token is never consumed
	depth  int
}

func parse(text string) (node, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	n, err := p.expr()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != end {
		return nil, fmt.Errorf("at byte %d: unexpected %s", t.at, t)
	}
	return n, nil
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) take() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) expect(s string) error {
	if t := p.take(); t.kind != symbol || t.text != s {
		return fmt.Errorf("at byte %d: want %q, got %s", t.at, s, t)
	}
	return nil
}

func (p *parser) expr() (node, error) {
	n, err := p.unary()
	if err != nil {
		return nil, err
	}
	joint := p.peek().kind
	if joint != conjunct && joint != disjunct {
		return n, nil
	}
	parts := []node{n}
	for p.peek().kind == joint {
		p.take()
		n, err := p.unary()
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
	}
	if t := p.peek(); t.kind == conjunct || t.kind == disjunct {
		return nil, fmt.Errorf("at byte %d: AND and OR together need brackets", t.at)
	}
	if joint == conjunct {
		return flatten[allOf](parts), nil
	}
	return flatten[anyOf](parts), nil
}

// flatten takes up parts that are joined alike, whose brackets mean nothing.
func flatten[T interface {
	~[]node
	node
}](parts []node) T {
	var flat T
	for _, n := range parts {
		if same, ok := n.(T); ok {
			flat = append(flat, same...)
		} else {
			flat = append(flat, n)
		}
	}
	return flat
}

func (p *parser) unary() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	switch t := p.peek(); {
	case t.kind == negation:
		p.take()
		n, err := p.unary()
		if err != nil {
			return nil, err
		}
		return negated{n}, nil
	case t.kind == symbol && t.text == "(":
		p.take()
		n, err := p.expr()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	}
	return p.check()
}

func (p *parser) check() (node, error) {
	if t := p.peek(); t.kind == word {
		switch lower(t.text) {
		case "actionmatches":
			return p.actionMatches()
		case "suboperationmatches":
			return p.subOperationMatches()
		case "exists":
			p.take()
			t := p.take()
			if t.kind != attrToken {
				return nil, fmt.Errorf("at byte %d: Exists wants an attribute, got %s", t.at, t)
			}
			return exists(t.attr), nil
		}
	}
	return p.comparison()
}

// argument reads the one string between the braces of a function.
func (p *parser) argument() (string, error) {
	name := p.take()
	if err := p.expect("{"); err != nil {
		return "", err
	}
	t := p.take()
	if t.kind != quoted || t.text == "" {
		return "", fmt.Errorf("at byte %d: %s wants a string, got %s", t.at, name.text, t)
	}
	for i := range len(t.text) {
		if c := t.text[i]; c <= ' ' || c > '~' || c == '\\' {
			return "", fmt.Errorf("at byte %d: %s: character %q", t.at, name.text, c)
		}
	}
	return lower(t.text), p.expect("}")
}

func (p *parser) actionMatches() (node, error) {
	text, err := p.argument()
	if err != nil {
		return nil, err
	}
	return action{compileAction(text), text}, nil
}

func (p *parser) subOperationMatches() (node, error) {
	at := p.peek().at
	text, err := p.argument()
	if err != nil {
		return nil, err
	}
	if strings.Contains(text, "*") {
		return nil, fmt.Errorf("at byte %d: SubOperationMatches takes no wildcard", at)
	}
	return subOperation(text), nil
}

func (p *parser) comparison() (node, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	t := p.take()
	if t.kind != word {
		return nil, fmt.Errorf("at byte %d: want an operator, got %s", t.at, t)
	}
	var n comparison
	name := lower(t.text)
	if prefix, rest, ok := strings.Cut(name, ":"); ok {
		if n.quant, ok = quantifiers[prefix]; !ok {
			return nil, fmt.Errorf("at byte %d: unknown operator %s", t.at, t)
		}
		name = rest
	}
	var ok bool
	if n.op, ok = operators[name]; !ok {
		return nil, fmt.Errorf("at byte %d: unknown operator %s", t.at, t)
	}
	if n.quant.name != "" && !n.op.sets {
		return nil, fmt.Errorf("at byte %d: %s does not take %s", t.at, n.op.name, n.quant.name)
	}
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	if n.left, err = n.resolve(left, false); err != nil {
		return nil, err
	}
	n.right, err = n.resolve(right, true)
	return n, err
}

// An operand is an attribute, or the literals of one kind.
type operand struct {
	attr    attribute // no name: literals
	set     bool      // written between braces
	literal []token
	values  []atom
}

func (p *parser) operand() (operand, error) {
	switch t := p.take(); {
	case t.kind == attrToken:
		return operand{attr: t.attr}, nil
	case t.kind == word, t.kind == quoted:
		return operand{literal: []token{t}}, nil
	case t.kind == symbol && t.text == "{":
		o := operand{set: true}
		for {
			t := p.take()
			if t.kind != word && t.kind != quoted {
				return operand{}, fmt.Errorf("at byte %d: want a value, got %s", t.at, t)
			}
			o.literal = append(o.literal, t)
			if t := p.take(); t.kind == symbol && t.text == "}" {
				return o, nil
			} else if t.kind != symbol || t.text != "," {
				return operand{}, fmt.Errorf(`at byte %d: want "," or "}", got %s`, t.at, t)
			}
		}
	default:
		return operand{}, fmt.Errorf("at byte %d: want an attribute or a value, got %s", t.at, t)
	}
}

// resolve gives the literals of an operand the type that the operator compares.
func (n comparison) resolve(o operand, right bool) (operand, error) {
	if o.set && n.quant.name == "" {
		return operand{}, fmt.Errorf("at byte %d: %s compares one value; a set needs a prefix such as ForAnyOfAnyValues", o.literal[0].at, n.op.name)
	}
	for i, t := range o.literal {
		a, text, err := n.op.literal(t, right)
		if err != nil {
			return operand{}, fmt.Errorf("at byte %d: %s: %w", t.at, n.op.name, err)
		}
		o.values = append(o.values, n.op.prepare(a, right))
		o.literal[i].text = text
	}
	return o, nil
}

// literal returns the value of a token and its canonical spelling.
func (op operator) literal(t token, right bool) (a atom, canonical string, err error) {
	a.kind = op.kind
	ok := false
	switch op.kind {
	case kindString:
		if t.kind != quoted {
			break
		}
		if a.text, ok = t.text, true; !right || op.rel != matches {
			a.text = unescape(t.text)
		}
		return a, "'" + t.text + "'", nil
	case kindNumber:
		if t.kind == word {
			a.num, err = strconv.ParseInt(t.text, 10, 64)
			ok = err == nil
		}
		canonical = strconv.FormatInt(a.num, 10)
	case kindBool:
		a.yes = lower(t.text) == "true"
		ok = t.kind == word && (a.yes || lower(t.text) == "false")
		canonical = strconv.FormatBool(a.yes)
	case kindTime:
		a.when, ok = parseTime(t.text)
		canonical = "'" + a.when.Format(time.RFC3339Nano) + "'"
	case kindGUID:
		a.id, ok = parseGUID(t.text)
		canonical = formatGUID(a.id)
	}
	if !ok {
		return atom{}, "", errors.New(t.String() + " is not a " + string(op.kind))
	}
	return a, canonical, nil
}
