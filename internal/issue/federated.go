package issue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Foreign finds the keys of other issuers; see package trust.
type Foreign interface {
	// Keys returns the keys of an issuer that a federated credential names. They
	// may lack the one with this kid.
	Keys(ctx context.Context, issuer, kid string) (token.ForeignKeys, error)
}

// federated verifies a token of another issuer with which a client shows who it
// is. Whether the client has a credential that trusts it is for admit to say, at
// the last instant; here it is asked so that nobody's keys are fetched whom no
// credential names.
func (i *Issuer) federated(ctx context.Context, est *estate.Snapshot, c client, realm Realm, raw string, says token.Unverified) (token.Foreign, error) {
	wants := wantsOf(est.TrustsOf(c.id, i.now()))
	if len(wants) == 0 {
		return token.Foreign{}, refuse(invalidClient, 70025, "The client '%s'(%s) has no configured federated identity credentials.", c.id, c.name)
	}
	if _, err := token.Match(says.Issuer, says.Subject, says.Audience, wants); errors.Is(err, token.ErrIssuer) {
		return token.Foreign{}, federatedRefusal(says, err)
	}
	var f token.Foreign
	var err error
	if tenant, ok := i.tenantOfIssuer(est, says.Issuer); ok {
		f, err = i.ourOwn(ctx, tenant, raw)
	} else {
		f, err = i.foreignToken(ctx, raw, says, wants)
	}
	if err != nil {
		return token.Foreign{}, err
	}
	if !i.uses.again(digest("assertion", raw), i.machine()) {
		return token.Foreign{}, errBusy()
	}
	if err := i.scruples(ctx, est, c, realm, raw, f); err != nil {
		return token.Foreign{}, err
	}
	return f, nil
}

// scruples are what tenants may demand of a token beyond what it says itself: the
// client's own, and the one that it asks in.
func (i *Issuer) scruples(ctx context.Context, est *estate.Snapshot, c client, realm Realm, raw string, f token.Foreign) error {
	home, _ := est.HomeOf(c.id)
	here, _ := est.Tenant(realm.ID)
	if home.AskClusters || here.AskClusters {
		if i.witness == nil {
			return errUnavailable(errors.New("the tenant has clusters asked, and nobody here can ask them"))
		}
		if err := i.witness(ctx, f, NewSecret(raw)); err != nil {
			return err
		}
	}
	if !home.AssertionsOnce && !here.AssertionsOnce {
		return nil
	}
	// Of a token without an id, what was signed tells it from others. Its signature
	// does not: of the ECDSA signatures of a text, anybody can make another one.
	id := f.ID
	if id == "" {
		id = raw[:strings.LastIndexByte(raw, '.')]
	}
	return i.once(ctx, i.machine(), f.Expires, "federated", digest("issuer", f.Issuer), digest("jti", id))
}

// wantsOf is what federated credentials say a token must be.
func wantsOf(creds []directory.FederatedCredential) []token.ForeignWant {
	var wants []token.ForeignWant
	for _, f := range creds {
		wants = append(wants, token.WantOf(f))
	}
	return wants
}

// stillTrusted returns when the last credential ends that trusts what a client has
// shown, zero for never, or the refusal of one that none trusts at an instant.
func stillTrusted(est *estate.Snapshot, id directory.AppID, f token.Foreign, now time.Time) (end time.Time, err error) {
	creds := est.TrustsOf(id, now)
	wants := wantsOf(creds)
	first, err := token.Match(f.Issuer, f.Subject, f.Audience, wants)
	if err != nil {
		return time.Time{}, federatedRefusal(token.Unverified{Issuer: f.Issuer, Subject: f.Subject, Audience: f.Audience}, err)
	}
	for i, c := range creds[first:] {
		if !wants[first+i].Compare(f.Issuer, f.Subject, f.Audience).Whole() {
			continue
		}
		ends := est.TrustEnds(c)
		if ends.IsZero() {
			return time.Time{}, nil
		}
		if ends.After(end) {
			end = ends
		}
	}
	return end, nil
}

// foreignToken verifies a token with its issuer's keys.
// It was dated by the clock of the world outside, which no rehearsal moves.
func (i *Issuer) foreignToken(ctx context.Context, raw string, says token.Unverified, wants []token.ForeignWant) (token.Foreign, error) {
	unreachable := refuse(invalidRequest, 90061, "Request to External OIDC endpoint failed.")
	if i.foreign == nil {
		return token.Foreign{}, unreachable
	}
	keys, err := i.foreign.Keys(ctx, says.Issuer, says.KeyID)
	if err != nil {
		// Why stays in the log: the answer would tell what there is in the network.
		return token.Foreign{}, unreachable.because(err)
	}
	f, err := token.VerifyForeign(raw, keys, wants, i.machine())
	if err != nil {
		return token.Foreign{}, federatedRefusal(says, err)
	}
	return f, nil
}

