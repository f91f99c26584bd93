package house

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// ErrInUse says that another house runs in a data directory.
var ErrInUse = errors.New("another house runs there")

// A Lock is held on a data directory while a house runs in it. The kernel gives
// it back when the process ends, so that a crash leaves nothing to clean up.
type Lock struct{ file *os.File }

// Lock takes the data directory for this process, and makes it if it is missing.
// The error is ErrInUse when a house runs there already; nothing was touched then.
func (d Dir) Lock() (*Lock, error) {
	if err := d.make(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer f.Close()
		return nil, fmt.Errorf("data directory %s: %w%s; stop it first, or begin another one with --dir, --listen and --webhook-listen",
			d.path(), ErrInUse, holder(f))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the data directory %s: %w", d.path(), err)
	}
	// For whoever finds the directory locked. It is no fact to act on: the lock is.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return &Lock{f}, nil
}

// holder names the process that wrote its number into a lock file.
func holder(f *os.File) string {
	text := make([]byte, 20)
	n, _ := f.ReadAt(text, 0)
	pid := strings.TrimSpace(string(text[:n]))
	if pid == "" {
		return ""
	}
	return " (process " + pid + ")"
}

// Unlock gives the directory back. A nil Lock holds nothing.
func (l *Lock) Unlock() {
	if l != nil {
		l.file.Close()
	}
}
