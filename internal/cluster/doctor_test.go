package cluster_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// diagnose lists what is not fine, in one line.
func diagnose(findings []cluster.Finding) string {
	var bad []string
	for _, f := range findings {
		if f.Severity != cluster.Fine {
			bad = append(bad, f.ID+": "+string(f.Severity))
		}
	}
	slices.Sort(bad)
	return strings.Join(bad, ", ")
}

const dir = "/etc/kubernetes/gatehouse/"

// healthy is a kubeadm cluster as Attach wants it, seen through its files.
func healthy(t *testing.T, s *stub) (cluster.Patient, map[string][]byte) {
	t.Helper()
	conf := attachment(cluster.Kubeadm)
	conf.House = s.House
	disk := map[string][]byte{}
	for name, data := range must(cluster.Attach(conf)) {
		if short, ok := strings.CutPrefix(name, "gatehouse/"); ok {
			disk[dir+short] = data
		}
	}
	return cluster.Patient{
		Flags: []string{"kube-apiserver", "--secure-port=6443",
			"--authentication-config=" + dir + "authentication.yaml",
			"--authentication-token-webhook-config-file", dir + "tokenreview.kubeconfig",
			"--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=0s",
			"--authorization-config=" + dir + "authorization.yaml"},
		ReadFile: func(path string) ([]byte, error) {
			data, ok := disk[path]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return data, nil
		},
		Scope: prod, Now: time.Now(),
	}, disk
}

// What is only seen in a running API server, when there is none at hand.
const noLive = "live-anonymous: not evaluated, live-authorization: not evaluated, live-sign-in: not evaluated, rbac-everybody: not evaluated, rbac-group-names: not evaluated, rbac-kubernetes: not evaluated"

func TestDoctorOnTheTwoConfigurations(t *testing.T) { // WH-09
	t.Parallel()
	t.Run("what attach writes is fine, and what was not looked at is not called fine", func(t *testing.T) {
		t.Parallel()
		p, _ := healthy(t, newStub(t))
		if got := diagnose(cluster.Doctor(t.Context(), p)); got != noLive {
			t.Errorf("found %s", got)
		}
	})
	t.Run("the flags from before structured configuration are errors", func(t *testing.T) {
		t.Parallel()
		p, disk := healthy(t, newStub(t))
		disk["/etc/webhook"] = disk[dir+"subjectaccessreview.kubeconfig"]
		p.Flags = []string{"--authorization-mode=Node,RBAC,Webhook", "--authorization-webhook-config-file=/etc/webhook",
			"--authentication-token-webhook-config-file=" + dir + "tokenreview.kubeconfig"}
		want := "authn-anonymous: warning, authn-cache: warning, authn-webhook: error, authz-cache-allowed: error, authz-cache-refused: warning, " +
			"authz-failure-policy: error, authz-legacy-flags: error, authz-match-conditions: error, authz-order: error, authz-review-version: error, " + noLive
		if got := diagnose(cluster.Doctor(t.Context(), p)); got != want {
			t.Errorf("found %s\nwant  %s", got, want)
		}
	})
	t.Run("nothing at hand is nothing evaluated", func(t *testing.T) {
		t.Parallel()
		for _, f := range cluster.Doctor(t.Context(), cluster.Patient{Now: time.Now()}) {
			if f.Severity != cluster.NotEvaluated {
				t.Errorf("%s: %s: %s", f.ID, f.Severity, f.What)
			}
		}
	})
}

