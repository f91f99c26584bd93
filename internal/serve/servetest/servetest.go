// Package servetest lets tests knock on a door of this house over real TLS, as
// the API server of a cluster, as anybody else, or as nobody.
package servetest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A Server is a listener on the loopback address and the authority that its
// certificate and those of its clients come from.
type Server struct {
	URL string
	CA  *pki.CA
	t   testing.TB
}

// Start serves h. With mutual set, clients must show a certificate of s.CA.
func Start(t testing.TB, h http.Handler, mutual bool) *Server {
	t.Helper()
	s := &Server{CA: NewCA(t), t: t}
	pair := s.issue(s.CA, pki.Leaf{CommonName: "house", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Life: time.Hour})
	conf, err := pki.ServerTLS(pair)
	if mutual {
		conf, err = pki.MutualTLS(pair, s.CA.Pool())
	}
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Config = serve.NewServer(h, nil, nil)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = conf
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

// NewCA returns an authority of its own.
func NewCA(t testing.TB) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func (s *Server) issue(ca *pki.CA, leaf pki.Leaf) pki.Pair {
	s.t.Helper()
	pair, err := ca.Issue(leaf, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}

// Cluster returns the client of a cluster's API server.
func (s *Server) Cluster(cluster scope.Scope) *http.Client {
	return s.WithCertificate(s.CA, pki.Leaf{CommonName: "apiserver", URIs: []*url.URL{URI(s.t, cluster)}, Client: true, Life: time.Hour})
}

// URI is the name of a cluster in a certificate.
func URI(t testing.TB, cluster scope.Scope) *url.URL {
	t.Helper()
	u, err := url.Parse(serve.CertificateURI(cluster))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// WithCertificate returns a client that shows a certificate of ca, which need
// not be the one that the server trusts.
func (s *Server) WithCertificate(ca *pki.CA, leaf pki.Leaf) *http.Client {
	s.t.Helper()
	cert, err := s.issue(ca, leaf).TLS()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.client(func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil })
}

// Anonymous returns a client without a certificate.
func (s *Server) Anonymous() *http.Client { return s.client(nil) }

func (s *Server) client(cert func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(s.CA.Cert)
	tr := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, GetClientCertificate: cert, ClientSessionCache: tls.NewLRUClientSessionCache(8)},
		MaxIdleConnsPerHost: 64,
		Protocols:           new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(true)
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// Post sends a JSON body and returns the status and the body of the answer.
func (s *Server) Post(c *http.Client, path, body string, header ...string) (int, string) {
	s.t.Helper()
	res, text := s.Send(c, path, body, header...)
	return res.StatusCode, text
}

// Send sends a JSON body and returns the answer, whose body it has read.
func (s *Server) Send(c *http.Client, path, body string, header ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(text)
}
