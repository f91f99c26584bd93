// Package serve is what the doors share: a handler that returns an error, the
// one function that turns an error into a status, one log event a request,
// strict readers of JSON, the way from a client certificate to a cluster, and
// servers with limits.
//
// It promises to fail closed: a handler that panics answers what its door says
// for an error, and never nothing.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

// A Handler answers a request or returns an error. An error that it returns after
// it began to answer is only logged.
type Handler func(http.ResponseWriter, *http.Request) error

// Options say how a door's handlers are run. The zero Options log nothing and
// answer errors with Problem.
type Options struct {
	Log *slog.Logger // nil means no log
	// Fail answers a request whose handler returned an error or panicked, when
	// nothing was written yet. Nil means Problem.
	Fail func(http.ResponseWriter, *http.Request, error)
	// Quiet logs answers below 400 at debug level, for doors that are asked
	// thousands of times a second.
	Quiet bool
	// Now is the clock of the log's durations; nil means time.Now.
	Now func() time.Time
	// Correlation is the header of the answer with the id that the client knows the
	// request by, for the log; "" when there is none but X-Request-Id.
	Correlation string
	// Refusals say where it is noted what was refused. The zero Refusals note nothing.
	Refusals Refusals
}

// ErrPanic is what Options.Fail is given when a handler panicked.
var ErrPanic = errors.New("internal error")

// Handle returns h as an http.Handler. Each request gets an id, which the answer
// carries as X-Request-Id, and one log event, which never holds a query string,
// a header or a body.
func Handle(h Handler, opt Options) http.Handler {
	if opt.Fail == nil {
		opt.Fail = func(w http.ResponseWriter, _ *http.Request, err error) { Problem(w, err) }
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := opt.Now()
		id := requestID()
		rec := &recorder{ResponseWriter: w}
		head := w.Header()
		head["X-Request-Id"] = []string{id}
		head["X-Content-Type-Options"] = nosniff
		head["Cache-Control"] = noStore
		err := call(h, rec, r)
		if err != nil && rec.status == 0 {
			fail(opt.Fail, rec, r, err)
		}
		if rec.status == 0 {
			rec.status = http.StatusOK // net/http sends that for us
		}
		took := opt.Now().Sub(start)
		if err != nil && rec.status >= http.StatusBadRequest {
			opt.Refusals.note(r, id, head.Get(opt.Correlation), start, took, err)
		}
		if opt.Log != nil {
			logRequest(r, opt, rec.status, id, head.Get(opt.Correlation), took, err)
		}
	})
}

// Header values that every answer shares; net/http only reads them.
var (
	nosniff  = []string{"nosniff"}
	noStore  = []string{"no-store"}
	jsonType = []string{"application/json"}
)

// call runs h and turns a panic into an error with the stack in its text, which
// stays in the log: Status does not publish what it does not know.
func call(h Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: // net/http's own way to cut the connection
			panic(p)
		default:
			err = fmt.Errorf("%w: panic: %v\n%s", ErrPanic, p, debug.Stack())
		}
	}()
	return h(w, r)
}

// fail answers err, and plainly when the door's own answer panics as well.
func fail(answer func(http.ResponseWriter, *http.Request, error), w *recorder, r *http.Request, err error) {
	second := call(func(w http.ResponseWriter, r *http.Request) error {
		answer(w, r, err)
		return nil
	}, w, r)
	if second != nil && w.status == 0 {
		Problem(w, second)
	}
}

func logRequest(r *http.Request, opt Options, status int, id, correlation string, took time.Duration, err error) {
	level := slog.LevelInfo
	switch {
	case errors.Is(err, ErrPanic) || status >= 500:
		level = slog.LevelError
	case status >= 400:
		level = slog.LevelWarn
	case opt.Quiet:
		level = slog.LevelDebug
	}
	ctx := context.WithoutCancel(r.Context())
	if !opt.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", id), slog.String("method", r.Method), slog.String("path", Printable(r.URL.Path, 512)),
		slog.Int("status", status), slog.Duration("took", took), slog.String("remote", r.RemoteAddr),
	}
	if correlation != "" {
		attrs = append(attrs, slog.String("correlation", correlation))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	opt.Log.LogAttrs(ctx, level, "request", attrs...)
}

// requestID is for people who look for a line in a log; it is no secret.
func requestID() string {
	var b [16]byte
	return string(strconv.AppendUint(b[:0], rand.Uint64()|1<<63, 16))
}

// A recorder remembers the status that was written; 0 means nothing yet.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Printable returns at most limit bytes of s with every control character,
// invisible character and invalid byte replaced, so that what a caller sent
// cannot forge a line of a log or move the cursor of a terminal.
func Printable(s string, limit int) string {
	clean := true
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			clean = false
			break
		}
	}
	if clean && len(s) <= limit {
		return s
	}
	return printable(s, limit)
}
