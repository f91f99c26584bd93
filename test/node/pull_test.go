package node_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"

	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/node"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// The registries of the estate, by the names of the machine.
var ours, others = node.Registries[0], node.Registries[1]

func registryAt(server string) scope.Scope {
	short, _, _ := strings.Cut(server, ".")
	return scope.MustParse(plane.Group + "/providers/Microsoft.ContainerRegistry/registries/" + short)
}

func registryRecords() (all []record.Record) {
	for _, server := range node.Registries {
		short, _, _ := strings.Cut(server, ".")
		all = append(all, resource.Other{Scope: registryAt(server), Name: short, Type: "Microsoft.ContainerRegistry/registries"})
	}
	return all
}

// A shop is the registries of the machine: Distribution, which keeps images and lets
// the house decide who gets them, as docs/guides/registry.md says.
type shop struct {
	client *http.Client
	apps   map[string]http.Handler // by server
}

// secret is of uploads that several processes take, and nobody says of what else.
var secret = configuration.HTTP{Secret: "of this test"}

func newShop(n *node.Node) *shop {
	n.T.Helper()
	ca, err := pki.NewCA("registries", time.Now(), time.Hour)
	if err != nil {
		n.T.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{CommonName: "registries", Server: true, DNS: node.Registries, Life: time.Hour}, time.Now())
	if err != nil {
		n.T.Fatal(err)
	}
	logrus.SetLevel(logrus.FatalLevel) // Distribution's, of which there is one for all
	s := &shop{apps: make(map[string]http.Handler)}
	both := append(append([]byte{}, ca.CertPEM()...), n.CA()...)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(both)
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	authority := n.Write("registries.crt", string(both))
	for _, server := range node.Registries {
		short, _, _ := strings.Cut(server, ".")
		base := n.House.Authority() + "/registries/" + short
		s.apps[server] = handlers.NewApp(n.T.Context(), &configuration.Configuration{
			Storage: kept(n, server),
			Auth: configuration.Auth{"token": configuration.Parameters{"realm": base + "/oauth2/token", "service": server,
				"issuer": "Azure Container Registry", "jwks": n.Write(short+".keys", s.get(n, base+"/oauth2/keys"))}},
			HTTP: secret,
		})
		dir := filepath.Join(n.Dir, node.RegistriesDir, server)
		hosts := fmt.Sprintf("server = \"https://%s\"\n[host.\"https://%s\"]\ncapabilities = [\"pull\", \"resolve\"]\nca = %q\n", server, server, authority)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644)); err != nil {
			n.T.Fatal(err)
		}
	}
	conf, err := pki.ServerTLS(pair)
	if err != nil {
		n.T.Fatal(err)
	}
	l, err := tls.Listen("tcp", net.JoinHostPort(node.Gateway, "443"), conf)
	if err != nil {
		n.T.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if app, ok := s.apps[r.Host]; ok {
			app.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})}
	go srv.Serve(l)
	n.T.Cleanup(func() { srv.Close() })
	return s
}

func (s *shop) get(n *node.Node, at string) string {
	n.T.Helper()
	res, err := s.client.Get(at)
	if err != nil {
		n.T.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		n.T.Fatalf("%s: %s %s %v", at, res.Status, text, err)
	}
	return string(text)
}

const hello = "/team/hello:1"

// kept is where a registry keeps its images.
func kept(n *node.Node, server string) configuration.Storage {
	return configuration.Storage{"filesystem": configuration.Parameters{"rootdirectory": filepath.Join(n.Dir, "images", server)}}
}

// fill puts an image into each registry, behind its back: the one of pods, and a layer
// that no node has yet.
func (s *shop) fill(n *node.Node) {
	n.T.Helper()
	for server := range s.apps {
		door := httptest.NewServer(handlers.NewApp(n.T.Context(), &configuration.Configuration{Storage: kept(n, server), HTTP: secret}))
		layer, err := crane.Layer(map[string][]byte{"of": []byte(server)})
		if err != nil {
			n.T.Fatal(err)
		}
		image, err := mutate.AppendLayers(podImage(n), layer)
		if err != nil {
			n.T.Fatal(err)
		}
		if err := crane.Push(image, strings.TrimPrefix(door.URL, "http://")+hello, crane.WithContext(n.T.Context())); err != nil {
			n.T.Fatal(err)
		}
		door.Close()
	}
}

