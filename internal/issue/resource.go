package issue

import (
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// The applications that exist in every tenant, without a record. The ids are
// those that clients have compiled in.
var (
	// KubernetesServer is the resource whose tokens a cluster accepts.
	KubernetesServer = app("6dae42f8-4368-4678-94ff-3960e28e3630")
	// KubernetesClient is the public client of kubelogin and of "gatehouse credential".
	KubernetesClient = app("80faf920-1908-4b52-b5ef-a8e7bedfc67a")
	// AzureCLI is the public client of az.
	AzureCLI = app("04b07795-8ddb-461a-bbee-02f9e1bf7b46")
	// ResourceManager is the resource behind https://management.azure.com/.
	ResourceManager = app("797f4846-ba00-4fd7-ba43-dac1f8f63013")
	// Graph is Microsoft Graph, the resource of scopes that name none.
	Graph = app("00000003-0000-0000-c000-000000000000")
	// KeyVault is the resource behind https://vault.azure.net.
	KeyVault = app("cfa8b339-82a2-471a-a3c9-0fc0be7a4093")
	// SQLDatabase and OpenSourceDatabase are Azure SQL Database, and Azure Database for
	// PostgreSQL and MySQL, which take tokens as passwords.
	SQLDatabase        = app("022907d3-0f1b-48f7-badc-1ba6abab6d66")
	OpenSourceDatabase = app("123cd850-d9df-40bd-94d5-c9f07b7fa203")
	// ContainerRegistry is the resource behind https://containerregistry.azure.net.
	ContainerRegistry = app("6a0ec4d3-30cb-4a83-91c0-ae56bc0e3d26")
	// AccessCheck is the resource behind https://authorization.azure.net, the second
	// version of checkaccess. What Azure calls it is not published; the id is ours.
	AccessCheck = app("9a7e5e00-0000-4000-8000-617574687a00")
	// TokenExchange is the resource of tokens by which one identity shows itself as
	// another; see Issuer.federated.
	TokenExchange = app("fb60f99c-7a34-4190-8149-302f77469936")
	// Management is Gatehouse's own management API, api://gatehouse.
	Management = app("9a7e5e00-0000-4000-8000-67617465686f")
	// ManagementClient is Gatehouse's own command line.
	ManagementClient = app("9a7e5e00-0000-4000-8000-636c69656e74")
)

// exchangeAudience is the audience of federated credentials, as clients write it.
const exchangeAudience = directory.ExchangeAudience

func app(s string) directory.AppID {
	var id directory.AppID
	if err := id.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return id
}

// A resource is an application as the audience of access tokens.
type resource struct {
	app    directory.AppID
	name   string
	object principal.ID // of its service principal, if a record exists
	// version is that of its tokens: 1 or 2.
	version int
	uris    []string
	// scopes are the delegated permissions that it offers.
	scopes      []string
	groupClaims bool
	// closed says why nobody gets tokens for it, if so.
	closed *Error
}

// wellKnownResources speak version 1.0, as the services that they stand for.
var wellKnownResources = []resource{
	{app: KubernetesServer, name: "Azure Kubernetes Service AAD Server", version: 1, scopes: []string{"user.read"}, groupClaims: true},
	{app: ResourceManager, name: "Azure Resource Manager", version: 1, scopes: []string{"user_impersonation"}, groupClaims: true,
		uris: []string{"https://management.azure.com", "https://management.core.windows.net"}},
	{app: Graph, name: "Microsoft Graph", version: 1, scopes: []string{"Directory.AccessAsUser.All", "User.Read"},
		uris: []string{"https://graph.microsoft.com"}},
	{app: KeyVault, name: "Azure Key Vault", version: 1, scopes: []string{"user_impersonation"}, uris: []string{"https://vault.azure.net"}},
	{app: SQLDatabase, name: "Azure SQL Database", version: 1, scopes: []string{"user_impersonation"}, uris: []string{"https://database.windows.net"}},
	{app: OpenSourceDatabase, name: "Azure OSSRDBMS Database", version: 1, scopes: []string{"user_impersonation"}, uris: []string{"https://ossrdbms-aad.database.windows.net"}},
	{app: ContainerRegistry, name: "Azure Container Registry", version: 1, scopes: []string{"user_impersonation"}, uris: []string{"https://containerregistry.azure.net"}},
	{app: AccessCheck, name: "Azure Authorization", version: 1, uris: []string{"https://authorization.azure.net"}},
	{app: TokenExchange, name: "AAD Token Exchange Endpoint", version: 2, uris: []string{exchangeAudience}},
	{app: Management, name: "Gatehouse", version: 1, scopes: []string{"user_impersonation"}, uris: []string{"api://gatehouse"}},
}

func errResource(name string, realm Realm) *Error {
	return refuse(invalidResource, 500011, "The resource principal named %.200s was not found in the tenant named %s. "+
		"This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.", name, realm)
}

// resolveResource finds the resource that a client named, and the audience of a
// version 1.0 token for it: the name as the client wrote it, because that is what
// the service behind it compares with. Tenant may still be open.
func (i *Issuer) resolveResource(est *estate.Snapshot, realm Realm, asked string) (resource, string, error) {
	const graph = "https://graph.microsoft.com"
	if asked == "" {
		asked = graph
	}
	// A cloud of its own is described to clients with the house's URL as that of
	// Graph, which they then take for its audience, too.
	if strings.TrimSuffix(asked, "/") == i.fronts[0] {
		asked = graph
	}
	bare, spn := strings.CutPrefix(asked, "spn:")
	r, ok := lookResource(est, bare)
	if !ok {
		return resource{}, "", errResource(asked, realm)
	}
	if !realm.IsAlias() {
		if err := r.presence(est, realm); err != nil {
			return resource{}, "", err
		}
	}
	audience := bare
	if id := r.app.String(); strings.EqualFold(bare, id) {
		audience = id
	}
	if spn {
		audience = "spn:" + audience
	}
	return r, audience, nil
}

// Taker names the resource that takes access tokens with an audience, if there is
// one.
func Taker(est *estate.Snapshot, audience string) (app directory.AppID, name string, ok bool) {
	r, ok := lookResource(est, strings.TrimPrefix(audience, "spn:"))
	return r.app, r.name, ok
}

func lookResource(est *estate.Snapshot, name string) (resource, bool) {
	if id, ok := parseApp(name); ok {
		return resourceOf(est, id)
	}
	uri := strings.TrimSuffix(name, "/")
	for _, r := range wellKnownResources {
		if slices.Contains(r.uris, uri) {
			return r, true
		}
	}
	if rest, ok := strings.CutPrefix(uri, "api://"); ok {
		if id, ok := parseApp(rest); ok && rest == id.String() {
			return resourceOf(est, id)
		}
	}
	for a := range est.Applications() {
		for _, u := range a.IdentifierURIs {
			if strings.TrimSuffix(u, "/") == uri {
				return fromRecord(a), true
			}
		}
	}
	return resource{}, false
}

func resourceOf(est *estate.Snapshot, id directory.AppID) (resource, bool) {
	for _, r := range wellKnownResources {
		if r.app == id {
			return r, true
		}
	}
	if a, ok := est.Application(id); ok {
		return fromRecord(a), true
	}
	return resource{}, false
}

func fromRecord(a directory.Application) resource {
	r := resource{app: a.AppID, name: a.DisplayName, version: max(a.TokenVersion, 1), uris: a.IdentifierURIs, scopes: a.Scopes, groupClaims: a.GroupClaims}
	switch {
	case a.Disabled:
		r.closed = errDisabledApp(a.DisplayName)
	case a.AssignmentRequired:
		r.closed = errUnassigned(a.DisplayName)
	}
	return r
}

// presence checks that the resource is there for a tenant: it has an enabled
// service principal, or is one that every tenant has.
func (r *resource) presence(est *estate.Snapshot, realm Realm) error {
	sp, ok := est.ServicePrincipalOf(realm.ID, r.app)
	if !ok && !slices.ContainsFunc(wellKnownResources, func(w resource) bool { return w.app == r.app }) {
		return errResource(r.app.String(), realm)
	}
	r.object = sp.ID
	if sp.Disabled {
		return errDisabledApp(r.name)
	}
	return nil
}

// grant returns the permissions that a person gives to a client by asking for
// scopes, and the text that the answer's scope member echoes.
func (r *resource) grant(s Scopes) (permissions []string, echo string, err error) {
	names := s.Names
	if len(names) == 0 || slices.Contains(names, defaultScope) {
		permissions = slices.Clone(r.scopes)
	} else {
		for _, n := range names {
			if !slices.Contains(r.scopes, n) {
				return nil, "", refuse(invalidScope, 650053, "The application asked for scope '%.100s' that doesn't exist on the resource '%s'.", n, r.app)
			}
			permissions = append(permissions, n)
		}
	}
	var shown []string
	for _, p := range permissions {
		if s.Resource != "" {
			p = s.Resource + "/" + p
		}
		shown = append(shown, p)
	}
	for _, v := range s.Verbatim {
		if !slices.Contains(shown, v) {
			shown = append(shown, v)
		}
	}
	if r.app == Graph {
		for _, o := range []struct {
			on   bool
			name string
		}{{s.OpenID, "openid"}, {s.Profile, "profile"}, {s.Email, "email"}} {
			if o.on {
				permissions = append(permissions, o.name)
				shown = append(shown, o.name)
			}
		}
	}
	return permissions, strings.Join(shown, " "), nil
}

func errDisabledApp(name string) *Error {
	return refuse(unauthorizedClient, 7000112, "Application '%s' is disabled.", name)
}

func errUnassigned(name string) *Error {
	return refuse(accessDenied, 50105, "Your administrator has configured the application '%s' to block users unless they are specifically granted ('assigned') access to the application.", name)
}

// parseApp reads a client id in either letter case.
func parseApp(s string) (directory.AppID, bool) {
	var id directory.AppID
	err := id.UnmarshalText([]byte(s))
	return id, err == nil && !id.IsZero()
}
