package keys_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// hanging is a store whose client does not come back, whatever its deadline: to
// the ring that is as if the process were stopped.
type hanging struct {
	*replica
	hangs atomic.Bool
	until chan struct{}
}

func (h *hanging) Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error) {
	if h.hangs.Load() {
		<-h.until
	}
	return h.replica.Private(ctx, bucket, id...)
}

// WH-17 and JWT-25: keys are known to be good by when the store was asked, and not
// by a follower that may itself have slept.
func TestKeysAgeWhileTheirFollowerSleeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := new(store.Memory)
		s := openStore(t, kv)
		addTenant(t, s, tenant, "one.example")
		other := openRing(t, s)
		h := &hanging{replica: openStore(t, kv), until: make(chan struct{})}
		ring := openRing(t, h)
		raw := sign(t, other, time.Hour)
		if err := verify(ring, raw); err != nil {
			t.Fatal(err)
		}
		h.hangs.Store(true)
		if err := other.EmergencyStop(t.Context(), admin, current(t, other).ID); err != nil {
			t.Fatal(err)
		}
		pass(keys.DefaultMaxAge + time.Second)
		if err := verify(ring, raw); !errors.Is(err, token.ErrKey) {
			t.Errorf("a key that was stopped is accepted by a ring that sleeps: %v", err)
		}
		if _, err := ring.Sign(t.Context(), claims(tenant, time.Hour)); !errors.Is(err, keys.ErrStale) {
			t.Errorf("it signs: %v, want ErrStale", err)
		}
		h.hangs.Store(false)
		close(h.until)
		pass(time.Second)
		if err := verify(ring, sign(t, other, time.Hour)); err != nil {
			t.Errorf("awake, it takes the new key: %v", err)
		}
	})
}
