package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

func newCluster(env *Env, o *options) *cobra.Command {
	return words("cluster", "List, show and look after clusters", "Clusters are Kubernetes control planes that ask the house.",
		`  gatehouse cluster list
  gatehouse cluster show aks-1`,
		clusterList(env, o), clusterShow(env, o))
}

func clusterRow(est *estate.Snapshot, c resource.Cluster) row {
	rbac := "Kubernetes"
	if c.AzureRBAC {
		rbac = "Azure and Kubernetes"
	}
	signIn := "certificates only"
	switch {
	case !c.LegacySignIn.IsZero():
		signIn = tenantName(est, c.Tenant) + " (legacy)"
	case c.EntraSignIn:
		signIn = tenantName(est, c.Tenant)
	}
	local := "on"
	if c.DisableLocalAccounts {
		local = "off"
	}
	return row{c, clusterName(c), []string{clusterName(c), c.ResourceGroup, signIn, rbac, local, names(est, c.AdminGroups), c.Scope.String(), c.Endpoint}}
}

// appName is how people call an application, or its id when it is not there any more.
func appName(est *estate.Snapshot, id directory.AppID) string {
	if a, ok := est.Application(id); ok && a.DisplayName != "" {
		return a.DisplayName
	}
	return id.String()
}

func clusterList(env *Env, o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the clusters", Example: "  gatehouse cluster list -o wide", Args: exactly(),
		RunE: run(func(ctx context.Context, _ []string) error {
			src, est, err := o.look(ctx, env)
			if err != nil {
				return err
			}
			var rows []row
			for c := range est.Clusters() {
				rows = append(rows, clusterRow(est, c))
			}
			sortRows(rows)
			if live, ok := src.(clusterStates); ok {
				return o.listLive(ctx, env, live, rows)
			}
			return o.list(env, "cluster", []string{"NAME", "RESOURCE GROUP", "SIGN-IN", "RBAC", "LOCAL ACCOUNTS", "ADMIN GROUPS", "(SCOPE)", "(ENDPOINT)"}, rows)
		}),
	}
}

// clusterStates is what a server can say and files cannot: how clusters are now.
type clusterStates interface {
	ClusterStates(ctx context.Context) (map[string]string, error) // by scope
}

// listLive lists clusters with how they are and where they answer.
func (o *options) listLive(ctx context.Context, env *Env, live clusterStates, rows []row) error {
	states, err := live.ClusterStates(ctx)
	if err != nil {
		return err
	}
	for i, r := range rows {
		last := len(r.cells) - 1 // the endpoint
		at := r.cells[last-1]
		rows[i].cells = slices.Concat([]string{r.cells[0], states[at], r.cells[last]}, r.cells[1:last])
	}
	return o.list(env, "cluster", []string{"NAME", "STATE", "ENDPOINT", "RESOURCE GROUP", "SIGN-IN", "RBAC", "(LOCAL ACCOUNTS)", "ADMIN GROUPS", "(SCOPE)"}, rows)
}

func clusterShow(env *Env, o *options) *cobra.Command {
	return showing(env, o, "cluster", &cobra.Command{
		Use: "show CLUSTER", Short: "Show a cluster and who administers it", Example: "  gatehouse cluster show aks-1", Args: exactly("CLUSTER"),
		ValidArgsFunction: completeArgs(env, o, 0, clusters),
	}, func(est *estate.Snapshot, name string) (row, []fact, error) {
		c, err := findCluster(est, name)
		if err != nil {
			return row{}, nil, err
		}
		r := clusterRow(est, c)
		legacy := ""
		if l := c.LegacySignIn; !l.IsZero() {
			legacy = "server " + appName(est, l.ServerApp) + ", client " + appName(est, l.ClientApp) + "; az aks update --enable-aad ends it"
		}
		read := "not read yet; those that Kubernetes creates are taken for granted"
		if c.Mirrored {
			read = "read from the cluster"
		}
		issuer, workload := identityOf(c)
		return r, []fact{
			{"Name", r.cells[0]}, {"Scope", c.Scope.String()}, {"Location", c.Location}, {"Sign-in", r.cells[2]}, {"Legacy integration", legacy}, {"RBAC", r.cells[3]},
			{"Local accounts", r.cells[4]}, {"Admin groups", r.cells[5]}, {"OIDC issuer", issuer}, {"Workload identity", workload}, {"Roles and bindings", read}, {"Endpoint", c.Endpoint},
			{"Revoked certificates", strings.Join(c.RevokedCertificates, ", ")},
		}, nil
	})
}

// identityOf says where the keys of a cluster's service account tokens are, and whether
// its pods are prepared for workload identity.
func identityOf(c resource.Cluster) (issuer, workload string) {
	issuer, workload = "off", "off"
	switch {
	case c.OIDCIssuer && c.IssuerURL != "":
		issuer = c.IssuerURL
	case c.OIDCIssuer:
		issuer = "on, without a URL yet"
	}
	switch {
	case c.WorkloadIdentity:
		workload = "on"
	case c.Attached:
		workload = "not known here: it is on if gatehouse webhook runs there"
	}
	return issuer, workload
}
