// Package cluster runs real Kubernetes control planes for the house, attaches
// the control planes that others run, and examines both.
//
// Start runs kube-apiserver and kube-controller-manager from the one binary
// gatehouse-kube over the house's etcd. A cluster's data directory holds all
// that is not in etcd, so that a restarted house finds the cluster again, at the
// same address and with the same keys. Attach writes what an existing cluster
// needs in order to ask the house; Doctor says what is wrong with either.
//
// What holds for every cluster: the chain of authorizers is Node, the house,
// RBAC; a house that does not answer denies; nothing is remembered between two
// requests; system: users never come to the house; no certificate of
// system:masters is ever written to disk.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/loopback"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Config describes a control plane to run. Name, Scope, Dir, Binary and
// Etcd.Endpoints are required.
type Config struct {
	Name        string         // as its owner writes it
	Scope       scope.Scope    // its resource id
	Dir         string         // its data directory; no other cluster may use it
	Binary      string         // path of gatehouse-kube
	Etcd        Etcd           // where its objects are kept
	House       House          // whom it asks; zero: nobody
	AdminGroups []principal.ID // members are cluster-admin by Kubernetes RBAC
	// WorkloadIdentity lets the house mutate pods; see House.PodMutation.
	WorkloadIdentity bool
	Port             int // of the API server; 0 keeps the remembered one, or chooses a free one

	// UID tells this cluster from an earlier one with its scope, whose directory it
	// must not take over; empty takes any.
	UID string

	ServerNames []string // DNS names of the API server besides localhost
	Audiences   []string // accepted in tokens, besides the service account issuers
	// ServiceAccountIssuer is the iss of service account tokens; empty means the API
	// server's own URL, which is accepted in any case.
	ServiceAccountIssuer string
	// RetiredKeys are PEM public keys that verify service account tokens besides the
	// one that signs them.
	RetiredKeys []string
	// NoLocalAdmins takes away the authority of local administrators: a later start
	// without it makes another one, under which no certificate of before is good.
	NoLocalAdmins bool

	Progress func(step string) // told what is being done; nil keeps quiet
	// Now dates certificates; nil means time.Now. It must be the machine's time,
	// because kube-apiserver checks them by no other clock.
	Now func() time.Time
}

// Etcd says how kube-apiserver reaches etcd. A cluster's keys are under its
// Prefix, which no other cluster may share.
type Etcd struct {
	Endpoints []string
	CAFile    string // these three are empty together, for an etcd without TLS
	CertFile  string
	KeyFile   string
	Prefix    string // starts with a slash; empty means /clusters{scope}
}

// DefaultPrefix is the prefix of a cluster's keys when its Config names none.
func DefaultPrefix(at scope.Scope) string { return "/clusters" + at.String() }

func (c Config) check() error {
	switch {
	case c.Name == "" || c.Scope.IsZero():
		return errors.New("a cluster has a name and a scope")
	case c.Dir == "" || c.Binary == "":
		return errors.New("a cluster has a data directory and the binary to run it from")
	case len(c.Etcd.Endpoints) == 0:
		return errors.New("a cluster keeps its objects in etcd; no endpoint is given")
	case c.Etcd.Prefix != "" && c.Etcd.Prefix[0] != '/':
		return fmt.Errorf("etcd prefix %q does not start with a slash", c.Etcd.Prefix)
	}
	if info, err := os.Stat(c.Binary); err != nil {
		return fmt.Errorf("the binary of the control plane: %w", err)
	} else if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not a program", c.Binary)
	}
	return c.House.check()
}

// A Cluster is a control plane that runs.
type Cluster struct {
	conf    Config
	files   layout
	memory  Memory
	lock    *os.File
	port    *loopback.Port // nil unless this start chose it
	certs   *certificates
	certsMu sync.Mutex // guards what certs holds, and the files of certificates

	apiServer *process
	managerMu sync.Mutex    // held while the manager is replaced; guards manager and replaced
	manager   *process      // nil while it is replaced
	replaced  chan struct{} // closed and made anew when manager changes
	done      chan struct{}
	err       error // read it after done
	stopping  chan struct{}
	stopOnce  sync.Once
}

// readyWithin bounds the wait for an API server. A first start on a slow machine
// takes some ten seconds.
const readyWithin = 2 * time.Minute

// grace is what a program gets to end by itself before it is killed.
const grace = 15 * time.Second

