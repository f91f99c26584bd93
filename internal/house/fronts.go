package house

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/serve/clouds"
	"github.com/gatehouse-io/gatehouse/internal/serve/graph"
	"github.com/gatehouse-io/gatehouse/internal/serve/issuers"
	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/serve/oidc"
	"github.com/gatehouse-io/gatehouse/internal/serve/proxy"
	"github.com/gatehouse-io/gatehouse/internal/serve/registry"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
)

// A front is what the house is called where clients reach it. Every link, issuer
// and cookie of a door derives from its front, which the listener or the name in
// TLS chooses, and never from a header (OA-47).
type front struct {
	login, arm, graph string // URLs without a path
	// services is the URL below which all vaults and registries are; empty means that
	// each has a host name of its own.
	services string
}

// publicCloud are the names that clients of the public cloud have compiled in.
// They reach the house under them through its proxy.
var publicCloud = front{"https://login.microsoftonline.com", "https://management.azure.com", "https://graph.microsoft.com", ""}

// own is the front of the public listener: one URL for all doors.
func (h *House) own() front {
	return front{h.conf.Authority, h.conf.Authority, h.conf.Authority, h.conf.Authority}
}

// cloud is how a front describes itself to clients.
func (f front) cloud() clouds.Cloud {
	if f == publicCloud {
		return clouds.Cloud{Name: "AzureCloud", Login: f.login, ResourceManager: f.arm, Graph: f.graph}
	}
	return clouds.Cloud{Name: "Gatehouse", Login: f.login, ResourceManager: f.arm, Graph: f.graph, SignInAtADFS: true}
}

// withMetadata puts the description of the cloud beside its Resource Manager.
func withMetadata(about, arm http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == clouds.Path {
			about.ServeHTTP(w, r)
			return
		}
		arm.ServeHTTP(w, r)
	})
}

// A doorway is the doors of a front.
type doorway struct {
	// tokens is login without what a rehearsal does to it.
	tokens                                *oidc.Door
	login, arm, graph, vaults, registries http.Handler
	// vault and registry answer for one of those, as on its own host; false says that
	// there is none.
	vault, registry func(name string) (http.Handler, bool)
}

// doorway builds the doors of a front.
func (h *House) doorway(f front, ring *keys.Ring, trace *serve.Trace, pageKey []byte, meter *rehearse.Meter) (doorway, error) {
	op, err := ReadOperator(h.conf.Dir.Operator())
	if err != nil {
		return doorway{}, err
	}
	log, stage := h.conf.Log, h.stage()
	issuer, err := h.issuer.At(f.login)
	if err != nil {
		return doorway{}, err
	}
	armDoor, err := arm.New(arm.Config{State: h.store, Keys: ring.Set, Issuers: h.issuer.Issuers, Base: f.arm, Authority: f.login,
		Effective: h.store.Effective, Meter: meter, Live: h.issuer.Live, CheckIssuer: h.checkIssuer, Clusters: h.runner(), Events: trace.Add, Log: log.With("door", "arm"), Now: h.now})
	if err != nil {
		return doorway{}, err
	}
	graphDoor, err := graph.New(graph.Config{State: h.store, Keys: ring.Set, Issuers: h.issuer.Issuers, Base: f.graph, PageKey: pageKey,
		CheckIssuer: h.checkIssuer, Effective: h.store.Effective, Meter: meter, Live: h.issuer.Live, Events: trace.Add, Log: log.With("door", "graph"), Now: h.now})
	if err != nil {
		return doorway{}, err
	}
	vaultDoor, err := keyvault.New(keyvault.Config{State: h.store, Safe: h.safe, Keys: ring.Set, Issuers: h.issuer.Issuers, Authority: f.login, Base: f.services,
		PageKey: pageKey, Effective: h.store.Effective, Live: h.issuer.Live, Events: trace.Add, Log: log.With("door", "keyvault"), Now: h.now})
	if err != nil {
		return doorway{}, err
	}
	registryDoor, err := registry.New(registry.Config{State: h.store, Keys: ring.Set, Issuers: h.issuer.Issuers, Sign: ring.SignRegistry, Base: f.services,
		Effective: h.store.Effective, Live: h.issuer.Live, Events: trace.Add, Log: log.With("door", "registry"), Now: h.now})
	if err != nil {
		return doorway{}, err
	}
	loginDoor := oidc.New(oidc.Config{Issuer: issuer, Tokens: h.tokens(meter), Log: log.With("door", "oidc"), Trace: trace, Single: op.Tenant})
	about := clouds.Handler(f.cloud(), serve.Options{Log: log.With("door", "clouds"), Now: h.now})
	return doorway{
		loginDoor,
		stage.Shut(rehearsal.OIDC, loginDoor, oidc.TokenPaths...),
		stage.Shut(rehearsal.ARM, withMetadata(about, armDoor.Handler())),
		stage.Shut(rehearsal.Graph, graphDoor.Handler()),
		stage.Shut(rehearsal.KeyVault, vaultDoor.Handler()),
		stage.Shut(rehearsal.Registry, registryDoor.Handler()),
		func(name string) (http.Handler, bool) {
			_, there := h.store.Current().ResourceNamed(keyvault.VaultType, name)
			return stage.Shut(rehearsal.KeyVault, vaultDoor.Vault(name)), there
		},
		func(name string) (http.Handler, bool) {
			_, there := h.store.Current().ResourceNamed(registry.Type, name)
			return stage.Shut(rehearsal.Registry, registryDoor.Registry(name)), there
		},
	}, nil
}

