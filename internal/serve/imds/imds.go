// Package imds is the door at which programs on a machine get tokens of its
// managed identities: the identity part of Azure's instance metadata service, and
// the endpoints of App Service and of Cloud Shell.
//
// A program sends no credential of its own there; on a real machine its address
// is what it is known by. Here whoever serves the door says which identities the
// sender of a request may use, by a secret, by the pod that an address belongs
// to, or by what else is sure.
//
// Refusals have the status 400, not 404 or 429, where clients can do nothing by
// asking again: az asks again twelve times, for minutes.
package imds

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Path is where machines find tokens, at http://169.254.169.254. Endpoint is the
// path of the endpoint of App Service (GET) and of Cloud Shell (POST), at whatever
// host the variables of a program name.
const (
	Path     = "/metadata/identity/oauth2/token"
	Endpoint = "/msi/token"
)

// An Identity is a managed identity that a caller may use.
type Identity struct {
	Object principal.ID
	Client directory.AppID
	// Resource is the identity's own scope, or that of the resource that a
	// system-assigned identity belongs to.
	Resource       scope.Scope
	SystemAssigned bool
	// Session is who began the identity session that lets the caller use it, if that
	// is how he may.
	Session principal.ID
}

// A Token is an access token of an identity.
type Token struct {
	Text      string
	NotBefore time.Time
	Expires   time.Time
}

// An Error is a refusal that may be shown to the caller.
type Error struct {
	Status      int    // of HTTP
	Code        string // such as invalid_request
	Description string
	Err         error // the cause, for the log
}

func (e *Error) Error() string {
	text := e.Code + ": " + e.Description
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

func refuse(code, description string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Description: description}
}

// Config is what the door needs. Caller and Token are required.
type Config struct {
	// Caller returns the identities that the sender of a request may use. What goes
	// wrong is an *Error, or else stays in the log.
	Caller func(*http.Request) ([]Identity, error)
	// Token returns a token of an identity for a resource, as the caller wrote it.
	Token func(ctx context.Context, id Identity, resource string) (Token, error)
	Log   *slog.Logger     // nil means no log
	Now   func() time.Time // nil means time.Now
}

// A Door answers requests for tokens. It is safe for concurrent use.
type Door struct{ conf Config }

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.Caller == nil || conf.Token == nil {
		return nil, errors.New("imds: Caller and Token are required")
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	return &Door{conf}, nil
}

// ServeHTTP implements http.Handler. A path has one spelling (PI-06).
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.EscapedPath() {
	case Path:
		d.serve(w, r, machine{})
	case Endpoint, Endpoint + "/": // the latter as az asks in App Service
		d.serve(w, r, endpoint{})
	default:
		write(w, http.StatusNotFound, machineFailure{"not_found", "There is nothing here."})
	}
}

// An ask is a request for a token, in the words of one style.
type ask struct {
	resource string
	which    Selector
	style    style
}

// An Ask is a request for a token at the metadata service of machines.
type Ask struct {
	Resource string
	Which    Selector
}

// Read reads a request to Path as the door does: with its header, its method, and
// each parameter once. Errors are *Error.
func Read(r *http.Request) (Ask, error) {
	a, err := machine{}.read(nil, r)
	return Ask{a.resource, a.which}, err
}

// ReadQuery reads the parameters of a request for a token, for whoever asks in the
// words of this service at another place: without a version. Errors are *Error.
func ReadQuery(query string) (Ask, error) {
	v, err := values(query)
	if err != nil {
		return Ask{}, err
	}
	a, err := machine{}.want(v)
	return Ask{a.resource, a.which}, err
}

// Body is a token as the metadata service of machines writes it, in JSON.
func Body(id Identity, resource string, t Token, now time.Time) any {
	return machine{}.answer(id, resource, t, now)
}

// Answer writes a token as the metadata service of machines does.
func Answer(w http.ResponseWriter, id Identity, resource string, t Token, now time.Time) {
	write(w, http.StatusOK, Body(id, resource, t, now))
}

// Refuse writes a refusal as the metadata service of machines does.
func Refuse(w http.ResponseWriter, e *Error) { write(w, e.Status, machine{}.failure(e)) }

// A style is a way to ask for a token and to be answered.
type style interface {
	// answer is the body of a success.
	answer(id Identity, resource string, t Token, now time.Time) any
	// failure is the body of a refusal.
	failure(e *Error) any
}

// A reader reads requests of a path. With an error, style says how to answer it.
type reader interface {
	read(w http.ResponseWriter, r *http.Request) (ask, error)
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request, from reader) {
	a, err := from.read(w, r)
	var id Identity
	var t Token
	if err == nil {
		id, t, err = d.token(r, a)
	}
	if err != nil {
		d.fail(w, r, a.style, err)
		return
	}
	write(w, http.StatusOK, a.style.answer(id, a.resource, t, d.conf.Now()))
}

// token returns a token of the identity that is asked for, if the caller has it.
func (d *Door) token(r *http.Request, a ask) (Identity, Token, error) {
	has, err := d.conf.Caller(r)
	if err != nil {
		return Identity{}, Token{}, err
	}
	id, err := a.which.Choose(has)
	if err != nil {
		return Identity{}, Token{}, err
	}
	t, err := d.conf.Token(r.Context(), id, a.resource)
	return id, t, err
}

// fail answers an error. What it does not know stays in the log.
func (d *Door) fail(w http.ResponseWriter, r *http.Request, s style, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Code: "unknown", Description: "Failed to retrieve a token from the active directory. The log has the reason.", Err: err}
	}
	level := slog.LevelInfo
	if e.Status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	d.conf.Log.Log(r.Context(), level, "no token", "status", e.Status, "error", err.Error())
	write(w, e.Status, s.failure(e))
}

func write(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"unknown"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(text)
}

// Bounds of what is read, in bytes.
const (
	maxQuery    = 8 << 10
	maxForm     = 8 << 10
	maxResource = 1024
)

// values reads parameters. One that was sent twice could be read in two ways.
func values(text string) (url.Values, error) {
	v, err := url.ParseQuery(text)
	if err != nil || len(text) > maxQuery {
		return nil, refuse("invalid_request", "The request is not well encoded, or is too long.")
	}
	for name, all := range v {
		if len(all) != 1 {
			return nil, refuse("invalid_request", "The parameter '"+printable(name)+"' was sent more than once.")
		}
	}
	return v, nil
}

// wanted reads the resource, which is an audience and no scope.
func wanted(v url.Values) (string, error) {
	resource := v.Get("resource")
	switch {
	case resource == "":
		return "", refuse("invalid_request", "Required query variable 'resource' is missing")
	case len(resource) > maxResource || printable(resource) != resource:
		return "", refuse("invalid_resource", "AADSTS50001: The resource is not valid.")
	}
	return resource, nil
}

// printable returns the beginning of what a caller sent without what could forge a
// line of a log or of a terminal.
func printable(s string) string {
	out := make([]byte, 0, len(s))
	for i := range min(len(s), maxResource+1) {
		if s[i] <= ' ' || s[i] > '~' {
			out = append(out, '?')
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, refuse("invalid_request", "The request body cannot be read, or is too long.")
	}
	return values(string(body))
}

func seconds(n int64) string { return strconv.FormatInt(n, 10) }
