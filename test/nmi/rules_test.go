package nmi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

	raw := web.talk(metadata + ":80")

	n.start("--operation-mode", "managed")
	if hits := n.hits(func() { do(old, req) }); hits != 0 {
		t.Error("a connection that is older than the rules goes on")
	}
	if err := raw(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that is older than the rules is not ended: %v", err)
	}
	web.token().gets(t, blue.ID.String())

	// Somebody flushes all rules, or takes away a part.
	for _, how := range []string{"flush ruleset", "delete table inet " + steer.Table, "flush chain inet " + steer.Table + " lead", "flush chain inet " + steer.Table + " guard", "flush chain inet " + steer.Table + " shut",
		"flush chain inet " + steer.Table + " refused", "flush chain inet " + steer.Table + " through", "flush chain inet " + steer.Table + " inside"} {
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

// hasRules reports whether all rules of an agent that is ready are there, and no others.
func (n *node) hasRules() bool {
	n.T.Helper()
	at := strings.Split(in(n.T, n.ns, "nft", "list", "ruleset"), "\tchain ")[1:]
	for name, holds := range map[string][]string{
		"guard": {"fib saddr . iif oif missing", "ip daddr 169.254.25.79 "}, "lead": {"dnat ip to 169.254.25.79:2579", "dnat ip to 169.254.169.254"},
		"shut":    {"ip daddr 169.254.169.254 ", "168.63.129.16 tcp dport 80 ", "168.63.129.16 tcp dport 32526 ", "fd00:ec2::254 ", "64:ff9b::a9fe:a9fe ", "64:ff9b::a83f:8110 "},
		"refused": {"tcp reset", "admin-prohibited"}, "through": {"hook forward", "jump shut"}, "inside": {"hook input", `iifname != "lo"`},
	} {
		i := slices.IndexFunc(at, func(chain string) bool { return strings.HasPrefix(chain, name+" {") })
		if i < 0 || slices.ContainsFunc(holds, func(text string) bool { return !strings.Contains(at[i], text) }) {
			return false
		}
	}
	return len(at) == 6
}

// talk makes a connection in which an HTTP server has answered once, and returns what
// becomes of a second question in it.
func (p *pod) talk(address string) func() error {
	p.T.Helper()
	c, err := dialer(p.ns, "")(p.T.Context(), "tcp", address)
	if err != nil {
		p.T.Fatal(err)
	}
	p.T.Cleanup(func() { c.Close() })
	lines := bufio.NewReader(c)
	ask := func() error {
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: cloud\r\n\r\n"); err != nil {
			return err
		}
		res, err := http.ReadResponse(lines, nil)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	if err := ask(); err != nil {
		p.T.Fatal(err)
	}
	return ask
}

// PI-12: a metadata service that is on the node itself, which no rule about what is
// forwarded sees, and one to which rules of others lead, as those of upstream's agent.
func onTheNode(t *testing.T, s stage) {
	n := s.node()
	web := n.pod("web", bound("blue"))
	in(t, n.ns, "nft", "add table ip upstream; add chain ip upstream lead { type nat hook prerouting priority dstnat; }; add rule ip upstream lead ip daddr "+metadata+" tcp dport 8081 dnat to 192.0.2.2:80")
	led := web.talk(metadata + ":8081")
	ip(t, "-n "+n.ns+" address add "+metadata+"/32 dev lo")
	for _, port := range []string{":80", ":8080"} {
		n.cloud.serve(listen(t, n.ns, metadata+port))
	}
	here := web.talk(metadata + ":80")
	everything := func() {
		for _, port := range []string{"80", "8080", "8081"} {
			web.ask("http://" + metadata + ":" + port + "/")
		}
		led()
		here()
	}
	if hits := n.hits(everything); hits != 5 {
		t.Fatalf("without an agent the pod reaches %d of 5: the test would show nothing", hits)
	}

	n.start("--operation-mode", "managed")
	for which, ask := range map[string]func() error{"on the node": here, "led by others": led} {
		if err := ask(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection %s that is older than the rules: %v", which, err)
		}
	}
	web.token().gets(t, blue.ID.String())
	if hits := n.hits(everything); hits != 0 {
		t.Errorf("the pod reaches the node's own metadata service %d times", hits)
	}

	// Whatever becomes of the agent, a pod that asks all the time.
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			web.ask("http://" + metadata + "/")
			web.ask("http://" + metadata + ":8080/")
		}
	})
	hits := n.hits(func() {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
			n.end(signal)
			n.start("--operation-mode", "managed")
		}
		n.end(syscall.SIGTERM)
		everything()
		stop()
		asking.Wait()
	})
	if hits != 0 {
		t.Errorf("while the agent is killed, stopped and started, the cloud is asked %d times", hits)
	}
	self := &pod{node: n, ns: n.ns}
	if a := self.ask("http://" + metadata + ":8080/"); a.body != "the cloud" {
		t.Errorf("the node itself does not reach what is on it: %s", a)
	}
	n.start("--operation-mode", "managed")
	web.token().gets(t, blue.ID.String())
}

