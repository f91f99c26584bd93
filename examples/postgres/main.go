// Command postgres lets people and programs sign in to a PostgreSQL server with an
// access token of Gatehouse in the place of a password, as Azure Database for
// PostgreSQL does it. It is an example: a proxy that checks the token, and leads the
// connection to a server that trusts the proxy alone.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("postgres", flag.ContinueOnError)
	listen := f.String("listen", "127.0.0.1:6432", "address to listen at; others than loopback need a certificate")
	server := f.String("server", "/var/run/postgresql/.s.PGSQL.5432", "socket of the PostgreSQL server")
	authority := f.String("authority", "", "URL of the token service, such as https://127.0.0.1:8443")
	issuer := f.String("issuer", "", "issuer of the tokens (the issuer of {authority}/{tenant}/.well-known/openid-configuration)")
	tenant := f.String("tenant", "", "id of the tenant")
	roles := f.String("roles", "", "file that says who may be which role: lines of ROLE OBJECT-ID")
	ca := f.String("ca", "", "certificate authority of the token service, as PEM")
	cert, key := f.String("cert", "", "certificate for TLS"), f.String("key", "", "its key")
	if err := f.Parse(args); err != nil {
		return err
	}
	for _, need := range []struct{ name, value string }{{"authority", *authority}, {"issuer", *issuer}, {"tenant", *tenant}, {"roles", *roles}} {
		if need.value == "" {
			return fmt.Errorf("-%s is missing; -h lists the flags", need.name)
		}
	}
	p := &proxy{server: *server, tenant: *tenant, log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	var err error
	if p.roles, err = readRoles(*roles); err != nil {
		return err
	}
	client, err := clientFor(*ca)
	if err != nil {
		return err
	}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		p.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	} else if at, err := netip.ParseAddrPort(*listen); err != nil || !at.Addr().IsLoopback() {
		return errors.New("without -cert a token would go over the network for everybody to read; listen at an address of loopback")
	}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, client), strings.TrimSuffix(*authority, "/")+"/"+*tenant+"/discovery/v2.0/keys")
	p.verifier = oidc.NewVerifier(*issuer, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{oidc.RS256, oidc.ES256}})

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("listening at", l.Addr())
	return p.serve(ctx, l)
}

func clientFor(ca string) (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate", ca)
		}
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: conf, Proxy: http.ProxyFromEnvironment}}, nil
}

// readRoles reads who may be which role. Principals are known by their object ids: a
// name can be given to somebody else.
func readRoles(path string) (map[string][]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	roles := make(map[string][]string)
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case len(words) != 2 || len(words[1]) != 36:
			return nil, fmt.Errorf("%s, line %d: a line is a role and an object id", path, n)
		default:
			roles[words[0]] = append(roles[words[0]], strings.ToLower(words[1]))
		}
	}
	return roles, lines.Err()
}
