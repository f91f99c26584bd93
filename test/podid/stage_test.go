// Package podid_test tries AAD Pod Identity on a real control plane: its objects,
// and gatehouse mic as one or more processes that reach the cluster as the service
// account of the chart. It needs gatehouse-kube and gatehouse: make test builds
// them and names them in GATEHOUSE_KUBE and GATEHOUSE_BIN.
package podid_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatehouse-io/gatehouse/internal/loopback"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

// A stage is a plane where pod identity is installed, as its administrator.
type stage struct {
	*plane.Plane
	conf    *rest.Config
	objects dynamic.Interface
	kube    kubernetes.Interface
}

func newStage(t *testing.T, opt plane.Options) *stage {
	t.Helper()
	if os.Getenv("GATEHOUSE_BIN") == "" {
		t.Skip("GATEHOUSE_BIN names no gatehouse binary; make test builds one and sets it")
	}
	s := &stage{Plane: plane.Start(t, opt)}
	var err error
	if s.conf, err = clientcmd.BuildConfigFromFlags("", filepath.Join(s.Dir, "kubeconfig")); err != nil {
		t.Fatal(err)
	}
	s.conf.QPS = -1
	s.objects, s.kube = dynamic.NewForConfigOrDie(s.conf), kubernetes.NewForConfigOrDie(s.conf)
	s.Must("", "apply", "-f", filepath.Join(plainDir, "namespace.yaml"))
	for _, name := range []string{"web", "shop"} {
		s.Must("", "create", "namespace", name)
	}
	return s
}

// in is the stage in a subtest.
func (s *stage) in(t *testing.T) *stage {
	q := *s
	q.Plane = s.In(t)
	return &q
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

// A controller is a process of gatehouse mic.
type controller struct {
	cmd    *exec.Cmd
	health string
	log    locked
	ended  chan struct{}
}

// locked is a buffer that is read while it is written.
type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// controller starts one by a kubeconfig of the stage's folder.
func (s *stage) controller(kubeconfig string, more ...string) *controller {
	s.T.Helper()
	c := &controller{health: free(s.T), ended: make(chan struct{})}
	c.cmd = exec.Command(os.Getenv("GATEHOUSE_BIN"), append([]string{"mic", "--kubeconfig", filepath.Join(s.Dir, kubeconfig), "--health-listen", c.health}, more...)...)
	c.cmd.Env = []string{"HOME=" + s.Dir}
	c.cmd.Stderr = &c.log
	if err := c.cmd.Start(); err != nil {
		s.T.Fatal(err)
	}
	go func() { defer close(c.ended); c.cmd.Wait() }()
	s.T.Cleanup(func() {
		c.kill()
		if s.T.Failed() {
			s.T.Logf("the controller on %s:\n%s", c.health, c.log.String())
		}
	})
	return c
}

func (c *controller) kill() {
	c.cmd.Process.Kill()
	<-c.ended
}

// end tells it to end, and waits.
func (c *controller) end() {
	c.cmd.Process.Signal(syscall.SIGTERM)
	<-c.ended
}

func (c *controller) leads() bool { return strings.Contains(c.log.String(), "this controller leads") }

func (c *controller) ready() bool {
	res, err := http.Get("http://" + c.health + "/readyz")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusOK
}

const (
	resourceID = "/subscriptions/5b000000-0000-4000-8000-000000000001/resourceGroups/web/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
	clientID   = "1c000000-0000-4000-8000-000000000001"
)

// identity is an AzureIdentity and a binding to it, as upstream's pages write them.
func identity(name, selector string) string {
	return fmt.Sprintf(`
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureIdentity
metadata: {name: %[1]s}
spec: {type: 0, resourceID: %[2]s%[1]s, clientID: %[3]s}
---
apiVersion: aadpodidentity.k8s.io/v1
kind: AzureIdentityBinding
metadata: {name: %[1]s-binding}
spec: {azureIdentity: %[1]s, selector: %[4]s}
`, name, resourceID, clientID, selector)
}

// pod creates a pod on a node, and returns its UID. No kubelet runs it.
func (s *stage) pod(namespace, name, selector string, change ...func(*corev1.Pod)) string {
	s.T.Helper()
	no := false
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{podid.BindingLabel: selector, "app": name}},
		Spec: corev1.PodSpec{
			NodeName: "node-1", AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "app", Image: "registry.example/app"}},
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		},
	}
	for _, f := range change {
		f(p)
	}
	var err error
	s.Until("pod "+name+" can be created", func() bool {
		var created *corev1.Pod
		created, err = s.kube.CoreV1().Pods(namespace).Create(s.T.Context(), p, metav1.CreateOptions{})
		if err != nil && strings.Contains(err.Error(), "serviceaccount") {
			return false // made by the controller manager, in a moment
		}
		if err == nil {
			p = created
		}
		return true
	})
	if err != nil {
		s.T.Fatal(err)
	}
	return string(p.UID)
}

// remove ends a pod at once.
func (s *stage) remove(namespace, name string) {
	s.T.Helper()
	now := int64(0)
	if err := s.kube.CoreV1().Pods(namespace).Delete(s.T.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		s.T.Fatal(err)
	}
}

// assigned lists the assigned identities of all namespaces.
func (s *stage) assigned() []podid.AzureAssignedIdentity {
	s.T.Helper()
	list, err := s.objects.Resource(schema.GroupVersionResource{Group: podid.Group, Version: podid.Version, Resource: podid.AssignedIdentities}).List(s.T.Context(), metav1.ListOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
	var got []podid.AzureAssignedIdentity
	for _, item := range list.Items {
		data, err := json.Marshal(item.Object)
		if err != nil {
			s.T.Fatal(err)
		}
		a, err := podid.ParseAssigned(data)
		if err != nil {
			a.Metadata.Name = err.Error()
		}
		got = append(got, a)
	}
	return got
}

// have lists what the cluster's pods have: namespace/pod uid: identity state.
func (s *stage) have() map[string]int {
	s.T.Helper()
	got := make(map[string]int)
	for _, a := range s.assigned() {
		got[fmt.Sprintf("%s/%s %s: %s %s", a.Spec.PodNamespace, a.Spec.Pod, a.PodUID(), a.Spec.AzureIdentityRef.Metadata.Ref(), a.Status.Status)]++
	}
	return got
}

// only waits until the pods have exactly what is listed, once each.
func (s *stage) only(want ...string) {
	s.T.Helper()
	var got map[string]int
	defer func() {
		if s.T.Failed() {
			s.T.Logf("have %v, want %q", got, want)
		}
	}()
	s.Until(fmt.Sprintf("%d assigned identities", len(want)), func() bool {
		got = s.have()
		for _, w := range want {
			if got[w] != 1 {
				return false
			}
		}
		return len(got) == len(want)
	})
}

// gets is what only takes for a pod that has an identity of its namespace.
func gets(namespace, pod, uid, identity string) string {
	return fmt.Sprintf("%s/%s %s: %s/%s Assigned", namespace, pod, uid, namespace, identity)
}
