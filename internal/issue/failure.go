package issue

import (
	"fmt"
	"net/http"
	"regexp"
	"time"
)

// An Error is a refusal in the words of OAuth and of Entra. Everything in it but
// the cause may be shown to the caller.
type Error struct {
	OAuth  string // the error of RFC 6749, such as invalid_grant
	Code   int    // the number behind AADSTS
	Status int    // of HTTP
	Text   string // one or two sentences for the developer
	Sub    string // the suberror that clients branch on, if any
	// RetryAfter is how long the caller should wait, if that is known.
	RetryAfter time.Duration
	// Err is the cause; it stays in the log.
	Err error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("AADSTS%d: %s", e.Code, e.Text)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// The OAuth errors in use (RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section
// 3.5, OpenID Connect Core section 3.1.2.6, and Entra's own).
const (
	invalidRequest       = "invalid_request"
	invalidClient        = "invalid_client"
	invalidGrant         = "invalid_grant"
	invalidScope         = "invalid_scope"
	invalidResource      = "invalid_resource"
	unauthorizedClient   = "unauthorized_client"
	unsupportedGrant     = "unsupported_grant_type"
	unsupportedResponse  = "unsupported_response_type"
	accessDenied         = "access_denied"
	loginRequired        = "login_required"
	interactionRequired  = "interaction_required"
	authorizationPending = "authorization_pending"
	authorizationDenied  = "authorization_declined"
	slowDown             = "slow_down"
	badVerificationCode  = "bad_verification_code"
	expiredToken         = "expired_token"
	temporarily          = "temporarily_unavailable"
)

// refuse returns an Error with the status that RFC 6749 section 5.2 gives to it.
func refuse(oauth string, code int, format string, args ...any) *Error {
	status := http.StatusBadRequest
	if oauth == invalidClient {
		status = http.StatusUnauthorized
	}
	return &Error{OAuth: oauth, Code: code, Status: status, Text: WithoutSecrets(fmt.Sprintf(format, args...))}
}

// clientSecret is what NewClientSecret makes, or the beginning of it.
var clientSecret = regexp.MustCompile(regexp.QuoteMeta(secretMark) + `[A-Za-z0-9_-]{8,}`)

// WithoutSecrets returns a text in which nobody reads a client secret. Refusals
// name what was sent, and secrets are sent in the place of ids: two settings of a
// deployment were swapped (ZA-01).
func WithoutSecrets(text string) string { return clientSecret.ReplaceAllString(text, "[secret]") }

// because adds the cause for the log.
func (e *Error) because(err error) *Error {
	e.Err = err
	return e
}

// The refusals that more than one grant needs.

func errTenant(segment string) *Error {
	return refuse(invalidRequest, 90002, "Tenant '%.100s' not found. Check that you have the correct tenant ID or domain name and are signing into the correct cloud.", segment)
}

func errMissing(name string) *Error {
	return refuse(invalidRequest, 900144, "The request body must contain the following parameter: '%s'.", name)
}

func errClient(id string, realm Realm) *Error {
	return refuse(unauthorizedClient, 700016, "Application with identifier '%.64s' was not found in the directory '%s'.", id, realm)
}

// errCredentials is the one answer to a wrong name and to a wrong password: who
// does not know the password learns nothing about the name (OA-49). Entra says
// 50034 for the former.
func errCredentials() *Error {
	return refuse(invalidGrant, 50126, "Error validating credentials due to invalid username or password.")
}

func errRefreshToken() *Error {
	return refuse(invalidGrant, 70000, "The provided value for the 'refresh_token' is not valid.")
}

func errCode() *Error {
	return refuse(invalidGrant, 70000, "The provided value for the 'code' is not valid.")
}

func errBusy() *Error {
	return &Error{OAuth: temporarily, Code: 90055, Status: http.StatusTooManyRequests, RetryAfter: 2 * time.Second,
		Text: "The tenant is being throttled due to too many requests. Try again later."}
}

// errUnavailable is what a store that cannot be asked becomes: never a success,
// never a refusal that a client would remember.
func errUnavailable(err error) *Error {
	return &Error{OAuth: temporarily, Code: 90033, Status: http.StatusServiceUnavailable, RetryAfter: 2 * time.Second,
		Text: "A transient error has occurred. Please try again.", Err: err}
}
