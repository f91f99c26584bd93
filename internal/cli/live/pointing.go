package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/signin"
)

// A variable is one of an environment.
type variable struct{ name, value string }

// led are variables that would lead clients past the house, or make them trust
// anybody.
var led = []string{
	"ALL_PROXY", "all_proxy", "AZURE_AUTHORITY_HOST", "ARM_CLOUD_METADATA_URL", "AZURE_ENVIRONMENT",
	"MSI_ENDPOINT", "MSI_SECRET", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST",
	"AZURE_CLI_DISABLE_CONNECTION_VERIFICATION", "ADAL_PYTHON_SSL_NO_VERIFY", "NODE_TLS_REJECT_UNAUTHORIZED",
}

// A pointing is what makes unmodified clients reach one house, and nothing else.
type pointing struct {
	data   house.Dir // of the house
	proxy  string    // host:port
	ca     string    // file
	folder string    // in which clients keep what they keep

	authority string // the house's own URL
	browser   string // the person's own, if there is one

	// identity is the secret of an identity session, if there is one. Plain HTTP,
	// which only the metadata service is asked by, carries it to the proxy.
	identity string
}

// variables are those to set.
func (p pointing) variables() []variable {
	in := func(parts ...string) string { return filepath.Join(append([]string{p.folder}, parts...)...) }
	proxy, local := "http://"+p.proxy, "localhost,127.0.0.1,::1"
	plain := proxy
	if p.identity != "" {
		plain = (&url.URL{Scheme: "http", User: url.UserPassword("identity", p.identity), Host: p.proxy}).String()
	}
	vars := []variable{
		{"HTTPS_PROXY", proxy}, {"https_proxy", proxy}, {"HTTP_PROXY", plain}, {"http_proxy", plain},
		{"NO_PROXY", local}, {"no_proxy", local},
		// Nothing else can be reached, so nobody else need be trusted.
		{"REQUESTS_CA_BUNDLE", p.ca}, {"CURL_CA_BUNDLE", p.ca}, {"SSL_CERT_FILE", p.ca}, {"SSL_CERT_DIR", in("certs")},
		{"NODE_EXTRA_CA_CERTS", p.ca}, {"NODE_USE_ENV_PROXY", "1"},
		{"AZURE_CONFIG_DIR", in("azure")}, {"AZURE_CORE_COLLECT_TELEMETRY", "false"},
		{"KUBECONFIG", in("kube", "config")}, {"KUBECACHEDIR", in("kube", "cache")},
		{"XDG_CACHE_HOME", in("cache")}, // of kubelogin and the Azure SDKs
		{"GATEHOUSE_DIR", string(p.data)}, {"GATEHOUSE_SHELL", p.folder},
	}
	if p.browser != "" {
		vars = append(vars, variable{"BROWSER", filepath.Join(p.bin(), openers[0])})
	}
	return vars
}

// bin is where the folder keeps programs that come before all others.
func (p pointing) bin() string { return filepath.Join(p.folder, "bin") }

// path is what belongs before the PATH, if anything does.
func (p pointing) path() string {
	if p.browser == "" {
		return ""
	}
	return p.bin()
}

// environ is an environment with the variables set, and without those that lead
// elsewhere.
func (p pointing) environ(was []string) []string {
	set := p.variables()
	var out []string
	for _, kv := range was {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case slices.Contains(led, name), slices.ContainsFunc(set, func(v variable) bool { return v.name == name }):
		case name == "PATH" && p.browser != "":
			out = append(out, "PATH="+p.bin()+":"+strings.TrimPrefix(value, p.bin()+":"))
		default:
			out = append(out, kv)
		}
	}
	for _, v := range set {
		out = append(out, v.name+"="+v.value)
	}
	return out
}

// names are the variables that a shell has because of a pointing, in any case.
func names() []string {
	var list []string
	for _, v := range (pointing{browser: "any"}).variables() {
		list = append(list, v.name)
	}
	return list
}

