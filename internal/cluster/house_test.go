package cluster_test

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/loopback"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

var prod = scope.MustParse("/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/prod")

// base is where a house answers that cluster.
var base = "/webhook/v1" + prod.String() + "/"

// binary is the real control plane, or the test is skipped.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("GATEHOUSE_KUBE")
	if path == "" {
		t.Skip("GATEHOUSE_KUBE names no gatehouse-kube binary; make test builds one and sets it")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the binary that GATEHOUSE_KUBE names is not built yet; make test does: %v", err)
	}
	return path
}

// etcd runs a real one and returns its client URL.
func etcd(t *testing.T, dir string) string {
	t.Helper()
	conf := embed.NewConfig()
	conf.Dir = dir
	conf.LogLevel = "error"
	conf.LogOutputs = []string{filepath.Join(t.TempDir(), "etcd.log")}
	conf.UnsafeNoFsync = true // these tests are not about losing power
	local := url.URL{Scheme: "http", Host: freeAddr(t)}
	peer := url.URL{Scheme: "http", Host: freeAddr(t)}
	conf.ListenClientUrls, conf.AdvertiseClientUrls = []url.URL{local}, []url.URL{local}
	conf.ListenPeerUrls, conf.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	conf.InitialCluster = conf.InitialClusterFromName(conf.Name)
	e, err := embed.StartEtcd(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(patience):
		t.Fatal("etcd is not ready in time")
	}
	return local.String()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	p, err := loopback.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.Addr()
}

// A review is a TokenReview or SubjectAccessReview as it came over the wire.
type review struct {
	Spec struct {
		Token     string   `json:"token"`
		Audiences []string `json:"audiences"`

		User                  string              `json:"user"`
		Groups                []string            `json:"groups"`
		Extra                 map[string][]string `json:"extra"`
		ResourceAttributes    *resourceAttributes `json:"resourceAttributes"`
		NonResourceAttributes *struct {
			Path string `json:"path"`
			Verb string `json:"verb"`
		} `json:"nonResourceAttributes"`
	} `json:"spec"`
}

type resourceAttributes struct {
	Namespace     string         `json:"namespace"`
	Verb          string         `json:"verb"`
	Resource      string         `json:"resource"`
	Subresource   string         `json:"subresource"`
	Name          string         `json:"name"`
	FieldSelector map[string]any `json:"fieldSelector"`
	LabelSelector map[string]any `json:"labelSelector"`
}

// A stub is a house that says what a test wants it to say, and remembers what it
// was asked. Without an answer it has no opinion and knows no token.
type stub struct {
	House cluster.House

	server *httptest.Server
	mu     sync.Mutex
	asked  []review
	authn  func(review) map[string]any                                     // status of a TokenReview
	authz  func(http.ResponseWriter, *http.Request, review) map[string]any // status; nil means that it has answered itself
}

func newStub(t *testing.T) *stub {
	t.Helper()
	s := &stub{}
	now := time.Now()
	ca, err := pki.NewCA("house", now, 90*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	serving, err := ca.Issue(pki.Leaf{CommonName: "house", Server: true, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Life: 90 * 24 * time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := pki.NewCA("clusters", now, 90*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	client, err := clients.Issue(pki.Leaf{CommonName: "cluster", Client: true, Life: 90 * 24 * time.Hour,
		URIs: []*url.URL{{Scheme: "gatehouse", Opaque: "cluster:" + prod.String()}}}, now)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+base+"tokenreview", func(w http.ResponseWriter, r *http.Request) {
		in := s.take(r)
		s.mu.Lock()
		answer := s.authn
		s.mu.Unlock()
		status := map[string]any{"authenticated": false}
		if answer != nil {
			status = answer(in)
		}
		json.NewEncoder(w).Encode(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
	})
	mux.HandleFunc("POST "+base+"subjectaccessreview", func(w http.ResponseWriter, r *http.Request) {
		in := s.take(r)
		s.mu.Lock()
		answer := s.authz
		s.mu.Unlock()
		status := map[string]any{"allowed": false}
		if answer != nil {
			status = answer(w, r, in)
		}
		if status != nil {
			json.NewEncoder(w).Encode(map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status})
		}
	})
	s.server = httptest.NewUnstartedServer(mux)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if s.server.TLS, err = pki.MutualTLS(serving, clients.Pool()); err != nil {
		t.Fatal(err)
	}
	s.server.StartTLS()
	t.Cleanup(func() { s.server.CloseClientConnections(); s.server.Close() })
	s.House = cluster.House{
		TokenReview: s.server.URL + base + "tokenreview", SubjectAccessReview: s.server.URL + base + "subjectaccessreview",
		CA: ca.CertPEM(), ClientCert: client.CertPEM, ClientKey: client.KeyPEM,
	}
	return s
}

func (s *stub) take(r *http.Request) review {
	var in review
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, in)
	return in
}

// says sets what the stub answers to SubjectAccessReviews from now on.
func (s *stub) says(status map[string]any) {
	s.does(func(http.ResponseWriter, *http.Request, review) map[string]any { return status })
}

func (s *stub) does(f func(http.ResponseWriter, *http.Request, review) map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authz = f
}

// knows makes the stub take every token for the user of this TokenReview status.
func (s *stub) knows(status func(review) map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authn = status
}

// reviews are those so far that the test is interested in.
func (s *stub) reviews(want func(review) bool) []review {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.asked), func(r review) bool { return !want(r) })
}

func (s *stub) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}
