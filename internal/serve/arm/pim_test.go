package arm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// pimVersion is the version of the API that has schedules.
const pimVersion = "?api-version=2020-10-01"

var (
	nested  = servetest.ID("30000000-0000-4000-8000-0000000000c1") // a group in sleepers
	sleeper = servetest.ID("30000000-0000-4000-8000-0000000000c2") // a group
	nia     = servetest.ID("20000000-0000-4000-8000-0000000000c3") // in nested
	olu     = servetest.ID("20000000-0000-4000-8000-0000000000c4") // in nothing
)

// newPIMHouse has two more people, one of them in a group in a group.
func newPIMHouse(t testing.TB) *house { return newPIMHouseOn(t, new(store.Memory)) }

func newPIMHouseOn(t testing.TB, kv store.KV) *house {
	h := newHouseOn(t, kv)
	h.put(directory.Group{ID: sleeper, Tenant: servetest.Tenant, DisplayName: "sleepers"}, directory.Group{ID: nested, Tenant: servetest.Tenant, DisplayName: "nested"},
		directory.User{ID: nia, Tenant: servetest.Tenant, UserPrincipalName: "nia@teknews.cloud", DisplayName: "Nia"},
		directory.User{ID: olu, Tenant: servetest.Tenant, UserPrincipalName: "olu@teknews.cloud"},
		directory.Membership{Group: sleeper, Member: nested}, directory.Membership{Group: nested, Member: nia})
	return h
}

// wish is the body of a schedule request.
func wish(typ, what string, who principal.ID, more string) string {
	return `{"properties":{"requestType":"` + typ + `","roleDefinitionId":"` + servetest.Subscription.String() + provider + `/roleDefinitions/` + what + `","principalId":"` + who.String() + `"` + more + `}}`
}

func lasting(d string) string {
	return `,"justification":"because","scheduleInfo":{"startDateTime":null,"expiration":{"type":"AfterDuration","duration":"` + d + `","endDateTime":null}}`
}

func eligibilities(at scope.Scope, n int) string {
	return at.String() + provider + "/roleEligibilityScheduleRequests/" + number(n) + pimVersion
}

func activations(at scope.Scope, n int) string {
	return at.String() + provider + "/roleAssignmentScheduleRequests/" + number(n) + pimVersion
}

// must calls and wants a status, and something in the answer.
func (h *house) must(who principal.ID, method, path, body string, status int, has string) reply {
	h.t.Helper()
	got := h.call(who, method, path, body)
	if got.status != status || !strings.Contains(got.text, has) {
		h.t.Fatalf("%s %s: %d %s, want %d and %q", method, path, got.status, got.text, status, has)
	}
	return got
}

func (r reply) property(name string) string {
	var in struct{ Properties map[string]any }
	json.Unmarshal([]byte(r.text), &in)
	return fmt.Sprint(in.Properties[name])
}

// may asks the engine whether somebody may write clusters at a place now.
func (h *house) may(who principal.ID, at scope.Scope) bool {
	return decide.Decide(h.store.Current(), decide.Request{Who: decide.Subject{ID: who}, Scope: at, Action: "Microsoft.ContainerService/managedClusters/write", Now: h.now()}).Effect == decide.Allow
}

