package house

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

// explain adds to an error what whoever runs the house can do about it.
func (h *House) explain(err error) error {
	dir := h.conf.Dir.path()
	switch {
	case full(err), errors.Is(err, store.ErrNoSpace) && h.conf.External == nil:
		return fmt.Errorf("%w\nthe disk of %s is full: free at least %d MiB and start again; nothing is lost", err, dir, etcd.DefaultMinFree>>20)
	case errors.Is(err, store.ErrNoSpace):
		return fmt.Errorf("%w\netcd takes no writes: free space there, and disarm its alarm", err)
	case errors.Is(err, store.ErrSchema):
		return fmt.Errorf("%w\nthe store in %s was written by another version of gatehouse: run that one, or a newer one", err, dir)
	case errors.Is(err, store.ErrLost):
		return fmt.Errorf("%w\nits log was cut off, or it was set back: bring back the newest copy of %s, or start once with --accept-loss to go on without them", err, dir)
	case errors.Is(err, store.ErrForeign):
		return fmt.Errorf("%w\nthe store and the directory %s do not belong together: bring back the files that are missing, or begin a new directory with --dir", err, dir)
	}
	return err
}

// full reports whether a disk was full. The database tells it by text alone.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}
