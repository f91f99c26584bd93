//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/pull"
)

const pullExample = `  # in the file that the kubelet's --image-credential-provider-config names; this program is in the folder
  # that --image-credential-provider-bin-dir names
  apiVersion: kubelet.config.k8s.io/v1
  kind: CredentialProviderConfig
  providers:
    - name: gatehouse-node
      apiVersion: credentialprovider.kubelet.k8s.io/v1
      matchImages: ["*.azurecr.io"]
      defaultCacheDuration: 10m
      args: [credential-provider, --house=https://gatehouse.example:8443, --house-ca=/etc/gatehouse/ca.crt]

  # what the kubelet would get
  echo '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"teknewsimages.azurecr.io/web"}' |
    gatehouse-node credential-provider --house https://gatehouse.example:8443 --house-ca /etc/gatehouse/ca.crt`

func pullCommand() *cobra.Command {
	var conf pull.Config
	var from houseFlags
	cmd := &cobra.Command{
		Use: "credential-provider", Short: "Let the kubelet pull images with its cluster's kubelet identity",
		Long: "Answers one request of the kubelet for an image: with a token of the registry that the image is at, made of the\n" +
			"kubelet identity's, which gatehouse-node nmi has for root of its node. Nothing is stored. The identity needs the\n" +
			"role AcrPull at the registry.",
		Example: pullExample, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if conf.House, conf.HouseCA, err = from.read(); err != nil {
				return err
			}
			p, err := pull.New(conf)
			if err != nil {
				return err
			}
			return p.Serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	from.register(flags)
	flags.StringVar(&conf.Socket, "nmi-socket", "/run/gatehouse/nmi.sock", "socket of gatehouse-node nmi (--host-token-socket)")
	flags.StringToStringVar(&conf.Registries, "registry", nil, "HOST=NAME: images at HOST are those of the registry NAME of the house; NAME.azurecr.io needs no saying. Can be given again")
	return cmd
}
