package graph

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// check refuses what a kind cannot be searched by.
func (f *filter) check(k *kind) error {
	if f == nil {
		return nil
	}
	for _, kid := range f.kids {
		if err := kid.check(k); err != nil {
			return err
		}
	}
	if len(f.kids) > 0 {
		return nil
	}
	_, text := k.texts[f.field]
	_, flag := k.flags[f.field]
	_, list := k.lists[f.field]
	switch f.op {
	case opAnyEquals, opAnyStarts:
		text, flag = false, false
	case opEquals, opDiffers, opIn:
		list = false
	default:
		flag, list = false, false
	}
	if !text && !flag && !list {
		return fmt.Errorf("objects of %s cannot be filtered by property '%s' in this way", k.name, f.field)
	}
	for _, v := range f.values {
		if flag != (v.kind == isFlag) && v.kind != isNull {
			return fmt.Errorf("property '%s' is compared with a value of another type", f.field)
		}
	}
	return nil
}

// match reports whether an object passes. Letter case does not count, as in Entra.
func (f *filter) match(s *session, o object) bool {
	if f == nil {
		return true
	}
	passes := func(kid *filter) bool { return kid.match(s, o) }
	switch f.op {
	case opOr:
		return slices.ContainsFunc(f.kids, passes)
	case opAnd:
		return !slices.ContainsFunc(f.kids, func(kid *filter) bool { return !passes(kid) })
	case opNot:
		return !passes(f.kids[0])
	case opAnyEquals, opAnyStarts:
		return slices.ContainsFunc(o.kind.lists[f.field](s, o.v), func(text string) bool {
			if f.op == opAnyStarts {
				return hasPrefixFold(text, f.values[0].text)
			}
			return strings.EqualFold(text, f.values[0].text)
		})
	case opEquals, opIn:
		return slices.ContainsFunc(f.values, func(v value) bool { return o.equals(s, f.field, v) })
	case opDiffers:
		return !o.equals(s, f.field, f.values[0])
	}
	text, want := o.kind.texts[f.field](o.v), f.values[0].text
	switch f.op {
	case opStarts:
		return hasPrefixFold(text, want)
	case opEnds:
		return strings.HasSuffix(fold(text), fold(want))
	case opContains:
		return strings.Contains(fold(text), fold(want))
	}
	return false
}

// equals compares a property. One that is empty is null.
func (o object) equals(s *session, field string, v value) bool {
	if flag, ok := o.kind.flags[field]; ok {
		return v.kind == isFlag && flag(o.v) == (v.text == "true")
	}
	text := o.kind.texts[field](o.v)
	if v.kind == isNull {
		return text == ""
	}
	return strings.EqualFold(text, v.text)
}

func fold(s string) string { return strings.ToLower(s) }

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

// A search is what $search says: terms that must all be there, each a property and
// what one of its words begins with.
type search []searchTerm

type searchTerm struct{ field, text string }

// parseSearch reads "property:text" AND "property:text".
func parseSearch(text string) (search, error) {
	var s search
	for rest := text; ; {
		rest = strings.TrimLeft(rest, " ")
		quoted, after, ok := strings.Cut(strings.TrimPrefix(rest, `"`), `"`)
		field, want, colon := strings.Cut(quoted, ":")
		if !strings.HasPrefix(rest, `"`) || !ok || !colon || want == "" || len(s) == maxTerms || len(text) > maxFilter {
			return nil, fmt.Errorf(`want terms like "displayName:text", joined with AND`)
		}
		s = append(s, searchTerm{field, want})
		if rest = strings.TrimLeft(after, " "); rest == "" {
			return s, nil
		}
		if rest, ok = strings.CutPrefix(rest, "AND "); !ok {
			return nil, fmt.Errorf("only AND joins terms")
		}
	}
}

func (s search) check(k *kind) error {
	for _, t := range s {
		if _, ok := k.texts[t.field]; !ok {
			return fmt.Errorf("objects of %s cannot be searched by property '%s'", k.name, t.field)
		}
	}
	return nil
}

func (s search) match(o object) bool {
	for _, t := range s {
		text := o.kind.texts[t.field](o.v)
		if !hasPrefixFold(text, t.text) && !slices.ContainsFunc(strings.FieldsFunc(text, separates), func(word string) bool { return hasPrefixFold(word, t.text) }) {
			return false
		}
	}
	return true
}

func separates(r rune) bool { return strings.ContainsRune(" -_.,;:/@()", r) }
