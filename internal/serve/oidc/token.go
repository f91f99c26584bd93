package oidc

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// answerV2 is a token answer. Clients insist on numbers here.
type answerV2 struct {
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitzero"`
	ExpiresIn    int64  `json:"expires_in"`
	ExtExpiresIn int64  `json:"ext_expires_in"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitzero"`
	IDToken      string `json:"id_token,omitzero"`
	ClientInfo   string `json:"client_info,omitzero"`
}

// answerV1 is a token answer of version 1.0, in which numbers are texts.
type answerV1 struct {
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope,omitzero"`
	ExpiresIn    string `json:"expires_in"`
	ExtExpiresIn string `json:"ext_expires_in"`
	ExpiresOn    string `json:"expires_on"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitzero"`
	IDToken      string `json:"id_token,omitzero"`
	ClientInfo   string `json:"client_info,omitzero"`
}

// token serves the token endpoint of a version. The proof, if any, takes the place
// of the client's credentials.
func (d *Door) token(version int, prove Proof) serve.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		start := d.issuer.Now()
		f, err := d.clientForm(w, r)
		if err != nil {
			return err
		}
		req := issue.TokenRequest{
			Realm: r.PathValue("tenant"), V1: version == 1, APIVersion: r.URL.Query().Get("api-version"),
			GrantType: f["grant_type"], ClientID: f["client_id"], ClientSecret: issue.NewSecret(f["client_secret"]),
			AssertionType: f["client_assertion_type"], Assertion: issue.NewSecret(f["client_assertion"]),
			Scope: f["scope"], Resource: f["resource"],
			Code: issue.NewSecret(f["code"]), RedirectURI: f["redirect_uri"], Verifier: issue.NewSecret(f["code_verifier"]),
			DeviceCode: issue.NewSecret(f["device_code"]), RefreshToken: issue.NewSecret(f["refresh_token"]),
			Username: f["username"], Password: issue.NewSecret(f["password"]),
			UserAssertion: issue.NewSecret(f["assertion"]), TokenUse: f["requested_token_use"],
			TokenType: f["token_type"], Confirmation: f["req_cnf"], Source: source(r),
		}
		if d.tokens != nil {
			if err := d.tokens(w, r, req); err != nil {
				return d.refused(w, r, req, err)
			}
		}
		if prove != nil {
			if req, err = prove.of(r.Context(), req); err != nil {
				return d.refused(w, r, req, err)
			}
		}
		ans, err := d.issuer.Token(r.Context(), req)
		if err != nil {
			return d.refused(w, r, req, err)
		}
		d.trace.Add(identified(w, r, req, serve.Event{
			At: start, Door: "oidc", ID: ans.Subject, User: ans.Name, Effect: "issued", Groups: ans.Groups, Revision: ans.Revision,
			Reason: req.GrantType + " for " + serve.Printable(ans.Resource, 200), Took: d.issuer.Now().Sub(start),
		}))
		if f["client_info"] != "1" {
			ans.ClientInfo = ""
		}
		tokenHeaders(w, traceID(w.Header().Get("X-Request-Id")), 0)
		left := int64(ans.Expires.Sub(d.issuer.Now()).Seconds())
		if version == 2 {
			return serve.JSON(w, http.StatusOK, answerV2{
				TokenType: ans.TokenType, Scope: ans.Scope, ExpiresIn: left, ExtExpiresIn: left,
				AccessToken: ans.AccessToken, RefreshToken: ans.RefreshToken, IDToken: ans.IDToken, ClientInfo: ans.ClientInfo,
			})
		}
		in := strconv.FormatInt(left, 10)
		return serve.JSON(w, http.StatusOK, answerV1{
			TokenType: ans.TokenType, Scope: ans.Scope, ExpiresIn: in, ExtExpiresIn: in,
			ExpiresOn: strconv.FormatInt(ans.Expires.Unix(), 10), NotBefore: strconv.FormatInt(ans.IssuedAt.Unix(), 10), Resource: ans.Resource,
			AccessToken: ans.AccessToken, RefreshToken: ans.RefreshToken, IDToken: ans.IDToken, ClientInfo: ans.ClientInfo,
		})
	}
}

// refused notes a refusal, other than that a device still waits, and returns it.
func (d *Door) refused(w http.ResponseWriter, r *http.Request, req issue.TokenRequest, err error) error {
	if e := known(err); e.Code != 70016 {
		d.trace.Add(identified(w, r, req, serve.Event{
			At: d.issuer.Now(), Door: "oidc", User: d.shownName(req.Username), Effect: "refused",
			Reason: issue.WithoutSecrets(serve.Printable(req.GrantType, 64)) + ": AADSTS" + strconv.Itoa(e.Code) + ": " + serve.Printable(e.Text, 300),
		}))
	}
	return noted{err}
}

// noted is a refusal that the trace tells of already.
type noted struct{ error }

func (n noted) Unwrap() error { return n.error }

// noting notes what h refuses and has not noted, by the end of its pattern: what was
// asked could not be read, or is no token.
func (d *Door) noting(h serve.Handler) serve.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		if _, done := errors.AsType[noted](err); err != nil && !done {
			return d.refused(w, r, issue.TokenRequest{GrantType: path.Base(r.Pattern)}, err)
		}
		return err
	}
}

