package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// WebhookName is what the webhook of workload identity is called in its
// configuration, upstream and here.
const WebhookName = "mutation.azure-workload-identity.io"

// A Cluster is what is known of a cluster and of its API server.
type Cluster struct {
	Record resource.Cluster
	// Issuer is for what its API server signs tokens.
	Issuer Known[string]
	// Keys are those that the exchange would verify its tokens with.
	Keys Known[token.ForeignKeys]
	// Configurations are all that register webhooks which change objects.
	Configurations Known[[]admissionv1.MutatingWebhookConfiguration]
	// Ahead is how far the API server's clock is ahead of the house's.
	Ahead Known[time.Duration]
}

// ExamineCluster says whether tokens of a cluster can be exchanged, and whether its
// pods get them.
func ExamineCluster(c Cluster, now time.Time) []Finding {
	f := &findings{about: c.about()}
	c.issuing(f)
	c.clock(f)
	c.webhook(f, now)
	return f.all
}

func (c Cluster) about() string { return "cluster " + c.Record.Name }

// issuer is for what the cluster signs tokens: what its API server says, and no
// more than that.
func (c Cluster) issuing(f *findings) {
	is, known := c.Issuer.Get()
	record := c.Record.IssuerURL
	switch {
	case !known && record == "":
		f.unseen("oidc-issuer", "for which issuer the cluster signs tokens is not known: %s", c.Issuer.Why())
	case !known:
		f.unseen("oidc-issuer", "the issuer of the cluster is recorded as %s; what its API server says is not known: %s", record, c.Issuer.Why())
	case record == "":
		f.add(Finding{Check: "oidc-issuer", Verdict: Wrong, What: "the cluster's issuer of service account tokens is not recorded in the directory", Got: is, Fix: c.enable()})
	case is != record:
		f.add(Finding{Check: "oidc-issuer", Verdict: Wrong, What: "the API server signs tokens for another issuer than is recorded of the cluster; is this its API server?",
			Got: is, Want: record, Differ: Compare(is, record), Fix: "set --service-account-issuer of the API server to " + Quote(record)})
	case !c.Record.OIDCIssuer:
		f.add(Finding{Check: "oidc-issuer", Verdict: Wrong, What: "the cluster's issuer of service account tokens is off: its keys are not published", Got: is, Fix: c.enable()})
	default:
		f.add(Finding{Check: "oidc-issuer", Verdict: Right, What: "the API server signs tokens for the issuer that is recorded of the cluster", Got: is})
	}
	switch keys, known := c.Keys.Get(); {
	case !known:
		f.unseen("issuer-keys", "the keys of the issuer could not be had from here, and the house needs them: %s", c.Keys.Why())
	case keys.Len() == 0:
		f.wrong("issuer-keys", c.enable(), "the issuer has no keys: nobody can verify the cluster's tokens")
	default:
		f.right("issuer-keys", "the issuer has %s", count(keys.Len(), "key"))
	}
}

func (c Cluster) enable() string {
	if c.Record.Attached {
		return "attach the cluster with an issuer that the house can ask for its keys"
	}
	return fmt.Sprintf("az aks update --resource-group %s --name %s --enable-oidc-issuer", Quote(c.Record.ResourceGroup), Quote(c.Record.Name))
}

func (c Cluster) clock(f *findings) {
	ahead, known := c.Ahead.Get()
	switch {
	case !known:
		f.unseen("clock", "how far the clocks of the API server and the house are apart is not known: %s", c.Ahead.Why())
	case ahead > token.Leeway:
		f.wrong("clock", "set the clock of the API server", "the clock of the API server is %s ahead: the house takes its tokens for not valid yet", ahead.Round(time.Second))
	case ahead < -token.Leeway:
		f.wrong("clock", "set the clock of the API server", "the clock of the API server is %s behind: its tokens end early", (-ahead).Round(time.Second))
	default:
		f.right("clock", "the clocks of the API server and the house are less than %s apart", token.Leeway)
	}
}

