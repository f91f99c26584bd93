package authz_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// yes is the handler that this door is measured against: net/http and
// encoding/json, and always the same answer.
func yes(w http.ResponseWriter, r *http.Request) {
	var review authorizationv1.SubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: true}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(review)
}

// BenchmarkReview asks the same question, by a user in 20 groups, over TLS and
// kept-alive connections, of this door and of the handler that always says yes.
// The two take turns, so that both see the same machine.
func BenchmarkReview(b *testing.B) {
	world := servetest.NewWorld(b)
	groups := []principal.ID{servetest.DevTeam, servetest.Staff}
	var recs []record.Record
	for i := range 18 {
		id := servetest.ID(fmt.Sprintf("31000000-0000-4000-8000-%012d", i))
		groups = append(groups, id)
		recs = append(recs, directory.Group{ID: id, Tenant: servetest.Tenant, DisplayName: fmt.Sprint("g", i)}, directory.Membership{Group: id, Member: servetest.Faye})
	}
	world.Put(recs...)
	trace := serve.NewTrace(1024)
	door, err := authz.New(authz.Config{Estates: world, Events: traceEvents(trace)})
	if err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(review(resource(by("faye@teknews.cloud", servetest.Faye, groups...), "create", "pods", "dev")))
	if err != nil {
		b.Fatal(err)
	}
	ours := servetest.Start(b, door.Handler(), true)
	theirs := servetest.Start(b, http.HandlerFunc(yes), true)
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var took [2][]time.Duration
			doors := [2]func() time.Duration{asker(b, ours, body), asker(b, theirs, body)}
			for range 50 * clients { // open the connections
				doors[0]()
				doors[1]()
			}
			for b.Loop() {
				for i, ask := range doors {
					took[i] = append(took[i], round(clients, ask)...)
				}
			}
			us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
			for _, p := range []int{50, 99} {
				a, y := percentile(took[0], p), percentile(took[1], p)
				b.ReportMetric(us(a), fmt.Sprintf("p%d-µs", p))
				b.ReportMetric(us(y), fmt.Sprintf("yes-p%d-µs", p))
				b.ReportMetric(float64(a)/float64(y), fmt.Sprintf("p%d-ratio", p))
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// round lets each client ask 20 times.
func round(clients int, ask func() time.Duration) []time.Duration {
	const each = 20
	took := make([]time.Duration, clients*each)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				took[c*each+i] = ask()
			}
		})
	}
	wg.Wait()
	return took
}

func asker(b *testing.B, s *servetest.Server, body []byte) func() time.Duration {
	client := s.Cluster(servetest.AKS1)
	url := s.URL + path(servetest.AKS1)
	return func() time.Duration {
		start := time.Now()
		res, err := client.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			b.Error(err)
			return 0
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		took := time.Since(start)
		if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"allowed":true`)) {
			b.Errorf("%d %s %v", res.StatusCode, text, err)
		}
		return took
	}
}

func percentile(d []time.Duration, p int) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*p/100)]
}
