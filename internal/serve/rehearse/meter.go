package rehearse

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Sort is a sort of request that is counted apart from the others.
type Sort int

// The sorts of request.
const (
	Reads Sort = iota // of Azure Resource Manager
	Writes
	Deletes
	Graph
	Token
)

// A Use is who asks for what, and with it the bucket that he draws from.
type Use struct {
	Sort   Sort
	Tenant directory.TenantID
	Who    principal.ID
	At     scope.Scope // the subscription; no place is the tenant
	// Client and Source stand for who asks for a token: nobody is known yet.
	Client, Source string
}

// A Meter counts requests in buckets. It is safe for concurrent use. The nil Meter
// counts nothing.
type Meter struct {
	throttle func() rehearsal.Throttle
	now      func() time.Time // the machine's clock

	mu      sync.Mutex
	buckets map[Use]bucket
}

// A bucket is how many requests were left, and when.
type bucket struct {
	level float64
	at    time.Time
}

// maxBuckets bounds the memory of a Meter.
const maxBuckets = 1 << 16

// NewMeter returns a Meter that refuses by the rates that throttle returns, and
// goes by the machine's clock.
func NewMeter(throttle func() rehearsal.Throttle, now func() time.Time) *Meter {
	return &Meter{throttle: throttle, now: now, buckets: make(map[Use]bucket)}
}

// A Reading is what is left of a bucket, and for how long its owner must wait if
// he was refused; 0 if he was not.
type Reading struct {
	Left int
	Wait time.Duration
}

// Take draws one request from a bucket. Where no rate is set it counts by Azure's
// and refuses nobody: then Left is what Azure would say.
func (m *Meter) Take(u Use) Reading {
	if m == nil {
		return Reading{}
	}
	rate, refuses := rateOf(m.throttle(), u.Sort)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	size, per := float64(rate.Count), time.Duration(rate.Per).Seconds()
	b, ok := m.buckets[u]
	if !ok {
		m.makeRoom()
		b = bucket{size, now}
	}
	b.level = min(size, b.level+now.Sub(b.at).Seconds()/per*size)
	b.at = now
	var r Reading
	switch {
	case b.level >= 1:
		b.level--
	case refuses:
		r.Wait = time.Duration(math.Ceil((1-b.level)/size*per)) * time.Second
	}
	r.Left = int(b.level)
	m.buckets[u] = b
	return r
}

func rateOf(t rehearsal.Throttle, s Sort) (rate rehearsal.Rate, refuses bool) {
	pick := func(t rehearsal.Throttle) rehearsal.Rate {
		switch s {
		case Reads:
			return t.ARMReads
		case Writes:
			return t.ARMWrites
		case Deletes:
			return t.ARMDeletes
		case Graph:
			return t.Graph
		}
		return t.Token
	}
	if rate = pick(t); rate != (rehearsal.Rate{}) {
		return rate, true
	}
	return pick(rehearsal.AzureThrottle()), false
}

// makeRoom forgets buckets that are full again, as those that were never used are.
// If that is not enough, it forgets any.
func (m *Meter) makeRoom() {
	if len(m.buckets) < maxBuckets {
		return
	}
	now, t := m.now(), m.throttle()
	for u, b := range m.buckets {
		if rate, _ := rateOf(t, u.Sort); now.Sub(b.at) >= time.Duration(rate.Per) {
			delete(m.buckets, u)
		}
	}
	for u := range m.buckets {
		if len(m.buckets) < maxBuckets/2 {
			return
		}
		delete(m.buckets, u)
	}
}

// RetryAfter says in a header how long to wait.
func RetryAfter(w http.ResponseWriter, r Reading) {
	w.Header().Set("Retry-After", strconv.Itoa(int(r.Wait/time.Second)))
}
