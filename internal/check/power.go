package check

import (
	"fmt"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A question is one that many rules ask, or one rule of many places.
type question struct {
	at     scope.Scope
	action string
	kube   kuberbac.Attributes
}

// who is decide.WhoCan, asked once for places at which the same grants count. Deny
// assignments may be for one place alone, so where there are any each place is asked.
func (l *look) who(req decide.Request) []decide.Holder {
	if req.Kube.Verb == "" && !l.denied() {
		req.Scope = l.anchor(req.Scope)
	}
	q := question{req.Scope, req.Action, req.Kube}
	found, known := l.shared.holders[q]
	if !known {
		found = decide.WhoCan(l.est, req)
		l.shared.holders[q] = found
	}
	return found
}

// anchor is the nearest place, within a subscription, that has role assignments of its
// own: in what lies between, those count that count there.
func (l *look) anchor(at scope.Scope) scope.Scope {
	for len(l.est.AssignmentsAt(at)) == 0 && at.Type() != "subscriptions" {
		up, ok := at.Parent()
		if !ok {
			break
		}
		at = up
	}
	return at
}

func (l *look) denied() bool {
	for range l.est.DenyAssignments() {
		return true
	}
	return false
}

// powerful reports whether a principal has anything that another may lack.
func (l *look) powerful(id principal.ID) bool { return l.first(id) != "" }

// first is one thing that a principal has, in words; "" if it has nothing.
func (l *look) first(id principal.ID) string {
	who, ok := l.est.Resolve(id)
	if !ok || who.Principal.Disabled {
		return ""
	}
	for _, g := range slices.Concat(who.Azure, who.Directory) {
		return power(g)
	}
	for _, b := range l.boundTo(who) {
		return "the binding " + b.Name
	}
	return ""
}

// boundTo are the bindings that name a principal or a group that it is in.
func (l *look) boundTo(who *estate.Resolved) []*kuberbac.Binding {
	var all []*kuberbac.Binding
	subjects := estate.KubeSubjects(who.Principal, who.Groups)
	for _, s := range subjects[:len(subjects)-1] { // the last is everybody
		all = append(all, l.est.BindingsOf(s)...)
	}
	return all
}

func power(g *estate.Grant) string { return fmt.Sprintf("%s at %s", g.Role.RoleName, g.Scope) }

type pair struct{ who, than principal.ID }

// lacks says one thing that a principal has and somebody does not, nor could give
// himself; "" if there is none.
func (l *look) lacks(who, than principal.ID) string {
	p := pair{who, than}
	what, known := l.shared.powers[p]
	if !known {
		what = l.difference(who, than)
		l.shared.powers[p] = what
	}
	return what
}

func (l *look) difference(who, than principal.ID) string {
	mine, ok := l.est.Resolve(who)
	theirs, there := l.est.Resolve(than)
	if !ok || !there {
		return l.first(than)
	}
	for _, g := range theirs.Azure {
		if !l.covers(mine, g) {
			return power(g)
		}
	}
	for _, g := range theirs.Directory {
		if !slices.ContainsFunc(mine.Directory, func(own *estate.Grant) bool { return own.Role == g.Role && own.Scope == g.Scope }) {
			return power(g)
		}
	}
	for _, b := range l.boundTo(theirs) {
		c, _ := l.est.Cluster(b.Cluster)
		if !slices.Contains(l.boundTo(mine), b) && !l.administers(who, c) {
			return fmt.Sprintf("the binding %s of cluster %s", b.Name, c.Name)
		}
	}
	return ""
}

// covers reports whether somebody has what a role assignment gives: by the same role
// at that place or above, because he could give it to himself, or operation by
// operation.
func (l *look) covers(mine *estate.Resolved, g *estate.Grant) bool {
	who := mine.Principal.ID
	for at := range l.est.Ancestors(g.Scope) {
		if !mine.At(at, func(own *estate.Grant) bool {
			return own.Assigned == nil || own.Assigned.Role != g.Assigned.Role || own.Assigned.Condition != "" || !own.Assigned.ActiveAt(l.Now)
		}) {
			return true
		}
	}
	may := func(action string, data bool) bool {
		return decide.Decide(l.est, decide.Request{Who: decide.Subject{ID: who}, Scope: g.Scope, Action: action, Data: data, Now: l.Now}).Effect == decide.Allow
	}
	if may("Microsoft.Authorization/roleAssignments/write", false) {
		return true
	}
	for _, p := range g.Role.Definition.Permissions {
		for data, actions := range [...][]string{p.Actions, p.DataActions} {
			for _, a := range actions {
				if !may(a, data == 1) {
					return false
				}
			}
		}
	}
	return true
}
