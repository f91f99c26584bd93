package azurerbac

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

type policy struct{}

// PolicyID is the name of a management policy; it follows from scope and role.
type PolicyID = guid.Of[policy]

// A Policy says what it takes to make somebody eligible for a role at a scope, to
// assign it to him, and to activate it. It is for that scope alone: nothing is
// inherited. Each rule that it does not have is as Azure makes it.
type Policy struct {
	Scope     scope.Scope  `json:"scope"`
	Role      DefinitionID `json:"role"`
	Rules     []Rule       `json:"rules"`
	UpdatedBy principal.ID `json:"updatedBy,omitzero"`
	UpdatedOn time.Time    `json:"updatedOn,omitzero"`
}

// An Occasion is when a rule of a policy is asked, as the end of its id says it.
type Occasion string

// The occasions.
const (
	OnEligibility Occasion = "Admin_Eligibility"  // somebody is made eligible
	OnAssignment  Occasion = "Admin_Assignment"   // somebody is assigned the role
	OnActivation  Occasion = "EndUser_Assignment" // somebody activates it
)

var occasions = []Occasion{OnEligibility, OnAssignment, OnActivation}

// What an enablement rule may demand, as Azure writes it.
const (
	NeedsMFA           = "MultiFactorAuthentication"
	NeedsJustification = "Justification"
	NeedsTicket        = "Ticketing"
)

// A Rule is one rule of a policy. The first word of its id says what sort it is, and
// which of the fields it has; the rest says who asks for what.
type Rule struct {
	ID string `json:"id"`
	// Expiration: whether there must be an end, and how far away it may be.
	ExpirationRequired bool     `json:"expirationRequired,omitzero"`
	Maximum            Duration `json:"maximum,omitzero"`
	// Enablement: what is demanded.
	Demands []string `json:"demands,omitzero"`
	// Approval: nil is none.
	Approval *Approval `json:"approval,omitzero"`
	// AuthenticationContext: the claim that a token must have; "" for none.
	Claim string `json:"claim,omitzero"`
	// Notification: who is told of what.
	Level      string   `json:"level,omitzero"` // None, Critical, All
	Recipients []string `json:"recipients,omitzero"`
	// OnlyRecipients leaves out those whom Azure would tell by itself.
	OnlyRecipients bool `json:"onlyRecipients,omitzero"`
}

// An Approval is the one stage of approval that there is.
type Approval struct {
	Required              bool       `json:"required,omitzero"`
	ForExtension          bool       `json:"forExtension,omitzero"`
	ApproverJustification bool       `json:"approverJustification,omitzero"`
	Approvers             []Approver `json:"approvers,omitzero"`
}

// An Approver is a user or a group.
type Approver struct {
	ID          principal.ID   `json:"id"`
	Kind        principal.Kind `json:"kind"`
	Description string         `json:"description,omitzero"`
	Backup      bool           `json:"backup,omitzero"`
}

// Sorts of rules: the first word of their ids.
const (
	SortExpiration   = "Expiration"
	SortEnablement   = "Enablement"
	SortApproval     = "Approval"
	SortContext      = "AuthenticationContext"
	SortNotification = "Notification"
)

// Sort is the first word of the rule's id.
func (r Rule) Sort() string {
	sort, _, _ := strings.Cut(r.ID, "_")
	return sort
}

// On is the occasion on which the rule is asked.
func (r Rule) On() Occasion {
	for _, o := range occasions {
		if strings.HasSuffix(r.ID, "_"+string(o)) {
			return o
		}
	}
	return ""
}

// Recipient is whom a notification rule is about: Admin, Requestor or Approver.
func (r Rule) Recipient() string {
	_, rest, _ := strings.Cut(r.ID, "_")
	who, _, _ := strings.Cut(rest, "_")
	return who
}

// DefaultRules are the rules of a role for which nobody made others. They are those
// that Azure gives a role of its resources, but that an activation demands no second
// factor: this house cannot prove one, and what demands it is refused.
func DefaultRules() []Rule {
	rules := []Rule{
		{ID: "Expiration_Admin_Eligibility", ExpirationRequired: true, Maximum: Duration(365 * day)},
		{ID: "Expiration_Admin_Assignment", ExpirationRequired: true, Maximum: Duration(180 * day)},
		{ID: "Expiration_EndUser_Assignment", ExpirationRequired: true, Maximum: Duration(8 * time.Hour)},
		{ID: "Enablement_Admin_Eligibility"},
		{ID: "Enablement_Admin_Assignment", Demands: []string{NeedsJustification}},
		{ID: "Enablement_EndUser_Assignment", Demands: []string{NeedsJustification}},
		{ID: "Approval_EndUser_Assignment", Approval: &Approval{ApproverJustification: true}},
		{ID: "AuthenticationContext_EndUser_Assignment"},
	}
	for _, occasion := range occasions {
		for _, who := range []string{"Admin", "Requestor", "Approver"} {
			rules = append(rules, Rule{ID: "Notification_" + who + "_" + string(occasion), Level: "All"})
		}
	}
	return rules
}

// PolicyIDOf is the name of the policy of a role at a scope.
func PolicyIDOf(at scope.Scope, role DefinitionID) PolicyID {
	return guid.Derived[policy]("gatehouse role management policy", at.String(), role.String())
}

// Key returns the key of the policy: its scope and its role.
func (p Policy) Key() record.Key {
	return record.KeyOf(record.RoleManagementPolicy, p.Scope.String(), p.Role.String())
}

// Effective are all rules of the policy, its own in the place of the default ones.
func (p Policy) Effective() []Rule {
	rules := DefaultRules()
	for i, r := range rules {
		if own := slices.IndexFunc(p.Rules, func(o Rule) bool { return o.ID == r.ID }); own >= 0 {
			rules[i] = p.Rules[own]
		}
	}
	return rules
}

