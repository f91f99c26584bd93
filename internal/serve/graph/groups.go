package graph

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// group reads the properties of a group that a client may set, and returns what
// they make of one. What is not there stays.
func (b *body) group() func(*directory.Group) error {
	name, hasName := b.text("displayName")
	nickname, hasNickname := b.text("mailNickname")
	_, hasDescription := b.members["description"]
	description, _ := b.text("description")
	mail, security := b.flag("mailEnabled", false), b.flag("securityEnabled", true)
	return func(g *directory.Group) error {
		if mail || !security {
			return bad("Only security groups are kept here: mailEnabled must be false and securityEnabled true.")
		}
		if hasName {
			g.DisplayName = name
		}
		if hasNickname {
			if err := directory.CheckNickname(nickname); err != nil {
				return err
			}
			g.MailNickname = nickname
		}
		if hasDescription {
			g.Description = description
		}
		return nil
	}
}

func (d *Door) createGroup(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(groups.action + "/write"); err != nil {
		return err
	}
	b := s.sent()
	for _, name := range []string{"displayName", "mailEnabled", "mailNickname", "securityEnabled"} {
		if _, has := b.members[name]; !has && b.err == nil {
			return required(name, "Group")
		}
	}
	set := b.group()
	g := directory.Group{ID: principal.NewID(), Tenant: s.tenant, RoleAssignable: b.flag("isAssignableToRole", false)}
	members, err1 := d.bound(b, memberRef)
	owners, err2 := d.bound(b, ownerRef)
	for _, err := range []error{err1, err2, b.done(), set(&g)} {
		if err != nil {
			return err
		}
	}
	if g.MailNickname == "" {
		return required("mailNickname", "Group")
	}
	err := d.commit(r.Context(), s, "group created", func(s *session) ([]estate.Op, error) {
		ops, err := s.create(g)
		if err != nil {
			return nil, err
		}
		// Who may make a group may say who is in it: it has nothing yet.
		for _, ref := range []struct {
			reference
			ids []principal.ID
		}{{memberRef, members}, {ownerRef, owners}} {
			for _, id := range ref.ids {
				to, ok := s.object(id)
				if !ok {
					return nil, notFound(id.String())
				}
				ops = append(ops, estate.Op{Put: ref.record(g.ID, to.id)})
			}
			if len(ref.ids) > 0 {
				if err := s.need(groups.action + ref.action + "/write"); err != nil {
					return nil, err
				}
			}
		}
		return ops, nil
	})
	if err != nil {
		return err
	}
	return d.created(w, r, s, object{groups, g.ID, g.Key(), g})
}

func (d *Door) updateGroup(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	set := b.group()
	bodyErr := b.done()
	err := d.commit(r.Context(), s, "group changed", func(s *session) ([]estate.Op, error) {
		o, err := s.target(groups, r, groups.action+"/write")
		if err != nil {
			return nil, err
		}
		if bodyErr != nil {
			return nil, bodyErr
		}
		old := o.v.(directory.Group)
		next := old
		if err := set(&next); err != nil {
			return nil, err
		}
		return s.update(old, next)
	})
	if err != nil {
		return err
	}
	return done(w)
}
