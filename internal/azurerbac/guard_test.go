package azurerbac_test

import (
	"math/rand/v2"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
)

// AZ-05: a condition guards by a pattern exactly what a role gives by it. One that
// matched less would leave the rest unguarded.
func TestAConditionMatchesTheActionsThatARoleDoes(t *testing.T) {
	t.Parallel()
	check := func(pattern, action string) bool {
		t.Helper()
		role, err := azurerbac.ParsePattern(pattern)
		if err != nil {
			return false // no role has it
		}
		guard, err := condition.Parse("ActionMatches{'" + pattern + "'}")
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		got, err := guard.Eval(condition.Input{Action: action})
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		if want := role.Match(action); got != want {
			t.Errorf("%s on %s: the condition says %t, the role %t", pattern, action, got, want)
		}
		return got
	}
	for _, pattern := range []string{"a/*/b", "a/*/*/b", "a/**/b", "*/a/*/b", "a/*"} {
		if !check(pattern, "a/b") && pattern != "*/a/*/b" {
			t.Errorf("%s does not match a/b", pattern)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func(letters string, most int) string {
		b := make([]byte, 1+rnd.IntN(most))
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		return string(b)
	}
	matched := 0
	for range 200_000 {
		if check(text("ab/**", 9), text("ab/", 9)) {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d of the patterns matched", matched)
	}
}
