package directory_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func TestNamesThatWouldPassForOthersAreRefused(t *testing.T) { // DIR-08
	t.Parallel()
	for _, name := range []string{
		"system:masters", "System:Masters", "SYSTEM:x", "system:node:x", "system:serviceaccount:a:b", "system:",
		" system:masters", "\tsystem:masters", "\u200bsystem:masters", "s\u200bystem:masters", "\ufeffsystem:x",
		"ｓｙｓｔｅｍ：masters", "ｓystem:masters", "ſystem:masters", "sy\u00adstem:x", "s\u0301ystem:x",
		"a\nb", "a\x00b", "a\u202eb", "trailing ", strings.Repeat("x", 513), "\xff",
	} {
		if err := directory.CheckName("group name", name, false); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("CheckName(%q) = %v, want ErrInvalid", name, err)
		}
	}
	for _, name := range []string{"dev-team", "systems: the team", "Ωmega", "a system:b", "Équipe 7", "system"} {
		if err := directory.CheckName("group name", name, false); err != nil {
			t.Errorf("CheckName(%q) = %v, want none", name, err)
		}
	}
}

func TestAUserPrincipalNameHasOneSpelling(t *testing.T) { // DIR-09
	t.Parallel()
	for in, want := range map[string]string{
		"faye@teknews.cloud": "faye@teknews.cloud", "FAYE@TekNews.CLOUD": "faye@teknews.cloud",
		"o'neil.x_y-z+1@a.example": "o'neil.x_y-z+1@a.example", "a#EXT#@b.example": "a#ext#@b.example",
	} {
		if got, err := directory.CanonicalUPN(in); err != nil || got != want {
			t.Errorf("CanonicalUPN(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "faye", "@x.example", "faye@", "fayé@x.example", "ﬀ@x.example", "\u212aate@x.example", "İ@x.example", "ı@x.example", "ſ@x.example", "straße@x.example",
		"a b@x.example", "a@b@c.example", "a@-x.example", "a@x..example", "a@ex\u212aample", "system:node@x.example", "a/b@x.example", "a@x.example ",
		strings.Repeat("a", 300) + "@x.example",
	} {
		if got, err := directory.CanonicalUPN(in); !errors.Is(err, record.ErrInvalid) || got != "" {
			t.Errorf("CanonicalUPN(%q) = %q, %v, want nothing and ErrInvalid", in, got, err)
		}
	}
}

func FuzzCanonicalUPN(f *testing.F) {
	f.Add("FAYE@TekNews.cloud")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := directory.CanonicalUPN(in)
		if err != nil {
			if got != "" {
				t.Fatalf("CanonicalUPN(%q) = %q together with %v", in, got, err)
			}
			return
		}
		if again, err := directory.CanonicalUPN(got); err != nil || again != got || !strings.EqualFold(in, got) {
			t.Fatalf("CanonicalUPN(%q) = %q, then %q, %v", in, got, again, err)
		}
		if directory.IsSystemName(got) {
			t.Fatalf("CanonicalUPN(%q) = %q, a name of the control plane", in, got)
		}
	})
}

