package workloads_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// FED-21: a token of a service account outlives its pod by up to its own life. Where
// a tenant says so, the cluster that made it is asked each time, and the token ends
// with its pod and with its account.
func TestATokenEndsWithItsPodWhereATenantHasClustersAsked(t *testing.T) {
	t.Parallel()
	p := plane.Start(t, plane.Options{WorkloadIdentity: true})
	p.Must("", "create", "namespace", "shop")
	p.Must(accounts, "-n", "shop", "apply", "-f", "-")
	const exchange = "api://AzureADTokenExchange"
	p.Put(bound, directory.FederatedCredential{Owner: bound.ClientID, Name: "web", Issuer: p.Cluster().IssuerURL, Subject: "system:serviceaccount:shop:web", Audiences: []string{exchange}})
	client := p.Client()
	ask := func(assertion string) (int, string) {
		t.Helper()
		status, body, err := sent(client, p.House.Authority(), asserted(clientID, assertion))
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	good := func(law, assertion string) {
		t.Helper()
		if status, body := ask(assertion); status != http.StatusOK {
			t.Errorf("%s: %d %s", law, status, body)
		}
	}
	refused := func(law, assertion string) {
		t.Helper()
		p.Until(law, func() bool { // the API server takes some seconds to forget
			status, body := ask(assertion)
			if strings.Contains(body, "access_token") != (status == http.StatusOK) {
				t.Errorf("%s: %d %s", law, status, body)
			}
			return status == http.StatusUnauthorized && strings.Contains(body, "AADSTS700027") && strings.Contains(body, "has ended with its pod")
		})
	}
	pod := func(verb string) {
		if verb == "create" {
			p.Must(podOf("web", asks, "", "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
			return
		}
		p.Must("", "-n", "shop", "delete", "pod", "web", "--now", "--wait=true")
	}

	pod("create")
	first := serviceToken(p, "web", exchange, "web")
	good("a token of a pod", first)
	pod("delete")
	good("of a pod that is gone, until its end: nobody is asked", first)

	asking := plane.Tenant
	asking.AskClusters = true
	p.Put(asking)
	refused("a token of a pod that is gone", first)
	pod("create")
	second := serviceToken(p, "web", exchange, "web")
	good("a token of the pod that has its name now", second)
	refused("is not the one of the pod before", first)
	alone := serviceToken(p, "web", exchange, "")
	good("a token that is bound to no pod", alone)
	p.Must("", "-n", "shop", "delete", "serviceaccount", "web")
	refused("ends with its account", alone)
	p.Must(accounts, "-n", "shop", "apply", "-f", "-")
	refused("also when one is made again", alone)
	good("a token of the new account", serviceToken(p, "web", exchange, ""))
}
