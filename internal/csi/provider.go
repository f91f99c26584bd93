package csi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-io/gatehouse/internal/reply"
)

// Config says where a Provider finds what it asks.
type Config struct {
	// House is the URL of the house. Authority is where tokens are exchanged, and
	// Vaults the URL below which vaults are found by their names; both are the house's
	// own if they are empty.
	House, Authority, Vaults string
	HouseCA                  []byte // PEM; empty trusts those of the system
	// Metadata is the URL of the node's metadata service, for useVMManagedIdentity.
	Metadata string
	// PodIdentity is the socket of the node agent, for usePodIdentity; empty refuses it.
	PodIdentity string
	Version     string
	Log         *slog.Logger
}

// A Provider answers the driver. It is safe for concurrent use.
type Provider struct {
	conf               Config
	house, local, pods *http.Client
}

// New checks a configuration.
func New(conf Config) (*Provider, error) {
	conf.House = strings.TrimSuffix(conf.House, "/")
	if conf.Authority == "" {
		conf.Authority = conf.House
	}
	if conf.Vaults == "" {
		conf.Vaults = conf.House + "/vaults"
	}
	if conf.Metadata == "" {
		conf.Metadata = "http://169.254.169.254"
	}
	for _, at := range []*string{&conf.Authority, &conf.Vaults} {
		*at = strings.TrimSuffix(*at, "/")
		if u, err := url.Parse(*at); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("%q is not an https URL", *at)
		}
	}
	tlsConf := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(conf.HouseCA) > 0 {
		tlsConf.RootCAs = x509.NewCertPool()
		if !tlsConf.RootCAs.AppendCertsFromPEM(conf.HouseCA) {
			return nil, errors.New("there is no certificate in the authority of the house")
		}
	}
	p := &Provider{conf: conf, house: clientWith(&http.Transport{TLSClientConfig: tlsConf, ForceAttemptHTTP2: true}), local: clientWith(&http.Transport{})}
	if conf.PodIdentity != "" {
		p.pods = clientWith(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", conf.PodIdentity)
		}})
	}
	return p, nil
}

// clientWith follows no redirect: a token is for who was asked.
func clientWith(t *http.Transport) *http.Client {
	t.IdleConnTimeout = time.Minute
	return &http.Client{Timeout: 30 * time.Second, Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Serve answers at a Unix socket until the context ends. A socket that is left from
// before is replaced.
func (p *Provider) Serve(ctx context.Context, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	// The driver runs as root. Whoever can mount here gets what a pod may have.
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	srv := grpc.NewServer(grpc.ForceServerCodecV2(wire{}), grpc.MaxRecvMsgSize(4<<20))
	srv.RegisterService(&service, p)
	defer context.AfterFunc(ctx, srv.GracefulStop)()
	return srv.Serve(l)
}

// mount reads what a class asks for. All of it, or an error and nothing.
func (p *Provider) mount(ctx context.Context, req *mountRequest) (*mountResponse, error) {
	start := time.Now()
	out, where, err := p.read(ctx, req)
	log := p.conf.Log.With("vault", where, "took", time.Since(start).Round(time.Millisecond).String())
	if err != nil {
		log.WarnContext(ctx, "mount refused", "why", err.Error())
		return nil, status.Error(code(err), err.Error())
	}
	log.InfoContext(ctx, "mounted", "files", len(out.files))
	return out, nil
}

func (p *Provider) read(ctx context.Context, req *mountRequest) (*mountResponse, string, error) {
	c, err := parseClass(req.attributes, req.secrets, req.permission)
	if err != nil {
		return nil, "", fmt.Errorf("SecretProviderClass: %w", err)
	}
	token, err := p.token(ctx, c)
	if err != nil {
		return nil, c.vault, err
	}
	out := new(mountResponse)
	for _, listed := range c.objects {
		objects, err := p.expand(ctx, token, c.vault, listed)
		if err != nil {
			return nil, c.vault, err
		}
		for _, o := range objects {
			f, err := p.fetch(ctx, token, c.vault, o)
			if err != nil {
				return nil, c.vault, err
			}
			out.versions = append(out.versions, objectVersion{o.id(), f.version})
			out.files = append(out.files, file{o.file, o.mode, f.content})
		}
	}
	return out, c.vault, nil
}

// code is what the driver is told of an error. It asks again what is unavailable.
func code(err error) codes.Code {
	if _, away := errors.AsType[*reply.Silence](err); away {
		return codes.Unavailable
	}
	r, refused := errors.AsType[*reply.Refusal](err)
	switch {
	case !refused:
		return codes.InvalidArgument
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusBadRequest:
		return codes.Unauthenticated
	case r.Status == http.StatusForbidden:
		return codes.PermissionDenied
	case r.Status == http.StatusNotFound:
		return codes.NotFound
	}
	return codes.Unavailable
}
