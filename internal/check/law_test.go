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
		"{kind: User, name: 'system:serviceaccount:batch:job', apiGroup: rbac.authorization.k8s.io}":     doctor.Wrong,
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

// A role by which its holder comes to the token of a pod is found, whatever the verb.
func TestWhoComesToTheTokenOfAPodIsNamed(t *testing.T) {
	t.Parallel()
	const role = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: some, namespace: shop, annotations: {gatehouse.io/cluster: aks-1}}
rules: [RULE]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: some, namespace: shop, annotations: {gatehouse.io/cluster: aks-1}}
subjects: [{kind: User, name: c2000000-0000-4000-8000-000000000001, apiGroup: rbac.authorization.k8s.io}]
roleRef: {kind: Role, name: some, apiGroup: rbac.authorization.k8s.io}
`
	for rule, want := range map[string]doctor.Verdict{
		"{verbs: [create], apiGroups: [''], resources: [pods]}":                     doctor.Wrong,
		"{verbs: [patch], apiGroups: [''], resources: [pods]}":                      doctor.Wrong,
		"{verbs: [create], apiGroups: [''], resources: [pods/exec]}":                doctor.Wrong,
		"{verbs: [get], apiGroups: [''], resources: [pods/exec]}":                   doctor.Wrong,
		"{verbs: [patch], apiGroups: [''], resources: [pods/ephemeralcontainers]}":  doctor.Wrong,
		"{verbs: [update], apiGroups: [''], resources: [pods/ephemeralcontainers]}": doctor.Wrong,
		"{verbs: [update], apiGroups: [apps], resources: [deployments]}":            doctor.Wrong,
		"{verbs: [patch], apiGroups: [apps], resources: [statefulsets]}":            doctor.Wrong,
		"{verbs: [patch], apiGroups: [batch], resources: [cronjobs]}":               doctor.Wrong,
		"{verbs: [create], apiGroups: [batch], resources: [jobs]}":                  doctor.Wrong,
		"{verbs: [create], apiGroups: [''], resources: [serviceaccounts/token]}":    doctor.Wrong,
		"{verbs: [patch], apiGroups: [batch], resources: [jobs]}":                   doctor.Right, // their template stays
		"{verbs: [get, list, delete], apiGroups: ['', apps], resources: ['*']}":     doctor.Wrong, // get of pods/exec
		"{verbs: [get, list], apiGroups: ['', apps], resources: [pods, pods/log]}":  doctor.Right,
		"{verbs: [patch], apiGroups: [apps], resources: [deployments/scale]}":       doctor.Right,
	} {
		est := with(t, base(t), []byte(strings.Replace(role, "RULE", rule, 1)))
		found := check.Run(facts(t, est, nil, ""), one(t, "pod-escalation"))
		if got := check.Worst(found); got != want {
			t.Errorf("%s: %s, want %s:\n%s", rule, got, want, tell(found))
		}
	}
	est := with(t, base(t), []byte(`kind: RoleDefinition
