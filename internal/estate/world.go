package estate

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A world is the part of the estate that the meaning of every grant may depend
// on: what a role allows, where a scope lies, what a cluster is. It is small
// beside the directory and the grants, and changes seldom.
type world struct {
	tenants map[directory.TenantID]*directory.Tenant
	apps    table[directory.AppID, *directory.Application]
	appOf   table[principal.ID, directory.AppID] // applications by their object id
	mgs     map[scope.Scope]*resource.ManagementGroup
	subs    table[scope.Scope, *resource.Subscription]
	// clusters and denies are small: thousands at the most.
	clusters map[scope.Scope]*resource.Cluster
	denies   map[azurerbac.DenyAssignmentID]*azurerbac.Deny
	roles    table[azurerbac.DefinitionID, *azurerbac.Role] // custom ones only
	builtIn  *builtIns
	kube     table[kubeKey, *kuberbac.Role]
	// clusterRoles are the names of a cluster's own cluster roles, for aggregation.
	clusterRoles table[scope.Scope, []string]

	rules *ruleCache
	homes *homes
}

// builtIns are the roles that every estate knows.
type builtIns struct {
	byID map[azurerbac.DefinitionID]*azurerbac.Role
	ids  []azurerbac.DefinitionID // in order of role name
}

var loadBuiltIns = sync.OnceValue(func() *builtIns {
	b := &builtIns{byID: make(map[azurerbac.DefinitionID]*azurerbac.Role)}
	for role := range azurerbac.BuiltInRoles() {
		b.byID[role.ID] = role
		b.ids = append(b.ids, role.ID)
	}
	slices.SortFunc(b.ids, func(x, y azurerbac.DefinitionID) int {
		return strings.Compare(b.byID[x].RoleName, b.byID[y].RoleName)
	})
	return b
})

func newWorld(bulk bool) *world {
	return &world{
		tenants:      make(map[directory.TenantID]*directory.Tenant),
		apps:         newTable[directory.AppID, *directory.Application](bulk),
		appOf:        newTable[principal.ID, directory.AppID](bulk),
		mgs:          make(map[scope.Scope]*resource.ManagementGroup),
		subs:         newTable[scope.Scope, *resource.Subscription](bulk),
		clusters:     make(map[scope.Scope]*resource.Cluster),
		denies:       make(map[azurerbac.DenyAssignmentID]*azurerbac.Deny),
		roles:        newTable[azurerbac.DefinitionID, *azurerbac.Role](bulk),
		builtIn:      loadBuiltIns(),
		kube:         newTable[kubeKey, *kuberbac.Role](bulk),
		clusterRoles: newTable[scope.Scope, []string](bulk),
		rules:        new(ruleCache),
		homes:        new(homes),
	}
}

func (w *world) freeze() {
	w.apps.freeze()
	w.appOf.freeze()
	w.subs.freeze()
	w.roles.freeze()
	w.kube.freeze()
	w.clusterRoles.freeze()
}

// clone returns a world that may be edited. What is found out from it is not carried over.
func (w *world) clone() *world {
	next := *w
	next.tenants = maps.Clone(w.tenants)
	next.mgs = maps.Clone(w.mgs)
	next.clusters = maps.Clone(w.clusters)
	next.denies = maps.Clone(w.denies)
	next.rules, next.homes = new(ruleCache), new(homes)
	return &next
}

func (w *world) role(id azurerbac.DefinitionID) (*azurerbac.Role, bool) {
	if r, ok := w.builtIn.byID[id]; ok {
		return r, true
	}
	return w.roles.get(id)
}

func (w *world) ofKind(kind record.Kind) []record.Record {
	var out []record.Record
	switch kind {
	case record.Tenant:
		for _, t := range w.tenants {
			out = append(out, *t)
		}
	case record.Application:
		out = values(&w.apps, out)
	case record.ManagementGroup:
		for _, m := range w.mgs {
			out = append(out, *m)
		}
	case record.Subscription:
		out = values(&w.subs, out)
	case record.Cluster:
		for _, c := range w.clusters {
			out = append(out, *c)
		}
	case record.RoleDefinition:
		for _, r := range w.roles.all() {
			out = append(out, r.Definition)
		}
	case record.DenyAssignment:
		for _, d := range w.denies {
			out = append(out, d.DenyAssignment)
		}
	case record.KubeRole:
		out = values(&w.kube, out)
	}
	return out
}

func (w *world) get(key record.Key) (record.Record, bool) {
	p := key.Parts
	switch key.Kind {
	case record.Tenant:
		id, _ := parseTenantID(p[0])
		if t, ok := w.tenants[id]; ok {
			return *t, true
		}
	case record.Application:
		id, _ := parseAppID(p[0])
		return at(&w.apps, id)
	case record.ManagementGroup:
		if m, ok := w.mgs[parseScope(p[0])]; ok {
			return *m, true
		}
	case record.Subscription:
		return at(&w.subs, parseScope(p[0]))
	case record.Cluster:
		if c, ok := w.clusters[parseScope(p[0])]; ok {
			return *c, true
		}
	case record.RoleDefinition:
		id, _ := parseDefinitionID(p[0])
		if r, ok := w.roles.get(id); ok {
			return r.Definition, true
		}
	case record.DenyAssignment:
		id, _ := parseDenyID(p[0])
		if d, ok := w.denies[id]; ok {
			return d.DenyAssignment, true
		}
	case record.KubeRole:
		return at(&w.kube, kubeKey{parseScope(p[0]), p[1], p[2]})
	}
	return nil, false
}

// ManagementGroups yields every management group, in no order.
func (s *Snapshot) ManagementGroups() iter.Seq[resource.ManagementGroup] {
	return func(yield func(resource.ManagementGroup) bool) {
		for _, m := range s.world.mgs {
			if !yield(*m) {
				return
			}
		}
	}
}

// ManagementGroup returns the management group at a scope.
func (s *Snapshot) ManagementGroup(sc scope.Scope) (resource.ManagementGroup, bool) {
	mg, ok := s.world.mgs[sc]
	if !ok {
		return resource.ManagementGroup{}, false
	}
	return *mg, true
}
