package nmi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// raw sends bytes to the metadata address and returns what comes back, when it is
// not too early for another request.
func (p *pod) raw(text string) (got string) {
	p.T.Helper()
	p.Until("there may be another request", func() bool {
		got = p.once(text)
		return len(got) < 12 || got[8:12] != " 429" // HTTP/1.0 is answered in kind
	})
	return got
}

func (p *pod) once(text string) string {
	c, err := dialer(p.ns, "")(p.T.Context(), "tcp", metadata+":80")
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return err.Error()
	}
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// PI-05, PI-06, PI-09, PI-11, PI-17: a pod that has an identity gets a token by one
// way of asking, and the metadata service of the cloud is never asked in its place.
func oneWayToAsk(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	web := n.pod("web", bound("blue"))
	web.token().gets(t, blue.ID.String())
	const path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/"
	const end = " HTTP/1.1\r\nHost: 169.254.169.254\r\nMetadata: true\r\nConnection: close\r\n\r\n"
	if got := web.raw("GET " + path + end); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Fatalf("the right way: %.300s", got)
	}
	host := func(name string) string { return strings.Replace(end, "169.254.169.254", name, 1) }
	header := func(lines string) string { return strings.Replace(end, "Metadata: true\r\n", lines, 1) }
	for _, tt := range []struct{ law, request, want string }{
		{"PI-05 no header", "GET " + path + header(""), "400"},
		{"PI-05 the header with another value", "GET " + path + header("Metadata: false\r\n"), "400"},
		{"PI-05 the header in another case", "GET " + path + header("Metadata: True\r\n"), "400"},
		{"PI-05 the header twice", "GET " + path + header("Metadata: true\r\nMetadata: true\r\n"), "400"},
		{"PI-06 backslashes", `GET \metadata\identity\oauth2\token` + end, "400"},
		{"PI-06 escaped backslashes", "GET /metadata%5cidentity/oauth2/token" + end, "404"},
		{"PI-06 an escaped slash", strings.Replace("GET "+path, "/oauth2", "%2foauth2", 1) + end, "404"},
		{"PI-06 an escaped letter", strings.Replace("GET "+path, "token", "toke%6e", 1) + end, "404"},
		{"PI-06 two slashes", strings.Replace("GET "+path, "/metadata/", "//metadata/", 1) + end, "404"},
		{"PI-06 two slashes inside", strings.Replace("GET "+path, "/oauth2/", "//oauth2/", 1) + end, "404"},
		{"PI-06 a dot", strings.Replace("GET "+path, "/oauth2/", "/./oauth2/", 1) + end, "404"},
		{"PI-06 two dots", strings.Replace("GET "+path, "/oauth2/", "/x/../oauth2/", 1) + end, "404"},
		{"PI-06 escaped dots", strings.Replace("GET "+path, "/oauth2/", "/x/%2e%2e/oauth2/", 1) + end, "404"},
		{"PI-06 a parameter of the path", strings.Replace("GET "+path, "token", "token;x", 1) + end, "404"},
		{"PI-06 another case", strings.Replace("GET "+path, "metadata", "Metadata", 1) + end, "404"},
		{"PI-06 a backslash within", `GET /metadata\identity/oauth2/token?api-version=2018-02-01&resource=r` + end, "404"},
		{"PI-06 a backslash and dots", `GET /x\..\metadata/identity/oauth2/token?api-version=2018-02-01&resource=r` + end, "404"},
		{"PI-06 escaped backslashes in the whole path", "GET %5cmetadata%5cidentity%5coauth2%5ctoken?resource=r" + end, "400"},
		{"PI-06 an escaped backslash behind", strings.Replace("GET "+path, "/token", "%5Ctoken", 1) + end, "404"},
		{"PI-06 an escaped dot", strings.Replace("GET "+path, "/oauth2/", "/%2e/oauth2/", 1) + end, "404"},
		{"PI-06 escaped dots that lead up", strings.Replace("GET "+path, "/metadata/", "/%2e%2e/metadata/", 1) + end, "404"},
		{"PI-06 escaped dots and slash", strings.Replace("GET "+path, "/oauth2/", "/x/..%2foauth2/", 1) + end, "404"},
		{"PI-06 escaped twice", strings.Replace("GET "+path, "/oauth2/", "/x/%252e%252e/oauth2/", 1) + end, "404"},
		{"PI-06 a dot at the end", strings.Replace("GET "+path, "token?", "token.?", 1) + end, "404"},
		{"PI-06 an escaped dot at the end", strings.Replace("GET "+path, "token?", "token%2e?", 1) + end, "404"},
		{"PI-06 nothing at the end", strings.Replace("GET "+path, "token?", "token%00?", 1) + end, "404"},
		{"PI-06 an asterisk", "OPTIONS *" + end, "404"},
		{"PI-06 a slash at the end", strings.Replace("GET "+path, "token", "token/", 1) + end, "404"},
		{"PI-06 more of a path", strings.Replace("GET "+path, "token", "token/x", 1) + end, "404"},
		{"PI-06 between the words (CVE-2022-23551)", "GET /metadata/identity/x/oauth2/x/token?resource=r" + end, "404"},
		{"PI-06 a whole URL", "GET http://169.254.169.254" + path + end, "404"},
		{"PI-06 a whole URL of somebody else", "GET http://10.0.0.1" + path + end, "404"},
		{"PI-06 CONNECT", "CONNECT 169.254.169.254:80" + end, "404"},
		{"PI-06 the instance", "GET /metadata/instance?api-version=2021-02-01" + end, "403"},
		{"PI-06 the attested document", "GET /metadata/attested/document?api-version=2021-02-01" + end, "404"},
		{"PI-06 versions", "GET /metadata/versions" + end, "404"},
		{"PI-06 the root", "GET /" + end, "404"},
		{"PI-06 the node's own path", "GET /host/token?resource=r" + header("Metadata: true\r\npodns: shop\r\npodname: web-"+n.name+"\r\n"), "404"},
		{"PI-06 a command of our own", "GET /gatehouse/nodes/token" + end, "404"},
		{"PI-11 POST", "POST " + path + strings.Replace(end, "\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n", 1), "405"},
		{"PI-11 HEAD", "HEAD " + path + end, "405"},
		{"PI-11 PUT", "PUT " + path + end, "405"},
		{"PI-11 PATCH", "PATCH " + path + end, "405"},
		{"PI-11 DELETE", "DELETE " + path + end, "405"},
		{"PI-11 OPTIONS", "OPTIONS " + path + end, "405"},
		{"PI-11 TRACE", "TRACE " + path + end, "405"},
		{"PI-11 a method in small letters", "get " + path + end, "405"},
		{"PI-11 no host", "GET " + path + strings.Replace(end, "Host: 169.254.169.254\r\n", "", 1), "400"},
		{"PI-11 no host in a version that needs none", "GET " + path + strings.NewReplacer("HTTP/1.1", "HTTP/1.0", "Host: 169.254.169.254\r\n", "").Replace(end), "400"},
		{"PI-11 an empty host", "GET " + path + host(""), "400"},
		{"PI-11 a dot behind the host", "GET " + path + host("169.254.169.254."), "400"},
		{"PI-11 the host in the form of IPv6", "GET " + path + host("[::ffff:169.254.169.254]"), "400"},
		{"PI-11 somebody before the host", "GET " + path + host("x@169.254.169.254"), "400"},
		{"PI-11 a name that leads here", "GET " + path + host("imds.example"), "400"},
		{"PI-11 another port", "GET " + path + host("169.254.169.254:8080"), "400"},
		{"PI-11 the address in another notation", "GET " + path + host("0xa9fea9fe"), "400"},
		{"PI-11 two hosts", "GET " + path + strings.Replace(end, "Metadata", "Host: 169.254.169.254\r\nMetadata", 1), "400"},
		{"PI-11 a request that was passed on", "GET " + path + header("Metadata: true\r\nX-Forwarded-For: 10.0.0.1\r\n"), "400"},
		{"PI-11 passed on, behind an empty header", "GET " + path + header("Metadata: true\r\nX-Forwarded-For:\r\nX-Forwarded-For: 10.0.0.1\r\n"), "400"},
		{"PI-11 passed on by the standard", "GET " + path + header("Metadata: true\r\nForwarded: for=10.0.0.1\r\n"), "400"},
		{"PI-11 passed on by the standard, behind an empty header", "GET " + path + header("Metadata: true\r\nForwarded:\r\nForwarded: for=10.0.0.1\r\n"), "400"},
		{"PI-09 a parameter twice", "GET " + path + "&resource=https://vault.azure.net" + end, "400"},
		{"PI-09 an identity by two names", "GET " + path + "&client_id=" + blue.ClientID.String() + "&object_id=" + blue.ID.String() + end, "400"},
		{"PI-09 an identity by its client and its resource", "GET " + path + "&client_id=" + blue.ClientID.String() + "&msi_res_id=" + blue.Resource.String() + end, "400"},
		{"PI-09 an identity by both names of its resource", "GET " + path + "&msi_res_id=" + blue.Resource.String() + "&mi_res_id=" + blue.Resource.String() + end, "400"},
		{"PI-09 an identity twice", "GET " + path + strings.Repeat("&client_id="+blue.ClientID.String(), 2) + end, "400"},
		{"PI-09 two identities", "GET " + path + "&client_id=" + blue.ClientID.String() + "&client_id=" + green.ClientID.String() + end, "400"},
		{"no version", strings.Replace("GET "+path, "api-version=2018-02-01&", "", 1) + end, "400"},
		{"no resource", "GET /metadata/identity/oauth2/token?api-version=2018-02-01" + end, "400"},
		{"PI-17 a resource that nobody registered", strings.Replace("GET "+path, "management.azure.com", "evil.example", 1) + end, "403"},
		{"PI-17 every resource", strings.Replace("GET "+path, "https://management.azure.com/", "*", 1) + end, "403"},
	} {
		// HTTP/1.0 is answered in kind.
		if got := web.raw(tt.request); len(got) < 12 || got[:7] != "HTTP/1." || got[8:12] != " "+tt.want || strings.Contains(got, "access_token") {
			t.Errorf("%s: %.400s\nwant %s", tt.law, got, tt.want)
		}
	}
	for _, port := range []string{"32526", "8080", "443", "2579"} {
		if a := web.ask("http://" + metadata + ":" + port + "/metadata/identity/oauth2/token"); a.status != 0 {
			t.Errorf("port %s of the metadata address: %s", port, a)
		}
	}
	for _, port := range []string{"80", "32526"} {
		if a := web.ask("http://" + wireServer + ":" + port + "/machine?comp=goalstate"); a.status != 0 {
			t.Errorf("port %s of the wire server: %s", port, a)
		}
	}
	// The agent's own address is not asked but through the metadata address.
	if a := web.ask("http://169.254.25.79:2579/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r", "Metadata", "true"); a.status != 0 {
		t.Errorf("the agent's own address: %s", a)
	}
	if hits := n.cloud.hits.Load(); hits != 0 {
		t.Errorf("the cloud was asked %d times", hits)
	}
}

