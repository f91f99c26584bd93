package graph

import (
	"encoding/base64"
	"iter"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A kind is a sort of object of the directory.
type kind struct {
	name   string // of its collection
	odata  string // its @odata.type
	action string // the resource type that guards it
	// of says which principals these are; applications are none.
	of []principal.Kind
	// properties are the names of all; show returns them.
	properties []string
	show       func(*session, any) map[string]any
	// Properties by which $filter may search.
	texts map[string]func(any) string
	lists map[string]func(*session, any) []string
}

// An object is one of a kind.
type object struct {
	kind *kind
	id   principal.ID
	key  record.Key
	v    any
}

// servicePrincipal is what a service principal and a managed identity have in
// common: to clients of Graph both are service principals.
type servicePrincipal struct {
	directory.ServicePrincipal
	identity *directory.ManagedIdentity // nil for that of an application
}

var users = &kind{
	name: "users", odata: "#microsoft.graph.user", action: "Microsoft.Directory/users",
	properties: []string{"id", "displayName", "userPrincipalName", "mail", "mailNickname", "accountEnabled", "userType", "businessPhones", "givenName", "surname", "jobTitle", "mobilePhone", "officeLocation", "preferredLanguage"},
	of:         []principal.Kind{principal.User},
	show: func(_ *session, v any) map[string]any {
		u := v.(directory.User)
		return map[string]any{
			"id": u.ID, "displayName": orNull(u.DisplayName), "userPrincipalName": u.UserPrincipalName, "mail": orNull(u.Mail),
			"mailNickname": userNickname(u), "accountEnabled": !u.Disabled, "userType": userType(u),
			// What clients ask every user for, and this house does not keep.
			"businessPhones": []string{}, "givenName": nil, "surname": nil, "jobTitle": nil, "mobilePhone": nil,
			"officeLocation": nil, "preferredLanguage": nil,
		}
	},
	texts: map[string]func(any) string{
		"id":                func(v any) string { return v.(directory.User).ID.String() },
		"displayName":       func(v any) string { return v.(directory.User).DisplayName },
		"userPrincipalName": func(v any) string { return v.(directory.User).UserPrincipalName },
		"mail":              func(v any) string { return v.(directory.User).Mail },
		"mailNickname":      func(v any) string { return userNickname(v.(directory.User)) },
		"userType":          func(v any) string { return userType(v.(directory.User)) },
	},
}

var groups = &kind{
	name: "groups", odata: "#microsoft.graph.group", action: "Microsoft.Directory/groups",
	properties: []string{"id", "displayName", "description", "mailNickname", "mailEnabled", "securityEnabled", "groupTypes", "mail"},
	of:         []principal.Kind{principal.Group},
	show: func(_ *session, v any) map[string]any {
		g := v.(directory.Group)
		return map[string]any{
			"id": g.ID, "displayName": g.DisplayName, "description": orNull(g.Description), "mailNickname": groupNickname(g),
			"mailEnabled": false, "securityEnabled": true, "groupTypes": []string{}, "mail": nil,
		}
	},
	texts: map[string]func(any) string{
		"id":           func(v any) string { return v.(directory.Group).ID.String() },
		"displayName":  func(v any) string { return v.(directory.Group).DisplayName },
		"mailNickname": func(v any) string { return groupNickname(v.(directory.Group)) },
	},
}

var applications = &kind{
	name: "applications", odata: "#microsoft.graph.application", action: "Microsoft.Directory/applications",
	properties: []string{"id", "appId", "displayName", "identifierUris", "signInAudience", "isFallbackPublicClient", "keyCredentials", "web", "publicClient", "passwordCredentials"},
	show: func(_ *session, v any) map[string]any {
		a := v.(directory.Application)
		web, public := a.RedirectURIs, []string{}
		if a.Public {
			web, public = public, web
		}
		return map[string]any{
			"id": a.ID, "appId": a.AppID, "displayName": a.DisplayName, "identifierUris": orEmpty(a.IdentifierURIs),
			"signInAudience": "AzureADMyOrg", "isFallbackPublicClient": a.Public, "keyCredentials": []string{},
			"web": map[string]any{"redirectUris": orEmpty(web)}, "publicClient": map[string]any{"redirectUris": orEmpty(public)},
			"passwordCredentials": []string{}, // see Door.render
		}
	},
	texts: map[string]func(any) string{
		"id":          func(v any) string { return v.(directory.Application).ID.String() },
		"appId":       func(v any) string { return v.(directory.Application).AppID.String() },
		"displayName": func(v any) string { return v.(directory.Application).DisplayName },
	},
	lists: map[string]func(*session, any) []string{
		"identifierUris": func(_ *session, v any) []string { return v.(directory.Application).IdentifierURIs },
	},
}

var servicePrincipals = &kind{
	name: "servicePrincipals", odata: "#microsoft.graph.servicePrincipal", action: "Microsoft.Directory/servicePrincipals",
	properties: []string{"id", "appId", "displayName", "appDisplayName", "accountEnabled", "servicePrincipalNames", "tags", "servicePrincipalType", "alternativeNames", "appOwnerOrganizationId"},
	of:         []principal.Kind{principal.ServicePrincipal, principal.ManagedIdentity},
	show: func(s *session, v any) map[string]any {
		p := v.(servicePrincipal)
		m := map[string]any{
			"id": p.ID, "appId": p.AppID, "displayName": p.DisplayName, "appDisplayName": p.DisplayName,
			"accountEnabled": !p.Disabled, "servicePrincipalNames": servicePrincipalNames(s, p), "tags": []string{},
			"servicePrincipalType": "Application", "alternativeNames": []string{}, "appOwnerOrganizationId": nil,
		}
		if p.identity != nil {
			explicit := "True"
			if p.identity.SystemAssigned {
				explicit = "False"
			}
			m["servicePrincipalType"] = "ManagedIdentity"
			m["alternativeNames"] = []string{"isExplicit=" + explicit, p.identity.Resource.String()}
		} else if a, ok := s.est.Application(p.AppID); ok {
			m["appDisplayName"], m["appOwnerOrganizationId"] = a.DisplayName, a.Tenant
		}
		return m
	},
	texts: map[string]func(any) string{
		"id":          func(v any) string { return v.(servicePrincipal).ID.String() },
		"appId":       func(v any) string { return v.(servicePrincipal).AppID.String() },
		"displayName": func(v any) string { return v.(servicePrincipal).DisplayName },
		"servicePrincipalType": func(v any) string {
			if v.(servicePrincipal).identity != nil {
				return "ManagedIdentity"
			}
			return "Application"
		},
	},
	lists: map[string]func(*session, any) []string{
		"servicePrincipalNames": func(s *session, v any) []string { return servicePrincipalNames(s, v.(servicePrincipal)) },
	},
}

func servicePrincipalNames(s *session, p servicePrincipal) []string {
	names := []string{p.AppID.String()}
	if a, ok := s.est.Application(p.AppID); ok && p.identity == nil {
		names = append(names, a.IdentifierURIs...)
	}
	return names
}

// all yields the objects of the caller's tenant, in no order.
func (k *kind) all(s *session) iter.Seq[object] {
	if k == applications {
		return func(yield func(object) bool) {
			for a := range s.est.Applications() {
				if a.Tenant == s.tenant && !yield(applicationObject(a)) {
					return
				}
			}
		}
	}
	return func(yield func(object) bool) {
		for p := range s.est.Principals() {
			if p.Tenant != s.tenant || !slices.Contains(k.of, p.Kind) {
				continue
			}
			if o, ok := s.object(p.ID); ok && !yield(o) {
				return
			}
		}
	}
}

// find returns the object that a path names, in the caller's tenant: by its
// object id, a user also by his user principal name.
func (k *kind) find(s *session, text string) (object, bool) {
	if k == users && strings.Contains(text, "@") {
		u, ok := s.est.UserByName(text)
		if !ok {
			return object{}, false
		}
		return s.object(u.ID)
	}
	id, err := principal.ParseID(text)
	if err != nil {
		return object{}, false
	}
	if k == applications {
		for o := range k.all(s) {
			if o.id == id {
				return o, true
			}
		}
		return object{}, false
	}
	if o, ok := s.object(id); ok && o.kind == k {
		return o, true
	}
	return object{}, false
}

func applicationObject(a directory.Application) object {
	return object{applications, a.ID, a.Key(), a}
}

// object returns the principal with an object id in the caller's tenant. Whose
// id is that of another tenant is not there (DIR-14).
func (s *session) object(id principal.ID) (object, bool) {
	p, ok := s.est.Principal(id)
	if !ok || p.Tenant != s.tenant {
		return object{}, false
	}
	switch p.Kind {
	case principal.User:
		u, ok := s.est.User(id)
		return object{users, id, u.Key(), u}, ok
	case principal.Group:
		g, ok := s.est.Group(id)
		return object{groups, id, g.Key(), g}, ok
	case principal.ServicePrincipal:
		sp, ok := s.est.ServicePrincipal(id)
		return object{servicePrincipals, id, sp.Key(), servicePrincipal{ServicePrincipal: sp}}, ok
	case principal.ManagedIdentity:
		mi, ok := s.est.ManagedIdentity(id)
		return object{servicePrincipals, id, mi.Key(), servicePrincipal{directory.ServicePrincipal{
			ID: mi.ID, AppID: mi.ClientID, Tenant: mi.Tenant, DisplayName: mi.DisplayName, Disabled: mi.Disabled}, &mi}}, ok
	}
	return object{}, false
}

// find returns the object that a path names, if the caller may read it. Who may
// not learns nothing about whether it is there. A nil kind is any principal.
func (s *session) find(k *kind, text string) (object, error) {
	kinds := []*kind{k}
	var o object
	var ok bool
	if k != nil {
		o, ok = k.find(s, text)
	} else {
		kinds = []*kind{users, groups, servicePrincipals}
		if id, err := principal.ParseID(text); err == nil {
			if o, ok = s.object(id); ok {
				kinds = []*kind{o.kind}
			}
		}
	}
	if err := s.needRead(o.id, kinds...); err != nil {
		return object{}, err
	}
	if !ok {
		return object{}, notFound(text)
	}
	return o, nil
}

func userNickname(u directory.User) string {
	local, _, _ := strings.Cut(u.UserPrincipalName, "@")
	return local
}

func userType(u directory.User) string {
	if u.Guest {
		return "Guest"
	}
	return "Member"
}

// groupNickname makes a mail nickname of a group's name: this house keeps none.
func groupNickname(g directory.Group) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(`@()\[]";:<>,`, r) {
			return -1
		}
		return r
	}, g.DisplayName)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// keyGUID is the id of a client secret as Graph writes it: the same 16 bytes.
func keyGUID(keyID string) string {
	b, err := base64.RawURLEncoding.DecodeString(keyID)
	if err != nil || len(b) != len(principal.ID{}) {
		return ""
	}
	return principal.ID(b).String()
}

func keyIDOf(text string) (string, error) {
	id, err := principal.ParseID(text)
	if err != nil {
		return "", bad("The keyId '" + serve.Printable(text, 64) + "' is not a GUID.")
	}
	return base64.RawURLEncoding.EncodeToString(id[:]), nil
}
