package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var moment = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// bundle is an authority that is valid until an instant.
func bundle(t testing.TB, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// ward is a pod of which everything is right, and known.
func ward(t testing.TB) *doctor.Pod {
	t.Helper()
	ca := bundle(t, moment.Add(time.Hour))
	hook := admissionv1.MutatingWebhook{Name: doctor.WebhookName, FailurePolicy: new(admissionv1.Fail), ClientConfig: admissionv1.WebhookClientConfig{CABundle: ca},
		Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
		ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{inject.UseLabel: "true"}},
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-system"}}}}}
	file := []corev1.EnvVar{{Name: "AZURE_CLIENT_ID", Value: web.ClientID.String()}, {Name: "AZURE_TENANT_ID", Value: corp.ID.String()},
		{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: "/var/run/secrets/azure/tokens/azure-identity-token"}, {Name: "AZURE_AUTHORITY_HOST", Value: "https://gatehouse.example/"}}
	return &doctor.Pod{
		Now: moment,
		Pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{inject.UseLabel: "true"}, CreationTimestamp: metav1.NewTime(moment)},
			Spec: corev1.PodSpec{ServiceAccountName: "web",
				Containers: []corev1.Container{{Name: "app", Env: file, VolumeMounts: []corev1.VolumeMount{{Name: "azure-identity-token", MountPath: "/var/run/secrets/azure/tokens", ReadOnly: true}}}},
				Volumes: []corev1.Volume{{Name: "azure-identity-token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: doctor.Exchange, Path: "azure-identity-token", ExpirationSeconds: new(int64(3600))}}}}}}},
			},
		},
		Namespace: doctor.Know(map[string]string{corev1.LabelMetadataName: "shop"}),
		Authority: doctor.Know("https://gatehouse.example"),
		Account: doctor.Account{
			Namespace: "shop", Name: "web", Estate: load(t, cred),
			Object: doctor.Know(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{inject.ClientIDAnnotation: web.ClientID.String()}}}),
			Cluster: doctor.Cluster{
				Record: resource.Cluster{Name: "aks-1", ResourceGroup: "rg", Tenant: corp.ID, OIDCIssuer: true, IssuerURL: issuer},
				Issuer: doctor.Know(issuer), Keys: doctor.Know(newSigner(t).keys), Ahead: doctor.Know(time.Second),
				Configurations: doctor.Know([]admissionv1.MutatingWebhookConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "conf", CreationTimestamp: metav1.NewTime(moment.Add(-time.Hour))}, Webhooks: []admissionv1.MutatingWebhook{hook}}}),
			},
		},
	}
}

// bare takes away what the webhook gave.
func bare(p *doctor.Pod) {
	p.Pod.Spec.Containers[0].Env, p.Pod.Spec.Containers[0].VolumeMounts, p.Pod.Spec.Volumes = nil, nil, nil
}

func setEnv(p *doctor.Pod, name, value string) {
	for i, v := range p.Pod.Spec.Containers[0].Env {
		if v.Name == name {
			p.Pod.Spec.Containers[0].Env[i].Value = value
		}
	}
}

func account(p *doctor.Pod) *corev1.ServiceAccount {
	sa, _ := p.Account.Object.Get()
	return sa
}

func hook(p *doctor.Pod) *admissionv1.MutatingWebhook {
	all, _ := p.Account.Cluster.Configurations.Get()
	return &all[0].Webhooks[0]
}

