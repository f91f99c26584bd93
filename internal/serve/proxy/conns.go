package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// handed is a listener of the connections that are handed to it.
type handed struct {
	next   chan net.Conn
	done   chan struct{}
	closed sync.Once
}

func newHanded() *handed { return &handed{next: make(chan net.Conn), done: make(chan struct{})} }

// give reports whether somebody took the connection.
func (h *handed) give(c net.Conn) bool {
	select {
	case h.next <- c:
		return true
	case <-h.done:
		return false
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.next:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.closed.Do(func() { close(h.done) })
	return nil
}

func (h *handed) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// limit returns a listener that has at most n connections open. One too many is
// closed at once: to let it wait would let whoever holds the others stop everybody.
func limit(ln net.Listener, n int) net.Listener {
	return &limited{Listener: ln, free: make(chan struct{}, n)}
}

type limited struct {
	net.Listener
	free chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &counted{Conn: c, release: func() { <-l.free }}, nil
		default:
			c.Close()
		}
	}
}

type counted struct {
	net.Conn
	once    sync.Once
	release func()
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}

// CloseWrite tells the other end that nothing more will come.
func (c *counted) CloseWrite() error { return closeWrite(c.Conn) }

// CloseWrite does the same for a connection that was read from before.
func (e *early) CloseWrite() error { return closeWrite(e.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// tunnels are the pairs of connections that are copied into each other.
type tunnels struct {
	mu     sync.Mutex
	open   map[*tunnel]bool
	closed bool
}

func newTunnels() *tunnels { return &tunnels{open: make(map[*tunnel]bool)} }

type tunnel struct{ here, there net.Conn }

func (t *tunnel) close() {
	t.here.Close()
	t.there.Close()
}

// run copies both ways until both ends are done, or nothing moves for idle.
func (ts *tunnels) run(here, there net.Conn, idle time.Duration) {
	t := &tunnel{here, there}
	defer t.close()
	ts.mu.Lock()
	if ts.closed {
		ts.mu.Unlock()
		return
	}
	ts.open[t] = true
	ts.mu.Unlock()
	defer func() {
		ts.mu.Lock()
		delete(ts.open, t)
		ts.mu.Unlock()
	}()
	watch := time.AfterFunc(idle, t.close)
	defer watch.Stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
		both.Go(func() {
			_, err := io.Copy(way[0], moved{way[1], func() { watch.Reset(idle) }})
			if err != nil && !errors.Is(err, net.ErrClosed) {
				t.close() // a broken half leaves nothing to talk about
				return
			}
			closeWrite(way[0])
		})
	}
	both.Wait()
}

// close cuts all tunnels, and every later one.
func (ts *tunnels) close() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = true
	for t := range ts.open {
		t.close()
	}
}

// moved tells when something was read.
type moved struct {
	net.Conn
	tell func()
}

func (m moved) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if n > 0 {
		m.tell()
	}
	return n, err
}
