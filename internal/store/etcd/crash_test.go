package etcd_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

// writerDir makes the test binary a writer that can be killed.
const writerDir = "GATEHOUSE_TEST_WRITER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		if err := write(dir); err != nil {
			fmt.Println("ERROR", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const crashWriters = 8

// write tells what it finds, and then counts up one user's name per goroutine
// for ever. It says so when a count is acknowledged, not before.
func write(dir string) error {
	ctx := context.Background()
	files := etcd.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	data := filepath.Join(dir, "data")
	_, err := os.Stat(data)
	first := err != nil
	if err := store.CheckDir(data, first); err != nil {
		return err
	}
	srv, err := etcd.Start(ctx, etcd.ServerConfig{Dir: data, TLS: files})
	if err != nil {
		return err
	}
	kv, err := etcd.Dial(srv.ClientConfig(files))
	if err != nil {
		return err
	}
	key, err := store.LoadKey(filepath.Join(dir, "key"), first)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Config{KV: kv, Sealer: key, Dir: data, Init: first})
	if err != nil {
		return err
	}
	est := s.Current()
	fmt.Println("READY")
	for w := range crashWriters {
		fmt.Printf("HAVE %d %s\n", w, nameOf(est, w))
	}
	n, err := s.VerifyAudit(ctx)
	fmt.Printf("AUDIT %d %v\n", n, err)
	if first {
		if _, err := s.Commit(ctx, store.Change{Ops: put(tenant)}); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	var out sync.Mutex
	for w := range crashWriters {
		wg.Go(func() {
			var n int
			fmt.Sscan(nameOf(est, w), &n)
			for {
				n++
				if _, err := s.Commit(ctx, store.Change{Ops: put(user(w, fmt.Sprint(n)))}); err != nil {
					fmt.Println("ERROR", err)
					return
				}
				out.Lock()
				fmt.Printf("ACK %d %d\n", w, n)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

func TestKilledUnderLoadLosesNothing(t *testing.T) { // ST-01
	t.Parallel()
	if testing.Short() {
		t.Skip("kills several processes")
	}
	const rounds = 8
	dir := t.TempDir()
	certs(t, dir)
	acked := make([]int, crashWriters)
	var slowest time.Duration
	for round := range rounds {
		ready := crash(t, dir, acked)
		slowest = max(slowest, ready)
		t.Logf("round %d: ready after %s, acknowledged so far %v", round, ready.Round(time.Millisecond), acked)
	}
	total := 0
	for _, n := range acked {
		total += n
	}
	t.Logf("%d acknowledged writes over %d kills; slowest start %s", total, rounds, slowest)
	if total < rounds {
		t.Errorf("only %d writes: this shows nothing", total)
	}
	if slowest > time.Minute { // on a machine that does other things too
		t.Errorf("ready after %s, want at most a minute", slowest)
	}
}

// crash starts a writer, checks that it has what was acknowledged before, lets
// it write for a while and kills it. It returns how long the start took.
func crash(t *testing.T, dir string, acked []int) time.Duration {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var ready time.Duration
	// It ends some time after its first acknowledged write, however long that took.
	end := sync.OnceFunc(func() {
		time.AfterFunc(time.Duration(rand.IntN(400))*time.Millisecond, func() { cmd.Process.Kill() })
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		var w, n int
		switch kind, rest, _ := strings.Cut(line, " "); kind {
		case "READY":
			ready = time.Since(begun)
		case "HAVE":
			fmt.Sscan(rest, &w, &n)
			if n < acked[w] || n > acked[w]+1 {
				t.Errorf("writer %d: %d was acknowledged, %d is there", w, acked[w], n)
			}
			acked[w] = n // one that was made and not acknowledged may be there
		case "AUDIT":
			if !strings.HasSuffix(rest, "<nil>") {
				t.Errorf("audit log: %s", rest)
			}
		case "ACK":
			fmt.Sscan(rest, &w, &n)
			acked[w] = n
			end()
		default:
			t.Fatalf("the writer says: %s", line)
		}
	}
	if ready == 0 {
		t.Fatal("the writer did not get ready")
	}
	return ready
}
