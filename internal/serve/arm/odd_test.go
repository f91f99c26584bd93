package arm_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// ARM-08: what is decided about is what is acted on. Somebody who may write one group
// and nothing else sends paths in every odd way of writing; whatever was made or
// changed by them is in his group.
func TestWhatIsDecidedIsWhatIsActedOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	mine, sub := servetest.Group.String(), servetest.Subscription.String()
	raw := h.token(ownerRG, "https://management.azure.com/")
	before := make(map[string]bool)
	for r := range h.store.Current().Records() {
		before[r.Key().String()] = true
	}
	const typ = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
	made, n := 0, 0
	for _, way := range []string{
		mine + typ + "%s", strings.ToUpper(mine) + strings.ToUpper(typ) + "%s", "/" + mine + typ + "%s", mine + typ + "%s/", mine + typ + "%s//", mine + "//" + typ[1:] + "%s",
		mine + "/providers/Microsoft.ManagedIdentity//userAssignedIdentities/%s", mine + "/../other" + typ + "%s", mine + "/%%2e%%2e/other" + typ + "%s", mine + "%%2f..%%2fother" + typ + "%s",
		mine + "/./" + typ[1:] + "%s", sub + "/resourceGroups/web%%00" + typ + "%s", sub + "/resourceGroups/web%%20" + typ + "%s", sub + "/resourceGroups/web;x" + typ + "%s",
		sub + "/resourceGroups/w%%65b" + typ + "%s", sub + "/resourceGroups/w%%2565b" + typ + "%s", sub + "/resourceGroups/ｗeb" + typ + "%s", sub + "/resourceGroups/w%%c4%%93b" + typ + "%s",
		sub + "/resourceGroups/other" + typ + "%s", sub + "/resourceGroups/other/../web" + typ + "%s", sub + "/resourceGroups/web/resourceGroups/other" + typ + "%s",
		mine + typ + "%s" + sub + "/resourceGroups/other", mine + typ + "%s%%3fa", mine + typ + "%s%%23a", mine + typ + "%s;a=b", mine + typ + "%s%%5c..", mine + typ + "%s\u212a",
		mine + typ + "a/providers/Microsoft.Authorization/../../userAssignedIdentities/%s", "/subscriptions//" + mine[len("/subscriptions/"):] + typ + "%s",
		mine + "/providers/Microsoft.ManagedIdentity/USERASSIGNEDIDENTITIES/%s", mine + "/Providers/microsoft.managedidentity/userassignedidentities/%s", mine + typ + "%s/providers",
		mine + typ + "%s/federatedIdentityCredentials", mine + typ + "%s/providers/Microsoft.Resources/subscriptions/x",
	} {
		n++
		path := fmt.Sprintf(way, fmt.Sprintf("odd-%02d", n))
		got := h.bearing(raw, "PUT", path+version, `{"location":"westeurope"}`)
		switch got.status {
		case 200, 201:
			made++
		case 400, 403, 404, 405:
		default:
			t.Errorf("%s: %d %s", path, got.status, got.text)
		}
		// The route that was understood names one place, and it is that of the answer.
		kind, at, _, err := arm.ParseRoute(strings.SplitN(path, "?", 2)[0])
		if got.status < 300 && (err != nil || kind != "userAssignedIdentity" || !servetest.Group.Contains(scope.MustParse(at)) || !strings.EqualFold(got.in(t, "id"), at)) {
			t.Errorf("%s: understood as %s at %s, %v, and answered with %s", path, kind, at, err, got.text)
		}
	}
	if made < 5 {
		t.Errorf("only %d of %d ways lead anywhere", made, n)
	}
	for r := range h.store.Current().Records() {
		key := r.Key().String()
		if before[key] {
			continue
		}
		if mi, ok := h.store.Current().ManagedIdentity(servetest.ID(r.Key().Parts[0])); !ok || !servetest.Group.Contains(mi.Resource) {
			t.Errorf("%s was made outside of what he may", key)
		}
	}
}

