// Package nearest answers a mistyped name with the names that may have been
// meant. It is for messages only: nothing is ever decided by likeness.
package nearest

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// maxLen bounds the names that are compared; the cost of one comparison grows
// with the product of the lengths.
const maxLen = 128

// Names returns up to limit of the names in have that are most like want, the
// nearest first; names that have little in common with it are left out.
func Names(want string, have iter.Seq[string], limit int) []string {
	type scored struct {
		name  string
		score int
	}
	var found []scored
	w := strings.ToLower(want)
	for name := range have {
		if score, ok := likeness(w, strings.ToLower(name)); ok {
			found = append(found, scored{name, score})
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.score, b.score), strings.Compare(a.name, b.name))
	})
	var names []string
	for _, f := range slices.CompactFunc(found, func(a, b scored) bool { return a.name == b.name }) {
		if len(names) == limit {
			break
		}
		names = append(names, f.name)
	}
	return names
}

// likeness returns how far apart two lower-case names are, and whether they are
// near enough to mention. A name that only lacks an end or a beginning is
// nearer than one with many changed letters.
func likeness(want, name string) (int, bool) {
	if want == "" || len(want) > maxLen || len(name) > maxLen {
		return 0, false
	}
	// Of two people of one domain only the rest is compared: the domain would make
	// everybody in it look alike.
	if i := strings.LastIndexByte(want, '@'); i > 0 {
		if rest, same := strings.CutSuffix(name, want[i:]); same && rest != "" {
			want, name = want[:i], rest
		}
	}
	if len(want) >= 3 && (strings.HasPrefix(name, want) || strings.HasPrefix(want, name) && len(name) >= 3) {
		return 1, true
	}
	if len(want) >= 4 && strings.Contains(name, want) {
		return 2, true
	}
	d := distance(want, name)
	return d, d <= max(1, min(len(want), len(name))/3)
}

// distance counts the letters to insert, delete, change or swap with their
// neighbour to make a into b (optimal string alignment).
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			change := prev[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			cur[j] = min(change, prev[j]+1, cur[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