// Each row is one request to an estate in which nia is eligible to be Contributor of the
// group web through a group in a group, and what it must come to.
func TestScheduleRequests(t *testing.T) {
	t.Parallel()
	web, sub, cluster := servetest.Group, servetest.Subscription, servetest.AKS1
	reader := servetest.Reader.String()
	const failed = `The following policy rules failed: [\"`
	for _, tt := range []struct {
		name         string
		who          principal.ID
		method, path string
		body         string
		status       int
		has          string
	}{
		{"an owner makes a user eligible", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", contributor, olu, lasting("P30D")), 201, `"status":"Provisioned"`},
		{"and a group", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, sleeper, lasting("P365D")), 201, `"type":"Microsoft.Authorization/RoleEligibilityScheduleRequests"`},
		{"a condition of the older version", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, olu, lasting("P30D")+`,"condition":"@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:ContainerName] StringEqualsIgnoreCase 'x'","conditionVersion":"1.0"`), 201, `"conditionVersion":"2.0"`},
		{"a program cannot be eligible", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, servetest.Robot, lasting("P30D")), 400, "InvalidPrincipalType"},
		{"nor can nobody", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, servetest.ID(number(77)), lasting("P30D")), 400, "PrincipalNotFound"},
		{"ARM-07 nor somebody of another tenant", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, alien, lasting("P30D")), 400, "PrincipalNotFound"},
		{"ARM-07 nor at another tenant's", root, "PUT", eligibilities(sub2, 9), wish("AdminAssign", reader, olu, lasting("P30D")), 404, "SubscriptionNotFound"},
		{"nor for a role that is none", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", number(8), olu, lasting("P30D")), 400, "RoleDefinitionDoesNotExist"},
		{"nor at a place that is none", root, "PUT", eligibilities(scope.MustParse(sub.String()+"/resourceGroups/nil"), 9), wish("AdminAssign", reader, olu, lasting("P30D")), 404, "ResourceGroupNotFound"},
		{"the same twice", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", contributor, sleeper, lasting("P30D")), 400, "RoleAssignmentExists"},
		{"longer than a year", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", contributor, olu, lasting("P366D")), 400, failed + `ExpirationRule`},
		{"without an end", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", contributor, olu, `,"scheduleInfo":{"expiration":{"type":"NoExpiration"}}`), 400, failed + `ExpirationRule`},
		{"too short", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", contributor, olu, lasting("PT4M")), 400, "ActiveDurationTooShort"},
		{"a name that is none", ownerRG, "PUT", web.String() + provider + "/roleEligibilityScheduleRequests/x" + pimVersion, wish("AdminAssign", contributor, olu, lasting("P30D")), 400, "InvalidScheduleRequestName"},
		{"a type that is none", ownerRG, "PUT", eligibilities(web, 9), wish("AdminForce", contributor, olu, lasting("P30D")), 400, "InvalidRoleScheduleRequest"},
		{"a type that is one of assignments", ownerRG, "PUT", eligibilities(web, 9), wish("SelfActivate", contributor, ownerRG, lasting("PT1H")), 400, "InvalidRoleScheduleRequest"},
		{"a time that cannot be written", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", contributor, olu, `,"scheduleInfo":{"startDateTime":"9999-12-30T00:00:00Z","expiration":{"type":"AfterDuration","duration":"P365D"}}`), 400, "InvalidScheduleInfo"},
		{"an end in the past", ownerRG, "PUT", eligibilities(web, 9), wish("AdminAssign", contributor, olu, `,"scheduleInfo":{"expiration":{"type":"AfterDateTime","endDateTime":"2020-01-01T00:00:00Z"}}`), 400, "InvalidScheduleInfo"},

		{"AZ-14 a contributor makes nobody eligible", contrib, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, olu, lasting("P30D")), 403, "Microsoft.Authorization/roleEligibilityScheduleRequests/write"},
		{"AZ-14 nor does who may only assign", deputy, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, olu, lasting("P30D")), 403, "AuthorizationFailed"},
		{"AZ-14 a delegate within his condition", servetest.Ed, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, olu, lasting("P30D")), 201, "Provisioned"},
		{"AZ-14 and beyond it", servetest.Ed, "PUT", eligibilities(web, 9), wish("AdminAssign", owner, olu, lasting("P30D")), 403, "or an ABAC condition not fulfilled to perform action 'Microsoft.Authorization/roleAssignments/write'"},
		{"AZ-14 and for himself", servetest.Ed, "PUT", activations(web, 9), wish("AdminAssign", owner, servetest.Ed, lasting("P30D")), 403, "AuthorizationFailed"},
		{"AZ-14 nor does he take away what he may not", servetest.Ed, "PUT", eligibilities(web, 9), wish("AdminRemove", contributor, sleeper, ""), 403, "Microsoft.Authorization/roleAssignments/delete"},
		{"AZ-14 nor change it", servetest.Ed, "PUT", eligibilities(web, 9), wish("AdminUpdate", contributor, sleeper, lasting("P30D")), 403, "AuthorizationFailed"},
		{"AZ-14 who is eligible is not yet anything", nia, "PUT", eligibilities(web, 9), wish("AdminAssign", reader, olu, lasting("P30D")), 403, "AuthorizationFailed"},

		{"an administrator changes it", ownerRG, "PUT", eligibilities(web, 9), wish("AdminUpdate", contributor, sleeper, lasting("P60D")), 201, `"requestType":"AdminUpdate"`},
		{"and names it", ownerRG, "PUT", eligibilities(web, 9), wish("AdminExtend", contributor, sleeper, lasting("P60D")+`,"targetRoleEligibilityScheduleId":"`+number(77)+`"`), 400, "RoleAssignmentDoesNotExist"},
		{"JIT-09 beyond a year", ownerRG, "PUT", eligibilities(web, 9), wish("AdminExtend", contributor, sleeper, lasting("P366D")), 400, failed + "ExpirationRule"},
		{"one in force is not renewed", ownerRG, "PUT", eligibilities(web, 9), wish("AdminRenew", contributor, sleeper, lasting("P60D")), 400, "RoleAssignmentDoesNotExist"},
		{"he takes it away", ownerRG, "PUT", eligibilities(web, 9), wish("AdminRemove", contributor, sleeper, ""), 201, `"status":"Revoked"`},
		{"what is not there he does not", ownerRG, "PUT", eligibilities(web, 9), wish("AdminRemove", contributor, olu, ""), 400, "RoleAssignmentDoesNotExist"},

		{"who is eligible through nested groups activates", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT1H")), 201, `"status":"Provisioned"`},
		{"somewhere in it, too", nia, "PUT", activations(cluster, 9), wish("SelfActivate", contributor, nia, lasting("PT1H")), 201, `"status":"Provisioned"`},
		{"but not above", nia, "PUT", activations(sub, 9), wish("SelfActivate", contributor, nia, lasting("PT1H")), 400, failed + "EligibilityRule"},
		{"nor another role", nia, "PUT", activations(web, 9), wish("SelfActivate", owner, nia, lasting("PT1H")), 400, failed + "EligibilityRule"},
		{"nor by an eligibility that is another's", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT1H")+`,"linkedRoleEligibilityScheduleId":"`+number(77)+`"`), 400, failed + "EligibilityRule"},
		{"nor under another condition", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT1H")+`,"condition":"@Resource[a:b] StringEquals 'x'"`), 400, failed + "EligibilityRule"},
		{"nor does who is not eligible", olu, "PUT", activations(web, 9), wish("SelfActivate", contributor, olu, lasting("PT1H")), 400, failed + "EligibilityRule"},
		{"nor an owner", ownerRG, "PUT", activations(web, 9), wish("SelfActivate", contributor, ownerRG, lasting("PT1H")), 400, failed + "EligibilityRule"},
		{"nobody activates for others", ownerRG, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT1H")), 403, "InsufficientPermissions"},
		{"nor for the group", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, sleeper, lasting("PT1H")), 403, "InsufficientPermissions"},
		{"without a justification", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, `,"scheduleInfo":{"expiration":{"type":"AfterDuration","duration":"PT1H"}}`), 400, failed + "JustificationRule"},
		{"longer than eight hours", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT9H")), 400, failed + "ExpirationRule"},
		{"without an end", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, `,"justification":"x"`), 400, failed + "ExpirationRule"},
		{"shorter than five minutes", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT4M59S")), 400, "ActiveDurationTooShort"},
		{"JIT-06 a year", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("P1Y")), 400, "InvalidScheduleInfo"},
		{"JIT-06 nothing", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT0S")), 400, "InvalidScheduleInfo"},
		{"JIT-06 less than nothing", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("-PT1H")), 400, "InvalidScheduleInfo"},
		{"JIT-06 a part", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT1.5H")), 400, "InvalidScheduleInfo"},
		{"JIT-06 too much", nia, "PUT", activations(web, 9), wish("SelfActivate", contributor, nia, lasting("PT999999999999999H")), 400, "InvalidScheduleInfo"},
		{"a place that is not there", nia, "PUT", activations(scope.MustParse(web.String()+"/providers/Microsoft.KeyVault/vaults/nil"), 9), wish("SelfActivate", contributor, nia, lasting("PT1H")), 404, "ResourceNotFound"},
		{"what was not activated is not deactivated", nia, "PUT", activations(web, 9), wish("SelfDeactivate", contributor, nia, ""), 400, "RoleAssignmentDoesNotExist"},
		{"nor what was assigned", ownerRG, "PUT", activations(web, 9), wish("SelfDeactivate", owner, ownerRG, ""), 400, "RoleAssignmentDoesNotExist"},

		{"an active assignment with an end", ownerRG, "PUT", activations(web, 9), wish("AdminAssign", reader, olu, lasting("P30D")), 201, `"requestType":"AdminAssign"`},
		{"needs a justification", ownerRG, "PUT", activations(web, 9), wish("AdminAssign", reader, olu, `,"scheduleInfo":{"expiration":{"type":"AfterDuration","duration":"P30D"}}`), 400, failed + "JustificationRule"},
		{"and an end", ownerRG, "PUT", activations(web, 9), wish("AdminAssign", reader, olu, `,"justification":"x"`), 400, failed + "ExpirationRule"},
		{"and one that is not there yet", ownerRG, "PUT", activations(web, 9), wish("AdminAssign", owner, ownerRG, lasting("P30D")), 400, "RoleAssignmentExists"},
		{"AZ-14 and the right to assign", deputy, "PUT", activations(web, 9), wish("AdminAssign", reader, olu, lasting("P30D")), 403, "Microsoft.Authorization/roleAssignmentScheduleRequests/write"},
		{"AZ-14 within a delegation", servetest.Ed, "PUT", activations(web, 9), wish("AdminAssign", contributor, olu, lasting("P30D")), 403, "AuthorizationFailed"},
		{"AZ-18 the last owner stays", root, "PUT", activations(scope.Root, 9), wish("AdminRemove", owner, root, ""), 400, "CannotDeleteLastRbacAdminAssignment"},
		{"an assignment is taken away", root, "PUT", activations(web, 9), wish("AdminRemove", owner, ownerRG, ""), 201, `"status":"Revoked"`},

		{"validate does what it would come to", nia, "POST", strings.Replace(activations(web, 9), "?", "/validate?", 1), wish("SelfActivate", contributor, nia, lasting("PT1H")), 200, `"status":"Provisioned"`},
		{"and refuses what it would refuse", nia, "POST", strings.Replace(activations(web, 9), "?", "/validate?", 1), wish("SelfActivate", contributor, nia, lasting("PT9H")), 400, "ExpirationRule"},
		{"a request that is not there", ownerRG, "GET", eligibilities(web, 9), "", 404, "RoleEligibilityScheduleRequestNotFound"},
		{"nor there for who may not read", olu, "GET", eligibilities(web, 9), "", 403, "AuthorizationFailed"},
		{"what is done is not canceled", ownerRG, "POST", strings.Replace(eligibilities(web, 1), "?", "/cancel?", 1), "", 400, "RoleScheduleRequestNotPending"},
		{"and by nobody else at all", olu, "POST", strings.Replace(eligibilities(web, 1), "?", "/cancel?", 1), "", 403, "Microsoft.Authorization/roleEligibilityScheduleRequests/cancel/action"},

		{"who may read sees who is eligible", contrib, "GET", web.String() + provider + "/roleEligibilitySchedules" + pimVersion, "", 200, `"principalId":"` + sleeper.String()},
		{"below, as well", contrib, "GET", sub.String() + provider + "/roleEligibilityScheduleInstances" + pimVersion, "", 200, `"memberType":"Direct"`},
		{"not below with atScope", contrib, "GET", sub.String() + provider + "/roleEligibilityScheduleInstances" + pimVersion + "&$filter=atScope()", "", 200, `{"value":[]}`},
		{"above, as inherited", contrib, "GET", cluster.String() + provider + "/roleEligibilityScheduleInstances" + pimVersion + "&$filter=atScope()", "", 200, `"memberType":"Inherited"`},
		{"who may not read does not", olu, "GET", web.String() + provider + "/roleEligibilitySchedules" + pimVersion, "", 403, "Microsoft.Authorization/roleEligibilitySchedules/read"},
		{"everybody sees his own", nia, "GET", provider + "/roleEligibilityScheduleInstances" + pimVersion + "&$filter=asTarget()", "", 200, `"memberType":"Group"`},
		{"and nothing else", olu, "GET", provider + "/roleEligibilityScheduleInstances" + pimVersion + "&$filter=asTarget()", "", 200, `{"value":[]}`},
		{"not by asking for others", olu, "GET", provider + "/roleEligibilityScheduleInstances" + pimVersion + "&$filter=" + url.QueryEscape("asTarget() and principalId eq '"+sleeper.String()+"'"), "", 200, `{"value":[]}`},
		{"that of somebody with his groups", contrib, "GET", web.String() + provider + "/roleEligibilitySchedules" + pimVersion + "&$filter=" + url.QueryEscape("assignedTo('"+nia.String()+"')"), "", 200, sleeper.String()},
		{"that of himself alone", contrib, "GET", web.String() + provider + "/roleEligibilitySchedules" + pimVersion + "&$filter=" + url.QueryEscape("principalId eq '"+nia.String()+"'"), "", 200, `{"value":[]}`},
		{"in brackets, as some clients ask", contrib, "GET", web.String() + provider + "/roleEligibilitySchedules" + pimVersion + "&$filter=" + url.QueryEscape("(principalId eq '"+sleeper.String()+"' and roleDefinitionId eq '"+sub.String()+provider+"/roleDefinitions/"+contributor+"')"), "", 200, sleeper.String()},
		{"ARM-06 not with a filter that is none", contrib, "GET", web.String() + provider + "/roleEligibilitySchedules" + pimVersion + "&$filter=" + url.QueryEscape("nothing()"), "", 400, "InvalidFilterInQueryString"},
		{"ARM-07 nothing of another tenant", root, "GET", provider + "/roleAssignmentSchedules" + pimVersion, "", 200, ownerRG.String()},
		{"role assignments are schedules", contrib, "GET", web.String() + provider + "/roleAssignmentSchedules" + pimVersion, "", 200, `"assignmentType":"Assigned"`},
		{"and take place", contrib, "GET", web.String() + provider + "/roleAssignmentScheduleInstances/" + number(3) + pimVersion, "", 200, `"originRoleAssignmentId":"` + sub.String() + `/resourceGroups/web` + provider + `/roleAssignments/` + number(3)},
		{"a schedule that is not there", contrib, "GET", web.String() + provider + "/roleAssignmentSchedules/" + number(99) + pimVersion, "", 404, "RoleAssignmentScheduleNotFound"},
		{"nor an eligibility", contrib, "GET", web.String() + provider + "/roleEligibilitySchedules/" + number(99) + pimVersion, "", 404, "RoleEligibilityScheduleNotFound"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newPIMHouse(t)
			ed := azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(number(50))), Scope: web, Principal: servetest.Ed, Role: role("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"), ConditionVersion: "2.0"}
			d, _ := h.store.Current().Assignment(azurerbac.AssignmentID(servetest.ID(number(2))))
			ed.Condition = d.Condition
			h.put(ed)
			h.must(ownerRG, "PUT", eligibilities(web, 1), wish("AdminAssign", contributor, sleeper, lasting("P30D")), 201, "Provisioned")
			got := h.call(tt.who, tt.method, tt.path, tt.body)
			if got.status != tt.status || !strings.Contains(got.text, tt.has) {
				t.Errorf("%d %s, want %d and %q", got.status, got.text, tt.status, tt.has)
			}
			if strings.Contains(got.text, alien.String()) {
				t.Errorf("ARM-07: %s", got.text)
			}
			if h.may(nia, cluster) != (tt.status == 201 && tt.who == nia) {
				t.Errorf("nia may write clusters: %t", h.may(nia, cluster))
			}
		})
	}
}

// JIT-01, JIT-11: an activation from its beginning to its end, by the clock alone.
func TestAnActivationBeginsAndEnds(t *testing.T) {
	t.Parallel()
	h := newPIMHouse(t)
	web := servetest.Group
	h.must(ownerRG, "PUT", eligibilities(web, 1), wish("AdminAssign", contributor, sleeper, lasting("P30D")), 201, "Provisioned")
	if h.may(nia, web) {
		t.Fatal("an eligibility grants something")
	}
	first := h.must(nia, "PUT", activations(web, 2), wish("SelfActivate", contributor, nia, lasting("PT1H")), 201, `"status":"Provisioned"`)
	if !h.may(nia, web) || h.may(nia, servetest.Subscription) || h.may(olu, web) {
		t.Error("what was activated is not what she has")
	}
	if again := h.must(nia, "PUT", activations(web, 2), wish("SelfActivate", contributor, nia, lasting("PT1H")), 201, ""); again.text != first.text { // ST-19
		t.Errorf("the same again is answered %s, after %s", again.text, first.text)
	}
	h.must(nia, "PUT", activations(web, 2), wish("SelfActivate", contributor, nia, lasting("PT2H")), 409, "RoleScheduleRequestExists")
	h.must(nia, "PUT", activations(web, 3), wish("SelfActivate", contributor, nia, lasting("PT1H")), 400, "RoleAssignmentExists")
	h.must(nia, "PUT", activations(servetest.AKS1, 3), wish("SelfActivate", contributor, nia, lasting("PT1H")), 400, "RoleAssignmentExists")
	h.must(nia, "GET", activations(web, 2), "", 200, `"requestorId":"`+nia.String())
	mine := h.must(nia, "GET", provider+"/roleAssignmentScheduleInstances"+pimVersion+"&$filter=asTarget()", "", 200, `"assignmentType":"Activated"`)
	if !strings.Contains(mine.text, "/roleEligibilitySchedules/") && !strings.Contains(mine.text, "/RoleEligibilitySchedules/") {
		t.Errorf("it names no eligibility: %s", mine.text)
	}
	h.must(nia, "PUT", activations(web, 4), wish("SelfDeactivate", contributor, nia, ""), 400, "ActiveDurationTooShort")

	// Who may write role assignments does not make one for ever of it.
	act := h.store.Current().AssignmentsOf(nia)[0]
	at := web.String() + provider + "/roleAssignments/" + act.ID.String() + version
	h.must(root, "PUT", at, assign(contributor, nia, `,"description":"seen"`), 201, `"description":"seen"`)
	h.must(root, "PUT", at, assign(owner, nia, ""), 400, "more than its eligibility")
	if now, _ := h.store.Current().Assignment(act.ID); now.Eligibility != act.Eligibility || !now.NotAfter.Equal(act.NotAfter) || now.Description != "seen" {
		t.Errorf("it has become %+v", now.Assignment)
	}

	h.later(time.Hour - time.Minute)
	if !h.may(nia, web) {
		t.Error("it ends too early")
	}
	h.later(time.Minute)
	if h.may(nia, web) { // nobody swept anything up
		t.Error("JIT-01: it does not end")
	}
	h.must(nia, "GET", provider+"/roleAssignmentScheduleInstances"+pimVersion+"&$filter=asTarget()", "", 200, `{"value":[]}`)
	h.must(nia, "PUT", activations(web, 5), wish("SelfDeactivate", contributor, nia, ""), 400, "RoleAssignmentDoesNotExist")

	// JIT-11: again, and ended early.
	h.must(nia, "PUT", activations(web, 6), wish("SelfActivate", contributor, nia, lasting("PT8H")), 201, "Provisioned")
	h.later(5 * time.Minute)
	h.must(nia, "PUT", activations(web, 7), wish("SelfDeactivate", contributor, nia, ""), 201, `"status":"Revoked"`)
	if h.may(nia, web) {
		t.Error("JIT-11: it goes on")
	}

	// It begins later, when that is asked for, and not before.
	later := `,"justification":"x","scheduleInfo":{"startDateTime":"` + h.now().Add(time.Hour).UTC().Format(time.RFC3339Nano) + `","expiration":{"type":"AfterDuration","duration":"PT1H"}}`
	h.must(nia, "PUT", activations(web, 8), wish("SelfActivate", contributor, nia, later), 201, "Provisioned")
	if h.may(nia, web) {
		t.Error("it begins at once")
	}
	h.must(nia, "GET", provider+"/roleAssignmentScheduleInstances"+pimVersion+"&$filter=asTarget()", "", 200, `{"value":[]}`)
	h.must(nia, "GET", provider+"/roleAssignmentSchedules"+pimVersion+"&$filter=asTarget()", "", 200, "Activated")
	h.later(time.Hour)
	if !h.may(nia, web) {
		t.Error("it never begins")
	}

	// Who leaves the group has lost it; and so has she whose eligibility is removed.
	out := directory.Membership{Group: sleeper, Member: nested}
	if _, err := h.store.Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Delete: out.Key()}}}); err != nil {
		t.Fatal(err)
	}
	if h.may(nia, web) {
		t.Error("who left the group still has what she activated")
	}
	h.must(ownerRG, "GET", web.String()+provider+"/roleAssignmentScheduleInstances"+pimVersion+"&$filter="+url.QueryEscape("principalId eq '"+nia.String()+"'"), "", 200, `{"value":[]}`)
	h.put(out)
	if !h.may(nia, web) {
		t.Error("who came back does not")
	}
	h.must(ownerRG, "PUT", eligibilities(web, 9), wish("AdminRemove", contributor, sleeper, ""), 201, "Revoked")
	if h.may(nia, web) || len(h.store.Current().AssignmentsOf(nia)) != 0 {
		t.Error("what was activated outlives its eligibility")
	}
}

