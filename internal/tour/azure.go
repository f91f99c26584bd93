package tour

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

const azureRefuses = ": User does not have access to the resource in Azure. Update role assignment to allow access."

// forbidden is the sentence that kubectl prints when all authorizers have refused.
func forbidden(user, verb, resource, group, where string) string {
	return "Error from server (Forbidden): " + resource + dotted(group) + ` is forbidden: User "` + user + `" cannot ` + verb +
		` resource "` + resource + `" in API group "` + group + `" ` + where
}

func dotted(group string) string {
	if group == "" {
		return ""
	}
	return "." + group
}

const (
	rbacGroup   = "rbac.authorization.k8s.io"
	clusterWide = "at the cluster scope"
)

func in(namespace string) string { return `in the namespace "` + namespace + `"` }

var listNamespaces = wire.Kube{Verb: "list", Resource: "namespaces"}

var adminGroup = Story{
	Number: 1, Title: "A member of the admin group is cluster-admin", Source: identityOverview + ", section 2.1",
	tell: func(ctx context.Context, t *telling) {
		ed := t.person("ed")
		t.must(ed.Forget()) // the story is about signing in
		got, err := ed.Kubectl(ctx, "aks-1", "get", "namespaces")
		t.must(err)
		ed.signedIn = true
		t.step(Step{Who: "ed", On: "aks-1", Command: "kubectl get namespaces", Why: t.why(ctx, ed, "aks-1", listNamespaces)},
			Outcome{Text: got.Invitation + "\n" + got.Text, Exit: got.Exit, Took: got.Took},
			works("he signs in at the device page, and kubectl lists the namespaces", "To sign in, open ", "NAME ", "default ", "kube-system "))
		t.kubectl(ctx, "ed", "aks-1", wire.Kube{}, works("he is who he signed in as, in the admin group by its object id",
			"ed@teknews.cloud", "b0000000-0000-4000-8000-000000000001 system:authenticated]"), "auth", "whoami")
		t.kubectl(ctx, "ed", "aks-1", wire.Kube{}, works("cluster-admin is bound to the admin group, named by its object id",
			"name: aks-cluster-admin-binding-aad\n",
			"roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: cluster-admin\n"+
				"subjects:\n- apiGroup: rbac.authorization.k8s.io\n  kind: Group\n  name: b0000000-0000-4000-8000-000000000001"),
			"get", "clusterrolebinding", "aks-cluster-admin-binding-aad", "-o", "yaml")
	},
}

var clusterUserOnly = Story{
	Number: 2, Title: "Cluster User Role gives a kubeconfig, and nothing that it opens", Source: identityOverview + ", section 2.2.1",
	People: []string{"faye"},
	tell: func(ctx context.Context, t *telling) {
		file := t.kubeconfig(ctx, "faye", "aks-1", works("she may fetch the kubeconfig", "wrote "))
		faye := t.person("faye")
		got, err := faye.KubectlAt(ctx, file, "", "get", "ns")
		t.must(err)
		t.step(Step{Who: "faye", On: "aks-1", Command: "kubectl get ns", Why: t.why(ctx, faye, "aks-1", listNamespaces)}, got,
			refused(forbidden("faye@teknews.cloud", "list", "namespaces", "", clusterWide)+azureRefuses))
	},
}

// login has a person sign in to the house for its own commands.
func (t *telling) login(ctx context.Context, who string) {
	p := t.person(who)
	got, err := p.Gatehouse(ctx, "login", "--server", t.stage.conf.API.Base, "--ca-file", t.stage.conf.CA, "--tenant", "teknews.cloud")
	t.must(err)
	t.step(Step{Who: who, Command: "gatehouse login --server " + t.stage.conf.API.Base + " --tenant teknews.cloud"}, got,
		says("signed in, in a browser", "signed in to "+t.stage.conf.API.Base+" as "+p.User.UserPrincipalName))
}

