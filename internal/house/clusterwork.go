package house

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// work does what the record of the cluster says.
func (k *keeper) work(ctx context.Context, rec resource.Cluster) error {
	switch rec.Doing.Kind {
	case resource.Delete:
		return k.remove(ctx, rec)
	case "":
		if k.binary == "" {
			return nil
		}
		if k.current() == nil && k.tried && failedNew(rec) {
			return k.tidy(ctx) // somebody has to say what now
		}
		return k.converge(ctx, rec)
	}
	err := k.carryOut(ctx, rec)
	if ctx.Err() != nil {
		return ctx.Err() // another wish came, or the house ends: it is found again
	}
	if errors.Is(err, errElsewhere) {
		return err // looked at again, in case it is not done
	}
	if err != nil {
		k.log.Error("cluster", "cluster", k.at.String(), "doing", string(rec.Doing.Kind), "error", err)
		if rec.Doing.Kind == resource.Create {
			k.halt()
			if err := k.tidy(ctx); err != nil {
				return err // tried again
			}
		}
	}
	return k.finish(ctx, rec, err)
}

// tidy removes what a start that failed, or was ended, has left.
func (k *keeper) tidy(ctx context.Context) error {
	if !k.dirty {
		return nil
	}
	err := k.forget(ctx, k.at)
	k.dirty = err != nil
	return err
}

// failedNew reports whether the creation of a cluster failed: it never answered.
func failedNew(rec resource.Cluster) bool { return !rec.Failure.IsZero() && rec.Endpoint == "" }

func (k *keeper) carryOut(ctx context.Context, rec resource.Cluster) error {
	if k.binary == "" {
		return k.absent(ctx)
	}
	switch rec.Doing.Kind {
	case resource.Stop:
		k.halt()
		return nil
	case resource.RotateCertificates:
		return k.rotateCertificates(ctx, rec)
	case resource.RotateSigningKeys:
		return k.rotateSigningKeys(ctx, rec)
	}
	return k.converge(ctx, rec)
}

// converge brings the control plane to what the record says about it.
func (k *keeper) converge(ctx context.Context, rec resource.Cluster) error {
	if rec.Stopped {
		k.halt()
		return nil
	}
	rec, err := k.furnish(ctx, rec)
	if err != nil {
		return err
	}
	k.last = rec
	r := k.current()
	if r != nil {
		want, err := k.formOf(rec, r.cp)
		if err != nil {
			return err
		}
		if r.form != want {
			k.halt()
			r = nil
		}
	}
	if r == nil {
		_, err = k.start(ctx, rec)
	} else {
		err = k.change(ctx, r, rec)
	}
	if err != nil {
		return err
	}
	return k.note(ctx, rec)
}

// change does to a running control plane what needs no other start.
func (k *keeper) change(ctx context.Context, r *run, rec resource.Cluster) error {
	if !slices.Equal(adminGroups(r.is), adminGroups(rec)) {
		if err := r.cp.SetAdminGroups(ctx, adminGroups(rec)); err != nil {
			return err
		}
	}
	if r.is.WorkloadIdentity != rec.WorkloadIdentity {
		if err := r.cp.SetWorkloadIdentity(ctx, rec.WorkloadIdentity); err != nil {
			return err
		}
	}
	r.is = rec
	return nil
}

// furnish gives a cluster from an estate file what Azure gives to each: an id, a
// name, and an issuer when it is to have one.
func (k *keeper) furnish(ctx context.Context, rec resource.Cluster) (resource.Cluster, error) {
	return k.update(ctx, rec, "what the cluster is called", func(now *resource.Cluster) error {
		place := now.Location
		if place == "" {
			place = "local"
		}
		if now.UID.IsZero() {
			now.UID = guid.New[resource.Cluster]()
		}
		if now.DNSPrefix == "" {
			now.DNSPrefix = prefixOf(now.Name)
		}
		if now.FQDN == "" {
			now.FQDN = cluster.FQDN(now.DNSPrefix, now.UID.String(), place)
		}
		if now.OIDCIssuer && now.IssuerURL == "" {
			now.IssuerURL = cluster.IssuerURL(place, now.Tenant.String(), now.UID.String())
		}
		return nil
	})
}

// prefixOf makes the first label of a host name out of the name of a cluster.
func prefixOf(name string) string {
	label := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name[:min(len(name), 40)]), "-")
	if label == "" {
		return "cluster"
	}
	return label
}

// note writes into the estate where the control plane answers. That it does is the
// end of a failure to start.
func (k *keeper) note(ctx context.Context, rec resource.Cluster) error {
	_, err := k.update(ctx, rec, "the control plane runs", func(now *resource.Cluster) error {
		if now.Failure.Code == codeFailed || now.Failure.Code == codeNotRun {
			now.Failure = resource.Failure{}
		}
		return k.facts(now)
	})
	return err
}

// keyLife is how long tokens of a signing key are good that was replaced: as long as
// the longest of them lives.
const keyLife = 24 * time.Hour

