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
