package condition

import "fmt"

// A node is a part of a condition.
type node interface {
	eval(*run) (bool, error)
	append([]byte) []byte // the canonical form
}

// A run is one evaluation.
type run struct {
	in   Input
	work int // steps left
}

func (r *run) spend(steps int) error {
	if r.work -= steps; r.work < 0 {
		return ErrTooCostly
	}
	return nil
}

// lookup returns the members of an attribute, none when it is absent.
func (r *run) lookup(a attribute) []atom {
	switch {
	case a == attribute{Environment, "utcnow"}:
		if !r.in.Now.IsZero() {
			return Time(r.in.Now).atoms
		}
	case a == attribute{Request, "suboperation"}:
		if r.in.SubOperation != "" {
			return String(r.in.SubOperation).atoms
		}
	case r.in.Attribute != nil:
		if v, ok := r.in.Attribute(a.source, a.name); ok {
			return v.atoms
		}
	}
	return nil
}

// The kinds of node.
type (
	allOf   []node // AND
	anyOf   []node // OR
	negated struct{ of node }
	action  struct {
		pattern *pattern
		text    string
	}
	subOperation string
	exists       attribute
	comparison   struct {
		op          operator
		quant       quantifier
		left, right operand
	}
)

// eval is false as soon as one part is: no error elsewhere could change that.
// Otherwise an error decides, wherever it stands.
func (n allOf) eval(r *run) (bool, error) {
	var failed error
	for _, part := range n {
		ok, err := part.eval(r)
		if err != nil {
			failed = first(failed, err)
		} else if !ok {
			return false, nil
		}
	}
	return failed == nil, failed
}

func (n anyOf) eval(r *run) (bool, error) {
	var failed error
	for _, part := range n {
		ok, err := part.eval(r)
		if err != nil {
			failed = first(failed, err)
		} else if ok {
			return true, nil
		}
	}
	return false, failed
}

func first(old, err error) error {
	if old != nil {
		return old
	}
	return err
}

// eval keeps an error an error: the opposite of "cannot say" is "cannot say".
func (n negated) eval(r *run) (bool, error) {
	ok, err := n.of.eval(r)
	return err == nil && !ok, err
}

func (n action) eval(r *run) (bool, error) { return n.pattern.match(r, lower(r.in.Action)) }

func (n subOperation) eval(r *run) (bool, error) {
	return lower(r.in.SubOperation) == string(n), nil
}

func (n exists) eval(r *run) (bool, error) { return len(r.lookup(attribute(n))) > 0, nil }

func (n comparison) eval(r *run) (bool, error) {
	left, err := n.side(r, n.left, false)
	if err != nil {
		return false, err
	}
	right, err := n.side(r, n.right, true)
	if err != nil {
		return false, err
	}
	if len(left) == 0 || len(right) == 0 {
		return false, nil
	}
	if n.quant.name == "" {
		return n.op.holds(r, left[0], right[0])
	}
	for _, a := range left {
		ok, err := n.against(r, a, right)
		if err != nil {
			return false, err
		}
		if ok != n.quant.allLeft {
			return ok, nil
		}
	}
	return n.quant.allLeft, nil
}

// against compares one value of the left side with those of the right side.
func (n comparison) against(r *run, a atom, right []atom) (bool, error) {
	for _, b := range right {
		ok, err := n.op.holds(r, a, b)
		if err != nil {
			return false, err
		}
		if ok != n.quant.allRight {
			return ok, nil
		}
	}
	return n.quant.allRight, nil
}

// side returns the values of an operand, ready for the operator.
func (n comparison) side(r *run, o operand, right bool) ([]atom, error) {
	if o.attr.name == "" {
		return o.values, nil
	}
	found := r.lookup(o.attr)
	if n.quant.name == "" && len(found) > 1 {
		return nil, fmt.Errorf("%w: %s has %d values; %s compares one", ErrType, o.attr, len(found), n.op.name)
	}
	ready := make([]atom, len(found))
	for i, a := range found {
		if err := r.spend(1 + len(a.text)/16); err != nil {
			return nil, err
		}
		a, err := a.as(n.op.kind)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.attr, err)
		}
		ready[i] = n.op.prepare(a, right)
	}
	return ready, nil
}

// prepare folds a string and compiles it where it is a pattern.
func (op operator) prepare(a atom, right bool) atom {
	if op.fold {
		a.text = fold(a.text)
	}
	if right && op.rel == matches {
		a.like = compile(a.text)
	}
	return a
}
