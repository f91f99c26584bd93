package graph

import (
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// problem is the shape of every error of Graph.
type problem struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Inner   inner  `json:"innerError"`
	} `json:"error"`
}

type inner struct {
	Date            string `json:"date"`
	RequestID       string `json:"request-id"`
	ClientRequestID string `json:"client-request-id"`
}

// says is what is answered to an error.
func says(err error) string {
	_, code, message := serve.Status(explain(err))
	return code + ": " + message
}

func (d *Door) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, code, message := serve.Status(explain(err))
	if status == http.StatusUnauthorized {
		code = "InvalidAuthenticationToken"
		challenge := `Bearer realm=""`
		if wanted := serve.Claims(r, d.conf.Now()); wanted != "" {
			challenge += ", " + wanted
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	switch code { // those of the house that clients of Graph know by another name
	case "BadRequest":
		code = "Request_BadRequest"
	case "InternalServerError":
		code = "Service_InternalServerError"
	}
	var body problem
	body.Error.Code, body.Error.Message = code, serve.Printable(message, 2048)
	body.Error.Inner = inner{
		Date:            d.conf.Now().UTC().Format(time.DateOnly + "T" + time.TimeOnly),
		RequestID:       w.Header().Get("X-Request-Id"),
		ClientRequestID: w.Header().Get(correlation),
	}
	if serve.JSON(w, status, body) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// explain gives the errors of the estate and of the store their status and code.
func explain(err error) error {
	var known *serve.Error
	if errors.As(err, &known) {
		return err
	}
	for _, e := range [...]struct {
		is     error
		status int
		code   string
	}{
		{store.ErrUnavailable, http.StatusServiceUnavailable, "serviceNotAvailable"},
		{store.ErrStale, http.StatusServiceUnavailable, "serviceNotAvailable"},
		{store.ErrNoSpace, http.StatusInsufficientStorage, "insufficientStorage"},
		{store.ErrTooLarge, http.StatusRequestEntityTooLarge, "Request_TooLarge"},
		{store.ErrConflict, http.StatusConflict, "Request_Conflict"},
		{estate.ErrExists, http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue"},
		{estate.ErrInUse, http.StatusConflict, "Request_Conflict"},
		{estate.ErrNotFound, http.StatusNotFound, "Request_ResourceNotFound"},
		{estate.ErrLastAdmin, http.StatusBadRequest, "Request_BadRequest"},
		{estate.ErrImmutable, http.StatusBadRequest, "Request_BadRequest"},
		{estate.ErrUnknown, http.StatusBadRequest, "Request_BadRequest"},
	} {
		if errors.Is(err, e.is) {
			return &serve.Error{Status: e.status, Code: e.code, Message: err.Error(), Err: err}
		}
	}
	return err
}

func bad(message string) error {
	return serve.Refuse(http.StatusBadRequest, "Request_BadRequest", message)
}

func unsupported(message string) error {
	return serve.Refuse(http.StatusBadRequest, "Request_UnsupportedQuery", message)
}

func notFound(id string) error {
	return serve.Refuse(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '"+serve.Printable(id, 256)+"' does not exist or one of its queried reference-property objects are not present.")
}

func denied() error {
	return serve.Refuse(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}
