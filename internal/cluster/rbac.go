package cluster

import (
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/principal"
)

const (
	rbacGroup = "rbac.authorization.k8s.io"
	rbacPath  = "/apis/" + rbacGroup + "/v1/"

	// adminBinding is the name that AKS gives to the binding of the admin groups.
	adminBinding = "aks-cluster-admin-binding-aad"

	// LocalAdmins is the group of local administrators' certificates. It is an
	// ordinary group: RBAC grants it cluster-admin, and the house can take that
	// back, which nobody can from system:masters.
	LocalAdmins = "gatehouse:local-admins"

	// LocalMonitors is that of certificates which read metrics.
	LocalMonitors = "gatehouse:local-monitors"
)

type metadata struct {
	Name   string            `yaml:"name"`
	Labels map[string]string `yaml:"labels,omitempty"`
}

type clusterRole struct {
	APIVersion string     `yaml:"apiVersion"`
	Kind       string     `yaml:"kind"`
	Metadata   metadata   `yaml:"metadata"`
	Rules      []roleRule `yaml:"rules"`
}

type roleRule struct {
	APIGroups []string `yaml:"apiGroups,omitempty"`
	Resources []string `yaml:"resources,omitempty"`
	URLs      []string `yaml:"nonResourceURLs,omitempty"`
	Verbs     []string `yaml:"verbs"`
}

type clusterRoleBinding struct {
	APIVersion string    `yaml:"apiVersion"`
	Kind       string    `yaml:"kind"`
	Metadata   metadata  `yaml:"metadata"`
	RoleRef    roleRef   `yaml:"roleRef"`
	Subjects   []subject `yaml:"subjects"`
}

type roleRef struct {
	APIGroup string `yaml:"apiGroup"`
	Kind     string `yaml:"kind"`
	Name     string `yaml:"name"`
}

type subject struct {
	APIGroup string `yaml:"apiGroup"`
	Kind     string `yaml:"kind"`
	Name     string `yaml:"name"`
}

func bind(name, role string, subjects ...subject) clusterRoleBinding {
	return clusterRoleBinding{
		APIVersion: rbacGroup + "/v1", Kind: "ClusterRoleBinding", Metadata: ours(name),
		RoleRef: roleRef{APIGroup: rbacGroup, Kind: "ClusterRole", Name: role}, Subjects: subjects,
	}
}

func ours(name string) metadata {
	return metadata{Name: name, Labels: map[string]string{"app.kubernetes.io/managed-by": "gatehouse"}}
}

// bindAdmins gives cluster-admin to each group, by object id: a name can be
// given to another group, an object id cannot.
func bindAdmins(groups []principal.ID) clusterRoleBinding {
	var subjects []subject
	for _, g := range groups {
		subjects = append(subjects, subject{rbacGroup, "Group", g.String()})
	}
	slices.SortFunc(subjects, func(a, b subject) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return bind(adminBinding, "cluster-admin", slices.Compact(subjects)...)
}

func bindLocalAdmins() clusterRoleBinding {
	return bind(LocalAdmins, "cluster-admin", subject{rbacGroup, "Group", LocalAdmins})
}

// mirrorRole lets the house read what Kubernetes RBAC grants, and nothing else.
func mirrorRole() clusterRole {
	return clusterRole{
		APIVersion: rbacGroup + "/v1", Kind: "ClusterRole", Metadata: ours(MirrorUser),
		Rules: []roleRule{{
			APIGroups: []string{rbacGroup},
			Resources: []string{"clusterroles", "clusterrolebindings", "roles", "rolebindings"},
			Verbs:     []string{"get", "list", "watch"},
		}},
	}
}

func bindMirror() clusterRoleBinding {
	return bind(MirrorUser, MirrorUser, subject{rbacGroup, "User", MirrorUser})
}

// monitorRole lets local monitors read the metrics of the API server.
func monitorRole() clusterRole {
	return clusterRole{
		APIVersion: rbacGroup + "/v1", Kind: "ClusterRole", Metadata: ours(LocalMonitors),
		Rules: []roleRule{{URLs: []string{"/metrics"}, Verbs: []string{"get"}}},
	}
}

func bindLocalMonitors() clusterRoleBinding {
	return bind(LocalMonitors, LocalMonitors, subject{rbacGroup, "Group", LocalMonitors})
}
