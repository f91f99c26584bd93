package arm

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// words are the spellings of what the house keeps in lower case.
var words = wordsOf([]string{
	"resourceGroups", "Microsoft.ContainerService/managedClusters/namespaces", identityType, "Microsoft.Management/managementGroups", authorization,
}, otherTypes)

func wordsOf(list []string, types map[string]otherType) map[string]string {
	for _, t := range types {
		list = append(list, t.name)
	}
	all := make(map[string]string)
	for _, name := range list {
		for word := range strings.SplitSeq(name, "/") {
			all[lowerASCII(word)] = word
		}
	}
	return all
}

// spellWords writes a scope with the letters of its types, and with its names in
// lower case.
func spellWords(at scope.Scope) string {
	seg := strings.Split(at.String()[1:], "/")
	for i, word := range seg {
		namesAType := i%2 == 0 || i >= 2 && seg[i-1] == "providers" && i%2 == 1
		if w, ok := words[word]; ok && namesAType {
			seg[i] = w
		}
	}
	if len(seg) == 4 && seg[0] == "providers" {
		seg[1], seg[2] = "Microsoft.Management", "managementGroups"
	}
	return "/" + strings.Join(seg, "/")
}

// spellAs writes a scope with the letters of its types, and its names with those of
// a text that names the same, as far as it does.
func spellAs(at scope.Scope, text string) string {
	seg, as := strings.Split(spellWords(at), "/"), strings.Split(text, "/")
	for i := range min(len(seg), len(as)) {
		if lowerASCII(seg[i]) != lowerASCII(as[i]) {
			break
		}
		if seg[i] == lowerASCII(seg[i]) {
			seg[i] = as[i]
		}
	}
	return strings.Join(seg, "/")
}

// spell writes a scope with the letters that what it names was created with.
func (s *session) spell(at scope.Scope) string {
	if at == scope.Root {
		return "/"
	}
	seg := strings.Split(spellWords(at)[1:], "/")
	for place := range at.Ancestors() {
		n := strings.Count(place.String(), "/")
		if place == scope.Root || n > len(seg) {
			continue
		}
		if name := s.nameAt(place); name != "" {
			seg[n-1] = name
		}
	}
	return "/" + strings.Join(seg, "/")
}

// nameAt is the name of what is at a place, as it was written, or "".
func (s *session) nameAt(at scope.Scope) string {
	if g, ok := s.est.ResourceGroup(at); ok {
		return g.Name
	}
	if m, ok := s.est.ManagementGroup(at); ok {
		return m.Name
	}
	if c, ok := s.est.Cluster(at); ok {
		return c.Name
	}
	if o, ok := s.est.Resource(at); ok {
		return o.Name
	}
	if m, ok := s.est.IdentityAt(at); ok && !m.SystemAssigned {
		return m.DisplayName
	}
	return ""
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
