package house

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/control/mirror"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/admission"
	"github.com/gatehouse-io/gatehouse/internal/serve/authn"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

// ErrNotRunning says that a cluster has no control plane in this process.
var ErrNotRunning = errors.New("its control plane does not run here")

// clusters runs the control planes that the estate describes, and keeps them as
// the estate describes them.
type clusters struct {
	dir       Dir
	binary    string
	endpoints []string
	etcd      etcd.Files // of a client that may be given to API servers
	webhook   string     // URL of the webhook listener
	authority string     // URL of the token service, for pods
	serverCA  *pki.CA
	clientCA  *pki.CA
	store     *store.Store
	kv        store.KV
	log       *slog.Logger
	now       func() time.Time

	mu   sync.Mutex
	runs map[scope.Scope]*run
	wg   sync.WaitGroup
}

// A run is one control plane and what follows it.
type run struct {
	is   resource.Cluster // what was applied to it
	cp   *cluster.Cluster
	core coreclient.CoreV1Interface // reads its service accounts
	stop context.CancelFunc         // ends its mirror
}

// start runs the control plane of one cluster and notes in the estate where it is.
func (c *clusters) start(ctx context.Context, rec resource.Cluster, progress func(string)) error {
	conf, err := c.config(rec)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", rec.Name, err)
	}
	conf.Progress = func(step string) { progress(rec.Name + ": " + step) }
	cp, err := cluster.Start(ctx, conf)
	if err != nil {
		return err // it names the cluster
	}
	sight := eye{cp: cp, now: c.now}
	core, err := coreclient.NewForConfig(sight.config("gatehouse-admission"))
	if err != nil {
		cp.Stop()
		return fmt.Errorf("cluster %s: %w", rec.Name, err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.mu.Lock()
	c.runs[rec.Scope] = &run{is: rec, cp: cp, core: core, stop: stop}
	c.mu.Unlock()
	if err := c.seed(ctx, rec, cp); err != nil {
		return fmt.Errorf("cluster %s: %w", rec.Name, err)
	}
	if err := c.note(ctx, rec, cp); err != nil {
		return err
	}
	c.wg.Go(func() {
		err := mirror.Run(background, mirror.Config{
			Cluster: rec.Scope, Store: c.store, Log: c.log, Client: sight.config("gatehouse-mirror"),
		})
		if err != nil && background.Err() == nil {
			c.log.Error("mirror ended", "cluster", rec.Scope.String(), "error", err)
		}
	})
	c.wg.Go(func() {
		select {
		case <-background.Done():
		case <-cp.Done():
			if err := cp.Err(); err != nil {
				c.log.Error("control plane ended", "cluster", rec.Scope.String(), "error", err)
			}
		}
	})
	return nil
}

// seed gives a new control plane the roles and bindings that the estate has for
// it. From then on the cluster says itself what it has, and the mirror reads it.
func (c *clusters) seed(ctx context.Context, rec resource.Cluster, cp *cluster.Cluster) error {
	if rec.Mirrored {
		return nil
	}
	var recs []record.Record
	est := c.store.Current()
	for r := range est.KubeRoles(rec.Scope) {
		recs = append(recs, r)
	}
	for b := range est.KubeBindings(rec.Scope) {
		recs = append(recs, b)
	}
	return cp.Seed(ctx, recs)
}

// note writes into the estate where a control plane answers.
func (c *clusters) note(ctx context.Context, rec resource.Cluster, cp *cluster.Cluster) error {
	for {
		est := c.store.Current()
		now, ok := est.Cluster(rec.Scope)
		if !ok {
			return fmt.Errorf("cluster %s: deleted while it started", rec.Name)
		}
		if now.Endpoint == cp.Server() && now.CertificateAuthority == string(cp.CA()) {
			return nil
		}
		now.Endpoint, now.CertificateAuthority = cp.Server(), string(cp.CA())
		_, err := c.store.Commit(ctx, store.Change{Why: "the control plane runs", Ops: []estate.Op{{Put: now}}, Base: est})
		if err == nil || !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func (c *clusters) config(rec resource.Cluster) (cluster.Config, error) {
	conf := cluster.Config{
		Name: rec.Name, Scope: rec.Scope, Dir: c.dir.path("clusters", rec.Scope.Name()), Binary: c.binary,
		Etcd:        cluster.Etcd{Endpoints: c.endpoints, CAFile: c.etcd.CA, CertFile: c.etcd.Cert, KeyFile: c.etcd.Key},
		AdminGroups: adminGroups(rec), WorkloadIdentity: rec.WorkloadIdentity, Audiences: []string{authn.ServerApp}, Now: c.now,
	}
	pair, err := clusterCertificate(c.clientCA, rec.Scope, c.now())
	if err != nil {
		return cluster.Config{}, err
	}
	// The subject review is always asked: it refuses the disabled and the revoked
	// also where role assignments do not count.
	conf.House = cluster.House{
		SubjectAccessReview: c.webhook + reviewPath(rec.Scope, authz.Path),
		PodMutation:         c.webhook + reviewPath(rec.Scope, admission.Path),
		CA:                  c.serverCA.CertPEM(), ClientCert: pair.CertPEM, ClientKey: pair.KeyPEM,
	}
	if rec.FQDN != "" {
		conf.ServerNames = []string{rec.FQDN}
	}
	if rec.EntraSignIn {
		conf.House.TokenReview = c.webhook + reviewPath(rec.Scope, authn.Path)
	}
	return conf, nil
}

// adminGroups are the groups to bind; without sign-in nobody is in a group.
func adminGroups(rec resource.Cluster) []principal.ID {
	if !rec.EntraSignIn {
		return nil
	}
	return rec.AdminGroups
}

// follow brings the control planes to what the estate says, at every change of
// it, until the context ends.
func (c *clusters) follow(ctx context.Context) {
	rev := c.store.Current().Revision()
	for {
		est, err := c.store.Next(ctx, rev)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.log.Warn("clusters: waiting for the next revision", "error", err)
			continue
		}
		rev = est.Revision()
		c.reconcile(ctx, est)
	}
}

func (c *clusters) reconcile(ctx context.Context, est *estate.Snapshot) {
	want := make(map[scope.Scope]resource.Cluster)
	for rec := range est.Clusters() {
		if !rec.Attached {
			want[rec.Scope] = rec
		}
	}
	c.mu.Lock()
	var gone []*run
	for sc, r := range c.runs {
		if _, ok := want[sc]; !ok {
			gone = append(gone, r)
			delete(c.runs, sc)
		}
	}
	c.mu.Unlock()
	for _, r := range gone {
		c.log.Info("stopping the control plane of a deleted cluster", "cluster", r.is.Scope.String())
		r.end()
		if err := c.forget(ctx, r.is.Scope, r.cp.Dir()); err != nil {
			c.log.Error("removing a deleted cluster", "cluster", r.is.Scope.String(), "error", err)
		}
	}
	for sc, rec := range want {
		c.mu.Lock()
		r, ok := c.runs[sc]
		c.mu.Unlock()
		var err error
		if !ok {
			err = c.start(ctx, rec, func(step string) { c.log.Info("cluster", "step", step) })
		} else {
			err = c.change(ctx, r, rec)
		}
		if err != nil && ctx.Err() == nil {
			c.log.Error("cluster", "cluster", sc.String(), "error", err)
		}
	}
}

// forget removes what a deleted cluster leaves behind: its objects in etcd, then
// its directory. A cluster that is made again at the same scope must not find the
// bindings of the old one (AZ-20).
func (c *clusters) forget(ctx context.Context, at scope.Scope, dir string) error {
	prefix := cluster.DefaultPrefix(at) + "/"
	for {
		page, err := c.kv.Range(ctx, prefix, "", 100, 0)
		if err != nil {
			return err
		}
		if len(page.Items) == 0 {
			return os.RemoveAll(dir)
		}
		var writes []store.Write
		for _, item := range page.Items {
			writes = append(writes, store.Write{Key: item.Key, Delete: true})
		}
		if _, _, err := c.kv.Txn(ctx, nil, writes); err != nil {
			return err
		}
	}
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
		dir := c.dir.path("clusters", d.Name())
		was, err := cluster.Remember(dir)
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
		if err := c.forget(ctx, at, dir); err != nil {
			return fmt.Errorf("remove what is left of cluster %s: %w", at, err)
		}
	}
	return nil
}

// change brings a running control plane to what the estate says now.
func (c *clusters) change(ctx context.Context, r *run, rec resource.Cluster) error {
	old := r.is
	if old.EntraSignIn != rec.EntraSignIn {
		// The authenticators of an API server are fixed when it starts.
		r.end()
		c.mu.Lock()
		delete(c.runs, rec.Scope)
		c.mu.Unlock()
		return c.start(ctx, rec, func(step string) { c.log.Info("cluster", "step", step) })
	}
	if !slices.Equal(adminGroups(old), adminGroups(rec)) {
		if err := r.cp.SetAdminGroups(ctx, adminGroups(rec)); err != nil {
			return err
		}
	}
	if old.WorkloadIdentity != rec.WorkloadIdentity {
		if err := r.cp.SetWorkloadIdentity(ctx, rec.WorkloadIdentity); err != nil {
			return err
		}
	}
	if rec.DisableLocalAccounts && !old.DisableLocalAccounts {
		// The door refuses them from this revision on; a new authority makes sure
		// that enabling local accounts again brings no old certificate back (LA-08).
		if err := r.cp.RotateLocalAdmins(); err != nil {
			return err
		}
	}
	r.is = rec
	return nil
}

func (r *run) end() {
	r.stop()
	r.cp.Stop()
}

// stop ends every control plane; they are found again at the next start.
func (c *clusters) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all sync.WaitGroup
	for _, r := range c.runs {
		all.Go(r.end)
	}
	all.Wait()
	c.wg.Wait()
	clear(c.runs)
}

