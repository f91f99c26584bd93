package live

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/outpost"
)

// webhookFlags are the flags of gatehouse webhook.
type webhookFlags struct {
	conf                        outpost.Config
	kubeconfig, clientCA        string
	layout                      string
	proxy                       inject.Images
	binding                     inject.Binding
	tenant, authority, audience string
}

func newWebhook(env *cli.Env) *cobra.Command {
	var w webhookFlags
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Run the workload identity webhook inside a cluster",
		Long: `Run the mutating webhook of workload identity inside a cluster that the house does
not run. It needs nothing but the cluster's own API: it keeps its certificate in a
Secret, renews it, and writes its authority into the webhook's configuration.

The Helm chart and the manifests in deploy/ run it so. Logs are JSON on standard
error.

Environment:
  AZURE_TENANT_ID      when --tenant is not given
  AZURE_AUTHORITY_HOST when --authority-host is not given
  POD_NAMESPACE        when --namespace is not given`,
		Example: `  gatehouse webhook --tenant 8f6a4c1e-6c1b-4c5e-9d53-3a2b1c0d9e8f
  gatehouse webhook --tenant 8f6a4c1e-6c1b-4c5e-9d53-3a2b1c0d9e8f --authority-host https://gatehouse.example/ --kubeconfig admin.yaml --namespace system`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			if err := w.complete(env); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return w.run(ctx, slog.New(slog.NewJSONHandler(env.Stderr, nil)))
		}),
	}
	w.register(cmd)
	return cmd
}

func (w *webhookFlags) register(cmd *cobra.Command) {
	f, c := cmd.Flags(), &w.conf
	f.StringVar(&w.tenant, "tenant", "", "`id` of the tenant, for service accounts that name none")
	f.StringVar(&w.authority, "authority-host", "", "`URL` of the token service (default "+publicAuthority+")")
	f.StringVar(&w.audience, "audience", "", "`audience` of the projected tokens (default "+inject.DefaultAudience+")")
	f.StringVar(&w.layout, "layout", "aks", "where the token is in a pod, `layout` aks as AKS documents it, or reserved as upstream's v1.6.0")
	f.StringVar(&w.proxy.Sidecar, "proxy-image", "", "`image` of the proxy sidecar (default upstream's)")
	f.StringVar(&w.proxy.Init, "proxy-init-image", "", "`image` of the proxy's init container (default upstream's)")
	f.StringVar(&w.proxy.Level, "proxy-log-level", "", "log `level` of the proxy (default info)")
	f.StringVar(&w.binding.TokenProxy, "token-proxy", "", "`URL` of the token proxy of identity bindings; without it there are none")
	f.StringVar(&w.binding.SNIName, "token-proxy-sni", "", "server `name` that pods ask the token proxy for (default its host)")
	f.StringVar(&w.binding.CAConfigMap, "token-proxy-ca", "", "`name` of the config map of each pod's namespace that has the proxy's authority as ca.crt")
	f.StringVar(&c.Namespace, "namespace", "", "`namespace` that the webhook runs in")
	f.StringVar(&c.Service, "service", "gatehouse-webhook", "`name` of its Service")
	f.StringVar(&c.Secret, "secret", "gatehouse-webhook-cert", "`name` of the Secret that keeps its certificate")
	f.StringVar(&c.Configuration, "configuration", "azure-wi-webhook-mutating-webhook-configuration", "`name` of the MutatingWebhookConfiguration")
	f.StringVar(&c.Listen, "listen", ":9443", "`address` that API servers call")
	f.StringVar(&c.HealthListen, "health-listen", ":9440", "`address` of /healthz and /readyz")
	f.StringVar(&w.clientCA, "client-ca", "", "PEM `file`: answer only callers with a certificate of this authority")
	f.StringVar(&w.kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster (default: as the pod's service account)")
	f.DurationVar(&c.Linger, "linger", 10*time.Second, "how long to go on serving when told to end")
}

// publicAuthority is the token service of the public cloud.
const publicAuthority = "https://login.microsoftonline.com/"

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func (w *webhookFlags) complete(env *cli.Env) error {
	id := &w.conf.Identity
	var tenant directory.TenantID
	if err := tenant.UnmarshalText([]byte(first(w.tenant, env.Getenv("AZURE_TENANT_ID")))); err != nil || tenant.IsZero() {
		return cli.Usage("--tenant or AZURE_TENANT_ID: the id of the tenant is missing; az account show --query tenantId prints it")
	}
	authority := strings.TrimSuffix(first(w.authority, env.Getenv("AZURE_AUTHORITY_HOST"), publicAuthority), "/")
	*id = inject.Config{Tenant: tenant.String(), AuthorityHost: authority + "/", Audience: w.audience, Proxy: w.proxy}
	switch w.layout {
	case "aks":
	case "reserved":
		id.Layout = inject.LayoutReserved
	default:
		return cli.Usage("--layout %q: want aks or reserved", w.layout)
	}
	if w.binding.TokenProxy != "" {
		id.Binding = &w.binding
	} else if w.binding != (inject.Binding{}) {
		return cli.Usage("--token-proxy is missing: the other flags of the token proxy say nothing without it")
	}
	if err := id.Check(); err != nil {
		return cli.Usage("%w", err)
	}
	if w.conf.Namespace = first(w.conf.Namespace, env.Getenv("POD_NAMESPACE")); w.conf.Namespace == "" {
		return cli.Usage("--namespace or POD_NAMESPACE: the namespace that the webhook runs in is missing")
	}
	return nil
}

// insideConfig is how a program that runs inside a cluster reaches it: as the
// service account of its pod, or as a kubeconfig says.
func insideConfig(kubeconfig, agent string) (conf *rest.Config, err error) {
	if kubeconfig != "" {
		conf, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	} else {
		conf, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("the way to the cluster: %w", err)
	}
	conf.UserAgent = agent
	conf.QPS = -1 // the API server says itself when it is too much
	return conf, nil
}

func (w *webhookFlags) run(ctx context.Context, log *slog.Logger) (err error) {
	w.conf.Log = log
	if w.conf.Kube, err = insideConfig(w.kubeconfig, "gatehouse-webhook"); err != nil {
		return err
	}
	if w.clientCA != "" {
		if w.conf.ClientCA, err = os.ReadFile(w.clientCA); err != nil {
			return err
		}
	}
	return outpost.Run(ctx, w.conf)
}
