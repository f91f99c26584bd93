package issue

import (
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/guid"
)

// Limits of a scope parameter (OA-45).
const (
	maxScopeText = 4 << 10
	maxScopes    = 64
)

// Default is the permission that stands for all that a client may have.
const defaultScope = ".default"

// Scopes is what a client asks for: permissions of one resource, and the scopes
// of OpenID Connect. The zero Scopes asks for nothing.
type Scopes struct {
	// Resource is the resource as it was written; empty means Microsoft Graph.
	Resource string `json:"resource,omitzero"`
	// Names are the permissions of the resource, in the order asked for.
	Names []string `json:"names,omitzero"`
	// Verbatim are the same with their resource, as they were written. Clients
	// find their cached tokens by these texts.
	Verbatim []string `json:"verbatim,omitzero"`

	OpenID  bool `json:"openid,omitzero"`
	Profile bool `json:"profile,omitzero"`
	Email   bool `json:"email,omitzero"`
	Offline bool `json:"offline,omitzero"`
}

// ParseScopes reads a scope parameter. A scope's resource is everything before
// its last slash; all must name one resource, and .default stands alone.
func ParseScopes(text string) (Scopes, error) {
	if len(text) > maxScopeText {
		return Scopes{}, refuse(invalidScope, 70011, "The provided value for the input parameter 'scope' is too long.")
	}
	var s Scopes
	count := 0
	for item := range strings.SplitSeq(text, " ") {
		if item == "" {
			continue
		}
		if count++; count > maxScopes || !scopeToken(item) {
			return Scopes{}, refuse(invalidScope, 70011, "The provided value for the input parameter 'scope' is not valid.")
		}
		switch item {
		case "openid":
			s.OpenID = true
			continue
		case "profile":
			s.Profile = true
			continue
		case "email":
			s.Email = true
			continue
		case "offline_access":
			s.Offline = true
			continue
		}
		resource, name := "", item
		if i := strings.LastIndexByte(item, '/'); i >= 0 {
			resource, name = item[:i], item[i+1:]
			if resource == "" || name == "" {
				return Scopes{}, refuse(invalidScope, 70011, "The scope '%.200s' is not valid.", item)
			}
		} else if _, err := guid.Parse[struct{}](item); err == nil {
			// A resource without a permission is a common slip; it would otherwise
			// become a permission of Graph and be refused with a riddle.
			return Scopes{}, refuse(invalidScope, 70011, "The scope '%.200s' is not valid. Append '/.default' to ask for a resource.", item)
		}
		if len(s.Names) > 0 && resource != s.Resource {
			return Scopes{}, refuse(invalidScope, 28000, "Provided value for the input parameter scope is not valid because it contains more than one resource.")
		}
		s.Resource = resource
		if !slices.Contains(s.Names, name) {
			s.Names = append(s.Names, name)
			s.Verbatim = append(s.Verbatim, item)
		}
	}
	if slices.Contains(s.Names, defaultScope) && len(s.Names) > 1 {
		return Scopes{}, refuse(invalidScope, 70011, "The scope '.default' can't be combined with resource-specific scopes.")
	}
	return s, nil
}

// scopesOf is what the version 1.0 endpoints ask for by naming a resource:
// everything, with an id token and a refresh token.
func scopesOf(resource string) (Scopes, error) {
	if !scopeToken(resource) || len(resource) > maxScopeText {
		return Scopes{}, errResource(resource, Realm{})
	}
	return Scopes{
		Resource: resource, Names: []string{defaultScope}, Verbatim: []string{resource + "/" + defaultScope},
		OpenID: true, Profile: true, Offline: true,
	}, nil
}

// String writes the scopes so that ParseScopes reads them again.
func (s Scopes) String() string {
	items := slices.Clone(s.Verbatim)
	for _, o := range []struct {
		on   bool
		name string
	}{{s.OpenID, "openid"}, {s.Profile, "profile"}, {s.Email, "email"}, {s.Offline, "offline_access"}} {
		if o.on {
			items = append(items, o.name)
		}
	}
	return strings.Join(items, " ")
}

// within reports whether s asks for nothing that was not in granted.
func (s Scopes) within(granted Scopes) bool {
	if s.Offline && !granted.Offline || s.Email && !granted.Email {
		return false
	}
	if len(s.Names) == 0 {
		return true
	}
	if s.Resource != granted.Resource {
		return false
	}
	if slices.Contains(granted.Names, defaultScope) {
		return true
	}
	return !slices.ContainsFunc(s.Names, func(n string) bool { return !slices.Contains(granted.Names, n) })
}

// scopeToken is RFC 6749 section 3.3: visible ASCII without quote and backslash.
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}
