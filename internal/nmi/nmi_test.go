//go:build linux

package nmi_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/nmi"
)

// PI-07: nobody gets a look that began before he asked.
func TestALookIsNotOlderThanTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var began atomic.Int64 // when the look that ended last began
		var looks atomic.Int64
		v := nmi.NewViews(func(context.Context) error {
			start := time.Now().UnixNano()
			looks.Add(1)
			time.Sleep(10 * time.Millisecond)
			began.Store(start)
			return nil
		})
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i%97) * time.Millisecond)
				asked := time.Now().UnixNano()
				if err := v.Fresh(t.Context()); err != nil || began.Load() < asked {
					t.Errorf("asked at %d, the look began at %d: %v", asked, began.Load(), err)
				}
			})
		}
		wg.Wait()
		if n := looks.Load(); n > 15 {
			t.Errorf("%d looks within 110 ms of 10 ms each", n)
		}
	})
}

func TestALookThatFailsFailsForAllWhoWaited(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	v := nmi.NewViews(func(context.Context) error { return down })
	for range 3 {
		if err := v.Fresh(t.Context()); !errors.Is(err, down) {
			t.Errorf("%v", err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	slow := nmi.NewViews(func(context.Context) error { <-t.Context().Done(); return nil })
	if err := slow.Fresh(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("who has left waits: %v", err)
	}
}

// PI-14.
func TestEachSenderHasHisShare(t *testing.T) {
	t.Parallel()
	var p nmi.Pace
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	got := func(of netip.Addr, n int) (entered int, leave []func()) {
		for range n {
			if l, ok := p.Enter(of, now); ok {
				entered, leave = entered+1, append(leave, l)
			}
		}
		return entered, leave
	}
	n, leave := got(a, 10)
	if n != 5 {
		t.Errorf("%d at once, want 5", n)
	}
	if n, _ := got(b, 1); n != 1 {
		t.Error("another sender has to wait for him")
	}
	for _, l := range leave {
		l()
	}
	total := 5
	for range 30 {
		if l, ok := p.Enter(a, now); ok {
			total++
			l()
		}
	}
	if total != 20 {
		t.Errorf("%d in one instant, want 20", total)
	}
	now = now.Add(time.Second)
	if l, ok := p.Enter(a, now); !ok {
		t.Error("a second later he has to wait still")
	} else {
		l()
	}
	for i := range 10_000 { // nobody is remembered for ever
		now = now.Add(time.Second)
		l, ok := p.Enter(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), now)
		if !ok {
			t.Fatal("a new sender has to wait")
		}
		l()
	}
}
