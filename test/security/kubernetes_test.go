// Package security_test tries attacks against real control planes, with the real
// kubectl. It needs gatehouse-kube: make test builds it and names it in
// GATEHOUSE_KUBE.
package security_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const (
	password   = "correct horse battery"
	azClient   = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	kubeServer = "6dae42f8-4368-4678-94ff-3960e28e3630"
	sub        = "/subscriptions/50000000-0000-4000-8000-0000000000e0"
)

func idOf[T ~[16]byte](text string) T { return T(guid.MustParse[struct{}](text)) }

var (
	tenant = directory.Tenant{ID: idOf[directory.TenantID]("10000000-0000-4000-8000-0000000000e0"), Domains: []string{"e.example"}, AllowPasswordGrant: true}
	boss   = directory.User{ID: idOf[principal.ID]("20000000-0000-4000-8000-0000000000e1"), Tenant: tenant.ID, UserPrincipalName: "boss@e.example"}
	ana    = directory.User{ID: idOf[principal.ID]("20000000-0000-4000-8000-0000000000e2"), Tenant: tenant.ID, UserPrincipalName: "ana@e.example"}
	admins = directory.Group{ID: idOf[principal.ID]("30000000-0000-4000-8000-0000000000e1"), Tenant: tenant.ID, DisplayName: "admins"}
	at     = scope.MustParse(sub + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/sec")
)

func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A plane is a house with one control plane, for all cases of a test.
type plane struct {
	t    *testing.T
	conf house.Config
	dir  string
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	kube := os.Getenv("GATEHOUSE_KUBE")
	if _, err := os.Stat(kube); kube == "" || err != nil {
		t.Skip("GATEHOUSE_KUBE names no gatehouse-kube binary; make test builds one and sets it")
	}
	dir := t.TempDir()
	p := &plane{t: t, dir: dir, conf: house.Config{
		Dir: house.Dir(dir + "/data"), Listen: free(t), WebhookListen: free(t), Kube: kube, FirstPassword: password,
		First: []record.Record{
			tenant, boss, ana, admins, directory.Membership{Group: admins.ID, Member: boss.ID},
			resource.Subscription{Scope: scope.MustParse(sub), Tenant: tenant.ID},
			resource.Group{Scope: scope.MustParse(sub + "/resourceGroups/rg"), Name: "rg"},
			resource.Cluster{Scope: at, Name: "sec", ResourceGroup: "rg", Tenant: tenant.ID, EntraSignIn: true, AdminGroups: []principal.ID{admins.ID}},
		},
		Progress: func(step string) { t.Log(step) },
	}}
	h, err := house.Start(t.Context(), p.conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Stop)
	c, _ := h.Store().Current().Cluster(at)
	for _, u := range []directory.User{boss, ana} {
		// kubectl reads JSON as YAML.
		text, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "Config", "current-context": "c",
			"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": c.Endpoint, "certificate-authority-data": []byte(c.CertificateAuthority)}}},
			"users":    []any{map[string]any{"name": "u", "user": map[string]any{"token": p.token(u)}}},
			"contexts": []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c", "user": "u"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p.kubeconfig(u), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *plane) kubeconfig(u directory.User) string {
	name, _, _ := strings.Cut(u.UserPrincipalName, "@")
	return filepath.Join(p.dir, name+".kubeconfig")
}

func (p *plane) token(u directory.User) string {
	p.t.Helper()
	ca, err := os.ReadFile(p.conf.Dir.CA())
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	res, err := client.PostForm("https://"+p.conf.Listen+"/"+tenant.ID.String()+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"password"}, "client_id": {azClient}, "username": {u.UserPrincipalName}, "password": {password}, "scope": {kubeServer + "/.default"}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		p.t.Fatalf("%d %s", res.StatusCode, body)
	}
	return answer.AccessToken
}

