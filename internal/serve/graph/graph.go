// Package graph is the directory as clients of Microsoft Graph v1.0 see it:
// users, groups and their members, applications, service principals.
//
// A token proves an object id and nothing else. Whether its bearer may do what
// he asks for is put to package decide as a Microsoft.Directory operation at the
// place of the object, the same that guards the same record at the house's own
// door. Nobody sees anything of another tenant. What the house does not keep is
// refused by name, never dropped in silence, and every error is JSON, because
// clients fall over any other.
package graph

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Prefix is where this door is.
const Prefix = "/v1.0/"

// Host is the name by which unmodified clients reach this door.
const Host = "graph.microsoft.com"

// Audiences are what a token for this door is for.
var audiences = []string{"https://" + Host, "https://" + Host + "/", "00000003-0000-0000-c000-000000000000"}

// state is what this door needs from the store.
type state interface {
	Current() *estate.Snapshot
	Fresh(now time.Time) error
	Commit(ctx context.Context, c store.Change) (int64, error)
	Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error)
	PrivateList(ctx context.Context, bucket string, idPrefix ...string) ([]store.PrivateItem, error)
}

// Config is what the door needs. State, Keys and Issuers are required.
type Config struct {
	State state
	Keys  func() token.KeySet
	// Issuers returns the values of iss that a tenant's tokens may carry.
	Issuers func(directory.TenantID) []string
	// Effective returns the estate by which it is decided who may do what, when its
	// argument is the current one. Nil means that it is that one.
	Effective func(*estate.Snapshot) *estate.Snapshot
	// Meter counts who asks too often; nil counts nothing.
	Meter *rehearse.Meter
	// Live says whether the sign-in that a verified token came from still stands.
	// Nil means that every one does.
	Live func(context.Context, token.Claims) (bool, error)
	// Base is the URL, without a path, under which clients reach this door: links
	// to next pages start with it. Empty means https://graph.microsoft.com.
	Base string
	// CheckIssuer refuses issuers whose tokens the house would not look at, for
	// federated credentials. Nil means that every one will do.
	CheckIssuer func(issuer string) error
	// PageKey authenticates the links to next pages. Replicas must share it. Nil
	// means a random one, with which a link does not outlive the process.
	PageKey []byte
	Events  func(serve.Event) // takes what was refused; nil takes nothing
	Log     *slog.Logger      // nil means no log
	Now     func() time.Time  // nil means time.Now
}

// A Door serves Microsoft Graph. It is safe for concurrent use.
type Door struct {
	conf   Config
	tokens serve.Tokens
}

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.State == nil || conf.Keys == nil || conf.Issuers == nil {
		return nil, errors.New("graph: state, keys and issuers are required")
	}
	var err error
	if conf.PageKey, err = serve.PageKey(conf.PageKey); err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Effective == nil {
		conf.Effective = func(est *estate.Snapshot) *estate.Snapshot { return est }
	}
	if conf.Base == "" {
		conf.Base = "https://" + Host
	}
	return &Door{conf, serve.Tokens{Keys: conf.Keys, Issuers: conf.Issuers, Live: conf.Live, Audiences: audiences}}, nil
}

// Handler serves the paths below Prefix.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range d.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" /v1.0/"+path, d.handle(h))
	}
	nothing := d.wrap(func(http.ResponseWriter, *http.Request) error {
		return serve.Refuse(http.StatusNotFound, "ResourceNotFound", "This house serves no such method and path of Microsoft Graph.")
	})
	mux.Handle("/", nothing)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := spell(r.URL.Path)
		if !ok { // the mux would answer with a redirect in HTML
			nothing.ServeHTTP(w, r)
			return
		}
		again := *r
		url := *r.URL
		url.Path, url.RawPath = path, ""
		again.URL = &url
		mux.ServeHTTP(w, &again)
	})
}

