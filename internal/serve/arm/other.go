package arm

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// The kinds of what has no kind of its own: its type is that of the route.
const (
	others kind = "resourcesOfType"
	other  kind = "resourceOfType"
)

var otherHandlers = map[kind]map[string]handler{
	others: {"GET": listOthers},
	other:  {"GET": getOther, "PUT": putOther, "PATCH": patchOther, "DELETE": deleteOther},
}

// otherBody is a resource as clients read it: what it has of its own stands beside
// what every resource has.
func (s *session) otherBody(o resource.Other) any {
	body := membersOf(o.More)
	body.set("id", s.idOf(o.Scope, o.Name))
	body.set("name", o.Name)
	body.set("type", o.Type)
	if isChild(o.Scope) {
		delete(body, "location")
	} else {
		body.set("location", o.Location)
		body.set("tags", tagsOf(o.Tags))
	}
	p := membersOf(o.Properties)
	typ := otherTypes[o.Scope.Type()]
	for name := range typ.children {
		p.set(name, s.childBodies(o, typ.children[name]))
	}
	if typ.show != nil {
		typ.show(s, o, p)
	}
	p.set("provisioningState", "Succeeded")
	body.set("properties", p)
	return body
}

func isChild(at scope.Scope) bool { return up(at).Type() != "resourcegroups" }

// children are the resources of a type right below another one, in order of name.
func (s *session) children(o resource.Other, typ string) []resource.Other {
	var list []resource.Other
	for c := range s.est.Resources() {
		if up(c.Scope) == o.Scope && sameName(c.Type, typ) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b resource.Other) int { return compareScopes(a.Scope, b.Scope) })
	return list
}

func (s *session) childBodies(o resource.Other, typ string) []any {
	list := []any{}
	for _, c := range s.children(o, typ) {
		list = append(list, s.otherBody(c))
	}
	return list
}

func listOthers(s *session, r *request) (answer, error) {
	typ := otherTypes[r.typ]
	if err := s.listable(typ.name+"/read", r.at); err != nil {
		return answer{}, err
	}
	if err := s.exists(r.at); err != nil {
		return answer{}, err
	}
	var rows []row
	for o := range s.est.Resources() {
		if r.at.Contains(o.Scope) && o.Scope.Type() == r.typ && s.may(typ.name+"/read", o.Scope) {
			rows = append(rows, row{o.Scope.String(), s.otherBody(o)})
		}
	}
	return s.page(r, rows)
}

func getOther(s *session, r *request) (answer, error) {
	if err := s.needAt(otherTypes[r.typ].name+"/read", r.at); err != nil {
		return answer{}, err
	}
	o, found := s.est.Resource(r.at)
	if !found {
		return answer{}, s.notThere(r.at)
	}
	return ok(o, s.otherBody(o)), nil
}

// otherInput takes a body apart: what every resource has, and the rest.
type otherInput struct {
	location   *string
	tags       *record.Tags
	properties members // nil when there are none
	more       members
}

func (r *request) other() (in otherInput, err error) {
	in.more = make(members)
	if err := r.decode(&in.more); err != nil {
		return in, err
	}
	part := func(name string, v any) {
		if text, there := in.more[name]; there && err == nil {
			if e := json.Unmarshal(text, v); e != nil {
				err = badContent(fmt.Errorf("%s: %w", name, e))
			}
			delete(in.more, name)
		}
	}
	part("location", &in.location)
	part("tags", &in.tags)
	part("properties", &in.properties)
	// These say what the house knows better (ARM-09).
	for _, name := range []string{"id", "name", "type", "etag", "systemData", "managedBy"} {
		delete(in.more, name)
	}
	return in, err
}

// into puts what a body says into a resource, whose resource group is at a location.
func (in *otherInput) into(o *resource.Other, p, more members, group string) (err error) {
	if in.location != nil && !isChild(o.Scope) {
		others := []string{group}
		if otherTypes[o.Scope.Type()].global {
			others = append(others, "global")
		}
		if o.Location, err = locationOf(o.Type, o.Name, o.Location, *in.location, others...); err != nil {
			return err
		}
	}
	if in.tags != nil {
		if o.Tags = *in.tags; len(o.Tags) == 0 {
			o.Tags = nil
		}
	}
	delete(p, "provisioningState")
	if o.Properties, err = p.properties(); err != nil {
		return err
	}
	if o.More, err = more.properties(); err != nil {
		return err
	}
	return o.Validate()
}

