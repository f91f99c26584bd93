package house

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
)

// metadata builds the door at which programs get tokens of managed identities. An
// identity session says which they may use; see api.newIdentitySession.
func (h *House) metadata(issuer *issue.Issuer, trace *serve.Trace) (http.Handler, error) {
	door, err := imds.New(imds.Config{
		Caller: func(r *http.Request) ([]imds.Identity, error) { return h.identitiesOf(r.Context(), sessionSecret(r)) },
		Token: func(ctx context.Context, id imds.Identity, resource string) (imds.Token, error) {
			t, err := identityToken(ctx, issuer, trace, id, resource)
			if err != nil {
				return imds.Token{}, err
			}
			if a, outside := alert.FromPerson(h.store.Current(), id.Object, id.Session); outside {
				if err := h.store.Alert(ctx, a); err != nil {
					return imds.Token{}, err
				}
			}
			return t, nil
		},
		Log: h.conf.Log.With("door", "imds"), Now: h.now,
	})
	if err != nil {
		return nil, err
	}
	answer := func(w http.ResponseWriter, r *http.Request) error {
		door.ServeHTTP(w, r)
		return nil
	}
	return serve.Handle(answer, serve.Options{Log: h.conf.Log.With("door", "imds"), Now: h.now}), nil
}

// sessionSecret is the secret of an identity session in a request: as the password
// of the proxy or of the endpoint, or in the header of App Service. Two are none.
func sessionSecret(r *http.Request) issue.Secret {
	var found []string
	for _, name := range []string{"Proxy-Authorization", "Authorization"} {
		for _, v := range r.Header.Values(name) {
			scheme, text, _ := strings.Cut(v, " ")
			raw, err := base64.StdEncoding.DecodeString(text)
			_, password, ok := strings.Cut(string(raw), ":")
			if err == nil && ok && strings.EqualFold(scheme, "Basic") {
				found = append(found, password)
			}
		}
	}
	for _, name := range []string{"X-Identity-Header", "Secret"} {
		found = append(found, r.Header.Values(name)...)
	}
	if len(found) != 1 {
		return issue.Secret{}
	}
	return issue.NewSecret(found[0])
}

// identitiesOf returns the identities that the holder of a session's secret may
// use now: they are there and enabled, and whoever began the session is, too, and
// could begin it still.
func (h *House) identitiesOf(ctx context.Context, secret issue.Secret) ([]imds.Identity, error) {
	session, found, err := h.issuer.FindIdentitySession(ctx, secret)
	if errors.Is(err, issue.ErrNoSession) {
		return nil, &imds.Error{Status: http.StatusBadRequest, Code: "invalid_request",
			Description: "Identity not found. The request carries no secret of an identity session, or of one that has ended: open one with gatehouse shell --identity.", Err: err}
	}
	if err != nil {
		return nil, err
	}
	est, now := h.store.Current(), h.now()
	var usable []imds.Identity
	for _, mi := range found {
		if _, err := serve.CallerOf(est, mi.Tenant, session.By); err == nil && serve.ToUse(mi).Allowed(est, session.By, now) {
			usable = append(usable, imds.Identity{Object: mi.ID, Client: mi.ClientID, Resource: mi.Resource, SystemAssigned: mi.SystemAssigned, Session: session.By})
		}
	}
	return usable, nil
}

// identityToken asks the issuer, in whose words a refusal comes.
func identityToken(ctx context.Context, issuer *issue.Issuer, trace *serve.Trace, id imds.Identity, resource string) (imds.Token, error) {
	start := issuer.Now()
	ans, err := issuer.ManagedIdentity(ctx, id.Object, resource)
	event := serve.Event{At: start, Door: "imds", ID: id.Object, User: ans.Name, Effect: "issued", Groups: ans.Groups, Revision: ans.Revision,
		Reason: "managed identity for " + serve.Printable(resource, 200)}
	if err != nil {
		event.Effect, event.Reason = "refused", serve.Printable(issue.WithoutSecrets(err.Error()), 300)
	}
	event.Took = issuer.Now().Sub(start)
	trace.Add(event)
	if err == nil {
		return imds.Token{Text: ans.AccessToken, NotBefore: ans.IssuedAt, Expires: ans.Expires}, nil
	}
	var e *issue.Error
	switch {
	case !errors.As(err, &e):
		return imds.Token{}, err
	case e.RetryAfter > 0 || e.Status >= http.StatusInternalServerError:
		return imds.Token{}, &imds.Error{Status: http.StatusServiceUnavailable, Code: "unknown", Description: text(e), Err: err}
	}
	return imds.Token{}, &imds.Error{Status: http.StatusBadRequest, Code: e.OAuth, Description: text(e), Err: err}
}

func text(e *issue.Error) string { return fmt.Sprintf("AADSTS%d: %s", e.Code, e.Text) }
