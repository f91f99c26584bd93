// Package manifest is the one written form of an estate: YAML documents that
// people keep in a folder, review, and apply. The sample estate, the decision
// corpus, export and apply all use it.
//
// Every document has a kind, a record.Kind, and beside it the fields of that
// record's stored JSON, flat. A JSON file holds one document; a document of
// kind List holds many under items. Native Kubernetes roles and bindings stand
// in the same files and name their cluster by an annotation.
//
// Some fields may be written as people know them. They are resolved when the
// files are read, and only then:
//
//	RoleAssignment.role       the name of a role, in any letter case; so too
//	                          RoleEligibility.role, RoleManagementPolicy.role and
//	                          RoleScheduleRequest.role
//	RoleAssignment.principal  a user principal name or a unique display name; so too
//	                          Membership.group and .member, Group.members,
//	                          Cluster.adminGroups, DenyAssignment.principals and
//	                          .excludePrincipals, RoleEligibility.principal,
//	                          DirectoryRoleAssignment.principal,
//	                          Ownership.owner, IdentityRequest.requester
//	DirectoryRoleAssignment.role  the name of a role of the directory
//	Ownership.object          the name that only one application or principal has; so
//	                          too DirectoryRoleAssignment.object
//	RoleAssignment.id         may be left out: it follows from scope, principal and role;
//	                          so may RoleEligibility.id
//	Group.members             a list of direct members, which become Membership records
//	*.tenant                  a verified domain of the tenant
//	KubeRole.cluster          the unique name of a cluster; so too KubeBinding.cluster,
//	                          IdentityRequest.cluster
//	                          and the annotation gatehouse.io/cluster
//
// Scopes may be written in any letter case. docs/guides/estate-format.md tells this
// to people, and what the strict reader refuses.
package manifest

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Decode reads files, name to content, and returns their records ordered by
// kind and key. Names that the files do not define are looked up in base, which
// may be nil. The error joins a *Problem for every mistake found, not only the
// first, and comes without records.
//
// References by id are not checked here: a grant to somebody who is gone is a
// record like any other. Estate rules are estate.Load's business.
func Decode(files iter.Seq2[string, []byte], base *estate.Snapshot) ([]record.Record, error) {
	located, err := decode(files, base)
	if err != nil {
		return nil, err
	}
	records := make([]record.Record, len(located))
	for i, l := range located {
		records[i] = l.Record
	}
	return records, nil
}

// A placed record knows where it was written.
type placed struct {
	record.Record
	file string
	line int
}

// decode is Decode that remembers where each record stands.
func decode(files iter.Seq2[string, []byte], base *estate.Snapshot) ([]placed, error) {
	if base == nil {
		base = estate.New()
	}
	l := &loader{base: base, seen: make(map[record.Key]*placed)}
	for name, data := range files {
		l.read(name, data)
	}
	l.names = newNames(base, l.entries)
	for _, e := range l.entries {
		l.load(e)
	}
	if err := l.err(); err != nil {
		return nil, err
	}
	slices.SortFunc(l.records, func(a, b *placed) int { return compareKeys(a.Key(), b.Key()) })
	out := make([]placed, len(l.records))
	for i, p := range l.records {
		out[i] = *p
	}
	return out, nil
}

// compareKeys orders keys by kind, as record.Kinds does, and then by their parts.
func compareKeys(a, b record.Key) int {
	return cmp.Or(
		cmp.Compare(slices.Index(record.Kinds, a.Kind), slices.Index(record.Kinds, b.Kind)),
		slices.Compare(a.Parts[:], b.Parts[:]),
	)
}

// A loader turns documents into records.
type loader struct {
	problems
	base    *estate.Snapshot
	entries []entry
	names   *names
	records []*placed
	seen    map[record.Key]*placed
}

// An entry is one object to become a record: ours, or a native Kubernetes one.
type entry struct {
	file    string
	line    int
	kind    record.Kind
	node    *node
	native  bool
	cluster string // for a native object, what the annotation says
}

