package manifest

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// schema has the Go type of every kind of record. The field names of a document
// are those of the stored JSON, so the types are all the schema there is.
var schema = map[record.Kind]reflect.Type{
	record.Tenant:              reflect.TypeFor[directory.Tenant](),
	record.User:                reflect.TypeFor[directory.User](),
	record.Group:               reflect.TypeFor[directory.Group](),
	record.Membership:          reflect.TypeFor[directory.Membership](),
	record.Application:         reflect.TypeFor[directory.Application](),
	record.ServicePrincipal:    reflect.TypeFor[directory.ServicePrincipal](),
	record.ManagedIdentity:     reflect.TypeFor[directory.ManagedIdentity](),
	record.FederatedCredential: reflect.TypeFor[directory.FederatedCredential](),
	record.ManagementGroup:     reflect.TypeFor[resource.ManagementGroup](),
	record.Subscription:        reflect.TypeFor[resource.Subscription](),
	record.ResourceGroup:       reflect.TypeFor[resource.Group](),
	record.Cluster:             reflect.TypeFor[resource.Cluster](),
	record.Resource:            reflect.TypeFor[resource.Other](),
	record.RoleDefinition:      reflect.TypeFor[azurerbac.Definition](),
	record.RoleAssignment:      reflect.TypeFor[azurerbac.Assignment](),
	record.DenyAssignment:      reflect.TypeFor[azurerbac.DenyAssignment](),
	record.KubeRole:            reflect.TypeFor[kuberbac.Role](),
	record.KubeBinding:         reflect.TypeFor[kuberbac.Binding](),
	record.Rehearsal:           reflect.TypeFor[rehearsal.Knobs](),

	record.RoleEligibility:         reflect.TypeFor[azurerbac.Eligibility](),
	record.RoleScheduleRequest:     reflect.TypeFor[azurerbac.Request](),
	record.RoleManagementPolicy:    reflect.TypeFor[azurerbac.Policy](),
	record.DirectoryRoleAssignment: reflect.TypeFor[directory.RoleAssignment](),
	record.Ownership:               reflect.TypeFor[directory.Ownership](),
	record.IdentityRequest:         reflect.TypeFor[identityrequest.Request](),
}

// check compares a node with the Go type that it will become and reports every
// difference at its line. Fields in extra are known besides those of the type.
func (l *loader) check(file string, n *node, t reflect.Type, what string, extra ...string) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n.kind {
	case toldNode:
		return false
	}
	if t == reflect.TypeFor[resource.Properties]() {
		return l.want(file, n, objectNode, what) // its inside is not ours
	}
	switch n.kind {
	case nullNode:
		l.add(file, n.line, what+" has no value", "leave it out, or write a value")
		return false
	}
	if text, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		if !l.want(file, n, stringNode, what) {
			return false
		}
		if err := text.UnmarshalText([]byte(n.text)); err != nil {
			l.add(file, n.line, what+": "+err.Error(), "")
			return false
		}
		return true
	}
	switch t.Kind() {
	case reflect.String:
		return l.want(file, n, stringNode, what)
	case reflect.Bool:
		return l.want(file, n, boolNode, what)
	case reflect.Int:
		if !l.want(file, n, numberNode, what) {
			return false
		}
		if strings.ContainsAny(n.text, ".eE") || len(n.text) > 9 {
			l.add(file, n.line, fmt.Sprintf("%s is %s", what, clip(n.text)), "write a small whole number")
			return false
		}
		return true
	case reflect.Slice:
		if !l.want(file, n, arrayNode, what) {
			return false
		}
		ok := true
		for _, item := range n.items {
			ok = l.check(file, item, t.Elem(), what) && ok
		}
		return ok
	case reflect.Map:
		if !l.want(file, n, objectNode, what) {
			return false
		}
		ok := true
		for _, m := range n.members {
			ok = l.check(file, m.value, t.Elem(), what+"."+m.name) && ok
		}
		return ok
	}
	return l.checkStruct(file, n, t, what, extra)
}

func (l *loader) checkStruct(file string, n *node, t reflect.Type, what string, extra []string) bool {
	if !l.want(file, n, objectNode, what) {
		return false
	}
	known := fields(t)
	ok := true
	for _, m := range n.members {
		field, found := known[m.name]
		switch {
		case found:
			ok = l.check(file, m.value, field, m.name) && ok
		case !slices.Contains(extra, m.name):
			names := append(slices.Sorted(maps.Keys(known)), extra...)
			next := "the fields are " + strings.Join(names, ", ")
			if near := nearest.Names(m.name, slices.Values(names), 1); near != nil {
				next = fmt.Sprintf("did you mean %q?", near[0])
			}
			l.add(file, m.line, fmt.Sprintf("%s has no field %q", what, clip(m.name)), next)
			ok = false
		}
	}
	return ok
}

// fields returns the JSON names of a struct's fields with their types.
func fields(t reflect.Type) map[string]reflect.Type {
	out := make(map[string]reflect.Type, t.NumField())
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out[name] = f.Type
		}
	}
	return out
}

func (l *loader) want(file string, n *node, kind nodeKind, what string) bool {
	if n.kind == kind {
		return true
	}
	next := ""
	switch {
	case kind == stringNode && (n.kind == boolNode || n.kind == numberNode):
		next = fmt.Sprintf("put it in quotes: %q", n.text)
	case kind == arrayNode:
		next = "write a list, one item a line, each after a dash"
	case kind == boolNode && n.kind == stringNode:
		next = "write true or false without quotes"
	}
	l.add(file, n.line, fmt.Sprintf("%s is %s, not %s", what, n.kind, kind), next)
	return false
}
