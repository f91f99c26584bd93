package oidc

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// An attempt is one authorization request on its way through the pages. All of it
// stands in the URL, and is checked anew by every request: the forms carry only
// what the person enters.
type attempt struct {
	issue.Authorization
	prompt string
	hint   string
	maxAge time.Duration // negative: none
	self   string        // the address of the request
	ticket string
}

// authorize serves the authorization endpoint of a version.
func (d *Door) authorize(version int) serve.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := query(r)
		if err != nil {
			return err
		}
		_, sent := q["code_challenge"]
		_, request := q["request"]
		_, requestURI := q["request_uri"]
		authz, err := d.issuer.CheckAuthorize(issue.AuthorizeRequest{
			Realm: r.PathValue("tenant"), V1: version == 1,
			ClientID: q["client_id"], RedirectURI: q["redirect_uri"], ResponseType: q["response_type"], ResponseMode: q["response_mode"],
			Scope: q["scope"], Resource: q["resource"], State: q["state"], Nonce: q["nonce"],
			Challenge: q["code_challenge"], ChallengeSent: sent, ChallengeMethod: q["code_challenge_method"],
			Unsupported: request || requestURI,
		})
		if err != nil && authz.RedirectURI == "" {
			return err // a page: the address may be an attacker's
		}
		a := attempt{Authorization: authz, prompt: q["prompt"], hint: q["login_hint"], self: self(r), maxAge: -1}
		if err != nil {
			return d.refuse(w, r, a, err)
		}
		if text := q["max_age"]; text != "" {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return d.refuse(w, r, a, badParameter("max_age"))
			}
			a.maxAge = time.Duration(n) * time.Second
		}
		switch a.prompt {
		case "", "none", "login", "consent", "select_account":
		default:
			return d.refuse(w, r, a, badParameter("prompt"))
		}
		if r.Method == http.MethodPost {
			return d.decide(w, r, a, q)
		}
		return d.ask(w, r, a)
	}
}

func badParameter(name string) error {
	return &issue.Error{OAuth: "invalid_request", Code: 90023, Status: http.StatusBadRequest, Text: "The value of the parameter '" + name + "' is not supported."}
}

// current returns the session of the browser, if it is good enough for a.
func (d *Door) current(ctx context.Context, r *http.Request, a attempt) (issue.Session, bool, error) {
	s, ok, err := d.issuer.FindSession(ctx, session(r))
	if err != nil || !ok || a.prompt == "login" || !a.Realm.Admits(s.Tenant) {
		return issue.Session{}, false, err
	}
	if a.maxAge >= 0 && d.issuer.Now().Sub(s.SignedIn) > a.maxAge {
		return issue.Session{}, false, nil
	}
	return s, true, nil
}

// ask shows the page that an authorization request needs, or answers at once
// where none is needed.
func (d *Door) ask(w http.ResponseWriter, r *http.Request, a attempt) error {
	s, ok, err := d.current(r.Context(), r, a)
	if err != nil {
		return err
	}
	// Any program on a person's machine can pose as a public client, so there the
	// person is always asked (RFC 8252, section 8.6).
	silent := ok && !a.Public && (a.prompt == "" || a.prompt == "none")
	switch {
	case silent:
		return d.grant(w, r, a, s.Identity)
	case a.prompt == "none" && !ok:
		return d.refuse(w, r, a, &issue.Error{OAuth: "login_required", Code: 50058, Text: "A silent sign-in request was sent but no user is signed in."})
	case a.prompt == "none":
		return d.refuse(w, r, a, &issue.Error{OAuth: "interaction_required", Code: 50058, Text: "A silent sign-in request was sent, but a public client needs the person to confirm."})
	}
	a.ticket = ticket(browser(w, r), r)
	if ok {
		return d.showAccount(w, a, s)
	}
	return d.showSignIn(w, a, a.hint)
}

// decide acts on what a person did with one of the pages.
func (d *Door) decide(w http.ResponseWriter, r *http.Request, a attempt, q values) error {
	f, err := d.posted(w, r, q)
	if err != nil {
		return err
	}
	a.ticket = f["ticket"]
	switch f["action"] {
	case "cancel":
		return d.refuse(w, r, a, &issue.Error{OAuth: "access_denied", Code: 65004, Text: "User declined to sign in to the app."})
	case "other":
		return d.showSignIn(w, a, "")
	case "continue":
		s, ok, err := d.current(r.Context(), r, a)
		if err != nil {
			return err
		}
		if !ok || f["user"] != s.User.ID.String() {
			// Somebody else has signed in since the page was shown.
			return d.showSignIn(w, a, "")
		}
		return d.grant(w, r, a, s.Identity)
	}
	who, err := d.signIn(r, a.Realm, f)
	if err != nil {
		err = d.refused(w, r, issue.TokenRequest{GrantType: "sign-in page", Username: f["username"]}, err)
		if text, ok := friendly(err); ok {
			return render(w, known(err).Status, signInPage, page{
				Title: "Sign in", Action: a.self, Ticket: a.ticket, App: a.ClientName, Name: f["username"], Message: text, Replace: mustReplace(err),
			}, a.RedirectURI)
		}
		return err
	}
	if err := d.issuer.EndSession(r.Context(), session(r)); err != nil {
		return err
	}
	fresh, err := d.issuer.StartSession(r.Context(), who)
	if err != nil {
		return err
	}
	setCookie(w, sessionCookie, fresh.Reveal())
	return d.grant(w, r, a, who)
}

