// Package inject turns a pod and its service account into the changes that give
// the pod's containers a workload identity: a token of the service account in a
// projected volume, and the variables by which the Azure SDKs find it.
//
// It answers as the mutating webhook of azure-workload-identity does. Patch is
// pure, and applied twice it changes nothing the second time: API servers call a
// webhook again when a later one has changed the pod. A change names no more than
// one element that Patch adds or replaces, by its position, so that fields which
// this package does not know survive, and no name can reach another field.
package inject

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// UseLabel on a pod, with exactly the value "true", asks for a workload identity.
const UseLabel = "azure.workload.identity/use"

// Annotations that Patch reads, of the service account (SA) or the pod.
const (
	ClientIDAnnotation           = "azure.workload.identity/client-id"                        // SA
	TenantIDAnnotation           = "azure.workload.identity/tenant-id"                        // SA
	ExpirationAnnotation         = "azure.workload.identity/service-account-token-expiration" // pod, else SA
	SkipContainersAnnotation     = "azure.workload.identity/skip-containers"                  // pod
	InjectProxySidecarAnnotation = "azure.workload.identity/inject-proxy-sidecar"             // pod
	ProxySidecarPortAnnotation   = "azure.workload.identity/proxy-sidecar-port"               // pod
	IdentityBindingAnnotation    = "azure.workload.identity/use-identity-binding"             // pod
)

// Variables that Patch sets.
const (
	clientIDVar      = "AZURE_CLIENT_ID"
	tenantIDVar      = "AZURE_TENANT_ID"
	tokenFileVar     = "AZURE_FEDERATED_TOKEN_FILE"
	authorityHostVar = "AZURE_AUTHORITY_HOST"
	tokenProxyVar    = "AZURE_KUBERNETES_TOKEN_PROXY"
	sniNameVar       = "AZURE_KUBERNETES_SNI_NAME"
	caFileVar        = "AZURE_KUBERNETES_CA_FILE"
	caDataVar        = "AZURE_KUBERNETES_CA_DATA"
)

// Audiences of service account tokens: of those that are exchanged, and of those
// that the token proxy of identity bindings takes.
const (
	DefaultAudience = "api://AzureADTokenExchange"
	BindingAudience = "api://AKSIdentityBinding"
	// UseIdentityVerb, on the resource of UseIdentityGroup that is called as the client id
	// of an identity, lets a workload use it by an identity binding (Kubernetes RBAC).
	UseIdentityVerb  = "use-managed-identity"
	UseIdentityGroup = "cid.wi.aks.azure.com"
)

// Config is what a patch depends on besides the pod and its service account.
// Tenant and AuthorityHost are required.
type Config struct {
	// Tenant is AZURE_TENANT_ID where the service account names none.
	Tenant string
	// AuthorityHost is AZURE_AUTHORITY_HOST: an https URL that ends in a slash.
	AuthorityHost string
	// Audience is that of the projected token; empty means DefaultAudience.
	Audience string
	// Layout says what the volume is called and where it is mounted.
	Layout Layout
	// NativeSidecar puts the proxy among the init containers, where it runs before
	// the others; kubelets of all supported versions can do that when the API
	// server is of version 1.32 or later.
	NativeSidecar bool
	// Proxy are the images of the proxy; its zero fields mean upstream's.
	Proxy Images
	// Binding lets pods use identity bindings; nil ignores that they ask for it.
	Binding *Binding
}

// Images are what the containers of the proxy run.
type Images struct {
	Sidecar string
	Init    string // of the init container that redirects the pod's requests; it is privileged
	Level   string // log level of the proxy; empty means info
}

// A Binding is how pods reach the token proxy of identity bindings.
type Binding struct {
	// TokenProxy is an https URL without user, query or fragment.
	TokenProxy string
	// SNIName is the server name to ask for; empty means the host of TokenProxy.
	SNIName string
	// CAData is the PEM bundle that the proxy's certificate is checked by.
	// CAConfigMap names a config map of the pod's namespace that has it under
	// ca.crt. SDKs refuse both together; with neither, they trust their system's.
	CAData      string
	CAConfigMap string
}

// Check says what is wrong with a configuration.
func (c Config) Check() error {
	if c.Tenant == "" {
		return errors.New("workload identity: no tenant is configured")
	}
	host, err := url.Parse(c.AuthorityHost)
	if err != nil || host.Scheme != "https" || host.Host == "" || !strings.HasSuffix(host.Path, "/") {
		return fmt.Errorf("workload identity: the authority host %q is not an https URL that ends in a slash", c.AuthorityHost)
	}
	if !c.Layout.known() {
		return fmt.Errorf("workload identity: there is no layout %d", c.Layout)
	}
	if strings.EqualFold(c.audience(), BindingAudience) {
		return fmt.Errorf("workload identity: the audience %q is that of identity bindings; a token for both would pass for either", c.Audience)
	}
	if c.Binding != nil {
		return c.Binding.check()
	}
	return nil
}

func (b Binding) check() error {
	u, err := url.Parse(b.TokenProxy)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("identity bindings: the token proxy %q is not an https URL without user, query and fragment", b.TokenProxy)
	case b.CAData != "" && b.CAConfigMap != "":
		return errors.New("identity bindings: CA data and a CA config map are given, and SDKs refuse both together")
	}
	return nil
}

func (c Config) audience() string {
	if c.Audience == "" {
		return DefaultAudience
	}
	return c.Audience
}

// Wanted reports whether a pod asks for a workload identity.
func Wanted(pod *corev1.Pod) bool { return pod.Labels[UseLabel] == "true" }

// ServiceAccountOf is the name of the service account that a pod runs as.
func ServiceAccountOf(pod *corev1.Pod) string {
	if pod.Spec.ServiceAccountName == "" {
		return "default" // what the API server fills in behind the webhooks
	}
	return pod.Spec.ServiceAccountName
}

// Patch returns what must change in a pod, which runs as the service account sa,
// so that its containers have the workload identity that it asks for. Nothing
// changes in a pod that does not ask. An error says why the pod must not be
// created as it is, in words for its author.
//
// Whether the identity in the annotations of sa is his to use is not asked here:
// the annotations only tell SDKs what to ask for, and the token proves no more
// than the service account that it was issued to.
func Patch(pod *corev1.Pod, sa *corev1.ServiceAccount, conf Config) ([]Op, error) {
	if !Wanted(pod) {
		return nil, nil
	}
	if name := ServiceAccountOf(pod); sa.Name != name {
		return nil, fmt.Errorf("the pod runs as service account %q, not as %q", name, sa.Name)
	}
	proxies, err := newProxies(pod, conf)
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(pod, sa, conf)
	if err != nil {
		return nil, err
	}
	var p patch
	for _, list := range []struct {
		path       string
		containers []corev1.Container
	}{
		{"/spec/initContainers", pod.Spec.InitContainers},
		{"/spec/containers", pod.Spec.Containers},
	} {
		for i := range list.containers {
			if err := id.equip(&p, element(list.path, i), &list.containers[i]); err != nil {
				return nil, err
			}
		}
	}
	// The proxy comes last, because it moves the positions of what is there.
	proxies.add(&p, pod, id)
	id.addVolume(&p, pod)
	return p.ops, nil
}