// PI-12: an agent that cannot do its work refuses, and lets nothing by.
func neverOpen(t *testing.T, s stage) {
	n := s.node()
	web := n.pod("web", bound("blue"))
	nothing := func(when string) {
		t.Helper()
		if hits := n.hits(func() {
			if a := web.token(); a.status != 0 {
				t.Errorf("%s: %s", when, a)
			}
		}); hits != 0 {
			t.Errorf("%s the cloud is asked", when)
		}
	}
	// Its port for health checks is somebody else's, on a node that has had no rules.
	other := listen(t, n.ns, "127.0.0.1:8085")
	n.launch("--operation-mode", "managed", "--at-stop", "remove")
	<-n.ended
	if text := n.log(); n.agent.ProcessState.Success() || !strings.Contains(text, "listen for health checks") {
		t.Errorf("it does not say what is wrong: %s", text)
	}
	nothing("when the agent cannot start")
	other.Close()

	// It loses the socket at which pods ask. The kernel takes away those of plain TCP alone.
	n.env = append(os.Environ(), "GODEBUG=multipathtcp=0")
	n.start("--operation-mode", "managed", "--at-stop", "remove")
	in(t, n.ns, "ss", "-K", "-ltn", "src", "169.254.25.79", "sport", "=", ":2579")
	<-n.ended
	if n.agent.ProcessState.Success() {
		t.Errorf("the end of an agent that nobody can ask is no failure: %s", n.log())
	}
	nothing("when the agent has failed")
	n.env = nil

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
	for _, at := range []string{metadata, metadata + ":8080", wireServer, wireServer + ":32526"} {
		if a := self.ask("http://" + at + "/"); a.body != "the cloud" {
			t.Errorf("the node's own requests to %s are led elsewhere: %s", at, a)
		}
	}
	// At the agent's own address nobody is answered who was not led there.
	if a := self.ask(strings.Replace(tokenURL(), metadata, "169.254.25.79:2579", 1), "Metadata", "true"); a.status != 0 {
		t.Errorf("the node is answered: %s", a)
	}
	n.end(syscall.SIGTERM)
	n.start("--operation-mode", "managed", "--block-node")
	if hits := n.hits(func() {
		for _, at := range []string{metadata, metadata + ":8080", wireServer, wireServer + ":32526"} {
			if a := self.ask("http://" + at + "/"); a.status != 0 {
				t.Errorf("the node reaches %s although it is blocked: %s", at, a)
			}
		}
	}); hits != 0 {
		t.Errorf("the cloud is asked %d times", hits)
	}
	// What is not a metadata service is not looked at.
	if a := self.ask("http://" + wireServer + ":8080/"); a.body != "the cloud" {
		t.Errorf("the node does not reach what is not blocked: %s", a)
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

// dropped is how many packets came in that were in somebody else's name.
func (n *node) dropped() int {
	n.T.Helper()
	_, rest, _ := strings.Cut(in(n.T, n.ns, "nft", "list", "chain", "inet", steer.Table, "guard"), "missing counter packets ")
	number, _, _ := strings.Cut(rest, " ")
	packets, err := strconv.Atoi(number)
	if err != nil {
		n.T.Fatal(err)
	}
	return packets
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
	if n.dropped() == 0 {
		t.Error("nothing is dropped")
	}
	// Nor in the node's own name, in the agent's, or in that of nobody.
	for _, name := range []string{"192.0.2.1", "169.254.25.79", "198.51.100.7"} {
		ip(t, "-n "+thief.ns+" address add "+name+"/32 dev lo")
		before := n.dropped()
		if _, err := dialer(thief.ns, name)(t.Context(), "tcp", metadata+":80"); err == nil {
			t.Errorf("a connection in the name of %s", name)
		}
		if n.dropped() == before {
			t.Errorf("in the name of %s nothing is dropped", name)
		}
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
	for _, address := range []string{"[fd00::1]:2579", "[::ffff:169.254.25.79]:2579",
		// The metadata address behind a translator, as one that is compatible, of 6to4, and on the link.
		"[64:ff9b::169.254.169.254]", "[64:ff9b::168.63.129.16]", "[::169.254.169.254]", "[2002:a9fe:a9fe::1]", "[fe80::a9fe:a9fe%25eth0]"} {
		if a := web.ask("http://"+address+"/", "Metadata", "true"); a.status != 0 {
			t.Errorf("%s: %s", address, a)
		}
	}
	web.token().gets(t, blue.ID.String())
	// A pod with both is known by its IPv4 address, whichever is the first, and an
	// address in the other's form is none.
	for law, ips := range map[string][]string{"IPv6 first": {"fd00::2", web.address}, "IPv4 first": {web.address, "fd00::2"}} {
		n.hasIPs(web.pod, ips...)
		if a := web.token(); a.of() != blue.ID.String() {
			t.Errorf("%s: %s", law, a)
		}
	}
	n.hasIPs(web.pod, "fd00::2")
	web.token().refused(t, 404, "no running pod")
	n.hasIPs(web.pod, "fd00::2", "10.250.9.9")
	web.token().refused(t, 404, "no running pod")
	n.hasIPs(web.pod, web.address)
	n.end(syscall.SIGTERM)
	in(t, n.ns, os.Getenv("GATEHOUSE_NODE"), "nmi", "remove")
	for _, prefix := range []string{"64:ff9b::a9fe:a9fe", "64:ff9b::a83f:8110"} { // a translator
		ip(t, "-n "+n.cloud.ns+" address add "+prefix+"/128 dev lo", "-n "+n.ns+" route add "+prefix+"/128 via fd01::2")
		if a := web.ask("http://[" + prefix + "]/"); a.body != "the cloud" {
			t.Errorf("without the rules nothing else happens at %s: the test shows nothing: %s", prefix, a)
		}
	}
	if a := ask(); a.body != "the cloud" {
		t.Errorf("without the rules nothing else happens: the test shows nothing: %s", a)
	}
}
