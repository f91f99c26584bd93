package check_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatehouse-io/gatehouse/internal/check"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/sample"
)

func one(t *testing.T, id string) check.Rule {
	t.Helper()
	r, ok := check.FindRule(id)
	if !ok {
		t.Fatalf("there is no rule %s", id)
	}
	return r
}

// brokenBy is the estate that breaks a rule.
func brokenBy(t *testing.T, id string) *estate.Snapshot {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "rules", id+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range txtar.Parse(text).Files {
		if f.Name == "broken.yaml" {
			return with(t, base(t), f.Data)
		}
	}
	t.Fatalf("%s breaks nothing", id)
	return nil
}

// What was not looked at, or may not be read, is never fine, and nothing is missing
// from what one may not read.
func TestWhatIsNotKnownIsNotFine(t *testing.T) {
	t.Parallel()
	const attached = `kind: Cluster
scope: /subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/edge-1
name: edge-1
resourceGroup: rg
tenant: corp.example
entraSignIn: true
azureRBAC: true
disableLocalAccounts: true
adminGroups: [cluster-admins]
attached: true
oidcIssuer: true
issuerURL: https://oidc.example/t/edge-1/
`
	const trust = `---
kind: FederatedCredential
owner: d1000000-0000-4000-8000-000000000004
name: edge
issuer: https://oidc.example/t/edge-1/
subject: system:serviceaccount:shop:web
audiences: [api://AzureADTokenExchange]
`
	for _, tt := range []struct {
		law    string
		rule   string
		est    *estate.Snapshot
		change func(*check.Facts)
	}{
		{"pods that nobody read", "pod-identity", base(t), func(f *check.Facts) { f.Read = nil }},
		{"pods that may not be read", "pod-identity", base(t), func(f *check.Facts) { f.Read[0].Pods = unreadable(f.Read[0].Pods) }},
		{"service accounts that nobody read", "account-powerless", base(t), func(f *check.Facts) { f.Read = nil }},
		{"secrets that nobody lists", "client-secret", base(t), func(f *check.Facts) { f.Secrets = unreadable(f.Secrets) }},
		{"how long they live", "client-secret-life", base(t), func(f *check.Facts) { f.Secrets = unreadable(f.Secrets) }},
		{"the bindings of an attached cluster, for everybody", "open-binding", with(t, base(t), []byte(attached)), nil},
		{"by name", "subject-by-name", with(t, base(t), []byte(attached)), nil},
		{"for everything", "kube-wildcard", with(t, base(t), []byte(attached)), nil},
		{"who may run pods there", "pod-escalation", with(t, base(t), []byte(attached+trust)), nil},
		{"what an identity may have there", "identity-unneeded", with(t, brokenBy(t, "identity-unneeded"), []byte(attached)), nil},
		{"somebody who may be there", "dead-assignment", goneOnly(t), unreadEstate},
		{"a cluster that may be there", "credential-issuer", brokenBy(t, "credential-issuer"), unreadEstate},
		{"a role that an identity may have", "identity-unneeded", brokenBy(t, "identity-unneeded"), unreadEstate},
		{"somebody who may be in the group", "admin-group", goneGroup(t), unreadEstate},
		{"anything else", "local-accounts", base(t), unreadEstate},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			f := facts(t, tt.est, nil, "")
			if tt.change != nil {
				tt.change(&f)
			}
			found := check.Run(f, one(t, tt.rule))
			if got := check.Worst(found); got != doctor.NotEvaluated {
				t.Errorf("%s, want not evaluated:\n%s", got, tell(found))
			}
			for _, x := range found {
				if x.Fix.Ops != nil {
					t.Errorf("it would mend what it does not know: %s", x.Name)
				}
			}
		})
	}
}

func unreadable[T any](doctor.Known[T]) doctor.Known[T] { return doctor.Unknown[T]("forbidden") }

func unreadEstate(f *check.Facts) { f.Estate.Unread = "you may not read all" }

func goneOnly(t *testing.T) *estate.Snapshot {
	return with(t, base(t), []byte(`kind: RoleAssignment
principal: a0000000-0000-4000-8000-000000000099
role: Reader
scope: /subscriptions/50000000-0000-4000-8000-000000000001
`))
}

func goneGroup(t *testing.T) *estate.Snapshot {
	return with(t, base(t), []byte(`kind: Cluster
scope: /subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks-2
name: aks-2
resourceGroup: rg
tenant: corp.example
entraSignIn: true
adminGroups: [b0000000-0000-4000-8000-000000000099]
`))
}