// AdminKubeconfig issues a certificate of a local administrator to whoever asked,
// who has been authorised, and returns the kubeconfig with it. The certificate
// and who has it are in the audit log (LA-07).
func (c *clusters) AdminKubeconfig(ctx context.Context, at scope.Scope, who principal.ID) ([]byte, error) {
	rec, ok := c.store.Current().Cluster(at)
	if !ok {
		return nil, fmt.Errorf("cluster %s: %w", at, store.ErrNotFound)
	}
	if rec.DisableLocalAccounts {
		return nil, record.Invalid("local accounts of cluster %s are disabled", rec.Name)
	}
	c.mu.Lock()
	r, ok := c.runs[at]
	c.mu.Unlock()
	if !ok {
		return nil, notRunning(rec.Name)
	}
	admin, err := r.cp.IssueLocalAdmin(who, 0)
	if err != nil {
		return nil, err
	}
	why := fmt.Sprintf("local admin certificate of cluster %s: serial %s, %s, until %s",
		rec.Name, admin.Serial, admin.CredentialID, admin.NotAfter.UTC().Format(time.RFC3339))
	if _, err := c.store.Commit(ctx, store.Change{By: who, Why: why}); err != nil {
		return nil, err // what is not in the audit log is not handed out
	}
	return cluster.AdminKubeconfig(endpoint(rec), admin.Pair.CertPEM, admin.Pair.KeyPEM), nil
}

func endpoint(rec resource.Cluster) cluster.Endpoint {
	return cluster.Endpoint{Name: rec.Name, ResourceGroup: rec.ResourceGroup, Server: rec.Endpoint, CA: []byte(rec.CertificateAuthority)}
}
