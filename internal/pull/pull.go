//go:build linux

// Package pull is what the kubelet asks for credentials when it pulls an image: a
// credential provider that makes them from the identity of the node, so that none is
// stored.
//
// The kubelet runs it for each registry (credentialprovider.kubelet.k8s.io/v1). It
// asks the node agent for a token of the cluster's kubelet identity, and the house to
// exchange it for a refresh token of that one registry. Whether the identity may pull
// is decided by the house, then, and again for each image.
//
// A token goes to the node agent's house and to nobody else, whatever the name of an
// image says.
package pull

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	credentials "k8s.io/kubelet/pkg/apis/credentialprovider/v1"

	"github.com/gatehouse-io/gatehouse/internal/nmi"
	"github.com/gatehouse-io/gatehouse/internal/reply"
)

// Config says where a Provider asks.
type Config struct {
	House   string // URL of the house
	HouseCA []byte // PEM of its authority; empty trusts those of the system
	Socket  string // of the node agent, for root of the node
	// Registries are the names of registries of the house by the hosts that keep their
	// images, where that is not NAME.azurecr.io.
	Registries map[string]string
}

// life is how long the kubelet may keep what it was given. The house looks at each
// pull all the same.
const life = 10 * time.Minute

// nobody is the name with which a registry's refresh token is sent as a password.
const nobody = "00000000-0000-0000-0000-000000000000"

// A Provider answers the kubelet.
type Provider struct {
	conf        Config
	node, house *http.Client
}

// New checks a configuration.
func New(conf Config) (*Provider, error) {
	conf.House = strings.TrimRight(conf.House, "/")
	u, err := url.Parse(conf.House)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the house %q is not an https URL", conf.House)
	}
	for host, name := range conf.Registries {
		if !isHost.MatchString(host) || !isName.MatchString(name) {
			return nil, fmt.Errorf("%s=%s is not the host of a registry, in lower case, and the registry's name", host, name)
		}
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(conf.HouseCA) > 0 {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(conf.HouseCA) {
			return nil, errors.New("there is no certificate in the authority of the house")
		}
	}
	// No redirect is followed: a token is for whom it was meant for.
	client := func(t *http.Transport) *http.Client {
		return &http.Client{Timeout: 20 * time.Second, Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &Provider{conf: conf,
		house: client(&http.Transport{TLSClientConfig: secure, ForceAttemptHTTP2: true}),
		node: client(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", conf.Socket)
		}})}, nil
}

// maxRequest bounds what the kubelet may say, in bytes.
const maxRequest = 1 << 20

// Serve reads one request and writes its answer. An error holds no secret, and nothing
// was written then: the kubelet puts it into its log and pulls as nobody.
func (p *Provider) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(io.LimitReader(in, maxRequest))
	if err != nil {
		return fmt.Errorf("read the kubelet's request: %w", err)
	}
	var req credentials.CredentialProviderRequest
	if err := json.Unmarshal(text, &req); err != nil {
		return errors.New("the kubelet's request cannot be read: it is written to standard input, by the kubelet")
	}
	if req.APIVersion != credentials.SchemeGroupVersion.String() || req.Kind != "CredentialProviderRequest" {
		return fmt.Errorf("a request of %.100q, kind %.100q: want %s; set apiVersion in the kubelet's CredentialProviderConfig", req.APIVersion, req.Kind, credentials.SchemeGroupVersion)
	}
	host, name, err := p.registry(req.Image)
	if err != nil {
		return err
	}
	token, err := p.own(ctx)
	if err != nil {
		return err
	}
	refresh, err := p.exchange(ctx, name, token)
	if err != nil {
		return err
	}
	answer, err := json.Marshal(credentials.CredentialProviderResponse{
		TypeMeta:     metav1.TypeMeta{APIVersion: req.APIVersion, Kind: "CredentialProviderResponse"},
		CacheKeyType: credentials.RegistryPluginCacheKeyType, CacheDuration: &metav1.Duration{Duration: life},
		Auth: map[string]credentials.AuthConfig{host: {Username: nobody, Password: refresh}},
	})
	if err != nil {
		return err
	}
	_, err = out.Write(answer)
	return err
}

const suffix = ".azurecr.io"

var (
	isName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	isHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?$`)
)

// registry is the host of an image, and the name of its registry in the house.
func (p *Provider) registry(image string) (host, name string, err error) {
	host, _, ok := strings.Cut(image, "/")
	if name, there := p.conf.Registries[host]; ok && there {
		return host, name, nil
	}
	if name, there := strings.CutSuffix(host, suffix); ok && there && isName.MatchString(name) {
		return host, name, nil
	}
	return "", "", fmt.Errorf("the image %.200q is of no registry of the house: want NAME%s/…, or a host that --registry names", image, suffix)
}

// own is a token of the kubelet identity, of the node agent.
func (p *Provider) own(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node"+nmi.RegistryPath, nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token struct {
			AccessToken string `json:"access_token"`
		} `json:"token"`
	}
	err = reply.Read(p.node, req, "the node agent at "+p.conf.Socket, &answer, func() bool { return answer.Token.AccessToken != "" })
	if err != nil {
		return "", unclear(err)
	}
	return answer.Token.AccessToken, nil
}

// exchange gets a refresh token of a registry for a token of the directory.
func (p *Provider) exchange(ctx context.Context, name, token string) (string, error) {
	form := url.Values{"grant_type": {"access_token"}, "service": {name + suffix}, "access_token": {token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.conf.House+"/registries/"+name+"/oauth2/exchange", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Refresh string `json:"refresh_token"`
	}
	err = reply.Read(p.house, req, "the exchange at registry "+name, &answer, func() bool { return answer.Refresh != "" })
	if no, ok := errors.AsType[*reply.Refusal](err); ok && no.Status == http.StatusUnauthorized {
		return "", fmt.Errorf("%w: the kubelet identity of this cluster has no role there; give it AcrPull at the registry (az aks update --attach-acr %s)", err, name)
	}
	if err != nil {
		return "", unclear(err)
	}
	return answer.Refresh, nil
}

// unclear says of an answer that is not understood what it should have been.
func unclear(err error) error {
	if errors.Is(err, reply.ErrUnclear) {
		return fmt.Errorf("%w: not a token", err)
	}
	return err
}
