package azurerbac_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"PT8H": 8 * time.Hour, "P365D": 365 * 24 * time.Hour, "PT30M": 30 * time.Minute, "P1DT12H": 36 * time.Hour, "PT90S": 90 * time.Second,
		"PT24H": 24 * time.Hour, "P36500D": 36500 * 24 * time.Hour, "PT1H5M": 65 * time.Minute,
	} {
		d, err := azurerbac.ParseDuration(text)
		if err != nil || time.Duration(d) != want {
			t.Errorf("%s = %v, %v, want %v", text, time.Duration(d), err, want)
		}
		if again, err := azurerbac.ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%s is written %s, which is %v, %v", text, d, time.Duration(again), err)
		}
	}
	for _, text := range []string{ // JIT-06
		"", "P", "PT", "P1DT", "P1Y", "P1M", "P1W", "PT0S", "P0D", "PT-1H", "-PT1H", "+PT1H", "PT1.5H", "PT1,5H", "P0.5D", "pt8h", " PT8H", "PT8H ", "PT1H1H", "PT1M1H",
		"P36501D", "P99999999999999999999D", "PT999999999999H", "8h", "PT8", "T8H", "P8H", "PT8D", "PT8H\n", "PT٨H",
	} {
		if d, err := azurerbac.ParseDuration(text); err == nil || d != 0 || !errors.Is(err, record.ErrInvalid) {
			t.Errorf("JIT-06: %q = %v, %v, want an error", text, time.Duration(d), err)
		}
	}
}

func known[T ~[16]byte](n byte) (id T) {
	id[0], id[15] = 0x20, n
	return id
}

func TestAPolicySaysWhatFails(t *testing.T) {
	t.Parallel()
	at := scope.MustParse("/subscriptions/30000000-0000-4000-8000-000000000001")
	standard := azurerbac.Policy{Scope: at, Role: known[azurerbac.DefinitionID](1)}
	strict := standard.With(
		azurerbac.Rule{ID: "Enablement_EndUser_Assignment", Demands: []string{azurerbac.NeedsJustification, azurerbac.NeedsTicket}},
		azurerbac.Rule{ID: "Expiration_EndUser_Assignment", ExpirationRequired: true, Maximum: azurerbac.Duration(time.Hour)},
	)
	factor := standard.With(azurerbac.Rule{ID: "Enablement_EndUser_Assignment", Demands: []string{azurerbac.NeedsMFA}})
	claim := standard.With(azurerbac.Rule{ID: "AuthenticationContext_EndUser_Assignment", Claim: "c1"})
	forever := standard.With(azurerbac.Rule{ID: "Expiration_Admin_Eligibility"})
	ask := func(on azurerbac.Occasion, hours int, why string) azurerbac.Ask {
		return azurerbac.Ask{On: on, For: time.Duration(hours) * time.Hour, Justification: why}
	}
	ticket := ask(azurerbac.OnActivation, 1, "why")
	ticket.TicketNumber, ticket.TicketSystem = "1", "tickets"
	for _, tt := range []struct {
		name   string
		policy azurerbac.Policy
		ask    azurerbac.Ask
		want   string
	}{
		{"eight hours with a reason pass", standard, ask(azurerbac.OnActivation, 8, "why"), ""},
		{"nine do not", standard, ask(azurerbac.OnActivation, 9, "why"), "ExpirationRule"},
		{"no end does not", standard, ask(azurerbac.OnActivation, 0, "why"), "ExpirationRule"},
		{"no reason does not", standard, ask(azurerbac.OnActivation, 8, " \t"), "JustificationRule"},
		{"both are told", standard, ask(azurerbac.OnActivation, 9, ""), "ExpirationRule JustificationRule"},
		{"eligibility for a year needs no reason", standard, ask(azurerbac.OnEligibility, 365*24, ""), ""},
		{"eligibility without an end does not pass", standard, ask(azurerbac.OnEligibility, 0, ""), "ExpirationRule"},
		{"unless the policy lets it", forever, ask(azurerbac.OnEligibility, 0, ""), ""},
		{"an assignment for half a year needs a reason", standard, ask(azurerbac.OnAssignment, 180*24, ""), "JustificationRule"},
		{"a ticket that is demanded and missing", strict, ask(azurerbac.OnActivation, 1, "why"), "TicketingRule"},
		{"and there", strict, ticket, ""},
		{"a second factor passes nobody", factor, ask(azurerbac.OnActivation, 1, "why"), "MfaRule"},
		{"nor does a claim", claim, ask(azurerbac.OnActivation, 1, "why"), "MfaRule"},
		{"an occasion that is none passes nobody", forever, ask("", 1, "why"), "EligibilityRule"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := tt.policy.Validate(); err != nil {
				t.Error(err)
			}
			if got := strings.Join(tt.policy.Fails(tt.ask), " "); got != tt.want {
				t.Errorf("fails %q, want %q", got, tt.want)
			}
		})
	}
	if again := strict.With(azurerbac.DefaultRules()...); len(again.Rules) != 0 {
		t.Errorf("as by default, and %d rules are its own", len(again.Rules))
	}
	if err := standard.With(azurerbac.DefaultRules()...).Validate(); err != nil || len(standard.Effective()) != 17 {
		t.Errorf("the default policy: %v, %d rules", err, len(standard.Effective()))
	}
	if diff := cmp.Diff(strict.Effective(), strict.With(strict.Effective()...).Effective()); diff != "" {
		t.Error(diff)
	}
}

