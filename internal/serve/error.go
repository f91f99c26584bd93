package serve

import (
	"errors"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// An Error is a refusal that may be shown to the caller. Err, if any, is the
// cause, which stays in the log.
type Error struct {
	Status  int    // of HTTP
	Code    string // for programs, such as AuthorizationFailed
	Message string // for people
	Err     error
}

// Refuse returns an Error without a cause.
func Refuse(status int, code, message string) error {
	return &Error{Status: status, Code: code, Message: message}
}

func (e *Error) Error() string {
	text := e.Code + ": " + e.Message
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Status is the only place where an error becomes an HTTP status. What it does
// not know is a 500, whose text stays in the log.
func Status(err error) (status int, code, message string) {
	var known *Error
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known.Status, known.Code, known.Message
	case errors.As(err, &tooBig):
		return http.StatusRequestEntityTooLarge, "RequestTooLarge", "The request body is too large."
	case errors.Is(err, record.ErrInvalid), errors.Is(err, scope.ErrInvalid),
		errors.Is(err, guid.ErrInvalid), errors.Is(err, ErrMalformed):
		return http.StatusBadRequest, "BadRequest", err.Error()
	}
	return http.StatusInternalServerError, "InternalServerError", "The request could not be answered. The log has the reason under the request id."
}

// Problem answers err in the shape that Azure Resource Manager uses:
// {"error":{"code":…,"message":…}}.
func Problem(w http.ResponseWriter, err error) {
	status, code, message := Status(err)
	var body problem
	body.Error.Code, body.Error.Message = code, Printable(message, 2048)
	if JSON(w, status, body) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

type problem struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}
