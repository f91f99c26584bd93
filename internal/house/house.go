// Package house puts the identity plane together: store, keys, issuer, doors and
// control planes, in one process with one data directory.
package house

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/admission"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/serve/authn"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
	"github.com/gatehouse-io/gatehouse/internal/serve/issuers"
	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/serve/oidc"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
	"github.com/gatehouse-io/gatehouse/internal/token"
	"github.com/gatehouse-io/gatehouse/internal/trust"
)

// Config says how a house is run. Dir is required.
type Config struct {
	Dir Dir
	// Listen and WebhookListen are host:port of the two listeners. Empty means the
	// default ports of 127.0.0.1.
	Listen, WebhookListen string
	// ProxyListen is host:port of the proxy, which must be loopback. Empty means none.
	ProxyListen string
	// Authority is the URL by which clients reach the house; empty means https://
	// and the address of Listen. Names are further hosts in its certificate.
	Authority string
	Names     []string
	// PrivateIssuers are the hosts, "host" or "host:port", of issuers of foreign
	// tokens that may be in the own network; see package trust.
	PrivateIssuers []string
	// Roots are the authorities that foreign issuers are verified with; nil means
	// those of the system.
	Roots *x509.CertPool
	// External is an etcd that is run elsewhere; nil runs one in this process.
	External *etcd.ClientConfig
	// Domain is the tenant's on the first start; empty means gatehouse.local.
	Domain string
	// First are records for the first start. When they have a tenant, no other is made.
	First []record.Record
	// FirstPassword is given to every user among First; empty gives none.
	FirstPassword string
	// Kube is the path of gatehouse-kube; empty runs no control planes.
	Kube string
	// AcceptLoss starts with a store that lacks changes which were seen here.
	AcceptLoss bool
	// ResumeIssuing ends a stop of issuing (see keys.Ring.StopIssuing) at the start:
	// while issuing is stopped nobody can get the token that it takes to resume.
	ResumeIssuing bool
	// Lock is that of Dir, taken before; Start takes it over. nil lets Start lock.
	Lock *Lock
	// Rehearse lets knobs of a rehearsal be turned on and heeds them. EndRehearsal
	// turns all of them off at the start.
	Rehearse, EndRehearsal bool
	// Rehearsing is told what is rehearsed, at the start if anything is and whenever
	// it changes; "" is nothing.
	Rehearsing func(summary string)
	// MaxAge bounds how old a snapshot may be and still allow; 0 is the default.
	MaxAge   time.Duration
	Log      *slog.Logger
	Progress func(step string)
	// Now is the machine's clock; nil is time.Now. A rehearsal moves the house's
	// away from it, see House.now.
	Now func() time.Time
}

// The default listeners.
const (
	DefaultListen        = "127.0.0.1:8443"
	DefaultWebhookListen = "127.0.0.1:8444"
	DefaultProxyListen   = "127.0.0.1:8445"
)

// traceSize is how many events `gatehouse trace` can look back on.
const traceSize = 10_000

// sweepEvery is how often what has expired is removed from the store.
const sweepEvery = time.Minute

// usesEvery is how often it is written down which identities got tokens.
const usesEvery = 5 * time.Second

// A House is a running identity plane.
type House struct {
	conf     Config
	store    *store.Store
	safe     *safe.Safe
	issuer   *issue.Issuer
	foreign  *trust.Issuers
	clusters *clusters
	public   net.Listener
	webhooks net.Listener
	proxy    net.Listener // nil: none
	closers  []func()
	cancel   context.CancelFunc
	// unfollow ends the reconciling of control planes, before they are stopped.
	unfollow context.CancelFunc
	follower sync.WaitGroup
	wg       sync.WaitGroup
	failed   chan error
	renewing sync.Mutex // of the operator's secret
}

