package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// embeddedLimits bound one transaction of the embedded member. An import of
// thousands of records is one change, so etcd's defaults are too small.
var embeddedLimits = store.Limits{Ops: 10_000, Bytes: 8 << 20}

// Defaults of a ServerConfig.
const (
	DefaultQuota   = 4 << 30
	DefaultMinFree = 256 << 20 // two write-ahead segments and some growth
	// keepRevisions is how much history the automatic compaction leaves.
	keepRevisions = 10_000
)

// A ServerConfig says how to run the embedded member.
type ServerConfig struct {
	// Dir holds everything. It is created with mode 0700 if it is missing.
	Dir string
	// Listen is the client door, host:port with an IP; "" is a free port of
	// 127.0.0.1.
	Listen string
	// TLS is the server's certificate and key, and the authority that every
	// client's certificate must come from.
	TLS Files
	// Quota is the size of the database in bytes above which etcd stops writes;
	// 0 is DefaultQuota.
	Quota int64
	// MinFree is the free disk space in bytes below which writes stop, because
	// etcd does not survive a disk that is really full; 0 is DefaultMinFree.
	MinFree int64
	// Log takes messages; nil discards them.
	Log *slog.Logger
}

// A Server is an embedded etcd member.
type Server struct {
	etcd   *embed.Etcd
	url    string
	cfg    ServerConfig
	log    *slog.Logger
	stop   context.CancelFunc
	guard  sync.WaitGroup
	giveUp *giveUp
	// closing quiets etcd's log.
	closing   atomic.Bool
	closeOnce sync.Once
}

// Start runs the embedded member and returns when it takes requests.
func Start(ctx context.Context, cfg ServerConfig) (*Server, error) {
	if cfg.TLS.Cert == "" || cfg.TLS.Key == "" || cfg.TLS.CA == "" {
		return nil, errors.New("etcd server: certificate, key and client authority are required")
	}
	if cfg.Quota == 0 {
		cfg.Quota = DefaultQuota
	}
	if cfg.MinFree == 0 {
		cfg.MinFree = DefaultMinFree
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("etcd server: %w", err)
	}
	if err := checkFiles(cfg.Dir); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, giveUp: &giveUp{failed: make(chan struct{})}}
	ec, cleanup, err := s.config()
	if err != nil {
		return nil, fmt.Errorf("etcd server: %w", err)
	}
	defer cleanup()
	up := make(chan error, 1)
	go func() { up <- s.startEtcd(ec) }()
	select {
	case err := <-up:
		if err != nil {
			return nil, fmt.Errorf("etcd server in %s: %w", cfg.Dir, err)
		}
	case <-s.giveUp.failed:
		return nil, fmt.Errorf("etcd server in %s gave up: %s", cfg.Dir, s.giveUp.reason)
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case err := <-s.etcd.Err():
		s.etcd.Close()
		return nil, fmt.Errorf("etcd server in %s: %w", cfg.Dir, err)
	case <-s.giveUp.failed:
		return nil, fmt.Errorf("etcd server in %s gave up: %s", cfg.Dir, s.giveUp.reason)
	case <-ctx.Done():
		s.etcd.Close()
		return nil, fmt.Errorf("etcd server in %s is not ready: %w", cfg.Dir, ctx.Err())
	}
	if err := noteStart(cfg.Dir); err != nil {
		s.etcd.Close()
		return nil, err
	}
	for _, l := range s.etcd.Clients {
		if l.Addr().Network() == "tcp" {
			s.url = "https://" + l.Addr().String()
		}
	}
	guardCtx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.guard.Go(func() { s.watchSpace(guardCtx) })
	return s, nil
}

// started is the file that says that a member ran in a directory before.
const started = "etcd-started"

// checkFiles refuses a directory whose member has lost its log. etcd would begin
// a new log beside the old database, and then leave out changes because the
// database seems to have them.
func checkFiles(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, started)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("etcd server: %w", err)
	}
	if logs, err := filepath.Glob(filepath.Join(dir, "etcd", "member", "wal", "*.wal")); err != nil || len(logs) == 0 {
		return fmt.Errorf("etcd server: a member ran in %s, and its log is gone; restore a backup into an empty directory", dir)
	}
	return nil
}

func noteStart(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, started), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("etcd server: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("etcd server: %w", err)
	}
	return nil
}

