package keyvault

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A pool bounds a kind of costly work.
type pool struct {
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
}

// newPool returns a pool that does so much at once and lets so many wait.
func newPool(workers, queue int) *pool {
	return &pool{slots: make(chan struct{}, workers), queue: int64(queue)}
}

// do runs work when it is its turn. It refuses at once when the line is full.
func (p *pool) do(ctx context.Context, work func() error) error {
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.queue+int64(cap(p.slots)) {
		return refuse(http.StatusTooManyRequests, "Throttled", "", "Too many keys are being made or used. Try again.")
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	defer func() { <-p.slots }()
	return work()
}
