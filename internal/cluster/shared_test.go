package cluster_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Three clusters over one etcd, as gatehouse up starts them: at once.
func TestClustersOverOneEtcdDoNotMeet(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.says(map[string]any{"allowed": false})
	base := config(t, s)
	names := []string{"prod", "prod2", "dev"} // one name is the beginning of another
	running := make([]*cluster.Cluster, len(names))
	errs := make([]error, len(names))
	begin := time.Now()
	var wg sync.WaitGroup
	for i, name := range names {
		conf := base
		conf.Name = name
		conf.Scope = scope.MustParse(strings.TrimSuffix(prod.String(), "prod") + name)
		conf.Dir = filepath.Join(filepath.Dir(base.Dir), name)
		conf.Progress = nil
		wg.Go(func() { running[i], errs[i] = cluster.Start(t.Context(), conf) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(running[i].Stop)
	}
	t.Logf("%d clusters started in %.1f s", len(names), time.Since(begin).Seconds())

	for i, c := range running {
		admin := must(must(c.IssueLocalAdmin(anna, time.Hour)).Pair.TLS())
		as(t, c, "", admin).post(t, "/api/v1/namespaces", `{"metadata":{"name":"only-`+names[i]+`"}}`, http.StatusCreated)
		for j, other := range running {
			if i != j {
				as(t, other, "", admin).want(t, secrets, http.StatusUnauthorized)
			}
		}
	}
	for i, c := range running {
		admin := must(must(c.IssueLocalAdmin(anna, time.Hour)).Pair.TLS())
		for j, name := range names {
			code := http.StatusNotFound
			if i == j {
				code = http.StatusOK
			}
			as(t, c, "", admin).want(t, "/api/v1/namespaces/only-"+name, code)
		}
	}
}
