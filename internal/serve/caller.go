package serve

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// Why somebody with a valid token, or whom an API server still remembers, is
// nobody now. Test for them with errors.Is.
var (
	ErrDeleted     = errors.New("the account no longer exists")
	ErrDisabled    = errors.New("the account is disabled")
	ErrOtherTenant = errors.New("the account is of another tenant")
	ErrRevoked     = errors.New("the token was issued before the sign-ins of its user were revoked")
)

// A Caller is a user, service principal or managed identity that may act now.
// The zero Caller is nobody.
type Caller struct {
	ID   principal.ID
	Kind principal.Kind
	// Name is what a cluster calls him: the user principal name of a member, the
	// object id of everybody else.
	Name string
	// Groups are the groups he is in now, directly or through others, ordered by
	// id. They belong to the estate and must not be modified.
	Groups []principal.ID
}

// CallerOf returns who id is at this revision of a tenant's directory. Both
// cluster doors ask it, so that the name which TokenReview gives out and the
// name which SubjectAccessReview expects cannot differ. An error, which is one
// of those above, comes with the zero Caller.
func CallerOf(est *estate.Snapshot, tenant directory.TenantID, id principal.ID) (Caller, error) {
	if id.IsZero() {
		return Caller{}, ErrDeleted
	}
	who, ok := est.Resolve(id)
	if !ok {
		return Caller{}, ErrDeleted
	}
	p := &who.Principal
	if p.Tenant != tenant || tenant.IsZero() {
		return Caller{}, ErrOtherTenant
	}
	if p.Disabled {
		return Caller{}, ErrDisabled
	}
	if p.Kind == principal.Group { // groups do not act
		return Caller{}, ErrDeleted
	}
	return Caller{ID: id, Kind: p.Kind, Name: estate.KubeUser(*p), Groups: who.Groups}, nil
}

// In reports whether the caller is in a group.
func (c Caller) In(group principal.ID) bool {
	_, found := slices.BinarySearchFunc(c.Groups, group, func(a, b principal.ID) int { return bytes.Compare(a[:], b[:]) })
	return found
}

// CheckIssued returns ErrRevoked when a token that proves id was issued before
// the instant from which that user's tokens are valid. Instants in tokens are
// whole seconds, so a token of the same second is kept.
func CheckIssued(est *estate.Snapshot, id principal.ID, issued time.Time) error {
	if u, ok := est.User(id); ok && issued.Before(u.TokensValidFrom.Truncate(time.Second)) {
		return ErrRevoked
	}
	return nil
}
