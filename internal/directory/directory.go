// Package directory models one tenant's people and programs: users, nested
// groups, applications, service principals, managed identities and the
// credentials that other issuers may speak for. It holds no secret: password
// hashes and client secrets live in the store alone.
package directory

import (
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

type (
	tenant struct{}
	app    struct{}
)

// TenantID names a tenant.
type TenantID = guid.Of[tenant]

// AppID is the client id of an application; its service principals in every
// tenant share it.
type AppID = guid.Of[app]

// NewTenantID returns a fresh random tenant id.
func NewTenantID() TenantID { return guid.New[tenant]() }

// NewAppID returns a fresh random client id.
func NewAppID() AppID { return guid.New[app]() }

// A Tenant is one directory: the security boundary of users, groups and tokens.
type Tenant struct {
	ID          TenantID `json:"id"`
	DisplayName string   `json:"displayName,omitzero"`
	// Domains are the verified domain names; the first is the initial one.
	Domains []string `json:"domains"`
	// AllowPasswordGrant lets clients exchange a user's password for tokens
	// (RFC 6749, section 4.3). RFC 9700 says it must not be used; off by default.
	AllowPasswordGrant bool `json:"allowPasswordGrant,omitzero"`
	// AllowSubjectPatterns makes federated credentials count that name many subjects
	// by a pattern.
	AllowSubjectPatterns bool `json:"allowSubjectPatterns,omitzero"`
	// AssertionsOnce makes a token of another issuer good for one exchange. Workloads
	// send theirs again for each resource, so they must get a new one each time.
	AssertionsOnce bool `json:"assertionsOnce,omitzero"`
	// AskClusters makes a token of a service account good only while the cluster of the
	// house that made it says that the account, and the pod it is bound to, are there.
	AskClusters bool `json:"askClusters,omitzero"`
}

// A User is a person who signs in.
type User struct {
	ID                principal.ID `json:"id"`
	Tenant            TenantID     `json:"tenant"`
	UserPrincipalName string       `json:"userPrincipalName"`
	DisplayName       string       `json:"displayName,omitzero"`
	Mail              string       `json:"mail,omitzero"`
	// MailNickname is a second short name, which nothing in this house is decided by.
	MailNickname string `json:"mailNickname,omitzero"`
	// Guest is set for people of another organisation.
	Guest    bool `json:"guest,omitzero"`
	Disabled bool `json:"disabled,omitzero"`
	// TokensValidFrom ends every session and refresh token issued before it.
	TokensValidFrom time.Time `json:"tokensValidFrom,omitzero"`
	// Attributes are custom security attributes, "{set}_{name}" to values, which
	// conditions read as @Principal.
	Attributes map[string][]string `json:"attributes,omitzero"`
}

// A Group collects principals; groups may contain groups.
type Group struct {
	ID          principal.ID `json:"id"`
	Tenant      TenantID     `json:"tenant"`
	DisplayName string       `json:"displayName"`
	Description string       `json:"description,omitzero"`
	// MailNickname is a second short name, which nothing in this house is decided by.
	MailNickname string `json:"mailNickname,omitzero"`
	// RoleAssignable is set for a group that may have roles of the directory. Who
	// is in it is decided by those who give out such roles, from its first day on;
	// so it cannot be set later, and no group can be in it.
	RoleAssignable bool `json:"roleAssignable,omitzero"`
}

// A Membership says that Member is directly in Group.
type Membership struct {
	Group  principal.ID `json:"group"`
	Member principal.ID `json:"member"`
}

// An Application describes a program once for all tenants.
type Application struct {
	ID          principal.ID `json:"id"`
	AppID       AppID        `json:"appId"`
	Tenant      TenantID     `json:"tenant"`
	DisplayName string       `json:"displayName"`
	// IdentifierURIs are the audiences by which clients may ask for this application.
	IdentifierURIs []string `json:"identifierUris,omitzero"`
	// RedirectURIs are matched byte for byte, except that a public client may
	// use any port of a loopback address (RFC 8252, section 7.3).
	RedirectURIs []string `json:"redirectUris,omitzero"`
	// Public is set for programs that cannot keep a secret (RFC 6749, section 2.1).
	Public bool `json:"public,omitzero"`
	// TokenVersion is the version of access tokens for this application as a
	// resource: 1 or 2. Zero means 1, as in Entra.
	TokenVersion int `json:"tokenVersion,omitzero"`
	// GroupClaims makes tokens for this resource carry the groups claim.
	GroupClaims bool `json:"groupClaims,omitzero"`
	// Scopes are the delegated permissions this application exposes as a resource.
	Scopes []string `json:"scopes,omitzero"`
	// AssignmentRequired refuses tokens to principals without an app assignment.
	AssignmentRequired bool `json:"assignmentRequired,omitzero"`
	// RequiredAccess are the permissions of other resources that the program says it
	// needs. It is kept for those who read it; tokens do not depend on it.
	RequiredAccess []RequiredAccess `json:"requiredAccess,omitzero"`
	Disabled       bool             `json:"disabled,omitzero"`
}

// A RequiredAccess are permissions of one resource, an application.
type RequiredAccess struct {
	Resource    AppID        `json:"resource"`
	Permissions []Permission `json:"permissions"`
}

// A Permission is one that a resource offers: to people who use the program, as a
// Scope, or to the program itself, as a Role.
type Permission struct {
	ID   guid.Of[Permission] `json:"id"`
	Type string              `json:"type"`
}

// A ServicePrincipal is an application's presence in a tenant: who it is there.
type ServicePrincipal struct {
	ID          principal.ID        `json:"id"`
	AppID       AppID               `json:"appId"`
	Tenant      TenantID            `json:"tenant"`
	DisplayName string              `json:"displayName"`
	Disabled    bool                `json:"disabled,omitzero"`
	Attributes  map[string][]string `json:"attributes,omitzero"`
}

// A ManagedIdentity is a principal whose credentials nobody holds.
type ManagedIdentity struct {
	ID       principal.ID `json:"id"`
	ClientID AppID        `json:"clientId"`
	Tenant   TenantID     `json:"tenant"`
	// Resource is the user-assigned identity's own scope, or the resource that a
	// system-assigned identity belongs to.
	Resource       scope.Scope `json:"resource"`
	SystemAssigned bool        `json:"systemAssigned,omitzero"`
	DisplayName    string      `json:"displayName"`
	Location       string      `json:"location,omitzero"`
	Tags           record.Tags `json:"tags,omitzero"`
	// IsolationScope is Regional for an identity that is meant for resources of its
	// own location alone; it is kept, and nothing asks for it.
	IsolationScope string `json:"isolationScope,omitzero"`
	Disabled       bool   `json:"disabled,omitzero"`
}

// Key implements record.Record.
func (t Tenant) Key() record.Key      { return record.KeyOf(record.Tenant, t.ID.String()) }
func (u User) Key() record.Key        { return record.KeyOf(record.User, u.ID.String()) }
func (g Group) Key() record.Key       { return record.KeyOf(record.Group, g.ID.String()) }
func (a Application) Key() record.Key { return record.KeyOf(record.Application, a.AppID.String()) }
func (s ServicePrincipal) Key() record.Key {
	return record.KeyOf(record.ServicePrincipal, s.ID.String())
}
func (m ManagedIdentity) Key() record.Key { return record.KeyOf(record.ManagedIdentity, m.ID.String()) }
func (m Membership) Key() record.Key {
	return record.KeyOf(record.Membership, m.Group.String(), m.Member.String())
}

// Validate implements record.Record.
func (t Tenant) Validate() error {
	if t.ID.IsZero() {
		return record.Invalid("tenant without id")
	}
	if len(t.Domains) == 0 {
		return record.Invalid("tenant %s has no domain", t.ID)
	}
	for _, d := range t.Domains {
		if !validDomain(d) {
			return record.Invalid("tenant %s: %q is not a lower-case domain name", t.ID, d)
		}
	}
	return nil
}

func (u User) Validate() error {
	if u.ID.IsZero() || u.Tenant.IsZero() {
		return record.Invalid("user %q without id or tenant", u.UserPrincipalName)
	}
	canonical, err := CanonicalUPN(u.UserPrincipalName)
	if err != nil {
		return err
	}
	if canonical != u.UserPrincipalName {
		return record.Invalid("user principal name %q is not in its canonical form %q", u.UserPrincipalName, canonical)
	}
	if err := CheckNickname(u.MailNickname); err != nil {
		return err
	}
	return CheckName("display name", u.DisplayName, true)
}

func (g Group) Validate() error {
	if g.ID.IsZero() || g.Tenant.IsZero() {
		return record.Invalid("group %q without id or tenant", g.DisplayName)
	}
	if err := CheckNickname(g.MailNickname); err != nil {
		return err
	}
	return CheckName("group name", g.DisplayName, false)
}

func (m Membership) Validate() error {
	if m.Group.IsZero() || m.Member.IsZero() {
		return record.Invalid("membership without group or member")
	}
	return nil
}

func (a Application) Validate() error {
	if a.ID.IsZero() || a.AppID.IsZero() || a.Tenant.IsZero() {
		return record.Invalid("application %q without id, appId or tenant", a.DisplayName)
	}
	if a.TokenVersion < 0 || a.TokenVersion > 2 {
		return record.Invalid("application %s: token version %d is not 1 or 2", a.AppID, a.TokenVersion)
	}
	if err := checkRequired(a.RequiredAccess); err != nil {
		return record.Invalid("application %s: %w", a.AppID, err)
	}
	for _, r := range a.RedirectURIs {
		if err := checkRedirect(r); err != nil {
			return record.Invalid("application %s: redirect URI %q: %v", a.AppID, r, err)
		}
	}
	return CheckName("application name", a.DisplayName, false)
}

// Bounds of what a program says it needs, as in Entra ID.
const (
	maxResources   = 50
	maxPermissions = 400
)

func checkRequired(list []RequiredAccess) error {
	n := 0
	seen := make(map[AppID]bool, len(list))
	for _, r := range list {
		if r.Resource.IsZero() || seen[r.Resource] {
			return record.Invalid("the resource of required access is empty, or there twice")
		}
		seen[r.Resource] = true
		n += len(r.Permissions)
		for _, p := range r.Permissions {
			if p.ID.IsZero() || p.Type != "Scope" && p.Type != "Role" {
				return record.Invalid("required access to %s: a permission has an id and the type Scope or Role", r.Resource)
			}
		}
	}
	if len(list) > maxResources || n > maxPermissions {
		return record.Invalid("required access to more than %d resources or %d permissions", maxResources, maxPermissions)
	}
	return nil
}

func (s ServicePrincipal) Validate() error {
	if s.ID.IsZero() || s.AppID.IsZero() || s.Tenant.IsZero() {
		return record.Invalid("service principal %q without id, appId or tenant", s.DisplayName)
	}
	return CheckName("service principal name", s.DisplayName, false)
}

func (m ManagedIdentity) Validate() error {
	if m.ID.IsZero() || m.ClientID.IsZero() || m.Tenant.IsZero() || m.Resource.IsZero() {
		return record.Invalid("managed identity %q without id, clientId, tenant or resource", m.DisplayName)
	}
	if m.IsolationScope != "" && m.IsolationScope != "Regional" {
		return record.Invalid("managed identity %q: isolation scope %.40q, want Regional or none", m.DisplayName, m.IsolationScope)
	}
	if err := m.Tags.Validate(); err != nil {
		return err
	}
	return CheckName("identity name", m.DisplayName, false)
}

// CanonicalUPN returns the one spelling of a user principal name: lower case.
// Only ASCII is accepted, because every folding of other letters has pairs that
// two components fold differently (catalogue DIR-09).
func CanonicalUPN(name string) (string, error) {
	local, domain, ok := strings.Cut(name, "@")
	if !ok || local == "" || len(name) > 256 {
		return "", record.Invalid("user principal name %.300q is not of the form name@domain", name)
	}
	for i := range len(local) {
		c := local[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-_.'!#^~+", c) >= 0:
		default:
			return "", record.Invalid("user principal name %q has the character %q", name, c)
		}
	}
	domain = lower(domain)
	if !validDomain(domain) {
		return "", record.Invalid("user principal name %q: %q is not a domain name", name, domain)
	}
	return lower(local) + "@" + domain, nil
}

// lower folds ASCII letters only: strings.ToLower would make a domain with a
// Kelvin sign that with a k.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// CheckNickname refuses what cannot be the local part of a mail address, at most
// 64 characters of ASCII. The empty nickname is none.
func CheckNickname(name string) error {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || strings.IndexByte(`@()\[]";:<>,`, c) >= 0 {
			return record.Invalid("mail nickname %.80q has the character %q", name, c)
		}
	}
	if len(name) > 64 {
		return record.Invalid("mail nickname %.80q is longer than 64 characters", name)
	}
	return CheckName("mail nickname", name, true)
}

