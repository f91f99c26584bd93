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
	named int        // which segment behind the scope is the name; 0 when none is
	typ   string     // the words behind the last "providers", such as microsoft.keyvault/vaults
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
			named := 0
			for i, word := range seg {
				at = at.grow(word)
				if word == "*" && i >= n {
					named = i
				}
			}
			if at.kind != "" {
				panic("arm: two kinds for the path " + path)
			}
			at.kind, at.scope, at.named, at.typ = k, n, named, typeIn(seg)
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

// typeIn returns the words of a path's last provider.
func typeIn(seg []string) string {
	var words []string
	for _, word := range seg {
		switch word {
		case "providers":
			words = nil
		case "*":
		default:
			words = append(words, word)
		}
	}
	return strings.Join(words, "/")
}

// match returns the route of a path. A word is taken before a name, so that
// nothing can be called like what a path asks for.
func (t *shapeTree) match(seg []string) (route, error) {
	end := t.find(seg)
	if end == nil {
		return route{}, unknown()
	}
	r, err := routeAt(end.kind, seg[:end.scope])
	if err != nil {
		return route{}, end.misnamed(seg, err)
	}
	r.typ = end.typ
	if end.named > 0 {
		r.name = seg[end.named]
	}
	return r, nil
}

// misnamed is the error of a path that ends here and whose scope is none: if its last
// name alone is to blame, with the rule for names of that type.
func (t *shapeTree) misnamed(seg []string, err error) error {
	rule := ruleOf(t.typ)
	if last := len(seg) - 1; rule != "" && t.scope == len(seg) {
		if _, e := scope.Parse("/" + strings.Join(seg[:last], "/") + "/x"); e == nil {
			return badPath("/"+strings.Join(seg, "/"), "Its name is "+rule)
		}
	}
	return err
}

func (t *shapeTree) find(seg []string) *shapeTree {
	if len(seg) == 0 {
		if t.kind == "" {
			return nil
		}
		return t
	}
	if next, ok := t.words[lowerASCII(seg[0])]; ok {
		if end := next.find(seg[1:]); end != nil {
			return end
		}
	}
	if t.name != nil {
		return t.name.find(seg[1:])
	}
	return nil
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
		return route{}, badPath(text, anyName)
	}
	return route{kind: k, at: sc, text: text}, nil
}

// String lists the types behind the paths, for people who asked for another one.
func (t *shapeTree) String() string {
	all := make(map[string]bool)
	var walk func(*shapeTree, []string)
	walk = func(t *shapeTree, words []string) {
		if typ := strings.Join(words[slices.Index(words, "providers")+1:], "/"); t.kind != "" && typ != "" {
			all[typ] = true
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
