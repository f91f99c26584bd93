package manifest

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// names looks up what people call things, in the files first and, for what the
// files do not mention, in the estate below them.
type names struct {
	base       *estate.Snapshot
	principals map[string][]named // by user principal name and by display name
	apps       map[string][]named // by display name; their object ids
	roles      map[string][]named // by role name in lower case
	clusters   map[string][]named // by name in lower case
	tenants    map[string][]named // by domain
	written    map[string]bool    // the ids that the files define
	withBase   bool               // whether base's principals are in yet
}

// A named thing is a candidate for a name.
type named struct{ id, name, what string }

// A nameError is a name that names nothing, or more than one thing.
type nameError struct{ what, next string }

func (e *nameError) Error() string { return e.what + ": " + e.next }

func newNames(base *estate.Snapshot, entries []entry) *names {
	ns := &names{
		base:       base,
		principals: make(map[string][]named),
		apps:       make(map[string][]named),
		roles:      make(map[string][]named),
		clusters:   make(map[string][]named),
		tenants:    make(map[string][]named),
		written:    make(map[string]bool),
	}
	for _, e := range entries {
		if !e.native && e.node.kind == objectNode {
			ns.addEntry(e)
		}
	}
	for t := range base.Tenants() {
		ns.addTenant(t.ID.String(), t.Domains)
	}
	for c := range base.Clusters() {
		ns.add(ns.clusters, strings.ToLower(c.Scope.Name()), named{c.Scope.String(), c.Scope.Name(), "cluster"})
	}
	return ns
}

// addEntry adds what the files call one thing. It reads the node and not the
// record, so that one mistake in a document does not make its name unknown.
func (ns *names) addEntry(e entry) {
	id := strings.ToLower(e.node.textOf("id"))
	display := e.node.textOf("displayName")
	switch e.kind {
	case record.User, record.Group, record.ServicePrincipal, record.ManagedIdentity:
		if !isGUID(id) {
			return
		}
		ns.written[id] = true
		who := named{id, display, string(e.kind)}
		if upn, err := directory.CanonicalUPN(e.node.textOf("userPrincipalName")); err == nil {
			who.name = upn
			ns.add(ns.principals, upn, who)
		}
		ns.add(ns.principals, display, who)
	case record.Application:
		if isGUID(id) {
			ns.written[id] = true
			ns.add(ns.apps, display, named{id, display, string(e.kind)})
		}
	case record.RoleDefinition:
		name := e.node.textOf("roleName")
		ns.add(ns.roles, strings.ToLower(name), named{id, name, "role"})
	case record.Cluster:
		if at, err := scope.Parse(e.node.textOf("scope")); err == nil {
			ns.add(ns.clusters, at.Name(), named{at.String(), at.Name(), "cluster"})
		}
	case record.Tenant:
		var domains []string
		if list := e.node.get("domains"); list != nil {
			for _, d := range list.items {
				domains = append(domains, d.text)
			}
		}
		ns.addTenant(id, domains)
	}
}

func (ns *names) addTenant(id string, domains []string) {
	for _, d := range domains {
		ns.add(ns.tenants, strings.ToLower(d), named{id, d, "tenant"})
	}
}

func (ns *names) add(m map[string][]named, name string, n named) {
	if name == "" || n.id == "" || slices.ContainsFunc(m[name], func(o named) bool { return o.id == n.id }) {
		return
	}
	m[name] = append(m[name], n)
}

// addBase adds the principals of base that the files do not redefine. It is put
// off until a name is not in the files, since base may be large.
func (ns *names) addBase() {
	if ns.withBase {
		return
	}
	ns.withBase = true
	for p := range ns.base.Principals() {
		who := named{p.ID.String(), p.Name, string(p.Kind)}
		if ns.written[who.id] {
			continue
		}
		ns.add(ns.principals, p.Name, who)
		if u, ok := ns.base.User(p.ID); ok {
			ns.add(ns.principals, u.DisplayName, who)
		}
	}
	for a := range ns.base.Applications() {
		if id := a.ID.String(); !ns.written[id] {
			ns.add(ns.apps, a.DisplayName, named{id, a.DisplayName, string(record.Application)})
		}
	}
}

// principal returns the object id of somebody.
func (ns *names) principal(text string) (string, error) {
	if isGUID(text) {
		return text, nil
	}
	ns.addBase()
	found := ns.principals[text]
	if found == nil {
		if upn, err := directory.CanonicalUPN(text); err == nil {
			found = ns.principals[upn]
		}
	}
	return one("principal", text, found, maps.Keys(ns.principals))
}

// object returns the object id of something in a directory: an application or a
// principal.
func (ns *names) object(text string) (string, error) {
	if isGUID(text) {
		return text, nil
	}
	ns.addBase()
	found := append(slices.Clone(ns.apps[text]), ns.principals[text]...)
	return one("object of the directory", text, found, func(yield func(string) bool) {
		for _, m := range []map[string][]named{ns.apps, ns.principals} {
			for name := range m {
				if !yield(name) {
					return
				}
			}
		}
	})
}

// directoryRole returns the id of a role of the directory.
func directoryRole(text string) (string, error) {
	if isGUID(text) {
		return text, nil
	}
	role, ok := directoryrole.ByName(text)
	if !ok {
		return one("directory role", text, nil, func(yield func(string) bool) {
			for role := range directoryrole.All() {
				if !yield(role.RoleName) {
					return
				}
			}
		})
	}
	return role.Definition.ID.String(), nil
}

// role returns the id of a role definition.
func (ns *names) role(text string) (string, error) {
	if isGUID(text) {
		return text, nil
	}
	found := ns.roles[strings.ToLower(text)]
	if found == nil {
		if d, ok := ns.base.DefinitionByName(text); ok {
			return d.ID.String(), nil
		}
	}
	return one("role", text, found, func(yield func(string) bool) {
		for _, list := range ns.roles {
			if !yield(list[0].name) {
				return
			}
		}
		for d := range ns.base.Definitions() {
			if !yield(d.RoleName) {
				return
			}
		}
	})
}

// cluster returns the scope of a cluster.
func (ns *names) cluster(text string) (string, error) {
	if strings.HasPrefix(text, "/") {
		return text, nil
	}
	return one("cluster", text, ns.clusters[strings.ToLower(text)], maps.Keys(ns.clusters))
}

// tenant returns the id of a tenant.
func (ns *names) tenant(text string) (string, error) {
	if isGUID(text) {
		return text, nil
	}
	return one("tenant", text, ns.tenants[strings.ToLower(text)], maps.Keys(ns.tenants))
}

// one returns the id of the only candidate.
func one(what, text string, found []named, have iter.Seq[string]) (string, error) {
	switch len(found) {
	case 1:
		return found[0].id, nil
	case 0:
		next := "write an id, or add what it names"
		if near := nearest.Names(text, have, 3); near != nil {
			next = fmt.Sprintf("did you mean %s?", quoteAll(near))
		}
		return "", &nameError{fmt.Sprintf("%q names no %s", clip(text), what), next}
	}
	var ids []string
	for _, n := range found {
		ids = append(ids, fmt.Sprintf("%s (%s %s)", n.id, n.what, clip(n.name)))
	}
	slices.Sort(ids)
	return "", &nameError{fmt.Sprintf("%q names %d things", clip(text), len(found)), "write one of their ids: " + strings.Join(ids, ", ")}
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(quoted, " or ")
}
