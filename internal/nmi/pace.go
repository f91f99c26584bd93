//go:build linux

package nmi

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How much a pod may ask, as at the metadata service that the agent stands for.
const (
	perSecond = 20
	atOnce    = 5
	// forgetAfter is when who asks nothing is forgotten: his rate is full again.
	forgetAfter = time.Minute
)

// pace keeps each sender to his share. The zero pace is ready.
type pace struct {
	mu     sync.Mutex
	of     map[netip.Addr]*share
	forgot time.Time
}

type share struct {
	rate   *rate.Limiter
	within int
	last   time.Time
}

// enter reports whether a sender may be served now. If so, leave must be called.
func (p *pace) enter(addr netip.Addr, now time.Time) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = make(map[netip.Addr]*share)
	}
	if now.Sub(p.forgot) > forgetAfter {
		p.forgot = now
		for a, s := range p.of {
			if s.within == 0 && now.Sub(s.last) > forgetAfter {
				delete(p.of, a)
			}
		}
	}
	s, known := p.of[addr]
	if !known {
		s = &share{rate: rate.NewLimiter(perSecond, perSecond)}
		p.of[addr] = s
	}
	s.last = now
	if s.within >= atOnce || !s.rate.AllowN(now, 1) {
		return nil, false
	}
	s.within++
	return func() {
		p.mu.Lock()
		s.within--
		p.mu.Unlock()
	}, true
}
