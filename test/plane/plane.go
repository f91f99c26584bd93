// Package plane is the stage on which real control planes are tried: a house with
// one cluster, and kubectl as its administrator. It needs gatehouse-kube: make test
// builds it and names it in GATEHOUSE_KUBE.
package plane

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

const (
	password   = "correct horse battery"
	azClient   = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	kubeServer = "6dae42f8-4368-4678-94ff-3960e28e3630"
)

// Group is the resource group of everything.
const Group = "/subscriptions/50000000-0000-4000-8000-0000000000f0/resourceGroups/rg"

func idOf[T ~[16]byte](text string) T { return T(guid.MustParse[struct{}](text)) }

// The records that every plane has. Boss is the cluster's administrator.
var (
	Tenant = directory.Tenant{ID: idOf[directory.TenantID]("10000000-0000-4000-8000-0000000000f0"), Domains: []string{"f.example"}, AllowPasswordGrant: true}
	Boss   = directory.User{ID: idOf[principal.ID]("20000000-0000-4000-8000-0000000000f1"), Tenant: Tenant.ID, UserPrincipalName: "boss@f.example"}
	admins = directory.Group{ID: idOf[principal.ID]("30000000-0000-4000-8000-0000000000f1"), Tenant: Tenant.ID, DisplayName: "admins"}
	At     = scope.MustParse(Group + "/providers/Microsoft.ContainerService/managedClusters/wl")
)

// Options say what a plane is to have beside what every plane has.
type Options struct {
	// WorkloadIdentity lets the house mutate pods.
	WorkloadIdentity bool
	// Records are in the estate from the first start.
	Records []record.Record
	// Listen and Webhooks are the addresses of the house; empty means free ports of 127.0.0.1.
	Listen, Webhooks string
	// Configure changes how the house is run; nil changes nothing.
	Configure func(*house.Config)
}

// A Plane is a house with one control plane, and kubectl as its administrator.
type Plane struct {
	T testing.TB
	*state
	kubeconfig string // the file's name; empty means Boss's
}

// state is what a plane and its subtests share.
type state struct {
	House *house.House
	Kube  string // the path of gatehouse-kube
	Dir   string // the folder of the test; the house's data is in data
	conf  house.Config
}

// Start returns a plane that lives as long as the test.
func Start(t testing.TB, opt Options) *Plane {
	t.Helper()
	p := &Plane{T: t, state: &state{Dir: t.TempDir(), Kube: os.Getenv("GATEHOUSE_KUBE")}}
	if _, err := os.Stat(p.Kube); p.Kube == "" || err != nil {
		t.Skip("GATEHOUSE_KUBE names no gatehouse-kube binary; make test builds one and sets it")
	}
	if opt.Listen == "" {
		opt.Listen = "127.0.0.1:0"
	}
	if opt.Webhooks == "" {
		opt.Webhooks = "127.0.0.1:0"
	}
	p.conf = house.Config{
		Dir: house.Dir(p.Dir + "/data"), Listen: opt.Listen, WebhookListen: opt.Webhooks, ProxyListen: "127.0.0.1:0", Kube: p.Kube, FirstPassword: password,
		First: append([]record.Record{
			Tenant, Boss, admins, directory.Membership{Group: admins.ID, Member: Boss.ID},
			resource.Subscription{Scope: scope.MustParse(strings.TrimSuffix(Group, "/resourceGroups/rg")), Tenant: Tenant.ID},
			resource.Group{Scope: scope.MustParse(Group), Name: "rg"},
			resource.Cluster{Scope: At, Name: "wl", ResourceGroup: "rg", Tenant: Tenant.ID, EntraSignIn: true, AdminGroups: []principal.ID{admins.ID},
				OIDCIssuer: true, WorkloadIdentity: opt.WorkloadIdentity},
		}, opt.Records...),
		Progress: func(step string) { p.T.Log(step) },
	}
	if opt.Configure != nil {
		opt.Configure(&p.conf)
	}
	t.Cleanup(p.Stop)
	p.Begin()
	p.Write("kubeconfig", p.Kubeconfig(p.Token()))
	return p
}

// Begin starts the house, or starts it again after Stop.
func (p *Plane) Begin() {
	p.T.Helper()
	var err error
	if p.House, err = house.Start(context.WithoutCancel(p.T.Context()), p.conf); err != nil {
		p.T.Fatal(err)
	}
}

// Stop stops the house and its cluster.
func (p *Plane) Stop() {
	if p.House != nil {
		p.House.Stop()
		p.House = nil
	}
}