func TestDoctorNames(t *testing.T) {
	t.Parallel()
	conf := dir + "authorization.yaml"
	edit := func(file, old, new string) func(*testing.T, *cluster.Patient, map[string][]byte) {
		return func(t *testing.T, _ *cluster.Patient, disk map[string][]byte) {
			if !strings.Contains(string(disk[file]), old) {
				t.Fatalf("%s has no %q to change", file, old)
			}
			disk[file] = []byte(strings.Replace(string(disk[file]), old, new, 1))
		}
	}
	flag := func(flags ...string) func(*testing.T, *cluster.Patient, map[string][]byte) {
		return func(_ *testing.T, p *cluster.Patient, _ map[string][]byte) { p.Flags = append(p.Flags, flags...) }
	}
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *cluster.Patient, map[string][]byte)
		want   string
	}{
		{"a webhook that fails open", edit(conf, "failurePolicy: Deny", "failurePolicy: NoOpinion"), "authz-failure-policy: error"},
		{"remembered allows", edit(conf, "cacheAuthorizedRequests: false", "authorizedTTL: 0s"), "authz-cache-allowed: error"},
		{"remembered refusals", edit(conf, "cacheUnauthorizedRequests: false", "unauthorizedTTL: 0s"), "authz-cache-refused: warning"},
		{"system: users sent to the house", edit(conf, "        - expression: '!request.user.startsWith(''system:'')'\n", ""), "authz-match-conditions: error"},
		{"reviews of an old version", edit(conf, "subjectAccessReviewVersion: v1", "subjectAccessReviewVersion: v1beta1"), "authz-review-version: error"},
		{"RBAC before the webhook", edit(conf, "- type: Node\n    name: node", "- type: RBAC\n    name: node"), "authz-order: error"},
		{"AlwaysAllow", edit(conf, "- type: RBAC", "- type: AlwaysAllow"), "authz-always-allow: error"},
		{"a file that the API server would not take", edit(conf, "failurePolicy", "failurePolicies"), "authz-always-allow: not evaluated, authz-cache-allowed: not evaluated, authz-cache-refused: not evaluated, " +
			"authz-failure-policy: not evaluated, authz-match-conditions: not evaluated, authz-order: not evaluated, authz-review-version: not evaluated, authz-webhook-missing: not evaluated, " +
			"clock-skew: not evaluated, webhook-certificates: not evaluated, webhook-cluster: not evaluated, webhook-reachable: not evaluated"},
		{"a left-over legacy flag", flag("--authorization-webhook-cache-authorized-ttl=5m"), "authz-legacy-flags: error"},
		{"static tokens", flag("--token-auth-file=/etc/tokens"), "authn-static-tokens: warning"},
		{"remembered tokens", flag("--authentication-token-webhook-cache-ttl=2m"), "authn-cache: warning"},
		{"no sign-in", flag("--authentication-token-webhook-config-file="), "authn-webhook: error"},
		{"anonymous requests everywhere", flag("--anonymous-auth=true"), "authn-anonymous: warning"},
		{"anonymous requests on one path too many", edit(dir+"authentication.yaml", "/healthz", "/metrics"), "authn-anonymous: warning"},
		{"silence about anonymous requests", edit(dir+"authentication.yaml", "anonymous:\n  enabled: true\n  conditions:\n", "jwt:\n"), "authn-anonymous: warning"},
		{"the files of another cluster", func(_ *testing.T, p *cluster.Patient, _ map[string][]byte) {
			p.Scope = scope.MustParse(strings.Replace(prod.String(), "/prod", "/test", 1))
		}, "webhook-cluster: error"},
		{"a URL of another cluster", edit(dir+"subjectaccessreview.kubeconfig", "/managedclusters/prod/", "/managedclusters/prod2/"), "webhook-cluster: error"},
		{"a house that is not there", edit(dir+"subjectaccessreview.kubeconfig", "https://127.0.0.1:", "https://127.0.0.2:"), "clock-skew: not evaluated, webhook-reachable: error"},
		{"certificates that end soon", func(_ *testing.T, p *cluster.Patient, _ map[string][]byte) { p.Now = p.Now.Add(75 * 24 * time.Hour) },
			"clock-skew: warning, webhook-certificates: warning"},
		{"a clock that is a minute behind", func(_ *testing.T, p *cluster.Patient, _ map[string][]byte) { p.Now = p.Now.Add(-time.Minute) }, "clock-skew: warning"},
		{"a certificate of a strange authority", func(t *testing.T, _ *cluster.Patient, disk map[string][]byte) {
			ca := must(pki.NewCA("strange", time.Now(), 90*24*time.Hour))
			pair := must(ca.Issue(pki.Leaf{CommonName: "x", Client: true, Life: 90 * 24 * time.Hour, IPs: []net.IP{},
				URIs: []*url.URL{{Scheme: "gatehouse", Opaque: "cluster:" + prod.String()}}}, time.Now()))
			disk[dir+"house-client.crt"], disk[dir+"house-client.key"] = pair.CertPEM, pair.KeyPEM
		}, "clock-skew: not evaluated, webhook-reachable: error"},
		{"a certificate that names no cluster", func(t *testing.T, _ *cluster.Patient, disk map[string][]byte) {
			ca := must(pki.NewCA("strange", time.Now(), 90*24*time.Hour))
			pair := must(ca.Issue(pki.Leaf{CommonName: "x", Client: true, Life: 90 * 24 * time.Hour}, time.Now()))
			disk[dir+"house-client.crt"], disk[dir+"house-client.key"] = pair.CertPEM, pair.KeyPEM
		}, "clock-skew: not evaluated, webhook-cluster: error, webhook-reachable: error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, disk := healthy(t, newStub(t))
			disk = maps.Clone(disk)
			p.ReadFile = func(path string) ([]byte, error) {
				if data, ok := disk[path]; ok {
					return data, nil
				}
				return nil, fs.ErrNotExist
			}
			tt.change(t, &p, disk)
			got := diagnose(slices.DeleteFunc(cluster.Doctor(t.Context(), p), func(f cluster.Finding) bool {
				return strings.HasPrefix(f.ID, "live-") || strings.HasPrefix(f.ID, "rbac-")
			}))
			if got != tt.want {
				t.Errorf("found %s\nwant  %s", got, tt.want)
			}
		})
	}
}

