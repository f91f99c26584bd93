package arm

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

type policyBody struct {
	ID         string           `json:"id"`
	Name       string           `json:"name"`
	Type       string           `json:"type"`
	Properties policyProperties `json:"properties"`
}

type policyProperties struct {
	Scope                 string           `json:"scope"`
	IsOrganizationDefault bool             `json:"isOrganizationDefault"`
	LastModifiedBy        *modifiedBy      `json:"lastModifiedBy"`
	LastModifiedDateTime  *string          `json:"lastModifiedDateTime"`
	Rules                 []jsontext.Value `json:"rules"`
	EffectiveRules        []jsontext.Value `json:"effectiveRules"`
	PolicyProperties      struct {
		Scope namedBody `json:"scope"`
	} `json:"policyProperties"`
}

type modifiedBy struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Type        string `json:"type"`
}

type policyAssignmentBody struct {
	ID         string                     `json:"id"`
	Name       string                     `json:"name"`
	Type       string                     `json:"type"`
	Properties policyAssignmentProperties `json:"properties"`
}

type policyAssignmentProperties struct {
	Scope            string           `json:"scope"`
	RoleDefinitionID string           `json:"roleDefinitionId"`
	PolicyID         string           `json:"policyId"`
	EffectiveRules   []jsontext.Value `json:"effectiveRules"`
	About            struct {
		Scope          namedBody `json:"scope"`
		RoleDefinition namedBody `json:"roleDefinition"`
		Policy         struct {
			ID                   string      `json:"id"`
			LastModifiedBy       *modifiedBy `json:"lastModifiedBy"`
			LastModifiedDateTime *string     `json:"lastModifiedDateTime"`
		} `json:"policy"`
	} `json:"policyAssignmentProperties"`
}

func (s *session) modified(p azurerbac.Policy) (*modifiedBy, *string) {
	if p.UpdatedBy.IsZero() {
		return nil, nil
	}
	who := s.expand(p.Scope, p.Role, p.UpdatedBy).Principal
	return &modifiedBy{who.ID, who.DisplayName, who.Type}, instant(p.UpdatedOn)
}

func (s *session) policyBody(p azurerbac.Policy) policyBody {
	name := azurerbac.PolicyIDOf(p.Scope, p.Role).String()
	rules := ruleBodies(p)
	out := policyBody{ID: s.pimID(p.Scope, policyType, name), Name: name, Type: answeredType(policyType), Properties: policyProperties{
		Scope: s.spell(p.Scope), IsOrganizationDefault: len(p.Rules) == 0, Rules: rules, EffectiveRules: rules,
	}}
	out.Properties.LastModifiedBy, out.Properties.LastModifiedDateTime = s.modified(p)
	out.Properties.PolicyProperties.Scope = s.placeNote(p.Scope)
	return out
}

// assignedName is the name under which a policy is assigned to its role.
func assignedName(p azurerbac.Policy) string {
	return azurerbac.PolicyIDOf(p.Scope, p.Role).String() + "_" + p.Role.String()
}

func (s *session) policyAssignmentBody(p azurerbac.Policy) policyAssignmentBody {
	name := assignedName(p)
	out := policyAssignmentBody{ID: s.pimID(p.Scope, policyAssignmentType, name), Name: name, Type: answeredType(policyAssignmentType)}
	in := &out.Properties
	in.Scope, in.RoleDefinitionID, in.PolicyID = s.spell(p.Scope), definitionID(p.Scope, p.Role), s.policyBody(p).ID
	in.EffectiveRules = ruleBodies(p)
	note := s.expand(p.Scope, p.Role, principal.ID{})
	in.About.Scope, in.About.RoleDefinition, in.About.Policy.ID = note.Scope, note.RoleDefinition, in.PolicyID
	in.About.Policy.LastModifiedBy, in.About.Policy.LastModifiedDateTime = s.modified(p)
	return out
}

