package estate_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func eligible(n int, who principal.ID, at scope.Scope) azurerbac.Eligibility {
	return azurerbac.Eligibility{ID: azurerbac.EligibilityID(id(9000 + n)), Scope: at, Principal: who, Role: reader, NotAfter: noon.Add(24 * time.Hour)}
}

func activation(n int, el azurerbac.Eligibility, who principal.ID) azurerbac.Assignment {
	a := el.Assigned(who)
	a.ID, a.NotAfter = azurerbac.AssignmentID(id(9100+n)), noon.Add(time.Hour)
	return a
}

func TestWhatEligibilitiesAndActivationsMayBe(t *testing.T) {
	t.Parallel()
	el := eligible(1, id(1), scope.MustParse(sub))
	act := activation(1, el, id(1))
	robot := directory.ServicePrincipal{ID: id(3), Tenant: tenantID, AppID: directory.AppID(id(3)), DisplayName: "robot"}
	s := load(t, user(1), user(2), group(10), robot, el, act)
	with := func(f func(*azurerbac.Eligibility)) record.Record { e := el; f(&e); return e }
	active := func(f func(*azurerbac.Assignment)) record.Record { a := act; f(&a); return a }
	for _, tt := range []struct {
		law  string
		put  record.Record
		want error
	}{
		{"the same under another id", with(func(e *azurerbac.Eligibility) { e.ID = azurerbac.EligibilityID(id(9002)) }), estate.ErrExists},
		{"for somebody else", with(func(e *azurerbac.Eligibility) { e.Principal = id(2) }), estate.ErrImmutable},
		{"somewhere else", with(func(e *azurerbac.Eligibility) { e.Scope = scope.Root }), estate.ErrImmutable},
		{"for a role that is none", eligibleFor(azurerbac.DefinitionID(id(77)), id(2)), estate.ErrUnknown},
		{"for a program", eligible(3, robot.ID, scope.Root), estate.ErrImmutable},
		{"in a directory", eligible(3, id(2), directory.Place(tenantID)), estate.ErrImmutable},
		{"shorter than what is active", with(func(e *azurerbac.Eligibility) { e.NotAfter = noon.Add(time.Minute) }), estate.ErrImmutable},
		{"with a condition that what is active lacks", with(func(e *azurerbac.Eligibility) {
			e.Condition = `@Principal[Microsoft.Directory/CustomSecurityAttributes/Id:a] StringEquals 'b'`
		}), estate.ErrImmutable},
		{"longer", with(func(e *azurerbac.Eligibility) { e.NotAfter = noon.Add(time.Hour * 48) }), nil},
		{"for a group", eligible(4, id(10), scope.Root), nil},
		{"active beyond its eligibility", active(func(a *azurerbac.Assignment) { a.NotAfter = noon.Add(25 * time.Hour) }), estate.ErrImmutable},
		{"active above it", activationAt(el, scope.Root), estate.ErrImmutable},
		{"active in it", activationAt(el, clusterAt), nil},
		{"active without any", active(func(a *azurerbac.Assignment) { a.Eligibility = azurerbac.EligibilityID(id(77)) }), estate.ErrUnknown},
		{"another role active", active(func(a *azurerbac.Assignment) {
			a.Role = must(parse[azurerbac.DefinitionID]("8e3af657-a8ff-443c-a75c-2fe8c4bcb635"))
		}), estate.ErrImmutable},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if _, err := s.Apply(2, estate.Op{Put: tt.put}); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

func eligibleFor(role azurerbac.DefinitionID, who principal.ID) azurerbac.Eligibility {
	el := eligible(3, who, scope.Root)
	el.Role = role
	return el
}

func activationAt(el azurerbac.Eligibility, at scope.Scope) azurerbac.Assignment {
	a := activation(2, el, id(1))
	a.Scope = at
	return a
}

// Who left the group that is eligible has not what he activated, from that change on;
// and gets it back when he comes back before its end.
func TestAnActivationStandsAsLongAsItsEligibility(t *testing.T) {
	t.Parallel()
	el := eligible(1, id(11), scope.MustParse(sub))
	act := activation(1, el, id(1))
	s := load(t, user(1), group(10), group(11), in(10, 1), in(11, 10), el, act)
	has := func(s *estate.Snapshot) bool {
		who, _ := s.Resolve(id(1))
		found := slices.ContainsFunc(who.Azure, func(g *estate.Grant) bool { return g.Assigned.ID == act.ID })
		if a, ok := s.Assignment(act.ID); ok && s.Stands(a) != found {
			t.Errorf("he has it %t, and it stands %t", found, !found)
		}
		return found
	}
	if !has(s) {
		t.Fatal("what was activated through a nested group is not there")
	}
	for _, m := range []directory.Membership{in(10, 1), in(11, 10)} {
		out := apply(t, s, estate.Op{Delete: m.Key()})
		if has(out) {
			t.Errorf("%s: he still has it without", m.Key())
		}
		if !has(apply(t, out, estate.Op{Put: m})) {
			t.Errorf("%s: he does not have it again", m.Key())
		}
	}
	// The eligibility goes with what came of it, or not at all.
	if _, err := s.Apply(2, estate.Op{Delete: el.Key()}); !errors.Is(err, estate.ErrInUse) {
		t.Errorf("the eligibility alone: %v", err)
	}
	if deps := s.Dependents(el.Key()); !slices.Equal(deps, []record.Key{act.Key()}) {
		t.Errorf("dependents: %v", deps)
	}
	gone := apply(t, s, estate.Op{Delete: act.Key()}, estate.Op{Delete: el.Key()})
	if has(gone) || len(gone.EligibilitiesOf(id(11)))+len(gone.EligibilitiesAt(el.Scope))+len(gone.ActivationsOf(el.ID)) != 0 {
		t.Error("something of it is left")
	}
	// One under the same id for somebody else is nothing to him.
	other := el
	other.Principal = id(10)
	swapped := apply(t, s, estate.Op{Delete: in(10, 1).Key()}, estate.Op{Delete: el.Key()}, estate.Op{Put: other})
	if has(swapped) {
		t.Error("he has it by the eligibility of others")
	}
	// A group does not activate.
	act.Principal = id(10)
	if has(load(t, user(1), group(10), group(11), in(10, 1), in(11, 10), el, act)) {
		t.Error("a group activated something for its members")
	}
}

func TestPlacesTakeTheirEligibilitiesAlong(t *testing.T) {
	t.Parallel()
	rg := scope.MustParse(sub + "/resourceGroups/rg")
	el := eligible(1, id(1), clusterAt)
	policy := azurerbac.Policy{Scope: rg, Role: reader, Rules: []azurerbac.Rule{{ID: "Expiration_Admin_Eligibility"}}}
	req := azurerbac.Request{ID: azurerbac.RequestID(id(9200)), ForEligibility: true, Type: azurerbac.AdminAssign, Status: azurerbac.Provisioned, Scope: clusterAt, Principal: id(1), Role: reader}
	s := load(t, user(1), el, policy, req, activation(1, el, id(1)))
	deps := s.Dependents(record.KeyOf(record.ResourceGroup, rg.String()))
	for _, r := range []record.Record{el, policy, req} {
		if !slices.Contains(deps, r.Key()) {
			t.Errorf("%s does not go with the group", r.Key())
		}
	}
	if got, own := s.Policy(rg, reader); !own || len(got.Rules) != 1 {
		t.Errorf("the policy of the group: %v %t", got, own)
	}
	if _, own := s.Policy(clusterAt, reader); own {
		t.Error("a policy is inherited")
	}
	for at, list := range s.RequestsBelow(rg) {
		if at != clusterAt || len(list) != 1 || len(s.RequestsAt(at)) != 1 || len(s.RequestsOf(id(1))) != 1 {
			t.Errorf("requests at %s: %v", at, list)
		}
	}
	for at, list := range s.EligibilitiesBelow(rg) {
		if at != clusterAt || len(list) != 1 {
			t.Errorf("eligibilities at %s: %v", at, list)
		}
	}
	again, err := estate.Load(1, s.Records())
	if err != nil {
		t.Fatal(err)
	}
	for r := range s.Records() {
		if back, ok := again.Get(r.Key()); !ok || back.Key() != r.Key() {
			t.Errorf("%s is not kept", r.Key())
		}
	}
}
