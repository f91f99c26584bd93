package house

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/control/mirror"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A keeper brings one control plane to what the estate says about its cluster, and
// keeps it there: it does what is to be done, and starts again what died.
type keeper struct {
	*clusters
	at    scope.Scope
	wake  chan struct{} // the cluster has changed
	first chan error    // how the first attempt went
	last  resource.Cluster
	tried bool      // whether this house has tried to start it
	dirty bool      // whether something of it may be on this machine and in etcd
	fails int       // in a row
	after time.Time // no start before that

	lock  sync.Mutex // guards what follows
	say   func(string)
	run   *run
	doing resource.Work // what the present step does
	abort context.CancelFunc
	state string
}

// A run is one control plane and what follows it.
type run struct {
	uid   resource.ClusterID // whose it is; is says the same, and is written while it runs
	is    resource.Cluster   // what was applied to it
	form  form
	cp    *cluster.Cluster
	since time.Time
	core  atomic.Pointer[coreclient.CoreV1Interface] // reads its service accounts
	judge atomic.Pointer[judge]                      // asks it about workloads
	stop  context.CancelFunc                         // ends its mirror
}

func newKeeper(c *clusters, at scope.Scope, progress func(string)) *keeper {
	k := &keeper{clusters: c, at: at, wake: make(chan struct{}, 1), first: make(chan error, 1), say: progress, state: "starting"}
	if progress == nil {
		k.quiet()
	}
	return k
}

// quiet sends what the keeper does to the log from now on.
func (k *keeper) quiet() {
	k.lock.Lock()
	defer k.lock.Unlock()
	k.say = func(step string) { k.log.Info("cluster", "step", step) }
}

func (k *keeper) progress(step string) {
	k.lock.Lock()
	say := k.say
	k.lock.Unlock()
	say(step)
}

// current returns the control plane while it runs.
func (k *keeper) current() *run {
	k.lock.Lock()
	defer k.lock.Unlock()
	return k.run
}

func (k *keeper) set(r *run, state string) {
	k.lock.Lock()
	defer k.lock.Unlock()
	k.run, k.state = r, state
}

// look wakes the keeper when its cluster is not what it was, and ends a step that
// does what nobody wants any more.
func (k *keeper) look(est *estate.Snapshot) {
	rec, ok := est.Cluster(k.at)
	k.lock.Lock()
	if k.abort != nil && (!ok || rec.Doing != k.doing) {
		k.abort()
	}
	k.lock.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// step begins a step that does what the record says.
func (k *keeper) step(ctx context.Context, rec resource.Cluster) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	k.lock.Lock()
	defer k.lock.Unlock()
	k.doing, k.abort = rec.Doing, cancel
	return ctx, func() {
		k.lock.Lock()
		defer k.lock.Unlock()
		k.abort = nil
		cancel()
	}
}

// keep works until the context ends or the cluster is gone.
func (k *keeper) keep(ctx context.Context) {
	for {
		rec, ok := k.store.Current().Cluster(k.at)
		mine := ok && !rec.Attached
		wait, err := k.turn(ctx, rec, mine)
		if ctx.Err() != nil {
			k.report(ctx.Err())
			return
		}
		if err == nil && !mine && k.leave(k) {
			k.report(nil)
			return
		}
		k.settled(rec, err)
		var died <-chan struct{}
		if r := k.current(); r != nil {
			died = r.cp.Done()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer.C:
		case <-died:
			k.buried()
		}
		timer.Stop()
	}
}

// idleFor is how long a keeper waits that has nothing to do.
const idleFor = 24 * time.Hour

// turn does what the record says now, and returns when to look again by itself.
func (k *keeper) turn(ctx context.Context, rec resource.Cluster, mine bool) (time.Duration, error) {
	if !mine || k.another(rec) {
		// The record is gone, and with it whatever wish there was.
		if err := k.farewell(ctx); err != nil {
			return k.pause(), err
		}
		if !mine {
			return idleFor, nil
		}
	}
	k.last = rec
	if wait := k.after.Sub(k.now()); wait > 0 && rec.Doing.IsZero() {
		return wait, nil
	}
	ctx, done := k.step(ctx, rec)
	defer done()
	err := k.work(ctx, rec)
	switch {
	case err == nil:
		k.fails = 0
		return k.untilKeysEnd(rec), nil
	case ctx.Err() != nil:
		return 0, nil // the record says something else by now
	}
	return k.pause(), err
}

