package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func attachment(f cluster.Flavour) cluster.AttachConfig {
	return cluster.AttachConfig{Name: "edge", Flavour: f, AdminGroups: []principal.ID{others, admins, admins}, House: cluster.House{
		TokenReview:         "https://house.example.com:8444/webhook/v1" + prod.String() + "/tokenreview",
		SubjectAccessReview: "https://house.example.com:8444/webhook/v1" + prod.String() + "/subjectaccessreview",
		CA:                  []byte("the house's authority\n"), ClientCert: []byte("the cluster's certificate\n"), ClientKey: []byte("the cluster's key\n"),
	}}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	for _, f := range cluster.Flavours() {
		t.Run("what "+string(f)+" needs", func(t *testing.T) {
			t.Parallel()
			golden(t, "attach-"+string(f), must(cluster.Attach(attachment(f))))
		})
	}
	for name, bad := range map[string]func(*cluster.AttachConfig){
		"an unknown flavour":       func(c *cluster.AttachConfig) { c.Flavour = "minikube" },
		"no name":                  func(c *cluster.AttachConfig) { c.Name = "" },
		"no authorization":         func(c *cluster.AttachConfig) { c.House.SubjectAccessReview = "" },
		"no client certificate":    func(c *cluster.AttachConfig) { c.House.ClientCert = nil },
		"a plain text webhook":     func(c *cluster.AttachConfig) { c.House.TokenReview = "http://house/" },
		"a house inside the node":  func(c *cluster.AttachConfig) { c.Flavour = cluster.Kind; c.House.TokenReview = "https://127.0.0.1/t" },
		"a house at the localhost": func(c *cluster.AttachConfig) { c.Flavour = cluster.Kind; c.House.TokenReview = "https://localhost/t" },
	} {
		conf := attachment(cluster.Kubeadm)
		bad(&conf)
		if files, err := cluster.Attach(conf); err == nil || files != nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func golden(t *testing.T, name string, files cluster.Files) {
	t.Helper()
	var got txtar.Archive
	for _, n := range slices.Sorted(maps.Keys(files)) {
		got.Files = append(got.Files, txtar.File{Name: n, Data: files[n]})
	}
	path := filepath.Join("testdata", name+".txtar")
	if *update {
		if err := os.WriteFile(path, txtar.Format(&got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := must(os.ReadFile(path))
	if diff := cmp.Diff(string(want), string(txtar.Format(&got))); diff != "" {
		t.Errorf("the files changed (-want +got); run with -update if that is right:\n%s", diff)
	}
}

// The real kube-apiserver reads its configuration before it looks for etcd: with
// files that it takes, the first thing to fail is etcd.
func TestAttachedFilesAreTakenByTheRealAPIServer(t *testing.T) {
	t.Parallel()
	kube := binary(t)
	for _, f := range cluster.Flavours() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			if out := tryFiles(t, kube, must(cluster.Attach(attachment(f))), nil); !strings.Contains(out, etcdIsMissing) {
				t.Errorf("it stopped before it looked for etcd:\n%s", out)
			}
		})
	}
	t.Run("and this test notices when one is not taken", func(t *testing.T) {
		t.Parallel()
		out := tryFiles(t, kube, must(cluster.Attach(attachment(cluster.Kubeadm))), func(text string) string {
			return strings.ReplaceAll(text, "request.groups", "request.gruppen")
		})
		if strings.Contains(out, etcdIsMissing) || !strings.Contains(out, "gruppen") {
			t.Errorf("a wrong condition is taken:\n%s", out)
		}
	})
}

const etcdIsMissing = `failed to connect to {Addr: "127.0.0.1:1"`

func tryFiles(t *testing.T, kube string, files cluster.Files, edit func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	_, port, _ := strings.Cut(freeAddr(t), ":")
	args := []string{"kube-apiserver", "--etcd-servers=http://127.0.0.1:1", "--cert-dir=" + dir, "--bind-address=127.0.0.1", "--secure-port=" + port,
		"--service-account-issuer=https://x", "--service-account-key-file=" + dir + "/sa.key", "--service-account-signing-key-file=" + dir + "/sa.key",
		"--authentication-config=" + dir + "/authentication.yaml", "--authorization-config=" + dir + "/authorization.yaml",
		"--authentication-token-webhook-config-file=" + dir + "/tokenreview.kubeconfig", "--authentication-token-webhook-version=v1",
		"--authentication-token-webhook-cache-ttl=0s"}
	s := newStub(t)
	for name, data := range files {
		text := string(data)
		for _, old := range []string{"/etc/kubernetes/gatehouse", "/etc/rancher/k3s/gatehouse"} {
			text = strings.ReplaceAll(text, old, dir)
		}
		if edit != nil {
			text = edit(text)
		}
		write(t, filepath.Join(dir, filepath.Base(name)), []byte(text))
	}
	write(t, filepath.Join(dir, "house-ca.crt"), s.House.CA)
	write(t, filepath.Join(dir, "house-client.crt"), s.House.ClientCert)
	write(t, filepath.Join(dir, "house-client.key"), s.House.ClientKey)
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	write(t, filepath.Join(dir, "sa.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(key))}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out lockedBuffer
	cmd := exec.CommandContext(ctx, kube, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	done := false
	eventually(t, patience, "the API server reads its files", func() bool {
		select {
		case <-ended:
			done = true
		default:
		}
		return done || strings.Contains(out.String(), etcdIsMissing)
	})
	cancel()
	if !done {
		<-ended
	}
	return out.String()
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
