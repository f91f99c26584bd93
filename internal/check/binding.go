package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Rules about the bindings of clusters.
var bindingRules = []Rule{
	{
		ID: "open-binding", Title: "A binding is for everybody", Severity: High,
		Source: bestPractices + ", Use Kubernetes role-based access control; " + zeroToHero + ", section 4",
		Explain: `system:authenticated is whoever signs in, people of other teams and programs with them, and
system:unauthenticated the whole world. What Kubernetes itself binds to them is left out.`,
		look: openBindings,
	},
	{
		ID: "subject-by-name", Title: "A binding names a subject that matches nobody", Severity: Medium,
		Source: zeroToHero + ", sections 2 and 7; " + identityOverview + ", section 2.1",
		Explain: `Clusters know groups, guests and programs by their object ids, and the tenant's own people by their
user principal names. A binding by a display name, by a client id or by the name of somebody who is gone
matches nobody, until somebody gets that name. The fix names the one who has that name now: look whether it
is the one that was meant.`,
		look: subjectsByName,
	},
	{
		ID: "kube-wildcard", Title: "A binding gives everything in a cluster", Severity: Medium,
		Source: enterpriseScale + ", Design recommendations for operator access; " + bestPractices + ", Use Kubernetes role-based access control",
		Explain: `Whoever is bound to cluster-admin, or to a role of stars, for the whole cluster has it all the time,
and sees every secret. The admin groups of the cluster are for that. Others get roles in namespaces, or
are eligible for Azure Kubernetes Service RBAC Cluster Admin.`,
		look: kubeWildcards,
	},
}

// bindings calls f for each stored binding that is not as Kubernetes, or the cluster for
// its admin groups, made it, with the beginning of a finding about it. What a cluster is
// that nobody has read is not evaluated.
func (l *look) bindings(f func(Finding, resource.Cluster, kuberbac.Binding)) {
	for _, c := range l.shared.clusters {
		if l.est.KubeUnread(c.Scope) {
			l.unseen(onCluster(c, "nobody has read its own bindings"))
			continue
		}
		for _, b := range l.shared.bindings[c.Scope] {
			if l.shared.isDefault(b) && !l.widened(b) || ofAdmins(c, b) {
				continue
			}
			name := fmt.Sprintf("%s %s of %s", "ClusterRoleBinding", b.Name, c.Name)
			if b.Namespace != "" {
				name = fmt.Sprintf("RoleBinding %s in namespace %s of %s", b.Name, b.Namespace, c.Name)
			}
			f(Finding{About: b.Key(), Name: name, Cluster: c.Scope}, c, b)
		}
	}
}

// unbind is the fix that takes some subjects, in order, out of a binding.
func unbind(c resource.Cluster, b kuberbac.Binding, of ...int) Fix {
	if len(of) == len(b.Subjects) {
		return Fix{Commands: []string{words(kubectl(c, "delete", b)...)}, Ops: []estate.Op{{Delete: b.Key()}}}
	}
	var changes []string
	left := slices.Clone(b.Subjects)
	for _, at := range slices.Backward(of) { // those before keep their places
		changes = append(changes, patchOf(b, at, fmt.Sprintf(`{"op":"remove","path":"/subjects/%d"}`, at)))
		left = slices.Delete(left, at, at+1)
	}
	b.Subjects = left
	return Fix{Commands: []string{words(append(kubectl(c, "patch", b), "--type", "json", "-p", "["+strings.Join(changes, ",")+"]")...)}, Ops: []estate.Op{{Put: b}}}
}

// rename is the fix that names a subject of a binding otherwise.
func rename(c resource.Cluster, b kuberbac.Binding, at int, name string) Fix {
	patch := "[" + patchOf(b, at, fmt.Sprintf(`{"op":"replace","path":"/subjects/%d/name","value":%q}`, at, name)) + "]"
	b.Subjects = slices.Clone(b.Subjects)
	b.Subjects[at].Name = name
	return Fix{Commands: []string{words(append(kubectl(c, "patch", b), "--type", "json", "-p", patch)...)}, Ops: []estate.Op{{Put: b}}}
}

// patchOf are steps of a JSON patch that does nothing when another subject stands there
// by now.
func patchOf(b kuberbac.Binding, at int, change string) string {
	return fmt.Sprintf(`{"op":"test","path":"/subjects/%d/name","value":%q},%s`, at, b.Subjects[at].Name, change)
}

// kubectl begins a command about a binding, in the context that is named as the cluster
// is: the same binding of another cluster is another matter.
func kubectl(c resource.Cluster, verb string, b kuberbac.Binding) []string {
	out := []string{"kubectl", "--context", c.Name, verb}
	if b.Namespace == "" {
		return append(out, "clusterrolebinding", b.Name)
	}
	return append(out, "rolebinding", b.Name, "-n", b.Namespace)
}