func TestPoliciesThatMustNotBe(t *testing.T) {
	t.Parallel()
	for _, rule := range []azurerbac.Rule{
		{ID: "Expiration_EndUser_Assignment"},
		{ID: "Expiration_EndUser_Assignment", ExpirationRequired: true, Maximum: azurerbac.Duration(25 * time.Hour)},
		{ID: "Expiration_Admin_Eligibility", ExpirationRequired: true},
		{ID: "Enablement_EndUser_Assignment", Demands: []string{"Nothing"}},
		{ID: "Enablement_EndUser_Assignment", Demands: []string{azurerbac.NeedsMFA, azurerbac.NeedsMFA}},
		{ID: "Approval_EndUser_Assignment"},
		{ID: "Approval_EndUser_Assignment", Approval: &azurerbac.Approval{Approvers: []azurerbac.Approver{{}}}},
		{ID: "Approval_EndUser_Assignment", Approval: &azurerbac.Approval{Approvers: []azurerbac.Approver{{ID: known[principal.ID](1), Kind: principal.ServicePrincipal}}}},
		{ID: "Notification_Admin_Admin_Eligibility", Level: "Loud"},
		{ID: "Enablement_Admin_Eligibility", Claim: "c1"},
		{ID: "Everything"},
	} {
		p := azurerbac.Policy{Scope: scope.Root, Role: known[azurerbac.DefinitionID](1), Rules: []azurerbac.Rule{rule}}
		if err := p.Validate(); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%+v: %v", rule, err)
		}
	}
}

func TestEligibilitiesAndRequestsThatMustNotBe(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0).UTC()
	el := azurerbac.Eligibility{ID: known[azurerbac.EligibilityID](1), Scope: scope.Root, Principal: known[principal.ID](1), Role: known[azurerbac.DefinitionID](1)}
	req := azurerbac.Request{ID: known[azurerbac.RequestID](1), Type: azurerbac.SelfActivate, Status: azurerbac.Provisioned, Scope: scope.Root, Principal: el.Principal, Role: el.Role}
	activation := el.Assigned(el.Principal)
	activation.ID = known[azurerbac.AssignmentID](1)
	if err := errors.Join(el.Validate(), req.Validate()); err != nil {
		t.Fatal(err)
	}
	change := func(f func(*azurerbac.Eligibility)) record.Record { e := el; f(&e); return e }
	ask := func(f func(*azurerbac.Request)) record.Record { r := req; f(&r); return r }
	for i, bad := range []record.Record{
		change(func(e *azurerbac.Eligibility) { e.ID = azurerbac.EligibilityID{} }),
		change(func(e *azurerbac.Eligibility) { e.Scope = scope.Scope{} }),
		change(func(e *azurerbac.Eligibility) { e.Principal = principal.ID{} }),
		change(func(e *azurerbac.Eligibility) { e.Role = azurerbac.DefinitionID{} }),
		change(func(e *azurerbac.Eligibility) { e.NotBefore, e.NotAfter = now, now }),
		change(func(e *azurerbac.Eligibility) { e.Condition = "(" }),
		ask(func(r *azurerbac.Request) { r.Type = azurerbac.AdminUpdate }), // of an assignment
		ask(func(r *azurerbac.Request) { r.ForEligibility = true }),
		ask(func(r *azurerbac.Request) { r.Status = azurerbac.TimedOut }),
		ask(func(r *azurerbac.Request) { r.Status = azurerbac.PendingApproval }),
		ask(func(r *azurerbac.Request) { r.Justification = strings.Repeat("x", 1001) }),
		ask(func(r *azurerbac.Request) { r.TicketNumber = strings.Repeat("x", 101) }),
		activation, // without an end
	} {
		if err := bad.Validate(); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%d: %v", i, err)
		}
	}
	req.Status, req.Approval, req.CreatedOn = azurerbac.PendingApproval, known[azurerbac.ApprovalID](1), now
	if early, late := req.StatusAt(now.Add(24*time.Hour-1)), req.StatusAt(now.Add(24*time.Hour)); early != azurerbac.PendingApproval || late != azurerbac.TimedOut {
		t.Errorf("within a day %s, and after it %s", early, late)
	}
	if _, err := guid.Parse[struct{}](azurerbac.PolicyIDOf(scope.Root, el.Role).String()); err != nil || azurerbac.PolicyIDOf(scope.Root, el.Role) == azurerbac.PolicyIDOf(scope.Root, known[azurerbac.DefinitionID](2)) {
		t.Errorf("the id of a policy: %v", err)
	}
}
