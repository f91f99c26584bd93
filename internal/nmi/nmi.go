//go:build linux

// Package nmi is the node agent of pod identity: what the pods of a node ask the
// metadata service of their machine comes here, and each pod gets tokens of its own
// identities and of no others.
//
// A pod has nothing to show. It is known by its address, and an address is believed
// after three have agreed: the kernel, that the packet came from where the address
// is routed to; the API server, asked after the request came, that one running pod
// of this node has the address; and the kernel again, that processes of that pod
// run at the other end of that cable. What a header says about the sender counts for
// nothing.
//
// The agent keeps no token and remembers no pod: without the API server or without
// the house there are no tokens, and none is ever given out by what was true before.
// It has no secret but the token that the cluster projects into its own pod.
package nmi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"

	"github.com/gatehouse-io/gatehouse/internal/nmi/steer"
	"github.com/gatehouse-io/gatehouse/internal/podid"
)

// Config says how an agent is run. Fields without a default are required.
type Config struct {
	Kube *rest.Config // may list pods and the objects of pod identity
	Node string       // the name of the node that the agent runs on

	House     string // URL of the house
	HouseCA   []byte // PEM of its authority; empty trusts those of the system
	TokenFile string // the token of the agent's service account, for wire.Audience(House)

	// Managed matches pods with bindings by itself. Otherwise a pod gets what MIC has
	// assigned to it.
	Managed bool
	Mode    podid.Mode
	// CreatedAttempts is how often an identity is looked for that MIC has not assigned
	// yet, AssignedAttempts how often more once it has begun to, and Interval how long
	// between: 16, 4 and 5 s when 0.
	CreatedAttempts, AssignedAttempts int
	Interval                          time.Duration

	Agent  netip.AddrPort // where the agent listens; see steer.Config
	Status string         // host:port of health and metrics, which must be loopback
	// Socket is the path of a Unix socket at which root of this node gets tokens of
	// named pods, for the driver that mounts secrets; "" is none.
	Socket string
	// BlockNode: see steer.Config.
	BlockNode bool
	// RemoveAtStop takes the rules away when the agent is stopped, so that pods reach
	// whatever there is at the metadata address. Otherwise they are refused.
	RemoveAtStop bool
	// Proc is the proc file system of the node; "" means /proc.
	Proc string
	Log  *slog.Logger // nil means no log
}

func (c *Config) check() error {
	host, _, err := net.SplitHostPort(c.Status)
	ip, _ := netip.ParseAddr(host)
	switch {
	case c.Kube == nil || c.Node == "" || c.House == "" || c.TokenFile == "":
		return errors.New("the agent needs the API server, the name of its node, the URL of the house and the file of its token")
	case err != nil || !ip.IsLoopback():
		return fmt.Errorf("health and metrics are for this node alone: %q is not an address of loopback with a port, as 127.0.0.1:8085", c.Status)
	case c.Managed && c.Mode != podid.Namespaced:
		return errors.New("managed mode is namespaced: a pod gets identities of its own namespace")
	}
	if c.CreatedAttempts <= 0 {
		c.CreatedAttempts = 16
	}
	if c.AssignedAttempts <= 0 {
		c.AssignedAttempts = 4
	}
	if c.Interval <= 0 {
		c.Interval = 5 * time.Second
	}
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// grace is how long running requests get when the agent is stopped.
const grace = 3 * time.Second

// Run serves until the context ends, and returns nil then. Rules are there before
// anything else is done, and they refuse until there is somebody to answer.
func Run(ctx context.Context, conf Config) error {
	if err := conf.check(); err != nil {
		return err
	}
	if err := keepMemory(); err != nil {
		return err
	}
	rules, err := steer.New(steer.Config{Agent: conf.Agent, BlockNode: conf.BlockNode, Log: conf.Log})
	if err != nil {
		return err
	}
	if err := rules.Set(steer.Shut); err != nil {
		return fmt.Errorf("lead the metadata address to this agent (which needs CAP_NET_ADMIN in the node's network): %w", err)
	}
	a, err := newAgent(conf)
	if err != nil {
		return err
	}
	return a.run(ctx, rules)
}

// keepMemory keeps what is in memory from other processes, core dumps included (PI-18).
func keepMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep other processes from reading memory: %w", err)
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// An agent answers pods. It is safe for concurrent use.
type agent struct {
	conf  Config
	views *views
	house *house
	pace  pace
	meter meter
	now   func() time.Time
}

func newAgent(conf Config) (*agent, error) {
	r, err := newReader(conf)
	if err != nil {
		return nil, err
	}
	h, err := newHouse(conf)
	if err != nil {
		return nil, err
	}
	return &agent{conf: conf, views: &views{read: r.read}, house: h, now: time.Now}, nil
}

// patience is how long a pod may wait for an answer.
func (a *agent) patience() time.Duration {
	return time.Duration(a.conf.CreatedAttempts+a.conf.AssignedAttempts)*a.conf.Interval + 30*time.Second
}

func (a *agent) run(ctx context.Context, rules *steer.Steer) (err error) {
	served, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	failed := make(chan error, 4)
	serve := func(l net.Listener, h http.Handler) {
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: a.patience(), IdleTimeout: time.Minute,
			MaxHeaderBytes: 16 << 10, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(a.conf.Log.Handler(), slog.LevelDebug), ConnContext: withConn}
		wg.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
		wg.Go(func() {
			<-served.Done()
			end, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			if srv.Shutdown(end) != nil {
				srv.Close()
			}
		})
	}
	listeners, err := a.listen()
	if err != nil {
		return err
	}
	serve(listeners.pods, a.pods())
	serve(listeners.status, a.status())
	if listeners.host != nil {
		serve(listeners.host, a.host())
	}
	if err := rules.Set(steer.Open); err != nil {
		failed <- err
	}
	a.conf.Log.Info("pods of this node are answered", "node", a.conf.Node, "house", a.conf.House, "managed", a.conf.Managed)
	kept, unkeep := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() {
		if err := rules.Keep(kept, a.meter.repaired); err != nil {
			failed <- err
		}
	})
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	unkeep()
	keeper.Wait()
	// First the rules, so that no request comes to who no longer listens.
	err = errors.Join(err, a.leave(rules, err != nil))
	stop()
	wg.Wait()
	return err
}

// leave brings the rules to how they stay without an agent. After one that failed
// they refuse, whatever was said about one that is stopped.
func (a *agent) leave(rules *steer.Steer, failed bool) error {
	if a.conf.RemoveAtStop && !failed {
		return rules.Remove()
	}
	return rules.Set(steer.Shut)
}

type listeners struct{ pods, status, host net.Listener }

func (a *agent) listen() (l listeners, err error) {
	defer func() {
		if err != nil {
			for _, one := range []net.Listener{l.pods, l.status, l.host} {
				if one != nil {
					one.Close()
				}
			}
			l = listeners{}
		}
	}()
	if l.pods, err = net.Listen("tcp4", a.conf.Agent.String()); err != nil {
		return l, fmt.Errorf("listen for pods: %w", err)
	}
	if l.status, err = net.Listen("tcp", a.conf.Status); err != nil {
		return l, fmt.Errorf("listen for health checks: %w", err)
	}
	if a.conf.Socket != "" {
		l.host, err = listenHost(a.conf.Socket)
	}
	return l, err
}
