package rehearse_test

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) forward(d time.Duration) { c.at = c.at.Add(d) }

func newMeter(t rehearsal.Throttle) (*rehearse.Meter, *clock) {
	c := &clock{time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)}
	return rehearse.NewMeter(func() rehearsal.Throttle { return t }, c.now), c
}

func who(n int) rehearse.Use {
	var id principal.ID
	binary.BigEndian.PutUint64(id[:], uint64(n)+1)
	return rehearse.Use{Who: id}
}

var tenIn10s = rehearsal.Throttle{ARMReads: rehearsal.Rate{Count: 10, Per: rehearsal.Duration(10 * time.Second)}}

func TestOneTooManyWaitsForTheNext(t *testing.T) { // ARM-13
	t.Parallel()
	m, clock := newMeter(tenIn10s)
	for left := 9; left >= 0; left-- {
		if got := m.Take(who(1)); got.Left != left || got.Wait != 0 {
			t.Fatalf("%+v, want %d left", got, left)
		}
	}
	if got := m.Take(who(1)); got.Wait != time.Second || got.Left != 0 {
		t.Errorf("the eleventh: %+v, want a second to wait", got)
	}
	if got := m.Take(who(2)); got.Wait != 0 || got.Left != 9 {
		t.Errorf("somebody else: %+v, want 9 left", got)
	}
	other := who(1)
	other.Sort = rehearse.Writes
	if got := m.Take(other); got.Wait != 0 {
		t.Errorf("another sort of request: %+v", got)
	}
	clock.forward(500 * time.Millisecond)
	if got := m.Take(who(1)); got.Wait != time.Second {
		t.Errorf("too early: %+v; who waits for whole seconds must not wait in vain", got)
	}
	clock.forward(500 * time.Millisecond)
	if got := m.Take(who(1)); got.Wait != 0 {
		t.Errorf("after the time that was named: %+v", got)
	}
	clock.forward(time.Hour)
	if got := m.Take(who(1)); got.Left != 9 {
		t.Errorf("after an hour: %+v, want no more than the bucket holds", got)
	}
}

func TestWithoutARateEverythingIsCountedAndNothingRefused(t *testing.T) {
	t.Parallel()
	m, clock := newMeter(rehearsal.Throttle{})
	for range 1000 {
		if got := m.Take(who(1)); got.Wait != 0 {
			t.Fatalf("%+v", got)
		}
	}
	if got := m.Take(who(1)); got.Left != 0 {
		t.Errorf("%+v, want none left of Azure's 250", got)
	}
	clock.forward(time.Second)
	if got := m.Take(who(1)); got.Left != 24 {
		t.Errorf("%+v, want 24 left of the 25 that a second brings", got)
	}
	if got := (*rehearse.Meter)(nil).Take(who(1)); got != (rehearse.Reading{}) {
		t.Errorf("no meter: %+v", got)
	}
}

func TestTheMeterIsBounded(t *testing.T) {
	t.Parallel()
	m, clock := newMeter(tenIn10s)
	most := 0
	for n := range 200_000 {
		m.Take(who(n))
		most = max(most, rehearse.Buckets(m))
	}
	if most > 1<<16 {
		t.Errorf("%d buckets", most)
	}
	clock.forward(time.Minute)
	for n := range 1 << 16 {
		m.Take(who(1_000_000 + n))
	}
	if got := rehearse.Buckets(m); got > 1<<16 {
		t.Errorf("%d buckets, although the old ones are full again", got)
	}
}

func TestManyAtOnceGetWhatThereIs(t *testing.T) { // ARM-13
	t.Parallel()
	m, _ := newMeter(tenIn10s)
	var wg sync.WaitGroup
	var mu sync.Mutex
	served := 0
	for range 100 {
		wg.Go(func() {
			if m.Take(who(1)).Wait == 0 {
				mu.Lock()
				served++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if served != 10 {
		t.Errorf("%d of 100 were served, want 10", served)
	}
}