id: e0000000-0000-4000-8000-000000000001
roleName: Exec
assignableScopes: [/subscriptions/50000000-0000-4000-8000-000000000001]
permissions: [{dataActions: [Microsoft.ContainerService/managedClusters/pods/exec/action]}]
---
kind: RoleAssignment
principal: penny@corp.example
role: Exec
scope: /subscriptions/50000000-0000-4000-8000-000000000001
`))
	if found := check.Run(facts(t, est, nil, ""), one(t, "pod-escalation")); check.Worst(found) != doctor.Wrong {
		t.Errorf("a role of Azure for exec alone is not found:\n%s", tell(found))
	}
}

// Whoever speaks to the kubelet of a node runs something in any pod there, by a role of
// the whole cluster; a role of a namespace gives nothing of nodes.
func TestWhoSpeaksToKubeletsIsNamed(t *testing.T) { // AZ-23
	t.Parallel()
	const kube = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: some, annotations: {gatehouse.io/cluster: aks-1}}
rules: [RULE]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: KIND
metadata: {name: some, PLACE, annotations: {gatehouse.io/cluster: aks-1}}
subjects: [{kind: User, name: c2000000-0000-4000-8000-000000000001, apiGroup: rbac.authorization.k8s.io}]
roleRef: {kind: ClusterRole, name: some, apiGroup: rbac.authorization.k8s.io}
`
	cluster := func(rule string) string {
		return strings.NewReplacer("RULE", rule, "KIND", "ClusterRoleBinding", "PLACE, ", "").Replace(kube)
	}
	azure := func(action string) string {
		return strings.Replace(`kind: RoleDefinition
id: e0000000-0000-4000-8000-000000000001
roleName: Nodes
assignableScopes: [/subscriptions/50000000-0000-4000-8000-000000000001]
permissions: [{dataActions: [ACTION]}]
---
kind: RoleAssignment
principal: penny@corp.example
role: Nodes
scope: /subscriptions/50000000-0000-4000-8000-000000000001
`, "ACTION", action, 1)
	}
	for _, tt := range []struct {
		law, text string
		want      doctor.Verdict
	}{
		{"create", cluster("{verbs: [create], apiGroups: [''], resources: [nodes/proxy]}"), doctor.Wrong},
		{"get, over a websocket", cluster("{verbs: [get], apiGroups: [''], resources: [nodes/proxy]}"), doctor.Wrong},
		{"every proxy", cluster("{verbs: [get], apiGroups: [''], resources: ['*/proxy']}"), doctor.Wrong},
		{"a verb that a kubelet has no use for", cluster("{verbs: [delete, list], apiGroups: [''], resources: [nodes/proxy]}"), doctor.Right},
		{"what else there is of nodes", cluster("{verbs: [get, list, watch], apiGroups: [''], resources: [nodes, nodes/metrics, nodes/stats, nodes/log]}"), doctor.Right},
		{"in a namespace", strings.NewReplacer("RULE", "{verbs: [get, create], apiGroups: [''], resources: [nodes/proxy]}", "KIND", "RoleBinding", "PLACE", "namespace: shop").Replace(kube), doctor.Right},
		{"a role of Azure", azure("Microsoft.ContainerService/managedClusters/nodes/proxy/action"), doctor.Wrong},
		{"a role of Azure for nodes", azure("Microsoft.ContainerService/managedClusters/nodes/read"), doctor.Right},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			found := check.Run(facts(t, with(t, base(t), []byte(tt.text)), nil, ""), one(t, "pod-escalation"))
			if got := check.Worst(found); got != tt.want {
				t.Errorf("%s, want %s:\n%s", got, tt.want, tell(found))
			}
		})
	}
}

// The fix takes away what leads to an identity, and says so where it takes more.
func TestAFixLeavesWhatIsHarmless(t *testing.T) {
	t.Parallel()
	const kube = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: watches, labels: {app: watcher}, annotations: {gatehouse.io/cluster: aks-1}}
rules: RULES
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: watcher, annotations: {gatehouse.io/cluster: aks-1}}
subjects: [{kind: User, name: c2000000-0000-4000-8000-000000000001, apiGroup: rbac.authorization.k8s.io}SUBJECTS]
roleRef: {kind: ClusterRole, name: ROLE, apiGroup: rbac.authorization.k8s.io}
`
	const other = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: other, namespace: elsewhere, annotations: {gatehouse.io/cluster: aks-1}}
subjects: [{kind: User, name: penny@corp.example, apiGroup: rbac.authorization.k8s.io}]
roleRef: {kind: ClusterRole, name: watches, apiGroup: rbac.authorization.k8s.io}
`
	const aggregating = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sum, annotations: {gatehouse.io/cluster: aks-1}}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {app: watcher}}]}
