package node

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	storagev1 "k8s.io/api/storage/v1"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/gatehouse-io/gatehouse/test/plane"
)

const (
	driverName      = "secrets-store.csi.k8s.io"
	driverSocket    = "/var/lib/kubelet/plugins/csi-secrets-store/csi.sock"
	registrySocket  = "/var/lib/kubelet/plugins_registry/secrets-store.csi.k8s.io-reg.sock"
	providersFolder = "/run/secrets-store-csi-providers"
)

// A SecretsStore is the Secrets Store CSI driver and the provider of vaults. Both are
// programs of the machine and no pods: the driver runs mount(8), which an image FROM
// scratch does not have.
type SecretsStore struct {
	n                *Node
	providerArgs     []string
	driverArgs       []string
	provider, driver *Program
}

// providerGroup is the group of the provider alone, by which its packets are known.
const providerGroup = "8443"

// NeedDriver skips a test, or fails it in CI, if there is no driver to run.
func NeedDriver(t *testing.T) {
	t.Helper()
	for _, name := range []string{"GATEHOUSE_CSIDRIVER", "GATEHOUSE_NODE"} {
		if _, err := os.Stat(os.Getenv(name)); err == nil {
			continue
		}
		text := name + " names no binary; make test builds it and sets the variable"
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
}

// SecretsStore installs the driver from its own manifests, which looks into vaults
// anew so often, and the provider with these arguments beside those that say where
// the house is.
func (n *Node) SecretsStore(rotation time.Duration, args ...string) *SecretsStore {
	n.T.Helper()
	s := &SecretsStore{n: n, providerArgs: append([]string{"--regid", providerGroup, "--clear-groups", os.Getenv("GATEHOUSE_NODE"), "csi", "--house", n.House.Authority(), "--house-ca", n.Write("house-ca.crt", string(n.CA())),
		"--socket", filepath.Join(providersFolder, "azure.sock")}, args...)}
	n.applyDriver()
	for _, dir := range []string{providersFolder, filepath.Dir(driverSocket)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			n.T.Fatal(err)
		}
	}
	s.StartProvider()
	account := strings.TrimSpace(n.Must("", "-n", "kube-system", "create", "token", "secrets-store-csi-driver", "--duration=1h"))
	s.driverArgs = []string{"KUBECONFIG=" + n.Write("driver.kubeconfig", n.Kubeconfig(account)), os.Getenv("GATEHOUSE_CSIDRIVER"),
		"--endpoint", "unix://" + driverSocket, "--nodeid", Name, "--provider-volume", providersFolder, "--additional-provider-volume-paths", providersFolder,
		"--metrics-addr", "127.0.0.1:8095", "--enable-secret-rotation", "--rotation-poll-interval", rotation.String()}
	s.StartDriver()
	n.Until("the driver listens", func() bool {
		_, err := os.Stat(driverSocket)
		return err == nil
	})
	n.register()
	return s
}

// applyDriver applies what the driver's module has for its deployment, but for the
// DaemonSet.
func (n *Node) applyDriver() {
	n.T.Helper()
	list := exec.CommandContext(n.T.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/secrets-store-csi-driver")
	list.Dir = "../../kube/secretsstore"
	dir, err := list.Output()
	if err != nil {
		n.T.Fatalf("find the driver's manifests: %v", err)
	}
	args := []string{"apply"}
	for _, name := range []string{"csidriver", "rbac-secretproviderclass", "rbac-secretproviderrotation", "rbac-secretprovidersyncing", "rbac-secretprovidertokenrequest",
		"secrets-store.csi.x-k8s.io_secretproviderclasses", "secrets-store.csi.x-k8s.io_secretproviderclasspodstatuses"} {
		args = append(args, "-f", filepath.Join(strings.TrimSpace(string(dir)), "deploy", name+".yaml"))
	}
	n.Must("", args...)
	n.Must("", "wait", "--for=condition=Established", "crd", "secretproviderclasses.secrets-store.csi.x-k8s.io", "secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io", "--timeout=3m")
}

// StartProvider starts the provider, or starts it again after KillProvider.
func (s *SecretsStore) StartProvider() {
	s.n.T.Helper()
	s.provider = s.n.Program("provider", "setpriv", s.providerArgs...)
}

// KillProvider ends the provider as a crash does.
func (s *SecretsStore) KillProvider() { s.provider.Kill() }

// StartDriver starts the driver, or starts it again after KillDriver.
func (s *SecretsStore) StartDriver() {
	s.n.T.Helper()
	s.driver = s.n.Program("driver", "env", s.driverArgs...)
}

// KillDriver ends the driver as a crash does.
func (s *SecretsStore) KillDriver() { s.driver.Kill() }

// CutHouse keeps the provider, and nobody else, from the house, until MendHouse.
func (s *SecretsStore) CutHouse() {
	s.n.T.Helper()
	s.n.nft("table ip cut { chain output { type filter hook output priority 0; meta skgid " + providerGroup + " tcp dport 8443 reject with tcp reset; }; }\n")
}

// MendHouse ends CutHouse.
func (s *SecretsStore) MendHouse() {
	s.n.T.Helper()
	s.n.nft("delete table ip cut\n")
}

// register tells kubelet of the driver, as the registrar in its DaemonSet does.
func (n *Node) register() {
	n.T.Helper()
	l, err := net.Listen("unix", registrySocket)
	if err != nil {
		n.T.Fatal(err)
	}
	told := make(chan error, 1)
	srv := grpc.NewServer()
	registration.RegisterRegistrationServer(srv, registrar{told: told})
	go srv.Serve(l)
	n.T.Cleanup(srv.Stop)
	select {
	case err := <-told:
		if err != nil {
			n.T.Fatalf("kubelet does not take the driver: %v", err)
		}
	case <-time.After(3 * time.Minute):
		n.T.Fatal("kubelet did not notice the driver for three minutes")
	}
	n.Until("the node has the driver", func() bool {
		for _, d := range plane.Get[storagev1.CSINode](n.Plane, "csinode", Name).Spec.Drivers {
			if d.Name == driverName {
				return true
			}
		}
		return false
	})
}

// A registrar is what kubelet asks about a driver.
type registrar struct {
	registration.UnimplementedRegistrationServer
	told chan error
}

func (registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: driverName, Endpoint: driverSocket, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r registrar) NotifyRegistrationStatus(_ context.Context, is *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	var err error
	if !is.PluginRegistered {
		err = errors.New(is.Error)
	}
	select {
	case r.told <- err:
	default: // kubelet has said so before
	}
	return &registration.RegistrationStatusResponse{}, nil
}
