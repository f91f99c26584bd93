package tour

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// A Person is one of the sample's people, at a machine of his own: a home folder
// with his kubeconfigs and his tokens.
type Person struct {
	Name string
	User directory.User
	Home string
	// Env are further variables of his environment, NAME=VALUE.
	Env []string
	// Browser is what he signs in with: it enters a code at a page, and then his
	// name and password. Nil walks the pages over HTTP.
	Browser func(ctx context.Context, page, code, user, password string) error

	stage    *Stage
	signedIn bool
}

// SignIn signs the person in for the clusters, with the plugin that kubectl runs,
// and keeps the tokens where kubectl's plugin finds them.
func (p *Person) SignIn(ctx context.Context) error {
	plugin := p.plugin()
	_, err := p.run(ctx, plugin.Command, nil, plugin.Args...)
	p.signedIn = err == nil
	return err
}

// Forget signs the person out: the next kubectl asks him to sign in again.
func (p *Person) Forget() error {
	p.signedIn = false
	return os.RemoveAll(p.tokens())
}

func (p *Person) tokens() string { return filepath.Join(p.Home, "tokens") }

// plugin is the one that gatehouse kubeconfig writes into every kubeconfig.
func (p *Person) plugin() cluster.Exec {
	return cluster.GatehouseCredential(p.stage.conf.Gatehouse, cluster.SignIn{
		Authority: p.stage.conf.API.Base, Tenant: p.User.Tenant, Env: map[string]string{"SSL_CERT_FILE": p.stage.conf.CA},
	})
}

// run runs a program as the person, who signs in when it asks for it.
func (p *Person) run(ctx context.Context, path string, env []string, args ...string) (Outcome, error) {
	return p.typing(ctx, "", path, env, args...)
}

func (p *Person) typing(ctx context.Context, stdin, path string, env []string, args ...string) (Outcome, error) {
	env = append(append([]string{"SSL_CERT_FILE=" + p.stage.conf.CA}, env...), p.Env...)
	return command{path: path, args: args, stdin: stdin, env: p.stage.environment(p.Home, p.Home, env...), approve: p.Approve}.run(ctx)
}

// Approve enters a code at the device page and signs the person in there.
func (p *Person) Approve(ctx context.Context, page, code string) error {
	if p.Browser != nil {
		return p.Browser(ctx, page, code, p.User.UserPrincipalName, p.stage.conf.Password)
	}
	b, err := NewBrowser(p.stage.http.Transport)
	if err != nil {
		return err
	}
	_, err = b.Approve(ctx, page, code, p.User.UserPrincipalName, p.stage.conf.Password)
	return err
}

// Gatehouse runs this program as the person.
func (p *Person) Gatehouse(ctx context.Context, args ...string) (Outcome, error) {
	return p.run(ctx, p.stage.conf.Gatehouse, nil, args...)
}

// Kubectl runs kubectl on a cluster as the person.
func (p *Person) Kubectl(ctx context.Context, on string, args ...string) (Outcome, error) {
	return p.KubectlWith(ctx, on, "", args...)
}

// KubectlWith is Kubectl with something to read on standard input.
func (p *Person) KubectlWith(ctx context.Context, on, stdin string, args ...string) (Outcome, error) {
	file := filepath.Join(p.Home, on+".kubeconfig")
	if _, err := os.Stat(file); err != nil {
		text := cluster.UserKubeconfig(p.stage.endpoints[on], p.plugin())
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return Outcome{}, err
		}
	}
	return p.KubectlAt(ctx, file, stdin, args...)
}

// KubectlAt is Kubectl with a kubeconfig.
func (p *Person) KubectlAt(ctx context.Context, kubeconfig, stdin string, args ...string) (Outcome, error) {
	return p.typing(ctx, stdin, p.stage.conf.Kube, []string{"KUBECONFIG=" + kubeconfig}, append([]string{"kubectl"}, args...)...)
}

// quote writes arguments as a person would type them.
func quote(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; a == "" || strings.ContainsAny(a, " *{}'\"$|&;<>") {
			words[i] = "'" + a + "'"
		}
	}
	return strings.Join(words, " ")
}
