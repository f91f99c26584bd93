// Package oracle_test holds Gatehouse's answers against those of the programs
// that it promises to agree with.
package oracle_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

var (
	seed      = flag.Uint64("seed", 0, "seed of the random worlds; 0 chooses one")
	only      = flag.Int64("world", -1, "number of the one world to ask about; -1 for all")
	questions = flag.Int("questions", 1_000_000, "how many random questions to ask")
)

// chosenSeed is what every random test starts from and names when it fails.
func chosenSeed() uint64 {
	if *seed != 0 {
		return *seed
	}
	return rand.Uint64()
}

const questionsPerWorld = 500

// features are what a run must have met: otherwise its agreement means little.
var features = []string{
	"verb *", "group *", "resource *", "resource */sub", "resource/sub", "resource with a slash", "no resource names",
	"name and get", "name and list", "name and watch", "name and create", "name and deletecollection",
	"name missing in list", "name missing in create", "pods/* asked for pods/log",
	"path", "path with a trailing star", "path with a star inside",
	"ClusterRoleBinding", "RoleBinding of a Role", "RoleBinding of a ClusterRole", "role missing", "aggregation",
	"User", "Group", "ServiceAccount", "service account as User", "service account's group", "nested directory group", "directory user",
}

// A tally counts the features that questions met, allowed ones by the rule that
// allowed them.
type tally struct {
	mu             sync.Mutex
	met            map[string]int
	asked, allowed int
}

func (c *tally) add(o *tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, n := range o.met {
		c.met[f] += n
	}
	c.asked += o.asked
	c.allowed += o.allowed
}

// KR-01, KR-06, KR-07, KR-08, KR-09, KR-11: Gatehouse answers as kube-apiserver
// does, on random clusters, for directory users in nested groups, service
// accounts and names that the directory does not know.
func TestKubernetesRBAC(t *testing.T) {
	s := chosenSeed()
	worlds := uint64((*questions + questionsPerWorld - 1) / questionsPerWorld)
	total := &tally{met: map[string]int{}}
	t.Run("shards", func(t *testing.T) {
		shards := uint64(runtime.GOMAXPROCS(0))
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				mine := &tally{met: map[string]int{}}
				for n := shard; n < worlds && !t.Failed(); n += shards {
					if *only < 0 || *only == int64(n) {
						compare(t, s, n, mine)
					}
				}
				total.add(mine)
			})
		}
	})
	t.Logf("seed %d: %d questions on %d worlds, %d%% allowed", s, total.asked, worlds, total.allowed*100/max(total.asked, 1))
	if t.Failed() || *only >= 0 || total.asked < 100_000 {
		return
	}
	if total.allowed*5 < total.asked {
		t.Errorf("seed %d: %d of %d questions are allowed, want a fifth", s, total.allowed, total.asked)
	}
	for _, f := range features {
		if total.met[f] < 10 {
			t.Errorf("seed %d: %q was met %d times, want 10", s, f, total.met[f])
		}
	}
}

func compare(t *testing.T, seed, number uint64, count *tally) {
	w := newWorld(seed, number)
	records := w.records(t)
	oracle := w.upstream(records)
	loop := newLoop(records)
	est, err := estate.Load(1, slices.Values(records))
	if err != nil {
		t.Fatal(err)
	}
	for range questionsPerWorld {
		a := w.asker()
		q := w.question(a)
		want, reason, err := oracle.Authorize(t.Context(), upstreamAttributes(a, q))
		if err != nil {
			t.Fatal(err)
		}
		allowed := want == authorizer.DecisionAllow
		got := decide.Decide(est, a.request(q))
		if got.Effect == decide.Deny || (got.Effect == decide.Allow) != allowed || loop.allow(a, q, nil) != allowed {
			t.Errorf("go test -run TestKubernetesRBAC -seed=%d -world=%d\n%q in %q asks %+v\nDecide: %s, %s\nloop:   %t\nupstream: %t, %s\n%s",
				seed, number, a.Name, a.Groups, q, got.Effect, got.Reason, loop.allow(a, q, nil), allowed, reason, loop.about(a))
			return
		}
		count.asked++
		if allowed {
			count.allowed++
		}
		loop.observe(w, a, q, count.met)
	}
}

// about writes out the bindings that speak of somebody, and their roles.
func (s *loop) about(a asker) string {
	var b strings.Builder
	for i := range s.bindings {
		if !slices.ContainsFunc(s.bindings[i].Subjects, func(s kuberbac.Subject) bool { return s.Is(a.Name, a.Groups) }) {
			continue
		}
		for _, v := range []any{s.bindings[i], s.roles[roleOf(&s.bindings[i])], s.rules[roleOf(&s.bindings[i])]} {
			data, _ := json.Marshal(v)
			fmt.Fprintf(&b, "%s\n", data)
		}
	}
	return b.String()
}

// A loop is the least authorizer that can be made of kuberbac: a loop over
// the bindings. It finds which features of which rule allow a question.
type loop struct {
	bindings []kuberbac.Binding
	rules    map[record.Key][]kuberbac.Rule
	roles    map[record.Key]kuberbac.Role
}