// kubeconfig has a person sign in to the house and fetch a kubeconfig. It returns
// the file.
func (t *telling) kubeconfig(ctx context.Context, who, on string, want Want) string {
	t.login(ctx, who)
	p := t.person(who)
	file := filepath.Join(p.Home, "fetched-"+on+".kubeconfig")
	at := t.stage.Scope(on)
	got, err := p.Gatehouse(ctx, "kubeconfig", at, "--server", t.stage.conf.API.Base, "--file", file)
	t.must(err)
	got.Text = strings.ReplaceAll(got.Text, p.Home+"/", "")
	t.step(Step{Who: who, Command: "gatehouse kubeconfig " + at + " --file " + filepath.Base(file), Why: t.whyAction(ctx, p, on)}, got, want)
	return file
}

// whyAction asks why a person may, or may not, fetch the kubeconfig of a cluster.
func (t *telling) whyAction(ctx context.Context, p *Person, on string) string {
	cluster, _ := t.stage.cluster(on)
	e, err := t.stage.conf.API.Why(ctx, wire.Question{Who: p.User.ID.String(), Scope: cluster.Scope.String(),
		Action: "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action"})
	t.must(err)
	return Because(e)
}

var readerOnTwoClusters = Story{
	Number: 3, Title: "RBAC Reader counts where the cluster asks Azure RBAC, and only there", Source: identityOverview + ", section 2.2.1",
	People: []string{"jet"},
	tell: func(ctx context.Context, t *telling) {
		const jet = "jet@teknews.cloud"
		t.kubectl(ctx, "jet", "aks-1", listNamespaces, works("aks-1 lists its namespaces", "default ", "kube-system "), "get", "ns")
		t.kubectl(ctx, "jet", "aks-1", wire.Kube{Verb: "list", Resource: "secrets", Namespace: "default"},
			refused(forbidden(jet, "list", "secrets", "", in("default"))+azureRefuses), "get", "secrets")
		t.kubectl(ctx, "jet", "aks-1", wire.Kube{Verb: "list", APIGroup: rbacGroup, Resource: "roles", Namespace: "default"},
			refused(forbidden(jet, "list", "roles", rbacGroup, in("default"))+azureRefuses), "get", "roles")
		t.kubectl(ctx, "jet", "aks-2", listNamespaces, refused(forbidden(jet, "list", "namespaces", "", clusterWide)), "get", "ns")
	},
}

var noRoleAtAll = Story{
	Number: 7, Title: "Who has no role gets no kubeconfig", Source: zeroToHero + ", section 2",
	People: []string{"sheldon"},
	tell: func(ctx context.Context, t *telling) {
		sheldon := t.person("sheldon")
		t.kubeconfig(ctx, "sheldon", "aks-1", refused("gatehouse: (AuthorizationFailed) The client 'sheldon@teknews.cloud' with object id '"+sheldon.User.ID.String()+
			"' does not have authorization to perform action 'Microsoft.ContainerService/managedClusters/listClusterUserCredential/action' over scope '"+
			strings.ToLower(t.stage.Scope("aks-1"))+"' or the scope is invalid. If access was recently granted, please refresh your credentials."))
	},
}

var oneNamespace = Story{
	Number: 10, Title: "RBAC Reader for one namespace reads in that one", Source: zeroToHero + ", section 3",
	People: []string{"howard"},
	tell: func(ctx context.Context, t *telling) {
		const howard = "howard@teknews.cloud"
		pods := func(ns string) wire.Kube { return wire.Kube{Verb: "list", Resource: "pods", Namespace: ns} }
		t.kubectl(ctx, "howard", "aks-1", pods("dev"), says("he reads in dev", "No resources found in dev namespace."), "get", "pods", "-n", "dev")
		t.kubectl(ctx, "howard", "aks-1", wire.Kube{Verb: "create", Resource: "configmaps", Namespace: "dev"},
			refused("error: failed to create configmap: "+strings.TrimPrefix(forbidden(howard, "create", "configmaps", "", in("dev")), "Error from server (Forbidden): ")+azureRefuses),
			"create", "configmap", "notes", "-n", "dev")
		t.kubectl(ctx, "howard", "aks-1", pods("default"), refused(forbidden(howard, "list", "pods", "", in("default"))+azureRefuses), "get", "pods", "-n", "default")
		t.kubectl(ctx, "howard", "aks-1", pods(""), refused(forbidden(howard, "list", "pods", "", clusterWide)+azureRefuses), "get", "pods", "-A")
	},
}
