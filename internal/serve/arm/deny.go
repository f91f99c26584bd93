package arm

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const denyType = authorization + "/denyAssignments"

type denyBody struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Name       string         `json:"name"`
	Properties denyProperties `json:"properties"`
}

type denyProperties struct {
	DenyAssignmentName      string           `json:"denyAssignmentName"`
	Description             string           `json:"description"`
	Permissions             []permissionBody `json:"permissions"`
	Scope                   string           `json:"scope"`
	DoNotApplyToChildScopes bool             `json:"doNotApplyToChildScopes"`
	Principals              []principalBody  `json:"principals"`
	ExcludePrincipals       []principalBody  `json:"excludePrincipals"`
	IsSystemProtected       bool             `json:"isSystemProtected"`
}

type principalBody struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// everyone is how Azure writes all principals.
var everyone = principalBody{"00000000-0000-0000-0000-000000000000", "SystemDefined"}

func (s *session) principalBodies(ids []principal.ID) []principalBody {
	out := []principalBody{}
	for _, id := range ids {
		p, ok := s.est.Principal(id)
		if ok && p.Tenant != s.tenant {
			continue
		}
		typ := "Unknown"
		if ok {
			typ = p.Kind.AzureType()
		}
		out = append(out, principalBody{id.String(), typ})
	}
	return out
}

func (s *session) denyBody(d azurerbac.DenyAssignment) denyBody {
	who := s.principalBodies(d.Principals)
	if d.Everyone {
		who = append([]principalBody{everyone}, who...)
	}
	return denyBody{
		ID: s.extensionID(d.Scope, "denyAssignments", d.ID.String()), Type: denyType, Name: d.ID.String(),
		Properties: denyProperties{
			DenyAssignmentName: d.Name, Description: d.Description, Permissions: permissionBodies(d.Permissions), Scope: s.spell(d.Scope),
			DoNotApplyToChildScopes: d.DoNotApplyToChildren, Principals: who, ExcludePrincipals: s.principalBodies(d.ExcludePrincipals),
			IsSystemProtected: d.SystemProtected,
		},
	}
}

func listDenies(s *session, r *request) (answer, error) {
	if err := s.needAt(denyType+"/read", r.at); err != nil {
		return answer{}, err
	}
	f, err := parseFilter(r.query.Get("$filter"), term{name: "atScope", bare: true}, term{name: "principalId", eq: true}, term{name: "denyAssignmentName", eq: true}, term{name: "gdprExportPrincipalId", eq: true})
	if err != nil {
		return answer{}, err
	}
	_, notBelow := f.get("atScope")
	name, byName := f.get("denyAssignmentName")
	only, limited, err := f.principals(s)
	if err != nil {
		return answer{}, err
	}
	var rows []row
	for d := range s.est.DenyAssignments() {
		body := s.denyBody(d.DenyAssignment)
		switch above := s.above(d.Scope, r.at); {
		case !s.ours(d.Scope), byName && !strings.EqualFold(name, d.Name):
		case limited && !names(d.DenyAssignment, only):
		case len(body.Properties.Principals) == 0: // of another tenant, at the root
		case above || !notBelow && s.above(r.at, d.Scope) && s.may(denyType+"/read", d.Scope):
			rows = append(rows, row{d.ID.String(), body})
		}
	}
	return s.page(r, rows)
}

func names(d azurerbac.DenyAssignment, only map[principal.ID]bool) bool {
	for _, id := range d.Principals {
		if only[id] {
			return true
		}
	}
	return false
}

func getDeny(s *session, r *request) (answer, error) {
	if err := s.needAt(denyType+"/read", r.at); err != nil {
		return answer{}, err
	}
	for d := range s.est.DenyAssignments() {
		if strings.EqualFold(d.ID.String(), r.name) && d.Scope == r.at {
			if body := s.denyBody(d.DenyAssignment); len(body.Properties.Principals) > 0 {
				return answer{status: http.StatusOK, body: body}, nil
			}
		}
	}
	return answer{}, serve.Refuse(http.StatusNotFound, "DenyAssignmentNotFound", fmt.Sprintf("The deny assignment '%s' is not found.", serve.Printable(r.name, 80)))
}
