package oidc

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/issue"
)

// logout serves the end-session endpoint (OpenID Connect RP-Initiated Logout). It
// always asks: nobody else can sign a person out. Afterwards it leads to an
// address that the client registered, or nowhere (OA-20, OA-50).
func (d *Door) logout(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	if _, err := d.realm(r); err != nil {
		return err
	}
	if r.Method != http.MethodPost {
		s, ok, err := d.issuer.FindSession(r.Context(), session(r))
		if err != nil {
			return err
		}
		if !ok {
			return d.show(w, r, http.StatusOK, donePage, page{Title: "Signed out", Message: "You are signed out. You may now close this window."})
		}
		return d.show(w, r, http.StatusOK, logoutPage, page{Title: "Sign out", User: s.User.UserPrincipalName})
	}
	if _, err := d.posted(w, r, q); err != nil {
		return err
	}
	if err := d.issuer.EndSession(r.Context(), session(r)); err != nil {
		return err // and not a word that it worked
	}
	setCookie(w, sessionCookie, "")
	to := q["post_logout_redirect_uri"]
	if !d.issuer.ReturnAfterLogout(r.PathValue("tenant"), q["client_id"], issue.NewSecret(q["id_token_hint"]), to) {
		return d.show(w, r, http.StatusOK, donePage, page{Title: "Signed out", Message: "You are signed out. You may now close this window."})
	}
	if state := q["state"]; state != "" {
		sep := "?"
		if strings.Contains(to, "?") {
			sep = "&"
		}
		to += sep + url.Values{"state": {state}}.Encode()
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
