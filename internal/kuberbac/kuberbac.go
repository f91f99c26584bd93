// Package kuberbac models Kubernetes role-based access control: rules, roles,
// cluster roles, aggregation and bindings, with the semantics of
// k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac.
package kuberbac

import (
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Rule allows verbs on resources or on paths (rbac.authorization.k8s.io/v1 PolicyRule).
type Rule struct {
	Verbs           []string `json:"verbs"`
	APIGroups       []string `json:"apiGroups,omitzero"`
	Resources       []string `json:"resources,omitzero"`
	ResourceNames   []string `json:"resourceNames,omitzero"`
	NonResourceURLs []string `json:"nonResourceURLs,omitzero"`
}

// A Role is a Role when Namespace is set, and a ClusterRole when it is empty.
type Role struct {
	Cluster   scope.Scope       `json:"cluster"`
	Namespace string            `json:"namespace,omitzero"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitzero"`
	Rules     []Rule            `json:"rules,omitzero"`
	// Aggregate selects the cluster roles whose rules this one takes on; nil for
	// a role that has rules of its own. A role never has both: in a cluster, the
	// rules of a role that aggregates are written by a controller.
	Aggregate []Selector `json:"aggregate,omitzero"`
}

// A Selector matches labels (metav1.LabelSelector). A role matches an
// aggregation when any of its selectors matches.
type Selector struct {
	MatchLabels      map[string]string `json:"matchLabels,omitzero"`
	MatchExpressions []Requirement     `json:"matchExpressions,omitzero"`
}

// A Requirement is one expression of a selector: In, NotIn, Exists, DoesNotExist.
type Requirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitzero"`
}

// A SubjectKind is User, Group or ServiceAccount.
type SubjectKind string

// The kinds of subject.
const (
	User           SubjectKind = "User"
	Group          SubjectKind = "Group"
	ServiceAccount SubjectKind = "ServiceAccount"
)

// A Subject is whom a binding speaks of. Namespace is set for service accounts,
// also where a RoleBinding would lend them its own, and for nobody else.
type Subject struct {
	Kind      SubjectKind `json:"kind"`
	Name      string      `json:"name"`
	Namespace string      `json:"namespace,omitzero"`
}

// A Binding is a RoleBinding when Namespace is set, and a ClusterRoleBinding
// when it is empty.
type Binding struct {
	Cluster   scope.Scope `json:"cluster"`
	Namespace string      `json:"namespace,omitzero"`
	Name      string      `json:"name"`
	// RoleIsCluster tells a ClusterRole from a Role of the binding's namespace.
	RoleIsCluster bool      `json:"roleIsCluster,omitzero"`
	Role          string    `json:"role"`
	Subjects      []Subject `json:"subjects,omitzero"`
}

// Attributes are what the API server asks about: a request on a resource, or,
// with Path set, on a path that is no resource. Zero Attributes ask nothing.
type Attributes struct {
	Verb        string
	APIGroup    string
	Resource    string
	Subresource string
	Namespace   string // empty for the whole cluster
	Name        string
	Path        string
}

// Key implements record.Record.
func (r Role) Key() record.Key {
	return record.KeyOf(record.KubeRole, r.Cluster.String(), r.Namespace, r.Name)
}

// Key implements record.Record.
func (b Binding) Key() record.Key {
	return record.KeyOf(record.KubeBinding, b.Cluster.String(), b.Namespace, b.Name)
}
