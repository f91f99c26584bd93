package directory

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A SubjectPattern stands for the subjects of many tokens. Colons and slashes
// separate the parts of a subject; in a part, a star stands for any characters and
// a question mark for one. Neither stands for a separator, so that a pattern says
// how many parts there are and nobody who names one part can fill the place of two.
// The empty pattern matches nothing.
type SubjectPattern string

const (
	separators = ":/"
	wildcards  = "*?"
)

// Validate checks that a pattern has a wildcard, and none in its first two parts:
// they say which kind of subject it is, such as system:serviceaccount.
func (p SubjectPattern) Validate() error {
	text := string(p)
	if !comparable(text) {
		return record.Invalid("the subject pattern %.700q does not have 1 to %d printable ASCII characters, or has blanks at its ends", text, maxFederated)
	}
	if strings.ContainsRune(text, '\'') {
		return record.Invalid("the subject pattern %.700q has a quotation mark, which ends it in an expression", text)
	}
	first := strings.IndexAny(text, wildcards)
	if first < 0 {
		return record.Invalid("the subject pattern %.700q has no wildcard: it is a subject", text)
	}
	parts := strings.FieldsFunc(text[:first], func(r rune) bool { return strings.ContainsRune(separators, r) })
	if ends := strings.ContainsRune(separators, rune(lastByte(text[:first]))); len(parts) < 2 || len(parts) == 2 && !ends {
		return record.Invalid("the subject pattern %.700q has a wildcard in its first two parts", text)
	}
	return nil
}

// An expression is how Azure writes a pattern: claims['sub'] matches '…'.
const (
	expressionBegin = "claims['sub'] matches '"
	expressionEnd   = "'"
)

// ParseExpression reads the expression of a federated credential in the first
// version of that language, as far as this house knows it: one pattern for the
// subject. (Entra ID's flexible federated identity credentials.)
func ParseExpression(text string) (SubjectPattern, error) {
	rest, begins := strings.CutPrefix(text, expressionBegin)
	pattern, ends := strings.CutSuffix(rest, expressionEnd)
	p := SubjectPattern(pattern)
	if !begins || !ends {
		return "", record.Invalid("the expression %.200q is not claims['sub'] matches '…'", text)
	}
	return p, p.Validate()
}

// Expression is the pattern as Azure writes it.
func (p SubjectPattern) Expression() string {
	return expressionBegin + string(p) + expressionEnd
}

func lastByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

// Matches reports whether a pattern stands for a subject.
func (p SubjectPattern) Matches(subject string) bool {
	pattern := string(p)
	if pattern == "" || subject == "" {
		return false
	}
	for {
		i, j := strings.IndexAny(pattern, separators), strings.IndexAny(subject, separators)
		if i < 0 || j < 0 {
			return i < 0 && j < 0 && matchPart(pattern, subject)
		}
		if pattern[i] != subject[j] || !matchPart(pattern[:i], subject[:j]) {
			return false
		}
		pattern, subject = pattern[i+1:], subject[j+1:]
	}
}

// matchPart matches a part in linear space and at most quadratic time: when what
// follows a star does not fit, the last star takes one character more.
func matchPart(pattern, text string) bool {
	star, from := -1, 0 // the last star, and where its text ends
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
