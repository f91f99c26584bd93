package serve_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func TestRunLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	ca := servetest.NewCA(t)
	pair, err := ca.Issue(pki.Leaf{CommonName: "house", DNS: []string{"house"}, Server: true, Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	conf, err := pki.ServerTLS(pair)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stop() // the house is told to stop while it answers
		<-ctx.Done()
		io.WriteString(w, "done")
	})
	ended := make(chan error, 1)
	go func() { ended <- serve.Run(ctx, serve.NewServer(h, conf, nil), ln, 10*time.Second) }()
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "house"}, DisableKeepAlives: true}}
	res, err := client.Get("https://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "done" {
		t.Errorf("%q %v", body, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("an orderly end is no error: %v", err)
	}
}

func TestHeadersAreBounded(t *testing.T) { // RX-08
	t.Parallel()
	s := servetest.Start(t, serve.SecurityHeaders(serve.Handle(serve.Live(), serve.Options{})), false)
	get := func(cookie string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", cookie)
		res, err := s.Anonymous().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	if res := get(strings.Repeat("a", 1<<20)); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("1 MB of header is answered with %d", res.StatusCode)
	}
	res := get("a=b")
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if res.StatusCode != http.StatusOK || len(res.Header.Get("X-Request-Id")) != 16 {
		t.Errorf("%d, request id %q", res.StatusCode, res.Header.Get("X-Request-Id"))
	}
}
