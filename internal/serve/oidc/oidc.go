// Package oidc is the door at which people and programs get tokens: the endpoints
// and pages of OAuth 2.0 and OpenID Connect, in both versions that Entra has.
//
// It reads a request once and strictly, calls the issuer, and writes the answer.
// Nothing it writes derives from the Host header or from what a proxy says, and
// no secret ever stands in a URL.
package oidc

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Config says what a Door works with.
type Config struct {
	Issuer *issue.Issuer
	// Tokens may refuse a request for tokens before it is looked at; nil refuses none.
	Tokens func(http.ResponseWriter, *http.Request, issue.TokenRequest) error
	Log    *slog.Logger // nil means no log
	Trace  *serve.Trace // nil forgets what was issued
	// Single is the tenant whose endpoints clients of a cloud with one tenant find
	// at /adfs; zero means that they find none there.
	Single directory.TenantID
}

// A Door serves the issuer's endpoints and pages. It answers every path, with 404
// for those that are not its own.
type Door struct {
	issuer *issue.Issuer
	tokens func(http.ResponseWriter, *http.Request, issue.TokenRequest) error
	log    *slog.Logger
	trace  *serve.Trace
	single directory.TenantID
	origin *http.CrossOriginProtection
	serves http.Handler
}

// TokenPaths are the ends of the paths at which tokens are asked for, which
// Config.Tokens may refuse.
var TokenPaths = []string{"/oauth2/v2.0/token", "/oauth2/token"}

// New returns the issuer's door.
func New(c Config) *Door {
	d := &Door{
		issuer: c.Issuer, tokens: c.Tokens, log: c.Log, trace: c.Trace, single: c.Single,
		origin: http.NewCrossOriginProtection(),
	}
	mux := http.NewServeMux()
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	api := func(pattern string, h serve.Handler) {
		mux.Handle(pattern, serve.Handle(d.noting(h), serve.Options{Log: c.Log, Fail: d.fail, Now: c.Issuer.Now}))
	}
	page := func(pattern string, h serve.Handler) {
		mux.Handle(pattern, serve.Handle(d.noting(h), serve.Options{Log: c.Log, Fail: d.failPage, Now: c.Issuer.Now}))
	}

	api("GET /{tenant}/v2.0/.well-known/openid-configuration", d.discoveryV2)
	api("GET /{tenant}/.well-known/openid-configuration", d.discoveryV1)
	api("GET /adfs/.well-known/openid-configuration", d.discoverySingle)
	api("GET /{tenant}/discovery/v2.0/keys", d.keys)
	api("GET /{tenant}/discovery/keys", d.keys)
	api("GET /common/discovery/instance", d.instance)
	api("GET /common/userrealm/{name}", d.userRealm)
	api("GET /common/UserRealm/{name}", d.userRealm)

	api("POST /{tenant}/oauth2/v2.0/token", d.token(2, nil))
	api("POST /{tenant}/oauth2/token", d.token(1, nil))
	api("POST /{tenant}/oauth2/v2.0/devicecode", d.deviceCode(2))
	api("POST /{tenant}/oauth2/devicecode", d.deviceCode(1))
	api("GET /{tenant}/openid/userinfo", d.userInfo)
	api("POST /{tenant}/openid/userinfo", d.userInfo)

	for _, v := range []struct {
		path    string
		version int
	}{{"/{tenant}/oauth2/v2.0/", 2}, {"/{tenant}/oauth2/", 1}} {
		page("GET "+v.path+"authorize", d.authorize(v.version))
		page("POST "+v.path+"authorize", d.authorize(v.version))
		page("GET "+v.path+"logout", d.logout)
		page("POST "+v.path+"logout", d.logout)
	}
	page("GET "+issue.DevicePage, d.device)
	page("POST "+issue.DevicePage, d.device)
	page("GET /common/oauth2/deviceauth", func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, d.issuer.Authority()+issue.DevicePage, http.StatusSeeOther)
		return nil
	})
	d.serves = d.whole(mux)
	return d
}

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.serves.ServeHTTP(w, r) }

// whole serves a mux, and has the log tell of what is for none of its patterns.
func (d *Door) whole(mux *http.ServeMux) http.Handler {
	other := serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
		if clean(r.URL.Path) {
			mux.ServeHTTP(w, r) // says which methods there are, or that there is nothing
		} else {
			http.NotFound(w, r)
		}
		return nil
	}, serve.Options{Log: d.log, Now: d.issuer.Now})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if clean(r.URL.Path) {
			if _, pattern := mux.Handler(r); pattern != "" {
				mux.ServeHTTP(w, r)
				return
			}
		}
		other.ServeHTTP(w, r)
	})
}

// clean reports whether a path has one spelling. ServeMux would redirect another to
// that, and here it has none (OA-48).
func clean(p string) bool { return p != "" && p[0] == '/' && len(p) <= 1024 && path.Clean(p) == p }

// source names where a request comes from, to count guesses by: the peer's
// address, and never a header, which anybody can write. Of an IPv6 address only
// the network counts, because one subscriber has 2^64 of them.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}
