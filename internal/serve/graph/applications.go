package graph

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// application reads the properties of an application that a client may set, and
// returns what they make of one. What is not there stays.
func (b *body) application() func(*directory.Application) error {
	name, hasName := b.text("displayName")
	uris, hasURIs := b.list("identifierUris")
	audience, hasAudience := b.text("signInAudience")
	_, hasFallback := b.members["isFallbackPublicClient"]
	fallback := b.flag("isFallbackPublicClient", false)
	claims, hasClaims := b.text("groupMembershipClaims")
	web, hasWeb := b.redirects("web")
	public, hasPublic := b.redirects("publicClient")
	needs, hasNeeds := b.requiredAccess()
	version := b.tokenVersion()
	if hasAudience && audience != "AzureADMyOrg" && b.err == nil {
		b.err = bad("signInAudience must be AzureADMyOrg: applications of this house are for its own tenant.")
	}
	if hasClaims && claims != "SecurityGroup" && claims != "All" && claims != "None" && b.err == nil {
		b.err = bad("groupMembershipClaims must be None, SecurityGroup or All.")
	}
	return func(a *directory.Application) error {
		if hasName {
			a.DisplayName = name
		}
		if hasURIs {
			a.IdentifierURIs = uris
		}
		if hasFallback {
			a.Public = fallback
		}
		if hasClaims {
			a.GroupClaims = claims != "None"
		}
		if hasNeeds {
			a.RequiredAccess = needs
		}
		if version != nil {
			a.TokenVersion = *version
		}
		switch {
		case len(web) > 0 && len(public) > 0:
			return bad("An application has redirectUris of 'web' or of 'publicClient' here, not of both.")
		case len(public) > 0:
			if hasFallback && !fallback {
				return bad("redirectUris of 'publicClient' make the application a public client: isFallbackPublicClient cannot be false.")
			}
			a.Public, a.RedirectURIs = true, public
		case len(web) > 0:
			if hasFallback && fallback || a.Public && !hasFallback {
				return bad("A public client has redirectUris of 'publicClient', not of 'web'.")
			}
			a.Public, a.RedirectURIs = false, web
		case hasPublic && a.Public, hasWeb && !a.Public:
			a.RedirectURIs = nil
		}
		return nil
	}
}

// redirects reads the redirectUris of a platform. Implicit grants are not served,
// so that they can only be switched off.
func (b *body) redirects(of string) ([]string, bool) {
	in := b.nested(of)
	if in == nil {
		return nil, false
	}
	list, ok := in.list("redirectUris")
	if implicit := in.nested("implicitGrantSettings"); implicit != nil {
		if implicit.flag("enableAccessTokenIssuance", false) || implicit.flag("enableIdTokenIssuance", false) {
			implicit.err = bad("implicitGrantSettings must be false: no tokens are given out at the authorization endpoint here.")
		}
		if err := implicit.done(); err != nil && in.err == nil {
			in.err = err
		}
	}
	if err := in.done(); err != nil && b.err == nil {
		b.err = err
	}
	return list, ok
}

// tokenVersion reads api.requestedAccessTokenVersion; nil means that it is not there.
func (b *body) tokenVersion() *int {
	in := b.nested("api")
	if in == nil {
		return nil
	}
	var version int
	ok := in.take("requestedAccessTokenVersion", &version, "1 or 2")
	if err := in.done(); err != nil && b.err == nil {
		b.err = err
	}
	if !ok {
		return nil
	}
	return &version
}

func (b *body) requiredAccess() ([]directory.RequiredAccess, bool) {
	var list []resourceAccess
	if !b.take("requiredResourceAccess", &list, "a list of resources, each with resourceAppId and resourceAccess") {
		return nil, false
	}
	var out []directory.RequiredAccess
	for _, r := range list {
		app, err := parseApp(r.ResourceAppID)
		if err != nil {
			b.err = bad("The resourceAppId must be the GUID of an application.")
			return nil, false
		}
		next := directory.RequiredAccess{Resource: app}
		for _, p := range r.ResourceAccess {
			permission := directory.Permission{Type: p.Type}
			if err := permission.ID.UnmarshalText([]byte(p.ID)); err != nil {
				b.err = bad("The id of a permission must be a GUID.")
				return nil, false
			}
			next.Permissions = append(next.Permissions, permission)
		}
		out = append(out, next)
	}
	return out, true
}