// Start brings the house up and returns when it answers. The context bounds the
// start; Stop ends the house. After an error nothing is left running.
func Start(ctx context.Context, conf Config) (*House, error) {
	if err := conf.complete(); err != nil {
		return nil, err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	follow, unfollow := context.WithCancel(background)
	h := &House{conf: conf, cancel: cancel, unfollow: unfollow, failed: make(chan error, 5)}
	if err := h.start(ctx, background, follow); err != nil {
		h.Stop()
		return nil, h.explain(err)
	}
	return h, nil
}

func (h *House) start(ctx, background, follow context.Context) error {
	// What can be wrong with the surroundings comes first, so that a house which
	// cannot run leaves everything as it was.
	if err := h.lock(); err != nil {
		return err
	}
	if err := h.bind(ctx); err != nil {
		return err
	}
	if err := h.conf.Dir.prepare(); err != nil {
		return err
	}
	first, err := h.conf.Dir.empty()
	if err != nil {
		return err
	}
	h.conf.Progress("opening the store")
	if err := h.open(ctx, background, first); err != nil {
		return err
	}
	if err := h.mayRehearse(ctx); err != nil {
		return err
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	ring, err := h.keys(ctx)
	if err != nil {
		return err
	}
	h.foreign = trust.New(trust.Config{Local: h.clusterKeys, Private: h.conf.PrivateIssuers, Roots: h.conf.Roots, Log: h.conf.Log.With("part", "trust"), Now: h.conf.Now})
	h.issuer, err = issue.New(issue.Config{State: h.store, Keys: ring, Foreign: h.foreign, Witness: h.witness, Authority: h.conf.Authority, Fronts: []string{publicCloud.login}, Now: h.now, Machine: h.conf.Now})
	if err != nil {
		return err
	}
	h.conf.Progress("serving " + h.conf.Authority)
	if err := h.serve(ctx, background, ring); err != nil {
		return err
	}
	if h.conf.Kube != "" {
		if err := h.clusters.startAll(ctx, follow, h.conf.Progress); err != nil {
			return err
		}
	}
	h.follower.Go(func() { h.clusters.follow(follow) })
	h.wg.Go(func() { h.sweep(background) })
	h.wg.Go(func() { h.writeUses(background) })
	h.wg.Go(func() { h.followKnobs(background, ring) })
	if !h.store.Rehearsal().Off(h.conf.Now()) {
		h.announce()
	}
	return nil
}

func (c *Config) complete() error {
	if c.Dir == "" {
		return errors.New("the house needs a data directory")
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.WebhookListen == "" {
		c.WebhookListen = DefaultWebhookListen
	}
	if c.Domain == "" {
		c.Domain = "gatehouse.local"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.Rehearsing == nil {
		c.Rehearsing = func(string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// lock takes the data directory, unless the caller has done so.
func (h *House) lock() error {
	if h.conf.Lock == nil {
		var err error
		if h.conf.Lock, err = h.conf.Dir.Lock(); err != nil {
			return err
		}
	}
	h.closers = append(h.closers, h.conf.Lock.Unlock)
	return nil
}

// keys opens the signing keys.
func (h *House) keys(ctx context.Context) (*keys.Ring, error) {
	ring, err := keys.Open(ctx, keys.Config{State: h.store, Now: h.now, Log: h.conf.Log})
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, func() { ring.Close() })
	if h.conf.ResumeIssuing {
		if err := ring.ResumeIssuing(ctx, principal.ID{}, "asked for at the start"); err != nil {
			return nil, err
		}
	}
	return ring, nil
}

// open opens the store on the embedded or the external etcd.
func (h *House) open(ctx, background context.Context, first bool) error {
	dir, log := h.conf.Dir, h.conf.Log.With("part", "etcd")
	client := h.conf.External
	if client == nil {
		// etcd would fill an empty directory, and nobody would see that a store is lost.
		if err := store.CheckDir(dir.path("store"), first); err != nil {
			return err
		}
		files := etcdFiles{dir}
		if err := files.issue(h.conf.Now()); err != nil {
			return err
		}
		server, err := etcd.Start(ctx, etcd.ServerConfig{Dir: dir.path("etcd"), TLS: files.files("etcd"), Log: log})
		if err != nil {
			return err
		}
		h.closers = append(h.closers, server.Close)
		h.wg.Go(func() {
			select {
			case <-background.Done():
			case <-server.Failed():
				h.failed <- h.explain(fmt.Errorf("the database in %s gave up: %w; start again: what was acknowledged is on the disk", dir.path("etcd"), server.Err()))
			}
		})
		own := server.ClientConfig(files.files("gatehouse"))
		client = &own
	}
	kv, err := etcd.Dial(*client)
	if err != nil {
		return err
	}
	h.closers = append(h.closers, func() { kv.Close() })
	if h.conf.External != nil {
		if err := dir.joins(ctx, kv); err != nil {
			return err
		}
	}
	key, err := store.LoadKey(dir.path("key"), first)
	if err != nil {
		return err
	}
	h.store, err = store.Open(ctx, store.Config{
		KV: kv, Sealer: key, Dir: dir.path("store"), Init: first, AcceptLoss: h.conf.AcceptLoss, MaxAge: h.conf.MaxAge, Now: h.conf.Now, Rehearse: h.conf.Rehearse,
		Log: h.conf.Log.With("part", "store"),
	})
	if err != nil {
		return err
	}
	h.closers = append(h.closers, func() { h.store.Close() })
	if h.safe, err = safe.New(safe.Config{State: h.store, There: keyvault.There, Now: h.now, Machine: h.conf.Now, Log: h.conf.Log.With("part", "vaults")}); err != nil {
		return err
	}
	h.clusters = &clusters{dir: dir, binary: h.conf.Kube, endpoints: client.Endpoints, store: h.store, kv: kv, log: h.conf.Log, now: h.conf.Now, told: h.now,
		slots: make(chan struct{}, 2), keepers: make(map[scope.Scope]*keeper), homes: make(map[scope.Scope]string)}
	if h.conf.External == nil {
		h.clusters.etcd = etcdFiles{dir}.files("kube-apiserver")
	} else {
		h.clusters.etcd = client.TLS
	}
	return nil
}

// serve opens the listeners.
func (h *House) serve(ctx, background context.Context, ring *keys.Ring) error {
	serverCA, err := authority(ctx, h.store, "server", "gatehouse server authority", h.conf.Now())
	if err != nil {
		return err
	}
	clientCA, err := authority(ctx, h.store, "webhook", "gatehouse webhook client authority", h.conf.Now())
	if err != nil {
		return err
	}
	if err := write(h.conf.Dir.CA(), serverCA.CertPEM()); err != nil {
		return err
	}
	h.clusters.serverCA, h.clusters.clientCA = serverCA, clientCA

	trace := serve.NewTrace(traceSize)
	events := func(_ context.Context, e serve.Event) { trace.Add(e) }
	log, stage := h.conf.Log, h.stage()
	authnDoor, err := authn.New(authn.Config{
		Estates: h.store, Effective: h.store.Effective, Keys: ring.Set, Log: log.With("door", "authn"), Events: events, Now: h.now, Machine: h.conf.Now,
		// Clusters accept tokens of version 1.0 alone, as AKS does.
		Issuers: h.issuer.IssuersV1,
		Live:    h.issuer.Live,
		Alert:   h.store.Alert,
	})
	if err != nil {
		return err
	}
	authzDoor, err := authz.New(authz.Config{Estates: h.store, Effective: h.store.Effective, Log: log.With("door", "authz"), Events: events, Now: h.now})
	if err != nil {
		return err
	}
	admissionDoor, err := admission.New(admission.Config{Accounts: h.clusters.Account, Settings: h.clusters.Identity,
		Log: log.With("door", "admission"), Events: events, Now: h.now})
	if err != nil {
		return err
	}
	apiDoor, err := api.New(api.Config{
		State: h.store, Keys: ring.Set, Issuers: h.issuer.Issuers, Trace: trace,
		Live: h.issuer.Live, ChangePassword: h.issuer.ChangePassword, CheckIssuer: h.checkIssuer, Sessions: h.issuer, Ring: ring, AdminKubeconfig: h.clusters.AdminKubeconfig,
		AttachCluster: h.clusters.Attachment, Examine: h.clusters.Examine, ClusterState: h.clusters.State,
		Effective: h.store.Effective, Stage: stage, KnobsTurned: func(ctx context.Context) { h.knobsTurned(ctx, ring) },
		Log: log.With("door", "api"), Now: h.now,
	})
	if err != nil {
		return err
	}
	options := serve.Options{Log: log, Quiet: true, Now: h.now}

	pageKey, err := derivedKey(serverCA, "next links of Graph")
	if err != nil {
		return err
	}
	meter := h.newMeter()
	ours, err := h.doorway(h.own(), ring, trace, pageKey, meter)
	if err != nil {
		return err
	}
	cloud, err := h.doorway(publicCloud, ring, trace, pageKey, meter)
	if err != nil {
		return err
	}

	cloudIssuer, err := h.issuer.At(publicCloud.login)
	if err != nil {
		return err
	}
	machines, err := h.metadata(cloudIssuer, trace)
	if err != nil {
		return err
	}

	agents, err := h.nodes(cloudIssuer, trace)
	if err != nil {
		return err
	}
	issuersDoor, err := issuers.New(issuers.Config{Estates: h.store, Log: log.With("door", "issuers"), Now: h.conf.Now})
	if err != nil {
		return err
	}

	metadata := stage.Shut(rehearsal.IMDS, machines)
	public := http.NewServeMux()
	public.Handle(imds.Path, metadata)
	public.Handle(imds.Endpoint, metadata)
	public.Handle(imds.Endpoint+"/{$}", metadata)
	public.Handle(nodesPath, stage.Shut(rehearsal.IMDS, agents))
	public.Handle("GET /livez", serve.Handle(serve.Live(), options))
	public.Handle("GET /readyz", serve.Handle(serve.Ready(h.ready()...), options))
	public.Handle(issuers.Path+"/", issuersDoor.Handler())
	public.Handle(proxyPath, stage.Shut(rehearsal.OIDC, h.clusters.tokenProxies(ours.tokens), oidc.TokenPaths...))
	public.Handle("/gatehouse/", serve.SecurityHeaders(apiDoor.Handler()))
	public.Handle("/", ours.login)

	cert := &serving{ca: serverCA, leaf: h.leaf(), now: h.conf.Now}
	h.clusters.webhook, h.clusters.authority = "https://"+reachable(h.conf.WebhookListen), h.conf.Authority
	return errors.Join(
		h.serveProxy(background, cloud, outside{cluster: h.clusters.behind, metadata: metadata, issuers: issuersDoor}, serverCA),
		h.answer(background, h.public, stage.Announce(doors(ours, public)), cert, nil),
		h.answer(background, h.webhooks, webhookMux(stage.Shut(rehearsal.AuthN, authnDoor.Handler()),
			stage.Shut(rehearsal.Admission, admissionDoor.Handler()), stage.Shut(rehearsal.AuthZ, authzDoor.Handler())), cert, clientCA))
}

// clusterKeys are the keys of an issuer that is a cluster of this house.
func (h *House) clusterKeys(issuer string) (token.ForeignKeys, bool) {
	return issuers.Keys(h.store.Current(), issuer, h.conf.Now())
}

// witness lets a cluster of this house judge a token that its API server made.
func (h *House) witness(ctx context.Context, says token.Foreign, raw issue.Secret) error {
	rec, ok := issuers.Cluster(h.store.Current(), says.Issuer)
	if !ok {
		return nil
	}
	return h.clusters.vouch(ctx, rec, says, raw)
}

// checkIssuer refuses an issuer that a federated credential must not name.
func (h *House) checkIssuer(issuer string) error {
	if h.issuer.Own(issuer) {
		return nil
	}
	return h.foreign.Check(issuer)
}

// webhookMux tells the reviews apart by the end of the path; the doors check all
// of it.
func webhookMux(tokens, pods, subjects http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path.Base(r.URL.Path) {
		case authn.Path:
			tokens.ServeHTTP(w, r)
		case admission.Path:
			pods.ServeHTTP(w, r)
		default:
			subjects.ServeHTTP(w, r)
		}
	})
}

func reviewPath(cluster scope.Scope, review string) string {
	return serve.ClusterPrefix + cluster.String() + "/" + review
}

// leaf is the serving certificate: the listeners, the authority, and what else
// the house is called.
func (h *House) leaf() pki.Leaf {
	leaf := pki.Leaf{CommonName: "gatehouse", Server: true, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	names := append([]string{}, h.conf.Names...)
	for _, l := range []string{h.conf.Listen, h.conf.WebhookListen} {
		if host, _, err := net.SplitHostPort(l); err == nil {
			names = append(names, host)
		}
	}
	if u, err := url.Parse(h.conf.Authority); err == nil {
		names = append(names, u.Hostname())
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPs = append(leaf.IPs, ip)
		} else if n != "" && n != "localhost" {
			leaf.DNS = append(leaf.DNS, n)
		}
	}
	return leaf
}

// runner is who has what only a house that runs control planes has; nil when this
// one runs none.
func (h *House) runner() arm.Clusters {
	if h.conf.Kube == "" {
		return nil
	}
	return h.clusters
}

// writeUses has it written down when identities got their latest tokens, until ctx
// ends, and then once more.
func (h *House) writeUses(ctx context.Context) {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	failing := false
	for {
		err := h.store.WriteUses(ctx)
		switch {
		case err != nil && !failing && ctx.Err() == nil:
			h.conf.Log.Warn("when identities got their latest tokens waits to be written", "error", err)
			failing = true
		case err == nil:
			failing = false
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), usesEvery)
		defer cancel()
		if err := h.store.WriteUses(last); err != nil {
			h.conf.Log.Warn("when identities got their latest tokens was not written", "error", err)
		}
		return
	}
}

func (h *House) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// By the machine's clock: what a rehearsal's has ended is needed when it is moved back.
		if _, err := h.store.Sweep(ctx, h.conf.Now()); err != nil && ctx.Err() == nil {
			h.conf.Log.Warn("sweep", "error", err)
		}
		if err := h.safe.Tidy(ctx); err != nil && ctx.Err() == nil {
			h.conf.Log.Warn("vaults", "error", err)
		}
	}
}

// Authority is the URL by which clients reach the house.
func (h *House) Authority() string { return h.conf.Authority }

// Store is the house's store.
func (h *House) Store() *store.Store { return h.store }

// Failed delivers the error of what ended by itself, a listener or the database.
// The house must then be stopped.
func (h *House) Failed() <-chan error { return h.failed }

// Stop ends the control planes, the doors and the store, in this order. Requests
// that run are answered.
func (h *House) Stop() {
	h.unfollow()
	h.follower.Wait()
	if h.clusters != nil {
		h.clusters.stop()
	}
	h.cancel()
	h.wg.Wait()
	for i := len(h.closers) - 1; i >= 0; i-- {
		h.closers[i]()
	}
	h.closers = nil
}
