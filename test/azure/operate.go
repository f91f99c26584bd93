package azure

import (
	"bytes"
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cli/live"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/signin"
)

// Operate runs a command of gatehouse as the operator of the house, in this
// process. It must succeed.
func (h *House) Operate(t *testing.T, args ...string) string {
	t.Helper()
	return h.operate(t, 0, args...)
}

// Find runs a command of gatehouse that looks for something, as the operator of the
// house, whether it finds it or not.
func (h *House) Find(t *testing.T, args ...string) string {
	t.Helper()
	return h.operate(t, 1, args...)
}

// operate runs a command whose exit code may be no higher than most.
func (h *House) operate(t *testing.T, most int, args ...string) string {
	t.Helper()
	var out, complaint bytes.Buffer
	getenv := func(name string) string {
		switch name {
		case "GATEHOUSE_DIR":
			return string(h.Dir)
		case "GATEHOUSE_SERVER":
			return h.Operator.Authority
		}
		return ""
	}
	code := cli.Main(t.Context(), args, cli.Env{Stdout: &out, Stderr: &complaint, Getenv: getenv, Dial: live.Dial(getenv)}, live.Commands()...)
	if code > most {
		t.Fatalf("gatehouse %s: exit code %d\n%s%s", strings.Join(args, " "), code, out.String(), complaint.String())
	}
	return out.String()
}

// AdminKubeconfig writes the kubeconfig of a local administrator of a cluster into
// a file of the test's own, and returns its name.
func (h *House) AdminKubeconfig(t *testing.T, cluster string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), cluster+".kubeconfig")
	h.Operate(t, "kubeconfig", cluster, "--admin", "--file", file)
	return file
}

// API is the management API, as the operator.
func (h *House) API() *client.Client {
	op := h.Operator
	return &client.Client{Base: op.Authority, HTTP: h.HTTP, Token: func(ctx context.Context) (string, error) {
		token, err := signin.Token(ctx, signin.Config{Authority: op.Authority, Tenant: op.Tenant.String(), ClientID: op.ClientID.String(),
			ClientSecret: op.Secret, Method: signin.Secret, Resource: api.Audience, CAFile: op.CA})
		if err != nil {
			return "", err
		}
		return token.AccessToken, nil
	}}
}

// Identify lets programs at the desk be managed identities, which are named as in
// gatehouse shell --identity.
func (d *Desk) Identify(t *testing.T, identities ...string) {
	t.Helper()
	session, err := d.House.API().NewIdentitySession(t.Context(), wire.NewIdentitySession{Identities: identities})
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := d.House.Dir.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	plain := (&url.URL{Scheme: "http", User: url.UserPassword("identity", session.Secret), Host: proxy}).String()
	d.Env = append(d.Env, "HTTP_PROXY="+plain, "http_proxy="+plain)
}
