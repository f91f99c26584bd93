package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

func rehearse(c *store.Config) { c.Rehearse = true }

func delay(d time.Duration) estate.Op {
	return estate.Op{Put: rehearsal.Knobs{PropagationDelay: rehearsal.Duration(d)}}
}

func ahead(d time.Duration) estate.Op {
	return estate.Op{Put: rehearsal.Knobs{ClockAhead: rehearsal.Duration(d)}}
}

var off = estate.Op{Delete: rehearsal.Knobs{}.Key()}

func TestWithADelayDecisionsAreMadeOnWhatWasThereSoLongAgo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, new(store.Memory), rehearse)
		commit(t, s, put(tenant, user(1, "before"))...)
		want := func(law string, names_ ...string) {
			t.Helper()
			if got := names(s.Effective(s.Current())); !slices.Equal(got, names_) {
				t.Errorf("%s: decisions know %v, want %v", law, got, names_)
			}
			if s.Effective(s.Current()).Revision() > s.Current().Revision() {
				t.Error("a decision names a revision that is not there yet")
			}
		}
		want("without a delay everything counts at once", "before")
		commit(t, s, delay(time.Minute))
		want("what was there when the delay began counts", "before")
		commit(t, s, put(user(2, "first"))...)
		if got := names(s.Current()); len(got) != 2 {
			t.Errorf("reads see %v", got)
		}
		want("a change does not count yet", "before")
		time.Sleep(30 * time.Second)
		commit(t, s, put(user(3, "second"))...)
		time.Sleep(30*time.Second - time.Nanosecond)
		want("nor a moment before its time", "before")
		time.Sleep(time.Nanosecond)
		want("it counts when its time has come, and what came later does not", "before", "first")
		time.Sleep(30 * time.Second)
		want("which has a time of its own", "before", "first", "second")
		commit(t, s, estate.Op{Delete: user(1, "").Key()})
		want("what was taken away goes on for as long", "before", "first", "second")
		commit(t, s, off)
		want("without a delay nothing is old", "first", "second")
	})
}

func TestARestartCatchesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := new(store.Memory)
		s := open(t, kv, rehearse)
		commit(t, s, append(put(tenant), delay(time.Minute))...)
		commit(t, s, put(user(1, "a"))...)
		other := open(t, kv, rehearse)
		if got := names(other.Effective(other.Current())); len(got) != 1 {
			t.Errorf("decisions of a replica that starts know %v", got)
		}
	})
}

func TestThePastIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, new(store.Memory), rehearse)
		const wait = 1000 * time.Second
		commit(t, s, append(put(tenant), delay(wait))...)
		due := make(map[string]time.Time)
		most := 0
		for n := range 3000 {
			if n%3 != 0 { // some at once, some apart
				time.Sleep(500 * time.Millisecond)
			}
			name := fmt.Sprint(n)
			commit(t, s, put(user(1, name))...)
			due[name] = time.Now().Add(wait)
			most = max(most, store.Past(s))
		}
		if most > 600 {
			t.Errorf("%d snapshots were kept", most)
		}
		// From here on, what decisions know is looked at every second.
		last := ""
		for range 1100 {
			got := names(s.Effective(s.Current()))
			if len(got) == 1 && got[0] != last {
				last = got[0]
				if early := time.Until(due[last]); early > 0 {
					t.Fatalf("change %s counted %s early", last, early)
				}
			}
			time.Sleep(time.Second)
		}
		if last != "2999" {
			t.Errorf("the last change to count was %s", last)
		}
	})
}

