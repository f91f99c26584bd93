package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v6"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
)

// identities makes a user-assigned identity with a federated credential, and
// removes both.
func identities(ctx context.Context, say func(string, ...any)) error {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return err
	}
	clients, err := armmsi.NewClientFactory(named("SUBSCRIPTION"), cred, nil)
	if err != nil {
		return err
	}
	ids, feds := clients.NewUserAssignedIdentitiesClient(), clients.NewFederatedIdentityCredentialsClient()
	group, name := named("GROUP"), "sdk-go"
	made, err := ids.CreateOrUpdate(ctx, group, name, armmsi.Identity{Location: to.Ptr("westeurope"), Tags: map[string]*string{"team": to.Ptr("a")}}, nil)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	say("create: %s in %s, tagged %s", *made.Name, *made.Location, *made.Tags["team"])
	changed, err := ids.Update(ctx, group, name, armmsi.IdentityUpdate{Tags: map[string]*string{"team": to.Ptr("b")}}, nil)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	say("update: tagged %s, the same client id: %t", *changed.Tags["team"], *changed.Properties.ClientID == *made.Properties.ClientID)
	credential := armmsi.FederatedIdentityCredential{Properties: &armmsi.FederatedIdentityCredentialProperties{
		Issuer: to.Ptr("https://oidc.example/cluster"), Subject: to.Ptr("system:serviceaccount:default:app"), Audiences: []*string{to.Ptr("api://AzureADTokenExchange")},
	}}
	fed, err := feds.CreateOrUpdate(ctx, group, name, "app", credential, nil)
	if err != nil {
		return fmt.Errorf("federated credential: %w", err)
	}
	say("federated credential: %s", *fed.Properties.Subject)
	_, err = feds.CreateOrUpdate(ctx, group, name, "app2", credential, nil)
	say("the same issuer and subject again: %s", code(err))
	credential.Properties.Audiences = append(credential.Properties.Audiences, to.Ptr("another"))
	_, err = feds.CreateOrUpdate(ctx, group, name, "app3", credential, nil)
	say("two audiences: %s", code(err))
	n := 0
	for pages := feds.NewListPager(group, name, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		n += len(page.Value)
	}
	say("list: %d", n)
	if _, err := feds.Delete(ctx, group, name, "app", nil); err != nil {
		return fmt.Errorf("delete the federated credential: %w", err)
	}
	if _, err := ids.Delete(ctx, group, name, nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err = ids.Get(ctx, group, name, nil)
	say("get it after its deletion: %s", code(err))
	return nil
}

// clusters reads the clusters of the sample.
func clusters(ctx context.Context, say func(string, ...any)) error {
	client, err := clusterClient()
	if err != nil {
		return err
	}
	for pages := client.NewListPager(nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		for _, c := range page.Value {
			if !strings.Contains(*c.ID, "/resourceGroups/rsg-aksIdentityState") {
				continue // somebody else's
			}
			say("%s: azure rbac %t, local accounts off %t", *c.Name, deref(c.Properties.AADProfile.EnableAzureRBAC), deref(c.Properties.DisableLocalAccounts))
		}
	}
	user, err := client.ListClusterUserCredentials(ctx, "rsg-aksIdentityState1", "aks-1", nil)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	say("credentials: %s", *user.Kubeconfigs[0].Name)
	_, err = client.ListClusterAdminCredentials(ctx, "rsg-aksIdentityState3", "aks-3", nil)
	say("admin credentials of a cluster without local accounts: %s", code(err))
	_, err = client.Get(ctx, "rsg-aksIdentityState1", "aks-9", nil)
	say("a cluster that is not there: %s", code(err))
	return nil
}

// lifecycle makes a real cluster, changes it, and removes it.
func lifecycle(ctx context.Context, say func(string, ...any)) error {
	client, err := clusterClient()
	if err != nil {
		return err
	}
	group, name := named("GROUP"), "sdk-go"
	making, err := client.BeginCreateOrUpdate(ctx, group, name, armcontainerservice.ManagedCluster{
		Location: to.Ptr("westeurope"),
		Identity: &armcontainerservice.ManagedClusterIdentity{Type: to.Ptr(armcontainerservice.ResourceIdentityTypeSystemAssigned)},
		Properties: &armcontainerservice.ManagedClusterProperties{
			DNSPrefix:  to.Ptr("sdk"),
			AADProfile: &armcontainerservice.ManagedClusterAADProfile{Managed: to.Ptr(true), EnableAzureRBAC: to.Ptr(true)},
			AgentPoolProfiles: []*armcontainerservice.ManagedClusterAgentPoolProfile{{
				Name: to.Ptr("nodepool1"), Count: to.Ptr(int32(1)), VMSize: to.Ptr("Standard_DS2_v2"), Mode: to.Ptr(armcontainerservice.AgentPoolModeSystem),
			}},
			OidcIssuerProfile: &armcontainerservice.ManagedClusterOIDCIssuerProfile{Enabled: to.Ptr(true)},
		},
	}, nil)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	made, err := making.PollUntilDone(ctx, nil)
	if err != nil {
		return fmt.Errorf("wait for its creation: %w", err)
	}
	say("create: %s, %d agent pool, an issuer: %t, a principal: %t", *made.Properties.ProvisioningState, len(made.Properties.AgentPoolProfiles),
		made.Properties.OidcIssuerProfile.IssuerURL != nil, made.Identity.PrincipalID != nil)
	cluster := made.ManagedCluster
	cluster.Properties.DisableLocalAccounts = to.Ptr(true)
	changing, err := client.BeginCreateOrUpdate(ctx, group, name, cluster, nil)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	changed, err := changing.PollUntilDone(ctx, nil)
	if err != nil {
		return fmt.Errorf("wait for its update: %w", err)
	}
	say("update: local accounts off %t, still azure rbac %t", deref(changed.Properties.DisableLocalAccounts), deref(changed.Properties.AADProfile.EnableAzureRBAC))
	removing, err := client.BeginDelete(ctx, group, name, nil)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := removing.PollUntilDone(ctx, nil); err != nil {
		return fmt.Errorf("wait for its deletion: %w", err)
	}
	_, err = client.Get(ctx, group, name, nil)
	say("get it after its deletion: %s", code(err))
	return nil
}

func clusterClient() (*armcontainerservice.ManagedClustersClient, error) {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return armcontainerservice.NewManagedClustersClient(named("SUBSCRIPTION"), cred, nil)
}

func deref(b *bool) bool { return b != nil && *b }
