package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/serve/proxy"
)

// A world is a proxy that answers for login.example and graph.example, and knows
// one cluster.
type world struct {
	t       *testing.T
	addr    string
	ca      *pki.CA
	cluster net.Listener
	client  *http.Client // that uses the proxy
}

// answers says who answers, and to which request.
func answers(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %t", name, r.Method, r.URL, r.TLS != nil)
	})
}

func newWorld(t *testing.T, change ...func(*proxy.Config)) *world {
	t.Helper()
	now := time.Now()
	ca, err := pki.NewCA("test", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ca: ca}
	if w.cluster, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cluster.Close() })
	conf := proxy.Config{
		Answer: func(name string) (http.Handler, bool) {
			return answers(name), name == "login.example" || name == "graph.example"
		},
		Certificate: func(name string) (*tls.Certificate, error) {
			pair, err := ca.Issue(pki.Leaf{CommonName: "test", DNS: []string{name}, Server: true, Life: time.Hour}, now)
			if err != nil {
				return nil, err
			}
			cert, err := pair.TLS()
			return &cert, err
		},
		Cluster: func(name string) (netip.AddrPort, bool) {
			switch name {
			case "aks-1.hcp.westeurope.azmk8s.io":
				return netip.MustParseAddrPort(w.cluster.Addr().String()), true
			case "far.hcp.westeurope.azmk8s.io":
				return netip.MustParseAddrPort("192.0.2.1:443"), true
			}
			return netip.AddrPort{}, false
		},
		Metadata: answers("metadata"),
	}
	for _, f := range change {
		f(&conf)
	}
	ln, err := proxy.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- proxy.New(conf).Run(ctx, ln, time.Second) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	through := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: w.addr}), TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	t.Cleanup(through.CloseIdleConnections)
	w.client = &http.Client{Transport: through, Timeout: 10 * time.Second}
	return w
}

// raw sends bytes to the proxy and returns the first answer.
func (w *world) raw(text string) (*http.Response, net.Conn, *bufio.Reader) {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		w.t.Fatalf("%q: %v", text, err)
	}
	return res, c, r
}

