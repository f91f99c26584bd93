package kuberbac_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		owner   []kuberbac.Rule
		wanted  []kuberbac.Rule
		missing []kuberbac.Rule
	}{
		{"nothing is covered by nothing", nil, nil, nil},
		{"what one lacks is said one by one", []kuberbac.Rule{rule("get", "pods")}, []kuberbac.Rule{rule("get list", "pods nodes")},
			[]kuberbac.Rule{rule("list", "pods"), rule("get", "nodes"), rule("list", "nodes")}},
		{"rights may come from several rules", []kuberbac.Rule{rule("get", "pods"), rule("list", "pods")}, []kuberbac.Rule{rule("get list", "pods")}, nil},
		{"a star covers what it stands for", []kuberbac.Rule{rule("*", "*")}, []kuberbac.Rule{rule("get", "pods/log", "a")}, nil},
		{"no list of verbs is a star", []kuberbac.Rule{rule("get list watch create update patch delete deletecollection", "pods")}, []kuberbac.Rule{rule("*", "pods")},
			[]kuberbac.Rule{rule("*", "pods")}},
		{"*/log covers pods/log", []kuberbac.Rule{rule("get", "*/log")}, []kuberbac.Rule{rule("get", "pods/log")}, nil},
		{"*/log does not cover pods", []kuberbac.Rule{rule("get", "*/log")}, []kuberbac.Rule{rule("get", "pods")}, []kuberbac.Rule{rule("get", "pods")}},
		{"all names cover one", []kuberbac.Rule{rule("get", "pods")}, []kuberbac.Rule{rule("get", "pods", "a")}, nil},
		{"names do not cover all", []kuberbac.Rule{rule("get", "pods", "a")}, []kuberbac.Rule{rule("get", "pods")}, []kuberbac.Rule{rule("get", "pods")}},
		{"names cover themselves", []kuberbac.Rule{rule("get", "pods", "a", "b")}, []kuberbac.Rule{rule("get", "pods", "b", "c")}, []kuberbac.Rule{rule("get", "pods", "c")}},
		{"a path with a star covers a longer one", []kuberbac.Rule{urls("/healthz/*")}, []kuberbac.Rule{urls("/healthz/etcd", "/healthz/a/*")}, nil},
		{"a path does not cover its children", []kuberbac.Rule{urls("/healthz")}, []kuberbac.Rule{urls("/healthz/*")}, []kuberbac.Rule{urls("/healthz/*")}},
		{"all resources are not all paths", []kuberbac.Rule{{Verbs: list("*"), APIGroups: list("*"), Resources: list("*")}}, []kuberbac.Rule{urls("/x")}, []kuberbac.Rule{urls("/x")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ok, missing := kuberbac.Covers(tt.owner, tt.wanted)
			if ok != (len(tt.missing) == 0) {
				t.Errorf("covers = %t, with %d rights missing", ok, len(missing))
			}
			if diff := cmp.Diff(tt.missing, missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEscalationQuestions(t *testing.T) {
	t.Parallel()
	const rbac = "rbac.authorization.k8s.io"
	tests := []struct {
		name      string
		got, want kuberbac.Attributes
	}{
		{"to change a cluster role, escalate it by name", kuberbac.CanEscalate(clusterRole("view"), true),
			kuberbac.Attributes{Verb: "escalate", APIGroup: rbac, Resource: "clusterroles", Name: "view"}},
		{"to create one, escalate any", kuberbac.CanEscalate(clusterRole("view"), false),
			kuberbac.Attributes{Verb: "escalate", APIGroup: rbac, Resource: "clusterroles"}},
		{"a role is of its namespace", kuberbac.CanEscalate(in("a", clusterRole("view")), true),
			kuberbac.Attributes{Verb: "escalate", APIGroup: rbac, Resource: "roles", Namespace: "a", Name: "view"}},
		{"a cluster role is bound where its binding is", kuberbac.CanBind(binding("a", "view", true)),
			kuberbac.Attributes{Verb: "bind", APIGroup: rbac, Resource: "clusterroles", Namespace: "a", Name: "view"}},
		{"or in the whole cluster", kuberbac.CanBind(binding("", "view", true)),
			kuberbac.Attributes{Verb: "bind", APIGroup: rbac, Resource: "clusterroles", Name: "view"}},
		{"a role is bound in its namespace", kuberbac.CanBind(binding("a", "view", false)),
			kuberbac.Attributes{Verb: "bind", APIGroup: rbac, Resource: "roles", Namespace: "a", Name: "view"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.got != tt.want {
				t.Errorf("ask %+v, want %+v", tt.got, tt.want)
			}
		})
	}
}

func TestAggregatingRoleDemandsEverything(t *testing.T) {
	t.Parallel()
	writer := []kuberbac.Rule{rule("*", "*")}
	if ok, _ := kuberbac.Covers(writer, clusterRole("r", rule("get", "pods")).Demands()); !ok {
		t.Error("a role of rights that the writer has is an escalation")
	}
	if ok, _ := kuberbac.Covers(writer, aggregating(kuberbac.Selector{}).Demands()); ok {
		t.Error("a role that aggregates is none, for a writer who has one API group")
	}
}