// PI-14.
func pace(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	eager, calm := n.pod("eager", bound("blue")), n.pod("calm", bound("green"))
	answers := make([]answer, 60)
	begin := time.Now()
	together(len(answers), func(i int) { answers[i] = eager.token() })
	limited := 0
	for _, a := range answers {
		if a.status == http.StatusTooManyRequests {
			limited++
			if a.header.Get("Retry-After") == "" {
				t.Errorf("it is not said when to come again: %v", a.header)
			}
		} else if a.of() != blue.ID.String() {
			t.Errorf("%s", a)
		}
	}
	// Twenty, and as many for each second that it took.
	if served, most := len(answers)-limited, 20+20*time.Since(begin).Seconds(); limited == 0 || float64(served) > most {
		t.Errorf("%d of %d requests at once are served, want at most %.0f", served, len(answers), most)
	}
	calm.token().gets(t, green.ID.String())
}

// PI-18: what the agent leaves behind, and what root of the node may ask it.
func host0600(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	web := n.pod("web", bound("blue"))
	web.token().gets(t, blue.ID.String())
	info, err := os.Stat(n.dir + "/host.sock")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	socket := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", n.dir+"/host.sock")
		}}}
	ask := func(pod, query string) answer {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node/host/token?resource=https://vault.azure.net"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if pod != "" {
			req.Header.Set("podns", "shop")
			req.Header.Set("podname", pod)
		}
		return do(socket, req)
	}
	if a := ask("web-"+n.name, ""); a.status != http.StatusOK || !strings.Contains(a.body, `"clientid":"`+blue.ClientID.String()) || !strings.Contains(a.body, `"token":{"access_token":"eyJ`) {
		t.Errorf("%s", a)
	}
	ask("nobody", "").refused(t, http.StatusNotFound, "no running pod shop/nobody")
	ask("web-"+n.name, "&client_id="+green.ClientID.String()).refused(t, http.StatusNotFound, "no azure identity found")
	ask("", "").refused(t, http.StatusBadRequest, "missing 'podname' and 'podns'")
	if text := n.log(); strings.Contains(text, "eyJ") || !strings.Contains(text, "shop/web-"+n.name) {
		t.Errorf("the log: %.2000s", text)
	}
	limits, err := os.ReadFile("/proc/" + n.pid() + "/limits")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 bytes") {
		t.Errorf("%v: %s", err, limits)
	}
	if status, text := n.status("/readyz"); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	if _, text := n.status("/metrics"); !strings.Contains(text, `gatehouse_nmi_requests_total{code="200"}`) {
		t.Errorf("%s", text)
	}
}
