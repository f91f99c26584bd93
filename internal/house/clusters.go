package house

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
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
// the estate describes them: each has a keeper. What people want done is written
// in the records, so that a house which was killed goes on where it was.
type clusters struct {
	dir       Dir
	binary    string // empty: this house runs no control planes
	endpoints []string
	etcd      etcd.Files // of a client that may be given to API servers
	webhook   string     // URL of the webhook listener
	authority string     // URL of the token service, for pods
	serverCA  *pki.CA
	clientCA  *pki.CA
	store     *store.Store
	kv        store.KV
	log       *slog.Logger
	now       func() time.Time // the machine's clock, by which certificates and tokens of clusters are dated
	told      func() time.Time // the clock that clients are told; a rehearsal moves it
	slots     chan struct{}    // held while a control plane starts, which keeps one core busy

	mu      sync.Mutex // guards what follows
	keepers map[scope.Scope]*keeper
	homes   map[scope.Scope]string // the names of directories
	wg      sync.WaitGroup
}

// startAll begins to keep every control plane of the estate, and returns when each
// has been tried once. That one which ran before does not start is an error.
func (c *clusters) startAll(ctx, follow context.Context, progress func(string)) error {
	if err := c.forgetGone(ctx); err != nil {
		return err
	}
	if err := c.beat(ctx); err != nil {
		return err
	}
	c.wg.Go(func() { c.beats(follow) })
	var first []*keeper
	for rec := range c.store.Current().Clusters() {
		if !rec.Attached {
			first = append(first, c.keep(follow, rec.Scope, progress))
		}
	}
	for _, k := range first {
		select {
		case err := <-k.first:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, k := range first {
		k.quiet()
	}
	return nil
}

// follow brings the control planes to what the estate says, at every change of
// it, until the context ends.
func (c *clusters) follow(ctx context.Context) {
	for rev := int64(-1); ; {
		est, err := c.store.Next(ctx, rev)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.log.Warn("clusters: waiting for the next revision", "error", err)
			continue
		}
		rev = est.Revision()
		for rec := range est.Clusters() {
			if !rec.Attached {
				c.keep(ctx, rec.Scope, nil)
			}
		}
		c.mu.Lock()
		for _, k := range c.keepers {
			k.look(est)
		}
		c.mu.Unlock()
		c.groups(ctx, est)
	}
}

// keep returns the keeper of a cluster, and makes one that lives until the context
// ends or the cluster is gone.
func (c *clusters) keep(ctx context.Context, at scope.Scope, progress func(string)) *keeper {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.keepers[at]; ok {
		return k
	}
	k := newKeeper(c, at, progress)
	c.keepers[at] = k
	c.wg.Go(func() { k.keep(ctx) })
	return k
}

// leave ends a keeper whose cluster is gone, unless there is another one by now.
func (c *clusters) leave(k *keeper) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rec, ok := c.store.Current().Cluster(k.at); ok && !rec.Attached {
		return false
	}
	delete(c.keepers, k.at)
	return true
}

// running returns the control plane of a cluster, if it runs here. That of an earlier
// cluster at the same scope, which has yet to be ended, is another's: what it says of
// tokens and pods counts for nothing.
func (c *clusters) running(rec resource.Cluster) (*run, bool) {
	c.mu.Lock()
	k, ok := c.keepers[rec.Scope]
	c.mu.Unlock()
	if !ok {
		return nil, false
	}
	r := k.current()
	return r, r != nil && r.uid == rec.UID
}

// stop ends every control plane; they are found again at the next start. What
// follows the estate has ended before.
func (c *clusters) stop() {
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all sync.WaitGroup
	for _, k := range c.keepers {
		all.Go(k.halt)
	}
	all.Wait()
	clear(c.keepers)
}

// groups deletes the resource groups that wait for their clusters to be gone.
func (c *clusters) groups(ctx context.Context, est *estate.Snapshot) {
	for g := range est.ResourceGroups() {
		if g.Doing.Kind != resource.Delete || holdsClusters(est, g.Scope) {
			continue
		}
		if err := c.deleteGroup(ctx, est, g); err != nil && ctx.Err() == nil {
			c.log.Error("deleting a resource group", "group", g.Scope.String(), "error", err)
		}
	}
}

