package kuberbac_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

var (
	cluster = scope.MustParse("/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/web/providers/Microsoft.ContainerService/managedClusters/c1")
	other   = scope.MustParse("/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/web/providers/Microsoft.ContainerService/managedClusters/c2")
)

func clusterRole(name string, rules ...kuberbac.Rule) kuberbac.Role {
	return kuberbac.Role{Cluster: cluster, Name: name, Rules: rules}
}

func aggregating(sel ...kuberbac.Selector) kuberbac.Role {
	return kuberbac.Role{Cluster: cluster, Name: "all", Aggregate: append([]kuberbac.Selector{}, sel...)}
}

func expression(key, op string, values ...string) kuberbac.Selector {
	return kuberbac.Selector{MatchExpressions: []kuberbac.Requirement{{Key: key, Operator: op, Values: values}}}
}

func in(namespace string, r kuberbac.Role) kuberbac.Role {
	r.Namespace = namespace
	return r
}

func labelled(r kuberbac.Role, key, value string) kuberbac.Role {
	r.Labels = map[string]string{key: value}
	return r
}

func binding(namespace, role string, clusterRole bool, who ...kuberbac.Subject) kuberbac.Binding {
	return kuberbac.Binding{Cluster: cluster, Namespace: namespace, Name: "b", Role: role, RoleIsCluster: clusterRole, Subjects: who}
}

func user(name string) kuberbac.Subject { return kuberbac.Subject{Kind: kuberbac.User, Name: name} }

