package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Rules about what clusters and workloads are in Azure.
var identityRules = []Rule{
	{
		ID: "service-principal", Title: "A service principal is the cluster's identity", Severity: High,
		Source: enterpriseScale + ", Design considerations for cluster identity",
		Explain: `A service principal has a secret, which stands in the cluster, is to be renewed by hand, and
works for whoever has it. A managed identity has none.`,
		look: func(l *look) {
			for _, c := range l.shared.clusters {
				if c.Identity.Type == resource.ServicePrincipal {
					f := onCluster(c, "its control plane is the service principal of application %s", c.Identity.Application)
					f.Fix = setCluster(c, nil, []string{"--enable-managed-identity"})
					l.wrong(f)
				}
			}
		},
	},
	{
		ID: "control-plane-identity", Title: "The control plane has a system-assigned identity", Severity: Low,
		Source: enterpriseScale + ", Design recommendations for cluster identity; " + identityOverview + ", sections 2.3 and 5",
		Explain: `What the cluster needs at a private DNS zone, a subnet or a route table has to be given before the
cluster is there. A user-assigned identity can be given it, and survives the cluster.`,
		look: func(l *look) {
			for _, c := range l.shared.clusters {
				if c.Identity.Type == resource.SystemAssigned {
					f := onCluster(c, "its control plane has a system-assigned identity")
					f.Fix = Fix{Commands: append([]string{words("az", "identity", "create", "--resource-group", c.ResourceGroup, "--name", c.Name+"-identity", "--location", c.Location)},
						setCluster(c, nil, []string{"--enable-managed-identity", "--assign-identity", "IDENTITY_ID"}).Commands...)}
					l.wrong(f)
				}
			}
		},
	},
	{
		ID: "control-plane-rights", Title: "The control plane rules more than its own resources", Severity: Medium,
		Source: enterpriseScale + ", Design recommendations for cluster identity",
		Explain: `The control plane needs its node resource group, and single resources such as a subnet. A
role that can change everything in a subscription makes whoever takes over the cluster its owner.`,
		look: controlPlaneRights,
	},
	{
		ID: "node-identity-rights", Title: "Nodes or an add-on have more than they need", Severity: Medium,
		Source: enterpriseScale + ", Design recommendations for cluster identity; " + identityOverview + ", section 3",
		Explain: `Every pod that reaches the metadata address of its node can be the kubelet identity, and those
of the add-ons. The kubelet needs to pull images, from registries that are named; add-ons need what AKS
gives them and the one resource that they work with. Everything else is given to every pod.`,
		look: nodeRights,
	},
	{
		ID: "node-identity-federated", Title: "Workloads can be nodes or add-ons", Severity: High,
		Source: enterpriseScale + ", Design recommendations for cluster identity; " + bestPractices + ", Use workload identity",
		Explain: `A federated credential on the identity of nodes or of an add-on lets a workload, perhaps of another
cluster, be that. Workloads get identities of their own.`,
		look: nodeFederated,
	},
	{
		ID: "node-identity-shared", Title: "Clusters share the identity of nodes or an add-on", Severity: Medium,
		Source: enterpriseScale + ", Design recommendations for cluster identity",
		Explain: `What one cluster needs, all of them have, and whoever takes over a node of one is a node of the
others.`,
		look: nodeShared,
	},
	{
		ID: "identity-region", Title: "An identity is in another region than its cluster", Severity: Low,
		Source: enterpriseScale + ", Design recommendations for cluster identity, and for workload identities",
		Explain: `When the identity's region is down, its cluster has no identity, though its own region works.
An identity cannot be moved: make one in the cluster's region, give it the same, and use that.`,
		look: identityRegion,
	},
	{
		ID: "identity-unneeded", Title: "An identity was given nothing", Severity: Low,
		Source: enterpriseScale + ", Design recommendations for workload identities",
		Explain: `A workload that needs nothing outside its cluster needs no identity. One that was given nothing is
ready for whoever gives it something by mistake. Not seen here is what a database or another service
grants by its own means: gatehouse doctor --all says when the identity got its latest token.`,
		look: identityUnneeded,
	},
	{
		ID: "account-powerless", Title: "A service account has an identity that was given nothing", Severity: Low,
		Source: enterpriseScale + ", Design recommendations for workload identities",
		Explain: `Its pods get tokens that open nothing. Either a role is missing, or the annotation is not needed.
The service accounts of a cluster are read with --workloads.`,
		look: accountPowerless,
	},
	{
		ID: "pod-identity", Title: "Pod identity is in use", Severity: Medium,
		Source: identityOverview + ", sections 4 and 5; " + bestPractices + ", Use workload identity",
		Explain: `Pod identity leads the metadata address of every node to a program that tells pods apart by
their addresses. Workload identity needs nothing on the nodes. gatehouse migrate pod-identity plans the way.
The pods of a cluster are read with --workloads.`,
		look: podIdentity,
	},
}