func TestEveryFindingSaysWhatToDo(t *testing.T) {
	t.Parallel()
	p, _ := healthy(t, newStub(t))
	p.Flags = []string{"--authorization-mode=AlwaysAllow"}
	for _, f := range cluster.Doctor(t.Context(), p) {
		if f.What == "" || f.Severity != cluster.Fine && (f.Why == "" || f.Fix == "") {
			t.Errorf("%+v", f)
		}
	}
}

func TestFlagsAreRead(t *testing.T) {
	t.Parallel()
	manifest := "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: kube-apiserver\n    command: [kube-apiserver, --a=b]\n    args: [--c]\n"
	if got := fmt.Sprint(must(cluster.ManifestFlags([]byte(manifest)))); got != "[kube-apiserver --a=b --c]" {
		t.Error(got)
	}
	for _, bad := range []string{"", "spec: [", "spec: {containers: [{name: etcd, command: [etcd]}]}"} {
		if flags, err := cluster.ManifestFlags([]byte(bad)); err == nil {
			t.Errorf("%q has the flags %v", bad, flags)
		}
	}
	for _, tt := range []struct{ config, want string }{
		{"kube-apiserver-arg+:\n- authorization-config=/x\n- authentication-config=/y\n", "[--authorization-config=/x --authentication-config=/y]"},
		{"write-kubeconfig-mode: \"0600\"\n", "[--anonymous-auth=false --authorization-mode=Node,RBAC]"},
		{"kube-apiserver-arg: v=1\n", "[--anonymous-auth=false --authorization-mode=Node,RBAC --v=1]"},
	} {
		if got := fmt.Sprint(must(cluster.K3sFlags([]byte(tt.config)))); got != tt.want {
			t.Errorf("k3s with %q: %s, want %s", tt.config, got, tt.want)
		}
	}
}

func FuzzManifestFlags(f *testing.F) {
	f.Add([]byte("spec: {containers: [{name: kube-apiserver, command: [kube-apiserver]}]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if flags, err := cluster.ManifestFlags(data); (err == nil) == (len(flags) == 0) {
			t.Errorf("%q: flags %v together with %v", data, flags, err)
		}
	})
}

