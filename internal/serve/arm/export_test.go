package arm

import (
	"cmp"
	"slices"
)

// ParseRoute lets tests see what a path is taken for: its kind, place and name.
func ParseRoute(path string) (kind, at, name string, err error) {
	r, err := parseRoute(path)
	return string(r.kind), r.at.String(), r.name, err
}

// ParseFilter reads a filter of three shapes and writes it again.
func ParseFilter(text string) (string, error) {
	f, err := parseFilter(text, term{name: "atScope", bare: true}, term{name: "principalId", eq: true}, term{name: "assignedTo"})
	return f.String(), err
}

// A Route is a path that the door understands, with stars for names, and one of its
// methods.
type Route struct {
	Kind, Method, Path string
	// Anywhere is set for a path that may follow any scope.
	Anywhere bool
}

// Routes lists every path and method that there is, from the tables themselves.
func Routes() []Route {
	var all []Route
	var walk func(*shapeTree, string, bool)
	walk = func(t *shapeTree, path string, anywhere bool) {
		for _, m := range methodsOf(t.kind) {
			all = append(all, Route{string(t.kind), m, path, anywhere})
		}
		for word, next := range t.words {
			walk(next, path+"/"+word, anywhere)
		}
		if t.name != nil {
			walk(t.name, path+"/*", anywhere)
		}
	}
	walk(shapes, "", false)
	walk(extensions, "/providers", true)
	slices.SortFunc(all, func(a, b Route) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
	return all
}

// TypeName is how a type of resource is written.
func TypeName(lower string) string { return otherTypes[lower].name }
