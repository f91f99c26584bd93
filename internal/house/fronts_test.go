package house_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// proxied is a gate whose proxy runs, and a client that uses it.
func proxied(t *testing.T) (*gate, *http.Client) {
	t.Helper()
	g := newGate(t, func(c *house.Config) { c.ProxyListen = "127.0.0.1:0" })
	addr, err := g.conf.Dir.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	tr := g.public.Transport.(*http.Transport).Clone()
	tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: addr})
	t.Cleanup(tr.CloseIdleConnections)
	return g, &http.Client{Timeout: time.Minute, Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// A got is an answer that was read.
type got struct {
	status int
	header http.Header
	text   string
}

func read(t *testing.T, res *http.Response, err error) got {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got{res.StatusCode, res.Header, string(text)}
}

// say returns a member of an answer in JSON.
func (g got) say(t *testing.T, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(g.text), &m); err != nil {
		t.Fatalf("%d %s", g.status, g.text)
	}
	s, _ := m[name].(string)
	return s
}

func TestEachFrontSpeaksOfItself(t *testing.T) {
	t.Parallel()
	g, cloud := proxied(t)
	own, login, tid := g.op.Authority, "https://login.microsoftonline.com", tenant.ID.String()
	get := func(c *http.Client, url string) got {
		res, err := c.Get(url)
		return read(t, res, err)
	}
	for _, tt := range []struct {
		via        *http.Client
		base       string
		v1, v2, at string
	}{
		{g.public, own, own + "/" + tid + "/", own + "/" + tid + "/v2.0", own},
		{cloud, login, "https://sts.windows.net/" + tid + "/", login + "/" + tid + "/v2.0", login},
		{cloud, "https://login.windows.net", "https://sts.windows.net/" + tid + "/", login + "/" + tid + "/v2.0", login},
		{cloud, "https://login.microsoft.com", "https://sts.windows.net/" + tid + "/", login + "/" + tid + "/v2.0", login},
		{cloud, "https://sts.windows.net", "https://sts.windows.net/" + tid + "/", login + "/" + tid + "/v2.0", login},
	} {
		one := get(tt.via, tt.base+"/"+tid+"/.well-known/openid-configuration")
		two := get(tt.via, tt.base+"/"+tid+"/v2.0/.well-known/openid-configuration")
		if one.say(t, "issuer") != tt.v1 || two.say(t, "issuer") != tt.v2 || !strings.HasPrefix(two.say(t, "token_endpoint"), tt.at+"/") {
			t.Errorf("%s:\n%s\n%s", tt.base, one.text, two.text)
		}
	}
	// A client with a custom authority asks the public cloud about it, and leaves
	// the port away.
	for _, asked := range []string{own, "https://127.0.0.1"} {
		for base, via := range map[string]*http.Client{own: g.public, login: cloud} {
			answer := get(via, base+"/common/discovery/instance?api-version=1.1&authorization_endpoint="+url.QueryEscape(asked+"/"+tid+"/oauth2/v2.0/authorize"))
			if want := own + "/" + tid + "/v2.0/.well-known/openid-configuration"; answer.say(t, "tenant_discovery_endpoint") != want {
				t.Errorf("%s about %s: %d %s", base, asked, answer.status, answer.text)
			}
		}
	}
	if a := get(cloud, "https://microsoft.com/devicelogin"); a.status != http.StatusFound || a.header.Get("Location") != login+"/device" {
		t.Errorf("microsoft.com/devicelogin: %d %s", a.status, a.header)
	}
	if a := get(cloud, login+"/device"); a.status != http.StatusOK || !strings.Contains(a.text, "<form") {
		t.Errorf("the page for user codes: %d %s", a.status, a.text)
	}
	// Clients that take the house for an AD FS find the operator's tenant, and every
	// client what the cloud is made of.
	for base, via := range map[string]*http.Client{own: g.public, login: cloud} {
		if a := get(via, base+"/adfs/.well-known/openid-configuration"); a.say(t, "token_endpoint") != base+"/"+tid+"/oauth2/v2.0/token" {
			t.Errorf("%s/adfs: %d %s", base, a.status, a.text)
		}
	}
	for base, via := range map[string]*http.Client{own: g.public, "https://management.azure.com": cloud} {
		if a := get(via, base+"/metadata/endpoints?api-version=2022-09-01"); a.say(t, "resourceManager") != base+"/" {
			t.Errorf("%s/metadata/endpoints: %d %s", base, a.status, a.text)
		}
	}
	// No token yet: ARM says where to get one, in the words of its front.
	for base, via := range map[string]*http.Client{own: g.public, "https://management.azure.com": cloud} {
		want := own
		if via == cloud {
			want = login
		}
		if a := get(via, base+"/subscriptions?api-version=2022-12-01"); a.status != http.StatusUnauthorized || !strings.Contains(a.header.Get("WWW-Authenticate"), `authorization_uri="`+want+`"`) {
			t.Errorf("%s: %d %s", base, a.status, a.header)
		}
	}
	for _, url := range []string{"https://x.vault.azure.net/", "https://app.aladdin.microsoft.com/", "https://dc.services.visualstudio.com/", "https://raw.githubusercontent.com/", "https://" + strings.TrimPrefix(own, "https://"), "http://169.254.169.253/", "https://169.254.169.254/", "https://aks.hcp.westeurope.azmk8s.io/"} {
		if res, err := cloud.Get(url); err == nil {
			if a := read(t, res, err); a.status != http.StatusForbidden {
				t.Errorf("%s: %d %s", url, a.status, a.text)
			}
		} else if !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// JWT-11, OA-47: a token names the front that it was asked for at, whatever a
// header says, and is good at every door of every front.
func TestATokenOfOneFrontIsGoodAtAll(t *testing.T) {
	t.Parallel()
	g, cloud := proxied(t)
	tid := tenant.ID.String()
	// opens asks for a path with a token.
	opens := func(via *http.Client, url string) func(raw string) bool {
		return func(raw string) bool {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+raw)
			res, err := via.Do(req)
			return read(t, res, err).status == http.StatusOK
		}
	}
	const tenants, me = "/tenants?api-version=2022-12-01", "/v1.0/me"
	doors := map[string]map[string]func(raw string) bool{
		"https://management.azure.com": {
			"ARM": opens(g.public, g.op.Authority+tenants), "ARM of the cloud": opens(cloud, "https://management.azure.com"+tenants),
			"classic ARM": opens(cloud, "https://management.core.windows.net"+tenants), "regional checkaccess": opens(cloud, "https://westeurope.authorization.azure.net"+tenants),
		},
		"https://graph.microsoft.com": {
			"Graph": opens(g.public, g.op.Authority+me), "Graph of the cloud": opens(cloud, "https://graph.microsoft.com"+me),
			"userinfo": g.userInfo, "userinfo of the cloud": opens(cloud, "https://login.microsoftonline.com/"+tid+"/openid/userinfo"),
		},
		kubeServer:        {"TokenReview": g.authenticated},
		"api://gatehouse": {"the house's own API": g.api},
	}
	for _, front := range []struct {
		via          *http.Client
		base, issuer string
	}{
		{g.public, g.op.Authority, g.op.Authority + "/" + tid + "/"},
		{cloud, "https://login.microsoftonline.com", "https://sts.windows.net/" + tid + "/"},
	} {
		for resource, all := range doors {
			scope := resource + "/.default"
			if resource == "https://graph.microsoft.com" {
				scope += " openid"
			}
			f := url.Values{"grant_type": {"password"}, "client_id": {azClient}, "username": {ana.UserPrincipalName}, "password": {password}, "scope": {scope}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.base+"/"+tid+"/oauth2/v2.0/token", strings.NewReader(f.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("X-Forwarded-Host", "login.microsoftonline.us")
			req.Header.Set("Forwarded", "host=login.microsoftonline.us")
			res, err := front.via.Do(req)
			answer := read(t, res, err)
			raw := answer.say(t, "access_token")
			says, err := token.Peek(raw)
			if err != nil || says.Issuer != front.issuer {
				t.Fatalf("%s: a token of %q, %v, want %q: %s", front.base, says.Issuer, err, front.issuer, answer.text)
			}
			for door, open := range all {
				if !open(raw) {
					t.Errorf("a token of %s for %s does not open %s", front.base, resource, door)
				}
			}
		}
	}
}

// Whoever reaches the proxy gets certificates of the house's own authority, for
// the name alone that was asked for.
func TestCertificatesAreForOneName(t *testing.T) {
	t.Parallel()
	g, cloud := proxied(t)
	ca, err := os.ReadFile(g.conf.Dir.CA())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"login.microsoftonline.com", "graph.microsoft.com"} {
		res, err := cloud.Get("https://" + name + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		leaf := res.TLS.PeerCertificates[0]
		if !slices.Equal(leaf.DNSNames, []string{name}) || len(leaf.IPAddresses) > 0 || res.TLS.Version < tls.VersionTLS12 || leaf.IsCA {
			t.Errorf("%s: a certificate for %v %v", name, leaf.DNSNames, leaf.IPAddresses)
		}
	}
	if len(ca) == 0 {
		t.Error("no authority")
	}
}

// PX-04.
func TestAHouseWithoutAProxySaysSo(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	if addr, err := g.conf.Dir.Proxy(); !os.IsNotExist(err) {
		t.Errorf("proxy at %q, %v", addr, err)
	}
	for _, addr := range []string{"0.0.0.0:0", ":0"} {
		conf := config(t, t.TempDir()+"/data")
		conf.ProxyListen = addr
		h, err := house.Start(t.Context(), conf)
		if err == nil {
			h.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), "--proxy-listen: ") || !strings.Contains(err.Error(), "not an address of loopback") {
			t.Errorf("--proxy-listen %s: %v", addr, err)
		}
	}
}

// A registry is reached by its login server through the proxy, and below a path of the
// house's own URL; each sends clients back to itself. JWT-14: its tokens open nothing else.
func TestARegistryIsReachedByItsName(t *testing.T) {
	t.Parallel()
	g, cloud := proxied(t)
	at := scope.MustParse(subOfDoors + "/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/doors")
	acrPull := azurerbac.Assignment{ID: idOf[azurerbac.AssignmentID]("60000000-0000-4000-8000-0000000000f1"), Scope: at, Principal: ana.ID, Role: idOf[azurerbac.DefinitionID]("7f951dda-4ed3-4680-a7ca-43fe172d538d")}
	g.put(resource.Other{Scope: at, Name: "doors", Type: "Microsoft.ContainerRegistry/registries", Location: "westeurope"})
	g.put(acrPull)
	access, _ := g.signIn("https://management.azure.com")["access_token"].(string)
	for base, via := range map[string]*http.Client{"https://doors.azurecr.io": cloud, g.op.Authority + "/registries/doors": g.public} {
		res, err := via.Get(base + "/v2/")
		if a := read(t, res, err); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != `Bearer realm="`+base+`/oauth2/token",service="doors.azurecr.io"` {
			t.Errorf("%s: %d %v", base, a.status, a.header)
		}
		res, err = via.PostForm(base+"/oauth2/exchange", url.Values{"grant_type": {"access_token"}, "service": {"doors.azurecr.io"}, "access_token": {access}})
		refresh := read(t, res, err).say(t, "refresh_token")
		res, err = via.PostForm(base+"/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "service": {"doors.azurecr.io"}, "refresh_token": {refresh}, "scope": {"repository:hello:pull"}})
		one := read(t, res, err).say(t, "access_token")
		if one == "" || g.api(one) || g.userInfo(one) || g.authenticated(one) || g.api(refresh) || g.authenticated(refresh) {
			t.Errorf("%s: the tokens of a registry open another door: %q", base, one)
		}
	}
	if res, err := cloud.Get("https://nowhere.azurecr.io/v2/"); err == nil {
		t.Errorf("a registry that is not there answers %s", res.Status)
	}
	if strings.Contains(g.log.String(), access) {
		t.Error("ZA-01: a token is in the log")
	}
}
