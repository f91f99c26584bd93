package manifest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// maxMembers bounds the members that are listed in their group's document; the
// memberships of a larger group are documents of their own, so that every
// document stays within the bounds of the reader.
const maxMembers = 5000

// Encode writes records as documents ordered by kind and key: the same records
// make the same bytes. What an id stands for is a comment behind it. Decode
// reads the same records back.
//
// Memberships are written as members of their group.
func Encode(w io.Writer, records iter.Seq[record.Record]) error {
	e := newEncoder(records)
	out := bufio.NewWriter(w)
	for i, rec := range e.records {
		if i > 0 {
			out.WriteString("---\n")
		}
		text, err := e.document(rec)
		if err != nil {
			return fmt.Errorf("write %s: %w", rec.Key(), err)
		}
		out.Write(text)
	}
	return out.Flush()
}

// An encoder knows all records, since one document may hold several.
type encoder struct {
	records []record.Record
	names   map[string]string   // comments on ids
	members map[string][]string // direct members of a group
	listed  map[record.Key]bool // groups whose members are listed
}

func newEncoder(seq iter.Seq[record.Record]) *encoder {
	e := &encoder{
		names:   make(map[string]string),
		members: make(map[string][]string),
		listed:  make(map[record.Key]bool),
	}
	// In order from here on: which of two things with one id gives it its name
	// must not depend on who came first.
	all := slices.SortedFunc(seq, func(a, b record.Record) int { return compareKeys(a.Key(), b.Key()) })
	for d := range estate.New().Definitions() {
		e.names[d.ID.String()] = d.RoleName
	}
	for role := range directoryrole.All() {
		e.names[role.Definition.ID.String()] = role.RoleName
	}
	for _, rec := range all {
		if id, name := nameOf(rec); id != "" && e.names[id] == "" {
			e.names[id] = name
		}
		if m, ok := rec.(directory.Membership); ok {
			e.members[m.Group.String()] = append(e.members[m.Group.String()], m.Member.String())
		}
	}
	for _, rec := range all {
		if g, ok := rec.(directory.Group); ok {
			if n := len(e.members[g.ID.String()]); n > 0 && n <= maxMembers {
				e.listed[g.Key()] = true
			}
		}
	}
	for _, rec := range all {
		if m, ok := rec.(directory.Membership); ok && e.listed[record.KeyOf(record.Group, m.Group.String())] {
			continue
		}
		e.records = append(e.records, rec)
	}
	for _, list := range e.members {
		slices.Sort(list)
	}
	return e
}

// equal compares records by their stored form.
func equal(a, b record.Record) bool {
	x, err1 := record.Marshal(a)
	y, err2 := record.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// nameOf returns what people call a record, and the id that stands for it elsewhere.
func nameOf(rec record.Record) (id, name string) {
	key := rec.Key()
	switch n, err := toNode(rec); {
	case err != nil:
	case key.Kind == record.User:
		return key.Parts[0], n.textOf("userPrincipalName")
	case key.Kind == record.RoleDefinition:
		return key.Parts[0], n.textOf("roleName")
	case key.Kind == record.Tenant:
		if d := n.get("domains"); d != nil && len(d.items) > 0 {
			return key.Parts[0], d.items[0].text
		}
	case key.Kind == record.Application:
		return n.textOf("id"), n.textOf("displayName")
	case key.Kind == record.Group, key.Kind == record.ServicePrincipal, key.Kind == record.ManagedIdentity:
		return key.Parts[0], n.textOf("displayName")
	}
	return "", ""
}

// toNode returns the stored JSON of a record as a node.
func toNode(rec record.Record) (*node, error) {
	data, err := record.Marshal(rec)
	if err != nil {
		return nil, err
	}
	var ps problems
	docs := readJSON(rec.Key().String(), data, &ps)
	if err := ps.err(); err != nil {
		return nil, err
	}
	return docs[0].root, nil
}

func (e *encoder) document(rec record.Record) ([]byte, error) {
	n, err := toNode(rec)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "kind: %s\n", rec.Key().Kind)
	if e.listed[rec.Key()] {
		list := &node{kind: arrayNode}
		for _, id := range e.members[rec.Key().Parts[0]] {
			list.items = append(list.items, &node{kind: stringNode, text: id})
		}
		n.members = append(n.members, member{name: membersField, value: list})
	}
	for i, m := range n.members {
		// The first field names the record itself, so its name is not news.
		e.field(&b, "", m, i > 0 || saysOfOthers[rec.Key().Kind])
	}
	return b.Bytes(), nil
}

// saysOfOthers are the kinds that have no name of their own.
var saysOfOthers = map[record.Kind]bool{record.Membership: true, record.DirectoryRoleAssignment: true, record.Ownership: true}

// field writes a member of an object in block style.
func (e *encoder) field(b *bytes.Buffer, indent string, m member, comment bool) {
	b.WriteString(indent + quote(m.name) + ":")
	e.value(b, indent, m.value, comment)
}

// value writes what stands behind a colon or dash, and ends the line.
func (e *encoder) value(b *bytes.Buffer, indent string, n *node, comment bool) {
	switch {
	case n.kind == arrayNode && len(n.items) == 0:
		b.WriteString(" []\n")
	case n.kind == objectNode && len(n.members) == 0:
		b.WriteString(" {}\n")
	case n.kind == arrayNode:
		b.WriteByte('\n')
		for _, item := range n.items {
			e.item(b, indent, item)
		}
	case n.kind == objectNode:
		b.WriteByte('\n')
		for _, m := range n.members {
			e.field(b, indent+"  ", m, true)
		}
	default:
		b.WriteByte(' ')
		e.scalar(b, n, comment)
	}
}

func (e *encoder) item(b *bytes.Buffer, indent string, n *node) {
	if n.kind != objectNode || len(n.members) == 0 {
		b.WriteString(indent + "-")
		e.value(b, indent+"  ", n, true)
		return
	}
	for i, m := range n.members {
		lead := indent + "  "
		if i == 0 {
			b.WriteString(indent + "- ")
			lead = ""
		}
		b.WriteString(lead + quote(m.name) + ":")
		e.value(b, indent+"  ", m.value, true)
	}
}

func (e *encoder) scalar(b *bytes.Buffer, n *node, comment bool) {
	switch n.kind {
	case stringNode:
		b.WriteString(quote(n.text))
		if name := e.names[n.text]; comment && name != "" {
			b.WriteString(" # " + oneLine(name))
		}
	case nullNode:
		b.WriteString("null")
	default:
		b.WriteString(n.text)
	}
	b.WriteByte('\n')
}

// plainText is text that every reader of YAML takes for itself without quotes.
var plainText = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9 _./@()+*-]*$`)

// quote writes a text as YAML, in quotes where it could be taken for anything else.
func quote(s string) string {
	if plainText.MatchString(s) && !strings.HasSuffix(s, " ") && !oldBoolean.MatchString(s) && !strings.EqualFold(s, "null") {
		return s
	}
	if isGUID(s) { // the hyphens inside keep it from being a number, whatever its digits
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r) && r != '\uFEFF':
			b.WriteRune(r)
		case r <= 0xFF:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// oneLine makes a name fit for a comment, which a line break would end.
func oneLine(s string) string {
	return clip(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s))
}
