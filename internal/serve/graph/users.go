package graph

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A profile is what a passwordProfile says.
type profile struct {
	password string // empty leaves the one there is
	// change is set for a password that must be replaced at the next sign-in.
	change bool
}

// profile reads a passwordProfile; nil means that there is none.
func (b *body) profile() *profile {
	in := b.nested("passwordProfile")
	if in == nil {
		return nil
	}
	var p profile
	var ok bool
	_, hasChange := in.members["forceChangePasswordNextSignIn"]
	p.password, ok = in.text("password")
	p.change = in.flag("forceChangePasswordNextSignIn", false)
	if in.flag("forceChangePasswordNextSignInWithMfa", false) {
		in.err = bad("forceChangePasswordNextSignInWithMfa must be false: there is no second factor here.")
	}
	if (!ok || p.password == "") && (ok || !hasChange) && in.err == nil {
		in.err = required("password", "PasswordProfile")
	}
	if err := in.done(); err != nil && b.err == nil {
		b.err = err
	}
	return &p
}

// passwordOp returns the op that makes a user's password what the profile says.
func (d *Door) passwordOp(ctx context.Context, s *session, user principal.ID, p *profile) (store.PrivateOp, error) {
	switch {
	case p.password == "":
		op, err := issue.ReplaceOp(ctx, d.conf.State, user, p.change)
		if errors.Is(err, store.ErrNotFound) {
			err = bad("The user has no password that could be replaced.")
		}
		return op, err
	case p.change:
		return issue.TemporaryPasswordOp(user, p.password, s.now)
	}
	return issue.PasswordOp(user, p.password, s.now)
}

func required(property, of string) error {
	return bad("A value is required for property '" + property + "' of resource '" + of + "'.")
}

// person reads the properties of a user that a client may set, and returns what
// they make of one. What is not there stays.
func (b *body) person() func(*directory.User) error {
	name, hasName := b.text("displayName")
	upn, hasUPN := b.text("userPrincipalName")
	nickname, hasNickname := b.text("mailNickname")
	mail, hasMail := b.text("mail")
	_, hasEnabled := b.members["accountEnabled"]
	enabled := b.flag("accountEnabled", true)
	kind, hasKind := b.text("userType")
	return func(u *directory.User) error {
		if hasName {
			u.DisplayName = name
		}
		if hasNickname {
			if err := directory.CheckNickname(nickname); err != nil {
				return err
			}
			u.MailNickname = nickname
		}
		if hasMail {
			u.Mail = mail
		}
		if hasEnabled {
			u.Disabled = !enabled
		}
		if hasKind {
			if kind != "Member" && kind != "Guest" {
				return bad("userType must be Member or Guest.")
			}
			u.Guest = kind == "Guest"
		}
		if hasUPN {
			canonical, err := directory.CanonicalUPN(upn)
			if err != nil {
				return err
			}
			u.UserPrincipalName = canonical
		}
		return nil
	}
}

func (d *Door) createUser(w http.ResponseWriter, r *http.Request, s *session) error {
	// Whoever may make a user and knows his password can be him: both rights are
	// asked for.
	if err := s.need(users.action+"/write", serve.ActionPassword); err != nil {
		return err
	}
	b := s.sent()
	for _, name := range []string{"accountEnabled", "displayName", "mailNickname", "userPrincipalName", "passwordProfile"} {
		if _, has := b.members[name]; !has && b.err == nil {
			return required(name, "User")
		}
	}
	set, password := b.person(), b.profile()
	if err := b.done(); err != nil {
		return err
	}
	if password == nil || password.password == "" {
		return required("passwordProfile", "User")
	}
	u := directory.User{ID: principal.NewID(), Tenant: s.tenant}
	if err := set(&u); err != nil {
		return err
	}
	op, err := d.passwordOp(r.Context(), s, u.ID, password)
	if err != nil {
		return err
	}
	err = d.commit(r.Context(), s, "user created", func(s *session) ([]estate.Op, error) {
		if err := s.need(serve.ActionPassword); err != nil {
			return nil, err
		}
		if err := s.named(u); err != nil {
			return nil, err
		}
		return s.create(u)
	}, op)
	if err != nil {
		return err
	}
	return d.created(w, r, s, object{users, u.ID, u.Key(), u})
}

// named refuses a name in a domain that is not one of the tenant's, or that
// somebody else has.
func (s *session) named(u directory.User) error {
	_, domain, _ := strings.Cut(u.UserPrincipalName, "@")
	if t, ok := s.est.Tenant(s.tenant); !ok || !slices.Contains(t.Domains, domain) {
		return bad("The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.")
	}
	if other, taken := s.est.UserByName(u.UserPrincipalName); taken && other.ID != u.ID {
		return bad("Another object with the same value for property userPrincipalName already exists.")
	}
	return nil
}

func (d *Door) updateUser(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	only := b.only
	set, password := b.person(), b.profile()
	bodyErr := b.done()
	// Who sets a password need not be allowed to change what else a user is.
	var needs []string
	if password != nil {
		needs = append(needs, serve.ActionPassword)
	}
	if password == nil || !only {
		needs = append(needs, users.action+"/write")
	}
	p := func(s *session) ([]estate.Op, error) {
		o, err := s.target(users, r, needs...)
		if err != nil {
			return nil, err
		}
		if bodyErr != nil {
			return nil, bodyErr
		}
		old := o.v.(directory.User)
		next := old
		if err := set(&next); err != nil {
			return nil, err
		}
		if next.UserPrincipalName != old.UserPrincipalName {
			if err := s.named(next); err != nil {
				return nil, err
			}
		}
		if password == nil || !only {
			if _, err := s.update(old, next); err != nil {
				return nil, err
			}
		}
		if password != nil {
			if password.password != "" {
				next.TokensValidFrom = s.now
			}
			if o.id != s.caller.ID { // who sets a password can be its user (DIR-13)
				if err := s.needAll(serve.ToGive(s.est, o.id, o.id)); err != nil {
					return nil, err
				}
			}
		}
		return []estate.Op{{Put: next}}, nil
	}
	ops, err := p(s)
	if err != nil {
		return err
	}
	var private []store.PrivateOp
	why := "user changed"
	if password != nil {
		op, err := d.passwordOp(r.Context(), s, ops[0].Put.(directory.User).ID, password)
		if err != nil {
			return err
		}
		private, why = append(private, op), "password changed"
	}
	if err := d.commit(r.Context(), s, why, p, private...); err != nil {
		return err
	}
	return done(w)
}

// revokeSessions ends every sign-in of a user. His own everybody may end.
func (d *Door) revokeSessions(w http.ResponseWriter, r *http.Request, s *session) error {
	err := d.commit(r.Context(), s, "sign-ins ended", func(s *session) ([]estate.Op, error) {
		var needs []string
		if o, ok := users.find(s, r.PathValue("id")); !ok || o.id != s.caller.ID {
			needs = append(needs, users.action+"/write")
		}
		o, err := s.target(users, r, needs...)
		if err != nil {
			return nil, err
		}
		u := o.v.(directory.User)
		u.TokensValidFrom = s.now
		return []estate.Op{{Put: u}}, nil
	})
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, map[string]any{"@odata.context": d.conf.Base + "/v1.0/$metadata#Edm.Boolean", "value": true})
}
