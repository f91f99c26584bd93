package check

import (
	"bytes"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// shared is what the rules of one run would else work out again and again.
type shared struct {
	clusters []resource.Cluster                 // in order of scope
	assigned []*estate.Assigned                 // all, in order of id
	bindings map[scope.Scope][]kuberbac.Binding // by cluster, in order of namespace and name
	defaults map[kubePlace]kuberbac.Binding
	issuers  map[string]scope.Scope        // the clusters by their issuers
	named    map[string][]estate.Principal // by display name in lower case
	broad    map[azurerbac.DefinitionID]bool
	trusting map[string][]directory.ManagedIdentity // by issuer, in order of client id
	holders  map[question][]decide.Holder
	runners  map[reach][]decide.Holder
	above    map[scope.Scope]map[scope.Scope]bool
	powers   map[*estate.Grant]string
	planes   map[principal.ID][]resource.Cluster // by the identity of their control plane

	defaultRoles map[string]kuberbac.Role
}

func newShared(f Facts) *shared {
	est := f.Estate.Snapshot
	s := &shared{
		bindings: make(map[scope.Scope][]kuberbac.Binding), defaults: defaultBindings(), issuers: make(map[string]scope.Scope),
		named: make(map[string][]estate.Principal), broad: make(map[azurerbac.DefinitionID]bool),
		trusting: make(map[string][]directory.ManagedIdentity), holders: make(map[question][]decide.Holder), above: make(map[scope.Scope]map[scope.Scope]bool), powers: make(map[*estate.Grant]string), runners: make(map[reach][]decide.Holder), planes: make(map[principal.ID][]resource.Cluster),
		defaultRoles: defaultRoles(),
	}
	for _, list := range est.AssignmentsBelow(scope.Root) {
		s.assigned = append(s.assigned, list...)
	}
	slices.SortFunc(s.assigned, func(a, b *estate.Assigned) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	bound := false
	s.clusters = slices.Collect(est.Clusters())
	for _, c := range s.clusters {
		list := slices.SortedFunc(est.KubeBindings(c.Scope), func(a, b kuberbac.Binding) int {
			ka, kb := a.Key(), b.Key()
			return slices.Compare(ka.Parts[:], kb.Parts[:])
		})
		bound = bound || len(list) > 0
		s.bindings[c.Scope] = list
		if id := c.Identity.Object; !id.IsZero() {
			s.planes[id] = append(s.planes[id], c)
		}
		if c.IssuerURL != "" {
			s.issuers[c.IssuerURL] = c.Scope
		}
	}
	for _, i := range f.Estate.TokenHolders() {
		m, ok := est.ManagedIdentity(i.Object)
		if !ok || !i.Managed {
			continue
		}
		for _, c := range est.TrustsOf(i.Client, f.Now) {
			if list := s.trusting[c.Issuer]; len(list) == 0 || list[len(list)-1].ID != m.ID {
				s.trusting[c.Issuer] = append(list, m)
			}
		}
	}
	if bound {
		for p := range est.Principals() {
			name := strings.ToLower(p.Name)
			s.named[name] = append(s.named[name], p)
		}
	}
	return s
}

// rules reports whether a role can change everything at its place, or give out roles:
// whoever has it can have all the rest.
func (s *shared) rules(role *azurerbac.Role) bool {
	yes, known := s.broad[role.ID]
	if !known {
		yes = slices.ContainsFunc(role.Permissions, func(p azurerbac.Compiled) bool {
			return p.Covers([]byte("microsoft.authorization/roleassignments/write"), false) || p.Covers([]byte("*"), false)
		})
		s.broad[role.ID] = yes
	}
	return yes
}
