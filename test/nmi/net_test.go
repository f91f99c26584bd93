package nmi_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ip runs commands of ip(8), one a line.
func ip(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
}

// in runs a program in a network namespace.
func in(t testing.TB, ns string, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v in %s: %v: %s", args, ns, err, out)
	}
	return string(out)
}

// inside calls f on a thread that is in a network namespace. Sockets that f opens
// stay there.
func inside(ns string, f func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(home)
	there, err := unix.Open("/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(there)
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		return err
	}
	failed := f()
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		return err // the thread ends with this goroutine
	}
	runtime.UnlockOSThread()
	return failed
}

// listen listens in a network namespace.
func listen(t testing.TB, ns, address string) net.Listener {
	t.Helper()
	var l net.Listener
	err := inside(ns, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// dialer dials from a network namespace, from an address of it if one is named.
func dialer(ns, from string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		d := net.Dialer{Timeout: 3 * time.Second}
		if from != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		failed := inside(ns, func() error {
			c, err = d.DialContext(ctx, network, address)
			return nil
		})
		if failed != nil {
			return nil, failed
		}
		return c, err
	}
}

// A relay leads an address of the machine into a namespace, under the same address,
// so that certificates fit. It can be cut.
type relay struct {
	ns, address string
	mu          sync.Mutex
	listener    net.Listener
	conns       map[net.Conn]bool
}

func newRelay(t testing.TB, ns, address string) *relay {
	t.Helper()
	r := &relay{ns: ns, address: address, conns: make(map[net.Conn]bool)}
	r.mend(t)
	t.Cleanup(r.cut)
	return r
}

// mend lets it pass connections.
func (r *relay) mend(t testing.TB) {
	t.Helper()
	l := listen(t, r.ns, r.address)
	r.mu.Lock()
	r.listener = l
	r.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c)
		}
	}()
}

// cut ends all connections and takes no others.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		r.listener.Close()
	}
	for c := range r.conns {
		c.Close()
	}
}

func (r *relay) keep(c net.Conn, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.conns[c] = true
		return
	}
	delete(r.conns, c)
	c.Close()
}

func (r *relay) pass(c net.Conn) {
	r.keep(c, true)
	defer r.keep(c, false)
	far, err := net.Dial("tcp", r.address)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		io.Copy(far, c)
		far.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(c, far)
}

// A cloud is what is at the metadata address and at that of the wire server when no
// agent is: it counts what reaches it.
type cloud struct {
	ns   string
	srv  http.Server
	hits atomic.Int64
}

const (
	metadata   = "169.254.169.254"
	wireServer = "168.63.129.16"
)

// newCloud connects a cloud to the namespace of a node.
func newCloud(t testing.TB, node string) *cloud {
	t.Helper()
	c := &cloud{ns: node + "c"}
	namespace(t, c.ns)
	ip(t,
		"link add name cloud netns "+node+" type veth peer name node netns "+c.ns,
		"-n "+c.ns+" address add 192.0.2.2/30 dev node", "-n "+c.ns+" address add "+metadata+"/32 dev lo", "-n "+c.ns+" address add "+wireServer+"/32 dev lo",
		"-n "+c.ns+" link set lo up", "-n "+c.ns+" link set node up", "-n "+c.ns+" route add default via 192.0.2.1",
		"-n "+node+" address add 192.0.2.1/30 dev cloud", "-n "+node+" link set cloud up",
		"-n "+node+" route add "+metadata+"/32 via 192.0.2.2", "-n "+node+" route add "+wireServer+"/32 via 192.0.2.2")
	c.srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.hits.Add(1)
		fmt.Fprint(w, "the cloud")
	})
	for _, address := range []string{":80", ":32526", ":8080"} {
		c.serve(listen(t, c.ns, address))
	}
	t.Cleanup(func() { c.srv.Close() })
	return c
}

// serve answers at another place as well.
func (c *cloud) serve(l net.Listener) { go c.srv.Serve(l) }

// namespace makes a network namespace that lives as long as the test.
func namespace(t testing.TB, name string) {
	t.Helper()
	exec.Command("ip", "netns", "del", name).Run()
	ip(t, "netns add "+name)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
}

// groups is where control groups are made, in either version.
func groups() string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "/sys/fs/cgroup"
	}
	return "/sys/fs/cgroup/pids"
}

// group makes the control group of a pod, as a kubelet does.
func group(t testing.TB, node, uid string) string {
	t.Helper()
	parent := filepath.Join(groups(), "kubepods-"+node)
	dir := filepath.Join(parent, "pod"+uid)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// missing says what these tests need and do not find.
func missing() string {
	if os.Getuid() != 0 {
		return "network namespaces need root"
	}
	for _, program := range []string{"ip", "nft", "ss"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	if _, err := os.Stat(os.Getenv("GATEHOUSE_NODE")); err != nil {
		return "GATEHOUSE_NODE names no gatehouse-node binary; make test builds one and sets it"
	}
	dir := filepath.Join(groups(), "gatehouse-probe")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "control groups cannot be made: " + err.Error()
	}
	os.Remove(dir)
	return ""
}
