package serve_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// RX-12: what is remembered is bounded, and a flood of one sort pushes out that alone.
func TestAFloodOfRefusalsPushesOutNothingElse(t *testing.T) {
	t.Parallel()
	const size = 8
	trace := serve.NewTrace(size)
	known := principal.NewID()
	sorts := []serve.Event{{Effect: "issued", ID: known}, {Effect: serve.Refused, ID: known}, {Effect: serve.Refused}}
	var kept [3][]string
	var all []string
	add := func(sort int) {
		e := sorts[sort]
		e.Reason = strconv.Itoa(len(all))
		trace.Add(e)
		kept[sort], all = append(kept[sort], e.Reason), append(all, e.Reason)
	}
	check := func(limit int) {
		t.Helper()
		var want []string
		for _, reason := range all {
			for _, k := range kept {
				if slices.Contains(k[max(0, len(k)-size):], reason) {
					want = append(want, reason)
				}
			}
		}
		want = want[max(0, len(want)-limit):]
		var got []string
		for _, e := range trace.Recent(limit, func(serve.Event) bool { return true }) {
			got = append(got, e.Reason)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("of %d events the trace has %v, want %v", len(all), got, want)
		}
	}
	check(10)
	for sort := range sorts {
		add(sort)
	}
	for range 1000 {
		add(2) // nobody knocks on and on
	}
	check(100)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		add(random.IntN(3))
		check(1 + random.IntN(30))
	}
}

// RX-12: nothing that a client sends makes an event large.
func TestARefusalIsNotedInBoundedSpace(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("A", 64<<10)
	for law, change := range map[string]func(*http.Request){
		"method": func(r *http.Request) { r.Method = long },
		"host":   func(r *http.Request) { r.Host = long },
		"path":   func(r *http.Request) { r.URL.Path = "/" + long },
	} {
		var noted []serve.Event
		h := serve.Handle(func(http.ResponseWriter, *http.Request) error {
			return serve.To(serve.Caller{ID: principal.NewID()}, errors.New(long))
		}, serve.Options{Refusals: serve.Refusals{Add: func(e serve.Event) { noted = append(noted, e) }, Say: error.Error}})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		change(r)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if len(noted) != 1 || len(noted[0].Asked) > 2048 || len(noted[0].Reason) > 2048 {
			t.Errorf("a long %s leaves %d events, the first of %d and %d bytes", law, len(noted), len(noted[0].Asked), len(noted[0].Reason))
		}
	}
}
