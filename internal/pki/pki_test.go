package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/pki"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newCA(t testing.TB) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("Test authority", now, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t testing.TB, ca *pki.CA, leaf pki.Leaf) (pki.Pair, *x509.Certificate) {
	t.Helper()
	pair, err := ca.Issue(leaf, now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pair.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	return pair, cert
}

func TestIssue(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	u, err := url.Parse("gatehouse:cluster:/subscriptions/s/resourcegroups/rg")
	if err != nil {
		t.Fatal(err)
	}
	_, cert := issue(t, ca, pki.Leaf{
		CommonName: "ana@contoso.example", Organizations: []string{"zz,O=system:masters", "a"},
		DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: []*url.URL{u},
		Server: true, Client: true, Life: 48 * time.Hour,
	})
	type seen struct {
		CN                  string
		O                   []string
		URI                 string
		NotBefore, NotAfter time.Time
		CA                  bool
	}
	got := seen{cert.Subject.CommonName, cert.Subject.Organization, cert.URIs[0].String(), cert.NotBefore, cert.NotAfter, cert.IsCA}
	want := seen{"ana@contoso.example", []string{"zz,O=system:masters", "a"}, u.String(),
		now.Add(-5 * time.Minute), now.Add(24 * time.Hour), false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("certificate (-want +got):\n%s", diff)
	}
	if bits := cert.SerialNumber.BitLen(); bits < 100 || bits > 128 {
		t.Errorf("serial number has %d bits, want about 128", bits)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: ca.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("verify for usage %d: %v", usage, err)
		}
	}
}

func TestIssueRefuses(t *testing.T) { // LA-06
	t.Parallel()
	ca := newCA(t)
	for _, tt := range []struct {
		law    string
		change func(*pki.Leaf)
	}{
		{"nobody without a name", func(l *pki.Leaf) { l.CommonName = "" }},
		{"no newline in a name", func(l *pki.Leaf) { l.CommonName = "x\nO=system:masters" }},
		{"no NUL in a name", func(l *pki.Leaf) { l.CommonName = "x\x00" }},
		{"no invalid UTF-8", func(l *pki.Leaf) { l.CommonName = "x\xff" }},
		{"no text direction override", func(l *pki.Leaf) { l.CommonName = "x\u202ey" }},
		{"no endless name", func(l *pki.Leaf) { l.CommonName = strings.Repeat("x", 257) }},
		{"nobody is a master", func(l *pki.Leaf) { l.Organizations = []string{"a", "system:masters"} }},
		{"nobody is a master in capitals", func(l *pki.Leaf) { l.Organizations = []string{"System:Masters"} }},
		{"nobody is a master with blanks", func(l *pki.Leaf) { l.Organizations = []string{" system:masters "} }},
		{"no empty group", func(l *pki.Leaf) { l.Organizations = []string{""} }},
		{"no group twice", func(l *pki.Leaf) { l.Organizations = []string{"a", "a"} }},
		{"no control character in a group", func(l *pki.Leaf) { l.Organizations = []string{"a\tb"} }},
		{"one end of a connection", func(l *pki.Leaf) { l.Client = false }},
		{"a server has a name", func(l *pki.Leaf) { l.Server = true }},
		{"no wildcard", func(l *pki.Leaf) { l.Server, l.DNS = true, []string{"*.example"} }},
		{"no address of another length", func(l *pki.Leaf) { l.IPs = []net.IP{{1, 2, 3}} }},
		{"no URI without scheme", func(l *pki.Leaf) { l.URIs = []*url.URL{{Path: "/x"}} }},
		{"a life", func(l *pki.Leaf) { l.Life = 0 }},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			leaf := pki.Leaf{CommonName: "x", Client: true, Life: time.Hour}
			tt.change(&leaf)
			if pair, err := ca.Issue(leaf, now); !errors.Is(err, pki.ErrInvalid) || pair.CertPEM != nil || pair.KeyPEM != nil {
				t.Errorf("Issue(%+v) = %v, %v, want no pair and ErrInvalid", leaf, pair, err)
			}
		})
	}
	if _, err := ca.Issue(pki.Leaf{CommonName: "x", Client: true, Life: time.Hour}, now.Add(24*time.Hour)); !errors.Is(err, pki.ErrInvalid) {
		t.Errorf("an expired authority issues: %v", err)
	}
}