type ruleTarget struct {
	Caller        string   `json:"caller"`
	Operations    []string `json:"operations"`
	Level         string   `json:"level"`
	TargetObjects []string `json:"targetObjects"`
	Inheritable   []string `json:"inheritableSettings"`
	Enforced      []string `json:"enforcedSettings"`
}

// A ruleBody is what all rules have, in an answer and in a change.
type ruleBody struct {
	ID       string     `json:"id"`
	RuleType string     `json:"ruleType"`
	Target   ruleTarget `json:"target"`
}

type expirationBody struct {
	ruleBody
	IsExpirationRequired bool                `json:"isExpirationRequired"`
	MaximumDuration      *azurerbac.Duration `json:"maximumDuration"`
}

type enablementBody struct {
	ruleBody
	EnabledRules []string `json:"enabledRules"`
}

type approvalBody struct {
	ruleBody
	Setting approvalSetting `json:"setting"`
}

type approvalSetting struct {
	IsApprovalRequired               bool            `json:"isApprovalRequired"`
	IsApprovalRequiredForExtension   bool            `json:"isApprovalRequiredForExtension"`
	IsRequestorJustificationRequired bool            `json:"isRequestorJustificationRequired"`
	ApprovalMode                     string          `json:"approvalMode"`
	ApprovalStages                   []approvalStage `json:"approvalStages"`
}

type approvalStage struct {
	TimeOutInDays         int            `json:"approvalStageTimeOutInDays"`
	ApproverJustification bool           `json:"isApproverJustificationRequired"`
	EscalationTime        int            `json:"escalationTimeInMinutes"`
	PrimaryApprovers      []approverBody `json:"primaryApprovers"`
	IsEscalationEnabled   bool           `json:"isEscalationEnabled"`
	EscalationApprovers   []approverBody `json:"escalationApprovers"`
}

type approverBody struct {
	ID          string `json:"id"`
	Description string `json:"description"`
	IsBackup    bool   `json:"isBackup"`
	UserType    string `json:"userType"`
}

type contextBody struct {
	ruleBody
	IsEnabled  bool   `json:"isEnabled"`
	ClaimValue string `json:"claimValue"`
}

type notificationBody struct {
	ruleBody
	NotificationType           string   `json:"notificationType"`
	RecipientType              string   `json:"recipientType"`
	IsDefaultRecipientsEnabled bool     `json:"isDefaultRecipientsEnabled"`
	NotificationLevel          string   `json:"notificationLevel"`
	NotificationRecipients     []string `json:"notificationRecipients"`
}

func ruleBodies(p azurerbac.Policy) []jsontext.Value {
	var out []jsontext.Value
	for _, r := range p.Effective() {
		if text, err := record.Marshal(bodyOfRule(r)); err == nil {
			out = append(out, text)
		}
	}
	return out
}

func bodyOfRule(r azurerbac.Rule) any {
	caller, level, _ := strings.Cut(string(r.On()), "_")
	head := ruleBody{r.ID, "RoleManagementPolicy" + r.Sort() + "Rule", ruleTarget{Caller: caller, Operations: []string{"All"}, Level: level}}
	switch r.Sort() {
	case azurerbac.SortExpiration:
		out := expirationBody{ruleBody: head, IsExpirationRequired: r.ExpirationRequired}
		if r.Maximum > 0 {
			out.MaximumDuration = &r.Maximum
		}
		return out
	case azurerbac.SortEnablement:
		return enablementBody{head, append([]string{}, r.Demands...)}
	case azurerbac.SortContext:
		return contextBody{head, r.Claim != "", r.Claim}
	case azurerbac.SortNotification:
		return notificationBody{head, "Email", r.Recipient(), !r.OnlyRecipients, r.Level, append([]string{}, r.Recipients...)}
	case azurerbac.SortApproval:
		stage := approvalStage{TimeOutInDays: 1, ApproverJustification: r.Approval.ApproverJustification, PrimaryApprovers: []approverBody{}, EscalationApprovers: []approverBody{}}
		for _, a := range r.Approval.Approvers {
			stage.PrimaryApprovers = append(stage.PrimaryApprovers, approverBody{a.ID.String(), a.Description, a.Backup, string(a.Kind)})
		}
		return approvalBody{head, approvalSetting{r.Approval.Required, r.Approval.ForExtension, true, "SingleStage", []approvalStage{stage}}}
	}
	return head
}

