package arm

import (
	"fmt"
	"net/http"
	"reflect"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const groupType = "Microsoft.Resources/subscriptions/resourceGroups"

type groupBody struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Location   string          `json:"location"`
	ManagedBy  string          `json:"managedBy,omitzero"`
	Tags       record.Tags     `json:"tags"`
	Properties groupProperties `json:"properties"`
}

type groupProperties struct {
	ProvisioningState string `json:"provisioningState"`
}

func (s *session) groupBody(g resource.Group) groupBody {
	return groupBody{
		ID: s.idOf(g.Scope, g.Name), Name: g.Name, Type: "Microsoft.Resources/resourceGroups", Location: g.Location,
		ManagedBy: g.ManagedBy, Tags: tagsOf(g.Tags), Properties: groupProperties{map[bool]string{true: "Succeeded", false: "Deleting"}[g.Doing.IsZero()]},
	}
}

// listGroups lists the groups that the caller may read.
func listGroups(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	sub, _ := s.est.Subscription(r.at)
	if !s.sees(sub) {
		return answer{}, s.needAt(groupType+"/read", r.at)
	}
	f, err := parseFilter(r.query.Get("$filter"), tagName, tagValue)
	if err != nil {
		return answer{}, err
	}
	var rows []row
	for g := range s.est.ResourceGroups() {
		if r.at.Contains(g.Scope) && f.tagged(g.Tags) && s.may(groupType+"/read", g.Scope) {
			rows = append(rows, row{g.Scope.Name(), s.groupBody(g)})
		}
	}
	return s.page(r, rows)
}

func getGroup(s *session, r *request) (answer, error) {
	if err := s.needAt(groupType+"/read", r.at); err != nil {
		return answer{}, err
	}
	g, found := s.est.ResourceGroup(r.at)
	if !found {
		return answer{}, noGroup(r.at.Name())
	}
	return ok(g, s.groupBody(g)), nil
}

// groupRule is what Azure lets a resource group be called.
var groupRule = rule(`[-\w.()]*[-\w()]`, 90, "1 to 90 letters, digits, hyphens, underscores, dots and brackets, the last no dot")

type groupInput struct {
	Location  string       `json:"location"`
	Tags      *record.Tags `json:"tags"`
	ManagedBy *string      `json:"managedBy"`
}

// into puts what a body says into a group.
func (in *groupInput) into(g *resource.Group) error {
	if in.Tags != nil {
		if g.Tags = *in.Tags; len(g.Tags) == 0 {
			g.Tags = nil
		}
	}
	if in.ManagedBy != nil && *in.ManagedBy != g.ManagedBy {
		// A group that a cluster made for itself goes away with it: what belongs to
		// others must not be made to look like one, nor one like something else.
		if ofCluster(*in.ManagedBy) || ofCluster(g.ManagedBy) {
			return serve.Refuse(http.StatusBadRequest, "InvalidManagedBy", "A resource group is managed by a cluster only if the cluster made it.")
		}
		g.ManagedBy = *in.ManagedBy
	}
	return g.Validate()
}

func ofCluster(id string) bool {
	at, err := scope.Parse(id)
	return err == nil && at.Type() == "microsoft.containerservice/managedclusters"
}

func putGroup(s *session, r *request) (answer, error) {
	old, exists := s.est.ResourceGroup(r.at)
	next := resource.Group{Scope: r.at, Name: r.last()}
	var before record.Record
	if exists {
		before, next = old, old
		next.Tags = nil
	}
	if err := s.need(serve.ToPut(s.est, before, next)...); err != nil {
		return answer{}, err
	}
	if !groupRule.allows(next.Name) {
		return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidResourceGroup", fmt.Sprintf("The provided resource group name '%s' is none: it has %s.", serve.Printable(next.Name, 90), groupRule.text))
	}
	if err := s.open(r.at); err != nil {
		return answer{}, err
	}
	var in groupInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	next.Location = normalLocation(in.Location)
	switch {
	case in.Location == "":
		return answer{}, noLocation()
	case exists && old.Location != "" && old.Location == next.Location:
	case !isRegion(next.Location):
		return answer{}, serve.Refuse(http.StatusBadRequest, "LocationNotAvailableForResourceGroup", fmt.Sprintf(
			"The provided location '%s' is not available for resource group. List of available regions is '%s'.", serve.Printable(in.Location, 50), regionList))
	case exists && old.Location != "":
		return answer{}, serve.Refuse(http.StatusConflict, "InvalidResourceGroupLocation", fmt.Sprintf(
			"Invalid resource group location '%s'. The Resource group already exists in location '%s'.", next.Location, old.Location))
	}
	if err := in.into(&next); err != nil {
		return answer{}, err
	}
	if err := s.need(serve.ToPut(s.est, before, next)...); err != nil { // of a manager, more than of tags
		return answer{}, err
	}
	return wrote(exists, !exists || !reflect.DeepEqual(next, old), next, s.groupBody(next)), nil
}

func patchGroup(s *session, r *request) (answer, error) {
	old, exists := s.est.ResourceGroup(r.at)
	if !exists {
		if err := s.needAt(groupType+"/write", r.at); err != nil {
			return answer{}, err
		}
		return answer{}, noGroup(r.at.Name())
	}
	if err := s.need(serve.ToPut(s.est, old, old)...); err != nil {
		return answer{}, err
	}
	var in groupInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	next := old
	if err := in.into(&next); err != nil {
		return answer{}, err
	}
	if err := s.need(serve.ToPut(s.est, old, next)...); err != nil { // of a manager, more than of tags
		return answer{}, err
	}
	return wrote(true, !reflect.DeepEqual(next, old), next, s.groupBody(next)), nil
}

// deleteGroup deletes a group with all that is in it: at once, or when the clusters
// in it are taken down.
func deleteGroup(s *session, r *request) (answer, error) {
	if err := s.needAt(groupType+"/delete", r.at); err != nil {
		return answer{}, err
	}
	g, found := s.est.ResourceGroup(r.at)
	if !found {
		return answer{}, noGroup(r.at.Name())
	}
	ops, err := s.removal(g)
	if err != nil {
		return answer{}, err
	}
	out := answer{status: http.StatusAccepted, of: g.Key()}
	if !g.Doing.IsZero() {
		s.point(&out, g.Doing, g.Scope)
		return out, nil
	}
	later, err := s.takesDown(r, &out, g)
	if err != nil {
		return answer{}, err
	}
	if !later {
		return answer{status: http.StatusOK, ops: ops, of: g.Key()}, nil
	}
	g.Doing = s.work(r, resource.Delete, g.Scope)
	out.ops = sorted(append(out.ops, estate.Op{Put: g}))
	return out, s.begin(&out, g.Doing, g.Scope)
}
