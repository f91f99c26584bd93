package store

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

const (
	// AlertEvery is how long an alert of the same identity, way and origin stands for
	// those that follow: whoever asks in a loop does not fill the store.
	AlertEvery = time.Hour
	// maxAlerts bounds how many a replica remembers. Beyond it they are forgotten, and
	// told again.
	maxAlerts = 10_000
	// alertTimeout bounds how long the writing of one may take.
	alertTimeout = 10 * time.Second
)

// alerts are those that this replica wrote lately.
type alerts struct {
	mu   sync.Mutex
	told map[alertKey]*told
}

type alertKey struct {
	identity principal.ID
	way      alert.Way
	from     string
}

// A told is one alert: written, or on its way until done is closed.
type told struct {
	at   time.Time
	done chan struct{}
	err  error
}

// Alert writes an alert into the audit log and returns when it is durable, or at once
// when this replica wrote the same within AlertEvery. After an error what it is about
// must not be allowed.
func (s *Store) Alert(ctx context.Context, a alert.Alert) error {
	key := alertKey{a.Identity, a.Way, a.From}
	t, mine := s.alerts.find(key, s.machine())
	if mine {
		t.err = s.writeAlert(ctx, a)
		if t.err != nil {
			s.alerts.forget(key, t)
		}
		close(t.done)
	}
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) writeAlert(ctx context.Context, a alert.Alert) error {
	// Others may wait for the same one, and are not to suffer when this caller leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), alertTimeout)
	defer cancel()
	_, err := s.Commit(ctx, Change{Why: a.String(), alerts: []alert.Alert{a}})
	return err
}

// find returns the alert that stands for this one, and whether it is this one, which
// the caller has to write.
func (l *alerts) find(key alertKey, now time.Time) (*told, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.told[key]; ok && !now.Before(t.at) && now.Sub(t.at) < AlertEvery {
		return t, false
	}
	if l.told == nil || len(l.told) >= maxAlerts {
		l.told = make(map[alertKey]*told)
	}
	t := &told{at: now, done: make(chan struct{})}
	l.told[key] = t
	return t, true
}

// forget takes back an alert that could not be written.
func (l *alerts) forget(key alertKey, t *told) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told[key] == t {
		delete(l.told, key)
	}
}
