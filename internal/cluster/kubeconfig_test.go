package cluster_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/pki"
)

var endpoint = cluster.Endpoint{Name: "prod", ResourceGroup: "rg-prod", Server: "https://127.0.0.1:6443", CA: []byte("the cluster's authority\n")}

func TestKubeconfigs(t *testing.T) {
	t.Parallel()
	tenant := tenantID("72f988bf-86f1-41af-91ab-2d7cd011db47")
	ours := cluster.SignIn{Authority: "https://127.0.0.1:8443", Tenant: tenant, Env: map[string]string{"SSL_CERT_FILE": "/data/ca.crt", "A": "1"}}
	azure := cluster.SignIn{Authority: "https://login.microsoftonline.com/", Tenant: tenant, Method: "spn"}
	golden(t, "kubeconfigs", cluster.Files{
		"gatehouse credential":         cluster.UserKubeconfig(endpoint, cluster.GatehouseCredential("", ours)),
		"kubelogin, our authority":     cluster.UserKubeconfig(endpoint, cluster.Kubelogin(ours)),
		"kubelogin, Azure's authority": cluster.UserKubeconfig(endpoint, cluster.Kubelogin(azure)),
		"local administrator":          cluster.AdminKubeconfig(endpoint, []byte("the certificate\n"), []byte("the key\n")),
	})
}

// kubectl is the judge of what a kubeconfig is.
func TestKubectlReadsOurKubeconfigs(t *testing.T) {
	t.Parallel()
	kube := binary(t)
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"exec":  {cluster.UserKubeconfig(endpoint, cluster.GatehouseCredential("", cluster.SignIn{Authority: "https://h"})), "prod prod clusterUser_rg-prod_prod gatehouse"},
		"admin": {cluster.AdminKubeconfig(endpoint, []byte("c"), []byte("k")), "prod-admin prod clusterAdmin_rg-prod_prod "},
	} {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		write(t, path, tt.text)
		cmd := exec.CommandContext(t.Context(), kube, "kubectl", "config", "view", "--raw", "--minify", "-o",
			"jsonpath={.contexts[0].name} {.contexts[0].context.cluster} {.users[0].name} {.users[0].user.exec.command}")
		cmd.Env = []string{"KUBECONFIG=" + path, "HOME=" + t.TempDir()}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != tt.want {
			t.Errorf("%s: kubectl reads %q, %v; want %q", name, out, err, tt.want)
		}
	}
}

func TestCredentialID(t *testing.T) {
	t.Parallel()
	ca := must(pki.NewCA("ca", time.Now(), time.Hour))
	pair := must(ca.Issue(pki.Leaf{CommonName: "x", Client: true, Life: time.Minute}, time.Now()))
	block, _ := pem.Decode(pair.CertPEM)
	want := fmt.Sprintf("X509SHA256=%x", sha256.Sum256(must(x509.ParseCertificate(block.Bytes)).Raw))
	if got := must(cluster.CredentialID(pair.CertPEM)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range [][]byte{nil, []byte("x"), pair.KeyPEM} {
		if id, err := cluster.CredentialID(bad); err == nil || id != "" {
			t.Errorf("what is no certificate has the id %q", id)
		}
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	e := endpoint
	e.Server, e.CA = s.server.URL, s.House.CA
	user, nobody, err := cluster.Connect(cluster.AdminKubeconfig(e, s.House.ClientCert, s.House.ClientKey), os.ReadFile)
	if err != nil || user.Server != s.server.URL || nobody == nil {
		t.Fatalf("%v %v %v", user, nobody, err)
	}
	admin := string(cluster.AdminKubeconfig(e, s.House.ClientCert, s.House.ClientKey))
	for name, text := range map[string]string{
		"a plugin":           string(cluster.UserKubeconfig(e, cluster.Kubelogin(cluster.SignIn{}))),
		"nothing":            "",
		"no YAML":            "{",
		"another context":    strings.Replace(admin, "current-context: prod-admin", "current-context: x", 1),
		"no check of server": strings.Replace(admin, "server:", "insecure-skip-tls-verify: true\n      server:", 1),
	} {
		if user, _, err := cluster.Connect([]byte(text), os.ReadFile); err == nil || user != nil {
			t.Errorf("a kubeconfig with %s is accepted", name)
		}
	}
}

func FuzzConnect(f *testing.F) {
	f.Add(cluster.AdminKubeconfig(endpoint, []byte("c"), []byte("k")))
	f.Add(cluster.UserKubeconfig(endpoint, cluster.Kubelogin(cluster.SignIn{})))
	f.Fuzz(func(t *testing.T, text []byte) {
		user, nobody, err := cluster.Connect(text, func(string) ([]byte, error) { return nil, os.ErrNotExist })
		if (err == nil) != (user != nil) || (user == nil) != (nobody == nil) {
			t.Errorf("%q: %v %v %v", text, user, nobody, err)
		}
	})
}

func tenantID(s string) (id directory.TenantID) {
	if err := id.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return id
}
