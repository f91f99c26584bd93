package arm

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// words are the spellings of what the house keeps in lower case.
var words = map[string]string{
	"resourcegroups":             "resourceGroups",
	"microsoft.containerservice": "Microsoft.ContainerService",
	"managedclusters":            "managedClusters",
	"microsoft.managedidentity":  "Microsoft.ManagedIdentity",
	"userassignedidentities":     "userAssignedIdentities",
	"microsoft.management":       "Microsoft.Management",
	"managementgroups":           "managementGroups",
	"microsoft.keyvault":         "Microsoft.KeyVault",
	"microsoft.compute":          "Microsoft.Compute",
	"virtualmachines":            "virtualMachines",
	"microsoft.network":          "Microsoft.Network",
	"virtualnetworks":            "virtualNetworks",
	"microsoft.storage":          "Microsoft.Storage",
	"storageaccounts":            "storageAccounts",
	"microsoft.authorization":    authorization,
}

// spell writes a scope with the letters that what it names was created with.
func (s *session) spell(at scope.Scope) string {
	if at == scope.Root {
		return "/"
	}
	seg := strings.Split(at.String()[1:], "/")
	for i, word := range seg {
		namesAType := i%2 == 0 || i >= 2 && seg[i-1] == "providers" && i%2 == 1
		if w, ok := words[word]; ok && namesAType {
			seg[i] = w
		}
	}
	if rg, ok := at.ResourceGroup(); ok {
		if g, ok := s.est.ResourceGroup(rg); ok {
			seg[3] = g.Name
		}
	}
	for up := range at.Ancestors() {
		if c, ok := s.est.Cluster(up); ok {
			seg[strings.Count(up.String(), "/")-1] = c.Name
		}
	}
	if len(seg) == 4 && seg[0] == "providers" {
		seg[1], seg[2] = "Microsoft.Management", "managementGroups"
	}
	return "/" + strings.Join(seg, "/")
}

// extensionID is the id of something of Microsoft.Authorization at a place.
func (s *session) extensionID(at scope.Scope, typ, name string) string {
	return strings.TrimSuffix(s.spell(at), "/") + "/providers/" + authorization + "/" + typ + "/" + name
}

// definitionID is the id of a role as it is seen from a place. Clients compare it
// letter by letter with the one that an assignment refers to, so both must be
// written for the same subscription.
func definitionID(from scope.Scope, id azurerbac.DefinitionID) string {
	prefix := ""
	if sub, ok := from.Subscription(); ok {
		prefix = sub.String()
	}
	return prefix + "/providers/" + authorization + "/roleDefinitions/" + id.String()
}

// parseDefinitionID returns the role that an id names. Where it was seen from does
// not matter.
func parseDefinitionID(text string) (id azurerbac.DefinitionID, ok bool) {
	r, err := parseRoute(text)
	if err != nil || r.kind != roleDefinition {
		return id, false
	}
	return id, id.UnmarshalText([]byte(r.name)) == nil && !id.IsZero()
}
