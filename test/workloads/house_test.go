package workloads_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

const (
	clientID = "11111111-2222-4333-8444-555555555555"
	mutation = "azure-wi-webhook-mutating-webhook-configuration"
)

const accounts = `
apiVersion: v1
kind: ServiceAccount
metadata:
  name: web
  annotations: {azure.workload.identity/client-id: ` + clientID + `}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: short
  annotations: {azure.workload.identity/service-account-token-expiration: "60"}
`

// podOf is a manifest; labels and annotations are the inside of braces.
func podOf(name, labels, annotations, spec string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: {%s}, annotations: {%s}}\nspec: {containers: [{name: app, image: registry.example/app}], %s}\n", name, labels, annotations, spec)
}

const asks = `azure.workload.identity/use: "true"`

func env(c corev1.Container) (names []string) {
	for _, v := range c.Env {
		names = append(names, v.Name)
	}
	return names
}

// mutated says what is wrong with a pod that should have its identity.
func mutated(pod corev1.Pod) error {
	for _, c := range pod.Spec.Containers {
		if got := strings.Join(env(c), " "); got != "AZURE_CLIENT_ID AZURE_TENANT_ID AZURE_FEDERATED_TOKEN_FILE AZURE_AUTHORITY_HOST" || c.Env[0].Value != clientID {
			return fmt.Errorf("container %s has the variables %s", c.Name, got)
		}
	}
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "azure-identity-token" })
	if i < 0 || pod.Spec.Volumes[i].Projected == nil {
		return fmt.Errorf("no volume: %+v", pod.Spec.Volumes)
	}
	if tok := pod.Spec.Volumes[i].Projected.Sources[0].ServiceAccountToken; tok == nil || tok.Audience != inject.DefaultAudience || *tok.ExpirationSeconds != 3600 {
		return fmt.Errorf("no token: %+v", tok)
	}
	if found := inject.Missing(&pod, nil); len(found) != 1 || found[0].ID != inject.NoServiceAccount {
		return fmt.Errorf("found %+v", found)
	}
	return nil
}

