package nmi_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// crowd makes many pods behind one cable, each with an address, a control group and
// a process of its own, and returns a client for each.
func (n *node) crowd(size int) []*http.Client {
	n.T.Helper()
	p := n.cable("10.240.0.1")
	ip(n.T, "-n "+n.ns+" route add 10.240.0.0/21 dev "+p.veth)
	clients := make([]*http.Client, size)
	const workers = 8
	together(workers, func(w int) {
		for i := w; i < size; i += workers {
			address := fmt.Sprintf("10.240.%d.%d", 1+i/250, 1+i%250)
			ip(n.T, "-n "+p.ns+" address add "+address+"/32 dev eth0")
			is := n.scheduled(fmt.Sprintf("c%d", i), bound([]string{"blue", "green"}[i%2]))
			n.says(is, corev1.PodRunning, address)
			dir := group(n.T, n.ns, string(is.UID))
			cmd := process(n.T, p.ns, dir)
			n.T.Cleanup(func() {
				cmd.Process.Kill()
				cmd.Wait()
				os.Remove(dir)
			})
			clients[i] = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: dialer(p.ns, address), DisableKeepAlives: true}}
		}
	})
	return clients
}

// all asks once for each pod at once, and returns how long each took.
func (n *node) all(clients []*http.Client) []time.Duration {
	n.T.Helper()
	took := make([]time.Duration, len(clients))
	want := []string{blue.ID.String(), green.ID.String()}
	together(len(clients), func(i int) {
		req, err := http.NewRequestWithContext(n.T.Context(), http.MethodGet, tokenURL(), nil)
		if err != nil {
			n.T.Error(err)
			return
		}
		req.Header.Set("Metadata", "true")
		start := time.Now()
		a := do(clients[i], req)
		took[i] = time.Since(start)
		if a.of() != want[i%2] {
			n.T.Errorf("pod %d: %s, of %q", i, a, a.of())
		}
	})
	slices.Sort(took)
	return took
}

// A thousand pods of one node that ask at once are all answered, each with its own.
func thousand(t *testing.T, s stage) {
	size := 1000
	if testing.Short() {
		size = 100
	}
	n := s.node().start("--operation-mode", "managed")
	took := n.all(n.crowd(size))
	t.Logf("%d pods at once: p50 %s, p99 %s, the last %s", size, took[size/2], took[size*99/100], took[size-1])
}

// BenchmarkNMI1000Pods is 1,000 pods of one node that ask at once.
func BenchmarkNMI1000Pods(b *testing.B) {
	s := newStage(b)
	n := s.node().start("--operation-mode", "managed")
	clients := n.crowd(1000)
	var p50, p99 time.Duration
	for b.Loop() {
		took := n.all(clients)
		p50, p99 = p50+took[500], p99+took[990]
	}
	b.ReportMetric(float64(p50.Milliseconds())/float64(b.N), "p50-ms")
	b.ReportMetric(float64(p99.Milliseconds())/float64(b.N), "p99-ms")
}