// readRule reads one rule of a change. What this house would not obey is refused.
func readRule(text jsontext.Value) (azurerbac.Rule, error) {
	var head ruleBody
	if err := json.Unmarshal(text, &head); err != nil {
		return azurerbac.Rule{}, badContent(err)
	}
	r := azurerbac.Rule{ID: head.ID}
	if want := "RoleManagementPolicy" + r.Sort() + "Rule"; head.RuleType != want {
		return r, badRule("The rule '%s' is of the type '%s', not of '%s'.", serve.Printable(r.ID, 80), want, serve.Printable(head.RuleType, 80))
	}
	var err error
	switch r.Sort() {
	case azurerbac.SortExpiration:
		var in struct {
			Required bool    `json:"isExpirationRequired"`
			Maximum  *string `json:"maximumDuration"`
		}
		if err = json.Unmarshal(text, &in); err == nil && in.Maximum != nil {
			if r.Maximum, err = azurerbac.ParseDuration(*in.Maximum); err != nil {
				return r, badRule("The rule '%s': %v.", r.ID, err)
			}
		}
		r.ExpirationRequired = in.Required
	case azurerbac.SortEnablement:
		var in enablementBody
		if err = json.Unmarshal(text, &in); len(in.EnabledRules) > 0 {
			r.Demands = in.EnabledRules
		}
	case azurerbac.SortContext:
		var in contextBody
		if err = json.Unmarshal(text, &in); in.IsEnabled {
			if r.Claim = in.ClaimValue; r.Claim == "" {
				return r, badRule("The rule '%s' is enabled and names no claim.", r.ID)
			}
		}
	case azurerbac.SortNotification:
		var in notificationBody
		err = json.Unmarshal(text, &in)
		r.Level, r.OnlyRecipients = cmp.Or(in.NotificationLevel, "All"), !in.IsDefaultRecipientsEnabled
		if len(in.NotificationRecipients) > 0 {
			r.Recipients = in.NotificationRecipients
		}
	case azurerbac.SortApproval:
		return readApproval(r, text)
	}
	if err != nil {
		return r, badContent(err)
	}
	return r, nil
}

func readApproval(r azurerbac.Rule, text jsontext.Value) (azurerbac.Rule, error) {
	var in approvalBody
	if err := json.Unmarshal(text, &in); err != nil {
		return r, badContent(err)
	}
	set := in.Setting
	r.Approval = &azurerbac.Approval{Required: set.IsApprovalRequired, ForExtension: set.IsApprovalRequiredForExtension}
	switch {
	case len(set.ApprovalStages) > 1:
		return r, badRule("The rule '%s' has %d stages of approval. There is one.", r.ID, len(set.ApprovalStages))
	case len(set.ApprovalStages) == 0:
		return r, nil
	}
	stage := set.ApprovalStages[0]
	if stage.IsEscalationEnabled || len(stage.EscalationApprovers) > 0 {
		return r, badRule("The rule '%s' escalates approvals, which is not supported.", r.ID)
	}
	r.Approval.ApproverJustification = stage.ApproverJustification
	for _, a := range stage.PrimaryApprovers {
		id, err := principal.ParseID(a.ID)
		if err != nil {
			return r, badRule("The rule '%s': the approver '%s' is no object id.", r.ID, serve.Printable(a.ID, 80))
		}
		r.Approval.Approvers = append(r.Approval.Approvers, azurerbac.Approver{ID: id, Kind: principal.Kind(a.UserType), Description: a.Description, Backup: a.IsBackup})
	}
	return r, nil
}

func badRule(format string, args ...any) error {
	return serve.Refuse(http.StatusBadRequest, "InvalidPolicyRule", fmt.Sprintf(format, args...))
}

