package registry

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Nobody is the name with which clients send a refresh token as a password.
const Nobody = "00000000-0000-0000-0000-000000000000"

const maxForm = 64 << 10 // bytes

// form reads the parameters of a POST. One that was sent twice could be read in two
// ways; only scopes may be several.
func (c *call) form() (url.Values, error) {
	if mt, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || mt != "application/x-www-form-urlencoded" {
		return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "The body must be application/x-www-form-urlencoded.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxForm))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "The body cannot be read, or is too long.")
	}
	// A body may take its time, and the registry may be gone meanwhile.
	if err := c.enter(); err != nil {
		return nil, err
	}
	return c.values(string(body))
}

func (c *call) values(text string) (url.Values, error) {
	v, err := url.ParseQuery(text)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "The parameters are not well encoded.")
	}
	for name, all := range v {
		if len(all) != 1 && name != "scope" {
			return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "The parameter '"+serve.Printable(name, 40)+"' was sent more than once.")
		}
	}
	if v.Get("service") != c.server() {
		return nil, refuse(http.StatusBadRequest, "BAD_REQUEST", "The parameter 'service' is "+c.server()+".")
	}
	return v, nil
}

// exchange gives a refresh token of this registry for an access token of the
// directory, to whom may do anything at it.
func (c *call) exchange() error {
	v, err := c.form()
	if err != nil {
		return err
	}
	if v.Get("grant_type") != "access_token" || v.Get("access_token") == "" {
		return refuse(http.StatusBadRequest, "BAD_REQUEST", "The grant_type is access_token, and the access_token is one of the directory.")
	}
	who, claims, err := c.caller(v.Get("access_token"))
	if err != nil {
		return err
	}
	if !c.anything(who.ID) {
		return unauthorized(errors.New("no role at " + c.server()))
	}
	now := c.now.Truncate(time.Second)
	end := now.Add(RefreshLife)
	if claims.Expires.Sub(claims.IssuedAt) < issue.AccessLife {
		// It was cut short, and ends with what proved it, such as a request for an
		// identity. So does what it is exchanged for.
		end = claims.Expires
	}
	if !now.Before(end) {
		return unauthorized(errors.New("the access token is about to end"))
	}
	raw, err := c.d.conf.Sign(c.r.Context(), token.RegistryClaims{
		Grant: token.RegistryRefresh, Registry: c.server(), Tenant: c.tenant, ObjectID: who.ID, ID: token.NewID(), SignIn: claims.ID,
		IssuedAt: now, Expires: end,
	})
	if err != nil {
		return err
	}
	c.issued(who, "refresh token of "+c.server())
	return serve.JSON(c.w, http.StatusOK, struct {
		Token string `json:"refresh_token"`
	}{raw})
}

// token gives an access token for what of the asked scopes the holder of a refresh
// token may do now. Who may do nothing of it gets none.
func (c *call) token() error {
	v, refresh, err := c.asked()
	if err != nil {
		return err
	}
	who, ends, err := c.holder(refresh)
	if err != nil {
		return err
	}
	asked, err := parseScopes(v["scope"])
	if err != nil {
		return err
	}
	has, lacks := c.granted(who.ID, asked)
	if len(asked) > 0 && len(has) == 0 {
		return unauthorized(errors.New("nothing of "+strings.Join(v["scope"], " ")+" at "+c.server()), lacks...)
	}
	now := c.now.Truncate(time.Second)
	end := now.Add(AccessLife)
	if ends.Before(end) {
		end = ends
	}
	if !now.Before(end) {
		return unauthorized(errors.New("the refresh token is about to end"))
	}
	raw, err := c.d.conf.Sign(c.r.Context(), token.RegistryClaims{
		Grant: token.RegistryAccess, Registry: c.server(), Tenant: c.tenant, ObjectID: who.ID, ID: token.NewID(),
		IssuedAt: now, Expires: end, Access: has,
	})
	if err != nil {
		return err
	}
	c.issued(who, "token for "+strings.Join(v["scope"], " ")+" at "+c.server())
	return serve.JSON(c.w, http.StatusOK, struct {
		Token   string `json:"access_token"`
		Seconds int    `json:"expires_in"`
	}{raw, int(end.Sub(now).Seconds())})
}

// asked reads a request for an access token: with a refresh token in a form, or as the
// password of nobody, as docker and containerd send it.
func (c *call) asked() (url.Values, string, error) {
	if c.r.Method == http.MethodGet {
		v, err := c.values(c.r.URL.RawQuery)
		if err != nil {
			return nil, "", err
		}
		user, password, ok := c.r.BasicAuth()
		if !ok || user != Nobody || len(c.r.Header.Values("Authorization")) != 1 {
			return nil, "", unauthorized(errors.New("no refresh token as the password of " + Nobody))
		}
		return v, password, nil
	}
	v, err := c.form()
	if err != nil {
		return nil, "", err
	}
	switch v.Get("grant_type") {
	case "refresh_token":
		return v, v.Get("refresh_token"), nil
	case "password":
		if v.Get("username") != Nobody {
			return nil, "", unauthorized(errors.New("a name and a password are no way to sign in"))
		}
		return v, v.Get("password"), nil
	}
	return nil, "", refuse(http.StatusBadRequest, "BAD_REQUEST", "The grant_type is refresh_token.")
}

// holder returns who holds a refresh token of this registry, as he is now, and when it
// ends.
func (c *call) holder(raw string) (serve.Caller, time.Time, error) {
	claims, err := token.VerifyRegistry(raw, c.d.conf.Keys(), c.tenant, c.server(), token.RegistryRefresh, c.now)
	if err != nil {
		return serve.Caller{}, time.Time{}, unauthorized(err)
	}
	from := token.Claims{ID: claims.SignIn, Tenant: claims.Tenant, ObjectID: claims.ObjectID, IssuedAt: claims.IssuedAt}
	if p, ok := c.est.Principal(claims.ObjectID); ok && p.Kind != principal.User {
		from.IDType = "app" // it signed in by itself
	}
	who, err := serve.StillStands(c.r.Context(), c.est, from, c.d.conf.Live)
	if c.who = who; err != nil {
		c.who = serve.Caller{ID: claims.ObjectID} // it is sure whose token that was
	}
	return who, claims.Expires, nobody(err)
}

func (c *call) issued(who serve.Caller, what string) {
	c.d.conf.Events(serve.Event{At: c.now, Door: "registry", ID: who.ID, User: who.Name, Effect: "issued", Reason: serve.Printable(what, 300),
		Groups: len(who.Groups), Revision: c.est.Revision(), Took: c.d.conf.Now().Sub(c.now)})
}
