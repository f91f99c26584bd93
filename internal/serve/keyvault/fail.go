package keyvault

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// A failure is a refusal in the shape of Key Vault.
type failure struct {
	status      int
	code, inner string
	lines       []string
}

func (f *failure) Error() string { return f.code + ": " + strings.Join(f.lines, " ") }

func failed(status int, code, inner, format string, args ...any) *failure {
	return &failure{status, code, inner, []string{fmt.Sprintf(format, args...)}}
}

func refuse(status int, code, inner, format string, args ...any) error {
	return failed(status, code, inner, format, args...)
}

// envelope is the shape of every error of Key Vault.
type envelope struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Inner   *inner `json:"innererror,omitempty"`
	} `json:"error"`
}

type inner struct {
	Code string `json:"code"`
}

// fail answers an error. A 401 says where to sign in, which is how SDKs begin.
func (c *call) fail(w http.ResponseWriter, err error) {
	f := c.explain(err)
	if f.status == http.StatusUnauthorized && !c.tenant.IsZero() {
		w.Header().Set("WWW-Authenticate", `Bearer authorization="`+c.d.conf.Authority+"/"+c.tenant.String()+`", resource="`+Resource+`"`)
	}
	if f.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	var body envelope
	body.Error.Code = f.code
	for i, line := range f.lines {
		f.lines[i] = serve.Printable(line, 2048)
	}
	body.Error.Message = strings.Join(f.lines, "\r\n")
	if f.inner != "" {
		body.Error.Inner = &inner{f.inner}
	}
	if serve.JSON(w, f.status, body) != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// explain gives every error its status and code. What it does not know is a 500,
// whose text stays in the log.
func (c *call) explain(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	kind := c.target.ref.Kind.Singular()
	title := ""
	if kind != "" {
		title = strings.ToUpper(kind[:1]) + kind[1:]
	}
	name := serve.Printable(c.target.name, 127)
	verb := c.verb()
	var known *serve.Error
	switch {
	case errors.As(err, &known) && known.Status == http.StatusUnauthorized:
		if known.Code == "AuthenticationFailed" {
			return failed(known.Status, "Unauthorized", "", "AKV10000: Request is missing a Bearer or PoP token.")
		}
		return failed(known.Status, "Unauthorized", "", "AKV10046: The access token is not accepted.")
	case errors.As(err, &known):
		return failed(known.Status, known.Code, "", "%s", known.Message)
	case errors.Is(err, vault.ErrDeleted):
		return failed(http.StatusConflict, "Conflict", "ObjectIsDeletedButRecoverable",
			"%s %s is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the %s can only be recovered or purged.", title, name, kind)
	case errors.Is(err, vault.ErrManaged):
		return failed(http.StatusConflict, "Conflict", "", "The %s %s belongs to the certificate of the same name, and is changed with it alone.", kind, name)
	case errors.Is(err, safe.ErrTaken):
		return failed(http.StatusConflict, "Conflict", "", "A key or secret that belongs to no certificate has the name %s already.", name)
	case errors.Is(err, safe.ErrExists):
		return failed(http.StatusConflict, "Conflict", "", "There is a %s of the name of the backup already.", kind)
	case errors.Is(err, safe.ErrBackup):
		return failed(http.StatusBadRequest, "BadParameter", "", "The backup cannot be restored here: %s.", safe.ErrBackup)
	case errors.Is(err, vault.ErrProtected):
		return failed(http.StatusForbidden, "Forbidden", "PurgeProtected",
			"Operation \"purge\" is not allowed because purge protection is enabled for this vault. What is deleted goes by itself when its time to be recovered is over.")
	case errors.Is(err, vault.ErrDisabled):
		return failed(http.StatusForbidden, "Forbidden", title+"Disabled", "Operation %s is not allowed on a disabled %s.", verb, kind)
	case errors.Is(err, vault.ErrNotYetValid):
		return failed(http.StatusForbidden, "Forbidden", title+"NotYetValid", "Operation %s is not allowed on a %s that is not valid yet.", verb, kind)
	case errors.Is(err, vault.ErrExpired):
		return failed(http.StatusForbidden, "Forbidden", title+"Expired", "Operation %s is not allowed on an expired %s.", verb, kind)
	case errors.Is(err, vault.ErrNotPermitted):
		return failed(http.StatusForbidden, "Forbidden", "KeyOperationForbidden", "Operation %s is not permitted on this key.", verb)
	case errors.Is(err, vault.ErrNoPending):
		return failed(http.StatusNotFound, "PendingCertificateNotFound", "", "Pending certificate not found: %s", name)
	case errors.Is(err, safe.ErrNotFound):
		if kind == "" {
			return failed(http.StatusNotFound, "NotFound", "", "Not found.")
		}
		return failed(http.StatusNotFound, title+"NotFound", "", "A %s with (name/id) %s was not found in this key vault. If you recently deleted this %s you may be able to recover it using the correct recovery command.", kind, name, kind)
	case errors.Is(err, store.ErrConflict):
		return failed(http.StatusConflict, "Conflict", "", "Others changed the same at the same time. Nothing was changed: try again.")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrStale):
		return failed(http.StatusServiceUnavailable, "ServiceUnavailable", "", "The store is not available. Nothing was given out: try again.")
	case errors.Is(err, store.ErrNoSpace):
		return failed(http.StatusInsufficientStorage, "InsufficientStorage", "", "The store is full. Nothing was changed.")
	case errors.Is(err, store.ErrTooLarge):
		return failed(http.StatusRequestEntityTooLarge, "BadParameter", "", "The change is too large to be made at once. Nothing was changed.")
	case errors.Is(err, record.ErrInvalid):
		return failed(http.StatusBadRequest, "BadParameter", "", "%s", strings.TrimPrefix(err.Error(), record.ErrInvalid.Error()+": "))
	}
	status, code, message := serve.Status(err)
	return failed(status, code, "", "%s", message)
}

// verb is what a call does, in a word.
func (c *call) verb() string {
	if i := strings.LastIndex(c.route.path, "/"); i >= 0 && c.r.Method == http.MethodPost {
		return c.route.path[i+1:]
	}
	return strings.ToLower(c.r.Method)
}
