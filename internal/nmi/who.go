//go:build linux

package nmi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/nmi/wiring"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
)

// A refusal is an answer without a token, in plain text as upstream writes them.
type refusal struct {
	status int
	text   string
	after  time.Duration // when to come again; 0 says nothing
	err    error         // the cause, for the log
}

func (r *refusal) Error() string {
	if r.err != nil {
		return r.text + ": " + r.err.Error()
	}
	return r.text
}

func (r *refusal) Unwrap() error { return r.err }

// comeAgain is what pods are told to wait when somebody else does not answer.
const comeAgain = 20 * time.Second

// later refuses because somebody does not answer whom the agent has to ask.
func later(text string, err error) error {
	return &refusal{status: http.StatusServiceUnavailable, text: text, after: comeAgain, err: err}
}

func forbid(format string, args ...any) error {
	return &refusal{status: http.StatusForbidden, text: fmt.Sprintf(format, args...)}
}

// The kubelet tells the API server of a pod's address after it has begun to run the
// pod, so a pod may ask before that is known.
const (
	lookups     = 4
	lookupPause = 300 * time.Millisecond
)

// A seat is where the sender of a request is: his pod, and the cable to it.
type seat struct {
	pod  pod
	addr netip.Addr
	port wiring.Port
}

// who returns the pod that is at an address, and the view that says so. It is asked
// while the connection is open.
func (a *agent) who(ctx context.Context, addr netip.Addr) (seat, *view, error) {
	for try := 1; ; try++ {
		s, v, err := a.look(ctx, addr)
		if !errors.Is(err, errNobody) || try == lookups {
			return s, v, err
		}
		if err := pause(ctx, lookupPause); err != nil {
			return seat{}, nil, later("the request ended", err)
		}
	}
}

// errNobody means that no pod is known at an address, which may change soon.
var errNobody = errors.New("nobody is at the address")

// look asks once: the kernel, then the API server, then the kernel again. Between
// the two the cable must be the same: interfaces never get the number of another,
// so what was found out in between is about the namespace at its end.
func (a *agent) look(ctx context.Context, addr netip.Addr) (seat, *view, error) {
	port, err := wiring.PortOf(addr)
	if err != nil {
		return seat{}, nil, &refusal{status: http.StatusForbidden, text: "the sender is not known: " + err.Error(), err: err}
	}
	v, err := a.views.fresh(ctx)
	if err != nil {
		return seat{}, nil, later("the API server cannot be asked who the sender is", err)
	}
	s := seat{addr: addr, port: port}
	if s.pod, err = a.at(v, addr, port); err != nil {
		return seat{}, nil, err
	}
	if err := s.still(); err != nil {
		return seat{}, nil, err
	}
	return s, v, nil
}

// at returns the pod that a view has at an address, behind a cable.
func (a *agent) at(v *view, addr netip.Addr, port wiring.Port) (pod, error) {
	found := v.at(addr)
	switch len(found) {
	case 0:
		return pod{}, &refusal{status: http.StatusNotFound, text: fmt.Sprintf("no running pod of node %s has the address %s", a.conf.Node, addr), err: errNobody}
	case 1:
	default:
		return pod{}, forbid("%d pods of node %s have the address %s: none of them can be told from the others", len(found), a.conf.Node, addr)
	}
	if !v.processes.Run(found[0].UID, port) {
		// Another pod has the address by now, or this one's processes have just begun.
		return pod{}, &refusal{status: http.StatusForbidden, err: errNobody,
			text: fmt.Sprintf("the API server has pod %s at the address %s, and no process of it runs there", found[0].Ref(), addr)}
	}
	return found[0], nil
}

// same refuses when, meanwhile, another pod is in the seat, or the one in it would
// ask for something else.
func (a *agent) same(ctx context.Context, s seat, v *view, asked wire.Ask, want imds.Ask) error {
	p, err := a.at(v, s.addr, s.port)
	if err != nil {
		return err
	}
	if p.UID != s.pod.UID {
		return forbid("the sender is gone")
	}
	now, err := a.ask(ctx, p, v, want)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(now, asked) {
		return &refusal{status: http.StatusServiceUnavailable, text: "what the pod may have has changed meanwhile", after: time.Second}
	}
	return nil
}

// still refuses when the cable is no longer that one.
func (s seat) still() error {
	now, err := wiring.PortOf(s.addr)
	if err == nil && now == s.port {
		return nil
	}
	return &refusal{status: http.StatusForbidden, text: "the sender is gone", err: err}
}

// pause waits, or returns why not.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