// An activation never lasts longer than its eligibility, whatever is done to that.
func TestAnActivationEndsWithItsEligibility(t *testing.T) {
	t.Parallel()
	h := newPIMHouse(t)
	web := servetest.Group
	h.must(ownerRG, "PUT", eligibilities(web, 1), wish("AdminAssign", contributor, olu, lasting("PT4H")), 201, "Provisioned")
	h.must(olu, "PUT", activations(web, 2), wish("SelfActivate", contributor, olu, lasting("PT5H")), 400, "ExpirationRule")
	h.must(olu, "PUT", activations(web, 2), wish("SelfActivate", contributor, olu, lasting("PT3H")), 201, "Provisioned")
	h.must(ownerRG, "PUT", eligibilities(web, 3), wish("AdminUpdate", contributor, olu, lasting("PT1H")), 201, "Provisioned")
	h.later(time.Hour)
	if h.may(olu, web) {
		t.Error("it outlives an eligibility that was cut short")
	}
	h.must(olu, "PUT", activations(web, 4), wish("SelfActivate", contributor, olu, lasting("PT1H")), 400, "EligibilityRule")
	h.must(ownerRG, "GET", web.String()+provider+"/roleEligibilitySchedules"+pimVersion+"&$filter=atScope()", "", 200, `{"value":[]}`)
	h.must(ownerRG, "PUT", eligibilities(web, 5), wish("AdminExtend", contributor, olu, lasting("PT1H")), 400, "RoleAssignmentDoesNotExist")
	h.must(ownerRG, "PUT", eligibilities(web, 5), wish("AdminRenew", contributor, olu, lasting("PT8H")), 201, "Provisioned")
	h.must(olu, "PUT", activations(web, 6), wish("SelfActivate", contributor, olu, lasting("PT1H")), 201, "Provisioned")

	// A condition that comes to an eligibility comes to what was activated of it.
	const never = `,"condition":"@Resource[Microsoft.Storage/storageAccounts:name] StringEquals 'x'","conditionVersion":"2.0"`
	h.must(ownerRG, "PUT", eligibilities(web, 7), wish("AdminUpdate", contributor, olu, lasting("PT8H")+never), 201, "Provisioned")
	if h.may(olu, web) {
		t.Error("what was activated has no condition")
	}
	// One that is over makes way for a new one.
	h.later(9 * time.Hour)
	h.must(ownerRG, "PUT", eligibilities(web, 8), wish("AdminAssign", contributor, olu, lasting("PT8H")), 201, "Provisioned")
	h.must(olu, "PUT", activations(web, 9), wish("SelfActivate", contributor, olu, lasting("PT1H")), 201, "Provisioned")
	if !h.may(olu, web) {
		t.Error("he does not have what he activated")
	}
}

