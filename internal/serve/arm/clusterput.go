package arm

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"

	control "github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A draft is a cluster on its way from a body to a record.
type draft struct {
	*session
	r      *request
	exists bool
	old    resource.Cluster
	next   resource.Cluster
	rest   members // of the properties: what has no field of its own
}

// putCluster makes or changes a cluster. What the body does not speak of stays as
// it is. The record is written at once; the house then makes it true.
func putCluster(s *session, r *request) (answer, error) {
	d := &draft{session: s, r: r}
	d.old, d.exists = s.est.Cluster(r.at)
	if err := s.needAt(clusterType+"/write", r.at); err != nil {
		return answer{}, err
	}
	if err := s.exists(up(r.at)); err != nil {
		return answer{}, err
	}
	if err := s.open(r.at); err != nil {
		return answer{}, err
	}
	if err := idle(d.old); err != nil {
		return answer{}, err
	}
	if err := d.read(); err != nil {
		return answer{}, err
	}
	if err := d.preflight(); err != nil {
		return answer{}, err
	}
	return d.write()
}

// read takes a body apart and holds each part against its rules.
func (d *draft) read() error {
	more := make(members)
	if err := d.r.decode(&more); err != nil {
		return err
	}
	var in struct {
		Location   *string        `json:"location"`
		Tags       *record.Tags   `json:"tags"`
		Identity   *identityGiven `json:"identity"`
		Properties members        `json:"properties"`
	}
	if err := d.r.decode(&in); err != nil {
		return err
	}
	for _, name := range []string{"id", "name", "type", "location", "tags", "identity", "properties", "etag", "systemData"} {
		delete(more, name)
	}
	for _, name := range readOnly {
		delete(in.Properties, name)
	}
	d.rest = in.Properties
	if d.rest == nil {
		d.rest = make(members)
	}
	if err := d.base(in.Location, in.Tags); err != nil {
		return err
	}
	for _, part := range []func() error{d.places, d.version, d.signIn, d.accounts, d.issuer, d.pools, d.addons} {
		if err := part(); err != nil {
			return err
		}
	}
	if err := d.identities(in.Identity); err != nil {
		return err
	}
	return d.keep(more)
}

// base fills in what a new cluster has, or what the one that is changed had.
func (d *draft) base(place *string, tags *record.Tags) (err error) {
	said := ""
	if place != nil {
		said = *place
	} else if d.exists {
		said = d.old.Location
	}
	if d.exists {
		d.next = d.old
		d.next.Addons = maps.Clone(d.old.Addons) // the old one is everybody's
		if d.old.Location == "" && said == "" {
			said = "local"
		}
	} else {
		group, _ := d.est.ResourceGroup(up(d.r.at))
		d.next = resource.Cluster{
			Scope: d.r.at, UID: resource.ClusterID(d.r.mint("cluster")), Name: d.r.last(), ResourceGroup: group.Name, Tenant: d.tenant,
		}
		if !clusterName.MatchString(d.next.Name) {
			return badParameter("managedClusters.name", "The name has to be 1 to 63 letters, digits, underscores and hyphens, and begin and end with a letter or digit. Please see https://aka.ms/aks-naming-rules for more details.")
		}
	}
	if d.next.Location, err = locationOf(clusterType, d.next.Name, d.old.Location, said, d.groupLocation(d.r.at), "local"); err != nil {
		return err
	}
	if tags != nil {
		if d.next.Tags = *tags; len(d.next.Tags) == 0 {
			d.next.Tags = nil
		}
	}
	return d.next.Tags.Validate()
}

// part reads a member into v, and takes it away. It reports whether it was there;
// null is as good as nothing.
func (d *draft) part(name string, v any) (bool, error) {
	text, there := d.rest[name]
	delete(d.rest, name)
	if !there || text.Kind() == 'n' {
		return false, nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return false, badContent(fmt.Errorf("%s: %w", name, err))
	}
	return true, nil
}

