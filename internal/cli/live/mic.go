package live

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/control/mic"
	"github.com/gatehouse-io/gatehouse/internal/podid"
)

func newMIC(env *cli.Env) *cobra.Command {
	var conf mic.Config
	var kubeconfig string
	var clusterWide bool
	cmd := &cobra.Command{
		Use:   "mic",
		Short: "Run the controller of AAD Pod Identity inside a cluster",
		Long: `Run the managed identity controller (MIC) of AAD Pod Identity v1 inside a cluster:
it matches the pods that have the label aadpodidbinding with the AzureIdentity and
AzureIdentityBinding objects of the cluster, and writes an AzureAssignedIdentity for
each pod and identity. The node agent, gatehouse-node nmi, gives out tokens by them.

It needs nothing but the cluster's own API. Several of it may run: one of them
writes, and another goes on when it is gone.

The Helm chart and the manifests in deploy/ run it so. Logs are JSON on standard
error.`,
		Example: `  gatehouse mic
  gatehouse mic --kubeconfig admin.yaml --health-listen 127.0.0.1:9441`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) (err error) {
			if conf.Lease < 0 || conf.Relist < 0 {
				return cli.Usage("--lease and --relist are lengths of time, and none is below zero")
			}
			if clusterWide {
				conf.Mode = podid.ClusterWide
			}
			if conf.Kube, err = insideConfig(kubeconfig, "gatehouse-mic"); err != nil {
				return err
			}
			conf.Log = slog.New(slog.NewJSONHandler(env.Stderr, nil))
			klog.SetSlogLogger(conf.Log) // the client of the API server speaks there
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return mic.Run(ctx, conf)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&clusterWide, "cluster-wide", false, "let pods have identities of other namespaces too, as upstream does unless it is told --forceNamespaced")
	f.StringVar(&conf.HealthListen, "health-listen", ":9440", "`address` of /healthz and /readyz")
	f.StringVar(&kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster (default: as the pod's service account)")
	f.DurationVar(&conf.Lease, "lease", 0, "how long one that is gone keeps the others from writing (default 15s)")
	f.DurationVar(&conf.Relist, "relist", 0, "after how long all objects are read anew (default 10m)")
	return cmd
}
