package issue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// ManagedIdentity returns a token of a managed identity for a resource, which is
// written as for version 1.0. It is for those who stand in for the machine that
// the identity is attached to: they have made sure that the caller may use it.
func (i *Issuer) ManagedIdentity(ctx context.Context, id principal.ID, resource string) (Answer, error) {
	est, err := i.estate()
	if err != nil {
		return Answer{}, err
	}
	mi, ok := est.ManagedIdentity(id)
	if !ok {
		return Answer{}, errClient(id.String(), Realm{})
	}
	c, ok := clientOf(est, mi.ClientID)
	if !ok || !c.managed {
		return Answer{}, errClient(mi.ClientID.String(), Realm{ID: mi.Tenant})
	}
	// The machine has a certificate for it, which nobody sees.
	c.proof = proofAssertion
	scopes, err := scopesOf(resource)
	if err != nil {
		return Answer{}, err
	}
	return i.grant(ctx, proof{realm: Realm{ID: mi.Tenant}, client: c, scopes: scopes, v1: true})
}

// MaxIdentitySession is how long an identity session may last.
const MaxIdentitySession = 24 * time.Hour

// An IdentitySession lets whoever has its secret use some managed identities, as
// if he were a program on a machine that has them.
type IdentitySession struct {
	// By is who began it, and must still be allowed to use the identities.
	By         principal.ID   `json:"by"`
	Identities []principal.ID `json:"identities"`
	Expires    time.Time      `json:"expires"`
}

// ErrNoSession means that a secret is of no identity session, or of one that has
// ended.
var ErrNoSession = errors.New("no such identity session")

// StartIdentitySession begins a session and returns its secret. It is audited. The
// caller has made sure that by may use the identities.
func (i *Issuer) StartIdentitySession(ctx context.Context, by principal.ID, identities []principal.ID, life time.Duration) (Secret, IdentitySession, error) {
	est, err := i.estate()
	if err != nil {
		return Secret{}, IdentitySession{}, err
	}
	if by.IsZero() || len(identities) == 0 || len(identities) > 20 || life <= 0 || life > MaxIdentitySession {
		return Secret{}, IdentitySession{}, record.Invalid("an identity session is for 1 to 20 identities and lasts up to %s", MaxIdentitySession)
	}
	var names []string
	for _, id := range identities {
		mi, ok := est.ManagedIdentity(id)
		if !ok {
			return Secret{}, IdentitySession{}, fmt.Errorf("managed identity %s: %w", id, estate.ErrNotFound)
		}
		names = append(names, mi.DisplayName)
	}
	now := i.now()
	text := randomText(32)
	s := IdentitySession{By: by, Identities: slices.Clone(identities), Expires: now.Add(life)}
	var absent int64
	op, err := put(s, s.Expires, &absent, bucketIdentity, digest("identity session", text))
	if err != nil {
		return Secret{}, IdentitySession{}, err
	}
	why := "session of managed identity " + strings.Join(names, ", ")
	if err := i.audited(ctx, store.Change{By: by, Why: why[:min(len(why), 1024)], Private: []store.PrivateOp{op}}); err != nil {
		return Secret{}, IdentitySession{}, err
	}
	return NewSecret(text), s, nil
}

// FindIdentitySession returns the session that a secret is of, and which of its
// identities are there and enabled now. The error may be ErrNoSession.
func (i *Issuer) FindIdentitySession(ctx context.Context, secret Secret) (IdentitySession, []directory.ManagedIdentity, error) {
	if secret.IsZero() {
		return IdentitySession{}, nil, ErrNoSession
	}
	est, err := i.estate()
	if err != nil {
		return IdentitySession{}, nil, err
	}
	var s IdentitySession
	_, err = i.load(ctx, &s, bucketIdentity, digest("identity session", secret.Reveal()))
	switch {
	case errors.Is(err, errAbsent):
		return IdentitySession{}, nil, ErrNoSession
	case err != nil:
		return IdentitySession{}, nil, err
	}
	var found []directory.ManagedIdentity
	for _, id := range s.Identities {
		if mi, ok := est.ManagedIdentity(id); ok && !mi.Disabled {
			found = append(found, mi)
		}
	}
	return s, found, nil
}

// EndIdentitySession ends the session that a secret is of.
func (i *Issuer) EndIdentitySession(ctx context.Context, by principal.ID, secret Secret) error {
	if secret.IsZero() {
		return ErrNoSession
	}
	op := store.PrivateOp{Bucket: bucketIdentity, ID: []string{digest("identity session", secret.Reveal())}}
	if _, err := i.load(ctx, new(IdentitySession), op.Bucket, op.ID...); errors.Is(err, errAbsent) {
		return ErrNoSession
	} else if err != nil {
		return err
	}
	return i.audited(ctx, store.Change{By: by, Why: "identity session ended", Private: []store.PrivateOp{op}})
}
