package tour

import "context"

const shopApp = "5b090000-0000-4000-8000-000000000003" // the client id of shop-app

// shopApplication is an application of the team in the place of an identity, which
// trusts the same service account.
func shopApplication(disabled string) func(issuer string) string {
	return func(issuer string) string {
		return `kind: Application
id: 5b090000-0000-4000-8000-000000000004
appId: ` + shopApp + `
tenant: teknews.cloud
displayName: shop-app
---
kind: ServicePrincipal
id: 5b090000-0000-4000-8000-000000000005
appId: ` + shopApp + `
tenant: teknews.cloud
displayName: shop-app` + disabled + `
---
` + trusting(shopApp, issuer) + vault
	}
}

var ownApplication = Story{
	Number: 28, Title: "The same for an application, which has no secret either", Source: identityOverview + ", section 4.2",
	People: []string{"ed"},
	tell: func(ctx context.Context, t *telling) {
		t.openShop(ctx, shopApplication(""), shopApp, works("an application, who it is in the tenant, whom it trusts, and a vault", "4 changes made"))
		t.putSecret(ctx)
		app := workload{"aks-1", "shop/web", shopApp}
		token := t.exchange(ctx, app, exchange, works("the pod's token is exchanged for one of the application", "Bearer token for "+vaults))
		t.read(ctx, app, token, Want{Words: "an application without a role reads nothing", Fails: true, Has: []string{"Forbidden: ", "secrets/getSecret/action"}})
		t.operate(ctx, works("a role for this vault alone", `role "Key Vault Secrets User"`),
			"assignment", "create", "--role", "Key Vault Secrets User", "--principal", "shop-app", "--scope", shopVault)
		t.read(ctx, app, token, says("the next request is answered", "hello from the vault"))

		aks1, err := t.stage.Cluster(ctx, "aks-1")
		t.must(err)
		t.apply(ctx, "disabled.yaml", shopApplication("\ndisabled: true")(aks1.IssuerURL), works("its administrator disables it", "1 change made"))
		t.read(ctx, app, token, Want{Words: "the token that the pod has is worth nothing", Fails: true, Has: []string{"Unauthorized: "}})
		t.exchange(ctx, app, exchange, Want{Words: "and there is no other", Fails: true, Has: []string{"AADSTS7000112"}})
	},
}