// Who is named by local-admin-escalation is who Decide lets do it, of all that there
// are, and nobody else.
func TestWhoIsNamedIsWhoCan(t *testing.T) {
	t.Parallel()
	for name, est := range map[string]*estate.Snapshot{"base": base(t), "broken": brokenBy(t, "local-admin-escalation"), "sample": sample.Estate()} {
		named := make(map[record.Key]map[principal.ID]bool)
		for _, f := range check.Run(facts(t, est, nil, ""), one(t, "local-admin-escalation")) {
			named[f.About] = make(map[principal.ID]bool)
			for _, h := range f.Evidence {
				named[f.About][h.Principal.ID] = true
			}
		}
		for c := range est.Clusters() {
			for p := range est.Principals() {
				who := decide.Subject{ID: p.ID}
				gets := decide.Decide(est, decide.Request{Who: who, Scope: c.Scope, Action: "Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action", Now: now}).Effect == decide.Allow
				rules := decide.Decide(est, decide.Request{Who: who, Scope: c.Scope, Kube: kuberbac.Attributes{Verb: "*", APIGroup: "*", Resource: "*"}, Now: now}).Effect == decide.Allow
				want := p.Kind != principal.Group && gets && !rules && !c.DisableLocalAccounts && p.Name != "pipeline"
				if got := named[c.Key()][p.ID]; got != want {
					t.Errorf("%s: %s of cluster %s named is %t, want %t", name, p.Name, c.Name, got, want)
				}
			}
		}
	}
}

// Places without role assignments of their own are asked as the place above them; a
// deny assignment at one of them is no other one's.
func TestDenyAssignmentsCountWhereTheyAre(t *testing.T) {
	t.Parallel()
	const more = `kind: ManagedIdentity
id: d0000000-0000-4000-8000-000000000005
clientId: d1000000-0000-4000-8000-000000000005
tenant: corp.example
resource: /subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/other
displayName: other
location: westeurope
---
kind: RoleAssignment
principal: other
role: Key Vault Secrets User
scope: /subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/shop
---
kind: RoleAssignment
principal: penny@corp.example
role: Managed Identity Operator
scope: /subscriptions/50000000-0000-4000-8000-000000000001
`
	const denied = `---
kind: DenyAssignment
id: f0000000-0000-4000-8000-000000000001
name: not this one
scope: /subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/other
principals: [penny@corp.example]
permissions: [{actions: ['*']}]
`
	become := func(text string) (names []string) {
		for _, f := range check.Run(facts(t, with(t, base(t), []byte(text)), nil, ""), one(t, "identity-escalation")) {
			names = append(names, strings.TrimPrefix(f.Name, "managed identity "))
		}
		slices.Sort(names)
		return names
	}
	if got, want := become(more), []string{"aks-1-agentpool", "control", "omsagent-aks-1", "other", "web"}; !slices.Equal(got, want) {
		t.Errorf("she may attach %q, want %q", got, want)
	}
	if got, want := become(more+denied), []string{"aks-1-agentpool", "control", "omsagent-aks-1", "web"}; !slices.Equal(got, want) {
		t.Errorf("with a deny assignment for one she may attach %q, want %q", got, want)
	}
}

// Who an identity binding lets use an identity follows from the bindings of its cluster.
func TestIdentityBindingsReachNamespaces(t *testing.T) {
	t.Parallel()
	cluster, ok := base(t).Get(record.KeyOf(record.Cluster, "/subscriptions/50000000-0000-4000-8000-000000000001/resourcegroups/rg/providers/microsoft.containerservice/managedclusters/aks-1"))
	if !ok {
		t.Fatal("the base has no cluster")
	}
	text, err := record.Marshal(cluster)
	if err != nil {
		t.Fatal(err)
	}
	bound := strings.Replace(string(text), `{`, `{"kind":"Cluster","identityBindings":[{"name":"web","identity":{"object":"d0000000-0000-4000-8000-000000000004","resource":"/subscriptions/50000000-0000-4000-8000-000000000001/resourcegroups/rg/providers/microsoft.managedidentity/userassignedidentities/web"}}],`, 1)
	const role = `
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: use-web, annotations: {gatehouse.io/cluster: aks-1}}
rules: [{verbs: [use-managed-identity], apiGroups: [cid.wi.aks.azure.com], resources: [d1000000-0000-4000-8000-000000000004]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: use-web, annotations: {gatehouse.io/cluster: aks-1}}
subjects: [SUBJECT]
roleRef: {kind: ClusterRole, name: use-web, apiGroup: rbac.authorization.k8s.io}
---
kind: RoleAssignment
principal: penny@corp.example
role: Azure Kubernetes Service RBAC Writer
scope: /subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks-1/namespaces/batch
`
	for subject, want := range map[string]doctor.Verdict{
		"{kind: ServiceAccount, name: job, namespace: batch}":                                            doctor.Wrong,
		"{kind: Group, name: 'system:serviceaccounts:batch', apiGroup: rbac.authorization.k8s.io}":       doctor.Wrong,
		"{kind: ServiceAccount, name: job, namespace: other}":                                            doctor.Right,
		"{kind: Group, name: 'system:serviceaccounts', apiGroup: rbac.authorization.k8s.io}":             doctor.NotEvaluated,
		"{kind: User, name: ed@corp.example, apiGroup: rbac.authorization.k8s.io}":                       doctor.Right,
		"{kind: Group, name: b0000000-0000-4000-8000-000000000002, apiGroup: rbac.authorization.k8s.io}": doctor.Right,
	} {
		est := with(t, base(t), []byte(bound+strings.Replace(role, "SUBJECT", subject, 1)))
		found := check.Run(facts(t, est, nil, ""), one(t, "pod-escalation"))
		if got := check.Worst(found); got != want {
			t.Errorf("bound to %s: %s, want %s:\n%s", subject, got, want, tell(found))
		}
	}
}
