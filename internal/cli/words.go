package cli

import (
	"fmt"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// describeGrant names a grant for people: what it gives, where, and which
// record it is.
func describeGrant(est *estate.Snapshot, g *wire.Grant) string {
	return strings.ReplaceAll(grantText(est, g), "\n", " ")
}

func grantText(est *estate.Snapshot, g *wire.Grant) string {
	switch g.Source {
	case "roleAssignment":
		return fmt.Sprintf("role %q at %s (role assignment %s)", orMissing(g.Role, g.RoleID), place(est, g.Scope), g.ID)
	case "directoryRole":
		return fmt.Sprintf("directory role %q at %s", orMissing(g.Role, g.RoleID), place(est, g.Scope))
	case "ownership":
		return "ownership of " + place(est, g.Scope)
	case "default":
		return fmt.Sprintf("what everybody has by default at %s (%s)", place(est, g.Scope), g.Role)
	case "denyAssignment":
		return fmt.Sprintf("deny assignment %q at %s (%s)", g.Name, place(est, g.Scope), g.ID)
	case "binding":
		if g.Namespace == "" {
			return fmt.Sprintf("ClusterRoleBinding %s to %s on %s", g.Name, g.Role, place(est, g.Scope))
		}
		return fmt.Sprintf("RoleBinding %s to %s in namespace %s of %s", g.Name, g.Role, g.Namespace, place(est, g.Scope))
	}
	return g.Source
}

func directoryRoleName(id directory.RoleID) string {
	if role, ok := directoryrole.Get(id); ok {
		return role.RoleName
	}
	return id.String()
}

func orMissing(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

// describeVia says through which groups a grant is held.
func describeVia(holder wire.Principal, via []wire.Principal) string {
	if len(via) > 0 {
		return "through group " + chain(via)
	}
	if holder.ID == "" && holder.Name != "" {
		return fmt.Sprintf("as %s %s", strings.ToLower(holder.Kind), holder.Name)
	}
	return ""
}

// chain shows nested groups, the one that somebody is directly in first.
func chain(via []wire.Principal) string {
	names := make([]string, len(via))
	for i, g := range via {
		names[i] = orMissing(g.Name, g.ID)
	}
	return strings.Join(names, " > ")
}

// join puts parts together that may be empty.
func join(sep string, parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, sep)
}

// timeFrame says when a grant grants, if not always.
func timeFrame(g *wire.Grant) string {
	from, to := instant(g.NotBefore), instant(g.NotAfter)
	switch {
	case from != "" && to != "":
		return "from " + from + " to " + to
	case from != "":
		return "from " + from
	case to != "":
		return "until " + to
	}
	return ""
}

// fixCommand is the command that makes the smallest fix.
func fixCommand(q query, fix *wire.Fix) string {
	if at, err := scope.Parse(fix.Scope); err == nil && fix.Role != "" {
		if _, object, ok := directory.CutPlace(at); ok {
			over := ""
			if !object.IsZero() {
				over = " --over " + object.String()
			}
			return fmt.Sprintf("gatehouse directory-role assign %q %s%s", fix.Role, q.who.label, over)
		}
	}
	if fix.Role != "" {
		return fmt.Sprintf("gatehouse assignment create --role %q --principal %q --scope %s", fix.Role, q.who.label, fix.Scope)
	}
	name := strings.NewReplacer("@", "-", ":", "-", ".", "-").Replace(strings.ToLower(q.who.label)) + "-" + fix.ClusterRole
	subject := fmt.Sprintf("--user=%q", q.who.label)
	if q.Subject != nil {
		if parts := strings.Split(q.Subject.User, ":"); len(parts) == 4 && parts[1] == "serviceaccount" {
			subject = fmt.Sprintf("--serviceaccount=%s:%s", parts[2], parts[3])
		}
	}
	if q.Kube.Namespace == "" {
		return fmt.Sprintf("kubectl create clusterrolebinding %s --clusterrole=%s %s", name, fix.ClusterRole, subject)
	}
	return fmt.Sprintf("kubectl create rolebinding %s --clusterrole=%s %s -n %s", name, fix.ClusterRole, subject, q.Kube.Namespace)
}