// A use is one identity that a cluster uses.
type use struct {
	what  string // "the kubelet"
	addon string // in lower case
	ref   resource.IdentityRef
}

// uses are the managed identities of a cluster, its control plane's first.
func uses(c resource.Cluster) []use {
	all := []use{{what: "the control plane", ref: resource.IdentityRef{Resource: c.Identity.Resource, Object: c.Identity.Object}}}
	if c.Identity.Type == resource.ServicePrincipal {
		all = nil
	}
	return slices.DeleteFunc(append(all, nodeUses(c)...), func(u use) bool { return u.ref.Object.IsZero() })
}

// nodeUses are those that pods on a node can reach.
func nodeUses(c resource.Cluster) []use {
	all := []use{{what: "the kubelet", ref: c.KubeletIdentity}}
	for _, name := range slices.Sorted(maps.Keys(c.Addons)) {
		all = append(all, use{"the add-on " + name, strings.ToLower(name), c.Addons[name].Identity})
	}
	return slices.DeleteFunc(all, func(u use) bool { return u.ref.Object.IsZero() })
}

// about begins a finding about an identity that a cluster uses.
func (l *look) about(c resource.Cluster, u use) Finding {
	if sp, ok := l.est.ServicePrincipal(u.ref.Object); ok {
		return Finding{About: sp.Key(), Name: "service principal " + sp.DisplayName, Cluster: c.Scope}
	}
	return Finding{About: keyOf(u.ref.Object), Name: "managed identity " + l.nameOf(u.ref.Object), Cluster: c.Scope}
}

// nameOf is what people call a principal; its id when it is gone.
func (l *look) nameOf(id principal.ID) string {
	if p, ok := l.est.Principal(id); ok {
		return p.Name
	}
	return id.String()
}

// broadTypes are the types of places that hold all of somebody's resources.
var broadTypes = map[string]bool{"": true, "subscriptions": true, "microsoft.management/managementgroups": true}

func controlPlaneRights(l *look) {
	for _, c := range l.shared.clusters {
		for _, u := range uses(c) {
			if u.what != "the control plane" {
				continue
			}
			l.rules(c, u)
		}
		if sp, ok := l.est.ServicePrincipalOf(c.Tenant, c.Identity.Application); ok && c.Identity.Type == resource.ServicePrincipal {
			l.rules(c, use{what: "the control plane", ref: resource.IdentityRef{Object: sp.ID}})
		}
	}
}

// rules finds what makes a control plane the owner of a subscription.
func (l *look) rules(c resource.Cluster, u use) {
	l.excess(c, u, "may change everything in a subscription:", func(g *estate.Grant) bool {
		return !broadTypes[g.Scope.Type()] || !l.shared.rules(g.Role)
	})
}

const (
	typeRegistry = "microsoft.containerregistry/registries"
	typeVault    = "microsoft.keyvault/vaults"
)

// An allowance is a role that the identity of an add-on is given where it works, by az
// or by its owner. Source: AKS, "Summary of managed identities used by AKS", and the
// pages of the add-ons.
type allowance struct {
	role azurerbac.DefinitionID
	typ  string // of the place, or of one that it is in
}

var allowances = map[string][]allowance{
	"aciconnectorlinux":            {{azurerbac.NetworkContributor, "microsoft.network/virtualnetworks"}},
	"azurekeyvaultsecretsprovider": {{azurerbac.SecretsUser, typeVault}, {azurerbac.CertificateUser, typeVault}, {azurerbac.CryptoUser, typeVault}, {azurerbac.KeyVaultReader, typeVault}},
	"httpapplicationrouting":       {{azurerbac.Contributor, "microsoft.network/dnszones"}},
	"ingressapplicationgateway":    {{azurerbac.Contributor, "microsoft.network/applicationgateways"}, {azurerbac.NetworkContributor, "microsoft.network/virtualnetworks"}, {azurerbac.Reader, "resourcegroups"}},
	"omsagent":                     {{azurerbac.MetricsPublisher, "microsoft.containerservice/managedclusters"}},
}