// within is part for a member of an object that is else kept as it is.
func (d *draft) within(object, name string, v any) (bool, error) {
	inner := make(members)
	text, there := d.rest[object]
	if !there || text.Kind() == 'n' {
		return false, nil
	}
	if err := json.Unmarshal(text, &inner); err != nil {
		return false, badContent(fmt.Errorf("%s: %w", object, err))
	}
	in := &draft{rest: inner}
	found, err := in.part(name, v)
	if len(inner) == 0 {
		delete(d.rest, object)
	} else {
		d.rest.set(object, inner)
	}
	return found, err
}

// dnsPrefix is what AKS lets the first label of a cluster's name begin with.
var dnsPrefix = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9]{0,52}[a-zA-Z0-9])?$`)

const maxNodeGroup = 80 // letters of its name, as AKS has it

// places reads where the cluster is: its name in the DNS and its own resource group.
func (d *draft) places() error {
	var prefix, group string
	if _, err := d.part("dnsPrefix", &prefix); err != nil {
		return err
	}
	if _, err := d.part("nodeResourceGroup", &group); err != nil {
		return err
	}
	var profile struct {
		RestrictionLevel string `json:"restrictionLevel"`
	}
	if there, err := d.part("nodeResourceGroupProfile", &profile); err != nil {
		return err
	} else if there {
		switch profile.RestrictionLevel {
		case "ReadOnly", "Unrestricted":
			d.next.LockNodeResourceGroup = profile.RestrictionLevel == "ReadOnly"
		default:
			return badParameter("nodeResourceGroupProfile.restrictionLevel", "It is ReadOnly or Unrestricted.")
		}
	}
	if d.exists {
		if prefix != "" && prefix != d.old.DNSPrefix && d.old.DNSPrefix != "" {
			return unchangeable("dnsPrefix")
		}
		if group != "" && !sameName(group, d.old.NodeResourceGroup) && d.old.NodeResourceGroup != "" {
			return unchangeable("nodeResourceGroup")
		}
		return nil
	}
	if prefix == "" {
		return missing("dnsPrefix")
	}
	if !dnsPrefix.MatchString(prefix) {
		return badParameter("dnsPrefix", "It has to be 1 to 54 letters, digits and hyphens, and begin and end with a letter or digit.")
	}
	d.next.DNSPrefix = prefix
	d.next.FQDN = control.FQDN(prefix, d.next.UID.String(), d.next.Location)
	if group == "" {
		group = "MC_" + d.next.ResourceGroup + "_" + d.next.Name + "_" + d.next.Location
	}
	d.next.NodeResourceGroup = group
	at := d.next.NodeGroup()
	switch _, taken := d.est.ResourceGroup(at); {
	case len(group) > maxNodeGroup || !groupRule.allows(group) || at.IsZero():
		return badParameter("nodeResourceGroup", fmt.Sprintf("The length of the node resource group name is %d, the maximum is %d, of letters, digits and -_.(). Name it with nodeResourceGroup.", len(group), maxNodeGroup))
	case taken:
		return badParameter("nodeResourceGroup", fmt.Sprintf("The resource group '%s' exists already. The cluster makes it and takes it away again.", serve.Printable(group, 90)))
	}
	return nil
}

func (d *draft) version() error {
	var asked string
	var rbac *bool
	if _, err := d.part("enableRBAC", &rbac); err != nil {
		return err
	}
	if rbac != nil && !*rbac {
		return badParameter("enableRBAC", "A cluster without Kubernetes RBAC lets everybody do everything. There is none here.")
	}
	if _, err := d.part("kubernetesVersion", &asked); err != nil {
		return err
	}
	switch asked {
	case "", shownVersion(d.old):
	case control.KubernetesVersion, kubeMinor:
		d.next.KubernetesVersion = asked
	default:
		return serve.Refuse(http.StatusBadRequest, "K8sVersionNotSupported", fmt.Sprintf(
			"Managed cluster %s is on version %s which is not supported in this region. Please use [az aks get-versions] command to get the supported version list in this region. Gatehouse runs %s.",
			d.next.Name, serve.Printable(asked, 20), control.KubernetesVersion))
	}
	return nil
}

type aadGiven struct {
	Managed             *bool     `json:"managed"`
	EnableAzureRBAC     *bool     `json:"enableAzureRBAC"`
	AdminGroupObjectIDs *[]string `json:"adminGroupObjectIDs"`
	TenantID            string    `json:"tenantID"`
	ClientAppID         string    `json:"clientAppID"`
	ServerAppID         string    `json:"serverAppID"`
	// The secret is taken and forgotten: nobody here needs it.
	ServerAppSecret string `json:"serverAppSecret"`
}

// signIn reads who signs in. Managed sign-in is never turned off again; the legacy
// one becomes managed by being told so (story 20).
func (d *draft) signIn() error {
	var in aadGiven
	there, err := d.part("aadProfile", &in)
	if err != nil || !there {
		return err
	}
	return d.signInAs(in)
}

func (d *draft) signInAs(in aadGiven) error {
	managed := in.Managed != nil && *in.Managed
	was := d.old.EntraSignIn && d.old.LegacySignIn.IsZero()
	c := &d.next
	switch {
	case managed:
		c.EntraSignIn, c.LegacySignIn = true, resource.LegacySignIn{}
	case was && in.Managed != nil:
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "AKS-managed Microsoft Entra integration cannot be disabled once it is enabled (aadProfile.managed).")
	case was: // it says nothing about it
	case in.ServerAppID != "" || in.ClientAppID != "":
		c.EntraSignIn = true
		if c.LegacySignIn.ServerApp.UnmarshalText([]byte(in.ServerAppID)) != nil || c.LegacySignIn.ClientApp.UnmarshalText([]byte(in.ClientAppID)) != nil ||
			c.LegacySignIn.ServerApp.IsZero() || c.LegacySignIn.ClientApp.IsZero() {
			return badParameter("aadProfile", "The legacy integration names a server and a client application by their ids.")
		}
	}
	if in.EnableAzureRBAC != nil {
		c.AzureRBAC = *in.EnableAzureRBAC
	}
	if c.AzureRBAC && (!c.EntraSignIn || !c.LegacySignIn.IsZero()) {
		return badParameter("aadProfile.enableAzureRBAC", "Azure RBAC for Kubernetes authorization needs AKS-managed Microsoft Entra integration (aadProfile.managed).")
	}
	if in.AdminGroupObjectIDs != nil {
		c.AdminGroups = nil
		for _, text := range *in.AdminGroupObjectIDs {
			id, err := principal.ParseID(text)
			if err != nil {
				return badParameter("aadProfile.adminGroupObjectIDs", fmt.Sprintf("'%s' is not an object id.", serve.Printable(text, 80)))
			}
			if !slices.Contains(c.AdminGroups, id) {
				c.AdminGroups = append(c.AdminGroups, id)
			}
		}
	}
	return d.admits(in.TenantID)
}

// admits reads whose tokens the cluster takes. Role assignments of the subscription
// speak of its own tenant and of no other.
func (d *draft) admits(text string) error {
	if text == "" {
		return nil
	}
	var id directory.TenantID
	if err := id.UnmarshalText([]byte(text)); err != nil {
		return badParameter("aadProfile.tenantID", fmt.Sprintf("'%s' is not a tenant id.", serve.Printable(text, 80)))
	}
	if d.next.AzureRBAC && id != d.tenant {
		return badParameter("aadProfile.tenantID", "With Azure RBAC the tenant must be that of the subscription.")
	}
	if _, known := d.est.Tenant(id); !known {
		return badParameter("aadProfile.tenantID", "There is no such tenant here.")
	}
	if id == d.next.Tenant {
		return nil
	}
	moved := d.next
	moved.Tenant = id
	if d.exists {
		if err := d.need(serve.ToPut(d.est, d.old, moved)...); err != nil {
			return err
		}
	}
	d.next.Tenant = id
	return nil
}

// accounts reads who else gets in.
func (d *draft) accounts() error {
	var off, offCommand *bool
	if _, err := d.part("disableLocalAccounts", &off); err != nil {
		return err
	}
	if off != nil {
		d.next.DisableLocalAccounts = *off
	}
	if d.next.DisableLocalAccounts && !d.next.EntraSignIn {
		return badParameter("disableLocalAccounts", "Local accounts can be disabled only on a cluster with Microsoft Entra integration: nobody could get in.")
	}
	if _, err := d.within("apiServerAccessProfile", "disableRunCommand", &offCommand); err != nil {
		return err
	}
	if offCommand != nil {
		d.next.DisableRunCommand = *offCommand
	}
	return nil
}

// issuer reads whether service account tokens have an issuer that others can ask.
// New clusters have one, as those of AKS have from Kubernetes 1.34 on.
func (d *draft) issuer() error {
	var in struct {
		Enabled *bool `json:"enabled"`
	}
	if _, err := d.part("oidcIssuerProfile", &in); err != nil {
		return err
	}
	c := &d.next
	switch on := in.Enabled; {
	case on == nil:
		c.OIDCIssuer = c.OIDCIssuer || !d.exists
	case !*on && d.old.OIDCIssuer:
		return serve.Refuse(http.StatusBadRequest, "OIDCIssuerUnsupportedDisabling", "OIDC issuer feature cannot be disabled once it is enabled. Please see https://aka.ms/aks/oidc-issuer for more details.")
	default:
		c.OIDCIssuer = *on
	}
	if c.OIDCIssuer && c.IssuerURL == "" {
		if c.UID.IsZero() {
			c.UID = resource.ClusterID(d.r.mint("cluster"))
		}
		c.IssuerURL = control.IssuerURL(c.Location, c.Tenant.String(), c.UID.String())
	}
	var workload struct {
		Enabled *bool `json:"enabled"`
	}
	if _, err := d.within("securityProfile", "workloadIdentity", &workload); err != nil {
		return err
	}
	if workload.Enabled != nil {
		c.WorkloadIdentity = *workload.Enabled
	}
	if c.WorkloadIdentity && !c.OIDCIssuer {
		return badParameter("securityProfile.workloadIdentity", "Workload identity needs the OIDC issuer (oidcIssuerProfile.enabled).")
	}
	return nil
}

// keep puts what the body says of no concern of ours over what there was.
func (d *draft) keep(more members) error {
	for name, secret := range map[string]string{"windowsProfile": "adminPassword"} {
		var gone any
		if _, err := d.within(name, secret, &gone); err != nil {
			return err
		}
	}
	for name, v := range d.rest {
		if v.Kind() == 'n' {
			delete(d.rest, name)
		}
	}
	all, beside := membersOf(d.old.Properties), membersOf(d.old.More)
	for name, v := range d.rest {
		all[name] = v
	}
	for name, v := range more {
		beside[name] = v
	}
	var err error
	if d.next.Properties, err = all.properties(); err != nil {
		return err
	}
	d.next.More, err = beside.properties()
	return err
}

// write makes the answer: the record with what belongs to it, and the work that
// makes it true.
func (d *draft) write() (answer, error) {
	kind := resource.Create
	out := answer{status: http.StatusCreated, of: d.next.Key()}
	if d.exists {
		kind, out.status = resource.Update, http.StatusOK
	}
	out.ops = d.belongings()
	d.next.Failure = resource.Failure{}
	if !d.next.Attached {
		d.next.Doing = d.work(d.r, kind, d.next.Scope)
	}
	if !d.exists || !reflect.DeepEqual(d.old, d.next) {
		out.ops = append(out.ops, estate.Op{Put: d.next})
	}
	sorted(out.ops)
	after, err := d.on(out.ops)
	if err != nil {
		return answer{}, err
	}
	out.body = after.clusterBody(d.next)
	if !d.next.Doing.IsZero() {
		return out, after.begin(&out, d.next.Doing, d.next.Scope)
	}
	return out, nil
}

func badParameter(name, why string) error {
	return serve.Refuse(http.StatusBadRequest, "InvalidParameter", "The value of parameter "+name+" is invalid. Error details: "+why)
}

func missing(name string) error {
	return serve.Refuse(http.StatusBadRequest, "InvalidParameter", "Required parameter "+name+" is missing (null).")
}

func unchangeable(name string) error {
	return serve.Refuse(http.StatusBadRequest, "PropertyChangeNotAllowed", "Changing property '"+name+"' is not allowed.")
}
