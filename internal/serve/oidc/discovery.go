package oidc

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// metadata is the discovery document, in both versions (OpenID Connect Discovery,
// section 3; RFC 8414, section 2). What a version does not have stays zero.
type metadata struct {
	TokenEndpoint           string   `json:"token_endpoint"`
	TokenAuthMethods        []string `json:"token_endpoint_auth_methods_supported"`
	KeysURI                 string   `json:"jwks_uri"`
	ResponseModes           []string `json:"response_modes_supported"`
	SubjectTypes            []string `json:"subject_types_supported"`
	IDTokenAlgs             []string `json:"id_token_signing_alg_values_supported"`
	ResponseTypes           []string `json:"response_types_supported"`
	Scopes                  []string `json:"scopes_supported"`
	Issuer                  string   `json:"issuer"`
	MultiRefreshToken       bool     `json:"microsoft_multi_refresh_token,omitzero"`
	RequestURISupported     bool     `json:"request_uri_parameter_supported"`
	UserinfoEndpoint        string   `json:"userinfo_endpoint"`
	AuthorizationEndpoint   string   `json:"authorization_endpoint"`
	DeviceEndpoint          string   `json:"device_authorization_endpoint"`
	HTTPLogout              bool     `json:"http_logout_supported"`
	FrontchannelLogout      bool     `json:"frontchannel_logout_supported"`
	EndSessionEndpoint      string   `json:"end_session_endpoint"`
	CheckSessionIframe      string   `json:"check_session_iframe,omitzero"`
	ChallengeMethods        []string `json:"code_challenge_methods_supported"`
	ResponseIssuerParameter bool     `json:"authorization_response_iss_parameter_supported"`
	Claims                  []string `json:"claims_supported"`
	KerberosEndpoint        string   `json:"kerberos_endpoint"`
	TenantRegionScope       *string  `json:"tenant_region_scope"`
	CloudInstanceName       string   `json:"cloud_instance_name"`
	CloudGraphHostName      string   `json:"cloud_graph_host_name"`
	MSGraphHost             string   `json:"msgraph_host"`
	RBACURL                 string   `json:"rbac_url"`
}

func (d *Door) realm(r *http.Request) (issue.Realm, error) {
	return issue.ResolveRealm(d.issuer.Estate(), r.PathValue("tenant"))
}

// base is what both versions have in common.
func (d *Door) base(realm issue.Realm) metadata {
	root := d.issuer.Authority() + "/" + realm.String()
	return metadata{
		TokenAuthMethods: []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		ResponseModes:    []string{"query", "form_post"},
		SubjectTypes:     []string{"pairwise"},
		IDTokenAlgs:      []string{"RS256"},
		ResponseTypes:    []string{"code"},
		UserinfoEndpoint: root + "/openid/userinfo",
		HTTPLogout:       true,
		ChallengeMethods: []string{"S256"}, ResponseIssuerParameter: true,
		KerberosEndpoint:  root + "/kerberos",
		CloudInstanceName: "microsoftonline.com", CloudGraphHostName: "graph.windows.net",
		MSGraphHost: "graph.microsoft.com", RBACURL: "https://pas.windows.net",
	}
}

// issuerSegment is how the issuer of a realm is written: an alias has no tenant yet.
func issuerSegment(realm issue.Realm) string {
	if realm.IsAlias() {
		return "{tenantid}"
	}
	return realm.String()
}

func (d *Door) discoveryV2(w http.ResponseWriter, r *http.Request) error {
	realm, err := d.realm(r)
	if err != nil {
		return err
	}
	return d.describeV2(w, realm)
}

// discoverySingle is the document of the one tenant for clients that take the
// house for an AD FS, because there they name no tenant and check no authority.
// Its endpoints are the tenant's own.
func (d *Door) discoverySingle(w http.ResponseWriter, _ *http.Request) error {
	if _, ok := d.issuer.Estate().Tenant(d.single); !ok {
		return refuseRequest(http.StatusNotFound, 90002, "No tenant stands at /adfs.")
	}
	return d.describeV2(w, issue.Realm{ID: d.single})
}

func (d *Door) describeV2(w http.ResponseWriter, realm issue.Realm) error {
	root := d.issuer.Authority() + "/" + realm.String()
	m := d.base(realm)
	m.Issuer = issue.IssuerV2(d.issuer.Authority(), issuerSegment(realm))
	m.TokenEndpoint = root + "/oauth2/v2.0/token"
	m.AuthorizationEndpoint = root + "/oauth2/v2.0/authorize"
	m.DeviceEndpoint = root + "/oauth2/v2.0/devicecode"
	m.EndSessionEndpoint = root + "/oauth2/v2.0/logout"
	m.KeysURI = root + "/discovery/v2.0/keys"
	m.Scopes = []string{"openid", "profile", "email", "offline_access"}
	m.Claims = []string{"sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host",
		"aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"}
	return public(w, m)
}

