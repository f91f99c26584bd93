package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A timeMachine is a database that can be set back to an older copy of itself, as
// a restored backup does.
type timeMachine struct{ at atomic.Pointer[store.Memory] }

func (m *timeMachine) Limits() store.Limits { return m.at.Load().Limits() }
func (m *timeMachine) Txn(ctx context.Context, conds []store.Cond, writes []store.Write) (int64, bool, error) {
	return m.at.Load().Txn(ctx, conds, writes)
}
func (m *timeMachine) Get(ctx context.Context, key string) (store.Item, int64, error) {
	return m.at.Load().Get(ctx, key)
}
func (m *timeMachine) Range(ctx context.Context, prefix, after string, limit int, rev int64) (store.Page, error) {
	return m.at.Load().Range(ctx, prefix, after, limit, rev)
}
func (m *timeMachine) Watch(ctx context.Context, prefix string, from int64) store.Watcher {
	return m.at.Load().Watch(ctx, prefix, from)
}
func (m *timeMachine) Close() error { return m.at.Load().Close() }

// ST-14: the database is set back while a replica runs, and nobody begins a new
// epoch. The replica notices that the revision went back and reads everything anew:
// what it shows is what the database has, and it takes writes again.
func TestAStoreThatWentBackIsReadAnew(t *testing.T) {
	t.Parallel()
	kv := new(timeMachine)
	kv.at.Store(new(store.Memory))
	s := open(t, kv, func(c *store.Config) { c.Probe = 5 * time.Millisecond })
	commit(t, s, put(tenant, user(1, "Ana"))...)
	page, err := kv.Range(t.Context(), "/", "", 100, 0)
	if err != nil || page.More {
		t.Fatal(page.More, err)
	}
	backup := new(store.Memory)
	var writes []store.Write
	for _, item := range page.Items {
		writes = append(writes, store.Write{Key: item.Key, Value: item.Value})
	}
	if _, ok, err := backup.Txn(t.Context(), nil, writes); err != nil || !ok {
		t.Fatal(ok, err)
	}
	for range 5 {
		commit(t, s, put(user(1, "Ann"), user(2, "Bob"))...)
	}
	last := s.Current().Revision()
	kv.at.Store(backup)
	until(t, func() bool { return s.Current().Revision() < last && s.Fresh(time.Now()) == nil })
	if got := names(s.Current()); len(got) != 1 || got[0] != "Ana" {
		t.Errorf("users %v, want those of the backup", got)
	}
	if _, err := s.Commit(t.Context(), store.Change{Ops: put(user(3, "Cid"))}); err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a write after it: %v", err)
	}
}
