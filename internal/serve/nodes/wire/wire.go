// Package wire is what a node agent and the house say to each other.
package wire

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
)

// Path is where agents ask, by POST.
const Path = "/gatehouse/nodes/token"

// The service account of node agents, in every cluster. Whoever may run a pod as it
// is a node agent, so it is in a namespace where only administrators may.
const (
	Namespace      = "kube-system"
	ServiceAccount = "gatehouse-node"
	Subject        = "system:serviceaccount:" + Namespace + ":" + ServiceAccount
)

// Audience is what the token of an agent must be for, given the URL of its house.
func Audience(house string) string { return strings.TrimRight(house, "/") + Path }

// Registries is what a node's own token is for: the registries that it pulls from.
const Registries = "https://containerregistry.azure.net"

// An Ask asks for a token of one identity, for one pod or for the node.
type Ask struct {
	Pod      Pod    `json:"pod"`
	Resource string `json:"resource"`
	// Identities are those that the pod has in its cluster, of which Which chooses;
	// without a choice there must be one.
	Identities []Identity `json:"identities,omitempty"`
	// Own asks for an identity of the node instead, for a pod that is excepted.
	Own   bool          `json:"own,omitzero"`
	Which imds.Selector `json:"which,omitzero"`
	// Machine asks for the kubelet identity, for the kubelet of the node, and for
	// Registries. Then there is no pod and no choice.
	Machine bool `json:"machine,omitzero"`
}

// A Pod names a pod of the agent's node.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// An Identity is a user-assigned identity as an AzureIdentity names it. Both must
// be those of one identity.
type Identity struct {
	Client   directory.AppID `json:"clientId"`
	Resource scope.Scope     `json:"resourceId"`
}

// An Answer is a token. Times are seconds since 1970.
type Answer struct {
	AccessToken string          `json:"accessToken"`
	Client      directory.AppID `json:"clientId"`
	Object      principal.ID    `json:"objectId"`
	Resource    scope.Scope     `json:"resourceId"`
	NotBefore   int64           `json:"notBefore"`
	Expires     int64           `json:"expires"`
}

// A Refusal is any other answer.
type Refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}
