package cli

import (
	"fmt"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// describeRecord names a record for people; est is an estate that has it.
func describeRecord(est *estate.Snapshot, rec record.Record) string {
	kind := string(rec.Key().Kind)
	switch r := rec.(type) {
	case directory.Tenant:
		return kind + " " + r.Domains[0]
	case directory.User:
		return kind + " " + r.UserPrincipalName
	case directory.Group:
		return kind + " " + r.DisplayName
	case directory.Membership:
		return fmt.Sprintf("%s of %s in %s", kind, names(est, []principal.ID{r.Member}), names(est, []principal.ID{r.Group}))
	case directory.Application:
		return kind + " " + r.DisplayName
	case directory.ServicePrincipal:
		return kind + " " + r.DisplayName
	case directory.ManagedIdentity:
		return kind + " " + r.DisplayName
	case directory.RoleAssignment:
		at := ""
		if !r.Object.IsZero() {
			at = " for " + objectName(est, r.Object)
		}
		return fmt.Sprintf("%s of %q to %s%s", kind, directoryRoleName(r.Role), names(est, []principal.ID{r.Principal}), at)
	case directory.Ownership:
		return fmt.Sprintf("%s of %s by %s", kind, objectName(est, r.Object), names(est, []principal.ID{r.Owner}))
	case resource.Cluster:
		return kind + " " + clusterName(r)
	case azurerbac.Definition:
		return fmt.Sprintf("%s %q", kind, r.RoleName)
	case azurerbac.Assignment:
		return fmt.Sprintf("%s of %q at %s to %s", kind, roleName(est, r.Role), place(est, r.Scope.String()), names(est, []principal.ID{r.Principal}))
	case azurerbac.Eligibility:
		return fmt.Sprintf("%s for %q at %s of %s", kind, roleName(est, r.Role), place(est, r.Scope.String()), names(est, []principal.ID{r.Principal}))
	case azurerbac.Policy:
		return fmt.Sprintf("%s of %q at %s", kind, roleName(est, r.Role), place(est, r.Scope.String()))
	case azurerbac.Request:
		return fmt.Sprintf("%s %s of %q at %s for %s", kind, r.Type, roleName(est, r.Role), place(est, r.Scope.String()), names(est, []principal.ID{r.Principal}))
	case identityrequest.Request:
		return fmt.Sprintf("%s of %s for %s", kind, r.Identity.Name(), inCluster(est, r.Cluster.String(), r.Namespace, strings.Join(r.ServiceAccounts, ", ")))
	case azurerbac.DenyAssignment:
		return fmt.Sprintf("%s %q at %s", kind, r.Name, place(est, r.Scope.String()))
	case kuberbac.Role:
		return fmt.Sprintf("%s %s", kind, inCluster(est, r.Cluster.String(), r.Namespace, r.Name))
	case kuberbac.Binding:
		return fmt.Sprintf("%s %s", kind, inCluster(est, r.Cluster.String(), r.Namespace, r.Name))
	}
	return rec.Key().String()
}

func inCluster(est *estate.Snapshot, cluster, namespace, name string) string {
	if namespace != "" {
		name += " in namespace " + namespace
	}
	return name + " of " + place(est, cluster)
}