// startEtcd starts etcd on a goroutine that it may end. Over damaged files it
// panics; that is an error like any other, and never an empty store.
func (s *Server) startEtcd(ec *embed.Config) (err error) {
	defer func() {
		if damage := recover(); damage != nil {
			err = fmt.Errorf("it cannot read its files: %v", damage)
		}
	}()
	s.etcd, err = embed.StartEtcd(ec)
	return err
}

// config returns etcd's configuration of a single member that has no peers.
func (s *Server) config() (*embed.Config, func(), error) {
	client := url.URL{Scheme: "https", Host: s.cfg.Listen}
	if _, _, err := net.SplitHostPort(s.cfg.Listen); err != nil {
		return nil, nil, err
	}
	// With a door of its own for plain HTTP (metrics, health), gRPC runs on its
	// own server instead of inside net/http. It is a socket that nobody uses; its
	// path must be short, which that of a data directory may not be.
	sockets, err := os.MkdirTemp("", "gatehouse-etcd-")
	if err != nil {
		return nil, nil, err
	}
	web := url.URL{Scheme: "unixs", Path: filepath.Join(sockets, "http")}

	ec := embed.NewConfig()
	ec.Name = "gatehouse"
	ec.Dir = filepath.Join(s.cfg.Dir, "etcd")
	ec.ListenClientUrls = []url.URL{client}
	ec.ListenClientHttpUrls = []url.URL{web}
	ec.AdvertiseClientUrls = []url.URL{client}
	// Nobody listens here: a peer door without an authority of its own would let
	// any local process speak raft to us. The address only names the member.
	ec.ListenPeerUrls = nil
	ec.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:1"}}
	ec.InitialCluster = ec.Name + "=" + ec.AdvertisePeerUrls[0].String()
	ec.ClientTLSInfo = transport.TLSInfo{
		CertFile: s.cfg.TLS.Cert, KeyFile: s.cfg.TLS.Key,
		TrustedCAFile: s.cfg.TLS.CA, ClientCertAuth: true,
	}
	ec.EnableGRPCGateway = false
	ec.MaxTxnOps = uint(embeddedLimits.Ops)
	ec.MaxRequestBytes = uint(embeddedLimits.Bytes)
	ec.QuotaBackendBytes = s.cfg.Quota
	ec.AutoCompactionMode = embed.CompactorModeRevision
	ec.AutoCompactionRetention = strconv.Itoa(keepRevisions)
	// A single member has nobody to hear from: it elects itself, soon.
	ec.TickMs, ec.ElectionMs = 50, 250
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(s.log, &s.closing, zap.WithFatalHook(s.giveUp), zap.WithPanicHook(s.giveUp)))
	return ec, func() { os.RemoveAll(sockets) }, nil
}

// giveUp takes the place of etcd's os.Exit and panic when its files fail: the
// rest of the program decides what to do, and answers from its snapshot meanwhile.
type giveUp struct {
	once   sync.Once
	failed chan struct{}

	reason string // to be read once failed is closed
}

func (g *giveUp) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	g.once.Do(func() {
		g.reason = e.Message
		for _, f := range attrs(fields) {
			if f.Key == "error" {
				g.reason += ": " + f.Value.String()
			}
		}
		close(g.failed)
	})
	runtime.Goexit() // etcd must not go on behind what failed
}

// URL is where clients connect: Dial, and the kube-apiserver of local clusters,
// each with a certificate of the client authority.
func (s *Server) URL() string { return s.url }

// ClientConfig returns what Dial needs to reach this member with a certificate.
func (s *Server) ClientConfig(client Files) ClientConfig {
	return ClientConfig{Endpoints: []string{s.url}, TLS: client, Limits: embeddedLimits, Log: s.log}
}

// Failed is closed when etcd cannot go on, as after a failed write to the disk.
// The process must then end: only a new one can open the files again.
func (s *Server) Failed() <-chan struct{} { return s.giveUp.failed }

// Err says, after Failed, why etcd cannot go on. It is nil before.
func (s *Server) Err() error {
	select {
	case <-s.giveUp.failed:
		return errors.New(s.giveUp.reason)
	default:
		return nil
	}
}

// Close ends the member. Close the clients first: it waits some seconds for
// those that are still there. After a failure it leaves the files as they are.
func (s *Server) Close() { s.closeOnce.Do(s.close) }

func (s *Server) close() {
	s.closing.Store(true)
	s.stop()
	s.guard.Wait()
	select {
	case <-s.giveUp.failed:
	default:
		s.etcd.Close()
	}
}
