package vault_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

func policy(t testing.TB, p vault.Policy) vault.Policy {
	t.Helper()
	p, err := p.Complete()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestACertificateIsWhatItsPolicySays(t *testing.T) {
	t.Parallel()
	p := policy(t, vault.Policy{Subject: `CN=web.example, OU=Shop, O="Example, Inc"`, DNS: []string{"web.example", "*.web.example"}, Emails: []string{"ops@web.example"}, Months: 6, Key: vault.KeySpec{Type: "EC"}})
	key, _ := generate(t, p.Key)
	cert, err := p.SelfSign(key, noon)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cert.Subject.String(), `CN=web.example,OU=Shop,O=Example\, Inc`; got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
	if !slices.Equal(cert.DNSNames, p.DNS) || !slices.Equal(cert.EmailAddresses, p.Emails) {
		t.Errorf("names %q and %q", cert.DNSNames, cert.EmailAddresses)
	}
	if cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
		t.Errorf("CA %t, usage %v, extended %v", cert.IsCA, cert.KeyUsage, cert.ExtKeyUsage)
	}
	if want := noon.AddDate(0, 6, 0); !cert.NotAfter.Equal(want) || !cert.NotBefore.Before(noon) {
		t.Errorf("valid from %s until %s, want until %s", cert.NotBefore, cert.NotAfter, want)
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		t.Error(err)
	}
}

func TestPoliciesThatCannotBeFollowedAreRefused(t *testing.T) {
	t.Parallel()
	for law, p := range map[string]vault.Policy{
		"nobody":                       {},
		"an issuer elsewhere":          {Subject: "CN=a", Issuer: "DigiCert"},
		"a subject without a name":     {Subject: "web.example"},
		"an unknown attribute":         {Subject: "CN=a, X=b"},
		"an empty value":               {Subject: "CN="},
		"a comma at the end":           {Subject: "CN=a,"},
		"a quote without end":          {Subject: `CN="a`},
		"a line in the subject":        {Subject: "CN=a\nO=b"},
		"an endless subject":           {Subject: "CN=" + strings.Repeat("a", 600)},
		"a host name with a slash":     {DNS: []string{"a/b"}},
		"a host name with a port":      {DNS: []string{"a:1"}},
		"a name with a NUL":            {DNS: []string{"a\x00.evil"}},
		"a look-alike":                 {DNS: []string{"ａ.example"}},
		"an unknown usage":             {Subject: "CN=a", Usages: []string{"everything"}},
		"an extended usage by name":    {Subject: "CN=a", Extended: []string{"serverAuth"}},
		"an extended usage of numbers": {Subject: "CN=a", Extended: []string{"1.2.99999999999"}},
		"a certificate without end":    {Subject: "CN=a", Months: 100_000},
		"a negative life":              {Subject: "CN=a", Months: -1},
		"a key in hardware":            {Subject: "CN=a", Key: vault.KeySpec{Type: "RSA-HSM"}},
		"a secret of another type":     {Subject: "CN=a", ContentType: "text/plain"},
		"renewed twice":                {Subject: "CN=a", RenewPercent: 80, RenewDays: 3},
		// Due as soon as it is made, it would get versions without end.
		"renewed before it is made": {Subject: "CN=a", Months: 1, RenewDays: 28},
		"renewed after its end":     {Subject: "CN=a", RenewPercent: 100},
	} {
		if got, err := p.Complete(); !errors.Is(err, record.ErrInvalid) || got.Issuer != "" {
			t.Errorf("%s: %+v, %v, want ErrInvalid", law, got, err)
		}
	}
}

func TestBundlesGoOutAndComeBack(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{vault.PKCS12, vault.PEM} {
		p := policy(t, vault.Policy{Subject: "CN=a", ContentType: contentType, Usages: []string{"keyCertSign", "cRLSign"}, Extended: []string{}})
		key, _ := generate(t, p.Key)
		cert, err := p.SelfSign(key, noon)
		if err != nil {
			t.Fatal(err)
		}
		b, err := vault.Merge(key, [][]byte{cert.Raw})
		if err != nil {
			t.Fatal(err)
		}
		value, err := b.Secret(contentType, false)
		if err != nil {
			t.Fatal(err)
		}
		again, typ, err := vault.ReadBundle(value, "")
		if err != nil || typ != contentType || !bytes.Equal(again.Chain[0].Raw, cert.Raw) {
			t.Fatalf("%s: read as %s, %v", contentType, typ, err)
		}
		der, _ := key.Marshal()
		if got, err := again.Key.Marshal(); err != nil || !bytes.Equal(got, der) {
			t.Errorf("%s: another key came back: %v", contentType, err)
		}
		// What is not to be exported is not in the secret.
		hidden, err := b.Secret(contentType, true)
		if err != nil || strings.Contains(hidden, "PRIVATE") {
			t.Errorf("%s: a hidden key shows: %v", contentType, err)
		}
		if _, _, err := vault.ReadBundle(hidden, ""); err == nil {
			t.Errorf("%s: a bundle comes out of a certificate alone", contentType)
		}
		q, err := vault.PolicyOf(again, typ, false)
		if err != nil || q.Subject != "CN=a" || q.Months != 12 || !slices.Equal(q.Usages, []string{"cRLSign", "keyCertSign"}) {
			t.Errorf("%s: its policy is %+v, %v", contentType, q, err)
		}
	}
}

func TestBundlesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	p := policy(t, vault.Policy{Subject: "CN=a", Key: vault.KeySpec{Type: "EC"}})
	key, _ := generate(t, p.Key)
	other, _ := generate(t, p.Key)
	cert, err := p.SelfSign(key, noon)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := vault.Merge(other, [][]byte{cert.Raw}); !errors.Is(err, record.ErrInvalid) || b.Chain != nil {
		t.Errorf("a certificate of another key is merged: %v", err)
	}
	b, _ := vault.Merge(key, [][]byte{cert.Raw})
	text, _ := b.Secret(vault.PEM, false)
	b.Key = other
	mixed, _ := b.Secret(vault.PEM, false)
	for law, value := range map[string]string{
		"nothing": "", "no base64": "%", "base64 of nothing": base64.StdEncoding.EncodeToString([]byte("x")), "a key of another": mixed,
		"two keys": text + mixed[:strings.Index(mixed, "-----BEGIN CERTIFICATE")], "text behind it": text + "x", "a secret of another sort": "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"eleven certificates": text + strings.Repeat(text[strings.Index(text, "-----BEGIN CERTIFICATE"):], 10), "no end": strings.Repeat(text, 100),
	} {
		if got, _, err := vault.ReadBundle(value, ""); !errors.Is(err, record.ErrInvalid) || got.Chain != nil {
			t.Errorf("%s: %v, want ErrInvalid", law, err)
		}
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	until := noon.Add(100 * 24 * time.Hour)
	for want, p := range map[time.Time]vault.Policy{noon.Add(80 * 24 * time.Hour): {RenewPercent: 80}, noon.Add(70 * 24 * time.Hour): {RenewDays: 30}, {}: {}} {
		if got := p.RenewAt(noon, until); !got.Equal(want) {
			t.Errorf("%+v: renewed at %s, want %s", p, got, want)
		}
	}
}

func FuzzSubject(f *testing.F) {
	f.Add(`CN=web.example, OU=Shop, O="Example, Inc"`)
	f.Add(`CN=a\,b+c`)
	f.Fuzz(func(t *testing.T, subject string) {
		p, err := vault.Policy{Subject: subject, Key: vault.KeySpec{Type: "EC"}}.Complete()
		if err != nil {
			return
		}
		cert, err := p.SelfSign(fuzzKey, noon)
		if err != nil {
			t.Fatalf("%q passes, and cannot be made: %v", subject, err)
		}
		// One value for each name that was written, whatever is in the values.
		if got := len(cert.Subject.Names); got > strings.Count(subject, "=") {
			t.Errorf("%q became %d names", subject, got)
		}
	})
}

var fuzzKey, _ = vault.Generate(vault.KeySpec{Type: "EC"})

func FuzzReadBundle(f *testing.F) {
	p, _ := vault.Policy{Subject: "CN=a", Key: vault.KeySpec{Type: "EC"}}.Complete()
	cert, _ := p.SelfSign(fuzzKey, noon)
	b, _ := vault.Merge(fuzzKey, [][]byte{cert.Raw})
	for _, typ := range []string{vault.PEM, vault.PKCS12} {
		text, _ := b.Secret(typ, false)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, typ, err := vault.ReadBundle(value, "")
		if err != nil {
			if got.Chain != nil || !got.Key.IsZero() {
				t.Error("a bundle together with an error")
			}
			return
		}
		text, err := got.Secret(typ, false)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := vault.ReadBundle(text, ""); err != nil || !again.Chain[0].Equal(got.Chain[0]) {
			t.Errorf("what was read is written as something else: %v", err)
		}
	})
}