// TestBindingsToEverybodyAreNotLeftOutByTheirName: of what is bound to everybody, only
// what Kubernetes itself binds is fine, with the role that it binds.
func TestBindingsToEverybodyAreNotLeftOutByTheirName(t *testing.T) { // KR-15
	t.Parallel()
	const basic = `{"metadata":{"name":"system:discovery"},"roleRef":{"kind":"ClusterRole","name":"system:discovery"},"subjects":[{"kind":"Group","name":"system:authenticated"}]}`
	binding := func(name, namespace, role, kind, subject string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":%q},"roleRef":{"kind":"ClusterRole","name":%q},"subjects":[{"kind":%q,"name":%q}]}`, name, namespace, role, kind, subject)
	}
	for _, tt := range []struct {
		law, cluster, namespaced, want string
	}{
		{"what Kubernetes binds", basic, "", "ok"},
		{"its name with another role", binding("system:discovery", "", "cluster-admin", "Group", "system:authenticated"), "", "warning"},
		{"its name in a namespace", basic, binding("system:discovery", "shop", "system:discovery", "Group", "system:authenticated"), "warning"},
		{"the user that stands for nobody", binding("open", "", "view", "User", "system:anonymous"), "", "warning"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings":
					fmt.Fprintf(w, `{"items":[%s]}`, tt.cluster)
				case "/apis/rbac.authorization.k8s.io/v1/rolebindings":
					fmt.Fprintf(w, `{"items":[%s]}`, tt.namespaced)
				default:
					http.NotFound(w, r)
				}
			}))
			defer server.Close()
			p, _ := healthy(t, newStub(t))
			p.API = &cluster.API{Server: server.URL, Client: server.Client()}
			for _, f := range cluster.Doctor(t.Context(), p) {
				if f.ID == "rbac-everybody" && string(f.Severity) != tt.want {
					t.Errorf("%s, want %s: %s", f.Severity, tt.want, f.What)
				}
			}
		})
	}
}

