package graph

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// users are the people of a directory.
var users = &kind{
	name: "users", odata: "#microsoft.graph.user", action: "Microsoft.Directory/users",
	properties: []string{"id", "displayName", "userPrincipalName", "mail", "mailNickname", "accountEnabled", "userType", "businessPhones",
		"givenName", "surname", "jobTitle", "mobilePhone", "officeLocation", "preferredLanguage", "signInSessionsValidFromDateTime"},
	of: []principal.Kind{principal.User},
	show: func(_ *session, v any) map[string]any {
		u := v.(directory.User)
		var since any
		if !u.TokensValidFrom.IsZero() {
			since = u.TokensValidFrom.UTC()
		}
		return map[string]any{
			"id": u.ID, "displayName": orNull(u.DisplayName), "userPrincipalName": u.UserPrincipalName, "mail": orNull(u.Mail),
			"mailNickname": userNickname(u), "accountEnabled": !u.Disabled, "userType": userType(u), "signInSessionsValidFromDateTime": since,
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
	flags: map[string]func(any) bool{"accountEnabled": func(v any) bool { return !v.(directory.User).Disabled }},
}

// userNickname is a user's mail nickname; of one without, that of his name.
func userNickname(u directory.User) string {
	if u.MailNickname != "" {
		return u.MailNickname
	}
	local, _, _ := strings.Cut(u.UserPrincipalName, "@")
	return local
}

func userType(u directory.User) string {
	if u.Guest {
		return "Guest"
	}
	return "Member"
}
