// Package mirror reads the roles and bindings of a cluster into the estate, and
// keeps them there as they are, so that questions about both planes can be
// answered without asking the cluster.
//
// Nothing that decides a request of the cluster itself reads the mirror: the
// cluster evaluates its own bindings. A mirror that lags makes an explanation
// old, never a decision wrong.
package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// states is what the mirror needs from the store.
type states interface {
	Current() *estate.Snapshot
	Commit(ctx context.Context, c store.Change) (int64, error)
}

// Config says what to mirror where.
type Config struct {
	Cluster scope.Scope
	// UID is the cluster's. Nothing is written about another one at its scope.
	UID    resource.ClusterID
	Client *rest.Config // may list and watch roles and bindings
	Store  states
	Log    *slog.Logger // nil discards
}

// settle is how long changes are collected before they are written together.
const settle = 50 * time.Millisecond

// maxOps bounds one write; a cluster's first reading may need several.
const maxOps = 1000

// Run mirrors until the context ends, and returns its error. What cannot be
// reached is tried again by the client's own rules; the estate keeps what was
// last read.
func Run(ctx context.Context, conf Config) error {
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	client, err := rbacclient.NewForConfig(conf.Client)
	if err != nil {
		return fmt.Errorf("mirror %s: %w", conf.Cluster, err)
	}
	changed := make(chan struct{}, 1)
	kinds := map[string]runtime.Object{
		"roles": &rbacv1.Role{}, "clusterroles": &rbacv1.ClusterRole{},
		"rolebindings": &rbacv1.RoleBinding{}, "clusterrolebindings": &rbacv1.ClusterRoleBinding{},
	}
	var informers []cache.SharedIndexInformer
	for _, resource := range slices.Sorted(maps.Keys(kinds)) {
		inf := cache.NewSharedIndexInformer(
			cache.NewListWatchFromClient(client.RESTClient(), resource, metav1.NamespaceAll, fields.Everything()),
			kinds[resource], 0, cache.Indexers{})
		handler := func(any) {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		if _, err := inf.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: handler, DeleteFunc: handler, UpdateFunc: func(_, obj any) { handler(obj) },
		}); err != nil {
			return fmt.Errorf("mirror %s: %w", conf.Cluster, err)
		}
		informers = append(informers, inf)
		go inf.RunWithContext(ctx)
	}
	for _, inf := range informers {
		if !cache.WaitForCacheSync(ctx.Done(), inf.HasSynced) {
			return ctx.Err()
		}
	}
	m := &mirror{Config: conf, informers: informers}
	for {
		if err := m.write(ctx); err != nil && ctx.Err() == nil {
			conf.Log.Warn("mirror", "cluster", conf.Cluster.String(), "error", err)
			// A refused write is tried again with the next change, or after a while.
			handlerAfter(ctx, changed, 5*time.Second)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		pause := time.NewTimer(settle)
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
	}
}

func handlerAfter(ctx context.Context, changed chan<- struct{}, d time.Duration) {
	time.AfterFunc(d, func() {
		select {
		case changed <- struct{}{}:
		case <-ctx.Done():
		default:
		}
	})
}

type mirror struct {
	Config
	informers []cache.SharedIndexInformer
}

// write brings the estate to what the cluster says.
func (m *mirror) write(ctx context.Context) error {
	want, unread := m.read()
	for _, err := range unread {
		// What does not fit the estate is left out, and said.
		m.Log.Warn("mirror: object not read", "cluster", m.Cluster.String(), "error", err)
	}
	est := m.Store.Current()
	cluster, err := m.record(est)
	if err != nil {
		return err
	}
	still := func(now *estate.Snapshot) error {
		_, err := m.record(now)
		return err
	}
	ops := diff(est, m.Cluster, want)
	const why = "roles and bindings of the cluster itself"
	for part := range slices.Chunk(ops, maxOps) {
		if _, err := m.Store.Commit(ctx, store.Change{Why: why, Ops: part, Check: still}); err != nil {
			return fmt.Errorf("mirror %s: %w", m.Cluster, err)
		}
	}
	for !cluster.Mirrored {
		// On the cluster as it was read: others write it too.
		cluster.Mirrored = true
		_, err := m.Store.Commit(ctx, store.Change{Why: why, Ops: []estate.Op{{Put: cluster}}, Base: est})
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("mirror %s: %w", m.Cluster, err)
		}
		est = m.Store.Current()
		if cluster, err = m.record(est); err != nil {
			return err
		}
	}
	return nil
}

