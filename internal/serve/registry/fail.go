package registry

import (
	"errors"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A failure is a refusal in the shape of registries: OCI distribution specification,
// "Error codes".
type failure struct {
	status        int
	code, message string
	detail        []missing
	err           error // the cause, for the log
}

// missing is a right that a client asked for and does not have.
type missing struct {
	Type, Name, Action string
}

func (f *failure) Error() string {
	text := f.code + ": " + f.message
	if f.err != nil {
		text += ": " + f.err.Error()
	}
	return text
}

func (f *failure) Unwrap() error { return f.err }

func refuse(status int, code, message string) error {
	return &failure{status: status, code: code, message: message}
}

// unauthorized is what Azure Container Registry says to whomever it does not know, and
// to whom it knows and who may not, alike.
func unauthorized(cause error, lacks ...missing) error {
	return &failure{http.StatusUnauthorized, "UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization for more information.", lacks, cause}
}

// nobody is err in the words of a registry, if it is about a token.
func nobody(err error) error {
	var known *serve.Error
	if errors.As(err, &known) && known.Status == http.StatusUnauthorized {
		return unauthorized(err)
	}
	return err
}

// says is why an error is answered. Registries say the same to everybody, in words from
// which nobody learns what to do; there is nothing about a registry that is hidden from
// who has a token for it.
func says(err error) string {
	f, ok := errors.AsType[*failure](err)
	switch {
	case !ok:
		_, code, message := serve.Status(err)
		return code + ": " + message
	case f.err != nil:
		return f.code + ": " + f.err.Error()
	}
	return f.Error()
}

// envelope is the shape of every error.
type envelope struct {
	Errors []one `json:"errors"`
}

type one struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Detail  []missing `json:"detail,omitempty"`
}

// fail answers an error. What it does not know is a 500, whose text stays in the log.
func (c *call) fail(w http.ResponseWriter, err error) {
	var f *failure
	if !errors.As(err, &f) {
		status, code, message := serve.Status(err)
		switch {
		case errors.Is(err, keys.ErrBusy):
			status, code, message = http.StatusTooManyRequests, "TOOMANYREQUESTS", "Too many tokens are being made: try again."
		case errors.Is(err, keys.ErrStopped), errors.Is(err, keys.ErrNoKey), errors.Is(err, keys.ErrStale):
			status, code, message = http.StatusServiceUnavailable, "UNAVAILABLE", "No tokens are made now: try again."
		}
		f = &failure{status: status, code: code, message: message}
	}
	if f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if serve.JSON(w, f.status, envelope{[]one{{f.code, serve.Printable(f.message, 2048), f.detail}}}) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}
