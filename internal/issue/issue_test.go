package issue_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var (
	corp = directory.Tenant{ID: directory.TenantID{1}, Domains: []string{"corp.example"}, AllowPasswordGrant: true}
	ana  = directory.User{ID: principal.ID{2}, Tenant: corp.ID, UserPrincipalName: "ana@corp.example"}
)

// A failing state cannot be asked; it is otherwise the real store.
type failing struct{ *store.Store }

func (failing) Fresh(time.Time) error { return store.ErrStale }

func open(t *testing.T, wrap func(*store.Store) issue.State) *issue.Issuer {
	t.Helper()
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{KV: new(store.Memory), Sealer: sealer, Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	op, err := issue.PasswordOp(ana.ID, "a long password", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Put: corp}, {Put: ana}}, Private: []store.PrivateOp{op}}); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(t.Context(), keys.Config{State: s, Alg: token.ES256})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	i, err := issue.New(issue.Config{State: wrap(s), Keys: ring, Authority: "https://gatehouse.example:8443", Fronts: []string{"https://login.microsoftonline.com"}})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func real(s *store.Store) issue.State { return s }

func code(err error) int {
	if e, ok := errors.AsType[*issue.Error](err); ok {
		return e.Code
	}
	return 0
}

func TestTheIssuerOfAHouseIsItsAuthority(t *testing.T) {
	t.Parallel()
	i := open(t, real)
	ans, err := i.Token(t.Context(), issue.TokenRequest{
		Realm: "corp.example", GrantType: "password", ClientID: issue.ManagementClient.String(), Scope: "api://gatehouse/.default",
		Username: ana.UserPrincipalName, Password: issue.NewSecret("a long password"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := token.Want{Tenant: corp.ID, Issuers: []string{"https://gatehouse.example:8443/" + corp.ID.String() + "/"}, Audiences: []string{"api://gatehouse"}, Purpose: token.AccessToken}
	c, err := token.Verify(ans.AccessToken, i.Keys(), want, time.Now())
	if err != nil || c.ObjectID != ana.ID || c.AppID != issue.ManagementClient || !cmp.Equal(c.Scopes, []string{"user_impersonation"}) {
		t.Errorf("%+v, %v", c, err)
	}
	if life := c.Expires.Sub(c.IssuedAt); life != issue.AccessLife {
		t.Errorf("life %s", life)
	}
}

func TestAReplicaThatIsTooOldIssuesNothing(t *testing.T) {
	t.Parallel()
	i := open(t, func(s *store.Store) issue.State { return failing{s} })
	_, err := i.Token(t.Context(), issue.TokenRequest{Realm: "corp.example", GrantType: "password", ClientID: issue.AzureCLI.String()})
	if e, ok := errors.AsType[*issue.Error](err); !ok || e.Status != 503 || !errors.Is(err, store.ErrStale) {
		t.Errorf("Token: %v", err)
	}
	if _, err := i.StartDevice(t.Context(), issue.DeviceRequest{Realm: "common", ClientID: issue.AzureCLI.String(), Scope: "openid"}); !errors.Is(err, store.ErrStale) {
		t.Errorf("StartDevice: %v", err)
	}
	if _, err := i.CheckAuthorize(issue.AuthorizeRequest{Realm: "common"}); !errors.Is(err, store.ErrStale) {
		t.Errorf("CheckAuthorize: %v", err)
	}
}

// RX-02.
func TestAFloodOfPasswordsIsTurnedAway(t *testing.T) {
	t.Parallel()
	i := open(t, real)
	realm, err := issue.ResolveRealm(i.Estate(), "corp.example")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := make(map[int]int)
	for n := range 100 {
		wg.Go(func() {
			_, err := i.SignIn(t.Context(), realm, fmt.Sprintf("user%d@corp.example", n), issue.NewSecret("wrong password"), fmt.Sprintf("10.0.0.%d", n))
			mu.Lock()
			defer mu.Unlock()
			got[code(err)]++
		})
	}
	wg.Wait()
	if got[90055] == 0 || got[50126] < 51 || got[90055]+got[50126] != 100 {
		t.Errorf("AADSTS codes %v, want at least 51 checked and the rest turned away", got)
	}
	if who, err := i.SignIn(t.Context(), realm, ana.UserPrincipalName, issue.NewSecret("a long password"), "10.0.0.1"); err != nil || who.User != ana.ID {
		t.Errorf("afterwards: %v", err)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, password string
		ok             bool
	}{
		{"of eight bytes", "12345678", true},
		{"of words", "correct horse battery staple", true},
		{"of other scripts", "пароль-секрет", true},
		{"too short", "1234567", false},
		{"too long", strings.Repeat("a", 257), false},
		{"with a blank at the end", "12345678 ", false},
		{"not UTF-8", "1234567\xff", false},
		{"empty", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			op, err := issue.PasswordOp(ana.ID, tt.password, time.Now())
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, record.ErrInvalid) {
				t.Errorf("%v", err)
			}
			if tt.ok && bytes.Contains(op.Value, []byte(tt.password)) {
				t.Error("the password is stored")
			}
		})
	}
	if _, err := issue.PasswordOp(principal.ID{}, "12345678", time.Now()); err == nil {
		t.Error("a password of nobody")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	s := issue.NewSecret("hunter22")
	req := issue.TokenRequest{Password: s}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "request", req)
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %q %x", s, s, s, s, s), fmt.Sprintf("%v %+v %#v", req, req, req), log.String()} {
		if strings.Contains(text, "hunter22") || strings.Contains(text, "68756e746572") {
			t.Errorf("%s", text)
		}
	}
	if s.Reveal() != "hunter22" || !issue.NewSecret("").IsZero() || !(issue.Secret{}).IsZero() {
		t.Error("a secret lost its text")
	}
}

