package graph

import (
	"iter"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// directoryRoles are the roles of a directory, as those who have them see them.
// Entra ID gives each a second id in every tenant; here it is that of its template.
var directoryRoles = &kind{
	name: "directoryRoles", odata: "#microsoft.graph.directoryRole", action: "Microsoft.Directory/roleAssignments",
	properties: []string{"id", "displayName", "description", "roleTemplateId"},
	show: func(_ *session, v any) map[string]any {
		r := v.(*azurerbac.Role)
		id := r.Definition.ID.String()
		return map[string]any{"id": id, "displayName": r.RoleName, "description": r.Description, "roleTemplateId": id}
	},
	texts: map[string]func(any) string{
		"id":             func(v any) string { return v.(*azurerbac.Role).Definition.ID.String() },
		"displayName":    func(v any) string { return v.(*azurerbac.Role).RoleName },
		"roleTemplateId": func(v any) string { return v.(*azurerbac.Role).Definition.ID.String() },
	},
}

func roleObject(id directory.RoleID) (object, bool) {
	role, ok := directoryrole.Get(id)
	return object{kind: directoryRoles, id: principal.ID(id), v: role}, ok
}

// heldRoles yields the roles that somebody of the tenant has: Entra ID lists no others.
func heldRoles(s *session) iter.Seq[object] {
	var ids []directory.RoleID
	for a := range s.est.DirectoryRoles(s.tenant) {
		if a.Object.IsZero() && !slices.Contains(ids, a.Role) {
			ids = append(ids, a.Role)
		}
	}
	return func(yield func(object) bool) {
		for _, id := range ids {
			if o, ok := roleObject(id); ok && !yield(o) {
				return
			}
		}
	}
}
