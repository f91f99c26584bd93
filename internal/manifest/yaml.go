package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A document is one YAML document, or one JSON value, of a file.
type document struct {
	file string
	root *node
}

// chunks splits a YAML stream at its document markers and yields each document
// with the line it begins on. A marker in the first column ends a document even
// inside a quoted text (YAML 1.2.2, section 9.1.4), so no parser is needed; and
// a mistake in one document does not hide those in the next.
func chunks(data []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		start, first, line := 0, 1, 1
		for at := 0; at < len(data); line++ {
			end := len(data)
			if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
				end = at + i + 1
			}
			text := bytes.TrimRight(data[at:end], " \t\r\n")
			if bytes.Equal(text, []byte("---")) || bytes.HasPrefix(text, []byte("--- ")) || bytes.HasPrefix(text, []byte("---\t")) || bytes.Equal(text, []byte("...")) {
				if !yield(first, data[start:at]) {
					return
				}
				// The marker is dropped; what stands behind it on its line stays.
				start, first = at+3, line
			}
			at = end
		}
		yield(first, data[start:])
	}
}

// readYAML returns the documents of a YAML file; empty ones are skipped.
func readYAML(file string, data []byte, ps *problems) []document {
	var docs []document
	for line, text := range chunks(data) {
		if what, at := tooBig(text); what != "" {
			ps.add(file, line+at, what, fmt.Sprintf("a document may have %d bytes, a line %d, and %d levels; a large set fits in a JSON file", maxDocument, maxScalar, maxDepth))
			continue
		}
		doc, err := parseYAML(text)
		if err != nil {
			ps.add(file, line+yamlLine(err), "not YAML: "+yamlText(err), "")
			continue
		}
		if doc.Kind == 0 || len(doc.Content) == 0 || blank(doc.Content[0]) {
			continue
		}
		r := reader{file: file, offset: line - 1, problems: ps}
		if root := r.node(doc.Content[0], 0); !r.failed {
			docs = append(docs, document{file, root})
		}
	}
	return docs
}

// parseYAML parses one document and refuses a second one behind it: the library
// knows more line breaks than chunks does, and would otherwise skip the rest.
func parseYAML(text []byte) (yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, rest yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return yaml.Node{}, err
	}
	switch err := dec.Decode(&rest); {
	case err == nil:
		return yaml.Node{}, fmt.Errorf("line %d: a second document without a line break before its marker", max(1, rest.Line))
	case !errors.Is(err, io.EOF):
		return yaml.Node{}, err
	}
	return doc, nil
}

// blank reports whether a document holds nothing but comments.
func blank(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}

// tooBig says what is too big about a document, and on which line of it,
// without parsing it. Brackets are counted without regard to quotes: a line of
// text with a hundred open brackets is refused as well, and nobody has one.
func tooBig(text []byte) (what string, line int) {
	if len(text) > maxDocument {
		return fmt.Sprintf("the document has %d bytes", len(text)), 0
	}
	for l := range bytes.Lines(text) {
		if len(l) > maxScalar {
			return fmt.Sprintf("the line has %d bytes", len(l)), line
		}
		open := 0
		for _, c := range l {
			switch c {
			case '[', '{':
				open++
			case ']', '}':
				open = max(0, open-1)
			}
		}
		indent := len(l) - len(bytes.TrimLeft(l, " -?\t"))
		if open > 4*maxDepth || indent > 16*maxDepth {
			return "the line is nested too deeply", line
		}
		line++
	}
	return "", 0
}

// A reader turns YAML nodes into ours and refuses everything in which two
// readers of YAML could see two things: anchors, aliases, tags, merge keys,
// duplicate keys, keys that are no text, YAML 1.1 booleans and octal numbers.
type reader struct {
	file   string
	offset int // lines before the document
	*problems
	failed bool
}

func (r *reader) refuse(n *yaml.Node, what, next string) *node {
	r.failed = true
	r.add(r.file, r.offset+n.Line, what, next)
	return &node{line: r.offset + n.Line}
}

