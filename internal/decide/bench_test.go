package decide_test

import (
	"fmt"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// crowd is an estate of n role assignments. User 1 is in 20 of its groups.
func crowd(b *testing.B, n int) *estate.Snapshot {
	b.Helper()
	recs := []record.Record{user(1)}
	reader, writer := "Azure Kubernetes Service RBAC Reader", "Azure Kubernetes Service RBAC Writer"
	roles := [2]azurerbac.DefinitionID{role(b, reader), role(b, writer)}
	groups := max(20, n/10)
	for g := range groups {
		recs = append(recs, group(100+g))
		if g%(groups/20) == 0 && g/(groups/20) < 20 {
			recs = append(recs, in(100+g, 1))
		}
	}
	for i := range n {
		at, err := clusterAt.Namespace(fmt.Sprintf("ns%d", i%1000))
		if err != nil {
			b.Fatal(err)
		}
		recs = append(recs, azurerbac.Assignment{
			ID:    parse[azurerbac.AssignmentID](fmt.Sprintf("30000000-0000-0000-0000-%012d", i+1)),
			Scope: at, Principal: id(100 + i%groups), Role: roles[i/groups%2],
		})
	}
	return load(b, recs...)
}

func BenchmarkDecideAzure(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000, 100_000} {
		est := crowd(b, n)
		allow := ask(1, "list", "pods", "ns0")
		refuse := ask(1, "delete", "nodes", "")
		if decide.Decide(est, allow).Effect != decide.Allow || decide.Decide(est, refuse).Effect != decide.NoOpinion {
			b.Fatal("the questions are not answered as the benchmark assumes")
		}
		b.Run(fmt.Sprintf("assignments=%d/answer=allow", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decide.Decide(est, allow)
			}
		})
		b.Run(fmt.Sprintf("assignments=%d/answer=refuse", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decide.Decide(est, refuse)
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		est := crowd(b, n)
		a := assign(b, 900_000_000, 1, "Azure Kubernetes Service RBAC Reader", clusterAt)
		b.Run(fmt.Sprintf("assignments=%d/change=assignment", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := est.Apply(8, estate.Op{Put: a}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("assignments=%d/change=membership+decision", n), func(b *testing.B) {
			b.ReportAllocs()
			req := ask(1, "list", "pods", "ns0")
			for b.Loop() {
				next, err := est.Apply(8, estate.Op{Put: in(101, 1)})
				if err != nil {
					b.Fatal(err)
				}
				decide.Decide(next, req)
			}
		})
	}
}

func BenchmarkWhoCan(b *testing.B) {
	recs := []record.Record{}
	for g := range 20_000 {
		recs = append(recs, group(1_000_000+g))
	}
	for u := range 100_000 {
		recs = append(recs, user(u+1), in(1_000_000+u%20_000, u+1))
	}
	for i := range 100_000 {
		at := clusterAt
		if i%100 != 0 {
			at, _ = clusterAt.Namespace(fmt.Sprintf("ns%d", i%1000))
		}
		a := assign(b, i+1, 1_000_000+i%20_000, "Azure Kubernetes Service RBAC Reader", at)
		if i >= 20_000 && i%100 == 0 {
			continue
		}
		recs = append(recs, a)
	}
	est := load(b, dedupe(recs)...)
	for _, q := range []struct {
		name string
		est  *estate.Snapshot
	}{
		{"some", est},
		// A group of everybody may read: every user is an answer.
		{"everybody", load(b, append(dedupe(recs), everybody(b)...)...)},
	} {
		b.Run("users=100000/groups=20000/assignments=100000/answer="+q.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = len(decide.WhoCan(q.est, ask(0, "list", "pods", "ns7")))
			}
			b.ReportMetric(float64(n), "holders")
		})
	}
}

func everybody(b *testing.B) []record.Record {
	recs := []record.Record{group(2_000_000), assign(b, 5_000_000, 2_000_000, "Azure Kubernetes Service RBAC Reader", clusterAt)}
	for g := range 20_000 {
		recs = append(recs, in(2_000_000, 1_000_000+g))
	}
	return recs
}

func dedupe(recs []record.Record) []record.Record {
	type grant struct {
		who record.Key
		at  scope.Scope
	}
	seen := make(map[grant]bool)
	var out []record.Record
	for _, r := range recs {
		if a, ok := r.(azurerbac.Assignment); ok {
			g := grant{record.KeyOf(record.User, a.Principal.String()), a.Scope}
			if seen[g] {
				continue
			}
			seen[g] = true
		}
		out = append(out, r)
	}
	return out
}
