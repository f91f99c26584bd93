package serve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

func TestHandleAnswersErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law    string
		h      serve.Handler
		status int
		body   string
	}{
		{"a refusal says what it says", func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("look: %w", serve.Refuse(409, "Conflict", "Taken."))
		}, 409, `{"error":{"code":"Conflict","message":"Taken."}}`},
		{"an unknown error keeps its text for the log", func(http.ResponseWriter, *http.Request) error {
			return errors.New("hunter2")
		}, 500, `{"error":{"code":"InternalServerError","message":"The request could not be answered. The log has the reason under the request id."}}`},
		{"a panic is an error", func(http.ResponseWriter, *http.Request) error { panic("hunter2") },
			500, `{"error":{"code":"InternalServerError","message":"The request could not be answered. The log has the reason under the request id."}}`},
		{"a bad scope is the caller's fault", func(http.ResponseWriter, *http.Request) error {
			_, err := scope.Parse("//")
			return err
		}, 400, `{"error":{"code":"BadRequest","message":"\"//\": not a scope: empty segment"}}`},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			serve.Handle(tt.h, serve.Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tt.status, tt.body)
			}
		})
	}
}

func TestHandleAsksTheDoorAfterAPanic(t *testing.T) {
	t.Parallel()
	h := serve.Handle(func(http.ResponseWriter, *http.Request) error { panic("x") }, serve.Options{
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, serve.ErrPanic) {
				t.Errorf("the door is told %v, want ErrPanic", err)
			}
			serve.WriteJSON(w, 200, []byte(`{"denied":true}`))
		},
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 200 || w.Body.String() != `{"denied":true}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestLogHoldsNoSecret(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := serve.Handle(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}, serve.Options{Log: slog.New(slog.NewTextHandler(&out, nil))})
	r := httptest.NewRequest(http.MethodPost, "/a%0ab?code=hunter2", strings.NewReader("hunter2"))
	r.Header.Set("Authorization", "Bearer hunter2")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if got := out.String(); strings.Contains(got, "hunter2") || strings.Count(got, "\n") != 1 || !strings.Contains(got, "status=204") {
		t.Errorf("log is %q: want one line, with the status, without what the client sent", got)
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law, contentType, body string
		status                 int
	}{
		{"JSON is read", "application/json", `{"a":1}`, 200},
		{"with a charset as well", "application/json; charset=utf-8", `{"a":1}`, 200},
		{"a form is not", "application/x-www-form-urlencoded", `{"a":1}`, 415},
		{"nor what has no type", "", `{"a":1}`, 415},
		{"a large body is refused", "application/json", `{"a":1` + strings.Repeat(" ", 100) + `}`, 413},
		{"an unknown member is refused", "application/json", `{"b":1}`, 400},
		{"a member in another case is refused", "application/json", `{"A":1}`, 400},
		{"RX-07: depth is bounded", "application/json", strings.Repeat("[", 99), 400},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			h := serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
				var v struct {
					A int `json:"a"`
				}
				return serve.Decode(w, r, 100, &v)
			}, serve.Options{})
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tt.body))
			r.ContentLength = -1 // as in a chunked request
			if tt.contentType != "" {
				r.Header.Set("Content-Type", tt.contentType)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("status %d %s, want %d", w.Code, w.Body, tt.status)
			}
		})
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	bad := errors.New("secret reason")
	check := func(name string, err error) serve.Check {
		return serve.Check{Name: name, Check: func(context.Context) error { return err }}
	}
	for _, tt := range []struct {
		law, path string
		checks    []serve.Check
		status    int
		body      string
	}{
		{"all is well", "/readyz", []serve.Check{check("store", nil)}, 200, "ok\n"},
		{"each check has a line", "/readyz?verbose", []serve.Check{check("store", nil), check("keys", bad)}, 503, "[+]store ok\n[-]keys failed\nnot ready\n"},
		{"WH-24: one failure is enough", "/readyz", []serve.Check{check("store", bad), check("keys", nil)}, 503, "not ready\n"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			serve.Handle(serve.Ready(tt.checks...), serve.Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.path, nil))
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tt.status, tt.body)
			}
		})
	}
}

func TestTraceKeepsTheLatest(t *testing.T) {
	t.Parallel()
	tr := serve.NewTrace(3)
	var want []serve.Event
	for i := range 5 {
		e := serve.Event{Door: "authz", Revision: int64(i)}
		tr.Add(e)
		want = append(want, e)
	}
	all := func(serve.Event) bool { return true }
	if diff := cmp.Diff(want[2:], tr.Recent(10, all), cmp.AllowUnexported(scope.Scope{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	odd := func(e serve.Event) bool { return e.Revision%2 == 0 }
	if got := tr.Recent(1, odd); len(got) != 1 || got[0].Revision != 4 {
		t.Errorf("the latest even one is %v", got)
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ law, in, want string }{
		{"plain text stays", "a b", "a b"},
		{"WH-25: control characters go", "a\nb\x1b[2J", "a\uFFFDb\uFFFD[2J"},
		{"so do invisible ones", "a\u202Eb", "a\uFFFDb"},
		{"letters of all people stay", "Zoë", "Zoë"},
		{"it is cut between letters", "0123456789ë", "0123456789"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if got := serve.Printable(tt.in, 11); got != tt.want {
				t.Errorf("Printable(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}
