package trust_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/token"
	"github.com/gatehouse-io/gatehouse/internal/trust"
)

const (
	host   = "issuer.example"
	issuer = "https://issuer.example/tenant/"
)

// public is an address of a public server. Nothing is ever sent there: the test
// network ends on the loopback address.
var public = netip.MustParseAddr("8.8.8.8")

// A network is a world in which names have the addresses that a test says, and every
// connection ends at one server.
type network struct {
	t      testing.TB
	ca     *pki.CA
	server *httptest.Server
	now    atomic.Int64

	mu      sync.Mutex
	lookups func(n int) []netip.Addr // the nth question for an address
	asked   int
	dialled []string
	docs    map[string]func(http.ResponseWriter, *http.Request)
	gets    map[string]int
}

func newNetwork(t testing.TB) *network {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now().Add(-72*time.Hour), 96*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, ca: ca, docs: make(map[string]func(http.ResponseWriter, *http.Request)), gets: make(map[string]int)}
	n.now.Store(time.Now().UnixNano())
	n.lookups = func(int) []netip.Addr { return []netip.Addr{public} }
	n.document(issuer, "https://issuer.example/keys")
	n.keys("k1")
	leaf := pki.Leaf{CommonName: host, DNS: []string{host, "other.example"}, IPs: []net.IP{{127, 0, 0, 1}}, Server: true, Life: time.Hour}
	n.server = httptest.NewUnstartedServer(http.HandlerFunc(n.serve))
	n.server.TLS = &tls.Config{Certificates: []tls.Certificate{n.certificate(ca, leaf)}}
	n.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	n.server.StartTLS()
	t.Cleanup(n.server.Close)
	return n
}

func (n *network) certificate(ca *pki.CA, leaf pki.Leaf) tls.Certificate {
	n.t.Helper()
	pair, err := ca.Issue(leaf, time.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		n.t.Fatal(err)
	}
	return cert
}

func (n *network) serve(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.gets[r.URL.Path]++
	f := n.docs[r.URL.Path]
	n.mu.Unlock()
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f(w, r)
}

func (n *network) on(path string, f func(http.ResponseWriter, *http.Request)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.docs[path] = f
}

func (n *network) document(issuer, keys string) {
	n.on("/tenant/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"issuer": issuer, "jwks_uri": keys, "response_types_supported": []string{"id_token"}})
	})
}

func (n *network) keys(kids ...string) {
	n.t.Helper()
	var set jose.JSONWebKeySet
	for _, kid := range kids {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			n.t.Fatal(err)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid})
	}
	n.on("/keys", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(set) })
}

func (n *network) count(path string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gets[path]
}

func (n *network) forward(d time.Duration) { n.now.Add(int64(d)) }

// issuers finds keys in this world.
func (n *network) issuers(change ...func(*trust.Config)) *trust.Issuers {
	roots := x509.NewCertPool()
	roots.AddCert(n.ca.Cert)
	conf := trust.Config{
		Roots: roots, Now: func() time.Time { return time.Unix(0, n.now.Load()) },
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.asked++
			return n.lookups(n.asked), nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			n.mu.Lock()
			n.dialled = append(n.dialled, address)
			n.mu.Unlock()
			return new(net.Dialer).DialContext(ctx, network, n.server.Listener.Addr().String())
		},
	}
	for _, f := range change {
		f(&conf)
	}
	return trust.New(conf)
}

// mustHave insists on keys that have kid.
func mustHave(t testing.TB, i *trust.Issuers, kid string) {
	t.Helper()
	keys, err := i.Keys(t.Context(), issuer, kid)
	if err != nil || !keys.Has(kid) {
		t.Fatalf("%d keys, %v; want %s", keys.Len(), err, kid)
	}
}

func mustFail(t testing.TB, i *trust.Issuers, name string) error {
	t.Helper()
	keys, err := i.Keys(t.Context(), name, "k1")
	if !errors.Is(err, trust.ErrUnreachable) || keys.Len() != 0 {
		t.Fatalf("%s: %d keys, %v; want ErrUnreachable", name, keys.Len(), err)
	}
	return err
}

