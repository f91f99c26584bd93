// Package security_test tries attacks against real control planes, with the real
// kubectl. It needs gatehouse-kube: make test builds it and names it in
// GATEHOUSE_KUBE.
package security_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

var ana = directory.User{ID: principal.ID(guid.MustParse[struct{}]("20000000-0000-4000-8000-0000000000e2")), Tenant: plane.Tenant.ID, UserPrincipalName: "ana@f.example"}

const writersRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: role-writer}
rules:
- {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings, clusterroles, clusterrolebindings], verbs: [get, list, create, update, patch]}
- {apiGroups: [""], resources: [pods], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: role-writer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: role-writer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ana@f.example}]
`

func role(kind, name, meta, resource, verb string) string {
	return fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata: {name: %s%s}\nrules:\n- {apiGroups: [\"\"], resources: [%s], verbs: [%s]}\n", kind, name, meta, resource, verb)
}

func binding(name, to string) string {
	return fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: %s, namespace: default}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %s}\nsubjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ana@f.example}]\n", name, to)
}

// KR-02, KR-03, KR-05, KR-12: who may write roles and bindings gives himself
// nothing by it that he does not have.
func TestWhoWritesRolesGetsNothingByIt(t *testing.T) {
	boss := plane.Start(t, plane.Options{Records: []record.Record{ana}})
	asAna := boss.As(ana)
	boss.Must(writersRights, "apply", "-f", "-")
	// A new cluster's view and edit are empty until they are aggregated, and to an
	// empty role anybody may bind.
	boss.Until("view and edit are aggregated", func() bool {
		out, err := boss.Kubectl("", "get", "clusterroles", "view", "edit", "-o", "jsonpath={.items[*].rules[0].verbs[0]}")
		return err == nil && len(strings.Fields(out)) == 2
	})
	const ns = ", namespace: default"
	const extra = "attempting to grant RBAC permissions not currently held"
	grant := func(verb, resource, name string) string { // what the boss gives Ana on top
		names := ""
		if name != "" {
			names = ", resourceNames: [" + name + "]"
		}
		return fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: more}\nrules:\n- {apiGroups: [rbac.authorization.k8s.io], resources: [%s], verbs: [%s]%s}\n---\n", resource, verb, names) +
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: more}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: more}\nsubjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ana@f.example}]\n"
	}
	for _, tt := range []struct {
		law, given, manifest string
		args                 []string
		refused              string // "" means that it works
	}{
		{"KR-02: a role with what she has", "", role("Role", "mine", ns, "pods", "get"), nil, ""},
		{"KR-02: a role with more", "", role("Role", "more-than-mine", ns, "secrets", "get"), nil, extra},
		{"KR-02: a role with more of the same", "", role("Role", "more-than-mine", ns, "pods", "delete"), nil, extra},
		{"KR-02: adding to her own role", "", role("ClusterRole", "role-writer", "", `"*"`, `"*"`), nil, extra},
		{"KR-03: a binding to cluster-admin", "", binding("top", "cluster-admin"), nil, extra},
		{"KR-03: a binding to view, which reads more than pods", "", binding("v", "view"), nil, extra},
		{"KR-05: a role that is aggregated into view", "", role("ClusterRole", "into-view", `, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}`, "secrets", "get"), nil, extra},
		{"KR-05: a role that aggregates others", "", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all-of-them}\naggregationRule: {clusterRoleSelectors: [{matchLabels: {rbac.authorization.k8s.io/aggregate-to-admin: \"true\"}}]}\nrules: []\n", nil, "must have cluster-admin privileges"},
		{"KR-12: as a node", "", "", []string{"get", "secrets", "--as", "system:node:x", "--as-group", "system:nodes"}, "cannot impersonate"},
		{"KR-12: as a master", "", "", []string{"get", "secrets", "--as", "x", "--as-group", "system:masters"}, "cannot impersonate"},
		{"KR-03: with bind on view, by name", grant("bind", "clusterroles", "view"), binding("v", "view"), nil, ""},
		{"KR-03: and on no other role", "", binding("e", "edit"), nil, extra},
		{"KR-02: with escalate", grant("escalate", "roles", ""), role("Role", "more-than-mine", ns, "secrets", "get"), nil, ""},
		{"KR-02: which is for roles, not for cluster roles", "", role("ClusterRole", "wide", "", "secrets", "get"), nil, extra},
	} {
		t.Run(tt.law, func(t *testing.T) {
			if tt.given != "" {
				boss.In(t).Must(tt.given, "apply", "-f", "-")
			}
			args := tt.args
			if args == nil {
				args = []string{"apply", "-f", "-"}
			}
			out, err := asAna.In(t).Kubectl(tt.manifest, args...)
			if tt.refused == "" && err != nil || tt.refused != "" && (err == nil || !strings.Contains(out, tt.refused) || !strings.Contains(out, "orbidden")) {
				t.Errorf("%v: %s, want a refusal that says %q", err, out, tt.refused)
			}
		})
	}
}
