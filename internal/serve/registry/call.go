package registry

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A call is one request to a registry.
type call struct {
	d    *Door
	w    http.ResponseWriter
	r    *http.Request
	name string // of the registry, in lower case
	path string // in the registry, escaped

	est *estate.Snapshot
	// law is the estate by which it is decided who may do what; see Config.Effective.
	law      *estate.Snapshot
	now      time.Time
	resource resource.Other
	is       settings
	tenant   directory.TenantID // of the registry
	who      serve.Caller       // once that is known
}

// settings are the properties of a registry that have a meaning here.
type settings struct {
	// Mode is LegacyRegistryPermissions, or AbacRepositoryPermissions, with which data
	// actions on single repositories count, and AcrPull and AcrPush do not.
	Mode     string `json:"roleAssignmentMode"`
	Network  string `json:"publicNetworkAccess"`
	Policies struct {
		ARM struct {
			Status string `json:"status"`
		} `json:"azureADAuthenticationAsArmPolicy"`
	} `json:"policies"`
	Rules struct {
		Default string `json:"defaultAction"`
	} `json:"networkRuleSet"`
}

// among reports whether a property is absent or has one of the values that are known.
func among(value string, known ...string) bool {
	return value == "" || slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(value, k) })
}

// perRepository reports whether rights are given for single repositories.
func (s settings) perRepository() bool { return strings.EqualFold(s.Mode, "AbacRepositoryPermissions") }

// enter finds the registry, by the estate as it is now. Without one there is nobody
// to sign in to.
func (c *call) enter() error {
	c.est, c.now = c.d.conf.State.Current(), c.d.conf.Now()
	if c.est == nil {
		return refuse(http.StatusServiceUnavailable, "UNAVAILABLE", "The directory is not loaded yet.")
	}
	if err := c.d.conf.State.Fresh(c.now); err != nil {
		return refuse(http.StatusServiceUnavailable, "UNAVAILABLE", "The store is not available: try again.")
	}
	c.law = c.d.conf.Effective(c.est)
	var there bool
	if c.resource, there = c.est.ResourceNamed(Type, c.name); !there || c.name == "" {
		return refuse(http.StatusNotFound, "NAME_UNKNOWN", "There is no registry '"+serve.Printable(c.name, 60)+"' here.")
	}
	sub, _ := c.resource.Scope.Subscription()
	owner, _ := c.est.Subscription(sub)
	c.tenant = owner.Tenant
	c.is = settings{} // whatever it was before the body came
	if err := json.Unmarshal([]byte(c.resource.Properties.String()), &c.is, json.MatchCaseInsensitiveNames(true)); err != nil || c.tenant.IsZero() {
		return refuse(http.StatusForbidden, "DENIED", "The registry cannot be used as it is: its properties are not those of a registry.")
	}
	if !among(c.is.Mode, "LegacyRegistryPermissions", "AbacRepositoryPermissions") {
		return refuse(http.StatusForbidden, "DENIED", "The registry cannot be used as it is: its roleAssignmentMode is not known here.")
	}
	if !among(c.is.Network, "Enabled") || !among(c.is.Rules.Default, "Allow") {
		// Rules about addresses and networks are not evaluated here, and what is not
		// evaluated lets nobody in.
		return refuse(http.StatusForbidden, "DENIED", "The network rules of the registry let nobody in here: they are not evaluated. Refer https://aka.ms/acr/firewall.")
	}
	return nil
}

// server is the login server, for which tokens are and which clients name as service.
func (c *call) server() string { return c.name + Suffix }

// caller returns who an access token of the directory speaks for.
func (c *call) caller(raw string) (serve.Caller, token.Claims, error) {
	conf := c.d.conf
	tokens := serve.Tokens{Keys: conf.Keys, Issuers: conf.Issuers, Live: conf.Live, Audiences: ownAudiences}
	if among(c.is.Policies.ARM.Status, "enabled") {
		tokens.Audiences = append(tokens.Audiences[:len(ownAudiences):len(ownAudiences)], armAudiences...)
	}
	who, claims, err := tokens.Verify(c.r.Context(), raw, c.est, c.now)
	c.who = who
	if err == nil && claims.Tenant != c.tenant {
		return serve.Caller{}, token.Claims{}, unauthorized(serve.ErrOtherTenant)
	}
	return who, claims, nobody(err)
}

// keys publishes what tokens of the registry are verified with.
func (c *call) keys() error {
	text, err := c.d.conf.Keys().RegistryJWKS(c.tenant, c.now)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	_, err = c.w.Write(text)
	return err
}

// realm is where clients get tokens.
func (c *call) realm() string {
	if c.d.conf.Base == "" {
		return "https://" + c.server() + "/oauth2/token"
	}
	return c.d.conf.Base + Prefix + c.name + "/oauth2/token"
}

// images answers for what a registry holds: nothing, in this house. Whoever may not
// look is told where to get a token.
func (c *call) images() error {
	scheme, raw, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(c.r.Header.Values("Authorization")) != 1 {
		return c.challenge(nil)
	}
	if _, err := token.VerifyRegistry(raw, c.d.conf.Keys(), c.tenant, c.server(), token.RegistryAccess, c.now); err != nil {
		return c.challenge(err)
	}
	if c.path == "/v2/" {
		return serve.JSON(c.w, http.StatusOK, struct{}{})
	}
	return refuse(http.StatusNotFound, "UNSUPPORTED", "This house keeps no images. A registry that does takes its tokens: see /oauth2/keys.")
}

func (c *call) challenge(cause error) error {
	c.w.Header().Set("WWW-Authenticate", `Bearer realm="`+c.realm()+`",service="`+c.server()+`"`)
	return unauthorized(cause)
}
