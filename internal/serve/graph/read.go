package graph

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strconv"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

func (d *Door) get(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		q, err := d.parse(r, s, ofObject, kindsOf(k)...)
		if err != nil {
			return err
		}
		o, err := s.find(k, r.PathValue("id"))
		if err != nil {
			return err
		}
		return d.answer(w, r, s, http.StatusOK, o, q)
	}
}

// kindsOf is a kind, or for nil those of all principals.
func kindsOf(k *kind) []*kind {
	if k == nil {
		return principalKinds()
	}
	return []*kind{k}
}

func (d *Door) list(k *kind, all func(*session) iter.Seq[object]) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		q, err := d.parse(r, s, ofList, k)
		if err != nil {
			return err
		}
		if err := s.need(k.action + "/read"); err != nil {
			return err
		}
		return d.page(w, r, s, q, k.name, all(s))
	}
}

// number answers how many objects a collection has, as plain text.
func (d *Door) number(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		q, err := d.parse(r, s, ofCount, k)
		if err != nil {
			return err
		}
		if err := eventual(r, "$count"); err != nil {
			return err
		}
		if err := s.need(k.action + "/read"); err != nil {
			return err
		}
		n := 0
		for o := range k.all(s) {
			if q.passes(s, o) {
				n++
			}
		}
		w.Header().Set("Content-Type", "text/plain")
		_, err = w.Write([]byte(strconv.Itoa(n)))
		return err
	}
}

// follow answers what a link of an object leads to. Of objects that the caller may
// not read he sees the id and what they are, as in Graph. as, when it is not nil,
// leaves out what is of another kind.
func (d *Door) follow(k *kind, l link, as *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		shown, name := l.kinds, "directoryObjects"
		if as != nil {
			shown, name = []*kind{as}, as.name
		}
		q, err := d.parse(r, s, ofList, shown...)
		if err != nil {
			return err
		}
		o, err := s.find(k, r.PathValue("id"))
		if err != nil {
			return err
		}
		return d.page(w, r, s, q, name, only(as, l.to(s, o)))
	}
}

func only(k *kind, all iter.Seq[object]) iter.Seq[object] {
	if k == nil {
		return all
	}
	return func(yield func(object) bool) {
		for o := range all {
			if o.kind == k && !yield(o) {
				return
			}
		}
	}
}

// passes reports whether a query wants an object. Who may not read it must not be
// able to find out what it is called by asking for it (ARM-11).
func (q *query) passes(s *session, o object) bool {
	if q.filter == nil && q.search == nil {
		return true
	}
	return q.filter.match(s, o) && q.search.match(o) && s.mayRead(o)
}

// page answers the objects that a query wants, in its order.
func (d *Door) page(w http.ResponseWriter, r *http.Request, s *session, q query, name string, all iter.Seq[object]) error {
	var found []object
	total := 0
	begun := !q.after.id.IsZero()
	if q.order.field != "" && name == "directoryObjects" {
		all = readable(s, all) // else the order would tell what the others are called
	}
	for o := range all {
		if !q.passes(s, o) {
			continue
		}
		total++
		if !begun || q.order.compare(q.order.place(o), q.after) > 0 {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b object) int { return q.order.compare(q.order.place(a), q.order.place(b)) })
	out := map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#" + name}
	if q.count {
		out["@odata.count"] = total
	}
	if len(found) > q.top {
		found = found[:q.top]
		out["@odata.nextLink"] = d.next(r, s, q, found[q.top-1])
	}
	value, err := d.renderAll(r.Context(), s, found, q, name == "directoryObjects")
	if err != nil {
		return err
	}
	out["value"] = value
	return serve.JSON(w, http.StatusOK, out)
}

func readable(s *session, all iter.Seq[object]) iter.Seq[object] {
	return func(yield func(object) bool) {
		for o := range all {
			if s.mayRead(o) && !yield(o) {
				return
			}
		}
	}
}

// renderAll shows objects. Mixed ones say what they are; those that the caller may
// not read show their id alone.
func (d *Door) renderAll(ctx context.Context, s *session, list []object, q query, mixed bool) ([]map[string]any, error) {
	value := make([]map[string]any, len(list))
	for i, o := range list {
		shown := q
		if !s.mayRead(o) {
			shown.fields, shown.expand = []string{"id"}, nil
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

// render shows some properties of an object, or all, and what its links lead to.
func (d *Door) render(ctx context.Context, s *session, o object, q query) (map[string]any, error) {
	all := o.kind.show(s, o.v)
	if err := d.showCredentials(ctx, s, o, q.fields, all); err != nil {
		return nil, err
	}
	shown := all
	if q.fields != nil {
		shown = make(map[string]any, len(q.fields))
		for _, name := range q.fields {
			if v, ok := all[name]; ok {
				shown[name] = v
			}
		}
	}
	for _, e := range q.expand {
		var list []object
		for to := range e.link.to(s, o) {
			if list = append(list, to); len(list) == maxExpanded {
				break
			}
		}
		value, err := d.renderAll(ctx, s, list, query{fields: e.fields}, true)
		if err != nil {
			return nil, err
		}
		shown[e.name] = value
		if e.link.one && len(value) == 1 {
			shown[e.name] = value[0]
		}
	}
	return shown, nil
}

// showCredentials fills in the credentials of a program: they are not records.
func (d *Door) showCredentials(ctx context.Context, s *session, o object, fields []string, all map[string]any) error {
	of, ok := holder(o)
	if !ok {
		return nil
	}
	for property, list := range map[string]func() ([]issue.Credential, error){
		"passwordCredentials": func() ([]issue.Credential, error) { return issue.Secrets(ctx, d.conf.State, of) },
		"keyCredentials":      func() ([]issue.Credential, error) { return issue.Certificates(ctx, d.conf.State, of) },
	} {
		if fields != nil && !slices.Contains(fields, property) {
			continue
		}
		credentials, err := list()
		if err != nil {
			return err
		}
		shown := make([]map[string]any, len(credentials))
		for i, c := range credentials {
			shown[i] = credentialBody(c)
		}
		all[property] = shown
	}
	return nil
}

// holder is whose credentials an object shows: those of an application, or of a
// service principal of one.
func holder(o object) (issue.Holder, bool) {
	switch v := o.v.(type) {
	case directory.Application:
		return issue.Holder{App: v.AppID}, true
	case servicePrincipal:
		return issue.Holder{App: v.AppID, Principal: v.ID}, v.identity == nil
	}
	return issue.Holder{}, false
}

func (d *Door) answer(w http.ResponseWriter, r *http.Request, s *session, status int, o object, q query) error {
	m, err := d.render(r.Context(), s, o, q)
	if err != nil {
		return err
	}
	m["@odata.context"] = d.conf.Base + "/v1.0/$metadata#" + o.kind.name + "/$entity"
	if status == http.StatusCreated {
		w.Header().Set("Location", d.conf.Base+"/v1.0/"+o.kind.name+"/"+o.id.String())
	}
	return serve.JSON(w, status, m)
}

// created answers a new object.
func (d *Door) created(w http.ResponseWriter, r *http.Request, s *session, o object) error {
	s.est = d.conf.State.Current() // its own revision, or a later one
	return d.answer(w, r, s, http.StatusCreated, o, query{})
}

// done answers a change that has nothing to show.
func done(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}
