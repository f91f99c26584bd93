package azure_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// newVault is a vault of the sample estate, and an app that administers it.
func newVault(t *testing.T, h *azure.House, name string) (scope.Scope, azure.App) {
	t.Helper()
	at := scope.MustParse(sample.Subscription + "/resourceGroups/MyResourceGroup/providers/Microsoft.KeyVault/vaults/" + name)
	p, err := resource.ParseProperties([]byte(`{"enableRbacAuthorization":true}`))
	if err != nil {
		t.Fatal(err)
	}
	app := h.NewApp(t, name+"-admin")
	h.Change(t, resource.Other{Scope: at, Name: name, Type: "Microsoft.KeyVault/vaults", Location: "westeurope", Properties: p})
	grant(t, h, app.Principal, "Key Vault Administrator", at.String())
	return at, app
}

// vaultDesk is a desk at which an app works with a vault.
func vaultDesk(t *testing.T, h *azure.House, vault string, app azure.App) *azure.Desk {
	t.Helper()
	desk := h.Desk(t)
	asApp(desk, app.AppID.String(), app.Secret)
	desk.Env = append(desk.Env, "SDK_VAULT="+vault)
	return desk
}

func TestTheSDKForGoKeepsSecrets(t *testing.T) {
	t.Parallel()
	h := azure.Shared(t, azure.Options{})
	_, app := newVault(t, h, "kv-secrets")
	play(t, vaultDesk(t, h, "kv-secrets", app), "secrets", map[string][]string{"azsecrets": {
		"SetSecret", "GetSecret", "UpdateSecretProperties", "NewListSecretPropertiesPager", "NewListSecretPropertiesVersionsPager", "BackupSecret", "DeleteSecret",
		"RecoverDeletedSecret", "NewListDeletedSecretPropertiesPager", "PurgeDeletedSecret", "GetDeletedSecret", "RestoreSecret",
	}},
		"set: Db text/plain, recovery Recoverable+Purgeable for 90 days",
		"get: two, and before one",
		"get what is not there: 404 SecretNotFound",
		"update: enabled false, tagged a, and then 403 Forbidden",
		"list: 31 on 2 pages, 2 versions",
		"delete: Db is there true, set again 409 Conflict",
		"purge: of 1, and then 404 SecretNotFound",
		"restore: two")
}

// Story 27 ends like this: a workload reads the one secret that it was given.
func TestAWorkloadReadsTheOneSecretItWasGiven(t *testing.T) {
	t.Parallel()
	h := azure.Shared(t, azure.Options{})
	at, admin := newVault(t, h, "kv-one")
	for _, name := range []string{"mine", "theirs"} {
		set(t, vaultDesk(t, h, "kv-one", admin), name, "value of "+name)
	}
	app := h.NewApp(t, "workload")
	grant(t, h, app.Principal, "Key Vault Secrets User", at.String()+"/secrets/mine")
	play(t, vaultDesk(t, h, "kv-one", app), "secret", map[string][]string{"azsecrets": {"GetSecret"}},
		"mine: value of mine",
		"theirs: 403 Forbidden",
		"set mine: 403 Forbidden",
		"list: 403 Forbidden, as JSON true")
}

// set sets a secret.
func set(t *testing.T, desk *azure.Desk, name, value string) {
	t.Helper()
	sdk, err := program()
	if err != nil {
		t.Fatal(err)
	}
	desk.Env = append(desk.Env, "SDK_NAME="+name, "SDK_VALUE="+value)
	if res := desk.Run(t, sdk, "setsecret"); res.Code != 0 {
		t.Fatalf("set %s: %s%s", name, res.Out, res.Err)
	}
}

func TestTheSDKForGoUsesKeys(t *testing.T) {
	t.Parallel()
	h := azure.Shared(t, azure.Options{})
	_, app := newVault(t, h, "kv-keys")
	play(t, vaultDesk(t, h, "kv-keys", app), "vaultkeys", map[string][]string{"azkeys": {
		"CreateKey", "Sign", "Verify", "Encrypt", "Decrypt", "WrapKey", "UnwrapKey", "ImportKey", "UpdateKeyRotationPolicy", "GetKeyRotationPolicy", "RotateKey",
		"UpdateKey", "BackupKey", "DeleteKey", "PurgeDeletedKey", "RestoreKey", "NewListKeyPropertiesPager", "NewListKeyPropertiesVersionsPager", "GetRandomBytes",
	}},
		"create: RSA of 2048 bits, for 6 operations, a private exponent false",
		"sign: RS256 true and by the vault true, PS256 true",
		"RSA-OAEP: attack at dawn, attack at dawn",
		"RSA-OAEP-256: attack at dawn, attack at dawn",
		"RSA1_5: 400 BadParameter",
		"ES256: true; what the key is not for: 403 Forbidden",
		"import: P-384, the same point true",
		"rotation policy: P30D before the end of P90D, 1 action",
		"rotate: another version true, another key true, it ends true",
		"update: enabled false, and then 403 Forbidden",
		"restore: the same key true; 3 keys, 2 versions",
		"random bytes: 32")
}

func TestTheSDKForGoMakesCertificates(t *testing.T) {
	t.Parallel()
	h := azure.Shared(t, azure.Options{})
	_, app := newVault(t, h, "kv-certs")
	play(t, vaultDesk(t, h, "kv-certs", app), "certificates", map[string][]string{"azcertificates": {
		"CreateCertificate", "GetCertificateOperation", "GetCertificate", "MergeCertificate", "ImportCertificate", "UpdateCertificate", "NewListCertificatePropertiesPager",
		"NewListCertificatePropertiesVersionsPager", "GetCertificatePolicy", "UpdateCertificatePolicy", "BackupCertificate", "DeleteCertificate",
		"RecoverDeletedCertificate", "PurgeDeletedCertificate", "RestoreCertificate",
	}},
		"create: completed, the same request true",
		"get: CN=web.example for [web.example], thumbprint of 20 bytes, renewed at 80%",
		"secret: application/x-pkcs12, managed true, holds the certificate true and its key true",
		"key: signs true; the secret alone cannot be deleted: 409 Conflict",
		"request: inProgress, for CN=web.example",
		"merge another's: 400 BadParameter",
		"merge: a secret with 2 certificates and 1 key",
		"import with another password: 400 BadParameter",
		"import: CN=authority",
		"update: enabled false, and its secret 403 Forbidden",
		"list: 3, 2 versions",
		"delete: its secret 404 SecretNotFound",
		"restore: the same secret true, now for 3 months")
}
