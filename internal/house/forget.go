package house

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// remove deletes a cluster with all that it has: its control plane, its objects and
// its directory, and last its records. Whenever it is interrupted, it is done again.
func (k *keeper) remove(ctx context.Context, rec resource.Cluster) error {
	k.halt()
	k.set(nil, "deleting")
	if err := k.forget(ctx, k.at); err != nil {
		return err
	}
	return k.bury(ctx, rec, true)
}

// farewell removes what is left of a cluster whose record is gone: who deleted it
// did so in the estate, and did not wait.
func (k *keeper) farewell(ctx context.Context) error {
	was := k.last
	if was.Scope.IsZero() {
		return nil // there never was one
	}
	k.log.Info("removing a deleted cluster", "cluster", k.at.String())
	k.halt()
	if err := k.forget(ctx, k.at); err != nil {
		return err
	}
	if err := k.bury(ctx, was, false); err != nil {
		return err
	}
	k.last, k.tried, k.fails = resource.Cluster{}, false, 0
	return nil
}

// bury deletes the records of a cluster and of what was made for it. The roles and
// bindings in it come first, since there may be more of them than fit in one write.
func (k *keeper) bury(ctx context.Context, rec resource.Cluster, itself bool) error {
	for {
		est := k.store.Current()
		now, there := est.Cluster(k.at)
		if itself && (!there || now.Doing != rec.Doing) {
			return nil
		}
		ops, err := belongings(est, rec, itself)
		if err != nil {
			return err
		}
		change := store.Change{Why: "the end of cluster " + rec.Name, Ops: ops, Base: est}
		if most := k.kv.Limits().Ops - 10; len(ops) > most { // an audit record goes with each
			if change.Ops = mirrored(ops); len(change.Ops) > most {
				change.Ops = change.Ops[:most]
			}
		} else if itself {
			if change.Private, err = arm.EndOperation(ctx, k.store, rec.Doing.Operation, arm.Succeeded, resource.Failure{}, k.told()); err != nil {
				return err
			}
		}
		if len(change.Ops) > 0 {
			if _, err := k.store.Commit(ctx, change); errors.Is(err, store.ErrConflict) {
				continue
			} else if err != nil {
				return err
			}
		}
		if len(change.Ops) == len(ops) {
			return k.forgetCredentials(ctx, rec.UID)
		}
	}
}

// mirrored are those of some ops that are about what a cluster itself has.
func mirrored(ops []estate.Op) []estate.Op {
	var some []estate.Op
	for _, op := range ops {
		if op.Delete.Kind == record.KubeRole || op.Delete.Kind == record.KubeBinding {
			some = append(some, op)
		}
	}
	return some
}

// belongings returns the ops that delete what is there of a cluster and was made for
// it: its identity of the system, and its node resource group with what is in it.
func belongings(est *estate.Snapshot, rec resource.Cluster, itself bool) ([]estate.Op, error) {
	var keys []record.Key
	if itself {
		keys = append(keys, rec.Key())
	}
	if m, ok := est.ManagedIdentity(rec.Identity.Object); ok && m.SystemAssigned && m.Resource == rec.Scope {
		keys = append(keys, m.Key())
	}
	if g, ok := est.ResourceGroup(rec.NodeGroup()); ok {
		next, again := est.Cluster(rec.Scope) // made again under the same name
		if by, err := scope.Parse(g.ManagedBy); err == nil && by == rec.Scope && (itself || !again || next.NodeGroup() != g.Scope) {
			keys = append(keys, g.Key())
		}
	}
	done := make(map[record.Key]bool)
	var all []estate.Op
	for _, key := range keys {
		ops, _, err := serve.Deletion(est, key, true)
		if err != nil {
			return nil, err
		}
		for _, op := range ops {
			if !done[op.Delete] {
				done[op.Delete] = true
				all = append(all, op)
			}
		}
	}
	return all, nil
}

// forget removes what a cluster leaves behind on this machine and in etcd: its
// objects, then its directory. A cluster that is made again at the same scope must
// not find the bindings of the old one (AZ-20).
func (c *clusters) forget(ctx context.Context, at scope.Scope) error {
	prefix := cluster.DefaultPrefix(at) + "/"
	for {
		page, err := c.kv.Range(ctx, prefix, "", 100, 0)
		if err != nil {
			return err
		}
		if len(page.Items) == 0 {
			break
		}
		var writes []store.Write
		for _, item := range page.Items {
			writes = append(writes, store.Write{Key: item.Key, Delete: true})
		}
		if _, _, err := c.kv.Txn(ctx, nil, writes); err != nil {
			return err
		}
	}
	dir, err := c.dirOf(at)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.homes, at)
	return nil
}

// clean forgets an earlier cluster at the scope of one that is to be started, which
// was deleted while no house ran.
func (c *clusters) clean(ctx context.Context, rec resource.Cluster) error {
	dir, err := c.dirOf(rec.Scope)
	if err != nil {
		return err
	}
	was, err := cluster.Remember(dir)
	if err != nil || was.Scope != rec.Scope.String() || was.UID == "" || was.UID == rec.UID.String() {
		return nil // nothing, or the very same; what is wrong with it, its start will say
	}
	c.log.Info("removing what is left of an earlier cluster", "cluster", rec.Scope.String())
	return c.forget(ctx, rec.Scope)
}

// forgetGone removes what is left of clusters that were deleted while no house
// ran: their directories say which they were.
func (c *clusters) forgetGone(ctx context.Context) error {
	dirs, err := os.ReadDir(c.dir.path("clusters"))
	if err != nil {
		return err
	}
	est := c.store.Current()
	for _, d := range dirs {
		was, err := cluster.Remember(c.dir.path("clusters", d.Name()))
		if err != nil {
			continue // nothing ever ran there, or its start will say what is wrong
		}
		at, err := scope.Parse(was.Scope)
		if err != nil {
			continue
		}
		if rec, ok := est.Cluster(at); ok && !rec.Attached {
			continue
		}
		c.log.Info("removing what is left of a deleted cluster", "cluster", at.String())
		if err := c.forget(ctx, at); err != nil {
			return fmt.Errorf("remove what is left of cluster %s: %w", at, err)
		}
	}
	return nil
}

// deleteGroup deletes a resource group whose clusters are gone.
func (c *clusters) deleteGroup(ctx context.Context, est *estate.Snapshot, g resource.Group) error {
	ops, err := arm.RemovalOf(est, g)
	if err != nil {
		return err
	}
	private, err := arm.EndOperation(ctx, c.store, g.Doing.Operation, arm.Succeeded, resource.Failure{}, c.told())
	if err != nil {
		return err
	}
	_, err = c.store.Commit(ctx, store.Change{Why: "the end of resource group " + g.Name, Ops: ops, Private: private, Base: est})
	if errors.Is(err, store.ErrConflict) {
		return nil // looked at again with the revision that came between
	}
	return err
}

// shortHash tells two things with one name apart.
func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:3])
}

// sameRecord compares records by their stored form.
func sameRecord(a, b record.Record) bool {
	x, err1 := record.Marshal(a)
	y, err2 := record.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
