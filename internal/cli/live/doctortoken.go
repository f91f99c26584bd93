package live

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve/issuers"
	"github.com/gatehouse-io/gatehouse/internal/token"
	"github.com/gatehouse-io/gatehouse/internal/trust"
)

func newDoctorToken(env *cli.Env) *cobra.Command {
	var private []string
	cmd := &cobra.Command{
		Use:   "token [FILE|-]",
		Short: "Say what a token is, and who takes it",
		Long: `Say of a JSON Web Token who issued it and for whom, whether it is in time, whether a
key of its issuer signed it, and who takes it: of a token of this house, which
resource, and whether its principal is enabled; of another one, such as a service
account's, which federated credentials, or which nearly and how they differ.

The token is read from a file or from standard input, never from the command line,
where everybody on the machine could read it. It is not printed, kept or sent to
anybody. The keys of an issuer outside are fetched over https; those inside the own
network need --private-issuer.`,
		Example: `  kubectl create token web -n shop --audience api://AzureADTokenExchange | gatehouse doctor token
  gatehouse doctor token - < token.txt
  gatehouse doctor token /var/run/secrets/azure/tokens/azure-identity-token -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			raw, err := readToken(env, args)
			if err != nil {
				return err
			}
			k, err := lookInto(cmd, env)
			if err != nil {
				return err
			}
			return tell(cmd, env, diagnosis{Findings: k.token(cmd.Context(), env, raw, private)})
		}),
	}
	cmd.Flags().StringSliceVar(&private, "private-issuer", nil, "`hosts` (host or host:port) of issuers in the own network that may be asked for their keys")
	return cmd
}

// jwt is what a token looks like, or the beginning of one.
var jwt = regexp.MustCompile(`^[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]*\.?`)

// readToken reads the token. No error repeats what was given: it may be one.
func readToken(env *cli.Env, args []string) (string, error) {
	var in io.Reader = env.Stdin
	if len(args) > 0 && args[0] != "-" {
		if jwt.MatchString(args[0]) {
			return "", cli.Usage("a token does not belong on the command line, where everybody on this machine can read it: give it in a file or on standard input, and take a new one")
		}
		f, err := os.Open(args[0])
		if errors.Is(err, fs.ErrNotExist) {
			return "", cli.Usage("there is no file with the name that was given")
		}
		if err != nil {
			return "", cli.Usage("the file with the token cannot be read: %w", errors.Unwrap(err))
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 2*token.MaxSize))
	if err != nil {
		return "", errors.New("the token cannot be read")
	}
	raw := strings.TrimSpace(string(text))
	if raw == "" {
		return "", cli.Usage("there is no token: give it in a file or on standard input")
	}
	return strings.TrimPrefix(raw, "Bearer "), nil
}

// token examines one token.
func (k known) token(ctx context.Context, env *cli.Env, raw string, private []string) []doctor.Finding {
	says, err := token.Inspect(raw)
	if err != nil {
		return []doctor.Finding{{Check: "readable", About: "token", Verdict: doctor.Wrong,
			What: "it is no JSON Web Token that can be read: " + strings.TrimPrefix(err.Error(), token.ErrInvalid.Error()+": "), Fix: "take the token anew, whole and without line ends"}}
	}
	t := doctor.Token{Now: env.Now(), Says: says, Estate: k.Estate, Stands: doctor.Unknown[bool]("the house was not asked")}
	tenant, ours := k.tenantOf(says.Issuer)
	t.House = ours
	for c := range k.Clusters() {
		if c.IssuerURL != "" && c.IssuerURL == says.Issuer {
			t.Cluster = c.Name
		}
	}
	switch {
	case t.House:
		t.Keys = k.houseKeys(ctx, tenant)
		t.Takers = k.takers(says.Audiences)
	default:
		t.Keys = k.keys(ctx, env, says.Issuer, says.KeyID, private)
	}
	return doctor.ExamineToken(t)
}

// tenantOf is the tenant of this house whose issuer has a URL. Under which name of
// the house it was issued does not matter: its keys come from the house itself.
func (k known) tenantOf(issuer string) (directory.TenantID, bool) {
	u, err := url.Parse(issuer)
	if err != nil {
		return directory.TenantID{}, false
	}
	for t := range k.Tenants() {
		if u.Path == "/"+t.ID.String()+"/" || u.Path == "/"+t.ID.String()+"/v2.0" {
			return t.ID, true
		}
	}
	return directory.TenantID{}, false
}

// houseKeys are the keys that the house publishes for a tenant.
func (k known) houseKeys(ctx context.Context, tenant directory.TenantID) doctor.Known[token.ForeignKeys] {
	if k.house == nil {
		return doctor.Unknown[token.ForeignKeys](offline)
	}
	text, _, err := get(ctx, k.house.HTTP, k.url+"/"+tenant.String()+"/discovery/v2.0/keys")
	if err != nil {
		return doctor.Unknown[token.ForeignKeys]("%v", err)
	}
	keys, _, err := token.ParseJWKS(text)
	if err != nil {
		return doctor.Unknown[token.ForeignKeys]("%v", err)
	}
	return doctor.Know(keys)
}

// keys are those of an issuer outside, or of a cluster that the estate has them of.
func (k known) keys(ctx context.Context, env *cli.Env, issuer, kid string, private []string) doctor.Known[token.ForeignKeys] {
	if keys, ok := issuers.Keys(k.Snapshot, issuer, env.Now()); ok {
		return doctor.Know(keys)
	}
	if k.house == nil {
		return doctor.Unknown[token.ForeignKeys](offline)
	}
	keys, err := trust.New(trust.Config{Private: private, Now: env.Now}).Keys(ctx, issuer, kid)
	if err != nil {
		return doctor.Unknown[token.ForeignKeys]("%v", err)
	}
	return doctor.Know(keys)
}

// takers are who takes a token of the house.
func (k known) takers(audiences []string) []string {
	var names []string
	for _, a := range audiences {
		app, name, ok := issue.Taker(k.Snapshot, a)
		if !ok {
			continue
		}
		names = append(names, name)
		if app == issue.KubernetesServer {
			for c := range k.Clusters() {
				if c.EntraSignIn {
					names = append(names, "cluster "+c.Name)
				}
			}
		}
	}
	return slices.Compact(names)
}
