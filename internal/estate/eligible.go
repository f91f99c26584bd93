package estate

import (
	"fmt"
	"iter"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// An index keeps things by their id, by the principal that they name, and by place.
// Decisions do not depend on what it holds, so it stands apart from the nodes.
type index[I comparable, T any] struct {
	byID table[I, *T]
	of   table[principal.ID, []*T]
	at   table[scope.Scope, []*T]
}

func newIndex[I comparable, T any](bulk bool) index[I, T] {
	return index[I, T]{newTable[I, *T](bulk), newTable[principal.ID, []*T](bulk), newTable[scope.Scope, []*T](bulk)}
}

func (x *index[I, T]) freeze() {
	x.byID.freeze()
	x.of.freeze()
	x.at.freeze()
}

func (x *index[I, T]) put(e *editor, id I, who principal.ID, place scope.Scope, v *T) {
	x.drop(id, who, place)
	x.byID.set(id, v)
	addTo(e, &x.of, who, v)
	addTo(e, &x.at, place, v)
}

func (x *index[I, T]) drop(id I, who principal.ID, place scope.Scope) {
	old, ok := x.byID.get(id)
	if !ok {
		return
	}
	x.byID.remove(id)
	takeFrom(&x.of, who, old)
	takeFrom(&x.at, place, old)
}

func addTo[K comparable, T any](e *editor, t *table[K, []*T], k K, v *T) {
	list, _ := t.get(k)
	t.set(k, extend(e, list, v))
}

func takeFrom[K comparable, T any](t *table[K, []*T], k K, v *T) {
	list, _ := t.get(k)
	if list = without(list, func(o *T) bool { return o == v }); len(list) == 0 {
		t.remove(k)
	} else {
		t.set(k, list)
	}
}

func (x *index[I, T]) below(sc scope.Scope) iter.Seq2[scope.Scope, []*T] {
	return func(yield func(scope.Scope, []*T) bool) {
		for at, list := range x.at.all() {
			if sc.Contains(at) && !yield(at, list) {
				return
			}
		}
	}
}

type policyKey struct {
	at   scope.Scope
	role azurerbac.DefinitionID
}

func (e *editor) putEligibility(next azurerbac.Eligibility) error {
	if old, ok := e.s.eligible.byID.get(next.ID); ok && (old.Principal != next.Principal || old.Scope != next.Scope || old.Role != next.Role) {
		return fmt.Errorf("principal, scope and role of an eligibility: %w", ErrImmutable)
	}
	if !e.bulk {
		list, _ := e.s.eligible.of.get(next.Principal)
		for _, o := range list {
			if o.ID != next.ID && o.Scope == next.Scope && o.Role == next.Role {
				return fmt.Errorf("eligibility %s says the same: %w", o.ID, ErrExists)
			}
		}
	}
	e.s.eligible.put(e, next.ID, next.Principal, next.Scope, &next)
	e.renewActivations(next.ID)
	return nil
}

func (e *editor) dropEligibility(old azurerbac.Eligibility) {
	e.s.eligible.drop(old.ID, old.Principal, old.Scope)
	e.renewActivations(old.ID)
}

// renewActivations has what was worked out for those who activated an eligibility be
// worked out again.
func (e *editor) renewActivations(id azurerbac.EligibilityID) {
	list, _ := e.s.activated.get(id)
	for _, a := range list {
		e.edit(a.Principal, func(*node) {})
	}
}

func (s *Snapshot) checkEligibility(el azurerbac.Eligibility) error {
	if err := s.checkGrantable(el.Role, el.Scope); err != nil {
		return err
	}
	if p, ok := s.Principal(el.Principal); ok && p.Kind != principal.User && p.Kind != principal.Group {
		return fmt.Errorf("principal %s is a %s, and only users and groups can be eligible: %w", el.Principal, p.Kind, ErrImmutable)
	}
	for _, a := range s.ActivationsOf(el.ID) {
		if err := s.checkActivation(a.Assignment, el); err != nil {
			return err
		}
	}
	return nil
}

// checkActivation makes sure that an activation gives no more than its eligibility.
func (s *Snapshot) checkActivation(a azurerbac.Assignment, el azurerbac.Eligibility) error {
	covers := false
	for at := range s.Ancestors(a.Scope) {
		covers = covers || at == el.Scope
	}
	if !covers || a.Role != el.Role || a.Condition != el.Condition || !el.NotAfter.IsZero() && a.NotAfter.After(el.NotAfter) {
		return fmt.Errorf("activation %s gives more than its eligibility %s: %w", a.ID, el.ID, ErrImmutable)
	}
	return nil
}

func (s *Snapshot) checkGrantable(id azurerbac.DefinitionID, at scope.Scope) error {
	if _, _, ok := directory.CutPlace(at); ok {
		return fmt.Errorf("%s is in a directory, where roles of the directory are given: %w", at, ErrImmutable)
	}
	role, ok := s.world.role(id)
	if !ok {
		return fmt.Errorf("role definition %s: %w", id, ErrUnknown)
	}
	if !assignableAt(s, role, at) {
		return fmt.Errorf("role %q may not be assigned at %s: %w", role.RoleName, at, ErrImmutable)
	}
	return nil
}

// standing leaves out the activations of a principal that stand no longer.
func (s *Snapshot) standing(list []*Grant, groups []principal.ID) []*Grant {
	gone := func(g *Grant) bool { return !s.stands(g.Assigned, groups) }
	if !slices.ContainsFunc(list, gone) {
		return list
	}
	return without(list, gone)
}

// stands reports whether a role assignment is still what it was given as: who
// activated an eligibility has it no longer when he left the group that has it.
func (s *Snapshot) stands(a *Assigned, groups []principal.ID) bool {
	if s.dangles(a.Assignment) {
		return false
	}
	if a.Eligibility.IsZero() {
		return true
	}
	el, ok := s.eligible.byID.get(a.Eligibility)
	if _, user := s.User(a.Principal); !ok || !user {
		return false
	}
	_, member := slices.BinarySearchFunc(groups, el.Principal, compareIDs)
	return member || el.Principal == a.Principal
}

// Stands reports whether a role assignment can grant at all: one that came of an
// activation does only as long as its principal is eligible, by himself or through
// a group.
func (s *Snapshot) Stands(a *Assigned) bool {
	var groups []principal.ID
	if !a.Eligibility.IsZero() {
		groups = s.GroupsOf(a.Principal)
	}
	return s.stands(a, groups)
}

// Eligibility returns the eligibility with an id.
func (s *Snapshot) Eligibility(id azurerbac.EligibilityID) (azurerbac.Eligibility, bool) {
	el, ok := s.eligible.byID.get(id)
	if !ok {
		return azurerbac.Eligibility{}, false
	}
	return *el, true
}

// EligibilitiesOf returns the eligibilities that name a principal itself.
func (s *Snapshot) EligibilitiesOf(id principal.ID) []*azurerbac.Eligibility {
	list, _ := s.eligible.of.get(id)
	return list
}

// EligibilitiesAt returns the eligibilities at exactly a scope.
func (s *Snapshot) EligibilitiesAt(sc scope.Scope) []*azurerbac.Eligibility {
	list, _ := s.eligible.at.get(sc)
	return list
}

// EligibilitiesBelow yields the eligibilities at a scope and at the scopes that its
// path contains, place by place, in no order.
func (s *Snapshot) EligibilitiesBelow(sc scope.Scope) iter.Seq2[scope.Scope, []*azurerbac.Eligibility] {
	return s.eligible.below(sc)
}

// ActivationsOf returns the role assignments that came of an eligibility.
func (s *Snapshot) ActivationsOf(id azurerbac.EligibilityID) []*Assigned {
	list, _ := s.activated.get(id)
	return list
}

// Request returns the schedule request with an id.
func (s *Snapshot) Request(id azurerbac.RequestID) (azurerbac.Request, bool) {
	r, ok := s.requests.byID.get(id)
	if !ok {
		return azurerbac.Request{}, false
	}
	return *r, true
}

// RequestsOf returns the schedule requests that are for a principal itself.
func (s *Snapshot) RequestsOf(id principal.ID) []*azurerbac.Request {
	list, _ := s.requests.of.get(id)
	return list
}

// RequestsAt returns the schedule requests at exactly a scope.
func (s *Snapshot) RequestsAt(sc scope.Scope) []*azurerbac.Request {
	list, _ := s.requests.at.get(sc)
	return list
}

// RequestsBelow yields the schedule requests at a scope and at the scopes that its
// path contains, place by place, in no order.
func (s *Snapshot) RequestsBelow(sc scope.Scope) iter.Seq2[scope.Scope, []*azurerbac.Request] {
	return s.requests.below(sc)
}

// Policy returns the management policy of a role at just a scope, and whether there
// is one of its own; else it is the one that Azure makes.
func (s *Snapshot) Policy(at scope.Scope, role azurerbac.DefinitionID) (azurerbac.Policy, bool) {
	p, ok := s.policies.get(policyKey{at, role})
	if !ok {
		return azurerbac.Policy{Scope: at, Role: role}, false
	}
	return *p, true
}

// eligibleKeys are the keys of what a match of scope and role has to do with.
func (s *Snapshot) eligibleKeys(match func(scope.Scope, azurerbac.DefinitionID) bool, requests bool) []record.Key {
	var out []record.Key
	for _, el := range s.eligible.byID.all() {
		if match(el.Scope, el.Role) {
			out = append(out, el.Key())
		}
	}
	for k, p := range s.policies.all() {
		if match(k.at, k.role) {
			out = append(out, p.Key())
		}
	}
	if requests {
		for _, r := range s.requests.byID.all() {
			if match(r.Scope, r.Role) {
				out = append(out, r.Key())
			}
		}
	}
	return out
}
