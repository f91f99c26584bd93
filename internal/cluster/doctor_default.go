package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A made is a role or binding by the name that Kubernetes makes it under.
type made struct{ kind, namespace, name string }

func madeRole(namespace, name string) made { return made{kindOf("Role", namespace), namespace, name} }

func madeBinding(namespace, name string) made {
	return made{kindOf("RoleBinding", namespace), namespace, name}
}

func kindOf(kind, namespace string) string {
	if namespace == "" {
		return "Cluster" + kind
	}
	return kind
}

func (m made) String() string {
	if m.namespace == "" {
		return m.kind + " " + m.name
	}
	return m.kind + " " + m.namespace + "/" + m.name
}

// An upstream is what Kubernetes makes of itself.
type upstream struct {
	roles    map[made][]kuberbac.Rule
	bindings map[made]kuberbac.Binding
	// wide are the roles that it gives to everybody, or to all service accounts.
	wide map[made]bool
}

// upstreamRBAC is what kube-apiserver makes, and the one role that kubeadm gives to
// everybody. Roles that take on the rules of others are left out: that is what they
// are for. Those whose rules they take on are not.
func upstreamRBAC() upstream {
	clusterInfo := madeRole("kube-public", "kubeadm:bootstrap-signer-clusterinfo")
	u := upstream{
		roles: map[made][]kuberbac.Rule{
			clusterInfo: {{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"cluster-info"}}},
		},
		bindings: make(map[made]kuberbac.Binding),
		wide:     map[made]bool{clusterInfo: true},
	}
	add := func(rec any) {
		switch r := rec.(type) {
		case kuberbac.Role:
			if r.Aggregate == nil {
				u.roles[madeRole(r.Namespace, r.Name)] = r.Rules
			}
		case kuberbac.Binding:
			u.bindings[madeBinding(r.Namespace, r.Name)] = r
			if r.RoleIsCluster && slices.ContainsFunc(r.Subjects, isWide) {
				u.wide[madeRole("", r.Role)] = true
			}
		}
	}
	for rec := range kuberbac.Defaults(scope.Scope{}) {
		add(rec)
	}
	for rec := range kuberbac.OfItself(scope.Scope{}) {
		add(rec)
	}
	return u
}

// isWide reports whether a subject is everybody, nobody, or every service account.
func isWide(s kuberbac.Subject) bool {
	return s.Kind == kuberbac.Group && (s.Name == kuberbac.AllAuthenticated || s.Name == kuberbac.AllUnauthenticated || s.Name == kuberbac.AllServiceAccounts) ||
		s.Kind == kuberbac.User && s.Name == anonymous
}

// ofKubernetes says which roles and bindings of Kubernetes itself give more than
// Kubernetes makes them give. What it gives to everybody grows in no version; of the
// rest it is not known what another version makes.
func (c *chart) ofKubernetes(ctx context.Context) (string, bool, error) {
	known := upstreamRBAC()
	seen, wide := 0, false
	var more []string
	for _, kind := range []string{"clusterroles", "roles"} {
		var list struct {
			Items []struct {
				Metadata struct{ Name, Namespace string }
				Rules    []kuberbac.Rule
			}
		}
		if err := c.list(ctx, kind, &list); err != nil {
			return "", false, err
		}
		for _, r := range list.Items {
			m := madeRole(r.Metadata.Namespace, r.Metadata.Name)
			rules, ok := known.roles[m]
			if !ok {
				continue
			}
			seen++
			if same, added := kuberbac.Covers(rules, r.Rules); !same {
				wide = wide || known.wide[m]
				more = append(more, fmt.Sprintf("%s: %s", m, rights(added)))
			}
		}
	}
	for _, kind := range []string{"clusterrolebindings", "rolebindings"} {
		var list struct {
			Items []struct {
				Metadata struct{ Name, Namespace string }
				RoleRef  struct{ Kind, Name string }
				Subjects []kuberbac.Subject
			}
		}
		if err := c.list(ctx, kind, &list); err != nil {
			return "", false, err
		}
		for _, b := range list.Items {
			m := madeBinding(b.Metadata.Namespace, b.Metadata.Name)
			is, ok := known.bindings[m]
			if !ok {
				continue
			}
			seen++
			if role := b.RoleRef.Name; role != is.Role || (b.RoleRef.Kind == "ClusterRole") != is.RoleIsCluster {
				wide = wide || slices.ContainsFunc(b.Subjects, isWide)
				more = append(more, fmt.Sprintf("%s: it gives %s %q", m, b.RoleRef.Kind, role))
			}
			for _, s := range b.Subjects {
				if !slices.Contains(is.Subjects, s) {
					wide = wide || isWide(s)
					more = append(more, fmt.Sprintf("%s: %s %q", m, s.Kind, s.Name))
				}
			}
		}
	}
	switch version, err := c.version(ctx); {
	case len(more) == 0 && seen == 0:
		return "", false, notRead("none of the roles and bindings of Kubernetes is there")
	case len(more) == 0:
		return fmt.Sprintf("all %d roles and bindings of Kubernetes itself give no more than Kubernetes makes them give", seen), true, nil
	case wide || err == nil && version == kuberbac.Version:
		return strings.Join(more, "; "), false, nil
	default:
		return "", false, fmt.Errorf("roles or bindings of Kubernetes itself give more than Kubernetes %s makes them give, and the API server is of %s, which may make more of them: %s",
			kuberbac.Version, cmp.Or(version, "a version that is not known"), strings.Join(more, "; "))
	}
}

// rights are single rights in words.
func rights(all []kuberbac.Rule) string {
	const some = 3
	var out []string
	for _, r := range all[:min(len(all), some)] {
		text := strings.Join(r.Verbs, ",") + " " + strings.Join(r.NonResourceURLs, ",")
		if len(r.Resources) > 0 {
			text = strings.Join(r.Verbs, ",") + " " + strings.TrimSuffix(strings.Join(r.Resources, ",")+"."+strings.Join(r.APIGroups, ","), ".")
		}
		out = append(out, fmt.Sprintf("%q", text))
	}
	if n := len(all) - len(out); n > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(out, ", ")
}

// version is that of the API server, as in 1.36.
func (c *chart) version(ctx context.Context) (string, error) {
	data, err := c.API.do(ctx, http.MethodGet, "/version", "", nil)
	if err != nil {
		return "", err
	}
	var v struct{ Major, Minor string }
	if err := json.Unmarshal(data, &v); err != nil {
		return "", err
	}
	return v.Major + "." + strings.TrimRight(v.Minor, "+"), nil
}

// list reads all objects of a kind of RBAC.
func (c *chart) list(ctx context.Context, kind string, into any) error {
	if c.API == nil {
		return notRead("the API server is not at hand")
	}
	data, err := c.API.do(ctx, http.MethodGet, rbacPath+kind, "", nil)
	if err != nil {
		return notRead("%s: %v", kind, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return notRead("%s: %v", kind, err)
	}
	return nil
}
