package workloads_test

import (
	"path/filepath"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/plane"
)

const (
	chartDir = "../../deploy/helm/gatehouse-workload-identity"
	plainDir = "../../deploy/kustomize/workload-identity"
	system   = "gatehouse-system"
	// nobody is the tenant in the plain manifests: the webhook refuses to start with it.
	nobody = "00000000-0000-0000-0000-000000000000"
)

// render is what helm template prints.
func render(t *testing.T, values map[string]any) (string, error) {
	t.Helper()
	return plane.Render(t, chartDir, system, values)
}

func TestThePlainManifestsAreTheChart(t *testing.T) {
	t.Parallel()
	want, err := render(t, map[string]any{"tenantID": nobody})
	if err != nil {
		t.Fatal(err)
	}
	plane.SameManifests(t, map[string]string{filepath.Join(plainDir, "webhook.yaml"): want})
}

func TestTheChartKnowsItsValues(t *testing.T) {
	t.Parallel()
	some := func(more ...any) map[string]any {
		v := map[string]any{"tenantID": plane.Tenant.ID.String()}
		for i := 0; i < len(more); i += 2 {
			v[more[i].(string)] = more[i+1]
		}
		return v
	}
	plane.CheckValues(t, chartDir, system, []plane.Rendering{
		{Law: "a tenant is enough", Values: some(), Has: []string{"AZURE_TENANT_ID: \"" + plane.Tenant.ID.String(), "failurePolicy: Fail", "- kube-system\n            - gatehouse-system"},
			HasNot: []string{"--token-proxy", "--client-ca", "caBundle:"}},
		{Law: "a tenant is needed", Values: map[string]any{}, Refused: "tenantID"},
		{Law: "a tenant is an id", Values: map[string]any{"tenantID": "contoso"}, Refused: "tenantID"},
		{Law: "a misspelt value is found", Values: some("authorityHots", "https://x/"), Refused: "authorityHots"},
		{Law: "tokens are not sent in the clear", Values: some("authorityHost", "http://x/"), Refused: "authorityHost"},
		{Law: "the layout is one of two", Values: some("layout", "azure"), Refused: "layout"},
		{Law: "identity bindings", Values: some("identityBinding", map[string]any{"tokenProxy": "https://p/", "caConfigMap": "c"}), Has: []string{"--token-proxy=https://p/", "--token-proxy-ca=c"}},
		{Law: "client certificates", Values: some("clientCASecret", "api"), Has: []string{"--client-ca=/client-ca/ca.crt", "secretName: api"}},
		{Law: "AD-14: only the API server's addresses reach the webhook, and every kubelet the health checks", Values: some("networkPolicy", map[string]any{"apiServerCIDRs": []any{"10.0.0.4/32", "fd00::/64"}}),
			Has: []string{"- port: webhook\n      from:\n        - ipBlock: {cidr: \"10.0.0.4/32\"}\n        - ipBlock: {cidr: \"fd00::/64\"}\n    - ports:\n        - port: health\n  egress"}},
		{Law: "AD-14: an address that is none would let in nobody, or everybody", Values: some("networkPolicy", map[string]any{"apiServerCIDRs": []any{"everybody"}}), Refused: "apiServerCIDRs"},
		{Law: "without the policies", Values: some("networkPolicy", map[string]any{"enabled": false}, "podDisruptionBudget", map[string]any{"enabled": false}), HasNot: []string{"NetworkPolicy", "PodDisruptionBudget"}},
		{Law: "a budget for one replica would keep its node from being drained", Values: some("replicas", 1), HasNot: []string{"PodDisruptionBudget"}},
		{Law: "own images and places", Values: some("image", map[string]any{"repository": "r.example/g", "tag": "7"}, "tolerations", []any{map[string]any{"operator": "Exists"}}, "proxy", map[string]any{"image": "p", "initImage": "i"}),
			Has: []string{`"r.example/g:7"`, "operator: Exists", "--proxy-image=p", "--proxy-init-image=i"}},
	})
}
