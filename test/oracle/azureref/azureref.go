// Package azureref answers Azure RBAC questions the slow and obvious way. It
// shares no code and no idea with the engine that it checks: scopes are lists
// of words, groups are a fixed point, wildcards are a recursion, and nothing is
// indexed. It knows no conditions; those have a table of their own.
package azureref

import (
	"strings"
	"time"
)

// A World is everything an answer depends on. Ids and scopes are plain text.
type World struct {
	// Groups lists the direct members of each group, which may be groups.
	Groups map[string][]string
	// Parents gives the scope above a subscription or management group; one
	// that is not listed is directly below the root.
	Parents     map[string]string
	Roles       map[string]Role
	Assignments []Assignment
	Denies      []Deny
}

// A Role is a list of permissions by some id.
type Role struct{ Permissions []Permission }

// A Permission is what it grants without what it excepts, for each plane.
type Permission struct{ Actions, NotActions, DataActions, NotDataActions []string }

// An Assignment gives a principal a role at a scope and below, from NotBefore
// until before NotAfter; zero times are no bounds.
type Assignment struct {
	Principal, Role, Scope string
	NotBefore, NotAfter    time.Time
}

// A Deny forbids permissions to principals, or to everyone, but not to those it
// excludes; to the scope alone when it does not apply to children.
type Deny struct {
	Scope                string
	Everyone             bool
	Principals           []string
	ExcludePrincipals    []string
	DoNotApplyToChildren bool
	Permissions          []Permission
}

// An Ask is one question.
type Ask struct {
	Principal, Scope, Action string
	Data                     bool
	Now                      time.Time
}

// Answers.
const (
	Allow  = "allow"
	Denied = "deny"
	None   = "none"
)

// Answer returns Denied when a deny assignment forbids it, else Allow when an
// assignment grants it, else None.
func Answer(w World, ask Ask) string {
	who := identities(w, ask.Principal)
	for _, d := range w.Denies {
		if denies(w, d, who, ask) {
			return Denied
		}
	}
	for _, a := range w.Assignments {
		if grants(w, a, who, ask) {
			return Allow
		}
	}
	return None
}

func denies(w World, d Deny, who map[string]bool, ask Ask) bool {
	if d.DoNotApplyToChildren {
		if fold(d.Scope) != fold(ask.Scope) {
			return false
		}
	} else if !reaches(w, d.Scope, ask.Scope) {
		return false
	}
	if !d.Everyone && !anyOf(who, d.Principals) {
		return false
	}
	if anyOf(who, d.ExcludePrincipals) {
		return false
	}
	return covers(d.Permissions, ask, matchLiterally)
}

func grants(w World, a Assignment, who map[string]bool, ask Ask) bool {
	if !who[fold(a.Principal)] {
		return false
	}
	if !a.NotBefore.IsZero() && ask.Now.Before(a.NotBefore) {
		return false
	}
	if !a.NotAfter.IsZero() && !ask.Now.Before(a.NotAfter) {
		return false
	}
	return reaches(w, a.Scope, ask.Scope) && covers(w.Roles[a.Role].Permissions, ask, match)
}

// covers holds what is taken out against excepts, which reads a star in a way of its
// own where more would be allowed by reading more into it.
func covers(permissions []Permission, ask Ask, excepts func(pattern, s string) bool) bool {
	for _, p := range permissions {
		granted, excepted := p.Actions, p.NotActions
		if ask.Data {
			granted, excepted = p.DataActions, p.NotDataActions
		}
		if matchAny(granted, ask.Action, match) && !matchAny(excepted, ask.Action, excepts) {
			return true
		}
	}
	return false
}

func matchAny(patterns []string, action string, match func(pattern, s string) bool) bool {
	if action == "" {
		return false
	}
	for _, p := range patterns {
		if match(fold(p), fold(action)) {
			return true
		}
	}
	return false
}

// match lets a star eat one character after the other.
func match(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case strings.HasPrefix(pattern, "/*/") && match(pattern[2:], s): // a star that is no segment
		return true
	case pattern[0] == '*':
		return match(pattern[1:], s) || s != "" && match(pattern, s[1:])
	default:
		return s != "" && pattern[0] == s[0] && match(pattern[1:], s[1:])
	}
}

// matchLiterally is match for a star that is at least a segment where it is all of one.
func matchLiterally(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return matchLiterally(pattern[1:], s) || s != "" && matchLiterally(pattern, s[1:])
	default:
		return s != "" && pattern[0] == s[0] && matchLiterally(pattern[1:], s[1:])
	}
}

// identities is the principal and every group it is in, however deep: groups
// are added until nothing changes.
func identities(w World, principal string) map[string]bool {
	who := map[string]bool{fold(principal): true}
	for grown := true; grown; {
		grown = false
		for group, members := range w.Groups {
			if !who[fold(group)] && anyOf(who, members) {
				who[fold(group)] = true
				grown = true
			}
		}
	}
	return who
}

func anyOf(who map[string]bool, list []string) bool {
	for _, id := range list {
		if who[fold(id)] {
			return true
		}
	}
	return false
}

// reaches reports whether what holds at a scope holds at a target: it is the
// target, or the target's words begin with its words, or it reaches the parent
// of something that the target's words begin with.
func reaches(w World, at, target string) bool {
	return climb(w, cut(at), cut(target), map[string]bool{})
}

func climb(w World, at, target []string, seen map[string]bool) bool {
	if begins(target, at) {
		return true
	}
	for child, parent := range w.Parents {
		if seen[child] || !begins(target, cut(child)) {
			continue
		}
		seen[child] = true
		if climb(w, at, cut(parent), seen) {
			return true
		}
	}
	return false
}

func begins(words, start []string) bool {
	if len(start) > len(words) {
		return false
	}
	for i := range start {
		if words[i] != start[i] {
			return false
		}
	}
	return true
}

// cut returns the words between the slashes of a scope, none for the root.
func cut(scope string) []string {
	var words []string
	word := ""
	for _, c := range fold(scope) + "/" {
		if c != '/' {
			word += string(c)
		} else if word != "" {
			words, word = append(words, word), ""
		}
	}
	return words
}

// fold lowers ASCII letters.
func fold(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] >= 'A' && b[i] <= 'Z' {
			b[i] |= 0x20
		}
	}
	return string(b)
}
