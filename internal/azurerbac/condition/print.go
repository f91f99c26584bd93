package condition

func (n allOf) append(b []byte) []byte { return join(b, n, " AND ") }
func (n anyOf) append(b []byte) []byte { return join(b, n, " OR ") }

func join(b []byte, parts []node, joint string) []byte {
	for i, part := range parts {
		if i > 0 {
			b = append(b, joint...)
		}
		b = bracket(b, part)
	}
	return b
}

// bracket puts brackets around what would otherwise run into its surroundings.
func bracket(b []byte, n node) []byte {
	switch n.(type) {
	case allOf, anyOf:
		return append(n.append(append(b, '(')), ')')
	}
	return n.append(b)
}

func (n negated) append(b []byte) []byte { return bracket(append(b, "NOT "...), n.of) }

func (n action) append(b []byte) []byte {
	return append(append(append(b, "ActionMatches{'"...), n.text...), "'}"...)
}

func (n subOperation) append(b []byte) []byte {
	return append(append(append(b, "SubOperationMatches{'"...), n...), "'}"...)
}

func (n exists) append(b []byte) []byte {
	return append(append(b, "Exists "...), attribute(n).String()...)
}

func (n comparison) append(b []byte) []byte {
	b = append(n.left.append(b), ' ')
	if n.quant.name != "" {
		b = append(append(b, n.quant.name...), ':')
	}
	b = append(append(b, n.op.name...), ' ')
	return n.right.append(b)
}

func (o operand) append(b []byte) []byte {
	if o.attr.name != "" {
		return append(b, o.attr.String()...)
	}
	if o.set {
		b = append(b, '{')
	}
	for i, t := range o.literal {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, t.text...)
	}
	if o.set {
		b = append(b, '}')
	}
	return b
}
