package graph

import (
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

// password reads a passwordProfile.
func (b *body) password() (string, bool) {
	in := b.nested("passwordProfile")
	if in == nil {
		return "", false
	}
	text, ok := in.text("password")
	force := in.flag("forceChangePasswordNextSignIn", false)
	if in.flag("forceChangePasswordNextSignInWithMfa", false) || force {
		in.err = bad("forceChangePasswordNextSignIn must be false: nobody is made to change a password here.")
	}
	if !ok && in.err == nil {
		in.err = required("password", "PasswordProfile")
	}
	if err := in.done(); err != nil && b.err == nil {
		b.err = err
	}
	return text, ok
}

func required(property, of string) error {
	return bad("A value is required for property '" + property + "' of resource '" + of + "'.")
}

func (d *Door) createUser(w http.ResponseWriter, r *http.Request, s *session) error {
	// Whoever may make a user and knows his password can be him, also where a
	// cluster's binding waits for that name: both rights are asked for.
	if err := s.need(users.action+"/write", serve.ActionPassword); err != nil {
		return err
	}
	b := s.sent()
	name, hasName := b.text("displayName")
	upn, hasUPN := b.text("userPrincipalName")
	nickname, hasNickname := b.text("mailNickname")
	_, hasEnabled := b.members["accountEnabled"]
	enabled := b.flag("accountEnabled", true)
	mail, _ := b.text("mail")
	password, hasPassword := b.password()
	if err := b.done(); err != nil {
		return err
	}
	for _, p := range []struct {
		has  bool
		name string
	}{{hasEnabled, "accountEnabled"}, {hasName, "displayName"}, {hasNickname, "mailNickname"}, {hasUPN, "userPrincipalName"}, {hasPassword, "passwordProfile"}} {
		if !p.has {
			return required(p.name, "User")
		}
	}
	canonical, err := directory.CanonicalUPN(upn)
	if err != nil {
		return err
	}
	if err := directory.CheckName("mail nickname", nickname, false); err != nil {
		return err
	}
	u := directory.User{ID: principal.NewID(), Tenant: s.tenant, UserPrincipalName: canonical, DisplayName: name, Mail: mail, Disabled: !enabled}
	op, err := issue.PasswordOp(u.ID, password, s.now)
	if err != nil {
		return err
	}
	err = d.commit(r.Context(), s, "user created", func(s *session) ([]estate.Op, error) {
		if err := s.need(serve.ActionPassword); err != nil {
			return nil, err
		}
		if err := s.verified(canonical); err != nil {
			return nil, err
		}
		if _, taken := s.est.UserByName(canonical); taken {
			return nil, bad("Another object with the same value for property userPrincipalName already exists.")
		}
		return s.create(u)
	}, op)
	if err != nil {
		return err
	}
	return d.answer(w, r, s, http.StatusCreated, object{users, u.ID, u.Key(), u}, nil)
}

// verified refuses a name in a domain that is not one of the tenant's.
func (s *session) verified(upn string) error {
	_, domain, _ := strings.Cut(upn, "@")
	if t, ok := s.est.Tenant(s.tenant); !ok || !slices.Contains(t.Domains, domain) {
		return bad("The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.")
	}
	return nil
}

func (d *Door) updateUser(w http.ResponseWriter, r *http.Request, s *session) error {
	b := s.sent()
	name, hasName := b.text("displayName")
	_, hasEnabled := b.members["accountEnabled"]
	enabled := b.flag("accountEnabled", true)
	password, hasPassword := b.password()
	bodyErr := b.done()
	text := r.PathValue("id")
	p := func(s *session) ([]estate.Op, error) {
		o, ok := users.find(s, text)
		var needs []serve.Operation
		old, _ := o.v.(directory.User)
		next := old
		if hasPassword {
			if err := s.need(serve.ActionPassword); err != nil {
				return nil, err
			}
			if ok && o.id != s.caller.ID { // who sets a password can be its user (DIR-13)
				needs = append(needs, serve.ToGive(s.est, o.id, o.id)...)
			}
			next.TokensValidFrom = s.now
		}
		if hasName || hasEnabled || !hasPassword {
			if err := s.need(users.action + "/write"); err != nil {
				return nil, err
			}
		}
		if !ok {
			return nil, notFound(text)
		}
		if hasName {
			next.DisplayName = name
		}
		if hasEnabled {
			next.Disabled = !enabled
		}
		return []estate.Op{{Put: next}}, s.needAll(needs)
	}
	ops, err := p(s)
	if err != nil {
		return err
	}
	if bodyErr != nil {
		return bodyErr
	}
	var private []store.PrivateOp
	why := "user changed"
	if hasPassword {
		op, err := issue.PasswordOp(ops[0].Put.(directory.User).ID, password, s.now)
		if err != nil {
			return err
		}
		private, why = append(private, op), "password changed"
	}
	if err := d.commit(r.Context(), s, why, p, private...); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
