package authn

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// claims returns what a token says that is sent to a cluster: an access token, or a
// request in which its holder signed one that is bound to his key.
func (d *Door) claims(raw string, cluster resource.Cluster, want token.Want, now time.Time) (token.Claims, error) {
	if !token.IsPoP(raw) {
		return token.Verify(raw, d.conf.Keys(), want, now)
	}
	machine := d.conf.Machine()
	claims, proof, err := token.VerifyPoP(raw, d.conf.Keys(), want, token.PoPWant{Hosts: names(cluster), Now: machine}, now)
	if err != nil {
		return token.Claims{}, err
	}
	return claims, d.nonces.take(proof, raw, machine)
}

// names are those by which a signed request may say that it is for a cluster: its
// resource id, as Azure Arc has it, and those of its API server.
func names(c resource.Cluster) []string {
	all := []string{c.Scope.String()}
	if c.FQDN != "" {
		all = append(all, c.FQDN)
	}
	if u, err := url.Parse(c.Endpoint); err == nil && u.Host != "" {
		all = append(all, u.Host)
	}
	return all
}

// maxNonces bounds what is remembered. Only who has a token of the house can make
// it grow, and has to sign for each.
const maxNonces = 100_000

var (
	errReplay = errors.New("the nonce of the signed request was used for another one")
	errBusy   = errors.New("too many signed requests; try again in a minute")
)

// nonces remembers which signed request a nonce belongs to. kubectl sends one and
// the same with every request of a command, so that to see it again is no attack;
// a nonce in two of them is. It is kept by each replica.
type nonces struct {
	mu   sync.Mutex
	seen map[nonce]use
	// sweep is when to look for what has ended.
	sweep time.Time
}

type nonce struct{ key, text string }

type use struct {
	digest [sha256.Size]byte // of the request
	until  time.Time
}

// take refuses a nonce that belongs to another request.
func (n *nonces) take(p token.Proof, raw string, now time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !now.Before(n.sweep) || n.sweep.Sub(now) > time.Hour {
		for k, u := range n.seen {
			if !now.Before(u.until) {
				delete(n.seen, k)
			}
		}
		n.sweep = now.Add(time.Minute)
	}
	k, digest := nonce{p.KeyID, p.Nonce}, sha256.Sum256([]byte(raw))
	was, ok := n.seen[k]
	switch {
	case ok && now.Before(was.until) && was.digest != digest:
		return fmt.Errorf("%w: %w", token.ErrInvalid, errReplay)
	case ok:
		return nil
	case len(n.seen) >= maxNonces:
		return errBusy
	}
	if n.seen == nil {
		n.seen = make(map[nonce]use)
	}
	n.seen[k] = use{digest: digest, until: p.Until}
	return nil
}