// policiesAt yields the policies of all roles that can be assigned at a place.
func (s *session) policiesAt(at scope.Scope, yield func(azurerbac.Policy) bool) {
	for role := range s.est.Definitions() {
		if s.assignable(role, at, false) {
			if p, _ := s.est.Policy(at, role.ID); !yield(p) {
				return
			}
		}
	}
}

func (s *session) listPoliciesAs(r *request, read string, body func(azurerbac.Policy) row) (answer, error) {
	sel, err := s.selection(r, read)
	if err != nil {
		return answer{}, err
	}
	var rows []row
	s.policiesAt(r.at, func(p azurerbac.Policy) bool {
		if sel.hasRole(p.Role) {
			rows = append(rows, body(p))
		}
		return true
	})
	return s.page(r, rows)
}

func listPolicies(s *session, r *request) (answer, error) {
	return s.listPoliciesAs(r, policyType+"/read", func(p azurerbac.Policy) row {
		return row{policyName(p), func() any { return s.policyBody(p) }}
	})
}

func listPolicyAssignments(s *session, r *request) (answer, error) {
	return s.listPoliciesAs(r, policyAssignmentType+"/read", func(p azurerbac.Policy) row {
		return row{assignedName(p), func() any { return s.policyAssignmentBody(p) }}
	})
}

// policyNamed returns the policy that a request names, at just that place.
func (s *session) policyNamed(r *request, name func(azurerbac.Policy) string, code string) (found azurerbac.Policy, err error) {
	err = serve.Refuse(http.StatusNotFound, code, fmt.Sprintf("The role management policy '%s' is not found.", serve.Printable(r.name, 80)))
	if there := s.exists(r.at); there != nil {
		return found, there
	}
	s.policiesAt(r.at, func(p azurerbac.Policy) bool {
		if strings.EqualFold(name(p), r.name) {
			found, err = p, nil
		}
		return err != nil
	})
	return found, err
}

func policyName(p azurerbac.Policy) string { return azurerbac.PolicyIDOf(p.Scope, p.Role).String() }

func getPolicy(s *session, r *request) (answer, error) {
	if err := s.needAt(policyType+"/read", r.at); err != nil {
		return answer{}, err
	}
	p, err := s.policyNamed(r, policyName, "RoleManagementPolicyNotFound")
	if err != nil {
		return answer{}, err
	}
	return ok(p, s.policyBody(p)), nil
}

func getPolicyAssignment(s *session, r *request) (answer, error) {
	if err := s.needAt(policyAssignmentType+"/read", r.at); err != nil {
		return answer{}, err
	}
	p, err := s.policyNamed(r, assignedName, "RoleManagementPolicyAssignmentNotFound")
	if err != nil {
		return answer{}, err
	}
	return ok(p, s.policyAssignmentBody(p)), nil
}

// patchPolicy puts rules in the place of those that a policy has.
func patchPolicy(s *session, r *request) (answer, error) {
	if err := s.needAt(policyType+"/write", r.at); err != nil {
		return answer{}, err
	}
	old, err := s.policyNamed(r, policyName, "RoleManagementPolicyNotFound")
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Properties struct {
			Rules []jsontext.Value `json:"rules"`
		} `json:"properties"`
	}
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	written := azurerbac.Policy{Scope: old.Scope, Role: old.Role}
	for _, text := range in.Properties.Rules {
		rule, err := readRule(text)
		if err != nil {
			return answer{}, err
		}
		written.Rules = append(written.Rules, rule)
	}
	if err := written.Validate(); err != nil {
		return answer{}, badRule("%v.", err)
	}
	next := old.With(written.Rules...)
	next.UpdatedBy, next.UpdatedOn = s.caller.ID, s.now.UTC().Round(0)
	return answer{status: http.StatusOK, body: s.policyBody(next), ops: []estate.Op{{Put: next}}, of: next.Key(), why: "change a role management policy"}, nil
}
