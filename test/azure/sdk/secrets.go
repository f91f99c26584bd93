package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

func secretsClient() (*azsecrets.Client, error) {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return azsecrets.NewClient("https://"+named("VAULT")+".vault.azure.net", cred, nil)
}

// secrets goes through everything that the SDK does with a secret.
func secrets(ctx context.Context, say func(string, ...any)) error {
	c, err := secretsClient()
	if err != nil {
		return err
	}
	set, err := c.SetSecret(ctx, "Db", azsecrets.SetSecretParameters{Value: to.Ptr("one"), ContentType: to.Ptr("text/plain"), Tags: map[string]*string{"team": to.Ptr("a")}}, nil)
	if err != nil {
		return fmt.Errorf("set: %w", err)
	}
	first := set.ID.Version()
	say("set: %s %s, recovery %s for %d days", set.ID.Name(), *set.ContentType, *set.Attributes.RecoveryLevel, *set.Attributes.RecoverableDays)
	if _, err = c.SetSecret(ctx, "db", azsecrets.SetSecretParameters{Value: to.Ptr("two")}, nil); err != nil {
		return fmt.Errorf("set again: %w", err)
	}
	newest, err := c.GetSecret(ctx, "db", "", nil)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	was, err := c.GetSecret(ctx, "db", first, nil)
	if err != nil {
		return fmt.Errorf("get the first version: %w", err)
	}
	say("get: %s, and before %s", *newest.Value, *was.Value)
	_, err = c.GetSecret(ctx, "other", "", nil)
	say("get what is not there: %s", code(err))
	updated, err := c.UpdateSecretProperties(ctx, "db", first, azsecrets.UpdateSecretPropertiesParameters{SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(false)}}, nil)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	_, err = c.GetSecret(ctx, "db", first, nil)
	say("update: enabled %t, tagged %s, and then %s", *updated.Attributes.Enabled, *updated.Tags["team"], code(err))
	for i := range 30 { // more than a page
		if _, err := c.SetSecret(ctx, fmt.Sprintf("many-%02d", i), azsecrets.SetSecretParameters{Value: to.Ptr("x")}, nil); err != nil {
			return fmt.Errorf("set many: %w", err)
		}
	}
	found, pages := 0, 0
	for p := c.NewListSecretPropertiesPager(nil); p.More(); pages++ {
		page, err := p.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		found += len(page.Value)
	}
	versions := 0
	for p := c.NewListSecretPropertiesVersionsPager("db", nil); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list versions: %w", err)
		}
		versions += len(page.Value)
	}
	say("list: %d on %d pages, %d versions", found, pages, versions)
	backup, err := c.BackupSecret(ctx, "db", nil)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	deleted, err := c.DeleteSecret(ctx, "db", nil)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err = c.SetSecret(ctx, "db", azsecrets.SetSecretParameters{Value: to.Ptr("three")}, nil)
	say("delete: %s is there %t, set again %s", deleted.ID.Name(), deleted.RecoveryID != nil, code(err))
	if _, err := c.RecoverDeletedSecret(ctx, "db", nil); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if _, err := c.DeleteSecret(ctx, "db", nil); err != nil {
		return fmt.Errorf("delete again: %w", err)
	}
	n := 0
	for p := c.NewListDeletedSecretPropertiesPager(nil); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list the deleted: %w", err)
		}
		n += len(page.Value)
	}
	if _, err := c.PurgeDeletedSecret(ctx, "db", nil); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	_, err = c.GetDeletedSecret(ctx, "db", nil)
	say("purge: of %d, and then %s", n, code(err))
	if _, err := c.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: backup.Value}, nil); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	newest, err = c.GetSecret(ctx, "db", "", nil)
	if err != nil {
		return fmt.Errorf("get what was restored: %w", err)
	}
	say("restore: %s", *newest.Value)
	return nil
}

// secret reads the one secret that it may read, and tries what it may not.
func secret(ctx context.Context, say func(string, ...any)) error {
	c, err := secretsClient()
	if err != nil {
		return err
	}
	got, err := c.GetSecret(ctx, "mine", "", nil)
	if err != nil {
		return err
	}
	say("mine: %s", *got.Value)
	_, err = c.GetSecret(ctx, "theirs", "", nil)
	say("theirs: %s", code(err))
	_, err = c.SetSecret(ctx, "mine", azsecrets.SetSecretParameters{Value: to.Ptr("x")}, nil)
	say("set mine: %s", code(err))
	_, err = c.NewListSecretPropertiesPager(nil).NextPage(ctx)
	var refusal *azcore.ResponseError
	say("list: %s, as JSON %t", code(err), errors.As(err, &refusal))
	return nil
}

// setSecret sets one secret.
func setSecret(ctx context.Context, _ func(string, ...any)) error {
	c, err := secretsClient()
	if err != nil {
		return err
	}
	_, err = c.SetSecret(ctx, named("NAME"), azsecrets.SetSecretParameters{Value: to.Ptr(named("VALUE"))}, nil)
	return err
}
