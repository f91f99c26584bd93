package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// ward are the flags by which a doctor finds a cluster.
type ward struct {
	cluster, kubeconfig, context string
	private                      []string
}

func (w *ward) register(cmd *cobra.Command, env *cli.Env) {
	f := cmd.Flags()
	f.StringVarP(&w.cluster, "cluster", "c", "", "name or scope of the `cluster`")
	f.StringVar(&w.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default that of kubectl)")
	f.StringVar(&w.context, "context", "", "`context` of the kubeconfig (default the one that leads to the cluster)")
	f.StringSliceVar(&w.private, "private-issuer", nil, "`hosts` (host or host:port) of issuers in the own network that may be asked for their keys")
	cli.CompleteFlag(cmd, env, "cluster", cli.Clusters)
}

func newDoctorPod(env *cli.Env) *cobra.Command {
	w := new(ward)
	cmd := &cobra.Command{
		Use:   "pod NAMESPACE/NAME --cluster CLUSTER",
		Short: "Say why a pod gets no token",
		Long: `Follow a pod from its label to the federated credential that takes its token: whether
the webhook gave it its variables and its token, which identity it asks for, whether
that trusts the service account, and whether the cluster's tokens can be verified.

The pod and its service account are read from the API server of a kubeconfig, with
your rights; the directory is that of the house. Nothing is changed, and no token is
read or made.`,
		Example: `  gatehouse doctor pod shop/web-7c9d --cluster aks-1
  gatehouse doctor pod shop/web-7c9d --cluster edge-1 --kubeconfig ~/.kube/edge -o json`,
		Args: cli.Exactly("NAMESPACE/NAME"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			namespace, name, err := namespaced(args[0])
			if err != nil {
				return err
			}
			p, err := w.visit(cmd, env)
			if err != nil {
				return err
			}
			pod, err := p.core.Pods(namespace).Get(cmd.Context(), name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return cli.Usage("cluster %s has no pod %s", p.record.Name, args[0])
			}
			if err != nil {
				return fmt.Errorf("read the pod: %w", err)
			}
			return tell(cmd, env, diagnosis{Findings: doctor.ExaminePod(p.pod(cmd.Context(), env, pod, p.cluster(cmd.Context(), env, w.private)))})
		}),
	}
	w.register(cmd, env)
	return cmd
}

func newDoctorAccount(env *cli.Env) *cobra.Command {
	w := new(ward)
	cmd := &cobra.Command{
		Use:     "sa NAMESPACE/NAME --cluster CLUSTER",
		Aliases: []string{"serviceaccount"},
		Short:   "Say why pods of a service account get no token",
		Long: `Say whether the identity in the annotation of a service account is there and trusts
the service account, and whether the cluster's tokens can be verified. As doctor pod,
without a pod.`,
		Example: "  gatehouse doctor sa shop/web --cluster aks-1",
		Args:    cli.Exactly("NAMESPACE/NAME"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			namespace, name, err := namespaced(args[0])
			if err != nil {
				return err
			}
			p, err := w.visit(cmd, env)
			if err != nil {
				return err
			}
			c := p.cluster(cmd.Context(), env, w.private)
			a := p.account(cmd.Context(), namespace, name, c)
			if sa, _ := a.Object.Get(); sa != nil {
				a.MayUse = p.mayUse(cmd.Context(), a, sa.Annotations[inject.ClientIDAnnotation])
			}
			found := doctor.ExamineAccount(a)
			return tell(cmd, env, diagnosis{Findings: append(found, doctor.ExamineCluster(c, env.Now())...)})
		}),
	}
	w.register(cmd, env)
	return cmd
}

func namespaced(text string) (namespace, name string, err error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return "", "", cli.Usage("%q is not of the form NAMESPACE/NAME", text)
	}
	return namespace, name, nil
}

// A place is a cluster at which a doctor has arrived.
type place struct {
	known
	record    resource.Cluster
	core      coreclient.CoreV1Interface
	admission admissionclient.AdmissionregistrationV1Interface
	subjects  authorizationclient.SubjectAccessReviewInterface
	http      *http.Client // to the API server
	server    string
}

// visit opens the directory and a way to the API server.
func (w *ward) visit(cmd *cobra.Command, env *cli.Env) (*place, error) {
	if w.cluster == "" {
		return nil, cli.Usage("say which cluster, with --cluster")
	}
	k, err := lookInto(cmd, env)
	if err != nil {
		return nil, err
	}
	p := &place{known: k}
	if p.record, err = cli.FindCluster(k.Snapshot, w.cluster); err != nil {
		return nil, err
	}
	conf, err := w.rest(p.record)
	if err != nil {
		return nil, err
	}
	conf.Timeout = askWithin
	if p.http, err = rest.HTTPClientFor(conf); err != nil {
		return nil, cli.Usage("the kubeconfig: %w", err)
	}
	p.server = strings.TrimSuffix(conf.Host, "/")
	if p.core, err = coreclient.NewForConfigAndClient(conf, p.http); err != nil {
		return nil, cli.Usage("the kubeconfig: %w", err)
	}
	if p.admission, err = admissionclient.NewForConfigAndClient(conf, p.http); err != nil {
		return nil, cli.Usage("the kubeconfig: %w", err)
	}
	authorization, err := authorizationclient.NewForConfigAndClient(conf, p.http)
	if err != nil {
		return nil, cli.Usage("the kubeconfig: %w", err)
	}
	p.subjects = authorization.SubjectAccessReviews()
	return p, nil
}