// In is the plane in a subtest.
func (p *Plane) In(t testing.TB) *Plane {
	return &Plane{T: t, state: p.state, kubeconfig: p.kubeconfig}
}

// Cluster is the record of the cluster.
func (p *Plane) Cluster() resource.Cluster {
	c, _ := p.House.Store().Current().Cluster(At)
	return c
}

// Change writes the cluster anew.
func (p *Plane) Change(change func(*resource.Cluster)) {
	p.T.Helper()
	c := p.Cluster()
	change(&c)
	p.Put(c)
}

// Put commits records.
func (p *Plane) Put(recs ...record.Record) {
	p.T.Helper()
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	p.commit(ops)
}

// Delete takes records away.
func (p *Plane) Delete(keys ...record.Key) {
	p.T.Helper()
	var ops []estate.Op
	for _, k := range keys {
		ops = append(ops, estate.Op{Delete: k})
	}
	p.commit(ops)
}

func (p *Plane) commit(ops []estate.Op) {
	p.T.Helper()
	if _, err := p.House.Store().Commit(p.T.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		p.T.Fatal(err)
	}
}

// Kubeconfig is one with a token. kubectl reads JSON as YAML.
func (p *Plane) Kubeconfig(token string) string {
	p.T.Helper()
	c := p.Cluster()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": c.Endpoint, "certificate-authority-data": []byte(c.CertificateAuthority)}}},
		"users":    []any{map[string]any{"name": "u", "user": map[string]any{"token": token}}},
		"contexts": []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c", "user": "u"}}},
	})
	if err != nil {
		p.T.Fatal(err)
	}
	return string(text)
}

// Write writes a file into the folder of the test, and returns its path.
func (p *Plane) Write(name, text string) string {
	p.T.Helper()
	path := filepath.Join(p.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.T.Fatal(err)
	}
	return path
}

// CA is the authority that the house's certificate is verified with, as PEM.
func (p *Plane) CA() []byte {
	p.T.Helper()
	ca, err := os.ReadFile(p.conf.Dir.CA())
	if err != nil {
		p.T.Fatal(err)
	}
	return ca
}

// Client reaches the house.
func (p *Plane) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CA())
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// Token is a token of Boss for clusters.
func (p *Plane) Token() string { return p.TokenFor(kubeServer) }

// As is the plane with kubectl as somebody else, who is among its records.
func (p *Plane) As(u directory.User) *Plane {
	p.T.Helper()
	name := u.ID.String() + ".kubeconfig"
	p.Write(name, p.Kubeconfig(p.TokenOf(u, kubeServer)))
	return &Plane{T: p.T, state: p.state, kubeconfig: name}
}

// TokenFor is a token of Boss for a resource.
func (p *Plane) TokenFor(resource string) string { return p.TokenOf(Boss, resource) }

// TokenOf is a token of somebody for a resource.
func (p *Plane) TokenOf(u directory.User, resource string) string {
	p.T.Helper()
	res, err := p.Client().PostForm(p.House.Authority()+"/"+Tenant.ID.String()+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"password"}, "client_id": {azClient}, "username": {u.UserPrincipalName}, "password": {password}, "scope": {resource + "/.default"}})
	if err != nil {
		p.T.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		p.T.Fatalf("%s, %v", res.Status, err)
	}
	return answer.AccessToken
}

// Kubectl runs kubectl with a manifest on its input.
func (p *Plane) Kubectl(manifest string, args ...string) (string, error) {
	cmd := exec.CommandContext(p.T.Context(), p.Kube, append([]string{"kubectl", "--kubeconfig", filepath.Join(p.Dir, cmp.Or(p.kubeconfig, "kubeconfig"))}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+p.Dir)
	cmd.Stdin = strings.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Must runs kubectl, which must succeed.
func (p *Plane) Must(manifest string, args ...string) string {
	p.T.Helper()
	out, err := p.Kubectl(manifest, args...)
	if err != nil {
		p.T.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return out
}

// Get returns an object of the cluster.
func Get[T any](p *Plane, args ...string) T {
	p.T.Helper()
	var v T
	out := p.Must("", append([]string{"get", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		p.T.Fatalf("%v in %s", err, out)
	}
	return v
}

// Until waits for what others bring about.
func (p *Plane) Until(what string, done func() bool) {
	p.T.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(3 * time.Minute); !done(); {
		select {
		case <-tick.C:
		case <-end:
			p.T.Fatalf("waited three minutes in vain: %s", what)
		}
	}
}
