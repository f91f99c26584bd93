package check

import (
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// Rules about how clusters are set up.
var clusterRules = []Rule{
	{
		ID: "entra-sign-in", Title: "People do not sign in with Entra ID", Severity: High,
		Source: bestPractices + ", Use Microsoft Entra ID; " + zeroToHero + ", section 1",
		Explain: `Without Entra sign-in everybody uses certificates of local accounts: nobody can tell who
did what, and who leaves keeps his access until the certificates are rotated.`,
		look: func(l *look) {
			for _, c := range l.shared.clusters {
				if !c.EntraSignIn {
					f := onCluster(c, "it takes no tokens of Entra ID")
					f.Fix = setCluster(c, func(c *resource.Cluster) { c.EntraSignIn = true }, []string{"--enable-aad"})
					l.wrong(f)
				}
			}
		},
	},
	{
		ID: "legacy-sign-in", Title: "Sign-in goes through applications of the cluster's owner", Severity: Medium,
		Source: identityOverview + ", section 2.1; " + enterpriseScale + ", Design recommendations for operator access",
		Explain: `The integration that AKS had first needs a server application with a secret that somebody has
to keep and renew. The managed integration needs none. One update migrates the cluster.`,
		look: func(l *look) {
			for _, c := range l.shared.clusters {
				if !c.LegacySignIn.IsZero() {
					f := onCluster(c, "it uses the legacy integration, with a server application and its secret")
					f.Fix = setCluster(c, func(c *resource.Cluster) { c.LegacySignIn = resource.LegacySignIn{} }, []string{"--enable-aad"})
					l.wrong(f)
				}
			}
		},
	},
	{
		ID: "azure-rbac", Title: "Role assignments of Azure do not count inside", Severity: Low,
		Source: bestPractices + ", Use Azure RBAC; " + zeroToHero + ", section 3",
		Explain: `With Azure RBAC for Kubernetes, access to the cluster is given, limited in time and reviewed in
one place with access to everything else. Kubernetes RBAC goes on counting beside it. The
documents do not agree here: ` + identityOverview + `, section 5, prefers Kubernetes RBAC
for fine-grained access. Accept the finding if that is your way.`,
		look: func(l *look) {
			for _, c := range l.shared.clusters {
				if c.EntraSignIn && !c.AzureRBAC {
					f := onCluster(c, "Azure RBAC for Kubernetes is off")
					f.Fix = setCluster(c, func(c *resource.Cluster) { c.AzureRBAC, c.LegacySignIn = true, resource.LegacySignIn{} }, []string{"--enable-azure-rbac"}, "--azure-rbac")
					l.wrong(f)
				}
			}
		},
	},
	{
		ID: "local-accounts", Title: "Local accounts are enabled", Severity: Medium,
		Source: identityOverview + ", sections 2.2.2 and 5; " + zeroToHero + ", section 5",
		Explain: `The certificate of a local administrator is cluster-admin without a name: it passes by Entra ID,
by its groups and by every policy of sign-in. Disabling local accounts ends that. Who has a way to that
certificate without having been given the cluster is in local-admin-escalation.`,
		look: localAccounts,
	},
	{
		ID: "admin-group", Title: "Nobody, or nobody who is there, administers the cluster", Severity: Medium,
		Source: zeroToHero + ", sections 1 and 7; " + identityOverview + ", section 2.1",
		Explain: `Members of the admin groups are cluster-admin. Without such a group, or with one that is gone or
empty, the certificate of a local administrator is the only way in when something is wrong.`,
		look: adminGroup,
	},
	{
		ID: "workload-identity", Title: "Workloads cannot have identities of their own", Severity: Low,
		Source: bestPractices + ", Use workload identity; " + zeroToHero + ", sections 6 and 8.4",
		Explain: `Without OIDC issuer and workload identity, pods that need something in Azure get secrets, or
the identity of their node.`,
		look: func(l *look) {
			for _, c := range l.shared.clusters {
				if !c.Attached && !c.WorkloadIdentity {
					f := onCluster(c, "workload identity is off")
					f.Fix = setCluster(c, func(c *resource.Cluster) { c.OIDCIssuer, c.WorkloadIdentity = true, true }, []string{"--enable-oidc-issuer", "--enable-workload-identity"})
					l.wrong(f)
				}
			}
		},
	},
}

// localAccounts says nothing about a cluster without Entra sign-in, whose only
// accounts they are.
func localAccounts(l *look) {
	for _, c := range l.shared.clusters {
		switch {
		case c.DisableLocalAccounts || !c.EntraSignIn:
		case c.Attached:
			l.unseen(onCluster(c, "which certificates its owner keeps is not known: it is attached"))
		default:
			f := onCluster(c, "certificates of local administrators are given out and accepted")
			f.Fix = disableLocal(c)
			l.wrong(f)
		}
	}
}

func disableLocal(c resource.Cluster) Fix {
	return setCluster(c, func(c *resource.Cluster) { c.DisableLocalAccounts = true }, []string{"--disable-local-accounts"}, "--disable-local-accounts")
}

func adminGroup(l *look) {
	for _, c := range l.shared.clusters {
		if c.EntraSignIn && len(c.AdminGroups) == 0 && !c.AzureRBAC {
			f := onCluster(c, "it has no admin group, and Azure RBAC is off")
			f.Fix = setCluster(c, nil, []string{"--aad-admin-group-object-ids", "GROUP_ID"}, "--admin-group", "GROUP")
			l.wrong(f)
		}
		for _, id := range c.AdminGroups {
			g, ok := l.est.Group(id)
			switch {
			case !ok:
				f := onCluster(c, "its admin group %s is not there", id)
				f.Fix = setCluster(c, nil, []string{"--aad-admin-group-object-ids", "GROUP_ID"}, "--admin-group", "GROUP")
				l.absent(f)
			case !l.anybody(id):
				f := Finding{About: g.Key(), Name: "group " + g.DisplayName, Cluster: c.Scope, What: "nobody who can sign in is in it, and it is an admin group of cluster " + c.Name}
				f.Fix = Fix{Commands: []string{words("gatehouse", "group", "add", id.String(), "WHO")}}
				l.absent(f)
			}
		}
	}
}

// anybody reports whether somebody who is not disabled is in a group.
func (l *look) anybody(group principal.ID) bool {
	for id := range l.est.MembersTransitive(group) {
		if p, ok := l.est.Principal(id); ok && p.Kind != principal.Group && !p.Disabled {
			return true
		}
	}
	return false
}

// keyOf is the key of the managed identity with an object id.
func keyOf(id principal.ID) record.Key { return record.KeyOf(record.ManagedIdentity, id.String()) }
