package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// A Node is the one machine of a cluster of a house. Pods reach the house at
// Gateway; nobody of the machine reaches anything outside of it.
type Node struct {
	*plane.Plane
	// Uplink is between kubelet and the API server.
	Uplink *Uplink
	// Runtime is containerd.
	Kubelet, Runtime *Program
}

// Start returns a node that is ready for pods. A machine has one, so a package has
// one test with all others in it. The cluster has workload identity switched on, and
// the house listens where pods reach it, whatever the options say.
func Start(t *testing.T, opt plane.Options) *Node {
	t.Helper()
	if unavailable != "" {
		t.Skip(unavailable)
	}
	if os.Getenv(insideVar) == "" {
		t.Fatal("the package's TestMain must call node.Main")
	}
	opt.WorkloadIdentity, opt.Listen, opt.Webhooks = true, Gateway+":8443", "127.0.0.1:8444"
	n := &Node{Plane: plane.Start(t, opt)}
	n.startRuntime()
	n.service()
	n.join()
	n.Kubelet = n.startKubelet()
	n.Until("the node is ready", n.Ready)
	return n
}

// Ready reports whether kubelet says that it is ready for pods.
func (n *Node) Ready() bool {
	n.T.Helper()
	for _, node := range plane.Get[corev1.NodeList](n.Plane, "nodes").Items {
		for _, is := range node.Status.Conditions {
			if is.Type == corev1.NodeReady {
				return is.Status == corev1.ConditionTrue
			}
		}
	}
	return false
}

// In is the node in a subtest.
func (n *Node) In(t *testing.T) *Node {
	q := *n
	q.Plane = n.Plane.In(t)
	return &q
}

// A Program is one of the machine that runs until the test ends.
type Program struct {
	path, log string
	args      []string
	cmd       *exec.Cmd
	ended     chan struct{}
}

// Program starts one. Its log is in the folder of the test.
func (n *Node) Program(name string, path string, args ...string) *Program {
	n.T.Helper()
	p := &Program{path: path, args: args, log: filepath.Join(n.Dir, name+".log")}
	if err := p.Start(); err != nil {
		n.T.Fatal(err)
	}
	n.T.Cleanup(func() {
		p.stop()
		if n.T.Failed() {
			n.T.Logf("the end of the log of %s:\n%s", name, p.tail())
		}
	})
	return p
}

// Start starts it, or starts it again after Kill, as an init system does.
func (p *Program) Start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd, ended := exec.Command(p.path, p.args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.ended = cmd, ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	return nil
}

// Signal sends it a signal.
func (p *Program) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends it without a warning.
func (p *Program) Kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

func (p *Program) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.Kill()
	}
}

func (p *Program) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-6000):])
}

// RegistriesDir is where containerd reads, in the folder of the test, how it reaches
// registries: NAME/hosts.toml.
const RegistriesDir = "registries"

const socket = "/run/containerd/containerd.sock" // in this machine's own /run

// startRuntime starts containerd, and gives it the image of all pods.
func (n *Node) startRuntime() {
	n.T.Helper()
	dir := filepath.Join(n.Dir, "cni")
	if err := os.Mkdir(dir, 0o755); err != nil {
		n.T.Fatal(err)
	}
	n.Write("cni/10-pods.conflist", `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp",
		"ipam": {"type": "host-local", "ranges": [[{"subnet": "`+subnet+`"}]], "routes": [{"dst": "0.0.0.0/0"}]}}, {"type": "loopback"}]}`)
	// Without the right to lower it, as in many machines of CI, runc could not give
	// a sandbox the score of the OOM killer that containerd asks for.
	conf := n.Write("containerd.toml", `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "`+socket+`"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "`+Image+`"
stream_server_address = "127.0.0.1"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "`+filepath.Join(n.Dir, RegistriesDir)+`"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "`+plugins+`"
conf_dir = "`+dir+`"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
`)
	n.Runtime = n.Program("containerd", "containerd", "--config", conf)
	var out []byte
	n.Until("containerd takes the image", func() bool {
		select {
		case <-n.Runtime.ended:
			n.T.Fatal("containerd has ended")
		default:
		}
		var err error
		out, err = exec.Command("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", Images()).CombinedOutput()
		return err == nil
	})
	if !strings.Contains(string(out), Image) {
		n.T.Fatalf("ctr images import: %s", out)
	}
}

