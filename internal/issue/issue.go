// Package issue turns a proven identity into tokens: the grants of OAuth 2.0 and
// OpenID Connect as Entra speaks them.
//
// Every grant proves something else (a code, a device, a secret, a password), and
// then all go the same way: admit checks the client, the resource, the scopes,
// the subject and the policy against the estate of that instant, and tokens are
// made from what admit returns and from nothing else. No grant can skip a step,
// because only admit can make what mint needs.
//
// What a client holds is opaque and random; the store keeps its digest. What may
// be used once is used up by compare-and-swap, so that of any number of attempts
// on any number of replicas exactly one succeeds.
package issue

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Lifetimes. See docs/divergences.md for where and why they differ from
// Entra's.
const (
	// AccessLife is how long access and id tokens are valid.
	AccessLife = time.Hour
	// CodeLife is how long an authorization code waits to be redeemed.
	CodeLife = 5 * time.Minute
	// DeviceLife is how long a device code waits for a person.
	DeviceLife = 15 * time.Minute
	// DeviceInterval is how often a device should ask.
	DeviceInterval = 5 * time.Second
	// RefreshLife is how long a refresh token may lie unused.
	RefreshLife = 90 * 24 * time.Hour
	// RefreshGrace is how long a refresh token that was just used still leads to
	// its successor: two processes of one person may use it at once.
	RefreshGrace = 3 * time.Second
	// SessionLife is how long a browser stays signed in.
	SessionLife = 8 * time.Hour
)

// State is what the issuer needs from the store.
type State interface {
	Current() *estate.Snapshot
	// Fresh is an error if Current may be too old to say yes by.
	Fresh(now time.Time) error
	Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error)
	PrivateList(ctx context.Context, bucket string, idPrefix ...string) ([]store.PrivateItem, error)
	CommitPrivate(ctx context.Context, ops ...store.PrivateOp) error
	// Commit also writes an audit record.
	Commit(ctx context.Context, change store.Change) (int64, error)
	// Alert writes an alert, or knows that it was written lately.
	Alert(ctx context.Context, a alert.Alert) error
	// Used notes that an application or a managed identity got a token. It must not wait.
	Used(principal.ID)
}

// Keys are the signing keys.
type Keys interface {
	// Sign signs claims with the key of their tenant and use. It bounds how much
	// is signed at once.
	Sign(ctx context.Context, c token.Claims) (string, error)
	// Set is every key that verifiers accept.
	Set() token.KeySet
}

// Config says what an Issuer works with.
type Config struct {
	State State
	Keys  Keys
	// Foreign finds the keys of other issuers; nil finds none.
	Foreign Foreign
	// Witness asks the cluster that made a service account's token whether the account,
	// and the pod that the token is bound to, are still there, where a tenant demands
	// it. Nil is the answer about a token of no cluster of this house; an Error refuses.
	// Without a Witness, such a tenant's exchanges are refused.
	Witness func(ctx context.Context, says token.Foreign, raw Secret) error
	// Authority is the URL, without a path, under which clients reach the issuer.
	// Every issuer, link and audience derives from it and never from a request.
	Authority string
	// Fronts are further authorities that the issuer may be seen under; see At.
	Fronts []string
	// Now is the house's clock, by which everything ends that the issuer makes; nil
	// means time.Now. Machine is the machine's, by which clients and other issuers
	// date what they sign; nil means Now. A rehearsal sets the two apart.
	Now, Machine func() time.Time
}

// An Issuer issues tokens. Any number of goroutines and replicas may use it.
type Issuer struct {
	state     State
	keys      Keys
	foreign   Foreign
	witness   func(context.Context, token.Foreign, Secret) error
	authority string
	fronts    []string // every authority, the issuer's own first
	now       func() time.Time
	machine   func() time.Time // for what others signed

	passwords *pool
	looking   chan struct{} // held by the one FindDevice under way
	pace      *pace
	uses      *uses
	dummy     string // a password hash that nothing matches
}

// New returns an Issuer.
func New(c Config) (*Issuer, error) {
	if c.State == nil || c.Keys == nil {
		return nil, errors.New("issue: State and Keys are needed")
	}
	authority, err := CheckAuthority(c.Authority)
	if err != nil {
		return nil, err
	}
	fronts := []string{authority}
	for _, f := range c.Fronts {
		front, err := CheckAuthority(f)
		if err != nil {
			return nil, err
		}
		fronts = append(fronts, front)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Machine == nil {
		c.Machine = c.Now
	}
	return &Issuer{
		state: c.State, keys: c.Keys, foreign: c.Foreign, witness: c.Witness, authority: authority, fronts: fronts, now: c.Now, machine: c.Machine,
		passwords: newPool(1, 50),
		looking:   make(chan struct{}, 1),
		pace:      newPace(),
		uses:      new(uses),
		dummy:     hashPassword(randomText(16)),
	}, nil
}

// CheckAuthority returns the authority in its one form: scheme and host, no slash.
func CheckAuthority(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", record.Invalid("authority %q is not of the form https://host[:port]", raw)
	}
	return "https://" + lowerASCII(u.Host), nil
}

// Authority is the URL under which clients reach the issuer, without a slash.
func (i *Issuer) Authority() string { return i.authority }

// Estate is the snapshot that the issuer would use now.
func (i *Issuer) Estate() *estate.Snapshot { return i.state.Current() }

// Now is the issuer's clock.
func (i *Issuer) Now() time.Time { return i.now() }

// Keys are the keys that verify the issuer's tokens.
func (i *Issuer) Keys() token.KeySet { return i.keys.Set() }

// IssuerV1 is the issuer of version 1.0 tokens of a tenant, which may be the text
// "{tenantid}". The public cloud's authority has had another name from its start.
func IssuerV1(authority, tenant string) string {
	if authority == "https://login.microsoftonline.com" {
		return "https://sts.windows.net/" + tenant + "/"
	}
	return authority + "/" + tenant + "/"
}

// IssuerV2 is the issuer of version 2.0 tokens of a tenant.
func IssuerV2(authority, tenant string) string { return authority + "/" + tenant + "/v2.0" }

// estate returns the snapshot to decide by, or an error if it is too old.
func (i *Issuer) estate() (*estate.Snapshot, error) {
	if err := i.state.Fresh(i.now()); err != nil {
		return nil, errUnavailable(err)
	}
	return i.state.Current(), nil
}
