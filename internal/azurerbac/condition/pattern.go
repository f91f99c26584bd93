package condition

import (
	"strings"
	"unicode/utf8"
)

// A pattern matches strings in time linear in their length, except that a
// piece with "?" between two stars is tried at every place. The budget of the
// run bounds that too.
type pattern struct {
	pieces []piece // what stands between the stars; one piece: no star
	// segments lets a star that is a whole segment stand for no segment, as in the
	// operations of roles. Otherwise a role would give by a pattern what a condition
	// with the same pattern does not guard.
	segments bool
}

// A piece is a run without stars: plain text, or characters of which some are any.
type piece struct {
	plain string
	chars []rune // nil when the piece is plain
}

const anyChar rune = -1

// compile reads a pattern of the Like operators: * is any run of characters,
// ? any one character, and a backslash makes either literal.
func compile(text string) *pattern {
	p := new(pattern)
	var chars []rune
	wild := false
	flush := func() {
		if wild {
			p.pieces = append(p.pieces, piece{chars: chars})
		} else {
			p.pieces = append(p.pieces, piece{plain: string(chars)})
		}
		chars, wild = nil, false
	}
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			if !strings.ContainsRune(`*?\'`, r) {
				chars = append(chars, '\\')
			}
			chars, escaped = append(chars, r), false
		case r == '\\':
			escaped = true
		case r == '*':
			flush()
		case r == '?':
			chars, wild = append(chars, anyChar), true
		default:
			chars = append(chars, r)
		}
	}
	if escaped {
		chars = append(chars, '\\')
	}
	flush()
	return p
}

// compileAction reads a pattern of operations, in lower case: only * is special.
func compileAction(text string) *pattern {
	p := &pattern{segments: true}
	for plain := range strings.SplitSeq(text, "*") {
		p.pieces = append(p.pieces, piece{plain: plain})
	}
	return p
}

// match reports whether the whole of s matches. Each piece is taken at its
// leftmost place: if any arrangement fits, that one does, so nothing is tried twice.
func (p *pattern) match(r *run, s string) (bool, error) {
	if err := r.spend(len(s)/16 + len(p.pieces)); err != nil {
		return false, err
	}
	first, rest := p.pieces[0], p.pieces[1:]
	at, ok := first.prefix(s)
	if !ok {
		return false, nil
	}
	if len(rest) == 0 {
		return at == len(s), nil
	}
	last, rest := rest[len(rest)-1], rest[:len(rest)-1]
	for _, mid := range rest {
		from := p.begin(s, at, mid)
		n, err := mid.find(r, s[from:])
		if err != nil || n < 0 {
			return false, err
		}
		at = from + n
	}
	_, ok = last.suffix(s[p.begin(s, at, last):])
	return ok, nil
}

// begin is where the piece behind a star may begin when the piece before it ends at
// a place: both may share their slash, so that the star is no segment.
func (p *pattern) begin(s string, at int, next piece) int {
	if p.segments && at > 0 && s[at-1] == '/' && strings.HasPrefix(next.plain, "/") {
		return at - 1
	}
	return at
}

// prefix returns the length of the piece at the start of s.
func (p piece) prefix(s string) (int, bool) {
	if p.chars == nil {
		return len(p.plain), strings.HasPrefix(s, p.plain)
	}
	at := 0
	for _, want := range p.chars {
		r, size := utf8.DecodeRuneInString(s[at:])
		if size == 0 || want != anyChar && want != r {
			return 0, false
		}
		at += size
	}
	return at, true
}

// suffix returns where the piece at the end of s starts.
func (p piece) suffix(s string) (int, bool) {
	if p.chars == nil {
		return len(s) - len(p.plain), strings.HasSuffix(s, p.plain)
	}
	at := len(s)
	for range p.chars {
		_, size := utf8.DecodeLastRuneInString(s[:at])
		if size == 0 {
			return 0, false
		}
		at -= size
	}
	_, ok := p.prefix(s[at:])
	return at, ok
}

// find returns the end of the leftmost place of the piece in s, or -1.
func (p piece) find(r *run, s string) (int, error) {
	if p.chars == nil {
		if i := strings.Index(s, p.plain); i >= 0 {
			return i + len(p.plain), nil
		}
		return -1, nil
	}
	for i := range s {
		if err := r.spend(len(p.chars)); err != nil {
			return -1, err
		}
		if n, ok := p.prefix(s[i:]); ok {
			return i + n, nil
		}
	}
	return -1, nil
}