func TestPods(t *testing.T) {
	t.Parallel()
	const right, wrong, unseen = doctor.Right, doctor.Wrong, doctor.NotEvaluated
	for _, tt := range []struct {
		law    string
		change func(*doctor.Pod)
		check  string
		want   doctor.Verdict
		says   string
	}{
		{"a pod that is right in all", func(*doctor.Pod) {}, "subject", right, "system:serviceaccount:shop:web"},
		{"no label", func(p *doctor.Pod) { p.Pod.Labels = nil; bare(p) }, "label", wrong, "asks for no identity"},
		{"a label that is no text of true", func(p *doctor.Pod) { p.Pod.Labels[inject.UseLabel] = "True"; bare(p) }, "label", wrong, "letter case"},
		{"the label on the account", func(p *doctor.Pod) { account(p).Labels = map[string]string{inject.UseLabel: "true"} }, "label-place", wrong, "where nobody looks"},
		{"a pod made before the webhook", func(p *doctor.Pod) { bare(p); p.Pod.CreationTimestamp = metav1.NewTime(moment.Add(-2 * time.Hour)) }, "webhook-missed", wrong, "before the webhook at"},
		{"a namespace that is left out", func(p *doctor.Pod) {
			bare(p)
			p.Namespace = doctor.Know(map[string]string{corev1.LabelMetadataName: "kube-system"})
		}, "webhook-missed", wrong, "leaves out the namespace"},
		{"a webhook that is not there", func(p *doctor.Pod) {
			p.Account.Cluster.Configurations = doctor.Know([]admissionv1.MutatingWebhookConfiguration{})
		}, "webhook", wrong, "no configuration has"},
		{"a webhook that may be there", func(p *doctor.Pod) {
			p.Account.Cluster.Configurations = doctor.Unknown[[]admissionv1.MutatingWebhookConfiguration]("forbidden")
		}, "webhook", unseen, "forbidden"},
		{"a webhook that no rule calls", func(p *doctor.Pod) { hook(p).Rules = nil }, "webhook", wrong, "no rule of it calls it"},
		{"a webhook that is called for other objects", func(p *doctor.Pod) { hook(p).Rules[0].Resources = []string{"pods/exec", "deployments"} }, "webhook", wrong, "no rule of it calls it"},
		{"a webhook that is called for other pods", func(p *doctor.Pod) { hook(p).Rules[0].Operations = []admissionv1.OperationType{admissionv1.Update} }, "webhook", wrong, "no rule of it calls it"},
		{"a webhook that is called for all", func(p *doctor.Pod) {
			hook(p).Rules[0] = admissionv1.RuleWithOperations{Operations: []admissionv1.OperationType{"*"}, Rule: admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"}}}
		}, "webhook", right, "has the webhook"},
		{"a webhook that fails open", func(p *doctor.Pod) { hook(p).FailurePolicy = new(admissionv1.Ignore) }, "failure-policy", wrong, "stay so"},
		{"an authority that has expired", func(p *doctor.Pod) { p.Now = moment.Add(2 * time.Hour) }, "webhook-authority", wrong, "valid now"},
		{"an authority of the system's", func(p *doctor.Pod) { hook(p).ClientConfig.CABundle = nil }, "webhook-authority", unseen, "not seen from here"},
		{"an account that is gone", func(p *doctor.Pod) { p.Account.Object = doctor.Know[*corev1.ServiceAccount](nil) }, "service-account", wrong, "no such service account"},
		{"an account that may not be read", func(p *doctor.Pod) { p.Account.Object = doctor.Unknown[*corev1.ServiceAccount]("forbidden") }, "service-account", unseen, "forbidden"},
		{"and then nobody knows what the pod should have", func(p *doctor.Pod) { p.Account.Object = doctor.Unknown[*corev1.ServiceAccount]("forbidden") }, "injected", unseen, "forbidden"},
		{"an account without an identity, which one trusts", func(p *doctor.Pod) { account(p).Annotations = nil; bare(p) }, "client-id", wrong, "managed identity web trusts it"},
		{"an object id for a client id", func(p *doctor.Pod) { setEnv(p, "AZURE_CLIENT_ID", web.ID.String()) }, "client-id", wrong, "whose client id is"},
		{"an object id is mended with the client id that goes with it", func(p *doctor.Pod) { setEnv(p, "AZURE_CLIENT_ID", web.ID.String()) }, "client-id", wrong, inject.ClientIDAnnotation + "=" + web.ClientID.String()},
		{"a slip in the annotation's name", func(p *doctor.Pod) {
			account(p).Annotations = map[string]string{"azure.workload.identity/ClientID": web.ClientID.String()}
			p.Account.Estate = load(t)
			bare(p)
		}, "client-id", wrong, "nobody looks at its annotation azure.workload.identity/ClientID"},
		{"a label in place of the annotation", func(p *doctor.Pod) {
			account(p).Annotations, account(p).Labels = nil, map[string]string{inject.ClientIDAnnotation: web.ClientID.String()}
			p.Account.Estate = load(t)
			bare(p)
		}, "client-id", wrong, "nobody looks at its label azure.workload.identity/client-id"},
		{"the annotation on the pod", func(p *doctor.Pod) {
			p.Pod.Annotations, account(p).Annotations = account(p).Annotations, nil
			bare(p)
		}, "client-id-place", wrong, "belongs on the service account"},
		{"a client id that is no GUID", func(p *doctor.Pod) { setEnv(p, "AZURE_CLIENT_ID", "web") }, "client-id", wrong, "no GUID"},
		{"a client id that nobody has", func(p *doctor.Pod) { setEnv(p, "AZURE_CLIENT_ID", "99999999-0000-4000-8000-000000000099") }, "client-id", wrong, "no application and no managed identity"},
		{"a client id that somebody may have whom one may not see", func(p *doctor.Pod) {
			setEnv(p, "AZURE_CLIENT_ID", "99999999-0000-4000-8000-000000000099")
			account(p).Annotations[inject.ClientIDAnnotation] = "99999999-0000-4000-8000-000000000099"
			p.Account.Estate.Unread = "no right"
		}, "client-id", unseen, "no right"},
		{"an annotation that came after the pod", func(p *doctor.Pod) {
			account(p).Annotations[inject.ClientIDAnnotation] = "99999999-0000-4000-8000-000000000099"
		}, "client-id-differs", wrong, "has 99999999"},
		{"another tenant", func(p *doctor.Pod) { setEnv(p, "AZURE_TENANT_ID", "99999999-0000-4000-8000-000000000099") }, "tenant", wrong, "another tenant"},
		{"two containers in two tenants", func(p *doctor.Pod) {
			second := *p.Pod.Spec.Containers[0].DeepCopy()
			second.Name = "other"
			second.Env[1].Value = "99999999-0000-4000-8000-000000000099"
			p.Pod.Spec.Containers = append(p.Pod.Spec.Containers, second)
		}, "tenant", unseen, "in which one tenant"},
		{"no tenant", func(p *doctor.Pod) { setEnv(p, "AZURE_TENANT_ID", "") }, "tenant", unseen, "in which one tenant"},
		{"a variable from elsewhere", func(p *doctor.Pod) { p.Pod.Spec.Containers[0].Env[0].ValueFrom = new(corev1.EnvVarSource) }, "variable", unseen, "comes from elsewhere"},
		{"another address than the house's", func(p *doctor.Pod) { setEnv(p, "AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/") }, "authority", unseen, "another name of this house"},
		{"the address without its slash", func(p *doctor.Pod) { setEnv(p, "AZURE_AUTHORITY_HOST", "https://gatehouse.example") }, "authority", wrong, "trailing slash"},
		{"a token for another audience", func(p *doctor.Pod) {
			p.Pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = "AzureADTokenExchange"
		}, "audience", wrong, "missing prefix"},
		{"no credential at all", func(p *doctor.Pod) { p.Account.Estate = load(t) }, "credential", wrong, "az identity federated-credential create --name shop-web"},
		{"no credential, and a token for somebody else", func(p *doctor.Pod) {
			p.Account.Estate = load(t)
			p.Pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = "vault"
		}, "credential", wrong, "--audiences api://AzureADTokenExchange"},
		{"credentials that may not be read", func(p *doctor.Pod) { p.Account.Estate = load(t); p.Account.Estate.Unread = "no right" }, "credential", unseen, "no right"},
		{"an issuer that nobody told", func(p *doctor.Pod) { p.Account.Cluster.Issuer = doctor.Unknown[string]("forbidden") }, "issuer", unseen, "forbidden"},
		{"another cluster's API server", func(p *doctor.Pod) { p.Account.Cluster.Issuer = doctor.Know("https://other.example/") }, "oidc-issuer", wrong, "is this its API server?"},
		{"an issuer that is off", func(p *doctor.Pod) { p.Account.Cluster.Record.OIDCIssuer = false }, "oidc-issuer", wrong, "az aks update --resource-group rg --name aks-1 --enable-oidc-issuer"},
		{"an issuer without keys", func(p *doctor.Pod) { p.Account.Cluster.Keys = doctor.Know(token.ForeignKeys{}) }, "issuer-keys", wrong, "no keys"},
		{"an issuer that does not answer", func(p *doctor.Pod) { p.Account.Cluster.Keys = doctor.Unknown[token.ForeignKeys]("timeout") }, "issuer-keys", unseen, "timeout"},
		{"a clock that is ahead", func(p *doctor.Pod) { p.Account.Cluster.Ahead = doctor.Know(3 * time.Minute) }, "clock", wrong, "3m0s ahead"},
		{"a clock that is behind", func(p *doctor.Pod) { p.Account.Cluster.Ahead = doctor.Know(-3 * time.Minute) }, "clock", wrong, "3m0s behind"},
		{"a clock that nobody read", func(p *doctor.Pod) { p.Account.Cluster.Ahead = doctor.Known[time.Duration]{} }, "clock", unseen, "nobody looked"},
		{"a life that is too short", func(p *doctor.Pod) { p.Pod.Annotations = map[string]string{inject.ExpirationAnnotation: "60"} }, "admission", wrong, "token expiration 60 not valid"},
		{"the proxy on the node's network", func(p *doctor.Pod) {
			p.Pod.Spec.HostNetwork = true
			p.Pod.Annotations = map[string]string{inject.InjectProxySidecarAnnotation: "true"}
		}, "admission", wrong, "hostNetwork is set to true"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			p := ward(t)
			tt.change(p)
			found := doctor.ExaminePod(*p)
			expect(t, found, tt.check, tt.want, tt.says)
			if got := doctor.Worst(found); got != tt.want {
				t.Errorf("all in all %s, want %s: %+v", got, tt.want, found)
			}
			for _, f := range found {
				if f.Verdict == doctor.Wrong && f.About == "" || strings.TrimSpace(f.What) == "" {
					t.Errorf("a finding that says nothing: %+v", f)
				}
			}
		})
	}
}

