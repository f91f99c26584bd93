package house

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A house that runs control planes says so in the store, for as long as it lives. So
// another replica, which runs none, knows whether what is to be done to a cluster
// will be done by somebody, or must be refused.
const (
	bucketRunner = "runner"
	beatEvery    = 20 * time.Second
	beatLasts    = time.Minute
)

// beat says that this house runs control planes.
func (c *clusters) beat(ctx context.Context) error {
	return c.store.CommitPrivate(ctx, store.PrivateOp{Bucket: bucketRunner, ID: []string{"house"}, Value: []byte("1"), Expires: time.Now().Add(beatLasts), Real: true})
}

func (c *clusters) beats(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := c.beat(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("saying that control planes run here", "error", err)
		}
	}
}

var errElsewhere = errors.New("another house runs the control planes; it has not done this yet")

// absent says why a house without control planes does nothing: another one does it,
// or nobody does.
func (c *clusters) absent(ctx context.Context) error {
	_, err := c.store.Private(ctx, bucketRunner, "house")
	switch {
	case err == nil:
		return errElsewhere
	case errors.Is(err, store.ErrNotFound):
		return errNotHere
	}
	return err
}