// podImage is the image of pods, from the file that the node has it from.
func podImage(n *node.Node) v1.Image {
	n.T.Helper()
	dir := n.T.TempDir()
	if out, err := exec.Command("tar", "-xf", node.Images(), "-C", dir).CombinedOutput(); err != nil {
		n.T.Fatalf("tar: %v: %s", err, out)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		n.T.Fatal(err)
	}
	says, err := index.IndexManifest()
	if err != nil {
		n.T.Fatal(err)
	}
	for _, m := range says.Manifests {
		if m.Annotations["io.containerd.image.name"] == node.Image {
			image, err := index.Image(m.Digest)
			if err != nil {
				n.T.Fatal(err)
			}
			return image
		}
	}
	n.T.Fatalf("no %s in %v", node.Image, says)
	return nil
}

// refused waits until kubelet has been refused the image of a pod, and returns what it
// says about it to whoever looks at the pod.
func refused(n *node.Node, pod string) (said string) {
	n.T.Helper()
	n.Until("kubelet is refused the image of "+pod, func() bool {
		for _, c := range plane.Get[corev1.Pod](n.Plane, "-n", "pulls", "pod", pod).Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && w.Reason == "ErrImagePull" {
				said = w.Message
			}
		}
		return said != ""
	})
	return said
}

// Story 23: AcrPull of the kubelet identity on one registry.
func pulls(t *testing.T, n *node.Node) {
	s := newShop(n)
	s.fill(n)
	n.Namespace("pulls")
	create := func(n *node.Node, pod, server string) {
		n.T.Helper()
		n.Must(n.Pod(pod, node.Spec{Image: server + hello}), "-n", "pulls", "create", "-f", "-")
	}
	unauthorized := func(n *node.Node, pod string) {
		n.T.Helper()
		if said := refused(n, pod); !strings.Contains(said, "401 Unauthorized") {
			n.T.Errorf("%s is told %s", pod, said)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(n.Must("", "-n", "pulls", "get", "events", "-o", "custom-columns=POD:.involvedObject.name,REASON:.reason,MESSAGE:.message"))
		}
	})
	right := grant(t, pool.ID, "AcrPull", registryAt(ours).String())

	t.Run("without the role nothing is pulled, and kubelet's log says which role is missing", func(t *testing.T) {
		n := n.In(t)
		create(n, "early", ours)
		unauthorized(n, "early")
		log, err := os.ReadFile(filepath.Join(n.Dir, "kubelet.log"))
		if want := "the kubelet identity of this cluster has no role there; give it AcrPull at the registry"; err != nil || !strings.Contains(string(log), want) {
			t.Errorf("kubelet's log has no %q: %v", want, err)
		}
	})
	t.Run("with it the pod runs by itself", func(t *testing.T) {
		n := n.In(t)
		n.Put(right)
		begin := time.Now()
		n.Serving("pulls", "early")
		t.Logf("after %.1f s", time.Since(begin).Seconds())
		n.Run("pulls", "late", node.Spec{Image: ours + hello})
	})
	t.Run("at another registry it counts for nothing", func(t *testing.T) {
		n := n.In(t)
		create(n, "elsewhere", others)
		unauthorized(n, "elsewhere")
	})
	t.Run("without it nothing is pulled at once, whatever kubelet still has", func(t *testing.T) {
		n := n.In(t)
		n.Delete(right.Key())
		create(n, "over", ours)
		unauthorized(n, "over")
	})
	t.Run("no secret of a registry is in the cluster", func(t *testing.T) {
		n := n.In(t)
		for _, secret := range plane.Get[corev1.SecretList](n.Plane, "-A", "secrets").Items {
			t.Errorf("%s/%s", secret.Namespace, secret.Name)
		}
	})
}
