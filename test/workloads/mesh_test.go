package workloads_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/pki"
)

// mesh installs somebody else's webhook, which is called after ours because of
// its name, and adds a container to pods with the label mesh. It returns how often
// the webhook added one.
func (p *stage) mesh() *atomic.Int64 {
	p.T.Helper()
	calls := new(atomic.Int64)
	ca, err := pki.NewCA("mesh", time.Now(), time.Hour)
	if err != nil {
		p.T.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{CommonName: "mesh", Server: true, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Life: time.Hour}, time.Now())
	if err != nil {
		p.T.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		var pod corev1.Pod
		if json.NewDecoder(r.Body).Decode(&review) != nil || json.Unmarshal(review.Request.Object.Raw, &pod) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer := admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}}
		if len(pod.Spec.Containers) == 1 {
			calls.Add(1)
			answer.Response.PatchType = new(admissionv1.PatchTypeJSONPatch)
			answer.Response.Patch = []byte(`[{"op":"add","path":"/spec/containers/-","value":{"name":"mesh","image":"registry.example/mesh"}}]`)
		}
		json.NewEncoder(w).Encode(answer)
	}))
	if srv.TLS, err = pki.ServerTLS(pair); err != nil {
		p.T.Fatal(err)
	}
	srv.StartTLS()
	p.T.Cleanup(srv.Close)
	p.Must(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: zz-mesh}
webhooks:
- name: mesh.example.com
  clientConfig: {url: %q, caBundle: %s}
  rules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  objectSelector: {matchLabels: {mesh: "yes"}}
  sideEffects: None
  admissionReviewVersions: [v1]
`, srv.URL, base64.StdEncoding.EncodeToString(ca.CertPEM())), "apply", "-f", "-")
	p.Until("the mesh is called", func() bool {
		p.Must(podOf("probe", `mesh: "yes"`, "", "terminationGracePeriodSeconds: 0"), "-n", "shop", "create", "-f", "-")
		p.Must("", "-n", "shop", "delete", "pod", "probe", "--now")
		return calls.Load() > 0
	})
	return calls
}
