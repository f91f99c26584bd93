package cluster_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

var (
	anna   = must(principal.ParseID("aaaaaaaa-0000-4000-8000-000000000001"))
	admins = must(principal.ParseID("aaaaaaaa-0000-4000-8000-0000000000ad"))
	others = must(principal.ParseID("aaaaaaaa-0000-4000-8000-0000000000ae"))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func config(t *testing.T, s *stub) cluster.Config {
	t.Helper()
	return cluster.Config{
		Name: "prod", Scope: prod, Dir: filepath.Join(t.TempDir(), "prod"), Binary: binary(t),
		Etcd:        cluster.Etcd{Endpoints: []string{etcd(t, t.TempDir())}},
		House:       s.House,
		AdminGroups: []principal.ID{admins},
		Progress:    func(step string) { t.Log(step) },
	}
}

func start(t *testing.T, conf cluster.Config) *cluster.Cluster {
	t.Helper()
	begin := time.Now()
	c, err := cluster.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	t.Logf("started in %.1f s", time.Since(begin).Seconds())
	return c
}

// A caller asks the API server as somebody.
type caller struct {
	server string
	client *http.Client
	token  string
}

func as(t *testing.T, c *cluster.Cluster, token string, certs ...tls.Certificate) caller {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.CA())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return caller{c.Server(), &http.Client{Transport: tr, Timeout: 30 * time.Second}, token}
}

// get returns the status, the body and how long the answer took. The path is sent
// as it is, dots and escapes included.
func (c caller) get(t *testing.T, rawPath string) (int, string, time.Duration) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.server, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, query, _ := strings.Cut(rawPath, "?")
	req.URL.Opaque = "//" + req.URL.Host + raw
	req.URL.RawQuery = query
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	begin := time.Now()
	res, err := c.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body), time.Since(begin)
}

func (c caller) want(t *testing.T, path string, code int) string {
	t.Helper()
	got, body, _ := c.get(t, path)
	if got != code {
		t.Errorf("GET %s = %d, want %d: %s", path, got, code, body)
	}
	return body
}

const (
	pods    = "/api/v1/namespaces/default/pods"
	secrets = "/api/v1/namespaces/kube-system/secrets"
)

func user(name string, groups ...string) func(review) map[string]any {
	return func(in review) map[string]any {
		return map[string]any{"authenticated": true, "audiences": in.Spec.Audiences,
			"user": map[string]any{"username": name, "groups": groups}}
	}
}

