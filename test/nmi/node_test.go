package nmi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// A stage is a cluster with the objects of pod identity, and its administrator.
type stage struct {
	*plane.Plane
	core   coreclient.CoreV1Interface
	nodes  *atomic.Int64
	server string // host:port of the API server
	house  string // host:port of the house
}

// in is the stage in a subtest.
func (s stage) in(t testing.TB) stage {
	s.Plane = s.Plane.In(t)
	return s
}

// create makes an object of pod identity or of Kubernetes, from JSON or YAML.
func (s stage) create(manifest string) {
	s.T.Helper()
	s.Must(manifest, "apply", "-f", "-")
}

// A node is one in a network namespace of its own, with an agent in it.
type node struct {
	stage
	name, ns   string
	own        *corev1.Pod // the agent's
	cloud      *cloud
	api, house *relay
	agent      *exec.Cmd
	env        []string // of the agent; nil is that of the test
	ended      chan struct{}
	dir        string
	pods       *atomic.Int64
	net        int64 // the second byte of the addresses of its pods
}

// node makes a node without an agent.
func (s stage) node() *node {
	s.T.Helper()
	i := s.nodes.Add(1)
	n := &node{stage: s, name: fmt.Sprintf("node-%d", i), ns: fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), i), dir: s.T.TempDir(), pods: new(atomic.Int64), net: i}
	namespace(s.T, n.ns)
	ip(s.T, "-n "+n.ns+" link set lo up")
	in(s.T, n.ns, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
	n.cloud = newCloud(s.T, n.ns)
	n.api, n.house = newRelay(s.T, n.ns, s.server), newRelay(s.T, n.ns, s.house)
	if _, err := s.core.Nodes().Create(s.T.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}}, metav1.CreateOptions{}); err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { os.Remove(filepath.Join(groups(), "kubepods-"+n.ns)) })
	n.credentials()
	return n
}

// everywhere lets the controllers leave pods alone whose node has no kubelet.
var everywhere = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}

// credentials are what a kubelet gives the agent's pod: its token for the API server,
// and its token for the house.
func (n *node) credentials() {
	n.T.Helper()
	ctx := n.T.Context()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent-" + n.name, Namespace: wire.Namespace},
		Spec: corev1.PodSpec{NodeName: n.name, HostNetwork: true, ServiceAccountName: wire.ServiceAccount, Tolerations: everywhere,
			Containers: []corev1.Container{{Name: "nmi", Image: "gatehouse-node"}}},
	}
	var err error
	if n.own, err = n.core.Pods(wire.Namespace).Create(ctx, p, metav1.CreateOptions{}); err != nil {
		n.T.Fatal(err)
	}
	n.write("kubeconfig", n.Kubeconfig(n.accountToken(n.own, wire.ServiceAccount, "")))
	n.write("ca.crt", string(n.CA()))
	n.renew()
}

// renew writes the agent's token for the house anew.
func (n *node) renew() {
	n.T.Helper()
	n.write("token", n.accountToken(n.own, wire.ServiceAccount, wire.Audience(n.House.Authority())))
}

// accountToken is a token of a service account that is bound to a pod.
func (s stage) accountToken(p *corev1.Pod, account, audience string) string {
	s.T.Helper()
	req := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{BoundObjectRef: &authv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID}}}
	if audience != "" {
		req.Spec.Audiences = []string{audience}
	}
	res, err := s.core.ServiceAccounts(p.Namespace).CreateToken(s.T.Context(), account, req, metav1.CreateOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
	return res.Status.Token
}

func (n *node) write(name, text string) {
	n.T.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.T.Fatal(err)
	}
}

// start starts an agent and waits until it is ready.
func (n *node) start(args ...string) *node {
	n.T.Helper()
	n.launch(args...)
	n.Until("the agent listens", func() bool {
		select {
		case <-n.ended:
			n.T.Fatalf("the agent ended: %s", n.log())
		default:
		}
		status, _ := n.status("/livez")
		return status == http.StatusOK
	})
	return n
}

