package keyvault_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

func TestWhoIsNotKnownIsToldWhereToSignIn(t *testing.T) { // JWT-14
	t.Parallel()
	h := newHouse(t)
	for law, raw := range map[string]string{
		"nobody":                     "",
		"no token":                   "x",
		"a token for another API":    h.sign(h.key, servetest.Tenant, admin, "https://management.azure.com/"),
		"a token for a vault's host": h.sign(h.key, servetest.Tenant, admin, "https://kv.vault.azure.net"),
		"somebody of another tenant": h.sign(h.key2, servetest.Tenant2, alien, keyvault.Resource),
		"somebody who is gone":       h.sign(h.key, servetest.Tenant, person(0), keyvault.Resource),
		"somebody who is disabled":   h.sign(h.key, servetest.Tenant, servetest.Spike, keyvault.Resource),
	} {
		r := h.want(h.bearing(raw, "PUT", "/secrets/db", `{"value":"x"}`), law, "401 Unauthorized")
		if got, want := r.header.Get("WWW-Authenticate"), `Bearer authorization="`+authority+"/"+servetest.Tenant.String()+`", resource="https://vault.azure.net"`; got != want {
			t.Errorf("%s: the challenge is %s, want %s", law, got, want)
		}
	}
	// SDKs ask without a body first, and before they know a version.
	h.want(h.bearing("", "PUT", "/secrets/db?", ""), "a request without anything", "401 Unauthorized")
	h.want(h.bearing(h.token(admin), "GET", "//nowhere/secrets/db", ""), "a vault that is not there", "404 NotFound VaultNotFound")
	for _, audience := range []string{"https://vault.azure.net", "https://vault.azure.net/", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"} {
		h.want(h.bearing(h.sign(h.key, servetest.Tenant, admin, audience), "GET", "/secrets", ""), "a token for "+audience, "200")
	}
}

func TestAVaultThatIsNotOpen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for vault, want := range map[string]string{
		"policies": "403 Forbidden ForbiddenByPolicy", "private": "403 Forbidden ForbiddenByFirewall", "walled": "403 Forbidden ForbiddenByFirewall",
		"theirs": "403 Forbidden VaultNotUsable", "odd": "403 Forbidden VaultNotUsable",
	} {
		for _, method := range []string{"GET", "PUT"} {
			h.want(h.ask(admin, method, "//"+vault+"/secrets/db", ""), vault, want)
		}
	}
	if r := h.ask(admin, "GET", "//policies/secrets/db", ""); !strings.Contains(r.text, "--enable-rbac-authorization true") {
		t.Errorf("it is not said how to go on: %s", r.text)
	}
}

