package graph

import (
	"net/http"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Bounds of what may be asked at once, as in Graph.
const (
	maxIDs    = 1000 // of getByIds
	maxGroups = 20   // of checkMemberGroups
)

// whose returns whose groups are asked for. His own everybody may know; to know
// those of others one must be allowed to read them and groups.
func (s *session) whose(k *kind, r *http.Request) (object, error) {
	o, err := s.find(k, r.PathValue("id"))
	if err != nil || o.id == s.caller.ID {
		return o, err
	}
	return o, s.need(groups.action + "/read")
}

// getMember answers the ids of the groups that somebody is in, and with roles of
// the directory roles that he has.
func (d *Door) getMember(k *kind, roles bool) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		b := s.sent()
		b.flag("securityEnabledOnly", false) // all groups here are security groups
		if err := b.done(); err != nil {
			return err
		}
		o, err := s.whose(k, r)
		if err != nil {
			return err
		}
		ids := s.est.GroupsOf(o.id)
		if roles {
			ids = s.memberObjects(o)
		}
		return d.ids(w, ids)
	}
}

// checkMember answers which of some ids are among those that getMember answers.
func (d *Door) checkMember(k *kind, property string, roles bool) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		b := s.sent()
		texts, _ := b.list(property)
		if err := b.done(); err != nil {
			return err
		}
		if len(texts) == 0 || len(texts) > maxGroups {
			return bad(property + " must name 1 to 20 objects.")
		}
		o, err := s.whose(k, r)
		if err != nil {
			return err
		}
		asked, err := parseIDs(texts)
		if err != nil {
			return err
		}
		has := s.est.GroupsOf(o.id)
		if roles {
			has = s.memberObjects(o)
		}
		return d.ids(w, slices.DeleteFunc(asked, func(id principal.ID) bool { return !slices.Contains(has, id) }))
	}
}

func (d *Door) ids(w http.ResponseWriter, list []principal.ID) error {
	texts := make([]string, len(list))
	for i, id := range list {
		texts[i] = id.String()
	}
	return serve.JSON(w, http.StatusOK, map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#Collection(Edm.String)", "value": texts})
}

// getByIDs answers what there is of a list of ids. Whose ids are not there are
// left out, so whoever asks must be allowed to read every type that he asks for.
func (d *Door) getByIDs(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	texts, _ := b.list("ids")
	types, _ := b.list("types")
	if err := b.done(); err != nil {
		return err
	}
	if len(texts) == 0 || len(texts) > maxIDs {
		return bad("ids must name 1 to 1,000 objects.")
	}
	ids, err := parseIDs(texts)
	if err != nil {
		return err
	}
	kinds := append(principalKinds(), applications)
	if len(types) > 0 {
		kinds = nil
	}
	for _, t := range types {
		switch t {
		case "directoryObject":
			kinds = append(kinds, append(principalKinds(), applications)...)
		case "user":
			kinds = append(kinds, users)
		case "group":
			kinds = append(kinds, groups)
		case "servicePrincipal":
			kinds = append(kinds, servicePrincipals)
		case "application":
			kinds = append(kinds, applications)
		case "device", "directoryObjectPartnerReference": // there are none here
		default:
			return bad("The type '" + serve.Printable(t, 64) + "' is not one of user, group, servicePrincipal, application, device, directoryObject.")
		}
	}
	found := []object{}
	for _, id := range ids {
		if err := s.needRead(object{id: id}, kinds...); err != nil {
			return err
		}
		if o, ok := s.anything(id); ok && slices.Contains(kinds, o.kind) {
			found = append(found, o)
		}
	}
	value, err := d.renderAll(r.Context(), s, found, query{}, true)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#directoryObjects", "value": value})
}

// parseIDs reads object ids, each once.
func parseIDs(texts []string) ([]principal.ID, error) {
	ids := make([]principal.ID, 0, len(texts))
	seen := make(map[principal.ID]bool, len(texts))
	for _, text := range texts {
		id, err := principal.ParseID(text)
		if err != nil {
			return nil, bad("Invalid GUID: '" + serve.Printable(text, 64) + "'.")
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}
