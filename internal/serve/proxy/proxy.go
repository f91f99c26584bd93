// Package proxy is the door through which unmodified clients reach the house
// under the names of the public cloud: an HTTP proxy on loopback.
//
// A CONNECT to a name that the house answers for ends here: the proxy shows a
// certificate of the house's own authority for that very name and serves what
// comes. A CONNECT to the name of a cluster is passed on, unread, to that
// cluster's API server. Everything else is refused, and nothing is ever sent to
// an address that is not loopback.
//
// The name in the CONNECT decides who answers. TLS must name the same server, and
// every request in it the same host; what else a header says about hosts is not
// looked at.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Metadata is the address at which virtual machines find their metadata service;
// the proxy takes plain requests for it and for nothing else.
const Metadata = "169.254.169.254"

// Limits. Clients are on the same machine, so that they are few and fast.
const (
	maxConns       = 1000
	handshakeLimit = 10 * time.Second
	dialLimit      = 5 * time.Second
	// tunnelIdle ends a tunnel in which nobody says anything: longer than any watch
	// of Kubernetes is quiet, and as long as a terminal in a pod may be.
	tunnelIdle = 4 * time.Hour
)

// Config is what the door needs. A nil function answers for nobody.
type Config struct {
	// Answer returns who answers for a name, which is in lower case.
	Answer func(name string) (http.Handler, bool)
	// Certificate returns a certificate for a name that Answer knows.
	Certificate func(name string) (*tls.Certificate, error)
	// Cluster returns where the API server with a name listens. It must be a
	// loopback address.
	Cluster func(name string) (netip.AddrPort, bool)
	// Metadata answers plain requests for the metadata service; nil refuses them.
	Metadata http.Handler
	Log      *slog.Logger // nil means no log
}

// A Door is the proxy. It is safe for concurrent use.
type Door struct {
	conf  Config
	inner *http.Server // of the connections whose TLS ends here
	conns *handed      // from a CONNECT to inner
	work  *tunnels     // that are passed on
	dial  func(context.Context, netip.AddrPort) (net.Conn, error)
	idle  time.Duration
}

// New returns a door, which answers when it is run.
func New(conf Config) *Door {
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.Answer == nil {
		conf.Answer = func(string) (http.Handler, bool) { return nil, false }
	}
	if conf.Cluster == nil {
		conf.Cluster = func(string) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
	}
	d := &Door{conf: conf, conns: newHanded(), work: newTunnels(), dial: dialLoopback, idle: tunnelIdle}
	d.inner = serve.NewServer(http.HandlerFunc(d.answer), nil, conf.Log)
	d.inner.ConnContext = withName
	return d
}

// Listen listens for the proxy, and refuses an address that is not loopback: who
// may use it is asked for no password.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s is not an address of loopback: the proxy is for this machine alone, give it an address such as 127.0.0.1:8445", addr)
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
}

// Run serves a listener until ctx is done, then lets running requests finish for
// at most grace. Tunnels are cut.
func (d *Door) Run(ctx context.Context, ln net.Listener, grace time.Duration) error {
	outer := serve.NewServer(http.HandlerFunc(d.serve), nil, d.conf.Log)
	outer.Protocols = new(http.Protocols)
	outer.Protocols.SetHTTP1(true)
	failed := make(chan error, 2)
	go func() { failed <- outer.Serve(limit(ln, maxConns)) }()
	go func() { failed <- d.inner.Serve(d.conns) }()
	select {
	case err := <-failed:
		outer.Close()
		d.inner.Close()
		d.work.close()
		return fmt.Errorf("proxy on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	d.work.close()
	err := errors.Join(outer.Shutdown(stop), d.inner.Shutdown(stop))
	outer.Close()
	d.inner.Close()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop the proxy on %s: %w", ln.Addr(), err)
	}
	return nil
}

// serve answers what a client says to its proxy.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		d.connect(w, r)
	case d.conf.Metadata != nil && r.URL.Scheme == "http" && r.URL.User == nil && (r.URL.Host == Metadata || r.URL.Host == Metadata+":80"):
		d.conf.Metadata.ServeHTTP(w, originForm(r))
	case r.URL.IsAbs():
		d.refuse(w, http.StatusForbidden, "plain HTTP to "+serve.Printable(r.URL.Host, 300), "is not passed on")
	default:
		d.refuse(w, http.StatusForbidden, "a request without a host", "is not for a proxy")
	}
}

// originForm is a request as its server would get it.
func originForm(r *http.Request) *http.Request {
	again := r.Clone(r.Context())
	again.URL.Scheme, again.URL.Host = "", ""
	return again
}

// refuse says no in a line that clients print.
func (d *Door) refuse(w http.ResponseWriter, status int, what, why string) {
	d.conf.Log.Info("proxy: refused", "what", what, "why", why)
	w.Header().Set("Connection", "close")
	http.Error(w, "This is the proxy of Gatehouse: "+what+" "+why+".", status)
}

// dialLoopback is the only way out of the proxy, and it leads nowhere else.
func dialLoopback(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if !to.Addr().Unmap().IsLoopback() || to.Port() == 0 {
		return nil, fmt.Errorf("%s is not loopback", to)
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", to.String())
}