// spell writes a path in the one way that is routed: without a slash at the end,
// with /me as the user that it is, and with a key in brackets as a segment of its
// own, so that users('x') is users/('x'). It reports false for a path that is not clean.
func spell(text string) (string, bool) {
	text = strings.TrimSuffix(text, "/")
	if text != path.Clean(text) {
		return "", false
	}
	if rest, ok := strings.CutPrefix(text, Prefix+"me"); ok && (rest == "" || rest[0] == '/') {
		text = Prefix + "users/" + me + rest
	}
	segments := strings.Split(text, "/")
	for i, s := range segments {
		if name, key, ok := strings.Cut(s, "("); ok && name != "" && strings.HasSuffix(key, ")") {
			segments[i] = name + "/(" + key
		}
	}
	return strings.Join(segments, "/"), true
}

// routes are what is served, by method and path below Prefix.
func (d *Door) routes() map[string]handler {
	routes := map[string]handler{
		"POST users":                           d.createUser,
		"PATCH users/{id}":                     d.updateUser,
		"POST users/{id}/revokeSignInSessions": d.revokeSessions,

		"POST groups":       d.createGroup,
		"PATCH groups/{id}": d.updateGroup,

		"POST applications":       d.createApplication,
		"PATCH applications/{id}": d.updateApplication,

		"GET applications/{id}/federatedIdentityCredentials":            d.listFederated,
		"POST applications/{id}/federatedIdentityCredentials":           d.createFederated,
		"GET applications/{id}/federatedIdentityCredentials/{other}":    d.getFederated,
		"PATCH applications/{id}/federatedIdentityCredentials/{other}":  d.updateFederated,
		"DELETE applications/{id}/federatedIdentityCredentials/{other}": d.removeFederated,

		"POST servicePrincipals":       d.createServicePrincipal,
		"PATCH servicePrincipals/{id}": d.updateServicePrincipal,

		"GET directoryObjects/{id}":      d.get(nil),
		"POST directoryObjects/getByIds": d.getByIDs,
		"GET organization":               d.organizations,
		"GET organization/{id}":          d.getOrganization,
		"GET domains":                    d.domains,
		"GET domains/{id}":               d.getDomain,

		"GET directoryRoles":                              d.list(directoryRoles, heldRoles),
		"GET directoryRoles/{id}":                         d.getRole,
		"GET directoryRoles/{id}/members":                 d.roleMembers,
		"POST directoryRoles/{id}/members/$ref":           d.addRoleMember,
		"DELETE directoryRoles/{id}/members/{other}/$ref": d.removeRoleMember,

		"GET roleManagement/directory/roleDefinitions":         d.list(roleDefinitions, allDefinitions),
		"GET roleManagement/directory/roleDefinitions/{id}":    d.getDefinition,
		"GET roleManagement/directory/roleAssignments":         d.list(roleAssignments, allAssignments),
		"POST roleManagement/directory/roleAssignments":        d.createAssignment,
		"GET roleManagement/directory/roleAssignments/{id}":    d.getAssignment,
		"DELETE roleManagement/directory/roleAssignments/{id}": d.removeAssignment,

		// There are no consent grants here, and so none to list.
		"GET oauth2PermissionGrants":  d.list(grants, func(*session) iter.Seq[object] { return func(func(object) bool) {} }),
		"POST oauth2PermissionGrants": d.noGrants,
	}
	for _, k := range append(principalKinds(), applications) {
		routes["GET "+k.name] = d.list(k, k.all)
		routes["GET "+k.name+"/$count"] = d.number(k)
		routes["GET "+k.name+"/{id}"] = d.get(k)
		routes["DELETE "+k.name+"/{id}"] = d.remove(k)
		links := linksOf(k)
		for name, l := range links {
			routes["GET "+k.name+"/{id}/"+name] = d.follow(k, l, nil)
			for _, as := range l.kinds {
				routes["GET "+k.name+"/{id}/"+name+"/"+strings.TrimPrefix(as.odata, "#")] = d.follow(k, l, as)
			}
		}
		for _, ref := range []reference{memberRef, ownerRef} {
			if links[ref.name].to != nil {
				routes["POST "+k.name+"/{id}/"+ref.name+"/$ref"] = d.add(k, ref)
				routes["DELETE "+k.name+"/{id}/"+ref.name+"/{other}/$ref"] = d.take(k, ref)
			}
		}
	}
	for _, k := range []*kind{applications, servicePrincipals} {
		routes["POST "+k.name+"/{id}/addPassword"] = d.addPassword(k)
		routes["POST "+k.name+"/{id}/removePassword"] = d.removePassword(k)
	}
	for name, k := range map[string]*kind{"users": users, "groups": groups, "servicePrincipals": servicePrincipals, "directoryObjects": nil} {
		routes["POST "+name+"/{id}/getMemberGroups"] = d.getMember(k, false)
		routes["POST "+name+"/{id}/getMemberObjects"] = d.getMember(k, true)
		routes["POST "+name+"/{id}/checkMemberGroups"] = d.checkMember(k, "groupIds", false)
		routes["POST "+name+"/{id}/checkMemberObjects"] = d.checkMember(k, "ids", true)
		if k == nil {
			for link, l := range linksOf(nil) {
				routes["GET "+name+"/{id}/"+link] = d.follow(nil, l, nil)
			}
		}
	}
	return routes
}