// The tenant that the webhook writes is that of the cluster, unless the account names one.
func TestAnAccountAsksInTheTenantOfItsCluster(t *testing.T) {
	t.Parallel()
	p := ward(t)
	expect(t, doctor.ExamineAccount(p.Account), "subject", doctor.Right, subject)
	p.Account.Cluster.Record.Tenant = directory.TenantID{9}
	expect(t, doctor.ExamineAccount(p.Account), "tenant", doctor.Wrong, "another tenant")
	account(p).Annotations[inject.TenantIDAnnotation] = corp.ID.String()
	if found := doctor.ExamineAccount(p.Account); doctor.Worst(found) != doctor.Right {
		t.Errorf("an account that names the identity's tenant: %+v", found)
	}
}

// An account of the same name in another cluster is somebody else: nobody is told to
// give him the identity.
func TestNobodyIsTrustedForANameOfAnotherCluster(t *testing.T) {
	t.Parallel()
	for law, change := range map[string]func(*doctor.Cluster){
		"as its API server says": func(c *doctor.Cluster) { c.Issuer = doctor.Know("https://oidc.example/t/other/") },
		"as is recorded": func(c *doctor.Cluster) {
			c.Issuer, c.Record.IssuerURL = doctor.Known[string]{}, "https://oidc.example/t/other/"
		},
		"of which nothing is known": func(c *doctor.Cluster) { c.Issuer, c.Record.IssuerURL = doctor.Known[string]{}, "" },
	} {
		p := ward(t)
		account(p).Annotations = nil
		change(&p.Account.Cluster)
		for _, f := range doctor.ExamineAccount(p.Account) {
			if text := f.What + " " + f.Fix; strings.Contains(text, "trusts it") || strings.Contains(text, web.ClientID.String()) {
				t.Errorf("a cluster %s: %+v", law, f)
			}
		}
	}
}

