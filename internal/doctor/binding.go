package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// The checks of an identity binding.
const (
	CheckBinding    = "binding"
	CheckBindingUse = "binding-use"
)

// binds reports whether the account's cluster has a binding for an identity.
func (a Account) binds(i Identity) bool {
	return a.Cluster.Record.Binds(resource.IdentityRef{Resource: i.Resource, Object: i.Object})
}

// bound says whether workloads of the account get tokens of an identity by an
// identity binding. The token proxy of their cluster decides that, and no federated
// credential says anything about them.
func (a Account) bound(i Identity) []Finding {
	f := &findings{about: "identity binding of " + i.String() + " and cluster " + a.Cluster.Record.Name}
	if a.Cluster.Record.Attached {
		f.unseen(CheckBinding, "the house has no token proxy for this cluster: what another one answers is not known")
		return f.all
	}
	if !a.binds(i) {
		f.wrong(CheckBinding, a.bind(i), "the cluster has no identity binding for %s", i)
	} else {
		f.right(CheckBinding, "the cluster has an identity binding for %s", i)
		a.lent(f, i)
	}
	switch may, known := a.MayUse[i.Client.String()].Get(); {
	case !known:
		f.unseen(CheckBindingUse, "whether the cluster lets the service account use the identity is not known: %s", a.MayUse[i.Client.String()].Why())
	case may:
		f.right(CheckBindingUse, "the cluster lets the service account use the identity")
	default:
		f.wrong(CheckBindingUse, a.entitle(i), "the cluster does not let the service account use the identity: it takes the verb %s on %s.%s", inject.UseIdentityVerb, i.Client, inject.UseIdentityGroup)
	}
	return f.all
}

// lent looks for the credential that all bindings of an identity share.
func (a Account) lent(f *findings, i Identity) {
	m, ok := a.Estate.ManagedIdentityByClient(i.Client)
	if !ok {
		return
	}
	want := directory.BindingCredential(m)
	for _, c := range a.Estate.FederatedCredentials(i.Client) {
		if c.Name == want.Name && c.SameTrust(want) {
			f.right(CheckCredential, "the identity has the credential of identity bindings, %s", want.Name)
			return
		}
	}
	if a.Estate.Unread != "" {
		f.unseen(CheckCredential, "the credential of identity bindings is not seen, and may be there: %s", a.Estate.Unread)
		return
	}
	f.wrong(CheckCredential, a.bind(i), "the identity does not have the credential of identity bindings, %s: none of them is good for anything", want.Name)
}

// bind is the command that makes a binding, or gives the identity of one that is
// there its credential again.
func (a Account) bind(i Identity) string {
	ours := func(b resource.IdentityBinding) bool { return b.Identity.Object == i.Object }
	name := free(i.Resource.Name(), 63, func(name string) bool {
		b, taken := a.Cluster.Record.Binding(name)
		return taken && !ours(b)
	})
	if at := slices.IndexFunc(a.Cluster.Record.IdentityBindings, ours); at >= 0 {
		name = a.Cluster.Record.IdentityBindings[at].Name
	}
	body := fmt.Sprintf(`{"properties":{"managedIdentity":{"resourceId":"%s"}}}`, i.Resource)
	return fmt.Sprintf("az rest --method put --url %s --body %s", Quote(a.Cluster.Record.Scope.String()+"/identityBindings/"+name+"?api-version=2025-09-02-preview"), Quote(body))
}

// entitle are the commands that let the account use an identity. The role is named
// after what it allows, so that writing it again changes nothing.
func (a Account) entitle(i Identity) string {
	role := "use-identity-" + i.Client.String()
	object := fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"%s"},"rules":[{"verbs":["%s"],"apiGroups":["%s"],"resources":["%s"]}]}`,
		role, inject.UseIdentityVerb, inject.UseIdentityGroup, i.Client)
	return fmt.Sprintf("echo %s | kubectl apply -f -\nkubectl create clusterrolebinding %s --clusterrole=%s --serviceaccount=%s",
		Quote(object), Quote(role+":"+a.Namespace+":"+a.Name), role, Quote(a.Namespace+":"+a.Name))
}

// free is a name that nobody has: the one that is wished, or that with a number. A
// command that writes under a name which is taken would overwrite what is there.
func free(wish string, longest int, taken func(string) bool) string {
	name := wish[:min(len(wish), longest)]
	for n := 2; taken(name); n++ {
		more := fmt.Sprintf("-%d", n)
		name = wish[:min(len(wish), longest-len(more))] + more
	}
	return name
}

// asksBinding reports whether a pod's annotation asks for an identity binding, as the
// webhook reads it.
func (p Pod) asksBinding() bool {
	return strings.EqualFold(p.Pod.Annotations[inject.IdentityBindingAnnotation], "true")
}
