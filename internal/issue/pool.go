package issue

import (
	"context"
	"sync/atomic"
)

// A pool bounds a kind of costly work, so that a flood of it waits in its own
// line instead of slowing decisions down (RX-02).
type pool struct {
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
}

// newPool returns a pool that does so much at once and lets so many wait.
func newPool(workers, queue int) *pool {
	return &pool{slots: make(chan struct{}, workers), queue: int64(queue)}
}

// do runs work when it is its turn. It refuses at once when the line is full, and
// when the caller has gone.
func (p *pool) do(ctx context.Context, work func()) error {
	if p.waiting.Add(1) > p.queue+int64(cap(p.slots)) {
		p.waiting.Add(-1)
		return errBusy()
	}
	defer p.waiting.Add(-1)
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return errUnavailable(ctx.Err())
	}
	defer func() { <-p.slots }()
	work()
	return nil
}
