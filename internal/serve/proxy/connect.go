package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// parseTarget returns the name in the target of a CONNECT (RFC 9112, section
// 3.2.3), in lower case. It takes host names on port 443 in their one spelling:
// no user, no address, no dot at the end, nothing outside of ASCII.
func parseTarget(target string) (string, error) {
	name, port, ok := strings.Cut(target, ":")
	if !ok || port != "443" {
		return "", fmt.Errorf("is not a host name and the port 443")
	}
	if len(name) > 253 {
		return "", fmt.Errorf("is too long")
	}
	lower := []byte(name)
	letters := false
	label := 0
	for i, c := range lower {
		switch {
		case 'A' <= c && c <= 'Z':
			lower[i] = c + 'a' - 'A'
			letters = true
		case 'a' <= c && c <= 'z':
			letters = true
		case '0' <= c && c <= '9', c == '-' && label > 0:
		case c == '.' && label > 0 && lower[i-1] != '-':
			label, letters = 0, false
			continue
		default:
			return "", fmt.Errorf("is not a host name")
		}
		if label++; label > 63 {
			return "", fmt.Errorf("is not a host name")
		}
	}
	// The last label of a name has a letter; an address, in whatever way it is
	// written, has not.
	if label == 0 || !letters || lower[len(lower)-1] == '-' {
		return "", fmt.Errorf("is not a host name")
	}
	return string(lower), nil
}

// connect opens a connection to who answers for a name, if anybody does.
func (d *Door) connect(w http.ResponseWriter, r *http.Request) {
	// What stands before an @ may be a password.
	shown := serve.Printable(r.RequestURI[strings.LastIndexByte(r.RequestURI, '@')+1:], 300)
	name, err := parseTarget(r.RequestURI)
	switch {
	case err != nil:
		d.refuse(w, http.StatusForbidden, shown, err.Error())
		return
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0 || len(r.Header.Values("Upgrade")) > 0:
		// A body would be read by one of us as the beginning of the tunnel.
		d.refuse(w, http.StatusBadRequest, "CONNECT "+shown, "has no body and upgrades to nothing")
		return
	}
	if h, ok := d.conf.Answer(name); ok {
		if conn, err := d.hijack(w); err == nil {
			d.terminate(conn, name, h)
		}
		return
	}
	to, ok := d.conf.Cluster(name)
	if !ok {
		d.refuse(w, http.StatusForbidden, name, "is no host that this house answers for, and nothing else is reachable")
		return
	}
	d.pass(w, r, name, to)
}

// hijack takes a connection over after saying that it is open. What the client
// has sent already is not lost.
func (d *Door) hijack(w http.ResponseWriter) (net.Conn, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(handshakeLimit))
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection Established\r\n\r\n")); err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	if rw.Reader.Buffered() > 0 {
		return &early{Conn: conn, r: rw.Reader}, nil
	}
	return conn, nil
}

// early is a connection of which something was read before.
type early struct {
	net.Conn
	r *bufio.Reader
}

func (e *early) Read(p []byte) (int, error) { return e.r.Read(p) }

// terminate ends TLS here and hands the connection to the server inside.
func (d *Door) terminate(conn net.Conn, name string, h http.Handler) {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if !strings.EqualFold(hello.ServerName, name) {
				return nil, fmt.Errorf("TLS names %q in a connection to %s", serve.Printable(hello.ServerName, 300), name)
			}
			return d.conf.Certificate(name)
		},
		// A ticket of one name would be good for another, without its certificate.
		SessionTicketsDisabled: true,
	}
	if !d.conns.give(tls.Server(&named{Conn: conn, name: name, handler: h}, conf)) {
		conn.Close()
	}
}

// A named connection knows whom it is to. TLS goes over it.
type named struct {
	net.Conn
	name    string
	handler http.Handler
}

type nameKey struct{}

// withName lets a request know the connection that it came on.
func withName(ctx context.Context, c net.Conn) context.Context {
	if over, ok := c.(*tls.Conn); ok {
		return context.WithValue(ctx, nameKey{}, over.NetConn())
	}
	return ctx
}

// answer serves a request inside of TLS. It must be to the host that the
// connection is to.
func (d *Door) answer(w http.ResponseWriter, r *http.Request) {
	to, ok := r.Context().Value(nameKey{}).(*named)
	if !ok || !sameHost(r.Host, to.name) {
		http.Error(w, "This connection is to another host.", http.StatusMisdirectedRequest)
		return
	}
	if r.URL.IsAbs() {
		r = originForm(r)
	}
	to.handler.ServeHTTP(w, r)
}

// sameHost compares a Host header with a name.
func sameHost(host, name string) bool {
	return strings.EqualFold(strings.TrimSuffix(host, ":443"), name)
}

// pass opens a tunnel to the API server of a cluster.
func (d *Door) pass(w http.ResponseWriter, r *http.Request, name string, to netip.AddrPort) {
	there, err := d.dial(r.Context(), to)
	if err != nil {
		d.conf.Log.Warn("proxy: dial", "name", name, "error", err)
		d.refuse(w, http.StatusBadGateway, name, "is a cluster whose API server does not answer")
		return
	}
	here, err := d.hijack(w)
	if err != nil {
		there.Close()
		return
	}
	d.work.run(here, there, d.idle)
}
