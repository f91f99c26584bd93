package graph

import (
	"net/http"
	"reflect"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
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

// target returns the object that a request names, if the caller may do all of some
// things with it. Whether it is there is told to him alone.
func (s *session) target(k *kind, r *http.Request, actions ...string) (object, error) {
	text := r.PathValue("id")
	o, ok := k.find(s, text)
	if err := s.needOf(o, actions...); err != nil {
		return object{}, err
	}
	if !ok {
		return object{}, notFound(text)
	}
	return o, nil
}

// notManaged refuses to change a managed identity here: it is a part of an Azure
// resource, and whoever rules that rules it.
func notManaged(o object) error {
	if sp, ok := o.v.(servicePrincipal); ok && sp.identity != nil {
		return bad("A managed identity is changed and deleted as the Azure resource that it belongs to, not in the directory.")
	}
	return nil
}

// remove deletes an object with its memberships and all that makes no sense
// without it, in one transaction: nobody who comes later inherits (DIR-05).
func (d *Door) remove(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		p := func(s *session) ([]estate.Op, error) {
			o, err := s.target(k, r, k.action+"/delete")
			if err == nil {
				err = notManaged(o)
			}
			if err != nil {
				return nil, err
			}
			ops, needs, err := serve.Deletion(s.est, o.key, true)
			if err != nil {
				return nil, err
			}
			return ops, s.needAll(needs)
		}
		ops, err := p(s)
		if err != nil {
			return err
		}
		private, err := issue.Ending(r.Context(), d.conf.State, s.est, ops)
		if err != nil {
			return err
		}
		err = d.commit(r.Context(), s, k.name+": deleted", func(now *session) ([]estate.Op, error) {
			ops, err := p(now)
			if err != nil || now.est.Revision() == s.est.Revision() {
				return ops, err
			}
			again, err := issue.Ending(r.Context(), d.conf.State, now.est, ops)
			if err == nil && !reflect.DeepEqual(again, private) {
				err = store.ErrConflict
			}
			return ops, err
		}, private...)
		if err != nil {
			return err
		}
		return done(w)
	}
}
