package main

import (
	"context"
	"fmt"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	auth "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
)

const contributor = "b24988ac-6180-42a0-ab88-20f7382dd24c"

// eligibility makes somebody eligible for a role, lets him activate it and give it
// back, and takes it away.
func eligibility(ctx context.Context, say func(string, ...any)) error {
	admin, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return err
	}
	user, err := azidentity.NewUsernamePasswordCredential(os.Getenv("AZURE_TENANT_ID"), "04b07795-8ddb-461a-bbee-02f9e1bf7b46", named("USER"), named("PASSWORD"), nil) //nolint:staticcheck // people still use it
	if err != nil {
		return err
	}
	at, who := named("SCOPE"), named("PRINCIPAL")
	asAdmin, err := auth.NewClientFactory(named("SUBSCRIPTION"), admin, nil)
	if err != nil {
		return err
	}
	asUser, err := auth.NewClientFactory(named("SUBSCRIPTION"), user, nil)
	if err != nil {
		return err
	}
	role := to.Ptr("/subscriptions/" + named("SUBSCRIPTION") + "/providers/Microsoft.Authorization/roleDefinitions/" + contributor)

	filter := "roleDefinitionId eq '" + *role + "'"
	policies := asAdmin.NewRoleManagementPolicyAssignmentsClient().NewListForScopePager(at, nil) // it has no filter in this SDK
	page, err := policies.NextPage(ctx)
	if err != nil {
		return fmt.Errorf("policies: %w", err)
	}
	policy := ""
	for _, p := range page.Value {
		if *p.Properties.RoleDefinitionID == *role {
			policy = (*p.Properties.PolicyID)[len(*p.Properties.PolicyID)-36:]
		}
	}
	changed, err := asAdmin.NewRoleManagementPoliciesClient().Update(ctx, at, policy, auth.RoleManagementPolicy{Properties: &auth.RoleManagementPolicyProperties{Rules: []auth.RoleManagementPolicyRuleClassification{
		&auth.RoleManagementPolicyExpirationRule{ID: to.Ptr("Expiration_EndUser_Assignment"), RuleType: to.Ptr(auth.RoleManagementPolicyRuleTypeRoleManagementPolicyExpirationRule),
			IsExpirationRequired: to.Ptr(true), MaximumDuration: to.Ptr("PT2H")},
	}}}, nil)
	if err != nil {
		return fmt.Errorf("change the policy: %w", err)
	}
	for _, r := range changed.Properties.EffectiveRules {
		if e, ok := r.(*auth.RoleManagementPolicyExpirationRule); ok && *e.ID == "Expiration_EndUser_Assignment" {
			say("an activation ends within %s", *e.MaximumDuration)
		}
	}

	eligible := asAdmin.NewRoleEligibilityScheduleRequestsClient()
	made, err := eligible.Create(ctx, at, named("NAME1"), auth.RoleEligibilityScheduleRequest{Properties: &auth.RoleEligibilityScheduleRequestProperties{
		PrincipalID: &who, RoleDefinitionID: role, RequestType: to.Ptr(auth.RequestTypeAdminAssign), Justification: to.Ptr("on call"),
		ScheduleInfo: &auth.RoleEligibilityScheduleRequestPropertiesScheduleInfo{Expiration: &auth.RoleEligibilityScheduleRequestPropertiesScheduleInfoExpiration{
			Type: to.Ptr(auth.TypeAfterDuration), Duration: to.Ptr("P30D")}},
	}}, nil)
	if err != nil {
		return fmt.Errorf("make eligible: %w", err)
	}
	say("made eligible: %s, %s", *made.Properties.Status, *made.Properties.ExpandedProperties.Principal.Type)
	mine := asUser.NewRoleEligibilityScheduleInstancesClient().NewListForScopePager(at, &auth.RoleEligibilityScheduleInstancesClientListForScopeOptions{Filter: to.Ptr("asTarget()")})
	instances, err := mine.NextPage(ctx)
	if err != nil {
		return fmt.Errorf("what is mine: %w", err)
	}
	say("eligible for: %s", *instances.Value[0].Properties.ExpandedProperties.RoleDefinition.DisplayName)

	activate := func(name string, kind auth.RequestType, hours string) error {
		got, err := asUser.NewRoleAssignmentScheduleRequestsClient().Create(ctx, at, name, auth.RoleAssignmentScheduleRequest{Properties: &auth.RoleAssignmentScheduleRequestProperties{
			PrincipalID: &who, RoleDefinitionID: role, RequestType: &kind, Justification: to.Ptr("incident 42"),
			LinkedRoleEligibilityScheduleID: made.Properties.TargetRoleEligibilityScheduleID,
			ScheduleInfo: &auth.RoleAssignmentScheduleRequestPropertiesScheduleInfo{Expiration: &auth.RoleAssignmentScheduleRequestPropertiesScheduleInfoExpiration{
				Type: to.Ptr(auth.TypeAfterDuration), Duration: &hours}},
		}}, nil)
		if err != nil {
			say("%s for %s: %s", kind, hours, code(err))
			return nil
		}
		say("%s for %s: %s", kind, hours, *got.Properties.Status)
		return nil
	}
	for _, try := range []struct{ name, hours string }{{named("NAME2"), "PT3H"}, {named("NAME2"), "PT1H"}, {named("NAME3"), "PT1H"}} {
		if err := activate(try.name, auth.RequestTypeSelfActivate, try.hours); err != nil {
			return err
		}
	}
	active := asUser.NewRoleAssignmentScheduleInstancesClient().NewListForScopePager(at, &auth.RoleAssignmentScheduleInstancesClientListForScopeOptions{Filter: to.Ptr("asTarget()")})
	now, err := active.NextPage(ctx)
	if err != nil {
		return fmt.Errorf("what is active: %w", err)
	}
	for _, a := range now.Value {
		if *a.Properties.RoleDefinitionID == *role {
			say("active: %s, from an eligibility: %t", *a.Properties.AssignmentType, a.Properties.LinkedRoleEligibilityScheduleID != nil)
		}
	}
	if err := activate(named("NAME3"), auth.RequestTypeSelfDeactivate, ""); err != nil {
		return err
	}
	_, err = eligible.Create(ctx, at, named("NAME4"), auth.RoleEligibilityScheduleRequest{Properties: &auth.RoleEligibilityScheduleRequestProperties{
		PrincipalID: &who, RoleDefinitionID: role, RequestType: to.Ptr(auth.RequestTypeAdminRemove),
	}}, nil)
	if err != nil {
		return fmt.Errorf("take it away: %w", err)
	}
	left := asAdmin.NewRoleAssignmentSchedulesClient().NewListForScopePager(at, &auth.RoleAssignmentSchedulesClientListForScopeOptions{Filter: to.Ptr("principalId eq '" + who + "' and " + filter)})
	rest, err := left.NextPage(ctx)
	if err != nil {
		return fmt.Errorf("what is left: %w", err)
	}
	say("left of it: %d", len(rest.Value))
	return nil
}
