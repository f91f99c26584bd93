package keys

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A view is what one replica knows about the keys. It is never changed.
type view struct {
	rev    int64 // of the head
	head   head
	chains map[chainID]chain
	order  []chainID
	set    token.KeySet
	err    error // why nothing may be used, or nil
}

// A chainID names the keys of one tenant and purpose.
type chainID struct {
	tenant  directory.TenantID
	purpose token.Purpose
}

// A ringKey is a key and the instant from which it signs. Its NotAfter is when it
// stops to be accepted, see chain.
type ringKey struct {
	token.SigningKey
	// It signs from signFrom, at most until signUntil: its last token must end
	// before it stops to be accepted.
	signFrom, signUntil time.Time
}

// A chain is the keys of one tenant and purpose in the order in which they sign.
type chain []ringKey

// newChain orders keys and ends each of them: when the last token signed before
// its successor signs has ended. Replicas whose clocks differ sign with it for a
// moment longer, for which the leeway is added.
func newChain(keys []ringKey, tokenLife time.Duration) chain {
	c := slices.SortedFunc(slices.Values(keys), func(a, b ringKey) int {
		return cmp.Or(a.signFrom.Compare(b.signFrom), cmp.Compare(a.ID, b.ID))
	})
	for i := range len(c) - 1 {
		end := c[i+1].signFrom.Add(tokenLife + token.Leeway)
		if end.Before(c[i].NotAfter) {
			c[i].NotAfter = end
		}
	}
	for i := range c {
		c[i].signUntil = c[i].NotAfter.Add(-tokenLife - token.Leeway)
	}
	return c
}

// signer returns the key that signs at now: the newest that has begun.
func (c chain) signer(now time.Time) (ringKey, bool) {
	for _, k := range slices.Backward(c) {
		if !k.signFrom.After(now) {
			return k, now.Before(k.signUntil)
		}
	}
	return ringKey{}, false
}

// A plan is what must be done to the keys.
type plan struct {
	make []made
	drop []ringKey
}

// made is a key to be made.
type made struct {
	chain    chainID
	signFrom time.Time
}

// due returns what must be done at now so that every tenant has keys that sign,
// and successors in time. With rotate every chain gets a successor that has none.
func (v *view) due(c Config, tenants iter.Seq[directory.Tenant], now time.Time, rotate bool) plan {
	var p plan
	known := make(map[directory.TenantID]bool)
	for t := range tenants {
		known[t.ID] = true
		for _, purpose := range purposes {
			id := chainID{t.ID, purpose}
			signer, ok := v.chains[id].signer(now)
			switch {
			case !ok:
				p.make = append(p.make, made{id, now})
			case v.chains[id][len(v.chains[id])-1].ID != signer.ID:
				// its successor is there
			case rotate, !now.Before(signer.signFrom.Add(c.SignFor - c.Prepublish)):
				p.make = append(p.make, made{id, now.Add(c.Prepublish)})
			}
		}
	}
	for _, id := range v.order {
		for _, k := range v.chains[id] {
			if !known[id.tenant] || !now.Before(k.NotAfter) {
				p.drop = append(p.drop, k)
			}
		}
	}
	return p
}

// life returns when a new key begins and ends. It is accepted a little before it
// was made, by replicas whose clocks are behind. If nobody makes a successor in
// time, it goes on signing for as long again, and then ends.
func (m made) life(c Config, now time.Time) (notBefore, notAfter time.Time) {
	return now.Add(-token.Leeway), m.signFrom.Add(2*c.SignFor + c.TokenLife + token.Leeway)
}
