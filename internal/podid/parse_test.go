package podid_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

const (
	webID    = "/subscriptions/5b000000-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
	webApp   = "1c000000-0000-4000-8000-000000000001"
	otherApp = "1c000000-0000-4000-8000-000000000002"
	tenant   = "7e000000-0000-4000-8000-000000000001"
)

// object is an object of the group, in JSON.
func object(kind, namespace, name, rest string) []byte {
	return []byte(`{"apiVersion":"aadpodidentity.k8s.io/v1","kind":"` + kind + `","metadata":{"name":"` + name + `","namespace":"` + namespace + `","uid":"u-` + namespace + `-` + name + `"},` + rest + `}`)
}

const managed = `"spec":{"type":0,"resourceID":"` + webID + `","clientID":"` + webApp + `"}`

// read reads an object of any of the four kinds, as record.Marshal writes it back.
func read(kind string, data []byte) ([]byte, error) {
	var obj any
	var err error
	switch kind {
	case "AzureIdentity":
		obj, err = podid.ParseIdentity(data)
	case "AzureIdentityBinding":
		obj, err = podid.ParseBinding(data)
	case "AzureAssignedIdentity":
		obj, err = podid.ParseAssigned(data)
	case "AzurePodIdentityException":
		obj, err = podid.ParseException(data)
	}
	if err != nil {
		return nil, err
	}
	return record.Marshal(obj)
}

func TestObjectsAreReadStrictly(t *testing.T) {
	t.Parallel()
	const (
		identity  = "AzureIdentity"
		binding   = "AzureIdentityBinding"
		assigned  = "AzureAssignedIdentity"
		exception = "AzurePodIdentityException"
	)
	principal := func(rest string) string {
		return `"spec":{"type":1,"clientID":"` + webApp + `","tenantID":"` + tenant + `","clientPassword":{"name":"sp","namespace":"web"}` + rest + `}`
	}
	inside := func(pod, other string) string {
		return `"spec":{"pod":"` + pod + `","podNamespace":"web","nodename":"node-1","azureIdentityRef":` + string(object(identity, "web", "web", managed)) +
			`,"azureBindingRef":` + string(object(binding, "web", "web", `"spec":{"azureIdentity":"`+other+`","selector":"web"}`)) + `}`
	}
	for _, tt := range []struct {
		law, kind, rest string
		want            string // part of the error; "" means none
	}{
		{"a managed identity", identity, managed, ""},
		{"what upstream writes beside it is read past", identity, `"status":{"availableReplicas":0,"metadata":{"creationTimestamp":null}},"spec":{"metadata":{"creationTimestamp":null},"replicas":null,"auxiliaryTenantIDs":null,"clientPassword":{},"type":0,"resourceID":"` + webID + `","clientID":"` + webApp + `"}`, ""},
		{"a resource id is the same in every letter case", identity, `"spec":{"type":0,"resourceID":"` + strings.ToUpper(webID) + `","clientID":"` + webApp + `"}`, ""},
		{"a service principal with a secret", identity, principal(""), ""},
		{"a service principal with tenants beside its own", identity, principal(`,"auxiliaryTenantIDs":["` + tenant + `"]`), ""},
		{"the old spelling of a member is not the new one", identity, `"spec":{"type":0,"resourceID":"` + webID + `","clientid":"` + webApp + `"}`, "clientid"},
		{"a member that is there twice", identity, `"spec":{"type":0,"clientID":"` + otherApp + `","resourceID":"` + webID + `","clientID":"` + webApp + `"}`, "duplicate"},
		{"an identity without a client id", identity, `"spec":{"type":0,"resourceID":"` + webID + `"}`, "spec.clientID is missing"},
		{"a managed identity without a resource", identity, `"spec":{"type":0,"clientID":"` + webApp + `"}`, "spec.resourceID"},
		{"a resource that is no identity", identity, `"spec":{"type":0,"clientID":"` + webApp + `","resourceID":"/subscriptions/5b000000-0000-4000-8000-000000000001/resourceGroups/web"}`, "spec.resourceID"},
		{"an identity that is part of another resource", identity, `"spec":{"type":0,"clientID":"` + webApp + `","resourceID":"/subscriptions/5b000000-0000-4000-8000-000000000001/resourceGroups/web/providers/a.b/c/d/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"}`, "spec.resourceID"},
		{"a way up in a resource id", identity, `"spec":{"type":0,"clientID":"` + webApp + `","resourceID":"` + webID + `/../x"}`, "dot segment"},
		{"a managed identity with a password", identity, `"spec":{"type":0,"resourceID":"` + webID + `","clientID":"` + webApp + `","clientPassword":{"name":"a","namespace":"b"}}`, "clientPassword"},
		{"a service principal that is a managed identity as well", identity, principal(`,"resourceID":"` + webID + `"`), "spec.resourceID"},
		{"a service principal without its tenant", identity, `"spec":{"type":2,"clientID":"` + webApp + `","clientPassword":{"name":"a","namespace":"b"}}`, "spec.tenantID"},
		{"a service principal without its Secret", identity, `"spec":{"type":2,"clientID":"` + webApp + `","tenantID":"` + tenant + `"}`, "spec.clientPassword"},
		{"a type that there is not", identity, `"spec":{"type":3,"clientID":"` + webApp + `"}`, "spec.type 3"},
		{"a binding", binding, `"spec":{"azureIdentity":"web","selector":"web","weight":3}`, ""},
		{"a binding of no identity", binding, `"spec":{"selector":"web"}`, "spec.azureIdentity"},
		{"a binding to an identity elsewhere", binding, `"spec":{"azureIdentity":"other/web","selector":"web"}`, "spec.azureIdentity"},
		{"a binding of all pods", binding, `"spec":{"azureIdentity":"web","selector":""}`, "spec.selector"},
		{"a selector that no pod can have", binding, `"spec":{"azureIdentity":"web","selector":"a b"}`, "spec.selector"},
		{"an assigned identity", assigned, inside("web-0", "web") + `,"status":{"status":"Assigned","availableReplicas":1}`, ""},
		{"an assigned identity without a state", assigned, inside("web-0", "web"), ""},
		{"a state that there is not", assigned, inside("web-0", "web") + `,"status":{"status":"assigned"}`, "status.status"},
		{"an assigned identity of no pod", assigned, inside("", "web"), "spec.pod"},
		{"an assigned identity whose binding speaks of another", assigned, inside("web-0", "other"), "the binding inside"},
		{"an exception", exception, `"spec":{"podLabels":{"app":"web","empty":""}}`, ""},
		{"an exception for nobody", exception, `"spec":{"podLabels":{}}`, "spec.podLabels is empty"},
		{"an exception with a label that cannot be", exception, `"spec":{"podLabels":{"app":"a b"}}`, "cannot be a pod's label"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			_, err := read(tt.kind, object(tt.kind, "web", "web", tt.rest))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("reading it: %v, want an error with %q", err, tt.want)
			}
			if err != nil && !errors.Is(err, record.ErrInvalid) {
				t.Errorf("%v does not wrap record.ErrInvalid", err)
			}
		})
	}
}

