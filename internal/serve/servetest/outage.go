package servetest

import (
	"context"
	"sync/atomic"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// An Outage is a store that takes no writes while it is on.
type Outage struct {
	*store.Memory
	On atomic.Bool
}

// Txn implements store.KV.
func (o *Outage) Txn(ctx context.Context, conds []store.Cond, writes []store.Write) (int64, bool, error) {
	if o.On.Load() {
		return 0, false, store.ErrUnavailable
	}
	return o.Memory.Txn(ctx, conds, writes)
}
