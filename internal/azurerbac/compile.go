package azurerbac

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A Role is a definition made ready for decisions. It does not change.
type Role struct {
	Definition
	// Permissions are the compiled permissions of the definition, in its order.
	Permissions []Compiled
}

// Compile makes a definition ready. It fails when an operation or a condition
// of it is malformed: half a role could grant what the other half forbids.
func Compile(d Definition) (*Role, error) {
	permissions, err := compileAll(d.Permissions, false)
	if err != nil {
		return nil, fmt.Errorf("role %q: %w", d.RoleName, err)
	}
	return &Role{d, permissions}, nil
}

// A Deny is a deny assignment made ready for decisions. It does not change.
type Deny struct {
	DenyAssignment
	// Permissions are the compiled permissions of the assignment, in its order.
	Permissions []Compiled
}

// CompileDeny makes a deny assignment ready; see Compile. What it takes out of its
// prohibition it takes out as it is written: there a star is always a segment, since
// reading more into it would turn a prohibition into a permission.
func CompileDeny(d DenyAssignment) (*Deny, error) {
	permissions, err := compileAll(d.Permissions, true)
	if err != nil {
		return nil, fmt.Errorf("deny assignment %q: %w", d.Name, err)
	}
	return &Deny{d, permissions}, nil
}

func compileAll(permissions []Permission, deny bool) ([]Compiled, error) {
	compiled := make([]Compiled, len(permissions))
	for i, p := range permissions {
		c, err := compile(p, deny)
		if err != nil {
			return nil, err
		}
		compiled[i] = c
	}
	return compiled, nil
}

// Compiled is a permission made ready for decisions. The zero value covers nothing.
type Compiled struct {
	// Condition limits the permission; nil means that nothing does.
	Condition *condition.Expr

	control, data plane
}

// A plane is what a permission says about control or about data.
type plane struct{ granted, excepted patternSet }

func compile(p Permission, deny bool) (c Compiled, err error) {
	for _, part := range []struct {
		list    []string
		set     *patternSet
		literal bool
	}{
		{p.Actions, &c.control.granted, false}, {p.NotActions, &c.control.excepted, deny},
		{p.DataActions, &c.data.granted, false}, {p.NotDataActions, &c.data.excepted, deny},
	} {
		patterns, err := parsePatterns(part.list, -1)
		if err != nil {
			return Compiled{}, err
		}
		*part.set = newPatternSet(patterns, part.literal)
	}
	if p.Condition != "" {
		if c.Condition, err = condition.Parse(p.Condition); err != nil {
			return Compiled{}, fmt.Errorf("%w: %w", record.ErrInvalid, err)
		}
	}
	return c, nil
}

// Covers reports whether the permission grants (or, in a deny assignment,
// forbids) an operation, its condition aside. The action is in lower case; one
// that is not is not covered. A data action is covered by data actions alone.
func (p *Compiled) Covers(action []byte, data bool) bool {
	on := &p.control
	if data {
		on = &p.data
	}
	return on.granted.match(action) && !on.excepted.match(action)
}

// A patternSet answers whether one of many patterns matches. Nearly all
// patterns are plain operations or end in their only star, behind a slash, and
// nearly all of a role start alike: their common start is compared once, and
// the rest looked up by the segments of the action.
type patternSet struct {
	every    bool                // one of them is "*"
	common   string              // what all in exact and subtrees start with
	exact    map[string]struct{} // without the common start
	subtrees map[string]struct{} // up to and with the slash before the star, likewise
	depths   uint64              // bit n: a key of subtrees has n slashes
	others   []wildcard
}

// maxDepth is the number of slashes that depths can tell.
const maxDepth = 63

// newPatternSet makes patterns ready. With literal set, a star that is a whole segment
// stands for one or more of them, and not for none.
func newPatternSet(patterns []Pattern, literal bool) patternSet {
	var s patternSet
	var exact, subtrees, starts []string
	for _, p := range patterns {
		tree, ends := strings.CutSuffix(p.text, "/*")
		switch {
		case p.text == "*":
			s.every = true
		case !strings.Contains(p.text, "*"):
			exact = append(exact, p.text)
			starts = append(starts, p.text)
		case ends && !strings.Contains(tree, "*") && strings.Count(tree, "/") < maxDepth:
			subtrees = append(subtrees, tree+"/")
			starts = append(starts, tree+"/")
		default:
			w := newWildcard(p.text)
			w.literal = literal
			s.others = append(s.others, w)
		}
	}
	s.common = commonStart(starts)
	s.exact = make(map[string]struct{}, len(exact))
	for _, text := range exact {
		s.exact[text[len(s.common):]] = struct{}{}
	}
	s.subtrees = make(map[string]struct{}, len(subtrees))
	for _, text := range subtrees {
		key := text[len(s.common):]
		s.subtrees[key] = struct{}{}
		s.depths |= 1 << strings.Count(key, "/")
	}
	return s
}

func commonStart(all []string) string {
	if len(all) == 0 {
		return ""
	}
	start := all[0]
	for _, s := range all[1:] {
		n := 0
		for n < len(start) && n < len(s) && start[n] == s[n] {
			n++
		}
		start = start[:n]
	}
	return start
}

// match allocates nothing: the conversions below are comparisons and look-ups.
func (s *patternSet) match(action []byte) bool {
	if s.every {
		return len(action) > 0
	}
	if n := len(s.common); len(action) >= n && string(action[:n]) == s.common {
		rest := action[n:]
		if len(s.exact) > 0 {
			if _, ok := s.exact[string(rest)]; ok {
				return true
			}
		}
		at := 0
		for depths := s.depths; depths != 0; depths >>= 1 {
			if depths&1 != 0 {
				if _, ok := s.subtrees[string(rest[:at])]; ok {
					return true
				}
			}
			i := bytes.IndexByte(rest[at:], '/')
			if i < 0 {
				break
			}
			at += i + 1
		}
	}
	for i := range s.others {
		if s.others[i].match(action) {
			return true
		}
	}
	return false
}