func TestCARoundTrip(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.LoadCA(ca.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	_, cert := issue(t, again, pki.Leaf{CommonName: "x", Client: true, Life: time.Hour})
	if _, err := cert.Verify(x509.VerifyOptions{Roots: ca.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("a certificate of the loaded authority: %v", err)
	}
	pair, leafCert := issue(t, ca, pki.Leaf{CommonName: "x", Client: true, Life: time.Hour})
	_, err = leafCert.Verify(x509.VerifyOptions{Roots: newCA(t).Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err == nil {
		t.Error("an authority of the same name verifies another one's certificate")
	}
	otherKey, err := newCA(t).KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		law       string
		cert, key []byte
	}{
		{"the key of another authority", ca.CertPEM(), otherKey},
		{"a leaf is no authority", pair.CertPEM, pair.KeyPEM},
		{"nothing", nil, nil},
		{"two certificates", append(ca.CertPEM(), ca.CertPEM()...), key},
		{"a key for a certificate", key, key},
		{"a certificate for a key", ca.CertPEM(), ca.CertPEM()},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if got, err := pki.LoadCA(tt.cert, tt.key); !errors.Is(err, pki.ErrInvalid) || got != nil {
				t.Errorf("LoadCA = %v, %v, want ErrInvalid", got, err)
			}
		})
	}
	if text := fmt.Sprintf("%v %+v %s %x", pair, pair, pair, pair); strings.Contains(text, "PRIVATE") || strings.Contains(text, "5052495641") {
		t.Errorf("a pair prints its key: %s", text)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	pair, _ := issue(t, ca, pki.Leaf{CommonName: "srv", DNS: []string{"localhost"}, Server: true, Life: time.Hour})
	client, _ := issue(t, ca, pki.Leaf{CommonName: "cli", Client: true, Life: time.Hour})
	stranger, _ := issue(t, newCA(t), pki.Leaf{CommonName: "cli", Client: true, Life: time.Hour})
	mutual, err := pki.MutualTLS(pair, ca.Pool())
	if err != nil {
		t.Fatal(err)
	}
	plain, err := pki.ServerTLS(pair)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.MutualTLS(pair, nil); !errors.Is(err, pki.ErrInvalid) {
		t.Errorf("MutualTLS without authorities: %v, want ErrInvalid", err)
	}
	if !mutual.SessionTicketsDisabled { // WH-26
		t.Error("session tickets are on where client certificates are checked")
	}
	for _, tt := range []struct {
		law    string
		server *tls.Config
		client *pki.Pair
		max    uint16
		ok     bool
	}{
		{"a client of ours", mutual, &client, 0, true},
		{"a client without certificate", mutual, nil, 0, false},
		{"a client of another authority with the same name", mutual, &stranger, 0, false},
		{"a server certificate is not a client's", mutual, &pair, 0, false},
		{"anyone, where no certificate is asked for", plain, nil, 0, true},
		{"TL-01: TLS 1.2", plain, nil, tls.VersionTLS12, true},
		{"TL-01: not TLS 1.1", plain, nil, tls.VersionTLS11, false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			server := tt.server.Clone()
			server.Time = func() time.Time { return now }
			conf := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Time: server.Time, MinVersion: tls.VersionTLS10, MaxVersion: tt.max}
			if tt.client != nil {
				cert, err := tt.client.TLS()
				if err != nil {
					t.Fatal(err)
				}
				// Show it even when the server does not ask for its authority.
				conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
			}
			if err := handshake(server, conf); (err == nil) != tt.ok {
				t.Errorf("handshake: %v, want success %t", err, tt.ok)
			}
		})
	}
}

// handshake returns the server's view of a connection.
func handshake(server, client *tls.Config) error {
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		defer b.Close()
		conn := tls.Client(b, client)
		if conn.Handshake() == nil {
			conn.Read(make([]byte, 1))
		}
	}()
	return tls.Server(a, server).Handshake()
}

func FuzzSubject(f *testing.F) { // LA-06
	for _, s := range [][2]string{
		{"ana", "dev"}, {"a/O=system:masters", "b,O=system:masters"}, {"x+O=y", "*&@"}, {"é", "日本"}, {"x", "system:masters"},
		{"a\x00b", ""}, {" a ", "\u212a"}, {"CN=x\\", "\"q\""},
	} {
		f.Add(s[0], s[1])
	}
	ca := newCA(f)
	f.Fuzz(func(t *testing.T, cn, org string) {
		pair, err := ca.Issue(pki.Leaf{CommonName: cn, Organizations: []string{"first", org}, Client: true, Life: time.Hour}, now)
		if err != nil {
			if pair.CertPEM != nil || pair.KeyPEM != nil {
				t.Fatal("a pair together with an error")
			}
			return
		}
		cert, err := pair.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{cn, "first", org}, append([]string{cert.Subject.CommonName}, cert.Subject.Organization...)); diff != "" {
			t.Fatalf("names read back differently (-want +got):\n%s", diff)
		}
		if strings.EqualFold(org, "system:masters") {
			t.Fatal("issued for system:masters")
		}
	})
}
