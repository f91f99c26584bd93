package azurerbac

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// ConditionVersion is the version of the condition language that new conditions
// have. Some built-in roles say "1.0", which means the same.
const ConditionVersion = "2.0"

// Limits, in characters (names), bytes (descriptions) and entries. The last
// three are the house's own, far above what any role of Azure has.
const (
	maxRoleName         = 512
	maxDescription      = 2 << 10
	maxAssignableScopes = 2000
	maxPermissions      = 64
	maxPatterns         = 2048
	maxDenyPrincipals   = 2048
)

// Validate checks a definition by itself. A custom role names its places: not
// the root, at most one management group; and each of its operations has at
// most one wildcard. A built-in role may be assigned anywhere.
func (d Definition) Validate() error {
	if d.ID.IsZero() {
		return record.Invalid("role definition without an id")
	}
	if err := checkName("role", d.RoleName); err != nil {
		return err
	}
	if err := checkDescription(d.Description); err != nil {
		return err
	}
	if err := d.checkScopes(); err != nil {
		return err
	}
	stars := 1
	if d.BuiltIn {
		stars = -1
	}
	return checkPermissions(d.Permissions, stars, d.BuiltIn)
}

func (d Definition) checkScopes() error {
	if n := len(d.AssignableScopes); n == 0 || n > maxAssignableScopes {
		return record.Invalid("role %q: %d assignable scopes, want 1 to %d", d.RoleName, n, maxAssignableScopes)
	}
	groups := 0
	seen := make(map[scope.Scope]bool, len(d.AssignableScopes))
	for _, s := range d.AssignableScopes {
		switch {
		case s.IsZero():
			return record.Invalid("role %q: an assignable scope that is no place", d.RoleName)
		case d.BuiltIn != (s == scope.Root):
			return record.Invalid("role %q: the root is the assignable scope of built-in roles, and theirs alone", d.RoleName)
		case seen[s]:
			return record.Invalid("role %q: assignable scope %s twice", d.RoleName, s)
		case s.Type() == "microsoft.management/managementgroups":
			groups++
		}
		seen[s] = true
	}
	if groups > 1 {
		return record.Invalid("role %q: %d management groups among the assignable scopes, at most one", d.RoleName, groups)
	}
	return nil
}

// Validate checks an assignment by itself, not what it refers to.
func (a Assignment) Validate() error {
	switch {
	case a.ID.IsZero():
		return record.Invalid("role assignment without an id")
	case a.Scope.IsZero():
		return record.Invalid("role assignment %s without a scope", a.ID)
	case a.Principal.IsZero():
		return record.Invalid("role assignment %s without a principal", a.ID)
	case a.Role.IsZero():
		return record.Invalid("role assignment %s without a role", a.ID)
	}
	switch a.PrincipalType {
	case "", principal.User, principal.Group, principal.ServicePrincipal, principal.ManagedIdentity:
	default:
		return record.Invalid("role assignment %s: principal type %.40q", a.ID, a.PrincipalType)
	}
	if !a.NotBefore.IsZero() && !a.NotAfter.IsZero() && !a.NotAfter.After(a.NotBefore) {
		return record.Invalid("role assignment %s ends before it begins", a.ID)
	}
	if !a.Eligibility.IsZero() && a.NotAfter.IsZero() {
		return record.Invalid("role assignment %s is an activation without an end", a.ID)
	}
	if err := checkDescription(a.Description); err != nil {
		return err
	}
	return checkCondition(a.Condition, a.ConditionVersion, false)
}

// WithDefaults returns a with the version of its condition filled in.
func (a Assignment) WithDefaults() Assignment {
	if a.Condition != "" && a.ConditionVersion == "" {
		a.ConditionVersion = ConditionVersion
	}
	return a
}

// ActiveAt reports whether the assignment grants at an instant.
func (a Assignment) ActiveAt(now time.Time) bool {
	return !now.Before(a.NotBefore) && (a.NotAfter.IsZero() || now.Before(a.NotAfter))
}

// Validate checks a deny assignment by itself, not what it refers to.
func (d DenyAssignment) Validate() error {
	switch {
	case d.ID.IsZero():
		return record.Invalid("deny assignment without an id")
	case d.Scope.IsZero():
		return record.Invalid("deny assignment %s without a scope", d.ID)
	case !d.Everyone && len(d.Principals) == 0:
		return record.Invalid("deny assignment %s forbids nobody anything", d.ID)
	case len(d.Principals) > maxDenyPrincipals, len(d.ExcludePrincipals) > maxDenyPrincipals:
		return record.Invalid("deny assignment %s: more than %d principals", d.ID, maxDenyPrincipals)
	}
	for _, list := range [][]principal.ID{d.Principals, d.ExcludePrincipals} {
		for _, id := range list {
			if id.IsZero() {
				return record.Invalid("deny assignment %s: the nil principal; everyone is said by everyone", d.ID)
			}
		}
	}
	if err := checkName("deny assignment", d.Name); err != nil {
		return err
	}
	if err := checkDescription(d.Description); err != nil {
		return err
	}
	return checkPermissions(d.Permissions, -1, false)
}

func checkName(what, name string) error {
	switch {
	case name == "" || name != strings.TrimSpace(name):
		return record.Invalid("%s %.80q: the name is empty or has spaces around it", what, name)
	case utf8.RuneCountInString(name) > maxRoleName:
		return record.Invalid("%s %.80q…: the name has more than %d characters", what, name, maxRoleName)
	case strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name):
		return record.Invalid("%s %.80q: the name has characters that do not print", what, name)
	}
	return nil
}

func checkDescription(s string) error {
	if len(s) > maxDescription {
		return record.Invalid("a description of %d bytes, at most %d", len(s), maxDescription)
	}
	return nil
}

func checkPermissions(permissions []Permission, stars int, builtIn bool) error {
	if n := len(permissions); n == 0 || n > maxPermissions {
		return record.Invalid("%d permissions, want 1 to %d", n, maxPermissions)
	}
	for _, p := range permissions {
		for _, list := range [][]string{p.Actions, p.NotActions, p.DataActions, p.NotDataActions} {
			if _, err := parsePatterns(list, stars); err != nil {
				return err
			}
		}
		if err := checkCondition(p.Condition, p.ConditionVersion, builtIn); err != nil {
			return err
		}
	}
	return nil
}

// checkCondition takes a missing version for the current one.
func checkCondition(text, version string, builtIn bool) error {
	switch {
	case text == "" && version != "":
		return record.Invalid("condition version %.20q without a condition", version)
	case text == "":
		return nil
	case version == "", version == ConditionVersion, version == "1.0" && builtIn:
	default:
		return record.Invalid("condition version %.20q, want %s", version, ConditionVersion)
	}
	if _, err := condition.Parse(text); err != nil {
		return record.Invalid("%w", err)
	}
	return nil
}
