package cluster

import (
	"context"
	"net/url"

	"github.com/gatehouse-io/gatehouse/internal/inject"
)

// mutationName is what upstream calls the configuration of its webhook, which
// people look for.
const (
	mutationName    = "azure-wi-webhook-mutating-webhook-configuration"
	mutationWebhook = "mutation.azure-workload-identity.io"
	mutationPath    = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + mutationName
)

// admissionConfiguration says by which kubeconfig a plugin proves itself to its
// webhooks (apiserver.config.k8s.io/v1).
type admissionConfiguration struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Plugins    []admissionPlugin `yaml:"plugins"`
}

type admissionPlugin struct {
	Name          string                        `yaml:"name"`
	Configuration webhookAdmissionConfiguration `yaml:"configuration"`
}

type webhookAdmissionConfiguration struct {
	APIVersion     string `yaml:"apiVersion"`
	Kind           string `yaml:"kind"`
	KubeConfigFile string `yaml:"kubeConfigFile"`
}

func admission(kubeconfigFile string) admissionConfiguration {
	return admissionConfiguration{
		APIVersion: configAPIVersion, Kind: "AdmissionConfiguration",
		Plugins: []admissionPlugin{{Name: "MutatingAdmissionWebhook", Configuration: webhookAdmissionConfiguration{
			APIVersion: configAPIVersion, Kind: "WebhookAdmissionConfiguration", KubeConfigFile: kubeconfigFile,
		}}},
	}
}

// admissionKubeconfig has the cluster's certificate for the house and for no
// other webhook: kube-apiserver finds the user by host and port of the URL.
func admissionKubeconfig(server string, files webhookFiles) []byte {
	name := server
	if u, err := url.Parse(server); err == nil {
		name = u.Host
	}
	return marshal(kubeconfig{
		APIVersion: "v1", Kind: "Config",
		Users: []namedUser{{Name: name, User: kubeUser{CertFile: files.cert, KeyFile: files.key}}},
	})
}

// accountReader is the role by which the house reads the service account of a pod
// that asks for an identity, and whether a pod is on the node whose agent asks.
const accountReader = "gatehouse:service-accounts"

func accountRole() clusterRole {
	return clusterRole{
		APIVersion: rbacGroup + "/v1", Kind: "ClusterRole", Metadata: ours(accountReader),
		Rules: []roleRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts", "pods"}, Verbs: []string{"get"}}},
	}
}

// workloadJudge is the role by which the house asks who a workload is, and whether
// it may use an identity.
const workloadJudge = "gatehouse:workloads"

func judgeRole() clusterRole {
	return clusterRole{
		APIVersion: rbacGroup + "/v1", Kind: "ClusterRole", Metadata: ours(workloadJudge),
		Rules: []roleRule{
			{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
			{APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"subjectaccessreviews"}, Verbs: []string{"create"}},
		},
	}
}

// SetWorkloadIdentity makes the house mutate pods that ask for a workload
// identity, or ends that: then they are created as they are.
func (c *Cluster) SetWorkloadIdentity(ctx context.Context, on bool) error {
	api, err := c.asMaster()
	if err != nil {
		return err
	}
	defer api.close()
	return registerMutation(ctx, api, c.conf.House, on)
}

func registerMutation(ctx context.Context, api API, house House, on bool) error {
	if !on || house.PodMutation == "" {
		return api.remove(ctx, mutationPath)
	}
	return api.apply(ctx, mutationPath, mutation(house))
}

type mutatingWebhookConfiguration struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Metadata   metadata          `yaml:"metadata"`
	Webhooks   []mutatingWebhook `yaml:"webhooks"`
}

type mutatingWebhook struct {
	Name                    string        `yaml:"name"`
	ClientConfig            clientConfig  `yaml:"clientConfig"`
	Rules                   []webhookRule `yaml:"rules"`
	ObjectSelector          labelSelector `yaml:"objectSelector"`
	NamespaceSelector       labelSelector `yaml:"namespaceSelector"`
	FailurePolicy           string        `yaml:"failurePolicy"`
	MatchPolicy             string        `yaml:"matchPolicy"`
	ReinvocationPolicy      string        `yaml:"reinvocationPolicy"`
	SideEffects             string        `yaml:"sideEffects"`
	TimeoutSeconds          int           `yaml:"timeoutSeconds"`
	AdmissionReviewVersions []string      `yaml:"admissionReviewVersions"`
}

type clientConfig struct {
	URL      string     `yaml:"url"`
	CABundle base64Text `yaml:"caBundle"`
}

type webhookRule struct {
	APIGroups   []string `yaml:"apiGroups"`
	APIVersions []string `yaml:"apiVersions"`
	Resources   []string `yaml:"resources"`
	Operations  []string `yaml:"operations"`
	Scope       string   `yaml:"scope"`
}

type labelSelector struct {
	MatchLabels      map[string]string     `yaml:"matchLabels,omitempty"`
	MatchExpressions []selectorRequirement `yaml:"matchExpressions,omitempty"`
}

type selectorRequirement struct {
	Key      string   `yaml:"key"`
	Operator string   `yaml:"operator"`
	Values   []string `yaml:"values"`
}

// mutation registers the house for the creation of pods that ask. A house that
// does not answer keeps those from being created, and no others: the label is
// looked at by the API server. What is in kube-system starts without the house,
// because a cluster must be able to start.
func mutation(house House) mutatingWebhookConfiguration {
	return mutatingWebhookConfiguration{
		APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration", Metadata: ours(mutationName),
		Webhooks: []mutatingWebhook{{
			Name:         mutationWebhook,
			ClientConfig: clientConfig{URL: house.PodMutation, CABundle: house.CA},
			Rules: []webhookRule{{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
				Operations: []string{"CREATE"}, Scope: "Namespaced"}},
			ObjectSelector: labelSelector{MatchLabels: map[string]string{inject.UseLabel: "true"}},
			NamespaceSelector: labelSelector{MatchExpressions: []selectorRequirement{
				{Key: "kubernetes.io/metadata.name", Operator: "NotIn", Values: []string{"kube-system"}}}},
			FailurePolicy: "Fail", MatchPolicy: "Equivalent", ReinvocationPolicy: "IfNeeded", SideEffects: "None",
			TimeoutSeconds: 3, AdmissionReviewVersions: []string{"v1"},
		}},
	}
}
