package estate

import (
	"hash/maphash"
	"iter"

	"github.com/benbjohnson/immutable"
)

// hasher hashes any comparable key with a seed of this process, so that
// whoever chooses ids cannot choose collisions.
type hasher[K comparable] struct{ seed maphash.Seed }

func (h hasher[K]) Hash(key K) uint32 { return uint32(maphash.Comparable(h.seed, key)) }
func (h hasher[K]) Equal(a, b K) bool { return a == b }

// A table is a persistent map: a copy costs nothing, and a change to one copy
// costs the same however many entries there are. While a snapshot is loaded it
// is filled in place.
type table[K comparable, V any] struct {
	m    *immutable.Map[K, V]
	fill *immutable.MapBuilder[K, V]
}

func newTable[K comparable, V any](bulk bool) table[K, V] {
	h := hasher[K]{maphash.MakeSeed()}
	if bulk {
		return table[K, V]{fill: immutable.NewMapBuilder[K, V](h)}
	}
	return table[K, V]{m: immutable.NewMap[K, V](h)}
}

func (t *table[K, V]) get(k K) (V, bool) {
	if t.fill != nil {
		return t.fill.Get(k)
	}
	return t.m.Get(k)
}

func (t *table[K, V]) set(k K, v V) {
	if t.fill != nil {
		t.fill.Set(k, v)
		return
	}
	t.m = t.m.Set(k, v)
}

func (t *table[K, V]) remove(k K) {
	if t.fill != nil {
		t.fill.Delete(k)
		return
	}
	t.m = t.m.Delete(k)
}

// freeze ends the filling.
func (t *table[K, V]) freeze() {
	if t.fill != nil {
		t.m, t.fill = t.fill.Map(), nil
	}
}

// same reports whether two tables are one version of one map.
func (t *table[K, V]) same(m *immutable.Map[K, V]) bool { return t.m == m }

func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for it := t.m.Iterator(); !it.Done(); {
			k, v, _ := it.Next()
			if !yield(k, v) {
				return
			}
		}
	}
}
