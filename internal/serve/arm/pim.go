package arm

import (
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// The types of privileged identity management, as operations write them. Azure
// answers with a capital letter behind the slash.
const (
	eligibilityRequestType  = authorization + "/roleEligibilityScheduleRequests"
	eligibilityScheduleType = authorization + "/roleEligibilitySchedules"
	eligibilityInstanceType = authorization + "/roleEligibilityScheduleInstances"
	assignmentRequestType   = authorization + "/roleAssignmentScheduleRequests"
	assignmentScheduleType  = authorization + "/roleAssignmentSchedules"
	assignmentInstanceType  = authorization + "/roleAssignmentScheduleInstances"
	policyType              = authorization + "/roleManagementPolicies"
	policyAssignmentType    = authorization + "/roleManagementPolicyAssignments"
)

// The kinds. What is asked of a request behind its name has a kind of its own.
const (
	eligibilityRequests       kind = "roleEligibilityScheduleRequests"
	eligibilityRequest        kind = "roleEligibilityScheduleRequest"
	eligibilityRequestCancel  kind = "roleEligibilityScheduleRequestCancel"
	eligibilityRequestTry     kind = "roleEligibilityScheduleRequestValidate"
	eligibilitySchedules      kind = "roleEligibilitySchedules"
	eligibilitySchedule       kind = "roleEligibilitySchedule"
	eligibilityInstances      kind = "roleEligibilityScheduleInstances"
	eligibilityInstance       kind = "roleEligibilityScheduleInstance"
	assignmentRequests        kind = "roleAssignmentScheduleRequests"
	assignmentRequest         kind = "roleAssignmentScheduleRequest"
	assignmentRequestCancel   kind = "roleAssignmentScheduleRequestCancel"
	assignmentRequestTry      kind = "roleAssignmentScheduleRequestValidate"
	assignmentSchedules       kind = "roleAssignmentSchedules"
	assignmentSchedule        kind = "roleAssignmentSchedule"
	assignmentInstances       kind = "roleAssignmentScheduleInstances"
	assignmentInstance        kind = "roleAssignmentScheduleInstance"
	managementPolicies        kind = "roleManagementPolicies"
	managementPolicy          kind = "roleManagementPolicy"
	managementPolicyAssigned  kind = "roleManagementPolicyAssignments"
	managementPolicyAssigned1 kind = "roleManagementPolicyAssignment"
	elevateAccess             kind = "elevateAccess"
)

// pimExtensions are the paths of privileged identity management that may follow any
// scope.
var pimExtensions = map[string]kind{
	"|microsoft.authorization/roleeligibilityschedulerequests":            eligibilityRequests,
	"|microsoft.authorization/roleeligibilityschedulerequests/*":          eligibilityRequest,
	"|microsoft.authorization/roleeligibilityschedulerequests/*/cancel":   eligibilityRequestCancel,
	"|microsoft.authorization/roleeligibilityschedulerequests/*/validate": eligibilityRequestTry,
	"|microsoft.authorization/roleeligibilityschedules":                   eligibilitySchedules,
	"|microsoft.authorization/roleeligibilityschedules/*":                 eligibilitySchedule,
	"|microsoft.authorization/roleeligibilityscheduleinstances":           eligibilityInstances,
	"|microsoft.authorization/roleeligibilityscheduleinstances/*":         eligibilityInstance,
	"|microsoft.authorization/roleassignmentschedulerequests":             assignmentRequests,
	"|microsoft.authorization/roleassignmentschedulerequests/*":           assignmentRequest,
	"|microsoft.authorization/roleassignmentschedulerequests/*/cancel":    assignmentRequestCancel,
	"|microsoft.authorization/roleassignmentschedulerequests/*/validate":  assignmentRequestTry,
	"|microsoft.authorization/roleassignmentschedules":                    assignmentSchedules,
	"|microsoft.authorization/roleassignmentschedules/*":                  assignmentSchedule,
	"|microsoft.authorization/roleassignmentscheduleinstances":            assignmentInstances,
	"|microsoft.authorization/roleassignmentscheduleinstances/*":          assignmentInstance,
	"|microsoft.authorization/rolemanagementpolicies":                     managementPolicies,
	"|microsoft.authorization/rolemanagementpolicies/*":                   managementPolicy,
	"|microsoft.authorization/rolemanagementpolicyassignments":            managementPolicyAssigned,
	"|microsoft.authorization/rolemanagementpolicyassignments/*":          managementPolicyAssigned1,
}

var pimShapes = map[string]kind{"|providers/microsoft.authorization/elevateaccess": elevateAccess}

var pimHandlers = map[kind]map[string]handler{
	eligibilityRequests:       {"GET": listRequests},
	eligibilityRequest:        {"GET": getRequest, "PUT": putRequest},
	eligibilityRequestCancel:  {"POST": cancelRequest},
	eligibilityRequestTry:     {"POST": validateRequest},
	eligibilitySchedules:      {"GET": listEligibilities},
	eligibilitySchedule:       {"GET": getEligibility},
	eligibilityInstances:      {"GET": listEligibilities},
	eligibilityInstance:       {"GET": getEligibility},
	assignmentRequests:        {"GET": listRequests},
	assignmentRequest:         {"GET": getRequest, "PUT": putRequest},
	assignmentRequestCancel:   {"POST": cancelRequest},
	assignmentRequestTry:      {"POST": validateRequest},
	assignmentSchedules:       {"GET": listAssignmentSchedules},
	assignmentSchedule:        {"GET": getAssignmentSchedule},
	assignmentInstances:       {"GET": listAssignmentSchedules},
	assignmentInstance:        {"GET": getAssignmentSchedule},
	managementPolicies:        {"GET": listPolicies},
	managementPolicy:          {"GET": getPolicy, "PATCH": patchPolicy},
	managementPolicyAssigned:  {"GET": listPolicyAssignments},
	managementPolicyAssigned1: {"GET": getPolicyAssignment},
	elevateAccess:             {"POST": elevate},
}

// answeredType is how an answer writes a type.
func answeredType(typ string) string {
	_, name, _ := strings.Cut(typ, "/")
	return authorization + "/" + strings.ToUpper(name[:1]) + name[1:]
}

// pimID is the id of something of privileged identity management.
func (s *session) pimID(at scope.Scope, typ, name string) string {
	_, word, _ := strings.Cut(answeredType(typ), "/")
	return s.extensionID(at, word, name)
}

type expandedProperties struct {
	Scope          namedBody      `json:"scope"`
	RoleDefinition namedBody      `json:"roleDefinition"`
	Principal      *principalNote `json:"principal,omitzero"`
}

type namedBody struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Type        string `json:"type"`
}

