package manifest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Annotation names the cluster of a native Kubernetes object: a cluster's
// scope, or the unique name of a cluster.
const Annotation = "gatehouse.io/cluster"

// membersField lists the direct members of a group.
const membersField = "members"

// A memberRef is one entry of a group's members.
type memberRef struct {
	id   principal.ID
	line int
}

// principalFields are the fields that name principals, each a text or a list.
var principalFields = map[record.Kind][]string{
	record.RoleAssignment: {"principal", "createdBy", "updatedBy"},
	record.Membership:     {"group", "member"},
	record.Cluster:        {"adminGroups"},
	record.DenyAssignment: {"principals", "excludePrincipals"},

	record.RoleEligibility:         {"principal", "createdBy"},
	record.RoleScheduleRequest:     {"principal", "requestedBy"},
	record.RoleManagementPolicy:    {"updatedBy"},
	record.DirectoryRoleAssignment: {"principal"},
	record.Ownership:               {"owner"},
	record.IdentityRequest:         {"requester"},
}

// ofAzure are the kinds whose field role names a role of Azure.
var ofAzure = map[record.Kind]bool{record.RoleAssignment: true, record.RoleEligibility: true, record.RoleScheduleRequest: true, record.RoleManagementPolicy: true}

// resolve returns an entry's node with names replaced by ids, the fields that
// are conveniences of this package, and a group's members.
func (l *loader) resolve(e entry) (n *node, extra []string, members []memberRef) {
	n = e.node
	if n.kind != objectNode {
		return n, nil, nil
	}
	out := *n
	out.members = append([]member(nil), n.members...)
	for i, m := range out.members {
		switch {
		case m.name == "tenant":
			out.members[i].value = l.each(e, m, l.names.tenant)
		case m.name == "role" && ofAzure[e.kind]:
			out.members[i].value = l.each(e, m, l.names.role)
		case e.kind == record.DirectoryRoleAssignment && m.name == "role":
			out.members[i].value = l.each(e, m, directoryRole)
		case m.name == "object" && (e.kind == record.DirectoryRoleAssignment || e.kind == record.Ownership):
			out.members[i].value = l.each(e, m, l.names.object)
		case m.name == "cluster" && (e.kind == record.KubeRole || e.kind == record.KubeBinding || e.kind == record.IdentityRequest):
			out.members[i].value = l.each(e, m, l.names.cluster)
		default:
			for _, field := range principalFields[e.kind] {
				if field == m.name {
					out.members[i].value = l.each(e, m, l.names.principal)
				}
			}
		}
	}
	if e.kind != record.Group {
		return &out, nil, nil
	}
	if list := n.get(membersField); list != nil && l.want(e.file, list, arrayNode, "members") {
		for _, item := range l.each(e, member{membersField, list.line, list}, l.names.principal).items {
			if id, err := principal.ParseID(item.text); item.kind == stringNode && err == nil {
				members = append(members, memberRef{id, item.line})
			} else if item.kind != toldNode {
				l.want(e.file, item, stringNode, "a member")
			}
		}
	}
	return &out, []string{membersField}, members
}

// each replaces the text of a field, or of the items of a list, by what lookup
// makes of it. What is neither is left to the check of types.
func (l *loader) each(e entry, m member, lookup func(string) (string, error)) *node {
	v := *m.value
	switch v.kind {
	case stringNode:
		text, err := lookup(v.text)
		if err != nil {
			l.addName(e.file, v.line, m.name+" ", err)
			return &node{kind: toldNode, line: v.line}
		}
		v.text = text
	case arrayNode:
		v.items = make([]*node, len(m.value.items))
		for i, item := range m.value.items {
			v.items[i] = l.each(e, member{m.name, item.line, item}, lookup)
		}
	}
	return &v
}

// addName adds the problem of a name that could not be looked up.
func (l *loader) addName(file string, line int, what string, err error) {
	if e, ok := errors.AsType[*nameError](err); ok {
		l.add(file, line, what+e.what, e.next)
		return
	}
	l.add(file, line, what+err.Error(), "")
}

// A triple is what names a grant that has no id written.
type triple struct {
	at   scope.Scope
	who  principal.ID
	role azurerbac.DefinitionID
}

// grantID returns the id of a role assignment or eligibility that has none written:
// that of the one in base which says the same, else one made from what it says.
func (l *loader) grantID(n *node, of func(triple) string) string {
	at, err1 := scope.Parse(n.textOf("scope"))
	who, err2 := principal.ParseID(n.textOf("principal"))
	var role azurerbac.DefinitionID
	err3 := role.UnmarshalText([]byte(n.textOf("role")))
	if err1 != nil || err2 != nil || err3 != nil {
		return "" // the record's own check says what is missing
	}
	return of(triple{at, who, role})
}

func (l *loader) assignmentID(t triple) string {
	for _, a := range l.base.AssignmentsOf(t.who) {
		if a.Scope == t.at && a.Role == t.role {
			return a.ID.String()
		}
	}
	return AssignmentID(t.at, t.who, t.role).String()
}

func (l *loader) eligibilityID(t triple) string {
	for _, el := range l.base.EligibilitiesOf(t.who) {
		if el.Scope == t.at && el.Role == t.role {
			return el.ID.String()
		}
	}
	return guid.Derived[struct{}]("gatehouse role eligibility", t.at.String(), t.who.String(), t.role.String()).String()
}

// AssignmentID is the id of a role assignment that is written without one. Who
// applies the same file twice makes one assignment, not two.
func AssignmentID(at scope.Scope, who principal.ID, role azurerbac.DefinitionID) azurerbac.AssignmentID {
	return azurerbac.AssignmentID(guid.Derived[struct{}]("gatehouse role assignment", at.String(), who.String(), role.String()))
}

// loadNative makes the record of a Kubernetes object.
func (l *loader) loadNative(e entry) {
	api := e.node.textOf("apiVersion")
	if !strings.HasPrefix(api, "rbac.authorization.k8s.io/") {
		l.add(e.file, e.line, fmt.Sprintf("%s %q is not read", clip(e.node.textOf("kind")), clip(api)),
			"only rbac.authorization.k8s.io/v1 objects belong to an estate; leave it out")
		return
	}
	what := fmt.Sprintf("%s %q", clip(e.node.textOf("kind")), clip(nodeText(e.node.path("metadata", "name"))))
	if e.cluster == "" {
		l.add(e.file, e.line, what+" names no cluster", fmt.Sprintf("add the annotation %s with the name of its cluster", Annotation))
		return
	}
	text, err := l.names.cluster(e.cluster)
	if err != nil {
		l.addName(e.file, e.line, what+": cluster ", err)
		return
	}
	cluster, err := scope.Parse(text)
	if err != nil {
		l.add(e.file, e.line, what+": "+err.Error(), "")
		return
	}
	rec, err := kuberbac.FromObject(cluster, e.node.appendJSON(nil))
	if err != nil {
		l.add(e.file, e.line, what+": "+plain(err), "")
		return
	}
	l.put(e, rec)
}

func nodeText(n *node) string {
	if n == nil {
		return ""
	}
	return n.text
}

// isGUID reports whether a text is an id, which is never looked up as a name:
// a group may be called like another one's id (catalogue DIR-07).
func isGUID(s string) bool {
	_, err := guid.Parse[struct{}](s)
	return err == nil
}
