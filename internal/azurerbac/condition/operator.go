package condition

import (
	"cmp"
	"strings"
)

// A relation compares two values of one kind.
type relation uint8

const (
	equals relation = iota
	startsWith
	matches
	greater
	greaterEquals
	less
	lessEquals
)

// An operator is a relation between values of a kind. Its letter case is the
// canonical one.
type operator struct {
	name   string
	kind   kind
	rel    relation
	negate bool
	fold   bool // letter case does not matter
	sets   bool // takes one of the quantifiers
}

// operators holds every operator by its name in lower case.
var operators = func() map[string]operator {
	all := make(map[string]operator)
	add := func(ops ...operator) {
		for _, op := range ops {
			all[lower(op.name)] = op
		}
	}
	for _, s := range []operator{
		{name: "Equals", rel: equals, sets: true},
		{name: "StartsWith", rel: startsWith},
		{name: "Like", rel: matches, sets: true},
	} {
		s.kind = kindString
		for _, negate := range []bool{false, true} {
			s := s
			s.negate = negate
			if negate {
				s.name = "Not" + s.name
			}
			s.name = "String" + s.name
			add(s)
			s.name, s.fold = s.name+"IgnoreCase", true
			add(s)
		}
	}
	for _, o := range []operator{
		{name: "Equals", rel: equals},
		{name: "NotEquals", rel: equals, negate: true},
		{name: "GreaterThan", rel: greater},
		{name: "GreaterThanEquals", rel: greaterEquals},
		{name: "LessThan", rel: less},
		{name: "LessThanEquals", rel: lessEquals},
	} {
		number, instant := o, o
		number.name, number.kind, number.sets = "Numeric"+o.name, kindNumber, true
		instant.name, instant.kind = "DateTime"+o.name, kindTime
		add(number, instant)
		if o.rel == equals {
			truth, id := o, o
			truth.name, truth.kind = "Bool"+o.name, kindBool
			id.name, id.kind, id.sets = "Guid"+o.name, kindGUID, true
			add(truth, id)
		}
	}
	return all
}()

// A quantifier says how many members of each side must compare. The zero
// quantifier is for single values.
type quantifier struct {
	name     string
	allLeft  bool // every value on the left, not just some
	allRight bool // with every value on the right, not just some
}

var quantifiers = map[string]quantifier{
	"foranyofanyvalues": {"ForAnyOfAnyValues", false, false},
	"forallofanyvalues": {"ForAllOfAnyValues", true, false},
	"foranyofallvalues": {"ForAnyOfAllValues", false, true},
	"forallofallvalues": {"ForAllOfAllValues", true, true},
}

// holds reports whether the relation holds between a and b, which are of the
// operator's kind and folded where it ignores letter case.
func (op operator) holds(r *run, a, b atom) (bool, error) {
	if err := r.spend(1 + min(len(a.text), len(b.text))/16); err != nil {
		return false, err
	}
	var ok bool
	switch op.rel {
	case equals:
		ok = a.compare(b) == 0
	case startsWith:
		ok = strings.HasPrefix(a.text, b.text)
	case matches:
		var err error
		if ok, err = b.like.match(r, a.text); err != nil {
			return false, err
		}
	case greater:
		ok = a.compare(b) > 0
	case greaterEquals:
		ok = a.compare(b) >= 0
	case less:
		ok = a.compare(b) < 0
	case lessEquals:
		ok = a.compare(b) <= 0
	}
	return ok != op.negate, nil
}

// compare orders numbers and instants; of the other kinds it tells equal (0)
// from different.
func (a atom) compare(b atom) int {
	switch a.kind {
	case kindNumber:
		return cmp.Compare(a.num, b.num)
	case kindTime:
		return a.when.Compare(b.when)
	case kindString:
		if a.text == b.text {
			return 0
		}
	case kindBool:
		if a.yes == b.yes {
			return 0
		}
	case kindGUID:
		if a.id == b.id {
			return 0
		}
	}
	return -1
}
