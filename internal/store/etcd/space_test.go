//go:build linux

package etcd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

func TestAFullDiskStopsWritesAndNothingElse(t *testing.T) { // ST-03
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=400m"); err != nil {
		t.Skipf("mounting a small disk: %v (needs root)", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	srv, files := start(t, etcd.ServerConfig{Dir: filepath.Join(disk, "etcd"), MinFree: 96 << 20})
	s := open(t, dial(t, srv.ClientConfig(files)))
	commit(t, s, put(tenant)...)

	fill(t, filepath.Join(disk, "ballast"), 64<<20)
	n := 0
	refused := until(t, patience, func() bool {
		n++
		_, err := s.Commit(t.Context(), store.Change{Ops: put(user(n, fmt.Sprint(n)))})
		if err != nil && !errors.Is(err, store.ErrNoSpace) {
			t.Fatalf("commit on a full disk: %v, want ErrNoSpace", err)
		}
		return err != nil
	})
	t.Logf("writes refused %s after the disk filled up", refused)
	// Longer than the bound: freshness must be proven anew while the disk is full.
	throughout(t, store.DefaultMaxAge+2*time.Second, func() {
		if err := s.Fresh(time.Now()); err != nil {
			t.Fatalf("decisions stopped: %v", err)
		}
	})
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	healed := until(t, patience, func() bool {
		_, err := s.Commit(t.Context(), store.Change{Ops: put(user(n, "after"))})
		return err == nil
	})
	t.Logf("writes accepted %s after space was freed", healed)
	if got := nameOf(s.Current(), n); got != "after" || nameOf(s.Current(), n-1) != fmt.Sprint(n-1) && n > 1 {
		t.Errorf("after healing: %q", got)
	}
	if _, err := s.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-srv.Failed():
		t.Error("etcd gave up")
	default:
	}
}

// throughout looks at something again and again for some time.
func throughout(t *testing.T, d time.Duration, look func()) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(d); ; {
		look()
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// fill writes a file until only free bytes of its disk are left.
func fill(t *testing.T, path string, free int64) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &st); err != nil {
		t.Fatal(err)
	}
	n := int64(st.Bavail)*int64(st.Bsize) - free
	if n <= 0 {
		t.Fatalf("only %d bytes are free", n+free)
	}
	if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHistoryThatFillsTheQuotaIsForgotten(t *testing.T) { // ST-03, ST-21
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	srv, files := start(t, etcd.ServerConfig{Quota: 24 << 20, MinFree: 1})
	s := open(t, dial(t, srv.ClientConfig(files)))
	big := store.PrivateOp{Bucket: "b", ID: []string{"1"}, Value: make([]byte, 1<<20)}
	until(t, patience, func() bool {
		err := s.CommitPrivate(t.Context(), big)
		if err != nil && !errors.Is(err, store.ErrNoSpace) {
			t.Fatal(err)
		}
		return err != nil
	})
	healed := until(t, patience, func() bool { return s.CommitPrivate(t.Context(), big) == nil })
	t.Logf("writes accepted %s after the quota was reached", healed)
	until(t, patience, func() bool { return s.Fresh(time.Now()) == nil })
}
