package mic

import (
	"context"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/gatehouse-io/gatehouse/internal/guid"
)

// The lease is upstream's: a controller of upstream in the same cluster and one of
// ours never write both.
const (
	LeaseNamespace = "default"
	LeaseName      = "aad-pod-identity-mic"
)

// stand stands for election until the context ends, and controls while it leads.
// Who lost his lease stands again: he has nothing that could be out of date.
func (m *mic) stand(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Namespace: LeaseNamespace, Name: LeaseName}, Client: m.leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + guid.New[mic]().String()},
	}
	for ctx.Err() == nil {
		if err := m.term(ctx, lock); err != nil {
			return err
		}
	}
	return nil
}

// term waits for the lease and holds it as long as it can. It gives the lease
// back only when the last write is done.
func (m *mic) term(ctx context.Context, lock resourcelock.Interface) error {
	standing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	started, done := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: m.Lease, RenewDeadline: m.Lease / 2, RetryPeriod: m.Lease / 8, ReleaseOnCancel: true, Name: "mic",
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				defer close(done)
				close(started)
				leading, end := context.WithCancel(leading)
				defer context.AfterFunc(ctx, end)()
				m.Log.Info("this controller leads", "as", lock.Identity())
				m.control(leading)
				stop()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	// Besides having the lease, it must not be over: who slept for a while does not
	// know yet that he lost it.
	leads := func() bool { return elector.IsLeader() && elector.Check(0) == nil }
	m.leads.Store(&leads)
	defer m.leads.Store(nil)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-started: // control ends, and then stops the election
		default:
			stop()
		}
	})()
	elector.Run(standing)
	select {
	case <-started:
		<-done
		m.Log.Info("this controller does not lead any more", "as", lock.Identity())
	default:
	}
	return nil
}
