package keyvault

import (
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// VaultType is the resource type of a vault, in lower case.
const VaultType = "microsoft.keyvault/vaults"

// There reports whether there is a vault at a scope.
func There(est *estate.Snapshot, at scope.Scope) bool {
	_, ok := est.Resource(at)
	return ok
}

// A call is one request to a vault.
type call struct {
	d    *Door
	w    http.ResponseWriter
	r    *http.Request
	id   string // of the request
	name string // of the vault, in lower case
	path string // in the vault, escaped

	est *estate.Snapshot
	// law is the estate by which it is decided who may do what; see Config.Effective.
	law      *estate.Snapshot
	now      time.Time
	resource resource.Other
	vault    vault.Properties
	tenant   directory.TenantID // of the vault
	caller   serve.Caller

	route  route
	target target
	query  url.Values
	body   []byte
}

// enter finds the vault and who asks, by the estate as it is now.
func (c *call) enter() error {
	c.est, c.now = c.d.conf.State.Current(), c.d.conf.Now()
	if c.est == nil {
		return refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "", "The directory is not loaded yet.")
	}
	if err := c.d.conf.State.Fresh(c.now); err != nil {
		return err
	}
	c.law = c.d.conf.Effective(c.est)
	if err := c.open(); err != nil {
		return err
	}
	var tenant directory.TenantID
	var err error
	if c.caller, tenant, err = c.d.tokens.Bearer(c.r, c.est, c.now); err != nil {
		return err
	}
	if tenant != c.tenant {
		return refuse(http.StatusUnauthorized, "Unauthorized", "", "AKV10032: Invalid issuer. Expected the tenant %s of the vault, found %s.", c.tenant, tenant)
	}
	if !c.vault.RBAC {
		return refuse(http.StatusForbidden, "Forbidden", "ForbiddenByPolicy",
			"The vault '%s' is decided by access policies, which this house does not evaluate. Have it decided by role assignments: az keyvault update --name %s --enable-rbac-authorization true.", c.name, c.name)
	}
	from, _ := netip.ParseAddrPort(c.r.RemoteAddr) // the zero address is in no network
	if !c.vault.Reachable(from.Addr()) {
		return refuse(http.StatusForbidden, "Forbidden", "ForbiddenByFirewall",
			"The network rules of the vault '%s' do not let the client address %s in. Rules about virtual networks and private endpoints let nobody in here.", c.name, from.Addr())
	}
	return nil
}

// open finds the vault of a call. Without one there is nobody to sign in to.
func (c *call) open() error {
	var there bool
	if c.resource, there = c.est.ResourceNamed(VaultType, c.name); !there || c.name == "" {
		return refuse(http.StatusNotFound, "NotFound", "VaultNotFound", "There is no vault '%s' here.", serve.Printable(c.name, 127))
	}
	sub, _ := c.resource.Scope.Subscription()
	owner, _ := c.est.Subscription(sub)
	var err error
	c.vault, err = vault.ParseProperties([]byte(c.resource.Properties.String()))
	if err == nil && (owner.Tenant.IsZero() || !c.vault.Tenant.IsZero() && c.vault.Tenant != owner.Tenant) {
		err = record.Invalid("its tenant is not that of its subscription")
	}
	if err != nil {
		return refuse(http.StatusForbidden, "Forbidden", "VaultNotUsable", "The vault '%s' cannot be used as it is: %s.", c.name, err)
	}
	c.tenant = owner.Tenant
	return nil
}

// at is the place where it is decided: the object, or the vault.
func (c *call) at() scope.Scope {
	if c.target.ref.Name == (vault.Name{}) || c.route.path == "certificates/issuers/*" {
		return c.resource.Scope
	}
	return c.target.ref.Scope()
}

// authorise refuses who may not do what a call asks for.
func (c *call) authorise() error { return c.allowed(c.law) }

func (c *call) allowed(law *estate.Snapshot) error {
	op := serve.Operation{Action: c.route.fullAction(), Data: true, At: c.at()}
	if c.route.action != "" && op.Allowed(law, c.caller.ID, c.now) {
		return nil
	}
	return &failure{status: http.StatusForbidden, code: "Forbidden", inner: "ForbiddenByRbac", lines: []string{
		"Caller is not authorized to perform action on resource.",
		"If role assignments, deny assignments or role definitions were changed recently, they are in force here already.",
		"Caller: name=" + c.caller.Name + ";oid=" + c.caller.ID.String() + ";iss=https://sts.windows.net/" + c.tenant.String() + "/",
		"Action: '" + op.Action + "'",
		"Resource: '" + op.At.String() + "'",
		"Assignment: (not found)",
		"Vault: " + c.name + ";location=" + c.resource.Location,
	}}
}

// actor is the caller as who changes something. The vault must still be what it was,
// and his right is asked again, on the estate that the change is made on.
func (c *call) actor(why string) safe.Actor {
	return safe.Actor{By: c.caller.ID, Why: "vault " + c.name + ": " + why, Check: func(est *estate.Snapshot) error {
		now := call{est: est, name: c.name}
		if err := now.open(); err != nil {
			return err
		}
		if now.resource.Scope != c.resource.Scope || now.tenant != c.tenant || !reflect.DeepEqual(now.vault, c.vault) {
			return refuse(http.StatusConflict, "Conflict", "", "The vault '%s' was changed at the same time. Nothing was done: try again.", c.name)
		}
		return c.allowed(c.d.conf.Effective(est))
	}}
}

// use records that the caller takes what is secret about a version, and returns
// when that is durable.
func (c *call) use(id vault.ID) error {
	ref := c.target.ref
	return c.d.conf.Safe.Use(c.r.Context(), store.Use{
		By: c.caller.ID, Time: c.now.UTC().Round(0), Action: c.route.fullAction(),
		On: []string{ref.Vault.String(), string(ref.Kind), ref.Name.String(), id.String()}, Request: c.id,
	})
}

// decode reads the body. Members that this house does not know are no matter,
// since every version of the API has others; a name that is there twice is.
func (c *call) decode(v any) error {
	if err := json.Unmarshal(c.body, v); err != nil {
		return record.Invalid("the body: %s", serve.Printable(err.Error(), 300))
	}
	return nil
}

// object returns the object of a call and the version that it names, or the newest.
// What is deleted is not found.
func (c *call) object() (vault.Object, vault.Version, error) {
	o, err := c.d.conf.Safe.Get(c.r.Context(), c.target.ref)
	if err != nil {
		return vault.Object{}, vault.Version{}, err
	}
	if o.Deleted != nil {
		return vault.Object{}, vault.Version{}, safe.ErrNotFound
	}
	id := c.target.version
	if id.IsZero() {
		id = o.Current.ID
	}
	v, err := c.d.conf.Safe.Version(c.r.Context(), o, id)
	return o, v, err
}