func TestNamesOfObjectsAreThoseOfKubernetes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ law, kind, namespace, name string }{
		{"another kind", "AzureIdentityBinding", "web", "web"},
		{"no namespace", "AzureIdentity", "", "web"},
		{"a dot in a namespace", "AzureIdentity", "a.b", "web"},
		{"no name", "AzureIdentity", "web", ""},
		{"a slash in a name", "AzureIdentity", "web", "a/b"},
		{"capitals in a name", "AzureIdentity", "web", "Web"},
		{"a name that is too long", "AzureIdentity", "web", strings.Repeat("a", 254)},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if _, err := podid.ParseIdentity(object(tt.kind, tt.namespace, tt.name, managed)); err == nil {
				t.Error("it was read")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	kinds := []string{"AzureIdentity", "AzureIdentityBinding", "AzureAssignedIdentity", "AzurePodIdentityException"}
	for i, rest := range []string{
		managed, `"spec":{"azureIdentity":"web","selector":"web"}`,
		`"spec":{"pod":"web-0","podNamespace":"web","nodename":"n","azureIdentityRef":` + string(object(kinds[0], "web", "web", managed)) +
			`,"azureBindingRef":` + string(object(kinds[1], "web", "web", `"spec":{"azureIdentity":"web","selector":"web"}`)) + `},"status":{"status":"Created"}`,
		`"spec":{"podLabels":{"app":"web"}}`,
	} {
		f.Add(byte(i), object(kinds[i], "web", "web", rest))
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		name := kinds[int(kind)%len(kinds)]
		once, err := read(name, data)
		if err != nil {
			return
		}
		twice, err := read(name, once)
		if err != nil {
			t.Fatalf("%s\nwas written as %s\nwhich is refused: %v", data, once, err)
		}
		if diff := cmp.Diff(string(once), string(twice)); diff != "" {
			t.Fatalf("reading again changes it (-once +twice):\n%s", diff)
		}
	})
}
