package arm

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const groupType = "Microsoft.Resources/subscriptions/resourceGroups"

type groupBody struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Location   string          `json:"location"`
	Properties groupProperties `json:"properties"`
}

type groupProperties struct {
	ProvisioningState string `json:"provisioningState"`
}

func (s *session) groupBody(g resource.Group) groupBody {
	return groupBody{ID: s.spell(g.Scope), Name: g.Name, Type: "Microsoft.Resources/resourceGroups", Location: g.Location, Properties: groupProperties{"Succeeded"}}
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
	if _, given := r.query["$filter"]; given {
		return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidFilterInQueryString", "Resource groups have no tags here, and cannot be filtered.")
	}
	var rows []row
	for rec := range s.est.Records() {
		if g, ok := rec.(resource.Group); ok && r.at.Contains(g.Scope) && s.may(groupType+"/read", g.Scope) {
			rows = append(rows, row{g.Scope.Name(), s.groupBody(g)})
		}
	}
	return s.page(r, rows)
}

func getGroup(s *session, r *request) (answer, error) {
	if err := s.needAt(groupType+"/read", r.at); err != nil {
		return answer{}, err
	}
	g, ok := s.est.ResourceGroup(r.at)
	if !ok {
		return answer{}, noGroup(r.at.Name())
	}
	return answer{status: http.StatusOK, body: s.groupBody(g)}, nil
}

func headGroup(s *session, r *request) (answer, error) {
	_, err := getGroup(s, r)
	return answer{status: http.StatusNoContent}, err
}

// groupName is what Azure lets a resource group be called.
var groupName = regexp.MustCompile(`^[-\w._()]{0,89}[-\w_()]$`)

var location = regexp.MustCompile(`^[a-z][a-z0-9]{1,49}$`)

func putGroup(s *session, r *request) (answer, error) {
	name := r.text[strings.LastIndexByte(r.text, '/')+1:]
	old, exists := s.est.ResourceGroup(r.at)
	next := resource.Group{Scope: r.at, Name: name}
	var before record.Record
	if exists {
		next, before = old, old
	}
	if err := s.need(serve.ToPut(s.est, before, next)...); err != nil {
		return answer{}, err
	}
	if !groupName.MatchString(name) {
		return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidResourceGroup", fmt.Sprintf("The provided resource group name '%s' has characters that are not allowed.", serve.Printable(name, 90)))
	}
	if err := r.precondition(exists); err != nil {
		return answer{}, err
	}
	var in struct {
		Location  string         `json:"location"`
		Tags      jsontext.Value `json:"tags"`
		ManagedBy string         `json:"managedBy"`
	}
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	if tags := strings.Join(strings.Fields(string(in.Tags)), ""); tags != "" && tags != "null" && tags != "{}" || in.ManagedBy != "" {
		return answer{}, serve.Refuse(http.StatusBadRequest, "NotSupported", "Resource groups have no tags and no manager here. Leave tags and managedBy out.")
	}
	next.Location = strings.ToLower(strings.ReplaceAll(in.Location, " ", ""))
	switch {
	case in.Location == "":
		return answer{}, serve.Refuse(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	case !location.MatchString(next.Location):
		return answer{}, serve.Refuse(http.StatusBadRequest, "LocationNotAvailableForResourceGroup", fmt.Sprintf("The provided location '%s' is not available for resource group.", serve.Printable(in.Location, 50)))
	case exists && old.Location != "" && old.Location != next.Location:
		return answer{}, serve.Refuse(http.StatusConflict, "InvalidResourceGroupLocation", fmt.Sprintf(
			"Invalid resource group location '%s'. The Resource group already exists in location '%s'.", next.Location, old.Location))
	}
	out := answer{status: http.StatusCreated, body: s.groupBody(next)}
	if exists {
		out.status = http.StatusOK
	} else {
		body := s.groupBody(next)
		body.ID = r.at.String()[:strings.Index(r.at.String(), "/resourcegroups/")] + "/resourceGroups/" + name
		out.body = body
	}
	if !exists || !reflect.DeepEqual(next, old) {
		out.ops = []estate.Op{{Put: next}}
	}
	return out, nil
}

// deleteGroup deletes a group with all that is in it, at once. As in Azure, that
// takes the right to delete the group and each resource, and not also the right to
// delete what was granted in it, which goes for nothing; only a deny assignment is
// not to be got rid of like that.
func deleteGroup(s *session, r *request) (answer, error) {
	if err := s.needAt(groupType+"/delete", r.at); err != nil {
		return answer{}, err
	}
	g, ok := s.est.ResourceGroup(r.at)
	if !ok {
		return answer{}, noGroup(r.at.Name())
	}
	if err := r.precondition(true); err != nil {
		return answer{}, err
	}
	keys := []record.Key{g.Key()}
	for p := range s.est.Principals() {
		if p.Kind != principal.ManagedIdentity {
			continue
		}
		if mi, ok := s.est.ManagedIdentity(p.ID); ok && r.at.Contains(mi.Resource) {
			keys = append(keys, mi.Key())
			for _, f := range s.est.FederatedCredentials(mi.ClientID) {
				keys = append(keys, f.Key())
			}
		}
	}
	done := make(map[record.Key]bool)
	out := answer{status: http.StatusOK}
	for _, key := range keys {
		ops, _, err := serve.Deletion(s.est, key, true)
		if err != nil {
			return answer{}, err
		}
		for _, op := range ops {
			if done[op.Delete] {
				continue
			}
			done[op.Delete] = true
			out.ops = append(out.ops, op)
			if err := s.mayLose(op.Delete); err != nil {
				return answer{}, err
			}
		}
	}
	sorted(out.ops)
	return out, nil
}

func (s *session) mayLose(key record.Key) error {
	switch key.Kind {
	case record.Cluster, record.ManagedIdentity, record.DenyAssignment:
		rec, ok := s.est.Get(key)
		if !ok {
			return nil
		}
		return s.need(serve.ToDelete(s.est, rec)...)
	}
	return nil
}

// precondition checks If-Match and If-None-Match. Nothing here has an entity tag,
// so that no tag matches, and a star matches what exists (RFC 9110, section 13.1).
func (r *request) precondition(exists bool) error {
	match, none := r.header.Get("If-Match"), r.header.Get("If-None-Match")
	if (match == "" || match == "*" && exists) && (none != "*" || !exists) {
		return nil
	}
	return serve.Refuse(http.StatusPreconditionFailed, "PreconditionFailed", "The resource does not match the condition of the request.")
}
