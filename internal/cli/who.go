package cli

import (
	"fmt"
	"iter"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// A person is whom a question is about.
type person struct {
	label   string
	id      principal.ID
	subject *wire.Subject // for whom only Kubernetes knows
}

// findPerson reads --as and --as-group. WHO is a user principal name, an object
// id, the display name of a service principal or managed identity, or a
// Kubernetes name such as system:serviceaccount:ns:name. With groups it is a
// Kubernetes identity, taken as it is written.
func findPerson(est *estate.Snapshot, who string, groups []string) (person, error) {
	if len(groups) > 0 || strings.HasPrefix(who, "system:") {
		s := &wire.Subject{User: who, Groups: groups}
		if sa, ok := kuberbac.ServiceAccountOf(who); ok && len(groups) == 0 {
			s.Groups = sa.Groups()
		} else if strings.HasPrefix(who, "system:serviceaccount:") && !ok {
			return person{}, usage("%q is not of the form system:serviceaccount:NAMESPACE:NAME", who)
		}
		if !strings.EqualFold(who, "system:anonymous") {
			s.Groups = appendNew(s.Groups, kuberbac.AllAuthenticated)
		}
		return person{label: who, subject: s}, nil
	}
	p, err := findPrincipal(est, who)
	if err != nil {
		return person{}, err
	}
	if p.Kind == principal.Group {
		return person{}, usage("%q is a group: ask about one of its members%s", who, membersHint(est, p.ID))
	}
	return person{label: p.Name, id: p.ID}, nil
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

func membersHint(est *estate.Snapshot, group principal.ID) string {
	for id := range est.MembersTransitive(group) {
		if p, ok := est.Principal(id); ok && p.Kind != principal.Group {
			return fmt.Sprintf(", such as %s", p.Name)
		}
	}
	return ""
}

// findPrincipal looks up a principal of any kind. An object id that is not
// there is somebody who is gone: about him there is an answer, too.
func findPrincipal(est *estate.Snapshot, who string) (estate.Principal, error) {
	if id, err := principal.ParseID(who); err == nil {
		if p, ok := est.Principal(id); ok {
			return p, nil
		}
		return estate.Principal{ID: id, Name: who}, nil
	}
	if u, ok := est.UserByName(who); ok {
		p, _ := est.Principal(u.ID)
		return p, nil
	}
	found := est.Named(who)
	if len(found) == 0 {
		for p := range est.Principals() {
			if u, ok := est.User(p.ID); ok && strings.EqualFold(u.DisplayName, who) {
				found = append(found, p)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return estate.Principal{}, unknown("nobody is called", who, "gatehouse user list and gatehouse group list show who there is", func(yield func(string) bool) {
			for p := range est.Principals() {
				if !yield(p.Name) {
					return
				}
			}
		})
	}
	var ids []string
	for _, p := range found {
		ids = append(ids, fmt.Sprintf("%s (%s)", p.ID, p.Kind))
	}
	return estate.Principal{}, usage("%q is the name of %d principals: write one of their object ids: %s", who, len(found), strings.Join(ids, ", "))
}

// findCluster looks up a cluster by name or scope.
func findCluster(est *estate.Snapshot, name string) (resource.Cluster, error) {
	if at, err := scope.Parse(name); err == nil {
		if c, ok := est.Cluster(at); ok {
			return c, nil
		}
	}
	var found []resource.Cluster
	for c := range est.Clusters() {
		if strings.EqualFold(clusterName(c), name) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return resource.Cluster{}, unknown("there is no cluster", name, "gatehouse cluster list shows what there is", func(yield func(string) bool) {
			for c := range est.Clusters() {
				if !yield(clusterName(c)) {
					return
				}
			}
		})
	}
	var scopes []string
	for _, c := range found {
		scopes = append(scopes, c.Scope.String())
	}
	return resource.Cluster{}, usage("%d clusters are called %q: write the scope of one of them: %s", len(found), name, strings.Join(scopes, ", "))
}

// clusterName is a cluster's name in the letters it was created with.
func clusterName(c resource.Cluster) string {
	if c.Name != "" {
		return c.Name
	}
	return c.Scope.Name()
}

// findRole looks up a role definition by name, in any letter case, or id.
func findRole(est *estate.Snapshot, name string) (*azurerbac.Role, error) {
	if r, ok := est.DefinitionByName(name); ok {
		return r, nil
	}
	var id azurerbac.DefinitionID
	if err := id.UnmarshalText([]byte(name)); err == nil {
		if r, ok := est.Definition(id); ok {
			return r, nil
		}
	}
	return nil, unknown("there is no role", name, "gatehouse role list shows what there is", func(yield func(string) bool) {
		for r := range est.Definitions() {
			if !yield(r.RoleName) {
				return
			}
		}
	})
}

// unknown is the error of a name that names nothing.
func unknown(what, name, look string, have iter.Seq[string]) error {
	if near := nearest.Names(name, have, 3); near != nil {
		for i, n := range near {
			near[i] = fmt.Sprintf("%q", n)
		}
		return usage("%s %q: did you mean %s?", what, name, strings.Join(near, " or "))
	}
	return usage("%s %q: %s", what, name, look)
}

// place names a scope for people: a cluster and a namespace by their names.
func place(est *estate.Snapshot, text string) string {
	at, err := scope.Parse(text)
	if err != nil {
		return text
	}
	if cluster, ns, ok := at.CutNamespace(); ok {
		return "namespace " + ns + " of " + place(est, cluster.String())
	}
	if c, ok := est.Cluster(at); ok {
		return clusterName(c)
	}
	if t, object, ok := directory.CutPlace(at); ok {
		if object.IsZero() {
			return "directory " + tenantName(est, t)
		}
		return objectName(est, object)
	}
	switch at.Type() {
	case "":
		return "/"
	case "resourcegroups":
		if g, ok := est.ResourceGroup(at); ok && g.Name != "" {
			return "resource group " + g.Name
		}
		return "resource group " + at.Name()
	case "subscriptions":
		if s, ok := est.Subscription(at); ok && s.DisplayName != "" {
			return "subscription " + s.DisplayName
		}
		return "subscription " + at.Name()
	case "microsoft.management/managementgroups":
		return "management group " + at.Name()
	}
	return text
}

// objectName names an object of a directory with what it is.
func objectName(est *estate.Snapshot, id principal.ID) string {
	if a, ok := est.ApplicationByID(id); ok {
		return "application " + a.DisplayName
	}
	if p, ok := est.Principal(id); ok {
		return map[principal.Kind]string{principal.User: "user", principal.Group: "group", principal.ServicePrincipal: "service principal",
			principal.ManagedIdentity: "managed identity"}[p.Kind] + " " + p.Name
	}
	return "object " + id.String()
}