// another reports whether a record is of another cluster than the one that was kept
// at its scope: an earlier one was deleted, and nobody saw the moment.
func (k *keeper) another(rec resource.Cluster) bool {
	return !k.last.UID.IsZero() && rec.UID != k.last.UID
}

// pause is how long to wait after a failure: longer after each one.
func (k *keeper) pause() time.Duration {
	k.fails = min(k.fails+1, 7)
	wait := time.Second << (k.fails - 1)
	k.after = k.now().Add(wait)
	return wait
}

// buried notes that the control plane ended by itself. One that ran for long was
// well, and is started at once.
func (k *keeper) buried() {
	r := k.current()
	if r.cp.Err() == nil {
		return // it was told to end
	}
	k.log.Error("control plane ended", "cluster", k.at.String(), "error", r.cp.Err())
	if k.now().Sub(r.since) > 5*time.Minute {
		k.fails = 0
	}
	r.end()
	k.set(nil, "restarting")
	k.pause()
}

// report says once how the first attempt went.
func (k *keeper) report(err error) {
	select {
	case k.first <- err:
	default:
	}
}

// settled reports a failure, and the first outcome. What failed before, or is asked
// for by somebody who waits for it, does not keep the house from starting.
func (k *keeper) settled(rec resource.Cluster, err error) {
	if err != nil && !errors.Is(err, errElsewhere) {
		k.log.Error("cluster", "cluster", k.at.String(), "error", err)
		if k.current() == nil {
			k.set(nil, "failed")
		}
	}
	if !rec.Doing.IsZero() || !rec.Failure.IsZero() {
		err = nil
	}
	k.report(err)
}

// start runs the control plane.
func (k *keeper) start(ctx context.Context, rec resource.Cluster) (*run, error) {
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	k.tried, k.dirty = true, true
	k.set(nil, "starting")
	if err := k.clean(ctx, rec); err != nil {
		return nil, err
	}
	conf, err := k.config(rec)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", rec.Name, err)
	}
	conf.Progress = func(step string) { k.progress(rec.Name + ": " + step) }
	cp, err := cluster.Start(ctx, conf)
	if err != nil {
		return nil, err // it names the cluster
	}
	form, err := k.formOf(rec, cp)
	if err != nil {
		cp.Stop()
		return nil, fmt.Errorf("cluster %s: %w", rec.Name, err)
	}
	r := &run{uid: rec.UID, is: rec, form: form, cp: cp, since: k.now(), stop: func() {}}
	if err := errors.Join(k.seed(ctx, rec, cp), k.watch(r)); err != nil {
		r.end()
		return nil, fmt.Errorf("cluster %s: %w", rec.Name, err)
	}
	k.set(r, "running")
	return r, nil
}

// watch looks into a control plane from now on, with certificates of its present
// authority: its roles and bindings are read into the estate.
func (k *keeper) watch(r *run) error {
	sight := &eye{cp: r.cp, now: k.now}
	core, err := coreclient.NewForConfig(sight.config("gatehouse-admission"))
	if err != nil {
		return err
	}
	var reader coreclient.CoreV1Interface = core
	r.core.Store(&reader)
	judges, err := newJudge(sight.config("gatehouse-token-proxy"))
	if err != nil {
		return err
	}
	r.judge.Store(judges)
	r.stop()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	conf := mirror.Config{Cluster: k.at, UID: r.uid, Store: k.store, Log: k.log, Client: sight.config("gatehouse-mirror")}
	go func() {
		defer close(ended)
		if err := mirror.Run(ctx, conf); err != nil && ctx.Err() == nil {
			k.log.Error("mirror ended", "cluster", k.at.String(), "error", err)
		}
	}()
	r.stop = func() {
		stop()
		<-ended
	}
	return nil
}

// seed gives a new control plane the roles and bindings that the estate has for
// it. From then on the cluster says itself what it has, and the mirror reads it.
func (k *keeper) seed(ctx context.Context, rec resource.Cluster, cp *cluster.Cluster) error {
	if rec.Mirrored {
		return nil
	}
	var recs []record.Record
	est := k.store.Current()
	for r := range est.KubeRoles(rec.Scope) {
		recs = append(recs, r)
	}
	for b := range est.KubeBindings(rec.Scope) {
		recs = append(recs, b)
	}
	return cp.Seed(ctx, recs)
}

// halt ends the control plane, if it runs.
func (k *keeper) halt() {
	if r := k.current(); r != nil {
		r.end()
		k.set(nil, "stopped")
	}
}

func (r *run) end() {
	r.stop()
	r.cp.Stop()
}
