package live

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

func newKubeconfig(env *cli.Env) *cobra.Command {
	var (
		admin        bool
		plugin, file string
		sign         cluster.SignIn
		ca           string
	)
	cmd := &cobra.Command{
		Use:   "kubeconfig CLUSTER",
		Short: "Write a kubeconfig for a cluster",
		Long: `Write a kubeconfig for a cluster. It holds no secret: kubectl signs its user in
when it needs a token, with this program (--plugin gatehouse) or with Microsoft's
kubelogin (--plugin kubelogin).

With --admin it holds a certificate of a local administrator instead, good for a
day, which the cluster accepts without sign-in; who got it is in the audit log.`,
		Example: `  gatehouse kubeconfig aks-1 > aks-1.kubeconfig
  gatehouse kubeconfig aks-1 --plugin kubelogin --login devicecode
  gatehouse kubeconfig aks-2 --admin --file admin.kubeconfig`,
		Args: cobra.ExactArgs(1),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			src, err := cli.Source(cmd, env)
			if err != nil {
				return err
			}
			est, err := src.Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			rec, err := findCluster(est, args[0])
			if err != nil {
				return err
			}
			var text []byte
			if admin {
				c, err := dial(cmd.Context(), env.Getenv, cli.Server(cmd, env))
				if err != nil {
					return err
				}
				if text, err = c.AdminKubeconfig(cmd.Context(), rec.Scope); err != nil {
					return err
				}
			} else {
				if rec.Endpoint == "" {
					return fmt.Errorf("cluster %s has no API server yet: start it with gatehouse up, or attach it with gatehouse cluster attach", rec.Name)
				}
				if !rec.EntraSignIn {
					return fmt.Errorf("nobody signs in to cluster %s: its Entra sign-in is off; use --admin", rec.Name)
				}
				exec, err := plugged(env, cmd, rec, plugin, sign, ca)
				if err != nil {
					return err
				}
				text = cluster.UserKubeconfig(cluster.Endpoint{Name: rec.Name, ResourceGroup: rec.ResourceGroup,
					Server: rec.Endpoint, CA: []byte(rec.CertificateAuthority)}, exec)
			}
			if file == "" || file == "-" {
				_, err = env.Stdout.Write(text)
				return err
			}
			if err := os.WriteFile(file, text, 0o600); err != nil {
				return err
			}
			fmt.Fprintf(env.Stderr, "wrote %s\n", file)
			return nil
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&admin, "admin", false, "a local administrator's certificate instead of sign-in")
	f.StringVar(&plugin, "plugin", "gatehouse", "program that signs in: gatehouse or kubelogin")
	f.StringVar(&sign.Method, "login", "", "how it signs in: devicecode (default), interactive, ropc, spn")
	f.StringVar(&ca, "ca-file", "", "`file` of the authority that signed the house's certificate (default that of the data directory)")
	f.StringVar(&file, "file", "", "`file` to write, readable by you alone (default standard output)")
	return cmd
}

func plugged(env *cli.Env, cmd *cobra.Command, rec resource.Cluster, plugin string, sign cluster.SignIn, ca string) (cluster.Exec, error) {
	sign.Authority, sign.Tenant = cli.Server(cmd, env), rec.Tenant
	if sign.Authority == "" {
		return cluster.Exec{}, cli.Usage("a kubeconfig needs a running house: name it with --server")
	}
	if op, err := house.ReadOperator(DataDir(env.Getenv).Operator()); ca == "" && err == nil && op.Authority == sign.Authority {
		ca = op.CA
	}
	if ca != "" {
		sign.Env = map[string]string{"SSL_CERT_FILE": ca}
	}
	switch plugin {
	case "gatehouse":
		path, err := self()
		if err != nil {
			return cluster.Exec{}, err
		}
		return cluster.GatehouseCredential(path, sign), nil
	case "kubelogin":
		exec := cluster.Kubelogin(sign)
		if path := env.Getenv("GATEHOUSE_KUBELOGIN"); path != "" {
			exec.Command = path
		}
		return exec, nil
	}
	return cluster.Exec{}, cli.Usage("--plugin %s is no program that signs in: want gatehouse or kubelogin", plugin)
}

// findCluster finds a cluster by name or scope.
func findCluster(est *estate.Snapshot, name string) (resource.Cluster, error) {
	var names []string
	var found []resource.Cluster
	for c := range est.Clusters() {
		if strings.EqualFold(c.Name, name) || c.Scope.String() == strings.ToLower(name) {
			found = append(found, c)
		}
		names = append(names, c.Name)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		hint := "there are none"
		if len(names) > 0 {
			hint = "there are " + strings.Join(names, ", ")
		}
		if near := nearest.Names(name, func(yield func(string) bool) {
			for _, n := range names {
				if !yield(n) {
					return
				}
			}
		}, 1); near != nil {
			hint = fmt.Sprintf("did you mean %s? %s", near[0], hint)
		}
		return resource.Cluster{}, cli.Usage("no cluster is called %q: %s", name, hint)
	}
	return resource.Cluster{}, cli.Usage("%d clusters are called %q: name one by its scope, such as %s", len(found), name, found[0].Scope)
}
