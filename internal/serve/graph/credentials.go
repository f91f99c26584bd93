package graph

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Programs have secrets (passwordCredentials) and certificates (keyCredentials):
// an application those with which it signs in wherever it is, a service principal
// those for its own tenant.

// credential refuses a caller who may not give a program credentials or take them.
// Whoever can sign in as a program has what it has (DIR-13).
func (s *session) credential(o object, adds bool) error {
	action := serve.ActionSecret
	if o.kind == servicePrincipals {
		action = serve.ActionPrincipalSecret
	}
	if err := s.needOf(o, action); err != nil {
		return err
	}
	if err := notManaged(o); err != nil {
		return err
	}
	if of, ok := holder(o); ok && adds {
		if of.Principal.IsZero() {
			return s.needAll(serve.ToActAs(s.est, of.App))
		}
		return s.needAll(serve.ToGive(s.est, of.Principal, of.Principal))
	}
	return nil
}

// credentialed is target for a change of credentials.
func (s *session) credentialed(k *kind, r *http.Request, adds bool) (object, error) {
	o, ok := k.find(s, r.PathValue("id"))
	if err := s.credential(object{kind: k, id: o.id, v: o.v}, adds); err != nil {
		return object{}, err
	}
	if !ok {
		return object{}, notFound(r.PathValue("id"))
	}
	return o, nil
}

// How far the clock of a client may be ahead of ours.
const skew = 5 * time.Minute

func (d *Door) addPassword(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		o, err := s.credentialed(k, r, true)
		if err != nil {
			return err
		}
		b := &body{}
		if len(s.body) > 0 {
			b = s.sent()
		}
		name, end := "", s.now.Add(issue.MaxSecretLife).Truncate(time.Second)
		if in := b.nested("passwordCredential"); in != nil {
			name, _ = in.text("displayName")
			var start time.Time
			in.take("endDateTime", &end, "an instant")
			if in.take("startDateTime", &start, "an instant") && start.After(s.now.Add(skew)) {
				return bad("startDateTime must not be in the future: a secret is valid at once here.")
			}
			if err := in.done(); err != nil {
				return err
			}
		}
		if err := b.done(); err != nil {
			return err
		}
		if !end.After(s.now) || end.Sub(s.now) > issue.MaxSecretLife {
			return bad("endDateTime must be in the future and at most two years away.")
		}
		of, _ := holder(o)
		secret, err := issue.NewSecretOf(of, name, s.now, end.Sub(s.now))
		if err != nil {
			return err
		}
		err = d.commit(r.Context(), s, "client secret added", func(s *session) ([]estate.Op, error) {
			_, err := s.credentialed(k, r, true)
			return nil, err
		}, secret.Op)
		if err != nil {
			return err
		}
		shown := credentialBody(issue.Credential{ID: secret.GUID(), Name: name, Hint: secret.Hint, From: s.now, Until: secret.Expires})
		shown["secretText"] = secret.Text.Reveal() // this once
		shown["@odata.context"] = d.conf.Base + "/v1.0/$metadata#microsoft.graph.passwordCredential"
		return serve.JSON(w, http.StatusOK, shown)
	}
}

func (d *Door) removePassword(k *kind) handler {
	return func(w http.ResponseWriter, r *http.Request, s *session) error {
		o, err := s.credentialed(k, r, false)
		if err != nil {
			return err
		}
		b := s.sent()
		text, _ := b.text("keyId")
		if err := b.done(); err != nil {
			return err
		}
		keyID, err := issue.ParseKeyID(text)
		if err != nil {
			return bad("The keyId '" + serve.Printable(text, 64) + "' is not a GUID.")
		}
		of, _ := holder(o)
		list, err := issue.Secrets(r.Context(), d.conf.State, of)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(c issue.Credential) bool { return c.ID == keyID })
		if i < 0 {
			return bad("No password credential found with keyId.")
		}
		err = d.commit(r.Context(), s, "client secret removed", func(s *session) ([]estate.Op, error) {
			_, err := s.credentialed(k, r, false)
			return nil, err
		}, list[i].Remove)
		if err != nil {
			return err
		}
		return done(w)
	}
}