func TestKeysOfAnIssuer(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	i := n.issuers()
	mustHave(t, i, "k1")
	mustHave(t, i, "k1")
	if got := n.count("/keys"); got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
	n.document(issuer, "https://other.example/keys") // another host is looked at in the same way
	n.forward(11 * time.Minute)
	mustHave(t, i, "k1")
	if got := fmt.Sprint(n.dialled); got != "[8.8.8.8:443 8.8.8.8:443 8.8.8.8:443 8.8.8.8:443]" {
		t.Errorf("dialled %s", got)
	}
	// A key that its owner withdrew is gone within ten minutes.
	n.keys("k2")
	n.forward(11 * time.Minute)
	keys, err := i.Keys(t.Context(), issuer, "k1")
	if err != nil || keys.Has("k1") || !keys.Has("k2") {
		t.Errorf("after the change: k1 %t, k2 %t, %v", keys.Has("k1"), keys.Has("k2"), err)
	}
}

func TestLocalIssuersNeedNoNetwork(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	local, _, err := token.ParseJWKS([]byte(`{"keys":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	const mine = "https://127.0.0.1:8443/oidc/cluster/"
	i := n.issuers(func(c *trust.Config) {
		c.Local = func(issuer string) (token.ForeignKeys, bool) { return local, issuer == mine }
	})
	if _, err := i.Keys(t.Context(), mine, "k1"); err != nil {
		t.Error(err)
	}
	if err := i.Check(mine); err != nil {
		t.Error(err)
	}
	if len(n.dialled) != 0 {
		t.Errorf("dialled %s", n.dialled)
	}
}

// badPlaces are URLs that lead into the own network, or are not written in the one
// way that a URL can be.
var badPlaces = []string{
	"", "issuer.example", "http://issuer.example/", "HTTPS://issuer.example/", "file:///etc/passwd", "data:text/plain,x", "https:issuer.example", "//issuer.example", "https://", "https:///x",
	"https://127.0.0.1/", "https://127.1.2.3/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://127.0.0.1./",
	"https://0.0.0.0/", "https://0/", "https://169.254.169.254/", "https://169.254.169.254:80/", "https://168.63.129.16/", "https://168.63.129.16:80/", "https://[::ffff:168.63.129.16]/",
	"https://10.0.0.1/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.0.1/", "https://100.64.0.1/", "https://100.100.100.200/",
	"https://192.0.0.192/", "https://192.0.2.1/", "https://192.31.196.1/", "https://192.52.193.1/", "https://192.88.99.1/", "https://192.175.48.1/", "https://198.18.0.1/", "https://198.19.255.255/",
	"https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/", "https://239.255.255.255/", "https://240.0.0.1/", "https://255.255.255.255/",
	"https://[::1]/", "https://[::]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fec0::1]/", "https://[fd00::1]/", "https://[fd00:ec2::254]/", "https://[fd20:ce::254]/",
	"https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://[::127.0.0.1]/", "https://[::ffff:0:127.0.0.1]/",
	"https://[64:ff9b::7f00:1]/", "https://[64:ff9b::808:808]/", "https://[64:ff9b:1::1]/", "https://[100::1]/", "https://[2002:7f00:1::]/", "https://[2002:808:808::1]/",
	"https://[2001::1]/", "https://[2001:10::1]/", "https://[2001:20::1]/", "https://[2001:db8::1]/", "https://[2620:4f:8000::1]/", "https://[3fff::1]/", "https://[5f00::1]/", "https://[ff02::1]/",
	"https://localhost/", "https://localhost./", "https://LOCALHOST/", "https://db.localhost/", "https://vault/", "https://vault.default.svc/", "https://printer.local/", "https://metadata.google.internal/",
	"https://issuer.example:80/", "https://issuer.example:8443/", "https://issuer.example:/", "https://user@issuer.example/", "https://issuer.example@127.0.0.1/", "https://issuer.example/#f",
	"https://issuer.example\\@127.0.0.1/", "https://issuer.example/a b", "https://issuer.example/\n", "https://issuer.example/../x", "https://issuer.example/./", "https://іssuer.example/",
	"https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local",
}

// FED-05, FED-15, and the half of FED-09 about other schemes: what leads into the
// own network is refused when it is written, and no connection is made to it.
func TestPlacesThatAreNotAsked(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	i := n.issuers()
	for _, name := range append([]string{
		"https://issuer.example/?q", "https://issuer.example?", "https://issuer.example/" + strings.Repeat("x", 600),
		"https://kubernetes.default.example.com", "https://kubernetes.default.svc.example.com/", "https://kubernetes.default.svc.example.com:443/x/",
	}, badPlaces...) {
		if err := i.Check(name); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("Check(%q) = %v, want an invalid record", name, err)
		}
		mustFail(t, i, name)
	}
	if len(n.dialled) != 0 || n.asked != 0 {
		t.Errorf("dialled %s; looked up %d", n.dialled, n.asked)
	}
	for _, name := range []string{issuer, "https://issuer.example", "https://issuer.example:443/a", "https://8.8.8.8/", "https://[2606:4700::1]/", "https://token.actions.githubusercontent.com", "https://xn--80ak6aa92e.xn--p1ai/",
		"https://kubernetes.default-cluster.example/"} {
		if err := i.Check(name); err != nil {
			t.Errorf("Check(%q) = %v", name, err)
		}
	}
}

// FED-05, FED-09: the document of an issuer leads to none of these places either.
func TestKeysThatAreNotAskedFor(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	for tried, keys := range badPlaces {
		n.document(issuer, keys)
		if err := mustFail(t, n.issuers(), issuer); !strings.Contains(err.Error(), "jwks_uri: ") || !errors.Is(err, record.ErrInvalid) {
			t.Errorf("keys at %q: %v, want an invalid place", keys, err)
		}
		if len(n.dialled) != tried+1 || n.asked != tried+1 {
			t.Fatalf("keys at %q: dialled %s", keys, n.dialled[tried:])
		}
	}
}

// FED-05 and FED-06: a public name that leads into the own network, or does so the
// second time, or among others.
func TestNamesThatLeadInside(t *testing.T) {
	t.Parallel()
	for law, addrs := range map[string][]string{
		"loopback": {"127.0.0.1"}, "metadata": {"169.254.169.254"}, "private": {"10.1.2.3"}, "shared": {"100.100.100.200"}, "mapped": {"::ffff:127.0.0.1"},
		"IPv6 loopback": {"::1"}, "link-local": {"fe80::1"}, "unique local": {"fd00:ec2::254"}, "unspecified": {"0.0.0.0"}, "NAT64": {"64:ff9b::a00:1"}, "6to4": {"2002:a00:1::"},
		"one of many": {"8.8.8.8", "10.0.0.1", "1.1.1.1"}, "the last of many": {"8.8.8.8", "::1"}, "none": {},
	} {
		n := newNetwork(t)
		n.lookups = func(int) (out []netip.Addr) {
			for _, a := range addrs {
				out = append(out, netip.MustParseAddr(a))
			}
			return out
		}
		mustFail(t, n.issuers(), issuer)
		if len(n.dialled) != 0 {
			t.Errorf("%s: dialled %s", law, n.dialled)
		}
	}
	n := newNetwork(t)
	n.lookups = func(asked int) []netip.Addr {
		if asked == 1 {
			return []netip.Addr{public}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	mustFail(t, n.issuers(), issuer)
	if got := fmt.Sprint(n.dialled); got != "[8.8.8.8:443]" || n.count("/keys") != 0 {
		t.Errorf("the second answer was dialled: %s", got)
	}
}

// FED-05: whoever runs the house may open its own network for a host; what is
// link-local or a cloud's stays shut.
func TestPrivateIssuers(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	inside := []netip.Addr{netip.MustParseAddr("10.0.0.7")}
	n.lookups = func(int) []netip.Addr { return inside }
	private := func(hosts ...string) func(*trust.Config) { return func(c *trust.Config) { c.Private = hosts } }
	mustHave(t, n.issuers(private(host)), "k1")
	mustHave(t, n.issuers(private(host+":443")), "k1")
	mustHave(t, n.issuers(private(host, "10.0.0.7")), "k1")
	mustFail(t, n.issuers(private(host+":8443", "other.example", "10.0.0.7")), issuer)
	for _, a := range []string{"169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "0.0.0.0", "224.0.0.1", "255.255.255.255"} {
		n.lookups = func(int) []netip.Addr { return []netip.Addr{netip.MustParseAddr(a)} }
		mustFail(t, n.issuers(private(host)), issuer)
		// Nor when it is the address that was named.
		name := "https://" + strings.TrimSuffix(net.JoinHostPort(a, ""), ":")
		at, dialled := n.issuers(private(strings.TrimPrefix(name, "https://"))), len(n.dialled)
		if err := at.Check(name); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("Check(%q) = %v, want an invalid record", name, err)
		}
		mustFail(t, at, name)
		if len(n.dialled) != dialled {
			t.Errorf("dialled %s", n.dialled[dialled:])
		}
	}
	n.lookups = func(int) []netip.Addr { return inside }
	n.document("https://127.0.0.1:6443/tenant/", "https://127.0.0.1:6443/keys")
	with := n.issuers(private("127.0.0.1:6443"))
	if keys, err := with.Keys(t.Context(), "https://127.0.0.1:6443/tenant/", "k1"); err != nil || keys.Len() != 1 {
		t.Errorf("%d keys, %v", keys.Len(), err)
	}
	mustFail(t, with, "https://127.0.0.1/tenant/")
	mustFail(t, with, "https://127.0.0.1:6444/tenant/")
}

// FED-05: a host of the own network is open to issuers that are there themselves.
// The document of a public one leads there no more than anywhere else inside.
func TestAPublicIssuerLeadsToNoPrivateHost(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	lookup := func(_ context.Context, name string) ([]netip.Addr, error) {
		if name == host {
			return []netip.Addr{public}, nil
		}
		return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
	}
	for _, tt := range []struct{ private, keys string }{
		{"other.example", "https://other.example/keys"},
		{"other.example", "https://other.example:443/keys"},
		{"other.example:443", "https://other.example/keys"},
		{"other.example:8200", "https://other.example:8200/keys"},
		{"vault", "https://vault/keys"},
		{"10.0.0.7:8200", "https://10.0.0.7:8200/keys"},
		{"127.0.0.1", "https://127.0.0.1/keys"},
		{"[::1]", "https://[::1]/keys"},
	} {
		n.document(issuer, tt.keys)
		n.dialled = nil
		err := mustFail(t, n.issuers(func(c *trust.Config) { c.Lookup, c.Private = lookup, []string{tt.private} }), issuer)
		if !strings.Contains(err.Error(), "is in the own network, and its issuer is not") || len(n.dialled) != 1 {
			t.Errorf("%s with %s open: %v; dialled %s", tt.keys, tt.private, err, n.dialled)
		}
	}
	// One that is there itself has its keys where it likes, at places that are open.
	n.document(issuer, "https://other.example/keys")
	inside := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
	}
	mustHave(t, n.issuers(func(c *trust.Config) { c.Lookup, c.Private = inside, []string{host, "other.example"} }), "k1")
	mustFail(t, n.issuers(func(c *trust.Config) { c.Lookup, c.Private = inside, []string{host} }), issuer)
}

// FED-07, FED-08, FED-09 and sizes: what an issuer must not answer.
func TestAnswersThatAreRefused(t *testing.T) {
	t.Parallel()
	const path = "/tenant/.well-known/openid-configuration"
	redirect := func(to string, code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"https://issuer.example/keys"}`, issuer)
		}
	}
	says := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	keysAt := func(at string) func(n *network) { return func(n *network) { n.document(issuer, at) } }
	documentOf := func(issuer string) func(n *network) {
		return func(n *network) { n.document(issuer, "https://issuer.example/keys") }
	}
	for law, tt := range map[string]struct {
		why string
		set func(n *network)
	}{
		"FED-07: a redirect to itself": {"issuer.example answered 302", func(n *network) { n.on(path, redirect(issuer+".well-known/openid-configuration?2", http.StatusFound)) }},
		"FED-07: a redirect of the keys": {"jwks_uri: issuer.example answered 307", func(n *network) {
			n.on("/keys", redirect("https://issuer.example/other", http.StatusTemporaryRedirect))
		}},
		"FED-07: a redirect to another host":          {"issuer.example answered 302", func(n *network) { n.on(path, redirect("https://other.example/other", http.StatusFound)) }},
		"FED-07: a redirect of the keys to http":      {"jwks_uri: issuer.example answered 308", func(n *network) { n.on("/keys", redirect("http://issuer.example/other", http.StatusPermanentRedirect)) }},
		"FED-07: a redirect to the metadata endpoint": {"issuer.example answered 301", func(n *network) { n.on(path, redirect("http://169.254.169.254/", http.StatusMovedPermanently)) }},
		"FED-07: a chain of 20 redirects": {"issuer.example answered 303", func(n *network) {
			n.on(path, redirect("https://issuer.example/other", http.StatusSeeOther))
			n.on("/other", redirect("https://issuer.example/2", http.StatusSeeOther))
			for hop := 2; hop < 20; hop++ {
				n.on(fmt.Sprintf("/%d", hop), redirect(fmt.Sprintf("https://issuer.example/%d", hop+1), http.StatusSeeOther))
			}
			n.on("/20", says(`{"issuer":"`+issuer+`","jwks_uri":"https://issuer.example/keys"}`))
		}},
		"FED-08: another issuer":      {`it is of "https://issuer.example/other/"`, documentOf("https://issuer.example/other/")},
		"FED-08: no slash at the end": {`it is of "https://issuer.example/tenant"`, documentOf(strings.TrimSuffix(issuer, "/"))},
		"FED-08: none":                {`it is of ""`, documentOf("")},
		"FED-08: two": {"duplicate object member name", func(n *network) {
			n.on(path, says(`{"issuer":"`+issuer+`","issuer":"`+issuer+`","jwks_uri":"https://issuer.example/keys"}`))
		}},
		"FED-09: a file":          {`jwks_uri: invalid: "file:///keys" is not a plain https URL`, keysAt("file:///keys")},
		"FED-09: data":            {"is not a plain https URL", keysAt(`data:application/json,{"keys":[]}`)},
		"FED-09: http":            {`"http://issuer.example/keys" is not a plain https URL`, keysAt("http://issuer.example/keys")},
		"FED-09: the own network": {"127.0.0.1 is not of a public server", keysAt("https://127.0.0.1/keys")},
		"FED-09: another port":    {"is not at port 443", keysAt("https://issuer.example:8443/keys")},
		"FED-09: a relative one":  {`"/keys" is not a plain https URL`, keysAt("/keys")},
		"FED-09: none":            {`"" is not a plain https URL`, keysAt("")},
		"not found":               {"answered 404", func(n *network) { n.on(path, nil) }},
		"an error with a document": {"answered 500", func(n *network) {
			n.on("/keys", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusInternalServerError)
				io.WriteString(w, `{"keys":[]}`)
			})
		}},
		"no JSON": {"discovery document: ", func(n *network) { n.on(path, says("<html>")) }},
		"no keys": {"key document with 0 keys", func(n *network) { n.on("/keys", says("{}")) }},
		"a document of a megabyte": {"the answer is too large", func(n *network) {
			n.on(path, says(`{"issuer":"`+issuer+`","jwks_uri":"https://issuer.example/keys","x":"`+strings.Repeat("x", 1<<20)+`"}`))
		}},
		"keys of a megabyte": {"jwks_uri: the answer is too large", func(n *network) { n.on("/keys", says(`{"keys":[],"x":"`+strings.Repeat("x", 1<<20)+`"}`)) }},
		"headers of a megabyte": {"headers exceeded", func(n *network) {
			n.on("/keys", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X", strings.Repeat("x", 1<<20))
				io.WriteString(w, `{"keys":[]}`)
			})
		}},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			tt.set(n)
			if err := mustFail(t, n.issuers(), issuer); !strings.Contains(err.Error(), tt.why) {
				t.Errorf("refused because %v, want %s", err, tt.why)
			}
			if n.count("/other") != 0 || len(n.dialled) > 2 {
				t.Errorf("went on to %s", n.dialled)
			}
		})
	}
}

