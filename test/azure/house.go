// Package azure is the stage on which real clients of Azure are tried: a house
// with the sample estate, and desks at which az, kubelogin and kubectl run with
// the variables of gatehouse env.
//
// A test that needs no changes of its own shares the house:
//
//	func TestMain(m *testing.M) { os.Exit(azure.Main(m)) }
//
//	func TestGroups(t *testing.T) {
//		house := azure.Shared(t, azure.Options{})
//		desk := house.Desk(t)                  // a fresh configuration folder
//		desk.Login(t, "ed@teknews.cloud")      // or desk.LoginOperator(t), who is Owner of everything
//		out := desk.Az(t, "group", "show", "-n", "MyResourceGroup")
//		bad := desk.Run(t, "az", "group", "show", "-n", "nowhere")   // exit code, Out, Err
//	}
//
// Options{Clusters: true} runs the control planes too, and needs gatehouse-kube in
// GATEHOUSE_KUBE. Where az is missing the tests skip. Every run of az costs one to
// two seconds of a core: do many things at one desk.
package azure

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/tour"
)

// Options say what a house is to have. Tests with the same options share one.
type Options struct {
	// Clusters runs the three control planes of the sample estate.
	Clusters bool
}

// A House is a running house with the sample estate, whose tenant allows the
// password grant. Tests may change it through Store.
type House struct {
	*house.House
	Dir      house.Dir
	Operator house.Operator
	// Password is that of every person of the sample estate.
	Password string
	// HTTP reaches the house's own URL; Cloud, through the proxy, the names of the
	// public cloud as well.
	HTTP, Cloud *http.Client

	scratch string
}

// shared are the houses that the tests of one binary share.
var shared struct {
	sync.Mutex
	houses map[Options]*House
	failed map[Options]error
}

// Main runs the tests of a package and ends the houses that they shared.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	for _, h := range shared.houses {
		h.close()
	}
	return code
}

// Shared returns the house that all tests with these options share. The package's
// TestMain must call Main.
func Shared(t *testing.T, opt Options) *House {
	t.Helper()
	need(t, opt)
	shared.Lock()
	defer shared.Unlock()
	if shared.houses == nil {
		shared.houses, shared.failed = make(map[Options]*House), make(map[Options]error)
	}
	if err := shared.failed[opt]; err != nil {
		t.Fatal(err)
	}
	if h := shared.houses[opt]; h != nil {
		return h
	}
	h, err := start(opt)
	if err != nil {
		shared.failed[opt] = err
		t.Fatal(err)
	}
	shared.houses[opt] = h
	return h
}

// Start returns a house of the test's own.
func Start(t *testing.T, opt Options) *House {
	t.Helper()
	need(t, opt)
	h, err := start(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

func need(t *testing.T, opt Options) {
	t.Helper()
	if kube := os.Getenv("GATEHOUSE_KUBE"); opt.Clusters && kube == "" {
		t.Skip("GATEHOUSE_KUBE does not name gatehouse-kube: run make test")
	}
}

func start(opt Options) (*House, error) {
	scratch, err := os.MkdirTemp("", "gatehouse-azure-")
	if err != nil {
		return nil, err
	}
	h := &House{Dir: house.Dir(filepath.Join(scratch, "data")), Password: rand.Text(), scratch: scratch}
	if err := errors.Join(h.programs(), h.run(opt)); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// patience is how long a start may take on a machine that does other things too.
const patience = 3 * time.Minute

func (h *House) run(opt Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conf := house.Config{
		Dir: h.Dir, Listen: "127.0.0.1:0", WebhookListen: "127.0.0.1:0", ProxyListen: "127.0.0.1:0",
		First: staged(sample.Records()), FirstPassword: h.Password,
	}
	if opt.Clusters {
		conf.Kube = os.Getenv("GATEHOUSE_KUBE")
	}
	var err error
	if h.House, err = house.Start(ctx, conf); err != nil {
		return err
	}
	if h.Operator, err = house.ReadOperator(h.Dir.Operator()); err != nil {
		return err
	}
	ca, err := os.ReadFile(h.Dir.CA())
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	proxy, err := h.Dir.Proxy()
	if err != nil {
		return err
	}
	h.HTTP = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	h.Cloud = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool},
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme != "https" || r.URL.Hostname() == "127.0.0.1" {
				return nil, nil // the loopback listener of a client, and the house itself
			}
			return &url.URL{Scheme: "http", Host: proxy}, nil
		}}}
	return nil
}