// service leads the address of the service kubernetes to the API server, for pods
// and for this machine: kube-proxy, which would do it, is not there.
func (n *Node) service() {
	n.T.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(n.Cluster().Endpoint, "https://"))
	if err != nil {
		n.T.Fatal(err)
	}
	rule := func(hook string) string {
		return "chain " + hook + " { type nat hook " + hook + " priority dstnat; ip daddr 10.96.0.1 tcp dport 443 dnat to 127.0.0.1:" + port + "; }\n"
	}
	n.nft("table ip service {\n" + rule("prerouting") + strings.Replace(rule("output"), "dstnat", "-100", 1) + "}\n")
	// Pods reach a loopback address by it, and this machine has a way to the address.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0); err != nil {
		n.T.Fatal(err)
	}
	if out, err := exec.Command("ip", "route", "replace", "10.96.0.0/16", "dev", "lo").CombinedOutput(); err != nil {
		n.T.Fatalf("ip route: %v: %s", err, out)
	}
}

// nft carries out commands of nftables.
func (n *Node) nft(commands string) {
	n.T.Helper()
	nft := exec.CommandContext(n.T.Context(), "nft", "-f", "-")
	nft.Stdin = strings.NewReader(commands)
	if out, err := nft.CombinedOutput(); err != nil {
		n.T.Fatalf("nft: %v: %s", err, out)
	}
}

// join gives the node a certificate of the cluster, and an uplink.
func (n *Node) join() {
	n.T.Helper()
	dir := filepath.Join(n.Dir, "data", "clusters", n.Cluster().Name, "pki")
	cert, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	key, keyErr := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err := errors.Join(err, keyErr); err != nil {
		n.T.Fatal(err)
	}
	ca, err := pki.LoadCA(cert, key)
	if err != nil {
		n.T.Fatal(err)
	}
	// The Node authorizer and NodeRestriction know a node by these two names.
	pair, err := ca.Issue(pki.Leaf{CommonName: "system:node:" + Name, Organizations: []string{"system:nodes"}, Client: true, Life: 24 * time.Hour}, time.Now())
	if err != nil {
		n.T.Fatal(err)
	}
	if n.Uplink, err = newUplink(n.Cluster().Endpoint, ca, pair); err != nil {
		n.T.Fatal(err)
	}
	n.T.Cleanup(n.Uplink.Close)
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": n.Uplink.URL, "certificate-authority-data": cert}}},
		"users":    []any{map[string]any{"name": "u", "user": map[string]any{"client-certificate-data": pair.CertPEM, "client-key-data": pair.KeyPEM}}},
		"contexts": []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c", "user": "u"}}},
	})
	if err != nil {
		n.T.Fatal(err)
	}
	n.Write("kubelet.kubeconfig", string(text))
	// The API server of a house shows kubelets no certificate, so this one answers
	// everybody, on an address that only this machine has.
	n.Write("kubelet.yaml", `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
readOnlyPort: 0
healthzPort: 0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://`+socket+`
cgroupDriver: cgroupfs
cgroupRoot: /`+filepath.Base(os.Getenv(insideVar))+`
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
protectKernelDefaults: true
makeIPTablesUtilChains: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, imagefs.available: 0%, nodefs.inodesFree: 0%, imagefs.inodesFree: 0%}
resolvConf: ""
contentType: application/json
syncFrequency: 1s
nodeStatusUpdateFrequency: 2s
`)
}