// A credential for the audience of somebody else would let him be the identity, with the
// tokens that he is sent.
func TestNoFixTakesTheAudienceOfSomebodyElse(t *testing.T) {
	t.Parallel()
	other := credential("other", func(c *directory.FederatedCredential) { c.Audiences = []string{"api://one"} })
	slip := credential("slip", func(c *directory.FederatedCredential) { c.Issuer = strings.TrimSuffix(issuer, "/") })
	for law, est := range map[string]doctor.Estate{"without a credential": load(t), "with one for another audience": load(t, other), "with one of another issuer": load(t, slip)} {
		identity, _ := est.Identity(web.ClientID)
		for _, f := range est.Trust(doctor.Presented{Issuer: doctor.Know(issuer), Subject: doctor.Know(subject), Audience: doctor.Know("vault")}, identity, true) {
			if strings.Contains(f.Fix, "vault") {
				t.Errorf("%s: %s", law, f.Fix)
			}
		}
	}
}

// What a container has, or may have, from elsewhere is neither right nor wrong.
func TestWhatComesFromElsewhereIsNotEvaluated(t *testing.T) {
	t.Parallel()
	app := func(p *doctor.Pod) *corev1.Container { return &p.Pod.Spec.Containers[0] }
	whole := func(p *doctor.Pod, names ...string) {
		app(p).Env = slices.DeleteFunc(app(p).Env, func(v corev1.EnvVar) bool { return slices.Contains(names, v.Name) })
		app(p).EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: new(corev1.ConfigMapEnvSource)}}
	}
	for law, change := range map[string]func(*doctor.Pod){
		"an identity from a whole config map": func(p *doctor.Pod) { whole(p, "AZURE_CLIENT_ID"); account(p).Annotations = nil },
		"an identity from a secret": func(p *doctor.Pod) {
			app(p).Env[0].ValueFrom, account(p).Annotations = new(corev1.EnvVarSource), nil
		},
		"an identity from a whole config map, where the account has one by now": func(p *doctor.Pod) { whole(p, "AZURE_CLIENT_ID") },
		"a token file from a whole config map":                                  func(p *doctor.Pod) { whole(p, "AZURE_FEDERATED_TOKEN_FILE") },
		"the address of the house from a whole config map":                      func(p *doctor.Pod) { whole(p, "AZURE_AUTHORITY_HOST") },
		"all of them": func(p *doctor.Pod) {
			whole(p, "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST")
		},
		"no address of the house": func(p *doctor.Pod) { whole(p, "AZURE_AUTHORITY_HOST"); app(p).EnvFrom = nil },
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			p := ward(t)
			change(p)
			if found := doctor.ExaminePod(*p); doctor.Worst(found) != doctor.NotEvaluated {
				t.Errorf("%s: %+v", doctor.Worst(found), found)
			}
		})
	}
}
