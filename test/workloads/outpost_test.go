package workloads_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatehouse-io/gatehouse/internal/control/selfcert"
	"github.com/gatehouse-io/gatehouse/internal/loopback"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// A replica is one process of gatehouse webhook, which reaches the cluster as the
// service account of the chart and by nothing else.
type replica struct {
	p            *stage
	cmd          *exec.Cmd
	addr, health string
	log          bytes.Buffer
	ended        chan error
}

func free(t testing.TB) string {
	t.Helper()
	p, err := loopback.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.Addr()
}

func (p *stage) replica(more ...string) *replica {
	p.T.Helper()
	binary := os.Getenv("GATEHOUSE_BIN")
	if binary == "" {
		p.T.Skip("GATEHOUSE_BIN names no gatehouse binary; make test builds one and sets it")
	}
	r := &replica{p: p, addr: free(p.T), health: free(p.T), ended: make(chan error, 1)}
	r.cmd = exec.Command(binary, append([]string{"webhook", "--tenant", plane.Tenant.ID.String(), "--namespace", system, "--linger", "2s",
		"--kubeconfig", filepath.Join(p.Dir, "webhook"), "--listen", r.addr, "--health-listen", r.health}, more...)...)
	r.cmd.Env = []string{"HOME=" + p.Dir}
	r.cmd.Stderr = &r.log
	if err := r.cmd.Start(); err != nil {
		p.T.Fatal(err)
	}
	go func() { r.ended <- r.cmd.Wait() }()
	p.T.Cleanup(func() {
		r.cmd.Process.Kill()
		if p.T.Failed() {
			p.T.Logf("the webhook on %s:\n%s", r.addr, r.log.String())
		}
	})
	return r
}

