// Package registry is the part of Azure Container Registry that concerns access: it
// exchanges an access token of the directory for tokens of one registry, as `az acr
// login`, docker, containerd and the kubelet ask for them.
//
//	POST /oauth2/exchange   an access token for a refresh token of the registry
//	POST /oauth2/token      a refresh token for an access token of some scopes
//	GET  /oauth2/token      the same, with the refresh token as a password
//	GET  /oauth2/keys       the keys that the registry's tokens are verified with
//	GET  /v2/…              the challenge that leads to the others
//
// The house keeps no images. A registry that does verifies the access tokens by the
// published keys, and sends clients here with its challenge. What a token may do is
// asked of package decide when it is made, by the operations that Azure asks, so it
// says no more than its holder could do at that instant, at this one registry.
package registry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

const (
	// Type is the resource type of a registry, in lower case.
	Type = "microsoft.containerregistry/registries"
	// Suffix is what the login server of a registry ends in.
	Suffix = ".azurecr.io"
	// Prefix is where registries are on a front that has one host for all of them:
	// the name of the registry follows, and then the path as on its own host.
	Prefix = "/registries/"
)

// Lives of the tokens of a registry.
const (
	// RefreshLife is that of Azure Container Registry.
	RefreshLife = 3 * time.Hour
	// AccessLife is short, because a registry that verifies tokens by itself learns
	// nothing about what happened since.
	AccessLife = 10 * time.Minute
)

// The audiences of the directory's tokens that are exchanged here.
var (
	ownAudiences = []string{"https://containerregistry.azure.net", "https://containerregistry.azure.net/", "6a0ec4d3-30cb-4a83-91c0-ae56bc0e3d26"}
	armAudiences = []string{"https://management.azure.com", "https://management.azure.com/", "https://management.core.windows.net", "https://management.core.windows.net/"}
)

// state is what this door needs from the store.
type state interface {
	Current() *estate.Snapshot
	Fresh(now time.Time) error
}

// Config is what the door needs. State, Keys, Issuers and Sign are required.
type Config struct {
	State state
	Keys  func() token.KeySet
	// Issuers returns the values of iss that a tenant's tokens may carry.
	Issuers func(directory.TenantID) []string
	// Sign signs claims with the key for registries of their tenant.
	Sign func(context.Context, token.RegistryClaims) (string, error)
	// Base is the URL below which clients find registries under Prefix. Empty means
	// that each registry has a host of its own, https://{name}.azurecr.io.
	Base string
	// Effective returns the estate by which it is decided who may do what, given the
	// current one. Nil means the current one.
	Effective func(*estate.Snapshot) *estate.Snapshot
	// Live says whether the sign-in that a verified token came from still stands.
	// Nil means that every one does.
	Live func(context.Context, token.Claims) (bool, error)
	// Events takes what was given out, and what was not; nil takes nothing.
	Events func(serve.Event)
	Log    *slog.Logger     // nil means no log
	Now    func() time.Time // nil means time.Now
}

// A Door serves registries. It is safe for concurrent use.
type Door struct{ conf Config }

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.State == nil || conf.Keys == nil || conf.Issuers == nil || conf.Sign == nil {
		return nil, errors.New("registry: state, keys, issuers and sign are required")
	}
	if conf.Effective == nil {
		conf.Effective = func(est *estate.Snapshot) *estate.Snapshot { return est }
	}
	if conf.Events == nil {
		conf.Events = func(serve.Event) {}
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	return &Door{conf}, nil
}

// Handler serves all registries below Prefix.
func (d *Door) Handler() http.Handler { return serve.ByName(Prefix, d.handle) }

// Registry serves one registry, as on its own host.
func (d *Door) Registry(name string) http.Handler { return serve.One(name, d.handle) }

// handle answers one request to a registry, by its name and an escaped path.
func (d *Door) handle(name, path string) http.Handler {
	c := &call{d: d, name: strings.ToLower(name), path: path}
	return serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
		c.w, c.r = w, r
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		err := c.serve()
		return serve.To(c.who, err)
	}, serve.Options{
		Log: d.conf.Log, Now: d.conf.Now, Fail: func(w http.ResponseWriter, _ *http.Request, err error) { c.fail(w, err) },
		Refusals: serve.Refusals{Door: "registry", Add: d.conf.Events, Say: says},
	})
}

// serve answers the request of a call.
func (c *call) serve() error {
	if err := c.enter(); err != nil {
		return err
	}
	switch asked := c.r.Method + " " + c.path; {
	case asked == "POST /oauth2/exchange":
		return c.exchange()
	case asked == "POST /oauth2/token", asked == "GET /oauth2/token":
		return c.token()
	case asked == "GET /oauth2/keys":
		return c.keys()
	case c.path == "/v2/" || strings.HasPrefix(c.path, "/v2/") || strings.HasPrefix(c.path, "/acr/v1/"):
		return c.images()
	}
	return refuse(http.StatusNotFound, "NOT_FOUND", "There is nothing here.")
}
