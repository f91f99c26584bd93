package resource

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A ClusterID names one cluster for life: another one at the same scope has
// another id.
type ClusterID = guid.Of[Cluster]

// A Cluster is a Kubernetes control plane whose identity features this house
// provides: one that the house started, or one that was attached.
type Cluster struct {
	Scope scope.Scope `json:"scope"`
	// UID is given by the house; zero until then.
	UID ClusterID `json:"uid,omitzero"`
	// Name and ResourceGroup keep the letters they were created with.
	Name          string      `json:"name"`
	ResourceGroup string      `json:"resourceGroup"`
	Location      string      `json:"location,omitzero"`
	Tags          record.Tags `json:"tags,omitzero"`

	// Tenant is the directory whose tokens the cluster accepts.
	Tenant directory.TenantID `json:"tenant"`
	// EntraSignIn makes the cluster accept tokens of the tenant.
	EntraSignIn bool `json:"entraSignIn,omitzero"`
	// LegacySignIn is set while sign-in goes through two applications of the
	// cluster's owner, and not through those that AKS shares.
	LegacySignIn LegacySignIn `json:"legacySignIn,omitzero"`
	// AzureRBAC makes role assignments grant access to the Kubernetes API.
	AzureRBAC bool `json:"azureRBAC,omitzero"`
	// AdminGroups are bound to the ClusterRole cluster-admin.
	AdminGroups []principal.ID `json:"adminGroups,omitzero"`
	// DisableLocalAccounts refuses the cluster's own admin certificates.
	DisableLocalAccounts bool `json:"disableLocalAccounts,omitzero"`
	// RevokedCertificates are the credential ids (X509SHA256=…, as kube-apiserver
	// writes them) of local admin certificates that must be refused although they
	// have not expired.
	RevokedCertificates []string `json:"revokedCertificates,omitzero"`
	// DisableRunCommand refuses commands through Azure Resource Manager.
	DisableRunCommand bool `json:"disableRunCommand,omitzero"`

	// Identity is what the control plane is in Azure.
	Identity ControlIdentity `json:"identity,omitzero"`
	// KubeletIdentity is what the nodes are, for pulling images and the like.
	KubeletIdentity IdentityRef `json:"kubeletIdentity,omitzero"`
	// Addons are by the name that AKS gives them.
	Addons map[string]Addon `json:"addons,omitzero"`
	// IdentityBindings let workloads ask for the tokens of identities.
	IdentityBindings []IdentityBinding `json:"identityBindings,omitzero"`
	// NodeResourceGroup is the name of the resource group for what the cluster
	// makes for itself, in its own subscription.
	NodeResourceGroup string `json:"nodeResourceGroup,omitzero"`
	// LockNodeResourceGroup lets nobody but the cluster change things in it.
	LockNodeResourceGroup bool `json:"lockNodeResourceGroup,omitzero"`

	// OIDCIssuer publishes the keys of service account tokens under IssuerURL,
	// which the house gives, ends with a slash, and is no other cluster's.
	OIDCIssuer bool   `json:"oidcIssuer,omitzero"`
	IssuerURL  string `json:"issuerURL,omitzero"`
	// WorkloadIdentity prepares pods for the exchange of their tokens.
	WorkloadIdentity bool `json:"workloadIdentity,omitzero"`
	// ServiceAccountKeys verify service account tokens; the first one signs.
	ServiceAccountKeys []ServiceAccountKey `json:"serviceAccountKeys,omitzero"`

	// KubernetesVersion is the one that was asked for; "" leaves the choice open.
	KubernetesVersion string `json:"kubernetesVersion,omitzero"`
	DNSPrefix         string `json:"dnsPrefix,omitzero"`
	// FQDN is the name of the API server in Azure.
	FQDN string `json:"fqdn,omitzero"`
	// Endpoint is the URL of the API server, once known.
	Endpoint string `json:"endpoint,omitzero"`
	// CertificateAuthority is who signs the API server's certificate, as PEM.
	CertificateAuthority string `json:"certificateAuthority,omitzero"`

	// Attached is set for a cluster that the house did not start.
	Attached bool `json:"attached,omitzero"`
	// Stopped is set for one whose control plane is not to run.
	Stopped bool `json:"stopped,omitzero"`
	// Mirrored is set once the roles and bindings of the cluster itself have been
	// read into the estate; until then it is taken to have those that Kubernetes
	// gives every new cluster.
	Mirrored bool `json:"mirrored,omitzero"`
	// Doing is what is being done to the cluster, and Failure why the last thing
	// that was done did not succeed.
	Doing   Work    `json:"doing,omitzero"`
	Failure Failure `json:"failure,omitzero"`

	// Properties, and More beside them, are what Azure Resource Manager was told that
	// has no field here and no meaning for the house: what a client wrote, it reads.
	Properties Properties `json:"properties,omitzero"`
	More       Properties `json:"more,omitzero"`
}

