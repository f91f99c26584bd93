package stories_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/tour"
)

// withKubelogin fetches a kubeconfig whose plugin is the real kubelogin.
func withKubelogin(t *testing.T, stage *tour.Stage, cluster, method string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), cluster+".kubeconfig")
	got, err := stage.Operate(t.Context(), "kubeconfig", cluster, "--plugin", "kubelogin", "--login", method, "--file", file)
	if err != nil || got.Exit != 0 {
		t.Fatalf("%s %v", got.Text, err)
	}
	return file
}

// fresh is somebody at a new machine, where nobody has signed in yet: kubelogin
// keeps tokens where it finds a keyring.
func fresh(t *testing.T, stage *tour.Stage, name string) *tour.Person {
	t.Helper()
	p, err := stage.Person(name)
	if err != nil {
		t.Fatal(err)
	}
	moved := *p
	moved.Home = t.TempDir()
	return &moved
}

// Stories 1, 2 and 3, signed in by the kubelogin that everybody has, by device code.
func TestKubeloginByDeviceCode(t *testing.T) {
	stage := onStage(t)
	for _, tt := range []struct {
		law, who, on, command string
		exit                  int
		starts, want          string
	}{
		{"story 1: the admin group", "ed", "aks-1", "get clusterrolebinding aks-cluster-admin-binding-aad -o jsonpath={.roleRef.name}/{.subjects[*].name}", 0,
			"", "cluster-admin/b0000000-0000-4000-8000-000000000001"},
		{"story 2: Cluster User Role alone", "faye", "aks-1", "get ns", 1, "",
			`Error from server (Forbidden): namespaces is forbidden: User "faye@teknews.cloud" cannot list resource "namespaces" in API group "" at the cluster scope: User does not have access to the resource in Azure. Update role assignment to allow access.`},
		{"story 3: RBAC Reader where it counts", "jet", "aks-1", "get ns", 0, "NAME ", ""},
		{"story 3: RBAC Reader where it does not count", "spike", "aks-2", "get ns", 1, "",
			`Error from server (Forbidden): namespaces is forbidden: User "spike@teknews.cloud" cannot list resource "namespaces" in API group "" at the cluster scope`},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel() // each device waits five seconds
			p := fresh(t, stage, tt.who)
			got, err := p.KubectlAt(t.Context(), withKubelogin(t, stage, tt.on, "devicecode"), "", strings.Fields(tt.command)...)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got.Invitation, "To sign in, use a web browser to open the page https://") {
				t.Errorf("kubelogin did not ask anybody to sign in: %q", got.Invitation)
			}
			if got.Exit != tt.exit || !strings.HasPrefix(got.Text, tt.starts) || tt.want != "" && got.Text != tt.want {
				t.Errorf("exit code %d, want %d\ngot  %s\nwant %s%s", got.Exit, tt.exit, got.Text, tt.starts, tt.want)
			}
		})
	}
}

// A program signs in with its client secret and has the rights of its service principal.
func TestKubeloginByClientSecret(t *testing.T) {
	stage := onStage(t)
	rec := clusterNow(t, stage, "aks-1")
	app := directory.Application{ID: principal.NewID(), AppID: directory.NewAppID(), Tenant: rec.Tenant, DisplayName: "nightly-report"}
	sp := directory.ServicePrincipal{ID: principal.NewID(), AppID: app.AppID, Tenant: rec.Tenant, DisplayName: "nightly-report"}
	reader, ok := estate.New().DefinitionByName("Azure Kubernetes Service RBAC Reader")
	if !ok {
		t.Fatal("there is no role RBAC Reader")
	}
	grant := azurerbac.Assignment{ID: azurerbac.NewAssignmentID(), Scope: rec.Scope, Principal: sp.ID, PrincipalType: principal.ServicePrincipal, Role: reader.ID}
	if err := stage.Commit(t.Context(), "test", estate.Op{Put: app}, estate.Op{Put: sp}, estate.Op{Put: grant}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stage.Commit(context.WithoutCancel(t.Context()), "test", estate.Op{Delete: grant.Key()}, estate.Op{Delete: sp.Key()}, estate.Op{Delete: app.Key()}); err != nil {
			t.Error(err)
		}
	})
	secret, err := shared.conf.API.NewSecret(t.Context(), app.AppID.String(), wire.NewSecret{Name: "test", Days: 1})
	if err != nil {
		t.Fatal(err)
	}
	file := withKubelogin(t, stage, "aks-1", "spn")
	machine := fresh(t, stage, "bernadette") // whose machine it runs on does not matter
	with := func(secret string) {
		machine.Env = []string{"AAD_SERVICE_PRINCIPAL_CLIENT_ID=" + app.AppID.String(), "AAD_SERVICE_PRINCIPAL_CLIENT_SECRET=" + secret}
	}
	with("wrong" + secret.Text) // first: kubelogin keeps tokens
	got, err := machine.KubectlAt(t.Context(), file, "", "get", "pods")
	if err != nil {
		t.Fatal(err)
	}
	if got.Exit == 0 || !strings.Contains(got.Text, "AADSTS7000215") {
		t.Errorf("with a wrong secret: exit code %d\n%s\nwant AADSTS7000215", got.Exit, got.Text)
	}
	with(secret.Text)
	for _, tt := range []struct {
		command, want string
		exit          int
	}{
		{"auth whoami -o jsonpath={.status.userInfo.username}", sp.ID.String(), 0},
		{"get pods", "No resources found in default namespace.", 0},
		{"get secrets", `Error from server (Forbidden): secrets is forbidden: User "` + sp.ID.String() + `" cannot list resource "secrets" in API group "" in the namespace "default": User does not have access to the resource in Azure. Update role assignment to allow access.`, 1},
	} {
		got, err := machine.KubectlAt(t.Context(), file, "", strings.Fields(tt.command)...)
		if err != nil {
			t.Fatal(err)
		}
		if got.Exit != tt.exit || got.Text != tt.want {
			t.Errorf("kubectl %s: exit code %d\ngot  %s\nwant %s", tt.command, got.Exit, got.Text, tt.want)
		}
	}
}
