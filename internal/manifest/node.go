package manifest

import (
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds on one document. A person's estate file stays far below them, and what
// is above them is answered before it is parsed (catalogue RX-07).
const (
	maxDepth    = 40        // levels of nesting
	maxScalar   = 64 << 10  // bytes of one value, and of one line of YAML
	maxDocument = 1 << 20   // bytes of one YAML document
	maxJSON     = 64 << 20  // bytes of one JSON file
	maxFile     = 256 << 20 // bytes of one file
)

// nodeKind is what a node of a document is, in the words of JSON.
type nodeKind byte

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	stringNode
	arrayNode
	objectNode
	toldNode // a value whose problem has been told already
)

func (k nodeKind) String() string {
	return [...]string{"no value", "true or false", "a number", "a text", "a list", "an object", "a mistake"}[k]
}

// A node is one value of a document that knows its line. YAML and JSON files
// become the same nodes.
type node struct {
	kind    nodeKind
	line    int
	text    string   // of a bool, number or string
	members []member // of an object, in the order of the file
	items   []*node  // of an array
}

// A member is one field of an object.
type member struct {
	name  string
	line  int
	value *node
}

// get returns the value of a field, or nil.
func (n *node) get(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// text returns the text of a field, or "" if it has none or is no text.
func (n *node) textOf(name string) string {
	if v := n.get(name); v != nil && v.kind == stringNode {
		return v.text
	}
	return ""
}

// without returns an object with all fields of n but one.
func (n *node) without(names ...string) *node {
	out := *n
	out.members = nil
	for _, m := range n.members {
		keep := true
		for _, name := range names {
			keep = keep && m.name != name
		}
		if keep {
			out.members = append(out.members, m)
		}
	}
	return &out
}

// with returns an object with one more text field.
func (n *node) with(name, text string) *node {
	out := *n
	out.members = append(out.members[:len(out.members):len(out.members)],
		member{name, n.line, &node{kind: stringNode, line: n.line, text: text}})
	return &out
}

// appendJSON appends n as JSON.
func (n *node) appendJSON(b []byte) []byte {
	switch n.kind {
	case boolNode, numberNode:
		return append(b, n.text...)
	case stringNode:
		return appendQuote(b, n.text)
	case arrayNode:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	case objectNode:
		b = append(b, '{')
		for i, m := range n.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendQuote(b, m.name), ':')
			b = m.value.appendJSON(b)
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

func appendQuote(b []byte, s string) []byte {
	// Both front ends refuse text that is not UTF-8, the only cause of an error.
	out, err := jsontext.AppendQuote(b, s)
	if err != nil {
		return append(b, `""`...)
	}
	return out
}