// rest finds the way to the API server of a cluster: the context that is named, or
// the one that leads there. Another cluster than was asked for is nobody's business.
func (w *ward) rest(c resource.Cluster) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = w.kubeconfig
	loaded, err := rules.Load()
	if err != nil {
		return nil, cli.Usage("the kubeconfig: %w", err)
	}
	name := w.context
	if name == "" {
		leads := func(name string) bool {
			ctx, ok := loaded.Contexts[name]
			if !ok {
				return false
			}
			to, ok := loaded.Clusters[ctx.Cluster]
			return ok && c.Endpoint != "" && strings.TrimSuffix(to.Server, "/") == strings.TrimSuffix(c.Endpoint, "/")
		}
		switch {
		case leads(loaded.CurrentContext), w.kubeconfig != "" && c.Endpoint == "":
			name = loaded.CurrentContext
		default:
			for other := range loaded.Contexts {
				if leads(other) && (name == "" || other < name) {
					name = other
				}
			}
		}
	}
	if name == "" {
		return nil, cli.Usage("no context of the kubeconfig leads to cluster %s: write one with gatehouse kubeconfig %s --file FILE and give it with --kubeconfig FILE, or name one with --context", c.Name, c.Name)
	}
	conf, err := clientcmd.NewNonInteractiveClientConfig(*loaded, name, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, cli.Usage("the kubeconfig: %w", err)
	}
	return conf, nil
}

// cluster asks the API server what there is to know about it. What it does not
// answer is not known.
func (p *place) cluster(ctx context.Context, env *cli.Env, private []string) doctor.Cluster {
	c := doctor.Cluster{Record: p.record, Issuer: p.issuer(ctx), Ahead: p.ahead(ctx)}
	if issuer, ok := c.Issuer.Get(); ok {
		c.Keys = p.keys(ctx, env, issuer, "", private)
	}
	if list, err := p.admission.MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{}); err != nil {
		c.Configurations = unknown(c.Configurations, err)
	} else {
		c.Configurations = doctor.Know(list.Items)
	}
	return c
}

func unknown[T any](_ doctor.Known[T], err error) doctor.Known[T] {
	return doctor.Unknown[T]("%v", err)
}

// issuer is for what the API server says that it signs tokens.
func (p *place) issuer(ctx context.Context) doctor.Known[string] {
	text, _, err := get(ctx, p.http, p.server+"/.well-known/openid-configuration")
	if err != nil {
		return doctor.Unknown[string]("%v", err)
	}
	var doc struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || doc.Issuer == "" {
		return doctor.Unknown[string]("the API server's discovery document names no issuer")
	}
	return doctor.Know(doc.Issuer)
}

// ahead is how far the API server's clock is ahead of the house's, by way of the
// clock of this machine.
func (p *place) ahead(ctx context.Context) doctor.Known[time.Duration] {
	if p.house == nil {
		return doctor.Unknown[time.Duration](offline)
	}
	off := func(hc *http.Client, url string) (time.Duration, error) {
		_, at, err := get(ctx, hc, url)
		return time.Until(at), err
	}
	api, err := off(p.http, p.server+"/version")
	if err != nil {
		return doctor.Unknown[time.Duration]("%v", err)
	}
	house, err := off(p.house.HTTP, p.url+"/livez")
	if err != nil {
		return doctor.Unknown[time.Duration]("%v", err)
	}
	return doctor.Know(api - house)
}

// account reads a service account.
func (p *place) account(ctx context.Context, namespace, name string, c doctor.Cluster) doctor.Account {
	a := doctor.Account{Namespace: namespace, Name: name, Cluster: c, Estate: p.Estate}
	switch sa, err := p.core.ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{}); {
	case err == nil:
		a.Object = doctor.Know(sa)
	case apierrors.IsNotFound(err):
		a.Object = doctor.Know[*corev1.ServiceAccount](nil)
	default:
		a.Object = unknown(a.Object, err)
	}
	return a
}

// pod adds to a pod what is known around it.
func (p *place) pod(ctx context.Context, env *cli.Env, pod *corev1.Pod, c doctor.Cluster) doctor.Pod {
	out := doctor.Pod{Now: env.Now(), Pod: pod, Account: p.account(ctx, pod.Namespace, inject.ServiceAccountOf(pod), c), Authority: doctor.Unknown[string](offline)}
	if p.house != nil {
		out.Authority = doctor.Know(p.url)
	}
	out.Account.MayUse = p.mayUse(ctx, out.Account, out.Client())
	if ns, err := p.core.Namespaces().Get(ctx, pod.Namespace, metav1.GetOptions{}); err != nil {
		out.Namespace = unknown(out.Namespace, err)
	} else {
		out.Namespace = doctor.Know(ns.Labels)
	}
	return out
}

// mayUse asks the API server what the token proxy will ask it: whether the account may
// use the identity with a client id. Nobody is asked where the cluster has no binding.
func (p *place) mayUse(ctx context.Context, a doctor.Account, client string) map[string]doctor.Known[bool] {
	if client == "" || len(p.record.IdentityBindings) == 0 {
		return nil
	}
	const all = "system:serviceaccounts"
	out, err := p.subjects.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + a.Namespace + ":" + a.Name, Groups: []string{all, all + ":" + a.Namespace, "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: inject.UseIdentityVerb, Group: inject.UseIdentityGroup, Resource: client},
	}}, metav1.CreateOptions{})
	if err != nil {
		return map[string]doctor.Known[bool]{client: doctor.Unknown[bool]("%v", err)}
	}
	return map[string]doctor.Known[bool]{client: doctor.Know(out.Status.Allowed && !out.Status.Denied)}
}
