package graph

import (
	"bytes"
	"context"
	"iter"
	"net/http"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

func (d *Door) me(w http.ResponseWriter, r *http.Request, s *session) error {
	if s.caller.Kind != principal.User {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
	}
	q, err := d.parse(r, s, ofObject, users)
	if err != nil {
		return err
	}
	o, ok := s.object(s.caller.ID)
	if !ok {
		return notFound(s.caller.ID.String())
	}
	return d.answer(w, r, s, http.StatusOK, o, q.fields)
}

func (d *Door) get(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		q, err := d.parse(r, s, ofObject, k)
		if err != nil {
			return err
		}
		o, err := s.find(k, r.PathValue("id"))
		if err != nil {
			return err
		}
		return d.answer(w, r, s, http.StatusOK, o, q.fields)
	}
}

func (d *Door) list(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		q, err := d.parse(r, s, ofList, k)
		if err != nil {
			return err
		}
		if err := s.need(k.action + "/read"); err != nil {
			return err
		}
		return d.page(w, r, s, q, k.name, k.all(s))
	}
}

// members lists what is in a group. Of members that the caller may not read he
// sees the object id and what they are, as in Graph.
func (d *Door) members(of func(*estate.Snapshot, principal.ID) iter.Seq[principal.ID]) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		q, err := d.parse(r, s, ofLinks, users, groups, servicePrincipals)
		if err != nil {
			return err
		}
		if err := s.need(groups.action + "/read"); err != nil {
			return err
		}
		g, err := s.find(groups, r.PathValue("id"))
		if err != nil {
			return err
		}
		return d.page(w, r, s, q, "directoryObjects", s.objects(of(s.est, g.id)))
	}
}

func (s *session) objects(ids iter.Seq[principal.ID]) iter.Seq[object] {
	return func(yield func(object) bool) {
		for id := range ids {
			if o, ok := s.object(id); ok && !yield(o) {
				return
			}
		}
	}
}

// page answers the objects that pass the filter, in the order of their ids.
func (d *Door) page(w http.ResponseWriter, r *http.Request, s *session, q query, name string, all iter.Seq[object]) error {
	var found []object
	total := 0
	for o := range all {
		if !q.filter.match(o.kind, s, o.v) {
			continue
		}
		total++
		if bytes.Compare(o.id[:], q.after[:]) > 0 {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b object) int { return bytes.Compare(a.id[:], b.id[:]) })
	out := map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#" + name}
	if q.count {
		out["@odata.count"] = total
	}
	if len(found) > q.top {
		found = found[:q.top]
		out["@odata.nextLink"] = d.next(r, s, q, found[q.top-1].id)
	}
	value, err := d.renderAll(r.Context(), s, found, q.fields, name == "directoryObjects")
	if err != nil {
		return err
	}
	out["value"] = value
	return serve.JSON(w, http.StatusOK, out)
}

// renderAll shows objects. Mixed ones say what they are; those of a kind that the
// caller may not read show their id alone, himself apart.
func (d *Door) renderAll(ctx context.Context, s *session, list []object, fields []string, mixed bool) ([]map[string]any, error) {
	may := make(map[*kind]bool)
	value := make([]map[string]any, len(list))
	for i, o := range list {
		shown := fields
		if mixed {
			if _, known := may[o.kind]; !known {
				may[o.kind] = s.need(o.kind.action+"/read") == nil
			}
			if !may[o.kind] && o.id != s.caller.ID {
				shown = []string{"id"}
			}
		}
		m, err := d.render(ctx, s, o, shown)
		if err != nil {
			return nil, err
		}
		if mixed {
			m["@odata.type"] = o.kind.odata
		}
		value[i] = m
	}
	return value, nil
}

// render shows some properties of an object, or all.
func (d *Door) render(ctx context.Context, s *session, o object, fields []string) (map[string]any, error) {
	all := o.kind.show(s, o.v)
	if a, ok := o.v.(directory.Application); ok && (fields == nil || slices.Contains(fields, "passwordCredentials")) {
		secrets, err := d.secrets(ctx, a.AppID)
		if err != nil {
			return nil, err
		}
		all["passwordCredentials"] = secrets
	}
	if fields == nil {
		return all, nil
	}
	some := make(map[string]any, len(fields))
	for _, name := range fields {
		if v, ok := all[name]; ok {
			some[name] = v
		}
	}
	return some, nil
}

func (d *Door) answer(w http.ResponseWriter, r *http.Request, s *session, status int, o object, fields []string) error {
	m, err := d.render(r.Context(), s, o, fields)
	if err != nil {
		return err
	}
	m["@odata.context"] = d.conf.Base + "/v1.0/$metadata#" + o.kind.name + "/$entity"
	if status == http.StatusCreated {
		w.Header().Set("Location", d.conf.Base+"/v1.0/"+o.kind.name+"/"+o.id.String())
	}
	return serve.JSON(w, status, m)
}
