package issue

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Bound says that a cluster has checked who asks for a managed identity, and that
// he may. The cluster has an identity binding for it.
type Bound struct {
	Identity principal.ID
	At       scope.Scope // the cluster
	Account  string      // the name of the service account
}

// IsZero reports whether no cluster has checked anything.
func (b Bound) IsZero() bool { return b == Bound{} }

// client returns the client that is proven so. As with any federated credential,
// admit asks at the last instant whether the identity still has it.
func (b Bound) client(est *estate.Snapshot, c client, grant string) (client, error) {
	m, ok := est.ManagedIdentityByClient(c.id)
	switch {
	case grant != "client_credentials":
		return client{}, refuse(unsupportedGrant, 70003, "The app requested an unsupported grant type '%.100s'.", grant)
	case !ok || !c.managed || m.ID != b.Identity:
		return client{}, errClient(c.id.String(), Realm{ID: m.Tenant})
	}
	trust := directory.BindingCredential(m)
	c.proof, c.bound = proofAssertion, b
	c.foreign = token.Foreign{Issuer: trust.Issuer, Subject: trust.Subject, Audience: trust.Audiences[0]}
	return c, nil
}

// bound reports whether the cluster still has the binding.
func bound(est *estate.Snapshot, b Bound) bool {
	for _, c := range est.ClustersBinding(b.Identity) {
		if c.Scope == b.At {
			return true
		}
	}
	return false
}

// The refusals of a token proxy. Entra has none: AKS does not say what its proxy
// answers.

// ErrUnbound refuses a client that no binding of the cluster names.
func ErrUnbound(client, cluster string) *Error {
	return refuse(unauthorizedClient, 700016, "The cluster '%.80s' has no identity binding for a managed identity with the client id '%.80s'.", cluster, client)
}

// ErrWorkload refuses a token that the cluster does not know, or that is not of a
// service account, or not for its token proxy.
func ErrWorkload(cluster, why string) *Error {
	return refuse(invalidClient, 700027, "Client assertion failed validation by cluster '%.80s': %.300s", cluster, why)
}

// ErrUnentitled refuses a service account that the cluster does not let use an
// identity.
func ErrUnentitled(account, client, cluster string) *Error {
	e := refuse(unauthorizedClient, 50105, "'%.300s' may not use the managed identity '%s' in cluster '%.80s': it takes the verb use-managed-identity on the resource %s of the API group cid.wi.aks.azure.com.",
		account, client, cluster, client)
	e.Status = http.StatusForbidden
	return e
}

// ErrClusterAway says that the cluster cannot be asked now.
func ErrClusterAway(cluster string, err error) *Error {
	e := refuse(temporarily, 90033, "The cluster '%.80s' does not answer. Try again.", cluster).because(err)
	e.Status = http.StatusServiceUnavailable
	return e
}
