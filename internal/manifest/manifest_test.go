package manifest_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// world is what the tests below add to.
const world = `# A small estate.
kind: Tenant
id: 10000000-0000-4000-8000-000000000001
domains: [x.example]
---
kind: User
id: 20000000-0000-4000-8000-000000000001
tenant: x.example
userPrincipalName: ana@x.example
displayName: Ana
---
kind: Group
id: 20000000-0000-4000-8000-00000000000a
tenant: x.example
displayName: team
members: [ANA@x.example]
---
kind: Subscription
scope: /subscriptions/30000000-0000-4000-8000-000000000001
tenant: x.example
---
kind: Cluster
scope: /Subscriptions/30000000-0000-4000-8000-000000000001/resourceGroups/RG/providers/Microsoft.ContainerService/managedClusters/C1
name: C1
resourceGroup: RG
tenant: x.example
entraSignIn: true
azureRBAC: true
adminGroups: [team]
`

func decode(t *testing.T, text string) ([]record.Record, error) {
	t.Helper()
	return manifest.Decode(manifest.Files{{Name: "e.yaml", Data: []byte(text)}}.All, nil)
}

func mustDecode(t *testing.T, text string) []record.Record {
	t.Helper()
	recs, err := decode(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func find[R record.Record](t *testing.T, recs []record.Record) R {
	t.Helper()
	i := slices.IndexFunc(recs, func(r record.Record) bool { _, ok := r.(R); return ok })
	if i < 0 {
		var none R
		t.Fatalf("no %T among %d records", none, len(recs))
	}
	return recs[i].(R)
}

func TestNamesBecomeIDs(t *testing.T) {
	t.Parallel()
	const cluster = "/subscriptions/30000000-0000-4000-8000-000000000001/resourcegroups/rg/providers/microsoft.containerservice/managedclusters/c1"
	tests := []struct{ law, doc, want string }{
		{"a role is found by its name in any letter case", "kind: RoleAssignment\nscope: /subscriptions/30000000-0000-4000-8000-000000000001\nprincipal: Ana\nrole: READER\n",
			`"principal":"20000000-0000-4000-8000-000000000001","role":"acdd72a7-3385-48ef-bd42-f606fba81ae7"`},
		{"a custom role of the same files is found by its name", "kind: RoleAssignment\nscope: /subscriptions/30000000-0000-4000-8000-000000000001\nprincipal: team\nrole: mine\n---\nkind: RoleDefinition\nid: 40000000-0000-4000-8000-000000000001\nroleName: Mine\nassignableScopes: [/subscriptions/30000000-0000-4000-8000-000000000001]\npermissions: [{actions: ['*/read']}]\n",
			`"principal":"20000000-0000-4000-8000-00000000000a","role":"40000000-0000-4000-8000-000000000001"`},
		{"deny assignments name people", "kind: DenyAssignment\nid: 50000000-0000-4000-8000-000000000001\nname: d\nscope: /\npermissions: [{actions: ['*']}]\nprincipals: [team]\nexcludePrincipals: [ana@x.example]\n",
			`"principals":["20000000-0000-4000-8000-00000000000a"],"excludePrincipals":["20000000-0000-4000-8000-000000000001"]`},
		{"a native role names its cluster by annotation", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: dev, annotations: {gatehouse.io/cluster: c1}}\nrules: [{verbs: [get], apiGroups: [''], resources: [pods]}]\n",
			`{"cluster":"` + cluster + `","namespace":"dev","name":"r","rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}`},
		{"the items of a list take on its annotation", "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: '', annotations: {gatehouse.io/cluster: C1}}\nitems:\n- apiVersion: rbac.authorization.k8s.io/v1\n  kind: ClusterRoleBinding\n  metadata: {name: b, creationTimestamp: null}\n  subjects:\n  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\n",
			`{"cluster":"` + cluster + `","name":"b","roleIsCluster":true,"role":"view"}`},
		{"a flat role names its cluster by name", "kind: KubeRole\ncluster: c1\nname: r\n", `{"cluster":"` + cluster + `","name":"r"}`},
	}
	for _, tt := range tests {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			var all strings.Builder
			for _, rec := range mustDecode(t, world+"---\n"+tt.doc) {
				text, err := record.Marshal(rec)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(append(text, '\n'))
			}
			if !strings.Contains(all.String(), tt.want) {
				t.Errorf("records:\n%s\nwant one with %s", &all, tt.want)
			}
		})
	}
}

