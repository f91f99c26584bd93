package graph

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

func membership(group, member principal.ID) directory.Membership {
	return directory.Membership{Group: group, Member: member}
}

// A reference is a link that clients write, one object at a time.
type reference struct {
	name, action string
	// record is what says that an object has another.
	record func(of, other principal.ID) record.Record
	// keeps refuses to take the other away; nil lets it.
	keeps func(s *session, of, other object) error
}

// memberRef are the members of a group.
var memberRef = reference{name: "members", action: "/members",
	record: func(group, member principal.ID) record.Record { return membership(group, member) }}

// ownerRef are the owners of an object.
var ownerRef = reference{name: "owners", action: "/owners",
	record: func(object, owner principal.ID) record.Record {
		return directory.Ownership{Object: object, Owner: owner}
	},
	// A group that has owners keeps one, as in Entra ID (DIR-12). The rule is about
	// this request alone: who is deleted owns nothing any more.
	keeps: func(s *session, of, other object) error {
		if of.kind == groups && slices.Equal(slices.Collect(s.est.Owners(of.id)), []principal.ID{other.id}) {
			return bad("The group must have at least one owner, hence this owner cannot be removed.")
		}
		return nil
	}}

// add makes a reference to the object that the body links to.
func (d *Door) add(k *kind, ref reference) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		b := s.sent()
		text, _ := b.text("@odata.id")
		bodyErr := b.done()
		p := func(s *session) ([]estate.Op, error) {
			o, ok := k.find(s, r.PathValue("id"))
			if err := s.needOf(o, k.action+ref.action+"/write"); err != nil {
				return nil, err
			}
			if bodyErr != nil {
				return nil, bodyErr
			}
			other, err := d.parseLink(text)
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, notFound(r.PathValue("id"))
			}
			return s.refer(o, ref, other)
		}
		if err := d.commit(r.Context(), s, "added to "+ref.name, p); err != nil {
			return err
		}
		return done(w)
	}
}

// refer returns the op that makes a reference, if the caller may.
func (s *session) refer(o object, ref reference, other principal.ID) ([]estate.Op, error) {
	to, ok := s.object(other)
	if !ok {
		return nil, notFound(other.String())
	}
	next := ref.record(o.id, to.id)
	if _, exists := s.est.Get(next.Key()); exists {
		return nil, bad("One or more added object references already exist for the following modified properties: '" + ref.name + "'.")
	}
	return s.create(next)
}

func (d *Door) take(k *kind, ref reference) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		err := d.commit(r.Context(), s, "removed from "+ref.name, func(s *session) ([]estate.Op, error) {
			o, ok := k.find(s, r.PathValue("id"))
			if err := s.needOf(o, k.action+ref.action+"/delete"); err != nil {
				return nil, err
			}
			if !ok {
				return nil, notFound(r.PathValue("id"))
			}
			other, err := principal.ParseID(r.PathValue("other"))
			if err != nil {
				return nil, notFound(r.PathValue("other"))
			}
			key := ref.record(o.id, other).Key()
			if _, ok := s.est.Get(key); !ok {
				return nil, notFound(other.String())
			}
			if ref.keeps != nil {
				if err := ref.keeps(s, o, object{id: other}); err != nil {
					return nil, err
				}
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
		return done(w)
	}
}

// bound reads {name}@odata.bind: the objects that a new one refers to.
func (d *Door) bound(b *body, ref reference) ([]principal.ID, error) {
	links, _ := b.list(ref.name + "@odata.bind")
	if len(links) > maxExpanded {
		return nil, bad("At most 20 " + ref.name + " can be bound in one request.")
	}
	var ids []principal.ID
	for _, text := range links {
		id, err := d.parseLink(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// parseLink reads the link to an object that an @odata.id is.
func (d *Door) parseLink(text string) (principal.ID, error) {
	u, err := url.Parse(text)
	if err == nil && u.RawQuery == "" && u.Fragment == "" && u.User == nil && u.Scheme == "https" && d.isOurs(u) {
		rest, ok := strings.CutPrefix(u.Path, Prefix)
		in, key, _ := strings.Cut(rest, "/")
		if ok && slices.Contains([]string{"directoryObjects", users.name, groups.name, servicePrincipals.name}, in) {
			if id, err := principal.ParseID(key); err == nil {
				return id, nil
			}
		}
	}
	return principal.ID{}, bad("The @odata.id must be a link such as https://" + Host + "/v1.0/directoryObjects/{id}.")
}

func (d *Door) isOurs(u *url.URL) bool {
	return u.Host == Host || "https://"+u.Host == d.conf.Base
}