// in returns a member of an answer.
func (r reply) in(t *testing.T, name string) string {
	t.Helper()
	_, rest, _ := strings.Cut(r.text, `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// Requests that are wrong in their form are told what is wrong, and change nothing.
func TestWhatIsMalformedIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	sub, group := servetest.Subscription.String(), servetest.Group.String()
	before := h.store.Current().Revision()
	path := group + provider + "/roleAssignments/" + number(9)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		has                      string
	}{
		{"no JSON", "PUT", path + version, `{`, 400, "InvalidRequestContent"},
		{"a list", "PUT", path + version, `[]`, 400, "InvalidRequestContent"},
		{"a number", "PUT", path + version, `1`, 400, "InvalidRequestContent"},
		{"another type of value", "PUT", path + version, `{"properties":{"principalId":1}}`, 400, "InvalidRequestContent"},
		{"text that is no UTF-8", "PUT", path + version, "{\"properties\":{\"principalId\":\"\xff\"}}", 400, "InvalidRequestContent"},
		{"two values", "PUT", path + version, assign(owner, servetest.Faye, "") + `{}`, 400, "InvalidRequestContent"},
		{"no version", "PUT", path, assign(owner, servetest.Faye, ""), 400, "MissingApiVersionParameter"},
		{"an empty version", "PUT", path + "?api-version=", assign(owner, servetest.Faye, ""), 400, "MissingApiVersionParameter"},
		{"a version that is none", "PUT", path + "?api-version=latest", assign(owner, servetest.Faye, ""), 400, "InvalidApiVersionParameter"},
		{"a day that is none", "PUT", path + "?api-version=2022-02-31", assign(owner, servetest.Faye, ""), 400, "InvalidApiVersionParameter"},
		{"two versions", "PUT", path + "?api-version=2022-04-01&api-version=2018-07-01", assign(owner, servetest.Faye, ""), 400, "is there twice"},
		{"a broken query", "PUT", path + "?api-version=2022-04-01&%zz", assign(owner, servetest.Faye, ""), 400, "malformed"},
		{"a type that nobody has", "GET", group + "/providers/Microsoft.Foo/bars/b" + version, "", 404, "microsoft.managedidentity/userassignedidentities"},
		{"a name that is no GUID", "PUT", group + provider + "/roleAssignments/x" + version, assign(owner, servetest.Faye, ""), 400, "InvalidRoleAssignmentId"},
		{"ARM-06: a filter without end", "GET", path[:len(path)-37] + version + "&$filter=" + url.QueryEscape(strings.Repeat("(", 10_000)), "", 400, "InvalidFilterInQueryString"},
		{"ARM-06: a filter of many parts", "GET", path[:len(path)-37] + version + "&$filter=" + url.QueryEscape(strings.Repeat("atScope() and ", 1_000)+"atScope()"), "", 400, "InvalidFilterInQueryString"},
		{"ARM-06: quotes that do not end", "GET", path[:len(path)-37] + version + "&$filter=" + url.QueryEscape("principalId eq '"+strings.Repeat("''", 900)), "", 400, "InvalidFilterInQueryString"},
		{"ARM-12: a page of somebody's making", "GET", sub + "/resourceGroups" + version + "&$skipToken=" + url.QueryEscape("../../x"), "", 400, "InvalidSkipToken"},
		{"ARM-18: a method in a header", "GET", group + "/nothing" + version, "", 404, ""},
	} {
		from := time.Now()
		got := h.call(ownerRG, tt.method, tt.path, tt.body, "X-HTTP-Method-Override", "DELETE", "X-Original-URL", sub, "X-Rewrite-URL", sub)
		if got.status != tt.status || !strings.Contains(got.text, tt.has) {
			t.Errorf("%s: %d %.300s, want %d %s", tt.name, got.status, got.text, tt.status, tt.has)
		}
		if took := time.Since(from); took > 30*time.Second {
			t.Errorf("%s took %s", tt.name, took)
		}
		// ARM-17: what a refusal tells is about the request, and it can be found again.
		for _, inside := range []string{"goroutine", ".go:", "panic", "127.0.0.1", "internal/"} {
			if strings.Contains(got.text, inside) {
				t.Errorf("%s: the answer tells %q: %s", tt.name, inside, got.text)
			}
		}
		if got.header.Get("X-Ms-Request-Id") == "" || got.header.Get("X-Ms-Correlation-Request-Id") == "" {
			t.Errorf("%s: the answer cannot be found again: %v", tt.name, got.header)
		}
	}
	if after := h.store.Current().Revision(); after != before {
		t.Errorf("what was refused changed the estate: revision %d, before %d", after, before)
	}
}
