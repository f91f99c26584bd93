package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// zeroToOne leads from a schema without envelopes, in which a user's name was
// called "name".
var zeroToOne = store.Migration{From: 0, Rewrite: func(key string, value []byte) ([]store.Write, error) {
	if !strings.HasPrefix(key, "/gatehouse/v1/estate/") {
		return []store.Write{{Key: key, Value: value}}, nil
	}
	if strings.HasPrefix(string(value), `{"schema"`) {
		return nil, fmt.Errorf("%s is rewritten twice", key)
	}
	renamed := strings.Replace(string(value), `"name"`, `"displayName"`, 1)
	return []store.Write{{Key: key, Value: []byte(`{"schema":1,"record":` + renamed + `}`)}}, nil
}}

const oldUsers = 320

// oldStore returns a database as schema 0 left it.
func oldStore(t *testing.T) *store.Memory {
	kv := new(store.Memory)
	s := open(t, kv)
	if err := s.CommitPrivate(t.Context(), item("password", "hash", "u")); err != nil {
		t.Fatal(err)
	}
	commit(t, s, put(tenant)...)
	s.Close()
	writes := []store.Write{
		{Key: "/gatehouse/v1/meta", Value: fmt.Appendf(nil, `{"schema":0,"id":%q,"epoch":1}`, s.ID())},
		{Key: "/gatehouse/v1/estate/Tenant/" + tenant.ID.String(), Value: fmt.Appendf(nil, `{"id":%q,"domains":["corp.example"]}`, tenant.ID)},
	}
	for i := range oldUsers {
		u := user(i, "")
		writes = append(writes, store.Write{Key: "/gatehouse/v1/estate/User/" + u.ID.String(), Value: fmt.Appendf(nil,
			`{"id":%q,"tenant":%q,"userPrincipalName":%q,"name":"User %d"}`, u.ID, tenant.ID, u.UserPrincipalName, i)})
	}
	if _, ok, err := kv.Txn(t.Context(), nil, writes); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return kv
}

// mortal dies with its nth transaction, before or after it is made.
type mortal struct {
	*store.Memory
	mu    sync.Mutex
	left  int
	after bool
}

func (m *mortal) Txn(ctx context.Context, conds []store.Cond, writes []store.Write) (int64, bool, error) {
	m.mu.Lock()
	m.left--
	dies := m.left < 0
	m.mu.Unlock()
	if dies && m.after {
		m.Memory.Txn(ctx, conds, writes)
	}
	if dies {
		return 0, false, errors.New("killed")
	}
	return m.Memory.Txn(ctx, conds, writes)
}

func checkMigrated(t *testing.T, s *store.Store) {
	t.Helper()
	got := names(s.Current())
	if len(got) != oldUsers || got[7] != "User 7" {
		t.Errorf("%d users, the eighth is %q", len(got), got[7])
	}
	if p, err := s.Private(t.Context(), "password", "u"); err != nil || string(p.Value) != "hash" {
		t.Errorf("private state: %v", err)
	}
	if _, err := s.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
	commit(t, s, put(user(7, "changed"))...)
}

func TestUpgradesResume(t *testing.T) { // ST-23
	t.Parallel()
	for _, after := range []bool{false, true} {
		for kill := range 9 {
			t.Run(fmt.Sprintf("killed in transaction %d, made=%t", kill+1, after), func(t *testing.T) {
				t.Parallel()
				kv := oldStore(t)
				dying := &mortal{Memory: kv, left: kill, after: after}
				cfg := store.Config{KV: dying, Sealer: newKey(t, 7), Migrations: []store.Migration{zeroToOne}}
				if _, err := store.Open(t.Context(), cfg); err == nil {
					t.Fatal("it survived")
				}
				cfg.KV = kv
				for range 2 { // and once more, when nothing is left to do
					s, err := store.Open(t.Context(), cfg)
					if err != nil {
						t.Fatal(err)
					}
					checkMigrated(t, s)
					s.Close()
					commitName := put(user(7, "User 7"))
					again := open(t, kv)
					commit(t, again, commitName...)
					again.Close()
				}
			})
		}
	}
}

func TestTwoReplicasUpgradeTogether(t *testing.T) { // ST-23
	t.Parallel()
	kv := oldStore(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: newKey(t, 7), Migrations: []store.Migration{zeroToOne}})
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	wg.Wait()
	checkMigrated(t, open(t, kv))
}

// overtaken has another replica upgrade the store before it reads what is to be
// rewritten.
type overtaken struct {
	*store.Memory
	once sync.Once
	by   func()
}

func (o *overtaken) Range(ctx context.Context, prefix, after string, limit int, rev int64) (store.Page, error) {
	o.once.Do(o.by)
	return o.Memory.Range(ctx, prefix, after, limit, rev)
}

func TestAReplicaThatIsOvertakenInAnUpgradeLeavesItToTheOther(t *testing.T) { // ST-23
	t.Parallel()
	kv := oldStore(t)
	cfg := store.Config{KV: kv, Sealer: newKey(t, 7), Migrations: []store.Migration{zeroToOne}}
	upgrade := func() {
		s, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	late := cfg
	late.KV = &overtaken{Memory: kv, by: upgrade}
	s, err := store.Open(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	checkMigrated(t, s)
}

func TestWithoutAWayUpAnOlderStoreIsRefused(t *testing.T) { // WH-18
	t.Parallel()
	kv := oldStore(t)
	before, _, err := kv.Get(t.Context(), "/gatehouse/v1/meta")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: newKey(t, 7)}); !errors.Is(err, store.ErrSchema) {
		t.Errorf("%v, want ErrSchema", err)
	}
	after, _, err := kv.Get(t.Context(), "/gatehouse/v1/meta")
	if diff := cmp.Diff(before, after); diff != "" || err != nil {
		t.Errorf("the refusal wrote (-before +after):\n%s", diff)
	}
}