// FED-20: certificates that prove nothing.
func TestCertificatesThatAreRefused(t *testing.T) {
	t.Parallel()
	good := pki.Leaf{CommonName: host, DNS: []string{host}, Server: true, Life: time.Hour}
	stranger, err := pki.NewCA("stranger", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for law, tt := range map[string]struct {
		why  string
		make func(n *network) tls.Certificate
	}{
		"another host": {"certificate is valid for other.example, not issuer.example", func(n *network) tls.Certificate {
			return n.certificate(n.ca, pki.Leaf{CommonName: host, DNS: []string{"other.example"}, Server: true, Life: time.Hour})
		}},
		"expired": {"certificate has expired", func(n *network) tls.Certificate {
			pair, err := n.ca.Issue(good, time.Now().Add(-48*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			cert, err := pair.TLS()
			if err != nil {
				t.Fatal(err)
			}
			return cert
		}},
		"self-signed":       {"certificate signed by unknown authority", func(*network) tls.Certificate { return selfSigned(t) }},
		"another authority": {"certificate signed by unknown authority", func(n *network) tls.Certificate { return n.certificate(stranger, good) }},
		"a client's": {"incompatible key usage", func(n *network) tls.Certificate {
			return n.certificate(n.ca, pki.Leaf{CommonName: host, DNS: []string{host}, Client: true, Life: time.Hour})
		}},
	} {
		n := newNetwork(t)
		n.server.TLS.Certificates = []tls.Certificate{tt.make(n)}
		if err := mustFail(t, n.issuers(), issuer); !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v, want %s", law, err, tt.why)
		}
		if n.count("/tenant/.well-known/openid-configuration") != 0 {
			t.Errorf("%s: it was asked", law)
		}
	}
	n := newNetwork(t)
	n.server.TLS.Certificates = []tls.Certificate{n.certificate(n.ca, good)}
	mustHave(t, n.issuers(), "k1")
}

// selfSigned is a certificate of the right host that nobody but itself vouches for.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
