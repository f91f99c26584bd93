// Package keyvault is the data plane of Azure Key Vault: secrets, keys and
// certificates, as the SDKs of Azure ask for them.
//
// Every path has one data action, which stands beside it in one table; whether the
// caller may is put to package decide at the scope of the object, before anything
// is looked up, so that who may not know an object learns nothing about it. Vaults
// with access policies are refused: two sources of rights could not be explained
// by the one engine.
//
// A secret or a private key is used only when the record of its use is durable;
// see package safe.
package keyvault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

const (
	// Suffix is what the name of a vault's host ends in.
	Suffix = ".vault.azure.net"
	// Prefix is where vaults are on a front that has one host for all of them: the
	// name of the vault follows, and then the path as it is on the vault's own host.
	Prefix = "/vaults/"
	// Resource is what tokens for this door are for.
	Resource = "https://vault.azure.net"
)

var audiences = []string{Resource, Resource + "/", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"}

const (
	maxBody    = 256 << 10                 // bytes
	maxRestore = safe.MaxBackup/3*4 + 1024 // in base64
)

// state is what this door needs from the store.
type state interface {
	Current() *estate.Snapshot
	Fresh(now time.Time) error
}

// Config is what the door needs. State, Safe, Keys, Issuers and Authority are required.
type Config struct {
	State state
	Safe  *safe.Safe
	Keys  func() token.KeySet
	// Issuers returns the values of iss that a tenant's tokens may carry.
	Issuers func(directory.TenantID) []string
	// Authority is where callers sign in, for the challenge of a 401.
	Authority string
	// Base is the URL below which clients find vaults under Prefix. Empty means that
	// each vault has a host of its own, https://{name}.vault.azure.net.
	Base string
	// Effective returns the estate by which it is decided who may do what, given the
	// current one. Nil means the current one.
	Effective func(*estate.Snapshot) *estate.Snapshot
	// Live says whether the sign-in that a verified token came from still stands.
	// Nil means that every one does.
	Live func(context.Context, token.Claims) (bool, error)
	// PageKey authenticates the links to next pages. Replicas must share it. Nil
	// means a random one, with which a link does not outlive the process.
	PageKey []byte
	Events  func(serve.Event) // takes what was refused; nil takes nothing
	Log     *slog.Logger      // nil means no log
	Now     func() time.Time  // nil means time.Now
}

// A Door serves vaults. It is safe for concurrent use.
type Door struct {
	conf   Config
	tokens serve.Tokens
	routes []route
	// using bounds private keys at work, making the keys that are made and checked:
	// a flood of either waits in its own line (RX-03).
	using, making *pool
}

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.State == nil || conf.Safe == nil || conf.Keys == nil || conf.Issuers == nil || conf.Authority == "" {
		return nil, errors.New("keyvault: state, safe, keys, issuers and authority are required")
	}
	var err error
	if conf.PageKey, err = serve.PageKey(conf.PageKey); err != nil {
		return nil, fmt.Errorf("keyvault: %w", err)
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Effective == nil {
		conf.Effective = func(est *estate.Snapshot) *estate.Snapshot { return est }
	}
	return &Door{
		conf:   conf,
		routes: routes(),
		tokens: serve.Tokens{Keys: conf.Keys, Issuers: conf.Issuers, Live: conf.Live, Audiences: audiences},
		using:  newPool(max(runtime.GOMAXPROCS(0)/2, 1), 64), making: newPool(1, 16),
	}, nil
}

// Handler serves all vaults below Prefix.
func (d *Door) Handler() http.Handler { return serve.ByName(Prefix, d.handle) }

// Vault serves one vault, as on its own host.
func (d *Door) Vault(name string) http.Handler { return serve.One(name, d.handle) }

// handle answers one request to a vault, by its name and an escaped path.
func (d *Door) handle(name, path string) http.Handler {
	c := &call{d: d, name: strings.ToLower(name), path: path}
	return serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
		c.w, c.r = w, r
		c.id = w.Header().Get("X-Request-Id")
		w.Header().Set("X-Ms-Request-Id", c.id)
		return serve.To(c.caller, c.serve())
	}, serve.Options{
		Log: d.conf.Log, Now: d.conf.Now, Fail: func(w http.ResponseWriter, _ *http.Request, err error) { c.fail(w, err) },
		Refusals: serve.Refusals{Door: "keyvault", Add: d.conf.Events, Say: func(err error) string { return c.explain(err).Error() }},
	})
}

// serve answers the request of a call.
func (c *call) serve() error {
	if err := c.enter(); err != nil {
		return err
	}
	if err := c.find(); err != nil {
		return err
	}
	if err := c.authorise(); err != nil {
		return err
	}
	if c.route.limit > 0 {
		err := serve.Body(c.w, c.r, c.route.limit, func(body []byte) error {
			c.body = bytes.Clone(body)
			// A body may take its time, and its sender may be disabled meanwhile.
			if err := c.enter(); err != nil {
				return err
			}
			return c.authorise()
		})
		if err != nil {
			return err
		}
	}
	out, err := c.route.do(c)
	if err != nil {
		return err
	}
	if out.body == nil {
		c.w.WriteHeader(out.status)
		return nil
	}
	return serve.JSON(c.w, out.status, out.body)
}

// An answer is what a call comes to. Without a body it has none.
type answer struct {
	status int
	body   any
}

func ok(body any) (answer, error) { return answer{http.StatusOK, body}, nil }
