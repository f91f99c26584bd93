package api_test

import (
	"context"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// late is a store in which something else always comes first.
type late struct {
	*store.Store
	first func()
}

func (l *late) Commit(ctx context.Context, c store.Change) (int64, error) {
	l.first()
	return l.Store.Commit(ctx, c)
}

// A change that was allowed when it was looked at, and comes to the store after the
// change that took its sender's right, is refused. WH-13 for the management door.
func TestARightEndsBetweenTheAnswerAndTheWrite(t *testing.T) {
	t.Parallel()
	var l *late
	h := newHouse(t, func(c *api.Config) {
		l = &late{Store: c.State.(*store.Store), first: func() {}}
		c.State = l
	})
	write := func(n int) error {
		_, err := h.as(ownerRG).Commit(t.Context(), wire.Changes{Ops: []wire.Op{put(t, azurerbac.Assignment{ID: assignmentID(n), Scope: servetest.AKS1, Principal: servetest.Faye, Role: []azurerbac.DefinitionID{rooty, rbacAdm}[n-70]})}})
		return err
	}
	if err := write(70); err != nil {
		t.Fatal(err)
	}
	l.first = func() {
		u, _ := h.store.Current().User(ownerRG)
		u.Disabled = true
		h.commit(u)
	}
	if err := write(71); code(err) != "AuthorizationFailed" {
		t.Errorf("%v, want AuthorizationFailed", err)
	}
	if _, ok := h.store.Current().Assignment(assignmentID(71)); ok {
		t.Error("it was written")
	}
}

// DIR-05: an application goes with what it signs in with, however it is deleted, and
// one that is made again under its ids has nothing of that. A secret that comes at
// the last moment is no exception.
func TestAnApplicationGoesWithItsCredentials(t *testing.T) {
	t.Parallel()
	var l *late
	h := newHouse(t, func(c *api.Config) {
		l = &late{Store: c.State.(*store.Store), first: func() {}}
		c.State = l
	})
	app, _ := h.store.Current().Application(servetest.RobotApp)
	sp, _ := h.store.Current().ServicePrincipal(servetest.Robot)
	secrets := func() int {
		t.Helper()
		items, err := h.store.PrivateList(t.Context(), "clientsecret", app.AppID.String())
		if err != nil {
			t.Fatal(err)
		}
		return len(items)
	}
	add := func() error {
		_, err := h.as(root).NewSecret(t.Context(), app.AppID.String(), wire.NewSecret{})
		return err
	}
	remove := func() error {
		_, err := h.as(root).Commit(t.Context(), wire.Changes{Ops: []wire.Op{del(app.Key(), true)}})
		return err
	}
	for range 2 {
		if err := add(); err != nil {
			t.Fatal(err)
		}
	}
	once := func(f func() error) func() {
		return func() {
			l.first = func() {}
			if err := f(); err != nil {
				t.Error(err)
			}
		}
	}
	l.first = once(add)
	if err := remove(); code(err) != "Conflict" || secrets() != 3 {
		t.Errorf("a secret came between: %v, %d secrets", err, secrets())
	}
	l.first = once(remove)
	if err := add(); code(err) != "NotFound" || secrets() != 0 {
		t.Errorf("the application went between: %v, %d secrets", err, secrets())
	}
	h.commit(app, sp)
	if n := secrets(); n != 0 {
		t.Errorf("the application that was made again has %d secrets of the one before", n)
	}
}
