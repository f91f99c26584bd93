package podid_test

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// A leaky is a proxy before an API server which can keep it away, and can lose
// what its watches tell.
type leaky struct {
	url  string
	ca   []byte // PEM
	away atomic.Bool
	// loses is the part of a path whose watches tell nothing. It holds a string.
	loses atomic.Value
	lost  atomic.Int64
}

func (s *stage) leaky() *leaky {
	s.T.Helper()
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(s.conf))
	if err != nil {
		s.T.Fatal(err)
	}
	target, err := url.Parse(s.conf.Host)
	if err != nil {
		s.T.Fatal(err)
	}
	l := new(leaky)
	l.loses.Store("")
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Query().Get("watch") != "" {
				r.Body = l.strain(r.Request.URL.Path, r.Request.URL.Query().Get("sendInitialEvents") == "true", r.Body)
			}
			return nil
		},
	}
	// TLS: a client sends no token without it.
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	l.url, l.ca = server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	s.T.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return l
}

// strain passes the events of a watch on, but for those that are to be lost. What
// a watch tells first in place of a list is no event, and is not lost.
func (l *leaky) strain(path string, listing bool, body io.ReadCloser) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		defer body.Close()
		lines := bufio.NewReader(body)
		for {
			line, err := lines.ReadBytes('\n')
			part := l.loses.Load().(string)
			switch {
			case l.away.Load():
				err = io.ErrUnexpectedEOF // as when the API server dies
			case !listing && part != "" && strings.Contains(path, part) && !bytes.Contains(line, []byte(`"BOOKMARK"`)):
				if len(line) > 0 {
					l.lost.Add(1)
				}
			default:
				listing = listing && !bytes.Contains(line, []byte("k8s.io/initial-events-end"))
				if _, werr := in.Write(line); werr != nil {
					return
				}
			}
			if err != nil {
				in.CloseWithError(err)
				return
			}
		}
	}()
	return out
}