func (d *Door) showSignIn(w http.ResponseWriter, a attempt, name string) error {
	return render(w, http.StatusOK, signInPage, page{Title: "Sign in", Action: a.self, Ticket: a.ticket, App: a.ClientName, Name: name}, a.RedirectURI)
}

// signIn signs a person in by what a form says: a name and a password, and a new
// password where the one before must be replaced.
func (d *Door) signIn(r *http.Request, realm issue.Realm, f values) (issue.Identity, error) {
	password := issue.NewSecret(f["password"])
	if f["new_password"] == "" && f["new_password_again"] == "" {
		who, err := d.issuer.SignIn(r.Context(), realm, f["username"], password, source(r))
		if mustReplace(err) {
			err = badReplacement("Somebody else chose your password. Type it again, and choose a new one.")
		}
		return who, err
	}
	if f["new_password"] != f["new_password_again"] {
		return issue.Identity{}, badReplacement("The two new passwords are not the same.")
	}
	return d.issuer.Replace(r.Context(), realm, f["username"], password, issue.NewSecret(f["new_password"]), source(r))
}

func badReplacement(text string) error {
	return &issue.Error{OAuth: "invalid_grant", Code: issue.MustReplace, Status: http.StatusBadRequest, Text: text}
}

// mustReplace reports whether a person has to choose a new password.
func mustReplace(err error) bool {
	var e *issue.Error
	return errors.As(err, &e) && e.Code == issue.MustReplace
}

func (d *Door) showAccount(w http.ResponseWriter, a attempt, s issue.Session) error {
	return render(w, http.StatusOK, accountPage, page{
		Title: "Pick an account", Action: a.self, Ticket: a.ticket, App: a.ClientName,
		User: s.User.UserPrincipalName, UserID: s.User.ID.String(),
	}, a.RedirectURI)
}

// grant answers with a code.
func (d *Door) grant(w http.ResponseWriter, r *http.Request, a attempt, who issue.Identity) error {
	code, err := d.issuer.GrantCode(r.Context(), a.Authorization, who)
	if err != nil {
		return d.refuse(w, r, a, err)
	}
	return d.answer(w, r, a, who.Tenant, []field{{"code", code.Reveal()}})
}

// refuse answers with an error in the words of an authorization response
// (RFC 6749, section 4.1.2.1).
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, a attempt, err error) error {
	e := known(err)
	name := e.OAuth
	switch name {
	case "invalid_grant", "invalid_client":
		name = "access_denied"
	case "invalid_resource":
		name = "invalid_request"
	}
	f := d.describe(w, r, e)
	_ = d.refused(w, r, issue.TokenRequest{GrantType: "authorize", ClientID: r.URL.Query().Get("client_id")}, err)
	if e.Status >= http.StatusInternalServerError {
		// The client is told that something failed; what, only the log is.
		d.log.LogAttrs(r.Context(), slog.LevelError, "authorization failed", slog.String("id", w.Header().Get("X-Request-Id")), slog.String("error", err.Error()))
	}
	return d.answer(w, r, a, a.Realm.ID, []field{{"error", name}, {"error_description", f.Description}})
}

// answer sends the browser back to the client, with the issuer's name, so that the
// client can tell whose answer it is (RFC 9207).
func (d *Door) answer(w http.ResponseWriter, r *http.Request, a attempt, tenant directory.TenantID, fields []field) error {
	segment := tenant.String()
	if tenant.IsZero() {
		segment = issuerSegment(a.Realm)
	}
	if a.State != "" {
		fields = append(fields, field{"state", a.State})
	}
	fields = append(fields, field{"iss", issue.IssuerV2(d.issuer.Authority(), segment)})
	if a.FormPost {
		return render(w, http.StatusOK, postPage, page{Title: "Signing in", Action: a.RedirectURI, App: a.ClientName, Fields: fields}, a.RedirectURI)
	}
	v := url.Values{}
	for _, f := range fields {
		v.Set(f.Name, f.Value)
	}
	sep := "?"
	if strings.Contains(a.RedirectURI, "?") {
		sep = "&"
	}
	h := w.Header()
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	// The registered text as it is: a redirect URI is never rewritten.
	h.Set("Location", a.RedirectURI+sep+v.Encode())
	w.WriteHeader(http.StatusSeeOther) // never 307, which would send the password on
	return nil
}
