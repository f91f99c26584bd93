package oidc

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/issue"
)

// The cookies. The prefix makes browsers refuse them from any other host and
// without TLS. Neither holds a token: the one is a number that ties forms to the
// browser they were shown to, the other leads to a session in the store.
const (
	browserCookie = "__Host-gatehouse-browser"
	sessionCookie = "__Host-gatehouse-session"
)

func setCookie(w http.ResponseWriter, name, value string) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// cookie returns the value of a cookie that was sent exactly once.
func cookie(r *http.Request, name string) string {
	all := r.CookiesNamed(name)
	if len(all) != 1 {
		return ""
	}
	return all[0].Value
}

func session(r *http.Request) issue.Secret { return issue.NewSecret(cookie(r, sessionCookie)) }

// browser returns the number of the browser, and gives it one if it has none.
func browser(w http.ResponseWriter, r *http.Request) string {
	if id := cookie(r, browserCookie); validBrowser(id) {
		return id
	}
	var b [32]byte
	rand.Read(b[:]) // never fails
	id := base64.RawURLEncoding.EncodeToString(b[:])
	setCookie(w, browserCookie, id)
	return id
}

func validBrowser(id string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return err == nil && len(raw) == 32
}

// ticket is what a form must carry: proof that it was shown to this browser, for
// this very request. Nothing is kept for it, so there is nothing to steal or to
// fill up; who has another browser's form has a ticket that does not match his
// own cookie (OA-14, OA-15).
func ticket(browser string, r *http.Request) string {
	m := hmac.New(sha256.New, []byte(browser))
	m.Write([]byte("gatehouse form\x00" + self(r)))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// posted reads a form that a person sent, if it comes from a page of ours in the
// same browser.
func (d *Door) posted(w http.ResponseWriter, r *http.Request, q values) (values, error) {
	forged := &issue.Error{OAuth: "access_denied", Code: 399218, Status: http.StatusForbidden,
		Text: "This form was not opened in this browser, or too long ago. Go back to where you started and try again."}
	if err := d.origin.Check(r); err != nil {
		forged.Err = err
		return nil, forged
	}
	f, err := form(w, r)
	if err != nil {
		return nil, err
	}
	if err := apart(q, f); err != nil {
		return nil, err
	}
	id := cookie(r, browserCookie)
	if !validBrowser(id) || !hmac.Equal([]byte(ticket(id, r)), []byte(f["ticket"])) {
		return nil, forged
	}
	return f, nil
}
