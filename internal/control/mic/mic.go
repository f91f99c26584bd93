// Package mic is the controlling half of AAD Pod Identity v1, the managed
// identity controller: it keeps the AzureAssignedIdentity objects of a cluster
// as its pods, identities, bindings and exceptions want them.
//
// What it thinks is in podid. Here it sees the cluster, writes, and starts again
// when something fails. Several of it run beside each other, and one writes. It
// holds nothing that is not in the cluster: a new one goes on where the last one
// ended.
package mic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/dynamic"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Config says how the controller is run. Kube and HealthListen are required.
type Config struct {
	Kube *rest.Config // may do what the chart's ClusterRole gatehouse-mic says
	Mode podid.Mode   // the zero Mode keeps pods to identities of their namespace
	// HealthListen is the host:port of /healthz and /readyz, without TLS.
	HealthListen string

	// Lease is how long a controller that is gone keeps the others from writing; 0
	// means 15 s, as upstream. One that ends in order gives its lease back.
	Lease time.Duration
	// Relist is after how long everything is read anew, in case the API server, or
	// something between, forgot to tell of a change; 0 means 10 min.
	Relist time.Duration
	Log    *slog.Logger // nil discards
}

// Defaults of Config, and bounds of what is done at once.
const (
	defaultLease  = 15 * time.Second
	defaultRelist = 10 * time.Minute

	settle    = 20 * time.Millisecond // how long changes are collected
	parallel  = 20                    // objects that are written at the same time
	firstWait = time.Second           // before what failed is tried again, then twice as long
	lastWait  = time.Minute           // and never longer than this
	grace     = 5 * time.Second
)

// Run keeps a cluster until the context ends, and returns nil then.
func Run(ctx context.Context, conf Config) error {
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.Lease == 0 {
		conf.Lease = defaultLease
	}
	if conf.Relist == 0 {
		conf.Relist = defaultRelist
	}
	m := &mic{Config: conf, changed: make(chan struct{}, 1)}
	var err error
	if m.objects, err = dynamic.NewForConfig(conf.Kube); err != nil {
		return err
	}
	if m.core, err = coreclient.NewForConfig(conf.Kube); err != nil {
		return err
	}
	if m.leases, err = coordinationclient.NewForConfig(conf.Kube); err != nil {
		return err
	}
	health, err := net.Listen("tcp", conf.HealthListen)
	if err != nil {
		return fmt.Errorf("the health checks: %w", err)
	}
	defer health.Close()
	return m.run(ctx, health)
}

type mic struct {
	Config
	objects dynamic.Interface
	core    coreclient.CoreV1Interface
	leases  coordinationclient.LeasesGetter

	view    atomic.Pointer[view] // nil before the cluster was first read
	changed chan struct{}        // holds one item when something changed since the last look
	leads   atomic.Pointer[func() bool]
	events  *events
}

func (m *mic) run(ctx context.Context, health net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	m.events = newEvents(m.core)
	defer m.events.stop()
	failed := make(chan error, 2)
	wg.Go(func() { m.watch(ctx) })
	wg.Go(func() { failed <- m.stand(ctx) })
	checks := &http.Server{Handler: m.checks(), ReadHeaderTimeout: grace}
	defer checks.Close()
	wg.Go(func() {
		if err := checks.Serve(health); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})
	m.Log.Info("the controller of pod identity runs", "health", health.Addr().String())
	return <-failed
}

// checks are the endpoints of kubelet. One that does not lead is ready as well:
// it could.
func (m *mic) checks() http.Handler {
	options := serve.Options{Log: m.Log, Quiet: true}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", serve.Handle(serve.Live(), options))
	mux.Handle("GET /readyz", serve.Handle(serve.Ready(serve.Check{Name: "cluster", Check: func(context.Context) error {
		if m.view.Load() == nil {
			return errors.New("the cluster was not read yet")
		}
		return nil
	}}), options))
	return mux
}

// control brings the cluster to what it ought to be, again and again, until the
// context ends.
func (m *mic) control(ctx context.Context) {
	var retry <-chan time.Time
	wait := firstWait
	for pause(ctx, settle) {
		err := m.sync(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errBehind):
			// What was written is not seen yet; it will be, and that is a change.
			retry = time.After(firstWait)
		case err != nil:
			m.Log.Warn("assigned identities", "error", err, "again", wait.String())
			retry = time.After(wait)
			wait = min(2*wait, lastWait)
		default:
			retry, wait = nil, firstWait
		}
		select {
		case <-ctx.Done():
			return
		case <-m.changed:
		case <-retry:
		}
	}
}

// pause waits, and reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// sync takes one look at the cluster, and carries out what follows from it.
func (m *mic) sync(ctx context.Context) error {
	v := m.view.Load()
	if v == nil {
		return nil // its first reading is a change
	}
	rules := podid.NewRules(m.Mode, v.identities.values(), v.bindings.values(), v.exceptions.values())
	steps := podid.Plan(v.assigned.list(), rules.Want(v.pods.values()))
	err := m.carryOut(ctx, steps)
	m.events.refused(rules, v.pods.values())
	return err
}