func putOther(s *session, r *request) (answer, error) {
	typ := otherTypes[r.typ]
	old, exists := s.est.Resource(r.at)
	next := resource.Other{Scope: r.at, Name: r.last(), Type: typ.name}
	var before record.Record
	if exists {
		before = old
		next.Name, next.Type, next.Location = old.Name, old.Type, old.Location
	}
	if err := s.need(serve.ToPut(s.est, before, next)...); err != nil {
		return answer{}, err
	}
	if err := s.exists(up(r.at)); err != nil {
		return answer{}, err
	}
	if err := s.open(r.at); err != nil {
		return answer{}, err
	}
	if !exists && !typ.rule.allows(next.Name) {
		return answer{}, badName(typ.name, next.Name, typ.rule.text)
	}
	in, err := r.other()
	if err != nil {
		return answer{}, err
	}
	if in.location == nil && !isChild(r.at) && old.Location == "" {
		return answer{}, noLocation()
	}
	if in.properties == nil {
		in.properties = make(members)
	}
	return s.write(old, exists, next, in, in.properties, in.more)
}

func patchOther(s *session, r *request) (answer, error) {
	typ := otherTypes[r.typ]
	old, exists := s.est.Resource(r.at)
	if !exists {
		if err := s.needAt(typ.name+"/write", r.at); err != nil {
			return answer{}, err
		}
		return answer{}, s.notThere(r.at)
	}
	if err := s.need(serve.ToPut(s.est, old, old)...); err != nil {
		return answer{}, err
	}
	in, err := r.other()
	if err != nil {
		return answer{}, err
	}
	p, more := membersOf(old.Properties), membersOf(old.More)
	p.merge(in.properties)
	more.merge(in.more)
	return s.write(old, true, old, in, p, more)
}

// write finishes a change of a resource: p and more are what it shall have.
func (s *session) write(old resource.Other, exists bool, next resource.Other, in otherInput, p, more members) (answer, error) {
	typ := otherTypes[next.Scope.Type()]
	ops, err := s.splitChildren(next, p)
	if err != nil {
		return answer{}, err
	}
	if err := in.into(&next, p, more, s.groupLocation(next.Scope)); err != nil {
		return answer{}, err
	}
	if typ.check != nil {
		if err := typ.check(s, next, p); err != nil {
			return answer{}, err
		}
	}
	if exists {
		if err := serve.KeepsProtection(old, next); err != nil {
			return answer{}, err
		}
	}
	if holder, taken := s.est.ResourceNamed(next.Scope.Type(), next.Scope.Name()); taken && holder.Scope != next.Scope {
		return answer{}, serve.Refuse(http.StatusConflict, typ.taken, fmt.Sprintf(
			"The name '%s' is already in use. Names of %s are globally unique, so it is possible that the name is already taken.", next.Name, typ.name))
	}
	out := wrote(exists, !exists || !reflect.DeepEqual(next, old), next, nil)
	if !exists && typ.created != 0 {
		out.status = typ.created
	}
	if len(ops) > 0 {
		out.ops = sorted(append(out.ops, ops...))
	}
	return s.showing(out, func(then *session) any { return then.otherBody(next) }) // with its children
}

// splitChildren takes the children out of the properties of a resource that is to
// be written, and works out what becomes of them: what is not named is deleted.
func (s *session) splitChildren(parent resource.Other, p members) ([]estate.Op, error) {
	var ops []estate.Op
	for property, typeName := range otherTypes[parent.Scope.Type()].children {
		text, given := p[property]
		delete(p, property)
		if !given || text.Kind() == 'n' {
			continue
		}
		var list []struct {
			Name       string  `json:"name"`
			Properties members `json:"properties"`
		}
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, badContent(fmt.Errorf("%s: %w", property, err))
		}
		typ := otherTypes[lowerASCII(typeName)]
		keep := make(map[scope.Scope]bool)
		for _, one := range list {
			at, err := scope.Parse(parent.Scope.String() + "/" + property + "/" + one.Name)
			if err != nil || !typ.rule.allows(one.Name) || keep[at] {
				return nil, badName(typ.name, one.Name, typ.rule.text+", each once")
			}
			keep[at] = true
			next := resource.Other{Scope: at, Name: one.Name, Type: typ.name}
			var before record.Record
			old, exists := s.est.Resource(at)
			if exists {
				before, next.Name, next.Type, next.More = old, old.Name, old.Type, old.More
			}
			delete(one.Properties, "provisioningState")
			if next.Properties, err = one.Properties.properties(); err != nil {
				return nil, err
			}
			if exists && reflect.DeepEqual(next, old) {
				continue
			}
			if err := s.need(serve.ToPut(s.est, before, next)...); err != nil {
				return nil, err
			}
			ops = append(ops, estate.Op{Put: next})
		}
		for _, c := range s.children(parent, typ.name) {
			if !keep[c.Scope] {
				gone, err := s.removal(c)
				if err != nil {
					return nil, err
				}
				ops = append(ops, gone...)
			}
		}
	}
	return ops, nil
}

func deleteOther(s *session, r *request) (answer, error) {
	o, exists := s.est.Resource(r.at)
	if !exists {
		return answer{status: http.StatusNoContent}, s.needAt(otherTypes[r.typ].name+"/delete", r.at)
	}
	ops, err := s.removal(o)
	return answer{status: http.StatusOK, ops: ops, of: o.Key()}, err
}