// bound is a subject of a binding as evidence.
func (l *look) bound(b kuberbac.Binding, s kuberbac.Subject) decide.Holder {
	h := decide.Holder{Subject: s, By: &estate.Grant{Subject: s, Scope: b.Cluster, Binding: &b}}
	if id, err := principal.ParseID(s.Name); err == nil {
		h.Principal, _ = l.est.Principal(id)
	} else if u, ok := l.est.UserByName(s.Name); ok && s.Kind == kuberbac.User {
		h.Principal, _ = l.est.Principal(u.ID)
	}
	return h
}

func openBindings(l *look) {
	l.bindings(func(f Finding, c resource.Cluster, b kuberbac.Binding) {
		for at, s := range b.Subjects {
			if s.Kind == kuberbac.Group && (s.Name == kuberbac.AllAuthenticated || s.Name == kuberbac.AllUnauthenticated) ||
				s.Kind == kuberbac.User && s.Name == "system:anonymous" {
				f.What = fmt.Sprintf("it gives %s to %s", b.Role, s.Name)
				f.Fix, f.Evidence = unbind(c, b, at), []decide.Holder{l.bound(b, s)}
				if l.shared.isDefault(b) {
					f.What += ", and somebody has added to what Kubernetes lets that role do"
					f.Fix = l.restore(c, b)
				}
				l.wrong(f)
			}
		}
	})
}

func subjectsByName(l *look) {
	l.bindings(func(f Finding, c resource.Cluster, b kuberbac.Binding) {
		for at, s := range b.Subjects {
			// Who has a colon in his name is somebody that another authenticator knows, such
			// as a component of Kubernetes or a service account.
			if s.Kind == kuberbac.ServiceAccount || strings.Contains(s.Name, ":") || !c.EntraSignIn {
				continue
			}
			what, fix, certain := l.mismatch(c, b, at)
			if what == "" {
				continue
			}
			f.What, f.Fix, f.Evidence = what, fix, []decide.Holder{l.bound(b, s)}
			if certain {
				l.wrong(f)
			} else {
				l.absent(f)
			}
		}
	})
}

// mismatch says why a subject matches nobody who signs in; "" if it matches somebody.
// It is certain if that follows from what is there.
func (l *look) mismatch(c resource.Cluster, b kuberbac.Binding, at int) (what string, fix Fix, certain bool) {
	s, tenant := b.Subjects[at], c.Tenant
	kind := strings.ToLower(string(s.Kind))
	if id, err := principal.ParseID(s.Name); err == nil {
		p, ok := l.est.Principal(id)
		switch group := p.Kind == principal.Group; {
		case ok && p.Tenant == tenant && group == (s.Kind == kuberbac.Group) && (group || estate.KubeUser(p) == s.Name):
			return "", Fix{}, false
		case ok && p.Tenant != tenant:
			return fmt.Sprintf("%s %s is of another tenant than the cluster's, and matches nobody", kind, p.Name), unbind(c, b, at), true
		case ok && group == (s.Kind == kuberbac.Group):
			return fmt.Sprintf("user %s is named by his object id, and clusters know him as %s: it matches nobody", p.Name, estate.KubeUser(p)), rename(c, b, at, estate.KubeUser(p)), true
		case ok:
			return fmt.Sprintf("%s %s is bound as a %s, and matches nobody", strings.ToLower(string(p.Kind)), p.Name, kind), unbind(c, b, at), true
		}
		if i, ok := l.Estate.Identity(directory.AppID(id)); ok && !i.Object.IsZero() && s.Kind == kuberbac.User {
			return fmt.Sprintf("%s is named by its client id, and clusters know it by its object id: it matches nobody", i), rename(c, b, at, i.Object.String()), true
		}
		return fmt.Sprintf("no %s has the object id %s: it matches nobody", kind, s.Name), unbind(c, b, at), false
	}
	if u, ok := l.est.UserByName(s.Name); ok && s.Kind == kuberbac.User && u.Tenant == tenant && u.UserPrincipalName == s.Name && !u.Guest {
		return "", Fix{}, false
	}
	var named []estate.Principal
	for _, p := range l.shared.named[strings.ToLower(s.Name)] {
		if p.Tenant == tenant && (p.Kind == principal.Group) == (s.Kind == kuberbac.Group) {
			named = append(named, p)
		}
	}
	if len(named) == 1 {
		return fmt.Sprintf("%s %s is bound by a name that clusters do not know it by, and matches nobody", strings.ToLower(string(named[0].Kind)), s.Name), rename(c, b, at, estate.KubeUser(named[0])), true
	}
	if s.Kind == kuberbac.Group || strings.Contains(s.Name, "@") {
		return fmt.Sprintf("%s %s is bound by a name that nobody in the directory has, and matches nobody", kind, s.Name), unbind(c, b, at), false
	}
	return "", Fix{}, false // who comes with a client certificate of the cluster's own authority
}

