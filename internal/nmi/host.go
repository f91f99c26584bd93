//go:build linux

package nmi

import (
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
)

// HostPath is where root of the node gets tokens of a pod that it names, with the
// headers podns and podname: upstream's path, at a Unix socket instead of a port
// of loopback, which every process of the node and every pod on its network has.
const HostPath = "/host/token"

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
		ref, err := a.named(w, r)
		status := http.StatusOK
		if err != nil {
			status = refuse(w, err)
		}
		a.log(r, start, status, ref, err)
	})
}

func (a *agent) named(w http.ResponseWriter, r *http.Request) (podid.Ref, error) {
	c, _ := r.Context().Value(connKey{}).(*net.UnixConn)
	if !isRoot(c) {
		return podid.Ref{}, forbid("only root of the node may ask here")
	}
	ns, name := r.Header.Values("podns"), r.Header.Values("podname")
	switch {
	case r.Method != http.MethodGet:
		return podid.Ref{}, &refusal{status: http.StatusMethodNotAllowed, text: "the method must be GET"}
	case r.URL.EscapedPath() != HostPath:
		return podid.Ref{}, &refusal{status: http.StatusNotFound, text: "there is nothing here but " + HostPath}
	case len(ns) != 1 || len(name) != 1 || ns[0] == "" || name[0] == "":
		return podid.Ref{}, &refusal{status: http.StatusBadRequest, text: "missing 'podname' and 'podns' from request header"}
	}
	ref := podid.Ref{Namespace: ns[0], Name: name[0]}
	want, err := imds.ReadQuery(r.URL.RawQuery)
	if err != nil {
		return ref, err
	}
	v, err := a.views.fresh(r.Context())
	if err != nil {
		return ref, later("the API server cannot be asked about the pod", err)
	}
	p, ok := v.find(ref, "")
	if !ok {
		return ref, &refusal{status: http.StatusNotFound, text: fmt.Sprintf("no running pod %s is on node %s", ref, a.conf.Node)}
	}
	ask, err := a.ask(r.Context(), p, v, want)
	if err != nil {
		return ref, err
	}
	t, err := a.house.token(r.Context(), ask)
	if err != nil {
		return ref, err
	}
	g := grant{Answer: t}
	body, err := json.Marshal(hostAnswer{Token: imds.Body(g.identity(), want.Resource, g.token(), a.now()), ClientID: t.Client.String()})
	if err != nil {
		return ref, err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(body)
	return ref, nil
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
