package workloads_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/test/plane"
)

var update = flag.Bool("update", false, "write the plain manifests anew")

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
	name := filepath.Join(plainDir, "webhook.yaml")
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the plain manifests are not the chart any more (-chart +manifests); run with -update:\n%s", diff)
	}
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
	for _, tt := range []struct {
		law      string
		values   map[string]any
		has      []string // in what is rendered
		hasNot   []string
		refusals string // part of the error
	}{
		{law: "a tenant is enough", values: some(), has: []string{"AZURE_TENANT_ID: \"" + plane.Tenant.ID.String(), "failurePolicy: Fail", "- kube-system\n            - gatehouse-system"},
			hasNot: []string{"--token-proxy", "--client-ca", "caBundle:"}},
		{law: "a tenant is needed", values: map[string]any{}, refusals: "tenantID"},
		{law: "a tenant is an id", values: map[string]any{"tenantID": "contoso"}, refusals: "tenantID"},
		{law: "a misspelt value is found", values: some("authorityHots", "https://x/"), refusals: "authorityHots"},
		{law: "tokens are not sent in the clear", values: some("authorityHost", "http://x/"), refusals: "authorityHost"},
		{law: "the layout is one of two", values: some("layout", "azure"), refusals: "layout"},
		{law: "identity bindings", values: some("identityBinding", map[string]any{"tokenProxy": "https://p/", "caConfigMap": "c"}), has: []string{"--token-proxy=https://p/", "--token-proxy-ca=c"}},
		{law: "client certificates", values: some("clientCASecret", "api"), has: []string{"--client-ca=/client-ca/ca.crt", "secretName: api"}},
		{law: "without the policies", values: some("networkPolicy", map[string]any{"enabled": false}, "podDisruptionBudget", map[string]any{"enabled": false}), hasNot: []string{"NetworkPolicy", "PodDisruptionBudget"}},
		{law: "a budget for one replica would keep its node from being drained", values: some("replicas", 1), hasNot: []string{"PodDisruptionBudget"}},
		{law: "own images and places", values: some("image", map[string]any{"repository": "r.example/g", "tag": "7"}, "tolerations", []any{map[string]any{"operator": "Exists"}}, "proxy", map[string]any{"image": "p", "initImage": "i"}),
			has: []string{`"r.example/g:7"`, "operator: Exists", "--proxy-image=p", "--proxy-init-image=i"}},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got, err := render(t, tt.values)
			if (err != nil) != (tt.refusals != "") || err != nil && !strings.Contains(err.Error(), tt.refusals) {
				t.Fatalf("%v, want an error about %q", err, tt.refusals)
			}
			for _, part := range tt.has {
				if !strings.Contains(got, part) {
					t.Errorf("has no %q", part)
				}
			}
			for _, part := range tt.hasNot {
				if strings.Contains(got, part) {
					t.Errorf("has %q", part)
				}
			}
		})
	}
}