// Own reports whether an issuer is one of this house, whose keys nobody need ask for.
func (i *Issuer) Own(issuer string) bool {
	_, ok := i.tenantOfIssuer(i.state.Current(), issuer)
	return ok
}

func (i *Issuer) tenantOfIssuer(est *estate.Snapshot, issuer string) (directory.TenantID, bool) {
	for t := range est.Tenants() {
		if slices.Contains(i.Issuers(t.ID), issuer) {
			return t.ID, true
		}
	}
	return directory.TenantID{}, false
}

// ourOwn verifies a token of this house that is sent as another client's
// assertion. It must be an application's or a managed identity's, made for this
// and for nothing else.
func (i *Issuer) ourOwn(ctx context.Context, tenant directory.TenantID, raw string) (token.Foreign, error) {
	c, err := token.Verify(raw, i.keys.Set(), token.Want{
		Tenant: tenant, Issuers: i.Issuers(tenant),
		Audiences: []string{TokenExchange.String()}, Purpose: token.AccessToken,
	}, i.now())
	switch {
	case errors.Is(err, token.ErrAudience):
		return token.Foreign{}, refuse(invalidClient, 700212, "No matching federated identity record found for presented assertion audience: it is not '%s'.", exchangeAudience).because(err)
	case err != nil:
		return token.Foreign{}, assertionRefusal(err)
	case c.IDType != "app":
		return token.Foreign{}, refuse(invalidClient, 700229, "Forbidden token type. Only app-only tokens may be used as Federated Identity Credentials for AAD issuer.")
	}
	live, err := i.Live(ctx, c)
	switch {
	case err != nil:
		return token.Foreign{}, err
	case !live:
		return token.Foreign{}, refuse(invalidClient, 7000112, "The application or identity that the assertion speaks of is gone or disabled.")
	}
	// A version 2.0 token names its audience by id; credentials name it by URI.
	return token.Foreign{Issuer: c.Issuer, Subject: c.Subject, Audience: exchangeAudience, ID: c.ID, IssuedAt: c.IssuedAt, Expires: c.Expires}, nil
}

// federatedRefusal says which part of a token no credential of the client has.
func federatedRefusal(says token.Unverified, err error) error {
	const check = "heck your federated identity credential Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
	const none = "No matching federated identity record found for presented assertion "
	switch {
	case errors.Is(err, token.ErrIssuer):
		return refuse(invalidClient, 700211, none+"issuer '%.600s'. Please c"+check, says.Issuer)
	case errors.Is(err, token.ErrSubjectCase):
		return refuse(invalidClient, 7002138, none+"subject '%.600s'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison. C"+check, says.Subject)
	case errors.Is(err, token.ErrSubject):
		return refuse(invalidClient, 700213, none+"subject '%.600s'. C"+check, says.Subject)
	case errors.Is(err, token.ErrAudience):
		return refuse(invalidClient, 700212, none+"audience '%.600s'. C"+check, says.Audience)
	case errors.Is(err, token.ErrKey):
		return refuse(invalidClient, 700027, "Client assertion failed signature validation: the issuer '%.600s' publishes no key '%.64s' for it.", says.Issuer, says.KeyID).because(err)
	}
	return assertionRefusal(err)
}

// badAssertion is the refusal of what cannot even be read.
func badAssertion(err error) error {
	if errors.Is(err, token.ErrAudiences) {
		return refuse(invalidClient, 700212, "No matching federated identity record found for presented assertion audience: the assertion is for several audiences, or for none. It must be for exactly one.").because(err)
	}
	return refuse(invalidClient, 50027, "JWT token is invalid or malformed.").because(err)
}

// expiredText says how an assertion misses the time.
func expiredText(err error) string {
	_, detail, _ := strings.Cut(err.Error(), token.ErrExpired.Error()+": ")
	return "Client assertion is not within its valid time range: " + detail + "."
}

// uses counts how often each assertion was good for something. A workload sends
// one again for every resource that it needs; somebody who has stolen it would
// send it all the time (FED-19). It is kept in memory by each replica. A tenant for
// which that is too often has assertions that are good once; see scruples.
type uses struct {
	mu    sync.Mutex
	count map[string]int
	until time.Time
}

// maxUses is how often a replica takes one assertion in a minute.
const maxUses = 120

// again counts one more use, and reports whether it is not too much.
func (u *uses) again(id string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !now.Before(u.until) || u.until.Sub(now) > time.Minute { // the clock was set back
		u.count, u.until = make(map[string]int), now.Add(time.Minute)
	}
	u.count[id]++
	return u.count[id] <= maxUses
}
