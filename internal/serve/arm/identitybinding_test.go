package arm_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

func TestIdentityBindings(t *testing.T) {
	t.Parallel()
	h := made(t, system, "")
	group := servetest.Group.String()
	types := group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
	bindings := newAKS + "/identityBindings"
	of := func(id string) string { return `{"properties":{"managedIdentity":{"resourceId":"` + id + `"}}}` }
	h.walk([]step{
		{"the identity of a workload", contrib, "PUT", types + "/work", `{"location":"westeurope"}`, 201, ""},
		{"another one", contrib, "PUT", types + "/work2", `{"location":"westeurope"}`, 201, ""},
		{"no binding yet", contrib, "GET", bindings, "", 200, `{"value":[]}`},
		{"nor this one", contrib, "GET", bindings + "/ib", "", 404, "ResourceNotFound"},
		{"who may not", servetest.Jet, "PUT", bindings + "/ib", of(types + "/work"), 403, "Microsoft.ContainerService/managedClusters/identityBindings/write"},
		{"it names an identity", root, "PUT", bindings + "/ib", of(newAKS), 400, "is not the id of a user-assigned identity"},
		{"that is there", root, "PUT", bindings + "/ib", of(types + "/nobody"), 404, "ResourceNotFound"},
		{"by a name with a grammar", root, "PUT", bindings + "/-ib", of(types + "/work"), 400, "no name of an identity binding"},
	})
	mi, _ := h.store.Current().IdentityAt(scopeOf(types + "/work"))
	trust := directory.BindingCredential(mi)
	h.walk([]step{
		{"it is made", root, "PUT", bindings + "/My-IB", of(types + "/WORK"), 201, `"oidcIssuer":{"oidcIssuerUrl":"` + trust.Issuer + `"}`},
		{"it is shown", root, "GET", bindings + "/my-ib", "", 200, `"name":"My-IB","type":"Microsoft.ContainerService/managedClusters/identityBindings"`},
		{"the identity has the credential that all its bindings share", root, "GET", types + "/work/federatedIdentityCredentials/aks-identity-binding", "", 200, `"issuer":"` + trust.Issuer},
		{"again", root, "PUT", bindings + "/my-ib", of(types + "/work"), 200, `"name":"My-IB"`},
		{"it does not change", root, "PUT", bindings + "/my-ib", of(types + "/work2"), 400, "PropertyChangeNotAllowed"},
		{"the identity gets a role", root, "PUT", group + provider + "/roleAssignments/" + number(71), assign(servetest.Reader.String(), mi.ID, `,"principalType":"ServicePrincipal"`), 201, ""},
		{"DIR-13 who may give less than the identity has binds it to no cluster", contrib, "PUT", servetest.AKS1.String() + "/identityBindings/second", of(types + "/work"), 403, "roleAssignments/write"},

		{"an update of the cluster leaves it", contrib, "PATCH", newAKS, `{"tags":{"a":"b"}}`, 200, ""},
		{"and so does a PUT", contrib, "PUT", newAKS, clusterBody(system, ""), 200, ""},
	})
	if c := h.cluster(newAt); len(c.IdentityBindings) != 1 || c.IdentityBindings[0].Identity.Object != mi.ID {
		t.Fatalf("the bindings are %v", c.IdentityBindings)
	}
	if !h.cluster(newAt).Doing.IsZero() {
		h.ends(newAt, h.cluster(newAt).Failure)
	}
	h.walk([]step{
		{"who may not delete it", servetest.Jet, "DELETE", bindings + "/my-ib", "", 403, "identityBindings/delete"},
		{"it goes", contrib, "DELETE", bindings + "/my-ib", "", 200, ""},
		{"it is gone", contrib, "DELETE", bindings + "/my-ib", "", 204, ""},
		{"the credential stays, for the others", root, "GET", types + "/work/federatedIdentityCredentials/aks-identity-binding", "", 200, ""},
	})
}
