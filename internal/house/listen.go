package house

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/proxy"
)

// drain is how long running requests may take to finish when the house stops.
const drain = 5 * time.Second

// bind takes the addresses. Connections wait until the doors answer. Port 0 is a
// free port, which then belongs to the authority as well.
func (h *House) bind(ctx context.Context) error {
	for _, l := range []struct {
		flag string
		addr *string
		to   *net.Listener
	}{{"--listen", &h.conf.Listen, &h.public}, {"--webhook-listen", &h.conf.WebhookListen, &h.webhooks}} {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *l.addr)
		if err != nil {
			return cannotListen(l.flag, *l.addr, err)
		}
		h.closers = append(h.closers, func() { ln.Close() })
		*l.to = ln
		if _, port, err := net.SplitHostPort(*l.addr); err == nil && port == "0" {
			*l.addr = ln.Addr().String()
		}
	}
	if h.conf.ProxyListen != "" {
		ln, err := proxy.Listen(ctx, h.conf.ProxyListen)
		if err != nil {
			return cannotListen("--proxy-listen", h.conf.ProxyListen, err)
		}
		h.closers = append(h.closers, func() { ln.Close() })
		h.proxy, h.conf.ProxyListen = ln, ln.Addr().String()
	}
	if h.conf.Authority == "" {
		h.conf.Authority = "https://" + reachable(h.conf.Listen)
	}
	return nil
}

func cannotListen(flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another program, perhaps another gatehouse: choose another address with %s", addr, flag)
	}
	return fmt.Errorf("%s: %w", flag, err)
}

// reachable is the address under which this machine reaches a listener that may
// be on all of its addresses.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// answer serves a door on a listener, to all or to holders of a certificate.
func (h *House) answer(ctx context.Context, ln net.Listener, handler http.Handler, cert *serving, clients *pki.CA) error {
	conf, err := cert.config(clients)
	if err != nil {
		return err
	}
	srv := serve.NewServer(handler, conf, h.conf.Log)
	h.wg.Go(func() {
		if err := serve.Run(ctx, srv, ln, drain); err != nil {
			h.failed <- err
		}
	})
	return nil
}
