package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/signin"
)

// A profile is who is signed in to which house; the tokens are in the cache.
type profile struct {
	Authority string `json:"authority"`
	Tenant    string `json:"tenant"`
	Method    string `json:"method"`
	CAFile    string `json:"caFile,omitempty"`
}

func profilePath(dir house.Dir) string { return filepath.Join(string(dir), "profile.json") }

func readProfile(dir house.Dir) (profile, error) {
	var p profile
	data, err := os.ReadFile(profilePath(dir))
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(data, &p)
}

func (p profile) config(dir house.Dir) signin.Config {
	return signin.Config{Authority: p.Authority, Tenant: p.Tenant, ClientID: managementClient, Resource: api.Audience,
		Method: p.Method, CAFile: p.CAFile, Cache: tokenCache(dir), Tell: os.Stderr}
}

func newLogin(env *cli.Env) *cobra.Command {
	var p profile
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in to the management API of a house",
		Long: `Sign in to the management API of a house, in a browser. Later commands act as
whoever signed in, with the rights that he has been given, instead of as the
operator of the data directory. gatehouse logout goes back.`,
		Example: `  gatehouse login --tenant teknews.cloud
  gatehouse login --server https://gatehouse.example --tenant teknews.cloud --login interactive`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			dir := DataDir(env.Getenv)
			p.Authority = strings.TrimSuffix(cli.Server(cmd, env), "/")
			op, err := house.ReadOperator(dir.Operator())
			if p.Authority == "" && err == nil {
				p.Authority = op.Authority
			}
			if p.Authority == "" {
				return cli.Usage("name the house with --server, such as --server https://gatehouse.example")
			}
			if p.CAFile == "" && err == nil && op.Authority == p.Authority {
				p.CAFile = op.CA
			}
			conf := p.config(dir)
			conf.Tell = env.Stderr
			if _, err := signin.Token(cmd.Context(), conf); err != nil {
				return err
			}
			data, err := json.Marshal(p)
			if err != nil {
				return err
			}
			if err := os.WriteFile(profilePath(dir), data, 0o600); err != nil {
				return err
			}
			c, err := dial(cmd.Context(), env.Getenv, p.Authority)
			if err != nil {
				return err
			}
			who, err := c.WhoAmI(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "signed in to %s as %s\n", p.Authority, who.Name)
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&p.Tenant, "tenant", "organizations", "`domain` or id of the tenant")
	f.StringVar(&p.Method, "login", signin.DeviceCode, "how: devicecode or interactive")
	f.StringVar(&p.CAFile, "ca-file", "", "`file` of the authority that signed the house's certificate")
	return cmd
}

func newLogout(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "logout",
		Short:   "Forget who is signed in, and all kept tokens",
		Example: `  gatehouse logout`,
		Args:    cobra.NoArgs,
		RunE: cli.Run(func(*cobra.Command, []string) error {
			dir := DataDir(env.Getenv)
			if err := os.Remove(profilePath(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			if err := os.RemoveAll(tokenCache(dir)); err != nil {
				return err
			}
			fmt.Fprintln(env.Stdout, "signed out")
			return nil
		}),
	}
}
