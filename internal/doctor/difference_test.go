package doctor_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/doctor"
)

func TestTwoTextsDifferInOneWay(t *testing.T) {
	t.Parallel()
	const sa = "system:serviceaccount:"
	for _, tt := range []struct {
		law, got, want string
		kind           doctor.Kind
		at             int
		detail         string
	}{
		{"the slash of AKS's issuer is forgotten", "https://c.example/t/u", "https://c.example/t/u/", doctor.TrailingSlash, 21, "missing"},
		{"or there is one too many", "https://c.example/t/u/", "https://c.example/t/u", doctor.TrailingSlash, 21, "too many"},
		{"letters are compared exactly", sa + "shop:Web", sa + "shop:web", doctor.LetterCase, 27, "case"},
		{"nobody sees a blank", sa + "shop: web", sa + "shop:web", doctor.Blanks, 27, "blanks"},
		{"http is not https", "http://c.example/", "https://c.example/", doctor.Scheme, 4, "must say https"},
		{"api:// is missing", "AzureADTokenExchange", "api://AzureADTokenExchange", doctor.Prefix, 0, "api:// is missing"},
		{"api:// is too much", "api://x", "x", doctor.Prefix, 0, "too much"},
		{"the prefix of service accounts is missing", "shop:web", sa + "shop:web", doctor.Prefix, 1, sa + " is missing"},
		{"another namespace", sa + "test:web", sa + "shop:web", doctor.OtherNamespace, 22, "the namespace is test, not shop"},
		{"another service account", sa + "shop:job", sa + "shop:web", doctor.OtherServiceAccount, 27, "the service account is job, not web"},
		{"both", sa + "test:job", sa + "shop:web", doctor.OtherNamespace, 22, "and the service account job, not web"},
		{"another host", "https://a.example/x", "https://b.example/x", doctor.OtherHost, 8, "the host is a.example, not b.example"},
		{"another issuer of the same host", "https://a.example/x/", "https://a.example/y/", doctor.OtherPath, 18, "same host"},
		{"one ends early", "repo:a/b", "repo:a/b:ref", doctor.OtherText, 8, "ends too early"},
		{"there is none", "", "x", doctor.OtherText, 0, "there is none"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			d := doctor.Compare(tt.got, tt.want)
			if d == nil || d.Kind != tt.kind || d.At != tt.at || !strings.Contains(d.Detail, tt.detail) {
				t.Errorf("Compare(%q, %q) = %+v, want %s at %d with %q", tt.got, tt.want, d, tt.kind, tt.at, tt.detail)
			}
		})
	}
}

func FuzzTextsDifferIfAndOnlyIfTheyAreNotTheSame(f *testing.F) {
	f.Add("https://c.example/", "https://c.example")
	f.Add("system:serviceaccount:a:b", "system:serviceaccount:a:c")
	f.Fuzz(func(t *testing.T, got, want string) {
		d := doctor.Compare(got, want)
		if (d == nil) != (got == want) {
			t.Fatalf("Compare(%q, %q) = %+v", got, want, d)
		}
		if d != nil && (d.At > len(got) || d.At > len(want) || got[:d.At] != want[:d.At] || d.Kind == "" || d.Detail == "") {
			t.Fatalf("Compare(%q, %q) = %+v", got, want, d)
		}
	})
}
