package keys_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var (
	tenant = directory.TenantID{1}
	second = directory.TenantID{2}
	admin  = principal.ID{9}
)

const (
	issuer     = "https://issuer.example/"
	prepublish = time.Hour // and less than the defaults, which polling makes long
	tokenLife  = 2 * time.Hour
)

// replica is a store that can be cut off.
type replica struct {
	*store.Store
	cut atomic.Bool
}

func (r *replica) Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error) {
	if r.cut.Load() {
		return store.PrivateItem{}, store.ErrUnavailable
	}
	return r.Store.Private(ctx, bucket, id...)
}

func openStore(t *testing.T, kv store.KV) *replica {
	t.Helper()
	key, err := store.NewKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: key, Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &replica{Store: s}
}

func addTenant(t *testing.T, s *replica, id directory.TenantID, domain string) {
	t.Helper()
	if _, err := s.Commit(t.Context(), store.Change{Ops: []estate.Op{{Put: directory.Tenant{ID: id, Domains: []string{domain}}}}}); err != nil {
		t.Fatal(err)
	}
}

// openRing opens a ring of ES256 keys, which are made at once.
func openRing(t *testing.T, s keys.State) *keys.Ring {
	t.Helper()
	r, err := keys.Open(t.Context(), keys.Config{State: s, Alg: token.ES256, Prepublish: prepublish, SignFor: 10 * time.Hour, TokenLife: tokenLife})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// cluster is n replicas over one database.
func cluster(t *testing.T, n int) ([]*replica, []*keys.Ring) {
	t.Helper()
	kv := new(store.Memory)
	var stores []*replica
	var rings []*keys.Ring
	for i := range n {
		s := openStore(t, kv)
		if i == 0 {
			addTenant(t, s, tenant, "one.example")
		}
		stores, rings = append(stores, s), append(rings, openRing(t, s))
	}
	return stores, rings
}

func claims(tenant directory.TenantID, life time.Duration) token.Claims {
	now := time.Now()
	return token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuer, Audience: "aud", Subject: "sub", Tenant: tenant, ObjectID: admin, ID: "uti",
		IssuedAt: now, NotBefore: now, Expires: now.Add(life), AppID: directory.AppID{3},
	}
}

func sign(t *testing.T, r *keys.Ring, life time.Duration) string {
	t.Helper()
	raw, err := r.Sign(t.Context(), claims(tenant, life))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func verify(r *keys.Ring, raw string) error {
	_, err := token.Verify(raw, r.Set(), token.Want{Tenant: tenant, Issuers: []string{issuer}, Audiences: []string{"aud"}, Purpose: token.AccessToken}, time.Now())
	return err
}

func current(t *testing.T, r *keys.Ring) token.SigningKey {
	t.Helper()
	k, err := r.Current(tenant, token.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// chains are the purposes that a tenant has keys for.
const chains = 3

// pass lets time go by, and the background of the rings do its work.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEveryTenantHasKeysOfEachPurpose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores, rings := cluster(t, 1)
		r := rings[0]
		access, err := r.Current(tenant, token.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		id, err := r.Current(tenant, token.IDToken)
		if err != nil {
			t.Fatal(err)
		}
		if access.ID == id.ID || access.Purpose != token.AccessToken || id.Purpose != token.IDToken || access.Tenant != tenant {
			t.Errorf("keys %+v and %+v", access.Key, id.Key)
		}
		for _, tt := range []struct {
			tenant  directory.TenantID
			purpose token.Purpose
		}{{second, token.AccessToken}, {tenant, "staging"}, {tenant, ""}, {directory.TenantID{}, token.AccessToken}} {
			if k, err := r.Current(tt.tenant, tt.purpose); !errors.Is(err, keys.ErrNoKey) || k.ID != "" {
				t.Errorf("Current(%s, %q) = %v, %v, want ErrNoKey", tt.tenant, tt.purpose, k, err)
			}
		}
		addTenant(t, stores[0], second, "two.example")
		pass(2 * time.Second)
		if _, err := r.Current(second, token.AccessToken); err != nil {
			t.Errorf("two seconds after a tenant was made: %v", err)
		}
		if _, err := stores[0].Commit(t.Context(), store.Change{Ops: []estate.Op{{Delete: directory.Tenant{ID: second}.Key()}}}); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		if r.Set().Len() != chains {
			t.Errorf("%d keys two seconds after the tenant was deleted, want those of the other", r.Set().Len())
		}
	})
}

func TestKeysAreSharedAndSurviveRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores, rings := cluster(t, 3)
		for i, r := range rings {
			if err := verify(r, sign(t, rings[0], time.Hour)); err != nil {
				t.Errorf("replica %d refuses a token of the first: %v", i, err)
			}
		}
		first := current(t, rings[0]).ID
		rings[0].Close()
		if got := current(t, openRing(t, stores[0])).ID; got != first || rings[1].Set().Len() != chains {
			t.Errorf("after a restart %s signs, want %s; %d keys", got, first, rings[1].Set().Len())
		}
	})
}