// kubectl runs kubectl as somebody, with a manifest on its input.
func (p *plane) kubectl(u directory.User, manifest string, args ...string) (string, error) {
	cmd := exec.CommandContext(p.t.Context(), p.conf.Kube, append([]string{"kubectl", "--kubeconfig", p.kubeconfig(u)}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+p.dir)
	cmd.Stdin = strings.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (p *plane) must(u directory.User, manifest string, args ...string) {
	p.t.Helper()
	if out, err := p.kubectl(u, manifest, args...); err != nil {
		p.t.Fatalf("kubectl %v as %s: %v\n%s", args, u.UserPrincipalName, err, out)
	}
}

// until waits for what the controllers of the cluster bring about.
func (p *plane) until(done func() bool) {
	p.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(30 * time.Second); !done(); {
		select {
		case <-tick.C:
		case <-end:
			p.t.Fatal("waited 30s in vain")
		}
	}
}

const writersRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: role-writer}
rules:
- {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings, clusterroles, clusterrolebindings], verbs: [get, list, create, update, patch]}
- {apiGroups: [""], resources: [pods], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: role-writer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: role-writer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ana@e.example}]
`

func role(kind, name, meta, resource, verb string) string {
	return fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata: {name: %s%s}\nrules:\n- {apiGroups: [\"\"], resources: [%s], verbs: [%s]}\n", kind, name, meta, resource, verb)
}

func binding(name, to string) string {
	return fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: %s, namespace: default}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %s}\nsubjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ana@e.example}]\n", name, to)
}

// KR-02, KR-03, KR-05, KR-12: who may write roles and bindings gives himself
// nothing by it that he does not have.
func TestWhoWritesRolesGetsNothingByIt(t *testing.T) {
	p := newPlane(t)
	p.must(boss, writersRights, "apply", "-f", "-")
	// A new cluster's view and edit are empty until they are aggregated, and to an
	// empty role anybody may bind.
	p.until(func() bool {
		out, err := p.kubectl(boss, "", "get", "clusterroles", "view", "edit", "-o", "jsonpath={.items[*].rules[0].verbs[0]}")
		return err == nil && len(strings.Fields(out)) == 2
	})
	const ns = ", namespace: default"
	const extra = "attempting to grant RBAC permissions not currently held"
	grant := func(verb, resource, name string) string { // what the boss gives Ana on top
		names := ""
		if name != "" {
			names = ", resourceNames: [" + name + "]"
		}
		return fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: more}\nrules:\n- {apiGroups: [rbac.authorization.k8s.io], resources: [%s], verbs: [%s]%s}\n---\n", resource, verb, names) +
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: more}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: more}\nsubjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ana@e.example}]\n"
	}
	for _, tt := range []struct {
		law, given, manifest string
		args                 []string
		refused              string // "" means that it works
	}{
		{"KR-02: a role with what she has", "", role("Role", "mine", ns, "pods", "get"), nil, ""},
		{"KR-02: a role with more", "", role("Role", "more-than-mine", ns, "secrets", "get"), nil, extra},
		{"KR-02: a role with more of the same", "", role("Role", "more-than-mine", ns, "pods", "delete"), nil, extra},
		{"KR-02: adding to her own role", "", role("ClusterRole", "role-writer", "", `"*"`, `"*"`), nil, extra},
		{"KR-03: a binding to cluster-admin", "", binding("top", "cluster-admin"), nil, extra},
		{"KR-03: a binding to view, which reads more than pods", "", binding("v", "view"), nil, extra},
		{"KR-05: a role that is aggregated into view", "", role("ClusterRole", "into-view", `, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}`, "secrets", "get"), nil, extra},
		{"KR-05: a role that aggregates others", "", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all-of-them}\naggregationRule: {clusterRoleSelectors: [{matchLabels: {rbac.authorization.k8s.io/aggregate-to-admin: \"true\"}}]}\nrules: []\n", nil, "must have cluster-admin privileges"},
		{"KR-12: as a node", "", "", []string{"get", "secrets", "--as", "system:node:x", "--as-group", "system:nodes"}, "cannot impersonate"},
		{"KR-12: as a master", "", "", []string{"get", "secrets", "--as", "x", "--as-group", "system:masters"}, "cannot impersonate"},
		{"KR-03: with bind on view, by name", grant("bind", "clusterroles", "view"), binding("v", "view"), nil, ""},
		{"KR-03: and on no other role", "", binding("e", "edit"), nil, extra},
		{"KR-02: with escalate", grant("escalate", "roles", ""), role("Role", "more-than-mine", ns, "secrets", "get"), nil, ""},
		{"KR-02: which is for roles, not for cluster roles", "", role("ClusterRole", "wide", "", "secrets", "get"), nil, extra},
	} {
		t.Run(tt.law, func(t *testing.T) {
			if tt.given != "" {
				p.must(boss, tt.given, "apply", "-f", "-")
			}
			args := tt.args
			if args == nil {
				args = []string{"apply", "-f", "-"}
			}
			out, err := p.kubectl(ana, tt.manifest, args...)
			if tt.refused == "" && err != nil || tt.refused != "" && (err == nil || !strings.Contains(out, tt.refused) || !strings.Contains(out, "orbidden")) {
				t.Errorf("%v: %s, want a refusal that says %q", err, out, tt.refused)
			}
		})
	}
}
