package etcd_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			srv, files := start(b, etcd.ServerConfig{})
			s := open(b, dial(b, srv.ClientConfig(files)))
			commit(b, s, put(tenant)...)
			measure(b, writers, func(w, n int) error {
				_, err := s.Commit(b.Context(), store.Change{Why: "bench", Ops: put(user(w, fmt.Sprint(n)))})
				return err
			})
		})
	}
}

func BenchmarkCommitPrivate(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			srv, files := start(b, etcd.ServerConfig{})
			s := open(b, dial(b, srv.ClientConfig(files)))
			value := make([]byte, 300)
			measure(b, writers, func(w, n int) error {
				return s.CommitPrivate(b.Context(), store.PrivateOp{Bucket: "code", ID: []string{fmt.Sprint(w), fmt.Sprint(n)}, Value: value, IfRev: new(int64(0))})
			})
		})
	}
}

// measure runs do b.N times on some goroutines and reports percentiles.
func measure(b *testing.B, writers int, do func(w, n int) error) {
	b.ReportAllocs()
	b.ResetTimer()
	took := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := w; n < b.N; n += writers {
				begun := time.Now()
				if err := do(w, n); err != nil {
					b.Error(err)
					return
				}
				took[w] = append(took[w], time.Since(begun))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

func BenchmarkOpen(b *testing.B) {
	const records = 100_000
	srv, files := start(b, etcd.ServerConfig{})
	kv := dial(b, srv.ClientConfig(files))
	s := open(b, kv)
	commit(b, s, put(tenant)...)
	for n := 0; n < records; n += 5000 {
		var ops []estate.Op
		for i := range 5000 {
			ops = append(ops, put(user(n+i, "Somebody"))...)
		}
		commit(b, s, ops...)
	}
	b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s, err := tryOpen(b, kv)
			if err != nil {
				b.Fatal(err)
			}
			s.Close()
		}
	})
}
