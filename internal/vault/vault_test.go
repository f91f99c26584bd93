package vault_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

var (
	noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	kv   = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.KeyVault/vaults/kv")
)

func TestNames(t *testing.T) { // ARM-05
	t.Parallel()
	for law, text := range map[string]string{
		"nothing": "", "a dot": "a.b", "dots": "..", "a slash": "a/b", "an escaped slash": "a%2fb", "an underscore": "a_b", "a space": "a b",
		"a NUL": "a\x00", "a Kelvin sign": "\u212A", "a letter with an accent": "é", "128 characters": strings.Repeat("a", 128), "a line": "a\n", "a star": "*",
	} {
		if n, err := vault.ParseName(text); !errors.Is(err, record.ErrInvalid) || n != (vault.Name{}) {
			t.Errorf("%s: ParseName(%q) = %q, %v, want ErrInvalid", law, text, n, err)
		}
	}
	for _, text := range []string{"a", "DB-Password", "0", "-", strings.Repeat("Z", 127)} {
		n, err := vault.ParseName(text)
		if err != nil || n.String() != strings.ToLower(text) {
			t.Errorf("ParseName(%q) = %q, %v", text, n, err)
		}
	}
	a, _ := vault.ParseName("DB")
	b, _ := vault.ParseName("db")
	if a != b {
		t.Error("letter case makes two names") // ARM-03
	}
	want := kv.String() + "/secrets/db"
	if got := (vault.Ref{Vault: kv, Kind: vault.Secrets, Name: a}).Scope(); got.String() != want {
		t.Errorf("the scope of a secret is %q, want %q", got, want)
	}
	for _, r := range []vault.Ref{{}, {Vault: kv}, {Vault: kv, Kind: vault.Keys}, {Kind: vault.Keys, Name: a}} {
		if at := r.Scope(); !at.IsZero() {
			t.Errorf("%+v is at %q, want nowhere", r, at)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	if a, b := vault.NewID(), vault.NewID(); a == b || len(a.String()) != 32 {
		t.Errorf("NewID = %s, %s", a, b)
	}
	for _, text := range []string{"", "latest", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("g", 32), strings.Repeat("0", 31) + "\n"} {
		if id, err := vault.ParseID(text); !errors.Is(err, record.ErrInvalid) || !id.IsZero() {
			t.Errorf("ParseID(%q) = %q, %v, want ErrInvalid", text, id, err)
		}
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law  string
		a    vault.Attributes
		want error
	}{
		{"without bounds it is valid", vault.Attributes{}, nil},
		{"what is disabled is not", vault.Attributes{Disabled: true}, vault.ErrDisabled},
		{"before its time it is not", vault.Attributes{NotBefore: noon.Add(time.Second)}, vault.ErrNotYetValid},
		{"at its first instant it is", vault.Attributes{NotBefore: noon}, nil},
		{"at its end it is not", vault.Attributes{Expires: noon}, vault.ErrExpired},
		{"just before its end it is", vault.Attributes{Expires: noon.Add(time.Second)}, nil},
		{"disabled goes first", vault.Attributes{Disabled: true, Expires: noon}, vault.ErrDisabled},
	} {
		if err := tt.a.Valid(noon); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.law, err, tt.want)
		}
	}
	if err := (vault.Attributes{NotBefore: noon, Expires: noon.Add(-time.Second)}).Validate(); err == nil {
		t.Error("an end before the beginning is accepted")
	}
	many := vault.Tags{}
	for i := range 16 {
		many[strings.Repeat("x", i+1)] = ""
	}
	for law, tags := range map[string]vault.Tags{"16 tags": many, "no name": {"": "x"}, "a long name": {strings.Repeat("x", 257): ""}, "a long value": {"x": strings.Repeat("x", 257)}} {
		if tags.Validate() == nil {
			t.Errorf("%s: accepted", law)
		}
	}
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	o, err := vault.NewObject("db")
	if err != nil {
		t.Fatal(err)
	}
	o, err = o.Add(vault.Version{ID: vault.NewID(), Attributes: vault.Attributes{}.Touched(noon)})
	if err != nil {
		t.Fatal(err)
	}
	week, guarded := vault.Retention{ForDays: 7}, vault.Retention{ForDays: 7, PurgeProtection: true}
	if o.Purgeable(noon, week) == nil {
		t.Error("what is not deleted can be purged")
	}
	if _, err := o.Recover(); err == nil {
		t.Error("what is not deleted can be recovered")
	}
	gone, err := o.Delete(noon, week)
	if err != nil {
		t.Fatal(err)
	}
	end := noon.AddDate(0, 0, 7)
	if gone.Gone(end.Add(-time.Second)) || !gone.Gone(end) || o.Gone(end) {
		t.Error("it is gone at another instant than the end of its retention")
	}
	if _, err := gone.Add(o.Current); !errors.Is(err, vault.ErrDeleted) {
		t.Errorf("a new version of what is deleted: %v, want ErrDeleted", err)
	}
	if _, err := gone.Delete(noon, week); !errors.Is(err, vault.ErrDeleted) {
		t.Errorf("deleted again: %v, want ErrDeleted", err)
	}
	if err := gone.Purgeable(noon, week); err != nil {
		t.Errorf("purge: %v", err)
	}
	if err := gone.Purgeable(noon, guarded); !errors.Is(err, vault.ErrProtected) {
		t.Errorf("purge in a protected vault: %v, want ErrProtected", err)
	}
	if err := gone.Purgeable(end, guarded); err != nil {
		t.Errorf("purge in a protected vault, after the time: %v", err)
	}
	back, err := gone.Recover()
	if diff := cmp.Diff(o, back, cmp.AllowUnexported(vault.ID{})); err != nil || diff != "" {
		t.Errorf("recovered (-before +after): %v\n%s", err, diff)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]vault.Retention{
		"Recoverable+Purgeable": {}, "Recoverable": {PurgeProtection: true},
		"CustomizedRecoverable+Purgeable": {ForDays: 7}, "CustomizedRecoverable": {ForDays: 89, PurgeProtection: true},
	} {
		if got := r.Level(); got != want {
			t.Errorf("%+v is %s, want %s", r, got, want)
		}
	}
	for in, want := range map[int]int{0: 90, 1: 7, 7: 7, 90: 90, 1000: 90, -5: 7} {
		if got := (vault.Retention{ForDays: in}).Days(); got != want {
			t.Errorf("%d days come to %d, want %d", in, got, want)
		}
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	here, there := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.2.3")
	for _, tt := range []struct {
		law, text         string
		rbac, here, there bool
	}{
		{"an empty vault is decided by roles, and open", `{}`, true, true, true},
		{"a vault with access policies is not", `{"accessPolicies":[{"objectId":"x"}]}`, false, true, true},
		{"unless it says so", `{"accessPolicies":[{}],"enableRbacAuthorization":true}`, true, true, true},
		{"nor is one that says no", `{"enableRbacAuthorization":false}`, false, true, true},
		{"in whatever letter case", `{"EnableRbacAuthorization":false}`, false, true, true},
		{"a null says nothing", `{"enableRbacAuthorization":null,"accessPolicies":[]}`, true, true, true},
		{"a private vault is closed", `{"publicNetworkAccess":"Disabled"}`, true, false, false},
		{"and so is one that says what nobody knows", `{"publicNetworkAccess":"SecuredByPerimeter"}`, true, false, false},
		{"a firewall lets nobody in", `{"networkAcls":{"defaultAction":"Deny"}}`, true, false, false},
		{"but those that it names", `{"networkAcls":{"defaultAction":"deny","ipRules":[{"value":"10.1.0.0/16"}]}}`, true, false, true},
		{"one by one", `{"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"127.0.0.1"}],"virtualNetworkRules":[{"id":"x"}]}}`, true, true, false},
		{"a firewall that allows is none", `{"networkAcls":{"defaultAction":"Allow","ipRules":[{"value":"10.0.0.0/8"}]}}`, true, true, true},
	} {
		p, err := vault.ParseProperties([]byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.law, err)
			continue
		}
		if p.RBAC != tt.rbac || p.Reachable(here) != tt.here || p.Reachable(there) != tt.there {
			t.Errorf("%s: %s is RBAC %t, open to loopback %t, to another address %t", tt.law, tt.text, p.RBAC, p.Reachable(here), p.Reachable(there))
		}
	}
	if p := (vault.Properties{}); p.RBAC {
		t.Error("the zero vault is open")
	}
	for _, text := range []string{``, `[]`, `{"enableRbacAuthorization":"no"}`, `{"enableRbacAuthorization":true,"enableRbacAuthorization":false}`,
		`{"enableRbacAuthorization":true,"EnableRBACAuthorization":false}`, `{"tenantId":"x"}`, `{"softDeleteRetentionInDays":6}`,
		`{"softDeleteRetentionInDays":91}`, `{"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"everywhere"}]}}`} {
		if p, err := vault.ParseProperties([]byte(text)); err == nil {
			t.Errorf("%s is accepted as %+v", text, p)
		}
	}
}

