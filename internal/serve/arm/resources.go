package arm

import (
	"cmp"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// resources is the kind of a list of resources of every type.
const resources kind = "resources"

// What a $filter of resources and resource groups may ask.
var (
	tagName  = term{name: "tagName", eq: true}
	tagValue = term{name: "tagValue", eq: true}
)

// tagged reports whether tags have what a filter asks of them.
func (f filter) tagged(tags record.Tags) bool {
	name, byName := f.get("tagName")
	value, byValue := f.get("tagValue")
	if !byName && !byValue {
		return true
	}
	for n, v := range tags {
		if (!byName || strings.EqualFold(n, name)) && (!byValue || v == value) {
			return true
		}
	}
	return false
}

// resourceBody is a resource in a list of all types.
type resourceBody struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Type     string      `json:"type"`
	Location string      `json:"location"`
	Tags     record.Tags `json:"tags"`
	SKU      any         `json:"sku,omitzero"`
	Kind     any         `json:"kind,omitzero"`
	Identity any         `json:"identity,omitzero"`
}

// listResources lists the resources of a subscription or group that the caller may
// read, without those that are part of another one.
func listResources(s *session, r *request) (answer, error) {
	if err := s.listable("Microsoft.Resources/subscriptions/resources/read", r.at); err != nil {
		return answer{}, err
	}
	f, err := parseFilter(r.query.Get("$filter"), tagName, tagValue,
		term{name: "resourceType", eq: true}, term{name: "name", eq: true}, term{name: "location", eq: true}, term{name: "resourceGroup", eq: true})
	if err != nil {
		return answer{}, err
	}
	var rows []row
	add := func(at scope.Scope, b resourceBody) {
		if !r.at.Contains(at) || !f.tagged(b.Tags) {
			return
		}
		rg, _ := at.ResourceGroup()
		for asked, is := range map[string]string{"resourceType": b.Type, "name": b.Name, "location": b.Location, "resourceGroup": rg.Name()} {
			if want, given := f.get(asked); given && !strings.EqualFold(want, is) {
				return
			}
		}
		if s.may(b.Type+"/read", at) {
			b.ID, b.Tags = s.idOf(at, b.Name), tagsOf(b.Tags)
			rows = append(rows, row{at.String(), b})
		}
	}
	for o := range s.est.Resources() {
		if !isChild(o.Scope) {
			more := membersOf(o.More)
			b := resourceBody{Name: o.Name, Type: o.Type, Location: o.Location, Tags: o.Tags}
			for name, to := range map[string]*any{"sku": &b.SKU, "kind": &b.Kind, "identity": &b.Identity} {
				if v, there := more[name]; there {
					*to = v
				}
			}
			add(o.Scope, b)
		}
	}
	for m := range s.est.Identities() {
		if !m.SystemAssigned {
			add(m.Resource, resourceBody{Name: m.DisplayName, Type: identityType, Location: m.Location, Tags: m.Tags})
		}
	}
	for c := range s.est.Clusters() {
		add(c.Scope, resourceBody{Name: c.Name, Type: clusterType, Location: c.Location, Tags: c.Tags, Identity: s.controlIdentity(c)})
	}
	return s.page(r, rows)
}

func compareScopes(a, b scope.Scope) int { return cmp.Compare(a.String(), b.String()) }
