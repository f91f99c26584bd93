package trust_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/token"
	"github.com/gatehouse-io/gatehouse/internal/trust"
)

// FED-12: keys serve for a day while their issuer is down, with an alarm, and not
// longer; a key that nobody has seen is refused all the time.
func TestAnIssuerThatIsDown(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	var log strings.Builder
	var alarms sync.Mutex
	i := n.issuers(func(c *trust.Config) { c.Log = slog.New(slog.NewTextHandler(writer{&log, &alarms}, nil)) })
	mustHave(t, i, "k1")
	n.on("/keys", nil)
	n.forward(10*time.Minute + time.Second)
	mustHave(t, i, "k1")
	alarms.Lock()
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, issuer) || !strings.Contains(text, "keysAreOld=10m") {
		t.Errorf("no alarm: %s", text)
	}
	alarms.Unlock()
	n.forward(23*time.Hour + 49*time.Minute)
	mustHave(t, i, "k1")
	if keys, err := i.Keys(t.Context(), issuer, "k2"); err != nil || keys.Has("k2") {
		t.Errorf("an unknown kid: %t, %v", keys.Has("k2"), err)
	}
	n.forward(time.Minute)
	mustFail(t, i, issuer)
	n.keys("k2")
	n.forward(29 * time.Second)
	mustFail(t, i, issuer) // it is not asked again so soon
	n.forward(time.Second)
	mustHave(t, i, "k2")
	// A clock that is set back does not make old keys new.
	n.on("/keys", nil)
	n.forward(-time.Hour)
	mustFail(t, i, issuer)
}

type writer struct {
	w  io.Writer
	mu *sync.Mutex
}

func (w writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

// FED-13: 10,000 tokens, each with a key that nobody has.
func TestUnknownKeysAreNotAskedForAllTheTime(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	i := n.issuers()
	mustHave(t, i, "k1")
	flood := func() {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for range 35 {
					kid := token.NewID()
					if keys, err := i.Keys(t.Context(), issuer, kid); err != nil || keys.Has(kid) {
						t.Errorf("%d keys, %v", keys.Len(), err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	for range 29 {
		n.forward(time.Second)
		flood()
	}
	if got := n.count("/keys"); got != 1 {
		t.Errorf("asked %d times in 29 seconds, want once", got)
	}
	n.forward(time.Second)
	flood()
	n.keys("k1", "k2")
	n.forward(29 * time.Second)
	flood()
	if got := n.count("/keys"); got != 2 {
		t.Errorf("asked %d times in 59 seconds, want twice", got)
	}
	n.forward(time.Second)
	mustHave(t, i, "k2")
	if got := n.count("/keys"); got != 3 {
		t.Errorf("asked %d times in a minute, want three times", got)
	}
}

// A pipe is a network in memory, so that its time can be a bubble's.
type pipe struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
	dials atomic.Int64
}

func (p *pipe) dial(context.Context, string, string) (net.Conn, error) {
	p.dials.Add(1)
	a, b := net.Pipe()
	p.conns <- b
	return a, nil
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipe) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipe) Addr() net.Addr { return &net.TCPAddr{} }

// FED-11: an issuer that dawdles takes five seconds at most, holds up nobody who
// asks another one, and is asked once for all who wait.
func TestAnIssuerThatDawdles(t *testing.T) {
	t.Parallel()
	dawdle := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, " ")
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
	}
	for law, slow := range map[string]string{"one byte a second": "dawdle.example", "a handshake that stalls": "stall.example", "a slow document and slower keys": "half.example"} {
		t.Run(law, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, err := pki.NewCA("test", time.Now(), time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				pair, err := ca.Issue(pki.Leaf{CommonName: host, DNS: []string{host, "dawdle.example", "half.example"}, Server: true, Life: time.Hour}, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				cert, err := pair.TLS()
				if err != nil {
					t.Fatal(err)
				}
				mux := http.NewServeMux()
				mux.HandleFunc("dawdle.example/", dawdle)
				mux.HandleFunc("half.example/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(3 * time.Second)
					io.WriteString(w, `{"issuer":"https://half.example","jwks_uri":"https://half.example/keys"}`)
				})
				mux.HandleFunc("half.example/keys", dawdle)
				mux.HandleFunc(host+"/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
					io.WriteString(w, `{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/keys"}`)
				})
				mux.HandleFunc(host+"/keys", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) })
				p := &pipe{conns: make(chan net.Conn, 8), done: make(chan struct{})}
				srv := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
				go srv.Serve(tls.NewListener(p, &tls.Config{Certificates: []tls.Certificate{cert}}))
				defer srv.Close()
				var stalled atomic.Int64
				roots := x509.NewCertPool()
				roots.AddCert(ca.Cert)
				i := trust.New(trust.Config{
					Roots: roots,
					Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
						if name == "stall.example" {
							return []netip.Addr{netip.MustParseAddr("1.1.1.1")}, nil
						}
						return []netip.Addr{public}, nil
					},
					Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
						if address == "1.1.1.1:443" {
							stalled.Add(1)
							a, b := net.Pipe()
							go io.Copy(io.Discard, b) // hears all and says nothing
							return a, nil
						}
						return p.dial(ctx, network, address)
					},
				})
				start := time.Now()
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						_, err := i.Keys(t.Context(), "https://"+slow, "k1")
						if took := time.Since(start); !errors.Is(err, trust.ErrUnreachable) || took != 5*time.Second {
							t.Errorf("after %s: %v", took, err)
						}
					})
				}
				synctest.Wait()
				asked := p.dials.Load() + stalled.Load()
				if _, err := i.Keys(t.Context(), "https://"+host, "k1"); err != nil || time.Since(start) != 0 {
					t.Errorf("the good issuer, after %s: %v", time.Since(start), err)
				}
				wg.Wait()
				if asked != 1 {
					t.Errorf("asked by %d connections, want one", asked)
				}
				// Whoever leaves before does not take the answer from the others.
				gone, cancel := context.WithCancel(t.Context())
				cancel()
				if _, err := i.Keys(gone, "https://"+host+"/other", "k1"); !errors.Is(err, context.Canceled) {
					t.Errorf("who has left: %v", err)
				}
				if _, err := i.Keys(t.Context(), "https://"+host+"/other", "k1"); !errors.Is(err, trust.ErrUnreachable) {
					t.Errorf("who has stayed: %v", err)
				}
				time.Sleep(time.Minute) // both ends of a pipe wait for the other to read their farewell
			})
		})
	}
}
