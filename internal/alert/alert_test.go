package alert_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const group = "/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/"

var (
	tenant  = directory.Tenant{ID: directory.TenantID{1}, Domains: []string{"corp.example"}}
	kubelet = identity(1, "a-agentpool")
	control = identity(2, "control")
	addon   = identity(3, "azurepolicy-a")
	other   = identity(4, "of-nobody")
	own     = directory.ManagedIdentity{ID: principal.ID{5}, ClientID: directory.AppID{5}, Tenant: tenant.ID, DisplayName: "b", Resource: clusterB.Scope, SystemAssigned: true}

	clusterA = resource.Cluster{
		Scope: scope.MustParse(group + "Microsoft.ContainerService/managedClusters/a"), Name: "a", ResourceGroup: "rg", Tenant: tenant.ID,
		OIDCIssuer: true, IssuerURL: "https://a.example/", KubeletIdentity: ref(kubelet),
		Identity: resource.ControlIdentity{Type: resource.UserAssigned, Resource: control.Resource, Object: control.ID},
		Addons:   map[string]resource.Addon{"azurepolicy": {Enabled: true, Identity: ref(addon)}},
	}
	clusterB = resource.Cluster{Scope: scope.MustParse(group + "Microsoft.ContainerService/managedClusters/b"), Name: "b", ResourceGroup: "rg", Tenant: tenant.ID,
		OIDCIssuer: true, IssuerURL: "https://b.example/"}
)

func identity(n byte, name string) directory.ManagedIdentity {
	return directory.ManagedIdentity{ID: principal.ID{n}, ClientID: directory.AppID{n}, Tenant: tenant.ID, DisplayName: name,
		Resource: scope.MustParse(group + "Microsoft.ManagedIdentity/userAssignedIdentities/" + name)}
}

func ref(m directory.ManagedIdentity) resource.IdentityRef {
	return resource.IdentityRef{Resource: m.Resource, Object: m.ID}
}

func with(t *testing.T, est *estate.Snapshot, records ...record.Record) (*estate.Snapshot, []estate.Op) {
	t.Helper()
	var ops []estate.Op
	for _, r := range records {
		ops = append(ops, estate.Op{Put: r})
	}
	next, err := est.Apply(est.Revision()+1, ops...)
	if err != nil {
		t.Fatal(err)
	}
	return next, ops
}

func world(t *testing.T) *estate.Snapshot {
	est, _ := with(t, estate.New(), tenant, kubelet, control, addon, other, own, clusterA, clusterB)
	return est
}

func TestWhatIsOutside(t *testing.T) {
	t.Parallel()
	est := world(t)
	shared := clusterB
	shared.KubeletIdentity = ref(kubelet)
	two, _ := with(t, est, shared)
	silent := clusterA
	silent.OIDCIssuer = false
	off, _ := with(t, est, silent)
	is := func(_ alert.Alert, outside bool) bool { return outside }
	for name, tt := range map[string]struct{ got, want bool }{
		"a kubelet identity by a token of its cluster's issuer":     {is(alert.FromIssuer(est, kubelet.ID, clusterA.IssuerURL, "s")), false},
		"a kubelet identity by a token of another cluster's issuer": {is(alert.FromIssuer(est, kubelet.ID, clusterB.IssuerURL, "s")), true},
		"a kubelet identity by an issuer in other letters":          {is(alert.FromIssuer(est, kubelet.ID, "https://A.example/", "s")), true},
		"a kubelet identity by an issuer that begins like its own":  {is(alert.FromIssuer(est, kubelet.ID, clusterA.IssuerURL+"x/", "s")), true},
		"an issuer that the cluster has turned off":                 {is(alert.FromIssuer(off, kubelet.ID, clusterA.IssuerURL, "s")), true},
		"a control plane by somebody's issuer":                      {is(alert.FromIssuer(est, control.ID, "https://ci.example", "s")), true},
		"an add-on by somebody's issuer":                            {is(alert.FromIssuer(est, addon.ID, "https://ci.example", "s")), true},
		"an identity of no cluster by somebody's issuer":            {is(alert.FromIssuer(est, other.ID, "https://ci.example", "s")), false},
		"nobody": {is(alert.FromIssuer(est, principal.ID{99}, "https://ci.example", "s")), false},
		"a kubelet identity at its own API server":                   {is(alert.FromCluster(est, kubelet.ID, alert.Review, clusterA.Scope, "")), false},
		"a kubelet identity at another API server":                   {is(alert.FromCluster(est, kubelet.ID, alert.Review, clusterB.Scope, "")), true},
		"a kubelet identity of two clusters, in the second":          {is(alert.FromCluster(two, kubelet.ID, alert.Review, clusterB.Scope, "")), false},
		"an identity of the system that its cluster does not name":   {is(alert.FromCluster(est, own.ID, alert.Agent, clusterA.Scope, "")), true},
		"an identity of the system in its cluster":                   {is(alert.FromCluster(est, own.ID, alert.Agent, clusterB.Scope, "")), false},
		"a kubelet identity by a person":                             {is(alert.FromPerson(est, kubelet.ID, principal.ID{77})), true},
		"an identity of no cluster by a person":                      {is(alert.FromPerson(est, other.ID, principal.ID{77})), false},
		"a kubelet identity in a place that is no cluster":           {is(alert.FromCluster(est, kubelet.ID, alert.Agent, scope.Root, "")), true},
		"an add-on's identity when the add-on's cluster forgot it":   {is(alert.FromIssuer(forgetful(t, est), addon.ID, "https://ci.example", "s")), false},
		"a kubelet identity when the cluster's other parts are gone": {is(alert.FromIssuer(forgetful(t, est), kubelet.ID, "https://ci.example", "s")), true},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: outside %t, want %t", name, tt.got, tt.want)
		}
	}
}

