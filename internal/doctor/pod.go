package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/inject"
)

// A Pod is what is known of a pod that exists.
type Pod struct {
	Now     time.Time
	Pod     *corev1.Pod
	Account Account
	// Namespace are the labels of the pod's namespace.
	Namespace Known[map[string]string]
	// Authority is the URL of the house, without a slash.
	Authority Known[string]
}

// ExaminePod says whether a pod gets tokens, from its label to the credential that
// takes its token.
func ExaminePod(p Pod) []Finding {
	f := &findings{about: fmt.Sprintf("pod %s/%s", p.Pod.Namespace, p.Pod.Name)}
	p.label(f)
	p.place(f)
	p.injected(f)
	p.binding(f)
	p.admitted(f)
	p.network(f)
	if inject.Wanted(p.Pod) {
		p.authority(f)
	}
	f.all = append(f.all, p.identity()...)
	f.all = append(f.all, ExamineCluster(p.Account.Cluster, p.Now)...)
	return f.all
}

// identity says whether what the pod asks for is there, and trusts its account. What
// the pod asks for counts, and not what its account says by now.
func (p Pod) identity() []Finding {
	all := ExamineAccount(p.Account)
	client, tenant, ok := p.asks()
	if sa, known := p.Account.Object.Get(); !ok && known && sa != nil && sa.Annotations[inject.ClientIDAnnotation] == "" && p.elsewhere("AZURE_CLIENT_ID") {
		return append(upTo(all, "client-id"), Finding{Check: "client-id", About: fmt.Sprintf("pod %s/%s", p.Pod.Namespace, p.Pod.Name),
			What: "the service account names no identity, and whether the containers have one from elsewhere was not looked at"})
	}
	if !ok {
		return all
	}
	all = append(upTo(all, "client-id"), p.Account.identity(client, tenant, &p)...)
	if tenant == "" {
		all = append(all, Finding{Check: "tenant", About: fmt.Sprintf("pod %s/%s", p.Pod.Namespace, p.Pod.Name), What: "the containers do not say in which one tenant they ask"})
	}
	return all
}

// upTo are the findings before the first of a check.
func upTo(all []Finding, check string) []Finding {
	for i, x := range all {
		if x.Check == check {
			return all[:i:i]
		}
	}
	return all
}

func (p Pod) label(f *findings) {
	if inject.Wanted(p.Pod) {
		f.right("label", "the pod has the label %s", inject.UseLabel)
		return
	}
	value, labelled := p.Pod.Labels[inject.UseLabel]
	what := "the pod does not have the label, and asks for no identity"
	if labelled {
		what = `the label has a value that does not count; only "true" does`
	}
	f.add(Finding{Check: "label", Verdict: Wrong, What: what, Got: value, Want: "true", Differ: Compare(value, "true"), Fix: podLabel})
}

// place finds a client id on the pod, where nobody looks, when its account has none.
func (p Pod) place(f *findings) {
	sa, _ := p.Account.Object.Get()
	client := p.Pod.Annotations[inject.ClientIDAnnotation]
	if client == "" || sa == nil || sa.Annotations[inject.ClientIDAnnotation] != "" {
		return
	}
	f.add(Finding{Check: "client-id-place", Verdict: Wrong, Got: client, Fix: p.Account.annotate(Quote(client)),
		What: "the annotation " + inject.ClientIDAnnotation + " is on the pod, where nobody looks; it belongs on the service account"})
}

// injected takes over what package inject finds, save for what is said otherwise.
func (p Pod) injected(f *findings) {
	sa, known := p.Account.Object.Get()
	if !known {
		f.unseen("injected", "without the service account it is not known what the pod should have: %s", p.Account.Object.Why())
		return
	}
	found := inject.Missing(p.Pod, sa)
	if len(found) == 0 && inject.Wanted(p.Pod) {
		f.right("injected", "its containers have the variables and the token")
	}
	for _, x := range found {
		out := Finding{Check: x.ID, Verdict: Wrong, What: x.What, Fix: x.Fix}
		if x.Container != "" {
			out.What = "container " + x.Container + ": " + x.What
		}
		switch x.ID {
		case inject.LabelValue, inject.LabelMissing, inject.NoServiceAccount, inject.NoClientID:
			continue // label, service-account and client-id say so
		case inject.NotEvaluated:
			out.Check, out.Verdict = "variable", NotEvaluated
		case inject.WebhookMissed:
			out.What += p.missed()
		}
		f.add(out)
	}
}

// binding says whether a pod that asks for an identity binding was given the token
// that the token proxy takes.
func (p Pod) binding(f *findings) {
	audience, known := p.audience().Get()
	if !p.asksBinding() || !inject.Wanted(p.Pod) || !known || audience == inject.BindingAudience {
		return
	}
	f.add(Finding{Check: CheckBinding, Verdict: Wrong, Got: audience, Want: inject.BindingAudience,
		What: "the pod asks for an identity binding, and its token is not for the token proxy: the annotation was set after the pod was made, or the cluster has no token proxy",
		Fix:  "delete the pod, so that its controller makes it again"})
}