func TestTheClockThatIsMovedEndsWhatEndsByRule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, new(store.Memory), rehearse)
		begun := time.Now()
		private := func() error {
			_, err := s.Private(t.Context(), "code", "1")
			return err
		}
		op := item("code", "x", "1")
		op.Expires = begun.Add(time.Hour)
		if err := s.CommitPrivate(t.Context(), op); err != nil {
			t.Fatal(err)
		}
		commit(t, s, ahead(8*time.Hour))
		if got := s.Now(); !got.Equal(begun.Add(8 * time.Hour)) {
			t.Errorf("the house's clock is at %s", got.Sub(begun))
		}
		if err := private(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what ended in the meantime: %v", err)
		}
		if err := s.Fresh(s.Now()); err != nil {
			t.Errorf("the snapshot got old by the clock alone: %v", err)
		}
		if swept, err := s.Sweep(t.Context(), time.Now()); err != nil || swept != 0 {
			t.Errorf("%d swept, %v: it is needed again when the clock is moved back", swept, err)
		}
		for r, err := range s.Audit(t.Context(), 0) {
			if err != nil || r.Time.Sub(begun) > time.Minute {
				t.Errorf("the audit log goes by %s, %v", r.Time.Sub(begun), err)
			}
		}
		commit(t, s, off)
		if err := private(); err != nil {
			t.Errorf("the clock was moved back: %v", err)
		}
		if got := s.Now(); !got.Equal(begun) {
			t.Errorf("the house's clock is %s off", got.Sub(begun))
		}
	})
}

// A note that an assertion was used must be there for as long as the assertion is
// good, which others made by a clock that no rehearsal moves.
func TestNotesInRealTimeOutlastAClockThatIsMoved(t *testing.T) { // OA-37
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, new(store.Memory), rehearse)
		var absent int64
		note := item("jti", "used", "1")
		note.Expires, note.Real, note.IfRev = time.Now().Add(10*time.Minute), true, &absent
		if err := s.CommitPrivate(t.Context(), note); err != nil {
			t.Fatal(err)
		}
		commit(t, s, append(put(tenant), ahead(8*time.Hour))...)
		if err := s.CommitPrivate(t.Context(), note); !errors.Is(err, store.ErrConflict) {
			t.Errorf("used again after the clock was moved: %v, want ErrConflict", err)
		}
		time.Sleep(10 * time.Minute)
		note.Expires = time.Now().Add(time.Minute)
		if err := s.CommitPrivate(t.Context(), note); err != nil {
			t.Errorf("used again after its end: %v", err)
		}
	})
}

func TestAStaleReplicaIsStaleWhateverTheClock(t *testing.T) { // ST-25
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := &faulty{Memory: new(store.Memory)}
		s := open(t, kv, rehearse)
		commit(t, s, ahead(8*time.Hour))
		kv.down.Store(true)
		time.Sleep(store.DefaultMaxAge + store.DefaultProbe)
		synctest.Wait()
		if err := s.Fresh(s.Now()); !errors.Is(err, store.ErrStale) {
			t.Errorf("a replica that lost the store: %v", err)
		}
		kv.down.Store(false)
	})
}

func TestWhereNoRehearsalMayBeThereIsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := new(store.Memory)
		plain, other := open(t, kv), open(t, kv, rehearse)
		knobs := rehearsal.Knobs{ClockAhead: rehearsal.Duration(time.Hour), PropagationDelay: rehearsal.Duration(time.Hour)}
		if _, err := plain.Commit(t.Context(), store.Change{Why: "test", Ops: put(tenant, knobs)}); !errors.Is(err, store.ErrNoRehearsal) {
			t.Errorf("knobs were turned on: %v", err)
		}
		// Another replica lets it happen; this one goes on as before.
		rev := commit(t, other, put(knobs)...)
		if _, err := plain.AtLeast(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		commit(t, plain, put(tenant, user(1, "a"))...)
		if got := names(plain.Effective(plain.Current())); len(got) != 1 {
			t.Error("a delay where none may be")
		}
		if !plain.Now().Equal(time.Now()) || !plain.Rehearsal().Off(time.Now()) {
			t.Errorf("the clock is at %s, the knobs are %+v", time.Until(plain.Now()), plain.Rehearsal())
		}
		if got := plain.Current().Rehearsal(); got.Off(time.Now()) {
			t.Error("the record must be seen all the same")
		}
		// It can always be ended.
		if _, err := plain.Commit(context.WithoutCancel(t.Context()), store.Change{Why: "test", Ops: []estate.Op{{Delete: record.KeyOf(record.Rehearsal, "knobs")}}}); err != nil {
			t.Errorf("ending it: %v", err)
		}
	})
}
