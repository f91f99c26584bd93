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
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
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
			at, err := clusterScope(cmd, env, args[0])
			if err != nil {
				return err
			}
			url := cli.Server(cmd, env)
			if url == "" {
				return cli.Usage("a kubeconfig needs a running house: start it with gatehouse up, or name it with --server")
			}
			c, err := dial(cmd.Context(), env.Getenv, url)
			if err != nil {
				return err
			}
			var text []byte
			if admin {
				text, err = c.AdminKubeconfig(cmd.Context(), at)
			} else {
				text, err = userKubeconfig(cmd, env, c, at, plugin, sign, ca)
			}
			if err != nil {
				return err
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

// clusterScope reads the scope of a cluster, or finds it by its name among those
// that the asker may read.
func clusterScope(cmd *cobra.Command, env *cli.Env, name string) (scope.Scope, error) {
	if strings.HasPrefix(name, "/") {
		return scope.Parse(name)
	}
	src, err := cli.Source(cmd, env)
	if err != nil {
		return scope.Scope{}, err
	}
	est, err := src.Snapshot(cmd.Context())
	if err != nil {
		return scope.Scope{}, err
	}
	rec, err := findCluster(est, name)
	return rec.Scope, err
}

func userKubeconfig(cmd *cobra.Command, env *cli.Env, c *client.Client, at scope.Scope, plugin string, sign cluster.SignIn, ca string) ([]byte, error) {
	got, err := c.Access(cmd.Context(), at)
	if err != nil {
		return nil, err
	}
	if got.Endpoint == "" {
		return nil, fmt.Errorf("cluster %s has no API server yet: start it with gatehouse up, or attach it with gatehouse cluster attach", got.Name)
	}
	if !got.EntraSignIn {
		return nil, fmt.Errorf("nobody signs in to cluster %s: its Entra sign-in is off; use --admin", got.Name)
	}
	if err := sign.Tenant.UnmarshalText([]byte(got.Tenant)); err != nil {
		return nil, err
	}
	exec, err := plugged(env, c.Base, plugin, sign, ca)
	if err != nil {
		return nil, err
	}
	return cluster.UserKubeconfig(cluster.Endpoint{Name: got.Name, ResourceGroup: got.ResourceGroup,
		Server: got.Endpoint, CA: []byte(got.CertificateAuthority)}, exec), nil
}

func plugged(env *cli.Env, authority, plugin string, sign cluster.SignIn, ca string) (cluster.Exec, error) {
	sign.Authority = authority
	dir := DataDir(env.Getenv)
	if op, err := house.ReadOperator(dir.Operator()); ca == "" && err == nil && op.Authority == authority {
		ca = op.CA
	}
	if p, err := readProfile(dir); ca == "" && err == nil && p.Authority == authority {
		ca = p.CAFile
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
		hint := "there are none that you may read; name it by its scope"
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
