package graph

import (
	"iter"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A kind is a sort of object of the directory.
type kind struct {
	name   string // of its collection
	odata  string // its @odata.type
	action string // the resource type that guards it
	// of says which principals these are; other kinds have none.
	of []principal.Kind
	// properties are the names of all; show returns them.
	properties []string
	show       func(*session, any) map[string]any
	// Properties by which $filter may search; texts order as well.
	texts map[string]func(any) string
	flags map[string]func(any) bool
	lists map[string]func(*session, any) []string
}

// An object is one of a kind.
type object struct {
	kind *kind
	id   principal.ID
	key  record.Key
	v    any
}

// all yields the objects of the caller's tenant, in no order.
func (k *kind) all(s *session) iter.Seq[object] {
	return func(yield func(object) bool) {
		if k == applications {
			for a := range s.est.Applications() {
				if a.Tenant == s.tenant && !yield(applicationObject(a)) {
					return
				}
			}
		}
		for p := range s.est.Principals() {
			if p.Tenant != s.tenant || !slices.Contains(k.of, p.Kind) {
				continue
			}
			if o, ok := s.object(p.ID); ok && !yield(o) {
				return
			}
		}
	}
}

// me is the key by which a path names the caller.
const me = "(me)"

// find returns the object that a path names, in the caller's tenant: by its object
// id, a user also by his user principal name, a program by its client id in the
// form (appId='…').
func (k *kind) find(s *session, text string) (object, bool) {
	if text == me {
		o, ok := s.object(s.caller.ID)
		return o, ok && o.kind == k
	}
	if key, ok := between(text, "(appId='", "')"); ok {
		return k.byApp(s, key)
	}
	if key, ok := between(text, "('", "')"); ok {
		text = strings.ReplaceAll(key, "''", "'")
	}
	if k == users && strings.Contains(text, "@") {
		u, ok := s.est.UserByName(text)
		if !ok {
			return object{}, false
		}
		return s.object(u.ID)
	}
	id, err := principal.ParseID(text)
	if err != nil {
		return object{}, false
	}
	o, ok := s.object(id)
	if k == applications {
		var a directory.Application
		a, ok = s.est.ApplicationByID(id)
		o = applicationObject(a)
		ok = ok && a.Tenant == s.tenant
	}
	if !ok || o.kind != k {
		return object{}, false
	}
	return o, true
}

func between(text, begin, end string) (string, bool) {
	if len(text) < len(begin)+len(end) || !strings.HasPrefix(text, begin) || !strings.HasSuffix(text, end) {
		return "", false
	}
	return text[len(begin) : len(text)-len(end)], true
}

func (k *kind) byApp(s *session, text string) (object, bool) {
	app, err := parseApp(text)
	if err != nil {
		return object{}, false
	}
	switch k {
	case applications:
		a, ok := s.est.Application(app)
		return applicationObject(a), ok && a.Tenant == s.tenant
	case servicePrincipals:
		if sp, ok := s.est.ServicePrincipalOf(s.tenant, app); ok {
			return s.object(sp.ID)
		}
		if mi, ok := s.est.ManagedIdentityByClient(app); ok {
			return s.object(mi.ID)
		}
	}
	return object{}, false
}

func parseApp(text string) (app directory.AppID, err error) {
	if err = app.UnmarshalText([]byte(text)); err == nil && app.IsZero() {
		err = guid.ErrInvalid
	}
	return app, err
}

func isID(text string) bool {
	_, err := principal.ParseID(text)
	return err == nil
}

func applicationObject(a directory.Application) object {
	return object{applications, a.ID, a.Key(), a}
}

// object returns the principal with an object id in the caller's tenant. Whose
// id is that of another tenant is not there (DIR-14).
func (s *session) object(id principal.ID) (object, bool) {
	p, ok := s.est.Principal(id)
	if !ok || p.Tenant != s.tenant {
		return object{}, false
	}
	switch p.Kind {
	case principal.User:
		u, ok := s.est.User(id)
		return object{users, id, u.Key(), u}, ok
	case principal.Group:
		g, ok := s.est.Group(id)
		return object{groups, id, g.Key(), g}, ok
	case principal.ServicePrincipal:
		sp, ok := s.est.ServicePrincipal(id)
		return object{servicePrincipals, id, sp.Key(), servicePrincipal{ServicePrincipal: sp}}, ok
	case principal.ManagedIdentity:
		mi, ok := s.est.ManagedIdentity(id)
		return object{servicePrincipals, id, mi.Key(), servicePrincipal{directory.ServicePrincipal{
			ID: mi.ID, AppID: mi.ClientID, Tenant: mi.Tenant, DisplayName: mi.DisplayName, Disabled: mi.Disabled}, &mi}}, ok
	}
	return object{}, false
}

// anything is object for applications and roles of the directory as well.
func (s *session) anything(id principal.ID) (object, bool) {
	if a, ok := s.est.ApplicationByID(id); ok && a.Tenant == s.tenant {
		return applicationObject(a), true
	}
	if o, ok := roleObject(directory.RoleID(id)); ok {
		return o, true
	}
	return s.object(id)
}

// find returns the object that a path names, if the caller may read it. Who may
// not learns nothing about whether it is there. A nil kind is anything.
func (s *session) find(k *kind, text string) (object, error) {
	kinds := []*kind{k}
	var o object
	var ok bool
	if text == me && s.caller.Kind != principal.User {
		return object{}, serve.Refuse(400, "BadRequest", "/me request is only valid with delegated authentication flow.")
	}
	if k != nil {
		o, ok = k.find(s, text)
	} else {
		kinds = append(principalKinds(), applications)
		if id, err := principal.ParseID(text); err == nil {
			if o, ok = s.anything(id); ok {
				kinds = []*kind{o.kind}
			}
		}
	}
	if err := s.needRead(o, kinds...); err != nil {
		return object{}, err
	}
	if !ok {
		return object{}, notFound(text)
	}
	return o, nil
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
