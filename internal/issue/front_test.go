package issue_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// OA-47: an issuer is seen under the authorities that it was given, and no other.
func TestFrontsAreConfigured(t *testing.T) {
	t.Parallel()
	i := open(t, real)
	for _, bad := range []string{"https://evil.example", "http://login.microsoftonline.com", "https://login.microsoftonline.com.evil.example", "login.microsoftonline.com", "https://gatehouse.example", ""} {
		if view, err := i.At(bad); err == nil || view != nil {
			t.Errorf("seen at %q: %v", bad, err)
		}
	}
	view, err := i.At("https://LOGIN.microsoftonline.com/")
	if err != nil {
		t.Fatal(err)
	}
	if view.Authority() != "https://login.microsoftonline.com" || i.Authority() != "https://gatehouse.example:8443" {
		t.Errorf("%s and %s", view.Authority(), i.Authority())
	}
	tid := corp.ID.String()
	want := []string{"https://gatehouse.example:8443/" + tid + "/", "https://sts.windows.net/" + tid + "/", "https://gatehouse.example:8443/" + tid + "/v2.0", "https://login.microsoftonline.com/" + tid + "/v2.0"}
	if got := view.Issuers(corp.ID); !slices.Equal(got, want) || !slices.Equal(got, i.Issuers(corp.ID)) {
		t.Errorf("issuers %q, want %q", got, want)
	}
	if got := view.IssuersV1(corp.ID); !slices.Equal(got, want[:2]) {
		t.Errorf("issuers of version 1.0 %q, want %q", got, want[:2])
	}
}

// Clients of a cloud of its own ask for Graph by the URL of the house; the token
// is for Graph all the same, at whichever front they ask.
func TestTheHousesURLIsThatOfGraph(t *testing.T) {
	t.Parallel()
	i := open(t, real)
	view, err := i.At("https://login.microsoftonline.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []*issue.Issuer{i, view} {
		for _, scope := range []string{"https://gatehouse.example:8443/.default", "https://gatehouse.example:8443//.default"} {
			ans, err := at.Token(t.Context(), issue.TokenRequest{Realm: corp.ID.String(), GrantType: "password", ClientID: issue.AzureCLI.String(),
				Username: ana.UserPrincipalName, Password: issue.NewSecret("a long password"), Scope: scope + " openid"})
			if err != nil {
				t.Fatal(err)
			}
			says, err := token.Verify(ans.AccessToken, at.Keys(), token.Want{Tenant: corp.ID, Issuers: at.IssuersV1(corp.ID), Audiences: []string{"https://graph.microsoft.com"}, Purpose: token.AccessToken}, at.Now())
			if err != nil {
				t.Errorf("%s at %s: %v", scope, at.Authority(), err)
			}
			// MSAL keeps a token under the scope that it asked for.
			if !strings.Contains(ans.Scope, scope) || !slices.Contains(says.Scopes, "openid") {
				t.Errorf("%s at %s: scope %q, permissions %q", scope, at.Authority(), ans.Scope, says.Scopes)
			}
		}
	}
	for _, scope := range []string{"https://gatehouse.example/.default", "https://gatehouse.example:8443/x/.default", "https://login.microsoftonline.com/.default"} {
		_, err := i.Token(t.Context(), issue.TokenRequest{Realm: corp.ID.String(), GrantType: "password", ClientID: issue.AzureCLI.String(),
			Username: ana.UserPrincipalName, Password: issue.NewSecret("a long password"), Scope: scope})
		if code(err) != 500011 {
			t.Errorf("%s: %v", scope, err)
		}
	}
}