func policy(at scope.Scope, what string) string {
	return at.String() + provider + "/roleManagementPolicies/" + azurerbac.PolicyIDOf(at, role(what)).String() + pimVersion
}

func rules(list ...string) string {
	return `{"properties":{"rules":[` + strings.Join(list, ",") + `]}}`
}

const (
	needsApproval = `{"id":"Approval_EndUser_Assignment","ruleType":"RoleManagementPolicyApprovalRule","target":{"caller":"EndUser","operations":["All"],"level":"Assignment"},"setting":{"isApprovalRequired":true,"approvalMode":"SingleStage","approvalStages":[{"approvalStageTimeOutInDays":1,"isApproverJustificationRequired":true,"primaryApprovers":[{"id":"20000000-0000-4000-8000-0000000000a3","userType":"User","isBackup":false,"description":"x"}],"escalationApprovers":null}]}}`
	needsFactor   = `{"id":"Enablement_EndUser_Assignment","ruleType":"RoleManagementPolicyEnablementRule","enabledRules":["MultiFactorAuthentication","Justification"]}`
	needsTicket   = `{"id":"Enablement_EndUser_Assignment","ruleType":"RoleManagementPolicyEnablementRule","enabledRules":["Ticketing"]}`
	needsClaim    = `{"id":"AuthenticationContext_EndUser_Assignment","ruleType":"RoleManagementPolicyAuthenticationContextRule","isEnabled":true,"claimValue":"c1"}`
	twoHours      = `{"id":"Expiration_EndUser_Assignment","ruleType":"RoleManagementPolicyExpirationRule","isExpirationRequired":true,"maximumDuration":"PT2H"}`
	permanent     = `{"id":"Expiration_Admin_Eligibility","ruleType":"RoleManagementPolicyExpirationRule","isExpirationRequired":false,"maximumDuration":"P180D"}`
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	h := newPIMHouse(t)
	web := servetest.Group
	activate := func(n int, more string, status int, has string) {
		t.Helper()
		h.must(olu, "PUT", activations(web, n), wish("SelfActivate", contributor, olu, more), status, has)
	}
	all := h.must(ownerRG, "GET", web.String()+provider+"/roleManagementPolicyAssignments"+pimVersion+"&$filter="+url.QueryEscape("roleDefinitionId eq '"+web.String()+provider+"/roleDefinitions/"+contributor+"'"), "", 200, `"maximumDuration":"PT8H"`)
	if strings.Count(all.text, `"policyId"`) != 1 || strings.Count(all.text, `"ruleType"`) != 17 || !strings.Contains(all.text, azurerbac.PolicyIDOf(web, role(contributor)).String()+"_"+contributor) {
		t.Errorf("the policy of a role: %s", all.text)
	}
	h.must(ownerRG, "GET", policy(web, contributor), "", 200, `"isOrganizationDefault":true`)
	h.must(olu, "GET", policy(web, contributor), "", 403, "Microsoft.Authorization/roleManagementPolicies/read")
	h.must(contrib, "PATCH", policy(web, contributor), rules(permanent), 403, "Microsoft.Authorization/roleManagementPolicies/write")
	h.must(ownerRG, "GET", policy(servetest.Subscription, contributor), "", 403, "AuthorizationFailed")
	h.must(ownerRG, "PATCH", strings.Replace(policy(servetest.Subscription, contributor), servetest.Subscription.String(), web.String(), 1), rules(permanent), 404, "RoleManagementPolicyNotFound")
	for _, bad := range []string{
		`{"id":"Nothing","ruleType":"RoleManagementPolicyNothingRule"}`,
		strings.Replace(permanent, "ExpirationRule", "ApprovalRule", 1),
		strings.Replace(twoHours, "PT2H", "P2D", 1),
		strings.Replace(twoHours, "PT2H", "P1Y", 1), // JIT-06
		strings.Replace(twoHours, "true", "false", 1),
		strings.Replace(needsFactor, "Justification", "Magic", 1),
		strings.Replace(needsClaim, "c1", "", 1),
		strings.Replace(needsApproval, `"escalationApprovers":null`, `"isEscalationEnabled":true`, 1),
		strings.Replace(needsApproval, `"userType":"User"`, `"userType":"Robot"`, 1),
		twoHours + "," + twoHours,
	} {
		h.must(ownerRG, "PATCH", policy(web, contributor), rules(bad), 400, "InvalidPolicyRule")
	}
	h.must(ownerRG, "PATCH", policy(web, contributor), rules(permanent, twoHours), 200, `"isOrganizationDefault":false`)
	h.must(ownerRG, "PUT", eligibilities(web, 1), wish("AdminAssign", contributor, olu, `,"scheduleInfo":{"expiration":{"type":"AfterDuration","duration":null}}`), 201, `"type":"NoExpiration"`)
	activate(2, lasting("PT3H"), 400, "ExpirationRule")

	h.must(ownerRG, "PATCH", policy(web, contributor), rules(needsTicket), 200, `"maximumDuration":"PT2H"`) // which stays
	activate(2, lasting("PT1H"), 400, "TicketingRule")
	h.must(olu, "POST", strings.Replace(activations(web, 2), "?", "/validate?", 1), wish("SelfActivate", contributor, olu, lasting("PT1H")+`,"ticketInfo":{"ticketNumber":"7","ticketSystem":"desk"}`), 200, `"ticketNumber":"7"`)

	// What cannot be proven passes nobody.
	h.must(ownerRG, "PATCH", policy(web, contributor), rules(needsFactor), 200, "MultiFactorAuthentication")
	activate(2, lasting("PT1H"), 400, "MfaRule")
	h.must(ownerRG, "PATCH", policy(web, contributor), rules(strings.Replace(needsFactor, `"MultiFactorAuthentication",`, "", 1), needsClaim), 200, `"claimValue":"c1"`)
	activate(2, lasting("PT1H"), 400, "MfaRule")
	h.must(ownerRG, "PATCH", policy(web, contributor), rules(strings.Replace(needsClaim, "true", "false", 1)), 200, `"isEnabled":false`)

	// The place of activation has a policy too, and it is asked as well.
	h.must(ownerRG, "PATCH", policy(servetest.AKS1, contributor), rules(needsFactor), 200, "Multi")
	h.must(olu, "PUT", activations(servetest.AKS1, 3), wish("SelfActivate", contributor, olu, lasting("PT1H")), 400, "MfaRule")
	activate(4, lasting("PT1H"), 201, "Provisioned")
	if p, own := h.store.Current().Policy(web, role(contributor)); !own || p.UpdatedBy != ownerRG {
		t.Errorf("the policy is of %s", p.UpdatedBy)
	}
}