func newLoop(records []record.Record) *loop {
	s := &loop{rules: map[record.Key][]kuberbac.Rule{}, roles: map[record.Key]kuberbac.Role{}}
	var roles []kuberbac.Role
	for _, rec := range records {
		switch v := rec.(type) {
		case kuberbac.Role:
			roles = append(roles, v)
		case kuberbac.Binding:
			s.bindings = append(s.bindings, v)
		}
	}
	for _, r := range roles {
		s.rules[r.Key()] = kuberbac.Aggregate(r, slices.Values(roles))
		s.roles[r.Key()] = r
	}
	return s
}

type grantedBy func(b *kuberbac.Binding, who *kuberbac.Subject, role kuberbac.Role, rule *kuberbac.Rule)

// allow reports whether any binding allows q; with visit it does not stop at the
// first, and visit is told each.
func (s *loop) allow(a asker, q kuberbac.Attributes, visit grantedBy) bool {
	allowed := false
	for i := range s.bindings {
		b := &s.bindings[i]
		if b.Namespace != "" && (b.Namespace != q.Namespace || q.Path != "") {
			continue
		}
		who := slices.IndexFunc(b.Subjects, func(s kuberbac.Subject) bool { return s.Is(a.Name, a.Groups) })
		if who < 0 {
			continue
		}
		key := roleOf(b)
		rules := s.rules[key]
		if _, ok := s.rules[key]; !ok && visit != nil {
			visit(b, &b.Subjects[who], kuberbac.Role{}, nil)
		}
		for j := range rules {
			if !rules[j].Allows(&q) {
				continue
			}
			if visit == nil {
				return true
			}
			allowed = true
			visit(b, &b.Subjects[who], s.roles[key], &rules[j])
		}
	}
	return allowed
}

func roleOf(b *kuberbac.Binding) record.Key {
	r := kuberbac.Role{Cluster: b.Cluster, Name: b.Role}
	if !b.RoleIsCluster {
		r.Namespace = b.Namespace
	}
	return r.Key()
}

// observe counts the features of a question and of the grants that allow it.
func (s *loop) observe(w *world, a asker, q kuberbac.Attributes, met map[string]int) {
	n := 0
	allowed := s.allow(a, q, func(b *kuberbac.Binding, who *kuberbac.Subject, role kuberbac.Role, rule *kuberbac.Rule) {
		if rule == nil {
			met["role missing"]++
			return
		}
		if n++; n > 1 {
			return
		}
		observeGrant(w, a, b, who, role, met)
		observeRule(q, rule, met)
	})
	if allowed || q.Path != "" {
		return
	}
	// Denials that would be allowed by a looser reading of a rule.
	for i := range s.bindings {
		b := &s.bindings[i]
		if b.Namespace != "" && b.Namespace != q.Namespace || !slices.ContainsFunc(b.Subjects, func(s kuberbac.Subject) bool { return s.Is(a.Name, a.Groups) }) {
			continue
		}
		for _, r := range s.rules[roleOf(b)] {
			nameless := r
			nameless.ResourceNames = nil
			if q.Name == "" && nameless.Allows(&q) {
				met["name missing in "+q.Verb]++
			}
			if q.Subresource != "" && slices.Contains(r.Resources, q.Resource+"/*") {
				met["pods/* asked for pods/log"]++
			}
		}
	}
}

func observeGrant(w *world, a asker, b *kuberbac.Binding, who *kuberbac.Subject, role kuberbac.Role, met map[string]int) {
	switch {
	case b.Namespace == "":
		met["ClusterRoleBinding"]++
	case b.RoleIsCluster:
		met["RoleBinding of a ClusterRole"]++
	default:
		met["RoleBinding of a Role"]++
	}
	if role.Aggregate != nil {
		met["aggregation"]++
	}
	met[string(who.Kind)]++
	_, account := kuberbac.ServiceAccountOf(a.Name)
	switch {
	case who.Kind == kuberbac.User && account:
		met["service account as User"]++
	case who.Kind == kuberbac.Group && strings.HasPrefix(who.Name, kuberbac.AllServiceAccounts):
		met["service account's group"]++
	case who.Kind == kuberbac.Group && w.nested(a.id, who.Name):
		met["nested directory group"]++
	case who.Kind == kuberbac.User && !a.id.IsZero():
		met["directory user"]++
	}
}

func observeRule(q kuberbac.Attributes, rule *kuberbac.Rule, met map[string]int) {
	if slices.Contains(rule.Verbs, "*") {
		met["verb *"]++
	}
	if q.Path != "" {
		switch {
		case slices.Contains(rule.NonResourceURLs, q.Path) && strings.Contains(strings.TrimRight(q.Path, "*"), "*"):
			met["path with a star inside"]++
		case slices.Contains(rule.NonResourceURLs, q.Path):
			met["path"]++
		default:
			met["path with a trailing star"]++
		}
		return
	}
	if slices.Contains(rule.APIGroups, "*") {
		met["group *"]++
	}
	switch {
	case slices.Contains(rule.Resources, "*"):
		met["resource *"]++
	case q.Subresource != "" && slices.Contains(rule.Resources, "*/"+q.Subresource):
		met["resource */sub"]++
	case q.Subresource != "":
		met["resource/sub"]++
	case strings.Contains(q.Resource, "/"):
		met["resource with a slash"]++
	}
	if len(rule.ResourceNames) == 0 {
		met["no resource names"]++
	} else {
		met["name and "+q.Verb]++
	}
}
