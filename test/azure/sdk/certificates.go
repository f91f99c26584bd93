package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"software.sslmate.com/src/go-pkcs12"
)

// certificates makes, requests and imports certificates, and reads their secrets
// as programs do.
func certificates(ctx context.Context, say func(string, ...any)) error {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return err
	}
	at := "https://" + named("VAULT") + ".vault.azure.net"
	c, err := azcertificates.NewClient(at, cred, nil)
	if err != nil {
		return err
	}
	secrets, err := secretsClient()
	if err != nil {
		return err
	}
	keys, err := azkeys.NewClient(at, cred, nil)
	if err != nil {
		return err
	}
	policy := func(issuer, contentType string) *azcertificates.CertificatePolicy {
		return &azcertificates.CertificatePolicy{
			IssuerParameters: &azcertificates.IssuerParameters{Name: to.Ptr(issuer)},
			KeyProperties:    &azcertificates.KeyProperties{KeyType: to.Ptr(azcertificates.KeyTypeEC), Curve: to.Ptr(azcertificates.CurveNameP256), Exportable: to.Ptr(true)},
			SecretProperties: &azcertificates.SecretProperties{ContentType: to.Ptr(contentType)},
			X509CertificateProperties: &azcertificates.X509CertificateProperties{
				Subject: to.Ptr("CN=web.example"), ValidityInMonths: to.Ptr[int32](6),
				SubjectAlternativeNames: &azcertificates.SubjectAlternativeNames{DNSNames: []*string{to.Ptr("web.example")}},
			},
			LifetimeActions: []*azcertificates.LifetimeAction{{Action: &azcertificates.LifetimeActionType{ActionType: to.Ptr(azcertificates.CertificatePolicyActionAutoRenew)}, Trigger: &azcertificates.LifetimeActionTrigger{LifetimePercentage: to.Ptr[int32](80)}}},
		}
	}
	op, err := c.CreateCertificate(ctx, "web", azcertificates.CreateCertificateParameters{CertificatePolicy: policy("Self", "application/x-pkcs12"), Tags: map[string]*string{"team": to.Ptr("a")}}, nil)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	done, err := c.GetCertificateOperation(ctx, "web", nil)
	if err != nil {
		return fmt.Errorf("operation: %w", err)
	}
	say("create: %s, the same request %t", *done.Status, *done.RequestID == *op.RequestID)
	got, err := c.GetCertificate(ctx, "web", "", nil)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	cert, err := x509.ParseCertificate(got.CER)
	if err != nil {
		return err
	}
	say("get: %s for %v, thumbprint of %d bytes, renewed at %d%%", cert.Subject, cert.DNSNames, len(got.X509Thumbprint), *got.Policy.LifetimeActions[0].Trigger.LifetimePercentage)

	// The certificate's secret is a file that programs read, its key one that signs.
	secret, err := secrets.GetSecret(ctx, got.SID.Name(), got.SID.Version(), nil)
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	file, err := base64.StdEncoding.DecodeString(*secret.Value)
	if err != nil {
		return err
	}
	private, leaf, err := pkcs12.Decode(file, "")
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	say("secret: %s, managed %t, holds the certificate %t and its key %t", *secret.ContentType, *secret.Managed, leaf.Equal(cert), private.(*ecdsa.PrivateKey).PublicKey.Equal(cert.PublicKey))
	digest := make([]byte, 32)
	sig, err := keys.Sign(ctx, got.KID.Name(), got.KID.Version(), azkeys.SignParameters{Algorithm: to.Ptr(azkeys.SignatureAlgorithmES256), Value: digest}, nil)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	_, err = secrets.DeleteSecret(ctx, "web", nil)
	say("key: signs %t; the secret alone cannot be deleted: %s", ecdsa.Verify(cert.PublicKey.(*ecdsa.PublicKey), digest, new(big.Int).SetBytes(sig.Result[:32]), new(big.Int).SetBytes(sig.Result[32:])), code(err))

	// One that another authority signs.
	asked, err := c.CreateCertificate(ctx, "signed", azcertificates.CreateCertificateParameters{CertificatePolicy: policy("Unknown", "application/x-pem-file")}, nil)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	request, err := x509.ParseCertificateRequest(asked.CSR)
	if err != nil {
		return err
	}
	say("request: %s, for %s", *asked.Status, request.Subject)
	signer, ca, err := authority()
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: request.Subject, DNSNames: request.DNSNames, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, tmpl, ca, request.PublicKey, signer)
	if err != nil {
		return err
	}
	_, err = c.MergeCertificate(ctx, "signed", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{ca.Raw}}, nil)
	say("merge another's: %s", code(err))
	merged, err := c.MergeCertificate(ctx, "signed", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{signed, ca.Raw}}, nil)
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	chain, err := secrets.GetSecret(ctx, merged.SID.Name(), "", nil)
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	say("merge: a secret with %d certificates and %d key", strings.Count(*chain.Value, "BEGIN CERTIFICATE"), strings.Count(*chain.Value, "BEGIN PRIVATE KEY"))

	// One that is brought along, as either sort of file.
	own, err := pkcs12.Modern2023.Encode(signer, ca, nil, "s3cret")
	if err != nil {
		return err
	}
	_, err = c.ImportCertificate(ctx, "brought", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: to.Ptr(base64.StdEncoding.EncodeToString(own)), Password: to.Ptr("wrong")}, nil)
	say("import with another password: %s", code(err))
	brought, err := c.ImportCertificate(ctx, "brought", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: to.Ptr(base64.StdEncoding.EncodeToString(own)), Password: to.Ptr("s3cret")}, nil)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return err
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	if _, err := c.ImportCertificate(ctx, "brought", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: to.Ptr(text)}, nil); err != nil {
		return fmt.Errorf("import PEM: %w", err)
	}
	say("import: %s", *brought.Policy.X509CertificateProperties.Subject)

	off, err := c.UpdateCertificate(ctx, "brought", "", azcertificates.UpdateCertificateParameters{CertificateAttributes: &azcertificates.CertificateAttributes{Enabled: to.Ptr(false)}}, nil)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	_, err = secrets.GetSecret(ctx, "brought", "", nil)
	say("update: enabled %t, and its secret %s", *off.Attributes.Enabled, code(err))
	count, versions := 0, 0
	for p := c.NewListCertificatePropertiesPager(nil); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		count += len(page.Value)
	}
	for p := c.NewListCertificatePropertiesVersionsPager("brought", nil); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list versions: %w", err)
		}
		versions += len(page.Value)
	}
	say("list: %d, %d versions", count, versions)
	p, err := c.GetCertificatePolicy(ctx, "web", nil)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	p.X509CertificateProperties.ValidityInMonths = to.Ptr[int32](3)
	if _, err := c.UpdateCertificatePolicy(ctx, "web", p.CertificatePolicy, nil); err != nil {
		return fmt.Errorf("update the policy: %w", err)
	}
	backup, err := c.BackupCertificate(ctx, "web", nil)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if _, err := c.DeleteCertificate(ctx, "web", nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err = secrets.GetSecret(ctx, "web", "", nil)
	say("delete: its secret %s", code(err))
	if _, err := c.RecoverDeletedCertificate(ctx, "web", nil); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if _, err := c.DeleteCertificate(ctx, "web", nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := c.PurgeDeletedCertificate(ctx, "web", nil); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	restored, err := c.RestoreCertificate(ctx, azcertificates.RestoreCertificateParameters{CertificateBackup: backup.Value}, nil)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	again, err := secrets.GetSecret(ctx, restored.SID.Name(), restored.SID.Version(), nil)
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	say("restore: the same secret %t, now for %d months", *again.Value == *secret.Value, *restored.Policy.X509CertificateProperties.ValidityInMonths)
	return nil
}

// authority makes an authority that is nowhere but here.
func authority() (crypto.Signer, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return key, cert, err
}