// read parses one file and takes its documents apart.
func (l *loader) read(file string, data []byte) {
	switch {
	case len(data) > maxFile:
		l.add(file, 0, fmt.Sprintf("the file has %d bytes", len(data)), fmt.Sprintf("at most %d; split it", maxFile))
		return
	case !utf8.Valid(data):
		l.add(file, 0, "not UTF-8", "save it as UTF-8 without a byte order mark")
		return
	}
	read := readYAML
	if strings.EqualFold(path.Ext(file), ".json") {
		read = readJSON
	}
	for _, doc := range read(file, data, &l.problems) {
		l.take(file, doc.root, "")
	}
}

// take adds the entries of one object; the items of a List take on its annotation.
func (l *loader) take(file string, n *node, cluster string) {
	if !l.want(file, n, objectNode, "a document") {
		return
	}
	kind := n.textOf("kind")
	if note := n.path("metadata", "annotations", Annotation); note != nil && note.kind == stringNode {
		cluster = note.text
	}
	native := n.get("apiVersion") != nil
	switch {
	case kind == "":
		l.add(file, n.line, "a document without kind", "say what it is, such as kind: User; the kinds are "+kindList())
	case kind == "List" || native && strings.HasSuffix(kind, "List"):
		items := n.get("items")
		if items == nil || !l.want(file, items, arrayNode, "items") {
			return
		}
		for _, item := range items.items {
			l.take(file, item, cluster)
		}
	case native:
		l.entries = append(l.entries, entry{file: file, line: n.line, node: n, native: true, cluster: cluster})
	case schema[record.Kind(kind)] == nil:
		l.add(file, n.line, fmt.Sprintf("unknown kind %q", clip(kind)), kindHint(kind))
	default:
		l.entries = append(l.entries, entry{file: file, line: n.line, kind: record.Kind(kind), node: n.without("kind")})
	}
}

func (n *node) path(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		n = n.get(name)
	}
	return n
}

func kindList() string {
	var list []string
	for _, k := range record.Kinds {
		list = append(list, string(k))
	}
	return strings.Join(list, ", ")
}

func kindHint(kind string) string {
	if slices.Contains([]string{"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}, kind) {
		return "a native Kubernetes object needs its apiVersion: rbac.authorization.k8s.io/v1"
	}
	if near := nearest.Names(kind, keysOf(schema), 1); near != nil {
		return fmt.Sprintf("did you mean %q?", near[0])
	}
	return "the kinds are " + kindList()
}

func keysOf(m map[record.Kind]reflect.Type) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range maps.Keys(m) {
			if !yield(string(k)) {
				return
			}
		}
	}
}

// load makes the record, or records, of one entry.
func (l *loader) load(e entry) {
	if e.native {
		l.loadNative(e)
		return
	}
	before := len(l.list)
	n, extra, members := l.resolve(e)
	ok := l.check(e.file, n, schema[e.kind], string(e.kind), extra...)
	n = n.without(extra...)
	if !ok || len(l.list) > before {
		return
	}
	if n.get("id") == nil {
		switch e.kind {
		case record.RoleAssignment:
			n = n.with("id", l.grantID(n, l.assignmentID))
		case record.RoleEligibility:
			n = n.with("id", l.grantID(n, l.eligibilityID))
		}
	}
	rec, err := estate.Decode(e.kind, n.appendJSON(nil))
	if err != nil {
		l.add(e.file, e.line, plain(err), "")
		return
	}
	l.put(e, rec)
	if g, ok := rec.(directory.Group); ok {
		for _, m := range members {
			l.put(entry{file: e.file, line: m.line}, directory.Membership{Group: g.ID, Member: m.id})
		}
	}
}

// put adds a record unless its key is taken.
func (l *loader) put(e entry, rec record.Record) {
	key := rec.Key()
	if first, taken := l.seen[key]; taken {
		l.add(e.file, e.line, fmt.Sprintf("%s stands twice", key), fmt.Sprintf("it is already at %s:%d; keep one", first.file, first.line))
		return
	}
	p := &placed{rec, e.file, e.line}
	l.seen[key] = p
	l.records = append(l.records, p)
}

// plain is an error's text without the words that every such error begins with.
func plain(err error) string {
	text := err.Error()
	for {
		rest, ok := strings.CutPrefix(text, record.ErrInvalid.Error()+": ")
		if !ok {
			return text
		}
		text = rest
	}
}
