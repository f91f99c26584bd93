package serve_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

const group = "/subscriptions/8c8b1b0e-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.ContainerService/managedClusters/"

var (
	aks1 = scope.MustParse(group + "aks-1")
	aks2 = scope.MustParse(group + "aks-2")
)

func echo(w http.ResponseWriter, _ *http.Request, cluster scope.Scope) error {
	return serve.JSON(w, http.StatusOK, cluster.Name())
}

func TestForClusters(t *testing.T) {
	t.Parallel()
	s := servetest.Start(t, serve.Handle(serve.ForClusters("review", echo), serve.Options{}), true)
	uri := func(clusters ...scope.Scope) (list []*url.URL) {
		for _, c := range clusters {
			list = append(list, servetest.URI(t, c))
		}
		return list
	}
	other := servetest.NewCA(t)
	ours := s.Cluster(aks1)
	path := "/webhook/v1" + aks1.String() + "/review"
	for _, tt := range []struct {
		law    string
		client *http.Client
		path   string
		status int // 0: no connection
	}{
		{"a cluster asks for itself", ours, path, 200},
		{"letter case of a scope says nothing", ours, strings.Replace(path, "aks-1", "AKS-1", 1), 200},
		{"WH-01: no certificate", s.Anonymous(), path, 0},
		{"WH-02: certificate of another authority", s.WithCertificate(other, pki.Leaf{CommonName: "apiserver", URIs: uri(aks1), Client: true, Life: time.Hour}), path, 0},
		{"WH-02: certificate of a server", s.WithCertificate(s.CA, pki.Leaf{CommonName: "apiserver", URIs: uri(aks1), IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Life: time.Hour}), path, 0},
		{"WH-02: certificate of another cluster", s.Cluster(aks2), path, 403},
		{"WH-02: certificate of two clusters", s.WithCertificate(s.CA, pki.Leaf{CommonName: "apiserver", URIs: uri(aks2, aks1), Client: true, Life: time.Hour}), path, 403},
		{"WH-02: certificate of no cluster, with its name as common name", s.WithCertificate(s.CA, pki.Leaf{CommonName: serve.CertificateURI(aks1), Client: true, Life: time.Hour}), path, 403},
		{"a path of no cluster", ours, "/webhook/v1/review", 404},
		{"a path of a namespace", ours, "/webhook/v1" + aks1.String() + "/namespaces/a/review", 404},
		{"another review", ours, "/webhook/v1" + aks1.String() + "/reviews", 404},
		{"an escaped slash", ours, "/webhook/v1" + strings.Replace(aks1.String(), "/managedclusters/", "%2fmanagedclusters%2fx%2f..%2f", 1) + "/review", 404},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			// WH-03: headers of proxies name nobody.
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+tt.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-Client-Cert", "URI="+serve.CertificateURI(aks1))
			req.Header.Set("X-Remote-User", "system:admin")
			req.Header.Set("X-Remote-Group", "system:masters")
			res, err := tt.client.Do(req)
			if err != nil {
				if tt.status != 0 {
					t.Fatalf("%v, want status %d", err, tt.status)
				}
				return
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tt.status {
				t.Errorf("status %d %s, want %d", res.StatusCode, body, tt.status)
			}
		})
	}
}

func TestForClustersWithoutTLS(t *testing.T) {
	t.Parallel()
	h := serve.ForClusters("review", echo)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook/v1"+aks1.String()+"/review", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := h(nil, req); err == nil {
		t.Error("a request over no TLS was answered")
	}
}
