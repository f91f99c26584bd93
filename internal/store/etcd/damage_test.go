package etcd_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

func TestDamagedFilesNeverMakeAnEmptyStore(t *testing.T) { // ST-05
	t.Parallel()
	if testing.Short() {
		t.Skip("starts many members")
	}
	tests := []struct {
		name    string
		refused bool
		damage  func(t *testing.T, member string)
	}{
		{"the database is garbage", true, func(t *testing.T, m string) {
			rewrite(t, filepath.Join(m, "snap", "db"), func(b []byte) []byte { return slices.Repeat([]byte{0x5a}, len(b)) })
		}},
		// The log has everything since the last snapshot, and here that is all.
		{"the database is gone", false, func(t *testing.T, m string) { remove(t, filepath.Join(m, "snap", "db")) }},
		{"the log is gone", true, func(t *testing.T, m string) { remove(t, filepath.Join(m, "wal")) }},
		{"a byte of the log is flipped", true, func(t *testing.T, m string) {
			rewrite(t, firstLog(t, m), func(b []byte) []byte { b[len("some way into the first record")*8] ^= 0x40; return b })
		}},
		{"everything is gone but the mark", true, func(t *testing.T, m string) { remove(t, m) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, files := filepath.Join(t.TempDir(), "data"), certs(t, t.TempDir())
			run := func(init bool) (string, error) {
				srv, err := etcd.Start(t.Context(), etcd.ServerConfig{Dir: dir, TLS: files})
				if err != nil {
					return "", err
				}
				defer srv.Close()
				kv := dial(t, srv.ClientConfig(files))
				defer kv.Close()
				key, err := store.LoadKey(filepath.Join(filepath.Dir(dir), "key"), init)
				if err != nil {
					t.Fatal(err)
				}
				s, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: key, Dir: dir, Init: init})
				if err != nil {
					return "", err
				}
				defer s.Close()
				if init {
					commit(t, s, put(tenant, user(1, "Ana"))...)
				}
				return nameOf(s.Current(), 1), nil
			}
			if got, err := run(true); err != nil || got != "Ana" {
				t.Fatal(got, err)
			}
			tt.damage(t, filepath.Join(dir, "etcd", "member"))
			got, err := run(false)
			if err == nil && got != "Ana" {
				t.Errorf("it started, and %q is there instead of Ana", got)
			}
			if tt.refused != (err != nil) {
				t.Errorf("error %v, want one: %t", err, tt.refused)
			}
			if err != nil && !strings.Contains(err.Error(), dir) {
				t.Errorf("the refusal does not say where: %v", err)
			}
			t.Logf("%q, %v", got, err)
		})
	}
}

func firstLog(t *testing.T, member string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(member, "wal", "*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	return logs[0]
}

func rewrite(t *testing.T, path string, edit func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, edit(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}
