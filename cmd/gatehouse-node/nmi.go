//go:build linux

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatehouse-io/gatehouse/internal/nmi"
	"github.com/gatehouse-io/gatehouse/internal/nmi/steer"
	"github.com/gatehouse-io/gatehouse/internal/podid"
)

const nmiExample = `  # in a DaemonSet, as deploy/kustomize/node has it
  gatehouse-node nmi --house https://gatehouse.example:8443 --house-ca /house/ca.crt --node "$NODE_NAME"

  # without MIC
  gatehouse-node nmi --house https://gatehouse.example:8443 --node "$NODE_NAME" --operation-mode managed`

func nmiCommand() *cobra.Command {
	var f nmiFlags
	cmd := &cobra.Command{
		Use: "nmi", Short: "Answer what the pods of this node ask the metadata service (AAD Pod Identity)",
		Long: "Leads what pods of this node send to 169.254.169.254 to itself, and gives each pod tokens of the identities\n" +
			"that its cluster gives it. It must run in the network and the process namespace of the node, with the\n" +
			"capabilities NET_ADMIN and SYS_PTRACE, as root.",
		Example: nmiExample, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := f.config(slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil)))
			if err != nil {
				return err
			}
			return nmi.Run(cmd.Context(), conf)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.node, "node", os.Getenv("NODE_NAME"), "name of this node (NODE_NAME)")
	f.from.register(flags)
	flags.StringVar(&f.tokenFile, "token-file", "/var/run/secrets/gatehouse/token", "file with the token of this pod's service account for the house")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "file that says how to reach the API server; without it, as a pod of the cluster")
	flags.StringVar(&f.mode, "operation-mode", "standard", "standard: pods get what MIC assigned; managed: bindings are matched here")
	flags.BoolVar(&f.clusterWide, "cluster-wide", false, "pods of all namespaces get an identity, but for those that say that they are namespaced; as MIC is told")
	flags.IntVar(&f.created, "retry-attempts-for-created", 16, "how often an identity is looked for that MIC has not begun to assign")
	flags.IntVar(&f.assigned, "retry-attempts-for-assigned", 4, "how often more once MIC has begun")
	flags.DurationVar(&f.interval, "find-identity-retry-interval", 5*time.Second, "how long between")
	flags.StringVar(&f.atStop, "at-stop", "refuse", "what becomes of the requests of pods when this ends: refuse, or remove the rules (then they reach whatever there is). After a crash they are refused")
	flags.BoolVar(&f.blockNode, "block-node", false, "also refuse what this node itself, and pods on its network, send to the metadata address")
	flags.StringVar(&f.status, "status", "127.0.0.1:8085", "address of health (/livez, /readyz) and /metrics, on loopback")
	flags.StringVar(&f.socket, "host-token-socket", "", "Unix socket at which root of this node gets tokens of pods that it names")
	cmd.PersistentFlags().StringVar(&f.agent, "listen", "169.254.25.79:2579", "link-local address, which is put on the loopback interface, and port to answer pods at")
	cmd.RegisterFlagCompletionFunc("operation-mode", cobra.FixedCompletions([]string{"standard", "managed"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("at-stop", cobra.FixedCompletions([]string{"refuse", "remove"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(nmiRemove(&f))
	return cmd
}

func nmiRemove(f *nmiFlags) *cobra.Command {
	return &cobra.Command{
		Use: "remove", Short: "Take away the rules that an agent left on this node",
		Long: "Removes the nftables table inet " + steer.Table + " and the agent's address. Pods then reach whatever there is at the\nmetadata address: on a machine of a cloud, the identity of the machine.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := f.address()
			if err != nil {
				return err
			}
			rules, err := steer.New(steer.Config{Agent: at})
			if err != nil {
				return err
			}
			if err := rules.Remove(); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the rules are gone")
			return nil
		},
	}
}

type nmiFlags struct {
	from                                                             houseFlags
	node, tokenFile, kubeconfig, mode, atStop, status, socket, agent string
	clusterWide, blockNode                                           bool
	created, assigned                                                int
	interval                                                         time.Duration
}

func (f *nmiFlags) address() (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(f.agent)
	if err != nil {
		return at, fmt.Errorf("--listen %q is not an address with a port, as 169.254.25.79:2579", f.agent)
	}
	return at, nil
}

// config reads the flags, and the files that they name.
func (f *nmiFlags) config(log *slog.Logger) (nmi.Config, error) {
	conf := nmi.Config{
		Node: f.node, TokenFile: f.tokenFile, CreatedAttempts: f.created, AssignedAttempts: f.assigned, Interval: f.interval,
		Status: f.status, Socket: f.socket, BlockNode: f.blockNode, Log: log,
	}
	if f.node == "" {
		return conf, errors.New("the name of this node is not known: give --node, or set NODE_NAME from spec.nodeName")
	}
	var err error
	if conf.House, conf.HouseCA, err = f.from.read(); err != nil {
		return conf, err
	}
	switch f.mode {
	case "standard":
	case "managed":
		conf.Managed = true
	default:
		return conf, fmt.Errorf("--operation-mode %q is neither standard nor managed", f.mode)
	}
	switch f.atStop {
	case "refuse":
	case "remove":
		conf.RemoveAtStop = true
	default:
		return conf, fmt.Errorf("--at-stop %q is neither refuse nor remove", f.atStop)
	}
	if f.clusterWide {
		conf.Mode = podid.ClusterWide
	}
	if conf.Agent, err = f.address(); err != nil {
		return conf, err
	}
	if f.kubeconfig != "" {
		conf.Kube, err = clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	} else {
		conf.Kube, err = rest.InClusterConfig()
	}
	if err != nil {
		return conf, fmt.Errorf("how to reach the API server is not known: %w; run this as a pod of the cluster, or give --kubeconfig", err)
	}
	conf.Kube.QPS = -1 // looks are one at a time; the API server says itself when it is too much
	conf.Kube.UserAgent = "gatehouse-node"
	return conf, nil
}
