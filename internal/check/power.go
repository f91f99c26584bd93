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
	only   decide.Plane
}

// who is decide.WhoCan, asked once for places at which the same grants count. Deny
// assignments may be for one place alone, so where there are any each place is asked.
func (l *look) who(req decide.Request) []decide.Holder {
	if req.Kube.Verb == "" && !l.denied() {
		req.Scope = l.anchor(req.Scope)
	}
	q := question{req.Scope, req.Action, req.Kube, req.Only}
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
		return l.power(g)
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

// power is a grant in words.
func (l *look) power(g *estate.Grant) string {
	text, known := l.shared.powers[g]
	if !known {
		text = fmt.Sprintf("%s at %s", g.Role.RoleName, g.Scope)
		l.shared.powers[g] = text
	}
	return text
}

// lacks says one thing that a principal has and somebody does not, nor could give
// himself; "" if there is none.
func (l *look) lacks(who, than principal.ID) string {
	mine, ok := l.est.Resolve(who)
	theirs, there := l.est.Resolve(than)
	if !ok || !there {
		return l.first(than)
	}
	for _, g := range theirs.Azure {
		if !l.covers(mine, g) {
			return l.power(g)
		}
	}
	for _, g := range theirs.Directory {
		if !slices.ContainsFunc(mine.Directory, func(own *estate.Grant) bool { return own.Role == g.Role && own.Scope == g.Scope }) {
			return l.power(g)
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
// operation. Who has no role there or above is not asked about any.
func (l *look) covers(mine *estate.Resolved, g *estate.Grant) bool {
	above, some := l.above(g.Scope), false
	for _, own := range mine.Azure {
		if !above[own.Scope] {
			continue
		}
		if some = true; own.Assigned.Role == g.Assigned.Role && own.Assigned.Condition == "" && own.Assigned.ActiveAt(l.Now) {
			return true
		}
	}
	may := func(action string, data bool) bool {
		return decide.Decide(l.est, decide.Request{Who: decide.Subject{ID: mine.Principal.ID}, Scope: g.Scope, Action: action, Data: data, Now: l.Now}).Effect == decide.Allow
	}
	if !some || may("Microsoft.Authorization/roleAssignments/write", false) {
		return some
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

// above are a place and all that it is in.
func (l *look) above(at scope.Scope) map[scope.Scope]bool {
	all, known := l.shared.above[at]
	if !known {
		all = make(map[scope.Scope]bool)
		for a := range l.est.Ancestors(at) {
			all[a] = true
		}
		l.shared.above[at] = all
	}
	return all
}