`
	const part = ", {kind: User, name: 'system:kube-proxy', apiGroup: rbac.authorization.k8s.io}"
	const (
		mixed = "[{verbs: [get, list, create], apiGroups: [''], resources: [nodes, nodes/proxy, pods, pods/log]}, {verbs: [get], nonResourceURLs: [/metrics]}]"
		only  = "[{verbs: [get, create], apiGroups: [''], resources: [nodes/proxy]}]"
		stars = "[{verbs: ['*'], apiGroups: [''], resources: [nodes/proxy, nodes]}]"
	)
	text := func(rules, role, subjects, more string) string {
		return strings.NewReplacer("RULES", rules, "ROLE", role, "SUBJECTS", subjects).Replace(kube) + more
	}
	const deletes = "kubectl --context aks-1 delete clusterrolebinding watcher"
	for _, tt := range []struct {
		law, text string
		does      string // begins the one command
		besides   bool
	}{
		{"other rules of the role stay", text(mixed, "watches", "", ""), "kubectl --context aks-1 patch clusterrole watches --type json", false},
		{"a binding that gives nothing else goes", text(only, "watches", "", ""), deletes, false},
		{"a role that others have is not changed", text(mixed, "watches", "", other), deletes, true},
		{"nor one that another takes from", text(mixed, "watches", "", aggregating), deletes, true},
		{"nor one of Kubernetes", text(mixed, "edit", "", ""), deletes, true},
		{"nor can a part of a star be taken out", text(stars, "watches", "", ""), deletes, true},
		{"subjects that are not found stay", text(mixed, "watches", part, ""), `kubectl --context aks-1 patch clusterrolebinding watcher --type json -p '[{"op":"test","path":"/subjects/0/name"`, true},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			f, rule := facts(t, with(t, base(t), []byte(tt.text)), nil, ""), one(t, "pod-escalation")
			found := check.Run(f, rule)
			if len(found) != 1 || len(found[0].Fix.Commands) != 1 || found[0].Fix.Ops == nil {
				t.Fatalf("found\n%s", tell(found))
			}
			if fix := found[0].Fix; !strings.HasPrefix(fix.Commands[0], tt.does) || (fix.Besides != "") != tt.besides {
				t.Errorf("want %s, and that it takes more: %t\n%s", tt.does, tt.besides, tell(found))
			}
			mend(t, rule, f, found[0])
		})
	}
	f := facts(t, with(t, base(t), []byte(text(mixed, "watches", "", ""))), nil, "")
	left, err := f.Estate.Apply(2, check.Run(f, one(t, "pod-escalation"))[0].Fix.Ops...)
	if err != nil {
		t.Fatal(err)
	}
	cluster, _ := left.Cluster(f.Read[0].Cluster.Scope)
	for ask, want := range map[kuberbac.Attributes]bool{
		{Verb: "get", Resource: "nodes"}:                          true,
		{Verb: "create", Resource: "nodes"}:                       true,
		{Verb: "list", Resource: "pods"}:                          true,
		{Verb: "get", Resource: "pods", Subresource: "log"}:       true,
		{Verb: "get", Path: "/metrics"}:                           true,
		{Verb: "list", Resource: "nodes", Subresource: "proxy"}:   true,
		{Verb: "get", Resource: "nodes", Subresource: "proxy"}:    false,
		{Verb: "create", Resource: "nodes", Subresource: "proxy"}: false,
		{Verb: "create", Resource: "pods"}:                        false,
		{Verb: "delete", Resource: "pods"}:                        false,
		{Verb: "get", Resource: "secrets"}:                        false,
	} {
		if got := left.KubeRules(cluster.Scope, "watches").Allows(&ask) != nil; got != want {
			t.Errorf("after the fix %+v: %t, want %t", ask, got, want)
		}
	}
}

// A binding that Kubernetes makes, or the one of the admin groups, is left out as long
// as it is what it is made as, and not by its name (KR-15).
func TestBindingsAreNotLeftOutByTheirName(t *testing.T) {
	t.Parallel()
	const basic = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:public-info-viewer", annotations: {gatehouse.io/cluster: aks-1}}
subjects:
- {kind: Group, name: "system:authenticated", apiGroup: rbac.authorization.k8s.io}
- {kind: Group, name: "system:unauthenticated", apiGroup: rbac.authorization.k8s.io}
roleRef: {kind: ClusterRole, name: "system:public-info-viewer", apiGroup: rbac.authorization.k8s.io}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:public-info-viewer", annotations: {gatehouse.io/cluster: aks-1}}
rules: [RULES]
`
	const aggregates = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: extra, labels: {to: everybody}, annotations: {gatehouse.io/cluster: aks-1}}
rules: [{verbs: [get], apiGroups: [''], resources: [secrets]}]
`
	const admins = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: aks-cluster-admin-binding-aad, annotations: {gatehouse.io/cluster: aks-1}}
