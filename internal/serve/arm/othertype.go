package arm

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// An otherType is a type of resource that is kept here and otherwise does nothing:
// what it takes for clients to make one, find it, and grant access to it.
type otherType struct {
	name string   // as Azure writes it
	rule nameRule // what one may be called
	// created is the status of a new one; 0 means 201. Clients take some types'
	// 201 for a failure.
	created int
	taken   string // the error code for a name that is unique in the world and taken
	// children are the types of child that stand in the parent's properties, by the
	// name of the property, such as subnets.
	children map[string]string
	// global is set for what can be everywhere at once.
	global bool
	// onCluster is set for what hangs on a cluster and not in a resource group.
	onCluster bool
	// check looks at what a caller wrote, show adds what the service says itself.
	check func(s *session, o resource.Other, p members) error
	show  func(s *session, o resource.Other, p members)
}

// A nameRule is what something may be called, and the same for people.
type nameRule struct {
	*regexp.Regexp
	most int // characters
	text string
}

func rule(pattern string, most int, text string) nameRule {
	return nameRule{regexp.MustCompile(`^(?:` + pattern + `)$`), most, text}
}

func (n nameRule) allows(name string) bool {
	return len(name) <= n.most && n.MatchString(name)
}

// The rules that the types have.
var (
	domainRule    = rule(`[A-Za-z0-9_]([-\w]{0,61}\w)?(\.\w([-\w]{0,61}\w)?)+`, 252, "a domain name of at least two labels")
	plainRule     = rule(`\w([-\w.]{0,78}\w)?`, 80, "1 to 80 letters, digits, dots, hyphens and underscores")
	vaultRule     = rule(`[A-Za-z](-?[A-Za-z0-9]){2,23}`, 24, "3 to 24 letters, digits and single hyphens, the first a letter, the last no hyphen")
	registryRule  = rule(`[A-Za-z0-9]{5,50}`, 50, "5 to 50 letters and digits")
	storageRule   = rule(`[a-z0-9]{3,24}`, 24, "3 to 24 small letters and digits")
	ruleRule      = rule(`\w([-\w.]{0,62}\w)?`, 64, "1 to 64 letters, digits, dots, hyphens and underscores")
	workspaceRule = rule(`[A-Za-z0-9][-A-Za-z0-9]{2,61}[A-Za-z0-9]`, 63, "4 to 63 letters, digits and hyphens")
)

// ruleOf says what things of a type may be called, or "" where that is not known.
func ruleOf(typ string) string {
	switch typ {
	case "subscriptions/resourcegroups":
		return groupRule.text
	case lowerASCII(identityType):
		return identityRule.text
	}
	return otherTypes[typ].rule.text
}

// otherTypes are the types by their names in lower case.
var otherTypes = byType(
	otherType{name: "Microsoft.KeyVault/vaults", rule: vaultRule, taken: "VaultAlreadyExists", check: checkVault, show: showVault},
	otherType{name: "Microsoft.ContainerRegistry/registries", rule: registryRule, taken: "AlreadyInUse", check: checkRegistry, show: showRegistry},
	otherType{name: "Microsoft.Storage/storageAccounts", rule: storageRule, taken: "StorageAccountAlreadyTaken", created: 200, show: showStorage},
	otherType{name: "Microsoft.Network/privateDnsZones", rule: domainRule, global: true, show: showZone},
	otherType{name: "Microsoft.Network/virtualNetworks", rule: plainRule, children: map[string]string{"subnets": "Microsoft.Network/virtualNetworks/subnets"}},
	otherType{name: "Microsoft.Network/virtualNetworks/subnets", rule: plainRule},
	otherType{name: "Microsoft.Network/routeTables", rule: plainRule},
	otherType{name: "Microsoft.Network/networkSecurityGroups", rule: plainRule},
	otherType{name: "Microsoft.Network/publicIPAddresses", rule: plainRule},
	otherType{name: "Microsoft.Compute/disks", rule: plainRule, created: 200},
	otherType{name: "Microsoft.Compute/diskEncryptionSets", rule: plainRule, created: 200},
	otherType{name: "Microsoft.Compute/virtualMachines", rule: plainRule},
	otherType{name: "Microsoft.Compute/virtualMachineScaleSets", rule: plainRule},
	otherType{name: "Microsoft.Insights/activityLogAlerts", rule: plainRule, global: true},
	otherType{name: "Microsoft.Insights/dataCollectionRules", rule: ruleRule, created: http.StatusOK},
	otherType{name: "Microsoft.Insights/dataCollectionRuleAssociations", rule: ruleRule, created: http.StatusOK, onCluster: true},
	otherType{name: "Microsoft.OperationalInsights/workspaces", rule: workspaceRule, show: showWorkspace},
)

func byType(list ...otherType) map[string]otherType {
	all := make(map[string]otherType, len(list))
	for _, t := range list {
		all[lowerASCII(t.name)] = t
	}
	return all
}

// otherShapes are the paths of the types: one of them, those of a resource group
// or parent, and those of a subscription.
var otherShapes = shapesOf(otherTypes)

func shapesOf(types map[string]otherType) map[string]kind {
	shapes := make(map[string]kind)
	const group = "subscriptions/*/resourcegroups/*"
	for typ, is := range types {
		seg := strings.Split(typ, "/")
		parent := group
		behind := "providers/" + seg[0] + "/" + seg[1]
		switch {
		case is.onCluster:
			parent = clusterPath
		case len(seg) > 2:
			parent += "/" + behind + "/*"
			behind = seg[2]
		default:
			shapes["subscriptions/*|"+behind] = others
		}
		shapes[parent+"|"+behind] = others
		shapes[parent+"/"+behind+"/*"] = other
	}
	return shapes
}
