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
	if err != nil {
		return object{}, err
	}
	if o.id == s.caller.ID {
		return o, nil
	}
	return o, s.need(groups.action + "/read")
}

func (d *Door) getMemberGroups(k *kind) handler {
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
		return d.ids(w, s.est.GroupsOf(o.id))
	}
}

func (d *Door) checkMemberGroups(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		b := s.sent()
		texts, _ := b.list("groupIds")
		if err := b.done(); err != nil {
			return err
		}
		if len(texts) == 0 || len(texts) > maxGroups {
			return bad("groupIds must name 1 to 20 groups.")
		}
		o, err := s.whose(k, r)
		if err != nil {
			return err
		}
		asked, err := parseIDs(texts)
		if err != nil {
			return err
		}
		in := make([]principal.ID, 0, len(asked))
		for _, g := range asked {
			if s.est.IsMember(o.id, g) {
				in = append(in, g)
			}
		}
		return d.ids(w, in)
	}
}

func (d *Door) ids(w http.ResponseWriter, list []principal.ID) error {
	texts := make([]string, len(list))
	for i, id := range list {
		texts[i] = id.String()
	}
	return serve.JSON(w, http.StatusOK, map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#Collection(Edm.String)", "value": texts})
}

func (d *Door) memberOf(k *kind, transitive bool) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		q, err := d.parse(r, s, ofLinks, groups)
		if err != nil {
			return err
		}
		o, err := s.whose(k, r)
		if err != nil {
			return err
		}
		in := s.est.GroupsOf(o.id)
		if !transitive {
			in = slices.DeleteFunc(slices.Clone(in), func(g principal.ID) bool {
				_, direct := s.est.Get(membership(g, o.id).Key())
				return !direct
			})
		}
		return d.page(w, r, s, q, "directoryObjects", s.objects(slices.Values(in)))
	}
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
	kinds := []*kind{users, groups, servicePrincipals}
	if len(types) > 0 {
		kinds = nil
	}
	for _, t := range types {
		switch t {
		case "directoryObject":
			kinds = append(kinds, users, groups, servicePrincipals)
		case "user":
			kinds = append(kinds, users)
		case "group":
			kinds = append(kinds, groups)
		case "servicePrincipal":
			kinds = append(kinds, servicePrincipals)
		case "device", "directoryObjectPartnerReference": // there are none here
		default:
			return bad("The type '" + serve.Printable(t, 64) + "' is not one of user, group, servicePrincipal, device, directoryObject.")
		}
	}
	found := []object{}
	for _, id := range ids {
		if err := s.needRead(id, kinds...); err != nil {
			return err
		}
		if o, ok := s.object(id); ok && slices.Contains(kinds, o.kind) {
			found = append(found, o)
		}
	}
	value, err := d.renderAll(r.Context(), s, found, nil, true)
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