// registered returns the webhook of workload identity and its configuration.
func (c Cluster) registered() (*admissionv1.MutatingWebhookConfiguration, *admissionv1.MutatingWebhook) {
	all, _ := c.Configurations.Get()
	for i := range all {
		if at := slices.IndexFunc(all[i].Webhooks, func(w admissionv1.MutatingWebhook) bool { return w.Name == WebhookName }); at >= 0 {
			return &all[i], &all[i].Webhooks[at]
		}
	}
	return nil, nil
}

func (c Cluster) webhook(f *findings, now time.Time) {
	if _, known := c.Configurations.Get(); !known {
		f.unseen("webhook", "whether the webhook of workload identity is installed is not known: %s", c.Configurations.Why())
		return
	}
	conf, hook := c.registered()
	if hook == nil {
		fix := fmt.Sprintf("gatehouse cluster set %s --workload-identity", Quote(c.Record.Name))
		if c.Record.Attached {
			fix = "helm install gatehouse deploy/helm/gatehouse-workload-identity --namespace gatehouse-system --create-namespace"
		}
		f.wrong("webhook", fix, "no configuration has the webhook %s: no pod gets an identity", WebhookName)
		return
	}
	if !slices.ContainsFunc(hook.Rules, createsPods) {
		f.wrong("webhook", "apply the configuration of the webhook again", "the configuration %s has the webhook %s, and no rule of it calls it when a pod is created", conf.Name, WebhookName)
		return
	}
	f.right("webhook", "the configuration %s has the webhook", conf.Name)
	switch p := hook.FailurePolicy; {
	case p == nil || *p == admissionv1.Fail:
		f.right("failure-policy", "a pod that asks is not created while the webhook is away")
	default:
		f.add(Finding{Check: "failure-policy", Verdict: Wrong, What: "while the webhook is away, pods are created without the identity that they ask for, and stay so",
			Got: string(*p), Want: string(admissionv1.Fail), Fix: fmt.Sprintf("set failurePolicy: Fail for %s in the MutatingWebhookConfiguration %s", WebhookName, conf.Name)})
	}
	authority(f, hook.ClientConfig.CABundle, now)
}

// createsPods reports whether a rule calls its webhook when a pod is created.
func createsPods(r admissionv1.RuleWithOperations) bool {
	has := func(list []string, all ...string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(all, s) })
	}
	create := slices.Contains(r.Operations, admissionv1.Create) || slices.Contains(r.Operations, admissionv1.OperationAll)
	return create && has(r.APIGroups, "", "*") && has(r.APIVersions, "v1", "*") && has(r.Resources, "pods", "pods/*", "*", "*/*") &&
		(r.Scope == nil || *r.Scope != admissionv1.ClusterScope)
}

// authority says whether the API server can verify the webhook's certificate.
func authority(f *findings, bundle []byte, now time.Time) {
	if len(bundle) == 0 {
		f.unseen("webhook-authority", "the configuration names no authority: the API server trusts those of its system, which are not seen from here")
		return
	}
	var last time.Time
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && !now.Before(cert.NotBefore) && cert.NotAfter.After(last) {
			last = cert.NotAfter
		}
	}
	if !now.Before(last) {
		f.wrong("webhook-authority", "let the webhook renew it, or apply its configuration again", "no authority in the webhook's configuration is valid now: the API server refuses its certificate")
		return
	}
	f.right("webhook-authority", "the authority in the webhook's configuration is valid until %s", last.UTC().Format(time.RFC3339))
}

// selects reports whether a webhook is called for objects of a namespace with these
// labels, and for an object with those.
func selects(w *admissionv1.MutatingWebhook, namespace, object map[string]string) (inNamespace, ofObject bool) {
	fits := func(s *metav1.LabelSelector, has map[string]string) bool {
		if s == nil {
			return true
		}
		sel, err := metav1.LabelSelectorAsSelector(s)
		return err == nil && sel.Matches(labels.Set(has))
	}
	return fits(w.NamespaceSelector, namespace), fits(w.ObjectSelector, object)
}