// JIT-05, JIT-07: what needs an approval waits, grants nothing, and comes to one end.
func TestWhatNeedsAnApprovalWaits(t *testing.T) {
	t.Parallel()
	h := newPIMHouse(t)
	web := servetest.Group
	h.must(ownerRG, "PATCH", policy(web, contributor), rules(needsApproval), 200, `"isApprovalRequired":true`)
	h.must(ownerRG, "PUT", eligibilities(web, 1), wish("AdminAssign", contributor, sleeper, lasting("P30D")), 201, "Provisioned")
	got := h.must(nia, "PUT", activations(web, 2), wish("SelfActivate", contributor, nia, lasting("PT1H")), 201, `"status":"PendingApproval"`)
	if id := got.property("approvalId"); !strings.HasPrefix(id, "/providers/Microsoft.Authorization/roleAssignmentApprovals/") {
		t.Errorf("approval %s", id)
	}
	waiting := func() {
		t.Helper()
		if h.may(nia, web) || len(h.store.Current().AssignmentsOf(nia)) != 0 {
			t.Fatal("what waits for its approval grants something")
		}
	}
	waiting()
	h.must(nia, "PUT", activations(web, 3), wish("SelfActivate", contributor, nia, lasting("PT1H")), 400, "PendingRoleAssignmentRequest")
	requests := provider + "/roleAssignmentScheduleRequests" + pimVersion + "&$filter="
	h.must(ownerRG, "GET", web.String()+requests+"asApprover()", "", 200, nia.String())
	h.must(ownerRG, "GET", activations(web, 2), "", 200, "PendingApproval")
	h.must(nia, "GET", requests+"asApprover()", "", 200, `{"value":[]}`)
	h.must(nia, "GET", requests+"asRequestor()", "", 200, nia.String())
	h.must(olu, "GET", requests+"asRequestor()", "", 200, `{"value":[]}`)
	h.must(olu, "GET", activations(web, 2), "", 403, "AuthorizationFailed")
	cancel := strings.Replace(activations(web, 2), "?", "/cancel?", 1)
	h.must(olu, "POST", cancel, "", 403, "Microsoft.Authorization/roleAssignmentScheduleRequests/cancel/action")

	// Twenty who cancel at once: one does.
	var wg sync.WaitGroup
	ends := make(chan int, 20)
	for range cap(ends) {
		wg.Go(func() { ends <- h.call(nia, "POST", cancel, "").status })
	}
	wg.Wait()
	close(ends)
	count := map[int]int{}
	for status := range ends {
		count[status]++
	}
	if count[200] != 1 || count[400] != 19 {
		t.Errorf("JIT-07: cancelled at once: %v", count)
	}
	h.must(nia, "GET", activations(web, 2), "", 200, `"status":"Canceled"`)

	// After a day nobody can approve it any more.
	h.must(nia, "PUT", activations(web, 4), wish("SelfActivate", contributor, nia, lasting("PT1H")), 201, "PendingApproval")
	h.later(24 * time.Hour)
	h.must(nia, "GET", activations(web, 4), "", 200, `"status":"TimedOut"`)
	h.must(ownerRG, "GET", web.String()+requests+"asApprover()", "", 200, `{"value":[]}`)

	// JIT-05: nor when the eligibility is gone.
	h.must(nia, "PUT", activations(web, 5), wish("SelfActivate", contributor, nia, lasting("PT1H")), 201, "PendingApproval")
	h.must(ownerRG, "PUT", eligibilities(web, 6), wish("AdminRemove", contributor, sleeper, ""), 201, "Revoked")
	h.must(nia, "GET", activations(web, 5), "", 200, `"status":"Canceled"`)
	waiting()
}

