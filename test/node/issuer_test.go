package node_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
	"github.com/gatehouse-io/gatehouse/test/node"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// An issuer is a web server with the two documents of a cluster that has no house,
// as the owners of such clusters publish them: nobody can read the API server's own
// without a name there.
type issuer struct {
	ca     *pki.CA
	server *httptest.Server
	docs   sync.Map // by path
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	ca, err := pki.NewCA("the other cluster's owner", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{CommonName: "issuer", Server: true, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{ca: ca}
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if doc, ok := i.docs.Load(r.URL.Path); ok {
			w.Header().Set("Content-Type", "application/json")
			w.Write(doc.([]byte))
			return
		}
		http.NotFound(w, r)
	}))
	if i.server.TLS, err = pki.ServerTLS(pair); err != nil {
		t.Fatal(err)
	}
	i.server.StartTLS()
	t.Cleanup(i.server.Close)
	return i
}

func (i *issuer) url() string { return i.server.URL + "/other/" }

// trusted lets the house ask the issuer, which is in its own network.
func (i *issuer) trusted(conf *house.Config) {
	conf.PrivateIssuers, conf.Roots = []string{strings.TrimPrefix(i.server.URL, "https://")}, x509.NewCertPool()
	conf.Roots.AddCert(i.ca.Cert)
}

// other starts a control plane that knows of no house, with an etcd of its own, and
// returns the path of its administrator's kubeconfig.
func (i *issuer) other(n *node.Node) string {
	n.T.Helper()
	files := etcd.Files{Cert: filepath.Join(n.Dir, "other-etcd.crt"), Key: filepath.Join(n.Dir, "other-etcd.key"), CA: filepath.Join(n.Dir, "other-etcd-ca.crt")}
	pair, err := i.ca.Issue(pki.Leaf{CommonName: "etcd", Server: true, Client: true, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Life: time.Hour}, time.Now())
	if err = errors.Join(err, os.WriteFile(files.Cert, pair.CertPEM, 0o600), os.WriteFile(files.Key, pair.KeyPEM, 0o600), os.WriteFile(files.CA, i.ca.CertPEM(), 0o600)); err != nil {
		n.T.Fatal(err)
	}
	db, err := etcd.Start(n.T.Context(), etcd.ServerConfig{Dir: filepath.Join(n.Dir, "other-etcd"), TLS: files})
	if err != nil {
		n.T.Fatal(err)
	}
	n.T.Cleanup(db.Close)
	other, err := cluster.Start(n.T.Context(), cluster.Config{
		Name: "other", Scope: scope.MustParse(plane.Group + "/providers/Microsoft.ContainerService/managedClusters/other"), Dir: filepath.Join(n.Dir, "other"), Binary: n.Kube,
		Etcd:                 cluster.Etcd{Endpoints: db.ClientConfig(files).Endpoints, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key},
		ServiceAccountIssuer: i.url(),
	})
	if err != nil {
		n.T.Fatal(err)
	}
	n.T.Cleanup(other.Stop)
	admin, err := other.IssueLocalAdmin(principal.NewID(), time.Hour)
	if err != nil {
		n.T.Fatal(err)
	}
	return n.Write("other.kubeconfig", string(cluster.AdminKubeconfig(cluster.Endpoint{Name: "other", Server: other.Server(), CA: other.CA()}, admin.Pair.CertPEM, admin.Pair.KeyPEM)))
}

// speaks: a token of the other cluster speaks for the identity that trusts it, and
// one that it made for another audience does not.
func (i *issuer) speaks(t *testing.T, n *node.Node) {
	kubeconfig := i.other(n)
	at := func(args ...string) string { return n.Must("", append(args, "--kubeconfig", kubeconfig)...) }
	i.docs.Store("/other/.well-known/openid-configuration", []byte(at("get", "--raw", "/.well-known/openid-configuration")))
	i.docs.Store("/other/openid/v1/jwks", []byte(at("get", "--raw", "/openid/v1/jwks")))
	at("create", "serviceaccount", "batch")
	token := func(audience string) string {
		return strings.TrimSpace(at("create", "token", "batch", "--audience", audience))
	}
	n.Put(directory.FederatedCredential{Owner: web.ClientID, Name: "other-batch", Issuer: i.url(), Subject: "system:serviceaccount:default:batch",
		Audiences: []string{"api://AzureADTokenExchange"}})

	// The pod that brings the tokens has no other part in it.
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"good": token("api://AzureADTokenExchange"), "bad": token("https://other.example")}})
	if err != nil {
		t.Fatal(err)
	}
	n.Must("", "-n", "shop", "patch", "configmap", "gatehouse-ca", "-p", string(patch))
	pod := n.Run("shop", "bearer", node.Spec{Account: "web", Identity: true, Env: inVault})
	asks(n, pod, "fresh?name=mine&file=/etc/gatehouse/good", mine())
	asks(n, pod, "fresh?name=mine&file=/etc/gatehouse/bad", "refused: AADSTS700212")
}
