package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

// vaultKeys makes keys and uses them, and checks with Go's own cryptography what
// comes of it.
func vaultKeys(ctx context.Context, say func(string, ...any)) error {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return err
	}
	c, err := azkeys.NewClient("https://"+named("VAULT")+".vault.azure.net", cred, nil)
	if err != nil {
		return err
	}
	text := []byte("attack at dawn")
	digest := sha256.Sum256(text)

	made, err := c.CreateKey(ctx, "rsa", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeRSA), KeySize: to.Ptr[int32](2048)}, nil)
	if err != nil {
		return fmt.Errorf("create RSA: %w", err)
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(made.Key.N), E: int(new(big.Int).SetBytes(made.Key.E).Int64())}
	say("create: %s of %d bits, for %d operations, a private exponent %t", *made.Key.Kty, pub.N.BitLen(), len(made.Key.KeyOps), made.Key.D != nil)
	sig, err := c.Sign(ctx, "rsa", "", azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmRS256), Value: digest[:]}, nil)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	ps, err := c.Sign(ctx, "rsa", made.Key.KID.Version(), azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmPS256), Value: digest[:]}, nil)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	verified, err := c.Verify(ctx, "rsa", made.Key.KID.Version(), azkeys.VerifyParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmRS256), Digest: digest[:], Signature: sig.Result}, nil)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	say("sign: RS256 %t and by the vault %t, PS256 %t", rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig.Result) == nil, *verified.Value, rsa.VerifyPSS(pub, crypto.SHA256, digest[:], ps.Result, nil) == nil)

	for _, alg := range []azkeys.EncryptionAlgorithm{azkeys.EncryptionAlgorithmRSAOAEP, azkeys.EncryptionAlgorithmRSAOAEP256} {
		sealed, err := c.Encrypt(ctx, "rsa", "", azkeys.KeyOperationParameters{Algorithm: to.Ptr(alg), Value: text}, nil)
		if err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		plain, err := c.Decrypt(ctx, "rsa", sealed.KID.Version(), azkeys.KeyOperationParameters{Algorithm: to.Ptr(alg), Value: sealed.Result}, nil)
		if err != nil {
			return fmt.Errorf("decrypt: %w", err)
		}
		wrapped, err := c.WrapKey(ctx, "rsa", "", azkeys.KeyOperationParameters{Algorithm: to.Ptr(alg), Value: text}, nil)
		if err != nil {
			return fmt.Errorf("wrap: %w", err)
		}
		unwrapped, err := c.UnwrapKey(ctx, "rsa", wrapped.KID.Version(), azkeys.KeyOperationParameters{Algorithm: to.Ptr(alg), Value: wrapped.Result}, nil)
		if err != nil {
			return fmt.Errorf("unwrap: %w", err)
		}
		say("%s: %s, %s", alg, plain.Result, unwrapped.Result)
	}
	_, err = c.Encrypt(ctx, "rsa", "", azkeys.KeyOperationParameters{Algorithm: to.Ptr(azkeys.EncryptionAlgorithmRSA15), Value: text}, nil)
	say("RSA1_5: %s", code(err))

	ec, err := c.CreateKey(ctx, "ec", azkeys.CreateKeyParameters{Kty: to.Ptr(azkeys.KeyTypeEC), Curve: to.Ptr(azkeys.CurveNameP256), KeyOps: []*azkeys.KeyOperation{to.Ptr(azkeys.KeyOperationSign)}}, nil)
	if err != nil {
		return fmt.Errorf("create EC: %w", err)
	}
	es, err := c.Sign(ctx, "ec", "", azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Value: digest[:]}, nil)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	point := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(ec.Key.X), Y: new(big.Int).SetBytes(ec.Key.Y)}
	_, err = c.Verify(ctx, "ec", "", azkeys.VerifyParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Digest: digest[:], Signature: es.Result}, nil)
	say("ES256: %t; what the key is not for: %s", ecdsa.Verify(point, digest[:], new(big.Int).SetBytes(es.Result[:32]), new(big.Int).SetBytes(es.Result[32:])), code(err))

	own, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return err
	}
	d, err := own.Bytes()
	if err != nil {
		return err
	}
	raw, err := own.PublicKey.Bytes()
	if err != nil {
		return err
	}
	half := len(raw) / 2
	imported, err := c.ImportKey(ctx, "mine", azkeys.ImportKeyParameters{Key: &azkeys.JSONWebKey{Kty: to.Ptr(azkeys.KeyTypeEC), Crv: to.Ptr(azkeys.CurveNameP384), D: d, X: raw[1 : 1+half], Y: raw[1+half:]}}, nil)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	say("import: %s, the same point %t", *imported.Key.Crv, bytes.Equal(imported.Key.X, raw[1:1+half]))

	policy, err := c.UpdateKeyRotationPolicy(ctx, "ec", azkeys.KeyRotationPolicy{
		Attributes:      &azkeys.KeyRotationPolicyAttributes{ExpiryTime: to.Ptr("P90D")},
		LifetimeActions: []*azkeys.LifetimeAction{{Action: &azkeys.LifetimeActionType{Type: to.Ptr(azkeys.KeyRotationPolicyActionRotate)}, Trigger: &azkeys.LifetimeActionTrigger{TimeBeforeExpiry: to.Ptr("P30D")}}},
	}, nil)
	if err != nil {
		return fmt.Errorf("rotation policy: %w", err)
	}
	got, err := c.GetKeyRotationPolicy(ctx, "ec", nil)
	if err != nil {
		return fmt.Errorf("rotation policy: %w", err)
	}
	say("rotation policy: %s before the end of %s, %d action", *got.LifetimeActions[0].Trigger.TimeBeforeExpiry, *policy.Attributes.ExpiryTime, len(got.LifetimeActions))
	rotated, err := c.RotateKey(ctx, "ec", nil)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	say("rotate: another version %t, another key %t, it ends %t", rotated.Key.KID.Version() != ec.Key.KID.Version(), !bytes.Equal(rotated.Key.X, ec.Key.X), rotated.Attributes.Expires != nil)

	updated, err := c.UpdateKey(ctx, "ec", "", azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Enabled: to.Ptr(false)}, Tags: map[string]*string{"a": to.Ptr("b")}}, nil)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	_, err = c.Sign(ctx, "ec", "", azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Value: digest[:]}, nil)
	say("update: enabled %t, and then %s", *updated.Attributes.Enabled, code(err))
	backup, err := c.BackupKey(ctx, "rsa", nil)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if _, err := c.DeleteKey(ctx, "rsa", nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := c.PurgeDeletedKey(ctx, "rsa", nil); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	restored, err := c.RestoreKey(ctx, azkeys.RestoreKeyParameters{KeyBackup: backup.Value}, nil)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	keys, versions := 0, 0
	for p := c.NewListKeyPropertiesPager(nil); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		keys += len(page.Value)
	}
	for p := c.NewListKeyPropertiesVersionsPager("ec", nil); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list versions: %w", err)
		}
		versions += len(page.Value)
	}
	say("restore: the same key %t; %d keys, %d versions", bytes.Equal(restored.Key.N, made.Key.N), keys, versions)
	random, err := c.GetRandomBytes(ctx, azkeys.GetRandomBytesParameters{Count: to.Ptr[int32](32)}, nil)
	if err != nil {
		return fmt.Errorf("random bytes: %w", err)
	}
	say("random bytes: %d", len(random.Value))
	return nil
}
