// Package keys holds the signing keys of the house: a chain of keys for every
// tenant and purpose, sealed in the store and shared by all replicas.
//
// A key's life is decided by the records in the store alone, so that all replicas
// see it alike:
//
//	made          it is published and accepted, and does not sign yet
//	+ Prepublish  it signs; whoever cached the published keys knows it by now
//	              (the first key of a chain signs at once: nobody cached anything)
//	+ SignFor     its successor signs; it is still accepted
//	+ TokenLife   its last token has ended; it is removed
//
// Every replica polls one small item of the store (see Config.Poll) and reads the
// keys anew when it changed, so that an emergency stop is everywhere within a
// second. A replica that cannot ask for Config.MaxAge accepts and signs nothing.
package keys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Errors that callers branch on. Test for them with errors.Is.
var (
	// ErrStopped says that issuing was stopped by an operator.
	ErrStopped = errors.New("issuing is stopped")
	// ErrNoKey says that no key signs for the tenant and purpose now.
	ErrNoKey = errors.New("no signing key")
	// ErrNotFound says that no key has the kid.
	ErrNotFound = errors.New("no such key")
	// ErrStale says that this replica does not know which keys are good.
	ErrStale = errors.New("the keys may be out of date")
	// ErrBusy says that too many signatures are waiting.
	ErrBusy = errors.New("too many signatures are waiting")
)

// Purposes are what every tenant has a chain of keys for.
var purposes = []token.Purpose{token.AccessToken, token.IDToken, token.RegistryToken}

// State is what the ring needs from the store. Every change of keys is committed
// with an audit record.
type State interface {
	Current() *estate.Snapshot
	Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error)
	PrivateList(ctx context.Context, bucket string, idPrefix ...string) ([]store.PrivateItem, error)
	Commit(ctx context.Context, change store.Change) (int64, error)
}

// Defaults of a Config.
const (
	// DefaultPrepublish is above the day for which discovery allows documents to
	// be cached.
	DefaultPrepublish = 25 * time.Hour
	// DefaultSignFor limits what a stolen key is worth without wearying caches.
	DefaultSignFor = 30 * 24 * time.Hour
	// DefaultPoll leaves three quarters of the second in which a stop must be
	// everywhere.
	DefaultPoll = 250 * time.Millisecond
	// DefaultMaxAge is that of the store.
	DefaultMaxAge = store.DefaultMaxAge
	// DefaultQueue is about 100 ms of RSA signatures on one core.
	DefaultQueue = 64
)

// A Config says how a ring keeps its keys. Zero fields but State have defaults.
type Config struct {
	State State
	// Alg is the algorithm of new keys: token.RS256 (the default, which every
	// verifier reads) or token.ES256.
	Alg string
	// Prepublish is how long a new key is published before it signs.
	Prepublish time.Duration
	// SignFor is how long a key signs before its successor does. It must be longer
	// than Prepublish.
	SignFor time.Duration
	// TokenLife is the longest life of a token, and how long a key is accepted
	// after its successor began to sign. 0 is token.MaxLife.
	TokenLife time.Duration
	// Poll is how often the store is asked whether the keys changed.
	Poll time.Duration
	// MaxAge is how long a replica that gets no answer goes on using its keys.
	MaxAge time.Duration
	// Queue is how many signatures may wait for their turn.
	Queue int
	// Now is the clock by which keys live; nil is time.Now. Poll and MaxAge are
	// real time.
	Now func() time.Time
	// Log takes what happens in the background; nil discards it.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.State == nil {
		return c, errors.New("keys: State is required")
	}
	if c.Alg == "" {
		c.Alg = token.RS256
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Prepublish, DefaultPrepublish}, {&c.SignFor, DefaultSignFor}, {&c.TokenLife, token.MaxLife},
		{&c.Poll, DefaultPoll}, {&c.MaxAge, DefaultMaxAge},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return c, fmt.Errorf("keys: a duration of %s", *d.field)
		}
	}
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Alg != token.RS256 && c.Alg != token.ES256:
		return c, fmt.Errorf("keys: algorithm %.16q", c.Alg)
	case c.SignFor <= c.Prepublish:
		return c, fmt.Errorf("keys: a key would sign for %s, and its successor be published for %s", c.SignFor, c.Prepublish)
	case c.TokenLife > token.MaxLife:
		return c, fmt.Errorf("keys: tokens of %s, verifiers take %s at most", c.TokenLife, token.MaxLife)
	}
	return c, nil
}

// A Ring is one replica's view of the signing keys. Any number of goroutines may
// use it.
type Ring struct {
	Config
	view    atomic.Pointer[view]
	asked   atomic.Pointer[time.Time] // when the store was last asked, and then answered
	mu      sync.Mutex                // one refresh at a time, so that no older view replaces a newer one
	tending sync.Mutex                // one at a time makes keys; a stop never waits for it
	pool    pool

	stop       func()
	background sync.WaitGroup
}

// Open reads the keys, makes those that are missing, and begins to follow them.
// The Ring must be closed, before the store is.
func Open(ctx context.Context, c Config) (*Ring, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Ring{Config: c, pool: newPool(max(1, runtime.GOMAXPROCS(0)/2), c.Queue)}
	if err := r.Tend(ctx); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.background.Go(func() { r.follow(bg) })
	r.background.Go(func() { r.tendAlways(bg) })
	return r, nil
}

// Close ends the background work, after which the keys are stale.
func (r *Ring) Close() error {
	r.stop()
	r.background.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.Store(&view{err: ErrStale})
	return nil
}

// Set returns the keys that verifiers accept, of all tenants and purposes. It
// costs two atomic loads. It is empty when the keys may be out of date: whoever
// is stopped and goes on asks before the follower had its turn.
func (r *Ring) Set() token.KeySet {
	if r.tooOld() {
		return token.KeySet{}
	}
	return r.view.Load().set
}

// Current returns the key that signs for a tenant and purpose now. The error is
// ErrStopped, ErrNoKey or ErrStale.
func (r *Ring) Current(tenant directory.TenantID, purpose token.Purpose) (token.SigningKey, error) {
	v := r.view.Load()
	switch {
	case v.err != nil:
		return token.SigningKey{}, v.err
	case r.tooOld():
		return token.SigningKey{}, ErrStale
	case v.head.Stopped:
		return token.SigningKey{}, ErrStopped
	}
	k, ok := v.chains[chainID{tenant, purpose}].signer(r.Now())
	if !ok {
		return token.SigningKey{}, fmt.Errorf("%w for %q of tenant %s", ErrNoKey, purpose, tenant)
	}
	return k.SigningKey, nil
}

// Status is one key as an operator sees it.
type Status struct {
	Key      token.Key // NotAfter is when it stops to be accepted
	SignFrom time.Time // when it began or begins to sign
	Signs    bool      // whether it signs now
}

// List returns the keys in the order in which they sign, chain by chain, and
// whether issuing is stopped.
func (r *Ring) List() (keys []Status, stopped bool, err error) {
	v, now := r.view.Load(), r.Now()
	for _, id := range v.order {
		c := v.chains[id]
		signer, ok := c.signer(now)
		for _, k := range c {
			keys = append(keys, Status{Key: k.Key, SignFrom: k.signFrom, Signs: ok && k.ID == signer.ID && !v.head.Stopped})
		}
	}
	return keys, v.head.Stopped, v.err
}
