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

// PI-07: what was seen is looked at again when it is 2 s old by the time that somebody
// would be answered by it, until it is not.
func TestWhatWasSeenIsLookedAtAgainWhenItIsOld(t *testing.T) {
	t.Parallel()
	gone, down := errors.New("gone"), errors.New("down")
	for _, tt := range []struct {
		law       string
		age, took time.Duration
		agrees    error
		read      error
		looks     int64
		want      error
	}{
		{"what is new is good", 0, 0, gone, down, 0, nil},
		{"for less than 2 s", 2*time.Second - 1, 0, gone, down, 0, nil},
		{"what is 2 s old is looked at again", 2 * time.Second, time.Second, nil, nil, 1, nil},
		{"and not good if it has changed", 2 * time.Second, time.Second, gone, nil, 1, gone},
		{"nor if nobody says so", 2 * time.Second, time.Second, nil, down, 1, down},
		{"it is not good for being looked at slowly", time.Hour, 2 * time.Second, nil, nil, 4, nmi.ErrSlow},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var looks atomic.Int64
				v := nmi.NewViews(func(context.Context) error {
					looks.Add(1)
					time.Sleep(tt.took)
					return tt.read
				})
				since := time.Now()
				time.Sleep(tt.age)
				err := v.Still(t.Context(), since, func() error { return tt.agrees })
				if !errors.Is(err, tt.want) || looks.Load() != tt.looks {
					t.Errorf("%v after %d looks, want %v after %d", err, looks.Load(), tt.want, tt.looks)
				}
			})
		})
	}
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
