package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

// A dial is what a kubeconfig says about reaching one server.
type dial struct {
	server   string
	ca       []byte
	cert     []byte // PEM, nil without a client certificate
	key      []byte
	token    string
	insecure bool
	exec     bool
}

// readDial returns what the current context of a kubeconfig says. Files that it
// names are read by readFile.
func readDial(text []byte, readFile func(string) ([]byte, error)) (dial, error) {
	var conf kubeconfig
	if err := yaml.Unmarshal(text, &conf); err != nil {
		return dial{}, fmt.Errorf("kubeconfig: %w", err)
	}
	var d dial
	var found bool
	for _, ctx := range conf.Contexts {
		if ctx.Name != conf.CurrentContext {
			continue
		}
		for _, c := range conf.Clusters {
			if c.Name == ctx.Context.Cluster {
				found = true
				d.server, d.insecure = c.Cluster.Server, c.Cluster.InsecureSkipVerify
				if err := either(&d.ca, c.Cluster.CAData, c.Cluster.CAFile, readFile); err != nil {
					return dial{}, err
				}
			}
		}
		for _, u := range conf.Users {
			if u.Name == ctx.Context.User {
				d.token, d.exec = u.User.Token, u.User.Exec != nil
				if err := errors.Join(either(&d.cert, u.User.CertData, u.User.CertFile, readFile), either(&d.key, u.User.KeyData, u.User.KeyFile, readFile)); err != nil {
					return dial{}, err
				}
			}
		}
	}
	if !found || d.server == "" {
		return dial{}, fmt.Errorf("kubeconfig: the current context %q names no cluster with a server", conf.CurrentContext)
	}
	return d, nil
}

func either(into *[]byte, data []byte, file string, readFile func(string) ([]byte, error)) error {
	*into = data
	if len(data) > 0 || file == "" {
		return nil
	}
	var err error
	*into, err = readFile(file)
	return err
}

// Connect returns two ways to the API server of a kubeconfig's current context:
// as its user, and as nobody. It runs no plugin: the doctor wants a client
// certificate or a token, such as an administrator's kubeconfig has.
func Connect(text []byte, readFile func(string) ([]byte, error)) (user, nobody *API, err error) {
	d, err := readDial(text, readFile)
	if err != nil {
		return nil, nil, err
	}
	if d.exec || d.insecure || len(d.ca) == 0 {
		return nil, nil, errors.New("kubeconfig: want a certificate authority and a client certificate or token, without exec plugin")
	}
	var cert *tls.Certificate
	if len(d.cert) > 0 {
		pair, err := tls.X509KeyPair(d.cert, d.key)
		if err != nil {
			return nil, nil, fmt.Errorf("kubeconfig: %w", err)
		}
		cert = &pair
	}
	if cert == nil && d.token == "" {
		return nil, nil, errors.New("kubeconfig: its user has neither certificate nor token")
	}
	asUser, err := newAPI(d.server, d.ca, cert)
	if err != nil {
		return nil, nil, err
	}
	asNobody, err := newAPI(d.server, d.ca, nil)
	if err != nil {
		return nil, nil, err
	}
	if d.token != "" {
		asUser.Client.Transport = bearer{d.token, asUser.Client.Transport}
	}
	return &asUser, &asNobody, nil
}

// bearer adds a token to each request.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}
