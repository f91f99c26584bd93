//go:build linux

package nmi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A meter counts. The zero meter is ready.
type meter struct {
	mu       sync.Mutex
	requests map[int]int64 // by status; 0 is a connection that was closed
	seconds  float64
	repairs  int64
}

func (m *meter) count(status int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.requests == nil {
		m.requests = make(map[int]int64)
	}
	m.requests[status]++
	m.seconds += took.Seconds()
}

func (m *meter) repaired() {
	m.mu.Lock()
	m.repairs++
	m.mu.Unlock()
}

// status serves health and metrics, to the node alone. It is ready when the API
// server answers and the agent has a token for the house.
func (a *agent) status() http.Handler {
	mux := http.NewServeMux()
	live := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	mux.HandleFunc("GET /livez", live)
	mux.HandleFunc("GET /healthz", live) // as upstream
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if _, err := a.views.fresh(ctx); err != nil {
			http.Error(w, "the API server does not answer: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		if _, err := a.house.credential(); err != nil {
			http.Error(w, "the agent has no token for the house: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", a.metrics)
	return mux
}

// metrics writes what was counted in the text format of Prometheus.
func (a *agent) metrics(w http.ResponseWriter, _ *http.Request) {
	m := &a.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprint(w, "# HELP gatehouse_nmi_requests_total Requests of pods, by the status of the answer; 0 is none.\n# TYPE gatehouse_nmi_requests_total counter\n")
	var n int64
	for _, status := range slices.Sorted(maps.Keys(m.requests)) {
		n += m.requests[status]
		fmt.Fprintf(w, "gatehouse_nmi_requests_total{code=\"%d\"} %d\n", status, m.requests[status])
	}
	fmt.Fprintf(w, "# HELP gatehouse_nmi_request_seconds How long requests took.\n# TYPE gatehouse_nmi_request_seconds summary\ngatehouse_nmi_request_seconds_sum %g\ngatehouse_nmi_request_seconds_count %d\n", m.seconds, n)
	fmt.Fprintf(w, "# HELP gatehouse_nmi_repairs_total How often somebody else had changed the rules.\n# TYPE gatehouse_nmi_repairs_total counter\ngatehouse_nmi_repairs_total %d\n", m.repairs)
}
