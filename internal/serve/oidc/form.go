package oidc

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/gatehouse-io/gatehouse/internal/issue"
)

// Limits of what is read. A token request with an assertion and a certificate
// chain is about 8 KB.
const (
	maxForm       = 64 << 10
	maxQuery      = 16 << 10
	maxParameters = 64
)

// values are parameters of which each was sent at most once.
type values map[string]string

func refuseRequest(status, code int, format string, args ...any) error {
	return &issue.Error{OAuth: "invalid_request", Code: code, Status: status, Text: fmt.Sprintf(format, args...)}
}

// single refuses what two readers could read differently: a parameter that was
// sent twice (OA-44), and text that is not well encoded.
func single(text string) (values, error) {
	parsed, err := url.ParseQuery(text)
	if err != nil {
		return nil, refuseRequest(http.StatusBadRequest, 90015, "The request is not well encoded.")
	}
	if len(parsed) > maxParameters {
		return nil, refuseRequest(http.StatusBadRequest, 90015, "The request has too many parameters.")
	}
	out := make(values, len(parsed))
	for name, all := range parsed {
		if len(all) != 1 {
			return nil, refuseRequest(http.StatusBadRequest, 90015, "The parameter '%.64s' was sent more than once.", name)
		}
		out[name] = all[0]
	}
	return out, nil
}

// query reads the parameters of the URL.
func query(r *http.Request) (values, error) {
	if len(r.URL.RawQuery) > maxQuery {
		return nil, refuseRequest(http.StatusRequestURITooLong, 90015, "The request URL is too long.")
	}
	return single(r.URL.RawQuery)
}

// form reads the parameters of the body, which must be a plain form (OA-45).
func form(w http.ResponseWriter, r *http.Request) (values, error) {
	mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mt != "application/x-www-form-urlencoded" {
		return nil, refuseRequest(http.StatusBadRequest, 900144, "The request body must be of the type application/x-www-form-urlencoded.")
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, refuseRequest(http.StatusBadRequest, 90015, "The request body must not be compressed.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, fmt.Errorf("read the form: %w", err)
	}
	return single(string(body))
}

// apart refuses a request that says one thing in two places. The number by which a
// client finds its request again decides nothing, and MSAL for JavaScript sends it
// in both.
func apart(a, b values) error {
	for name := range a {
		if _, both := b[name]; both && name != "client-request-id" {
			return refuseRequest(http.StatusBadRequest, 90015, "The parameter '%.64s' was sent in the URL and in the body.", name)
		}
	}
	return nil
}
