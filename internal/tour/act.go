package tour

import (
	"context"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// person returns somebody who is on the stage.
func (t *telling) person(name string) *Person {
	p, err := t.stage.Person(name)
	t.must(err)
	return p
}

// kubectl has a person run kubectl on a cluster. Ask is the request that this
// comes to, for the why; the zero one asks nothing.
func (t *telling) kubectl(ctx context.Context, who, on string, ask wire.Kube, want Want, args ...string) Outcome {
	p := t.person(who)
	got, err := p.Kubectl(ctx, on, args...)
	t.must(err)
	t.step(Step{Who: who, On: on, Command: "kubectl " + quote(args), Why: t.why(ctx, p, on, ask)}, got, want)
	return got
}

// operate has the operator run this program.
func (t *telling) operate(ctx context.Context, want Want, args ...string) Outcome {
	got, err := t.stage.Operate(ctx, args...)
	t.must(err)
	t.step(Step{Who: "operator", Command: "gatehouse " + quote(args)}, got, want)
	return got
}

// quietly runs kubectl beside the story, to prepare or to clean up.
func (t *telling) quietly(ctx context.Context, who, on string, args ...string) error {
	p, err := t.stage.Person(who)
	if err != nil {
		return err
	}
	_, err = p.Kubectl(ctx, on, args...)
	return err
}

// why asks the house about a request, and says in a line or two by what it was
// decided.
func (t *telling) why(ctx context.Context, p *Person, on string, ask wire.Kube) string {
	if ask == (wire.Kube{}) {
		return ""
	}
	cluster, _ := t.stage.cluster(on)
	e, err := t.stage.conf.API.Why(ctx, wire.Question{Who: p.User.ID.String(), Scope: cluster.Scope.String(), Kube: &ask})
	t.must(err)
	text := Because(e)
	if !e.Azure && e.Kubernetes {
		text += "; Azure RBAC does not count on this cluster"
	}
	return text
}

// Because says in a line or two by what a decision was made.
func Because(e wire.Explanation) string {
	text := e.Reason
	for _, c := range e.Considered {
		if c.Applies && e.By != nil && c.Grant.ID == e.By.ID && c.Grant.Name == e.By.Name && c.Grant.Namespace == e.By.Namespace {
			text += ": " + grant(c.Grant) + via(c)
			break
		}
	}
	if e.Effect != "allow" && e.Nearest != nil {
		text += "; nearest miss: " + grant(e.Nearest.Grant) + via(*e.Nearest) + ": " + e.Nearest.Outcome
	}
	if f := e.Fix; f != nil && e.Effect == "no opinion" {
		if f.Role != "" {
			text += "; what would help: " + f.Role + " at " + short(f.Scope)
		} else {
			text += "; what would help: a binding of " + f.ClusterRole + " at " + short(f.Scope)
		}
	}
	return text
}

func grant(g wire.Grant) string {
	role := g.Role
	if role == "" {
		role = g.RoleID
	}
	switch g.Source {
	case "roleAssignment":
		return "role assignment of " + role + " at " + short(g.Scope) + " to " + g.Holder.Name
	case "denyAssignment":
		return "deny assignment " + g.Name + " at " + short(g.Scope)
	}
	name := g.Name
	if g.Namespace != "" {
		name = g.Namespace + "/" + name
	}
	return "binding " + name + " of " + role + " to " + g.Holder.Name
}

// short is the end of a scope, from the cluster on.
func short(scope string) string {
	if _, rest, ok := strings.Cut(scope, "/managedclusters/"); ok {
		return rest
	}
	return scope
}

func via(c wire.Considered) string {
	var names []string
	for _, g := range c.Via {
		if g.ID != c.Grant.Holder.ID { // the holder has been named
			names = append(names, g.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " through " + strings.Join(names, ", ")
}
