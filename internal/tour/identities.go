package tour

import (
	"context"
	"regexp"
	"strconv"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// reports wants gatehouse check to find something.
func reports(words string, has ...string) Want { return Want{Words: words, Fails: true, Has: has} }

// reportsNothing wants it to find nothing.
func reportsNothing(words string) Want {
	return works(words, "0 high, 0 medium, 0 low, 0 not evaluated")
}

var addOns = Story{
	Number: 24, Title: "An add-on has an identity of its own, and what it is given", Source: enterpriseScale + ", Design recommendations for cluster identity",
	tell: func(ctx context.Context, t *telling) {
		const policy = "azurepolicy-aks-1"
		taken := func(ctx context.Context) error {
			if err := t.stage.look(ctx); err != nil {
				return err
			}
			var keys []record.Key
			for _, a := range t.stage.est.AssignmentsAt(scope.MustParse(shopGroup)) {
				if m, ok := t.stage.est.ManagedIdentity(a.Principal); ok && m.DisplayName == policy {
					keys = append(keys, a.Key())
				}
			}
			return t.delete(ctx, keys...)
		}
		t.must(taken(ctx)) // a story that was killed left it
		t.later(taken)
		const rule = "node-identity-rights"
		for _, name := range []string{policy, "azurekeyvaultsecretsprovider-aks-1"} {
			t.operate(ctx, Want{Words: "it came with its add-on, and nobody gave it anything", Fails: true, Exactly: []string{name + " has nothing there but what everybody has"}}, "what-can", name)
		}
		got := t.operate(ctx, works("somebody means well", `role "Contributor"`), "assignment", "create", "--role", "Contributor", "--principal", policy, "--scope", shopGroup)
		t.operate(ctx, reports("that is more than the add-on needs", "the add-on azurepolicy of cluster aks-1 has more than it needs: Contributor at "), "check", "--rule", rule)
		t.operate(ctx, works("taken away again, as the finding says", "taken from "+policy), "assignment", "delete", found(t, got, assignmentID))
		t.operate(ctx, reportsNothing("nothing is left to report"), "check", "--rule", rule)
	},
}

var assignmentID = regexp.MustCompile(`given to \S+ as ([0-9a-f-]{36})`)

const kubeletOfAks2 = "d1000000-0000-4000-8000-000000000022" // its client id

var usedElsewhere = Story{
	Number: 25, Title: "An identity of nodes that is made usable elsewhere is an alert", Source: identityOverview + ", section 3",
	People: []string{"ed"},
	tell: func(ctx context.Context, t *telling) {
		aks1, err := t.stage.Cluster(ctx, "aks-1")
		t.must(err)
		deleted := func(ctx context.Context) error {
			if err := t.stage.look(ctx); err != nil {
				return err
			}
			return t.delete(ctx, record.KeyOf(record.FederatedCredential, kubeletOfAks2, "borrowed"))
		}
		t.must(deleted(ctx)) // a story that was killed left it
		t.later(deleted)
		var last int64
		for r, err := range t.stage.conf.API.Audit(ctx, 1) {
			t.must(err)
			last = r.Seq
		}
		t.apply(ctx, "borrowed.yaml", `kind: FederatedCredential
owner: `+kubeletOfAks2+`
name: borrowed
issuer: `+aks1.IssuerURL+`
subject: system:serviceaccount:default:default
audiences: ["`+exchange+`"]
`, works("pods of aks-1 may be the nodes of aks-2", "1 change made"))
		t.operate(ctx, works("the change is in the audit log as an alert", "alert aks-2-agentpool federated credential written "+aks1.IssuerURL),
			"audit", "--since", strconv.FormatInt(last+1, 10))
		t.operate(ctx, reports("and is reported for as long as it is there", "the kubelet of cluster aks-2 has 1 federated credential"), "check", "--rule", "node-identity-federated")
		pods := workload{"aks-1", "default/default", kubeletOfAks2}
		t.exchange(ctx, pods, exchange, works("no empty threat: a pod elsewhere gets its token", "Bearer token for "+vaults))
		t.must(deleted(ctx))
		t.exchange(ctx, pods, exchange, Want{Words: "not any more, when the credential is deleted", Fails: true, Has: []string{"AADSTS70025"}})
	},
}

var farIdentity = Story{
	Number: 26, Title: "An identity in another region than its cluster is reported", Source: enterpriseScale + ", Design considerations for cluster identity",
	tell: func(ctx context.Context, t *telling) {
		t.must(t.stage.look(ctx))
		cluster, ok := t.stage.cluster("aks-1")
		if !ok {
			t.must(errNoSample)
		}
		own, ok := t.stage.est.ManagedIdentity(cluster.Identity.Object)
		if !ok {
			t.must(errNoSample)
		}
		t.later(t.stage.Restore(own))
		const rule = "identity-region"
		t.operate(ctx, reportsNothing("the identity of the control plane is where its cluster is"), "check", "--rule", rule, "--cluster", "aks-1")
		t.apply(ctx, "far.yaml", identityIn(own, "northeurope"), works("it is said to be elsewhere", "1 change made"))
		t.operate(ctx, reports("when that region is away, the cluster cannot act", "the control plane of cluster aks-1 is in northeurope, and the cluster in westeurope"), "check", "--rule", rule, "--cluster", "aks-1")
	},
}

// identityIn is an identity as it would be in another place.
func identityIn(m directory.ManagedIdentity, location string) string {
	return "kind: ManagedIdentity\nid: " + m.ID.String() + "\nclientId: " + m.ClientID.String() + "\ntenant: teknews.cloud\nresource: " + m.Resource.String() +
		"\ndisplayName: " + m.DisplayName + "\nlocation: " + location + "\n"
}

var needless = Story{
	Number: 34, Title: "An identity that needs nothing is not needed", Source: enterpriseScale + ", Workload identities",
	People: []string{"ed"},
	tell: func(ctx context.Context, t *telling) {
		t.openShop(ctx, shop, shopClient, works("an identity, whom it trusts, and a vault", "3 changes made"))
		check := []string{"check", "--rule", "identity-unneeded"}
		t.operate(ctx, reports("its pods can get tokens that open nothing", "managed identity shop-web", "it is not needed"), check...)
		t.operate(ctx, works("it is given what it is for", `role "Key Vault Secrets User"`),
			"assignment", "create", "--role", "Key Vault Secrets User", "--principal", "shop-web", "--scope", shopVault)
		t.operate(ctx, reportsNothing("and is needed"), check...)
	},
}
