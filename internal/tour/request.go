package tour

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

var identityOnRequest = Story{
	Number: 33, Title: "A team asks for an identity, its owner approves, and it is retired", Source: enterpriseScale + ", Design considerations for workload identities",
	People: []string{"ed", "leonard"},
	tell: func(ctx context.Context, t *telling) {
		closed := func(ctx context.Context) error {
			return errors.Join(t.takeAway(ctx), t.quietly(ctx, "ed", "aks-1", "delete", "serviceaccount", "web", "-n", "default", "--ignore-not-found"))
		}
		t.must(closed(ctx)) // a story that was killed left it
		t.later(closed)
		t.apply(ctx, "vault.yaml", vault, works("a vault, and no identity yet", "1 change made"))
		t.putSecret(ctx)
		t.operate(ctx, works("penny, who may make identities, may now say who reads the vault", `role "User Access Administrator"`),
			"assignment", "create", "--role", "User Access Administrator", "--principal", "penny@teknews.cloud", "--scope", shopVault)
		t.kubectl(ctx, "leonard", "aks-1", wire.Kube{}, says("leonard is admin of the namespace default", "serviceaccount/web created"), "create", "serviceaccount", "web")

		t.login(ctx, "leonard")
		t.gatehouse(ctx, "leonard", Want{Words: "he has no part in another namespace", Fails: true, Has: []string{"(AuthorizationFailed)", "pods/write"}}, asking("kube-public", "8h")...)
		id := found(t, t.gatehouse(ctx, "leonard", works("in his own he may ask", "waits for an answer"), asking("default", "8h")...), requestID)
		t.gatehouse(ctx, "leonard", Want{Words: "he may not give it to himself", Fails: true, Has: []string{"(AuthorizationFailed)", "federatedIdentityCredentials/write"}}, "identity-request", "approve", id)
		t.login(ctx, "penny")
		t.gatehouse(ctx, "penny", works("penny sees what waits for her", "shop-web", "default/web", "leonard@teknews.cloud", "Pending"), "identity-request", "list", "--to-approve")
		web := workload{on: "aks-1", account: "default/web"}
		web.client = found(t, t.gatehouse(ctx, "penny", works("she approves, for less time than was asked for", "is active until"),
			"identity-request", "approve", id, "--for", "2h", "--why", "for the trial"), clientID)

		token := t.exchange(ctx, web, exchange, works("the pod's token is exchanged for one of the identity", "Bearer token for "+vaults))
		t.read(ctx, web, token, says("which may what was approved", "hello from the vault"))
		t.exchange(ctx, workload{"aks-1", "kube-public/default", web.client}, exchange, Want{Words: "the association is with one service account of one namespace", Fails: true, Has: []string{"AADSTS700213"}})

		t.gatehouse(ctx, "penny", works("retired: the credential, the role and the identity are gone", "is retired"), "identity-request", "retire", id, "--why", "the trial is over")
		t.exchange(ctx, web, exchange, Want{Words: "nobody is that any more", Fails: true, Has: []string{"AADSTS700016"}})
		t.read(ctx, web, token, Want{Words: "a token of before is worth nothing", Fails: true, Has: []string{"Unauthorized: "}})
		t.gatehouse(ctx, "leonard", works("one history, from the request to the removal", "Requested by leonard@teknews.cloud   the shop reads its secrets",
			"Approved  by penny@teknews.cloud   for the trial", "Retired   by penny@teknews.cloud   the trial is over"), "identity-request", "show", id)

		id = found(t, t.gatehouse(ctx, "leonard", works("asked for again, for a second", "waits for an answer"), asking("default", "1s")...), requestID)
		web.client = found(t, t.gatehouse(ctx, "penny", works("approved", "client id "), "identity-request", "approve", id), clientID)
		t.must(t.expired(ctx, id))
		t.exchange(ctx, web, exchange, Want{Words: "a second later it is over, and nobody did anything", Fails: true, Has: []string{"AADSTS70025"}})
	},
}

// asking is how leonard asks for the identity, for the service account web of a namespace.
func asking(namespace, last string) []string {
	return []string{"identity-request", "create", shopWebID, "--new", "--role", "Key Vault Secrets User", "--at", shopVault,
		"--cluster", "aks-1", "-n", namespace, "--service-account", "web", "--for", last, "--why", "the shop reads its secrets"}
}

// gatehouse has somebody who is signed in run this program.
func (t *telling) gatehouse(ctx context.Context, who string, want Want, args ...string) Outcome {
	got, err := t.person(who).Gatehouse(ctx, append(args, "--server", t.stage.conf.API.Base)...)
	t.must(err)
	t.step(Step{Who: who, Command: "gatehouse " + quote(args)}, got, want)
	return got
}

var (
	requestID = regexp.MustCompile(`request ([0-9a-f-]{36}) for`)
	clientID  = regexp.MustCompile(`client id ([0-9a-f-]{36})`)
)

// found is what a command has printed at a place that the story goes on with.
func found(t *telling, got Outcome, at *regexp.Regexp) string {
	m := at.FindStringSubmatch(got.Text)
	if m == nil {
		t.must(errors.New("the last command did not print the id that the story goes on with"))
	}
	return m[1]
}

// expired waits until a request for an identity is over by itself.
func (t *telling) expired(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		q, err := t.stage.conf.API.IdentityRequest(ctx, id)
		if err != nil || q.Status == "Expired" {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