// pulls are what the nodes may have at a registry.
var pulls = []allowance{{azurerbac.AcrPull, typeRegistry}, {azurerbac.RepositoryReader, typeRegistry}, {azurerbac.CatalogLister, typeRegistry}}

// nodeRights finds what identities have besides what AKS gives them and what they
// work with.
func nodeRights(l *look) {
	for _, c := range l.shared.clusters {
		for _, u := range nodeUses(c) {
			may := pulls
			var given []azurerbac.DefinitionID
			if u.addon != "" {
				may = allowances[u.addon]
				given, _ = azurerbac.AddonRoles(u.addon)
			}
			l.excess(c, u, "has more than it needs:", func(g *estate.Grant) bool {
				return g.Scope == c.NodeGroup() && slices.Contains(given, g.Assigned.Role) ||
					slices.ContainsFunc(may, func(a allowance) bool { return a.role == g.Assigned.Role && within(g.Scope, a.typ) })
			})
		}
	}
}

// within reports whether a place is of a type, or in one of that type.
func within(at scope.Scope, typ string) bool {
	for a := range at.Ancestors() {
		if a.Type() == typ {
			return typ != "resourcegroups" || a == at
		}
	}
	return false
}

// excess adds a finding for the roles of an identity, its own and those of its groups,
// that are not fine.
func (l *look) excess(c resource.Cluster, u use, says string, fine func(*estate.Grant) bool) {
	who, ok := l.est.Resolve(u.ref.Object)
	if !ok {
		return
	}
	f := l.about(c, u)
	var left []string
	for _, g := range who.Azure {
		if fine(g) {
			continue
		}
		h := decide.Holder{Principal: who.Principal, By: g}
		left = append(left, fmt.Sprintf("%s at %s", g.Role.RoleName, g.Scope))
		if g.Holder == u.ref.Object {
			f.Fix = f.Fix.and(l.pullByRegistry(g.Assigned.Assignment)).and(remove(g.Assigned.Assignment))
		} else if h.Via = l.est.Chain(u.ref.Object, g.Holder); len(h.Via) > 0 {
			if out := leave(h.Via[0], u.ref.Object); !slices.Contains(f.Fix.Ops, out.Ops[0]) {
				f.Fix = f.Fix.and(out)
			}
		}
		f.Evidence = append(f.Evidence, h)
	}
	if len(f.Evidence) > 0 {
		f.What = fmt.Sprintf("%s of cluster %s %s %s", u.what, c.Name, says, strings.Join(left, ", "))
		l.wrong(f)
	}
}

// pullByRegistry gives the right to pull, which somebody was given for all of a place,
// for each registry in it that is known.
func (l *look) pullByRegistry(a azurerbac.Assignment) Fix {
	var fix Fix
	if !slices.ContainsFunc(pulls, func(p allowance) bool { return p.role == a.Role }) {
		return fix
	}
	role, _ := l.est.Definition(a.Role)
	var registries []scope.Scope
	for r := range l.est.Resources() {
		if r.Scope.Type() == typeRegistry && a.Scope.Contains(r.Scope) && !slices.ContainsFunc(l.est.AssignmentsAt(r.Scope), func(o *estate.Assigned) bool { return o.Principal == a.Principal && o.Role == a.Role }) {
			registries = append(registries, r.Scope)
		}
	}
	slices.SortFunc(registries, func(a, b scope.Scope) int { return strings.Compare(a.String(), b.String()) })
	for _, at := range registries {
		next := azurerbac.Assignment{
			ID:    azurerbac.AssignmentID(guid.Derived[azurerbac.Assignment]("instead of", a.ID.String(), at.String())),
			Scope: at, Principal: a.Principal, Role: a.Role,
		}
		fix.Commands = append(fix.Commands, words("gatehouse", "assignment", "create", "--role", role.RoleName, "--principal", a.Principal.String(), "--scope", at.String()))
		fix.Ops = append(fix.Ops, estate.Op{Put: next})
	}
	return fix
}