func (w *world) get(url string) (int, string) {
	w.t.Helper()
	res, err := w.client.Get(url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestEachNameHasItsOwnDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for url, want := range map[string]string{
		"https://login.example/a?b=c":           "login.example GET /a?b=c true",
		"https://graph.example/":                "graph.example GET / true",
		"https://GRAPH.example/":                "graph.example GET / true",
		"http://169.254.169.254/metadata/x?y=z": "metadata GET /metadata/x?y=z false",
		"http://169.254.169.254:80/metadata/":   "metadata GET /metadata/ false",
	} {
		if status, got := w.get(url); status != http.StatusOK || got != want {
			t.Errorf("GET %s: %d %q, want %q", url, status, got, want)
		}
	}
}

// PX-01, PX-02: what may not be asked for. Each is a way in which proxies
// were talked into reaching what they must not.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for law, target := range map[string]string{
		"an unknown host":                   "app.aladdin.microsoft.com:443",
		"a parent of a known host":          "example:443",
		"a child of a known host":           "x.login.example:443",
		"a known host with more behind":     "login.example.evil.test:443",
		"a known host with more before":     "evillogin.example:443",
		"a dot at the end":                  "login.example.:443",
		"an empty label":                    "login..example:443",
		"another port":                      "login.example:8443",
		"no port":                           "login.example",
		"an empty port":                     "login.example:",
		"port 443 twice":                    "login.example:443:443",
		"port 0443":                         "login.example:0443",
		"a user":                            "user@login.example:443",
		"a known host as user":              "login.example:443@evil.test:443",
		"a known host as user and password": "login.example:443%40evil.test:443",
		"loopback":                          "127.0.0.1:443",
		"loopback, short":                   "127.1:443",
		"loopback, a number":                "2130706433:443",
		"loopback, octal":                   "0177.0.0.1:443",
		"loopback, hexadecimal":             "0x7f.0.0.1:443",
		"loopback of IPv6":                  "[::1]:443",
		"loopback in IPv6":                  "[::ffff:127.0.0.1]:443",
		"any address":                       "0.0.0.0:443",
		"localhost":                         "localhost:443",
		"the metadata service":              "169.254.169.254:443",
		"the metadata service, plain":       "169.254.169.254:80",
		"letters that fold to a known host": "ſogin.example:443",
		"a name in another script":          "lоgin.example:443",
		"punycode that nobody knows":        "xn--lgin-qqa.example:443",
		"an underscore":                     "login_example:443",
		"a percent sign":                    "login%2eexample:443",
		"a NUL":                             "login.example%00.evil.test:443",
		"a slash":                           "login.example/:443",
		"a path":                            "/login.example:443",
		"a long name":                       strings.Repeat("a.", 150) + "example:443",
		"a long label":                      strings.Repeat("a", 64) + ".example:443",
		"a hyphen at the beginning":         "-login.example:443",
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, addr: w.addr}
			res, _, _ := w.raw("CONNECT " + target + " HTTP/1.1\r\nHost: login.example:443\r\n\r\n")
			if res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusBadRequest {
				t.Errorf("CONNECT %s: %s", target, res.Status)
			}
		})
	}
	for law, request := range map[string]string{
		"a body, which would be the beginning of the tunnel": "CONNECT login.example:443 HTTP/1.1\r\nHost: login.example\r\nContent-Length: 5\r\n\r\nGET /",
		"a chunked body":                        "CONNECT login.example:443 HTTP/1.1\r\nHost: login.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":                           "CONNECT login.example:443 HTTP/1.1\r\nHost: login.example\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"a length and chunks":                   "CONNECT login.example:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two hosts":                             "CONNECT login.example:443 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"a space in the target":                 "CONNECT login.example:443 evil.test:443 HTTP/1.1\r\nHost: a\r\n\r\n",
		"a folded header":                       "CONNECT login.example:443 HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
		"an upgrade":                            "CONNECT login.example:443 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"an upgrade behind an empty one":        "CONNECT login.example:443 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade:\r\nUpgrade: h2c\r\n\r\n",
		"a request for the proxy itself":        "GET / HTTP/1.1\r\nHost: " + w.addr + "\r\n\r\n",
		"plain HTTP to a known host":            "GET http://login.example/ HTTP/1.1\r\nHost: login.example\r\n\r\n",
		"plain HTTP to loopback":                "GET http://127.0.0.1:8443/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"https without CONNECT":                 "GET https://login.example/ HTTP/1.1\r\nHost: login.example\r\n\r\n",
		"the metadata service at another port":  "GET http://169.254.169.254:8080/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"the metadata service by its user name": "GET http://169.254.169.254@evil.test/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"the metadata service with a user":      "GET http://me@169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"the metadata service as a number":      "GET http://2852039166/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"the metadata service by Host alone":    "GET /metadata/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"HTTP/2 in plain":                       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"a header without end":                  "CONNECT login.example:443 HTTP/1.1\r\nA: " + strings.Repeat("x", 80<<10) + "\r\n\r\n",
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, addr: w.addr}
			res, _, _ := w.raw(request)
			if res.StatusCode < 400 {
				t.Errorf("%q: %s", request, res.Status)
			}
		})
	}
}

