package inject_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/inject"
)

const client = "11111111-2222-4333-8444-555555555555"

func account(annotations ...string) *corev1.ServiceAccount {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Annotations: map[string]string{inject.ClientIDAnnotation: client}}}
	for i := 0; i < len(annotations); i += 2 {
		sa.Annotations[annotations[i]] = annotations[i+1]
	}
	return sa
}

// admitted is a pod as the webhook leaves it.
func admitted(t *testing.T, sa *corev1.ServiceAccount, change func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop", Labels: map[string]string{inject.UseLabel: "true"}},
		Spec: corev1.PodSpec{ServiceAccountName: "web", InitContainers: []corev1.Container{{Name: "migrate"}},
			Containers: []corev1.Container{{Name: "app"}, {Name: "log"}}},
	}
	if change != nil {
		change(pod)
	}
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := mutate(t, text, sa, usual())
	if err != nil {
		t.Fatal(err)
	}
	pod = new(corev1.Pod)
	if err := json.Unmarshal(out, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func annotate(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{key: value} }
}

func label(labels map[string]string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = labels }
}

func TestMissing(t *testing.T) {
	t.Parallel()
	has, none := account(), account(inject.ClientIDAnnotation, "")
	setEnv := func(v corev1.EnvVar) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Containers[0].Env = []corev1.EnvVar{v} }
	}
	whole := func(prefix string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{Prefix: prefix, ConfigMapRef: new(corev1.ConfigMapEnvSource)}}
		}
	}
	own := func(labels map[string]string, audience string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Labels = labels
			p.Spec.InitContainers, p.Spec.Containers = nil, p.Spec.Containers[:1]
			p.Spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: audience}}}}}}}
			whole("")(p)
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: "/own"}}
		}
	}
	for _, tt := range []struct {
		law    string
		before func(*corev1.Pod) // what its author wrote
		after  func(*corev1.Pod) // what became of it behind the webhook
		made   *corev1.ServiceAccount
		now    *corev1.ServiceAccount
		want   []string // id of each finding, with the container
	}{
		{law: "a pod that the webhook saw lacks nothing", made: has, now: has},
		{law: "a pod that does not ask, of an account without identity, lacks nothing", before: label(nil), made: none, now: none},
		{law: "an account with an identity, and a pod without label", before: label(nil), made: has, now: has, want: []string{"label-missing"}},
		{law: "a label that is nearly right", before: label(map[string]string{inject.UseLabel: "True"}), made: has, now: has, want: []string{"label-value"}},
		{law: "a label that is nearly right, of an account without identity", before: label(map[string]string{inject.UseLabel: "yes"}), made: none, now: none, want: []string{"label-value"}},
		{law: "a pod that was made while the webhook was away", before: label(nil), after: label(map[string]string{inject.UseLabel: "true"}), made: has, now: has, want: []string{"webhook-missed"}},
		{law: "a sidecar that came behind the webhook", after: func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mesh"})
		}, made: has, now: has, want: []string{"container-missed mesh"}},
		{law: "skipped containers lack nothing", before: annotate(inject.SkipContainersAnnotation, "log"), made: has, now: has},
		{law: "a pod all of whose containers are skipped lacks nothing", before: annotate(inject.SkipContainersAnnotation, "log;app;migrate"), made: has, now: has},
		{law: "a skipped container that is not there", before: annotate(inject.SkipContainersAnnotation, "lgo"), made: has, now: has, want: []string{"skip-unknown"}},
		{law: "the account is gone", made: has, want: []string{"no-service-account"}},
		{law: "the account got its identity later", made: none, now: has, want: []string{"client-id-differs migrate", "client-id-differs app", "client-id-differs log"}},
		{law: "the account got another identity", made: account(inject.ClientIDAnnotation, "old"), now: has, want: []string{"client-id-differs migrate", "client-id-differs app", "client-id-differs log"}},
		{law: "letter case of an identity says nothing", made: account(inject.ClientIDAnnotation, "ABC"), now: account(inject.ClientIDAnnotation, "abc")},
		{law: "nobody names an identity", before: annotate(inject.SkipContainersAnnotation, "log;migrate"), made: none, now: none, want: []string{"no-client-id app"}},
		{law: "one container names an identity of its own", before: setEnv(corev1.EnvVar{Name: "AZURE_CLIENT_ID", Value: "mine"}), made: has, now: has, want: []string{"client-id-differs app"}},
		{law: "a container that names the identity itself, of an account without", before: setEnv(corev1.EnvVar{Name: "AZURE_CLIENT_ID", Value: "mine"}), made: none, now: none, want: []string{"no-client-id migrate", "no-client-id log"}},
		{law: "the account changed its tenant", made: has, now: account(inject.TenantIDAnnotation, "other"), want: []string{"tenant-differs migrate", "tenant-differs app", "tenant-differs log"}},
		{law: "an identity from a secret is not looked at", before: setEnv(corev1.EnvVar{Name: "AZURE_CLIENT_ID", ValueFrom: new(corev1.EnvVarSource)}), made: has, now: has, want: []string{"not-evaluated app"}},
		{law: "a token file made of other variables is not looked at", before: setEnv(corev1.EnvVar{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: "$(DIR)/token"}), made: has, now: has, want: []string{"not-evaluated app"}},
		{law: "an identity from a whole config map is not looked at", before: whole(""), made: none, now: none, want: []string{"no-client-id migrate", "not-evaluated app", "no-client-id log"}},
		{law: "nor when the account got one later", before: whole("AZURE_"), made: none, now: has, want: []string{"client-id-differs migrate", "not-evaluated app", "client-id-differs log"}},
		{law: "a config map whose variables begin otherwise has no identity", before: whole("APP_"), made: none, now: none, want: []string{"no-client-id migrate", "no-client-id app", "no-client-id log"}},
		{law: "what the container has itself counts before a whole config map", before: whole(""), made: account(inject.ClientIDAnnotation, "old"), now: has, want: []string{"client-id-differs migrate", "client-id-differs app", "client-id-differs log"}},
		{law: "a tenant from a whole config map is not looked at", before: whole(""), after: func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = slices.DeleteFunc(p.Spec.Containers[0].Env, func(v corev1.EnvVar) bool { return v.Name == "AZURE_TENANT_ID" })
		}, made: account(inject.TenantIDAnnotation, "other"), now: account(inject.TenantIDAnnotation, "other"), want: []string{"not-evaluated app"}},
		{law: "a token of the author's own, named by a whole config map", before: label(nil), after: own(map[string]string{inject.UseLabel: "true"}, inject.DefaultAudience), made: has, now: has, want: []string{"not-evaluated app"}},
		{law: "the same without a label", before: label(nil), after: own(nil, inject.DefaultAudience), made: has, now: has, want: []string{"not-evaluated"}},
		{law: "a whole config map names no token that is for the API server", before: label(nil), after: own(map[string]string{inject.UseLabel: "true"}, ""), made: has, now: has, want: []string{"webhook-missed"}},
		{law: "a whole config map without a token, of a pod without label", before: label(nil), after: own(nil, ""), made: has, now: has, want: []string{"label-missing"}},
		{law: "a whole config map in a container that came behind the webhook, without the token", after: func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mesh", EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: new(corev1.ConfigMapEnvSource)}}})
		}, made: has, now: has, want: []string{"container-missed mesh"}},
		{law: "a token file where nothing is mounted", before: setEnv(corev1.EnvVar{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: "/var/run/secrets/azure/wi/token"}), made: has, now: has, want: []string{"token-not-mounted app"}},
		{law: "a neighbour of the mounted folder is not in it", before: setEnv(corev1.EnvVar{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: "/var/run/secrets/azure/tokens2/x"}), made: has, now: has, want: []string{"token-not-mounted app"}},
		{law: "a token file beside the token", before: setEnv(corev1.EnvVar{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: "/var/run/secrets/azure/tokens/token"}), made: has, now: has, want: []string{"token-not-projected app"}},
		{law: "of a variable that is there twice the last counts", after: func(p *corev1.Pod) {
			c := &p.Spec.Containers[0]
			c.Env = append(c.Env, corev1.EnvVar{Name: "AZURE_CLIENT_ID", Value: "mine"})
		}, made: has, now: has, want: []string{"client-id-differs app"}},
		{law: "a token that is never brought up to date", after: func(p *corev1.Pod) {
			c := &p.Spec.Containers[0]
			c.VolumeMounts[len(c.VolumeMounts)-1].MountPath += "/azure-identity-token"
			c.VolumeMounts[len(c.VolumeMounts)-1].SubPath = "azure-identity-token"
		}, made: has, now: has, want: []string{"token-stale app"}},
		{law: "a path in a volume that is made of variables is not looked at", after: func(p *corev1.Pod) {
			c := &p.Spec.Containers[0]
			c.VolumeMounts[len(c.VolumeMounts)-1].SubPathExpr = "$(DIR)"
		}, made: has, now: has, want: []string{"not-evaluated app"}},
		{law: "another volume over the token", after: func(p *corev1.Pod) {
			c := &p.Spec.Containers[0]
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "data", MountPath: "/var/run/secrets/azure/tokens/azure-identity-token"})
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "data"})
		}, made: has, now: has, want: []string{"token-not-projected app"}},
		{law: "a token for somebody else", after: func(p *corev1.Pod) {
			p.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = "https://kubernetes.default.svc"
		}, made: has, now: has, want: []string{"token-audience migrate", "token-audience app", "token-audience log"}},
		{law: "a token for another cloud is a token", after: func(p *corev1.Pod) {
			p.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = "api://AzureADTokenExchangeChina"
		}, made: has, now: has},
		{law: "a token of identity bindings where none are used", after: func(p *corev1.Pod) {
			p.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = inject.BindingAudience
		}, made: has, now: has, want: []string{"token-audience migrate", "token-audience app", "token-audience log"}},
		{law: "a pod that brings its own token, without a label, is its author's matter", before: func(p *corev1.Pod) {
			p.Labels = nil
			setEnv(corev1.EnvVar{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: "/own"})(p)
		}, made: has, now: has},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			pod := admitted(t, tt.made, tt.before)
			if tt.after != nil {
				tt.after(pod)
			}
			var got []string
			for _, f := range inject.Missing(pod, tt.now) {
				got = append(got, strings.TrimSpace(f.ID+" "+f.Container))
				if f.What == "" || f.Fix == "" && f.ID != inject.NotEvaluated {
					t.Errorf("%s says nothing, or no fix: %+v", f.ID, f)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// What the webhook left of the corpus lacks nothing of the webhook.
func TestNothingOfTheWebhookIsMissingBehindTheWebhook(t *testing.T) {
	t.Parallel()
	for _, f := range corpus(t) {
		sa := f.serviceAccount(t)
		out, _, err := mutate(t, f.pod(t), sa, f.config(t))
		if err != nil {
			continue
		}
		pod := new(corev1.Pod)
		if err := json.Unmarshal(out, pod); err != nil {
			t.Fatal(err)
		}
		for _, found := range inject.Missing(pod, sa) {
			switch found.ID {
			case inject.WebhookMissed, inject.ContainerMissed:
				t.Errorf("%s: %s", f.sentence(), fmt.Sprint(found))
			}
		}
	}
}
