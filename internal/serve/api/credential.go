package api

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

const actionTrace = "Microsoft.Directory/traces/read"

const (
	maxSmall    = 64 << 10 // bytes of a small request
	defaultDays = 180      // how long a client secret lives
)

func (d *Door) password(w http.ResponseWriter, r *http.Request, s *session) error {
	if d.conf.ChangePassword == nil {
		return notHere()
	}
	id, err := principal.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	u, ok := s.est.User(id)
	if err := s.need(serve.ActionPassword, s.placeOf(u, ok), nil); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("user %s: %w", id, estate.ErrNotFound)
	}
	if id != s.caller.ID {
		if err := s.needAll(serve.ToGive(s.est, id, id)); err != nil {
			return err
		}
	}
	var in wire.Password
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "The body must be an object with a password.") // never repeat what it was
	}
	if err := d.conf.ChangePassword(r.Context(), s.caller.ID, id, in.Password); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Door) newSecret(w http.ResponseWriter, r *http.Request, s *session) error {
	app, err := parseApp(r.PathValue("app"))
	if err != nil {
		return err
	}
	if err := s.mayGiveSecret(app); err != nil {
		return err
	}
	var in wire.NewSecret
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	if in.Days == 0 {
		in.Days = defaultDays
	}
	if in.Days < 0 || in.Days > int(issue.MaxSecretLife/(24*time.Hour)) {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "A client secret lives up to two years.")
	}
	secret, err := issue.NewClientSecret(app, in.Name, s.now, time.Duration(in.Days)*24*time.Hour)
	if err != nil {
		return err
	}
	// Another change may come first, and be the one that deletes the application.
	change := store.Change{By: s.caller.ID, Why: "client secret added", Private: []store.PrivateOp{secret.Op}, Base: s.est, Check: func(now *estate.Snapshot) error {
		again := *s
		again.est = now
		return again.mayGiveSecret(app)
	}}
	if _, err := d.conf.State.Commit(r.Context(), change); err != nil {
		return err
	}
	return serve.JSON(w, http.StatusCreated, wire.Secret{
		KeyID: secret.KeyID, Text: secret.Text.Reveal(), Hint: secret.Hint, Expires: secret.Expires.UTC(),
	})
}

// secrets answers which client secrets there are, of the applications that the caller
// may read, in order of application and age.
func (d *Door) secrets(w http.ResponseWriter, r *http.Request, s *session) error {
	may := s.reader()
	var apps []directory.Application
	for a := range s.est.Applications() {
		if may(a) {
			apps = append(apps, a)
		}
	}
	slices.SortFunc(apps, func(a, b directory.Application) int { return bytes.Compare(a.AppID[:], b.AppID[:]) })
	out := wire.Secrets{Secrets: []wire.KnownSecret{}}
	for _, a := range apps {
		list, err := issue.Secrets(r.Context(), d.conf.State, issue.Holder{App: a.AppID})
		if err != nil {
			return err
		}
		for _, c := range list {
			out.Secrets = append(out.Secrets, wire.KnownSecret{
				App: a.AppID.String(), KeyID: c.ID.String(), Name: c.Name, Hint: c.Hint, Created: c.From.UTC(), Expires: c.Until.UTC(),
			})
		}
	}
	return serve.JSON(w, http.StatusOK, out)
}

// mayGiveSecret refuses who may not give an application a secret. Whoever can sign
// in as a program has what it has (DIR-13).
func (s *session) mayGiveSecret(app directory.AppID) error {
	a, ok := s.est.Application(app)
	if err := s.need(serve.ActionSecret, s.placeOf(a, ok), nil); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("application %s: %w", app, estate.ErrNotFound)
	}
	return s.needAll(serve.ToActAs(s.est, app))
}

// placeOf is where an object of a directory is; for one that is not there, the
// directory of the caller, so that who may nothing cannot tell.
func (s *session) placeOf(r record.Record, ok bool) scope.Scope {
	if !ok {
		return directory.Place(s.tenant)
	}
	_, places := serve.PlacesOf(s.est, r)
	return places[0]
}

func notHere() error {
	return serve.Refuse(http.StatusNotImplemented, "NotImplemented", "This house was started without what this needs.")
}

func parseApp(text string) (id directory.AppID, err error) {
	err = parseGUID(text, &id)
	return id, err
}

func parseGUID[T any](text string, id *guid.Of[T]) (err error) {
	*id, err = guid.Parse[T](text)
	return err
}