func TestRecordsThatMustNotBe(t *testing.T) {
	t.Parallel()
	id, tenant, app := principal.NewID(), directory.NewTenantID(), directory.NewAppID()
	credential := directory.FederatedCredential{Owner: app, Name: "n-1", Issuer: "https://issuer.example/x", Subject: "s", Audiences: []string{"a"}}
	change := func(f func(*directory.FederatedCredential)) directory.FederatedCredential {
		c := credential
		f(&c)
		return c
	}
	uri := func(u string) directory.Application {
		return directory.Application{ID: id, AppID: app, Tenant: tenant, DisplayName: "a", RedirectURIs: []string{u}}
	}
	for law, r := range map[string]record.Record{
		"the zero tenant":                         directory.Tenant{},
		"a tenant without domain":                 directory.Tenant{ID: tenant},
		"a domain in upper case":                  directory.Tenant{ID: tenant, Domains: []string{"X.example"}},
		"the zero user":                           directory.User{},
		"a user without tenant":                   directory.User{ID: id, UserPrincipalName: "a@x.example"},
		"a user whose name is not canonical":      directory.User{ID: id, Tenant: tenant, UserPrincipalName: "A@x.example"},
		"the zero group":                          directory.Group{},
		"a group with a name of the system":       directory.Group{ID: id, Tenant: tenant, DisplayName: "system:masters"},
		"half a membership":                       directory.Membership{Group: id},
		"an application without client id":        directory.Application{ID: id, Tenant: tenant, DisplayName: "a"},
		"a token version that does not exist":     directory.Application{ID: id, AppID: app, Tenant: tenant, DisplayName: "a", TokenVersion: 3},
		"a redirect to plain http":                uri("http://a.example/"),
		"a redirect to a script":                  uri("javascript:alert(1)"),
		"a redirect with a fragment":              uri("https://a.example/#x"),
		"a redirect with a user":                  uri("https://b@a.example/"),
		"a redirect with a wildcard":              uri("https://*.a.example/"),
		"a redirect with a backslash":             uri(`https://a.example\@evil.example/`),
		"a service principal without application": directory.ServicePrincipal{ID: id, Tenant: tenant, DisplayName: "a"},
		"an identity that belongs to nothing":     directory.ManagedIdentity{ID: id, ClientID: app, Tenant: tenant, DisplayName: "a"},
		"a credential without audience":           change(func(c *directory.FederatedCredential) { c.Audiences = nil }),
		"a credential with an empty audience":     change(func(c *directory.FederatedCredential) { c.Audiences = []string{""} }),
		"FED-03: a credential with two audiences": change(func(c *directory.FederatedCredential) { c.Audiences = []string{"a", "b"} }),
		"FED-18: a name of two characters":        change(func(c *directory.FederatedCredential) { c.Name = "ab" }),
		"FED-18: a name of 121 characters":        change(func(c *directory.FederatedCredential) { c.Name = strings.Repeat("a", 121) }),
		"FED-18: a name that begins with a dash":  change(func(c *directory.FederatedCredential) { c.Name = "-abc" }),
		"FED-18: a name with a slash":             change(func(c *directory.FederatedCredential) { c.Name = "a/bc" }),
		"FED-02: no subject":                      change(func(c *directory.FederatedCredential) { c.Subject = "" }),
		"FED-02: a subject with a homoglyph":      change(func(c *directory.FederatedCredential) { c.Subject = "syst\u0435m:serviceaccount:a:b" }),
		"FED-02: a subject with a blank behind":   change(func(c *directory.FederatedCredential) { c.Subject += " " }),
		"a subject of 601 bytes":                  change(func(c *directory.FederatedCredential) { c.Subject = strings.Repeat("s", 601) }),
		"an issuer of 601 bytes":                  change(func(c *directory.FederatedCredential) { c.Issuer = "https://" + strings.Repeat("s", 593) }),
		"an issuer that is not https":             change(func(c *directory.FederatedCredential) { c.Issuer = "http://issuer.example" }),
		"an issuer with a query":                  change(func(c *directory.FederatedCredential) { c.Issuer += "?x" }),
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			if err := r.Validate(); !errors.Is(err, record.ErrInvalid) {
				t.Errorf("Validate = %v, want ErrInvalid", err)
			}
		})
	}
	for law, r := range map[string]record.Record{
		"a credential":          credential,
		"a loopback redirect":   uri("http://localhost/cb"),
		"a plain redirect":      uri("https://a.example/cb"),
		"an identity":           directory.ManagedIdentity{ID: id, ClientID: app, Tenant: tenant, DisplayName: "a", Resource: scope.Root},
		"a user without a name": directory.User{ID: id, Tenant: tenant, UserPrincipalName: "a@x.example"},
	} {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: Validate = %v, want none", law, err)
		}
	}
}
