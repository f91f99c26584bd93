// Package workloads_test tries what gives pods their identity on real control
// planes, with the real kubectl. It needs gatehouse-kube and gatehouse: make test
// builds them and names them in GATEHOUSE_KUBE and GATEHOUSE_BIN.
package workloads_test

import (
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
	sub        = "/subscriptions/50000000-0000-4000-8000-0000000000f0"
)

func idOf[T ~[16]byte](text string) T { return T(guid.MustParse[struct{}](text)) }

var (
	tenant = directory.Tenant{ID: idOf[directory.TenantID]("10000000-0000-4000-8000-0000000000f0"), Domains: []string{"f.example"}, AllowPasswordGrant: true}
	boss   = directory.User{ID: idOf[principal.ID]("20000000-0000-4000-8000-0000000000f1"), Tenant: tenant.ID, UserPrincipalName: "boss@f.example"}
	admins = directory.Group{ID: idOf[principal.ID]("30000000-0000-4000-8000-0000000000f1"), Tenant: tenant.ID, DisplayName: "admins"}
	at     = scope.MustParse(sub + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/wl")
)

// A plane is a house with one control plane, and kubectl as its administrator.
type plane struct {
	t     *testing.T
	house *house.House
	kube  string
	dir   string
}

func newPlane(t *testing.T, workloadIdentity bool) *plane {
	t.Helper()
	p := &plane{t: t, dir: t.TempDir(), kube: os.Getenv("GATEHOUSE_KUBE")}
	if _, err := os.Stat(p.kube); p.kube == "" || err != nil {
		t.Skip("GATEHOUSE_KUBE names no gatehouse-kube binary; make test builds one and sets it")
	}
	conf := house.Config{
		Dir: house.Dir(p.dir + "/data"), Listen: "127.0.0.1:0", WebhookListen: "127.0.0.1:0", ProxyListen: "127.0.0.1:0", Kube: p.kube, FirstPassword: password,
		First: []record.Record{
			tenant, boss, admins, directory.Membership{Group: admins.ID, Member: boss.ID},
			resource.Subscription{Scope: scope.MustParse(sub), Tenant: tenant.ID},
			resource.Group{Scope: scope.MustParse(sub + "/resourceGroups/rg"), Name: "rg"},
			resource.Cluster{Scope: at, Name: "wl", ResourceGroup: "rg", Tenant: tenant.ID, EntraSignIn: true, AdminGroups: []principal.ID{admins.ID},
				OIDCIssuer: true, WorkloadIdentity: workloadIdentity},
		},
		Progress: func(step string) { t.Log(step) },
	}
	var err error
	if p.house, err = house.Start(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.house.Stop)
	p.write("kubeconfig", p.kubeconfig(p.token()))
	return p
}

// in is the plane in a subtest.
func (p *plane) in(t *testing.T) *plane {
	q := *p
	q.t = t
	return &q
}

func (p *plane) cluster() resource.Cluster {
	c, _ := p.house.Store().Current().Cluster(at)
	return c
}

// change writes the cluster anew.
func (p *plane) change(change func(*resource.Cluster)) {
	p.t.Helper()
	c := p.cluster()
	change(&c)
	if _, err := p.house.Store().Commit(p.t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Put: c}}}); err != nil {
		p.t.Fatal(err)
	}
}

// kubeconfig is one with a token. kubectl reads JSON as YAML.
func (p *plane) kubeconfig(token string) string {
	p.t.Helper()
	c := p.cluster()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": c.Endpoint, "certificate-authority-data": []byte(c.CertificateAuthority)}}},
		"users":    []any{map[string]any{"name": "u", "user": map[string]any{"token": token}}},
		"contexts": []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c", "user": "u"}}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// write writes a file into the folder of the test, and returns its path.
func (p *plane) write(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func (p *plane) token() string {
	p.t.Helper()
	ca, err := os.ReadFile(house.Dir(p.dir + "/data").CA())
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	res, err := client.PostForm(p.house.Authority()+"/"+tenant.ID.String()+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"password"}, "client_id": {azClient}, "username": {boss.UserPrincipalName}, "password": {password}, "scope": {kubeServer + "/.default"}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		p.t.Fatalf("%s, %v", res.Status, err)
	}
	return answer.AccessToken
}

// kubectl runs kubectl with a manifest on its input.
func (p *plane) kubectl(manifest string, args ...string) (string, error) {
	return p.kubectlBy("kubeconfig", manifest, args...)
}

func (p *plane) kubectlBy(kubeconfig, manifest string, args ...string) (string, error) {
	cmd := exec.CommandContext(p.t.Context(), p.kube, append([]string{"kubectl", "--kubeconfig", filepath.Join(p.dir, kubeconfig)}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+p.dir)
	cmd.Stdin = strings.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (p *plane) must(manifest string, args ...string) string {
	p.t.Helper()
	out, err := p.kubectl(manifest, args...)
	if err != nil {
		p.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return out
}

// get returns an object of the cluster.
func get[T any](p *plane, args ...string) T {
	p.t.Helper()
	var v T
	out := p.must("", append([]string{"get", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		p.t.Fatalf("%v in %s", err, out)
	}
	return v
}

// until waits for what others bring about.
func (p *plane) until(what string, done func() bool) {
	p.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !done(); {
		select {
		case <-tick.C:
		case <-end:
			p.t.Fatalf("waited a minute in vain: %s", what)
		}
	}
}