type principalNote struct {
	ID          string  `json:"id"`
	DisplayName string  `json:"displayName"`
	Email       *string `json:"email"`
	Type        string  `json:"type"`
}

func (s *session) expand(at scope.Scope, role azurerbac.DefinitionID, who principal.ID) expandedProperties {
	out := expandedProperties{Scope: s.placeNote(at), RoleDefinition: namedBody{ID: definitionID(at, role), Type: "Unknown"}}
	if r, ok := s.est.Definition(role); ok {
		body := s.definitionBody(at, r.Definition)
		out.RoleDefinition.DisplayName, out.RoleDefinition.Type = body.Properties.RoleName, body.Properties.Type
	}
	out.Principal = &principalNote{ID: who.String(), Type: s.principalType(who)}
	if p, ok := s.est.Principal(who); ok && p.Tenant == s.tenant {
		out.Principal.DisplayName = p.Name
		if u, ok := s.est.User(who); ok {
			out.Principal.Email = orNull(u.UserPrincipalName)
			if u.DisplayName != "" {
				out.Principal.DisplayName = u.DisplayName
			}
		}
	}
	return out
}

func (s *session) principalType(who principal.ID) string {
	if p, ok := s.est.Principal(who); ok {
		return p.Kind.AzureType()
	}
	return "Unknown"
}

// placeNote names a place as Azure does for people.
func (s *session) placeNote(at scope.Scope) namedBody {
	out := namedBody{ID: s.spell(at), DisplayName: at.Name(), Type: at.Type()}
	if name := s.nameAt(at); name != "" {
		out.DisplayName = name
	}
	switch out.Type {
	case "subscriptions":
		out.Type = "subscription"
		if sub, ok := s.est.Subscription(at); ok && sub.DisplayName != "" {
			out.DisplayName = sub.DisplayName
		}
	case "subscriptions/resourcegroups", "resourcegroups":
		out.Type = "resourcegroup"
	case "microsoft.management/managementgroups":
		out.Type = "managementgroup"
	}
	return out
}

func instant(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return orNull(t.UTC().Format(time.RFC3339Nano))
}

// policyFailed is what Azure says about requests that a policy does not let pass.
func policyFailed(rules []string) error {
	return serve.Refuse(http.StatusBadRequest, "RoleAssignmentRequestPolicyValidationFailed",
		fmt.Sprintf(`The following policy rules failed: ["%s"]`, strings.Join(rules, `","`)))
}

