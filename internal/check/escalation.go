package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Rules about ways to access that nobody gave.
var escalationRules = []Rule{
	{
		ID: "local-admin-escalation", Title: "A broad role of Azure leads to everything inside", Severity: High,
		Source: identityOverview + ", section 2.2.2; " + zeroToHero + ", section 5",
		Explain: `Contributor's star includes listClusterAdminCredential: who has it at the cluster, its resource group
or its subscription gets the certificate of the local administrator, with full rights and without a name.
Left out are those who administer the cluster anyway, and those whose role names that operation, as
Azure Kubernetes Service Cluster Admin Role does.`,
		look: localAdminEscalation,
	},
	{
		ID: "identity-escalation", Title: "Somebody can be an identity that may more than he may", Severity: High,
		Source: enterpriseScale + ", Design recommendations for cluster identity; " + bestPractices + ", Use Azure RBAC",
		Explain: `In Azure, whoever may write a federated credential on an identity has it believe a token of his own, and
whoever may attach one to a machine of his gets its tokens there. This house lets nobody write such a
credential who could not give out what the identity has; a subscription of Azure does.`,
		look: identityEscalation,
	},
	{
		ID: "pod-escalation", Title: "Whoever runs pods can be an identity that may more than he may", Severity: Medium,
		Source: enterpriseScale + ", Design considerations for operator access, and for workload identities",
		Explain: `A pod runs as any service account of its namespace, and so as the identity that trusts it. Whoever may
create or change pods there, by whichever object, run something in one that is there, through the API of pods or
through that of nodes, or make tokens of service accounts, has what the identity has. That is how it is meant for the team that owns the workload: accept it for that team's namespace, and give others no such right.
Left out are those who administer the cluster.`,
		look: podEscalation,
	},
}

const listAdmin = "Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action"

func localAdminEscalation(l *look) {
	for _, c := range l.shared.clusters {
		if c.DisableLocalAccounts || !c.EntraSignIn || c.Attached {
			continue
		}
		f := onCluster(c, "")
		for _, h := range l.who(decide.Request{Scope: c.Scope, Action: listAdmin, Now: l.Now}) {
			if !l.administers(h.Principal.ID, c) && !l.named(h.Principal.ID, c) {
				f.Evidence = append(f.Evidence, h)
			}
		}
		if n := len(f.Evidence); n > 0 {
			f.What = fmt.Sprintf("%s can get the certificate of its local administrator, and with it everything inside, by a role that was given for something else: %s", count(n, "principal"), names(f.Evidence))
			f.Fix = disableLocal(c)
			l.wrong(f)
		}
	}
}

