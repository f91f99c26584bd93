package inject_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/inject"
)

func TestConfigurationsAreChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law    string
		change func(*inject.Config)
		want   string // part of the error; "" means none
	}{
		{"the usual one is fine", func(*inject.Config) {}, ""},
		{"a tenant is needed", func(c *inject.Config) { c.Tenant = "" }, "no tenant"},
		{"an authority host is needed", func(c *inject.Config) { c.AuthorityHost = "" }, "ends in a slash"},
		{"SDKs glue the tenant to the authority host", func(c *inject.Config) { c.AuthorityHost = "https://login.example" }, "ends in a slash"},
		{"tokens are not sent in the clear", func(c *inject.Config) { c.AuthorityHost = "http://login.example/" }, "https"},
		{"a layout is one of those that there are", func(c *inject.Config) { c.Layout = 7 }, "no layout 7"},
		{"no token is good for both ways", func(c *inject.Config) { c.Audience = "API://aksidentitybinding" }, "pass for either"},
		{"a binding has a token proxy", func(c *inject.Config) { c.Binding = new(inject.Binding) }, "token proxy"},
		{"SDKs refuse a token proxy with a query", func(c *inject.Config) { c.Binding = &inject.Binding{TokenProxy: "https://x/?a=b"} }, "token proxy"},
		{"SDKs refuse a token proxy with a user", func(c *inject.Config) { c.Binding = &inject.Binding{TokenProxy: "https://u:p@x/"} }, "token proxy"},
		{"SDKs refuse a token proxy in the clear", func(c *inject.Config) { c.Binding = &inject.Binding{TokenProxy: "http://x/"} }, "token proxy"},
		{"SDKs refuse CA file and CA data together", func(c *inject.Config) {
			c.Binding = &inject.Binding{TokenProxy: "https://x/", CAData: "pem", CAConfigMap: "ca"}
		}, "refuse both"},
		{"a binding may trust what the system trusts", func(c *inject.Config) { c.Binding = &inject.Binding{TokenProxy: "https://x/"} }, ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			conf := usual()
			tt.change(&conf)
			err := conf.Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}