// Each role opens exactly the operations that Azure says. The list is by hand: it
// is what the roles are for.
func TestEveryOperationHasItsOwnRight(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	prefix := "Microsoft.KeyVault/vaults/"
	may := map[principal.ID]func(action string) bool{
		admin: func(string) bool { return true },
		user: func(a string) bool {
			return a == "secrets/getSecret/action" || a == "secrets/readMetadata/action"
		},
		reader: func(a string) bool {
			return a == "secrets/readMetadata/action" || strings.HasSuffix(a, "/read")
		},
		barred: func(a string) bool { return a != "secrets/getSecret/action" },
		crypto: func(a string) bool {
			return slices.Contains([]string{"keys/read", "keys/update/action", "keys/backup/action", "keys/encrypt/action", "keys/decrypt/action",
				"keys/wrap/action", "keys/unwrap/action", "keys/sign/action", "keys/verify/action"}, a)
		},
		certs: func(a string) bool {
			return strings.HasPrefix(a, "certificates/") || strings.HasPrefix(a, "certificatecas/") || a == "certificatecontacts/write"
		},
		owner: func(string) bool { return false }, // the plane of data is another one
		one:   func(string) bool { return false }, // his is one secret, which nobody asks for here
	}
	seen := make(map[string]bool)
	for _, r := range keyvault.Routes() {
		if seen[r.Method+r.Path] {
			t.Errorf("%s %s is there twice", r.Method, r.Path)
		}
		seen[r.Method+r.Path] = true
		action, ok := strings.CutPrefix(r.Action, prefix)
		if !ok || action == "" {
			t.Fatalf("%s %s takes %q", r.Method, r.Path, r.Action)
		}
		path := "/" + strings.NewReplacer("*", "nothing", "?", strings.Repeat("0", 32)).Replace(r.Path)
		for who, may := range may {
			got := h.ask(who, r.Method, path, `{}`)
			if forbidden := got.String() == "403 Forbidden ForbiddenByRbac"; forbidden == may(action) {
				t.Errorf("%s %s, which takes %s: %s is answered %s", r.Method, path, action, who, got)
			}
			if got.status >= 500 || got.status == 401 {
				t.Errorf("%s %s: %s: %s", r.Method, path, got, got.text)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d routes", len(seen))
	}
}

// Who may nothing learns nothing: whether there is an object, or what is wrong
// with a request, is no matter. ARM-07, ARM-11.
func TestWhoMayNotLearnsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.want(h.ask(admin, "PUT", "/secrets/there", `{"value":"`+canary+`"}`), "set", "200")
	h.want(h.ask(admin, "PUT", "/secrets/gone", `{"value":"x"}`), "set", "200")
	h.want(h.ask(admin, "DELETE", "/secrets/gone", ""), "delete", "200")
	answers := make(map[string]bool)
	for _, name := range []string{"there", "gone", "never"} {
		for _, request := range [][3]string{{"GET", "", ""}, {"PUT", "", "{"}, {"DELETE", "", ""}, {"POST", "/backup", ""}} {
			r := h.ask(owner, request[0], "/secrets/"+name+request[1], request[2])
			text := strings.NewReplacer(name, "NAME", r.header.Get("X-Ms-Request-Id"), "ID").Replace(r.text)
			answers[request[0]+" "+text] = true
			if r.status != 403 {
				t.Errorf("%v of %s: %s", request, name, r)
			}
		}
	}
	if len(answers) != 4 {
		t.Errorf("one who may nothing tells %d answers apart, want one for each of 4 requests: %v", len(answers), answers)
	}
	r := h.ask(owner, "GET", "/secrets/there", "")
	for _, part := range []string{"ForbiddenByRbac", owner.String(), "owner@teknews.cloud", "Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'",
		"Resource: '" + vaultAt("kv").String() + "/secrets/there'", `\r\nAssignment: (not found)`, "Vault: kv;location=westeurope"} {
		if !strings.Contains(r.text, part) {
			t.Errorf("the refusal does not say %s: %s", part, r.text)
		}
	}
}

func TestARightToOneSecretIsARightToOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, name := range []string{"db", "db2", "d"} {
		h.want(h.ask(admin, "PUT", "/secrets/"+name, `{"value":"x"}`), "set", "200")
	}
	h.want(h.ask(one, "GET", "/secrets/db", ""), "his", "200")
	h.want(h.ask(one, "GET", "/secrets/DB", ""), "in other letters", "200") // ARM-03
	h.want(h.ask(one, "GET", "/secrets/db/versions", ""), "its versions", "200")
	for _, path := range []string{"/secrets/db2", "/secrets/d", "/secrets", "/keys/db", "/certificates/db", "//protected/secrets/db"} {
		h.want(h.ask(one, "GET", path, ""), path, "403 Forbidden ForbiddenByRbac")
	}
	h.want(h.ask(one, "PUT", "/secrets/db", `{"value":"x"}`), "writing it", "403 Forbidden ForbiddenByRbac")
}

func TestSecretsFromTheBeginningToTheEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	set := h.want(h.ask(admin, "PUT", "/secrets/Db-Password", `{"value":"one","contentType":"text/plain","tags":{"a":"b"},"attributes":{"enabled":true,"nbf":1,"exp":4102444800},"newer":"member"}`), "set", "200")
	first, ok := strings.CutPrefix(set.in("id"), "https://kv.vault.azure.net/secrets/Db-Password/")
	if !ok || len(first) != 32 {
		t.Fatalf("id %s", set.in("id"))
	}
	for path, want := range map[string]string{"value": "one", "contentType": "text/plain"} {
		if set.in(path) != want {
			t.Errorf("%s is %q, want %q", path, set.in(path), want)
		}
	}
	for name, want := range map[string]string{"enabled": "true", "nbf": "1", "recoveryLevel": "CustomizedRecoverable+Purgeable", "recoverableDays": "7"} {
		if got := set.in("attributes", name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	h.want(h.ask(admin, "PUT", "/secrets/db-password", `{"value":"`+canary+`"}`), "another version, in other letters", "200")
	get := h.want(h.ask(user, "GET", "/secrets/db-password/", ""), "get", "200")
	if get.in("value") != canary || !strings.HasPrefix(get.in("id"), "https://kv.vault.azure.net/secrets/Db-Password/") || get.in("contentType") != "" {
		t.Errorf("the newest version is %s", get.text)
	}
	if old := h.want(h.ask(user, "GET", "/secrets/db-password/"+strings.ToUpper(first), ""), "get the first", "200"); old.in("value") != "one" || old.in("tags", "a") != "b" {
		t.Errorf("the first version is %s", old.text)
	}
	h.want(h.ask(user, "GET", "/secrets/db-password/"+strings.Repeat("0", 32), ""), "a version that never was", "404 SecretNotFound")
	h.want(h.ask(user, "GET", "/secrets/other", ""), "a secret that never was", "404 SecretNotFound")

	// What is disabled is not given out, version by version.
	h.want(h.ask(admin, "PATCH", "/secrets/db-password/"+first, `{"attributes":{"enabled":false},"tags":{}}`), "disable the first", "200")
	h.want(h.ask(user, "GET", "/secrets/db-password/"+first, ""), "a disabled version", "403 Forbidden SecretDisabled")
	h.want(h.ask(user, "GET", "/secrets/db-password", ""), "the newest one is not", "200")
	h.want(h.ask(admin, "PATCH", "/secrets/db-password", `{"attributes":{"enabled":false},"contentType":"x"}`), "disable the newest", "200")
	h.want(h.ask(user, "GET", "/secrets/db-password", ""), "a disabled secret", "403 Forbidden SecretDisabled")
	list := h.want(h.ask(user, "GET", "/secrets", ""), "list", "200")
	if !strings.Contains(list.text, `"id":"https://kv.vault.azure.net/secrets/Db-Password"`) || strings.Contains(list.text, canary) || !strings.Contains(list.text, `"contentType":"x"`) {
		t.Errorf("the list is %s", list.text)
	}
	h.want(h.ask(admin, "PATCH", "/secrets/db-password", `{"attributes":{"enabled":true,"exp":1}}`), "it ends before it begins", "200")
	if r := h.want(h.ask(user, "GET", "/secrets/db-password", ""), "an expired secret is given out", "200"); r.in("value") != canary {
		t.Errorf("it is %s", r.text)
	}

	deleted := h.want(h.ask(admin, "DELETE", "/secrets/db-password", ""), "delete", "200")
	if deleted.in("recoveryId") != "https://kv.vault.azure.net/deletedsecrets/Db-Password" || strings.Contains(deleted.text, canary) || deleted.in("scheduledPurgeDate") == "" {
		t.Errorf("deleted: %s", deleted.text)
	}
	h.want(h.ask(admin, "DELETE", "/secrets/db-password", ""), "delete again", "404 SecretNotFound")
	h.want(h.ask(user, "GET", "/secrets/db-password", ""), "get", "404 SecretNotFound")
	h.want(h.ask(user, "GET", "/secrets/db-password/"+first, ""), "get the first", "404 SecretNotFound")
	h.want(h.ask(user, "GET", "/secrets/db-password/versions", ""), "list its versions", "404 SecretNotFound")
	h.want(h.ask(admin, "PUT", "/secrets/db-password", `{"value":"x"}`), "set", "409 Conflict ObjectIsDeletedButRecoverable")
	h.want(h.ask(admin, "PATCH", "/secrets/db-password", `{}`), "update", "404 SecretNotFound")
	h.want(h.ask(admin, "POST", "/secrets/db-password/backup", ""), "back up", "404 SecretNotFound")
	h.want(h.ask(user, "GET", "/deletedsecrets/db-password", ""), "get the deleted", "200")
	if r := h.ask(user, "GET", "/deletedsecrets", ""); !strings.Contains(r.text, "recoveryId") {
		t.Errorf("the list of the deleted is %s", r.text)
	}
	h.want(h.ask(admin, "POST", "/deletedsecrets/db-password/recover", ""), "recover", "200")
	h.want(h.ask(admin, "POST", "/deletedsecrets/db-password/recover", ""), "recover again", "404 SecretNotFound")
	h.want(h.ask(admin, "DELETE", "/deletedsecrets/db-password", ""), "purge what is not deleted", "404 SecretNotFound")
	if r := h.ask(user, "GET", "/secrets/db-password", ""); r.in("value") != canary {
		t.Errorf("recovered: %s", r.text)
	}
	h.ask(admin, "DELETE", "/secrets/db-password", "")
	h.want(h.ask(admin, "DELETE", "/deletedsecrets/db-password", ""), "purge", "204")
	h.want(h.ask(admin, "GET", "/deletedsecrets/db-password", ""), "what was purged", "404 SecretNotFound")
	h.want(h.ask(admin, "PUT", "/secrets/db-password", `{"value":"mine"}`), "the name is free", "200")
	h.want(h.ask(user, "GET", "/secrets/db-password/"+first, ""), "a version of the one before", "404 SecretNotFound")

	h.want(h.ask(admin, "PUT", "//protected/secrets/s", `{"value":"x"}`), "set", "200")
	h.want(h.ask(admin, "DELETE", "//protected/secrets/s", ""), "delete", "200")
	h.want(h.ask(admin, "DELETE", "//protected/deletedsecrets/s", ""), "purge where that is forbidden", "403 Forbidden PurgeProtected")
	h.days(91)
	h.want(h.ask(admin, "GET", "//protected/deletedsecrets/s", ""), "after its time", "404 SecretNotFound")
}

func TestWhatIsMalformedIsRefused(t *testing.T) { // ARM-05, ARM-08, ARM-14
	t.Parallel()
	h := newHouse(t)
	for law, try := range map[string][4]string{
		"no version of the API":        {"GET", "/secrets?x=1", "", "400 BadParameter"},
		"a version nobody knows":       {"GET", "/secrets?api-version=latest", "", "400 BadParameter"},
		"two versions":                 {"GET", "/secrets?api-version=7.4&api-version=7.5", "", "400 BadParameter"},
		"a broken query":               {"GET", "/secrets?api-version=7.4&%zz", "", "400 BadParameter"},
		"no value":                     {"PUT", "/secrets/a", `{}`, "400 BadParameter"},
		"a value of null":              {"PUT", "/secrets/a", `{"value":null}`, "400 BadParameter"},
		"a value twice":                {"PUT", "/secrets/a", `{"value":"a","value":"b"}`, "400 BadParameter"},
		"a value that is no text":      {"PUT", "/secrets/a", `{"value":1}`, "400 BadParameter"},
		"a value of 26 KiB":            {"PUT", "/secrets/a", `{"value":"` + strings.Repeat("x", 26<<10) + `"}`, "400 BadParameter"},
		"a body of 300 KiB":            {"PUT", "/secrets/a", `{"value":"` + strings.Repeat("x", 300<<10) + `"}`, "413 RequestTooLarge"},
		"no JSON":                      {"PUT", "/secrets/a", `{`, "400 BadParameter"},
		"an end before the beginning":  {"PUT", "/secrets/a", `{"value":"a","attributes":{"nbf":2,"exp":1}}`, "400 BadParameter"},
		"a date without end":           {"PUT", "/secrets/a", `{"value":"a","attributes":{"exp":99999999999999}}`, "400 BadParameter"},
		"a long content type":          {"PUT", "/secrets/a", `{"value":"a","contentType":"` + strings.Repeat("x", 300) + `"}`, "400 BadParameter"},
		"a name with a dot":            {"PUT", "/secrets/a.b", `{"value":"a"}`, "400 BadParameter"},
		"a name with an escape":        {"PUT", "/secrets/a%2Fb", `{"value":"a"}`, "400 BadParameter"},
		"an escaped name":              {"PUT", "/secrets/%61", `{"value":"a"}`, "400 BadParameter"},
		"dots":                         {"GET", "/secrets/../keys", "", "400 BadParameter"},
		"two slashes":                  {"GET", "/secrets//a", "", "404 NotFound"},
		"a path behind a version":      {"GET", "/secrets/a/" + strings.Repeat("0", 32) + "/b", "", "404 NotFound"},
		"a version that is none":       {"GET", "/secrets/a/latest", "", "404 NotFound"},
		"another collection":           {"GET", "/storage", "", "404 NotFound"},
		"nothing":                      {"GET", "/", "", "404 NotFound"},
		"another method":               {"POST", "/secrets/a", `{}`, "405 BadParameter"},
		"a method of no use":           {"TRACE", "/secrets/a", "", "405 BadParameter"},
		"a page of nothing":            {"GET", "/secrets?api-version=7.4&maxresults=0", "", "400 BadParameter"},
		"a page without end":           {"GET", "/secrets?api-version=7.4&maxresults=1000", "", "400 BadParameter"},
		"a certificate called issuers": {"POST", "/certificates/issuers/create", `{"policy":{"x509_props":{"subject":"CN=a"}}}`, "405 BadParameter"},
		"no backup":                    {"POST", "/secrets/restore", `{"value":"AAAA"}`, "400 BadParameter"},
	} {
		h.want(h.ask(admin, try[0], try[1], try[2]), law, try[3])
	}
	if r := h.ask(admin, "GET", "/secrets", ""); r.text != `{"value":[],"nextLink":null}` {
		t.Errorf("something was made of it: %s", r.text)
	}
}

func TestPagesAreGivenOutAndNotMadeUp(t *testing.T) { // ARM-12
	t.Parallel()
	h := newHouse(t)
	for i := range 7 {
		h.want(h.ask(admin, "PUT", fmt.Sprintf("/secrets/s%d", i), `{"value":"x"}`), "set", "200")
		h.want(h.ask(admin, "PUT", "/secrets/many", `{"value":"x"}`), "set", "200")
	}
	follow := func(path string, want int) (links []string) {
		t.Helper()
		seen := make(map[string]bool)
		for next := path + "?api-version=7.6&maxresults=3"; ; {
			r := h.want(h.ask(user, "GET", next, ""), next, "200")
			for _, part := range strings.Split(r.text, `"id":"`)[1:] {
				id, _, _ := strings.Cut(part, `"`)
				if seen[id] {
					t.Errorf("%s is listed twice", id)
				}
				seen[id] = true
			}
			link := r.in("nextLink")
			if link == "" {
				break
			}
			rest, ok := strings.CutPrefix(link, h.server.URL+"/vaults/kv")
			if !ok {
				t.Fatalf("the link to the next page is %s", link)
			}
			links, next = append(links, rest), rest
		}
		if len(seen) != want {
			t.Errorf("%s lists %d, want %d", path, len(seen), want)
		}
		return links
	}
	links := follow("/secrets", 8)
	follow("/secrets/many/versions", 7)
	if len(links) != 2 {
		t.Fatalf("%d links", len(links))
	}
	u, _ := url.Parse(links[0])
	token := u.Query().Get("$skiptoken")
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	changed := slices.Clone(raw)
	changed[len(changed)-1]++
	forge := func(path string, token string) string {
		return path + "?api-version=7.6&$skiptoken=" + url.QueryEscape(token)
	}
	for law, path := range map[string]string{
		"another name":       forge("/secrets", base64.RawURLEncoding.EncodeToString(changed)),
		"none":               forge("/secrets", ""),
		"short":              forge("/secrets", "AAAA"),
		"another list":       forge("/deletedsecrets", token),
		"another collection": forge("/keys", token),
		"another vault":      forge("//protected/secrets", token),
	} {
		h.want(h.ask(admin, "GET", path, ""), law, "400 BadParameter")
	}
	h.want(h.ask(reader, "GET", links[0], ""), "somebody else's", "400 BadParameter")
	h.want(h.ask(user, "GET", strings.Replace(links[0], "/secrets", "/SECRETS", 1), ""), "his own, in other letters", "200")
}

// Each value given out is one record, with who and which version: ZA-07. Nothing
// tells the value: ZA-01.
func TestWhoReadsIsWrittenDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	set := h.ask(admin, "PUT", "/secrets/db", `{"value":"`+canary+`","tags":{"t":"v"}}`)
	id := set.in("id")[strings.LastIndex(set.in("id"), "/")+1:]
	requests := []string{
		h.want(h.ask(user, "GET", "/secrets/db", ""), "get", "200").header.Get("X-Ms-Request-Id"),
		h.want(h.ask(one, "GET", "/secrets/db/"+id, ""), "get", "200").header.Get("X-Ms-Request-Id"),
	}
	h.ask(owner, "GET", "/secrets/db", "")
	h.ask(barred, "GET", "/secrets/db", "")
	h.ask(user, "GET", "/secrets/nothing", "")
	h.ask(user, "GET", "/secrets", "")
	h.ask(admin, "PATCH", "/secrets/db", `{"attributes":{"enabled":false}}`)
	h.ask(user, "GET", "/secrets/db", "")
	records, text := h.audit()
	var got []string
	for _, r := range records {
		for _, u := range r.Uses {
			got = append(got, fmt.Sprint(u.By, " ", u.Action, " ", u.On, " ", u.Request))
		}
	}
	what := " Microsoft.KeyVault/vaults/secrets/getSecret/action " + fmt.Sprint([]string{vaultAt("kv").String(), "secrets", "db", id}) + " "
	if want := []string{user.String() + what + requests[0], one.String() + what + requests[1]}; !slices.Equal(got, want) {
		t.Errorf("the log has the uses\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(text, `"why":"vault kv: set secret db"`) || !strings.Contains(text, admin.String()) {
		t.Errorf("who set it is not in the log: %s", text)
	}
	for where, text := range map[string]string{"audit": text, "log": h.log.String()} {
		if strings.Contains(text, canary) {
			t.Errorf("the %s holds the value", where)
		}
		if len(text) < 500 {
			t.Errorf("the %s is empty", where)
		}
	}
}

// ZA-08: what cannot be recorded is not given out, and not done.
func TestNothingIsGivenOutWithoutARecord(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.want(h.ask(admin, "PUT", "/secrets/db", `{"value":"`+canary+`"}`), "set", "200")
	h.want(h.ask(admin, "POST", "/keys/k/create", `{"kty":"EC"}`), "create", "200")
	digest := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	down := error(store.ErrUnavailable)
	h.state.fail.Store(&down)
	for _, try := range [][3]string{{"GET", "/secrets/db", ""}, {"POST", "/secrets/db/backup", ""}, {"PUT", "/secrets/db", `{"value":"x"}`},
		{"POST", "/keys/k//sign", `{"alg":"ES256","value":"` + digest + `"}`}, {"DELETE", "/secrets/db", ""}} {
		if r := h.want(h.ask(admin, try[0], try[1], try[2]), try[1], "503 ServiceUnavailable"); strings.Contains(r.text, canary) {
			t.Errorf("%s: the value is told: %s", try[1], r.text)
		}
	}
	h.want(h.ask(admin, "GET", "/secrets", ""), "what is no secret is still told", "200")
	h.state.fail.Store(nil)
	if r := h.want(h.ask(admin, "GET", "/secrets/db", ""), "again", "200"); r.in("value") != canary {
		t.Errorf("something was done: %s", r.text)
	}
	h.state.stale.Store(true)
	h.want(h.ask(admin, "GET", "/secrets/db", ""), "by a directory that may be out of date", "503 ServiceUnavailable")
}

// A right that ends before the change is made is none.
func TestARightThatEndsBeforeTheWrite(t *testing.T) {
	t.Parallel()
	for law, end := range map[string]func(h *house){
		"the assignment is taken away": func(h *house) { h.remove(give(1, servetest.Group, admin, administrator).Key()) },
		"he is disabled": func(h *house) {
			h.put(directory.User{ID: admin, Tenant: servetest.Tenant, UserPrincipalName: "admin@teknews.cloud", Disabled: true})
		},
	} {
		h := newHouse(t)
		h.want(h.ask(admin, "PUT", "/secrets/db", `{"value":"x"}`), "set", "200")
		h.state.first = func() { end(h) }
		h.want(h.ask(admin, "PUT", "/secrets/db", `{"value":"y"}`), law, "403 Forbidden ForbiddenByRbac")
		if r := h.ask(user, "GET", "/secrets/db", ""); r.in("value") != "x" {
			t.Errorf("%s: it was written all the same: %s", law, r.text)
		}
	}
}

// What is written to a vault that is gone by then would be lost, and what is purged in
// one that protects it by then is.
func TestAVaultThatChangesBeforeTheWrite(t *testing.T) {
	t.Parallel()
	for law, tt := range map[string]struct {
		change func(h *house)
		want   string
	}{
		"it is deleted":               {func(h *house) { h.remove(newVault(t, "plain", "{}").Key()) }, "404 NotFound VaultNotFound"},
		"it protects what is deleted": {func(h *house) { h.put(newVault(t, "plain", `{"enablePurgeProtection":true}`)) }, "409 Conflict"},
		"it is closed":                {func(h *house) { h.put(newVault(t, "plain", `{"publicNetworkAccess":"Disabled"}`)) }, "409 Conflict"},
		"it is decided by policies":   {func(h *house) { h.put(newVault(t, "plain", `{"enableRbacAuthorization":false}`)) }, "409 Conflict"},
	} {
		h := newHouse(t)
		h.put(newVault(t, "plain", "{}"))
		h.want(h.ask(admin, "PUT", "//plain/secrets/db", `{"value":"x"}`), "set", "200")
		h.want(h.ask(admin, "DELETE", "//plain/secrets/db", ""), "delete", "200")
		h.state.first = func() { tt.change(h) }
		h.want(h.ask(admin, "DELETE", "//plain/deletedsecrets/db", ""), law, tt.want)
		h.put(newVault(t, "plain", "{}"))
		h.want(h.ask(admin, "GET", "//plain/deletedsecrets/db", ""), law+", and it is still there", "200")
	}
}

// Who may write vaults and purge would else destroy what a vault was to keep from him.
func TestWhatWasProtectedStaysProtected(t *testing.T) {
	t.Parallel()
	for law, change := range map[string]func(h *house){
		"the vault is changed": func(h *house) { h.put(newVault(t, "protected", `{}`)) },
		"the vault is made again": func(h *house) {
			h.remove(newVault(t, "protected", `{}`).Key())
			h.put(newVault(t, "protected", `{}`))
		},
	} {
		h := newHouse(t)
		h.want(h.ask(admin, "PUT", "//protected/secrets/db", `{"value":"x"}`), "set", "200")
		h.want(h.ask(admin, "DELETE", "//protected/secrets/db", ""), "delete", "200")
		change(h)
		h.want(h.ask(admin, "DELETE", "//protected/deletedsecrets/db", ""), law, "403 Forbidden PurgeProtected")
		h.want(h.ask(admin, "POST", "//protected/deletedsecrets/db/recover", ""), law+", and it can be recovered", "200")
		h.want(h.ask(admin, "DELETE", "//protected/secrets/db", ""), law+", and deleted anew", "200")
		h.want(h.ask(admin, "DELETE", "//protected/deletedsecrets/db", ""), law+", when the vault protects nothing", "204")
	}
}

// A key that was made not to be exported is not had by changing the policy of its
// certificate and making a version with the same key.
func TestAHiddenKeyStaysHidden(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{vault.PEM, vault.PKCS12} {
		h := newHouse(t)
		policy := func(issuer string, exportable, reuse bool) string {
			return fmt.Sprintf(`{"policy":{"issuer":{"name":%q},"key_props":{"kty":"EC","exportable":%t,"reuse_key":%t},"secret_props":{"contentType":%q},"x509_props":{"subject":"CN=web"}}}`, issuer, exportable, reuse, contentType)
		}
		bare := func(exportable, reuse bool) string {
			return strings.TrimSuffix(strings.TrimPrefix(policy("Self", exportable, reuse), `{"policy":`), "}")
		}
		shown := func() bool {
			value := h.want(h.ask(admin, "GET", "/secrets/web", ""), "the secret", "200").in("value")
			_, _, err := vault.ReadBundle(value, "")
			return err == nil
		}
		h.want(h.ask(certs, "POST", "/certificates/web/create", policy("Self", false, true)), "a key that is hidden", "202")
		h.want(h.ask(certs, "POST", "/certificates/web/create", policy("Self", false, true)), "and kept", "202")
		for law, r := range map[string]reply{
			"the policy of the certificate": h.ask(certs, "PATCH", "/certificates/web/policy", bare(true, true)),
			"the certificate":               h.ask(certs, "PATCH", "/certificates/web", policy("Self", true, true)),
			"a new version":                 h.ask(certs, "POST", "/certificates/web/create", policy("Self", true, true)),
			"a request":                     h.ask(certs, "POST", "/certificates/web/create", policy("Unknown", true, true)),
		} {
			h.want(r, law+" that shows it", "400 BadParameter")
		}

		csr := h.want(h.ask(certs, "POST", "/certificates/web/create", policy("Unknown", false, true)), "a request with it", "202").in("csr")
		h.want(h.ask(certs, "PATCH", "/certificates/web/policy", bare(true, false)), "a policy for other keys", "200")
		h.want(h.ask(certs, "POST", "/certificates/web/pending/merge", `{"x5c":["`+signed(t, csr)+`"]}`), "merged under that policy", "400 BadParameter")
		if shown() {
			t.Fatalf("%s: the hidden key is in the secret", contentType)
		}

		h.want(h.ask(certs, "POST", "/certificates/web/create", policy("Self", true, false)), "another key, which is shown", "202")
		h.want(h.ask(certs, "POST", "/certificates/web/create", policy("Self", true, true)), "and kept", "202")
		if !shown() {
			t.Errorf("%s: a key that can be exported is not in the secret", contentType)
		}
	}
}

// signed is a certificate for the key of a request, by somebody else.
func signed(t *testing.T, csr string) string {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(csr)
	if err != nil {
		t.Fatal(err)
	}
	req, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, &x509.Certificate{SerialNumber: big.NewInt(2)}, req.PublicKey, ca)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(cert)
}