// TLS must name the server that the CONNECT named, and a request its host: one
// connection is to one host (OA-47, PX-02).
func TestOneConnectionIsToOneHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	open := func(t *testing.T, sni string) (*tls.Conn, error) {
		w := &world{t: t, addr: w.addr}
		res, c, _ := w.raw("CONNECT login.example:443 HTTP/1.1\r\nHost: graph.example:443\r\n\r\n")
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		conf := &tls.Config{ServerName: sni, InsecureSkipVerify: true}
		over := tls.Client(c, conf)
		return over, over.HandshakeContext(t.Context())
	}
	for law, sni := range map[string]string{"another server": "graph.example", "no server": "", "an unknown server": "evil.test", "an address": "127.0.0.1"} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			if _, err := open(t, sni); err == nil {
				t.Errorf("TLS to %q was accepted in a connection to login.example", sni)
			}
		})
	}
	for law, tt := range map[string]struct {
		request string
		status  int
		want    string
	}{
		"its own host":                     {"GET / HTTP/1.1\r\nHost: login.example\r\n\r\n", 200, "login.example GET / true"},
		"its own host in another case":     {"GET / HTTP/1.1\r\nHost: LOGIN.example:443\r\n\r\n", 200, "login.example GET / true"},
		"its own host in the request line": {"GET https://login.example/x HTTP/1.1\r\nHost: graph.example\r\n\r\n", 200, "login.example GET /x true"},
		"another host":                     {"GET / HTTP/1.1\r\nHost: graph.example\r\n\r\n", 421, ""},
		"another host in the request line": {"GET https://graph.example/ HTTP/1.1\r\nHost: login.example\r\n\r\n", 421, ""},
		"another port":                     {"GET / HTTP/1.1\r\nHost: login.example:8443\r\n\r\n", 421, ""},
		"no host":                          {"GET / HTTP/1.0\r\n\r\n", 421, ""},
		"forwarded for another host":       {"GET / HTTP/1.1\r\nHost: login.example\r\nX-Forwarded-Host: graph.example\r\nForwarded: host=graph.example\r\n\r\n", 200, "login.example GET / true"},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			over, err := open(t, "login.example")
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(over, tt.request)
			res, err := http.ReadResponse(bufio.NewReader(over), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tt.status || tt.want != "" && string(body) != tt.want {
				t.Errorf("%d %q, want %d %q", res.StatusCode, body, tt.status, tt.want)
			}
		})
	}
}

// TL-01.
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, c, _ := w.raw("CONNECT login.example:443 HTTP/1.1\r\nHost: login.example\r\n\r\n")
	over := tls.Client(c, &tls.Config{ServerName: "login.example", RootCAs: w.ca.Pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if over.HandshakeContext(t.Context()) == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// TL-05.
func TestPlainHTTPInsideIsNotAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, plain := range []string{"GET / HTTP/1.1\r\nHost: login.example\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		_, c, r := w.raw("CONNECT login.example:443 HTTP/1.1\r\nHost: login.example\r\n\r\n")
		io.WriteString(c, plain)
		if got, _ := io.ReadAll(r); strings.Contains(string(got), "login.example GET") || strings.Contains(string(got), " 200 ") {
			t.Errorf("%q: %q", plain, got)
		}
	}
}

// A client may be so sure of itself that it goes on before it is told to.
func TestAnEagerClientLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	over := tls.Client(ours, &tls.Config{ServerName: "login.example", RootCAs: w.ca.Pool()})
	failed := make(chan error, 1)
	go func() { failed <- over.Handshake() }()
	hello := make([]byte, 16<<10)
	n, err := theirs.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	res, c, r := w.raw("CONNECT login.example:443 HTTP/1.1\r\nHost: login.example\r\n\r\n" + string(hello[:n]))
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	go io.Copy(theirs, r)
	go io.Copy(c, theirs)
	if err := <-failed; err != nil {
		t.Errorf("handshake: %v", err)
	}
}

func TestAClusterIsReachedUnread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	go func() {
		c, err := w.cluster.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(c, c) // until the client has said all
		io.WriteString(c, " and good bye")
	}()
	res, c, r := w.raw("CONNECT aks-1.hcp.westeurope.azmk8s.io:443 HTTP/1.1\r\nHost: x\r\n\r\nearly ")
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	io.WriteString(c, "late")
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "early late and good bye" {
		t.Errorf("%q %v", got, err)
	}
}

// PX-03.
func TestNothingButLoopbackIsDialled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if res, _, _ := w.raw("CONNECT far.hcp.westeurope.azmk8s.io:443 HTTP/1.1\r\nHost: x\r\n\r\n"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("a cluster that is said to be elsewhere: %s", res.Status)
	}
	for _, addr := range []string{"192.0.2.1:443", "[::ffff:192.0.2.1]:443", "0.0.0.0:443", "[::]:443", "169.254.169.254:80", "[fe80::1]:443", "10.0.0.1:443", "127.0.0.1:0"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		c, err := proxy.DialLoopback(ctx, netip.MustParseAddrPort(addr))
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "is not loopback") {
			t.Errorf("dial %s: %v", addr, err)
		}
		cancel()
	}
	if _, err := proxy.DialLoopback(t.Context(), netip.AddrPort{}); err == nil {
		t.Error("dialled no address")
	}
}

