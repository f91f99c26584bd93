package api

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// actionRehearsal is what it takes to read the knobs. To turn them is to write
// their record, at the root as well.
const actionRehearsal = "Microsoft.Gatehouse/rehearsals/read"

// rehearsal answers which knobs are on, and what the clocks say.
func (d *Door) rehearsal(w http.ResponseWriter, _ *http.Request, s *session) error {
	if err := s.need(actionRehearsal, scope.Root, nil); err != nil {
		return err
	}
	out := wire.Rehearsal{Allowed: d.conf.Stage.Allowed, Knobs: s.est.Rehearsal(), Revision: s.est.Revision(), HouseTime: s.now.UTC(), MachineTime: s.now.UTC()}
	if d.conf.Stage.Machine != nil {
		out.MachineTime = d.conf.Stage.Machine().UTC()
		out.Summary = out.Knobs.Summary(out.MachineTime)
	}
	out.Warnings = revokedLater(s.est, s.now)
	return serve.JSON(w, http.StatusOK, out)
}

// maxNamed bounds how many accounts a warning names.
const maxNamed = 5

// revokedLater warns of accounts whose sign-ins were revoked at an instant that the
// clock, which was moved back since, has not reached: what they get is refused.
func revokedLater(est *estate.Snapshot, now time.Time) []string {
	type account struct {
		name string
		from time.Time
	}
	var found []account
	for p := range est.Principals() {
		if p.Kind != principal.User {
			continue
		}
		// Instants in tokens are whole seconds.
		if u, ok := est.User(p.ID); ok && u.TokensValidFrom.Truncate(time.Second).After(now) {
			found = append(found, account{p.Name, u.TokensValidFrom})
		}
	}
	slices.SortFunc(found, func(a, b account) int { return a.from.Compare(b.from) })
	var list []string
	for i, a := range found {
		if i == maxNamed {
			list = append(list, fmt.Sprintf("%d more accounts cannot sign in yet, for the same reason", len(found)-i))
			break
		}
		list = append(list, fmt.Sprintf("%s cannot sign in before %s: sign-ins were revoked then, and the clock was moved back since",
			a.name, a.from.UTC().Format(time.RFC3339)))
	}
	return list
}

// turnsKnobs reports whether ops change the knobs of a rehearsal.
func turnsKnobs(ops []estate.Op) bool {
	return slices.ContainsFunc(ops, func(op estate.Op) bool { return op.Key().Kind == record.Rehearsal })
}

// lawFor is the estate by which the doors decide about somebody: the one that lags
// behind in a rehearsal, but not about whom the current one stops.
func (s *session) lawFor(who decide.Subject) *estate.Snapshot {
	if s.law != s.est && !who.ID.IsZero() && stopped(s.est, who.ID) {
		return s.est
	}
	return s.law
}

func stopped(est *estate.Snapshot, id principal.ID) bool {
	p, ok := est.Principal(id)
	return !ok || p.Disabled
}
