package etcd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

// ST-05: the end of the log is missing, after a kill. etcd cannot tell that from a
// write that was never finished, and drops it. The store beside it knows how far it
// was seen, and refuses. Who accepts the loss gets a whole beginning of the
// history, with an audit chain that fits; it is never empty, and nothing is missing
// in the middle.
func TestALogThatWasCutOffIsNoticed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts many members")
	}
	for _, missing := range []int{1, 64, 700, 3000} {
		t.Run(fmt.Sprintf("%d bytes", missing), func(t *testing.T) {
			t.Parallel()
			dir, files := filepath.Join(t.TempDir(), "data"), certs(t, t.TempDir())
			const writes = 20
			run := func(init, accept bool) (string, error) {
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
				s, err := store.Open(t.Context(), store.Config{KV: kv, Sealer: key, Dir: dir, Init: init, AcceptLoss: accept})
				if err != nil {
					return "", err
				}
				defer s.Close()
				if init {
					commit(t, s, put(tenant)...)
					for n := range writes {
						commit(t, s, put(user(1, fmt.Sprint(n)))...)
					}
					// As a kill would leave it: the database behind the log.
					killed := dir + ".killed"
					if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
					if err := os.Chmod(killed, 0o700); err != nil {
						t.Fatal(err)
					}
					defer func() { dir = killed }()
				}
				if _, err := s.VerifyAudit(t.Context()); err != nil {
					return "", err
				}
				return nameOf(s.Current(), 1), nil
			}
			last := fmt.Sprint(writes - 1)
			if got, err := run(true, false); err != nil || got != last {
				t.Fatal(got, err)
			}
			rewrite(t, firstLog(t, filepath.Join(dir, "etcd", "member")), func(b []byte) []byte {
				used := len(bytes.TrimRight(b, "\x00"))
				return b[:max(0, used-missing)]
			})
			if got, err := run(false, false); err == nil {
				t.Errorf("it started with %q although the end of its log is missing", got)
			} else if missing < 3000 && !errors.Is(err, store.ErrLost) {
				t.Errorf("error = %v, want ErrLost", err)
			}
			got, err := run(false, true)
			var n int
			if _, scanErr := fmt.Sscan(got, &n); err == nil && (scanErr != nil || n < writes-8 || n >= writes) {
				t.Errorf("it started with %q, acknowledged were 0 to %s", got, last)
			}
			t.Logf("%d bytes of the log missing: it has %q of %s, %v", missing, got, last, err)
		})
	}
}
