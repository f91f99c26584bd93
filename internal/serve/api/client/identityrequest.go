package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// AskIdentity asks for an identity, in the caller's name.
func (c *Client) AskIdentity(ctx context.Context, ask wire.NewIdentityRequest) (wire.IdentityRequest, error) {
	return c.changeRequest(ctx, wire.PathIdentityRequests, ask)
}

// IdentityRequests returns requests for identities: mine, those to-approve, or all
// that the caller may read.
func (c *Client) IdentityRequests(ctx context.Context, which string) (wire.IdentityRequests, error) {
	return c.IdentityRequestsEnding(ctx, which, "")
}

// IdentityRequestsEnding returns those of them that are active and end within a time
// such as P14D; empty is all, whether they end or not.
func (c *Client) IdentityRequestsEnding(ctx context.Context, which, within string) (out wire.IdentityRequests, err error) {
	q := url.Values{"which": {which}}
	if within != "" {
		q.Set("within", within)
	}
	return out, c.do(ctx, http.MethodGet, wire.PathIdentityRequests, q, nil, &out)
}

// IdentityRequest returns one request.
func (c *Client) IdentityRequest(ctx context.Context, id string) (out wire.IdentityRequest, err error) {
	return out, c.do(ctx, http.MethodGet, of(wire.PathIdentityRequest, id), nil, nil, &out)
}

// ApproveRequest approves a request, and makes what was asked for.
func (c *Client) ApproveRequest(ctx context.Context, id string, say wire.AnswerToRequest) (wire.IdentityRequest, error) {
	return c.changeRequest(ctx, of(wire.PathApproveRequest, id), say)
}

// RefuseRequest refuses a request.
func (c *Client) RefuseRequest(ctx context.Context, id string, say wire.AnswerToRequest) (wire.IdentityRequest, error) {
	return c.changeRequest(ctx, of(wire.PathRefuseRequest, id), say)
}

// WithdrawRequest takes back a request of the caller.
func (c *Client) WithdrawRequest(ctx context.Context, id string, say wire.AnswerToRequest) (wire.IdentityRequest, error) {
	return c.changeRequest(ctx, of(wire.PathWithdrawRequest, id), say)
}

// RenewRequest asks that a request of the caller, which was approved, go on.
func (c *Client) RenewRequest(ctx context.Context, id string, say wire.AnswerToRequest) (wire.IdentityRequest, error) {
	return c.changeRequest(ctx, of(wire.PathRenewRequest, id), say)
}

// RetireRequest takes back what an approval made.
func (c *Client) RetireRequest(ctx context.Context, id string, say wire.AnswerToRequest) (wire.IdentityRequest, error) {
	return c.changeRequest(ctx, of(wire.PathRetireRequest, id), say)
}

func (c *Client) changeRequest(ctx context.Context, path string, in any) (out wire.IdentityRequest, err error) {
	if err := c.change(ctx, path, in, &out); err != nil {
		return wire.IdentityRequest{}, err
	}
	c.AtLeast = max(c.AtLeast, out.Revision)
	return out, nil
}

func of(path, id string) string { return strings.Replace(path, "{id}", url.PathEscape(id), 1) }
