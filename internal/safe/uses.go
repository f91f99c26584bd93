package safe

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// uses gathers the records of what is read: those that come while one is being
// written share the next. So many readers cost one write, and still nobody gets an
// answer before the record of it is durable.
type uses struct {
	mu      sync.Mutex
	waiting []*use
	writing bool
}

type use struct {
	store.Use
	done chan error // has place for one
}

const (
	// maxUses bounds a record: some hundred bytes each.
	maxUses = 500
	// useTimeout bounds how long a record may take to be written.
	useTimeout = 10 * time.Second
)

// Use records that a secret was read, or a private key or an identity used, and
// returns when that is durable. After an error nothing may be given out.
func (s *Safe) Use(ctx context.Context, u store.Use) error {
	mine := &use{u, make(chan error, 1)}
	s.uses.mu.Lock()
	s.uses.waiting = append(s.uses.waiting, mine)
	start := !s.uses.writing
	s.uses.writing = true
	s.uses.mu.Unlock()
	if start {
		// Not the caller's context: others' records are in it as well.
		go s.write(context.WithoutCancel(ctx))
	}
	select {
	case err := <-mine.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write writes records until none waits.
func (s *Safe) write(ctx context.Context) {
	for {
		s.uses.mu.Lock()
		n := min(len(s.uses.waiting), maxUses)
		batch := s.uses.waiting[:n:n]
		s.uses.waiting = s.uses.waiting[n:]
		if n == 0 {
			s.uses.waiting, s.uses.writing = nil, false
		}
		s.uses.mu.Unlock()
		if n == 0 {
			return
		}
		err := s.writeBatch(ctx, batch)
		for _, u := range batch {
			u.done <- err
		}
	}
}

func (s *Safe) writeBatch(ctx context.Context, batch []*use) error {
	ctx, cancel := context.WithTimeout(ctx, useTimeout)
	defer cancel()
	list := make([]store.Use, len(batch))
	for i, u := range batch {
		list[i] = u.Use
	}
	_, err := s.conf.State.Commit(ctx, store.Change{Why: "secrets, keys and identities used", Uses: list})
	return err
}