func kubeWildcards(l *look) {
	l.bindings(func(f Finding, c resource.Cluster, b kuberbac.Binding) {
		if b.Namespace != "" || !b.RoleIsCluster {
			return
		}
		rules := l.est.KubeRules(c.Scope, b.Role)
		if rules == nil || rules.Allows(&everyKube) == nil {
			return
		}
		for at, s := range b.Subjects {
			if s.Kind == kuberbac.Group && s.Name == kuberbac.Masters || isAdminBinding(b) && isAdmin(c, s) {
				continue
			}
			f.What = fmt.Sprintf("it gives %s %s everything in the cluster, by %s", strings.ToLower(string(s.Kind)), l.subjectName(s), b.Role)
			f.Fix, f.Evidence = unbind(c, b, at), []decide.Holder{l.bound(b, s)}
			if l.shared.isDefault(b) {
				f.Fix = l.restore(c, b)
			}
			l.wrong(f)
		}
	})
}

// everyKube asks for everything in a cluster.
var everyKube = kuberbac.Attributes{Verb: "*", APIGroup: "*", Resource: "*"}

// subjectName is what people call a subject.
func (l *look) subjectName(s kuberbac.Subject) string {
	if s.Kind == kuberbac.ServiceAccount {
		return s.Namespace + "/" + s.Name
	}
	if id, err := principal.ParseID(s.Name); err == nil {
		return l.nameOf(id)
	}
	return s.Name
}

// isDefault reports whether Kubernetes makes such a binding in every new cluster.
func (s *shared) isDefault(b kuberbac.Binding) bool {
	d, ok := s.defaults[kubePlace{b.Namespace, b.Name}]
	return ok && b.Role == d.Role && b.RoleIsCluster == d.RoleIsCluster && slices.Equal(b.Subjects, d.Subjects)
}

// widened reports whether the role of a binding that Kubernetes makes lets do more than
// Kubernetes makes it let. It puts back what is taken out of such a role, and leaves
// what is added to it.
func (l *look) widened(b kuberbac.Binding) bool {
	rules := l.est.KubeRules(b.Cluster, b.Role)
	if rules == nil {
		return false
	}
	same, _ := kuberbac.Covers(l.shared.defaultRoles[b.Role].Rules, rules.All())
	return !same
}

// restore is the fix that makes the role of a binding again what Kubernetes makes it.
func (l *look) restore(c resource.Cluster, b kuberbac.Binding) Fix {
	role := l.shared.defaultRoles[b.Role]
	role.Cluster = c.Scope
	rules, err := record.Marshal(role.Rules)
	if err != nil {
		return Fix{}
	}
	patch := `{"aggregationRule":null,"rules":` + string(rules) + "}"
	return Fix{Commands: []string{words("kubectl", "--context", c.Name, "patch", "clusterrole", role.Name, "--type", "merge", "-p", patch)}, Ops: []estate.Op{{Put: role}}}
}

// ofAdmins reports whether a binding is that of a cluster's admin groups, and of nobody
// else.
func ofAdmins(c resource.Cluster, b kuberbac.Binding) bool {
	return isAdminBinding(b) && !slices.ContainsFunc(b.Subjects, func(s kuberbac.Subject) bool { return !isAdmin(c, s) })
}

func isAdminBinding(b kuberbac.Binding) bool {
	return b.Namespace == "" && b.Name == estate.AdminBinding
}

func isAdmin(c resource.Cluster, s kuberbac.Subject) bool {
	return s.Kind == kuberbac.Group && slices.ContainsFunc(c.AdminGroups, func(g principal.ID) bool { return g.String() == s.Name })
}

type kubePlace struct{ namespace, name string }

// defaultRoles are the roles that Kubernetes makes in every new cluster, by name.
func defaultRoles() map[string]kuberbac.Role {
	all := make(map[string]kuberbac.Role)
	for r := range kuberbac.Defaults(scope.Scope{}) {
		if role, ok := r.(kuberbac.Role); ok {
			all[role.Name] = role
		}
	}
	return all
}

func defaultBindings() map[kubePlace]kuberbac.Binding {
	all := make(map[kubePlace]kuberbac.Binding)
	for r := range kuberbac.Defaults(scope.Scope{}) {
		if b, ok := r.(kuberbac.Binding); ok {
			all[kubePlace{b.Namespace, b.Name}] = b
		}
	}
	return all
}