func TestClientSecrets(t *testing.T) {
	t.Parallel()
	now := time.Now()
	app := directory.AppID{5}
	s, err := issue.NewClientSecret(app, "ci", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	text := s.Text.Reveal()
	if len(text) < 43 || !strings.HasPrefix(text, s.Hint) || len(s.Hint) > 8 || bytes.Contains(s.Op.Value, []byte(text)) || !s.Expires.Equal(now.Add(time.Hour)) {
		t.Errorf("secret of %d characters, hint %q, expires %s", len(text), s.Hint, s.Expires)
	}
	for _, life := range []time.Duration{0, -1, issue.MaxSecretLife + 1} {
		if _, err := issue.NewClientSecret(app, "", now, life); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("life %s: %v", life, err)
		}
	}
	if _, err := issue.NewClientSecret(directory.AppID{}, "", now, time.Hour); err == nil {
		t.Error("a secret of no application")
	}
}

// JWT-23.
func TestCertificatesAreCheckedWhenTheyAreRegistered(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make := func(key any, public any, edit func(*x509.Certificate)) []byte {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
		edit(tmpl)
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	der := make(good, good.Public(), func(*x509.Certificate) {})
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(good)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	for _, tt := range []struct {
		name string
		text []byte
		ok   bool
	}{
		{"DER", der, true},
		{"PEM", block, true},
		{"with its private key", append(bytes.Clone(block), private...), false},
		{"a private key", private, false},
		{"two of them", append(bytes.Clone(block), block...), false},
		{"nothing", nil, false},
		{"not a certificate", []byte("-----BEGIN CERTIFICATE-----"), false},
		{"expired", make(good, good.Public(), func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), false},
		{"not valid yet", make(good, good.Public(), func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }), false},
		{"of an authority", make(good, good.Public(), func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), false},
		{"of an elliptic curve", make(curve, curve.Public(), func(*x509.Certificate) {}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := issue.AddCertificate(directory.AppID{5}, tt.text, now)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, record.ErrInvalid) {
				t.Errorf("%v", err)
			}
			if tt.ok && (len(c.Thumbprint) != 40 || bytes.Contains(c.Op.Value, pkcs8)) {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://127.0.0.1:8443": "https://127.0.0.1:8443", "https://Login.Example/": "https://login.example",
		"http://x.example": "", "https://x.example/path": "", "https://u@x.example": "", "https://x.example?a": "", "x.example": "", "": "", "https://": "",
	} {
		got, err := issue.CheckAuthority(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("CheckAuthority(%q) = %q, %v", in, got, err)
		}
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, resource string
		names          []string
		err            int
	}{
		{"6dae42f8-4368-4678-94ff-3960e28e3630/.default openid offline_access profile", "6dae42f8-4368-4678-94ff-3960e28e3630", []string{".default"}, 0},
		{"https://management.core.windows.net//.default", "https://management.core.windows.net/", []string{".default"}, 0},
		{"https://graph.microsoft.com/User.Read", "https://graph.microsoft.com", []string{"User.Read"}, 0},
		{"User.Read", "", []string{"User.Read"}, 0},
		{"openid", "", nil, 0},
		{"", "", nil, 0},
		{"  a/b  a/b a/c ", "a", []string{"b", "c"}, 0},
		{"a/b c/d", "", nil, 28000},
		{"a/b d", "", nil, 28000},
		{"a/.default a/b", "", nil, 70011},
		{"/.default", "", nil, 70011},
		{"a/", "", nil, 70011},
		{"6dae42f8-4368-4678-94ff-3960e28e3630", "", nil, 70011},
		{"a/b\tc/d", "", nil, 70011},
		{`a/"b"`, "", nil, 70011},
		{"ä/b", "", nil, 70011},
		{strings.Repeat("a", 5000), "", nil, 70011},
	} {
		t.Run(fmt.Sprintf("%.60q", tt.text), func(t *testing.T) {
			s, err := issue.ParseScopes(tt.text)
			if code(err) != tt.err || (err == nil) != (tt.err == 0) {
				t.Fatalf("%v", err)
			}
			if s.Resource != tt.resource || !cmp.Equal(s.Names, tt.names) {
				t.Errorf("resource %q, names %q", s.Resource, s.Names)
			}
		})
	}
}

// What was read is written so that it reads the same, and an error comes with nothing.
func FuzzParseScopes(f *testing.F) {
	for _, s := range []string{"", "openid", "a/b a/c offline_access", "https://x//.default email profile", "a/b c/d", "a//", "\u212a/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := issue.ParseScopes(in)
		if err != nil {
			if diff := cmp.Diff(issue.Scopes{}, s); diff != "" {
				t.Fatalf("ParseScopes(%q) = %s with %v", in, diff, err)
			}
			return
		}
		again, err := issue.ParseScopes(s.String())
		if err != nil {
			t.Fatalf("ParseScopes(%q) = %q, which does not parse: %v", in, s, err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatalf("ParseScopes(%q) and of %q (-first +second):\n%s", in, s, diff)
		}
	})
}
