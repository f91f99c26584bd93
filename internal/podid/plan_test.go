package podid_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A cluster is what there may be in one. Its names run into each other when they
// are glued: a-b and c, a and b-c.
type cluster struct {
	mode       podid.Mode
	identities []podid.AzureIdentity
	bindings   []podid.AzureIdentityBinding
	exceptions []podid.AzurePodIdentityException
	pods       []podid.Pod
}

func (c cluster) rules() *podid.Rules {
	return podid.NewRules(c.mode, slices.Values(c.identities), slices.Values(c.bindings), slices.Values(c.exceptions))
}

func (c cluster) want() []podid.AzureAssignedIdentity { return c.rules().Want(slices.Values(c.pods)) }

// pick returns about half of the list.
func pick[T any](d *rand.Rand, list []T) []T {
	var got []T
	for _, v := range list {
		if d.IntN(2) == 0 {
			got = append(got, v)
		}
	}
	return got
}

func world(t *testing.T, d *rand.Rand) cluster {
	t.Helper()
	c := cluster{mode: podid.Mode(d.IntN(2))}
	names := []string{"a", "b", "a-b", "b-a", "a-a"}
	for _, namespace := range names {
		for _, name := range pick(d, names) {
			c.identities = append(c.identities, identity(t, namespace, name, []string{"", "namespaced"}[d.IntN(2)]))
		}
		for _, name := range pick(d, names) {
			c.bindings = append(c.bindings, binding(t, namespace, name, names[d.IntN(len(names))], names[d.IntN(2)]))
		}
		for _, name := range pick(d, names) {
			p := podid.Pod{
				Namespace: namespace, Name: name, UID: fmt.Sprint(namespace, ".", name, ".", d.IntN(2)), NodeName: names[d.IntN(2)],
				Labels: map[string]string{podid.BindingLabel: names[d.IntN(2)], "app": names[d.IntN(3)]}, HostNetwork: d.IntN(9) == 0, Ended: d.IntN(9) == 0,
			}
			if d.IntN(9) == 0 {
				p.NodeName = ""
			}
			c.pods = append(c.pods, p)
		}
		if d.IntN(3) == 0 {
			c.exceptions = append(c.exceptions, exception(t, namespace, `{"app":"a-b"}`))
		}
	}
	return c
}

// apply does a step as an API server does: it knows objects by their names.
func apply(t *testing.T, have map[podid.Ref]podid.AzureAssignedIdentity, s podid.Step) {
	t.Helper()
	ref := s.Object.Metadata.Ref()
	_, there := have[ref]
	switch s.Do {
	case podid.Create:
		if there {
			t.Fatalf("create %s: it is there", ref)
		}
		have[ref] = s.Object
	case podid.Assign, podid.Unassign:
		if !there {
			t.Fatalf("%s %s: it is not there", s.Do, ref)
		}
		have[ref] = s.Object
	case podid.Delete:
		delete(have, ref)
	default:
		t.Fatalf("a step that does nothing: %v", s)
	}
}

// gives lists who gets what by some assigned identities.
func gives(have map[podid.Ref]podid.AzureAssignedIdentity, pods []podid.Pod) map[string]bool {
	got := make(map[string]bool)
	for _, a := range have {
		for _, p := range pods {
			if a.Gives(p) {
				got[p.Ref().String()+" "+p.UID+": "+a.Spec.AzureIdentityRef.Metadata.Ref().String()] = true
			}
		}
	}
	return got
}

func TestAPlanGivesWhatOughtToBeAndNothingElseOnTheWay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		d := rand.New(rand.NewPCG(seed, 1))
		before, after := world(t, d), world(t, d)
		have := make(map[podid.Ref]podid.AzureAssignedIdentity)
		for _, s := range podid.Plan(nil, before.want()) {
			apply(t, have, s)
			if d.IntN(8) == 0 { // the one who carried it out was killed somewhere
				break
			}
		}
		all := slices.Concat(before.pods, after.pods)
		old, ought := gives(have, all), gives(byRef(after.want()), all)
		list := again(t, have)
		for _, s := range podid.Plan(list, after.want()) {
			apply(t, have, s)
			for who := range gives(have, all) {
				if !old[who] && !ought[who] {
					t.Fatalf("seed %d: after %s %s, %s, which it neither had nor ought to have", seed, s.Do, s.Object.Metadata.Ref(), who)
				}
			}
		}
		if diff := cmp.Diff(ought, gives(have, all)); diff != "" {
			t.Fatalf("seed %d: in the end (-want +got):\n%s", seed, diff)
		}
		if len(have) != len(after.want()) {
			t.Fatalf("seed %d: %d assigned identities, want %d", seed, len(have), len(after.want()))
		}
		if more := podid.Plan(again(t, have), after.want()); len(more) != 0 {
			t.Fatalf("seed %d: there is more to do: %s %s", seed, more[0].Do, more[0].Object.Metadata.Ref())
		}
	}
}

