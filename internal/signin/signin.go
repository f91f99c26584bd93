// Package signin gets tokens for the command line: it signs a person or a
// program in at a token service, and keeps what it got in a cache that only its
// owner can read.
package signin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// The ways to sign in, by the names that kubelogin has for them.
const (
	DeviceCode  = "devicecode"  // a person, in a browser anywhere
	Interactive = "interactive" // a person, in a browser of this machine
	Password    = "ropc"        // a person's password; the tenant must allow it
	Secret      = "spn"         // a program's client secret
)

// Methods lists the ways to sign in.
var Methods = []string{DeviceCode, Interactive, Password, Secret}

// Config says at whom, for what and how to sign in.
type Config struct {
	Authority string // URL of the token service, without the tenant
	Tenant    string // its id or one of its domains
	ClientID  string
	Resource  string // application id or URI of what the token is for
	CAFile    string // who signed the token service's certificate; empty: the system's
	Method    string // one of Methods; empty means DeviceCode
	// Username and Password are for the method Password, ClientSecret for Secret.
	Username     string
	Password     string
	ClientSecret string
	// Cache is the folder for tokens; empty keeps none.
	Cache string
	// Asker tells processes that ask apart; empty tells nobody apart. Whoever is
	// given a kept token and asks again was refused with it, as after his sign-in
	// was ended, and gets another one.
	Asker string
	// Tell is where a person is told what to do.
	Tell io.Writer
	Now  func() time.Time
}

// early is how long before its end a token is taken for ended: it must still be
// good when it arrives.
const early = time.Minute

// Token returns a token that is good for now: from the cache, by a refresh token,
// or by signing in.
func Token(ctx context.Context, c Config) (*oauth2.Token, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Tell == nil {
		c.Tell = io.Discard
	}
	ctx, err := c.client(ctx)
	if err != nil {
		return nil, err
	}
	kept := c.load()
	refused := kept != nil && c.Asker != "" && kept.Asker == c.Asker
	if kept != nil && !refused && kept.AccessToken != "" && c.Now().Add(early).Before(kept.Expiry) {
		return &kept.Token, c.save(&kept.Token)
	}
	if kept != nil && kept.RefreshToken != "" {
		// A refused refresh token is no failure: then one signs in again.
		if tok, err := c.refresh(ctx, kept.RefreshToken); err == nil {
			return tok, c.save(tok)
		} else if _, refused := errors.AsType[*oauth2.RetrieveError](err); !refused {
			return nil, c.explain(err)
		}
	}
	tok, err := c.signIn(ctx)
	if err != nil {
		return nil, c.explain(err)
	}
	return tok, c.save(tok)
}

func (c Config) signIn(ctx context.Context) (*oauth2.Token, error) {
	conf := c.oauth()
	switch c.Method {
	case DeviceCode, "":
		return c.device(ctx, conf)
	case Interactive:
		return c.browser(ctx, conf)
	case Password:
		if c.Username == "" || c.Password == "" {
			return nil, errors.New("signing in by password needs AZURE_USERNAME and AZURE_PASSWORD in the environment")
		}
		return conf.PasswordCredentialsToken(ctx, c.Username, c.Password)
	case Secret:
		if c.ClientSecret == "" {
			return nil, errors.New("signing in by client secret needs AZURE_CLIENT_SECRET in the environment")
		}
		cc := clientcredentials.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: conf.Endpoint.TokenURL,
			Scopes: []string{c.Resource + "/.default"}, AuthStyle: oauth2.AuthStyleInParams}
		return cc.Token(ctx)
	}
	return nil, fmt.Errorf("%q is no way to sign in: want %s", c.Method, strings.Join(Methods, ", "))
}

func (c Config) oauth() *oauth2.Config {
	base := strings.TrimSuffix(c.Authority, "/") + "/" + c.Tenant + "/oauth2/v2.0/"
	return &oauth2.Config{
		ClientID: c.ClientID,
		Scopes:   []string{c.Resource + "/.default", "openid", "profile", "offline_access"},
		Endpoint: oauth2.Endpoint{AuthURL: base + "authorize", TokenURL: base + "token", DeviceAuthURL: base + "devicecode", AuthStyle: oauth2.AuthStyleInParams},
	}
}

func (c Config) device(ctx context.Context, conf *oauth2.Config) (*oauth2.Token, error) {
	code, err := conf.DeviceAuth(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.Tell, "To sign in, open %s in a web browser and enter the code %s\n", code.VerificationURI, code.UserCode)
	return conf.DeviceAccessToken(ctx, code)
}

func (c Config) refresh(ctx context.Context, text string) (*oauth2.Token, error) {
	// An expired token with a refresh token makes the source redeem it.
	return c.oauth().TokenSource(ctx, &oauth2.Token{RefreshToken: text}).Token()
}

// client puts the HTTP client into the context, where x/oauth2 looks for it.
func (c Config) client(ctx context.Context) (context.Context, error) {
	hc, err := Client(c.CAFile)
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, oauth2.HTTPClient, hc), nil
}

// Client returns an HTTP client that trusts the authority in a file, or, without
// one, those of the system.
func Client(caFile string) (*http.Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate in PEM form", caFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}, nil
}

// explain turns the token service's refusal into what it says about it.
func (c Config) explain(err error) error {
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok && r.ErrorDescription != "" {
		text, _, _ := strings.Cut(r.ErrorDescription, " Trace ID:")
		return fmt.Errorf("sign in at %s: %s", c.Authority, text)
	}
	return fmt.Errorf("sign in at %s: %w", c.Authority, err)
}
