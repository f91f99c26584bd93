package oracle_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/apis/rbac"
	rbacv1conv "k8s.io/kubernetes/pkg/apis/rbac/v1"
	"k8s.io/kubernetes/pkg/apis/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
)

// The roles and bindings that Gatehouse takes every new cluster to have are
// those that the API server creates.
func TestDefaults(t *testing.T) {
	t.Parallel()
	want := map[string]any{}
	for _, r := range bootstrappolicy.ClusterRoles() {
		r.TypeMeta = metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"}
		r.Annotations = nil
		want["ClusterRole "+r.Name] = r
	}
	for _, b := range bootstrappolicy.ClusterRoleBindings() {
		b.TypeMeta = metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding"}
		b.Annotations, b.Labels = nil, nil // Gatehouse has no use for a binding's labels
		want["ClusterRoleBinding "+b.Name] = b
	}
	got := map[string]any{}
	for rec := range kuberbac.Defaults(cluster) {
		data, err := kuberbac.ToObject(rec)
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := rec.(kuberbac.Role); ok {
			got["ClusterRole "+r.Name] = upstreamObject[rbacv1.ClusterRole](t, data)
			continue
		}
		b := upstreamObject[rbacv1.ClusterRoleBinding](t, data)
		got["ClusterRoleBinding "+b.Name] = b
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("defaults (-upstream +got):\n%s", diff)
	}
}

// So are those that it creates for itself, against which the doctor holds a cluster.
func TestOfItself(t *testing.T) {
	t.Parallel()
	kind := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: kind}
	}
	want, got := map[string]any{}, map[string]any{}
	for _, r := range bootstrappolicy.ControllerRoles() {
		r.TypeMeta, r.Annotations = kind("ClusterRole"), nil
		want["ClusterRole "+r.Name] = r
	}
	for _, b := range bootstrappolicy.ControllerRoleBindings() {
		b.TypeMeta, b.Annotations, b.Labels = kind("ClusterRoleBinding"), nil, nil
		want["ClusterRoleBinding "+b.Name] = b
	}
	for _, roles := range bootstrappolicy.NamespaceRoles() {
		for _, r := range roles {
			r.TypeMeta, r.Annotations = kind("Role"), nil
			want["Role "+r.Namespace+"/"+r.Name] = r
		}
	}
	for _, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for _, b := range bindings {
			b.TypeMeta, b.Annotations, b.Labels = kind("RoleBinding"), nil, nil
			want["RoleBinding "+b.Namespace+"/"+b.Name] = b
		}
	}
	for rec := range kuberbac.OfItself(cluster) {
		data, err := kuberbac.ToObject(rec)
		if err != nil {
			t.Fatal(err)
		}
		switch r := rec.(type) {
		case kuberbac.Role:
			if r.Namespace == "" {
				got["ClusterRole "+r.Name] = upstreamObject[rbacv1.ClusterRole](t, data)
			} else {
				got["Role "+r.Namespace+"/"+r.Name] = upstreamObject[rbacv1.Role](t, data)
			}
		case kuberbac.Binding:
			if r.Namespace == "" {
				got["ClusterRoleBinding "+r.Name] = upstreamObject[rbacv1.ClusterRoleBinding](t, data)
			} else {
				got["RoleBinding "+r.Namespace+"/"+r.Name] = upstreamObject[rbacv1.RoleBinding](t, data)
			}
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("of itself (-upstream +got):\n%s", diff)
	}
}

func upstreamObject[T any](t *testing.T, data []byte) (o T) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return o
}

// What Gatehouse accepts is what the API server's validation accepts. There are
// two exceptions, both on the strict side: the rules of a role that aggregates
// are not looked at, for they are dropped, and service accounts must be in a
// namespace that can exist.
func TestValidation(t *testing.T) {
	t.Parallel()
	s := chosenSeed()
	r := rand.New(rand.NewPCG(s, 2<<32))
	accepted := 0
	const n = 100_000
	for range n {
		o, want := badlyNamed(t, r)
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = kuberbac.FromObject(cluster, data)
		if (err == nil) != (len(want) == 0) {
			t.Fatalf("seed %d: %s: error %v, upstream says %v", s, data, err, want)
		}
		if err == nil {
			accepted++
		}
	}
	if accepted < n/10 || accepted > n*9/10 {
		t.Errorf("seed %d: %d of %d are accepted; the sample says little", s, accepted, n)
	}
}

var (
	objectNames = []string{"a", "A b", "system:x", "...", ".", "..", "a/b", "a%2f", ""}
	dnsNames    = []string{"a", "a-b", "a.b", "0", "-a", "a-", "A", "a_b", "a..b", "", strings.Repeat("x", 63), strings.Repeat("x", 64), strings.Repeat("x.", 126) + "x", strings.Repeat("x.", 127) + "x", "a:b", "ü"}
	labelNames  = []string{"a", "a.b_c-d", "A", "example.com/a", "Example.com/a", "/a", "a/", "a/b/c", "", "-a", "a-", strings.Repeat("x", 64), "ü", "a b"}
	labelTexts  = []string{"", "a", "A.b_c-d", "-a", "a-", "a b", strings.Repeat("x", 63), strings.Repeat("x", 64), "a/b"}
)