func TestAssignmentWithoutIDGetsTheSameOneEveryTime(t *testing.T) {
	t.Parallel()
	doc := world + "---\nkind: RoleAssignment\nscope: /Subscriptions/30000000-0000-4000-8000-000000000001\nprincipal: ana@x.example\nrole: Reader\n"
	a := find[azurerbac.Assignment](t, mustDecode(t, doc))
	who, _ := principal.ParseID("20000000-0000-4000-8000-000000000001")
	if want := manifest.AssignmentID(scope.MustParse("/subscriptions/30000000-0000-4000-8000-000000000001"), who, a.Role); a.ID != want {
		t.Errorf("id %s, want %s", a.ID, want)
	}

	// An estate that has the same assignment by another id keeps its id.
	other := a
	if err := other.ID.UnmarshalText([]byte("60000000-0000-4000-8000-000000000001")); err != nil {
		t.Fatal(err)
	}
	recs := append(slices.DeleteFunc(mustDecode(t, world), func(record.Record) bool { return false }), record.Record(other))
	base, err := estate.Load(1, slices.Values(recs))
	if err != nil {
		t.Fatal(err)
	}
	again, err := manifest.Decode(manifest.Files{{Name: "e.yaml", Data: []byte(doc)}}.All, base)
	if err != nil {
		t.Fatal(err)
	}
	if got := find[azurerbac.Assignment](t, again).ID; got != other.ID {
		t.Errorf("over an estate that has it: id %s, want %s", got, other.ID)
	}
	if changes := manifest.Diff(base, again, true); len(changes) != 0 {
		t.Errorf("applying what is there changes %v", changes)
	}
}

func TestNamesOfTheEstateBelow(t *testing.T) {
	t.Parallel()
	base, err := estate.Load(1, slices.Values(mustDecode(t, world)))
	if err != nil {
		t.Fatal(err)
	}
	read := func(doc string) error {
		_, err := manifest.Decode(manifest.Files{{Name: "e.yaml", Data: []byte(doc)}}.All, base)
		return err
	}
	if err := read("kind: RoleAssignment\nscope: /\nprincipal: team\nrole: Reader\n"); err != nil {
		t.Errorf("a group of the estate: %v", err)
	}
	// The files give the group another name; the old one is gone.
	renamed := "kind: Group\nid: 20000000-0000-4000-8000-00000000000a\ntenant: x.example\ndisplayName: crew\n---\n"
	if err := read(renamed + "kind: RoleAssignment\nscope: /\nprincipal: team\nrole: Reader\n"); err == nil {
		t.Error("a name that the files take away was still found")
	}
	if err := read(renamed + "kind: RoleAssignment\nscope: /\nprincipal: crew\nrole: Reader\n"); err != nil {
		t.Errorf("a name that the files give: %v", err)
	}
}

