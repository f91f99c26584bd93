package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func item(bucket, value string, id ...string) store.PrivateOp {
	return store.PrivateOp{Bucket: bucket, ID: id, Value: []byte(value)}
}

func TestPrivateItems(t *testing.T) {
	t.Parallel()
	kv := new(store.Memory)
	s := open(t, kv)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.CommitPrivate(t.Context(), item("family", "1", "u", "a"), item("family", "2", "u", "b/c"), item("family", "3", "u2", "d"), item("families", "4", "u", "e")))
	got, err := s.Private(t.Context(), "family", "u", "b/c")
	must(err)
	if string(got.Value) != "2" || got.Rev == 0 {
		t.Errorf("%+v", got)
	}
	list, err := s.PrivateList(t.Context(), "family", "u")
	must(err)
	var ids []string
	for _, i := range list {
		ids = append(ids, strings.Join(i.ID, "|")+"="+string(i.Value))
	}
	if diff := cmp.Diff([]string{"u|a=1", "u|b/c=2"}, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if list, err = s.PrivateList(t.Context(), "family"); err != nil || len(list) != 3 {
		t.Errorf("whole bucket: %d items, %v; want 3", len(list), err)
	}
	must(s.CommitPrivate(t.Context(), store.PrivateOp{Bucket: "family", ID: []string{"u", "a"}}))
	if _, err := s.Private(t.Context(), "family", "u", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted: %v, want ErrNotFound", err)
	}
	if err := s.CommitPrivate(t.Context(), store.PrivateOp{Bucket: "family"}); err == nil {
		t.Error("an item without id was accepted")
	}
}