// mostly returns the first of from, and sometimes another: an object with
// several faults shows none of them.
func mostly(r *rand.Rand, from []string) string {
	if chance(r, 85) {
		return from[0]
	}
	return pick(r, from)
}

func lists(r *rand.Rand, from string) []string {
	if chance(r, 10) {
		return nil
	}
	return []string{from}
}

// badlyNamed returns an object and the errors that upstream has about it.
func badlyNamed(t *testing.T, r *rand.Rand) (o any, errs []string) {
	meta := metav1.ObjectMeta{Name: mostly(r, objectNames), Labels: map[string]string{mostly(r, labelNames): mostly(r, labelTexts)}}
	namespaced := meta
	namespaced.Namespace = mostly(r, dnsNames)
	rule := rbacv1.PolicyRule{Verbs: lists(r, "get"), APIGroups: lists(r, ""), Resources: lists(r, "pods")}
	if chance(r, 20) {
		rule = rbacv1.PolicyRule{Verbs: lists(r, "get"), NonResourceURLs: []string{"/x"}}
		if chance(r, 20) {
			rule.APIGroups = []string{""}
		}
	}
	subject := rbacv1.Subject{Kind: mostly(r, []string{"User", "Group", "user", ""}), Name: mostly(r, []string{"ann", "", "a/b"}), Namespace: mostly(r, []string{"", "a"}), APIGroup: mostly(r, []string{"", rbacv1.GroupName, "example.com"})}
	if chance(r, 30) {
		subject = rbacv1.Subject{Kind: "ServiceAccount", Name: mostly(r, dnsNames), Namespace: mostly(r, []string{"a", ""}), APIGroup: mostly(r, []string{"", rbacv1.GroupName})}
	}
	ref := rbacv1.RoleRef{Kind: mostly(r, []string{"ClusterRole", "Role", "User", ""}), Name: mostly(r, objectNames), APIGroup: mostly(r, []string{rbacv1.GroupName, "", "example.com"})}

	switch r.IntN(4) {
	case 0:
		v := &rbacv1.Role{TypeMeta: typeMeta("Role"), ObjectMeta: namespaced, Rules: []rbacv1.PolicyRule{rule}}
		in := internal(t, v, new(rbac.Role), rbacv1conv.Convert_v1_Role_To_rbac_Role)
		return v, texts(validation.ValidateRole(in))
	case 1:
		v := &rbacv1.ClusterRole{TypeMeta: typeMeta("ClusterRole"), ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}
		if chance(r, 50) {
			v.Rules = nil
			v.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{
				MatchLabels: map[string]string{mostly(r, labelNames): mostly(r, labelTexts)},
				MatchExpressions: []metav1.LabelSelectorRequirement{{
					Key:      mostly(r, labelNames),
					Operator: metav1.LabelSelectorOperator(mostly(r, []string{"In", "NotIn", "Exists", "DoesNotExist", "in", ""})),
					Values:   lists(r, mostly(r, labelTexts)),
				}},
			}}}
			if chance(r, 10) {
				v.AggregationRule.ClusterRoleSelectors = nil
			}
		}
		in := internal(t, v, new(rbac.ClusterRole), rbacv1conv.Convert_v1_ClusterRole_To_rbac_ClusterRole)
		return v, texts(validation.ValidateClusterRole(in, validation.ClusterRoleValidationOptions{}))
	case 2:
		namespaced.Labels = nil // of a binding, labels are not read
		v := &rbacv1.RoleBinding{TypeMeta: typeMeta("RoleBinding"), ObjectMeta: namespaced, RoleRef: ref, Subjects: []rbacv1.Subject{subject}}
		defaulted := v.DeepCopy()
		rbacv1conv.SetObjectDefaults_RoleBinding(defaulted)
		in := internal(t, defaulted, new(rbac.RoleBinding), rbacv1conv.Convert_v1_RoleBinding_To_rbac_RoleBinding)
		return v, texts(validation.ValidateRoleBinding(in))
	}
	meta.Labels = nil
	v := &rbacv1.ClusterRoleBinding{TypeMeta: typeMeta("ClusterRoleBinding"), ObjectMeta: meta, RoleRef: ref, Subjects: []rbacv1.Subject{subject}}
	defaulted := v.DeepCopy()
	rbacv1conv.SetObjectDefaults_ClusterRoleBinding(defaulted)
	in := internal(t, defaulted, new(rbac.ClusterRoleBinding), rbacv1conv.Convert_v1_ClusterRoleBinding_To_rbac_ClusterRoleBinding)
	return v, texts(validation.ValidateClusterRoleBinding(in))
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: kind}
}

func internal[V, I, S any](t *testing.T, v V, in I, convert func(V, I, S) error) I {
	t.Helper()
	var s S
	if err := convert(v, in, s); err != nil {
		t.Fatal(err)
	}
	return in
}

func texts[E error](errs []E) (out []string) {
	for _, err := range errs {
		out = append(out, err.Error())
	}
	return out
}