// forgetful is the world when a cluster has no add-ons any more.
func forgetful(t *testing.T, est *estate.Snapshot) *estate.Snapshot {
	c := clusterA
	c.Addons = nil
	next, _ := with(t, est, c)
	return next
}

func TestWhatIsWritten(t *testing.T) {
	t.Parallel()
	est := world(t)
	credential := func(m directory.ManagedIdentity, name, issuer string) directory.FederatedCredential {
		return directory.FederatedCredential{Owner: m.ClientID, Name: name, Issuer: issuer, Subject: "s", Audiences: []string{"api://x"}}
	}
	binds := func(c resource.Cluster, m directory.ManagedIdentity) resource.Cluster {
		c.IdentityBindings = []resource.IdentityBinding{{Name: "b", Identity: ref(m)}}
		return c
	}
	open, _ := with(t, est, credential(other, "git", "https://ci.example"), binds(clusterB, other))
	trusted, _ := with(t, est, credential(kubelet, "git", "https://ci.example"))
	takes := clusterA
	takes.KubeletIdentity = ref(other)
	pattern := directory.FederatedCredential{Owner: kubelet.ClientID, Name: "any", Issuer: "https://ci.example", SubjectPattern: "repo:org/*", Audiences: []string{"api://x"}}
	for name, tt := range map[string]struct {
		before *estate.Snapshot
		puts   []record.Record
		want   []string
	}{
		"a credential of another issuer":      {est, []record.Record{credential(kubelet, "git", "https://ci.example")}, []string{"federated credential written https://ci.example git: s"}},
		"a credential of the cluster's own":   {est, []record.Record{credential(kubelet, "own", clusterA.IssuerURL)}, nil},
		"a pattern":                           {est, []record.Record{pattern}, []string{"federated credential written https://ci.example any: " + pattern.SubjectPattern.Expression()}},
		"a credential of nobody's identity":   {est, []record.Record{credential(other, "git", "https://ci.example")}, nil},
		"the same once more":                  {trusted, []record.Record{credential(kubelet, "git", "https://ci.example")}, nil},
		"what has to do with none of it":      {trusted, []record.Record{directory.User{ID: principal.ID{8}, Tenant: tenant.ID, UserPrincipalName: "u@corp.example", DisplayName: "U"}}, nil},
		"a binding of another cluster":        {est, []record.Record{binds(clusterB, kubelet), directory.BindingCredential(kubelet)}, []string{"identity binding written " + clusterB.Scope.String() + " "}},
		"a binding of its own cluster":        {est, []record.Record{binds(clusterA, kubelet), directory.BindingCredential(kubelet)}, nil},
		"a cluster takes an identity with it": {open, []record.Record{takes}, []string{"federated credential written https://ci.example git: s", "identity binding written " + clusterB.Scope.String() + " "}},
		"the credential of bindings under another's name": {est, []record.Record{credential(kubelet, directory.BindingCredentialName, "https://ci.example")},
			[]string{"federated credential written https://ci.example aks-identity-binding: s"}},
	} {
		after, ops := with(t, tt.before, tt.puts...)
		var got []string
		for _, a := range alert.Written(tt.before, after, ops) {
			got = append(got, fmt.Sprintf("%s %s %s", a.Way, a.From, a.Detail))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnAlertForgesNoLine(t *testing.T) { // ZA-06
	t.Parallel()
	// A line by ASCII and by Unicode, a control sequence in either form, a turned direction.
	a, _ := alert.FromIssuer(world(t), kubelet.ID, "https://ci.example", "a\nINFO all is well\x1b[2J\u0085\u2028\u009b2J\u202e"+strings.Repeat("ä", 1000))
	text := a.String()
	if strings.ContainsAny(text, "\n\x1b\u0085\u2028\u009b\u202e") || len(a.Detail) > 600 {
		t.Errorf("%d bytes: %q", len(a.Detail), text)
	}
	if want := "identity " + kubelet.ID.String() + " of cluster " + clusterA.Scope.String() + " outside of it: federated credential, https://ci.example (a?INFO"; !strings.HasPrefix(text, want) {
		t.Errorf("%s, want %s…", text, want)
	}
}