// staged is the sample estate with what the tests need: the password grant, which
// the sample leaves off, names for the API servers, and issuers of service account
// tokens.
func staged(recs []record.Record) []record.Record {
	for i, r := range recs {
		switch r := r.(type) {
		case directory.Tenant:
			r.AllowPasswordGrant = true
			recs[i] = r
		case resource.Cluster:
			if r.FQDN == "" {
				r.FQDN = r.Name + "-teknews.hcp.westeurope.azmk8s.io"
			}
			r.OIDCIssuer = true
			recs[i] = r
		}
	}
	return recs
}

// programs makes a folder with kubectl and kubelogin, as far as they were built.
func (h *House) programs() error {
	bin := filepath.Join(h.scratch, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return err
	}
	for name, command := range map[string]string{"kubectl": `"$GATEHOUSE_KUBE" kubectl`, "kubelogin": `"$GATEHOUSE_KUBELOGIN"`} {
		variable, _, _ := strings.Cut(strings.TrimPrefix(command, `"$`), `"`)
		path := os.Getenv(variable)
		if path == "" {
			continue
		}
		text := "#!/bin/sh\n" + variable + "='" + path + "'\nexec " + command + ` "$@"` + "\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (h *House) close() {
	if h.House != nil {
		h.Stop()
	}
	os.RemoveAll(h.scratch)
}

// Change commits records, as a neighbour of the test would.
func (h *House) Change(t *testing.T, recs ...record.Record) {
	t.Helper()
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	if _, err := h.Store().Commit(t.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		t.Fatal(err)
	}
}

// An App is an application with a service principal and a client secret.
type App struct {
	directory.Application
	Principal principal.ID
	Secret    string
}

// NewApp makes an application that may do nothing yet.
func (h *House) NewApp(t *testing.T, name string) App {
	t.Helper()
	app := directory.Application{ID: principal.NewID(), AppID: directory.NewAppID(), Tenant: h.Operator.Tenant, DisplayName: name}
	sp := directory.ServicePrincipal{ID: principal.NewID(), AppID: app.AppID, Tenant: app.Tenant, DisplayName: name}
	secret, err := issue.NewClientSecret(app.AppID, "test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Store().Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Put: app}, {Put: sp}}, Private: []store.PrivateOp{secret.Op}})
	if err != nil {
		t.Fatal(err)
	}
	return App{Application: app, Principal: sp.ID, Secret: secret.Text.Reveal()}
}

// Browse does what a person does at the page that a client has opened in his
// browser: he signs in. It ends at the client. It may be called from any goroutine.
func (h *House) Browse(ctx context.Context, page, user string) error {
	b, err := tour.NewBrowser(h.Cloud.Transport)
	if err != nil {
		return err
	}
	text, err := b.Get(ctx, page)
	if err != nil {
		return err
	}
	text, err = b.Submit(ctx, page, text, map[string]string{"username": user, "password": h.Password})
	if err == nil && strings.Contains(text, "<form") { // response_mode=form_post: a script would send it
		_, err = b.Submit(ctx, page, text, nil)
	}
	return err
}

// Approve enters a user code at the page of the house as a person. It may be
// called from any goroutine.
func (h *House) Approve(ctx context.Context, page, code, user string) error {
	b, err := tour.NewBrowser(h.HTTP.Transport)
	if err != nil {
		return err
	}
	if _, err := b.Approve(ctx, page, code, user, h.Password); err != nil {
		return fmt.Errorf("approve %s as %s: %w", code, user, err)
	}
	return nil
}
