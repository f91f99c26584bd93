package house

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Two clocks run in a house, and a rehearsal sets them apart (docs/guides/rehearsal.md
// has the list). By conf.Now, the machine's, goes what others outside of the house
// hold against clocks of their own, or what keeps the house itself together:
// certificates and control planes, the age of snapshots, the audit log, timers, and
// tokens of other issuers. By h.now, the house's, goes what the house gives out or
// judges: tokens, codes, sessions, secrets, signing keys, and the windows of grants.

// now is the house's clock.
func (h *House) now() time.Time { return h.store.Now() }

// mayRehearse refuses to start a house that was not asked to rehearse on a store in
// which something is rehearsed, and ends the rehearsal if that was asked for.
func (h *House) mayRehearse(ctx context.Context) error {
	knobs := h.store.Current().Rehearsal()
	if h.conf.EndRehearsal {
		if _, there := h.store.Current().Get(knobs.Key()); there {
			_, err := h.store.Commit(ctx, store.Change{Why: "the rehearsal was ended at the start", Ops: []estate.Op{{Delete: knobs.Key()}}})
			return err
		}
		return nil
	}
	if summary := knobs.Summary(h.conf.Now()); summary != "" && !h.conf.Rehearse {
		return fmt.Errorf("this store is in a rehearsal (%s), and nothing of that is heeded without --rehearsal: start with it, or end the rehearsal with --end-rehearsal", summary)
	}
	return nil
}

// stage is the rehearsal as the doors see it.
func (h *House) stage() rehearse.Stage {
	return rehearse.Stage{Knobs: h.store.Rehearsal, Machine: h.conf.Now, Allowed: h.conf.Rehearse}
}

// meter counts requests for all fronts of a door together.
func (h *House) newMeter() *rehearse.Meter {
	return rehearse.NewMeter(func() rehearsal.Throttle { return h.store.Rehearsal().Throttle }, h.conf.Now)
}

// ready are the checks of /readyz. A rehearsal is no reason not to be asked; but a
// replica that must not take part in one gives other answers than those that do.
func (h *House) ready() []serve.Check {
	return []serve.Check{
		{Name: "store", Check: func(context.Context) error { return h.store.Fresh(h.now()) }},
		{
			Name: "rehearsal",
			Check: func(context.Context) error {
				if summary := h.store.Current().Rehearsal().Summary(h.conf.Now()); summary != "" && !h.conf.Rehearse {
					return errors.New("the store is in a rehearsal, in which this replica must not take part: " + summary)
				}
				return nil
			},
			Note: func() string { return h.store.Rehearsal().Summary(h.conf.Now()) },
		},
	}
}

// tokens refuses requests for tokens in an outage of the issuer and those that are
// too many. What is asked for the house's own API is never refused: whoever
// rehearses must be able to end it.
func (h *House) tokens(meter *rehearse.Meter) func(http.ResponseWriter, *http.Request, issue.TokenRequest) error {
	stage := h.stage()
	return func(w http.ResponseWriter, r *http.Request, req issue.TokenRequest) error {
		if req.For(api.Audience) || req.For(api.App) {
			return nil
		}
		if stage.Refused(w, r, rehearsal.OIDC) {
			return &issue.Error{OAuth: "temporarily_unavailable", Code: 90033, Status: http.StatusServiceUnavailable,
				Text: "A transient error has occurred. Please try again. An outage is being rehearsed."}
		}
		if left := meter.Take(rehearse.Use{Sort: rehearse.Token, Client: req.ClientID, Source: req.Source}); left.Wait > 0 {
			return &issue.Error{OAuth: "temporarily_unavailable", Code: 90055, Status: http.StatusTooManyRequests, RetryAfter: left.Wait,
				Text: "The tenant has sent too many requests. Try again later."}
		}
		return nil
	}
}

// followKnobs takes up each change of the knobs until the context ends.
func (h *House) followKnobs(ctx context.Context, ring *keys.Ring) {
	est := h.store.Current()
	for {
		was := est.Rehearsal()
		next, err := h.store.Next(ctx, est.Revision())
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			h.conf.Log.Warn("rehearsal: waiting for the next revision", "error", err)
			continue
		}
		est = next
		if is := est.Rehearsal(); is.Summary(h.conf.Now()) != was.Summary(h.conf.Now()) || is.ClockAhead != was.ClockAhead {
			h.knobsTurned(ctx, ring)
			h.announce()
		}
	}
}

// announce says loudly what is rehearsed.
func (h *House) announce() {
	summary := h.store.Rehearsal().Summary(h.conf.Now())
	switch {
	case summary != "":
		h.conf.Log.Warn("REHEARSAL", "knobs", summary)
	case h.conf.Rehearse:
		h.conf.Log.Warn("no rehearsal: all knobs are off")
	}
	h.conf.Rehearsing(summary)
}

// knobsTurned does what a clock that was moved makes due at once: else there could
// be no key that signs for a second, or the operator could not sign in any more.
func (h *House) knobsTurned(ctx context.Context, ring *keys.Ring) {
	if !h.conf.Rehearse {
		return
	}
	if err := ring.Tend(ctx); err != nil && ctx.Err() == nil {
		h.conf.Log.Warn("rehearsal: signing keys after the clock was moved", "error", err)
	}
	if err := h.renewOperator(ctx); err != nil && ctx.Err() == nil {
		h.conf.Log.Warn("rehearsal: the operator's secret after the clock was moved", "error", err)
	}
}

// renewOperator gives the operator a new secret when the clock has come near the
// end of his.
func (h *House) renewOperator(ctx context.Context) error {
	h.renewing.Lock()
	defer h.renewing.Unlock()
	op, err := ReadOperator(h.conf.Dir.Operator())
	if err != nil || !h.ending(op) {
		return err
	}
	change := store.Change{Why: "the operator's secret ends soon by the clock of the rehearsal"}
	if err := h.newSecret(&op, &change); err != nil {
		return err
	}
	if err := h.commit(ctx, change); err != nil {
		return err
	}
	return h.writeOperator(op)
}
