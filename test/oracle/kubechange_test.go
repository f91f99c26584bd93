package oracle_test

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// KR-01: the answers stay the same as upstream's while roles, bindings and
// memberships come, change and go; and a snapshot keeps its answers when a later
// one is made from it.
func TestKubernetesRBACUnderChange(t *testing.T) {
	t.Parallel()
	s := chosenSeed()
	changes, turned := 0, 0
	for n := range uint64(60) {
		w := newWorld(s, n)
		records := w.records(t)
		est, err := estate.Load(1, slices.Values(records))
		if err != nil {
			t.Fatal(err)
		}
		type asked struct {
			est  *estate.Snapshot
			who  asker
			q    kuberbac.Attributes
			want decide.Effect
		}
		var before []asked
		for range 25 {
			w.change()
			next := w.records(t)
			ops := difference(t, records, next)
			records = next
			changes += len(ops)
			if est, err = est.Apply(est.Revision()+1, ops...); err != nil {
				t.Fatalf("seed %d, world %d: %v", s, n, err)
			}
			oracle := w.upstream(records)
			ask := func(a asker, q kuberbac.Attributes) decide.Effect {
				d, reason, err := oracle.Authorize(t.Context(), upstreamAttributes(a, q))
				if err != nil {
					t.Fatal(err)
				}
				want := decide.NoOpinion
				if d == authorizer.DecisionAllow {
					want = decide.Allow
				}
				if got := decide.Decide(est, a.request(q)); got.Effect != want {
					t.Fatalf("seed %d, world %d, revision %d: %q in %q asks %+v\ngot %s, want %s: %s\nafter %+v", s, n, est.Revision(), a.Name, a.Groups, q, got.Effect, want, reason, ops)
				}
				return want
			}
			for _, b := range before {
				if got := decide.Decide(b.est, b.who.request(b.q)); got.Effect != b.want {
					t.Fatalf("seed %d, world %d: revision %d answered %s, and now %s", s, n, b.est.Revision(), b.want, got.Effect)
				}
				// The same person asks again: his groups may be others now.
				if who := w.again(b.who); ask(who, b.q) != b.want {
					turned++
				}
			}
			before = before[:0]
			for range 40 {
				a := w.asker()
				q := w.question(a)
				before = append(before, asked{est, a, q, ask(a, q)})
			}
		}
	}
	if changes < 1000 || turned < 500 {
		t.Errorf("seed %d: %d changes turned %d answers; the sample says little", s, changes, turned)
	}
}

// again is the same asker in the world as it has become.
func (w *world) again(a asker) asker {
	if a.id.IsZero() {
		return a
	}
	a.Groups = nil
	for _, g := range w.closure(a.id) {
		a.Groups = append(a.Groups, g.String())
	}
	a.Groups = append(a.Groups, kuberbac.AllAuthenticated)
	return a
}

// change makes one thing of the world different.
func (w *world) change() {
	r := w.rng
	switch r.IntN(8) {
	case 0:
		if i := r.IntN(len(w.clusterRoles)); len(w.clusterRoles) > 3 {
			w.clusterRoles = slices.Delete(slices.Clone(w.clusterRoles), i, i+1)
		}
	case 1: // back again, or for the first time
		other := newWorld(r.Uint64(), 0)
		o := pick(r, other.clusterRoles)
		w.clusterRoles = slices.DeleteFunc(slices.Clone(w.clusterRoles), func(c *rbacv1.ClusterRole) bool { return c.Name == o.Name })
		w.clusterRoles = append(w.clusterRoles, o)
	case 2:
		i := r.IntN(len(w.clusterRoles))
		o := w.clusterRoles[i].DeepCopy()
		if o.AggregationRule == nil {
			o.Rules = append(o.Rules, w.rule(true))
		}
		o.Labels = w.labels()
		w.clusterRoles[i] = o
	case 3:
		i := r.IntN(len(w.roles))
		o := w.roles[i].DeepCopy()
		o.Rules = []rbacv1.PolicyRule{w.rule(false)}
		w.roles[i] = o
	case 4:
		i := r.IntN(len(w.roleBindings))
		o := w.roleBindings[i].DeepCopy()
		o.Subjects = w.subjects(true)
		w.roleBindings[i] = o
	case 5:
		i := r.IntN(len(w.clusterRoleBindings))
		o := w.clusterRoleBindings[i].DeepCopy()
		o.Subjects, o.RoleRef = w.subjects(false), w.roleRef()
		w.clusterRoleBindings[i] = o
	case 6:
		if i := r.IntN(len(w.memberships) + 1); i < len(w.memberships) {
			w.memberships = slices.Delete(slices.Clone(w.memberships), i, i+1)
		}
	case 7:
		everyone := []principal.ID{pick(r, w.users).ID, pick(r, w.groups).ID}
		w.join(pick(r, w.groups).ID, pick(r, everyone))
	}
}

// difference is how to get from one list of records to another: deletions first.
func difference(t *testing.T, from, to []record.Record) (ops []estate.Op) {
	text := func(r record.Record) string {
		data, err := record.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	old := map[record.Key]string{}
	for _, r := range from {
		old[r.Key()] = text(r)
	}
	for _, r := range to {
		if old[r.Key()] != text(r) {
			ops = append(ops, estate.Op{Put: r})
		}
		delete(old, r.Key())
	}
	for key := range old {
		ops = append(ops, estate.Op{Delete: key})
	}
	slices.SortFunc(ops, func(a, b estate.Op) int { return strings.Compare(a.Key().String(), b.Key().String()) })
	return ops
}

// KR-11: a binding outlives its role and grants whatever is created by that
// name, in Kubernetes as here.
func TestRoleCreatedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(1, 1)
	w.roles, w.clusterRoles, w.roleBindings = nil, nil, nil
	w.clusterRoleBindings = w.clusterRoleBindings[:1]
	b := w.clusterRoleBindings[0]
	b.RoleRef.Name = "late"
	b.Subjects = []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "ann"}}

	est, err := estate.Load(1, slices.Values(w.records(t)))
	if err != nil {
		t.Fatal(err)
	}
	ann := decide.Request{Who: decide.Subject{User: "ann"}, Scope: cluster, Only: decide.Kubernetes, Kube: kuberbac.Attributes{Verb: "get", Resource: "secrets", Name: "x"}}
	role := func(resource string) estate.Op {
		return estate.Op{Put: kuberbac.Role{Cluster: cluster, Name: "late", Rules: []kuberbac.Rule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{resource}}}}}
	}
	steps := []struct {
		name string
		ops  []estate.Op
		want decide.Effect
	}{
		{"a missing role grants nothing", nil, decide.NoOpinion},
		{"a role that comes later counts", []estate.Op{role("pods")}, decide.NoOpinion},
		{"a deleted role does not", []estate.Op{{Delete: role("").Put.Key()}}, decide.NoOpinion},
		{"a role created again grants what it is now", []estate.Op{role("secrets")}, decide.Allow},
	}
	for i, step := range steps {
		if est, err = est.Apply(int64(i+2), step.ops...); err != nil {
			t.Fatal(err)
		}
		if got := decide.Decide(est, ann); got.Effect != step.want {
			t.Errorf("%s: got %s, want %s", step.name, got.Effect, step.want)
		}
	}
}