func account(namespace, name string) kuberbac.Subject {
	return kuberbac.Subject{Kind: kuberbac.ServiceAccount, Namespace: namespace, Name: name}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	pods := rule("get", "pods")
	nowhere := clusterRole("r", pods)
	nowhere.Cluster = scope.Scope{}
	atNamespace := clusterRole("r", pods)
	atNamespace.Cluster, _ = cluster.Namespace("web")
	aggregatingRules := aggregating(kuberbac.Selector{})
	aggregatingRules.Rules = []kuberbac.Rule{pods}
	mixed := pods
	mixed.NonResourceURLs = list("/x")
	long := strings.Repeat("x", 64)

	tests := []struct {
		name string
		rec  record.Record
		ok   bool
	}{
		{"a cluster role", clusterRole("view", pods), true},
		{"a role without rules", clusterRole("empty"), true},
		{"names may have colons, capitals and blanks", clusterRole("system:Node Reader", pods), true},
		{"names may be of dots, if there are more than two", clusterRole("...", pods), true},
		{"a name is not empty", clusterRole("", pods), false},
		{"a name has no slash", clusterRole("a/b", pods), false},
		{"a name has no percent sign", clusterRole("a%2fb", pods), false},
		{"a name is not a dot", clusterRole(".", pods), false},
		{"a name is not two dots", clusterRole("..", pods), false},
		{"a name is UTF-8", clusterRole("a\xff", pods), false},
		{"a role is somewhere", nowhere, false},
		{"a role is of a cluster, not at a namespace's scope", atNamespace, false},
		{"a namespace is a DNS label", in("kube-system", clusterRole("r", pods)), true},
		{"a namespace has no capitals", in("Kube", clusterRole("r", pods)), false},
		{"a namespace has no dots", in("a.b", clusterRole("r", pods)), false},
		{"a namespace does not begin with a dash", in("-a", clusterRole("r", pods)), false},
		{"a namespace has at most 63 letters", in(long, clusterRole("r", pods)), false},

		{"labels are those of Kubernetes", labelled(clusterRole("r"), "rbac.example.com/aggregate_to-view", "true"), true},
		{"a label has a name behind its prefix", labelled(clusterRole("r"), "example.com/", "true"), false},
		{"the prefix of a label is in lower case", labelled(clusterRole("r"), "Example.com/a", "true"), false},
		{"a label has one slash", labelled(clusterRole("r"), "a/b/c", "true"), false},
		{"the value of a label has no blanks", labelled(clusterRole("r"), "a", "b c"), false},
		{"the value of a label may be empty", labelled(clusterRole("r"), "a", ""), true},
		{"the value of a label has at most 63 letters", labelled(clusterRole("r"), "a", long), false},

		{"a rule has verbs", clusterRole("r", rule("", "pods")), false},
		{"a rule has groups", clusterRole("r", kuberbac.Rule{Verbs: list("get"), Resources: list("pods")}), false},
		{"a rule has resources", clusterRole("r", rule("get", "")), false},
		{"a cluster role speaks of paths", clusterRole("r", urls("/healthz")), true},
		{"a role of a namespace does not", in("a", clusterRole("r", urls("/healthz"))), false},
		{"a rule is not about resources and paths", clusterRole("r", mixed), false},

		{"a role aggregates by label", aggregating(kuberbac.Selector{MatchLabels: map[string]string{"a": "b"}}), true},
		{"a selector may be empty", aggregating(kuberbac.Selector{}), true},
		{"a role that aggregates has a selector", aggregating(), false},
		{"a role that aggregates has no rules", aggregatingRules, false},
		{"a role of a namespace does not aggregate", in("a", aggregating(kuberbac.Selector{})), false},
		{"In has values", aggregating(expression("a", "In", "b")), true},
		{"In without values is refused", aggregating(expression("a", "In")), false},
		{"NotIn without values is refused", aggregating(expression("a", "NotIn")), false},
		{"Exists has no values", aggregating(expression("a", "Exists")), true},
		{"Exists with values is refused", aggregating(expression("a", "Exists", "b")), false},
		{"DoesNotExist with values is refused", aggregating(expression("a", "DoesNotExist", "b")), false},
		{"an operator is written as in Kubernetes", aggregating(expression("a", "in", "b")), false},
		{"numbers are not compared", aggregating(expression("a", "Gt", "1")), false},
		{"the key of a selector is a label", aggregating(expression("a b", "Exists")), false},
		{"the values of a selector are, too", aggregating(expression("a", "In", "b c")), false},
		{"matchLabels are, too", aggregating(kuberbac.Selector{MatchLabels: map[string]string{"a": "-"}}), false},

		{"a binding of a cluster role", binding("", "view", true, user("ann")), true},
		{"a binding may have nobody", binding("", "view", true), true},
		{"a binding of the cluster needs a cluster role", binding("", "view", false, user("ann")), false},
		{"a binding of a namespace takes either", binding("a", "view", false, user("ann")), true},
		{"a binding names a role", binding("a", "", false, user("ann")), false},
		{"a binding names a role that can be", binding("a", "x/y", false, user("ann")), false},
		{"a user has a name", binding("", "view", true, user("")), false},
		{"a user may have any name", binding("", "view", true, user("https://idp#ann / %2f")), true},
		{"a user has no namespace", binding("", "view", true, kuberbac.Subject{Kind: kuberbac.User, Name: "a", Namespace: "b"}), false},
		{"a subject has a kind", binding("", "view", true, kuberbac.Subject{Name: "ann"}), false},
		{"a kind is written as in Kubernetes", binding("", "view", true, kuberbac.Subject{Kind: "user", Name: "ann"}), false},
		{"a service account has a namespace", binding("a", "view", true, account("", "bot")), false},
		{"whose name has no colon", binding("a", "view", true, account("b:c", "bot")), false},
		{"a service account has a DNS name", binding("a", "view", true, account("b", "bot.v2")), true},
		{"and no colon in it", binding("a", "view", true, account("b", "c:d")), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.rec.Validate()
			if (err == nil) != tt.ok {
				t.Errorf("%+v: error %v, want valid = %t", tt.rec, err, tt.ok)
			}
			if err != nil && !errors.Is(err, record.ErrInvalid) {
				t.Errorf("%v is not record.ErrInvalid", err)
			}
		})
	}
}