// missed says why the webhook did not see a pod that asks.
func (p Pod) missed() string {
	c := p.Account.Cluster
	if _, known := c.Configurations.Get(); !known {
		return ""
	}
	conf, hook := c.registered()
	if hook == nil {
		return "; it is not installed"
	}
	if made, installed := p.Pod.CreationTimestamp.Time, conf.CreationTimestamp.Time; made.Before(installed) {
		return fmt.Sprintf("; the pod was made at %s, before the webhook at %s", made.UTC().Format(time.RFC3339), installed.UTC().Format(time.RFC3339))
	}
	ns, known := p.Namespace.Get()
	if !known {
		return ""
	}
	switch in, of := selects(hook, ns, p.Pod.Labels); {
	case !in:
		return "; its configuration leaves out the namespace " + p.Pod.Namespace
	case !of:
		return "; its configuration leaves out pods with these labels"
	}
	return "; the label was set after the pod was made, or the webhook was away"
}

// admitted says whether the pod would be created again as it is, with the label.
func (p Pod) admitted(f *findings) {
	sa, known := p.Account.Object.Get()
	if !known || sa == nil {
		return
	}
	again := p.Pod.DeepCopy()
	if again.Labels == nil {
		again.Labels = make(map[string]string)
	}
	again.Labels[inject.UseLabel] = "true"
	conf := inject.Config{Tenant: p.Account.Cluster.Record.Tenant.String(), AuthorityHost: "https://authority.invalid/"}
	if _, err := inject.Patch(again, sa, conf); err != nil {
		f.wrong("admission", "change the annotation or the template that it names", "the webhook refuses to make this pod again: %v", err)
	}
}

func (p Pod) network(f *findings) {
	if !p.Pod.Spec.HostNetwork {
		return
	}
	f.right("host-network", "the pod is on the network of its node: the exchange of its token works there, and the metadata service answers it as the node")
}

// literal is the value of a variable that the containers have; false if they have
// several, none, or one that comes from elsewhere.
func (p Pod) literal(name string) (string, bool) {
	value, found := "", false
	for _, c := range p.Pod.Spec.Containers {
		for _, v := range c.Env {
			if v.Name != name {
				continue
			}
			if v.ValueFrom != nil || strings.Contains(v.Value, "$(") || found && v.Value != value {
				return "", false
			}
			value, found = v.Value, true
		}
	}
	return value, found
}

// elsewhere reports whether the containers have a variable, or may have it, whose value
// is not in the pod.
func (p Pod) elsewhere(name string) bool {
	for i, c := range p.Pod.Spec.Containers {
		if inject.MayComeFromWhole(&p.Pod.Spec.Containers[i], name) {
			return true
		}
		for _, v := range c.Env {
			if v.Name == name && (v.ValueFrom != nil || strings.Contains(v.Value, "$(")) {
				return true
			}
		}
	}
	return false
}

func (p Pod) authority(f *findings) {
	value, ok := p.literal("AZURE_AUTHORITY_HOST")
	if !ok {
		const file = "AZURE_FEDERATED_TOKEN_FILE"
		if slices.ContainsFunc(p.Pod.Spec.Containers, func(c corev1.Container) bool {
			return inject.MayComeFromWhole(&c, file) || slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == file })
		}) { // else the webhook missed them all, which is said
			f.unseen("authority", "the containers do not say at which one address they ask for tokens")
		}
		return
	}
	house, known := p.Authority.Get()
	switch want := house + "/"; {
	case !known:
		f.add(Finding{Check: "authority", What: "whether this address leads to the house is not known: " + p.Authority.Why(), Got: value})
	case value == want:
		f.add(Finding{Check: "authority", Verdict: Right, What: "it asks this house for its tokens", Got: value})
	case Compare(value, want).Slip():
		f.add(Finding{Check: "authority", Verdict: Wrong, What: "the address of the house is written wrongly", Got: value, Want: want, Differ: Compare(value, want), Fix: "take the variable out of the template of the pod"})
	default:
		f.add(Finding{Check: "authority", What: "it asks another address for its tokens, which may be another name of this house", Got: value, Want: want, Differ: Compare(value, want)})
	}
}

// asks is what the pod asks for: whose token, and in which tenant. False when its
// containers do not agree or do not say.
func (p Pod) asks() (client, tenant string, ok bool) {
	client, ok = p.literal("AZURE_CLIENT_ID")
	tenant, _ = p.literal("AZURE_TENANT_ID")
	return client, tenant, ok && client != ""
}

// Client is the client id that the pod asks for, in whichever way; "" for none.
func (p Pod) Client() string {
	if client, _, ok := p.asks(); ok {
		return client
	}
	sa, _ := p.Account.Object.Get()
	if sa == nil {
		return ""
	}
	return sa.Annotations[inject.ClientIDAnnotation]
}

// audience is that of the token in the pod, where the webhook mounts it or, if it
// mounts none, anywhere; tokens for the API server name no audience.
func (p Pod) audience() Known[string] {
	var ours, all []string
	for _, v := range p.Pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken == nil || s.ServiceAccountToken.Audience == "" {
				continue
			}
			all = append(all, s.ServiceAccountToken.Audience)
			if strings.HasPrefix(v.Name, "azure-") {
				ours = append(ours, s.ServiceAccountToken.Audience)
			}
		}
	}
	if len(ours) > 0 {
		all = ours
	}
	if len(all) != 1 {
		return Unknown[string]("the pod has %s that could be exchanged", count(len(all), "token"))
	}
	return Know(all[0])
}
