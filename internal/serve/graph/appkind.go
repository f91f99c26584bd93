package graph

import (
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// applications are what programs are in the tenant that they come from.
var applications = &kind{
	name: "applications", odata: "#microsoft.graph.application", action: "Microsoft.Directory/applications",
	properties: []string{"id", "appId", "displayName", "identifierUris", "signInAudience", "isFallbackPublicClient", "keyCredentials", "web", "spa",
		"publicClient", "passwordCredentials", "requiredResourceAccess", "publisherDomain", "appRoles", "api", "groupMembershipClaims", "tags"},
	show: func(s *session, v any) map[string]any {
		a := v.(directory.Application)
		web, public := a.RedirectURIs, []string{}
		if a.Public {
			web, public = public, web
		}
		var domain, claims any
		if t, ok := s.est.Tenant(a.Tenant); ok {
			domain = t.Domains[0]
		}
		if a.GroupClaims {
			claims = "SecurityGroup"
		}
		version := any(nil)
		if a.TokenVersion > 0 {
			version = a.TokenVersion
		}
		return map[string]any{
			"id": a.ID, "appId": a.AppID, "displayName": a.DisplayName, "identifierUris": orEmpty(a.IdentifierURIs),
			"signInAudience": "AzureADMyOrg", "isFallbackPublicClient": a.Public, "publisherDomain": domain, "groupMembershipClaims": claims,
			"web": map[string]any{"redirectUris": orEmpty(web), "homePageUrl": nil, "logoutUrl": nil,
				"implicitGrantSettings": map[string]any{"enableAccessTokenIssuance": false, "enableIdTokenIssuance": false}},
			"publicClient": map[string]any{"redirectUris": orEmpty(public)}, "spa": map[string]any{"redirectUris": []string{}},
			"requiredResourceAccess": requiredAccess(a), "appRoles": []string{}, "tags": []string{},
			"api": map[string]any{"requestedAccessTokenVersion": version, "oauth2PermissionScopes": []string{}},
		}
	},
	texts: map[string]func(any) string{
		"id":             func(v any) string { return v.(directory.Application).ID.String() },
		"appId":          func(v any) string { return v.(directory.Application).AppID.String() },
		"displayName":    func(v any) string { return v.(directory.Application).DisplayName },
		"signInAudience": func(any) string { return "AzureADMyOrg" },
	},
	flags: map[string]func(any) bool{"isFallbackPublicClient": func(v any) bool { return v.(directory.Application).Public }},
	lists: map[string]func(*session, any) []string{
		"identifierUris": func(_ *session, v any) []string { return v.(directory.Application).IdentifierURIs },
	},
}

// servicePrincipal is what a service principal and a managed identity have in
// common: to clients of Graph both are service principals.
type servicePrincipal struct {
	directory.ServicePrincipal
	identity *directory.ManagedIdentity // nil for that of an application
}

// servicePrincipals are who programs are in a tenant.
var servicePrincipals = &kind{
	name: "servicePrincipals", odata: "#microsoft.graph.servicePrincipal", action: "Microsoft.Directory/servicePrincipals",
	properties: []string{"id", "appId", "displayName", "appDisplayName", "accountEnabled", "servicePrincipalNames", "tags", "servicePrincipalType",
		"alternativeNames", "appOwnerOrganizationId", "appRoleAssignmentRequired", "keyCredentials", "passwordCredentials", "oauth2PermissionScopes", "appRoles", "replyUrls"},
	of: []principal.Kind{principal.ServicePrincipal, principal.ManagedIdentity},
	show: func(s *session, v any) map[string]any {
		p := v.(servicePrincipal)
		m := map[string]any{
			"id": p.ID, "appId": p.AppID, "displayName": p.DisplayName, "appDisplayName": p.DisplayName,
			"accountEnabled": !p.Disabled, "servicePrincipalNames": servicePrincipalNames(s, p), "tags": []string{},
			"servicePrincipalType": "Application", "alternativeNames": []string{}, "appOwnerOrganizationId": nil,
			"appRoleAssignmentRequired": false, "oauth2PermissionScopes": []string{}, "appRoles": []string{}, "replyUrls": []string{},
			"keyCredentials": []string{}, "passwordCredentials": []string{},
		}
		if p.identity != nil {
			explicit := "True"
			if p.identity.SystemAssigned {
				explicit = "False"
			}
			m["servicePrincipalType"], m["appDisplayName"] = "ManagedIdentity", nil
			m["alternativeNames"] = []string{"isExplicit=" + explicit, p.identity.Resource.String()}
		} else if a, ok := s.est.Application(p.AppID); ok {
			m["appDisplayName"], m["appOwnerOrganizationId"], m["replyUrls"] = a.DisplayName, a.Tenant, orEmpty(a.RedirectURIs)
			m["appRoleAssignmentRequired"] = a.AssignmentRequired
		}
		return m
	},
	texts: map[string]func(any) string{
		"id":                   func(v any) string { return v.(servicePrincipal).ID.String() },
		"appId":                func(v any) string { return v.(servicePrincipal).AppID.String() },
		"displayName":          func(v any) string { return v.(servicePrincipal).DisplayName },
		"servicePrincipalType": func(v any) string { return servicePrincipalType(v.(servicePrincipal)) },
	},
	flags: map[string]func(any) bool{"accountEnabled": func(v any) bool { return !v.(servicePrincipal).Disabled }},
	lists: map[string]func(*session, any) []string{
		"servicePrincipalNames": func(s *session, v any) []string { return servicePrincipalNames(s, v.(servicePrincipal)) },
		"alternativeNames": func(_ *session, v any) []string {
			if mi := v.(servicePrincipal).identity; mi != nil {
				return []string{mi.Resource.String()}
			}
			return nil
		},
	},
}

func servicePrincipalType(p servicePrincipal) string {
	if p.identity != nil {
		return "ManagedIdentity"
	}
	return "Application"
}

func servicePrincipalNames(s *session, p servicePrincipal) []string {
	names := []string{p.AppID.String()}
	if a, ok := s.est.Application(p.AppID); ok && p.identity == nil {
		names = append(names, a.IdentifierURIs...)
	}
	return names
}

// requiredAccess is what a program says it needs; see directory.Application.
func requiredAccess(a directory.Application) []resourceAccess {
	out := make([]resourceAccess, len(a.RequiredAccess))
	for i, r := range a.RequiredAccess {
		out[i] = resourceAccess{ResourceAppID: r.Resource.String(), ResourceAccess: make([]access, len(r.Permissions))}
		for j, p := range r.Permissions {
			out[i].ResourceAccess[j] = access{ID: p.ID.String(), Type: p.Type}
		}
	}
	return out
}

type resourceAccess struct {
	ResourceAppID  string   `json:"resourceAppId"`
	ResourceAccess []access `json:"resourceAccess"`
}

type access struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}
