package safe_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

func TestABackupComesBackWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	for i := range 70 { // more than one step, more than a page
		w.must(w.set(r, fmt.Sprint(canary, i)))
	}
	before, err := w.Get(t.Context(), r)
	w.must(err)
	sealed, err := w.Backup(t.Context(), r)
	w.must(err)
	if bytes.Contains(sealed, []byte(canary)) {
		t.Error("a backup can be read") // ZA-01
	}
	who := safe.Actor{By: ana, Why: "restore"}
	if _, err := w.Restore(t.Context(), who, kv, vault.Secrets, sealed); !errors.Is(err, safe.ErrExists) {
		t.Errorf("restored over what is there: %v", err)
	}
	w.must(w.remove(r))
	if _, err := w.Restore(t.Context(), who, kv, vault.Secrets, sealed); !errors.Is(err, vault.ErrDeleted) {
		t.Errorf("restored over what is deleted: %v", err)
	}
	w.must(w.purge(r))
	if _, err := w.Restore(t.Context(), who, kv, vault.Secrets, sealed); err != nil {
		t.Fatal(err)
	}
	// Into another vault of the same subscription as well.
	if _, err := w.Restore(t.Context(), who, other, vault.Secrets, sealed); err != nil {
		t.Fatal(err)
	}
	for _, at := range []vault.Ref{r, ref(other, vault.Secrets, "db")} {
		if got := w.value(at); got != canary+"69" {
			t.Errorf("%s: the newest value is %q", at.Vault, got)
		}
		o, err := w.Get(t.Context(), at)
		w.must(err)
		if o.Line == before.Line || o.Current.ID != before.Current.ID {
			t.Errorf("%s: line %s and version %s", at.Vault, o.Line, o.Current.ID)
		}
		versions, _, err := w.Versions(t.Context(), o, vault.ID{}, 1000)
		if err != nil || len(versions) != 70 {
			t.Errorf("%s: %d versions, %v; want 70", at.Vault, len(versions), err)
		}
	}
}

func TestABackupIsForOneHouseAndSubscription(t *testing.T) {
	t.Parallel()
	w, elsewhere := newWorld(t), newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	w.must(w.set(r, canary))
	sealed, err := w.Backup(t.Context(), r)
	w.must(err)
	changed := bytes.Clone(sealed)
	changed[len(changed)/2] ^= 1
	for law, try := range map[string]func() error{
		"another house": func() error {
			_, err := elsewhere.Restore(t.Context(), safe.Actor{}, kv, vault.Secrets, sealed)
			return err
		},
		"another subscription": func() error {
			_, err := w.Restore(t.Context(), safe.Actor{}, apart, vault.Secrets, sealed)
			return err
		},
		"another kind": func() error {
			_, err := w.Restore(t.Context(), safe.Actor{}, other, vault.Keys, sealed)
			return err
		},
		"changed": func() error {
			_, err := w.Restore(t.Context(), safe.Actor{}, other, vault.Secrets, changed)
			return err
		},
		"nothing": func() error {
			_, err := w.Restore(t.Context(), safe.Actor{}, other, vault.Secrets, nil)
			return err
		},
	} {
		if err := try(); !errors.Is(err, safe.ErrBackup) {
			t.Errorf("%s: %v, want ErrBackup", law, err)
		}
	}
	if w.keys("vault-object") != 1 || w.keys("vault-garbage") != 0 {
		t.Error("a refused backup left something behind")
	}
}

// What a restoration that did not come to its end wrote is reached by nobody, and
// removed.
func TestARestorationThatStopsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	w.must(w.set(r, canary))
	sealed, err := w.Backup(t.Context(), r)
	w.must(err)
	if _, err := w.Restore(t.Context(), safe.Actor{}, kv, vault.Secrets, sealed); !errors.Is(err, safe.ErrExists) || w.keys("vault-garbage") != 0 {
		t.Fatalf("over what is there: %v, %d lines of garbage", err, w.keys("vault-garbage"))
	}
	late := errors.New("the right has ended")
	if _, err := w.Restore(t.Context(), safe.Actor{Check: func(*estate.Snapshot) error { return late }}, other, vault.Secrets, sealed); !errors.Is(err, late) {
		t.Fatal(err)
	}
	if w.keys("vault-garbage") != 1 || w.keys("vault-material") != 2 {
		t.Fatal("nothing was begun: the test tries nothing")
	}
	w.must(w.Tidy(t.Context()))
	if w.keys("vault-garbage") != 1 {
		t.Error("removed while it may still go on")
	}
	w.days(1)
	w.must(w.Tidy(t.Context()))
	if g, m := w.keys("vault-garbage"), w.keys("vault-material"); g != 0 || m != 1 {
		t.Errorf("%d lines of garbage and %d values are left", g, m)
	}
	if got := w.value(r); got != canary {
		t.Errorf("the secret is %q", got)
	}
}

func TestPoliciesAreFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, err := vault.Generate(vault.KeySpec{Type: vault.EC})
	w.must(err)
	pub, err := key.Public([]vault.Op{vault.Sign})
	w.must(err)
	k, c := ref(kv, vault.Keys, "k"), ref(kv, vault.Certificates, "c")
	w.must(w.Edit(t.Context(), safe.Actor{}, []vault.Ref{k}, func(now []safe.Found) ([]safe.Edit, error) {
		e, err := w.NewKeyVersion(nil, "k", key, vault.Version{Key: &pub})
		e.Put.Rotation = &vault.RotationPolicy{AfterCreate: vault.Period{Days: 30}, Life: vault.Period{Days: 90}}
		return []safe.Edit{e}, err
	}))
	policy, err := vault.Policy{Subject: "CN=c", Key: vault.KeySpec{Type: vault.EC}, Months: 2, RenewDays: 20, ReuseKey: true}.Complete()
	w.must(err)
	n, err := w.Issue(safe.NewCertificate{Name: "c", Policy: policy}, vault.PrivateKey{})
	w.must(err)
	w.must(w.Edit(t.Context(), safe.Actor{}, safe.Companions(c), func(now []safe.Found) ([]safe.Edit, error) { return w.Edits(now, n) }))
	at := func() (key, cert vault.Object) {
		key, err := w.Get(t.Context(), k)
		w.must(err)
		cert, err = w.Get(t.Context(), c)
		w.must(err)
		return key, cert
	}
	key1, cert1 := at()
	w.must(w.Tidy(t.Context()))
	if key2, cert2 := at(); key2.Current.ID != key1.Current.ID || cert2.Current.ID != cert1.Current.ID {
		t.Error("something was rotated before its time")
	}
	w.days(30)
	w.must(w.Tidy(t.Context()))
	key2, cert2 := at()
	if key2.Current.ID == key1.Current.ID || bytes.Equal(key2.Current.Key.SPKI, pub.SPKI) {
		t.Error("the key was not rotated")
	}
	if want := w.now().AddDate(0, 0, 90); !key2.Current.Expires.Equal(want) || len(key2.Current.Key.Ops) != 1 {
		t.Errorf("the new version ends at %s, want %s, and is for %v", key2.Current.Expires, want, key2.Current.Key.Ops)
	}
	if cert2.Current.ID != cert1.Current.ID {
		t.Error("the certificate was renewed before its time")
	}
	w.days(13)
	w.must(w.Tidy(t.Context()))
	_, cert3 := at()
	if cert3.Current.ID == cert1.Current.ID || bytes.Equal(cert3.Current.Certificate, cert1.Current.Certificate) {
		t.Error("the certificate was not renewed")
	}
	for _, r := range safe.Companions(c) {
		o, err := w.Get(t.Context(), r)
		w.must(err)
		if o.Current.ID != cert3.Current.ID {
			t.Errorf("the %s of the certificate stays behind", r.Kind)
		}
	}
	managed, err := w.Get(t.Context(), safe.Companions(c)[1])
	w.must(err)
	if was, err := w.Version(t.Context(), managed, cert1.Current.ID); err != nil || !bytes.Equal(was.Key.SPKI, managed.Current.Key.SPKI) {
		t.Errorf("the key was to be kept: %v", err)
	}
	// Once due is once done, however many look after it.
	w.days(30)
	for range 3 {
		w.must(w.Tidy(t.Context()))
	}
	o, err := w.Get(t.Context(), k)
	w.must(err)
	if versions, _, err := w.Versions(t.Context(), o, vault.ID{}, 100); err != nil || len(versions) != 3 {
		t.Errorf("%d versions of the key after two rotations, %v", len(versions), err)
	}
}

// What is in a vault outlives it as long as it could be recovered, and no longer.
func TestAVaultThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	w.must(w.set(r, canary))
	w.gone.Store(true)
	w.must(w.Tidy(t.Context()))
	w.days(89)
	w.must(w.Tidy(t.Context()))
	w.gone.Store(false)
	w.must(w.Tidy(t.Context()))
	if got := w.value(r); got != canary {
		t.Errorf("in a vault that came back, the secret is %q", got)
	}
	if w.keys("vault-lost") != 0 {
		t.Error("a vault that came back is still counted as lost")
	}
	w.days(30)
	w.gone.Store(true)
	w.must(w.Tidy(t.Context()))
	w.days(89)
	w.must(w.Tidy(t.Context()))
	if w.keys("vault-object") != 1 {
		t.Error("purged before its time")
	}
	w.days(1)
	w.must(w.Tidy(t.Context()))
	if o, m, l := w.keys("vault-object"), w.keys("vault-material"), w.keys("vault-lost"); o+m+l != 0 {
		t.Errorf("%d objects, %d values and %d notes of a vault that is gone are left", o, m, l)
	}
	last := ""
	for rec, err := range w.store.Audit(t.Context(), 0) {
		w.must(err)
		last = rec.Why
	}
	if last != "purged: the vault is gone for good" {
		t.Errorf("the last record says %q", last)
	}
}

// A vault that is made again while what was in it is purged keeps it.
func TestAVaultThatComesBackInTheLastMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	w.must(w.set(r, canary))
	w.gone.Store(true)
	w.must(w.Tidy(t.Context()))
	w.days(90)
	w.asked = func() { w.gone.Store(false) }
	w.must(w.Tidy(t.Context()))
	if got := w.value(r); got != canary {
		t.Errorf("the secret is %q", got)
	}
	if w.keys("vault-lost") != 0 {
		t.Error("the vault is still counted as lost")
	}
}

func TestAnUnknownObjectIsNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := ref(kv, vault.Secrets, "db")
	if _, err := w.Get(t.Context(), r); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if _, err := w.Backup(t.Context(), r); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Backup: %v", err)
	}
	if err := w.purge(r); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("purge: %v", err)
	}
}
