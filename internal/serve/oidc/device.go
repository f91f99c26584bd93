package oidc

import (
	"errors"
	"html/template"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/issue"
)

// device serves the page at which a person lets a device sign in. It goes in two
// steps: the code, and then, with the name of the application in view, the
// password, whether or not the browser is signed in. One click is not enough:
// whoever was talked into opening the page must be given a reason to stop.
func (d *Door) device(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	if len(q) > 0 {
		// A link that fills in the code would make the person approve what
		// somebody else has started.
		return refuseRequest(http.StatusBadRequest, 90015, "This page takes no parameters. Enter the code by hand.")
	}
	if r.Method != http.MethodPost {
		return d.showCode(w, r, http.StatusOK, "", "")
	}
	f, err := d.posted(w, r, q)
	if err != nil {
		return err
	}
	found, err := d.issuer.FindDevice(r.Context(), f["user_code"], cookie(r, browserCookie), source(r))
	switch {
	case errors.Is(err, issue.ErrNoSuchCode):
		_ = d.refused(w, r, issue.TokenRequest{GrantType: "device page"}, &issue.Error{OAuth: "invalid_grant", Code: 70018, Text: "Invalid verification code."})
		return d.showCode(w, r, http.StatusBadRequest, f["user_code"], "That code didn't work. Check the code and try again.")
	case err != nil:
		return err
	}
	switch f["action"] {
	case "deny":
		if err := d.issuer.DenyDevice(r.Context(), found); err != nil {
			return d.tooLate(w, r, err)
		}
		return d.show(w, r, http.StatusOK, donePage, page{Title: "Sign-in refused", App: found.ClientName, Message: "You have refused the sign-in. You may now close this window."})
	case "approve":
		who, err := d.signIn(r, found.Realm, f)
		if err == nil {
			err = d.issuer.ApproveDevice(r.Context(), found, who)
		}
		if errors.Is(err, issue.ErrNoSuchCode) {
			return d.tooLate(w, r, err)
		}
		if err != nil {
			err = d.refused(w, r, issue.TokenRequest{GrantType: "device page", Username: f["username"]}, err)
			if text, ok := friendly(err); ok {
				return d.show(w, r, known(err).Status, confirmPage, page{Title: "Sign in on another device", Code: found.UserCode, App: found.ClientName,
					Name: f["username"], Message: text, Replace: mustReplace(err)})
			}
			return err
		}
		return d.show(w, r, http.StatusOK, donePage, page{Title: "You're signed in", App: found.ClientName,
			Message: "You have signed in to the " + found.ClientName + " application on your device. You may now close this window."})
	}
	return d.show(w, r, http.StatusOK, confirmPage, page{Title: "Sign in on another device", Code: found.UserCode, App: found.ClientName})
}

// tooLate is for whoever comes second: the code has its terminal state.
func (d *Door) tooLate(w http.ResponseWriter, r *http.Request, err error) error {
	if !errors.Is(err, issue.ErrNoSuchCode) {
		return err
	}
	return d.showCode(w, r, http.StatusBadRequest, "", "That code is not waiting any more: it was used, refused, or expired.")
}

func (d *Door) showCode(w http.ResponseWriter, r *http.Request, status int, typed, message string) error {
	return d.show(w, r, status, devicePage, page{Title: "Enter code", Code: typed, Message: message})
}

// show renders a page whose form comes back to where it is.
func (d *Door) show(w http.ResponseWriter, r *http.Request, status int, t *template.Template, p page) error {
	p.Action, p.Ticket = self(r), ticket(browser(w, r), r)
	return render(w, status, t, p, "")
}