// Of many activations at once, one is made.
func TestActivationsAtOnce(t *testing.T) {
	t.Parallel()
	h := newPIMHouse(t)
	web := servetest.Group
	h.must(ownerRG, "PUT", eligibilities(web, 1), wish("AdminAssign", contributor, olu, lasting("P30D")), 201, "Provisioned")
	var wg sync.WaitGroup
	codes := make(chan string, 20)
	for n := range cap(codes) {
		wg.Go(func() {
			got := h.call(olu, "PUT", activations(web, 100+n), wish("SelfActivate", contributor, olu, lasting("PT1H")))
			codes <- fmt.Sprint(got.status, got.code())
		})
	}
	wg.Wait()
	close(codes)
	count := map[string]int{}
	for c := range codes {
		count[c]++
	}
	if count["201"] != 1 || count["400RoleAssignmentExists"] != cap(codes)-1 || len(h.store.Current().AssignmentsOf(olu)) != 1 {
		t.Errorf("%v, and %d assignments", count, len(h.store.Current().AssignmentsOf(olu)))
	}
	// The right may go away while the request is on its way.
	h.must(ownerRG, "PUT", eligibilities(web, 2), wish("AdminAssign", contributor, nia, lasting("P30D")), 201, "Provisioned")
	h.state.first = func() {
		h.must(ownerRG, "PUT", eligibilities(web, 3), wish("AdminRemove", contributor, nia, ""), 201, "Revoked")
	}
	h.must(nia, "PUT", activations(web, 4), wish("SelfActivate", contributor, nia, lasting("PT1H")), 400, "EligibilityRule")
	h.must(ownerRG, "PUT", eligibilities(web, 5), wish("AdminAssign", contributor, sleeper, lasting("P30D")), 201, "Provisioned")
	h.state.first = func() {
		if _, err := h.store.Commit(context.Background(), store.Change{Why: "test", Ops: []estate.Op{{Delete: directory.Membership{Group: sleeper, Member: nested}.Key()}}}); err != nil {
			t.Error(err)
		}
	}
	h.must(nia, "PUT", activations(web, 6), wish("SelfActivate", contributor, nia, lasting("PT1H")), 400, "EligibilityRule")
	h.put(directory.Membership{Group: sleeper, Member: nested})
	h.state.first = func() {
		h.put(directory.User{ID: nia, Tenant: servetest.Tenant, UserPrincipalName: "nia@teknews.cloud", Disabled: true})
	}
	h.must(nia, "PUT", activations(web, 7), wish("SelfActivate", contributor, nia, lasting("PT1H")), 403, "InsufficientPermissions")
	if len(h.store.Current().AssignmentsOf(nia)) != 0 {
		t.Error("she has something")
	}
}

