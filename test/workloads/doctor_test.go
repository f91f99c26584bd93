package workloads_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cli/live"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

var identity = directory.ManagedIdentity{
	ID: principal.ID(guid.MustParse[struct{}]("40000000-0000-4000-8000-0000000000f1")), ClientID: directory.AppID(guid.MustParse[struct{}](clientID)),
	Tenant: plane.Tenant.ID, DisplayName: "web", Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"),
}

// gatehouse runs a command as the operator of the plane's house.
func (p *stage) gatehouse(stdin string, args ...string) (stdout, stderr string, code int) {
	p.T.Helper()
	getenv := func(key string) string {
		switch key {
		case "GATEHOUSE_DIR":
			return filepath.Join(p.Dir, "data")
		case "GATEHOUSE_SERVER":
			return p.House.Authority()
		}
		return ""
	}
	var out, errs bytes.Buffer
	code = cli.Main(context.WithoutCancel(p.T.Context()), args, cli.Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Getenv: getenv, Dial: live.Dial(getenv)}, live.Commands()...)
	return out.String(), errs.String(), code
}

// exchange asks the house for the identity's token with a token of the cluster, and
// returns the refusal.
func (p *stage) exchange(assertion string) string {
	p.T.Helper()
	status, text, err := sent(p.Client(), p.House.Authority(), asserted(clientID, assertion))
	if err != nil {
		p.T.Fatal(err)
	}
	var answer struct {
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || (status == http.StatusOK) != (answer.Description == "") {
		p.T.Fatalf("%d: %v", status, err)
	}
	return answer.Description
}

// A control plane with the webhook, one pod that is right and several that are not.
// Each time what the doctor says is held against what the exchange does.
func TestTheDoctorOnRealPods(t *testing.T) {
	t.Parallel()
	p := newStage(t, true)
	cred := directory.FederatedCredential{Owner: identity.ClientID, Name: "shop-web", Issuer: p.Cluster().IssuerURL,
		Subject: "system:serviceaccount:shop:web", Audiences: []string{inject.DefaultAudience}}
	p.Put(identity, cred)
	for _, ns := range []string{"shop", "test"} {
		p.Must("", "create", "namespace", ns)
		p.Must(accounts, "-n", ns, "apply", "-f", "-")
	}
	p.Must("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: object, annotations: {azure.workload.identity/client-id: "+identity.ID.String()+"}}", "-n", "shop", "apply", "-f", "-")
	p.Must(accounts, "-n", "kube-system", "apply", "-f", "-")
	p.Must("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: labelled, labels: {"+asks+"}, annotations: {azure.workload.identity/client-id: "+clientID+"}}", "-n", "shop", "apply", "-f", "-")
	p.Must(podOf("right", asks, "", "serviceAccountName: web"), "-n", "shop", "apply", "-f", "-")
	p.Must(podOf("elsewhere", asks, "", "serviceAccountName: web"), "-n", "test", "apply", "-f", "-")
	p.Must(podOf("object", asks, "", "serviceAccountName: object"), "-n", "shop", "apply", "-f", "-")
	p.Must(podOf("unlabelled", "", "", "serviceAccountName: labelled"), "-n", "shop", "apply", "-f", "-")
	p.Must(podOf("system", asks, "", "serviceAccountName: web"), "-n", "kube-system", "apply", "-f", "-")
	kubeconfig := filepath.Join(p.Dir, "kubeconfig")

	for _, tt := range []struct {
		law, pod string
		code     int
		says     []string
	}{
		{"a pod that is right", "shop/right", 0, []string{"the subject is the credential's", " 0 not evaluated"}},
		{"a pod in another namespace than the credential's", "test/elsewhere", 1, []string{"is: system:serviceaccount:test:web", "must be: system:serviceaccount:shop:web",
			"differs: other namespace, at byte 22: the namespace is test, not shop", "fix: az identity federated-credential create --name test-web"}},
		{"an object id in place of the client id", "shop/object", 1, []string{"object id of managed identity web, whose client id is " + clientID, "fix: kubectl annotate serviceaccount object -n shop"}},
		{"the label on the account and not on the pod", "shop/unlabelled", 1, []string{"is on the service account, where nobody looks", `fix: metadata: {labels: {azure.workload.identity/use: "true"}}`}},
		{"a pod that the webhook leaves out", "kube-system/system", 1, []string{"webhook-missed", "its configuration leaves out the namespace kube-system"}},
	} {
		t.Run(tt.law, func(t *testing.T) {
			out, errs, code := p.in(t).gatehouse("", "doctor", "pod", tt.pod, "--cluster", "wl", "--kubeconfig", kubeconfig)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.says {
				if !strings.Contains(out, want) {
					t.Errorf("nothing says %q", want)
				}
			}
			if t.Failed() {
				t.Logf("%s%s", out, errs)
			}
		})
	}

	t.Run("ZA-01 real tokens are explained as the exchange takes them, and not repeated", func(t *testing.T) {
		p := p.in(t)
		for _, tt := range []struct {
			ns, audience string
			code         int
			refusal      string
			presented    string // what the doctor finds in it later, by its correlation id
		}{
			{"shop", inject.DefaultAudience, 0, "", ""},
			{"test", inject.DefaultAudience, 1, "AADSTS700213", "is: system:serviceaccount:test:web"},
			{"shop", "AzureADTokenExchange", 1, "AADSTS700212", "is: AzureADTokenExchange"},
		} {
			raw := strings.TrimSpace(p.Must("", "create", "token", "web", "-n", tt.ns, "--audience", tt.audience))
			refused := p.exchange(raw)
			if (refused == "") != (tt.refusal == "") || !strings.HasPrefix(refused, tt.refusal) {
				t.Errorf("%+v: the exchange says %q", tt, refused)
			}
			if _, id, ok := strings.Cut(refused, "Correlation ID: "); ok {
				out, errs, code := p.gatehouse("", "doctor", "--correlation-id", strings.Fields(id)[0])
				if code != 1 || !strings.Contains(out, tt.refusal) || !strings.Contains(out, tt.presented) {
					t.Errorf("%+v: by its correlation id, exit code %d:\n%s%s", tt, code, out, errs)
				}
			}
			for _, format := range []string{"table", "json", "yaml"} {
				out, errs, code := p.gatehouse(raw, "doctor", "token", "-o", format)
				if code != tt.code {
					t.Errorf("%+v: the doctor exits with %d:\n%s%s", tt, code, out, errs)
				}
				parts := strings.Split(raw, ".")
				if said := out + errs; strings.Contains(said, parts[2]) || strings.Contains(said, parts[1]) {
					t.Errorf("the token is in what the doctor says:\n%s", said)
				}
			}
		}
	})

	t.Run("everything at once", func(t *testing.T) {
		p := p.in(t)
		gone := cred
		gone.Name, gone.Subject = "gone", "system:serviceaccount:gone:web"
		p.Put(gone)
		out, errs, code := p.gatehouse("", "doctor", "--all", "--cluster", "wl", "--kubeconfig", kubeconfig)
		for _, want := range []string{"pod kube-system/system\nwrong          webhook-missed", "pod shop/unlabelled\nwrong          label-missing",
			"pod shop/object, service account shop/object\nwrong          client-id", "pod test/elsewhere, credential gone of managed identity web\nwrong          subject", "credential gone of managed identity web\nwrong          subject-exists", "cluster wl has no namespace gone"} {
			if !strings.Contains(out, want) {
				t.Errorf("nothing says %q", want)
			}
		}
		for _, fine := range []string{"pod shop/right", "service account shop/web", "credential shop-web"} {
			if strings.Contains("\n"+out, "\n"+fine) {
				t.Errorf("something is wrong with %s", fine)
			}
		}
		if code != 1 || t.Failed() {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
	})

	t.Run("pods and service accounts of a real cluster are checked", func(t *testing.T) {
		p := p.in(t)
		p.Must("", "-n", "shop", "wait", "--for=create", "serviceaccount/default", "--timeout=3m") // pods need it
		p.Must(podOf("old", "aadpodidbinding: web", "", ""), "-n", "shop", "apply", "-f", "-")
		out, errs, code := p.gatehouse("", "check", "--rule", "pod-identity,account-powerless", "--workloads", "--cluster", "wl", "--kubeconfig", kubeconfig)
		for _, want := range []string{"1 pod with the label aadpodidbinding, such as shop/old", "service account shop/web of wl", "managed identity web, which its annotation names, was given nothing",
			"fix    kubectl --context wl annotate serviceaccount web -n shop azure.workload.identity/client-id-", " 0 not evaluated"} {
			if !strings.Contains(out, want) {
				t.Errorf("nothing says %q", want)
			}
		}
		if code != 1 || t.Failed() {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		if out, _, code := p.gatehouse("", "check", "--rule", "pod-identity,account-powerless"); code != 3 || !strings.Contains(out, "nobody looked") {
			t.Errorf("without looking, exit code %d: %s", code, out)
		}
	})

	t.Run("a service account alone", func(t *testing.T) {
		p := p.in(t)
		if out, errs, code := p.gatehouse("", "doctor", "sa", "shop/web", "--cluster", "wl", "--kubeconfig", kubeconfig); code != 0 {
			t.Errorf("%d: %s%s", code, out, errs)
		}
		cred.Issuer = strings.TrimSuffix(cred.Issuer, "/")
		p.Put(cred)
		out, errs, code := p.gatehouse("", "doctor", "sa", "shop/web", "--cluster", "wl", "--kubeconfig", kubeconfig)
		if code != 1 || !strings.Contains(out, "differs: trailing slash") || !strings.Contains(out, "federated-credential update --name shop-web") {
			t.Errorf("%d: %s%s", code, out, errs)
		}
		if out, errs, code := p.gatehouse("", "doctor", "sa", "shop/nobody", "--cluster", "wl", "--kubeconfig", kubeconfig); code != 1 || !strings.Contains(out, "there is no such service account") {
			t.Errorf("%d: %s%s", code, out, errs)
		}
	})
}
