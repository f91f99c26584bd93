package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// chainChecks are about who is asked, in which order, and what silence means (WH-09).
var chainChecks = []check{
	{
		id: "authz-always-allow", severity: Error,
		why: "everybody who is authenticated may do everything",
		fix: "give kube-apiserver --authorization-config with the chain Node, Webhook, RBAC (gatehouse cluster attach writes it)",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			if c.chainErr != nil {
				return "", false, c.chainErr
			}
			return "the chain is " + c.kinds(), !slices.ContainsFunc(c.chain, func(l link) bool { return l.kind == "AlwaysAllow" }), nil
		},
	},
	{
		id: "authz-webhook-missing", severity: Error,
		why: "nothing that is granted, denied or revoked in Gatehouse has an effect in this cluster",
		fix: "put the webhook into the chain, behind Node and before RBAC",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			if c.chainErr != nil {
				return "", false, c.chainErr
			}
			_, _, err := c.house()
			return "the chain is " + c.kinds(), err == nil, nil
		},
	},
	{
		id: "authz-legacy-flags", severity: Error,
		why: "the flags cannot fail closed: when Gatehouse does not answer, RBAC alone decides, after 4 seconds of trying; and what they remember cannot be switched off for both answers by name",
		fix: "replace --authorization-mode and every --authorization-webhook-* flag by --authorization-config",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			if c.flags == nil {
				return "", false, notRead("the API server's flags are not at hand")
			}
			var old []string
			for _, name := range sortedKeys(c.flags) {
				if name == "authorization-mode" || strings.HasPrefix(name, "authorization-webhook-") {
					old = append(old, "--"+name)
				}
			}
			if len(old) == 0 {
				return "none of the flags from before AuthorizationConfiguration is set", true, nil
			}
			return "set: " + strings.Join(old, ", "), false, nil
		},
	},
	{
		id: "authz-failure-policy", severity: Error,
		why: "when Gatehouse fails, whoever is denied there but has a right in RBAC is let in",
		fix: "set failurePolicy: Deny",
		run: onHouse(func(_ int, h hookSettings) (string, bool) {
			return map[bool]string{true: "the webhook fails closed", false: "a webhook that fails has no opinion"}[h.failClosed], h.failClosed
		}),
	},
	{
		id: "authz-cache-allowed", severity: Error,
		why: "what was allowed once stays allowed after it was revoked, by default for 5 minutes",
		fix: "set cacheAuthorizedRequests: false; authorizedTTL: 0s means the default and not zero",
		run: onHouse(func(_ int, h hookSettings) (string, bool) {
			return map[bool]string{true: "the API server remembers what was allowed", false: "allowed answers are not remembered"}[h.cacheAllows], !h.cacheAllows
		}),
	},
	{
		id: "authz-cache-refused", severity: Warning,
		why: "what was just granted stays refused, by default for 30 seconds",
		fix: "set cacheUnauthorizedRequests: false",
		run: onHouse(func(_ int, h hookSettings) (string, bool) {
			return map[bool]string{true: "the API server remembers what was refused", false: "refused answers are not remembered"}[h.cacheNoes], !h.cacheNoes
		}),
	},
	{
		id: "authz-order", severity: Error,
		why: "what RBAC allows is allowed before Gatehouse is asked, so a disabled user keeps his RBAC rights",
		fix: "put the webhook before RBAC and ABAC",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			at, _, err := c.house()
			if err != nil {
				return "", false, err
			}
			before := slices.ContainsFunc(c.chain[:at], func(l link) bool { return l.kind != "Node" && l.kind != "Webhook" })
			return "the chain is " + c.kinds(), !before, nil
		},
	},
	{
		id: "authz-match-conditions", severity: Error,
		why: "the control plane asks Gatehouse about its own nodes and service accounts: the cluster stands still while Gatehouse is down",
		fix: "add the match condition " + notSystem,
		run: onHouse(func(_ int, h hookSettings) (string, bool) {
			for _, e := range h.conditions {
				if strings.Join(strings.Fields(strings.ReplaceAll(e, `"`, `'`)), "") == notSystem {
					return "system: users are kept out", true
				}
			}
			return fmt.Sprintf("none of the %d match conditions keeps system: users out", len(h.conditions)), false
		}),
	},
	{
		id: "authz-review-version", severity: Error,
		why: "Gatehouse reads version v1 only; every request is refused",
		fix: "set subjectAccessReviewVersion: v1",
		run: onHouse(func(_ int, h hookSettings) (string, bool) {
			return "reviews are sent as " + h.reviewShape, h.reviewShape == "v1"
		}),
	},
}

func onHouse(look func(at int, h hookSettings) (string, bool)) func(context.Context, *chart) (string, bool, error) {
	return func(_ context.Context, c *chart) (string, bool, error) {
		at, hook, err := c.house()
		if err != nil {
			return "", false, err
		}
		what, good := look(at, hook)
		return what, good, nil
	}
}

// signInChecks are about who gets in at all.
var signInChecks = []check{
	{
		id: "authn-webhook", severity: Error,
		why: "nobody can sign in with a token of Gatehouse",
		fix: "set --authentication-token-webhook-config-file and --authentication-token-webhook-version=v1",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			if c.flags == nil {
				return "", false, notRead("the API server's flags are not at hand")
			}
			if c.signIn == "" {
				return "tokens are not reviewed by a webhook", false, nil
			}
			if v := c.flags["authentication-token-webhook-version"]; v != "v1" {
				return fmt.Sprintf("reviews are sent as version %q, which is v1beta1 when it is empty", v), false, nil
			}
			return "tokens are reviewed as v1", true, nil
		},
	},
	{
		id: "authn-cache", severity: Warning,
		why: "a token of a disabled user keeps its groups, by default for 2 minutes; authorization refuses him, a group he left may not",
		fix: "set --authentication-token-webhook-cache-ttl=0s",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			if c.flags == nil {
				return "", false, notRead("the API server's flags are not at hand")
			}
			if ttl(c.flags, "authentication-token-webhook-cache-ttl") {
				return "the API server remembers reviewed tokens", false, nil
			}
			return "reviewed tokens are remembered for 10 s, which no setting changes", true, nil
		},
	},
	{
		id: "authn-anonymous", severity: Warning,
		why: "requests without any identity reach authorization; one wrong binding opens the cluster to everybody on the network",
		fix: "allow anonymous requests on /livez, /readyz and /healthz only, in an AuthenticationConfiguration",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			if c.anonErr != nil {
				return "", false, c.anonErr
			}
			if !c.anon.Enabled {
				return "anonymous requests are refused", true, nil
			}
			if len(c.anon.Conditions) == 0 {
				return "anonymous requests are taken on every path", false, nil
			}
			var more []string
			for _, p := range c.anon.Conditions {
				if p.Path != joinPath && !slices.Contains(healthPaths, p.Path) {
					more = append(more, p.Path)
				}
			}
			if len(more) > 0 {
				return "anonymous requests are taken on " + strings.Join(more, ", "), false, nil
			}
			return "anonymous requests reach health checks only", true, nil
		},
	},
	{
		id: "authn-static-tokens", severity: Warning,
		why: "a token in a file belongs to nobody in the directory and is revoked by restarting the API server",
		fix: "remove --token-auth-file",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			if c.flags == nil {
				return "", false, notRead("the API server's flags are not at hand")
			}
			if f := c.flags["token-auth-file"]; f != "" {
				return "static tokens are read from " + f, false, nil
			}
			return "there are no static tokens", true, nil
		},
	},
}
