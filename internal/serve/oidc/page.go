package oidc

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/issue"
)

//go:embed pages
var files embed.FS

// style is the one style sheet, written into each page.
var style = func() template.CSS {
	text, err := files.ReadFile("pages/style.css")
	if err != nil {
		panic(err) // it is embedded
	}
	return template.CSS(text)
}()

func parsePage(name string) *template.Template {
	return template.Must(template.ParseFS(files, "pages/layout.html", "pages/"+name))
}

var (
	signInPage  = parsePage("signin.html")
	accountPage = parsePage("account.html")
	devicePage  = parsePage("device.html")
	confirmPage = parsePage("confirm.html")
	donePage    = parsePage("done.html")
	logoutPage  = parsePage("logout.html")
	postPage    = parsePage("post.html")
	errorPage   = parsePage("error.html")
)

// page is what every page may show. Templates escape all of it.
type page struct {
	Title   string
	Nonce   string
	Style   template.CSS
	Action  string // where the form goes: the page's own path and query
	Ticket  string
	Message string // what went wrong with the last attempt, in words for a person

	App    string // the name of the client
	User   string // who is signed in
	UserID string
	Name   string // what was typed as user name
	// Replace is set where a new password has to be chosen.
	Replace bool
	Code    string // the user code
	Fields  []field
	Detail  string // for the error page
}

type field struct{ Name, Value string }

// render writes a page. formTo is where its form may lead, besides back here:
// browsers hold the redirect that answers a form to form-action as well.
func render(w http.ResponseWriter, status int, t *template.Template, p page, formTo string) error {
	var b [16]byte
	rand.Read(b[:]) // never fails
	p.Nonce = base64.RawURLEncoding.EncodeToString(b[:])
	p.Style = style
	var body bytes.Buffer
	if err := t.ExecuteTemplate(&body, "layout", p); err != nil {
		return fmt.Errorf("write page %q: %w", p.Title, err)
	}
	h := w.Header()
	script := ""
	if t == postPage {
		script = "; script-src 'nonce-" + p.Nonce + "'"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+p.Nonce+"'"+script+
		"; form-action 'self'"+formAction(formTo)+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(body.Bytes())
	return nil
}

// formAction is the origin of a redirect URI, which is registered, as a source of
// a content security policy. The policy's grammar has no IPv6 addresses; there
// the scheme must do.
func formAction(uri string) string {
	u, err := url.Parse(uri)
	if uri == "" || err != nil || u.Host == "" || strings.ContainsAny(u.Host, " ;,'\"") {
		return ""
	}
	if strings.Contains(u.Host, "[") {
		return " " + u.Scheme + ":"
	}
	return " " + u.Scheme + "://" + u.Host
}

// self is the address of the request, without the host, in one spelling: a page's
// form is sent to it, and browsers and templates may encode a query differently
// from how it came.
func self(r *http.Request) string {
	u := url.URL{Path: r.URL.Path, RawQuery: r.URL.Query().Encode()}
	return u.String()
}

// failPage shows an error of a page. It never leads anywhere else.
func (d *Door) failPage(w http.ResponseWriter, r *http.Request, err error) {
	e := known(err)
	f := d.describe(w, r, e)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(e.RetryAfter))
	}
	p := page{Title: "Sign-in did not work", Message: e.Text, Detail: "AADSTS" + strconv.Itoa(e.Code) + ". Trace ID: " + f.TraceID + ". Timestamp: " + f.Timestamp}
	if render(w, e.Status, errorPage, p, "") != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// friendly is what a person is told about a failed attempt at a form; false means
// that the error is not about the attempt.
func friendly(err error) (string, bool) {
	var e *issue.Error
	if !errors.As(err, &e) {
		return "", false
	}
	switch e.Code {
	case 50126:
		return "Your user name or password is incorrect.", true
	case 50053:
		return "You have tried to sign in too many times with an incorrect user name or password. Try again in ten minutes.", true
	case 50057:
		return "Your account is disabled.", true
	case 90055:
		return "Too many people are signing in at the moment. Try again in a few seconds.", true
	case issue.MustReplace, 50020, 50034, 50105, 50173:
		return e.Text, true
	}
	return "", false
}