// With returns the policy with rules in the place of those that it has. What is as
// it would be anyway is left out.
func (p Policy) With(rules ...Rule) Policy {
	next := p.Effective()
	for i, r := range next {
		if own := slices.IndexFunc(rules, func(o Rule) bool { return o.ID == r.ID }); own >= 0 {
			next[i] = rules[own]
		}
	}
	p.Rules = nil
	for i, r := range DefaultRules() {
		if !reflect.DeepEqual(r, next[i]) {
			p.Rules = append(p.Rules, next[i])
		}
	}
	return p
}

func (p Policy) rule(sort string, on Occasion) Rule {
	for _, r := range p.Effective() {
		if r.Sort() == sort && r.On() == on {
			return r
		}
	}
	return Rule{}
}

// Approval is what the policy says about the approval of activations.
func (p Policy) Approval() Approval {
	if a := p.rule(SortApproval, OnActivation).Approval; a != nil {
		return *a
	}
	return Approval{}
}

// An Ask is what is held against a policy.
type Ask struct {
	On Occasion
	// For is the time from the beginning to the end; zero for no end.
	For                        time.Duration
	Justification              string
	TicketNumber, TicketSystem string
}

// Fails returns the names, as Azure writes them, of the rules that do not let a
// request pass. A second factor and a claim are nothing that this house can prove:
// where they are demanded, nobody passes.
func (p Policy) Fails(a Ask) []string {
	if !slices.Contains(occasions, a.On) {
		return []string{"EligibilityRule"}
	}
	var failed []string
	if r := p.rule(SortExpiration, a.On); r.ExpirationRequired && (a.For <= 0 || a.For > time.Duration(r.Maximum)) {
		failed = append(failed, "ExpirationRule")
	}
	demands := p.rule(SortEnablement, a.On).Demands
	blank := func(s string) bool { return strings.TrimSpace(s) == "" }
	if slices.Contains(demands, NeedsJustification) && blank(a.Justification) {
		failed = append(failed, "JustificationRule")
	}
	if slices.Contains(demands, NeedsTicket) && (blank(a.TicketNumber) || blank(a.TicketSystem)) {
		failed = append(failed, "TicketingRule")
	}
	if slices.Contains(demands, NeedsMFA) || p.rule(SortContext, a.On).Claim != "" {
		failed = append(failed, "MfaRule")
	}
	return failed
}

// Limits of a policy. An activation ends within a day, as in Azure.
const (
	maxActivation = 24 * time.Hour
	maxApprovers  = 100
	maxRecipients = 100
)

// Validate checks a policy by itself.
func (p Policy) Validate() error {
	switch {
	case p.Scope.IsZero():
		return record.Invalid("management policy without a scope")
	case p.Role.IsZero():
		return record.Invalid("management policy without a role")
	}
	known := DefaultRules()
	for i, r := range p.Rules {
		if !slices.ContainsFunc(known, func(o Rule) bool { return o.ID == r.ID }) {
			return record.Invalid("management policy: rule %.80q is none", r.ID)
		}
		if slices.ContainsFunc(p.Rules[:i], func(o Rule) bool { return o.ID == r.ID }) {
			return record.Invalid("management policy: rule %s is there twice", r.ID)
		}
		if err := r.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r Rule) validate() error {
	only := Rule{ID: r.ID}
	switch r.Sort() {
	case SortExpiration:
		only.ExpirationRequired, only.Maximum = r.ExpirationRequired, r.Maximum
		switch {
		case r.ExpirationRequired && r.Maximum <= 0:
			return record.Invalid("rule %s demands an end and says no maximum", r.ID)
		case r.On() == OnActivation && (!r.ExpirationRequired || time.Duration(r.Maximum) > maxActivation):
			return record.Invalid("rule %s: an activation ends, after %s at the latest", r.ID, Duration(maxActivation))
		}
	case SortEnablement:
		only.Demands = r.Demands
		for i, d := range r.Demands {
			if !slices.Contains([]string{NeedsMFA, NeedsJustification, NeedsTicket}, d) || slices.Contains(r.Demands[:i], d) {
				return record.Invalid("rule %s: demand %.40q is none, or is there twice", r.ID, d)
			}
		}
	case SortApproval:
		only.Approval = r.Approval
		if err := r.Approval.validate(r.ID); err != nil {
			return err
		}
	case SortContext:
		only.Claim = r.Claim
		if len(r.Claim) > maxTicket {
			return record.Invalid("rule %s: a claim of %d bytes", r.ID, len(r.Claim))
		}
	case SortNotification:
		only.Level, only.Recipients, only.OnlyRecipients = r.Level, r.Recipients, r.OnlyRecipients
		if !slices.Contains([]string{"None", "Critical", "All"}, r.Level) || len(r.Recipients) > maxRecipients {
			return record.Invalid("rule %s: want a level of None, Critical or All, and at most %d recipients", r.ID, maxRecipients)
		}
	}
	if !reflect.DeepEqual(only, r) {
		return record.Invalid("rule %s has fields that belong to a rule of another sort", r.ID)
	}
	return nil
}

func (a *Approval) validate(rule string) error {
	switch {
	case a == nil:
		return record.Invalid("rule %s says nothing about approval", rule)
	case len(a.Approvers) > maxApprovers:
		return record.Invalid("rule %s: more than %d approvers", rule, maxApprovers)
	}
	for _, who := range a.Approvers {
		if who.ID.IsZero() || who.Kind != principal.User && who.Kind != principal.Group {
			return record.Invalid("rule %s: an approver is a user or a group, with an id", rule)
		}
		if err := checkDescription(who.Description); err != nil {
			return err
		}
	}
	return nil
}
