package estate

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func (e *editor) putIdentityRequest(next identityrequest.Request) error {
	if old, ok := e.s.wishes.byID.get(next.ID); ok {
		if err := next.Follows(*old); err != nil {
			return fmt.Errorf("%w: %w", err, ErrImmutable)
		}
	}
	e.s.wishes.put(e, next.ID, next.Requester, next.Identity, &next)
	return nil
}

// checkRequested makes sure that a credential by a request is one that the request's
// approval made, and that nothing has taken back.
func (s *Snapshot) checkRequested(f directory.FederatedCredential) error {
	if f.Request.IsZero() {
		return nil
	}
	r, ok := s.IdentityRequest(f.Request)
	if !ok {
		return fmt.Errorf("identity request %s: %w", f.Request, ErrUnknown)
	}
	if !r.Holds() || !slices.ContainsFunc(r.Credentials(), func(c directory.FederatedCredential) bool { return reflect.DeepEqual(c, f) }) {
		return fmt.Errorf("identity request %s made no such credential: %w", f.Request, ErrImmutable)
	}
	return nil
}

// checkEnded makes sure that nothing is left of a request that was retired.
func (s *Snapshot) checkEnded(r identityrequest.Request) error {
	if left := s.CredentialsBy(r); !r.Holds() && len(left) > 0 {
		return fmt.Errorf("federated credential %s is left of it: %w", left[0].Name, ErrInUse)
	}
	return nil
}

// CredentialsBy are the federated credentials that are there by a request.
func (s *Snapshot) CredentialsBy(r identityrequest.Request) []directory.FederatedCredential {
	return without(s.FederatedCredentials(r.Given.Client), func(f directory.FederatedCredential) bool { return f.Request != r.ID })
}

// associated reports whether the credentials of a request count.
func (s *Snapshot) associated(id identityrequest.ID, now time.Time) bool {
	r, ok := s.wishes.byID.get(id)
	return ok && s.RequestStatus(*r, now) == identityrequest.IsActive
}

// RequestStatus is what a request for an identity has come to at an instant. One
// that is active by its history is gone when the identity or the cluster that was
// approved is, whatever is in their places now.
func (s *Snapshot) RequestStatus(r identityrequest.Request, now time.Time) identityrequest.Status {
	status := r.StatusAt(now)
	if status == identityrequest.IsActive && len(s.RequestLacks(r)) > 0 {
		return identityrequest.IsGone
	}
	return status
}

// RequestLacks says what was approved and is there no longer, for people.
func (s *Snapshot) RequestLacks(r identityrequest.Request) []string {
	if !r.Holds() {
		return nil
	}
	var lacks []string
	if m, ok := s.ManagedIdentity(r.Given.Object); !ok || m.Resource != r.Identity {
		lacks = append(lacks, "the managed identity was deleted")
	}
	switch c, ok := s.Cluster(r.Cluster); {
	case !ok || c.UID != r.Given.ClusterUID:
		lacks = append(lacks, "the cluster was deleted")
	case !c.OIDCIssuer || c.IssuerURL != r.Given.Issuer:
		lacks = append(lacks, "the cluster has another issuer of tokens, or none")
	}
	return lacks
}

// TrustEnds is when a federated credential ends that counts; zero is never.
func (s *Snapshot) TrustEnds(f directory.FederatedCredential) time.Time {
	if r, ok := s.wishes.byID.get(f.Request); ok {
		return r.End()
	}
	return time.Time{}
}

// IdentityRequest returns the request for an identity with an id.
func (s *Snapshot) IdentityRequest(id identityrequest.ID) (identityrequest.Request, bool) {
	r, ok := s.wishes.byID.get(id)
	if !ok {
		return identityrequest.Request{}, false
	}
	return *r, true
}

// IdentityRequests yields every request for an identity, in no order.
func (s *Snapshot) IdentityRequests() iter.Seq[identityrequest.Request] {
	return all(&s.wishes.byID)
}

// IdentityRequestsBy returns the requests that somebody made.
func (s *Snapshot) IdentityRequestsBy(id principal.ID) []*identityrequest.Request {
	list, _ := s.wishes.of.get(id)
	return list
}

// IdentityRequestsFor returns the requests for the identity with a scope.
func (s *Snapshot) IdentityRequestsFor(sc scope.Scope) []*identityrequest.Request {
	list, _ := s.wishes.at.get(sc)
	return list
}