// JIT-13: without the store nothing is granted, here or anywhere.
func TestNothingIsActivatedWithoutTheStore(t *testing.T) {
	t.Parallel()
	kv := &servetest.Outage{Memory: new(store.Memory)}
	h := newPIMHouseOn(t, kv)
	web := servetest.Group
	h.must(ownerRG, "PUT", eligibilities(web, 1), wish("AdminAssign", contributor, olu, lasting("P30D")), 201, "Provisioned")
	kv.On.Store(true)
	if got := h.call(olu, "PUT", activations(web, 2), wish("SelfActivate", contributor, olu, lasting("PT1H"))); got.status < 500 {
		t.Errorf("%d %s", got.status, got.text)
	}
	if h.may(olu, web) || len(h.store.Current().AssignmentsOf(olu)) != 0 {
		t.Error("it was granted")
	}
}

// What was done long ago is forgotten, what waits is not.
func TestHistoryDoesNotGrowWithoutEnd(t *testing.T) {
	t.Parallel()
	h := newPIMHouse(t)
	web := servetest.Group
	var old []record.Record
	for n := range 210 {
		old = append(old, azurerbac.Request{ID: azurerbac.RequestID(servetest.ID(number(1000 + n))), Type: azurerbac.AdminAssign, Status: azurerbac.Provisioned, Scope: web, Principal: olu,
			Role: role(contributor), RequestedBy: root, CreatedOn: h.now().Add(time.Duration(n-300) * time.Second)})
	}
	h.put(old...)
	h.must(ownerRG, "PUT", eligibilities(web, 1), wish("AdminAssign", contributor, olu, lasting("P30D")), 201, "Provisioned")
	if left := len(h.store.Current().RequestsOf(olu)); left != 200 {
		t.Errorf("%d requests are left", left)
	}
	if _, there := h.store.Current().Request(azurerbac.RequestID(servetest.ID(number(1000)))); there {
		t.Error("the oldest is there")
	}
}

