package live

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/signin"
)

// execCredential is what kubectl expects on standard output
// (client.authentication.k8s.io/v1).
type execCredential struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Status     struct {
		Token               string    `json:"token"`
		ExpirationTimestamp time.Time `json:"expirationTimestamp"`
	} `json:"status"`
}

func newCredential(env *cli.Env) *cobra.Command {
	c := signin.Config{}
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "Get a token for kubectl (an exec credential plugin)",
		Long: `Get a token for kubectl. kubectl runs this command when a kubeconfig written by
gatehouse kubeconfig says so; it takes the same settings as kubelogin get-token.
Tokens are kept in a folder that only you can read, until they end.

Secrets come from the environment: AZURE_USERNAME and AZURE_PASSWORD for
--login ropc, AZURE_CLIENT_SECRET for --login spn.`,
		Example: `  gatehouse credential --authority-host https://127.0.0.1:8443/ --tenant-id 7e4e3500-0000-4000-8000-000000000001 \
    --server-id 6dae42f8-4368-4678-94ff-3960e28e3630 --client-id 80faf920-1908-4b52-b5ef-a8e7bedfc67a`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			c.Tell, c.Now, c.Asker = env.Stderr, env.Now, parent()
			if c.Cache == "" {
				c.Cache = tokenCache(DataDir(env.Getenv))
			}
			if c.CAFile == "" {
				c.CAFile = env.Getenv("SSL_CERT_FILE")
			}
			c.Username, c.Password = env.Getenv("AZURE_USERNAME"), env.Getenv("AZURE_PASSWORD")
			c.ClientSecret = env.Getenv("AZURE_CLIENT_SECRET")
			tok, err := signin.Token(cmd.Context(), c)
			if err != nil {
				return err
			}
			out := execCredential{APIVersion: "client.authentication.k8s.io/v1", Kind: "ExecCredential"}
			if v := askedVersion(env.Getenv("KUBERNETES_EXEC_INFO")); v != "" {
				out.APIVersion = v
			}
			out.Status.Token, out.Status.ExpirationTimestamp = tok.AccessToken, tok.Expiry.UTC().Truncate(time.Second)
			return json.NewEncoder(env.Stdout).Encode(out)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&c.Authority, "authority-host", "", "`URL` of the token service")
	f.StringVar(&c.Tenant, "tenant-id", "", "`id` of the tenant")
	f.StringVar(&c.ClientID, "client-id", "", "`id` of the client application")
	f.StringVar(&c.Resource, "server-id", "", "`id` of the application that the token is for")
	f.StringVar(&c.Method, "login", signin.DeviceCode, "how to sign in: devicecode, interactive, ropc or spn")
	f.StringVar(&c.CAFile, "ca-file", "", "`file` of the authority that signed the token service's certificate (default $SSL_CERT_FILE)")
	f.StringVar(&c.Cache, "cache-dir", "", "`folder` to keep tokens in (default tokens in the data directory)")
	for _, name := range []string{"authority-host", "tenant-id", "client-id", "server-id"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flags are defined above
		}
	}
	return cmd
}

// parent tells the process that runs this one from every other, later ones with
// the same number included. kubectl runs a plugin a second time when the API
// server refuses the first token, and has no way to say so.
func parent() string {
	ppid := os.Getppid()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", ppid))
	if err != nil {
		return ""
	}
	// The start time is the 22nd field (proc(5)); the second may hold blanks.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return ""
	}
	return fmt.Sprintf("%d:%s", ppid, fields[19])
}

// askedVersion is the API version that kubectl asks for in KUBERNETES_EXEC_INFO.
func askedVersion(info string) string {
	var ask struct {
		APIVersion string `json:"apiVersion"`
	}
	if json.Unmarshal([]byte(info), &ask) != nil {
		return ""
	}
	switch ask.APIVersion {
	case "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1":
		return ask.APIVersion
	}
	return ""
}

// self is the path of this program, for kubeconfigs.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}