func (n *Node) startKubelet() *Program {
	n.T.Helper()
	// It pulls from registries of the house as its machine.
	own := filepath.Join(n.Dir, "kubelet-bin")
	if err := errors.Join(os.Mkdir(own, 0o700), os.Rename(filepath.Join(os.Getenv(insideVar), agentProgram), filepath.Join(own, agentProgram))); err != nil {
		n.T.Fatal(err)
	}
	pulls := n.Write("pulls.yaml", fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: %s
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    matchImages: ["*.azurecr.io"]
    defaultCacheDuration: 10m
    args: [credential-provider, --house=%s, --house-ca=%s]
`, agentProgram, n.House.Authority(), n.Write("house-ca.crt", string(n.CA()))))
	return n.Program("kubelet", n.Kube, "kubelet", "--config", filepath.Join(n.Dir, "kubelet.yaml"), "--kubeconfig", filepath.Join(n.Dir, "kubelet.kubeconfig"),
		"--hostname-override", Name, "--node-ip", Gateway, "--image-credential-provider-bin-dir", own, "--image-credential-provider-config", pulls)
}

// A Spec is what is special about a pod.
type Spec struct {
	// Account is the service account, or the default one.
	Account string
	// Identity asks for workload identity.
	Identity bool
	// Labels and Env are the pod's own.
	Labels, Env map[string]string
	// Image is pulled each time; without one, it is the one that the node has.
	Image string
	// Host puts the pod on the machine's network.
	Host bool
	// Class is the SecretProviderClass that is mounted at /mnt, for which there must
	// be the CSI driver. PublishSecret names a secret for the driver to pass on.
	Class, PublishSecret string
}

// Pod is the manifest of a pod that serves; see ./pod. It trusts the house, whose
// authority is in the config map gatehouse-ca of its namespace.
func (n *Node) Pod(name string, spec Spec) string {
	n.T.Helper()
	labels, env := map[string]string{}, []any{
		map[string]string{"name": "SSL_CERT_FILE", "value": "/etc/gatehouse/ca.crt"},
		map[string]string{"name": "GATEHOUSE", "value": n.House.Authority()},
	}
	for k, v := range spec.Labels {
		labels[k] = v
	}
	for k, v := range spec.Env {
		env = append(env, map[string]string{"name": k, "value": v})
	}
	if spec.Identity {
		labels["azure.workload.identity/use"] = "true"
	}
	if spec.Account == "" {
		spec.Account = "default"
	}
	policy := "Always"
	if spec.Image == "" {
		spec.Image, policy = Image, "Never"
	}
	mounts := []any{map[string]any{"name": "ca", "mountPath": "/etc/gatehouse"}}
	volumes := []any{map[string]any{"name": "ca", "configMap": map[string]any{"name": "gatehouse-ca"}}}
	if spec.Class != "" {
		csi := map[string]any{"driver": driverName, "readOnly": true, "volumeAttributes": map[string]any{"secretProviderClass": spec.Class}}
		if spec.PublishSecret != "" {
			csi["nodePublishSecretRef"] = map[string]any{"name": spec.PublishSecret}
		}
		mounts = append(mounts, map[string]any{"name": "secrets", "mountPath": "/mnt", "readOnly": true})
		volumes = append(volumes, map[string]any{"name": "secrets", "csi": csi})
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "labels": labels},
		"spec": map[string]any{
			"nodeName": Name, "serviceAccountName": spec.Account, "hostNetwork": spec.Host, "terminationGracePeriodSeconds": 1, // no scheduler runs here
			"containers": []any{map[string]any{"name": "app", "image": spec.Image, "imagePullPolicy": policy, "args": []string{"serve"}, "env": env,
				"volumeMounts": mounts}},
			"volumes": volumes,
		},
	})
	if err != nil {
		n.T.Fatal(err)
	}
	return string(text)
}

// Namespace makes a namespace whose pods can trust the house.
func (n *Node) Namespace(name string) {
	n.T.Helper()
	n.Must("", "create", "namespace", name)
	n.Must("", "-n", name, "create", "configmap", "gatehouse-ca", "--from-literal=ca.crt="+string(n.CA()))
	n.Until("the namespace has its service account", func() bool {
		_, err := n.Kubectl("", "-n", name, "get", "serviceaccount", "default")
		return err == nil
	})
}

// Schedule puts the pods of a namespace here that wait for a node, as the scheduler
// would, which a cluster of a house does not have. Pods of a DaemonSet need it.
func (n *Node) Schedule(namespace string) {
	n.T.Helper()
	n.Until("there is a pod to schedule", func() bool {
		bound := false
		for _, pod := range plane.Get[corev1.PodList](n.Plane, "-n", namespace, "pods").Items {
			if pod.Spec.NodeName == "" {
				n.Must(`{"apiVersion":"v1","kind":"Binding","metadata":{"name":"`+pod.Name+`"},"target":{"apiVersion":"v1","kind":"Node","name":"`+Name+`"}}`,
					"create", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+pod.Name+"/binding", "-f", "-")
				bound = true
			}
		}
		return bound
	})
}

// A Running is a pod that runs, at its address.
type Running struct {
	Address string
	Pod     corev1.Pod
}

// Run creates a pod and returns it when it serves.
func (n *Node) Run(namespace, name string, spec Spec) Running {
	n.T.Helper()
	n.Must(n.Pod(name, spec), "-n", namespace, "create", "-f", "-")
	return n.Serving(namespace, name)
}

// Serving returns a pod when it serves.
func (n *Node) Serving(namespace, name string) Running {
	n.T.Helper()
	var r Running
	defer func() {
		if n.T.Failed() {
			out, _ := n.Kubectl("", "-n", namespace, "get", "events", "--field-selector", "involvedObject.name="+name)
			n.T.Logf("what happened to %s:\n%s", name, out)
		}
	}()
	n.Until("the pod "+name+" serves", func() bool {
		r.Pod = plane.Get[corev1.Pod](n.Plane, "-n", namespace, "pod", name)
		r.Address = r.Pod.Status.PodIP
		if r.Address == "" || r.Pod.Status.Phase != corev1.PodRunning {
			return false
		}
		_, err := r.Ask(n.T.Context(), "")
		return err == nil
	})
	return r
}

// Ask asks the program in the pod, see ./pod, and returns its answer. It needs no
// API server.
func (r Running) Ask(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Address+":8080/"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return strings.TrimSpace(string(text)), err
}

// APIServer is the process of the API server.
func (n *Node) APIServer() *os.Process {
	n.T.Helper()
	text, err := os.ReadFile(filepath.Join(n.Dir, "data", "clusters", n.Cluster().Name, "run", "kube-apiserver.json"))
	if err != nil {
		n.T.Fatal(err)
	}
	var is struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(text, &is); err != nil || is.PID <= 1 {
		n.T.Fatalf("%v in %s", err, text)
	}
	p, err := os.FindProcess(is.PID)
	if err != nil {
		n.T.Fatal(err)
	}
	return p
}

// Agent is the process of the node agent, which kubelet started.
func (n *Node) Agent() *os.Process {
	n.T.Helper()
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, at := range found {
		text, err := os.ReadFile(at)
		if err != nil || !strings.HasPrefix(string(text), "/"+agentProgram+"\x00nmi\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(at)))
		if err != nil {
			n.T.Fatal(err)
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			n.T.Fatal(err)
		}
		return p
	}
	n.T.Fatal("no node agent runs")
	return nil
}

// Resident is how much memory the programs of the machine hold together, in bytes:
// the house with etcd, the control plane, kubelet, containerd and the pods.
func Resident() (sum int64) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/smaps_rollup")
	for _, at := range dirs {
		text, err := os.ReadFile(at)
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				kib, _ := strconv.ParseInt(f[1], 10, 64)
				sum += kib << 10
			}
		}
	}
	return sum
}
