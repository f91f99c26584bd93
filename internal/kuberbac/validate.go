package kuberbac

import (
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const clusterType = "microsoft.containerservice/managedclusters"

// Validate implements record.Record. What Kubernetes would refuse is refused.
func (r Role) Validate() error {
	if err := checkPlace("role", r.Cluster, r.Namespace, r.Name); err != nil {
		return err
	}
	for key, value := range r.Labels {
		if !isLabelKey(key) || !isLabelValue(value) {
			return record.Invalid("role %q: %q: %q is not a label", r.Name, key, value)
		}
	}
	for i, rule := range r.Rules {
		if err := rule.check(r.Namespace != ""); err != nil {
			return record.Invalid("role %q: rule %d: %w", r.Name, i, err)
		}
	}
	if r.Aggregate == nil {
		return nil
	}
	switch {
	case r.Namespace != "":
		return record.Invalid("role %q of namespace %s aggregates; only cluster roles can", r.Name, r.Namespace)
	case len(r.Aggregate) == 0:
		return record.Invalid("role %q aggregates without a selector", r.Name)
	case len(r.Rules) > 0:
		return record.Invalid("role %q aggregates and has rules, which the aggregation would overwrite", r.Name)
	}
	for _, s := range r.Aggregate {
		if err := s.check(); err != nil {
			return record.Invalid("role %q: aggregation: %w", r.Name, err)
		}
	}
	return nil
}

// Validate implements record.Record. The role need not exist: Kubernetes lets
// a binding wait for its role, and so grants whatever is created by that name.
func (b Binding) Validate() error {
	if err := checkPlace("binding", b.Cluster, b.Namespace, b.Name); err != nil {
		return err
	}
	if !isPathSegment(b.Role) {
		return record.Invalid("binding %q: %q cannot name a role", b.Name, b.Role)
	}
	if b.Namespace == "" && !b.RoleIsCluster {
		return record.Invalid("binding %q of the whole cluster needs a cluster role", b.Name)
	}
	for i, s := range b.Subjects {
		if err := s.check(); err != nil {
			return record.Invalid("binding %q: subject %d: %w", b.Name, i, err)
		}
	}
	return nil
}

func checkPlace(what string, cluster scope.Scope, namespace, name string) error {
	switch {
	case cluster.Type() != clusterType:
		return record.Invalid("%s %q: %q is not a cluster", what, name, cluster)
	case namespace != "" && !isDNSLabel(namespace):
		return record.Invalid("%s %q: %q is not a namespace", what, name, namespace)
	case !isPathSegment(name):
		return record.Invalid("%q cannot name a %s", name, what)
	}
	return nil
}

func (r Rule) check(namespaced bool) error {
	switch {
	case len(r.Verbs) == 0:
		return record.Invalid("no verbs")
	case len(r.NonResourceURLs) > 0 && namespaced:
		return record.Invalid("a role of a namespace cannot speak of nonResourceURLs")
	case len(r.NonResourceURLs) > 0 && len(r.APIGroups)+len(r.Resources)+len(r.ResourceNames) > 0:
		return record.Invalid("both resources and nonResourceURLs")
	case len(r.NonResourceURLs) > 0:
		return nil
	case len(r.APIGroups) == 0:
		return record.Invalid("resources without apiGroups")
	case len(r.Resources) == 0:
		return record.Invalid("neither resources nor nonResourceURLs")
	}
	return nil
}

// check wants the namespace of every service account written out, so that no
// reader has to know that a RoleBinding once lent it its own.
func (s Subject) check() error {
	switch {
	case s.Name == "":
		return record.Invalid("no name")
	case s.Kind == ServiceAccount && !isDNSSubdomain(s.Name):
		return record.Invalid("%q cannot name a service account", s.Name)
	case s.Kind == ServiceAccount && !isDNSLabel(s.Namespace):
		return record.Invalid("service account %q: %q is not a namespace", s.Name, s.Namespace)
	case s.Kind != ServiceAccount && s.Namespace != "":
		return record.Invalid("%s %q has a namespace", s.Kind, s.Name)
	case !slices.Contains([]SubjectKind{User, Group, ServiceAccount}, s.Kind):
		return record.Invalid("kind %q is not User, Group or ServiceAccount", s.Kind)
	}
	return nil
}

func (s Selector) check() error {
	for key, value := range s.MatchLabels {
		if !isLabelKey(key) || !isLabelValue(value) {
			return record.Invalid("%q: %q is not a label", key, value)
		}
	}
	for _, q := range s.MatchExpressions {
		if !isLabelKey(q.Key) {
			return record.Invalid("%q is not the key of a label", q.Key)
		}
		switch q.Operator {
		case In, NotIn:
			if len(q.Values) == 0 {
				return record.Invalid("%s %s nothing", q.Key, q.Operator)
			}
		case Exists, DoesNotExist:
			if len(q.Values) > 0 {
				return record.Invalid("%s %s takes no values", q.Key, q.Operator)
			}
		default:
			return record.Invalid("operator %q is not In, NotIn, Exists or DoesNotExist", q.Operator)
		}
		for _, v := range q.Values {
			if !isLabelValue(v) {
				return record.Invalid("%s %s %q, which is not the value of a label", q.Key, q.Operator, v)
			}
		}
	}
	return nil
}
