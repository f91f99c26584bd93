//go:build linux

package etcd_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A power cut is simulated: the database lies on a file system in an image file.
// The writer is stopped, and the image is copied as it is in that moment. What the
// kernel had not been made to write is not in the copy, as if the power had gone.
// Whatever was acknowledged before must be found there. ST-02.
func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const cuts = 4
	image := filepath.Join(t.TempDir(), "disk.img")
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 2<<30); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Skipf("making a file system: %v %s", err, out)
	}
	mountImage(t, image, disk)
	certs(t, disk)
	if out, err := exec.Command("sync", "-f", disk).CombinedOutput(); err != nil { // the certificates; the store syncs for itself
		t.Fatalf("%v %s", err, out)
	}
	w := startWriter(t, disk)
	for cut := range cuts {
		w.until(t, func(acked []int) bool { return slices.Min(acked) > 10*(cut+1) })
		if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		acked := w.have()
		copied := fmt.Sprintf("%s.%d", image, cut)
		if out, err := exec.Command("cp", "--sparse=always", image, copied).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		after := filepath.Join(t.TempDir(), "after")
		mountImage(t, copied, after)
		found := startWriter(t, after)
		for n, want := range acked {
			if got := found.found[n]; got < want {
				t.Errorf("cut %d: writer %d had %d acknowledged, %d is there", cut, n, want, got)
			}
		}
		if found.audit == "" || !strings.HasSuffix(found.audit, "<nil>") {
			t.Errorf("cut %d: audit log: %q", cut, found.audit)
		}
		t.Logf("cut %d: acknowledged %v, found %v, audit %s", cut, acked, found.found, found.audit)
		found.kill()
	}
}

func mountImage(t *testing.T, image, at string) {
	t.Helper()
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, at).CombinedOutput(); err != nil {
		t.Skipf("mounting an image: %v %s (needs root and loop devices)", err, out)
	}
	t.Cleanup(func() { syscall.Unmount(at, syscall.MNT_DETACH) })
}

// A writer is a process that counts up, see write.
type writer struct {
	cmd   *exec.Cmd
	found []int // what it found at its start
	audit string
	mu    sync.Mutex
	acked []int
	moved chan struct{} // has a value when there is a new count
}

func startWriter(t *testing.T, dir string) *writer {
	t.Helper()
	w := &writer{cmd: exec.Command(os.Args[0]), found: make([]int, crashWriters), acked: make([]int, crashWriters), moved: make(chan struct{}, 1)}
	w.cmd.Env = append(os.Environ(), writerDir+"="+dir)
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kill)
	lines := bufio.NewScanner(out)
	for w.audit == "" && lines.Scan() {
		var n, count int
		switch kind, rest, _ := strings.Cut(lines.Text(), " "); kind {
		case "HAVE":
			fmt.Sscan(rest, &n, &count)
			w.found[n] = count
		case "AUDIT":
			w.audit = rest
		case "ERROR":
			t.Fatalf("the writer in %s: %s", dir, rest)
		}
	}
	go func() {
		defer io.Copy(io.Discard, out)
		for lines.Scan() {
			var n, count int
			if _, err := fmt.Sscanf(lines.Text(), "ACK %d %d", &n, &count); err != nil {
				return
			}
			w.mu.Lock()
			w.acked[n] = count
			w.mu.Unlock()
			select {
			case w.moved <- struct{}{}:
			default:
			}
		}
	}()
	return w
}

func (w *writer) have() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.acked)
}

// until waits until enough is acknowledged.
func (w *writer) until(t *testing.T, enough func([]int) bool) {
	t.Helper()
	for end := time.After(3 * time.Minute); !enough(w.have()); {
		select {
		case <-w.moved:
		case <-end:
			t.Fatalf("only %v acknowledged", w.have())
		}
	}
}

func (w *writer) kill() {
	w.cmd.Process.Kill()
	w.cmd.Wait()
}
