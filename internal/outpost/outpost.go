// Package outpost is the piece of the house that runs inside somebody else's
// cluster: the mutating webhook of workload identity, alone. It needs the
// cluster's API and nothing else, holds no secret but the key of its own
// certificate, and two of it share the work.
package outpost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/gatehouse-io/gatehouse/internal/control/selfcert"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/admission"
)

// Config says how an outpost is run. All fields but those with a default are
// required.
type Config struct {
	Kube *rest.Config // may read service accounts, and keep the certificate
	// Identity is what pods get; that native sidecars work is found out.
	Identity inject.Config

	Namespace     string // where the outpost runs
	Service       string // by which the API server calls it
	Secret        string // where its certificate is kept
	Configuration string // the MutatingWebhookConfiguration that calls it

	Listen       string // host:port of the webhook
	HealthListen string // host:port of /healthz and /readyz, without TLS
	// ClientCA is the PEM authority of the API server's client certificate. Empty
	// answers whoever asks.
	ClientCA []byte
	// Linger is how long the webhook goes on when it is told to end, until nobody
	// sends it requests any more. 0 ends at once.
	Linger time.Duration
	Log    *slog.Logger // nil discards
}

// grace is how long running requests get when the webhook ends, and retry how
// soon the API server is asked again when it did not answer.
const (
	grace = 5 * time.Second
	retry = 2 * time.Second
)

// Run serves until the context ends, and returns nil then.
func Run(ctx context.Context, conf Config) error {
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if err := conf.Identity.Check(); err != nil {
		return err
	}
	o := &outpost{conf: conf}
	if err := o.prepare(); err != nil {
		return err
	}
	defer o.close()
	return o.run(ctx)
}

type outpost struct {
	conf            Config
	core            coreclient.CoreV1Interface
	keeper          *selfcert.Keeper
	webhook, health net.Listener
	tls             *tls.Config
	native          atomic.Bool // whether kubelets know native sidecars
	known           atomic.Bool // whether that was found out
	ending          atomic.Bool
}

func (o *outpost) prepare() error {
	var err error
	if o.core, err = coreclient.NewForConfig(o.conf.Kube); err != nil {
		return err
	}
	configurations, err := admissionclient.NewForConfig(o.conf.Kube)
	if err != nil {
		return err
	}
	o.keeper, err = selfcert.New(selfcert.Config{
		Secrets: o.core, Configurations: configurations, Namespace: o.conf.Namespace,
		Secret: o.conf.Secret, Service: o.conf.Service, Configuration: o.conf.Configuration, Log: o.conf.Log,
	})
	if err != nil {
		return err
	}
	o.tls = &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: o.keeper.Certificate, NextProtos: []string{"h2", "http/1.1"}}
	if len(o.conf.ClientCA) > 0 {
		o.tls.ClientAuth, o.tls.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !o.tls.ClientCAs.AppendCertsFromPEM(o.conf.ClientCA) {
			return errors.New("there is no certificate in the authority of clients")
		}
		o.tls.SessionTicketsDisabled = true
	}
	if o.webhook, err = net.Listen("tcp", o.conf.Listen); err != nil {
		return fmt.Errorf("the webhook: %w", err)
	}
	if o.health, err = net.Listen("tcp", o.conf.HealthListen); err != nil {
		o.webhook.Close()
		return fmt.Errorf("the health checks: %w", err)
	}
	return nil
}

func (o *outpost) close() {
	o.webhook.Close()
	o.health.Close()
}

func (o *outpost) run(ctx context.Context) error {
	door, err := admission.New(admission.Config{Accounts: o.account, Settings: o.identity, Log: o.conf.Log})
	if err != nil {
		return err
	}
	// What runs behind the end of ctx, until nobody sends requests any more.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 2)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { o.keeper.Run(serving) })
	wg.Go(func() { o.findOut(serving) })
	wg.Go(func() {
		failed <- serve.Run(serving, serve.NewServer(door.Alone(), o.tls, o.conf.Log), o.webhook, grace)
	})
	checks := &http.Server{Handler: o.checks(), ReadHeaderTimeout: grace}
	wg.Go(func() {
		if err := checks.Serve(o.health); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})
	defer checks.Close()
	defer stop()
	o.conf.Log.Info("the webhook serves", "address", o.webhook.Addr().String(), "health", o.health.Addr().String())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	o.ending.Store(true)
	select {
	case err := <-failed:
		return err
	case <-time.After(o.conf.Linger):
	}
	stop()
	return <-failed
}

// checks are the endpoints of kubelet.
func (o *outpost) checks() http.Handler {
	options := serve.Options{Log: o.conf.Log, Quiet: true}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", serve.Handle(serve.Live(), options))
	mux.Handle("GET /readyz", serve.Handle(serve.Ready(
		serve.Check{Name: "certificate", Check: o.keeper.Ready},
		serve.Check{Name: "version", Check: func(context.Context) error {
			if !o.known.Load() {
				return errors.New("the version of the API server is not known yet")
			}
			return nil
		}},
		serve.Check{Name: "stays", Check: func(context.Context) error {
			if o.ending.Load() {
				return errors.New("the webhook is about to end")
			}
			return nil
		}},
	), options))
	return mux
}

// sidecars is the version from which on every kubelet that may serve with an API
// server knows native sidecars.
var sidecars = version.MajorMinor(1, 32)

// findOut asks the API server for its version. A cluster that is upgraded later
// goes on as before until the outpost starts again: what worked works.
func (o *outpost) findOut(ctx context.Context) {
	for {
		v, err := o.version(ctx)
		if err == nil {
			o.native.Store(v.AtLeast(sidecars))
			o.known.Store(true)
			return
		}
		o.conf.Log.Warn("the API server did not say its version", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

func (o *outpost) version(ctx context.Context) (*version.Version, error) {
	body, err := o.core.RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	var said struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, err
	}
	return version.ParseGeneric(said.GitVersion)
}

func (o *outpost) account(ctx context.Context, _ scope.Scope, namespace, name string) (*corev1.ServiceAccount, error) {
	return admission.Read(ctx, o.core, namespace, name)
}

func (o *outpost) identity(scope.Scope) (*inject.Config, error) {
	if !o.known.Load() {
		return nil, errors.New("the webhook has just started, try again")
	}
	conf := o.conf.Identity
	conf.NativeSidecar = o.native.Load()
	return &conf, nil
}
