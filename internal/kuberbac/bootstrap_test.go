package kuberbac_test

import (
	"iter"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
)

func defaultRoles() iter.Seq[kuberbac.Role] {
	return func(yield func(kuberbac.Role) bool) {
		for rec := range kuberbac.Defaults(cluster) {
			if r, ok := rec.(kuberbac.Role); ok && !yield(r) {
				return
			}
		}
	}
}

func TestDefaultsAreValidAndOfTheCluster(t *testing.T) {
	t.Parallel()
	n := 0
	for rec := range kuberbac.Defaults(cluster) {
		n++
		if err := rec.Validate(); err != nil {
			t.Error(err)
		}
		if got := rec.Key().Parts[0]; got != cluster.String() {
			t.Errorf("%s is of %s", rec.Key(), got)
		}
	}
	if n == 0 {
		t.Error("there are none")
	}
}

// What a view, an edit and an admin may do, as people count on it.
func TestDefaultUserRoles(t *testing.T) {
	t.Parallel()
	rules := map[string][]kuberbac.Rule{}
	for r := range defaultRoles() {
		rules[r.Name] = kuberbac.Aggregate(r, defaultRoles())
	}
	const rbac = "rbac.authorization.k8s.io"
	tests := []struct {
		name, role string
		ask        kuberbac.Attributes
		want       bool
	}{
		{"view reads pods", "view", ask("list pods"), true},
		{"view reads no secrets", "view", ask("get secrets x"), false},
		{"view enters no pods", "view", ask("create pods/exec x"), false},
		{"edit reads secrets", "edit", ask("get secrets x"), true},
		{"edit enters pods", "edit", ask("create pods/exec x"), true},
		{"edit takes on view", "edit", ask("list namespaces"), true},
		{"edit grants nothing", "edit", group(ask("create rolebindings"), rbac), false},
		{"admin grants", "admin", group(ask("create rolebindings"), rbac), true},
		{"admin does not bind what it lacks", "admin", group(ask("bind roles"), rbac), false},
		{"cluster-admin does everything", "cluster-admin", group(ask("escalate clusterroles x"), rbac), true},
		{"everyone may ask what he may do", "system:basic-user", group(ask("create selfsubjectaccessreviews"), "authorization.k8s.io"), true},
		{"everyone may see the API groups", "system:discovery", path("/apis/apps/v1"), true},
		{"anyone may ask for the version", "system:public-info-viewer", path("/version"), true},
		{"but not for the API groups", "system:public-info-viewer", path("/apis"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := false
			for _, r := range rules[tt.role] {
				got = got || r.Allows(&tt.ask)
			}
			if got != tt.want {
				t.Errorf("%s allows %+v = %t, want %t", tt.role, tt.ask, got, tt.want)
			}
		})
	}
}