// TestLifeOfAKey follows one key from birth to removal (JWT-25).
func TestLifeOfAKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rings := cluster(t, 2)
		a, b := rings[0], rings[1]
		old := current(t, a)
		pass(time.Minute)
		if err := a.Rotate(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		if err := a.Rotate(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if n := b.Set().Len(); n != 2*chains {
			t.Fatalf("%d keys after two rotations in a row, want each chain's key and one successor", n)
		}
		pass(prepublish - 2*time.Second)
		if got := current(t, a); got.ID != old.ID {
			t.Fatal("a successor signs before it was published for long enough")
		}
		last := sign(t, a, tokenLife)
		pass(2 * time.Second)
		next := current(t, b)
		if next.ID == old.ID {
			t.Fatal("the successor does not sign in time")
		}
		if err := verify(a, sign(t, b, time.Hour)); err != nil {
			t.Errorf("the successor's token: %v", err)
		}
		pass(tokenLife - 4*time.Second)
		if err := verify(b, last); err != nil {
			t.Errorf("in the overlap: %v", err)
		}
		pass(10 * time.Second)
		if err := verify(b, last); !errors.Is(err, token.ErrExpired) {
			t.Errorf("after its end: %v, want ErrExpired", err)
		}
		pass(token.Leeway)
		if _, found := b.Set().Find(old.ID); found {
			t.Error("a retired key is still there")
		}
		if err := verify(b, last); !errors.Is(err, token.ErrKey) {
			t.Errorf("after the removal: %v, want ErrKey", err)
		}
	})
}

func TestKeysRotateByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := new(store.Memory)
		s := openStore(t, kv)
		addTenant(t, s, tenant, "one.example")
		r, err := keys.Open(t.Context(), keys.Config{
			State: s, Alg: token.ES256, Prepublish: 2 * time.Minute, SignFor: 10 * time.Minute, TokenLife: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		seen := map[string]bool{}
		for range 60 { // minutes
			raw := sign(t, r, 5*time.Minute)
			seen[current(t, r).ID] = true
			pass(time.Minute)
			if err := verify(r, raw); err != nil {
				t.Fatal(err)
			}
			if n := r.Set().Len(); n > 6 {
				t.Fatalf("%d keys of two chains", n)
			}
		}
		if len(seen) < 6 || len(seen) > 7 {
			t.Errorf("%d keys signed in an hour, want one for each ten minutes", len(seen))
		}
	})
}

func TestEmergencyStop(t *testing.T) { // JWT-25, ZA-13
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores, rings := cluster(t, 3)
		bad := current(t, rings[0])
		raw := sign(t, rings[0], time.Hour)
		if err := rings[0].EmergencyStop(t.Context(), admin, bad.ID); err != nil {
			t.Fatal(err)
		}
		if err := verify(rings[0], raw); !errors.Is(err, token.ErrKey) {
			t.Errorf("at once, where it was stopped: %v, want ErrKey", err)
		}
		pass(time.Second)
		for i, r := range rings {
			if err := verify(r, raw); !errors.Is(err, token.ErrKey) {
				t.Errorf("replica %d after a second: %v, want ErrKey", i, err)
			}
			if got := current(t, r); got.ID == bad.ID {
				t.Errorf("replica %d signs with the key that was stopped", i)
			}
			if err := verify(r, sign(t, rings[1], time.Hour)); err != nil {
				t.Errorf("replica %d refuses a token of the new key: %v", i, err)
			}
		}
		if err := rings[1].EmergencyStop(t.Context(), admin, bad.ID); !errors.Is(err, keys.ErrNotFound) {
			t.Errorf("a second stop: %v, want ErrNotFound", err)
		}
		audited := 0
		for rec, err := range stores[0].Audit(t.Context(), 1) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.By == admin && strings.Contains(rec.Why, bad.ID) {
				audited++
			}
		}
		if audited != 1 {
			t.Errorf("%d audit records of the stop, want 1", audited)
		}
	})
}

func TestStoppingTheSuccessorLeavesTheSigner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rings := cluster(t, 1)
		r := rings[0]
		signer := current(t, r)
		if err := r.Rotate(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		list, stopped, err := r.List()
		if err != nil || stopped {
			t.Fatal(stopped, err)
		}
		i := slices.IndexFunc(list, func(s keys.Status) bool { return s.Key.Purpose == token.AccessToken && !s.Signs })
		if err := r.EmergencyStop(t.Context(), admin, list[i].Key.ID); err != nil {
			t.Fatal(err)
		}
		pass(prepublish + time.Hour)
		if got := current(t, r); got.ID != signer.ID {
			t.Error("another key signs though the successor was stopped")
		}
	})
}

