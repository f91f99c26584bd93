package podid_test

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// Quick is a lease for tests, long enough for a busy machine.
const quick = "4s"

func TestPodIdentityInACluster(t *testing.T) {
	t.Parallel()
	s := newStage(t, plane.Options{})

	t.Run("the API server takes every object, and so does kustomize", func(t *testing.T) {
		s := s.in(t)
		if out := s.Must("", "apply", "-f", filepath.Join(plainDir, "crds.yaml")); strings.Contains(out, "Warning") {
			t.Error(out)
		}
		if out := s.Must("", "apply", "-f", filepath.Join(plainDir, "agents.yaml")); strings.Contains(out, "Warning") {
			t.Error(out)
		}
		s.Must("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=3m")
		s.Must("", "apply", "--dry-run=server", "-k", plainDir)
		// Nothing but the tests runs the controller here.
		s.Must("", "-n", system, "delete", "deployment", "gatehouse-mic")
	})
	if t.Failed() {
		t.FailNow()
	}
	s.Must(`{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}`, "create", "-f", "-")

	t.Run("its service account may do what it needs and nothing else", func(t *testing.T) {
		s := s.in(t)
		for _, tt := range []struct{ may, want string }{
			{"list pods -A", "yes"},
			{"list azureidentities.aadpodidentity.k8s.io -A", "yes"},
			{"create azureassignedidentities.aadpodidentity.k8s.io -n web", "yes"},
			{"update leases.coordination.k8s.io/aad-pod-identity-mic -n default", "yes"},
			{"update leases.coordination.k8s.io/other -n default", "no"},
			{"create azureidentities.aadpodidentity.k8s.io -n web", "no"},
			{"patch azureidentitybindings.aadpodidentity.k8s.io -n web", "no"},
			{"get secrets -n web", "no"},
			{"patch pods -n web", "no"},
			{"create serviceaccounts/token -n web", "no"},
		} {
			args := append([]string{"auth", "can-i", "--as=system:serviceaccount:" + system + ":gatehouse-mic"}, strings.Fields(tt.may)...)
			out, _ := s.Kubectl("", args...)
			if !strings.HasPrefix(strings.TrimSpace(out), tt.want) {
				t.Errorf("%s: %s, want %s", tt.may, out, tt.want)
			}
		}
	})

	token := strings.TrimSpace(s.Must("", "create", "token", "gatehouse-mic", "-n", system, "--duration=1h"))
	direct := s.Kubeconfig(token)
	s.Write("mic", direct)
	proxy := s.leaky()
	s.Write("leaky", fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority-data": %q}}],
		"users": [{"name": "u", "user": {"token": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`, proxy.url, base64.StdEncoding.EncodeToString(proxy.ca), token))

	first := s.controller("mic", "--lease", quick)
	s.Until("it leads", first.leads)
	s.Must(identity("web", "web"), "-n", "web", "apply", "-f", "-")

	t.Run("a pod gets the identity of its binding, and is told so", func(t *testing.T) {
		s := s.in(t)
		begin := time.Now()
		uid := s.pod("web", "a", "web")
		s.only(gets("web", "a", uid, "web"))
		t.Logf("assigned after %d ms", time.Since(begin).Milliseconds())
		a := s.assigned()[0]
		if got, want := a.Metadata.Ref().String(), "web/a-web-web"; got != want {
			t.Errorf("it is called %s, want %s", got, want)
		}
		if a.Spec.NodeName != "node-1" || a.Metadata.Labels[podid.NodeLabel] != "node-1" {
			t.Errorf("it is of node %q, label %q", a.Spec.NodeName, a.Metadata.Labels[podid.NodeLabel])
		}
		s.told("web", "a", "binding applied", "web/web-binding gives the pod the AzureIdentity web/web on node node-1")
		s.remove("web", "a")
		s.only()
		s.told("web", "a", "binding removed", "no more")
	})

	t.Run("it has it as long as the binding and the identity are there, and no exception is", func(t *testing.T) {
		s := s.in(t)
		uid := s.pod("web", "b", "web")
		s.only(gets("web", "b", uid, "web"))
		s.Must("", "-n", "web", "delete", "azureidentitybinding", "web-binding")
		s.only()
		s.Must(identity("web", "web"), "-n", "web", "apply", "-f", "-")
		s.only(gets("web", "b", uid, "web"))
		s.Must("", "-n", "web", "delete", "azureidentity", "web")
		s.only()
		s.told("web", "b", "binding apply error", `names the AzureIdentity "web", and there is none`)
		s.Must(identity("web", "web"), "-n", "web", "apply", "-f", "-")
		s.only(gets("web", "b", uid, "web"))
		s.Must(`{"apiVersion": "aadpodidentity.k8s.io/v1", "kind": "AzurePodIdentityException", "metadata": {"name": "e"}, "spec": {"podLabels": {"app": "b"}}}`, "-n", "web", "apply", "-f", "-")
		s.only()
		s.Must("", "-n", "web", "delete", "azurepodidentityexception", "e")
		s.only(gets("web", "b", uid, "web"))
		s.remove("web", "b")
		s.only()
	})

	t.Run("an identity that is changed is assigned anew", func(t *testing.T) {
		s := s.in(t)
		uid := s.pod("web", "changed", "web")
		s.only(gets("web", "changed", uid, "web"))
		const other = "1c000000-0000-4000-8000-000000000002"
		s.Must("", "-n", "web", "patch", "azureidentity", "web", "--type=merge", "-p", `{"spec":{"clientID":"`+other+`"}}`)
		s.Until("the new client id is in it", func() bool {
			all := s.assigned()
			return len(all) == 1 && all[0].Spec.AzureIdentityRef.Spec.ClientID.String() == other && all[0].Status.Status == podid.Assigned
		})
		s.remove("web", "changed")
		s.only()
		s.Must(identity("web", "web"), "-n", "web", "apply", "-f", "-")
	})

	t.Run("PI-07 a pod of the same name gets its own", func(t *testing.T) {
		s := s.in(t)
		old := s.pod("web", "web-0", "web")
		s.only(gets("web", "web-0", old, "web"))
		s.remove("web", "web-0")
		uid := s.pod("web", "web-0", "web")
		s.only(gets("web", "web-0", uid, "web"))
		s.remove("web", "web-0")
		s.only()
	})

	t.Run("PI-03 PI-08 PI-09 who gets none", func(t *testing.T) {
		s := s.in(t)
		s.pod("shop", "stranger", "web")
		s.pod("web", "host", "web", func(p *corev1.Pod) { p.Spec.HostNetwork = true })
		s.pod("web", "waiting", "web", func(p *corev1.Pod) { p.Spec.NodeName = ""; p.Spec.NodeSelector = map[string]string{"no": "such"} })
		s.pod("web", "unlabelled", "", func(p *corev1.Pod) { delete(p.Labels, podid.BindingLabel) })
		ended := s.pod("web", "ended", "web")
		s.only(gets("web", "ended", ended, "web"))
		s.Must("", "-n", "web", "patch", "pod", "ended", "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Succeeded"}}`)
		s.only()
		s.told("shop", "stranger", "binding apply error", `no AzureIdentityBinding that this pod may use has the selector "web"`)
		s.told("web", "host", "binding apply error", "host's network")
		for _, name := range []string{"host", "waiting", "unlabelled", "ended"} {
			s.remove("web", name)
		}
		s.remove("shop", "stranger")
	})

	t.Run("what others wrote is taken away, even what cannot be read", func(t *testing.T) {
		s := s.in(t)
		uid := s.pod("shop", "thief", "")
		forged := fmt.Sprintf(`
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureAssignedIdentity
metadata: {name: forged, namespace: shop, annotations: {%s: %s}}
spec:
  pod: thief
  podNamespace: shop
  nodename: node-1
  azureIdentityRef: {apiVersion: aadpodidentity.k8s.io/v1, kind: AzureIdentity, metadata: {name: web, namespace: web}, spec: {type: 0, resourceID: %sweb, clientID: %s}}
  azureBindingRef: {apiVersion: aadpodidentity.k8s.io/v1, kind: AzureIdentityBinding, metadata: {name: b, namespace: web}, spec: {azureIdentity: web, selector: web}}
status: {status: Assigned}
`, podid.PodUIDAnnotation, uid, resourceID, clientID)
		s.Must(forged, "create", "-f", "-")
		// The binding inside speaks of another identity: the API server does not see it.
		s.Must(strings.NewReplacer("name: forged", "name: odd", "azureIdentity: web", "azureIdentity: other").Replace(forged), "create", "-f", "-")
		s.only()
		s.remove("shop", "thief")
	})

	t.Run("of two controllers one writes, and the other goes on when it is killed", func(t *testing.T) {
		s := s.in(t)
		second := s.controller("mic", "--lease", quick)
		s.Until("it is ready", second.ready)
		if second.leads() {
			t.Error("it leads beside the first")
		}
		one := s.pod("web", "one", "web")
		s.only(gets("web", "one", one, "web"))
		first.kill()
		begin := time.Now()
		two := s.pod("web", "two", "web")
		s.only(gets("web", "one", one, "web"), gets("web", "two", two, "web"))
		t.Logf("after %.1f s, with a lease of %s", time.Since(begin).Seconds(), quick)
		// One that is told to end gives its lease back, so that the next one need not wait.
		third := s.controller("mic", "--lease", quick)
		s.Until("it is ready", third.ready)
		second.end()
		begin = time.Now()
		s.remove("web", "one")
		s.only(gets("web", "two", two, "web"))
		t.Logf("after %.1f s when it ended in order", time.Since(begin).Seconds())
		third.end()
	})

	t.Run("one that starts again makes up for what it missed, and makes nothing twice", func(t *testing.T) {
		s := s.in(t)
		stays := s.Get("web", "two")
		gone := s.pod("web", "gone", "web")
		c := s.controller("mic", "--lease", quick)
		s.only(gets("web", "two", stays, "web"), gets("web", "gone", gone, "web"))
		before := s.assigned()
		c.kill()
		s.remove("web", "gone")
		again := s.pod("web", "gone", "web")
		s.Must(identity("more", "web"), "-n", "web", "apply", "-f", "-")
		c = s.controller("mic", "--lease", quick)
		s.only(gets("web", "two", stays, "web"), gets("web", "two", stays, "more"), gets("web", "gone", again, "web"), gets("web", "gone", again, "more"))
		for _, b := range before {
			for _, a := range s.assigned() {
				if a.PodUID() == stays && a.Metadata.Name == b.Metadata.Name && a.Metadata.ResourceVersion != b.Metadata.ResourceVersion {
					t.Errorf("%s was written again", a.Metadata.Ref())
				}
			}
		}
		s.Must("", "-n", "web", "delete", "azureidentitybinding", "more-binding")
		s.remove("web", "gone")
		s.remove("web", "two")
		s.only()
		c.end()
	})

	t.Run("an outage of the API server is got over without a hand", func(t *testing.T) {
		s := s.in(t)
		c := s.controller("leaky", "--lease", quick)
		uid := s.pod("web", "before", "web")
		s.only(gets("web", "before", uid, "web"))
		proxy.away.Store(true)
		s.remove("web", "before")
		after := s.pod("web", "after", "web")
		s.Until("it lost its lease", func() bool { return strings.Contains(c.log.String(), "does not lead any more") })
		if got := s.have(); got[gets("web", "before", uid, "web")] != 1 || len(got) != 1 {
			t.Errorf("without an API server, %v", got)
		}
		proxy.away.Store(false)
		begin := time.Now()
		s.only(gets("web", "after", after, "web"))
		t.Logf("after %.1f s", time.Since(begin).Seconds())
		s.remove("web", "after")
		s.only()
		c.end()
	})

	t.Run("events that the watches lost are found by reading anew", func(t *testing.T) {
		s := s.in(t)
		c := s.controller("leaky", "--lease", quick, "--relist", "3s")
		uid := s.pod("web", "lost", "web")
		s.only(gets("web", "lost", uid, "web"))
		proxy.loses.Store("/azureidentitybindings")
		s.Must("", "-n", "web", "delete", "azureidentitybinding", "web-binding")
		s.Until("an event was lost", func() bool { return proxy.lost.Load() > 0 })
		s.only()
		proxy.loses.Store("/pods")
		s.Must(identity("web", "web"), "-n", "web", "apply", "-f", "-")
		s.only(gets("web", "lost", uid, "web"))
		lost := proxy.lost.Load()
		s.remove("web", "lost")
		again := s.pod("web", "lost", "web")
		s.Until("an event was lost", func() bool { return proxy.lost.Load() > lost })
		s.only(gets("web", "lost", again, "web"))
		proxy.loses.Store("")
		s.remove("web", "lost")
		s.only()
		c.end()
	})

	t.Run("cluster-wide, pods of other namespaces get it, unless the identity is namespaced", func(t *testing.T) {
		s := s.in(t)
		c := s.controller("mic", "--lease", quick, "--cluster-wide")
		uid := s.pod("shop", "guest", "web")
		s.only(fmt.Sprintf("shop/guest %s: web/web Assigned", uid))
		if got, want := s.assigned()[0].Metadata.Ref().String(), "default/guest-shop-web"; got != want {
			t.Errorf("it is called %s, want %s", got, want)
		}
		s.Must("", "-n", "web", "annotate", "azureidentity", "web", podid.BehaviorAnnotation+"=namespaced")
		s.only()
		s.Must("", "-n", "web", "annotate", "azureidentity", "web", podid.BehaviorAnnotation+"-")
		s.only(fmt.Sprintf("shop/guest %s: web/web Assigned", uid))
		s.remove("shop", "guest")
		s.only()
		c.end()
	})

	t.Run("many pods at once", func(t *testing.T) {
		s := s.in(t)
		c := s.controller("mic", "--lease", quick)
		s.Until("it leads", c.leads)
		const n = 300
		var wg sync.WaitGroup
		var mu sync.Mutex
		var want []string
		begin := time.Now()
		for worker := range 10 {
			wg.Go(func() {
				for i := worker; i < n; i += 10 {
					name := fmt.Sprintf("many-%d", i)
					uid := s.pod("web", name, "web")
					mu.Lock()
					want = append(want, gets("web", name, uid, "web"))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		created := time.Since(begin)
		s.only(want...)
		t.Logf("%d pods created in %.1f s, all assigned %.1f s later", n, created.Seconds(), (time.Since(begin) - created).Seconds())
		s.Must("", "-n", "web", "delete", "azureidentitybinding", "--all")
		begin = time.Now()
		s.only()
		t.Logf("all taken back in %.1f s", time.Since(begin).Seconds())
		c.end()
	})
}

// Get returns the UID of a pod.
func (s *stage) Get(namespace, name string) string {
	return string(plane.Get[corev1.Pod](s.Plane, "-n", namespace, "pod", name).UID)
}

// told waits for an event of a pod.
func (s *stage) told(namespace, pod, reason, text string) {
	s.T.Helper()
	s.Until(fmt.Sprintf("an event %q of pod %s", reason, pod), func() bool {
		for _, e := range plane.Get[corev1.EventList](s.Plane, "-n", namespace, "events", "--field-selector", "involvedObject.name="+pod).Items {
			if e.Reason == reason && strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}