// launch starts an agent.
func (n *node) launch(args ...string) {
	n.T.Helper()
	log, err := os.OpenFile(n.dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.T.Fatal(err)
	}
	defer log.Close()
	n.agent = exec.Command("ip", append([]string{"netns", "exec", n.ns, os.Getenv("GATEHOUSE_NODE"), "nmi", "--node", n.name, "--house", n.House.Authority(),
		"--house-ca", n.dir + "/ca.crt", "--token-file", n.dir + "/token", "--kubeconfig", n.dir + "/kubeconfig", "--host-token-socket", n.dir + "/host.sock",
		"--find-identity-retry-interval", "200ms"}, args...)...)
	n.agent.Stdout, n.agent.Stderr, n.agent.Env = log, log, n.env
	if err := n.agent.Start(); err != nil {
		n.T.Fatal(err)
	}
	cmd, ended := n.agent, make(chan struct{})
	n.ended = ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	n.T.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if n.T.Failed() {
			text := n.log()
			n.T.Logf("the end of the agent's log:\n%s", text[max(0, len(text)-1500):])
		}
	})
}

func (n *node) log() string {
	text, _ := os.ReadFile(n.dir + "/log")
	return string(text)
}

// end sends the agent a signal and waits until it has ended.
func (n *node) end(signal syscall.Signal) {
	n.T.Helper()
	n.agent.Process.Signal(signal)
	select {
	case <-n.ended:
	case <-time.After(time.Minute):
		n.T.Fatal("the agent does not end")
	}
}

// status asks the agent's health and metrics.
func (n *node) status(path string) (int, string) {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: dialer(n.ns, ""), DisableKeepAlives: true}}
	res, err := client.Get("http://127.0.0.1:8085" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// A pod is one in a network namespace, and in the API server. It may be in one of
// the two alone.
type pod struct {
	*node
	pod     *corev1.Pod
	ns      string
	address string
	veth    string
	process *exec.Cmd
}

// cable makes a namespace with a cable to the node, which routes an address to it as
// the CNI plugin ptp does.
func (n *node) cable(address string) *pod {
	n.T.Helper()
	p := &pod{node: n, address: address}
	i := n.pods.Add(1)
	p.ns, p.veth = fmt.Sprintf("%sp%d", n.ns, i), fmt.Sprintf("v%d", i)
	namespace(n.T, p.ns)
	ip(n.T,
		"link add name "+p.veth+" netns "+n.ns+" type veth peer name eth0 netns "+p.ns,
		"-n "+n.ns+" link set "+p.veth+" address 02:00:00:00:00:01 up",
		"-n "+p.ns+" link set lo up", "-n "+p.ns+" link set eth0 up",
		"-n "+p.ns+" route add 169.254.1.1 dev eth0 scope link", "-n "+p.ns+" neigh add 169.254.1.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
	p.routed(address)
	return p
}

// routed gives the namespace an address.
func (p *pod) routed(address string) {
	p.T.Helper()
	p.address = address
	ip(p.T, "-n "+p.ns+" address add "+address+"/32 dev eth0", "-n "+p.ns+" route replace default via 169.254.1.1 src "+address,
		"-n "+p.node.ns+" route replace "+address+"/32 dev "+p.veth)
}

// unplug takes the namespace away, and what runs in it.
func (p *pod) unplug() {
	p.T.Helper()
	p.stop()
	ip(p.T, "-n "+p.node.ns+" link del "+p.veth, "netns del "+p.ns)
}

func (p *pod) stop() {
	if p.process != nil {
		p.process.Process.Kill()
		p.process.Wait()
		p.process = nil
		os.Remove(group(p.T, p.node.ns, string(p.pod.UID)))
	}
}

// free is an address that no pod of the node has had.
func (n *node) free() string {
	i := n.pods.Load() + 1
	return fmt.Sprintf("10.%d.%d.%d", 100+n.net, i/250, 1+i%250)
}

// scheduled writes a pod into the API server.
func (n *node) scheduled(name string, labels map[string]string, change ...func(*corev1.Pod)) *corev1.Pod {
	n.T.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + n.name, Namespace: "shop", Labels: labels},
		Spec: corev1.PodSpec{NodeName: n.name, Tolerations: everywhere, Containers: []corev1.Container{{Name: "app", Image: "app"}}}}
	for _, c := range change {
		c(p)
	}
	p, err := n.core.Pods(p.Namespace).Create(n.T.Context(), p, metav1.CreateOptions{})
	if err != nil {
		n.T.Fatal(err)
	}
	return p
}