// Key implements record.Record.
func (c Cluster) Key() record.Key { return record.KeyOf(record.Cluster, c.Scope.String()) }

var (
	dnsPrefix = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9]{0,52}[a-zA-Z0-9])?$`)
	fqdn      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$`)
	issuerURL = regexp.MustCompile(`^https://[-a-zA-Z0-9.:]+/([-a-zA-Z0-9._]+/)*$`)
)

// Validate implements record.Record.
func (c Cluster) Validate() error {
	switch {
	case c.Scope.Type() != typeCluster:
		return record.Invalid("%q is not the scope of a cluster", c.Scope)
	case c.Tenant.IsZero():
		return record.Invalid("cluster %q has no tenant", c.Scope)
	case c.AzureRBAC && !c.EntraSignIn:
		return record.Invalid("cluster %q: Azure RBAC needs Entra sign-in", c.Scope)
	case c.DisableLocalAccounts && !c.EntraSignIn:
		return record.Invalid("cluster %q: disabling local accounts needs Entra sign-in", c.Scope)
	case c.WorkloadIdentity && !c.OIDCIssuer:
		return record.Invalid("cluster %q: workload identity needs the OIDC issuer", c.Scope)
	case c.IssuerURL != "" && !issuerURL.MatchString(c.IssuerURL):
		return record.Invalid("cluster %q: issuer %.300q is not a plain https URL with a slash at its end", c.Scope, c.IssuerURL)
	case directory.DefaultIssuer(c.IssuerURL):
		return record.Invalid("cluster %q: the issuer %q is the default of every Kubernetes cluster, and would be that of others too; give the API server one of its own (--service-account-issuer) and write that here", c.Scope, c.IssuerURL)
	case c.DNSPrefix != "" && !dnsPrefix.MatchString(c.DNSPrefix):
		return record.Invalid("cluster %q: DNS prefix %.80q is not 1 to 54 letters, digits and hyphens", c.Scope, c.DNSPrefix)
	case c.FQDN != "" && (len(c.FQDN) > 253 || !fqdn.MatchString(c.FQDN)):
		return record.Invalid("cluster %q: %.300q is not a lower-case host name", c.Scope, c.FQDN)
	case c.Attached && !c.Doing.IsZero():
		return record.Invalid("cluster %q is attached: the house does nothing to it", c.Scope)
	}
	for _, check := range []func() error{c.Tags.Validate, c.checkLegacy, c.checkIdentities, c.checkBindings, c.Doing.validate} {
		if err := check(); err != nil {
			return fmt.Errorf("cluster %q: %w", c.Scope, err)
		}
	}
	return nil
}

func (c Cluster) checkLegacy() error {
	switch l := c.LegacySignIn; {
	case l.IsZero():
		return nil
	case l.ServerApp.IsZero() || l.ClientApp.IsZero():
		return record.Invalid("the legacy sign-in has a server and a client application")
	case !c.EntraSignIn || c.AzureRBAC:
		return record.Invalid("the legacy sign-in needs Entra sign-in, and Azure RBAC does not go with it")
	}
	return nil
}

// ProvisioningState is what Azure Resource Manager calls what is going on.
func (c Cluster) ProvisioningState() string {
	switch {
	case !c.Doing.IsZero():
		return states[c.Doing.Kind]
	case !c.Failure.IsZero():
		return "Failed"
	}
	return "Succeeded"
}

// ResourceUID is the id in the form that AKS gives it.
func (c Cluster) ResourceUID() string {
	if c.UID.IsZero() {
		return ""
	}
	return hex.EncodeToString(c.UID[:12])
}

// NodeGroup is the scope of the node resource group; no place when there is none.
func (c Cluster) NodeGroup() scope.Scope {
	sub, ok := c.Scope.Subscription()
	if !ok || c.NodeResourceGroup == "" {
		return scope.Scope{}
	}
	at, err := scope.Parse(sub.String() + "/resourceGroups/" + c.NodeResourceGroup)
	if err != nil || at.Type() != typeResourceGroup {
		return scope.Scope{}
	}
	return at
}

// UsesIdentity reports whether the control plane, the nodes or an add-on are the
// managed identity with an object id.
func (c Cluster) UsesIdentity(id principal.ID) bool {
	return slices.ContainsFunc(c.Identities(), func(r IdentityRef) bool { return r.Object == id })
}