func holdsClusters(est *estate.Snapshot, group scope.Scope) bool {
	for rec := range est.Clusters() {
		if group.Contains(rec.Scope) && !rec.Attached {
			return true
		}
	}
	return false
}

// config is what a control plane is started with.
func (c *clusters) config(rec resource.Cluster) (cluster.Config, error) {
	dir, err := c.dirOf(rec.Scope)
	if err != nil {
		return cluster.Config{}, err
	}
	conf := cluster.Config{
		Name: rec.Name, Scope: rec.Scope, UID: rec.UID.String(), Dir: dir, Binary: c.binary,
		Etcd:        cluster.Etcd{Endpoints: c.endpoints, CAFile: c.etcd.CA, CertFile: c.etcd.Cert, KeyFile: c.etcd.Key},
		AdminGroups: adminGroups(rec), WorkloadIdentity: rec.WorkloadIdentity, Audiences: []string{authn.ServerApp}, Now: c.now,
		NoLocalAdmins: rec.DisableLocalAccounts, RetiredKeys: retired(rec, c.now()),
	}
	if rec.FQDN != "" {
		conf.ServerNames = []string{rec.FQDN}
	}
	if rec.OIDCIssuer {
		conf.ServiceAccountIssuer = rec.IssuerURL
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
	if rec.EntraSignIn {
		conf.House.TokenReview = c.webhook + reviewPath(rec.Scope, authn.Path)
	}
	return conf, nil
}

// A form is what of a cluster is fixed when its API server starts: another form
// takes another start. Whoever watches with a certificate of local administrators
// is cut off by it when they are switched off (LA-03).
type form struct {
	signIn, noAdmins   bool
	issuer, fqdn, keys string
}

// formOf is the form of a cluster whose service account tokens cp signs. The key
// that signs is no part of it: the record names it only after the start.
func (c *clusters) formOf(rec resource.Cluster, cp *cluster.Cluster) (form, error) {
	signs, err := cp.ServiceAccountKey()
	if err != nil {
		return form{}, err
	}
	keys := slices.DeleteFunc(retired(rec, c.now()), func(pem string) bool { return pem == string(signs) })
	f := form{signIn: rec.EntraSignIn, noAdmins: rec.DisableLocalAccounts, fqdn: rec.FQDN, keys: strings.Join(keys, "")}
	if rec.OIDCIssuer {
		f.issuer = rec.IssuerURL
	}
	return f, nil
}

// retired are the keys of a record whose tokens are still good. The one that signs
// may be among them.
func retired(rec resource.Cluster, now time.Time) []string {
	var keys []string
	for _, k := range rec.ServiceAccountKeys {
		if k.Until.IsZero() || now.Before(k.Until) {
			keys = append(keys, k.PEM)
		}
	}
	return keys
}

// adminGroups are the groups to bind; without sign-in nobody is in a group.
func adminGroups(rec resource.Cluster) []principal.ID {
	if !rec.EntraSignIn {
		return nil
	}
	return rec.AdminGroups
}

// dirOf returns the directory of a cluster. It has the cluster's name, and something
// more when another one of that name was there first.
func (c *clusters) dirOf(at scope.Scope) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, ok := c.homes[at]; ok {
		return c.dir.path("clusters", name), nil
	}
	dirs, err := os.ReadDir(c.dir.path("clusters"))
	if err != nil {
		return "", err
	}
	taken := make(map[string]bool)
	for _, name := range c.homes {
		taken[name] = true
	}
	home := ""
	for _, d := range dirs {
		was, err := cluster.Remember(c.dir.path("clusters", d.Name()))
		switch {
		case err == nil && was.Scope == at.String():
			home = d.Name()
		case !errors.Is(err, fs.ErrNotExist):
			taken[d.Name()] = true
		}
	}
	if home == "" {
		if home = at.Name(); taken[home] {
			home += "-" + shortHash(at.String())
		}
	}
	c.homes[at] = home
	return c.dir.path("clusters", home), nil
}
