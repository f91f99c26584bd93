package podid_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/podid/migrate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// deployment is one whose pods ask for an identity by pod identity.
func deployment(name, selector, more string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s, aadpodidbinding: %[2]s}}
    spec: {serviceAccountName: %[1]s, %[3]s containers: [{name: app, image: registry.example/app}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s}
---
`, name, selector, more)
}

// Story 35: a plan per workload, checked, then carried out, up to a token of the
// identity for the service account.
func TestTheWayToWorkloadIdentity(t *testing.T) {
	t.Parallel()
	web := directory.ManagedIdentity{
		ID: principal.ID(guid.MustParse[struct{}]("40000000-0000-4000-8000-0000000000f1")), ClientID: directory.AppID(guid.MustParse[struct{}](clientID)), Tenant: plane.Tenant.ID,
		Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"), DisplayName: "web",
	}
	kubelet := directory.ManagedIdentity{
		ID: principal.ID(guid.MustParse[struct{}]("40000000-0000-4000-8000-0000000000f2")), ClientID: directory.AppID(guid.MustParse[struct{}]("41000000-0000-4000-8000-0000000000f2")), Tenant: plane.Tenant.ID,
		Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/kubelet"), DisplayName: "kubelet",
	}
	s := newStage(t, plane.Options{WorkloadIdentity: true, Records: []record.Record{web, kubelet}})
	s.Change(func(c *resource.Cluster) {
		c.KubeletIdentity = resource.IdentityRef{Resource: kubelet.Resource, Object: kubelet.ID}
	})
	s.Must("", "apply", "-f", filepath.Join(plainDir, "crds.yaml"))
	s.Must("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=3m")
	s.Must(strings.ReplaceAll(identity("web", "web"), resourceID, plane.Group+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"), "-n", "web", "apply", "-f", "-")
	s.Must(deployment("web", "web", "")+deployment("host", "web", "hostNetwork: true,"), "-n", "web", "apply", "-f", "-")
	s.Must(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "labels": {"aadpodidbinding": "web"}}, "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "image": "registry.example/app"}]}}`, "-n", "web", "create", "-f", "-")

	assertion := func() string {
		return strings.TrimSpace(s.Must("", "create", "token", "web", "-n", "web", "--audience", "api://AzureADTokenExchange"))
	}
	if code, text := s.exchange(assertion()); code == 200 || !strings.Contains(text, "AADSTS7002") {
		t.Fatalf("before, a token of the account is worth something: %d %s", code, text)
	}

	// PI-09: who may write in the namespace named the identity, and has nothing by that.
	want := map[string]migrate.State{"Deployment web": migrate.Blocked, "Deployment host": migrate.Blocked, "Pod alone": migrate.Blocked}
	s.expect(s.migrate(1, "--apply"), want)
	if code, text := s.exchange(assertion()); code == 200 {
		t.Fatalf("a plan gives an identity that the cluster may not assign: %s", text)
	}
	s.Put(azurerbac.Assignment{ID: azurerbac.NewAssignmentID(), Scope: web.Resource, Principal: kubelet.ID,
		Role: azurerbac.DefinitionID(guid.MustParse[struct{}]("f1a07417-d97a-45cb-824c-7a7467783830"))}) // Managed Identity Operator

	want = map[string]migrate.State{"Deployment web": migrate.ToDo, "Deployment host": migrate.Blocked, "Pod alone": migrate.Blocked}
	plan := s.migrate(1, "--check")
	s.expect(plan, want)
	if out := s.Must("", "-n", "web", "get", "serviceaccount", "web", "-o", "json"); strings.Contains(out, "client-id") {
		t.Error("a check has changed something")
	}

	want["Deployment web"] = migrate.Ready
	s.expect(s.migrate(1, "--apply"), want) // 1: two are blocked
	s.Until("a new pod has workload identity, and pod identity still", func() bool {
		for _, p := range plane.Get[corev1.PodList](s.Plane, "-n", "web", "pods", "-l", "app=web").Items {
			if p.Labels["aadpodidbinding"] != "web" {
				continue
			}
			for _, v := range p.Spec.Containers[0].Env {
				if v.Name == "AZURE_CLIENT_ID" && v.Value == clientID {
					return true
				}
			}
		}
		return false
	})
	if code, text := s.exchange(assertion()); code != 200 {
		t.Fatalf("afterwards, %d %s", code, text)
	}
	before := plane.Get[appsv1.Deployment](s.Plane, "-n", "web", "deployment", "web").Generation
	s.expect(s.migrate(1, "--apply"), want)
	if after := plane.Get[appsv1.Deployment](s.Plane, "-n", "web", "deployment", "web").Generation; after != before {
		t.Error("carried out twice, it changes the workload twice")
	}

	delete(want, "Deployment web")
	s.expect(s.migrate(1, "--finish", "--yes"), want)
	s.Must("", "-n", "web", "delete", "deployment", "host")
	s.Must("", "-n", "web", "delete", "pod", "alone", "--now")
	plan = s.migrate(0, "--check")
	s.expect(plan, nil)
	if got := strings.Join(plan.Unneeded, ", "); got != "AzureIdentity web/web, AzureIdentityBinding web/web-binding" {
		t.Errorf("nobody needs %s", got)
	}
	if code, text := s.exchange(assertion()); code != 200 {
		t.Fatalf("in the end, %d %s", code, text)
	}
}

// migrate runs the command, which must end with a code.
func (s *stage) migrate(code int, args ...string) (plan migrate.Plan) {
	s.T.Helper()
	cmd := exec.CommandContext(s.T.Context(), os.Getenv("GATEHOUSE_BIN"), append([]string{"migrate", "pod-identity", "--cluster", "wl", "--kubeconfig", filepath.Join(s.Dir, "kubeconfig"), "-o", "json"}, args...)...)
	cmd.Env = []string{"HOME=" + s.Dir, "GATEHOUSE_DIR=" + filepath.Join(s.Dir, "data")}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	ended, _ := errors.AsType[*exec.ExitError](err)
	if err != nil && ended == nil || err == nil && code != 0 || ended != nil && ended.ExitCode() != code {
		s.T.Fatalf("%v ended with %v, want %d: %s%s", args, err, code, stderr.String(), out)
	}
	if err := json.Unmarshal(out, &plan); err != nil {
		s.T.Fatalf("%v in %s", err, out)
	}
	return plan
}

// expect compares a plan's workloads and their states.
func (s *stage) expect(plan migrate.Plan, want map[string]migrate.State) {
	s.T.Helper()
	got := make(map[string]migrate.State)
	for _, way := range plan.Workloads {
		got[way.Kind+" "+way.Name] = way.State
		s.T.Logf("%s %s: %v %v", way.Workload, way.State, way.Steps, way.Blocks)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.T.Fatalf("workloads %v, want %v", got, want)
	}
}

// exchange asks for a token of the identity by a token of a service account.
func (s *stage) exchange(assertion string) (int, string) {
	s.T.Helper()
	res, err := s.Client().PostForm(s.House.Authority()+"/"+plane.Tenant.ID.String()+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "scope": {"https://management.azure.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}})
	if err != nil {
		s.T.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Text string `json:"error_description"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		s.T.Fatal(err)
	}
	return res.StatusCode, answer.Text
}