func TestStopIssuing(t *testing.T) { // ZA-13
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rings := cluster(t, 3)
		raw := sign(t, rings[0], time.Hour)
		if err := rings[0].StopIssuing(t.Context(), admin, "drill"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		for i, r := range rings {
			if got, err := r.Sign(t.Context(), claims(tenant, time.Hour)); !errors.Is(err, keys.ErrStopped) || got != "" {
				t.Errorf("replica %d signs: %v, want ErrStopped", i, err)
			}
			if _, err := r.Current(tenant, token.AccessToken); !errors.Is(err, keys.ErrStopped) {
				t.Errorf("replica %d has a key: %v, want ErrStopped", i, err)
			}
			if err := verify(r, raw); err != nil {
				t.Errorf("replica %d refuses what was signed before: %v", i, err)
			}
		}
		if err := rings[1].ResumeIssuing(t.Context(), admin, "end of drill"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		for _, r := range rings {
			sign(t, r, time.Hour)
		}
	})
}

func TestAReplicaThatCannotAskUsesNoKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores, rings := cluster(t, 2)
		raw := sign(t, rings[0], time.Hour)
		stores[1].cut.Store(true)
		pass(keys.DefaultMaxAge - time.Second)
		if err := verify(rings[1], raw); err != nil {
			t.Errorf("within the bound: %v", err)
		}
		pass(2 * time.Second)
		if err := verify(rings[1], raw); !errors.Is(err, token.ErrKey) || rings[1].Set().Len() != 0 {
			t.Errorf("beyond the bound: %v, want ErrKey", err)
		}
		if _, err := rings[1].Sign(t.Context(), claims(tenant, time.Hour)); !errors.Is(err, keys.ErrStale) {
			t.Errorf("beyond the bound it signs: %v, want ErrStale", err)
		}
		if err := verify(rings[0], raw); err != nil {
			t.Errorf("the other replica: %v", err)
		}
		stores[1].cut.Store(false)
		pass(time.Second)
		if err := verify(rings[1], raw); err != nil {
			t.Errorf("when it can ask again: %v", err)
		}
	})
}

func TestPrivateKeysAreSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := new(store.Memory)
		s := openStore(t, kv)
		addTenant(t, s, tenant, "one.example")
		k := current(t, openRing(t, s))
		der, err := k.PKCS8()
		if err != nil {
			t.Fatal(err)
		}
		page, err := kv.Range(t.Context(), "", "", 1000, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			if bytes.Contains(item.Value, der[len(der)-40:]) || bytes.Contains(item.Value, []byte("pkcs8")) {
				t.Errorf("%s holds a private key in clear", item.Key)
			}
		}
		if len(page.Items) < 5 {
			t.Errorf("only %d items were looked at", len(page.Items))
		}
	})
}

// slow lets somebody else be faster, once.
type slow struct {
	*replica
	faster func()
}

func (s *slow) Commit(ctx context.Context, c store.Change) (int64, error) {
	if f := s.faster; f != nil {
		s.faster = nil
		f()
	}
	return s.replica.Commit(ctx, c)
}

func TestReplicasThatRotateAtOnceMakeOneSuccessor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores, rings := cluster(t, 1)
		state := &slow{replica: stores[0]}
		r := openRing(t, state)
		state.faster = func() {
			if err := rings[0].Rotate(t.Context(), admin); err != nil {
				t.Error(err)
			}
		}
		if err := r.Rotate(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		if n := r.Set().Len(); n != 2*chains || state.faster != nil {
			t.Errorf("%d keys, want each chain's key and one successor", n)
		}
	})
}

func TestAStopIsNotLostToARotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores, rings := cluster(t, 1)
		state := &slow{replica: stores[0]}
		r := openRing(t, state)
		bad := current(t, r)
		state.faster = func() {
			if err := rings[0].StopIssuing(t.Context(), admin, "drill"); err != nil {
				t.Error(err)
			}
		}
		if err := r.EmergencyStop(t.Context(), admin, bad.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Current(tenant, token.AccessToken); !errors.Is(err, keys.ErrStopped) {
			t.Errorf("the other's stop is lost: %v", err)
		}
		if _, found := r.Set().Find(bad.ID); found {
			t.Error("our own stop is lost")
		}
	})
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	s := openStore(t, new(store.Memory))
	for law, c := range map[string]keys.Config{
		"no state":                              {},
		"an algorithm of shared secrets":        {State: s, Alg: "HS256"},
		"no time between successors":            {State: s, Prepublish: time.Hour, SignFor: time.Hour},
		"tokens that verifiers refuse":          {State: s, TokenLife: token.MaxLife + 1},
		"a key that is published in the future": {State: s, Prepublish: -time.Hour},
	} {
		if r, err := keys.Open(t.Context(), c); err == nil || r != nil {
			t.Errorf("%s: opened", law)
		}
	}
}
