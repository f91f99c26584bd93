//go:build linux

package nmi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
)

// HostPath is where root of the node gets tokens of a pod that it names, with the
// headers podns and podname: upstream's path, at a Unix socket instead of a port
// of loopback, which every process of the node and every pod on its network has.
const HostPath = "/host/token"

// RegistryPath is where root of the node gets a token of the kubelet identity for
// container registries, at the same socket.
const RegistryPath = "/host/registry/token"

// listenHost listens at a socket that root alone can open.
func listenHost(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen for the node: %w", err)
	}
	old := unix.Umask(0o177)
	l, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen for the node: %w", err)
	}
	return l, nil
}

// host answers the node itself.
func (a *agent) host() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := a.now()
		var body []byte
		ref, ask, err := a.root(r)
		if err == nil {
			body, err = a.answer(r.Context(), ask)
		}
		if err != nil {
			a.log(r, start, refuse(w, err), ref, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(body)
		a.log(r, start, http.StatusOK, ref, nil)
	})
}

// root reads what root of the node asks for: a token of a pod, or for the kubelet.
func (a *agent) root(r *http.Request) (podid.Ref, wire.Ask, error) {
	c, _ := r.Context().Value(connKey{}).(*net.UnixConn)
	switch {
	case !isRoot(c):
		return podid.Ref{}, wire.Ask{}, forbid("only root of the node may ask here")
	case r.Method != http.MethodGet:
		return podid.Ref{}, wire.Ask{}, &refusal{status: http.StatusMethodNotAllowed, text: "the method must be GET"}
	case r.URL.EscapedPath() == HostPath:
		return a.named(r)
	case r.URL.EscapedPath() != RegistryPath:
		return podid.Ref{}, wire.Ask{}, &refusal{status: http.StatusNotFound, text: "there is nothing here but " + HostPath + " and " + RegistryPath}
	case r.URL.RawQuery != "":
		return podid.Ref{}, wire.Ask{}, &refusal{status: http.StatusBadRequest, text: "this takes no parameters"}
	}
	return podid.Ref{}, wire.Ask{Machine: true, Resource: wire.Registries}, nil
}

// named reads what is asked for a pod that is named.
func (a *agent) named(r *http.Request) (podid.Ref, wire.Ask, error) {
	ns, name := r.Header.Values("podns"), r.Header.Values("podname")
	if len(ns) != 1 || len(name) != 1 || ns[0] == "" || name[0] == "" {
		return podid.Ref{}, wire.Ask{}, &refusal{status: http.StatusBadRequest, text: "missing 'podname' and 'podns' from request header"}
	}
	ref := podid.Ref{Namespace: ns[0], Name: name[0]}
	want, err := imds.ReadQuery(r.URL.RawQuery)
	if err != nil {
		return ref, wire.Ask{}, err
	}
	v, err := a.views.fresh(r.Context())
	if err != nil {
		return ref, wire.Ask{}, later("the API server cannot be asked about the pod", err)
	}
	p, ok := v.find(ref, "")
	if !ok {
		return ref, wire.Ask{}, &refusal{status: http.StatusNotFound, text: fmt.Sprintf("no running pod %s is on node %s", ref, a.conf.Node)}
	}
	ask, err := a.ask(r.Context(), p, v, want)
	return ref, ask, err
}

// answer asks the house.
func (a *agent) answer(ctx context.Context, ask wire.Ask) ([]byte, error) {
	t, err := a.house.token(ctx, ask)
	if err != nil {
		return nil, err
	}
	g := grant{Answer: t}
	return json.Marshal(hostAnswer{Token: imds.Body(g.identity(), ask.Resource, g.token(), a.now()), ClientID: t.Client.String()})
}

type hostAnswer struct {
	Token    any    `json:"token"`
	ClientID string `json:"clientid"`
}

// isRoot reports whether root is at the other end of a socket.
func isRoot(c *net.UnixConn) bool {
	if c == nil {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	root := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		root = err == nil && cred.Uid == 0
	})
	return err == nil && root
}