// PX-04.
func TestTheProxyListensOnLoopbackAlone(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "localhost:0", "example.com:0", "127.0.0.1", ""} {
		if ln, err := proxy.Listen(t.Context(), addr); err == nil {
			ln.Close()
			t.Errorf("listens on %q", addr)
		}
	}
}

func TestTheZeroProxyAnswersForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *proxy.Config) { *c = proxy.Config{} })
	for _, request := range []string{"CONNECT login.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\n\r\n"} {
		if res, _, _ := w.raw(request); res.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %s", request, res.Status)
		}
	}
}

// PX-05.
func TestOneConnectionTooManyIsClosed(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := proxy.Limit(ln, 1)
	defer limited.Close()
	taken := make(chan net.Conn)
	go func() {
		for {
			c, err := limited.Accept()
			if err != nil {
				return
			}
			taken <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first := <-taken
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("the second connection was not closed")
	}
	first.Close()
	dial()
	(<-taken).Close()
}

// PX-05: a client that opens a connection and does not go on, at whichever step,
// is cut.
func TestASilentClientIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for law, tt := range map[string]struct {
			say   string
			after time.Duration
		}{
			"before it says what it wants": {"", time.Minute},
			"in the middle of a header":    {"CONNECT login.example:443 HTTP/1.1\r\nHost: ", time.Minute},
			"before TLS":                   {"CONNECT login.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", time.Minute},
			"in a tunnel":                  {"CONNECT aks.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", proxy.TunnelIdle},
		} {
			here, there := net.Pipe()
			ctx, stop := context.WithCancel(t.Context())
			door := proxy.New(proxy.Config{
				Answer:  func(name string) (http.Handler, bool) { return answers(name), name == "login.example" },
				Cluster: func(string) (netip.AddrPort, bool) { return netip.MustParseAddrPort("127.0.0.1:1"), true },
			})
			far, _ := net.Pipe() // an API server that says nothing
			proxy.SetDial(door, func(context.Context, netip.AddrPort) (net.Conn, error) { return far, nil })
			ended := make(chan error, 1)
			go func() { ended <- door.Run(ctx, &oneConn{conn: there, done: ctx.Done()}, time.Second) }()
			begin := time.Now()
			go io.WriteString(here, tt.say)
			if _, err := io.Copy(io.Discard, here); err != nil {
				t.Errorf("%s: %v", law, err)
			}
			if took := time.Since(begin); took > tt.after {
				t.Errorf("a client that is silent %s is cut after %s, want %s", law, took, tt.after)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn net.Conn
	done <-chan struct{}
}

func (o *oneConn) Accept() (net.Conn, error) {
	if c := o.conn; c != nil {
		o.conn = nil
		return c, nil
	}
	<-o.done
	return nil, net.ErrClosed
}

func (o *oneConn) Close() error   { return nil }
func (o *oneConn) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// PX-01.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"login.example:443", "LOGIN.example:443", "a:443", "1.2.3.4:443", "a-.b:443", "a..b:443", ".:443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		name, err := proxy.ParseTarget(target)
		if err != nil {
			if name != "" {
				t.Errorf("%q: a name together with an error", target)
			}
			return
		}
		if again, err := proxy.ParseTarget(name + ":443"); err != nil || again != name {
			t.Errorf("%q is %q, which is %q, %v", target, name, again, err)
		}
		if _, err := netip.ParseAddr(name); err == nil || net.ParseIP(name) != nil {
			t.Errorf("%q is an address", target)
		}
		if cert := (&x509.Certificate{DNSNames: []string{name}}); cert.VerifyHostname(name) != nil {
			t.Errorf("no certificate can be for %q", name)
		}
	})
}