// lines are for a shell: they set the variables, or take them away.
func (p pointing) lines(set bool) string {
	var b strings.Builder
	b.WriteString(`PATH=${PATH#"${GATEHOUSE_SHELL-}/bin:"}` + "\n")
	if !set {
		fmt.Fprintf(&b, "unset %s\n", strings.Join(names(), " "))
		return b.String()
	}
	for _, v := range p.variables() {
		fmt.Fprintf(&b, "export %s=%s\n", v.name, shellQuote(v.value))
	}
	if p.browser != "" {
		b.WriteString(`export PATH="$GATEHOUSE_SHELL/bin:$PATH"` + "\n")
	}
	fmt.Fprintf(&b, "unset %s\n", strings.Join(led, " "))
	return b.String()
}

// shellQuote writes a text as one word of a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// point finds the running house of the data directory and makes the folder.
func point(ctx context.Context, env *cli.Env, folder string) (pointing, error) {
	data, err := filepath.Abs(string(DataDir(env.Getenv)))
	if err != nil {
		return pointing{}, err
	}
	p := pointing{data: house.Dir(data)}
	op, err := house.ReadOperator(p.data.Operator())
	if errors.Is(err, fs.ErrNotExist) {
		return pointing{}, fmt.Errorf("there is no house in %s: start one with gatehouse up, or name its data directory in GATEHOUSE_DIR", p.data)
	}
	if err != nil {
		return pointing{}, err
	}
	p.authority = op.Authority
	if err := answers(ctx, op); err != nil {
		return pointing{}, fmt.Errorf("the house of %s does not run: start it with gatehouse up (%w)", p.data, err)
	}
	p.proxy, err = p.data.Proxy()
	if errors.Is(err, fs.ErrNotExist) {
		return pointing{}, fmt.Errorf("the house of %s runs without its proxy: start it with --proxy-listen %s", p.data, house.DefaultProxyListen)
	}
	if err != nil {
		return pointing{}, err
	}
	if p.ca, err = filepath.Abs(op.CA); err != nil {
		return pointing{}, err
	}
	if folder == "" {
		folder = p.data.Shell()
	}
	if p.folder, err = filepath.Abs(folder); err != nil {
		return pointing{}, err
	}
	for _, sub := range []string{"azure", "kube", "cache", "certs"} {
		if err := os.MkdirAll(filepath.Join(p.folder, sub), 0o700); err != nil {
			return pointing{}, err
		}
	}
	if p.browser = findBrowser(env, p.folder); p.browser != "" {
		return p, p.leadBrowser()
	}
	return p, nil
}

// answers asks a house whether it is there.
func answers(ctx context.Context, op house.Operator) error {
	hc, err := signin.Client(op.CA)
	if err != nil {
		return err
	}
	defer hc.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, op.Authority+"/livez", nil)
	if err != nil {
		return err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", op.Authority, resp.Status)
	}
	return nil
}

func newEnv(env *cli.Env) *cobra.Command {
	var (
		folder string
		unset  bool
	)
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the variables that point Azure clients at the house",
		Long: `Print, as lines for a shell, the variables with which unmodified az, kubelogin,
kubectl and Azure SDKs reach this house under the names of the public cloud, and
reach nothing else. What they keep goes into one folder.

gatehouse shell opens a shell that has them; --unset takes them away again.`,
		Example: `  eval "$(gatehouse env)"
  az login --use-device-code
  eval "$(gatehouse env --unset)"
  gatehouse env -o json`,
		Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			if unset {
				if done, err := cli.Machine(cmd, env, struct {
					Unset []string `json:"unset"`
				}{names()}); done {
					return err
				}
				_, err := fmt.Fprint(env.Stdout, pointing{}.lines(false))
				return err
			}
			p, err := point(cmd.Context(), env, folder)
			if err != nil {
				return err
			}
			set := make(map[string]string)
			for _, v := range p.variables() {
				set[v.name] = v.value
			}
			if done, err := cli.Machine(cmd, env, struct {
				Set   map[string]string `json:"set"`
				Unset []string          `json:"unset"`
				Path  string            `json:"path,omitzero"`
			}{set, led, p.path()}); done {
				return err
			}
			_, err = fmt.Fprint(env.Stdout, p.lines(true))
			return err
		}),
	}
	cmd.Flags().StringVar(&folder, "dir", "", "`folder` for what clients keep (default shell in the data directory)")
	cmd.Flags().BoolVar(&unset, "unset", false, "print what takes the variables away")
	return cmd
}