func TestPeriods(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]vault.Period{"P90D": {Days: 90}, "P1Y6M": {Years: 1, Months: 6}, "P2Y1M3D": {Years: 2, Months: 1, Days: 3}, "P007D": {Days: 7}} {
		if got, err := vault.ParsePeriod(text); err != nil || got != want {
			t.Errorf("ParsePeriod(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "P", "90D", "P90", "PT1H", "P1D1Y", "P1M1M", "P-1D", "P1.5D", "P0D", "P99999D", "p1d", "P1D ", "P1W"} {
		if got, err := vault.ParsePeriod(text); !errors.Is(err, record.ErrInvalid) || got != (vault.Period{}) {
			t.Errorf("ParsePeriod(%q) = %v, %v, want ErrInvalid", text, got, err)
		}
	}
}

func TestRotationPolicies(t *testing.T) {
	t.Parallel()
	days := func(n int) vault.Period { return vault.Period{Days: n} }
	for law, r := range map[string]vault.RotationPolicy{
		"every day":                           {AfterCreate: days(1)},
		"twice":                               {Life: days(90), AfterCreate: days(30), BeforeExpiry: days(30)},
		"before an end that does not come":    {BeforeExpiry: days(30)},
		"after its end":                       {Life: days(30), AfterCreate: days(40)},
		"just before its end":                 {Life: days(30), AfterCreate: days(28)},
		"as soon as it is made":               {Life: days(30), BeforeExpiry: days(28)},
		"a life that is too short":            {Life: days(3)},
		"its end would be before it was made": {Life: days(30), BeforeExpiry: vault.Period{Years: 1}},
	} {
		if r.Validate() == nil {
			t.Errorf("%s: accepted", law)
		}
	}
	made := vault.Attributes{Created: noon, Expires: noon.AddDate(0, 0, 90)}
	for _, tt := range []struct {
		law   string
		r     vault.RotationPolicy
		after int
		want  bool
	}{
		{"without a trigger never", vault.RotationPolicy{Life: days(90)}, 1000, false},
		{"before the time not yet", vault.RotationPolicy{AfterCreate: days(30)}, 29, false},
		{"at the time it is due", vault.RotationPolicy{AfterCreate: days(30)}, 30, true},
		{"well before the end not yet", vault.RotationPolicy{Life: days(90), BeforeExpiry: days(30)}, 59, false},
		{"so many days before the end it is due", vault.RotationPolicy{Life: days(90), BeforeExpiry: days(30)}, 60, true},
	} {
		if err := tt.r.Validate(); err != nil {
			t.Errorf("%s: %v", tt.law, err)
		}
		if got := tt.r.Due(made, noon.AddDate(0, 0, tt.after)); got != tt.want {
			t.Errorf("%s: due %t after %d days", tt.law, got, tt.after)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("DB-password")
	f.Add("a/../b")
	f.Fuzz(func(t *testing.T, in string) {
		n, err := vault.ParseName(in)
		if err != nil {
			if n != (vault.Name{}) {
				t.Errorf("ParseName(%q) = %q together with %v", in, n, err)
			}
			return
		}
		if again, err := vault.ParseName(n.String()); err != nil || again != n {
			t.Errorf("ParseName(%q) = %q, which parses to %q, %v", in, n, again, err)
		}
		at := vault.Ref{Vault: kv, Kind: vault.Secrets, Name: n}.Scope()
		if up, _ := at.Parent(); up != kv || at.Name() != n.String() {
			t.Errorf("the secret %q is at %q", in, at)
		}
	})
}

func FuzzParsePeriod(f *testing.F) {
	f.Add("P1Y2M3D")
	f.Fuzz(func(t *testing.T, in string) {
		p, err := vault.ParsePeriod(in)
		if err != nil {
			return
		}
		if again, err := vault.ParsePeriod(p.String()); err != nil || again != p {
			t.Errorf("ParsePeriod(%q) = %q, which parses to %q, %v", in, p, again, err)
		}
	})
}

func FuzzParseProperties(f *testing.F) {
	f.Add(`{"networkAcls":{"defaultAction":"Deny","ipRules":[{"value":"10.0.0.0/8"}]}}`)
	f.Fuzz(func(t *testing.T, in string) {
		p, err := vault.ParseProperties([]byte(in))
		if err != nil && (p.RBAC || p.Networks != nil) {
			t.Errorf("%q: %+v together with %v", in, p, err)
		}
	})
}
