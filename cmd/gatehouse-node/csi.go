//go:build linux

package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/csi"
)

const csiExample = `  # in a DaemonSet, beside the Secrets Store CSI driver, whose provider socket is on the node
  gatehouse-node csi --house https://gatehouse.example:8443 --house-ca /house/ca.crt --socket /etc/kubernetes/secrets-store-csi-providers/azure.sock`

func csiCommand() *cobra.Command {
	conf := csi.Config{Version: "1.0.0"}
	var from houseFlags
	var socket string
	cmd := &cobra.Command{
		Use: "csi", Short: "Give the Secrets Store CSI driver what a SecretProviderClass asks for",
		Long: "Answers the driver at a Unix socket, as its provider azure: reads secrets, keys and certificates of vaults as the\n" +
			"identity that the class names, by useVMManagedIdentity, usePodIdentity or clientID (workload identity).",
		Example: csiExample, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if conf.House, conf.HouseCA, err = from.read(); err != nil {
				return err
			}
			conf.Log = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			p, err := csi.New(conf)
			if err != nil {
				return err
			}
			return p.Serve(cmd.Context(), socket)
		},
	}
	flags := cmd.Flags()
	from.register(flags)
	flags.StringVar(&socket, "socket", "/etc/kubernetes/secrets-store-csi-providers/azure.sock", "Unix socket at which the driver asks")
	flags.StringVar(&conf.Authority, "authority", "", "URL of the token service, if it is not the house's own")
	flags.StringVar(&conf.Vaults, "vaults", "", "URL below which vaults are found by name, if it is not the house's own")
	flags.StringVar(&conf.Metadata, "metadata", "http://169.254.169.254", "URL of the node's metadata service, for useVMManagedIdentity")
	flags.StringVar(&conf.PodIdentity, "nmi-socket", "", "socket of gatehouse-node nmi (--host-token-socket), for usePodIdentity")
	return cmd
}
