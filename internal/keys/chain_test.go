package keys

import (
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/token"
)

func TestSigner(t *testing.T) {
	t.Parallel()
	born := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	key := func(kid string, signFrom, notAfter time.Duration) ringKey {
		k := ringKey{signFrom: born.Add(signFrom)}
		k.ID, k.NotAfter = kid, born.Add(notAfter)
		return k
	}
	const life = time.Hour
	lone := newChain([]ringKey{key("a", 0, 10*life)}, life)
	two := newChain([]ringKey{key("b", 5*life, 20*life), key("a", 0, 10*life)}, life)
	for _, tt := range []struct {
		law   string
		chain chain
		at    time.Duration
		want  string
	}{
		{"no key before the first", lone, -1, ""},
		{"the first from its instant on", lone, 0, "a"},
		{"a lone key until its last token would outlive it", lone, 9*life - token.Leeway - 1, "a"},
		{"no key whose tokens would outlive it", lone, 9*life - token.Leeway, ""},
		{"the older until the newer begins", two, 5*life - 1, "a"},
		{"the newer from its instant on", two, 5 * life, "b"},
		{"nobody in an empty chain", nil, 0, ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, ok := tt.chain.signer(born.Add(tt.at))
			if ok != (tt.want != "") || ok && got.ID != tt.want {
				t.Errorf("signer after %s = %q, %t, want %q", tt.at, got.ID, ok, tt.want)
			}
		})
	}
	if end := two[0].NotAfter.Sub(born); end != 6*life+token.Leeway {
		t.Errorf("the older is accepted until %s, want an hour and the leeway after the newer began", end)
	}
}
