package graph

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// groups are the security groups of a directory.
var groups = &kind{
	name: "groups", odata: "#microsoft.graph.group", action: "Microsoft.Directory/groups",
	properties: []string{"id", "displayName", "description", "mailNickname", "mailEnabled", "securityEnabled", "groupTypes", "mail", "isAssignableToRole", "visibility"},
	of:         []principal.Kind{principal.Group},
	show: func(_ *session, v any) map[string]any {
		g := v.(directory.Group)
		var assignable any // null but where it is true, as in Entra
		if g.RoleAssignable {
			assignable = true
		}
		return map[string]any{
			"id": g.ID, "displayName": g.DisplayName, "description": orNull(g.Description), "mailNickname": groupNickname(g),
			"mailEnabled": false, "securityEnabled": true, "groupTypes": []string{}, "mail": nil, "isAssignableToRole": assignable, "visibility": nil,
		}
	},
	texts: map[string]func(any) string{
		"id":           func(v any) string { return v.(directory.Group).ID.String() },
		"displayName":  func(v any) string { return v.(directory.Group).DisplayName },
		"description":  func(v any) string { return v.(directory.Group).Description },
		"mailNickname": func(v any) string { return groupNickname(v.(directory.Group)) },
		"mail":         func(any) string { return "" },
	},
	flags: map[string]func(any) bool{
		"securityEnabled": func(any) bool { return true }, "mailEnabled": func(any) bool { return false },
		"isAssignableToRole": func(v any) bool { return v.(directory.Group).RoleAssignable },
	},
	lists: map[string]func(*session, any) []string{"groupTypes": func(*session, any) []string { return nil }},
}

// groupNickname is a group's mail nickname; of one without, its name without what a
// nickname cannot have.
func groupNickname(g directory.Group) string {
	if g.MailNickname != "" {
		return g.MailNickname
	}
	return strings.Map(func(r rune) rune {
		if r > '~' || directory.CheckNickname(string(r)) != nil {
			return -1
		}
		return r
	}, g.DisplayName)
}