// TestRolesOfKubernetesAreHeldAgainstUpstream: what is bound by Kubernetes itself is fine
// as long as it gives what Kubernetes makes it give, and not by its name.
func TestRolesOfKubernetesAreHeldAgainstUpstream(t *testing.T) { // KR-15
	t.Parallel()
	secrets := kuberbac.Rule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}}
	role := func(namespace, name string, change func(*kuberbac.Role)) func(any) any {
		return func(rec any) any {
			if r, ok := rec.(kuberbac.Role); ok && r.Namespace == namespace && r.Name == name {
				r.Rules = slices.Clone(r.Rules)
				change(&r)
				return r
			}
			return rec
		}
	}
	add := func(r *kuberbac.Role) { r.Rules = append(r.Rules, secrets) }
	binding := func(name string, change func(*kuberbac.Binding)) func(any) any {
		return func(rec any) any {
			if b, ok := rec.(kuberbac.Binding); ok && b.Namespace == "" && b.Name == name {
				b.Subjects = slices.Clone(b.Subjects)
				change(&b)
				return b
			}
			return rec
		}
	}
	subject := func(kind kuberbac.SubjectKind, name string) func(*kuberbac.Binding) {
		return func(b *kuberbac.Binding) {
			b.Subjects = append(b.Subjects, kuberbac.Subject{Kind: kind, Name: name})
		}
	}
	same := func(rec any) any { return rec }
	clusterInfo := func(rules ...kuberbac.Rule) kuberbac.Role {
		return kuberbac.Role{Cluster: prod, Namespace: "kube-public", Name: "kubeadm:bootstrap-signer-clusterinfo",
			Rules: append(rules, kuberbac.Rule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"cluster-info"}})}
	}
	for _, tt := range []struct {
		law     string
		change  func(any) any
		more    []record.Record
		version string
		want    cluster.Severity
		says    string
	}{
		{"what Kubernetes makes", same, []record.Record{clusterInfo()}, "36", cluster.Fine, "all "},
		{"of another version, too", same, nil, "35+", cluster.Fine, ""},
		{"a role of which something was taken", role("", "system:discovery", func(r *kuberbac.Role) { r.Rules = nil }), nil, "36", cluster.Fine, ""},
		{"secrets for whoever signs in", role("", "system:basic-user", add), nil, "36", cluster.Warning, `ClusterRole system:basic-user: "get secrets"`},
		{"in any version", role("", "system:discovery", add), nil, "99", cluster.Warning, "system:discovery"},
		{"a path for the whole network", role("", "system:public-info-viewer", func(r *kuberbac.Role) {
			r.Rules = append(r.Rules, kuberbac.Rule{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}})
		}), nil, "36", cluster.Warning, `"get /metrics"`},
		{"a star in what there is", role("", "system:discovery", func(r *kuberbac.Role) { r.Rules[0].Verbs = []string{"*"} }), nil, "36", cluster.Warning, "and "},
		{"what all service accounts have", role("", "system:service-account-issuer-discovery", add), nil, "99", cluster.Warning, ""},
		{"what nobody needs who signs in to kubeadm", same, []record.Record{clusterInfo(secrets)}, "99", cluster.Warning, "Role kube-public/kubeadm:bootstrap-signer-clusterinfo"},
		{"what view takes on", role("", "system:aggregate-to-view", add), nil, "36", cluster.Warning, "system:aggregate-to-view"},
		{"what view takes on besides is what it is for", role("", "view", func(r *kuberbac.Role) { r.Aggregate = nil; add(r) }), nil, "36", cluster.Fine, ""},
		{"a part of Kubernetes", role("", "system:kube-scheduler", add), nil, "36", cluster.Warning, `"get secrets"`},
		{"a controller", role("", "system:controller:job-controller", add), nil, "36", cluster.Warning, "system:controller:job-controller"},
		{"a role in a namespace of Kubernetes", role("kube-system", "extension-apiserver-authentication-reader", add), nil, "36", cluster.Warning, "Role kube-system/extension-apiserver-authentication-reader"},
		{"a part of another version is not known", role("", "system:kube-scheduler", add), nil, "37", cluster.NotEvaluated, "1.37"},
		{"nor that of one that does not say which", role("", "system:kube-scheduler", add), nil, "", cluster.NotEvaluated, "not known"},
		{"discovery for the whole network", binding("system:discovery", subject(kuberbac.Group, "system:unauthenticated")), nil, "99", cluster.Warning, `Group "system:unauthenticated"`},
		{"somebody who is a scheduler", binding("system:kube-scheduler", subject(kuberbac.User, "eve")), nil, "36", cluster.Warning, `ClusterRoleBinding system:kube-scheduler: User "eve"`},
		{"another role", binding("system:monitoring", func(b *kuberbac.Binding) { b.Role = "cluster-admin" }), nil, "36", cluster.Warning, `it gives ClusterRole "cluster-admin"`},
		{"a cluster that shows nothing", func(any) any { return nil }, nil, "36", cluster.NotEvaluated, ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			lists := map[string][]json.RawMessage{"clusterroles": nil, "roles": nil, "clusterrolebindings": nil, "rolebindings": nil}
			for rec := range everything(tt.more) {
				object := tt.change(rec)
				if object == nil {
					continue
				}
				data := must(kuberbac.ToObject(object.(record.Record)))
				var is struct{ Kind string }
				if err := json.Unmarshal(data, &is); err != nil {
					t.Fatal(err)
				}
				kind := strings.ToLower(is.Kind) + "s"
				lists[kind] = append(lists[kind], json.RawMessage(data))
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if list, ok := lists[path.Base(r.URL.Path)]; ok {
					json.NewEncoder(w).Encode(map[string]any{"items": list})
				} else if r.URL.Path == "/version" && tt.version != "" {
					fmt.Fprintf(w, `{"major":"1","minor":%q}`, tt.version)
				} else {
					http.NotFound(w, r)
				}
			}))
			defer server.Close()
			p, _ := healthy(t, newStub(t))
			p.API = &cluster.API{Server: server.URL, Client: server.Client()}
			for _, f := range cluster.Doctor(t.Context(), p) {
				if f.ID == "rbac-kubernetes" && (f.Severity != tt.want || !strings.Contains(f.What, tt.says)) {
					t.Errorf("%s, want %s that says %q: %s", f.Severity, tt.want, tt.says, f.What)
				}
			}
		})
	}
}

// everything is what Kubernetes makes in a new cluster, and more.
func everything(more []record.Record) iter.Seq[record.Record] {
	return func(yield func(record.Record) bool) {
		for _, all := range []iter.Seq[record.Record]{kuberbac.Defaults(prod), kuberbac.OfItself(prod), slices.Values(more)} {
			for rec := range all {
				if !yield(rec) {
					return
				}
			}
		}
	}
}
