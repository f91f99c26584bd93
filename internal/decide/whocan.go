package decide

import (
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// A Holder is somebody who can do what was asked.
type Holder struct {
	// Principal is set for a user, service principal or managed identity.
	Principal estate.Principal
	// Subject is set for whom only Kubernetes knows: a service account, or a user
	// or group that the directory does not have.
	Subject kuberbac.Subject
	// Everyone is set with the subject system:authenticated: whoever signs in.
	Everyone bool
	// By is the grant, and Via the chain of groups by which it is held.
	By  *estate.Grant
	Via []principal.ID
}

// WhoCan returns everybody whom Decide would allow the request, whose Who is
// ignored: principals in order of name, then subjects of Kubernetes alone.
// Groups are resolved to their members.
func WhoCan(est *estate.Snapshot, req Request) []Holder {
	req.Who = Subject{}
	var q question
	if !q.ask(est, &req) {
		return nil
	}
	w := whoCan{est: est, req: req, q: &q, seen: make(map[principal.ID]bool), subjects: make(map[kuberbac.Subject]bool)}
	w.doubt = w.anyDeny()
	if q.azure {
		for at := range est.Ancestors(q.target(&req)) {
			for _, a := range est.AssignmentsAt(at) {
				if role, ok := est.Definition(a.Role); ok && est.Stands(a) {
					w.take(&estate.Grant{Holder: a.Principal, Scope: a.Scope, Assigned: a, Role: role})
				}
			}
		}
	}
	if !q.kube {
		for g := range est.DirectoryGrantsAt(req.Scope) {
			w.take(g)
		}
	}
	if q.kube && req.Only != Azure {
		for _, g := range est.Bound(req.Scope, req.Kube.Namespace) {
			w.take(g)
		}
	}
	slices.SortFunc(w.out, compareHolders)
	return w.out
}

// compareHolders orders principals by name and id, and behind them the subjects
// that only Kubernetes knows.
func compareHolders(a, b Holder) int {
	if c := strings.Compare(a.Principal.Name, b.Principal.Name); c != 0 {
		switch {
		case a.Principal.Name == "":
			return 1
		case b.Principal.Name == "":
			return -1
		}
		return c
	}
	if c := slices.Compare(a.Principal.ID[:], b.Principal.ID[:]); c != 0 {
		return c
	}
	if c := strings.Compare(a.Subject.Namespace, b.Subject.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Subject.Name, b.Subject.Name)
}

type whoCan struct {
	est      *estate.Snapshot
	req      Request
	q        *question
	doubt    bool // a deny assignment may speak: ask Decide about each one
	seen     map[principal.ID]bool
	subjects map[kuberbac.Subject]bool
	out      []Holder
}

// anyDeny reports whether any deny assignment reaches the place.
func (w *whoCan) anyDeny() bool {
	if !w.q.azure {
		return false
	}
	target := w.q.target(&w.req)
	for d := range w.est.DenyAssignments() {
		if reaches(w.est, d.Scope, target) {
			return true
		}
	}
	return false
}

// take adds everybody who holds a grant that covers the request.
func (w *whoCan) take(g *estate.Grant) {
	out := judge(&w.req, w.q, g)
	// Whether a condition holds may depend on who asks.
	personal := out == ConditionFalse || out == ConditionError || out == Covers && conditional(g)
	if out != Covers && !personal {
		return
	}
	if g.Holder.IsZero() {
		w.addSubject(g, out)
		return
	}
	p, ok := w.est.Principal(g.Holder)
	if !ok {
		return
	}
	if p.Kind != principal.Group {
		w.add(g, p, nil, personal)
		return
	}
	w.expand(g, personal)
}

// expand adds the members of the group that a grant names, and of the groups in
// it. All direct members of one group share the chain that leads from it.
func (w *whoCan) expand(g *estate.Grant, personal bool) {
	type step struct {
		group principal.ID
		via   []principal.ID // from group to the one that the grant names
	}
	visited := map[principal.ID]bool{g.Holder: true}
	for queue := []step{{g.Holder, []principal.ID{g.Holder}}}; len(queue) > 0; {
		at := queue[0]
		queue = queue[1:]
		for id := range w.est.Members(at.group) {
			m, ok := w.est.Principal(id)
			if !ok {
				continue
			}
			if m.Kind != principal.Group {
				w.add(g, m, at.via, personal)
			} else if !visited[id] {
				visited[id] = true
				queue = append(queue, step{id, append([]principal.ID{id}, at.via...)})
			}
		}
	}
}

func conditional(g *estate.Grant) bool {
	if g.Assigned == nil {
		return false
	}
	if g.Assigned.Expr != nil {
		return true
	}
	for i := range g.Role.Permissions {
		if g.Role.Permissions[i].Condition != nil {
			return true
		}
	}
	return false
}

func (w *whoCan) add(g *estate.Grant, p estate.Principal, via []principal.ID, personal bool) {
	if w.seen[p.ID] || p.Disabled || !admits(w.est, w.q, w.req.Scope, p.Tenant) {
		return
	}
	if t, _, _ := directory.CutPlace(g.Scope); g.Given != nil && t != p.Tenant {
		return // a role of a directory is nothing to strangers in a group that has it
	}
	if personal || w.doubt {
		req := w.req
		req.Who = Subject{ID: p.ID}
		dec := Decide(w.est, req)
		if dec.Effect != Allow {
			return
		}
		if dec.By.Holder != g.Holder { // another grant of his made the decision
			via = w.est.Chain(p.ID, dec.By.Holder)
		}
		g = dec.By
	}
	w.seen[p.ID] = true
	w.out = append(w.out, Holder{Principal: p, By: g, Via: via})
}

func (w *whoCan) addSubject(g *estate.Grant, out Outcome) {
	if out != Covers || w.subjects[g.Subject] {
		return
	}
	w.subjects[g.Subject] = true
	w.out = append(w.out, Holder{
		Subject:  g.Subject,
		Everyone: g.Subject.Kind == kuberbac.Group && g.Subject.Name == "system:authenticated",
		By:       g,
	})
}
