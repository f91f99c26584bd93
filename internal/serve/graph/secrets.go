package graph

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// credential returns the application that a path names, if the caller may give
// it credentials or take them. Whoever can sign in as an application has what it
// has (DIR-13).
func (s *session) credential(r *http.Request, adds bool) (directory.Application, error) {
	if err := s.need(serve.ActionSecret); err != nil {
		return directory.Application{}, err
	}
	o, ok := applications.find(s, r.PathValue("id"))
	if !ok {
		return directory.Application{}, notFound(r.PathValue("id"))
	}
	a := o.v.(directory.Application)
	if adds {
		return a, s.needAll(serve.ToActAs(s.est, a.AppID))
	}
	return a, nil
}

// How far the clock of a client may be ahead of ours.
const skew = 5 * time.Minute

func (d *Door) addPassword(w http.ResponseWriter, r *http.Request, s *session) error {
	a, err := s.credential(r, true)
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
	secret, err := issue.NewClientSecret(a.AppID, name, s.now, end.Sub(s.now))
	if err != nil {
		return err
	}
	err = d.commit(r.Context(), s, "client secret added", func(s *session) ([]estate.Op, error) {
		_, err := s.credential(r, true)
		return nil, err
	}, secret.Op)
	if err != nil {
		return err
	}
	shown := credentialOf(secret.KeyID, name, secret.Hint, s.now, secret.Expires)
	shown["secretText"] = secret.Text.Reveal() // this once
	shown["@odata.context"] = d.conf.Base + "/v1.0/$metadata#microsoft.graph.passwordCredential"
	return serve.JSON(w, http.StatusOK, shown)
}

func (d *Door) removePassword(w http.ResponseWriter, r *http.Request, s *session) error {
	a, err := s.credential(r, false)
	if err != nil {
		return err
	}
	b := s.sent()
	text, _ := b.text("keyId")
	if err := b.done(); err != nil {
		return err
	}
	keyID, err := keyIDOf(text)
	if err != nil {
		return err
	}
	items, err := d.conf.State.PrivateList(r.Context(), bucketSecret, a.AppID.String())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(items, func(p store.PrivateItem) bool { return p.ID[len(p.ID)-1] == keyID }) {
		return bad("No password credential found with keyId.")
	}
	err = d.commit(r.Context(), s, "client secret removed", func(s *session) ([]estate.Op, error) {
		_, err := s.credential(r, false)
		return nil, err
	}, issue.RemoveClientSecret(a.AppID, keyID))
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Where package issue keeps the credentials of applications.
const (
	bucketSecret      = "clientsecret"
	bucketCertificate = "certificate"
)

// secrets lists the client secrets of an application: what tells them apart.
func (d *Door) secrets(ctx context.Context, app directory.AppID) ([]map[string]any, error) {
	items, err := d.conf.State.PrivateList(ctx, bucketSecret, app.String())
	if err != nil {
		return nil, err
	}
	list := make([]map[string]any, 0, len(items))
	for _, p := range items {
		var name, hint, created, expires string
		err := serve.Read(p.Value, func(r *serve.Reader) error {
			into := map[string]*string{"name": &name, "hint": &hint, "created": &created, "expires": &expires}
			return r.Object([]string{"name", "hint", "created", "expires"}, func(member string) (err error) {
				*into[member], err = r.String()
				return err
			})
		})
		if err != nil {
			return nil, err
		}
		from, err1 := time.Parse(time.RFC3339Nano, created)
		until, err2 := time.Parse(time.RFC3339Nano, expires)
		if err1 != nil || err2 != nil {
			return nil, serve.ErrMalformed
		}
		list = append(list, credentialOf(p.ID[len(p.ID)-1], name, hint, from, until))
	}
	return list, nil
}

func credentialOf(keyID, name, hint string, from, until time.Time) map[string]any {
	return map[string]any{
		"keyId": keyGUID(keyID), "displayName": orNull(name), "hint": hint, "customKeyIdentifier": nil, "secretText": nil,
		"startDateTime": from.UTC().Truncate(time.Second), "endDateTime": until.UTC().Truncate(time.Second),
	}
}

// forget returns the ops that end the credentials of an application.
func (d *Door) forget(ctx context.Context, o object) ([]store.PrivateOp, error) {
	var ops []store.PrivateOp
	for _, bucket := range []string{bucketSecret, bucketCertificate} {
		items, err := d.conf.State.PrivateList(ctx, bucket, o.v.(directory.Application).AppID.String())
		if err != nil {
			return nil, err
		}
		for _, p := range items {
			ops = append(ops, store.PrivateOp{Bucket: bucket, ID: p.ID})
		}
	}
	return ops, nil
}