// CheckName refuses names that could pass for something else: those of the
// Kubernetes control plane ("system:" in any disguise), with invisible or
// control characters, or with blanks at the ends (catalogue DIR-08).
func CheckName(what, name string, mayBeEmpty bool) error {
	if name == "" {
		if mayBeEmpty {
			return nil
		}
		return record.Invalid("%s is empty", what)
	}
	if len(name) > 512 || !utf8.ValidString(name) || strings.TrimSpace(name) != name {
		return record.Invalid("%s %.600q is too long, not UTF-8, or has blanks at its ends", what, name)
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return record.Invalid("%s %q has the invisible character %U", what, name, r)
		}
	}
	if IsSystemName(name) {
		return record.Invalid("%s %q would pass for a name of the Kubernetes control plane", what, name)
	}
	return nil
}

// IsSystemName reports whether a name starts with "system:" after folding letter
// case, full-width forms and leading blanks. Such names never leave this house.
func IsSystemName(name string) bool {
	const prefix = "system:"
	i := 0
	for _, r := range name {
		switch {
		case unicode.IsSpace(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Mn, r):
			continue
		case 0xFF01 <= r && r <= 0xFF5E: // full-width ASCII
			r -= 0xFEE0
		case r == '\u017F': // long s
			r = 's'
		}
		if unicode.ToLower(r) != rune(prefix[i]) {
			return false
		}
		if i++; i == len(prefix) {
			return true
		}
	}
	return false
}

func validDomain(d string) bool {
	if d == "" || len(d) > 253 {
		return false
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return true
}

func checkRedirect(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return err
	case u.Fragment != "" || u.User != nil || u.Host == "" || strings.ContainsAny(raw, "\\ \t\r\n*"):
		return record.Invalid("fragment, user, missing host or forbidden character")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"):
		return nil
	}
	return record.Invalid("neither https nor a loopback address")
}