// unshared refuses an application whose audience is that of another: whoever
// asks for a token would get one for either.
func (s *session) unshared(next directory.Application) error {
	for a := range s.est.Applications() {
		for _, uri := range next.IdentifierURIs {
			if a.AppID != next.AppID && slices.ContainsFunc(a.IdentifierURIs, func(u string) bool {
				return strings.EqualFold(strings.TrimSuffix(u, "/"), strings.TrimSuffix(uri, "/"))
			}) {
				return bad("Another object with the same value for property identifierUris already exists.")
			}
		}
	}
	return nil
}

// asOwner is what it takes to make something that one then owns. Who may write all
// of them makes them without owning them.
const asOwner = "/createAsOwner"

// mayMake reports whether the caller may make an object of a kind, and whether he
// may only because he will own it.
func (s *session) mayMake(k *kind) (owned bool, err error) {
	if s.need(k.action+"/write") == nil {
		return false, nil
	}
	return true, s.need(k.action + asOwner)
}

// make returns the ops that make an object, and its maker an owner of it if he may
// only so.
func (s *session) make(k *kind, id principal.ID, next estate.Op) ([]estate.Op, error) {
	owned, err := s.mayMake(k)
	if err != nil {
		return nil, err
	}
	if !owned {
		return s.create(next.Put)
	}
	return []estate.Op{next, {Put: directory.Ownership{Object: id, Owner: s.caller.ID}}}, nil
}

func (d *Door) createApplication(w http.ResponseWriter, r *http.Request, s *session) error {
	if _, err := s.mayMake(applications); err != nil {
		return err
	}
	b := s.sent()
	_, hasName := b.members["displayName"]
	set, keys := b.application(), b.keys()
	passwords := b.nestedList("passwordCredentials")
	if err := b.done(); err != nil {
		return err
	}
	if len(passwords) > 0 {
		return bad("A secret is made with addPassword, when the application is there.")
	}
	if !hasName {
		return required("displayName", "Application")
	}
	a := directory.Application{ID: principal.NewID(), AppID: directory.NewAppID(), Tenant: s.tenant}
	if err := set(&a); err != nil {
		return err
	}
	o := applicationObject(a)
	of, _ := holder(o)
	private, err := keys.add(of, s.now)
	if err != nil {
		return err
	}
	err = d.commit(r.Context(), s, "application created", func(s *session) ([]estate.Op, error) {
		if err := s.unshared(a); err != nil {
			return nil, err
		}
		return s.make(applications, a.ID, estate.Op{Put: a})
	}, private...)
	if err != nil {
		return err
	}
	return d.created(w, r, s, o)
}

func (d *Door) updateApplication(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	set, keys := b.application(), b.keys()
	only := keys != nil && b.only
	bodyErr := b.done()
	var private []store.PrivateOp
	p := func(s *session) ([]estate.Op, error) {
		var needs []string
		if !only {
			needs = append(needs, applications.action+"/write")
		}
		o, err := s.target(applications, r, needs...)
		if err == nil && keys != nil {
			err = s.credential(o, true)
		}
		if err != nil {
			return nil, err
		}
		if bodyErr != nil {
			return nil, bodyErr
		}
		if only {
			return nil, nil
		}
		old := o.v.(directory.Application)
		next := old
		if err := set(&next); err != nil {
			return nil, err
		}
		if err := s.unshared(next); err != nil {
			return nil, err
		}
		return s.update(old, next)
	}
	if _, err := p(s); err != nil {
		return err
	}
	if keys != nil {
		o, _ := applications.find(s, r.PathValue("id"))
		var err error
		if private, err = d.replaceKeys(r.Context(), s, o, keys); err != nil {
			return err
		}
	}
	if err := d.commit(r.Context(), s, "application changed", p, private...); err != nil {
		return err
	}
	return done(w)
}
