package kuberbac

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const apiVersion = apiGroup + "/v1"

// object is what the four kinds look like on the wire, put together. Rules,
// subjects and the like are read strictly; of the metadata only the names and
// labels are read.
type object struct {
	APIVersion      string           `json:"apiVersion"`
	Kind            string           `json:"kind"`
	Metadata        metadata         `json:"metadata"`
	Rules           []Rule           `json:"rules,omitzero"`
	AggregationRule *aggregationRule `json:"aggregationRule,omitzero"`
	Subjects        []wireSubject    `json:"subjects,omitzero"`
	RoleRef         *roleRef         `json:"roleRef,omitzero"`
}

type metadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace,omitzero"`
	Labels    map[string]string `json:"labels,omitzero"`
}

// UnmarshalJSONFrom skips the members that the house has no use for, such as
// uid and managedFields. Duplicate names are refused there as well.
func (m *metadata) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type plain metadata
	return json.UnmarshalDecode(dec, (*plain)(m), json.RejectUnknownMembers(false))
}

type aggregationRule struct {
	ClusterRoleSelectors []Selector `json:"clusterRoleSelectors"`
}

type wireSubject struct {
	Kind      SubjectKind `json:"kind"`
	APIGroup  string      `json:"apiGroup,omitzero"`
	Name      string      `json:"name"`
	Namespace string      `json:"namespace,omitzero"`
}

type roleRef struct {
	APIGroup string `json:"apiGroup"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
}

// FromObject reads a Role, ClusterRole, RoleBinding or ClusterRoleBinding of
// rbac.authorization.k8s.io/v1, in JSON, as a valid Role or Binding of a
// cluster. What the API server fills in is filled in: API groups, and the
// namespace of a service account that a RoleBinding leaves to its own. What it
// ignores is dropped: the namespace of users and groups, and the rules of a
// role that aggregates, which are whatever the aggregation says.
//
// Errors wrap record.ErrInvalid.
func FromObject(cluster scope.Scope, data []byte) (record.Record, error) {
	var o object
	if err := record.Unmarshal(data, &o); err != nil {
		return nil, err
	}
	if o.APIVersion != apiVersion {
		return nil, record.Invalid("apiVersion %q is not %s", o.APIVersion, apiVersion)
	}
	rec, err := o.record(cluster)
	if err != nil {
		return nil, record.Invalid("%s %q: %w", o.Kind, o.Metadata.Name, err)
	}
	if err := rec.Validate(); err != nil {
		return nil, err
	}
	return rec, nil
}

func (o object) record(cluster scope.Scope) (record.Record, error) {
	namespaced := o.Kind == "Role" || o.Kind == "RoleBinding"
	if namespaced != (o.Metadata.Namespace != "") {
		return nil, record.Invalid("metadata.namespace is %q", o.Metadata.Namespace)
	}
	switch o.Kind {
	case "Role", "ClusterRole":
		return o.role(cluster)
	case "RoleBinding", "ClusterRoleBinding":
		return o.binding(cluster)
	}
	return nil, record.Invalid("not a kind of %s", apiVersion)
}

func (o object) role(cluster scope.Scope) (record.Record, error) {
	if o.Subjects != nil || o.RoleRef != nil {
		return nil, record.Invalid("a role has neither subjects nor roleRef")
	}
	r := Role{Cluster: cluster, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name}
	if len(o.Metadata.Labels) > 0 {
		r.Labels = o.Metadata.Labels
	}
	if o.AggregationRule != nil {
		r.Aggregate = append([]Selector{}, o.AggregationRule.ClusterRoleSelectors...)
		return r, nil
	}
	for _, rule := range o.Rules {
		r.Rules = append(r.Rules, rule.compact())
	}
	return r, nil
}

// compact makes nil of empty lists, which mean the same.
func (r Rule) compact() Rule {
	return Rule{
		Verbs: some(r.Verbs), APIGroups: some(r.APIGroups), Resources: some(r.Resources),
		ResourceNames: some(r.ResourceNames), NonResourceURLs: some(r.NonResourceURLs),
	}
}

func some(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

func (o object) binding(cluster scope.Scope) (record.Record, error) {
	if o.Rules != nil || o.AggregationRule != nil {
		return nil, record.Invalid("a binding has neither rules nor aggregationRule")
	}
	switch {
	case o.RoleRef == nil:
		return nil, record.Invalid("no roleRef")
	case o.RoleRef.Kind != "Role" && o.RoleRef.Kind != "ClusterRole":
		return nil, record.Invalid("roleRef.kind %q is not Role or ClusterRole", o.RoleRef.Kind)
	case o.RoleRef.APIGroup != "" && o.RoleRef.APIGroup != apiGroup:
		return nil, record.Invalid("roleRef.apiGroup %q is not %s", o.RoleRef.APIGroup, apiGroup)
	}
	b := Binding{
		Cluster: cluster, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name,
		RoleIsCluster: o.RoleRef.Kind == "ClusterRole", Role: o.RoleRef.Name,
	}
	for i, w := range o.Subjects {
		s := Subject{Kind: w.Kind, Name: w.Name}
		group := apiGroup
		if w.Kind == ServiceAccount {
			group, s.Namespace = "", w.Namespace
			if s.Namespace == "" {
				s.Namespace = b.Namespace
			}
		}
		if w.APIGroup != "" && w.APIGroup != group {
			return nil, record.Invalid("subject %d: apiGroup %q is not %q", i, w.APIGroup, group)
		}
		b.Subjects = append(b.Subjects, s)
	}
	return b, nil
}

// ToObject writes a Role or Binding as the object of
// rbac.authorization.k8s.io/v1 that FromObject reads back. The cluster it is of
// is not written.
func ToObject(rec record.Record) ([]byte, error) {
	if err := rec.Validate(); err != nil {
		return nil, err
	}
	switch v := rec.(type) {
	case Role:
		o := object{APIVersion: apiVersion, Kind: "ClusterRole", Metadata: metadata{v.Name, v.Namespace, v.Labels}}
		if v.Namespace != "" {
			o.Kind = "Role"
		}
		o.Rules = append([]Rule{}, v.Rules...) // the member is required, also when it is empty
		if v.Aggregate != nil {
			o.AggregationRule = &aggregationRule{v.Aggregate}
		}
		return record.Marshal(o)
	case Binding:
		o := object{APIVersion: apiVersion, Kind: "ClusterRoleBinding", Metadata: metadata{v.Name, v.Namespace, nil}}
		if v.Namespace != "" {
			o.Kind = "RoleBinding"
		}
		o.RoleRef = &roleRef{apiGroup, "Role", v.Role}
		if v.RoleIsCluster {
			o.RoleRef.Kind = "ClusterRole"
		}
		for _, s := range v.Subjects {
			w := wireSubject{s.Kind, apiGroup, s.Name, s.Namespace}
			if s.Kind == ServiceAccount {
				w.APIGroup = ""
			}
			o.Subjects = append(o.Subjects, w)
		}
		return record.Marshal(o)
	}
	return nil, record.Invalid("%s is not an object of %s", rec.Key(), apiVersion)
}
