package tour

import (
	"context"
	"slices"
)

// rows is the matrix of the four roles: a question, a namespace ("" for the whole
// cluster), and who may: reader, writer, admin, cluster admin.
var rows = []struct {
	ask, namespace                     string
	reader, writer, admin, clusterBoss bool
}{
	{"list pods", "default", true, true, true, true},
	{"list resourcequotas", "default", true, true, true, true},
	{"list secrets", "default", false, true, true, true},
	{"create pods", "default", false, true, true, true},
	{"create pods/exec", "default", false, true, true, true},
	{"create deployments.apps", "default", false, true, true, true},
	{"list roles.rbac.authorization.k8s.io", "default", false, false, true, true},
	{"list rolebindings.rbac.authorization.k8s.io", "default", false, false, true, true},
	{"create roles.rbac.authorization.k8s.io", "default", false, false, true, true},
	{"create rolebindings.rbac.authorization.k8s.io", "default", false, false, true, true},
	{"create resourcequotas", "default", false, false, false, true},
	{"create namespaces", "", false, false, false, true},
	{"delete namespaces", "", false, false, false, true},
}

var fourRoles = Story{
	Number: 12, Title: "The four RBAC roles side by side", Source: zeroToHero + ", section 3; " + identityOverview + ", section 2.2.1",
	People: []string{"spike", "ein", "julia", "vicious"},
	tell: func(ctx context.Context, t *telling) {
		column := func(may func(i int) bool) []query {
			qs := make([]query, len(rows))
			for i, r := range rows {
				qs[i] = ask(r.ask, r.namespace, may(i))
			}
			return slices.Clip(qs)
		}
		t.matrix(ctx, "spike", "aks-1", "RBAC Reader: no secrets, no roles, no bindings", column(func(i int) bool { return rows[i].reader }))
		t.matrix(ctx, "ein", "aks-1", "RBAC Writer: writes, runs commands in pods, reads secrets, but no roles", column(func(i int) bool { return rows[i].writer }))
		t.matrix(ctx, "julia", "aks-1", "RBAC Admin: roles as well, but no quotas and no namespaces", column(func(i int) bool { return rows[i].admin }))
		t.matrix(ctx, "vicious", "aks-1", "RBAC Cluster Admin: everything", column(func(i int) bool { return rows[i].clusterBoss }))
	},
}