// A source gives out the things of one kind that an estate has, by its indexes.
type source[T any] struct {
	below func(scope.Scope) iter.Seq2[scope.Scope, []T]
	at    func(scope.Scope) []T
	of    func(principal.ID) []T
	place func(T) scope.Scope
}

// candidates yields what a list may have to show, place by place, by the index that
// names the fewest.
func candidates[T any](s *session, from source[T], at scope.Scope, only map[principal.ID]bool, limited, notBelow bool) iter.Seq2[scope.Scope, []T] {
	if !limited && !notBelow {
		return from.below(scope.Root)
	}
	return func(yield func(scope.Scope, []T) bool) {
		if !limited {
			for place := range s.est.Ancestors(at) {
				if !yield(place, from.at(place)) {
					return
				}
			}
			return
		}
		for id := range only {
			for _, v := range from.of(id) {
				if !yield(from.place(v), []T{v}) {
					return
				}
			}
		}
	}
}

// shows reports whether a list at a place shows what is at another: above it, or
// below it if that is asked for and may be read there.
func (s *session) shows(place, at scope.Scope, notBelow bool, mayRead func(scope.Scope) bool) bool {
	if !shared(place) && !s.ours(place) {
		return false
	}
	return s.above(place, at) || !notBelow && s.above(at, place) && mayRead(place)
}

// A selection is what a list of privileged identity management shows.
type selection struct {
	only     map[principal.ID]bool // whose; nil for everybody's
	asked    principal.ID          // who was asked about together with his groups
	notBelow bool
	role     azurerbac.DefinitionID // zero for every one
	own      bool                   // what the caller is the target, the requestor or the approver of
	by       string                 // of these, which: asTarget, asRequestor, asApprover
	read     string
}

// selection reads the filter of a list. What is the caller's own is his to see;
// everything else takes the right to read it.
func (s *session) selection(r *request, read string, more ...term) (sel selection, err error) {
	text := strings.TrimSpace(r.query.Get("$filter"))
	if inner, ok := strings.CutPrefix(text, "("); ok { // as some clients write it
		text, _ = strings.CutSuffix(inner, ")")
	}
	f, err := parseFilter(text, append(more, term{name: "atScope", bare: true}, term{name: "principalId", eq: true}, term{name: "assignedTo"},
		term{name: "asTarget", bare: true}, term{name: "roleDefinitionId", eq: true})...)
	if err != nil {
		return sel, err
	}
	sel.read = read
	_, sel.notBelow = f.get("atScope")
	for _, t := range f {
		switch t.name {
		case "asTarget", "asRequestor", "asApprover":
			if sel.own {
				return sel, badFilter(text, []term{t})
			}
			sel.own, sel.by = true, t.name
		case "roleDefinitionId":
			var ok bool
			if sel.role, ok = parseDefinitionID(t.value); !ok && sel.role.UnmarshalText([]byte(t.value)) != nil {
				return sel, badFilter(text, []term{t})
			}
		case "assignedTo":
			sel.asked, _ = principal.ParseID(t.value)
		}
	}
	only, limited, err := f.principals(s)
	if err != nil {
		return sel, err
	}
	if limited {
		sel.only = only
	}
	if !sel.own {
		return sel, s.needAt(read, r.at)
	}
	if sel.by == "asTarget" {
		sel.asked = s.caller.ID
		mine := map[principal.ID]bool{s.caller.ID: true}
		for _, g := range s.est.GroupsOf(s.caller.ID) {
			mine[g] = true
		}
		for id := range sel.only {
			if !mine[id] {
				delete(sel.only, id)
			}
		}
		if sel.only == nil {
			sel.only = mine
		}
	}
	return sel, s.reach(r.at)
}

func (sel selection) mayRead(s *session) func(scope.Scope) bool {
	if sel.own {
		return func(scope.Scope) bool { return true }
	}
	return func(at scope.Scope) bool { return s.may(sel.read, at) }
}

// ofTenant reports whether what a principal has at a place is of the caller's tenant.
func (s *session) ofTenant(place scope.Scope, who, by principal.ID) bool {
	if !shared(place) {
		return s.ours(place)
	}
	p, ok := s.est.Principal(who)
	if !ok {
		p, ok = s.est.Principal(by)
	}
	return ok && p.Tenant == s.tenant
}

// isMine reports whether a principal is the caller or a group that he is in.
func (s *session) isMine(who principal.ID) bool {
	return who == s.caller.ID || s.est.IsMember(s.caller.ID, who)
}