subjects:
- {kind: Group, name: b0000000-0000-4000-8000-000000000001, apiGroup: rbac.authorization.k8s.io}
MORE
roleRef: {kind: ClusterRole, name: cluster-admin, apiGroup: rbac.authorization.k8s.io}
`
	rules := func(text string) string { return strings.Replace(basic, "[RULES]", text, 1) }
	more := func(subject string) string { return strings.Replace(admins, "MORE", subject, 1) }
	for _, tt := range []struct {
		law, text, rule string
		want            int // findings
	}{
		{"a role as Kubernetes makes it", rules("[{verbs: [get], nonResourceURLs: [/healthz, /livez, /readyz, /version, /version/]}]"), "open-binding", 0},
		{"a role of which something was taken", rules("[{verbs: [get], nonResourceURLs: [/version]}]"), "open-binding", 0},
		{"a role to which something was added", rules("[{verbs: [get], nonResourceURLs: [/version]}, {verbs: [get], apiGroups: [''], resources: [secrets]}]"), "open-binding", 2},
		{"a role that takes on others", strings.Replace(rules("[]"), "rules: []", "aggregationRule: {clusterRoleSelectors: [{matchLabels: {to: everybody}}]}", 1) + aggregates, "open-binding", 2},
		{"a role of stars", rules("[{verbs: ['*'], apiGroups: ['*'], resources: ['*']}]"), "kube-wildcard", 2},
		{"the binding of the admin groups", more(""), "kube-wildcard", 0},
		{"somebody else in the binding of the admin groups", more("- {kind: User, name: penny@corp.example, apiGroup: rbac.authorization.k8s.io}"), "kube-wildcard", 1},
		{"everybody in the binding of the admin groups", more("- {kind: Group, name: 'system:authenticated', apiGroup: rbac.authorization.k8s.io}"), "open-binding", 1},
		{"a group that is no admin group of this cluster", more("- {kind: Group, name: b0000000-0000-4000-8000-000000000002, apiGroup: rbac.authorization.k8s.io}"), "kube-wildcard", 1},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			f, rule := facts(t, with(t, base(t), []byte(tt.text)), nil, ""), one(t, tt.rule)
			found := check.Run(f, rule)
			if len(found) != tt.want {
				t.Errorf("%d findings, want %d:\n%s", len(found), tt.want, tell(found))
			}
			for _, x := range found {
				if x.Fix.Ops == nil {
					t.Errorf("nothing mends %s", x.Name)
				}
				mend(t, rule, f, x)
			}
		})
	}
}

// A control plane that is a service principal is held to the same as one that is a
// managed identity.
func TestAServicePrincipalIsAControlPlaneAsWell(t *testing.T) {
	t.Parallel()
	const owner = `kind: RoleAssignment
principal: pipeline
role: Contributor
scope: /subscriptions/50000000-0000-4000-8000-000000000001
`
	est := brokenBy(t, "service-principal")
	if found := check.Run(facts(t, est, nil, ""), one(t, "control-plane-rights")); len(found) > 0 {
		t.Errorf("one with no role:\n%s", tell(found))
	}
	f := facts(t, with(t, est, []byte(owner)), nil, "")
	found := check.Run(f, one(t, "control-plane-rights"))
	if len(found) != 1 || found[0].Verdict != doctor.Wrong || found[0].Name != "service principal pipeline" {
		t.Fatalf("one that may change everything:\n%s", tell(found))
	}
	mend(t, one(t, "control-plane-rights"), f, found[0])
}

// What says the same as a broken rule in other letters is found as well.
func TestOtherSpellingsOfWhatIsBroad(t *testing.T) {
	t.Parallel()
	const pattern = `kind: Tenant
id: 7e000000-0000-4000-8000-000000000001
domains: [corp.example]
allowSubjectPatterns: true
---
kind: FederatedCredential
owner: d1000000-0000-4000-8000-000000000004
name: all
issuer: https://oidc.example/t/aks-1/
subjectPattern: 'system:serviceaccount:PATTERN'
audiences: [api://AzureADTokenExchange]
`
	const role = `kind: RoleDefinition
id: e0000000-0000-4000-8000-000000000001
roleName: Broad
assignableScopes: [/subscriptions/50000000-0000-4000-8000-000000000001]
permissions: [{actions: ['PATTERN'], dataActions: []}]
`
	for _, tt := range []struct {
		text, with, rule string
		want             doctor.Verdict
	}{
		{pattern, "?*:web", "credential-pattern", doctor.Wrong},
		{pattern, "*?:web", "credential-pattern", doctor.Wrong},
		{pattern, "team-*:web", "credential-pattern", doctor.Right},
		{pattern, "shop:*", "credential-default-account", doctor.Wrong},
		{pattern, "shop:d?fault", "credential-default-account", doctor.Wrong},
		{pattern, "shop:web-*", "credential-default-account", doctor.Right},
		{role, "Microsoft.*", "role-wildcard", doctor.Wrong},
		{role, "*write", "role-wildcard", doctor.Wrong},
		{role, "Microsoft.*/action", "role-wildcard", doctor.Wrong},
		{role, "Microsoft.*/read", "role-wildcard", doctor.Right},
		{role, "Microsoft.Network/*", "role-wildcard", doctor.Right},
	} {
		est := with(t, base(t), []byte(strings.Replace(tt.text, "PATTERN", tt.with, 1)))
		found := check.Run(facts(t, est, nil, ""), one(t, tt.rule))
		if got := check.Worst(found); got != tt.want {
			t.Errorf("%s of %s: %s, want %s:\n%s", tt.rule, tt.with, got, tt.want, tell(found))
		}
	}
}