// facts writes into a record what the control plane says about itself.
func (k *keeper) facts(now *resource.Cluster) error {
	r := k.current()
	if r == nil {
		return nil
	}
	now.Endpoint, now.CertificateAuthority = r.cp.Server(), string(r.cp.CA())
	signs, err := r.cp.ServiceAccountKey()
	if err != nil {
		return err
	}
	keys := []resource.ServiceAccountKey{{PEM: string(signs)}}
	for _, old := range now.ServiceAccountKeys {
		if old.PEM == string(signs) {
			continue
		}
		if old.Until.IsZero() {
			old.Until = k.now().Add(keyLife).UTC().Round(time.Second)
		}
		if k.now().Before(old.Until) {
			keys = append(keys, old)
		}
	}
	now.ServiceAccountKeys = keys
	return nil
}

// untilKeysEnd is when the next signing key is to be forgotten.
func (k *keeper) untilKeysEnd(rec resource.Cluster) time.Duration {
	wait := idleFor
	for _, key := range rec.ServiceAccountKeys {
		if !key.Until.IsZero() {
			wait = min(wait, max(key.Until.Sub(k.now()), 0)+time.Second)
		}
	}
	return wait
}

// update changes the record of a cluster, as it is now, if the change makes a
// difference.
func (k *keeper) update(ctx context.Context, rec resource.Cluster, why string, change func(*resource.Cluster) error) (resource.Cluster, error) {
	for {
		est := k.store.Current()
		now, ok := est.Cluster(k.at)
		if !ok || k.another(now) {
			return rec, fmt.Errorf("cluster %s: deleted while it was worked on", rec.Name)
		}
		was := now
		if err := change(&now); err != nil {
			return rec, err
		}
		if sameRecord(was, now) {
			return now, nil
		}
		_, err := k.store.Commit(ctx, store.Change{Why: why, Ops: []estate.Op{{Put: now}}, Base: est})
		if err == nil || !errors.Is(err, store.ErrConflict) {
			return now, err
		}
	}
}

// rotateCertificates gives a running control plane other authorities. Whether that
// was done already, before the house was killed, the record tells: it has the old one.
func (k *keeper) rotateCertificates(ctx context.Context, rec resource.Cluster) error {
	old := rec.CertificateAuthority
	if err := k.converge(ctx, rec); err != nil {
		return err
	}
	r := k.current()
	if r == nil || string(r.cp.CA()) != old {
		return nil
	}
	return r.cp.RotateAuthority(ctx, func() error { return k.watch(r) })
}

// rotateSigningKeys gives the control plane another key for service account tokens.
// Those of the old one are good for a day.
func (k *keeper) rotateSigningKeys(ctx context.Context, rec resource.Cluster) error {
	if k.current() == nil {
		if err := k.converge(ctx, rec); err != nil {
			return err
		}
		if now, ok := k.store.Current().Cluster(k.at); ok {
			rec = now
		}
	}
	r := k.current()
	if r == nil {
		return errors.New("the control plane is stopped")
	}
	signs, err := r.cp.ServiceAccountKey()
	if err != nil {
		return err
	}
	if len(rec.ServiceAccountKeys) == 0 || rec.ServiceAccountKeys[0].PEM != string(signs) {
		return nil // done before the house was killed
	}
	if err := r.cp.RotateSigningKey(); err != nil {
		return err
	}
	k.halt()
	_, err = k.start(ctx, rec)
	return err
}

// Why an operation failed, as clients are told.
const (
	codeFailed = "ControlPlaneFailed"
	codeNotRun = "ControlPlaneNotRun"
)

var errNotHere = errors.New("this house runs no control planes: it was started by gatehouse serve. The cluster is registered; gatehouse up starts it")

// failureOf is what a client is told about an error: its first line, and nothing of
// the machine that the house runs on (ARM-17).
func failureOf(err error) resource.Failure {
	if err == nil {
		return resource.Failure{}
	}
	if errors.Is(err, errNotHere) {
		return resource.Failure{Code: codeNotRun, Message: err.Error()}
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	line, _, _ = strings.Cut(line, "; the last lines of ")
	return resource.Failure{Code: codeFailed, Message: serve.Printable(line, 300) + " The log of the house says more."}
}

// finish ends what was done: the record says how, and so does the operation that
// somebody waits for.
func (k *keeper) finish(ctx context.Context, rec resource.Cluster, failed error) error {
	why, status := failureOf(failed), arm.Succeeded
	if failed != nil {
		status = arm.Failed
	}
	for {
		est := k.store.Current()
		now, ok := est.Cluster(k.at)
		if !ok || now.Doing != rec.Doing {
			return nil // somebody wants something else by now
		}
		now.Doing, now.Failure = resource.Work{}, why
		if err := k.facts(&now); err != nil {
			return err
		}
		private, err := arm.EndOperation(ctx, k.store, rec.Doing.Operation, status, why, k.told())
		if err != nil {
			return err
		}
		_, err = k.store.Commit(ctx, store.Change{
			Why: fmt.Sprintf("%s of cluster %s: %s", rec.Doing.Kind, rec.Name, status), Ops: []estate.Op{{Put: now}}, Private: private, Base: est,
		})
		if err == nil || !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
