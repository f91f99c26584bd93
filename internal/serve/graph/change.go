package graph

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// create returns the op that makes a record, if the caller may.
func (s *session) create(next record.Record) ([]estate.Op, error) {
	if err := s.needAll(serve.ToPut(s.est, nil, next)); err != nil {
		return nil, err
	}
	return []estate.Op{{Put: next}}, serve.Unclaimed(s.est, next)
}

// update returns the op that writes a record over another, if the caller may.
func (s *session) update(old, next record.Record) ([]estate.Op, error) {
	return []estate.Op{{Put: next}}, s.needAll(serve.ToPut(s.est, old, next))
}

// remove deletes an object with its memberships and all that makes no sense
// without it, in one transaction: nobody who comes later inherits (DIR-05).
func (d *Door) remove(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		text := r.PathValue("id")
		p := func(s *session) ([]estate.Op, error) {
			if err := s.need(k.action + "/delete"); err != nil {
				return nil, err
			}
			o, ok := k.find(s, text)
			if !ok {
				return nil, notFound(text)
			}
			if sp, ok := o.v.(servicePrincipal); ok && sp.identity != nil {
				return nil, bad("A managed identity is deleted as the Azure resource that it belongs to, not in the directory.")
			}
			ops, needs, err := serve.Deletion(s.est, o.key, true)
			if err != nil {
				return nil, err
			}
			return ops, s.needAll(needs)
		}
		if _, err := p(s); err != nil {
			return err
		}
		var private []store.PrivateOp
		if o, _ := k.find(s, text); k == applications {
			var err error
			if private, err = d.forget(r.Context(), o); err != nil {
				return err
			}
		}
		if err := d.commit(r.Context(), s, k.name+": deleted", p, private...); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}
