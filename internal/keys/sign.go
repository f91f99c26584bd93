package keys

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Sign signs the claims with the key of their tenant and use. At most half of the
// processors sign at once, so that a flood of sign-ins does not slow decisions
// down; with too many waiting it is ErrBusy at once. The key is chosen when it is
// this call's turn, so that a stop also stops those who wait. Other errors are
// those of Current and token.Sign, and of ctx.
func (r *Ring) Sign(ctx context.Context, c token.Claims) (string, error) {
	return r.sign(ctx, c.Tenant, c.Use, func(key token.SigningKey) (string, error) { return token.Sign(key, c, "JWT") })
}

// SignRegistry is Sign for a token of a container registry.
func (r *Ring) SignRegistry(ctx context.Context, c token.RegistryClaims) (string, error) {
	return r.sign(ctx, c.Tenant, token.RegistryToken, func(key token.SigningKey) (string, error) { return token.SignRegistry(key, c) })
}

func (r *Ring) sign(ctx context.Context, tenant directory.TenantID, use token.Purpose, with func(token.SigningKey) (string, error)) (string, error) {
	release, err := r.pool.enter(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	key, err := r.Current(tenant, use)
	if err != nil {
		return "", err
	}
	return with(key)
}

// A pool lets some work at once, some wait, and turns the rest away.
type pool struct {
	slots chan struct{}
	in    *atomic.Int64 // working or waiting
	most  int64
}

func newPool(workers, queue int) pool {
	return pool{slots: make(chan struct{}, workers), in: new(atomic.Int64), most: int64(workers + queue)}
}

// enter waits for a turn; release ends it.
func (p pool) enter(ctx context.Context) (release func(), err error) {
	if p.in.Add(1) > p.most {
		p.in.Add(-1)
		return nil, ErrBusy
	}
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots; p.in.Add(-1) }, nil
	case <-ctx.Done():
		p.in.Add(-1)
		return nil, fmt.Errorf("wait to sign: %w", ctx.Err())
	}
}
