package keys

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestPoolIsBounded(t *testing.T) { // RX-03
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(2, 3)
		done := make(chan struct{})
		entered := make(chan error, 10)
		for range 5 {
			go func() {
				release, err := p.enter(t.Context())
				entered <- err
				<-done
				release()
			}()
		}
		synctest.Wait()
		if n := len(entered); n != 2 {
			t.Errorf("%d work at once, want 2", n)
		}
		if _, err := p.enter(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("with three waiting: %v, want ErrBusy", err)
		}
		close(done)
		synctest.Wait()
		if len(entered) != 5 || p.in.Load() != 0 || len(p.slots) != 0 {
			t.Errorf("%d came in, %d are still counted; want 5 and none", len(entered), p.in.Load())
		}
	})
}

func TestPoolLetsGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, 1)
		release, err := p.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, err := p.enter(ctx); gone <- err }()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v, want Canceled", err)
		}
		release()
		if p.in.Load() != 0 {
			t.Errorf("%d are still counted", p.in.Load())
		}
	})
}
