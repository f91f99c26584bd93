package oidc

import (
	"context"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A Proof shows in another way than by its credentials that a client may ask for
// tokens: the assertion that it sends is a cluster's to judge.
type Proof func(ctx context.Context, client string, assertion issue.Secret) (issue.Bound, error)

func (p Proof) of(ctx context.Context, req issue.TokenRequest) (issue.TokenRequest, error) {
	b, err := p(ctx, req.ClientID, req.Assertion)
	if err != nil {
		return req, err
	}
	req.Bound = &b
	return req, nil
}

// Bound serves what clients ask of a token proxy: tokens, by a proof, and before
// that what there is to know about the house. It has the paths of the door itself.
func (d *Door) Bound(prove Proof) http.Handler {
	mux := http.NewServeMux()
	api := func(pattern string, h serve.Handler) {
		mux.Handle(pattern, serve.Handle(d.noting(h), serve.Options{Log: d.log, Fail: d.fail, Now: d.issuer.Now}))
	}
	api("GET /{tenant}/v2.0/.well-known/openid-configuration", d.discoveryV2)
	api("GET /common/discovery/instance", d.instance)
	api("POST /{tenant}/oauth2/v2.0/token", d.token(2, prove))
	return d.whole(mux)
}
