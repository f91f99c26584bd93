// Package trust finds the signing keys of other issuers of tokens, for federated
// credentials: those of the house's own clusters without a network, and those of
// everybody else by OpenID Connect Discovery over https.
//
// Whoever may write a federated credential chooses a URL that this package asks.
// So it is made that a URL leads nowhere but to public web servers: the address
// that was looked at is the address that is dialled, redirects are not followed,
// and answers are small and quick, or there is none. Addresses inside the own
// network need the word of whoever runs the house.
package trust

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/token"
)

// How long keys are used, and how often an issuer is asked.
const (
	// freshFor is how long keys are used before the issuer is asked again: so long
	// may a key live on that its owner has withdrawn.
	freshFor = 10 * time.Minute
	// staleFor is how long they are used when the issuer does not answer.
	staleFor = 24 * time.Hour
	// pause is the least time between two questions to one issuer, whatever keys
	// the tokens name that are sent here.
	pause = 30 * time.Second
	// patience is how long the two requests of a question may take together.
	patience = 5 * time.Second
	// maxIssuers bounds how many are remembered.
	maxIssuers = 4096
)

// ErrUnreachable means that the keys of an issuer cannot be had: it may not be
// asked, does not answer, or answers wrongly.
var ErrUnreachable = errors.New("the keys of the issuer cannot be had")

// Config says whom to ask and how. The zero Config asks public issuers.
type Config struct {
	// Local are the keys of an issuer that the house has itself, if it is one.
	Local func(issuer string) (token.ForeignKeys, bool)
	// Private are the hosts, "host" or "host:port", that may be at addresses of the
	// own network and at other ports than 443. Link-local addresses, where clouds
	// answer for their machines, may not even then.
	Private []string
	// Roots are the authorities to trust; nil means those of the system. There is
	// no way not to verify.
	Roots *x509.CertPool
	// Lookup returns the addresses of a host; nil asks the system.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to an address and port that were found good; nil does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger     // nil means no log
	Now  func() time.Time // nil means time.Now
}

// Issuers finds keys. It is safe for concurrent use.
type Issuers struct {
	conf  Config
	mu    sync.Mutex
	known map[string]*issuer
}

// New returns an Issuers.
func New(conf Config) *Issuers {
	if conf.Local == nil {
		conf.Local = func(string) (token.ForeignKeys, bool) { return token.ForeignKeys{}, false }
	}
	if conf.Lookup == nil {
		conf.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if conf.Dial == nil {
		conf.Dial = new(net.Dialer).DialContext
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	return &Issuers{conf: conf, known: make(map[string]*issuer)}
}

// Check refuses an issuer that a federated credential must not name, because the
// house would not ask it or because it is not one issuer: the default of every
// Kubernetes cluster. The error wraps record.ErrInvalid.
func (i *Issuers) Check(name string) error {
	if _, ok := i.conf.Local(name); ok {
		return nil
	}
	_, err := i.parse(name)
	return err
}

// Keys returns the keys of an issuer, which should have the one named kid. If they
// do not, they are asked for again, but not more often than every half minute: so
// they may still lack it. Every error wraps ErrUnreachable.
func (i *Issuers) Keys(ctx context.Context, name, kid string) (token.ForeignKeys, error) {
	if keys, ok := i.conf.Local(name); ok {
		return keys, nil
	}
	if _, err := i.parse(name); err != nil {
		return token.ForeignKeys{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	s := i.issuer(name)
	for {
		keys, flight, err := s.look(kid, i.conf.Now(), func() { i.ask(ctx, name, s) })
		if flight == nil {
			return keys, err
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return token.ForeignKeys{}, fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
		}
	}
}

func (i *Issuers) issuer(name string) *issuer {
	i.mu.Lock()
	defer i.mu.Unlock()
	s, ok := i.known[name]
	if !ok {
		for other := range i.known { // any one: what is needed is asked for again
			if len(i.known) < maxIssuers {
				break
			}
			delete(i.known, other)
		}
		s = new(issuer)
		i.known[name] = s
	}
	return s
}

// ask gets the keys of an issuer, for all who wait for them. It goes on when the
// one who asked first has left.
func (i *Issuers) ask(ctx context.Context, name string, s *issuer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	keys, skipped, err := i.fetch(ctx, name)
	age := s.learn(keys, err, i.conf.Now())
	for _, why := range skipped {
		i.conf.Log.WarnContext(ctx, "a key of a foreign issuer is not used", "issuer", name, "reason", why.Error())
	}
	if err != nil {
		i.conf.Log.ErrorContext(ctx, "a foreign issuer cannot be asked for its keys", "issuer", name, "error", err.Error(), "keysAreOld", age)
	}
}

// An issuer is what is known of one. The zero issuer was never asked.
type issuer struct {
	mu      sync.Mutex
	keys    token.ForeignKeys
	fetched time.Time // when the keys came; zero if they never did
	tried   time.Time // when it was asked last
	err     error     // why that failed
	flight  chan struct{}
}

// look returns the keys, or a channel that is closed when somebody has asked for
// them, which ask does if nobody is at it.
func (s *issuer) look(kid string, now time.Time, ask func()) (token.ForeignKeys, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case within(s.fetched, now, freshFor) && s.keys.Has(kid), within(s.tried, now, pause) && s.flight == nil:
		if !within(s.fetched, now, staleFor) {
			return token.ForeignKeys{}, nil, fmt.Errorf("%w: %w", ErrUnreachable, s.err)
		}
		return s.keys, nil, nil
	case s.flight == nil:
		s.flight = make(chan struct{})
		go ask()
	}
	return token.ForeignKeys{}, s.flight, nil
}

// learn keeps what an issuer answered, and says how old the keys are if it did not.
func (s *issuer) learn(keys token.ForeignKeys, err error, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried, s.err = now, err
	if err == nil {
		s.keys, s.fetched = keys, now
	}
	close(s.flight)
	s.flight = nil
	return now.Sub(s.fetched).Round(time.Second)
}

// within reports whether then is at most d before now. A clock that was set back
// makes everything old, rather than new for ever.
func within(then, now time.Time, d time.Duration) bool {
	age := now.Sub(then)
	return !then.IsZero() && age >= 0 && age < d
}