// says is what the kubelet tells the API server of a pod.
func (n *node) says(p *corev1.Pod, phase corev1.PodPhase, address string) {
	n.T.Helper()
	p.Status = corev1.PodStatus{Phase: phase, PodIP: address}
	if address != "" {
		p.Status.PodIPs = []corev1.PodIP{{IP: address}}
	}
	n.update(p)
}

// update writes the status of a pod, whatever controllers have written meanwhile.
func (n *node) update(p *corev1.Pod) {
	n.T.Helper()
	p.ResourceVersion = ""
	now, err := n.core.Pods(p.Namespace).UpdateStatus(n.T.Context(), p, metav1.UpdateOptions{})
	if err != nil {
		n.T.Fatal(err)
	}
	*p = *now
}

// hasIPs is what the kubelet tells the API server of the addresses of a pod that runs.
func (n *node) hasIPs(p *corev1.Pod, addresses ...string) {
	n.T.Helper()
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: addresses[0]}
	for _, a := range addresses {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: a})
	}
	n.update(p)
}

// gone takes a pod out of the API server at once.
func (n *node) gone(p *corev1.Pod) {
	n.T.Helper()
	if err := n.core.Pods(p.Namespace).Delete(n.T.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		n.T.Fatal(err)
	}
}

// runs starts a process of a pod of the API server in the namespace.
func (p *pod) runs(is *corev1.Pod) *pod {
	p.T.Helper()
	p.pod = is
	p.process = process(p.T, p.ns, group(p.T, p.node.ns, string(is.UID)))
	p.T.Cleanup(p.stop)
	return p
}

// process starts a process in a namespace and in a control group.
func process(t testing.TB, ns, group string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", ns, "sleep", "3600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// pod makes a pod that runs: in the kernel, and in the API server.
func (n *node) pod(name string, labels map[string]string) *pod {
	n.T.Helper()
	p := n.cable(n.free()).runs(n.scheduled(name, labels))
	n.says(p.pod, corev1.PodRunning, p.address)
	return p
}

// An answer is what a pod got.
type answer struct {
	status int
	header http.Header
	body   string
}

// client is a pod's, with connections of its own.
func (p *pod) client() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: dialer(p.ns, ""), DisableKeepAlives: true}}
}

// token asks for a token of the pod's identity. Query are further parameters.
func (p *pod) token(query ...string) answer {
	p.T.Helper()
	return p.ask(tokenURL(query...), "Metadata", "true")
}

const resourceManager = "https://management.azure.com/"

func tokenURL(query ...string) string {
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {resourceManager}}
	for i := 0; i+1 < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	return "http://" + metadata + "/metadata/identity/oauth2/token?" + q.Encode()
}

// ask sends a GET with headers. A status of 0 is no answer.
func (p *pod) ask(url string, header ...string) answer {
	p.T.Helper()
	req, err := http.NewRequestWithContext(p.T.Context(), http.MethodGet, url, nil)
	if err != nil {
		p.T.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return p.do(req)
}

func (p *pod) do(req *http.Request) answer { return do(p.client(), req) }

func do(c *http.Client, req *http.Request) answer {
	res, err := c.Do(req)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{body: err.Error()}
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// of is the object id that a token is of; "" when there is none.
func (a answer) of() string {
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if a.status != http.StatusOK || json.Unmarshal([]byte(a.body), &body) != nil {
		return ""
	}
	parts := strings.Split(body.AccessToken, ".")
	if len(parts) != 3 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		OID string `json:"oid"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.OID
}

func (a answer) String() string { return fmt.Sprintf("%d %.500s", a.status, a.body) }

// refused says what is wrong with an answer that should be a refusal.
func (a answer) refused(t testing.TB, status int, text string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, text) || strings.Contains(a.body, "access_token") {
		t.Errorf("%s, want %d with %q", a, status, text)
	}
}

// gets says what is wrong with an answer that should be a token.
func (a answer) gets(t testing.TB, who string) {
	t.Helper()
	if a.of() != who {
		t.Errorf("%s is of %q, want a token of %s", a, a.of(), who)
	}
}

// client of the API server, by a kubeconfig.
func coreOf(t testing.TB, kubeconfig string) coreclient.CoreV1Interface {
	t.Helper()
	conf, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	conf.QPS = -1
	core, err := coreclient.NewForConfig(conf)
	if err != nil {
		t.Fatal(err)
	}
	return core
}

// together calls f n times at once.
func together(n int, f func(int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
