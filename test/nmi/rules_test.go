package nmi_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/nmi/steer"
)

func (n *node) pid() string { return strconv.Itoa(n.agent.Process.Pid) }

// hits is how often the cloud is asked while f runs.
func (n *node) hits(f func()) int64 {
	before := n.cloud.hits.Load()
	f()
	return n.cloud.hits.Load() - before
}

// PI-12: what a pod reaches before there is an agent, while there is one, after it
// was killed, after it was stopped, and when somebody takes its rules away.
func rulesStay(t *testing.T, s stage) {
	n := s.node()
	web := n.pod("web", bound("blue"))
	if web.token().body != "the cloud" {
		t.Fatal("without an agent the pod does not reach the cloud: the test would show nothing")
	}
	// A connection that is older than the rules.
	old := &http.Client{Transport: &http.Transport{DialContext: dialer(web.ns, "")}, Timeout: 3e9}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tokenURL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if do(old, req).body != "the cloud" {
		t.Fatal("the connection is not made")
	}

	n.start("--operation-mode", "managed")
	if hits := n.hits(func() { do(old, req) }); hits != 0 {
		t.Error("a connection that is older than the rules goes on")
	}
	web.token().gets(t, blue.ID.String())

	// Somebody flushes all rules, or takes away a part.
	for _, how := range []string{"flush ruleset", "delete table inet " + steer.Table, "flush chain inet " + steer.Table + " lead", "flush chain inet " + steer.Table + " guard", "flush chain inet " + steer.Table + " shut"} {
		in(t, n.ns, "ip", "address", "del", "169.254.25.79/32", "dev", "lo")
		in(t, n.ns, append([]string{"nft"}, strings.Fields(how)...)...)
		n.Until("the rules are repaired after "+how, n.hasRules)
		web.token().gets(t, blue.ID.String())
	}
	if _, text := n.status("/metrics"); !strings.Contains(text, "gatehouse_nmi_repairs_total") || strings.Contains(text, "gatehouse_nmi_repairs_total 0") {
		t.Errorf("repairs are not counted: %s", text)
	}

	nothing := func(when string) {
		t.Helper()
		hits := n.hits(func() {
			for range 3 {
				if a := web.token(); a.status != 0 {
					t.Errorf("%s: %s", when, a)
				}
			}
		})
		if hits != 0 {
			t.Errorf("%s the cloud is asked", when)
		}
	}
	n.end(syscall.SIGKILL)
	nothing("after the agent was killed")
	n.start("--operation-mode", "managed")
	web.token().gets(t, blue.ID.String())
	n.end(syscall.SIGTERM)
	nothing("after the agent was stopped")
	n.start("--operation-mode", "managed", "--at-stop", "remove")
	web.token().gets(t, blue.ID.String())
	n.end(syscall.SIGTERM)
	if web.token().body != "the cloud" {
		t.Error("the rules are not removed")
	}
	n.start("--operation-mode", "managed")
	n.end(syscall.SIGKILL)
	in(t, n.ns, os.Getenv("GATEHOUSE_NODE"), "nmi", "remove")
	in(t, n.ns, os.Getenv("GATEHOUSE_NODE"), "nmi", "remove") // nothing to do
	if out := in(t, n.ns, "nft", "list", "ruleset"); out != "" || strings.Contains(in(t, n.ns, "ip", "address"), "169.254.25.79") {
		t.Errorf("left are %s", out)
	}
}

func (n *node) hasRules() bool {
	out := in(n.T, n.ns, "nft", "list", "ruleset")
	return strings.Count(out, "169.254.169.254") == 3 && strings.Contains(out, "dnat") && strings.Contains(out, "fib saddr . iif oif missing")
}

// PI-12: an agent that cannot do its work refuses, and lets nothing by.
func neverOpen(t *testing.T, s stage) {
	n := s.node()
	web := n.pod("web", bound("blue"))
	n.api.cut()
	n.house.cut()
	n.start("--operation-mode", "managed")
	if hits := n.hits(func() { web.token().refused(t, 503, "the API server cannot be asked") }); hits != 0 {
		t.Error("the cloud is asked")
	}
	if status, text := n.status("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("ready without an API server: %d %s", status, text)
	}
}

// PI-03: what the node itself, and pods on its network, reach.
func nodeItself(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	self := &pod{node: n, ns: n.ns}
	if a := self.token(); a.body != "the cloud" {
		t.Errorf("the node's own requests are led elsewhere: %s", a)
	}
	// At the agent's own address nobody is answered who was not led there.
	if a := self.ask(strings.Replace(tokenURL(), metadata, "169.254.25.79:2579", 1), "Metadata", "true"); a.status != 0 {
		t.Errorf("the node is answered: %s", a)
	}
	n.end(syscall.SIGTERM)
	n.start("--operation-mode", "managed", "--block-node")
	if hits := n.hits(func() {
		if a := self.token(); a.status != 0 {
			t.Errorf("the node reaches the cloud although it is blocked: %s", a)
		}
	}); hits != 0 {
		t.Error("the cloud is asked")
	}
}

