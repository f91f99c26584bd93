package condition

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	end       tokenKind = iota
	symbol              // ( ) { } ,
	conjunct            // AND or &&
	disjunct            // OR or ||
	negation            // NOT or !
	word                // a name, a number, a GUID
	quoted              // a string, without its quotes and with its escapes
	attrToken           // @Source[name]
)

type token struct {
	kind tokenKind
	text string
	attr attribute
	at   int
}

func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	return fmt.Sprintf("%.40q", t.text)
}

// An attribute is named by its source and its canonical name.
type attribute struct {
	source Source
	name   string
}

func (a attribute) String() string { return "@" + string(a.source) + "[" + a.name + "]" }

// lex cuts a condition into tokens, with an end token behind the last.
func lex(text string) ([]token, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("not UTF-8")
	}
	var tokens []token
	for i := 0; i < len(text); {
		if strings.IndexByte(" \t\r\n", text[i]) >= 0 {
			i++
			continue
		}
		t, n, err := next(text[i:])
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", i, err)
		}
		t.at = i
		tokens = append(tokens, t)
		i += n
	}
	return append(tokens, token{kind: end, at: len(text)}), nil
}

// next returns the token at the start of s and its length.
func next(s string) (token, int, error) {
	switch c := s[0]; {
	case strings.IndexByte("(){},", c) >= 0:
		return token{kind: symbol, text: s[:1]}, 1, nil
	case c == '!':
		return token{kind: negation, text: s[:1]}, 1, nil
	case strings.HasPrefix(s, "&&"):
		return token{kind: conjunct, text: s[:2]}, 2, nil
	case strings.HasPrefix(s, "||"):
		return token{kind: disjunct, text: s[:2]}, 2, nil
	case c == '\'':
		return lexString(s)
	case c == '@':
		return lexAttribute(s)
	case isWord(c):
		n := 1
		for n < len(s) && isWord(s[n]) {
			n++
		}
		t := token{kind: word, text: s[:n]}
		switch lower(t.text) {
		case "and":
			t.kind = conjunct
		case "or":
			t.kind = disjunct
		case "not":
			t.kind = negation
		}
		return t, n, nil
	}
	r, _ := utf8.DecodeRuneInString(s)
	return token{}, 0, fmt.Errorf("unexpected character %q", r)
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-.:", c) >= 0
}

func lexString(s string) (token, int, error) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			return token{kind: quoted, text: s[1:i]}, i + 1, nil
		case c == '\\':
			i++ // whatever it is, it does not end the string
		}
		if i < len(s) && (s[i] < ' ' || s[i] == 0x7f) {
			return token{}, 0, fmt.Errorf("control character %q in a string", s[i])
		}
	}
	return token{}, 0, fmt.Errorf("string %.40q does not end", s)
}

func lexAttribute(s string) (token, int, error) {
	source, rest, ok := strings.Cut(s[1:], "[")
	if !ok {
		return token{}, 0, fmt.Errorf("%.40q: want @Source[name]", s)
	}
	var from Source
	for _, known := range []Source{Request, Resource, Principal, Environment} {
		if lower(source) == lower(string(known)) {
			from = known
		}
	}
	if from == "" {
		return token{}, 0, fmt.Errorf("unknown attribute source %.40q", "@"+source)
	}
	name, _, ok := strings.Cut(rest, "]")
	if !ok {
		return token{}, 0, fmt.Errorf("%.40q: no closing bracket", s)
	}
	if name == "" || name != strings.TrimSpace(name) || strings.Contains(name, "[") || strings.ContainsFunc(name, unicode.IsControl) {
		return token{}, 0, fmt.Errorf("%.80q is not the name of an attribute", name)
	}
	n := len("@") + len(source) + len("[") + len(name) + len("]")
	return token{kind: attrToken, text: s[:n], attr: attribute{from, CanonicalName(name)}}, n, nil
}

// unescape returns the meaning of a quoted string to every operator but Like:
// a backslash stands before a quote or a backslash, and elsewhere for itself.
func unescape(raw string) string {
	if !strings.Contains(raw, `\`) {
		return raw
	}
	return strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(raw)
}
