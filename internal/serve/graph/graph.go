// Package graph is the directory as clients of Microsoft Graph v1.0 see it:
// users, groups and their members, applications, service principals.
//
// A token proves an object id and nothing else. Whether its bearer may do what
// he asks for is put to package decide as a Microsoft.Directory operation at the
// root, the same that guards the same record at the house's own door; only
// himself and his own memberships everybody may read. What the house does not
// keep is refused by name, never dropped in silence, and every error is JSON,
// because clients fall over any other.
package graph

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
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
	// PageKey authenticates the links to next pages. Replicas must share it. Nil
	// means a random one, with which a link does not outlive the process.
	PageKey []byte
	Log     *slog.Logger     // nil means no log
	Now     func() time.Time // nil means time.Now
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
	if conf.PageKey != nil && len(conf.PageKey) < 32 {
		return nil, errors.New("graph: the page key has less than 32 bytes")
	}
	if conf.PageKey == nil {
		conf.PageKey = make([]byte, 32)
		rand.Read(conf.PageKey) // never fails
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
	for pattern, h := range map[string]handler{
		"GET /v1.0/me": d.me,

		"GET /v1.0/users":         d.list(users),
		"POST /v1.0/users":        d.createUser,
		"GET /v1.0/users/{id}":    d.get(users),
		"PATCH /v1.0/users/{id}":  d.updateUser,
		"DELETE /v1.0/users/{id}": d.remove(users),

		"GET /v1.0/groups":                              d.list(groups),
		"POST /v1.0/groups":                             d.createGroup,
		"GET /v1.0/groups/{id}":                         d.get(groups),
		"PATCH /v1.0/groups/{id}":                       d.updateGroup,
		"DELETE /v1.0/groups/{id}":                      d.remove(groups),
		"GET /v1.0/groups/{id}/members":                 d.members((*estate.Snapshot).Members),
		"GET /v1.0/groups/{id}/transitiveMembers":       d.members((*estate.Snapshot).MembersTransitive),
		"POST /v1.0/groups/{id}/members/$ref":           d.addMember,
		"DELETE /v1.0/groups/{id}/members/{other}/$ref": d.removeMember,

		"GET /v1.0/applications":                      d.list(applications),
		"POST /v1.0/applications":                     d.createApplication,
		"GET /v1.0/applications/{id}":                 d.get(applications),
		"PATCH /v1.0/applications/{id}":               d.updateApplication,
		"DELETE /v1.0/applications/{id}":              d.remove(applications),
		"POST /v1.0/applications/{id}/addPassword":    d.addPassword,
		"POST /v1.0/applications/{id}/removePassword": d.removePassword,

		"GET /v1.0/servicePrincipals":         d.list(servicePrincipals),
		"POST /v1.0/servicePrincipals":        d.createServicePrincipal,
		"GET /v1.0/servicePrincipals/{id}":    d.get(servicePrincipals),
		"DELETE /v1.0/servicePrincipals/{id}": d.remove(servicePrincipals),

		"POST /v1.0/directoryObjects/getByIds": d.getByIDs,
	} {
		mux.Handle(pattern, d.handle(h))
	}
	for _, in := range []struct {
		path string
		kind *kind // nil is any
	}{{"users", users}, {"groups", groups}, {"servicePrincipals", servicePrincipals}, {"directoryObjects", nil}} {
		of := "/v1.0/" + in.path + "/{id}/"
		mux.Handle("POST "+of+"getMemberGroups", d.handle(d.getMemberGroups(in.kind)))
		mux.Handle("POST "+of+"checkMemberGroups", d.handle(d.checkMemberGroups(in.kind)))
		mux.Handle("GET "+of+"memberOf", d.handle(d.memberOf(in.kind, false)))
		mux.Handle("GET "+of+"transitiveMemberOf", d.handle(d.memberOf(in.kind, true)))
	}
	nothing := d.wrap(func(http.ResponseWriter, *http.Request) error {
		return serve.Refuse(http.StatusNotFound, "ResourceNotFound", "This house serves no such method and path of Microsoft Graph.")
	})
	mux.Handle("/", nothing)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clean := path.Clean(r.URL.Path)
		if trimmed := strings.TrimSuffix(r.URL.Path, "/"); trimmed == clean && trimmed != r.URL.Path {
			again := *r
			url := *r.URL
			url.Path, url.RawPath = clean, ""
			again.URL = &url
			r = &again
		}
		if r.URL.Path != clean { // the mux would answer with a redirect in HTML
			nothing.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
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
			return err
		}
		if r.ContentLength == 0 { // over HTTP/2 no body is not http.NoBody
			return h(w, r, s)
		}
		return serve.Body(w, r, maxBody, func(body []byte) error {
			// A body may take its time, and its sender may be disabled meanwhile. What
			// he may do is asked of the directory as it is when all has arrived.
			s, err := d.session(r)
			if err != nil {
				return err
			}
			s.body = bytes.Clone(body)
			r.Body = io.NopCloser(bytes.NewReader(nil))
			return h(w, r, s)
		})
	})
}

func (d *Door) wrap(h serve.Handler) http.Handler {
	return serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
		w.Header()["Request-Id"] = w.Header()["X-Request-Id"]
		return h(w, r)
	}, serve.Options{Log: d.conf.Log, Fail: d.fail, Now: d.conf.Now})
}