// again is what an API server gives back: the objects, written and read.
func again(t *testing.T, have map[podid.Ref]podid.AzureAssignedIdentity) []podid.AzureAssignedIdentity {
	t.Helper()
	var list []podid.AzureAssignedIdentity
	for _, a := range have {
		data, err := record.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if a, err = podid.ParseAssigned(data); err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

func byRef(list []podid.AzureAssignedIdentity) map[podid.Ref]podid.AzureAssignedIdentity {
	have := make(map[podid.Ref]podid.AzureAssignedIdentity)
	for i, a := range list {
		a.Metadata.Name += fmt.Sprint("-", i) // names are the plan's business
		have[a.Metadata.Ref()] = a
	}
	return have
}

func TestInNamespacedModeNobodyGetsAnIdentityOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	crossed := 0
	for seed := range uint64(400) {
		d := rand.New(rand.NewPCG(seed, 2))
		c := world(t, d)
		rules := c.rules()
		for _, p := range c.pods {
			for _, m := range rules.Match(p) {
				if m.Identity.Metadata.Namespace == p.Namespace {
					continue
				}
				crossed++
				if c.mode == podid.Namespaced || m.Identity.Namespaced() {
					t.Fatalf("seed %d: %s gets %s", seed, p.Ref(), m.Identity.Metadata.Ref())
				}
			}
		}
	}
	if crossed == 0 {
		t.Error("no pod got an identity of another namespace even where that is allowed: this tries nothing")
	}
}

func TestNamesOfAssignedIdentities(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 250)
	c := cluster{
		mode:       podid.ClusterWide,
		identities: []podid.AzureIdentity{identity(t, "c", "d", ""), identity(t, "c", long, "")},
		bindings:   []podid.AzureIdentityBinding{binding(t, "c", "d", "d", "a"), binding(t, "c", "long", long, "long")},
	}
	running := func(namespace, name, selector string) podid.Pod {
		return podid.Pod{Namespace: namespace, Name: name, UID: namespace + "." + name, NodeName: "n", Labels: map[string]string{podid.BindingLabel: selector}}
	}
	created := func(have []podid.AzureAssignedIdentity) []podid.AzureAssignedIdentity {
		for _, s := range podid.Plan(have, c.want()) {
			switch s.Do {
			case podid.Unassign, podid.Delete:
				t.Errorf("%s %s, which nothing has changed", s.Do, s.Object.Metadata.Ref())
			case podid.Assign:
				have = append(have, s.Object)
			}
		}
		return have
	}
	c.pods = []podid.Pod{running("c", "a-b", "a")}
	have := created(nil)
	if got, want := have[0].Metadata.Ref().String(), "default/a-b-c-d"; got != want {
		t.Errorf("the name is %s, want upstream's, %s", got, want)
	}
	// Glued, this one has the same name.
	c.pods = append(c.pods, running("b-c", "a", "a"))
	have = created(have)
	if got := have[1].Metadata.Name; !strings.HasPrefix(got, "a-b-c-d-") {
		t.Errorf("the second is called %s", got)
	}
	c.pods = append(c.pods, running("c", "long", "long"))
	have = created(have)
	if got := have[2].Metadata.Name; len(got) > 253 {
		t.Errorf("a name of %d characters", len(got))
	}
}

func TestWhatCannotBeReadIsRemoved(t *testing.T) {
	t.Parallel()
	var unread podid.AzureAssignedIdentity
	unread.Metadata.Name, unread.Metadata.Namespace = "x", "default"
	steps := podid.Plan([]podid.AzureAssignedIdentity{unread}, nil)
	if len(steps) != 1 || steps[0].Do != podid.Delete {
		t.Errorf("steps %v, want one to remove it", steps)
	}
}