// credentialBody shows a secret or certificate: what tells it apart.
func credentialBody(c issue.Credential) map[string]any {
	m := map[string]any{
		"keyId": c.ID, "displayName": orNull(c.Name), "customKeyIdentifier": nil,
		"startDateTime": c.From.UTC().Truncate(time.Second), "endDateTime": c.Until.UTC().Truncate(time.Second),
	}
	if c.Thumbprint == "" {
		m["hint"], m["secretText"] = c.Hint, nil
	} else {
		m["customKeyIdentifier"], m["type"], m["usage"], m["key"] = c.Thumbprint, "AsymmetricX509Cert", "Verify", nil
	}
	return m
}

// A keyList is what a client wants the certificates of a program to be; nil says
// nothing about them.
type keyList []certificate

type certificate struct {
	id   issue.KeyID // zero for a new one without an id of its own
	name string
	der  []byte // nil for one that is there already, and stays
}

// maxKeys bounds the certificates of a program.
const maxKeys = 32

// keys reads keyCredentials.
func (b *body) keys() keyList {
	items := b.nestedList("keyCredentials")
	if items == nil {
		return nil
	}
	if len(items) > maxKeys && b.err == nil {
		b.err = bad("An application has at most 32 certificates.")
	}
	list := make(keyList, 0, len(items))
	for _, in := range items {
		var c certificate
		text, hasKey := in.text("key")
		id, hasID := in.text("keyId")
		c.name, _ = in.text("displayName")
		if kind, ok := in.text("type"); ok && kind != "AsymmetricX509Cert" {
			in.err = bad("The type of a key must be AsymmetricX509Cert.")
		}
		if usage, ok := in.text("usage"); ok && usage != "Verify" {
			in.err = bad("The usage of a key must be Verify: no other key of an application is used here.")
		}
		// The certificate itself says from when until when it is good.
		for _, name := range []string{"startDateTime", "endDateTime", "customKeyIdentifier"} {
			delete(in.members, name)
		}
		if err := in.done(); err != nil && b.err == nil {
			b.err = err
		}
		var err error
		if hasID {
			if c.id, err = issue.ParseKeyID(id); err != nil && b.err == nil {
				b.err = bad("The keyId of a key must be a GUID.")
			}
		}
		if hasKey {
			if c.der, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); (err != nil || len(c.der) == 0) && b.err == nil {
				b.err = bad("The key must be a certificate in base64.")
			}
		} else if !hasID && b.err == nil {
			b.err = required("key", "KeyCredential")
		}
		list = append(list, c)
	}
	return list
}

// add returns the ops that register the certificates of a list that are new.
func (l keyList) add(of issue.Holder, now time.Time) ([]store.PrivateOp, error) {
	var ops []store.PrivateOp
	for _, c := range l {
		if c.der == nil {
			return nil, bad("No key credential found with keyId '" + c.id.String() + "'.")
		}
		id := c.id
		if id.IsZero() {
			id = issue.NewKeyID()
		}
		cert, err := issue.AddCertificateOf(of, id, c.name, c.der, now)
		if err != nil {
			return nil, err
		}
		ops = append(ops, cert.Op)
	}
	return ops, nil
}

// replaceKeys returns the ops that make the certificates of a program those of a
// list: what is not in it goes, and what is in it without a key stays.
func (d *Door) replaceKeys(ctx context.Context, s *session, o object, list keyList) ([]store.PrivateOp, error) {
	of, _ := holder(o)
	have, err := issue.Certificates(ctx, d.conf.State, of)
	if err != nil {
		return nil, err
	}
	var fresh keyList
	keep := make(map[issue.KeyID]bool)
	for _, c := range list {
		if c.der == nil && slices.ContainsFunc(have, func(h issue.Credential) bool { return h.ID == c.id }) {
			keep[c.id] = true
			continue
		}
		fresh = append(fresh, c)
	}
	ops, err := fresh.add(of, s.now)
	if err != nil {
		return nil, err
	}
	for _, h := range have {
		// A certificate that is registered anew lies where it lay.
		if !keep[h.ID] && !slices.ContainsFunc(ops, func(op store.PrivateOp) bool { return slices.Equal(op.ID, h.Remove.ID) }) {
			ops = append(ops, h.Remove)
		}
	}
	return ops, nil
}
