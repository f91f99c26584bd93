package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// An Account is what is known of a service account.
type Account struct {
	Namespace, Name string
	// Object is the service account; nil if there is none.
	Object  Known[*corev1.ServiceAccount]
	Cluster Cluster
	Estate  Estate
	// MayUse says, by client id, whether the cluster lets the account use an identity by
	// an identity binding.
	MayUse map[string]Known[bool]
}

func (a Account) subject() string { return accountPrefix + a.Namespace + ":" + a.Name }

// presented is what a token of the account says.
func (a Account) presented(audience Known[string]) Presented {
	return Presented{Issuer: a.Cluster.Issuer, Subject: Know(a.subject()), Audience: audience}
}

// annotate is the command that names an identity in the account.
func (a Account) annotate(client string) string {
	return fmt.Sprintf("kubectl annotate serviceaccount %s -n %s %s=%s --overwrite", Quote(a.Name), Quote(a.Namespace), inject.ClientIDAnnotation, client)
}

// ExamineAccount says whether pods of a service account can get tokens.
func ExamineAccount(a Account) []Finding {
	f := &findings{about: fmt.Sprintf("service account %s/%s", a.Namespace, a.Name)}
	sa, known := a.Object.Get()
	switch {
	case !known:
		f.unseen("service-account", "the service account could not be read: %s", a.Object.Why())
		return f.all
	case sa == nil:
		f.wrong("service-account", fmt.Sprintf("kubectl create serviceaccount %s -n %s", Quote(a.Name), Quote(a.Namespace)), "there is no such service account")
		return f.all
	}
	f.right("service-account", "the service account exists")
	if value, labelled := sa.Labels[inject.UseLabel]; labelled {
		f.add(Finding{Check: "label-place", Verdict: Wrong, What: "the label " + inject.UseLabel + " is on the service account, where nobody looks; it belongs on the pod", Got: value,
			Fix: fmt.Sprintf("kubectl label serviceaccount %s -n %s %s-\n%s", Quote(a.Name), Quote(a.Namespace), inject.UseLabel, podLabel)})
	}
	client := sa.Annotations[inject.ClientIDAnnotation]
	if client == "" {
		fix, what := a.annotate("CLIENT_ID"), "the service account names no identity"
		if of, ok := a.trustedBy(); ok {
			fix = a.annotate(of.Client.String())
			what += "; " + of.String() + " trusts it"
		}
		if where, meant := miswritten(sa); meant != "" {
			fix = a.annotate(Quote(meant))
			what += "; nobody looks at its " + where
		}
		f.add(Finding{Check: "client-id", Verdict: Wrong, What: what, Fix: fix})
		return f.all
	}
	tenant, named := sa.Annotations[inject.TenantIDAnnotation]
	if home := a.Cluster.Record.Tenant; !named && !home.IsZero() {
		tenant = home.String() // what the webhook puts into the pods
	}
	f.all = append(f.all, a.identity(client, tenant, nil)...)
	return f.all
}

// miswritten finds a client id that stands in a service account where nobody looks:
// in a label, or in an annotation whose name has a slip in it.
func miswritten(sa *corev1.ServiceAccount) (where, client string) {
	if v := sa.Labels[inject.ClientIDAnnotation]; v != "" {
		return "label " + inject.ClientIDAnnotation, v
	}
	plain := func(name string) string {
		_, name, _ = strings.Cut(strings.ToLower(name), "/")
		return strings.NewReplacer("-", "", "_", "", ".", "").Replace(name)
	}
	for _, name := range slices.Sorted(maps.Keys(sa.Annotations)) {
		if v := sa.Annotations[name]; v != "" && plain(name) == plain(inject.ClientIDAnnotation) {
			return "annotation " + name, v
		}
	}
	return "", ""
}

// podLabel is what the template of a pod must have.
const podLabel = `metadata: {labels: {` + inject.UseLabel + `: "true"}}`

// identity says whether the identity that is asked for is there and trusts the
// account. tenant is the one that is asked in; "" if that is not said. pod is the one
// that asks, if there is one.
func (a Account) identity(client, tenant string, pod *Pod) []Finding {
	f := &findings{about: fmt.Sprintf("service account %s/%s", a.Namespace, a.Name)}
	i, ok := a.client(f, client)
	if !ok {
		return f.all
	}
	if tenant != "" && tenant != i.Tenant.String() {
		f.add(Finding{Check: "tenant", Verdict: Wrong, What: "the token is asked for in another tenant than the identity's", Got: tenant, Want: i.Tenant.String(), Differ: Compare(tenant, i.Tenant.String()),
			Fix: fmt.Sprintf("kubectl annotate serviceaccount %s -n %s %s=%s --overwrite", Quote(a.Name), Quote(a.Namespace), inject.TenantIDAnnotation, i.Tenant)})
	}
	f.all = append(f.all, a.trust(i, pod)...)
	return f.all
}

// trust says whether a token of the account buys one of an identity. Without a pod it
// is not known which way its pods go: either will do.
func (a Account) trust(i Identity, pod *Pod) []Finding {
	audience := Know(Exchange)
	if pod != nil {
		audience = pod.audience()
	}
	if aud, known := audience.Get(); known && aud == inject.BindingAudience {
		return a.bound(i)
	}
	found := a.Estate.Trust(a.presented(audience), i, true)
	switch {
	case Worst(found) == Right || !a.binds(i):
	case pod == nil:
		return a.bound(i)
	case !pod.asksBinding():
		found = append(found, Finding{Check: CheckBinding, About: a.Cluster.about(), Verdict: Wrong,
			What: "the cluster has an identity binding for " + i.String() + ", and the pod does not ask for it",
			Fix:  "either one more federated credential, or, in the template of the pod, metadata: {annotations: {" + inject.IdentityBindingAnnotation + `: "true"}}`})
	}
	return found
}

// trustedBy is the one identity that trusts the account. Another cluster's account of
// the same name is somebody else.
func (a Account) trustedBy() (found Identity, ok bool) {
	issuer, known := a.Cluster.Issuer.Get()
	if !known {
		issuer = a.Cluster.Record.IssuerURL
	}
	for _, i := range a.Estate.TokenHolders() {
		for _, c := range a.Estate.TrustsOf(i.Client, a.Estate.Now) {
			if fit := token.WantOf(c).Compare(issuer, a.subject(), ""); !fit.Issuer || !fit.Subject || found.Client == i.Client {
				continue
			}
			if ok {
				return Identity{}, false
			}
			found, ok = i, true
		}
	}
	return found, ok
}

func (a Account) annotateTrusted() string {
	if i, ok := a.trustedBy(); ok {
		return a.annotate(i.Client.String())
	}
	return a.annotate("CLIENT_ID")
}
