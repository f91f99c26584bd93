package oracle_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
)

// Covers decides, as the API server does, whether a writer holds all that a
// role grants, and names the same rights as missing.
func TestCovers(t *testing.T) {
	t.Parallel()
	s := chosenSeed()
	w := &world{rng: rand.New(rand.NewPCG(s, 1<<32))}
	covered := 0
	const n = 100_000
	for range n {
		var owner, wanted []rbacv1.PolicyRule
		for range w.rng.IntN(5) {
			r := w.rule(true)
			if chance(w.rng, 10) { // no role may have such a rule, but the answer is defined
				r.NonResourceURLs, r.ResourceNames = some(w.rng, 2, paths), some(w.rng, 2, names)
			}
			owner = append(owner, r)
		}
		for range w.rng.IntN(2) {
			wanted = append(wanted, w.rule(true))
		}
		// Most of what one wants is a part of what he has.
		if len(owner) > 0 {
			r := pick(w.rng, owner)
			r.Verbs = some(w.rng, 2, r.Verbs)
			if len(r.Resources) > 0 {
				r.Resources = some(w.rng, 2, r.Resources)
			}
			if len(r.ResourceNames) == 0 && len(r.Resources) > 0 && chance(w.rng, 30) {
				r.ResourceNames = some(w.rng, 2, names)
			}
			wanted = append(wanted, r)
		}
		wantOK, wantMissing := validation.Covers(owner, wanted)
		ok, missing := kuberbac.Covers(fromUpstream(owner), fromUpstream(wanted))
		if ok != wantOK {
			t.Fatalf("seed %d: %+v covers %+v = %t, upstream says %t", s, owner, wanted, ok, wantOK)
		}
		if len(wantMissing) == 0 {
			wantMissing = nil
		}
		if diff := cmp.Diff(wantMissing, toUpstream(missing)); diff != "" {
			t.Fatalf("seed %d: %+v lacks of %+v (-upstream +got):\n%s", s, owner, wanted, diff)
		}
		if ok {
			covered++
		}
	}
	if covered < n/10 || covered > n*9/10 {
		t.Errorf("seed %d: %d of %d are covered; the sample says little", s, covered, n)
	}
}
