package kuberbac

import "strings"

// all stands for every verb, group, resource or path in a rule, where it is the
// whole text; "pods/*" is a literal that names nothing.
const all = "*"

// Allows reports whether the rule alone allows the request, as the API server's
// RBAC authorizer would (RuleAllows). It does not look at the namespace: a
// binding says where its rules hold. It does not allocate.
//
// One thing differs from upstream: zero Attributes ask nothing and are refused,
// even by a rule for everything.
func (r Rule) Allows(a *Attributes) bool {
	if a.Path != "" {
		return has(r.Verbs, a.Verb) && r.matchesPath(a.Path)
	}
	return has(r.Verbs, a.Verb) && has(r.APIGroups, a.APIGroup) && r.matchesResource(a) && r.matchesName(a.Name) &&
		*a != Attributes{}
}

// has reports whether the set names want, literally or with a star.
func has(set []string, want string) bool {
	for _, s := range set {
		if s == all || s == want {
			return true
		}
	}
	return false
}

func (r Rule) matchesResource(a *Attributes) bool {
	for _, s := range r.Resources {
		if s == all || isResource(s, a.Resource, a.Subresource) {
			return true
		}
		if sub, ok := strings.CutPrefix(s, "*/"); ok && a.Subresource != "" && sub == a.Subresource {
			return true
		}
	}
	return false
}

// isResource reports whether s is "resource" or "resource/sub", without
// building the latter: this runs for every rule of every request.
func isResource(s, resource, sub string) bool {
	if sub == "" {
		return s == resource
	}
	n := len(resource)
	return len(s) == n+1+len(sub) && s[n] == '/' && s[:n] == resource && s[n+1:] == sub
}

// matchesName reports whether the rule speaks of the named object. A rule
// without names speaks of all; a request without a name, such as create or a
// plain list, is then the only thing that a rule with names never allows.
func (r Rule) matchesName(name string) bool {
	if len(r.ResourceNames) == 0 {
		return true
	}
	for _, s := range r.ResourceNames {
		if s == name {
			return true
		}
	}
	return false
}

// matchesPath compares paths as they were asked, byte for byte: nothing is
// unescaped, and dot segments are not resolved.
func (r Rule) matchesPath(path string) bool {
	for _, s := range r.NonResourceURLs {
		if coversPath(s, path) {
			return true
		}
	}
	return false
}

// coversPath reports whether a path of a rule covers another one, which may end
// in stars itself. Stars are wild at the end alone; "/healthz/*" leaves
// "/healthz" out.
func coversPath(owner, path string) bool {
	if owner == path {
		return true
	}
	return strings.HasSuffix(owner, all) && strings.HasPrefix(path, strings.TrimRight(owner, all))
}