func (d *Door) discoveryV1(w http.ResponseWriter, r *http.Request) error {
	realm, err := d.realm(r)
	if err != nil {
		return err
	}
	root := d.issuer.Authority() + "/" + realm.String()
	m := d.base(realm)
	m.Issuer = issue.IssuerV1(d.issuer.Authority(), issuerSegment(realm))
	m.TokenEndpoint = root + "/oauth2/token"
	m.AuthorizationEndpoint = root + "/oauth2/authorize"
	m.DeviceEndpoint = root + "/oauth2/devicecode"
	m.EndSessionEndpoint = root + "/oauth2/logout"
	m.CheckSessionIframe = root + "/oauth2/checksession"
	m.KeysURI = root + "/discovery/keys"
	m.Scopes = []string{"openid"}
	m.MultiRefreshToken = true
	m.Claims = []string{"sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host",
		"aud", "exp", "iat", "auth_time", "acr", "amr", "nonce", "email", "given_name", "family_name", "nickname"}
	return public(w, m)
}

// public answers what everybody may read and keep for a while, also in a browser
// of another origin.
func public(w http.ResponseWriter, v any) error {
	cacheable(w)
	return serve.JSON(w, http.StatusOK, v)
}

func cacheable(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "max-age=86400, private")
	w.Header().Set("Access-Control-Allow-Origin", "*")
}

// keys publishes the keys of a tenant, or of all tenants where none is named.
func (d *Door) keys(w http.ResponseWriter, r *http.Request) error {
	realm, err := d.realm(r)
	if err != nil {
		return err
	}
	v2 := strings.HasSuffix(r.URL.Path, "/v2.0/keys")
	var doc struct {
		Keys []jsontext.Value `json:"keys"`
	}
	doc.Keys = []jsontext.Value{}
	set, now := d.issuer.Keys(), d.issuer.Now()
	for t := range d.issuer.Estate().Tenants() {
		if !realm.IsAlias() && t.ID != realm.ID {
			continue
		}
		issuer := issue.IssuerV1(d.issuer.Authority(), t.ID.String())
		if v2 {
			issuer = issue.IssuerV2(d.issuer.Authority(), t.ID.String())
		}
		text, err := set.JWKS(t.ID, issuer, now)
		if err != nil {
			return fmt.Errorf("publish the keys of %s: %w", t.ID, err)
		}
		var one struct {
			Keys []jsontext.Value `json:"keys"`
		}
		if err := json.Unmarshal(text, &one); err != nil {
			return fmt.Errorf("publish the keys of %s: %w", t.ID, err)
		}
		doc.Keys = append(doc.Keys, one.Keys...)
	}
	// Not for a day: a key that was withdrawn in an emergency must be gone soon.
	w.Header().Set("Cache-Control", "max-age=300, private")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	return serve.JSON(w, http.StatusOK, doc)
}

// cloud is one entry of the instance discovery document.
type cloud struct {
	PreferredNetwork string   `json:"preferred_network"`
	PreferredCache   string   `json:"preferred_cache"`
	Aliases          []string `json:"aliases"`
}

// entra is what the public cloud says about itself. Clients keep their tokens
// under the preferred cache name, so it must not change.
var entra = cloud{
	PreferredNetwork: "login.microsoftonline.com", PreferredCache: "login.windows.net",
	Aliases: []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"},
}

// instance answers MSAL's question whether an authority may be trusted. This
// house vouches for each of its fronts, at each of them.
func (d *Door) instance(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	u, err := url.Parse(q["authorization_endpoint"])
	unknown := &issue.Error{OAuth: "invalid_instance", Code: 50049, Status: http.StatusBadRequest, Text: "Unknown or invalid instance."}
	if err != nil || u.Scheme != "https" {
		return unknown
	}
	authority, mine, ok := d.vouched(strings.ToLower(u.Host))
	if !ok {
		return unknown
	}
	segment, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	realm, err := issue.ResolveRealm(d.issuer.Estate(), segment)
	if err != nil {
		return err
	}
	return public(w, struct {
		Endpoint string  `json:"tenant_discovery_endpoint"`
		Version  string  `json:"api-version"`
		Metadata []cloud `json:"metadata"`
	}{authority + "/" + realm.String() + "/v2.0/.well-known/openid-configuration", "1.1", []cloud{mine}})
}

// vouched finds the front with a host, which old clients write without its port.
func (d *Door) vouched(asked string) (authority string, is cloud, ok bool) {
	for _, authority := range d.issuer.Fronts() {
		host := strings.TrimPrefix(authority, "https://")
		is := cloud{PreferredNetwork: host, PreferredCache: host, Aliases: []string{host}}
		if host == entra.PreferredNetwork {
			is = entra
		}
		if asked == (&url.URL{Host: host}).Hostname() || slices.Contains(is.Aliases, asked) {
			return authority, is, true
		}
	}
	return "", cloud{}, false
}

// userRealm says how people of a domain sign in. It says the same for every name
// of a domain, so that nobody learns who exists (OA-49).
func (d *Door) userRealm(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	_, domain, _ := strings.Cut(name, "@")
	answer := struct {
		Version       string `json:"ver"`
		AccountType   string `json:"account_type"`
		DomainName    string `json:"domain_name,omitzero"`
		CloudInstance string `json:"cloud_instance_name"`
		CloudAudience string `json:"cloud_audience_urn"`
	}{"1.0", "Unknown", "", "microsoftonline.com", "urn:federation:MicrosoftOnline"}
	if len(name) > 256 {
		return refuseRequest(http.StatusBadRequest, 90015, "The user name is too long.")
	}
	if _, ok := issue.DomainTenant(d.issuer.Estate(), domain); ok {
		answer.AccountType, answer.DomainName = "Managed", strings.ToLower(domain)
	}
	return serve.JSON(w, http.StatusOK, answer)
}