// A cluster of the house that has workload identity switched on.
func TestTheHouseMutatesPodsOfItsClusters(t *testing.T) {
	t.Parallel()
	p := newStage(t, true)
	p.Must("", "create", "namespace", "shop")
	p.Must(accounts, "-n", "shop", "apply", "-f", "-")

	t.Run("a pod that asks has its identity when it is created", func(t *testing.T) {
		p := p.in(t)
		p.Must(podOf("asks", asks, "", "serviceAccountName: web"), "-n", "shop", "apply", "-f", "-")
		pod := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", "asks")
		if err := mutated(pod); err != nil {
			t.Error(err)
		}
		if got := pod.Spec.Containers[0].Env[1].Value; got != plane.Tenant.ID.String() {
			t.Errorf("the tenant is %s", got)
		}
		if got := pod.Spec.Containers[0].Env[3].Value; got != p.House.Authority()+"/" {
			t.Errorf("the authority host is %s", got)
		}
	})

	t.Run("AD-02 a pod that does not ask is created as it is", func(t *testing.T) {
		p := p.in(t)
		p.Must(podOf("plain", "", "", "serviceAccountName: web")+"---\n"+podOf("nearly", `azure.workload.identity/use: "True"`, "", "serviceAccountName: web"), "-n", "shop", "apply", "-f", "-")
		for _, name := range []string{"plain", "nearly"} {
			if pod := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", name); len(pod.Spec.Containers[0].Env) > 0 {
				t.Errorf("%s: %+v", name, pod.Spec)
			}
		}
	})

	t.Run("AD-07 a trial says what would become of it", func(t *testing.T) {
		p := p.in(t)
		out := p.Must(podOf("trial", asks, "", "serviceAccountName: web"), "-n", "shop", "create", "--dry-run=server", "-o", "yaml", "-f", "-")
		if !strings.Contains(out, "AZURE_FEDERATED_TOKEN_FILE") {
			t.Error(out)
		}
	})

	t.Run("what cannot be given an identity is refused, and kubectl says why", func(t *testing.T) {
		p := p.in(t)
		for _, tt := range []struct{ law, manifest, want string }{
			{"a life that is too short", podOf("bad", asks, `azure.workload.identity/service-account-token-expiration: "60"`, "serviceAccountName: web"),
				`(BadRequest): error when creating "STDIN": admission webhook "mutation.azure-workload-identity.io" denied the request: token expiration 60 not valid. Expected value to be between 3600 and 86400`},
			{"a life in the service account that is too short", podOf("bad", asks, "", "serviceAccountName: short"), "see the annotation azure.workload.identity/service-account-token-expiration of the service account"},
			{"AD-06 another volume in our place", podOf("bad", asks, "", "serviceAccountName: web, volumes: [{name: x, emptyDir: {}}], initContainers: [{name: i, image: i, volumeMounts: [{name: x, mountPath: /var/run/secrets/azure/tokens}]}]"),
				`container "i" mounts volume "x" on /var/run/secrets/azure/tokens`},
			{"the proxy on the node's network", podOf("bad", asks, `azure.workload.identity/inject-proxy-sidecar: "true"`, "serviceAccountName: web, hostNetwork: true"), "hostNetwork is set to true, cannot inject proxy sidecar"},
		} {
			out, err := p.Kubectl(tt.manifest, "-n", "shop", "create", "-f", "-")
			if err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("%s: %v: %s\nwant %s", tt.law, err, out, tt.want)
			}
		}
	})

	t.Run("the account is that of the pod's own namespace", func(t *testing.T) {
		p := p.in(t)
		p.Must("", "create", "namespace", "other")
		p.Must("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, annotations: {azure.workload.identity/client-id: other}}", "-n", "other", "apply", "-f", "-")
		p.Must(podOf("there", asks, "", "serviceAccountName: web"), "-n", "other", "apply", "-f", "-")
		if got := plane.Get[corev1.Pod](p.Plane, "-n", "other", "pod", "there").Spec.Containers[0].Env[0].Value; got != "other" {
			t.Errorf("AZURE_CLIENT_ID is %s", got)
		}
	})

	t.Run("AD-11 an account that is made with its pod counts, and so does its last change", func(t *testing.T) {
		p := p.in(t)
		for i := range 10 {
			sa := fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: new, annotations: {azure.workload.identity/client-id: id-%d}}\n---\n", i)
			name := fmt.Sprintf("new-%d", i)
			p.Must(sa+podOf(name, asks, "", "serviceAccountName: new"), "-n", "shop", "apply", "-f", "-")
			if got := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", name).Spec.Containers[0].Env[0].Value; got != fmt.Sprintf("id-%d", i) {
				t.Fatalf("AZURE_CLIENT_ID is %s in round %d", got, i)
			}
		}
	})

	t.Run("a proxy is injected where it is asked for, and the API server takes it", func(t *testing.T) {
		p := p.in(t)
		p.Must(podOf("proxied", asks, `azure.workload.identity/inject-proxy-sidecar: "true"`, "serviceAccountName: web"), "-n", "shop", "apply", "-f", "-")
		pod := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", "proxied")
		if len(pod.Spec.InitContainers) != 2 || pod.Spec.InitContainers[0].Name != "azwi-proxy" || *pod.Spec.InitContainers[0].RestartPolicy != corev1.ContainerRestartPolicyAlways {
			t.Errorf("%+v", pod.Spec.InitContainers)
		}
	})

	t.Run("AD-15 a pod that keeps the restricted standard keeps it with its identity", func(t *testing.T) {
		p := p.in(t)
		p.Must("", "create", "namespace", "strict")
		p.Must("", "label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
		p.Must(accounts, "-n", "strict", "apply", "-f", "-")
		strict := func(name, annotations string) string {
			return strings.Replace(podOf(name, asks, annotations, "serviceAccountName: web, securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}"),
				"image: registry.example/app}", "image: registry.example/app, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}", 1)
		}
		p.Must(strict("kept", ""), "-n", "strict", "create", "-f", "-")
		if err := mutated(plane.Get[corev1.Pod](p.Plane, "-n", "strict", "pod", "kept")); err != nil {
			t.Error(err)
		}
		// The proxy has to be asked for, and then the standard is what stops it.
		out, err := p.Kubectl(strict("broken", `azure.workload.identity/inject-proxy-sidecar: "true"`), "-n", "strict", "create", "-f", "-")
		if err == nil || !strings.Contains(out, "violates PodSecurity") || !strings.Contains(out, "azwi-proxy-init") {
			t.Errorf("%v: %s", err, out)
		}
	})

	t.Run("AD-03 an ephemeral container is added without a word of the webhook", func(t *testing.T) {
		p := p.in(t)
		out := p.Must("", "-n", "shop", "debug", "asks", "--image=registry.example/tools", "--container=tools", "--attach=false")
		if pod := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", "asks"); len(pod.Spec.EphemeralContainers) != 1 || len(pod.Spec.EphemeralContainers[0].Env) > 0 {
			t.Errorf("%s: %+v", out, pod.Spec.EphemeralContainers)
		}
	})

	t.Run("pods of a Deployment are mutated", func(t *testing.T) {
		p := p.in(t)
		p.Must(fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, %s}}
    spec: {serviceAccountName: web, containers: [{name: app, image: registry.example/app}]}
`, asks), "-n", "shop", "apply", "-f", "-")
		var pods corev1.PodList
		p.Until("the pod of the Deployment", func() bool {
			pods = plane.Get[corev1.PodList](p.Plane, "-n", "shop", "pods", "-l", "app=web")
			return len(pods.Items) == 1
		})
		if err := mutated(pods.Items[0]); err != nil {
			t.Error(err)
		}
	})

	t.Run("AD-08 a sidecar that a later webhook adds has the identity too", func(t *testing.T) {
		p := p.in(t)
		calls := p.mesh()
		p.Must(podOf("meshed", `mesh: "yes", `+asks, "", "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
		pod := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", "meshed")
		if len(pod.Spec.Containers) != 2 || pod.Spec.Containers[1].Name != "mesh" || calls.Load() == 0 {
			t.Fatalf("no mesh: %+v", pod.Spec.Containers)
		}
		if err := mutated(pod); err != nil {
			t.Error(err)
		}
		if n := len(pod.Spec.Volumes); n != 2 { // ours, and the one that every pod has
			t.Errorf("%d volumes: %+v", n, pod.Spec.Volumes)
		}
	})

	// AD-12. Only the URL is broken: with all of the house away, the API server
	// would let nobody in who could ask.
	t.Run("AD-12 a webhook that is away keeps out those who ask, and nobody else", func(t *testing.T) {
		p := p.in(t)
		hook := plane.Get[admissionv1.MutatingWebhookConfiguration](p.Plane, "mutatingwebhookconfiguration", mutation)
		good := *hook.Webhooks[0].ClientConfig.URL
		patch := func(url string) {
			p.Must("", "patch", "mutatingwebhookconfiguration", mutation, "--type=json", "-p", fmt.Sprintf(`[{"op":"replace","path":"/webhooks/0/clientConfig/url","value":%q}]`, url))
		}
		patch("https://127.0.0.1:1/away")
		p.Until("the API server knows", func() bool {
			out, err := p.Kubectl(podOf("away", asks, "", "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
			if err == nil {
				p.Must("", "-n", "shop", "delete", "pod", "away", "--now")
			}
			return err != nil && strings.Contains(out, `failed calling webhook "mutation.azure-workload-identity.io"`)
		})
		p.Must(podOf("unlabelled", "", "", "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
		p.Must(podOf("system", asks, "", "serviceAccountName: default"), "-n", "kube-system", "create", "-f", "-")
		patch(good)
		p.Until("the webhook is back", func() bool {
			_, err := p.Kubectl(podOf("back", asks, "", "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
			return err == nil
		})
	})

	t.Run("none of this took another start of the API server", func(t *testing.T) {
		old, err := filepath.Glob(filepath.Join(p.Dir, "data", "clusters", "*", "log", "kube-apiserver.log.old"))
		if err != nil || len(old) > 0 {
			t.Errorf("%v, %v", old, err)
		}
	})

	t.Run("switched off, pods are created as they are, and on again", func(t *testing.T) {
		p := p.in(t)
		p.Change(func(c *resource.Cluster) { c.WorkloadIdentity = false })
		p.Until("the registration is gone", func() bool {
			_, err := p.Kubectl("", "get", "mutatingwebhookconfiguration", mutation)
			return err != nil
		})
		p.Until("a pod is created as it is", func() bool {
			p.Must(podOf("without", asks, "", "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
			pod := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", "without")
			p.Must("", "-n", "shop", "delete", "pod", "without", "--now")
			return len(pod.Spec.Containers[0].Env) == 0
		})
		p.Change(func(c *resource.Cluster) { c.WorkloadIdentity = true })
		p.Until("a pod has its identity again", func() bool {
			p.Must(podOf("with", asks, "", "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
			pod := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", "with")
			p.Must("", "-n", "shop", "delete", "pod", "with", "--now")
			return mutated(pod) == nil
		})
	})
}