// outside are the names of the public cloud beside those of a doorway.
type outside struct {
	// metadata is the metadata service of virtual machines.
	metadata http.Handler
	// cluster is where the API server with an azmk8s.io name listens.
	cluster func(name string) (netip.AddrPort, bool)
	// issuers answers for the clusters that are issuers of tokens.
	issuers *issuers.Door
}

// answer returns who answers for a name of the public cloud.
func (d doorway) answer(name string) (http.Handler, bool) {
	switch name {
	case "login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net":
		return d.login, true
	case "management.azure.com", "management.core.windows.net":
		return d.arm, true
	case "graph.microsoft.com":
		return d.graph, true
	case "microsoft.com", "www.microsoft.com":
		return http.HandlerFunc(deviceLogin), true
	}
	switch {
	case strings.HasSuffix(name, ".authorization.azure.net"): // regional, of the second checkaccess API
		return d.arm, true
	}
	if vault, ok := strings.CutSuffix(name, keyvault.Suffix); ok {
		return d.vault(vault)
	}
	if name, ok := strings.CutSuffix(name, registry.Suffix); ok {
		return d.registry(name)
	}
	return nil, false
}

// deviceLogin leads from the address that people know by heart to the page of
// the house.
func deviceLogin(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/devicelogin" {
		http.NotFound(w, r)
		return
	}
	http.Redirect(w, r, publicCloud.login+issue.DevicePage, http.StatusFound)
}

// behind returns where the API server listens that is called by a name in Azure.
// Only one that runs in this process is; what the estate says about others is no
// reason to connect to anything.
func (c *clusters) behind(name string) (netip.AddrPort, bool) {
	for rec := range c.store.Current().Clusters() {
		if rec.FQDN != name || name == "" {
			continue
		}
		r, ok := c.running(rec)
		if !ok {
			return netip.AddrPort{}, false
		}
		addr, err := netip.ParseAddrPort(strings.TrimPrefix(r.cp.Server(), "https://"))
		return addr, err == nil
	}
	return netip.AddrPort{}, false
}

// serveProxy opens the doors of the public cloud's front behind the proxy.
func (h *House) serveProxy(ctx context.Context, d doorway, out outside, ca *pki.CA) error {
	if err := h.conf.Dir.noteProxy(h.conf.ProxyListen); err != nil || h.proxy == nil {
		return err
	}
	certs := &names{ca: ca, now: h.conf.Now, of: make(map[string]*serving)}
	door := proxy.New(proxy.Config{
		Answer: func(name string) (http.Handler, bool) {
			if strings.HasSuffix(name, issuers.Suffix) {
				return out.issuers.Host(name), true
			}
			return d.answer(name)
		},
		Certificate: certs.get, Cluster: out.cluster, Metadata: out.metadata, Log: h.conf.Log.With("door", "proxy"),
	})
	h.wg.Go(func() {
		if err := door.Run(ctx, h.proxy, drain); err != nil {
			h.failed <- err
		}
	})
	return nil
}

// names are the certificates that the house shows under names of others.
type names struct {
	ca  *pki.CA
	now func() time.Time

	mu sync.Mutex
	of map[string]*serving
}

// maxNames bounds how many certificates are kept. There is one for each vault and registry.
const maxNames = 1000

func (n *names) get(name string) (*tls.Certificate, error) {
	n.mu.Lock()
	s, ok := n.of[name]
	if !ok {
		if len(n.of) >= maxNames {
			clear(n.of)
		}
		s = &serving{ca: n.ca, leaf: pki.Leaf{CommonName: "gatehouse", Server: true, DNS: []string{name}}, now: n.now}
		n.of[name] = s
	}
	n.mu.Unlock()
	return s.get(nil)
}