func TestElevateAccess(t *testing.T) {
	t.Parallel()
	const path = provider + "/elevateAccess?api-version=2016-07-01"
	rule := directory.RoleAssignment{Principal: olu, Role: directoryrole.GlobalAdministrator}
	h := newPIMHouse(t)
	h.put(rule, directory.RoleAssignment{Principal: nia, Role: directoryrole.GlobalAdministrator, Object: olu})
	h.must(olu, "POST", path, "", 409, "ElevateAccessNotSupported") // there are two tenants

	var gone []estate.Op
	est := h.store.Current()
	del := func(k record.Key) { gone = append(gone, estate.Op{Delete: k}) }
	seen := map[record.Key]bool{}
	var walk func(record.Key)
	walk = func(k record.Key) {
		for _, d := range est.Dependents(k) {
			walk(d)
		}
		if !seen[k] {
			seen[k] = true
			del(k)
		}
	}
	walk(record.KeyOf(record.Tenant, servetest.Tenant2.String()))
	walk(record.KeyOf(record.Subscription, sub2.String()))
	if _, err := h.store.Commit(t.Context(), store.Change{Why: "test", Ops: gone}); err != nil {
		t.Fatal(err)
	}
	for _, who := range []principal.ID{root, nia, contrib, ownerRG} {
		h.must(who, "POST", path, "", 403, "Microsoft.Authorization/elevateAccess/action")
	}
	h.must(olu, "GET", path, "", 405, "MethodNotAllowed")
	h.must(olu, "POST", servetest.Group.String()+path, "", 404, "")
	h.must(olu, "GET", provider+"/roleAssignments"+version, "", 403, "AuthorizationFailed")
	h.must(olu, "POST", path, "", 200, "")
	h.must(olu, "POST", path, "", 200, "")
	list := h.store.Current().AssignmentsOf(olu)
	if len(list) != 1 || list[0].Scope != scope.Root || list[0].Role != role("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9") || list[0].CreatedBy != olu {
		t.Fatalf("he has %+v", list)
	}
	h.must(olu, "GET", provider+"/roleAssignments"+version, "", 200, olu.String())
	h.must(olu, "PUT", servetest.Subscription.String()+provider+"/roleAssignments/"+number(9)+version, assign(owner, olu, ""), 201, owner)
	found := false
	for a, err := range h.store.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || a.By == olu && strings.HasPrefix(a.Why, "elevateAccess")
	}
	if !found {
		t.Error("the audit trail does not say it")
	}
	h.must(olu, "DELETE", provider+"/roleAssignments/"+list[0].ID.String()+version, "", 200, "")
	h.must(olu, "GET", provider+"/roleAssignments"+version, "", 403, "AuthorizationFailed")
}
