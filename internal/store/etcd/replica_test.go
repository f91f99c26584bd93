package etcd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
	"github.com/gatehouse-io/gatehouse/internal/store/storetest"
)

var tenant = directory.Tenant{ID: directory.TenantID{1}, Domains: []string{"corp.example"}}

func user(n int, name string) directory.User {
	return directory.User{
		ID: principal.ID{2, byte(n >> 16), byte(n >> 8), byte(n)}, Tenant: tenant.ID,
		UserPrincipalName: fmt.Sprintf("u%d@corp.example", n), DisplayName: name,
	}
}

func put(records ...record.Record) []estate.Op {
	var ops []estate.Op
	for _, r := range records {
		ops = append(ops, estate.Op{Put: r})
	}
	return ops
}

func nameOf(est *estate.Snapshot, n int) string {
	r, ok := est.Get(user(n, "").Key())
	if !ok {
		return ""
	}
	return r.(directory.User).DisplayName
}

func open(t testing.TB, kv store.KV) *store.Store {
	t.Helper()
	s, err := tryOpen(t, kv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func tryOpen(t testing.TB, kv store.KV) (*store.Store, error) {
	key, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return store.Open(t.Context(), store.Config{KV: kv, Sealer: key, Init: true})
}

func commit(t testing.TB, s *store.Store, ops ...estate.Op) int64 {
	t.Helper()
	rev, err := s.Commit(t.Context(), store.Change{Why: "test", Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// patience is how long a test waits on a machine that does other things too.
const patience = 2 * time.Minute

// until waits for what the background brings about.
func until(t testing.TB, limit time.Duration, done func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if <-tick.C; time.Since(begun) > limit {
			t.Fatalf("waited %s in vain", limit)
		}
	}
	return time.Since(begun)
}

// A proxy stands between a replica and its etcd.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	conns    []net.Conn
	held     chan struct{} // until it is closed, answers are held back; connections stay
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: u.Host}
	go p.run()
	t.Cleanup(func() { l.Close(); p.cut(); p.release() })
	return p
}

func (p *proxy) url() string { return "https://" + p.listener.Addr().String() }

func (p *proxy) run() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		go io.Copy(out, in)
		go func() {
			defer in.Close()
			buf := make([]byte, 32<<10)
			for {
				n, err := out.Read(buf)
				if err != nil {
					return
				}
				p.pass()
				if _, err := in.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// hold keeps answers back until release.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// pass blocks while answers are held back.
func (p *proxy) pass() {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if held != nil {
		<-held
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	srv, files := start(t, etcd.ServerConfig{})
	a, b := open(t, dial(t, srv.ClientConfig(files))), open(t, dial(t, srv.ClientConfig(files)))
	rev := commit(t, a, put(tenant, user(1, "Ana"))...)
	est, err := b.AtLeast(t.Context(), rev)
	if err != nil || nameOf(est, 1) != "Ana" {
		t.Errorf("%q, %v", nameOf(est, 1), err)
	}
	// A revision that changed nothing here is waited for as well.
	kv := dial(t, srv.ClientConfig(files))
	rev = storetest.Put(t, kv, "/elsewhere", "x")
	if est, err = b.AtLeast(t.Context(), rev); err != nil || est.Revision() < rev {
		t.Errorf("revision %d, %v; want %d", est.Revision(), err, rev)
	}
}

func TestStormOfUpdatesOverEtcd(t *testing.T) { // ST-20
	t.Parallel()
	srv, files := start(t, etcd.ServerConfig{})
	replicas := []*store.Store{open(t, dial(t, srv.ClientConfig(files))), open(t, dial(t, srv.ClientConfig(files)))}
	rev := commit(t, replicas[0], put(tenant, user(1, "0"))...)
	const writers, each = 10, 10
	var conflicts atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			s := replicas[w%2]
			if _, err := s.AtLeast(t.Context(), rev); err != nil {
				t.Error(err)
				return
			}
			for done := 0; done < each; {
				base := s.Current()
				var n int
				fmt.Sscan(nameOf(base, 1), &n)
				_, err := s.Commit(t.Context(), store.Change{Ops: put(user(1, fmt.Sprint(n+1))), Base: base})
				switch {
				case err == nil:
					done++
				case errors.Is(err, store.ErrConflict):
					conflicts.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	rev = commit(t, replicas[0], put(user(2, "end"))...)
	for _, s := range replicas {
		est, err := s.AtLeast(t.Context(), rev)
		if err != nil || nameOf(est, 1) != fmt.Sprint(writers*each) {
			t.Errorf("counted to %s, %v; want %d", nameOf(est, 1), err, writers*each)
		}
	}
	if n, err := replicas[1].VerifyAudit(t.Context()); err != nil || n != writers*each+2 {
		t.Errorf("audit log: %d records, %v; want %d", n, err, writers*each+2)
	}
	t.Logf("%d updates, %d conflicts", writers*each, conflicts.Load())
}

func TestCompactionOvertakesAReplicaThatWasCutOff(t *testing.T) { // ST-11
	t.Parallel()
	srv, files := start(t, etcd.ServerConfig{})
	p := newProxy(t, srv.URL())
	cfg := srv.ClientConfig(files)
	cfg.Endpoints = []string{p.url()}
	writerKV := dial(t, srv.ClientConfig(files))
	writer := open(t, writerKV)
	commit(t, writer, put(tenant, user(1, "Ana"))...)
	replica := open(t, dial(t, cfg))
	p.hold()
	commit(t, writer, estate.Op{Delete: user(1, "").Key()})
	rev := commit(t, writer, put(user(2, "Bob"))...)
	storetest.Compact(t, writerKV, rev)
	p.cut()
	p.release()
	est, err := replica.AtLeast(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	if nameOf(est, 1) != "" || nameOf(est, 2) != "Bob" {
		t.Errorf("after the compaction: %q, %q", nameOf(est, 1), nameOf(est, 2))
	}
}

func TestASilentConnectionMakesStale(t *testing.T) { // ST-09, ST-13
	t.Parallel()
	if testing.Short() {
		t.Skip("takes the bound of 5 s")
	}
	srv, files := start(t, etcd.ServerConfig{})
	p := newProxy(t, srv.URL())
	cfg := srv.ClientConfig(files)
	cfg.Endpoints = []string{p.url()}
	writer := open(t, dial(t, srv.ClientConfig(files)))
	commit(t, writer, put(tenant, user(1, "Ana"))...)
	replica := open(t, dial(t, cfg))
	p.hold()
	held := time.Now()
	rev := commit(t, writer, put(user(1, "Ann"))...)
	took := until(t, patience, func() bool {
		now := time.Now()
		err := replica.Fresh(now)
		// By the time of the question, whenever a busy machine lets it be asked.
		if age := now.Sub(held); err == nil && age > store.DefaultMaxAge {
			t.Errorf("fresh %s after the last answer, the bound is %s", age, store.DefaultMaxAge)
		}
		return errors.Is(err, store.ErrStale)
	})
	t.Logf("stale after %s", took)
	p.release()
	took = until(t, patience, func() bool { return replica.Fresh(time.Now()) == nil })
	t.Logf("fresh again after %s", took)
	if got := replica.Current(); got.Revision() < rev || nameOf(got, 1) != "Ann" {
		t.Errorf("fresh at revision %d with %q", got.Revision(), nameOf(got, 1))
	}
}

func TestAStoppedStoreMakesStaleAndComesBack(t *testing.T) { // ST-09
	t.Parallel()
	if testing.Short() {
		t.Skip("takes the bound of 5 s")
	}
	dir, files := t.TempDir(), certs(t, t.TempDir())
	srv, err := etcd.Start(t.Context(), etcd.ServerConfig{Dir: dir, TLS: files})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, dial(t, srv.ClientConfig(files)))
	commit(t, s, put(tenant, user(1, "Ana"))...)
	u, err := url.Parse(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	srv.Close()
	took := until(t, patience, func() bool { return errors.Is(s.Fresh(time.Now()), store.ErrStale) })
	t.Logf("stale after %s", took)
	if got := nameOf(s.Current(), 1); got != "Ana" {
		t.Errorf("the snapshot is gone: %q", got)
	}
	if _, err := s.Commit(t.Context(), store.Change{Ops: put(user(1, "Ann"))}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("commit: %v, want ErrUnavailable", err)
	}
	if srv, err = etcd.Start(t.Context(), etcd.ServerConfig{Dir: dir, TLS: files, Listen: u.Host}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	took = until(t, patience, func() bool { return s.Fresh(time.Now()) == nil })
	t.Logf("fresh again after %s", took)
	commit(t, s, put(user(1, "Ann"))...)
}
