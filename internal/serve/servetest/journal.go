package servetest

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A Journal keeps the lines of a log, for tests that count them.
type Journal struct {
	mu    sync.Mutex
	lines []line
}

type line struct {
	level slog.Level
	attrs map[string]string
}

// Log writes to the journal whatever a house writes that is not asked for more.
func (j *Journal) Log() *slog.Logger { return slog.New(j) }

// Enabled implements slog.Handler.
func (j *Journal) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (j *Journal) Handle(_ context.Context, r slog.Record) error {
	l := line{r.Level, make(map[string]string)}
	r.Attrs(func(a slog.Attr) bool {
		l.attrs[a.Key] = a.Value.String()
		return true
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, l)
	return nil
}

// WithAttrs implements slog.Handler.
func (j *Journal) WithAttrs([]slog.Attr) slog.Handler { return j }

// WithGroup implements slog.Handler.
func (j *Journal) WithGroup(string) slog.Handler { return j }

// Refused checks that just one line of the log tells of a refusal, by the value of an
// attribute that its answer carries, and returns the others of that line.
func (j *Journal) Refused(t testing.TB, law, key, value string) map[string]string {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	found := slices.DeleteFunc(slices.Clone(j.lines), func(l line) bool { return l.attrs[key] != value })
	if value == "" || len(found) != 1 || found[0].level < slog.LevelWarn {
		t.Errorf("%s: %d lines of the log have the %s %q, want one warning: %v", law, len(found), key, value, found)
		return nil
	}
	return found[0].attrs
}

// RefusedEvent checks that just one event of a trace tells of a refusal, by the request
// id that its answer carries, and to whom, and returns it.
func RefusedEvent(t testing.TB, trace *serve.Trace, law, id string, who principal.ID) serve.Event {
	t.Helper()
	found := trace.Recent(1000, func(e serve.Event) bool { return e.TraceID == id })
	if id == "" || len(found) != 1 {
		t.Errorf("%s: %d events of the trace have the request %q, want one: %+v", law, len(found), id, found)
		return serve.Event{}
	}
	if e := found[0]; e.Effect != serve.Refused || e.ID != who || e.Reason == "" || e.Asked == "" || strings.Contains(e.Asked, "?") {
		t.Errorf("%s: the trace says %+v, want that %s was refused, what and why", law, e, who)
	}
	return found[0]
}