func (r *reader) node(n *yaml.Node, depth int) *node {
	switch {
	case depth > maxDepth:
		return r.refuse(n, "nested too deeply", fmt.Sprintf("at most %d levels", maxDepth))
	case n.Kind == yaml.AliasNode:
		return r.refuse(n, fmt.Sprintf("alias *%s", clip(n.Value)), "aliases are not read; write the value out")
	case n.Anchor != "":
		return r.refuse(n, fmt.Sprintf("anchor &%s", clip(n.Anchor)), "anchors are not read; write the value out where it is needed")
	case n.Style&yaml.TaggedStyle != 0:
		return r.refuse(n, fmt.Sprintf("tag %s", clip(n.Tag)), "tags are not read; leave it out, and put texts in quotes")
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return r.scalar(n)
	case yaml.SequenceNode:
		out := &node{kind: arrayNode, line: r.offset + n.Line}
		for _, c := range n.Content {
			out.items = append(out.items, r.node(c, depth+1))
		}
		return out
	case yaml.MappingNode:
		return r.object(n, depth)
	}
	return r.refuse(n, "not a value", "")
}

func (r *reader) object(n *yaml.Node, depth int) *node {
	out := &node{kind: objectNode, line: r.offset + n.Line}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		line := r.offset + key.Line
		if key.Kind == yaml.ScalarNode && key.Value == "<<" && key.Style == 0 {
			r.refuse(key, "merge key <<", "merge keys are not read; write the fields out")
			continue
		}
		k := r.node(key, depth+1)
		if k.kind != stringNode {
			if k.kind != nullNode || key.Value == "" {
				r.refuse(key, "a key that is not a text", "put it in quotes")
			}
			continue
		}
		if before, twice := seen[k.text]; twice {
			r.refuse(key, fmt.Sprintf("field %q stands twice", clip(k.text)), fmt.Sprintf("it is already on line %d; keep one", before))
			continue
		}
		seen[k.text] = line
		out.members = append(out.members, member{k.text, line, r.node(value, depth+1)})
	}
	return out
}

var (
	jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	oldBoolean = regexp.MustCompile(`^(?i:y|yes|n|no|on|off|true|false)$`)
)

func (r *reader) scalar(n *yaml.Node) *node {
	out := &node{kind: stringNode, line: r.offset + n.Line, text: n.Value}
	if len(n.Value) > maxScalar {
		return r.refuse(n, fmt.Sprintf("a value of %d bytes", len(n.Value)), fmt.Sprintf("at most %d", maxScalar))
	}
	if !utf8.ValidString(n.Value) {
		return r.refuse(n, "text that is not UTF-8", "")
	}
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return out
	}
	switch tag := n.ShortTag(); {
	case n.Value == "" || n.Value == "null":
		out.kind = nullNode
	case n.Value == "true" || n.Value == "false":
		out.kind = boolNode
	case jsonNumber.MatchString(n.Value):
		out.kind = numberNode
	case oldBoolean.MatchString(n.Value):
		return r.refuse(n, fmt.Sprintf("%s is a boolean to some readers of YAML and a text to others", n.Value), "write true or false, or put the text in quotes")
	case tag == "!!null":
		return r.refuse(n, fmt.Sprintf("%s stands for no value", n.Value), "leave the field out, or put the text in quotes")
	case tag == "!!int" || tag == "!!float" || oldOctal.MatchString(n.Value):
		return r.refuse(n, fmt.Sprintf("%s is a number to some readers of YAML and a text to others", clip(n.Value)), "write a plain decimal number, or put the text in quotes")
	}
	return out
}

// oldOctal also matches sexagesimal numbers and underscores of YAML 1.1.
var oldOctal = regexp.MustCompile(`^[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+)$`)

// yamlLine returns the line that the YAML library names in an error, counted
// from 0.
func yamlLine(err error) int {
	_, rest, ok := strings.Cut(err.Error(), "line ")
	if !ok {
		return 0
	}
	digits, _, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 {
		return 0
	}
	return n - 1
}

func yamlText(err error) string {
	if e, ok := errors.AsType[*yaml.TypeError](err); ok {
		return strings.Join(e.Errors, "; ")
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if _, after, ok := strings.Cut(rest, ": "); ok {
			text = after
		}
	}
	return text
}

// clip shortens what is repeated in a message.
func clip(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
