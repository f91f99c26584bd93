package kuberbac_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const head = `"apiVersion": "rbac.authorization.k8s.io/v1", `

var same = cmp.Comparer(func(a, b scope.Scope) bool { return a == b })

func TestFromObject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, object string
		want         record.Record
	}{
		{"a role", `{` + head + `"kind": "Role", "metadata": {"name": "r", "namespace": "a"},
			"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": []}]}`,
			in("a", kuberbac.Role{Cluster: cluster, Name: "r", Rules: []kuberbac.Rule{rule("get", "pods")}})},
		{"metadata as the API server writes it", `{` + head + `"kind": "ClusterRole", "metadata": {"name": "r", "uid": "1", "resourceVersion": "7",
			"creationTimestamp": null, "labels": {"a": "b"}, "annotations": {"x": "y"}, "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:rules": {}}}]}, "rules": null}`,
			labelled(clusterRole("r"), "a", "b")},
		{"the rules of a role that aggregates are the controller's", `{` + head + `"kind": "ClusterRole", "metadata": {"name": "all"},
			"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]},
			"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}`,
			aggregating(expression("a", "Exists"))},
		{"a binding, whose service account is of its namespace", `{` + head + `"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "a"},
			"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "ServiceAccount", "name": "bot"}]}`,
			binding("a", "view", true, account("a", "bot"))},
		{"the namespace of a user means nothing", `{` + head + `"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "a"},
			"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
			"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann", "namespace": "b"}]}`,
			binding("a", "r", false, user("ann"))},
		{"a binding of nobody", `{` + head + `"kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}}`,
			binding("", "view", true)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := kuberbac.FromObject(cluster, []byte(tt.object))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, same); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFromObjectRefuses(t *testing.T) {
	t.Parallel()
	const meta, ref = `"metadata": {"name": "r"}, `, `"roleRef": {"kind": "ClusterRole", "name": "view"}`
	tests := []struct{ name, object string }{
		{"nothing", ``},
		{"null", `null`},
		{"another version", `{"apiVersion": "rbac.authorization.k8s.io/v1beta1", "kind": "ClusterRole", ` + meta + `"rules": []}`},
		{"another kind", `{` + head + `"kind": "Pod", ` + meta + `"rules": []}`},
		{"a kind in another case", `{` + head + `"kind": "clusterrole", ` + meta + `"rules": []}`},
		{"a list", `{` + head + `"kind": "ClusterRoleList", "items": []}`},
		{"two objects", `{` + head + `"kind": "ClusterRole", ` + meta + `"rules": []} {}`},
		{"a member twice", `{` + head + `"kind": "ClusterRole", ` + meta + `"rules": [], "rules": []}`},
		{"a name twice", `{` + head + `"kind": "ClusterRole", "metadata": {"name": "r", "name": "s"}, "rules": []}`},
		{"a member twice, deep in what is not read", `{` + head + `"kind": "ClusterRole", "metadata": {"name": "r", "annotations": {"a": "1", "a": "2"}}, "rules": []}`},
		{"verbs in another case", `{` + head + `"kind": "ClusterRole", ` + meta + `"rules": [{"Verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}`},
		{"an unknown member of a rule", `{` + head + `"kind": "ClusterRole", ` + meta + `"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "unless": []}]}`},
		{"no name", `{` + head + `"kind": "ClusterRole", "metadata": {}, "rules": []}`},
		{"a role without a namespace", `{` + head + `"kind": "Role", ` + meta + `"rules": []}`},
		{"a cluster role with one", `{` + head + `"kind": "ClusterRole", "metadata": {"name": "r", "namespace": "a"}, "rules": []}`},
		{"a role with subjects", `{` + head + `"kind": "ClusterRole", ` + meta + `"subjects": []}`},
		{"a binding with rules", `{` + head + `"kind": "ClusterRoleBinding", ` + meta + ref + `, "rules": []}`},
		{"a binding without a role", `{` + head + `"kind": "ClusterRoleBinding", ` + meta + `"subjects": []}`},
		{"a role of another API group", `{` + head + `"kind": "ClusterRoleBinding", ` + meta + `"roleRef": {"apiGroup": "example.com", "kind": "ClusterRole", "name": "view"}}`},
		{"a role that is a user", `{` + head + `"kind": "ClusterRoleBinding", ` + meta + `"roleRef": {"kind": "User", "name": "view"}}`},
		{"a role of a namespace, for the whole cluster", `{` + head + `"kind": "ClusterRoleBinding", ` + meta + `"roleRef": {"kind": "Role", "name": "view"}}`},
		{"a user of another API group", `{` + head + `"kind": "ClusterRoleBinding", ` + meta + ref + `, "subjects": [{"apiGroup": "example.com", "kind": "User", "name": "a"}]}`},
		{"a service account of an API group", `{` + head + `"kind": "ClusterRoleBinding", ` + meta + ref + `, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "ServiceAccount", "name": "a", "namespace": "b"}]}`},
		{"a service account of no namespace", `{` + head + `"kind": "ClusterRoleBinding", ` + meta + ref + `, "subjects": [{"kind": "ServiceAccount", "name": "a"}]}`},
		{"an aggregation of nothing", `{` + head + `"kind": "ClusterRole", ` + meta + `"aggregationRule": {"clusterRoleSelectors": null}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := kuberbac.FromObject(cluster, []byte(tt.object))
			if err == nil || got != nil || !errors.Is(err, record.ErrInvalid) {
				t.Errorf("got %+v, error %v, want none and record.ErrInvalid", got, err)
			}
		})
	}
}

func TestToObject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		rec  record.Record
		want string
	}{
		{"a cluster role without rules still writes them", clusterRole("r"),
			`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"r"},"rules":[]}`},
		{"a role", labelled(in("a", clusterRole("r", rule("get", "pods"))), "x", "y"),
			`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r","namespace":"a","labels":{"x":"y"}},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}`},
		{"a binding", binding("a", "r", false, account("a", "bot"), user("ann")),
			`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"b","namespace":"a"},` +
				`"subjects":[{"kind":"ServiceAccount","name":"bot","namespace":"a"},{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"ann"}],` +
				`"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := kuberbac.ToObject(tt.rec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("object (-want +got):\n%s", diff)
			}
		})
	}
	if got, err := kuberbac.ToObject(clusterRole("a/b")); err == nil {
		t.Errorf("an invalid role is written as %s", got)
	}
}

// FuzzFromObject: what is read is valid, and is read again from what it is
// written as.
func FuzzFromObject(f *testing.F) {
	for rec := range kuberbac.Defaults(cluster) {
		data, err := kuberbac.ToObject(rec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{` + head + `"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "a", "uid": "7"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := kuberbac.FromObject(cluster, data)
		if err != nil {
			if rec != nil || !errors.Is(err, record.ErrInvalid) {
				t.Fatalf("got %+v with error %v", rec, err)
			}
			return
		}
		if err := rec.Validate(); err != nil {
			t.Fatal(err)
		}
		out, err := kuberbac.ToObject(rec)
		if err != nil {
			t.Fatal(err)
		}
		again, err := kuberbac.FromObject(cluster, out)
		if err != nil {
			t.Fatalf("%s is written as %s: %v", data, out, err)
		}
		if diff := cmp.Diff(rec, again, same); diff != "" {
			t.Fatalf("%s changes on the way (-before +after):\n%s", out, diff)
		}
	})
}
