package issue

import (
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// pace watches how fast devices ask. It is kept in memory by each replica: it
// protects the replica, and 10,000 devices that ask every five seconds must not
// become 2,000 writes a second (RX-01). Nothing of security rests on it: a
// device code has 256 bits, and one that is asked for too often is only told so.
//
// kubelogin asks after 50 ms, 200 ms, 650 ms, 2 s and 6 s, then every 5 s, and
// would not slow down; az asks every 5 s. The budget is above both: seven at once,
// and one more every 4 s. Each time that it is overdrawn, the interval at which it
// refills grows by 5 s (RFC 8628, section 3.5). An approved device gets its tokens
// however fast it asks.
type pace struct {
	mu      sync.Mutex
	polls   map[string]*polling
	starts  map[directory.AppID]int
	window  time.Time // when starts are counted anew
	sweepAt time.Time
}

type polling struct {
	budget  float64
	refill  time.Duration
	at      time.Time
	expires time.Time
}

const (
	pollBurst  = 7
	pollRefill = 4 * time.Second
	// maxStarts is how many device codes a client may ask one replica for in the
	// life of one.
	maxStarts = 20_000
)

func newPace() *pace {
	return &pace{polls: make(map[string]*polling), starts: make(map[directory.AppID]int)}
}

// start reports whether a client may begin another device code.
func (p *pace) start(id directory.AppID, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.window) {
		clear(p.starts)
		p.window = now.Add(DeviceLife)
	}
	p.starts[id]++
	return p.starts[id] <= maxStarts
}

// poll reports whether a device asks at a fair pace.
func (p *pace) poll(id string, expires, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	q, ok := p.polls[id]
	if !ok {
		q = &polling{budget: pollBurst, refill: pollRefill, at: now, expires: expires}
		p.polls[id] = q
	}
	q.budget = min(pollBurst, q.budget+now.Sub(q.at).Seconds()/q.refill.Seconds())
	q.at = now
	if q.budget < 1 {
		q.refill += DeviceInterval
		return false
	}
	q.budget--
	return true
}

func (p *pace) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.polls, id)
}

// sweep drops what expired, once a minute.
func (p *pace) sweep(now time.Time) {
	if now.Before(p.sweepAt) {
		return
	}
	p.sweepAt = now.Add(time.Minute)
	for id, q := range p.polls {
		if !now.Before(q.expires) {
			delete(p.polls, id)
		}
	}
}