func TestPrivateConditions(t *testing.T) {
	t.Parallel()
	s := open(t, new(store.Memory))
	create := item("code", "1", "c")
	create.IfRev = new(int64(0))
	if err := s.CommitPrivate(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	if err := s.CommitPrivate(t.Context(), create); !errors.Is(err, store.ErrConflict) {
		t.Errorf("second creation: %v, want ErrConflict", err)
	}
	if _, err := s.Commit(t.Context(), store.Change{Private: []store.PrivateOp{create}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("second creation in a change: %v, want ErrConflict", err)
	}
	now, err := s.Private(t.Context(), "code", "c")
	if err != nil {
		t.Fatal(err)
	}
	// A code is used once, however many come at the same time.
	var used atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := s.CommitPrivate(t.Context(), store.PrivateOp{Bucket: "code", ID: []string{"c"}, IfRev: &now.Rev})
			switch {
			case err == nil:
				used.Add(1)
			case !errors.Is(err, store.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if used.Load() != 1 {
		t.Errorf("used %d times", used.Load())
	}
}

func TestExpiredItemsAreNotThere(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[time.Time]
	now.Store(&noon)
	s := open(t, new(store.Memory), func(c *store.Config) { c.Now = func() time.Time { return *now.Load() } })
	code := item("code", "1", "c")
	code.Expires, code.IfRev = noon.Add(time.Minute), new(int64(0))
	if err := s.CommitPrivate(t.Context(), code, item("code", "2", "forever")); err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) {
		then := noon.Add(d)
		now.Store(&then)
	}
	at(time.Minute - 1)
	if got, err := s.Private(t.Context(), "code", "c"); err != nil || !got.Expires.Equal(code.Expires) {
		t.Errorf("just before its end: %+v, %v", got, err)
	}
	at(time.Minute)
	if _, err := s.Private(t.Context(), "code", "c"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("at its end: %v, want ErrNotFound", err)
	}
	if list, err := s.PrivateList(t.Context(), "code"); err != nil || len(list) != 1 {
		t.Errorf("list: %d, %v; want 1", len(list), err)
	}
	code.Expires = noon.Add(time.Hour)
	if err := s.CommitPrivate(t.Context(), code); err != nil {
		t.Errorf("creating it again, before it was swept: %v", err)
	}
	if n, err := s.Sweep(t.Context(), noon.Add(30*time.Minute)); n != 0 || err != nil {
		t.Errorf("swept %d, %v; want 0", n, err)
	}
	if n, err := s.Sweep(t.Context(), noon.Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("swept %d, %v; want 1", n, err)
	}
	if _, err := s.Private(t.Context(), "code", "forever"); err != nil {
		t.Error(err)
	}
}

func TestSealsHoldInTheirPlaceOnly(t *testing.T) {
	t.Parallel()
	const prefix = "/gatehouse/v1/private/"
	kv := new(store.Memory)
	s := open(t, kv)
	secret := item("password", "canary-secret", "ana")
	secret.Expires = time.Now().Add(time.Hour)
	if err := s.CommitPrivate(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	raw, _, err := kv.Get(t.Context(), prefix+"password/ana")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw.Value, []byte("canary")) {
		t.Fatalf("in the clear: %s", raw.Value)
	}
	move := func(key string, value []byte) {
		t.Helper()
		if _, _, err := kv.Txn(t.Context(), nil, []store.Write{{Key: prefix + key, Value: value}}); err != nil {
			t.Fatal(err)
		}
	}
	move("password/eve", raw.Value)
	move("session/ana", raw.Value)
	later := secret.Expires.Add(time.Hour).UTC().Format(time.RFC3339Nano)
	earlier := secret.Expires.UTC().Format(time.RFC3339Nano)
	if !bytes.Contains(raw.Value, []byte(earlier)) {
		t.Fatalf("no expiry %s in %s", earlier, raw.Value)
	}
	move("password/ana", bytes.Replace(raw.Value, []byte(earlier), []byte(later), 1))
	for _, at := range [][2]string{{"password", "eve"}, {"session", "ana"}, {"password", "ana"}} {
		if got, err := s.Private(t.Context(), at[0], at[1]); err == nil {
			t.Errorf("%v opened: %s", at, got.Value)
		}
	}
}

func TestKeyFiles(t *testing.T) { // ZA-03
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if _, err := store.LoadKey(path, false); err == nil {
		t.Error("a missing key was made without being asked for")
	}
	key, err := store.LoadKey(path, true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Errorf("%v %v, want 32 bytes with mode 0600", info, err)
	}
	again, err := store.LoadKey(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Open(key.Seal([]byte("x"), nil), nil); err != nil || string(plain) != "x" {
		t.Errorf("the key read is not the key made: %v", err)
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := store.LoadKey(path, true); err == nil {
			t.Errorf("mode %04o was accepted", mode)
		}
	}
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.Chmod(path, 0o600), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.LoadKey(link, true); err == nil {
		t.Error("a symbolic link was accepted")
	}
	for _, size := range []int{0, 31, 33} {
		other := filepath.Join(dir, "other")
		if err := os.WriteFile(other, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.LoadKey(other, true); err == nil {
			t.Errorf("a key of %d bytes was accepted", size)
		}
	}
}

func TestPrivatePagesGoThroughABucketOnce(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[time.Time]
	now.Store(&noon)
	s := open(t, new(store.Memory), func(c *store.Config) { c.Now = func() time.Time { return *now.Load() } })
	var ops []store.PrivateOp
	for i := range 10 {
		op := item("page", "v", "u", string(rune('a'+i)))
		if i >= 3 && i < 7 { // as many as a page, and one more
			op.Expires = noon.Add(time.Minute)
		}
		ops = append(ops, op)
	}
	if err := s.CommitPrivate(t.Context(), append(ops, item("page", "other", "u2", "z"))...); err != nil {
		t.Fatal(err)
	}
	walk := func(prefix ...string) string {
		t.Helper()
		var got strings.Builder
		var after []string
		for {
			page, more, err := s.PrivatePage(t.Context(), 3, after, "page", prefix...)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page {
				got.WriteString(strings.Join(p.ID, "."))
				got.WriteString(" ")
				after = p.ID
			}
			if !more {
				return got.String()
			}
			if len(page) == 0 {
				t.Fatal("an empty page before the end")
			}
		}
	}
	if got, want := walk("u"), "u.a u.b u.c u.d u.e u.f u.g u.h u.i u.j "; got != want {
		t.Errorf("pages are %q, want %q", got, want)
	}
	later := noon.Add(time.Hour)
	now.Store(&later)
	if got, want := walk("u"), "u.a u.b u.c u.h u.i u.j "; got != want {
		t.Errorf("without what expired, pages are %q, want %q", got, want)
	}
	if got, want := walk(), "u.a u.b u.c u.h u.i u.j u2.z "; got != want {
		t.Errorf("pages of the whole bucket are %q, want %q", got, want)
	}
}
