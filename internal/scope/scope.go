// Package scope names places where access can be granted: the root, management
// groups, subscriptions, resource groups, resources, and namespaces of a cluster.
//
// A Scope has one canonical form, made by Parse and by nothing else. Comparison
// is by whole segments: a grant on .../clusters/c1 says nothing about c10.
package scope

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"
)

// ErrInvalid is wrapped by every error of Parse.
var ErrInvalid = errors.New("not a scope")

// maxLen bounds a resource id; Azure's own ids stay far below it.
const maxLen = 2048

// Signs are what names have besides ASCII letters and digits.
const Signs = "-_.()~@$!+=,:"

// A Scope is a place where access can be granted. Scopes are comparable and can
// be map keys. The zero Scope is no place: it contains nothing.
type Scope struct{ path string } // lower case, leading slash, no trailing slash; "/" is the root

// Root contains every scope.
var Root = Scope{"/"}

// Parse returns the scope written as s, in any letter case; one trailing slash
// is accepted. Everything that two readers could take for two things is
// refused: empty, "." and ".." segments, escapes, control and non-ASCII
// characters (see docs/divergences.md).
func Parse(s string) (Scope, error) {
	if s == "/" {
		return Root, nil
	}
	text := strings.TrimSuffix(s, "/")
	if text == "" || text[0] != '/' || len(text) > maxLen {
		return Scope{}, fmt.Errorf("%.200q: %w", s, ErrInvalid)
	}
	if err := check(strings.Split(text[1:], "/")); err != nil {
		return Scope{}, fmt.Errorf("%.200q: %w: %w", s, ErrInvalid, err)
	}
	return Scope{lower(text)}, nil
}

// MustParse is Parse for constants; it panics on a bad one.
func MustParse(s string) Scope {
	sc, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return sc
}

// check reports whether the segments have the shape of a scope:
//
//	[subscriptions/{guid}[/resourceGroups/{name}]] { /providers/{namespace} /{type}/{name} {/{type}/{name}} }
func check(seg []string) error {
	for _, s := range seg {
		if err := checkSegment(s); err != nil {
			return err
		}
	}
	if fold(seg[0], "subscriptions") {
		if len(seg) < 2 || !isGUID(seg[1]) {
			return errors.New("a subscription id is a GUID")
		}
		seg = seg[2:]
		if len(seg) > 0 && fold(seg[0], "resourcegroups") {
			if len(seg) < 2 {
				return errors.New("a resource group has a name")
			}
			if len(seg[1]) > 90 || strings.HasSuffix(seg[1], ".") {
				return fmt.Errorf("%q is not the name of a resource group", seg[1])
			}
			seg = seg[2:]
		}
	}
	for len(seg) > 0 {
		if !fold(seg[0], "providers") || len(seg) < 4 {
			return errors.New("want /providers/{namespace}/{type}/{name}")
		}
		if fold(seg[2], "providers") {
			return fmt.Errorf("namespace %q has no type behind it", seg[1])
		}
		seg = seg[2:]
		for len(seg) > 0 && !fold(seg[0], "providers") {
			if len(seg) < 2 {
				return fmt.Errorf("%q has no name behind it", seg[0])
			}
			seg = seg[2:]
		}
	}
	return nil
}

func checkSegment(s string) error {
	if s == "" {
		return errors.New("empty segment")
	}
	if strings.Trim(s, ".") == "" {
		return errors.New("dot segment")
	}
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c < utf8.RuneSelf && strings.IndexByte(Signs, byte(c)) >= 0:
		default:
			return fmt.Errorf("%.80q has the character %q: names have letters from A to Z, digits and %s alone", s, c, Signs)
		}
	}
	return nil
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// lower folds ASCII letters only. strings.ToLower would also turn the Kelvin
// sign into "k", and a grant on one resource group would then reach another.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// fold reports whether s is want (lower case ASCII) in any letter case.
func fold(s, want string) bool { return len(s) == len(want) && lower(s) == want }

// IsZero reports whether s is no place.
func (s Scope) IsZero() bool { return s.path == "" }

// String returns the canonical form, in lower case, or "" for no place.
func (s Scope) String() string { return s.path }

