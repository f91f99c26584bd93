package main

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
)

// credentials gets a token by each credential type that the environment has
// settings for.
func credentials(ctx context.Context, say func(string, ...any)) error {
	tenant, id, secret := os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID"), os.Getenv("AZURE_CLIENT_SECRET")
	get := func(name string, cred azcore.TokenCredential, err error) {
		if err != nil {
			say("%s: %s", name, code(err))
			return
		}
		token, err := cred.GetToken(ctx, management)
		if err != nil {
			say("%s: %s", name, code(err))
			return
		}
		say("%s: a token of %d parts until later", name, 1+dots(token.Token))
	}
	bySecret, err := azidentity.NewClientSecretCredential(tenant, id, secret, nil)
	get("ClientSecretCredential", bySecret, err)
	byEnvironment, err := azidentity.NewEnvironmentCredential(nil)
	get("EnvironmentCredential", byEnvironment, err)
	byDefault, err := azidentity.NewDefaultAzureCredential(nil)
	get("DefaultAzureCredential", byDefault, err)
	byPassword, err := azidentity.NewUsernamePasswordCredential(tenant, "04b07795-8ddb-461a-bbee-02f9e1bf7b46", named("USER"), named("PASSWORD"), nil) //nolint:staticcheck // people still use it
	get("UsernamePasswordCredential", byPassword, err)
	wrong, err := azidentity.NewClientSecretCredential(tenant, id, "wrong", nil)
	if err != nil {
		return err
	}
	if _, err = wrong.GetToken(ctx, management); err == nil {
		return fmt.Errorf("a wrong secret gets a token")
	}
	say("a wrong secret: refused")
	return nil
}

func dots(s string) (n int) {
	for _, c := range s {
		if c == '.' {
			n++
		}
	}
	return n
}

// roles gives somebody a role and takes it away.
func roles(ctx context.Context, say func(string, ...any)) error {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return err
	}
	definitions, err := armauthorization.NewRoleDefinitionsClient(cred, nil)
	if err != nil {
		return err
	}
	assignments, err := armauthorization.NewRoleAssignmentsClient(named("SUBSCRIPTION"), cred, nil)
	if err != nil {
		return err
	}
	at, who := named("SCOPE"), named("PRINCIPAL")
	var role *armauthorization.RoleDefinition
	pages := definitions.NewListPager(at, &armauthorization.RoleDefinitionsClientListOptions{Filter: to.Ptr("roleName eq 'azure kubernetes service RBAC reader'")})
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, d := range page.Value {
			say("role: %s, %s", *d.Properties.RoleName, *d.Properties.RoleType)
			role = d
		}
	}
	if role == nil {
		return fmt.Errorf("no role found")
	}
	first, second := named("NAME1"), named("NAME2")
	wanted := armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		PrincipalID: &who, PrincipalType: to.Ptr(armauthorization.PrincipalTypeUser), RoleDefinitionID: role.ID, Description: to.Ptr("by the SDK for Go"),
	}}
	made, err := assignments.Create(ctx, at, first, wanted, nil)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	say("create: %s for a %s", *made.Properties.Description, *made.Properties.PrincipalType)
	_, err = assignments.Create(ctx, at, second, wanted, nil)
	say("create it again under another name: %s", code(err))
	_, err = assignments.Create(ctx, at, first, armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		PrincipalID: to.Ptr(named("OTHER")), RoleDefinitionID: role.ID,
	}}, nil)
	say("give it to somebody else: %s", code(err))
	_, err = assignments.Create(ctx, at, second, armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		PrincipalID: to.Ptr("00000000-1111-4000-8000-000000000000"), RoleDefinitionID: role.ID,
	}}, nil)
	say("give it to nobody: %s", code(err))
	found := 0
	// This one parameter the SDK leaves to its callers to encode.
	filter := url.PathEscape("principalId eq '" + who + "'")
	list := assignments.NewListForScopePager(at, &armauthorization.RoleAssignmentsClientListForScopeOptions{Filter: &filter})
	for list.More() {
		page, err := list.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		for _, a := range page.Value {
			if *a.Name == first {
				found++
			}
		}
	}
	say("list: it is there %d times", found)
	got, err := assignments.GetByID(ctx, *made.ID, nil)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	say("get: the same: %t", *got.ID == *made.ID)
	if _, err := assignments.Delete(ctx, at, first, nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err = assignments.Get(ctx, at, first, nil)
	say("get it after its deletion: %s", code(err))
	denies, err := armauthorization.NewDenyAssignmentsClient(named("SUBSCRIPTION"), cred, nil)
	if err != nil {
		return err
	}
	for pages := denies.NewListForScopePager(at, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("deny assignments: %w", err)
		}
		say("deny assignments: %d", len(page.Value))
	}
	return nil
}

// refused is somebody without rights who tries.
func refused(ctx context.Context, say func(string, ...any)) error {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return err
	}
	assignments, err := armauthorization.NewRoleAssignmentsClient(named("SUBSCRIPTION"), cred, nil)
	if err != nil {
		return err
	}
	_, err = assignments.Create(ctx, named("SCOPE"), named("NAME1"), armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		PrincipalID:      to.Ptr(named("PRINCIPAL")),
		RoleDefinitionID: to.Ptr("/subscriptions/" + named("SUBSCRIPTION") + "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"),
	}}, nil)
	say("make oneself Owner: %s", code(err))
	return nil
}
