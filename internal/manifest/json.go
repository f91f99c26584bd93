package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// readJSON returns the one document of a JSON file. The decoder refuses
// duplicate names and text that is not UTF-8 by itself.
func readJSON(file string, data []byte, ps *problems) []document {
	if len(data) > maxJSON {
		ps.add(file, 0, fmt.Sprintf("the file has %d bytes", len(data)), fmt.Sprintf("at most %d; split it", maxJSON))
		return nil
	}
	d := &jsonReader{dec: jsontext.NewDecoder(bytes.NewBuffer(data)), data: data, line: 1}
	root, err := d.value(0)
	if err == nil {
		if _, end := d.dec.ReadToken(); end == nil {
			err = errors.New("text behind the value")
		} else if !errors.Is(end, io.EOF) {
			err = end
		}
	}
	if err != nil {
		offset := d.dec.InputOffset()
		if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			offset = max(offset, min(e.ByteOffset, int64(len(data))))
		}
		ps.add(file, d.at(offset), "not JSON: "+jsonText(err), "")
		return nil
	}
	return []document{{file, root}}
}

type jsonReader struct {
	dec    *jsontext.Decoder
	data   []byte
	offset int64 // of line
	line   int
}

// at returns the line of an offset. Offsets only grow.
func (d *jsonReader) at(offset int64) int {
	d.line += bytes.Count(d.data[d.offset:offset], []byte{'\n'})
	d.offset = offset
	return d.line
}

func (d *jsonReader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	token, err := d.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	n := &node{line: d.at(d.dec.InputOffset())}
	switch token.Kind() {
	case 'n':
	case 't', 'f':
		n.kind, n.text = boolNode, token.String()
	case '0':
		n.kind, n.text = numberNode, token.String()
	case '"':
		n.kind, n.text = stringNode, token.String()
	case '[':
		n.kind = arrayNode
		for d.dec.PeekKind() != ']' {
			item, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		_, err = d.dec.ReadToken()
	case '{':
		n.kind = objectNode
		for d.dec.PeekKind() != '}' {
			name, err := d.dec.ReadToken()
			if err != nil {
				return nil, err
			}
			text := name.String() // valid only until the next read
			line := d.at(d.dec.InputOffset())
			value, err := d.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.members = append(n.members, member{text, line, value})
		}
		_, err = d.dec.ReadToken()
	}
	if len(n.text) > maxScalar {
		return nil, fmt.Errorf("a value of %d bytes, at most %d", len(n.text), maxScalar)
	}
	return n, err
}

func jsonText(err error) string {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}
