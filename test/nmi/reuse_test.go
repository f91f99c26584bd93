package nmi_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// rounds is how often an address goes from pod to pod: GATEHOUSE_ROUNDS, or as often as
// a run of all tests has time for.
func rounds(t *testing.T) int {
	t.Helper()
	n, err := 60, error(nil)
	if testing.Short() {
		n = 10
	}
	if text := os.Getenv("GATEHOUSE_ROUNDS"); text != "" {
		n, err = strconv.Atoi(text)
	}
	if err != nil || n < 1 {
		t.Fatalf("GATEHOUSE_ROUNDS is %d, %v", n, err)
	}
	return n
}

// PI-07, PI-13: one address goes from pod to pod, of two identities. Meanwhile the
// API server knows too much or too little: the one before is still there as running,
// as ending or as ended, the one now is there without its address, or not at all;
// and the agent is killed and started. No pod ever gets what is another's, and each
// gets its own once the API server knows.
func addressReuse(t *testing.T, s stage) {
	rounds := rounds(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	n := s.node().start("--operation-mode", "managed")
	const address = "10.249.0.1"
	var before *pod
	asked, early := 0, 0
	for i := range rounds {
		mi := []directory.ManagedIdentity{blue, green}[r.IntN(2)]
		never := func(p *pod, when string) {
			t.Helper()
			a := p.token()
			asked++
			if of := a.of(); of != "" && of != mi.ID.String() {
				t.Fatalf("seed %d, round %d, %s: a pod of %s gets a token of %s", seed, i, when, mi.ID, of)
			} else if of == "" {
				early++
			}
		}
		// The old pod goes from the wire first, as a kubelet takes it down.
		if before != nil {
			before.unplug()
			switch r.IntN(4) {
			case 0: // the API server does not know yet
			case 1:
				if err := n.core.Pods("shop").Delete(t.Context(), before.pod.Name, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err) // there is a grace of 30 s, and nobody who ends it
				}
			case 2:
				n.says(before.pod, corev1.PodFailed, address)
			case 3:
				n.gone(before.pod)
				before = nil
			}
		}
		now := n.cable(address).runs(n.scheduled(fmt.Sprintf("p%d", i), bound(mi.DisplayName)))
		never(now, "before the API server knows its address")
		switch r.IntN(6) {
		case 0:
			n.end(syscall.SIGKILL)
			n.start("--operation-mode", "managed")
			never(now, "after a crash of the agent")
		case 1:
			n.end(syscall.SIGTERM)
			n.start("--operation-mode", "managed")
			never(now, "after a restart of the agent")
		}
		n.says(now.pod, corev1.PodRunning, address)
		never(now, "when two may have it in the API server")
		if before != nil {
			n.gone(before.pod)
		}
		now.token().gets(t, mi.ID.String())
		before = now
	}
	if early == 0 {
		t.Error("nobody was ever too early: the test shows nothing")
	}
	t.Logf("%d requests, %d of them refused because nothing was known for sure", asked, early)
}

// PI-07, PI-08: what the API server says that is no pod of an address.
func notThatPod(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	for _, phase := range []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown} {
		p := n.pod("ended-"+map[corev1.PodPhase]string{corev1.PodSucceeded: "s", corev1.PodFailed: "f", corev1.PodUnknown: "u"}[phase], bound("blue"))
		p.token().gets(t, blue.ID.String())
		n.says(p.pod, phase, p.address)
		p.token().refused(t, http.StatusNotFound, "no running pod")
	}
	starting := n.pod("starting", bound("blue"))
	n.says(starting.pod, corev1.PodPending, starting.address)
	starting.token().gets(t, blue.ID.String())

	// Two pods of one address, one of which is the right one.
	p := n.pod("first", bound("blue"))
	n.says(n.scheduled("second", bound("green")), corev1.PodRunning, p.address)
	p.token().refused(t, http.StatusForbidden, "2 pods of node "+n.name)

	// A pod of another node with this address is no pod of this one.
	far := s.node()
	q := n.cable("10.248.0.1")
	is := far.scheduled("far", bound("blue"))
	far.says(is, corev1.PodRunning, q.address)
	q.runs(is).token().refused(t, http.StatusNotFound, "no running pod of node "+n.name)

	// An address of a pod whose processes are somewhere else.
	a, b := n.pod("a", bound("blue")), n.cable(n.free())
	ip(t, "-n "+a.node.ns+" route replace "+a.address+"/32 dev "+b.veth)
	ip(t, "-n "+b.ns+" address add "+a.address+"/32 dev eth0", "-n "+b.ns+" route replace default via 169.254.1.1 src "+a.address)
	b.token().refused(t, http.StatusForbidden, "no process of it runs there")
}
