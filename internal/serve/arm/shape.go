package arm

import (
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A shape tree holds the paths that this door understands, a segment a level.
// Words are in lower case and match in any letter case.
type shapeTree struct {
	words map[string]*shapeTree
	name  *shapeTree // what follows a name
	kind  kind       // of a path that ends here; "" when none does
	scope int        // how many segments of it are the scope
}

// newShapes returns the tree of all tables. A table's key is a path without the
// slash at its front; a star stands for a name. What stands before the bar, or
// all of the path where there is none, is the scope that is asked about:
//
//	subscriptions/*|resourcegroups
//	subscriptions/*/resourcegroups/*
//
// Two kinds for one path are a mistake in a table, and panic at the start.
func newShapes(tables ...map[string]kind) *shapeTree {
	root := &shapeTree{}
	for _, table := range tables {
		for path, k := range table {
			before, behind, cut := strings.Cut(path, "|")
			seg := split(before)
			n := len(seg)
			if cut {
				seg = append(seg, split(behind)...)
			}
			at := root
			for _, word := range seg {
				at = at.grow(word)
			}
			if at.kind != "" {
				panic("arm: two kinds for the path " + path)
			}
			at.kind, at.scope = k, n
		}
	}
	return root
}

func split(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

func (t *shapeTree) grow(word string) *shapeTree {
	if word == "*" {
		if t.name == nil {
			t.name = &shapeTree{}
		}
		return t.name
	}
	next, ok := t.words[word]
	if !ok {
		if t.words == nil {
			t.words = make(map[string]*shapeTree)
		}
		next = &shapeTree{}
		t.words[word] = next
	}
	return next
}

// match returns the route of a path. A word is taken before a name, so that
// nothing can be called like what a path asks for.
func (t *shapeTree) match(seg []string) (route, error) {
	name := ""
	for i, s := range seg {
		next, ok := t.words[lowerASCII(s)]
		if !ok {
			if next = t.name; next == nil {
				return route{}, unknown()
			}
			name = s
		}
		if i == len(seg)-1 && next.kind != "" {
			r, err := routeAt(next.kind, seg[:next.scope])
			if next.scope < len(seg) && !ok {
				r.name = name
			}
			return r, err
		}
		t = next
	}
	return route{}, unknown()
}

// routeAt returns the route of a kind at the scope that the segments name; none
// are the root.
func routeAt(k kind, seg []string) (route, error) {
	if len(seg) == 0 {
		return route{kind: k, at: scope.Root, text: "/"}, nil
	}
	text := "/" + strings.Join(seg, "/")
	sc, err := scope.Parse(text)
	if err != nil {
		return route{}, badPath(text)
	}
	return route{kind: k, at: sc, text: text}, nil
}

// String lists the types behind the paths, for people who asked for another one.
func (t *shapeTree) String() string {
	all := make(map[string]bool)
	var walk func(*shapeTree, []string)
	walk = func(t *shapeTree, words []string) {
		if t.kind != "" {
			all[strings.Join(words[slices.Index(words, "providers")+1:], "/")] = true
		}
		for word, next := range t.words {
			walk(next, append(slices.Clip(words), word))
		}
		if t.name != nil {
			walk(t.name, words)
		}
	}
	walk(t, nil)
	return strings.Join(slices.Sorted(maps.Keys(all)), ", ")
}

// lowerASCII folds ASCII letters alone, as scopes do.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// merge joins the handlers of several files.
func merge(tables ...map[kind]map[string]handler) map[kind]map[string]handler {
	all := make(map[kind]map[string]handler)
	for _, table := range tables {
		maps.Copy(all, table)
	}
	return all
}