// Every mistake is told with its line and what to do. IM-03 and RX-07 name the
// rows of what a strict reader refuses.
func TestMistakes(t *testing.T) {
	t.Parallel()
	user := "kind: User\nid: 20000000-0000-4000-8000-000000000002\ntenant: x.example\nuserPrincipalName: bob@x.example\n"
	tests := []struct{ law, doc, want string }{
		{"IM-03: anchors are refused", user + "displayName: &a Bob\n", "e.yaml:5: anchor &a: "},
		{"IM-03: aliases are refused", "kind: Group\nmembers: &m [x]\nid: *m\n", "e.yaml:3: alias *m: "},
		{"IM-03: tags are refused", user + "displayName: !!str 12\n", "e.yaml:5: tag !!str: "},
		{"IM-03: merge keys are refused", user + "<<: {displayName: Bob}\n", "e.yaml:5: merge key <<: "},
		{"IM-03: duplicate keys are refused", user + "tenant: x.example\n", `e.yaml:5: field "tenant" stands twice: it is already on line 3`},
		{"IM-03: keys are texts", user + "7: x\n", "e.yaml:5: a key that is not a text"},
		{"IM-03: yes is no boolean", user + "disabled: yes\n", "e.yaml:5: yes is a boolean to some readers"},
		{"IM-03: off is no boolean", user + "disabled: Off\n", "e.yaml:5: Off is a boolean to some readers"},
		{"IM-03: octal numbers are refused", user + "displayName: 017\n", "e.yaml:5: 017 is a number to some readers"},
		{"IM-03: hexadecimal numbers are refused", user + "displayName: 0x17\n", "e.yaml:5: 0x17 is a number to some readers"},
		{"IM-03: sexagesimal numbers are refused", user + "displayName: 190:20:30\n", "e.yaml:5: 190:20:30 is a number to some readers"},
		{"no value is refused", user + "displayName:\n", "e.yaml:5: displayName has no value"},
		{"~ is refused", user + "displayName: ~\n", "e.yaml:5: ~ stands for no value"},
		{"a number is no text", user + "displayName: 12\n", `e.yaml:5: displayName is a number, not a text: put it in quotes: "12"`},
		{"a text is no boolean", user + "disabled: \"true\"\n", "e.yaml:5: disabled is a text, not true or false"},
		{"a text is no list", "kind: Tenant\nid: 10000000-0000-4000-8000-000000000002\ndomains: y.example\n", "e.yaml:3: domains is a text, not a list"},
		{"an unknown field is answered with the nearest", user + "dispalyName: Bob\n", `e.yaml:5: User has no field "dispalyName": did you mean "displayName"?`},
		{"unknown fields inside are found", "kind: RoleDefinition\nid: 40000000-0000-4000-8000-000000000001\nroleName: R\nassignableScopes: [/subscriptions/30000000-0000-4000-8000-000000000001]\npermissions:\n- action: ['*']\n", `e.yaml:6: permissions has no field "action": did you mean "actions"?`},
		{"an unknown kind is answered with the nearest", "kind: Usre\n", `e.yaml:1: unknown kind "Usre": did you mean "User"?`},
		{"a role of Kubernetes without apiVersion is explained", "kind: RoleBinding\n", "needs its apiVersion"},
		{"a document says its kind", "id: x\n", "e.yaml:1: a document without kind"},
		{"a document is an object", "- a\n", "e.yaml:1: a document is a list, not an object"},
		{"nonsense is refused", "kind: [\n", "not YAML"},
		{"a bad scope has its line", "kind: ResourceGroup\nname: x\nscope: /subscriptions/1\n", "e.yaml:3: scope: \"/subscriptions/1\": not a scope"},
		{"a bad id has its line", "kind: User\nid: [20000000]\n", "e.yaml:2: id is a list, not a text"},
		{"an unknown person is answered with the nearest", "kind: RoleAssignment\nscope: /\nrole: Reader\nprincipal: aan@x.example\n", `e.yaml:4: principal "aan@x.example" names no principal: did you mean "ana@x.example"?`},
		{"an unknown role is answered with the one that is meant", "kind: RoleAssignment\nscope: /\nprincipal: Ana\nrole: Azure Kubernetes Service Cluster User\n", `e.yaml:4: role "Azure Kubernetes Service Cluster User" names no role: did you mean "Azure Kubernetes Service Cluster User Role"`},
		{"a name of two people is ambiguous", user + "displayName: Ana\n---\nkind: RoleAssignment\nscope: /\nprincipal: Ana\nrole: Reader\n", `e.yaml:9: principal "Ana" names 2 things: write one of their ids: 20000000-0000-4000-8000-000000000001 (User ana@x.example), 20000000-0000-4000-8000-000000000002 (User bob@x.example)`},
		{"members are looked up", "kind: Group\nid: 20000000-0000-4000-8000-00000000000b\ntenant: x.example\ndisplayName: other\nmembers:\n- Ana\n- zoe@x.example\n", `e.yaml:7: members "zoe@x.example" names no principal`},
		{"one thing stands once", user + "---\n" + user, "e.yaml:6: User 20000000-0000-4000-8000-000000000002 stands twice: it is already at e.yaml:1"},
		{"a native object names a cluster", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\nrules: []\n", `e.yaml:1: ClusterRole "r" names no cluster: add the annotation gatehouse.io/cluster`},
		{"a native object names a cluster that is there", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r, annotations: {gatehouse.io/cluster: c2}}\nrules: []\n", `cluster "c2" names no cluster: did you mean "c1"?`},
		{"other native objects are refused", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n", `e.yaml:1: Secret "v1" is not read`},
		{"what a record refuses has a line", "kind: User\nid: 20000000-0000-4000-8000-000000000002\ntenant: x.example\nuserPrincipalName: nobody\n", `e.yaml:1: user principal name "nobody" is not of the form`},
		{"a second document behind a foreign line break is found", "kind: Tenant\u0085---\nkind: User\n", "e.yaml:2: not YAML: a second document"},
		{"RX-07: a document is nested 40 levels at most", "kind: " + strings.Repeat("[", 60) + strings.Repeat("]", 60) + "\n", "e.yaml:1: nested too deeply"},
	}
	for _, tt := range tests {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			files := manifest.Files{{Name: "a.yaml", Data: []byte(world)}, {Name: "e.yaml", Data: []byte(tt.doc)}}
			recs, err := manifest.Decode(files.All, nil)
			if err == nil || recs != nil {
				t.Fatalf("%q: %d records, %v; want an error alone", tt.doc, len(recs), err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q:\n got %v\nwant %s", tt.doc, err, tt.want)
			}
		})
	}
}

func TestEveryMistakeIsTold(t *testing.T) {
	t.Parallel()
	_, err := decode(t, "kind: Usre\n---\nkind: [\n---\nkind: Tenant\nid: x\ndomain: [a]\n")
	want := `e.yaml:1: unknown kind "Usre": did you mean "User"?
e.yaml:3: not YAML: did not find expected node content
e.yaml:6: id: "x": not a GUID
e.yaml:7: Tenant has no field "domain": did you mean "domains"?`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	est, err := manifest.LoadDir(fstest.MapFS{
		"b/world.yml":       {Data: []byte(world)},
		"a.json":            {Data: []byte(`{"kind":"List","items":[{"kind":"RoleAssignment","scope":"/","principal":"Ana","role":"Reader"}]}`)},
		"notes.txt":         {Data: []byte("not read")},
		".hidden/more.yaml": {Data: []byte("not read")},
		".hidden.yaml":      {Data: []byte("not read")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := est.UserByName("ana@x.example"); !ok || len(est.AssignmentsOf(u.ID)) != 1 {
		t.Errorf("user %v, %t: want one assignment", u, ok)
	}

	if _, err := manifest.LoadDir(fstest.MapFS{"x.txt": {}}); err == nil || !strings.Contains(err.Error(), "no *.yaml") {
		t.Errorf("an empty folder: %v, want a hint", err)
	}

	// What only the whole estate can refuse is told with its place as well.
	_, err = manifest.LoadDir(fstest.MapFS{"u.yaml": {Data: []byte("\nkind: Group\nid: 20000000-0000-4000-8000-00000000000b\ntenant: 10000000-0000-4000-8000-000000000009\ndisplayName: g\n")}})
	if err == nil || !strings.HasPrefix(err.Error(), "u.yaml:2: ") {
		t.Errorf("a group of an unknown tenant: %v, want it at u.yaml:2", err)
	}

	_, err = manifest.LoadDir(fstest.MapFS{"j.json": {Data: []byte("{\n\"kind\": \"User\",\n\"kind\": \"User\"}")}})
	if err == nil || !strings.HasPrefix(err.Error(), "j.json:3: not JSON: ") {
		t.Errorf("a duplicate name in JSON: %v, want it at j.json:3", err)
	}
}

func encode(t testing.TB, recs []record.Record) string {
	t.Helper()
	var b bytes.Buffer
	if err := manifest.Encode(&b, slices.Values(recs)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEncodeWritesWhatIDsStandFor(t *testing.T) {
	t.Parallel()
	got := encode(t, mustDecode(t, world+"---\nkind: RoleAssignment\nscope: /\nprincipal: team\nrole: Reader\n"))
	want := `kind: Group
id: 20000000-0000-4000-8000-00000000000a
tenant: 10000000-0000-4000-8000-000000000001 # x.example
displayName: team
members:
- 20000000-0000-4000-8000-000000000001 # ana@x.example
`
	if !strings.Contains(got, want) {
		t.Errorf("got:\n%s\nwant in it:\n%s", got, want)
	}
	if want := "role: acdd72a7-3385-48ef-bd42-f606fba81ae7 # Reader\n"; !strings.Contains(got, want) {
		t.Errorf("got:\n%s\nwant in it:\n%s", got, want)
	}
	if diff := cmp.Diff(got, encode(t, mustDecode(t, got))); diff != "" {
		t.Errorf("what was written reads back as something else:\n%s", diff)
	}
}
