package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

const (
	maxChanges = 16 << 20 // bytes of one request
	maxOps     = 10_000   // of one request; the store has a limit of its own
)

// changes makes all ops of a request, or none. Each is authorised by itself, and
// against the estate as it was before: what one op gives, no other may use.
func (d *Door) changes(w http.ResponseWriter, r *http.Request, s *session) error {
	var in wire.Changes
	if err := serve.Decode(w, r, maxChanges, &in); err != nil {
		return err
	}
	if len(in.Ops) == 0 {
		return record.Invalid("a change without ops")
	}
	if len(in.Ops) > maxOps {
		return serve.Refuse(http.StatusRequestEntityTooLarge, "RequestTooLarge", fmt.Sprintf(
			"The change has %d ops, and one change holds %d at most. It is never split, because half of it could be lost: make it in parts yourself, what others refer to first.",
			len(in.Ops), maxOps))
	}
	c := store.Change{By: s.caller.ID, Why: in.Why, Base: s.est}
	gone := s.gone(in.Ops)
	for i, op := range in.Ops {
		ops, err := s.authorise(op, gone)
		if err != nil {
			return fmt.Errorf("op %d: %w", i, err)
		}
		c.Ops = append(c.Ops, ops...)
	}
	c.Ops = once(c.Ops)
	if in.IfRevision != 0 {
		if err := d.unchanged(&c, in.IfRevision); err != nil {
			return err
		}
	}
	rev, err := d.commit(r.Context(), s, c, func(again *session) error {
		for i, op := range in.Ops {
			if _, err := again.authorise(op, again.gone(in.Ops)); err != nil {
				return fmt.Errorf("op %d: %w", i, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, wire.Changed{Revision: rev})
}

// commit makes a change that the caller may make, with what goes with it. Another
// change may come first, and be the one that takes the caller's right; then it is
// asked again whether he may.
func (d *Door) commit(ctx context.Context, s *session, c store.Change, may func(*session) error) (int64, error) {
	c.Check = func(now *estate.Snapshot) error {
		if now.Revision() == s.est.Revision() {
			return nil
		}
		again := *s
		again.est = now
		if err := may(&again); err != nil {
			return err
		}
		ending, err := issue.Ending(ctx, d.conf.State, now, c.Ops)
		if err == nil && !reflect.DeepEqual(ending, c.Private) {
			err = fmt.Errorf("a credential came or went meanwhile: %w", store.ErrConflict)
		}
		return err
	}
	if err := notMirrored(s.est, c.Ops); err != nil {
		return 0, err
	}
	if err := d.checkIssuers(c.Ops); err != nil {
		return 0, err
	}
	var err error
	if c.Private, err = issue.Ending(ctx, d.conf.State, s.est, c.Ops); err != nil {
		return 0, err
	}
	rev, err := d.conf.State.Commit(ctx, c)
	if err == nil && turnsKnobs(c.Ops) {
		d.conf.KnobsTurned(ctx)
	}
	return rev, err
}

// checkIssuers refuses credentials of issuers that the house would not ask.
func (d *Door) checkIssuers(ops []estate.Op) error {
	for _, op := range ops {
		if f, ok := op.Put.(directory.FederatedCredential); ok && d.conf.CheckIssuer != nil {
			if err := d.conf.CheckIssuer(f.Issuer); err != nil {
				return fmt.Errorf("federated credential %q: %w", f.Name, err)
			}
		}
	}
	return nil
}

// unchanged makes c depend on every record that it touches being no newer than a
// revision.
func (d *Door) unchanged(c *store.Change, since int64) error {
	c.IfRev = make(map[record.Key]int64, len(c.Ops))
	for _, op := range c.Ops {
		key := op.Key()
		rev := d.conf.State.Rev(key)
		if rev > since {
			return fmt.Errorf("%s was changed at revision %d, after %d: %w", key, rev, since, store.ErrConflict)
		}
		c.IfRev[key] = rev
	}
	return nil
}

// once drops deletions that were asked for twice, by name and as a dependent.
func once(ops []estate.Op) []estate.Op {
	seen := make(map[record.Key]bool, len(ops))
	kept := ops[:0]
	for _, op := range ops {
		if key := op.Key(); op.Put != nil || !seen[key] {
			seen[key] = true
			kept = append(kept, op)
		}
	}
	return kept
}

// gone are the objects that some ops delete.
func (s *session) gone(ops []wire.Op) serve.Gone {
	gone := serve.Gone{}
	for _, op := range ops {
		if op.Delete != nil && len(op.Delete.Parts) <= len(record.Key{}.Parts) {
			if r, ok := s.est.Get(record.KeyOf(op.Delete.Kind, op.Delete.Parts...)); ok {
				gone.Note(r)
			}
		}
	}
	return gone
}

// authorise returns what an op comes to, if the caller may do all of it.
func (s *session) authorise(op wire.Op, gone serve.Gone) ([]estate.Op, error) {
	switch {
	case op.Put != nil && op.Delete == nil:
		return s.put(op.Put)
	case op.Delete != nil && op.Put == nil:
		return s.delete(op.Delete, gone)
	}
	return nil, record.Invalid("an op puts or deletes one record")
}

func (s *session) put(p *wire.Record) ([]estate.Op, error) {
	next, err := estate.Decode(p.Kind, p.Spec)
	if err != nil {
		return nil, err
	}
	return s.write(next)
}

// write returns what putting a record comes to, if the caller may do it.
func (s *session) write(next record.Record) ([]estate.Op, error) {
	old, _ := s.est.Get(next.Key())
	if u, ok := next.(directory.User); ok {
		was, _ := old.(directory.User)
		next = s.since(u, was)
	}
	if err := s.needAll(serve.ToPut(s.est, old, next)); err != nil {
		return nil, err
	}
	if old == nil {
		if err := serve.Unclaimed(s.est, next); err != nil {
			return nil, err
		}
		// Each op of a change is held against what there was before the change.
		if err := serve.WithinLimits(s.est, next, s.now); err != nil {
			return nil, err
		}
	}
	if err := serve.KeepsProtection(old, next); err != nil {
		return nil, err
	}
	switch r := next.(type) {
	case azurerbac.Assignment:
		next = s.stamp(r, old)
	case resource.Cluster:
		var err error
		if next, err = found(r, old); err != nil {
			return nil, err
		}
	case resource.Group:
		// What goes away with a cluster, or is going away, is not a matter of who may
		// write the group: it would take others' things with it.
		was, _ := old.(resource.Group)
		r.Doing = was.Doing
		if old != nil {
			r.ManagedBy = was.ManagedBy
		}
		next = r
	}
	return []estate.Op{{Put: next}}, nil
}

// since keeps what ended from coming back. Who is made has no sign-in from before,
// whoever had his id; and a file that says nothing of the end of somebody's sign-ins,
// or was written before it, does not undo it. An end that the clock of a rehearsal,
// which was moved back, has not reached may be brought forward to now.
func (s *session) since(u, was directory.User) directory.User {
	least := was.TokensValidFrom
	if was.ID.IsZero() || least.After(s.now) {
		least = s.now
	}
	if u.TokensValidFrom.Before(least) {
		u.TokensValidFrom = least.UTC()
	}
	return u
}

// stamp says who made an assignment and when; what the caller says is ignored.
func (s *session) stamp(a azurerbac.Assignment, old record.Record) azurerbac.Assignment {
	a = a.WithDefaults()
	at := s.now.UTC().Round(0)
	a.CreatedBy, a.CreatedOn, a.UpdatedBy, a.UpdatedOn = s.caller.ID, at, s.caller.ID, at
	if was, ok := old.(azurerbac.Assignment); ok {
		a.CreatedBy, a.CreatedOn = was.CreatedBy, was.CreatedOn
	}
	if p, ok := s.est.Principal(a.Principal); ok && a.PrincipalType == "" {
		a.PrincipalType = p.Kind
	}
	return a
}

func (s *session) delete(d *wire.Delete, gone serve.Gone) ([]estate.Op, error) {
	if len(d.Parts) == 0 || len(d.Parts) > len(record.Key{}.Parts) {
		return nil, record.Invalid("a key has 1 to %d parts", len(record.Key{}.Parts))
	}
	ops, needs, err := serve.DeletionWith(s.est, record.KeyOf(d.Kind, d.Parts...), d.Dependents, gone)
	if err != nil {
		return nil, err
	}
	if err := s.needAll(needs); err != nil {
		return nil, err
	}
	if rec, _ := s.est.Get(record.KeyOf(d.Kind, d.Parts...)); d.Kind == record.RoleAssignment {
		if a, ok := rec.(azurerbac.Assignment); ok {
			return ops, serve.KeepsOwner(s.est, a, s.now)
		}
	}
	return ops, nil
}
