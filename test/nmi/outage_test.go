package nmi_test

import (
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// What running pods get while something is down. There are no tokens, they are told
// to come again, and nothing is given out afterwards by what was true before.
func outages(t *testing.T, s stage) {
	n := s.node().start("--operation-mode", "managed")
	web := n.pod("web", bound("blue"))
	web.token().gets(t, blue.ID.String())
	later := func(a answer, why string) {
		t.Helper()
		a.refused(t, http.StatusServiceUnavailable, why)
		if a.header.Get("Retry-After") != "20" {
			t.Errorf("%s: it is not said when to come again: %v", why, a.header)
		}
	}

	n.house.cut()
	later(web.token(), "the house does not answer")
	n.house.mend(t)
	web.token().gets(t, blue.ID.String())

	// A house that is slow, while what the pod may have is taken away. PI-07.
	s.create(binding("shop", "slow", "blue"))
	slow := n.pod("slow", bound("slow"))
	slow.token().gets(t, blue.ID.String())
	n.house.cut()
	mute := listen(t, n.ns, n.house.address)
	mute.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
	got := make(chan answer, 1)
	go func() { got <- slow.token() }()
	asked, err := mute.Accept()
	if err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	if err := s.core.RESTClient().Delete().AbsPath("/apis", podid.Group, podid.Version, "namespaces", "shop", podid.Bindings, "slow").Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	n.Until("what the agent saw is too old", func() bool { return time.Since(since) > 2*time.Second })
	mute.Close()
	n.house.mend(t)
	go n.house.pass(asked)
	(<-got).refused(t, http.StatusNotFound, "no azure identity found")

	// The API server, while the pod goes and another one takes its place.
	n.api.cut()
	later(web.token(), "the API server cannot be asked who the sender is")
	n.gone(web.pod)
	address := web.address
	web.unplug()
	next := n.cable(address).runs(n.scheduled("next", bound("green")))
	n.says(next.pod, "Running", address)
	later(next.token(), "the API server cannot be asked")
	n.api.mend(t)
	next.token().gets(t, green.ID.String())

	// An API server that takes connections and says nothing.
	n.api.cut()
	mute = listen(t, n.ns, n.api.address)
	go func() {
		var held []net.Conn
		for {
			c, err := mute.Accept()
			if err != nil {
				for _, c := range held {
					c.Close()
				}
				return
			}
			held = append(held, c)
		}
	}()
	start := time.Now()
	later(next.token(), "the API server cannot be asked")
	if took := time.Since(start); took > 25*time.Second {
		t.Errorf("a pod waits %s for an API server that is silent", took)
	}
	mute.Close()
	n.api.mend(t)
	next.token().gets(t, green.ID.String())

	// The agent.
	n.end(syscall.SIGKILL)
	if a := next.token(); a.status != 0 {
		t.Errorf("without an agent: %s", a)
	}
	n.start("--operation-mode", "managed")
	next.token().gets(t, green.ID.String())

	// The agent's own token: none, and one that is not for the house.
	n.write("token", n.accountToken(n.own, wire.ServiceAccount, "https://elsewhere.example"))
	later(next.token(), "the house does not know this agent")
	n.write("token", "")
	later(next.token(), "the agent has no token of its own")
	n.renew()
	next.token().gets(t, green.ID.String())
}

// What is taken away is gone at the next request: no token is kept.
func atOnce(t *testing.T, s stage) {
	grey := identity(5, "grey")
	role := operates(5, grey)
	s.Put(grey, role)
	s.create(azureIdentity("shop", "grey", grey) + binding("shop", "grey", "grey"))
	n := s.node().start("--operation-mode", "managed")
	web := n.pod("web", bound("grey"))
	web.token().gets(t, grey.ID.String())
	off := grey
	off.Disabled = true
	s.Put(off)
	web.token().refused(t, http.StatusForbidden, "Identity not found")
	s.Put(grey)
	web.token().gets(t, grey.ID.String())
	if _, err := s.House.Store().Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Delete: role.Key()}}}); err != nil {
		t.Fatal(err)
	}
	web.token().refused(t, http.StatusForbidden, "Give it the role Managed Identity Operator there")
	s.Put(role)
	web.token().gets(t, grey.ID.String())
	s.Must("", "-n", "shop", "delete", "azureidentitybinding", "grey")
	web.token().refused(t, http.StatusNotFound, "no azure identity found")
}

// A stolen token of an agent gets tokens for pods of that agent's node alone, and a
// token of another service account none.
func stolen(t *testing.T, s stage) {
	n, other := s.node().start("--operation-mode", "managed"), s.node().start("--operation-mode", "managed")
	web := n.pod("web", bound("blue"))
	web.token().gets(t, blue.ID.String())
	n.write("token", n.accountToken(other.own, wire.ServiceAccount, wire.Audience(s.House.Authority())))
	web.token().refused(t, http.StatusForbidden, "knows no running pod shop/web-"+n.name+" with this uid on node "+other.name)
	n.write("token", n.accountToken(web.pod, "default", wire.Audience(s.House.Authority())))
	web.token().refused(t, http.StatusServiceUnavailable, "the house does not know this agent")
	n.renew()
	web.token().gets(t, blue.ID.String())
}
