package oracle_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
)

// Aggregate arrives where the cluster role aggregation controller comes to
// rest. That controller is repeated here with the selectors and the equality
// that it uses, one role after the other until nothing changes. Where roles
// aggregate in a circle, the order in which it finds rules depends on its
// history, and only which rules there are is compared.
func TestAggregate(t *testing.T) {
	t.Parallel()
	s := chosenSeed()
	some, circles := 0, 0
	for n := range uint64(3000) {
		w := newWorld(s, n)
		var ours []kuberbac.Role
		for _, rec := range w.records(t) {
			if r, ok := rec.(kuberbac.Role); ok {
				ours = append(ours, r)
			}
		}
		circle := inCircle(w.clusterRoles)
		settled := settle(t, w.clusterRoles, circle)
		for _, r := range ours {
			if r.Aggregate == nil {
				continue
			}
			got, want := toUpstream(kuberbac.Aggregate(r, slices.Values(ours))), settled[r.Name]
			if circle {
				circles++
				// With %q, since the String of a rule is the same for no group and for the group "".
				byText := func(a, b rbacv1.PolicyRule) int {
					type plain rbacv1.PolicyRule
					return strings.Compare(fmt.Sprintf("%q", plain(a)), fmt.Sprintf("%q", plain(b)))
				}
				slices.SortFunc(got, byText)
				slices.SortFunc(want, byText)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, world %d: rules of %s (-controller +got):\n%s", s, n, r.Name, diff)
			}
			if len(got) > 0 {
				some++
			}
		}
	}
	if some < 1000 || circles < 100 {
		t.Errorf("seed %d: %d roles aggregate something, %d in a circle; the sample says little", s, some, circles)
	}
}

func matches(t *testing.T, sel *metav1.LabelSelector, role *rbacv1.ClusterRole) bool {
	m, err := metav1.LabelSelectorAsSelector(sel)
	if err != nil {
		t.Fatal(err)
	}
	return m.Matches(labels.Set(role.Labels))
}

func settle(t *testing.T, roles []*rbacv1.ClusterRole, circle bool) map[string][]rbacv1.PolicyRule {
	byName := slices.Clone(roles)
	slices.SortFunc(byName, func(a, b *rbacv1.ClusterRole) int { return slices.Compare([]string{a.Name}, []string{b.Name}) })
	rules := map[string][]rbacv1.PolicyRule{}
	for _, r := range roles {
		rules[r.Name] = r.Rules
	}
	for changed := true; changed; {
		changed = false
		for _, r := range byName {
			if r.AggregationRule == nil {
				continue
			}
			var next []rbacv1.PolicyRule
			for i := range r.AggregationRule.ClusterRoleSelectors {
				for _, from := range byName {
					if from.Name == r.Name || !matches(t, &r.AggregationRule.ClusterRoleSelectors[i], from) {
						continue
					}
					for _, rule := range rules[from.Name] {
						if !slices.ContainsFunc(next, func(o rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(o, rule) }) {
							next = append(next, rule)
						}
					}
				}
			}
			if !equality.Semantic.DeepEqual(rules[r.Name], next) && !(circle && sameRules(rules[r.Name], next)) {
				rules[r.Name], changed = next, true
			}
		}
	}
	return rules
}

// sameRules compares without order: in a circle, order need not come to rest.
func sameRules(a, b []rbacv1.PolicyRule) bool {
	within := func(a, b []rbacv1.PolicyRule) bool {
		return !slices.ContainsFunc(a, func(r rbacv1.PolicyRule) bool {
			return !slices.ContainsFunc(b, func(o rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(o, r) })
		})
	}
	return within(a, b) && within(b, a)
}

// inCircle reports whether roles that aggregate may take on each other's rules.
func inCircle(roles []*rbacv1.ClusterRole) bool {
	takes := func(r, from *rbacv1.ClusterRole) bool {
		return slices.ContainsFunc(r.AggregationRule.ClusterRoleSelectors, func(s metav1.LabelSelector) bool {
			m, err := metav1.LabelSelectorAsSelector(&s)
			return err == nil && m.Matches(labels.Set(from.Labels))
		})
	}
	var agg []*rbacv1.ClusterRole
	for _, r := range roles {
		if r.AggregationRule != nil {
			agg = append(agg, r)
		}
	}
	for _, start := range agg {
		seen := map[string]bool{}
		for at := []*rbacv1.ClusterRole{start}; len(at) > 0; at = at[1:] {
			for _, from := range agg {
				if from == at[0] || !takes(at[0], from) {
					continue
				}
				if from == start {
					return true
				}
				if !seen[from.Name] {
					seen[from.Name] = true
					at = append(at, from)
				}
			}
		}
	}
	return false
}
