package api

import (
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// estate answers the records that the caller may read, in the order in which they
// can be put again. ?kind= limits it to some kinds.
func (d *Door) estate(w http.ResponseWriter, r *http.Request, s *session) error {
	var kinds []record.Kind
	for _, k := range r.URL.Query()["kind"] {
		if !slices.Contains(record.Kinds, record.Kind(k)) {
			return record.Invalid("there is no kind %.40q", k)
		}
		kinds = append(kinds, record.Kind(k))
	}
	out := wire.Estate{Revision: s.est.Revision(), Records: []wire.Record{}}
	may := s.reader()
	for rec := range s.est.Records() {
		kind := rec.Key().Kind
		if kinds != nil && !slices.Contains(kinds, kind) || !may(rec) {
			continue
		}
		spec, err := record.Marshal(rec)
		if err != nil {
			return err
		}
		out.Records = append(out.Records, wire.Record{Kind: kind, Spec: jsontext.Value(spec)})
	}
	return serve.JSON(w, http.StatusOK, out)
}

// reader returns a function that tells whether the caller may read a record, and
// what it refers to: a membership of somebody who is not shown would say that he
// is there. It remembers answers, because many records share their place.
func (s *session) reader() func(record.Record) bool {
	may := s.placeReader()
	object := func(id principal.ID) bool {
		if a, ok := s.est.ApplicationByID(id); ok {
			return may(a)
		}
		p, ok := s.est.Principal(id)
		if !ok {
			return false
		}
		r, ok := s.est.Get(record.KeyOf(record.Kind(p.Kind), id.String()))
		return ok && may(r)
	}
	return func(r record.Record) bool {
		switch ref := r.(type) {
		case directory.Membership:
			return may(r) && object(ref.Group) && object(ref.Member)
		case directory.Ownership:
			return may(r) && object(ref.Object) && object(ref.Owner)
		case directory.RoleAssignment:
			return may(r) && object(ref.Principal) && (ref.Object.IsZero() || object(ref.Object))
		}
		return may(r)
	}
}

func (s *session) placeReader() func(record.Record) bool {
	type question struct {
		typ string
		at  scope.Scope
	}
	known := make(map[question]bool)
	return func(r record.Record) bool {
		typ, places := serve.PlacesOf(s.est, r)
		return slices.ContainsFunc(places, func(at scope.Scope) bool {
			q := question{typ, at}
			may, ok := known[q]
			if !ok {
				may = s.may(typ+"/read", at, nil)
				known[q] = may
			}
			return may
		})
	}
}