// record is that of the cluster, and not of one that was made at its place.
func (m *mirror) record(est *estate.Snapshot) (resource.Cluster, error) {
	c, ok := est.Cluster(m.Cluster)
	if !ok || c.UID != m.UID {
		return resource.Cluster{}, fmt.Errorf("cluster %s: %w", m.Cluster, estate.ErrNotFound)
	}
	return c, nil
}

func (m *mirror) read() (map[record.Key]record.Record, []error) {
	want := make(map[record.Key]record.Record)
	var unread []error
	for _, inf := range m.informers {
		for _, obj := range inf.GetStore().List() {
			r, err := convert(m.Cluster, obj)
			if err != nil {
				unread = append(unread, err)
				continue
			}
			want[r.Key()] = r
		}
	}
	return want, unread
}

// convert reads a typed object, which has lost its kind on the way, as a record.
func convert(cluster scope.Scope, obj any) (record.Record, error) {
	const version = "rbac.authorization.k8s.io/v1"
	switch o := obj.(type) {
	case *rbacv1.Role:
		return toRecord(cluster, o, metav1.TypeMeta{APIVersion: version, Kind: "Role"}, func(c *rbacv1.Role, t metav1.TypeMeta) { c.TypeMeta = t })
	case *rbacv1.ClusterRole:
		return toRecord(cluster, o, metav1.TypeMeta{APIVersion: version, Kind: "ClusterRole"}, func(c *rbacv1.ClusterRole, t metav1.TypeMeta) { c.TypeMeta = t })
	case *rbacv1.RoleBinding:
		return toRecord(cluster, o, metav1.TypeMeta{APIVersion: version, Kind: "RoleBinding"}, func(c *rbacv1.RoleBinding, t metav1.TypeMeta) { c.TypeMeta = t })
	case *rbacv1.ClusterRoleBinding:
		return toRecord(cluster, o, metav1.TypeMeta{APIVersion: version, Kind: "ClusterRoleBinding"}, func(c *rbacv1.ClusterRoleBinding, t metav1.TypeMeta) { c.TypeMeta = t })
	}
	return nil, errors.New("not an object of rbac.authorization.k8s.io/v1")
}

func toRecord[T any](cluster scope.Scope, obj *T, meta metav1.TypeMeta, set func(*T, metav1.TypeMeta)) (record.Record, error) {
	c := *obj
	set(&c, meta)
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return kuberbac.FromObject(cluster, data)
}

// diff returns the ops that make the estate's view of a cluster equal to want.
func diff(est *estate.Snapshot, cluster scope.Scope, want map[record.Key]record.Record) []estate.Op {
	var ops []estate.Op
	have := make(map[record.Key]bool)
	see := func(r record.Record) {
		key := r.Key()
		have[key] = true
		next, ok := want[key]
		switch {
		case !ok:
			ops = append(ops, estate.Op{Delete: key})
		case !same(r, next):
			ops = append(ops, estate.Op{Put: next})
		}
	}
	for r := range est.KubeRoles(cluster) {
		see(r)
	}
	for b := range est.KubeBindings(cluster) {
		see(b)
	}
	for key, r := range want {
		if !have[key] {
			ops = append(ops, estate.Op{Put: r})
		}
	}
	slices.SortFunc(ops, func(a, b estate.Op) int { return strings.Compare(a.Key().String(), b.Key().String()) })
	return ops
}

// same compares the stored forms, which are deterministic.
func same(a, b record.Record) bool {
	x, errX := record.Marshal(a)
	y, errY := record.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
