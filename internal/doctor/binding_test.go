package doctor_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// bindingWard is a pod that gets its tokens by an identity binding.
func bindingWard(t testing.TB) *doctor.Pod {
	t.Helper()
	p := ward(t)
	p.Pod.Annotations = map[string]string{inject.IdentityBindingAnnotation: "true"}
	p.Pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = inject.BindingAudience
	app := &p.Pod.Spec.Containers[0]
	app.Env = append(app.Env, corev1.EnvVar{Name: "AZURE_KUBERNETES_TOKEN_PROXY", Value: "https://gatehouse.example/gatehouse/token-proxy/1"})
	group, _ := at.ResourceGroup()
	p.Account.Cluster.Record.Scope = scope.MustParse(group.String() + "/providers/Microsoft.ContainerService/managedClusters/aks-1")
	p.Account.Cluster.Record.IdentityBindings = []resource.IdentityBinding{{Name: "ib", Identity: resource.IdentityRef{Resource: web.Resource, Object: web.ID}}}
	p.Account.Estate = load(t, directory.BindingCredential(web))
	p.Account.MayUse = map[string]doctor.Known[bool]{web.ClientID.String(): doctor.Know(true)}
	return p
}

func TestIdentityBindings(t *testing.T) {
	t.Parallel()
	const right, wrong, unseen = doctor.Right, doctor.Wrong, doctor.NotEvaluated
	exchange := func(p *doctor.Pod) {
		app := &p.Pod.Spec.Containers[0]
		app.Env = app.Env[:len(app.Env)-1]
		p.Pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = doctor.Exchange
	}
	for _, tt := range []struct {
		law    string
		change func(*doctor.Pod)
		check  string
		want   doctor.Verdict
		says   string
	}{
		{"a pod that is right in all", func(*doctor.Pod) {}, "binding-use", right, "lets the service account use"},
		{"no binding", func(p *doctor.Pod) { p.Account.Cluster.Record.IdentityBindings = nil }, "binding", wrong, "managedclusters/aks-1/identityBindings/web?api-version="},
		{"a binding of another identity, whose name stays its own", func(p *doctor.Pod) {
			p.Account.Cluster.Record.IdentityBindings = []resource.IdentityBinding{{Name: "Web", Identity: resource.IdentityRef{Resource: web.Resource, Object: ana.ID}}}
		}, "binding", wrong, "/identityBindings/web-2?api-version="},
		{"the credential of bindings is gone, and its binding is written again", func(p *doctor.Pod) { p.Account.Estate = load(t) }, "credential", wrong, "/identityBindings/ib?api-version="},
		{"the credential of bindings may be there", func(p *doctor.Pod) { p.Account.Estate = load(t); p.Account.Estate.Unread = "no right" }, "credential", unseen, "no right"},
		{"a credential for the service account does not stand for it", func(p *doctor.Pod) { p.Account.Estate = load(t, cred) }, "credential", wrong, "does not have the credential of identity bindings"},
		{"the account may not use the identity", func(p *doctor.Pod) { p.Account.MayUse[web.ClientID.String()] = doctor.Know(false) }, "binding-use", wrong, "--serviceaccount=shop:web"},
		{"nobody said whether the account may use the identity", func(p *doctor.Pod) { p.Account.MayUse = nil }, "binding-use", unseen, "nobody looked"},
		{"a cluster that the house does not run", func(p *doctor.Pod) { p.Account.Cluster.Record.Attached = true }, "binding", unseen, "no token proxy"},
		{"an annotation that came after the pod", func(p *doctor.Pod) { exchange(p); p.Account.Estate = load(t, cred) }, "binding", wrong, "not for the token proxy"},
		{"a pod that does not ask for the binding that there is", func(p *doctor.Pod) { exchange(p); p.Pod.Annotations = nil }, "binding", wrong, "the pod does not ask for it"},
		{"a pod that has no need of the binding", func(p *doctor.Pod) { exchange(p); p.Pod.Annotations = nil; p.Account.Estate = load(t, cred) }, "subject", right, subject},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			p := bindingWard(t)
			tt.change(p)
			found := doctor.ExaminePod(*p)
			expect(t, found, tt.check, tt.want, tt.says)
			if got := doctor.Worst(found); got != tt.want {
				t.Errorf("all in all %s, want %s: %+v", got, tt.want, found)
			}
		})
	}
	t.Run("an account without a pod is right by its binding, and by a credential", func(t *testing.T) {
		t.Parallel()
		p := bindingWard(t)
		expect(t, doctor.ExamineAccount(p.Account), "binding", right, "has an identity binding")
		p.Account.Estate = load(t, cred)
		expect(t, doctor.ExamineAccount(p.Account), "subject", right, subject)
	})
}

// The command for one more credential does not name one that is there, which
// it would overwrite: that may be another cluster's.
func TestAFixOverwritesNoCredential(t *testing.T) {
	t.Parallel()
	other, second := cred, cred
	other.Issuer = "https://oidc.example/t/other/"
	second.Name, second.Issuer = "Shop-Web-2", "https://oidc.example/t/third/"
	p := ward(t)
	p.Account.Estate = load(t, other, second)
	expect(t, doctor.ExaminePod(*p), "issuer", doctor.Wrong, "federated-credential create --name shop-web-3 ")
}
