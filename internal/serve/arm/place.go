package arm

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// exists refuses a place that is not there: its resource group, or a resource on
// the way to it. What lies in a resource and is none of the types that are kept
// here, such as a namespace of a cluster or a container of a storage account, is
// the resource's own affair.
func (s *session) exists(at scope.Scope) error {
	if err := s.reach(at); err != nil {
		return err
	}
	rg, ok := at.ResourceGroup()
	if !ok {
		return nil
	}
	if _, ok := s.est.ResourceGroup(rg); !ok {
		return noGroup(rg.Name())
	}
	var top scope.Scope
	for place := range at.Ancestors() {
		if place == rg {
			break
		}
		top = place
		if isKept(place.Type()) && !s.kept(place) {
			return s.notThere(place)
		}
	}
	if !top.IsZero() && !isKept(top.Type()) {
		return unknown()
	}
	return nil
}

// isKept reports whether this house keeps the resources of a type.
func isKept(typ string) bool {
	_, other := otherTypes[typ]
	return other || typ == strings.ToLower(identityType) || typ == "microsoft.containerservice/managedclusters"
}

// kept reports whether a resource is there.
func (s *session) kept(at scope.Scope) bool {
	if _, ok := s.est.Resource(at); ok {
		return true
	}
	if _, ok := s.est.Cluster(at); ok {
		return true
	}
	_, ok := s.identity(at)
	return ok
}

// notThere says that a resource, or the group that it would be in, is not there.
func (s *session) notThere(at scope.Scope) error {
	rg, ok := at.ResourceGroup()
	if !ok {
		return noResource("The resource '%s' was not found.", s.spell(at))
	}
	group, ok := s.est.ResourceGroup(rg)
	if !ok {
		return noGroup(rg.Name())
	}
	spelled := s.spell(at)
	behind := spelled[strings.LastIndex(spelled, "/providers/")+len("/providers/"):]
	return noResource("The Resource '%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", behind, group.Name)
}

func noGroup(name string) error {
	return serve.Refuse(http.StatusNotFound, "ResourceGroupNotFound", fmt.Sprintf("Resource group '%s' could not be found.", name))
}

func noResource(format string, args ...any) error {
	return serve.Refuse(http.StatusNotFound, "ResourceNotFound", fmt.Sprintf(format, args...))
}

// up is the place that holds a resource.
func up(at scope.Scope) scope.Scope {
	parent, _ := at.Parent()
	return parent
}

// idOf is the id of what may not be there yet, under a name as it was written.
func (s *session) idOf(at scope.Scope, name string) string {
	text := s.spell(at)
	return text[:strings.LastIndexByte(text, '/')+1] + name
}

// last is the name in the place of the request, as it was written.
func (r *request) last() string { return r.text[strings.LastIndexByte(r.text, '/')+1:] }

// listable refuses who may read nothing of a collection. Whoever has a role for
// something in the place is shown what he may read there, which may be nothing.
func (s *session) listable(action string, at scope.Scope) error {
	if err := s.reach(at); err != nil {
		return err
	}
	if rg, in := at.ResourceGroup(); in && s.may(groupType+"/read", rg) {
		if _, ok := s.est.ResourceGroup(rg); !ok {
			return noGroup(rg.Name())
		}
	}
	if s.has(at, action) {
		return nil
	}
	return s.needAt(action, at)
}

// has reports whether the caller may do something at a place, or has a role for
// something in it. It is never so where he is forbidden it.
func (s *session) has(at scope.Scope, action string) bool {
	switch decide.Decide(s.law, decide.Request{Who: decide.Subject{ID: s.caller.ID}, Scope: at, Action: action, Now: s.now}).Effect {
	case decide.Allow:
		return true
	case decide.Deny:
		return false
	}
	who, ok := s.law.Resolve(s.caller.ID)
	if !ok {
		return false
	}
	for _, g := range who.Azure {
		if at.Contains(g.Scope) && g.Assigned.ActiveAt(s.now) {
			return true
		}
	}
	return false
}

// removal works out how a resource is deleted with what is in it and what was
// granted there. As in Azure, that takes the right to delete the resources, and
// not also the right to delete what was granted in them, which goes for nothing;
// only a deny assignment is not to be got rid of like that.
func (s *session) removal(records ...record.Record) ([]estate.Op, error) {
	done := make(map[record.Key]bool)
	var all []estate.Op
	for _, rec := range records {
		if err := s.need(serve.ToDelete(s.est, rec)...); err != nil {
			return nil, err
		}
		ops, _, err := serve.Deletion(s.est, rec.Key(), true)
		if err != nil {
			return nil, err
		}
		for _, op := range ops {
			if done[op.Delete] {
				continue
			}
			done[op.Delete] = true
			if err := s.mayLose(op.Delete); err != nil {
				return nil, err
			}
			all = append(all, op)
		}
	}
	return sorted(all), nil
}

func (s *session) mayLose(key record.Key) error {
	switch key.Kind {
	case record.Cluster, record.Resource, record.ManagedIdentity, record.DenyAssignment:
		rec, ok := s.est.Get(key)
		if !ok {
			return nil
		}
		return s.need(serve.ToDelete(s.est, rec)...)
	}
	return nil
}
