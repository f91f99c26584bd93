package keys

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Tend does what is due: keys for new tenants, successors in time, and no key
// longer than its tokens live. The ring does it by itself; call Tend to have the
// keys of a tenant that was made just now.
func (r *Ring) Tend(ctx context.Context) error { return r.tend(ctx, principal.ID{}, false) }

// Rotate makes a successor for every key that signs and has none. It signs after
// Prepublish, and its predecessor is accepted for TokenLife after that.
func (r *Ring) Rotate(ctx context.Context, by principal.ID) error { return r.tend(ctx, by, true) }

// maxMade bounds how many keys one transaction makes, since making takes time.
const maxMade = 16

func (r *Ring) tend(ctx context.Context, by principal.ID, rotate bool) error {
	r.tending.Lock()
	defer r.tending.Unlock()
	now := r.Now()
	ready := make(map[made]store.PrivateOp) // so that trying again does not make keys again
	for more := true; more; {
		more = false
		err := r.update(ctx, by, func(v *view) (head, string, []store.PrivateOp, error) {
			p := v.due(r.Config, r.State.Current().Tenants(), now, rotate)
			if more = len(p.make) > maxMade; more {
				p.make = p.make[:maxMade]
			}
			var ops []store.PrivateOp
			var names []string
			for _, m := range p.make {
				op, ok := ready[m]
				if !ok {
					var err error
					if op, err = newKey(r.Config, m, now); err != nil {
						return head{}, "", nil, err
					}
					ready[m] = op
				}
				ops, names = append(ops, op), append(names, "+"+op.ID[1])
			}
			for _, k := range p.drop {
				ops, names = append(ops, dropKey(k.ID)), append(names, "-"+k.ID)
			}
			return v.head, fmt.Sprintf("rotate signing keys: %.3000s", strings.Join(names, " ")), ops, nil
		})
		if err != nil {
			return fmt.Errorf("tend the signing keys: %w", err)
		}
	}
	return nil
}

// tendInterval is how often the ring looks whether something is due, which costs
// a walk over the tenants.
const tendInterval = time.Second

// tendAlways tends until ctx ends. It is apart from follow, because making a key
// can take longer than a stop may.
func (r *Ring) tendAlways(ctx context.Context) {
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v := r.view.Load()
		if v.err != nil {
			continue
		}
		if p := v.due(r.Config, r.State.Current().Tenants(), r.Now(), false); len(p.make) == 0 && len(p.drop) == 0 {
			continue
		}
		err := r.Tend(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			r.Log.Warn("keys: cannot do what is due", "error", err)
		}
		failing = err != nil
	}
}

// EmergencyStop removes a key at once. When it returns, this replica neither signs
// with the key nor accepts its tokens, and every other replica follows with its
// next poll. If it was the key that signs, its predecessor or a new key takes
// over. An unknown kid is ErrNotFound.
func (r *Ring) EmergencyStop(ctx context.Context, by principal.ID, kid string) error {
	tried := false
	err := r.update(ctx, by, func(v *view) (head, string, []store.PrivateOp, error) {
		now := r.Now()
		var ops []store.PrivateOp
		found := false
		for _, id := range v.order {
			for _, k := range v.chains[id] {
				// A key that has ended goes as well: without its successor it would seem
				// to go on.
				if k.ID == kid || !now.Before(k.NotAfter) {
					ops = append(ops, dropKey(k.ID))
				}
				found = found || k.ID == kid
			}
		}
		if !found && !tried {
			return head{}, "", nil, fmt.Errorf("%w: kid %.64q", ErrNotFound, kid)
		}
		// If it is gone when we look again, we did it, or somebody else.
		tried = true
		return v.head, "emergency stop of signing key " + kid, ops, nil
	})
	if err != nil {
		return fmt.Errorf("emergency stop: %w", err)
	}
	// The stop is done. Whether a new key can be made is another matter, and is
	// tried again in the background.
	if err := r.Tend(ctx); err != nil {
		r.Log.Warn("keys: no new key after an emergency stop yet", "kid", kid, "error", err)
	}
	return nil
}

// StopIssuing makes every replica sign nothing until ResumeIssuing. Tokens that
// were signed are still accepted.
func (r *Ring) StopIssuing(ctx context.Context, by principal.ID, why string) error {
	return r.setStopped(ctx, by, true, "stop issuing: "+why)
}

// ResumeIssuing ends StopIssuing.
func (r *Ring) ResumeIssuing(ctx context.Context, by principal.ID, why string) error {
	return r.setStopped(ctx, by, false, "resume issuing: "+why)
}

func (r *Ring) setStopped(ctx context.Context, by principal.ID, stopped bool, why string) error {
	err := r.update(ctx, by, func(v *view) (head, string, []store.PrivateOp, error) {
		if v.head.Stopped == stopped {
			return v.head, why, nil, nil
		}
		next := head{Stopped: stopped, Since: r.Now().UTC().Round(0), By: by}
		return next, why, nil, nil
	})
	if err != nil {
		return fmt.Errorf("%.64s: %w", why, err)
	}
	return nil
}