// identified adds by what an event can be found, and what the client showed. A client
// id that is none may be a secret, and is left out.
func identified(w http.ResponseWriter, r *http.Request, req issue.TokenRequest, e serve.Event) serve.Event {
	e.TraceID, e.CorrelationID = traceID(w.Header().Get("X-Request-Id")), correlation(r)
	if id, err := guid.Parse[trace](strings.ToLower(req.ClientID)); err == nil {
		e.Client = id.String()
	}
	if says, err := token.Peek(req.Assertion.Reveal()); err == nil {
		shown := func(s string) string { return issue.WithoutSecrets(serve.Printable(s, 600)) }
		e.Issuer, e.Subject, e.Audience = shown(says.Issuer), shown(says.Subject), shown(says.Audience)
	}
	return e
}

// clientForm reads a form that a program sent, and how the program shows who it
// is: in the body or by HTTP Basic authentication, never both, and never in the
// URL, which ends up in logs (OA-21).
func (d *Door) clientForm(w http.ResponseWriter, r *http.Request) (values, error) {
	f, err := form(w, r)
	if err != nil {
		return nil, err
	}
	q, err := query(r)
	if err != nil {
		return nil, err
	}
	if err := apart(q, f); err != nil {
		return nil, err
	}
	for name := range q {
		switch name {
		case "api-version", "mkt", "slice", "dc", "client-request-id":
		default:
			return nil, refuseRequest(http.StatusBadRequest, 90015, "The parameter '%.64s' must be sent in the body.", name)
		}
	}
	header := r.Header.Values("Authorization")
	if len(header) == 0 {
		return f, nil
	}
	id, secret, ok := basic(header)
	bad := &issue.Error{OAuth: "invalid_client", Code: 7000215, Status: http.StatusUnauthorized, Text: "The Authorization header is not valid."}
	switch {
	case !ok || id == "" || secret == "":
		return nil, bad
	case f["client_secret"] != "" || f["client_assertion"] != "" || f["client_assertion_type"] != "":
		return nil, refuseRequest(http.StatusBadRequest, 7000219, "The client must not authenticate in two ways.")
	case f["client_id"] != "" && f["client_id"] != id:
		return nil, bad
	}
	f["client_id"], f["client_secret"] = id, secret
	return f, nil
}

// basic reads the header of RFC 6749 section 2.3.1: the two parts are encoded as
// in a form before they are joined.
func basic(header []string) (id, secret string, ok bool) {
	if len(header) != 1 {
		return "", "", false
	}
	scheme, text, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", "", false
	}
	a, b, ok := strings.Cut(string(raw), ":")
	id, err1 := url.QueryUnescape(a)
	secret, err2 := url.QueryUnescape(b)
	return id, secret, ok && err1 == nil && err2 == nil
}

// deviceAnswerV2 and V1 are answers of the device authorization endpoint.
type deviceAnswerV2 struct {
	UserCode   string `json:"user_code"`
	DeviceCode string `json:"device_code"`
	Page       string `json:"verification_uri"`
	ExpiresIn  int64  `json:"expires_in"`
	Interval   int64  `json:"interval"`
	Message    string `json:"message"`
}

type deviceAnswerV1 struct {
	UserCode   string `json:"user_code"`
	DeviceCode string `json:"device_code"`
	Page       string `json:"verification_url"`
	ExpiresIn  string `json:"expires_in"`
	Interval   string `json:"interval"`
	Message    string `json:"message"`
}

// deviceCode serves the device authorization endpoint of a version.
func (d *Door) deviceCode(version int) serve.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		f, err := d.clientForm(w, r)
		if err != nil {
			return err
		}
		c, err := d.issuer.StartDevice(r.Context(), issue.DeviceRequest{
			Realm: r.PathValue("tenant"), V1: version == 1, ClientID: f["client_id"], Scope: f["scope"], Resource: f["resource"],
		})
		if err != nil {
			return err
		}
		tokenHeaders(w, traceID(w.Header().Get("X-Request-Id")), 0)
		life, interval := int64(c.ExpiresIn.Seconds()), int64(c.Interval.Seconds())
		if version == 2 {
			return serve.JSON(w, http.StatusOK, deviceAnswerV2{c.UserCode, c.DeviceCode.Reveal(), c.Page, life, interval, c.Message})
		}
		return serve.JSON(w, http.StatusOK, deviceAnswerV1{
			c.UserCode, c.DeviceCode.Reveal(), c.Page, strconv.FormatInt(life, 10), strconv.FormatInt(interval, 10), c.Message,
		})
	}
}

// userInfo answers with the claims of whoever the access token speaks of.
func (d *Door) userInfo(w http.ResponseWriter, r *http.Request) error {
	header := r.Header.Values("Authorization")
	bad := &issue.Error{OAuth: "invalid_token", Code: 50027, Status: http.StatusUnauthorized, Text: "The access token must be sent in the Authorization header."}
	if len(header) != 1 {
		return bad
	}
	scheme, raw, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" || r.URL.Query().Has("access_token") {
		return bad
	}
	info, err := d.issuer.UserInfo(r.Context(), r.PathValue("tenant"), issue.NewSecret(raw))
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, struct {
		Subject string `json:"sub"`
		Name    string `json:"name,omitzero"`
		Email   string `json:"email,omitzero"`
	}{info.Subject, info.Name, info.Email})
}

// shownName is a user name that somebody typed, for those who look at the trace.
// People type their password into the field of the name; what is not a name at
// a domain of the house is left out (ZA-01).
func (d *Door) shownName(typed string) string {
	_, domain, _ := strings.Cut(typed, "@")
	if est := d.issuer.Estate(); est != nil {
		if _, ok := issue.DomainTenant(est, domain); ok {
			return serve.Printable(typed, 256)
		}
	}
	return ""
}