func (h *house) remove(key record.Key) {
	h.t.Helper()
	if _, err := h.store.Commit(context.Background(), store.Change{Ops: []estate.Op{{Delete: key}}, Why: "test"}); err != nil {
		h.t.Error(err)
	}
}

// A flood of work with keys waits in its own line: RX-03.
func TestAFloodOfKeysDoesNotStopSecrets(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.want(h.ask(admin, "PUT", "/secrets/db", `{"value":"x"}`), "set", "200")
	h.want(h.ask(admin, "POST", "/keys/k/create", `{"kty":"EC"}`), "create", "200")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h.door.Occupy(ctx)
	digest := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for path, body := range map[string]string{"/keys/k//sign": `{"alg":"ES256","value":"` + digest + `"}`, "/keys/new/create": `{"kty":"RSA"}`, "/certificates/c/import": `{"value":"x"}`} {
		if r := h.want(h.ask(admin, "POST", path, body), path, "429 Throttled"); r.header.Get("Retry-After") != "1" {
			t.Errorf("%s: it is not said when to come back", path)
		}
	}
	h.want(h.ask(user, "GET", "/secrets/db", ""), "a secret", "200")
}

func TestMethodsAreNamed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if got, want := h.ask(admin, http.MethodPost, "/secrets/a", "{}").header.Get("Allow"), "DELETE, GET, PATCH, PUT"; got != want {
		t.Errorf("Allow is %q, want %q", got, want)
	}
}

func FuzzRoute(f *testing.F) {
	for _, r := range keyvault.Routes() {
		f.Add(r.Method, r.Path)
	}
	f.Add("GET", "secrets/a/../../keys")
	f.Fuzz(func(t *testing.T, method, path string) {
		r, kind, name, version := keyvault.Match(method, path)
		if r.Path == "" {
			return
		}
		// The action is that of the kind which is looked up, whatever the path says.
		family := map[string][]string{"secrets": {"secrets/"}, "keys": {"keys/", "keyrotationpolicies/"}, "rng": {"rng/"},
			"certificates": {"certificates/", "certificatecas/", "certificatecontacts/"}}[kind]
		action := strings.TrimPrefix(r.Action, "Microsoft.KeyVault/vaults/")
		if !slices.ContainsFunc(family, func(p string) bool { return strings.HasPrefix(action, p) }) {
			t.Errorf("%s %q is decided by %s and looks among %s", method, path, r.Action, kind)
		}
		if strings.ContainsAny(name, "/.%") || version != "" && len(version) != 32 {
			t.Errorf("%s %q speaks of %q, version %q", method, path, name, version)
		}
	})
}
