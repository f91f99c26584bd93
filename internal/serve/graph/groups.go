package graph

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

func (d *Door) createGroup(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(groups.action + "/write"); err != nil {
		return err
	}
	b := s.sent()
	_, hasMail := b.members["mailEnabled"]
	_, hasSecurity := b.members["securityEnabled"]
	name, hasName := b.text("displayName")
	nickname, hasNickname := b.text("mailNickname")
	description, _ := b.text("description")
	mail, security := b.flag("mailEnabled", false), b.flag("securityEnabled", true)
	if err := b.done(); err != nil {
		return err
	}
	for _, p := range []struct {
		has  bool
		name string
	}{{hasName, "displayName"}, {hasMail, "mailEnabled"}, {hasNickname, "mailNickname"}, {hasSecurity, "securityEnabled"}} {
		if !p.has {
			return required(p.name, "Group")
		}
	}
	if mail || !security {
		return bad("Only security groups are kept here: mailEnabled must be false and securityEnabled true.")
	}
	if err := directory.CheckName("mail nickname", nickname, false); err != nil {
		return err
	}
	g := directory.Group{ID: principal.NewID(), Tenant: s.tenant, DisplayName: name, Description: description}
	if err := d.commit(r.Context(), s, "group created", func(s *session) ([]estate.Op, error) { return s.create(g) }); err != nil {
		return err
	}
	return d.answer(w, r, s, http.StatusCreated, object{groups, g.ID, g.Key(), g}, nil)
}

func (d *Door) updateGroup(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(groups.action + "/write"); err != nil {
		return err
	}
	b := s.sent()
	name, hasName := b.text("displayName")
	_, hasDescription := b.members["description"]
	description, _ := b.text("description")
	if err := b.done(); err != nil {
		return err
	}
	err := d.commit(r.Context(), s, "group changed", func(s *session) ([]estate.Op, error) {
		o, ok := groups.find(s, r.PathValue("id"))
		if !ok {
			return nil, notFound(r.PathValue("id"))
		}
		old := o.v.(directory.Group)
		next := old
		if hasName {
			next.DisplayName = name
		}
		if hasDescription {
			next.Description = description
		}
		return s.update(old, next)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func membership(group, member principal.ID) directory.Membership {
	return directory.Membership{Group: group, Member: member}
}

func (d *Door) addMember(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need("Microsoft.Directory/groups/members/write"); err != nil {
		return err
	}
	b := s.sent()
	link, _ := b.text("@odata.id")
	if err := b.done(); err != nil {
		return err
	}
	member, err := d.parseLink(link)
	if err != nil {
		return err
	}
	err = d.commit(r.Context(), s, "member added", func(s *session) ([]estate.Op, error) {
		if err := s.need("Microsoft.Directory/groups/members/write"); err != nil {
			return nil, err
		}
		g, ok := groups.find(s, r.PathValue("id"))
		if !ok {
			return nil, notFound(r.PathValue("id"))
		}
		o, ok := s.object(member)
		if !ok {
			return nil, notFound(member.String())
		}
		next := membership(g.id, o.id)
		if _, exists := s.est.Get(next.Key()); exists {
			return nil, bad("One or more added object references already exist for the following modified properties: 'members'.")
		}
		return s.create(next)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// parseLink reads the link to an object that an @odata.id is.
func (d *Door) parseLink(link string) (principal.ID, error) {
	u, err := url.Parse(link)
	if err == nil && u.RawQuery == "" && u.Fragment == "" && u.User == nil && u.Scheme == "https" && d.isOurs(u) {
		rest, ok := strings.CutPrefix(u.Path, Prefix)
		in, text, _ := strings.Cut(rest, "/")
		if ok && slices.Contains([]string{"directoryObjects", users.name, groups.name, servicePrincipals.name}, in) {
			if id, err := principal.ParseID(text); err == nil {
				return id, nil
			}
		}
	}
	return principal.ID{}, bad("The @odata.id must be a link such as https://" + Host + "/v1.0/directoryObjects/{id}.")
}

func (d *Door) isOurs(u *url.URL) bool {
	return u.Host == Host || "https://"+u.Host == d.conf.Base
}

func (d *Door) removeMember(w http.ResponseWriter, r *http.Request, s *session) error {
	err := d.commit(r.Context(), s, "member removed", func(s *session) ([]estate.Op, error) {
		if err := s.need("Microsoft.Directory/groups/members/delete"); err != nil {
			return nil, err
		}
		g, ok := groups.find(s, r.PathValue("id"))
		if !ok {
			return nil, notFound(r.PathValue("id"))
		}
		member, err := principal.ParseID(r.PathValue("other"))
		if err != nil {
			return nil, notFound(r.PathValue("other"))
		}
		key := membership(g.id, member).Key()
		if _, ok := s.est.Get(key); !ok {
			return nil, notFound(member.String())
		}
		ops, needs, err := serve.Deletion(s.est, key, false)
		if err != nil {
			return nil, err
		}
		return ops, s.needAll(needs)
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
