package api

import (
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

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

// reader returns a function that tells whether the caller may read a record. It
// remembers answers, because most records share their place with many others.
func (s *session) reader() func(record.Record) bool {
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