// Contains reports whether a grant at s reaches t, as far as their names tell.
// That a management group contains a subscription is known to the estate alone.
func (s Scope) Contains(t Scope) bool {
	if s.path == "" || t.path == "" {
		return false
	}
	if s.path == "/" || s.path == t.path {
		return true
	}
	return len(t.path) > len(s.path) && t.path[len(s.path)] == '/' && t.path[:len(s.path)] == s.path
}

// Parent returns the scope just above s by its name, and false above the root.
// It shares the text of s and does not allocate.
func (s Scope) Parent() (Scope, bool) {
	if s.path == "" || s.path == "/" {
		return Scope{}, false
	}
	up := cutSegments(s.path, 2)
	// A name that ends in /providers/{namespace} is not a place of its own.
	if i := strings.LastIndexByte(up, '/'); i >= 0 && strings.HasSuffix(up[:i], "/providers") {
		up = cutSegments(up, 2)
	}
	if up == "" {
		return Root, true
	}
	return Scope{up}, true
}

func cutSegments(path string, n int) string {
	for range n {
		path = path[:strings.LastIndexByte(path, '/')]
	}
	return path
}

// Ancestors yields s and every scope above it by name, ending with the root.
func (s Scope) Ancestors() iter.Seq[Scope] {
	return func(yield func(Scope) bool) {
		for at, ok := s, !s.IsZero(); ok; at, ok = at.Parent() {
			if !yield(at) {
				return
			}
		}
	}
}

// Type returns the resource type in lower case, such as
// "microsoft.containerservice/managedclusters/namespaces"; "" for the root,
// "subscriptions" and "resourcegroups" for those.
func (s Scope) Type() string {
	seg := strings.Split(strings.TrimPrefix(s.path, "/"), "/")
	kind, within := "", false
	// By pairs, since a resource may be called providers.
	for i := 0; i+1 < len(seg); i += 2 {
		switch {
		case seg[i] == "providers":
			kind, within = seg[i+1], true
		case within:
			kind += "/" + seg[i]
		default:
			kind = seg[i]
		}
	}
	return kind
}

// Name returns the last segment, in lower case.
func (s Scope) Name() string { return s.path[strings.LastIndexByte(s.path, '/')+1:] }

// Subscription returns the subscription that s is in or is, and false elsewhere.
func (s Scope) Subscription() (Scope, bool) {
	const prefix = "/subscriptions/"
	if !strings.HasPrefix(s.path, prefix) {
		return Scope{}, false
	}
	return Scope{s.path[:len(prefix)+36]}, true
}

// ResourceGroup returns the resource group that s is in or is, and false elsewhere.
func (s Scope) ResourceGroup() (Scope, bool) {
	sub, ok := s.Subscription()
	if !ok {
		return Scope{}, false
	}
	rest, ok := strings.CutPrefix(s.path[len(sub.path):], "/resourcegroups/")
	if !ok {
		return Scope{}, false
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		rest = rest[:i]
	}
	return Scope{s.path[:len(sub.path)+len("/resourcegroups/")+len(rest)]}, true
}

// Namespace returns the scope of a namespace of the cluster s.
func (s Scope) Namespace(name string) (Scope, error) {
	if s.Type() != "microsoft.containerservice/managedclusters" {
		return Scope{}, fmt.Errorf("%q is not a cluster: %w", s.path, ErrInvalid)
	}
	if err := checkSegment(name); err != nil {
		return Scope{}, fmt.Errorf("namespace %.64q: %w: %w", name, ErrInvalid, err)
	}
	return Scope{s.path + "/namespaces/" + lower(name)}, nil
}

// CutNamespace splits the scope of a namespace into its cluster and its name.
func (s Scope) CutNamespace() (cluster Scope, namespace string, ok bool) {
	i := strings.LastIndex(s.path, "/namespaces/")
	if i < 0 || s.Type() != "microsoft.containerservice/managedclusters/namespaces" {
		return Scope{}, "", false
	}
	return Scope{s.path[:i]}, s.path[i+len("/namespaces/"):], true
}

// ManagementGroup returns the scope of a management group.
func ManagementGroup(name string) (Scope, error) {
	return Parse("/providers/Microsoft.Management/managementGroups/" + name)
}

// MarshalText implements encoding.TextMarshaler.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.path), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Scope) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = Scope{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
