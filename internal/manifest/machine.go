package manifest

import (
	"bytes"
	"iter"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// EncodeJSON returns records as one JSON document of kind List, which Decode
// reads back like what Encode writes.
func EncodeJSON(records iter.Seq[record.Record]) ([]byte, error) {
	list := &node{kind: arrayNode}
	for rec := range records {
		n, err := toNode(rec)
		if err != nil {
			return nil, err
		}
		kind := member{name: "kind", value: &node{kind: stringNode, text: string(rec.Key().Kind)}}
		n.members = append([]member{kind}, n.members...)
		list.items = append(list.items, n)
	}
	root := &node{kind: objectNode, members: []member{
		{name: "kind", value: &node{kind: stringNode, text: "List"}},
		{name: "items", value: list},
	}}
	return root.appendJSON(nil), nil
}

// YAML writes a JSON value as YAML, with the quoting that Encode uses: every
// text that some reader could take for something else is in quotes.
func YAML(data []byte) ([]byte, error) {
	var ps problems
	docs := readJSON("value", data, &ps)
	if err := ps.err(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := new(encoder)
	switch root := docs[0].root; root.kind {
	case objectNode:
		for _, m := range root.members {
			e.field(&b, "", m, false)
		}
		if len(root.members) == 0 {
			b.WriteString("{}\n")
		}
	case arrayNode:
		for _, item := range root.items {
			e.item(&b, "", item)
		}
		if len(root.items) == 0 {
			b.WriteString("[]\n")
		}
	default:
		e.scalar(&b, root, false)
	}
	return b.Bytes(), nil
}