// grants are the consents of people to programs. This house keeps none: a program
// that is registered may ask for what a resource offers, see docs/divergences.md.
var grants = &kind{name: "oauth2PermissionGrants", odata: "#microsoft.graph.oAuth2PermissionGrant", action: "Microsoft.Directory/servicePrincipals",
	properties: []string{"id", "clientId", "consentType", "principalId", "resourceId", "scope"},
	texts:      map[string]func(any) string{"id": nil, "clientId": nil, "consentType": nil, "principalId": nil, "resourceId": nil, "scope": nil}}

func (d *Door) noGrants(http.ResponseWriter, *http.Request, *session) error {
	return serve.Refuse(http.StatusBadRequest, "Request_BadRequest",
		"There are no consent grants in this house: a registered program may ask for every permission that a resource offers, so that none has to be granted.")
}

// A handler answers a request of a known caller.
type handler func(w http.ResponseWriter, r *http.Request, s *session) error

// maxBody bounds a request, in bytes: the largest that is sane names 1,000 ids.
const maxBody = 256 << 10

func (d *Door) handle(h handler) http.Handler {
	return d.wrap(func(w http.ResponseWriter, r *http.Request) error {
		s, err := d.session(r)
		if err != nil {
			return err
		}
		if err := d.count(w, s); err != nil {
			return serve.To(s.caller, err)
		}
		if r.ContentLength == 0 { // over HTTP/2 no body is not http.NoBody
			return serve.To(s.caller, h(w, r, s))
		}
		return serve.To(s.caller, serve.Body(w, r, maxBody, func(body []byte) error {
			// A body may take its time, and its sender may be disabled meanwhile. What
			// he may do is asked of the directory as it is when all has arrived.
			s, err := d.session(r)
			if err != nil {
				return err
			}
			s.body = bytes.Clone(body)
			r.Body = io.NopCloser(bytes.NewReader(nil))
			return h(w, r, s)
		}))
	})
}

// correlation is the header with the id that a client gave to its request, which the
// answer repeats.
const correlation = "Client-Request-Id"

func (d *Door) wrap(h serve.Handler) http.Handler {
	return serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
		w.Header()["Request-Id"] = w.Header()["X-Request-Id"]
		w.Header().Set(correlation, cmp.Or(serve.Printable(r.Header.Get(correlation), 64), w.Header().Get("X-Request-Id")))
		return h(w, r)
	}, serve.Options{
		Log: d.conf.Log, Fail: d.fail, Now: d.conf.Now, Correlation: correlation,
		Refusals: serve.Refusals{Door: "graph", Add: d.conf.Events, Say: says},
	})
}
