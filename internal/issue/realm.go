package issue

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
)

// A Realm is the first segment of an issuer's path: one tenant, or an alias that
// leaves the tenant open until somebody signs in. The zero Realm is no tenant.
type Realm struct {
	ID    directory.TenantID
	alias string
}

// ResolveRealm returns the realm written as a path segment: a tenant's GUID, one
// of its domains, "common" or "organizations".
func ResolveRealm(est *estate.Snapshot, segment string) (Realm, error) {
	if segment == "common" || segment == "organizations" {
		return Realm{alias: segment}, nil
	}
	var id directory.TenantID
	if id.UnmarshalText([]byte(segment)) == nil && !id.IsZero() {
		if _, ok := est.Tenant(id); ok {
			return Realm{ID: id}, nil
		}
		return Realm{}, errTenant(segment)
	}
	if t, ok := DomainTenant(est, segment); ok {
		return Realm{ID: t.ID}, nil
	}
	return Realm{}, errTenant(segment)
}

// DomainTenant returns the tenant that has a domain, in either case of ASCII
// letters. Other letters are in no domain, whatever they fold to.
func DomainTenant(est *estate.Snapshot, domain string) (directory.Tenant, bool) {
	if strings.ContainsFunc(domain, func(r rune) bool { return r >= 0x80 }) {
		return directory.Tenant{}, false
	}
	return est.TenantByDomain(domain)
}

// IsAlias reports whether the tenant is still open.
func (r Realm) IsAlias() bool { return r.alias != "" }

// String is how the realm is written in URLs.
func (r Realm) String() string {
	if r.alias != "" {
		return r.alias
	}
	return r.ID.String()
}

// Admits reports whether a principal of a tenant may come in through the realm.
func (r Realm) Admits(tenant directory.TenantID) bool {
	return !tenant.IsZero() && (r.IsAlias() || r.ID == tenant)
}

// lowerASCII folds ASCII letters only: strings.ToLower would also turn the Kelvin
// sign into "k", and two names would then be one.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