// resets is how many connections a namespace has refused: what it sends when an
// answer comes to a question that it did not ask.
func (p *pod) resets() int {
	p.T.Helper()
	lines := strings.Split(in(p.T, p.ns, "cat", "/proc/net/snmp"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "Tcp: RtoAlgorithm") {
			for j, name := range strings.Fields(line) {
				if name == "OutRsts" {
					n, _ := strconv.Atoi(strings.Fields(lines[i+1])[j])
					return n
				}
			}
		}
	}
	p.T.Fatal("no OutRsts")
	return 0
}

// PI-01: a pod that sends in the name of another is not even answered.
func forgedSource(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	victim, thief := n.pod("victim", bound("blue")), n.pod("thief", nil)
	victim.token().gets(t, blue.ID.String())
	ip(t, "-n "+thief.ns+" address add "+victim.address+"/32 dev lo")
	forge := func() error {
		_, err := dialer(thief.ns, victim.address)(t.Context(), "tcp", metadata+":80")
		return err
	}
	before := victim.resets()
	if err := forge(); err == nil {
		t.Error("a connection in another's name")
	}
	if got := victim.resets() - before; got != 0 {
		t.Errorf("the agent's node answers a forged sender: %d", got)
	}
	if out := in(t, n.ns, "nft", "list", "chain", "inet", steer.Table, "guard"); strings.Contains(out, "missing counter packets 0 ") {
		t.Errorf("nothing is dropped: %s", out)
	}
	// What it takes: without the rule the answer goes to the victim, who refuses it.
	n.agent.Process.Signal(syscall.SIGSTOP) // so that it does not repair
	defer n.agent.Process.Signal(syscall.SIGCONT)
	in(t, n.ns, "nft", "flush", "chain", "inet", steer.Table, "guard")
	before = victim.resets()
	if err := forge(); err == nil {
		t.Error("a connection in another's name, without the rule")
	}
	if got := victim.resets() - before; got == 0 {
		t.Error("without the rule nothing else happens: the test shows nothing")
	}
}

// PI-02: on a bridge a pod can take its neighbour's address, so nobody there gets
// anything.
func bridges(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	ip(t, "-n "+n.ns+" link add br0 type bridge", "-n "+n.ns+" address add 10.200.0.1/24 dev br0", "-n "+n.ns+" link set br0 up")
	plug := func(i int, name string, labels map[string]string) *pod {
		p := &pod{node: n, ns: fmt.Sprintf("%sb%d", n.ns, i), address: fmt.Sprintf("10.200.0.%d", 9+i)}
		namespace(t, p.ns)
		ip(t, fmt.Sprintf("link add name b%d netns %s type veth peer name eth0 netns %s", i, n.ns, p.ns), fmt.Sprintf("-n %s link set b%d master br0 up", n.ns, i),
			"-n "+p.ns+" link set lo up", "-n "+p.ns+" link set eth0 up", "-n "+p.ns+" address add "+p.address+"/24 dev eth0", "-n "+p.ns+" route add default via 10.200.0.1")
		p.runs(n.scheduled(name, labels))
		n.says(p.pod, "Running", p.address)
		return p
	}
	victim, thief := plug(1, "victim", bound("blue")), plug(2, "thief", nil)
	const why = "is routed to the bridge br0"
	victim.token().refused(t, 403, why)
	ip(t, "-n "+victim.ns+" link set eth0 down", "-n "+thief.ns+" address flush dev eth0", "-n "+thief.ns+" address add "+victim.address+"/24 dev eth0", "-n "+thief.ns+" route add default via 10.200.0.1",
		"-n "+n.ns+" neigh flush dev br0")
	thief.token().refused(t, 403, why)
}

// PI-15: IPv6, and IPv4 in its clothes.
func sixes(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	web := n.pod("web", bound("blue"))
	ip(t, "-n "+n.ns+" address add fd00::1/64 dev "+web.veth+" nodad", "-n "+web.ns+" address add fd00::2/64 dev eth0 nodad", "-n "+web.ns+" route add default via fd00::1",
		"-n "+n.cloud.ns+" address add fd00:ec2::254/128 dev lo", "-n "+n.cloud.ns+" address add fd01::2/64 dev node nodad", "-n "+n.cloud.ns+" route add default via fd01::1",
		"-n "+n.ns+" address add fd01::1/64 dev cloud nodad", "-n "+n.ns+" route add fd00:ec2::254/128 via fd01::2")
	in(t, n.ns, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	ask := func() answer { return web.ask("http://[fd00:ec2::254]/", "Metadata", "true") }
	if a := ask(); a.status != 0 {
		t.Errorf("the other cloud's metadata service: %s", a)
	}
	web.ask("http://[::ffff:169.254.169.254]"+strings.TrimPrefix(tokenURL(), "http://"+metadata), "Metadata", "true").refused(t, 400, "the host is not")
	for _, address := range []string{"[fd00::1]:2579", "[::ffff:169.254.25.79]:2579"} {
		if a := web.ask("http://"+address+"/", "Metadata", "true"); a.status != 0 {
			t.Errorf("%s: %s", address, a)
		}
	}
	web.token().gets(t, blue.ID.String())
	n.end(syscall.SIGTERM)
	in(t, n.ns, os.Getenv("GATEHOUSE_NODE"), "nmi", "remove")
	if a := ask(); a.body != "the cloud" {
		t.Errorf("without the rules nothing else happens: the test shows nothing: %s", a)
	}
}
