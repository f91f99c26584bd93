package oidc

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// trace names one request for whoever looks into it.
type trace struct{}

// failure is the body of a refusal, as Entra writes it.
type failure struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	Suberror      string `json:"suberror,omitzero"`
}

// known turns any error into one that may be shown. What it does not know is an
// internal error, whose text stays in the log.
func known(err error) *issue.Error {
	var e *issue.Error
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &tooBig):
		return &issue.Error{OAuth: "invalid_request", Code: 90015, Status: http.StatusRequestEntityTooLarge, Text: "The request is too large."}
	}
	return &issue.Error{OAuth: "server_error", Code: 50000, Status: http.StatusInternalServerError, Text: "There was an error issuing a token. The log has the reason under the trace id.", Err: err}
}

func (d *Door) describe(w http.ResponseWriter, r *http.Request, e *issue.Error) failure {
	now := d.issuer.Now().UTC().Format("2006-01-02 15:04:05Z")
	f := failure{
		Error: e.OAuth, Codes: []int{e.Code}, Timestamp: now, Suberror: e.Sub,
		// The request id of the log, in the form that clients expect.
		TraceID:       traceID(w.Header().Get("X-Request-Id")),
		CorrelationID: correlation(r),
	}
	f.Description = serve.Printable("AADSTS"+strconv.Itoa(e.Code)+": "+e.Text, 2048) +
		" Trace ID: " + f.TraceID + " Correlation ID: " + f.CorrelationID + " Timestamp: " + now
	return f
}

// traceID writes a request id of 16 hex digits as a GUID, so that the log line is
// found by its last part.
func traceID(requestID string) string {
	text := strings.Repeat("0", 32) + requestID
	text = text[len(text)-32:]
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// correlation is the id that the client gave to the request, or a new one, which
// the request has from then on: the trace and the answer say the same.
func correlation(r *http.Request) string {
	if id, err := guid.Parse[trace](r.Header.Get("Client-Request-Id")); err == nil {
		return id.String()
	}
	id := guid.New[trace]().String()
	r.Header.Set("Client-Request-Id", id)
	return id
}

// fail answers an error of an endpoint for programs.
func (d *Door) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := known(err)
	f := d.describe(w, r, e)
	tokenHeaders(w, f.TraceID, e.Code)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(e.RetryAfter))
	}
	if e.Status == http.StatusUnauthorized {
		// RFC 6749 section 5.2, and RFC 6750 section 3 for userinfo.
		challenge := `Basic realm="token"`
		if strings.HasSuffix(r.URL.Path, "/userinfo") {
			challenge = `Bearer error="` + e.OAuth + `"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if serve.JSON(w, e.Status, f) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// tokenHeaders are those that Entra sends with every answer about tokens.
func tokenHeaders(w http.ResponseWriter, traceID string, code int) {
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("X-Ms-Request-Id", traceID)
	h.Set("X-Ms-Clitelem", "1,"+strconv.Itoa(code)+",0,,")
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
