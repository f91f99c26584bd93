//go:build linux

package nmi

import (
	"context"
	"net/netip"
	"time"
)

// Views shares calls of read among those who ask at once, as the agent does.
type Views struct{ v views }

// NewViews returns one that calls read. What it looked at is not of interest.
func NewViews(read func(context.Context) error) *Views {
	return &Views{views{read: func(ctx context.Context) (*view, error) { return new(view), read(ctx) }}}
}

// Fresh returns after a call of read that began after this one.
func (v *Views) Fresh(ctx context.Context) error {
	_, err := v.v.fresh(ctx)
	return err
}

// Still is views.still, for what was seen since an instant. What there is to agree
// with is not of interest.
func (v *Views) Still(ctx context.Context, since time.Time, agrees func() error) error {
	return v.v.still(ctx, &view{since: since}, func(*view) error { return agrees() })
}

// ErrSlow is errSlow.
var ErrSlow = errSlow

// Pace is a pace.
type Pace struct{ p pace }

// Enter is pace.enter.
func (p *Pace) Enter(addr netip.Addr, now time.Time) (func(), bool) { return p.p.enter(addr, now) }
