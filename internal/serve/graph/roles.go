package graph

import (
	"crypto/sha256"
	"encoding/base64"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Directory roles as roleManagement/directory shows them: definitions, and
// assignments over the whole directory ("/") or over one object ("/{id}").

const (
	actionRoles       = "Microsoft.Directory/roleAssignments"
	actionDefinitions = "Microsoft.Directory/roleDefinitions/read"
)

var roleDefinitions = &kind{
	name: "roleManagement/directory/roleDefinitions", odata: "#microsoft.graph.unifiedRoleDefinition", action: "Microsoft.Directory/roleDefinitions",
	properties: []string{"id", "displayName", "description", "isBuiltIn", "isEnabled", "templateId", "resourceScopes", "rolePermissions", "version"},
	show: func(_ *session, v any) map[string]any {
		r := v.(*azurerbac.Role)
		id := r.Definition.ID.String()
		return map[string]any{
			"id": id, "displayName": r.RoleName, "description": r.Description, "isBuiltIn": true, "isEnabled": true, "templateId": id,
			"resourceScopes": []string{"/"}, "version": "1",
			"rolePermissions": []any{map[string]any{"allowedResourceActions": r.Definition.Permissions[0].Actions,
				"excludedResourceActions": orEmpty(r.Definition.Permissions[0].NotActions), "condition": nil}},
		}
	},
	texts: map[string]func(any) string{
		"id":          func(v any) string { return v.(*azurerbac.Role).Definition.ID.String() },
		"templateId":  func(v any) string { return v.(*azurerbac.Role).Definition.ID.String() },
		"displayName": func(v any) string { return v.(*azurerbac.Role).RoleName },
	},
	flags: map[string]func(any) bool{"isBuiltIn": func(any) bool { return true }, "isEnabled": func(any) bool { return true }},
}

func allDefinitions(*session) iter.Seq[object] {
	return func(yield func(object) bool) {
		for role := range directoryrole.All() {
			if !yield(object{kind: roleDefinitions, id: principal.ID(role.Definition.ID), v: role}) {
				return
			}
		}
	}
}

func definitionObject(id directory.RoleID) (object, bool) {
	role, ok := directoryrole.Get(id)
	return object{kind: roleDefinitions, id: principal.ID(id), v: role}, ok
}

func (d *Door) getDefinition(w http.ResponseWriter, r *http.Request, s *session) error {
	q, err := d.parse(r, s, ofObject, roleDefinitions)
	if err != nil {
		return err
	}
	if err := s.need(actionDefinitions); err != nil {
		return err
	}
	id, err := directory.ParseRoleID(r.PathValue("id"))
	o, ok := definitionObject(id)
	if err != nil || !ok {
		return notFound(r.PathValue("id"))
	}
	return d.answer(w, r, s, http.StatusOK, o, q)
}

var roleAssignments = &kind{
	name: "roleManagement/directory/roleAssignments", odata: "#microsoft.graph.unifiedRoleAssignment", action: actionRoles,
	properties: []string{"id", "principalId", "roleDefinitionId", "directoryScopeId"},
	show: func(_ *session, v any) map[string]any {
		a := v.(directory.RoleAssignment)
		return map[string]any{"id": assignmentID(a), "principalId": a.Principal, "roleDefinitionId": a.Role, "directoryScopeId": directoryScope(a)}
	},
	texts: map[string]func(any) string{
		"id":               func(v any) string { return assignmentID(v.(directory.RoleAssignment)) },
		"principalId":      func(v any) string { return v.(directory.RoleAssignment).Principal.String() },
		"roleDefinitionId": func(v any) string { return v.(directory.RoleAssignment).Role.String() },
		"directoryScopeId": func(v any) string { return directoryScope(v.(directory.RoleAssignment)) },
	},
}

func directoryScope(a directory.RoleAssignment) string { return "/" + a.Object.String() }

// assignmentID is an assignment as one word: what it says is all there is to it.
func assignmentID(a directory.RoleAssignment) string {
	return base64.RawURLEncoding.EncodeToString(slices.Concat(a.Role[:], a.Principal[:], a.Object[:]))
}

func parseAssignmentID(text string) (a directory.RoleAssignment, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 48 {
		return a, false
	}
	return directory.RoleAssignment{Role: directory.RoleID(raw[:16]), Principal: principal.ID(raw[16:32]), Object: principal.ID(raw[32:])}, true
}

func allAssignments(s *session) iter.Seq[object] {
	return func(yield func(object) bool) {
		for a := range s.est.DirectoryRoles(s.tenant) {
			if !yield(assignmentObject(a)) {
				return
			}
		}
	}
}

// assignmentObject has an id for the order of pages alone.
func assignmentObject(a directory.RoleAssignment) object {
	sum := sha256.Sum256([]byte(assignmentID(a)))
	return object{kind: roleAssignments, id: principal.ID(sum[:16]), key: a.Key(), v: a}
}

// assignment returns the assignment that a path names, in the caller's tenant.
func (s *session) assignment(text string) (directory.RoleAssignment, bool) {
	a, ok := parseAssignmentID(text)
	if !ok {
		return a, false
	}
	p, known := s.est.Principal(a.Principal)
	_, there := s.est.Get(a.Key())
	return a, known && there && p.Tenant == s.tenant
}

func (d *Door) getAssignment(w http.ResponseWriter, r *http.Request, s *session) error {
	q, err := d.parse(r, s, ofObject, roleAssignments)
	if err != nil {
		return err
	}
	if err := s.need(actionRoles + "/read"); err != nil {
		return err
	}
	a, ok := s.assignment(r.PathValue("id"))
	if !ok {
		return notFound(r.PathValue("id"))
	}
	return d.answer(w, r, s, http.StatusOK, assignmentObject(a), q)
}

func (d *Door) createAssignment(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	role, _ := b.text("roleDefinitionId")
	who, _ := b.text("principalId")
	at, _ := b.text("directoryScopeId")
	if err := b.done(); err != nil {
		return err
	}
	return d.giveRole(w, r, s, role, who, at, func(a directory.RoleAssignment) error {
		return d.created(w, r, s, assignmentObject(a))
	})
}

// addRoleMember gives a role as the older API of directoryRoles does.
func (d *Door) addRoleMember(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	text, _ := b.text("@odata.id")
	if err := b.done(); err != nil {
		return err
	}
	who, err := d.parseLink(text)
	if err != nil {
		return err
	}
	return d.giveRole(w, r, s, roleKey(r), who.String(), "/", func(directory.RoleAssignment) error { return done(w) })
}

// roleKey is the role that a path names, by its id or in the form (roleTemplateId='…').
func roleKey(r *http.Request) string {
	if key, ok := between(r.PathValue("id"), "(roleTemplateId='", "')"); ok {
		return key
	}
	return r.PathValue("id")
}

func (d *Door) giveRole(w http.ResponseWriter, r *http.Request, s *session, role, who, at string, answer func(directory.RoleAssignment) error) error {
	var a directory.RoleAssignment
	err := d.commit(r.Context(), s, "directory role given", func(s *session) ([]estate.Op, error) {
		var err error
		if a, err = s.readAssignment(role, who, at); err != nil {
			// Who may not give roles is told no more than that.
			if denied := s.need(actionRoles + "/write"); denied != nil {
				return nil, denied
			}
			return nil, err
		}
		if err := s.needAll(serve.ToPut(s.est, nil, a)); err != nil {
			return nil, err
		}
		if _, taken := s.est.Get(a.Key()); taken {
			return nil, serve.Refuse(http.StatusBadRequest, "Request_BadRequest", "A conflicting object with one or more of the specified property values is present in the directory.")
		}
		return []estate.Op{{Put: a}}, nil
	})
	if err != nil {
		return err
	}
	return answer(a)
}

// readAssignment reads an assignment to somebody of the caller's tenant.
func (s *session) readAssignment(role, who, at string) (a directory.RoleAssignment, err error) {
	for _, p := range []struct {
		name, text string
	}{{"roleDefinitionId", role}, {"principalId", who}, {"directoryScopeId", at}} {
		if p.text == "" {
			return a, required(p.name, "RoleAssignment")
		}
	}
	if a.Role, err = directory.ParseRoleID(role); err != nil {
		return a, notFound(role)
	}
	if _, known := directoryrole.Get(a.Role); !known {
		return a, notFound(role)
	}
	id, err := principal.ParseID(who)
	o, ok := s.object(id)
	if err != nil || !ok {
		return a, notFound(who)
	}
	if a.Principal = o.id; at == "/" {
		return a, nil
	}
	object, err := principal.ParseID(strings.TrimPrefix(at, "/"))
	if err != nil || !strings.HasPrefix(at, "/") {
		return a, bad("The directoryScopeId must be / or /{id} of an object of the directory.")
	}
	if to, ok := s.anything(object); !ok || to.kind == directoryRoles {
		return a, notFound(at)
	}
	a.Object = object
	return a, nil
}

func (d *Door) removeAssignment(w http.ResponseWriter, r *http.Request, s *session) error {
	return d.takeRole(w, r, s, func(s *session) (directory.RoleAssignment, bool) { return s.assignment(r.PathValue("id")) })
}

func (d *Door) removeRoleMember(w http.ResponseWriter, r *http.Request, s *session) error {
	return d.takeRole(w, r, s, func(s *session) (directory.RoleAssignment, bool) {
		a, err := s.readAssignment(roleKey(r), r.PathValue("other"), "/")
		_, ok := s.est.Get(a.Key())
		return a, err == nil && ok
	})
}

func (d *Door) takeRole(w http.ResponseWriter, r *http.Request, s *session, find func(*session) (directory.RoleAssignment, bool)) error {
	err := d.commit(r.Context(), s, "directory role taken", func(s *session) ([]estate.Op, error) {
		a, ok := find(s)
		if !ok {
			if err := s.need(actionRoles + "/delete"); err != nil {
				return nil, err
			}
			return nil, notFound(r.PathValue("id"))
		}
		return []estate.Op{{Delete: a.Key()}}, s.needAll(serve.ToDelete(s.est, a))
	})
	if err != nil {
		return err
	}
	return done(w)
}

// getRole answers a directory role that somebody has.
func (d *Door) getRole(w http.ResponseWriter, r *http.Request, s *session) error {
	q, err := d.parse(r, s, ofObject, directoryRoles)
	if err != nil {
		return err
	}
	o, err := s.role(r)
	if err != nil {
		return err
	}
	return d.answer(w, r, s, http.StatusOK, o, q)
}

func (s *session) role(r *http.Request) (object, error) {
	if err := s.need(actionRoles + "/read"); err != nil {
		return object{}, err
	}
	id, err := directory.ParseRoleID(roleKey(r))
	o, ok := roleObject(id)
	if err != nil || !ok {
		return object{}, notFound(r.PathValue("id"))
	}
	return o, nil
}

func (d *Door) roleMembers(w http.ResponseWriter, r *http.Request, s *session) error {
	q, err := d.parse(r, s, ofList, principalKinds()...)
	if err != nil {
		return err
	}
	o, err := s.role(r)
	if err != nil {
		return err
	}
	return d.page(w, r, s, q, "directoryObjects", s.roleMembers(o))
}