// Start runs the control plane and returns when it answers and the house's own
// objects are in it. The context bounds the start only; Stop ends the cluster.
// When the start fails nothing is left running.
func Start(ctx context.Context, conf Config) (*Cluster, error) {
	if conf.Progress == nil {
		conf.Progress = func(string) {}
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if err := conf.check(); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", conf.Name, err)
	}
	dir, err := filepath.Abs(conf.Dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{conf: conf, files: layout{dir}, replaced: make(chan struct{}), done: make(chan struct{}), stopping: make(chan struct{})}
	if err := c.start(ctx); err != nil {
		c.kill()
		return nil, fmt.Errorf("start cluster %s: %w", conf.Name, err)
	}
	go c.watch()
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.prepare(); err != nil {
		return err
	}
	begin := time.Now()
	c.conf.Progress("kube-apiserver: starting at " + c.Server())
	var err error
	if c.apiServer, err = c.program("kube-apiserver", c.apiServerArgs()).start(); err != nil {
		return err
	}
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	c.conf.Progress(fmt.Sprintf("kube-apiserver: ready after %.1f s", time.Since(begin).Seconds()))
	c.conf.Progress("kube-controller-manager: starting")
	if c.manager, err = c.program("kube-controller-manager", c.managerArgs()).start(); err != nil {
		return err
	}
	c.conf.Progress("writing the house's bindings")
	return c.bootstrap(ctx)
}

// prepare makes the data directory say what the cluster is to be.
func (c *Cluster) prepare() error {
	if err := c.files.make(); err != nil {
		return err
	}
	var err error
	if c.lock, err = lockDir(c.files.dir); err != nil {
		return err
	}
	if c.memory, c.port, err = c.files.settle(c.conf); err != nil {
		return err
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager"} {
		if err := killStale(c.files.run(name)); err != nil {
			return err
		}
	}
	if err := portFree(c.memory.Port); err != nil {
		return err
	}
	if c.certs, err = c.files.certificates(c.conf, c.conf.Now()); err != nil {
		return err
	}
	return c.writeConfig()
}

func (c *Cluster) program(name string, args []string) program {
	return program{name: name, binary: c.conf.Binary, args: args, logFile: c.files.log(name), runFile: c.files.run(name)}
}

// watch ends the cluster when one of its programs ends: half a control plane
// would look alive and do nothing.
func (c *Cluster) watch() {
	for over := false; !over; {
		manager, replaced := c.current()
		over = true
		select {
		case <-c.stopping:
		case <-replaced:
			over = false
		case <-c.apiServer.done:
			c.err = c.failure(c.apiServer)
		case <-manager.ended():
			if now, _ := c.current(); now != manager {
				over = false // it was replaced in the same moment
			} else {
				c.err = c.failure(manager)
			}
		}
	}
	c.stopOnce.Do(func() { close(c.stopping) }) // whoever replaces the manager gives up
	manager, _ := c.current()
	manager.stop(grace)
	c.apiServer.stop(grace)
	c.port.Close()
	c.lock.Close()
	close(c.done)
}

// current returns the manager, and what is closed when there is another one.
func (c *Cluster) current() (*process, chan struct{}) {
	c.managerMu.Lock()
	defer c.managerMu.Unlock()
	return c.manager, c.replaced
}

// restartManager replaces the controller manager by one that reads its files anew.
// It leads no election, so that the second begins when the first has ended.
func (c *Cluster) restartManager() error {
	old, _ := c.current()
	c.setManager(nil)
	old.stop(grace)
	next, err := c.program("kube-controller-manager", c.managerArgs()).start()
	if err != nil {
		c.setManager(old) // which has ended: the cluster ends with it
		return err
	}
	if !c.setManager(next) {
		next.stop(0)
		return errors.New("the cluster was stopped")
	}
	return nil
}

// setManager reports whether the cluster goes on, and will end the manager itself.
func (c *Cluster) setManager(p *process) bool {
	c.managerMu.Lock()
	defer c.managerMu.Unlock()
	select {
	case <-c.stopping:
		return false
	default:
	}
	c.manager = p
	close(c.replaced)
	c.replaced = make(chan struct{})
	return true
}

// failure is nil when the program ended because it was told to.
func (c *Cluster) failure(p *process) error {
	select {
	case <-c.stopping:
		return nil
	default:
		return fmt.Errorf("cluster %s: %w", c.conf.Name, p.failure())
	}
}

func (c *Cluster) kill() {
	c.manager.stop(0)
	c.apiServer.stop(0)
	c.port.Close()
	if c.lock != nil {
		c.lock.Close()
	}
}

// Renew replaces every certificate that grows old while the control plane runs:
// its own, and those between it and the house, whose URLs stay what they are.
// Nothing is restarted: new connections use the new certificates, the API
// server's serving certificate at once and the others within five minutes. What
// the house accepted before it has to accept for as long.
func (c *Cluster) Renew(house House) error {
	if err := house.check(); err != nil {
		return fmt.Errorf("renew cluster %s: %w", c.conf.Name, err)
	}
	c.certsMu.Lock()
	defer c.certsMu.Unlock()
	return errors.Join(c.certs.issueLeaves(c.conf, c.conf.Now()), c.files.writeHouse(house))
}

// Stop ends the control plane and returns when no process of it is left. Its
// data stays, for the next Start.
func (c *Cluster) Stop() {
	c.stopOnce.Do(func() { close(c.stopping) })
	<-c.done
}

// Done is closed when the control plane has ended, by Stop or by itself.
func (c *Cluster) Done() <-chan struct{} { return c.done }

// Err says, after Done, why the control plane ended by itself, with the last
// lines that the program which ended first had printed. It is nil after Stop.
func (c *Cluster) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Server is the URL of the API server.
func (c *Cluster) Server() string { return fmt.Sprintf("https://127.0.0.1:%d", c.memory.Port) }

// CA is the PEM certificate of the authority that signs the API server's; of two
// while one takes the place of the other.
func (c *Cluster) CA() []byte {
	c.certsMu.Lock()
	defer c.certsMu.Unlock()
	return c.certs.trusted()
}

// ServiceAccountIssuer is the iss of the cluster's service account tokens.
func (c *Cluster) ServiceAccountIssuer() string {
	if c.conf.ServiceAccountIssuer != "" {
		return c.conf.ServiceAccountIssuer
	}
	return c.Server()
}

// Processes are the numbers of the cluster's running programs.
func (c *Cluster) Processes() []int {
	manager, _ := c.current()
	if manager == nil {
		return []int{c.apiServer.pid}
	}
	return []int{c.apiServer.pid, manager.pid}
}

// Dir is the cluster's data directory.
func (c *Cluster) Dir() string { return c.files.dir }