// status is what kubelet would see.
func (r *replica) status(path string) int {
	res, err := http.Get("http://" + r.health + path)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// route makes the Service lead to a process of this machine: there is no network
// of pods here. The name that the API server asks for in the certificate stays.
func (p *stage) route(r *replica) {
	p.T.Helper()
	_, port, _ := net.SplitHostPort(r.addr)
	p.Must("", "patch", "mutatingwebhookconfiguration", mutation, "--type=json", "-p", `[{"op":"replace","path":"/webhooks/0/clientConfig/service/port","value":`+port+`}]`)
}

// created creates a pod that asks, and returns it when it has its identity.
func (p *stage) created(name string) (corev1.Pod, error) {
	if out, err := p.Kubectl(podOf(name, asks, "", "serviceAccountName: web, terminationGracePeriodSeconds: 0"), "-n", "shop", "create", "-f", "-"); err != nil {
		return corev1.Pod{}, fmt.Errorf("%w: %s", err, out)
	}
	pod := plane.Get[corev1.Pod](p.Plane, "-n", "shop", "pod", name)
	p.Must("", "-n", "shop", "delete", "pod", name, "--now")
	return pod, mutated(pod)
}

// The chart, in a cluster that is not told apart from any other.
func TestTheChartInAnyCluster(t *testing.T) {
	t.Parallel()
	if os.Getenv("GATEHOUSE_BIN") == "" {
		t.Skip("GATEHOUSE_BIN names no gatehouse binary; make test builds one and sets it")
	}
	p := newStage(t, false)
	manifests, err := render(t, map[string]any{"tenantID": plane.Tenant.ID.String()})
	if err != nil {
		t.Fatal(err)
	}
	p.Must("", "apply", "-f", filepath.Join(plainDir, "namespace.yaml"))
	p.Must("", "create", "namespace", "shop")
	p.Must(accounts, "-n", "shop", "apply", "-f", "-")

	t.Run("the API server takes every object, and so does kustomize", func(t *testing.T) {
		p := p.in(t)
		if out := p.Must(manifests, "apply", "-f", "-"); strings.Contains(out, "Warning") {
			t.Error(out)
		}
		if out := p.Must("", "kustomize", plainDir); !strings.Contains(out, nobody) || strings.Count(out, "kind: ") < 10 {
			t.Error(out)
		}
		p.Must("", "apply", "--dry-run=server", "-k", plainDir)
	})

	t.Run("its pods keep the restricted standard", func(t *testing.T) {
		p := p.in(t)
		p.Until("two pods, of which none was refused", func() bool {
			d := plane.Get[appsv1.Deployment](p.Plane, "-n", system, "deployment", "gatehouse-webhook")
			for _, c := range d.Status.Conditions {
				if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
					t.Fatal(c.Message)
				}
			}
			return d.Status.Replicas == 2
		})
	})

	t.Run("its service account may do what it needs and nothing else", func(t *testing.T) {
		p := p.in(t)
		for _, tt := range []struct {
			may  string
			want string
		}{
			{"get serviceaccounts -n shop", "yes"},
			{"get secrets/gatehouse-webhook-cert -n " + system, "yes"},
			{"patch mutatingwebhookconfigurations/" + mutation, "yes"},
			{"list serviceaccounts -n shop", "no"},
			{"create serviceaccounts/token -n shop", "no"},
			{"get secrets -n " + system, "no"},
			{"get secrets/gatehouse-webhook-cert -n shop", "no"},
			{"create secrets -n shop", "no"},
			{"patch mutatingwebhookconfigurations/other", "no"},
			{"create mutatingwebhookconfigurations", "no"},
			{"get pods -n shop", "no"},
		} {
			args := append([]string{"auth", "can-i", "--as=system:serviceaccount:" + system + ":gatehouse-webhook"}, strings.Fields(tt.may)...)
			if out, _ := p.Kubectl("", args...); !strings.HasPrefix(lastLine(out), tt.want) {
				t.Errorf("%s: %s, want %s", tt.may, out, tt.want)
			}
		}
	})

	p.Write("webhook", p.Kubeconfig(strings.TrimSpace(p.Must("", "create", "token", "gatehouse-webhook", "-n", system, "--duration=1h"))))
	p.Must("", "-n", system, "delete", "service", "gatehouse-webhook")
	p.Must("", "-n", system, "create", "service", "externalname", "gatehouse-webhook", "--external-name=localhost")
	one, two := p.replica(), p.replica()
	p.Until("both replicas are ready", func() bool { return one.status("/readyz") == 200 && two.status("/readyz") == 200 })

	t.Run("two replicas share one certificate, which the API server trusts", func(t *testing.T) {
		p := p.in(t)
		for i, r := range []*replica{one, two} {
			p.route(r)
			name := fmt.Sprintf("by-%d", i)
			p.Until("a pod is mutated", func() bool {
				pod, err := p.created(name)
				if err != nil {
					t.Log(err)
					return false
				}
				return pod.Spec.Containers[0].Env[3].Value == "https://login.microsoftonline.com/"
			})
			t.Logf("replica %d: %s", i, resident(r.cmd.Process.Pid))
		}
		if a, b := served(t, one.addr), served(t, two.addr); a != b {
			t.Errorf("certificates %s and %s", a, b)
		}
	})

	t.Run("a refusal reaches the person", func(t *testing.T) {
		p := p.in(t)
		out, err := p.Kubectl(podOf("nobodys", asks, "", "serviceAccountName: nobody"), "-n", "shop", "create", "-f", "-")
		if err == nil || !strings.Contains(out, `admission webhook "mutation.azure-workload-identity.io" denied the request: service account "nobody" does not exist in namespace "shop"; create it before the pod`) {
			// The API server asks its own plugins first.
			if !strings.Contains(out, `error looking up service account shop/nobody`) {
				t.Errorf("%v: %s", err, out)
			}
		}
		out, err = p.Kubectl(podOf("short", asks, "", "serviceAccountName: short"), "-n", "shop", "create", "-f", "-")
		if err == nil || !strings.Contains(out, "denied the request: token expiration 60 not valid") {
			t.Errorf("%v: %s", err, out)
		}
	})

	t.Run("manifests that are applied again leave the certificate alone", func(t *testing.T) {
		p := p.in(t)
		before := plane.Get[admissionv1.MutatingWebhookConfiguration](p.Plane, "mutatingwebhookconfiguration", mutation).Webhooks[0].ClientConfig.CABundle
		_, hook, _ := strings.Cut(manifests, "kind: MutatingWebhookConfiguration")
		p.Must("apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration"+hook, "apply", "-f", "-")
		after := plane.Get[admissionv1.MutatingWebhookConfiguration](p.Plane, "mutatingwebhookconfiguration", mutation).Webhooks[0].ClientConfig.CABundle
		if len(before) == 0 || !bytes.Equal(before, after) {
			t.Errorf("before %d bytes, after %d", len(before), len(after))
		}
		p.route(one)
	})

	t.Run("what is deleted or damaged is put right", func(t *testing.T) {
		p := p.in(t)
		p.Must("", "-n", system, "delete", "secret", "gatehouse-webhook-cert")
		p.Must("", "patch", "mutatingwebhookconfiguration", mutation, "--type=json", "-p", `[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]`)
		begin := time.Now()
		p.Until("a pod is mutated", func() bool { _, err := p.created("healed"); return err == nil })
		t.Logf("after %.1f s", time.Since(begin).Seconds())
	})

	t.Run("AD-14 with an authority for clients it answers nobody else", func(t *testing.T) {
		p := p.in(t)
		ca, err := pki.NewCA("api server", time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		closed := p.replica("--client-ca", p.Write("client-ca.crt", string(ca.CertPEM())))
		p.Until("it is ready", func() bool { return closed.status("/readyz") == 200 })
		pair, err := ca.Issue(pki.Leaf{CommonName: "kube-apiserver", Client: true, Life: time.Hour}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		cert, err := pair.TLS()
		if err != nil {
			t.Fatal(err)
		}
		if code := post(t, closed.addr, cert); code != http.StatusUnsupportedMediaType {
			t.Errorf("with a certificate: %d", code)
		}
		if code := post(t, closed.addr); code != 0 {
			t.Errorf("without a certificate: %d", code)
		}
		foreign, err := pki.NewCA("api server", time.Now(), time.Hour) // by name the same
		if err != nil {
			t.Fatal(err)
		}
		if pair, err = foreign.Issue(pki.Leaf{CommonName: "kube-apiserver", Client: true, Life: time.Hour}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if cert, err = pair.TLS(); err != nil {
			t.Fatal(err)
		}
		if code := post(t, closed.addr, cert); code != 0 {
			t.Errorf("with a certificate of another authority: %d", code)
		}
	})

	t.Run("told to end, it goes on until nobody asks any more", func(t *testing.T) {
		p := p.in(t)
		p.route(one)
		p.Until("the API server asks it", func() bool { _, err := p.created("before"); return err == nil })
		one.cmd.Process.Signal(syscall.SIGTERM)
		p.Until("it says that it ends", func() bool { return one.status("/readyz") == http.StatusServiceUnavailable })
		if _, err := p.created("meanwhile"); err != nil {
			t.Error(err)
		}
		if code := one.status("/healthz"); code != http.StatusOK {
			t.Errorf("/healthz is %d", code)
		}
		if err := <-one.ended; err != nil {
			t.Errorf("ended with %v: %s", err, one.log.String())
		}
	})

	t.Run("AD-12 with all replicas gone, who asks is kept out and nobody else", func(t *testing.T) {
		p := p.in(t)
		two.cmd.Process.Kill()
		<-two.ended
		p.route(two)
		p.Until("the API server knows", func() bool { _, err := p.created("away"); return err != nil })
		p.Must(podOf("unlabelled", "", "", "serviceAccountName: web"), "-n", "shop", "create", "-f", "-")
		p.Must(podOf("system", asks, "", "serviceAccountName: default"), "-n", "kube-system", "create", "-f", "-")
		p.Must(fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, %s}}
    spec: {serviceAccountName: web, containers: [{name: app, image: registry.example/app}]}
`, asks), "-n", "shop", "apply", "-f", "-")
		p.Until("the Deployment says why it has no pod", func() bool {
			for _, c := range plane.Get[appsv1.Deployment](p.Plane, "-n", "shop", "deployment", "web").Status.Conditions {
				if c.Type == appsv1.DeploymentReplicaFailure && strings.Contains(c.Message, "failed calling webhook") {
					return true
				}
			}
			return false
		})
		p.route(p.replica())
		p.Until("the Deployment has its pod, and nobody did anything", func() bool {
			pods := plane.Get[corev1.PodList](p.Plane, "-n", "shop", "pods", "-l", "app=web")
			return len(pods.Items) == 1 && mutated(pods.Items[0]) == nil
		})
	})

	t.Run("eight months later there is another authority beside the old one", func(t *testing.T) {
		p := p.in(t)
		conf, err := clientcmd.BuildConfigFromFlags("", filepath.Join(p.Dir, "webhook"))
		if err != nil {
			t.Fatal(err)
		}
		core, hooks := coreclient.NewForConfigOrDie(conf), admissionclient.NewForConfigOrDie(conf)
		later := time.Now().Add(250 * 24 * time.Hour)
		keeper, err := selfcert.New(selfcert.Config{Secrets: core, Configurations: hooks, Namespace: system, Secret: "gatehouse-webhook-cert",
			Service: "gatehouse-webhook", Configuration: mutation, Now: func() time.Time { return later }})
		if err != nil {
			t.Fatal(err)
		}
		if err := keeper.Keep(t.Context()); err != nil {
			t.Fatal(err)
		}
		bundle := plane.Get[admissionv1.MutatingWebhookConfiguration](p.Plane, "mutatingwebhookconfiguration", mutation).Webhooks[0].ClientConfig.CABundle
		if n := bytes.Count(bundle, []byte("BEGIN CERTIFICATE")); n != 2 {
			t.Errorf("%d authorities", n)
		}
	})
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// served is the serial number of the certificate at an address.
func served(t *testing.T, addr string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // which one is served, not whether it is good
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// post sends no review, and returns the status, or 0 when there is no connection.
func post(t *testing.T, addr string, certs ...tls.Certificate) int {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs, RootCAs: x509.NewCertPool()}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Post("https://"+addr+"/mutate-v1-pod", "text/plain", nil)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// resident is how much memory a process holds.
func resident(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}
