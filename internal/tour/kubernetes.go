package tour

import (
	"context"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

var bothPlanesAddUp = Story{
	Number: 4, Title: "Kubernetes RBAC and Azure RBAC add up", Source: identityOverview + ", section 2.2.2",
	People: []string{"leonard"},
	tell: func(ctx context.Context, t *telling) {
		const leonard = "leonard@teknews.cloud"
		create := func(ns string) wire.Kube { return wire.Kube{Verb: "create", Resource: "pods", Namespace: ns} }
		remove := func(ctx context.Context) error {
			return t.quietly(ctx, "leonard", "aks-1", "delete", "pod", "nginxtest", "--force", "--ignore-not-found")
		}
		t.must(remove(ctx))
		t.later(remove)
		// A control plane that has just started makes this account in a moment; pods need it.
		t.must(t.quietly(ctx, "leonard", "aks-1", "wait", "--for=create", "serviceaccount/default", "--timeout=60s"))
		t.kubectl(ctx, "leonard", "aks-1", create("default"), says("he is admin of default", "pod/nginxtest created"), "run", "nginxtest", "--image=nginx")
		t.kubectl(ctx, "leonard", "aks-1", wire.Kube{}, works("the pod is there", "nginxtest "), "get", "pod")
		t.kubectl(ctx, "leonard", "aks-1", create("kube-public"), refused(forbidden(leonard, "create", "pods", "", in("kube-public"))+azureRefuses),
			"run", "nginxtest", "--image=nginx", "-n", "kube-public")
		t.kubectl(ctx, "leonard", "aks-2", create("default"), refused(forbidden(leonard, "create", "pods", "", in("default"))),
			"run", "testnginx", "--image=nginx")
	},
}

// unauthorized is what kubectl says when the API server does not know the bearer
// of a token any more.
const unauthorized = "error: You must be logged in to the server (Unauthorized)"

// revoked wants a refusal of somebody who was let in before. The API server may
// remember for some seconds whose token it is; then the house itself denies the
// request, for a reason. Later, the token is refused.
func revoked(sentences ...string) Want {
	return Want{Words: "refused within 1 s, while the token is still valid", Fails: true, Exactly: sentences, Within: 1}
}

var financeApp = Story{
	Number: 8, Title: "Everything in one namespace, until the account is disabled", Source: bestPractices2019 + "; " + bestPractices,
	People: []string{"developer1"},
	tell: func(ctx context.Context, t *telling) {
		const name = "developer1@contoso.com"
		dev := t.person("developer1")
		t.later(t.stage.Restore(dev.User))
		list := func(ns string) wire.Kube { return wire.Kube{Verb: "list", Resource: "pods", Namespace: ns} }
		pods := func(ns string) []string { return []string{"get", "pods", "-n", ns} }
		t.must(t.quietly(ctx, "developer1", "aks-2", "delete", "configmap", "ledger", "-n", "finance-app", "--ignore-not-found"))
		t.kubectl(ctx, "developer1", "aks-2", wire.Kube{Verb: "create", Resource: "configmaps", Namespace: "finance-app"},
			says("everything in finance-app", "configmap/ledger created"), "create", "configmap", "ledger", "--from-literal=year=2026", "-n", "finance-app")
		t.kubectl(ctx, "developer1", "aks-2", wire.Kube{}, says("", `configmap "ledger" deleted from finance-app namespace`), "delete", "configmap", "ledger", "-n", "finance-app")
		t.kubectl(ctx, "developer1", "aks-2", list("default"), refused(forbidden(name, "list", "pods", "", in("default"))), pods("default")...)

		t.kubectl(ctx, "developer1", "aks-2", list("finance-app"), says("the account is in order", "No resources found in finance-app namespace."), pods("finance-app")...)
		t.operate(ctx, works("disabled", "user developer1@contoso.com disabled"), "user", "disable", name, "--why", "left the company")
		t.kubectl(ctx, "developer1", "aks-2", wire.Kube{}, revoked(
			forbidden(name, "list", "pods", "", in("finance-app"))+": Access denied: the account is disabled.", unauthorized), pods("finance-app")...)
		t.operate(ctx, works("enabled again", "user developer1@contoso.com enabled"), "user", "enable", name)
		t.must(dev.Forget()) // tokens from before do not come back to life
		t.must(t.stage.SignIn(ctx, "developer1"))
		t.kubectl(ctx, "developer1", "aks-2", list("finance-app"), says("he works again, once he has signed in again", "No resources found in finance-app namespace."), pods("finance-app")...)

		t.leaveGroup(ctx, dev, list("dev-namespace"))
	},
}

// leaveGroup takes a member out of dev-team, while the API server still takes him
// for one, and puts him back.
func (t *telling) leaveGroup(ctx context.Context, dev *Person, ask wire.Kube) {
	team, err := t.stage.Group("dev-team")
	t.must(err)
	member := directory.Membership{Group: team.ID, Member: dev.User.ID}
	args := []string{"get", "pods", "-n", "dev-namespace"}
	t.kubectl(ctx, dev.Name, "aks-2", ask, says("he views dev-namespace as a member of dev-team", "No resources found in dev-namespace namespace."), args...)
	t.later(t.stage.Restore(member))
	t.operate(ctx, works("out of the group", "dev-team"), "group", "remove", "dev-team", dev.User.UserPrincipalName)
	plain := forbidden(dev.User.UserPrincipalName, "list", "pods", "", in("dev-namespace"))
	t.kubectl(ctx, dev.Name, "aks-2", wire.Kube{}, revoked(plain+": Access denied: the account is no longer in group "+team.ID.String()+".", plain), args...)
	t.must(t.stage.Commit(ctx, "the tour puts back what it changed", estate.Op{Put: member}))
	t.must(t.remembered(ctx, dev, "aks-2", args))
	t.kubectl(ctx, dev.Name, "aks-2", ask, says("a member again", "No resources found in dev-namespace namespace."), args...)
}

// remembered waits until an API server has asked anew who somebody is. It may
// remember for ten seconds that he was in one group less: what he lost, the house
// refuses at once, but what Kubernetes RBAC gives to a group comes as late as that.
func (t *telling) remembered(ctx context.Context, p *Person, on string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := p.Kubectl(ctx, on, args...)
		if err != nil || got.Exit == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

var groupsByID = Story{
	Number: 9, Title: "Groups are bound by their object ids, members of members included", Source: zeroToHero + ", section 2",
	People: []string{"raj", "amy", "developer1"},
	tell: func(ctx context.Context, t *telling) {
		list := func(what, ns string) wire.Kube { return wire.Kube{Verb: "list", Resource: what, Namespace: ns} }
		const raj = "raj@teknews.cloud"
		t.kubectl(ctx, "raj", "aks-2", list("pods", "dev-namespace"), says("raj is in dev-team through its contractors, and views dev-namespace",
			"No resources found in dev-namespace namespace."), "get", "pods", "-n", "dev-namespace")
		t.kubectl(ctx, "raj", "aks-2", list("secrets", "dev-namespace"), refused(forbidden(raj, "list", "secrets", "", in("dev-namespace"))), "get", "secrets", "-n", "dev-namespace")
		t.kubectl(ctx, "raj", "aks-2", list("pods", "default"), refused(forbidden(raj, "list", "pods", "", in("default"))), "get", "pods")
		t.kubectl(ctx, "amy", "aks-2", wire.Kube{Verb: "*", APIGroup: "*", Resource: "*"}, says("amy is in sre, which aks-admins binds to cluster-admin", "yes"), "auth", "can-i", "*", "*", "-A")
		t.kubectl(ctx, "developer1", "aks-2", list("pods", "test-namespace"),
			refused(forbidden("developer1@contoso.com", "list", "pods", "", in("test-namespace"))), "get", "pods", "-n", "test-namespace")
		binding := []string{"get", "rolebinding", "developer-view-by-name", "-n", "test-namespace", "-o", "jsonpath={.subjects[0].name}"}
		t.kubectl(ctx, "amy", "aks-2", wire.Kube{}, says("it names the group by its name, which matches nobody", "dev-team"), binding...)
	},
}

var podReader = Story{
	Number: 11, Title: "A role for pods, for a user and for a group", Source: zeroToHero + ", section 4",
	People: []string{"stuart", "raj"},
	tell: func(ctx context.Context, t *telling) {
		yes := []string{"get pods", "list pods", "watch pods"}
		no := []string{"create pods", "delete pods", "create pods/exec", "get pods/log", "list secrets", "list configmaps", "update pods"}
		for _, who := range []string{"stuart", "raj"} {
			t.kubectl(ctx, who, "aks-1", wire.Kube{Verb: "list", Resource: "pods", Namespace: "mynamespace"},
				says("reads pods in mynamespace", "No resources found in mynamespace namespace."), "get", "pods", "-n", "mynamespace")
			t.matrix(ctx, who, "aks-1", "get, list and watch pods, nothing more", questions("mynamespace", yes, no))
			t.matrix(ctx, who, "aks-1", "nothing in any other namespace", questions("default", nil, append(yes, no...)))
		}
	},
}

func questions(namespace string, yes, no []string) []query {
	var qs []query
	for _, q := range yes {
		qs = append(qs, ask(q, namespace, true))
	}
	for _, q := range no {
		qs = append(qs, ask(q, namespace, false))
	}
	return qs
}