// What a real kube-apiserver does with our configuration and the house's answers.
func TestControlPlane(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	c := start(t, config(t, s))

	t.Run("WH-13 WH-14 0.7 a revoked grant is refused on the next request", func(t *testing.T) {
		s.knows(user("anna@example.com", "g1"))
		me := as(t, c, "anna-token")
		var worst time.Duration
		for range 20 {
			s.says(map[string]any{"allowed": true})
			me.want(t, pods, http.StatusOK)
			s.says(map[string]any{"allowed": false, "reason": "not granted"})
			code, body, took := me.get(t, pods)
			if code != http.StatusForbidden || !strings.Contains(body, "not granted") {
				t.Fatalf("after the revocation: %d %s", code, body)
			}
			worst = max(worst, took)
		}
		if worst > soon {
			t.Errorf("a refusal took %v, want at most %v", worst, soon)
		}
		t.Logf("slowest refusal of 20: %v", worst)
	})

	t.Run("0.8 what the house denies RBAC cannot grant", func(t *testing.T) {
		s.knows(user("boss@example.com", admins.String()))
		me := as(t, c, "boss-token")
		s.says(map[string]any{"allowed": false})
		// By the binding of the admin group, which the API server has to see first.
		eventually(t, patience, "the admin group is in", func() bool { code, _, _ := me.get(t, secrets); return code == http.StatusOK })
		s.says(map[string]any{"allowed": false, "denied": true, "reason": "disabled"})
		me.want(t, secrets, http.StatusForbidden)
	})

	t.Run("KR-13 no system: user reaches the house", func(t *testing.T) {
		s.says(map[string]any{"allowed": false, "denied": true})
		s.forget()
		mirror := as(t, c, "", must(must(c.IssueMirror(time.Hour)).TLS()))
		mirror.want(t, "/apis/rbac.authorization.k8s.io/v1/clusterroles", http.StatusOK)
		mirror.want(t, secrets, http.StatusForbidden)
		as(t, c, "").want(t, "/readyz", http.StatusOK)
		for _, r := range s.reviews(func(r review) bool { return r.Spec.User != "" }) {
			t.Errorf("the house was asked about %q", r.Spec.User)
		}
	})

	t.Run("anonymous requests reach the health checks and nothing else", func(t *testing.T) {
		nobody := as(t, c, "")
		for _, p := range []string{"/livez", "/readyz", "/healthz"} {
			nobody.want(t, p, http.StatusOK)
		}
		for _, p := range []string{"/version", "/openid/v1/jwks", pods, "/readyz/etcd"} {
			nobody.want(t, p, http.StatusUnauthorized)
		}
	})

	t.Run("LA-02 a local administrator is known by his certificate, and its authority can go", func(t *testing.T) {
		s.forget()
		s.says(map[string]any{"allowed": false})
		admin := must(c.IssueLocalAdmin(anna, 0))
		if life := time.Until(admin.NotAfter); life > 24*time.Hour {
			t.Errorf("lives for %v, want at most 24 h", life)
		}
		me := as(t, c, "", must(admin.Pair.TLS()))
		me.want(t, secrets, http.StatusOK)
		asked := s.reviews(func(r review) bool { return r.Spec.User == admin.User })
		if len(asked) == 0 {
			t.Fatalf("the house was not asked about %s", admin.User)
		}
		if got := asked[0].Spec.Extra[cluster.CredentialIDKey]; len(got) != 1 || got[0] != admin.CredentialID {
			t.Errorf("credential id = %q, want %q", got, admin.CredentialID)
		}
		if got := fmt.Sprint(asked[0].Spec.Groups); got != "[gatehouse:local-admins system:authenticated]" {
			t.Errorf("groups = %s", got)
		}

		s.does(func(_ http.ResponseWriter, _ *http.Request, r review) map[string]any {
			return map[string]any{"allowed": false, "denied": r.Spec.Extra[cluster.CredentialIDKey][0] == admin.CredentialID}
		})
		me.want(t, secrets, http.StatusForbidden) // this one, at once
		second := must(c.IssueLocalAdmin(anna, time.Hour))
		as(t, c, "", must(second.Pair.TLS())).want(t, secrets, http.StatusOK) // and no other

		if err := c.RotateLocalAdmins(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		eventually(t, patience, "the old certificate is refused", func() bool {
			code, _, _ := as(t, c, "", must(second.Pair.TLS())).get(t, secrets)
			return code == http.StatusUnauthorized
		})
		t.Logf("the old authority was gone after %v", time.Since(begin))
		third := must(c.IssueLocalAdmin(anna, time.Hour))
		as(t, c, "", must(third.Pair.TLS())).want(t, secrets, http.StatusOK)
	})

	t.Run("admin groups follow their list", func(t *testing.T) {
		s.says(map[string]any{"allowed": false})
		s.knows(user("new@example.com", others.String()))
		me := as(t, c, "new-token")
		me.want(t, secrets, http.StatusForbidden)
		if err := c.SetAdminGroups(t.Context(), []principal.ID{others}); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "the new group is in", func() bool { code, _, _ := me.get(t, secrets); return code == http.StatusOK })
		s.knows(user("boss2@example.com", admins.String()))
		as(t, c, "boss2-token").want(t, secrets, http.StatusForbidden)
		if err := c.SetAdminGroups(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "nobody is in", func() bool { code, _, _ := me.get(t, secrets); return code == http.StatusForbidden })
	})

	t.Run("0.5 the API server asks nobody about a user whom TokenReview puts into system:masters", func(t *testing.T) {
		s.says(map[string]any{"allowed": false, "denied": true})
		s.knows(user("eve@example.com", "system:masters"))
		as(t, c, "eve-token").want(t, secrets, http.StatusOK) // so the house must never say that
	})

	t.Run("0.6 the API server takes silence about audiences for its own", func(t *testing.T) {
		s.forget()
		s.says(map[string]any{"allowed": true})
		s.knows(func(review) map[string]any {
			return map[string]any{"authenticated": true, "user": map[string]any{"username": "sil@example.com"}}
		})
		as(t, c, "silent-token").want(t, pods, http.StatusOK) // so the house must never be silent
		asked := s.reviews(func(r review) bool { return r.Spec.Token == "silent-token" })
		if len(asked) == 0 || fmt.Sprint(asked[0].Spec.Audiences) != "["+c.ServiceAccountIssuer()+"]" {
			t.Errorf("the API server asked for %+v", asked)
		}
		s.knows(func(review) map[string]any {
			return map[string]any{"authenticated": true, "audiences": []string{"https://elsewhere"}, "user": map[string]any{"username": "els@example.com"}}
		})
		as(t, c, "token-for-elsewhere").want(t, pods, http.StatusUnauthorized)
	})

	t.Run("what the house is asked about strange paths and selectors", func(t *testing.T) {
		s.knows(user("bob@example.com"))
		s.says(map[string]any{"allowed": true})
		me := as(t, c, "bob-token")
		for _, tt := range []struct{ name, path, want string }{
			{"0.10 dot segments of a path arrive as they are", "/healthz/../bob/x", `get /healthz/../bob/x`},
			{"0.10 escaped ones arrive decoded", "/healthz%2f..%2fbob//x/./y", `get /healthz/../bob//x/./y`},
			{"0.11 an escaped slash in a namespace makes other attributes", "/api/v1/namespaces/..%2f..%2fx/pods/a",
				`{"namespace":"..","verb":"get","resource":"..","subresource":"pods","name":"x","fieldSelector":null,"labelSelector":null}`},
			{"0.12 a selector for one name is a name too", pods + "?fieldSelector=metadata.name=a",
				`{"namespace":"default","verb":"list","resource":"pods","subresource":"","name":"a","fieldSelector":{"requirements":[{"key":"metadata.name","operator":"In","values":["a"]}]},"labelSelector":null}`},
			{"0.12 label selectors come too", pods + "?labelSelector=app%3Dweb",
				`{"namespace":"default","verb":"list","resource":"pods","subresource":"","name":"","fieldSelector":null,"labelSelector":{"requirements":[{"key":"app","operator":"In","values":["web"]}]}}`},
		} {
			s.forget()
			me.get(t, tt.path)
			asked := s.reviews(func(r review) bool { return r.Spec.User == "bob@example.com" })
			if len(asked) != 1 {
				t.Errorf("%s: the house was asked %d times", tt.name, len(asked))
				continue
			}
			if got := describe(asked[0]); got != tt.want {
				t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
			}
		}
	})

	t.Run("impersonation: whether one may is asked, what one then does as system: is not", func(t *testing.T) {
		s.knows(user("imp@example.com"))
		s.says(map[string]any{"allowed": true})
		s.forget()
		me := as(t, c, "imp-token")
		req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, c.Server()+pods, nil))
		req.Header.Set("Authorization", "Bearer "+me.token)
		req.Header.Set("Impersonate-User", "system:serviceaccount:default:default")
		res, err := me.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden { // RBAC alone decides, and grants it nothing
			t.Errorf("as the service account: %d", res.StatusCode)
		}
		asked := s.reviews(func(r review) bool { return r.Spec.ResourceAttributes != nil })
		if len(asked) == 0 {
			t.Error("the house was not asked")
		}
		for _, r := range asked {
			t.Logf("%s: %s", r.Spec.User, describe(r))
			if r.Spec.User != "imp@example.com" || !strings.HasPrefix(r.Spec.ResourceAttributes.Verb, "impersonate") {
				t.Errorf("the house was asked about %s: %s", r.Spec.User, describe(r))
			}
		}
	})

	t.Run("no file of the cluster can be read by others, and none holds the key of system:masters", func(t *testing.T) {
		err := filepath.WalkDir(c.Dir(), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode()) // LA-09
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range must(filepath.Glob(filepath.Join(c.Dir(), "pki", "*.crt"))) {
			leaf := must(tlsLeaf(must(os.ReadFile(name))))
			for _, o := range leaf.Subject.Organization {
				t.Errorf("%s is in the group %q", name, o)
			}
		}
	})

	t.Run("WH-09 the doctor finds nothing wrong with a cluster of ours, and what is bound to names", func(t *testing.T) {
		s.says(map[string]any{"allowed": false})
		s.knows(nil)
		patient := must(c.Patient(os.ReadFile))
		for _, f := range cluster.Doctor(t.Context(), patient) {
			if f.Severity != cluster.Fine {
				t.Errorf("%s: %s: %s", f.ID, f.Severity, f.What)
			}
		}
		me := as(t, c, "", must(must(c.IssueLocalAdmin(anna, time.Hour)).Pair.TLS()))
		me.post(t, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", `{"metadata":{"name":"devs"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},
			"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"Developers"},{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"system:authenticated"}]}`, http.StatusCreated)
		patient.Groups = func(string) bool { return false }
		sick := diagnose(cluster.Doctor(t.Context(), patient))
		want := "rbac-everybody: warning, rbac-group-names: warning"
		if sick != want {
			t.Errorf("found %s, want %s", sick, want)
		}
	})

	t.Run("TL-02 renewed certificates are used without a restart", func(t *testing.T) {
		serial := func() string {
			conn, err := tls.Dial("tcp", strings.TrimPrefix(c.Server(), "https://"), &tls.Config{InsecureSkipVerify: true}) // which one is served, not whether it is good
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
		}
		before := serial()
		if err := c.Renew(s.House); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "the new serving certificate is used", func() bool { return serial() != before })
		as(t, c, "").want(t, "/readyz", http.StatusOK)
		if err := c.Renew(cluster.House{TokenReview: "https://x"}); err == nil {
			t.Error("a house without certificates is accepted")
		}
	})

	t.Run("what an estate says about a new cluster is written into it", func(t *testing.T) {
		s.says(map[string]any{"allowed": false})
		err := c.Seed(t.Context(), []record.Record{
			kuberbac.Role{Cluster: prod, Namespace: "shop", Name: "reader", Rules: []kuberbac.Rule{{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"pods"}}}},
			kuberbac.Binding{Cluster: prod, Namespace: "shop", Name: "readers", Role: "reader",
				Subjects: []kuberbac.Subject{{Kind: "User", Name: "seed@example.com"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.knows(user("seed@example.com"))
		me := as(t, c, "seed-token")
		eventually(t, patience, "the binding counts", func() bool {
			code, _, _ := me.get(t, "/api/v1/namespaces/shop/pods")
			return code == http.StatusOK
		})
		me.want(t, pods, http.StatusForbidden)
		if err := c.Seed(t.Context(), []record.Record{directory.Group{}}); err == nil {
			t.Error("a group is seeded into a cluster")
		}
	})

	t.Run("memory", func(t *testing.T) {
		for _, pid := range c.Processes() {
			t.Logf("process %d: %s", pid, rss(pid))
		}
	})

	// The last ones: they leave the house broken.
	s.knows(user("boss@example.com", admins.String()))
	if err := c.SetAdminGroups(t.Context(), []principal.ID{admins}); err != nil {
		t.Fatal(err)
	}
	s.says(map[string]any{"allowed": false})
	eventually(t, patience, "the admin group is in again", func() bool {
		code, _, _ := as(t, c, "boss-token").get(t, secrets)
		return code == http.StatusOK
	})
	for _, tt := range []struct {
		name string
		do   func(http.ResponseWriter, *http.Request, review) map[string]any
	}{
		{"0.7 a house that answers 500 refuses even an administrator", func(w http.ResponseWriter, _ *http.Request, _ review) map[string]any {
			w.WriteHeader(http.StatusInternalServerError)
			return nil
		}},
		{"0.7 a house that hangs refuses even an administrator", func(_ http.ResponseWriter, r *http.Request, _ review) map[string]any {
			<-r.Context().Done()
			return nil
		}},
		{"0.4 a house that says both allowed and denied refuses", func(http.ResponseWriter, *http.Request, review) map[string]any {
			return map[string]any{"allowed": true, "denied": true}
		}},
		{"0.3 a house that answers nonsense refuses", func(w http.ResponseWriter, _ *http.Request, _ review) map[string]any {
			io.WriteString(w, "nonsense")
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			me := as(t, c, "boss-token")
			s.says(map[string]any{"allowed": false})
			me.want(t, secrets, http.StatusOK)
			s.does(tt.do)
			code, body, took := me.get(t, secrets)
			// The API server reports a failed authorizer as an error of its own.
			if code != http.StatusForbidden && code != http.StatusInternalServerError {
				t.Errorf("answer %d %s", code, body)
			}
			if took > soon {
				t.Errorf("took %v, want at most %v", took, soon)
			}
			t.Logf("%d after %v", code, took)
		})
	}
	t.Run("0.7 a dead house refuses even an administrator", func(t *testing.T) {
		me := as(t, c, "boss-token")
		s.says(map[string]any{"allowed": false})
		me.want(t, secrets, http.StatusOK)
		s.server.CloseClientConnections()
		s.server.Listener.Close()
		code, _, took := me.get(t, secrets)
		if code < 400 || took > soon {
			t.Errorf("%d after %v", code, took)
		}
		t.Logf("%d after %v", code, took)
		as(t, c, "").want(t, "/readyz", http.StatusOK) // WH-23: the cluster itself lives on
		sick := diagnose(cluster.Doctor(t.Context(), must(c.Patient(os.ReadFile))))
		if want := "clock-skew: not evaluated, live-authorization: error, live-sign-in: error, rbac-everybody: warning, rbac-group-names: warning, webhook-reachable: error"; sick != want {
			t.Errorf("the doctor found %s, want %s", sick, want)
		}
	})
}

func describe(r review) string {
	if n := r.Spec.NonResourceAttributes; n != nil {
		return n.Verb + " " + n.Path
	}
	return string(must(json.Marshal(r.Spec.ResourceAttributes)))
}

const (
	// patience is how long a test waits on a machine that does other things too.
	patience = 3 * time.Minute
	// soon is less than callers wait for an answer: nothing hangs.
	soon = 25 * time.Second
)

// eventually polls a real process, which no fake clock moves.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(within)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", within, what)
		case <-tick.C:
		}
	}
}

func tlsLeaf(pem []byte) (*x509.Certificate, error) {
	pool, err := decodeCerts(pem)
	if err != nil {
		return nil, err
	}
	return pool[0], nil
}

func rss(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") {
			return strings.TrimSpace(line)
		}
	}
	return "unknown"
}
