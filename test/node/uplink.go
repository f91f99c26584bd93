package node

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	authv1 "k8s.io/api/authentication/v1"

	"github.com/gatehouse-io/gatehouse/internal/pki"
)

// An Uplink is what kubelet takes for the API server. It passes everything on under
// the node's own certificate, and can be told to say that tokens end earlier than
// they do: kubelet renews the token of an hour after 48 minutes.
type Uplink struct {
	URL     string
	server  *httptest.Server
	hasten  atomic.Int64 // when tokens are said to end, in nanoseconds from now; 0 leaves it
	renewed atomic.Int64
}

// Hasten lets kubelet believe that tokens for an audience other than the API
// server's end so soon; 0 ends it.
func (u *Uplink) Hasten(end time.Duration) { u.hasten.Store(int64(end)) }

// Tokens is how many tokens of service accounts kubelet was given.
func (u *Uplink) Tokens() int64 { return u.renewed.Load() }

// Close ends it.
func (u *Uplink) Close() {
	u.server.CloseClientConnections()
	u.server.Close()
}

func newUplink(server string, ca *pki.CA, node pki.Pair) (*Uplink, error) {
	to, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	client, err := node.TLS()
	if err != nil {
		return nil, err
	}
	own, err := ca.Issue(pki.Leaf{CommonName: "uplink", Server: true, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Life: 24 * time.Hour}, time.Now())
	if err != nil {
		return nil, err
	}
	u := &Uplink{}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{client}}, ForceAttemptHTTP2: true},
		FlushInterval:  -1, // watches
		ModifyResponse: u.answer,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	u.server = httptest.NewUnstartedServer(proxy)
	u.server.Config.ErrorLog = proxy.ErrorLog
	u.server.EnableHTTP2 = true
	if u.server.TLS, err = pki.ServerTLS(own); err != nil {
		return nil, err
	}
	u.server.StartTLS()
	u.URL = u.server.URL
	return u, nil
}

// answer sees what the API server answers.
func (u *Uplink) answer(res *http.Response) error {
	if res.StatusCode != http.StatusCreated || !strings.HasSuffix(res.Request.URL.Path, "/token") {
		return nil
	}
	u.renewed.Add(1)
	end := time.Duration(u.hasten.Load())
	if end == 0 || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		return nil
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	res.Body.Close()
	var req authv1.TokenRequest
	if err := json.Unmarshal(text, &req); err != nil {
		return err
	}
	req.Status.ExpirationTimestamp.Time = time.Now().Add(end)
	if text, err = json.Marshal(req); err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	res.ContentLength = int64(len(text))
	res.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}