// names are the first of those who hold something.
func names(all []decide.Holder) string {
	const some = 5
	var out []string
	for _, h := range all[:min(len(all), some)] {
		name := h.Principal.Name
		if h.Principal.ID.IsZero() {
			name = h.Subject.Name
			if h.Subject.Namespace != "" {
				name = h.Subject.Namespace + "/" + name
			}
		}
		out = append(out, name)
	}
	if more := len(all) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// administers reports whether somebody may do everything in a cluster.
func (l *look) administers(id principal.ID, c resource.Cluster) bool {
	return decide.Decide(l.est, decide.Request{Who: decide.Subject{ID: id}, Scope: c.Scope, Kube: everyKube, Now: l.Now}).Effect == decide.Allow
}

// named reports whether somebody has a role at a cluster, or above it, that names the
// operation by which the local administrator's certificate is had.
func (l *look) named(id principal.ID, c resource.Cluster) bool {
	who, ok := l.est.Resolve(id)
	if !ok {
		return false
	}
	for at := range l.est.Ancestors(c.Scope) {
		if !who.At(at, func(g *estate.Grant) bool {
			return g.Assigned == nil || !namesAction(g.Role, listAdmin) || !g.Assigned.ActiveAt(l.Now)
		}) {
			return true
		}
	}
	return false
}

func namesAction(role *azurerbac.Role, action string) bool {
	return slices.ContainsFunc(role.Definition.Permissions, func(p azurerbac.Permission) bool {
		return slices.ContainsFunc(p.Actions, func(a string) bool { return strings.EqualFold(a, action) })
	})
}

const typeIdentity = "Microsoft.ManagedIdentity/userAssignedIdentities"

func identityEscalation(l *look) {
	for m := range l.est.Identities() {
		if m.SystemAssigned || !l.powerful(m.ID) {
			continue
		}
		f := Finding{About: m.Key(), Name: "managed identity " + m.DisplayName}
		seen := make(map[principal.ID]bool)
		lacks := ""
		for _, action := range []string{typeIdentity + "/federatedIdentityCredentials/write", typeIdentity + "/assign/action"} {
			for _, h := range l.who(decide.Request{Scope: m.Resource, Action: action, Now: l.Now}) {
				id := h.Principal.ID
				if seen[id] || id == m.ID || l.attaches(id, m) {
					continue
				}
				if what := l.lacks(id, m.ID); what != "" {
					seen[id] = true
					f.Evidence = append(f.Evidence, h)
					lacks = cmp.Or(lacks, what)
				}
			}
		}
		if n := len(f.Evidence); n > 0 {
			f.What = fmt.Sprintf("%s can become it, which has %s: %s", count(n, "principal"), lacks, names(f.Evidence))
			f.Fix = l.revoke(f.Evidence)
			l.wrong(f)
		}
	}
}

// attaches reports whether a principal is the control plane of a cluster that uses an
// identity, and so must be able to attach it to nodes.
func (l *look) attaches(id principal.ID, m directory.ManagedIdentity) bool {
	return slices.ContainsFunc(l.shared.planes[id], func(c resource.Cluster) bool { return c.UsesIdentity(m.ID) })
}

// revoke takes away the role assignments and bindings by which something is held.
func (l *look) revoke(all []decide.Holder) Fix {
	var fix Fix
	seen := make(map[record.Key]bool)
	for _, h := range all {
		r := h.By.Record()
		if r == nil || seen[r.Key()] {
			continue
		}
		seen[r.Key()] = true
		switch r := r.(type) {
		case azurerbac.Assignment:
			fix = fix.and(remove(r))
		case kuberbac.Binding:
			var of []int
			for at, s := range r.Subjects {
				if slices.ContainsFunc(all, func(h decide.Holder) bool {
					return h.By.Binding != nil && h.By.Binding.Key() == r.Key() && h.By.Subject == s
				}) {
					of = append(of, at)
				}
			}
			fix = fix.and(l.narrow(r, of))
		}
	}
	return fix
}

// nodes are in no namespace.
const nodes = "nodes"

// A maker is what leads to the token of a service account.
type maker struct {
	kuberbac.Attributes
	// only is set where the other plane was asked already: Azure has one operation for
	// create, update and patch, and one for every verb of exec.
	only decide.Plane
}

// makers are what makes or changes pods, runs something in them, or makes tokens of
// service accounts. Whoever may get or create the proxy of a node speaks to its kubelet
// as the API server does, and so runs something in any pod of the node, past admission.
var makers = func() (all []maker) {
	templates := []kuberbac.Attributes{
		{Resource: "pods"}, {Resource: "replicationcontrollers"},
		{APIGroup: "apps", Resource: "deployments"}, {APIGroup: "apps", Resource: "daemonsets"}, {APIGroup: "apps", Resource: "statefulsets"}, {APIGroup: "apps", Resource: "replicasets"},
		{APIGroup: "batch", Resource: "cronjobs"},
	}
	add := func(verb string, only decide.Plane, list ...kuberbac.Attributes) {
		for _, a := range list {
			a.Verb = verb
			all = append(all, maker{a, only})
		}
	}
	exec, ephemeral := kuberbac.Attributes{Resource: "pods", Subresource: "exec"}, kuberbac.Attributes{Resource: "pods", Subresource: "ephemeralcontainers"}
	proxy := kuberbac.Attributes{Resource: nodes, Subresource: "proxy"}
	add("create", decide.Both, templates...)
	add("create", decide.Both, kuberbac.Attributes{APIGroup: "batch", Resource: "jobs"}, kuberbac.Attributes{Resource: "serviceaccounts", Subresource: "token"}, exec)
	add("patch", decide.Both, ephemeral)
	add("update", decide.Kubernetes, ephemeral)
	add("get", decide.Kubernetes, exec) // over a websocket, before Kubernetes 1.35
	add("update", decide.Kubernetes, templates...)
	add("patch", decide.Kubernetes, templates...)
	add("create", decide.Both, proxy)
	add("get", decide.Kubernetes, proxy) // over a websocket
	return all
}()

// A way is how pods of a namespace come to be an identity.
type way struct {
	cluster   resource.Cluster
	namespace string
	identity  doctor.Identity
}

func podEscalation(l *look) {
	for _, w := range l.ways() {
		f := Finding{About: holderKey(w.identity), Name: w.identity.String(), Cluster: w.cluster.Scope}
		switch {
		case w.namespace == "":
			f.What = "which namespaces of cluster " + w.cluster.Name + " its pattern or identity binding reaches is not known, and so who may run pods there"
			l.unseen(f)
			continue
		case l.est.KubeUnread(w.cluster.Scope):
			f.What = fmt.Sprintf("who may run pods in namespace %s of cluster %s is not known: nobody has read its own bindings", w.namespace, w.cluster.Name)
			l.unseen(f)
			continue
		}
		lacks := ""
		for _, h := range l.runners(w.cluster, w.namespace) {
			what := ""
			switch id := h.Principal.ID; {
			case id == w.identity.Object:
			case id.IsZero():
				what = l.first(w.identity.Object)
			default:
				what = l.lacks(id, w.identity.Object)
			}
			if what != "" {
				f.Evidence = append(f.Evidence, h)
				lacks = cmp.Or(lacks, what)
			}
		}
		if n := len(f.Evidence); n > 0 {
			f.What = fmt.Sprintf("%s can become it, which has %s, by pods in namespace %s of cluster %s: %s", count(n, "principal"), lacks, w.namespace, w.cluster.Name, names(f.Evidence))
			f.Fix = l.revoke(f.Evidence)
			l.wrong(f)
		}
	}
}

// runners are those who come to tokens of the service accounts of a namespace and do
// not administer the cluster, in the order of makers.
func (l *look) runners(c resource.Cluster, namespace string) []decide.Holder {
	at := reach{c.Scope, namespace}
	if known, ok := l.shared.runners[at]; ok {
		return known
	}
	var all []decide.Holder
	seen := make(map[holderID]bool)
	for _, m := range makers {
		if m.Resource != nodes {
			m.Namespace = namespace
		}
		for _, h := range l.who(decide.Request{Scope: c.Scope, Kube: m.Attributes, Only: m.only, Now: l.Now}) {
			key := holderID{h.Principal.ID, h.Subject}
			if seen[key] {
				continue
			}
			seen[key] = true
			if id := h.Principal.ID; !ofKubernetes(h.Subject) && (id.IsZero() || !l.administers(id, c)) {
				all = append(all, h)
			}
		}
	}
	l.shared.runners[at] = all
	return all
}

type holderID struct {
	id      principal.ID
	subject kuberbac.Subject
}

// ofKubernetes reports whether a subject is a part of Kubernetes itself.
func ofKubernetes(s kuberbac.Subject) bool {
	switch {
	case s.Kind == kuberbac.ServiceAccount:
		return s.Namespace == "kube-system"
	case s.Name == kuberbac.AllAuthenticated, s.Name == kuberbac.AllUnauthenticated, strings.HasPrefix(s.Name, kuberbac.AllServiceAccounts):
		return false
	}
	return strings.HasPrefix(s.Name, "system:")
}

// ways are how pods come to be identities that have anything: by a federated
// credential, or by an identity binding of their cluster. A namespace of "" is one
// that is not known.
func (l *look) ways() []way {
	var all []way
	for _, i := range l.Estate.TokenHolders() {
		if i.Object.IsZero() || !l.powerful(i.Object) {
			continue
		}
		seen := make(map[reach]bool)
		add := func(c resource.Cluster, namespace string) {
			if strings.ContainsAny(namespace, "*?") {
				namespace = ""
			}
			if k := (reach{c.Scope, namespace}); !seen[k] {
				seen[k] = true
				all = append(all, way{c, namespace, i})
			}
		}
		for _, cred := range l.est.TrustsOf(i.Client, l.Now) {
			at, known := l.shared.issuers[cred.Issuer]
			account, ok := accountOf(cred)
			if c, there := l.est.Cluster(at); known && ok && there {
				add(c, account.Namespace)
			}
		}
		for _, c := range l.shared.clusters {
			if slices.ContainsFunc(c.IdentityBindings, func(b resource.IdentityBinding) bool { return b.Identity.Object == i.Object }) {
				for _, namespace := range l.entitled(c, i) {
					add(c, namespace)
				}
			}
		}
	}
	return all
}

// entitled are the namespaces of the service accounts that Kubernetes RBAC lets use an
// identity by a binding of their cluster; "" if that may be those of any.
func (l *look) entitled(c resource.Cluster, i doctor.Identity) []string {
	if l.est.KubeUnread(c.Scope) {
		return []string{""}
	}
	var all []string
	use := kuberbac.Attributes{Verb: inject.UseIdentityVerb, APIGroup: inject.UseIdentityGroup, Resource: i.Client.String()}
	for _, h := range l.who(decide.Request{Scope: c.Scope, Kube: use, Only: decide.Kubernetes, Now: l.Now}) {
		rest, one := strings.CutPrefix(h.Subject.Name, kuberbac.AllServiceAccounts+":")
		s := h.Subject
		if account, ok := kuberbac.ServiceAccountOf(s.Name); ok && s.Kind == kuberbac.User {
			s = account // bound by the name that the API server knows it by
		}
		switch {
		case s.Kind == kuberbac.ServiceAccount:
			all = append(all, s.Namespace)
		case s.Kind == kuberbac.Group && one:
			all = append(all, rest)
		case s.Kind == kuberbac.Group && (s.Name == kuberbac.AllServiceAccounts || s.Name == kuberbac.AllAuthenticated):
			all = append(all, "")
		}
	}
	return all
}

type reach struct {
	cluster   scope.Scope
	namespace string
}