func nodeFederated(l *look) {
	for _, c := range l.shared.clusters {
		for _, u := range nodeUses(c) {
			m, ok := l.est.ManagedIdentity(u.ref.Object)
			if !ok {
				continue
			}
			i, _ := l.Estate.Identity(m.ClientID)
			f := l.about(c, u)
			for _, cred := range l.est.FederatedCredentials(m.ClientID) {
				f.Fix.Commands = append(f.Fix.Commands, i.RemoveCredential(cred.Name))
				f.Fix.Ops = append(f.Fix.Ops, estate.Op{Delete: cred.Key()})
			}
			if n := len(f.Fix.Ops); n > 0 {
				f.What = fmt.Sprintf("%s of cluster %s has %s", u.what, c.Name, count(n, "federated credential"))
				l.wrong(f)
			}
		}
	}
}

func nodeShared(l *look) {
	used := make(map[principal.ID][]resource.Cluster)
	for _, c := range l.shared.clusters {
		for _, r := range c.Identities() {
			if at := used[r.Object]; len(at) == 0 || at[len(at)-1].Scope != c.Scope {
				used[r.Object] = append(used[r.Object], c)
			}
		}
	}
	for _, c := range l.shared.clusters {
		for _, u := range nodeUses(c) {
			for _, other := range used[u.ref.Object] {
				if other.Scope == c.Scope {
					continue
				}
				f := l.about(c, u)
				f.What = fmt.Sprintf("%s of cluster %s is used by cluster %s as well", u.what, c.Name, other.Name)
				f.Fix = Fix{Commands: []string{words("az", "identity", "create", "--resource-group", c.ResourceGroup, "--name", c.Name+"-agentpool", "--location", c.Location)}}
				if u.addon == "" {
					f.Fix.Commands = append(f.Fix.Commands, setCluster(c, nil, []string{"--assign-kubelet-identity", "IDENTITY_ID"}).Commands...)
				}
				l.wrong(f)
			}
		}
	}
}

// identityRegion compares regions in the spelling that Azure makes of them: "West
// Europe" is westeurope.
func identityRegion(l *look) {
	region := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "") }
	compare := func(c resource.Cluster, m directory.ManagedIdentity, what string) {
		f := l.about(c, use{ref: resource.IdentityRef{Object: m.ID}})
		switch {
		case m.SystemAssigned || region(m.Location) == region(c.Location) && c.Location != "":
		case c.Attached && c.Location == "": // it is in no region
		case m.Location == "" || c.Location == "":
			f.What = fmt.Sprintf("%s of cluster %s: the region of one of the two is not recorded", what, c.Name)
			l.unseen(f)
		default:
			group, _ := m.Resource.ResourceGroup()
			f.What = fmt.Sprintf("%s of cluster %s is in %s, and the cluster in %s", what, c.Name, m.Location, c.Location)
			f.Fix = Fix{Commands: []string{words("az", "identity", "create", "--resource-group", group.Name(), "--name", m.Resource.Name()+"-"+region(c.Location), "--location", c.Location)}}
			l.wrong(f)
		}
	}
	for _, c := range l.shared.clusters {
		for _, u := range uses(c) {
			if m, ok := l.est.ManagedIdentity(u.ref.Object); ok {
				compare(c, m, u.what)
			}
		}
		for _, m := range l.shared.trusting[c.IssuerURL] {
			if !c.UsesIdentity(m.ID) {
				compare(c, m, "the identity of workloads")
			}
		}
	}
}

func identityUnneeded(l *look) {
	unread := ""
	for _, c := range l.shared.clusters {
		if l.est.KubeUnread(c.Scope) {
			unread = c.Name
		}
	}
	for m := range l.est.Identities() {
		if m.SystemAssigned || l.est.Given(m.ID) {
			continue
		}
		f := Finding{About: m.Key(), Name: "managed identity " + m.DisplayName, What: "it has no role, owns nothing and is bound nowhere, by itself or through a group: it is not needed"}
		if unread != "" && l.Estate.Unread == "" {
			f.What = "it is seen to have nothing, and may have something in cluster " + unread + ", whose own bindings nobody has read"
			l.unseen(f)
			continue
		}
		group, _ := m.Resource.ResourceGroup()
		f.Fix = Fix{Commands: []string{words("az", "identity", "delete", "--name", m.Resource.Name(), "--resource-group", group.Name())}, Ops: removal(l.est, m.Key())}
		l.absent(f)
	}
}
