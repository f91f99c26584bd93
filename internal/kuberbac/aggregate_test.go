package kuberbac_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
)

func TestSelectorMatches(t *testing.T) {
	t.Parallel()
	has := map[string]string{"tier": "gold", "empty": ""}
	tests := []struct {
		name string
		sel  kuberbac.Selector
		want bool
	}{
		{"the empty selector matches everything", kuberbac.Selector{}, true},
		{"a label with that value", kuberbac.Selector{MatchLabels: map[string]string{"tier": "gold"}}, true},
		{"a label with another value", kuberbac.Selector{MatchLabels: map[string]string{"tier": "iron"}}, false},
		{"a missing label is not an empty one", kuberbac.Selector{MatchLabels: map[string]string{"gone": ""}}, false},
		{"In", expression("tier", "In", "iron", "gold"), true},
		{"In, with a missing label", expression("gone", "In", ""), false},
		{"NotIn", expression("tier", "NotIn", "gold"), false},
		{"NotIn holds for a missing label", expression("gone", "NotIn", "gold"), true},
		{"Exists", expression("empty", "Exists"), true},
		{"Exists, with a missing label", expression("gone", "Exists"), false},
		{"DoesNotExist", expression("gone", "DoesNotExist"), true},
		{"DoesNotExist, with a label", expression("empty", "DoesNotExist"), false},
		{"an unknown operator matches nothing", expression("tier", "Near", "gold"), false},
		{"labels and expressions must both match", kuberbac.Selector{MatchLabels: map[string]string{"tier": "gold"},
			MatchExpressions: []kuberbac.Requirement{{Key: "empty", Operator: "DoesNotExist"}}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.sel.Matches(has); got != tt.want {
				t.Errorf("%+v matches %v = %t, want %t", tt.sel, has, got, tt.want)
			}
		})
	}
}

func TestAggregate(t *testing.T) {
	t.Parallel()
	to := func(label string, r kuberbac.Role) kuberbac.Role { return labelled(r, label, "true") }
	selects := func(name string, labels ...string) kuberbac.Role {
		r := aggregating()
		r.Name = name
		for _, l := range labels {
			r.Aggregate = append(r.Aggregate, kuberbac.Selector{MatchLabels: map[string]string{l: "true"}})
		}
		return r
	}
	pods, nodes, secrets := rule("get", "pods"), rule("get", "nodes"), rule("get", "secrets")
	foreign := to("view", clusterRole("a", secrets))
	foreign.Cluster = other

	tests := []struct {
		name string
		role kuberbac.Role
		all  []kuberbac.Role
		want []kuberbac.Rule
	}{
		{"a role that does not aggregate has its own rules", clusterRole("r", pods), nil, []kuberbac.Rule{pods}},
		{"nothing matches", selects("view", "view"), []kuberbac.Role{clusterRole("a", pods)}, nil},
		{"rules come by name of their role", selects("view", "view"),
			[]kuberbac.Role{to("view", clusterRole("b", nodes)), to("view", clusterRole("a", pods))}, []kuberbac.Rule{pods, nodes}},
		{"but first by selector", selects("edit", "edit", "view"),
			[]kuberbac.Role{to("view", clusterRole("a", pods)), to("edit", clusterRole("b", nodes))}, []kuberbac.Rule{nodes, pods}},
		{"a rule is kept once", selects("view", "view"),
			[]kuberbac.Role{to("view", clusterRole("a", pods, nodes)), to("view", clusterRole("b", nodes, pods))}, []kuberbac.Rule{pods, nodes}},
		{"roles of other clusters do not count", selects("view", "view"), []kuberbac.Role{foreign}, nil},
		{"roles of namespaces do not count", selects("view", "view"), []kuberbac.Role{to("view", in("ns", clusterRole("a", secrets)))}, nil},
		{"a role that aggregates is followed", selects("admin", "admin"),
			[]kuberbac.Role{to("admin", selects("edit", "edit")), to("edit", clusterRole("x", pods))}, []kuberbac.Rule{pods}},
		{"two that aggregate each other end", to("b", selects("one", "a")),
			[]kuberbac.Role{to("b", selects("one", "a")), to("a", selects("two", "b")), to("a", clusterRole("x", pods)), to("b", clusterRole("y", nodes))},
			[]kuberbac.Rule{nodes, pods}},
		{"one that matches itself ends", to("a", selects("one", "a")), []kuberbac.Role{to("a", selects("one", "a")), to("a", clusterRole("x", pods))}, []kuberbac.Rule{pods}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, kuberbac.Aggregate(tt.role, slices.Values(tt.all))); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}
