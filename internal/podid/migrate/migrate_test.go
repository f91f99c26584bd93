package migrate_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/podid/migrate"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

const issuer = "https://oidc.example/c1/"

func client(n int) directory.AppID {
	return directory.AppID(guid.MustParse[struct{}](fmt.Sprintf("1c000000-0000-4000-8000-%012d", n)))
}

func object[T any](t *testing.T, parse func([]byte) (T, error), kind, name string, spec map[string]any) T {
	t.Helper()
	text, err := json.Marshal(map[string]any{"apiVersion": podid.APIVersion, "kind": kind, "metadata": map[string]string{"name": name, "namespace": "shop"}, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	obj, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func identity(t *testing.T, name string, n int) podid.AzureIdentity {
	return object(t, podid.ParseIdentity, "AzureIdentity", name, map[string]any{"type": 0, "clientID": client(n).String(),
		"resourceID": "/subscriptions/5b000000-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name})
}

func binding(t *testing.T, name, identity string) podid.AzureIdentityBinding {
	return object(t, podid.ParseBinding, "AzureIdentityBinding", name, map[string]any{"azureIdentity": identity, "selector": name})
}

func labels(pairs ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// usual is a cluster with one workload that has nothing in its way.
func usual(t *testing.T) migrate.Cluster {
	principal := object(t, podid.ParseIdentity, "AzureIdentity", "sp", map[string]any{"type": 1, "clientID": client(9).String(),
		"tenantID": "7e000000-0000-4000-8000-000000000001", "clientPassword": map[string]string{"name": "s", "namespace": "shop"}})
	return migrate.Cluster{
		Issuer: issuer, Webhook: true,
		Identities: []podid.AzureIdentity{identity(t, "web", 1), identity(t, "api", 2), principal},
		Bindings:   []podid.AzureIdentityBinding{binding(t, "web", "web"), binding(t, "api", "api"), binding(t, "sp", "sp")},
		Workloads:  []migrate.Workload{{Kind: "Deployment", Namespace: "shop", Name: "web", ServiceAccount: "web", Labels: labels(podid.BindingLabel, "web")}},
		Accounts:   map[podid.Ref]map[string]string{{Namespace: "shop", Name: "web"}: nil},
		Known:      map[directory.AppID][]directory.FederatedCredential{client(1): nil, client(2): nil, client(9): nil},
		Assignable: map[directory.AppID]bool{client(1): true, client(2): true, client(9): true},
	}
}

func TestWhatIsToDoForAWorkload(t *testing.T) {
	t.Parallel()
	account := podid.Ref{Namespace: "shop", Name: "web"}
	filled := func(n int) (list []directory.FederatedCredential) {
		for i := range n {
			list = append(list, directory.FederatedCredential{Name: fmt.Sprint(i)})
		}
		return list
	}
	for _, tt := range []struct {
		law    string
		change func(*migrate.Cluster)
		want   string // the state, and the actions
		blocks string // part of the first block
		notes  string
	}{
		{"a credential, an annotation and a label", nil, "to-do add-federated-credential annotate-service-account label-pods", "", ""},
		{"no credential when one trusts the account already, whatever its name", func(c *migrate.Cluster) {
			f := migrate.Credential(client(1), issuer, account)
			f.Name = "other"
			c.Known[client(1)] = []directory.FederatedCredential{f}
		}, "to-do annotate-service-account label-pods", "", ""},
		{"a credential for another audience is another one", func(c *migrate.Cluster) {
			f := migrate.Credential(client(1), issuer, account)
			f.Audiences = []string{"other"}
			c.Known[client(1)] = []directory.FederatedCredential{f}
		}, "to-do add-federated-credential annotate-service-account label-pods", "", ""},
		{"nothing when all is done but the end", func(c *migrate.Cluster) {
			c.Known[client(1)] = []directory.FederatedCredential{migrate.Credential(client(1), issuer, account)}
			c.Accounts[account] = labels(inject.ClientIDAnnotation, strings.ToUpper(client(1).String()))
			c.Workloads[0].Labels[inject.UseLabel] = "true"
		}, "ready", "", ""},
		{"an issuer is needed", func(c *migrate.Cluster) { c.Issuer = "" }, "blocked", "publishes no issuer", ""},
		{"the webhook is needed", func(c *migrate.Cluster) { c.Webhook = false }, "blocked", "the webhook", ""},
		{"its host's network is in the way", func(c *migrate.Cluster) { c.Workloads[0].HostNetwork = true }, "blocked", "host's network", ""},
		{"an exception is in the way", func(c *migrate.Cluster) {
			c.Exceptions = append(c.Exceptions, object(t, podid.ParseException, "AzurePodIdentityException", "e", map[string]any{"podLabels": labels(podid.BindingLabel, "web")}))
		}, "blocked", "system-assigned", ""},
		{"a service principal with a secret is in the way", func(c *migrate.Cluster) { c.Workloads[0].Labels[podid.BindingLabel] = "sp" }, "blocked", "a service principal", ""},
		{"an identity that is not known is in the way", func(c *migrate.Cluster) { delete(c.Known, client(1)) }, "blocked", "no managed identity", ""},
		// PI-09: who writes objects of pod identity may name any identity, and gets no token of it.
		{"an identity that the cluster may not assign is in the way", func(c *migrate.Cluster) { delete(c.Assignable, client(1)) }, "blocked", "may not assign it", ""},
		{"but not one that trusts the account already", func(c *migrate.Cluster) {
			delete(c.Assignable, client(1))
			c.Known[client(1)] = []directory.FederatedCredential{migrate.Credential(client(1), issuer, account)}
		}, "to-do annotate-service-account label-pods", "", ""},
		{"a credential that counts no longer is in the way", func(c *migrate.Cluster) {
			f := migrate.Credential(client(1), issuer, account)
			c.Known[client(1)], c.Over = []directory.FederatedCredential{f}, map[record.Key]bool{f.Key(): true}
		}, "blocked", "counts no longer", ""},
		{"two identities are in the way", func(c *migrate.Cluster) {
			b := binding(t, "web", "api")
			b.Metadata.Name = "second"
			c.Bindings = append(c.Bindings, b)
		}, "blocked", "it has 2 identities (shop/api, shop/web)", ""},
		{"a label that gives nothing is in the way", func(c *migrate.Cluster) { c.Workloads[0].Labels[podid.BindingLabel] = "none" }, "blocked", "gets no identity", ""},
		{"an account for another identity is in the way", func(c *migrate.Cluster) { c.Accounts[account] = labels(inject.ClientIDAnnotation, client(2).String()) }, "blocked", "annotated for another", ""},
		{"an account that is not there is in the way", func(c *migrate.Cluster) { delete(c.Accounts, account) }, "blocked", "is not there", ""},
		{"an account of two identities is in the way", func(c *migrate.Cluster) {
			c.Workloads = append(c.Workloads, migrate.Workload{Kind: "Job", Namespace: "shop", Name: "z", ServiceAccount: "web", Labels: labels(podid.BindingLabel, "api")})
		}, "blocked", "shared with workloads of 1 other", ""},
		{"a pod that nothing makes is in the way", func(c *migrate.Cluster) { c.Workloads[0].Fixed = "nothing makes it anew" }, "blocked", "nothing makes it anew", ""},
		{"nineteen credentials leave room", func(c *migrate.Cluster) { c.Known[client(1)] = filled(19) }, "to-do add-federated-credential annotate-service-account label-pods", "", ""},
		{"twenty do not", func(c *migrate.Cluster) { c.Known[client(1)] = filled(20) }, "blocked", "20 federated credentials", ""},
		{"who else could then use it is said", func(c *migrate.Cluster) {
			c.Workloads = append(c.Workloads, migrate.Workload{Kind: "CronJob", Namespace: "shop", Name: "z", ServiceAccount: "web"})
		}, "to-do add-federated-credential annotate-service-account label-pods", "", "CronJob shop/z"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			c := usual(t)
			if tt.change != nil {
				tt.change(&c)
			}
			way := migrate.Make(c).Workloads[0]
			got := []string{string(way.State)}
			for _, s := range way.Steps {
				got = append(got, string(s.Do))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if first := strings.Join(way.Blocks, "\n"); (first == "") != (tt.blocks == "") || !strings.Contains(first, tt.blocks) {
				t.Errorf("blocks %q, want %q", first, tt.blocks)
			}
			if notes := strings.Join(way.Notes, "\n"); !strings.Contains(notes, tt.notes) {
				t.Errorf("notes %q, want %q", notes, tt.notes)
			}
		})
	}
}

func TestTheCredentialIsForExactlyTheAccount(t *testing.T) {
	t.Parallel()
	f := migrate.Credential(client(1), issuer, podid.Ref{Namespace: "shop", Name: "web.v2"})
	if err := f.Validate(); err != nil {
		t.Error(err)
	}
	if f.Subject != "system:serviceaccount:shop:web.v2" || f.Issuer != issuer || f.Audiences[0] != "api://AzureADTokenExchange" || f.Owner != client(1) {
		t.Errorf("%+v", f)
	}
	long := migrate.Credential(client(1), issuer, podid.Ref{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("a", 253)})
	if err := long.Validate(); err != nil {
		t.Error(err)
	}
	// Glued, these two are one.
	if a, b := migrate.Credential(client(1), issuer, podid.Ref{Namespace: "a-b", Name: "c"}), migrate.Credential(client(1), issuer, podid.Ref{Namespace: "a", Name: "b-c"}); a.Name == b.Name {
		t.Errorf("two accounts, and one name: %s", a.Name)
	}
}

// carry does the steps of a way.
func carry(t *testing.T, c *migrate.Cluster, way migrate.Way, steps []migrate.Step) {
	t.Helper()
	i := slices.IndexFunc(c.Workloads, func(w migrate.Workload) bool { return w.Kind == way.Kind && w.Name == way.Name })
	for _, s := range steps {
		switch s.Do {
		case migrate.AddCredential:
			c.Known[s.Credential.Owner] = append(c.Known[s.Credential.Owner], *s.Credential)
		case migrate.AnnotateAccount:
			if was := c.Accounts[s.Account][s.Name]; was != "" {
				t.Fatalf("%s: an annotation for %s is written over", s.Account, was)
			}
			c.Accounts[s.Account] = labels(s.Name, s.Value)
		case migrate.LabelPods:
			c.Workloads[i].Labels[s.Name] = s.Value
		case migrate.UnlabelPods:
			delete(c.Workloads[i].Labels, s.Name)
		}
	}
}

func TestAPlanThatWasCarriedOutHasNothingLeft(t *testing.T) {
	t.Parallel()
	done := 0
	for seed := range uint64(300) {
		d := rand.New(rand.NewPCG(seed, 3))
		c := usual(t)
		if d.IntN(3) == 0 {
			delete(c.Assignable, client(1))
		}
		c.Workloads = nil
		for i := range 8 {
			w := migrate.Workload{Kind: "Deployment", Namespace: "shop", Name: fmt.Sprint("w", i), ServiceAccount: fmt.Sprint("a", d.IntN(5)), Labels: labels(), HostNetwork: d.IntN(9) == 0}
			if s := []string{"", "web", "web", "api", "sp", "none"}[d.IntN(6)]; s != "" {
				w.Labels[podid.BindingLabel] = s
			}
			c.Workloads = append(c.Workloads, w)
			c.Accounts[podid.Ref{Namespace: "shop", Name: w.ServiceAccount}] = nil
		}
		// What each account's pods have by pod identity.
		rules := podid.NewRules(c.Mode, slices.Values(c.Identities), slices.Values(c.Bindings), slices.Values(c.Exceptions))
		had := make(map[string]bool)
		for _, w := range c.Workloads {
			for _, m := range rules.Match(podid.Pod{Namespace: "shop", Name: w.Name, UID: "u", NodeName: "n", Labels: w.Labels, HostNetwork: w.HostNetwork}) {
				if !c.Assignable[m.Identity.Spec.ClientID] {
					continue
				}
				had["system:serviceaccount:shop:"+w.ServiceAccount+" "+m.Identity.Spec.ClientID.String()] = true
			}
		}
		before := maps.Clone(c.Known)
		first := migrate.Make(c)
		if diff := cmp.Diff(before, c.Known); diff != "" {
			t.Fatalf("making a plan changes the cluster:\n%s", diff)
		}
		for _, way := range first.Workloads {
			carry(t, &c, way, way.Steps)
		}
		for owner, list := range c.Known {
			for _, f := range list {
				if !had[f.Subject+" "+owner.String()] {
					t.Fatalf("seed %d: %s may now have %s, which none of its pods had", seed, f.Subject, owner)
				}
			}
		}
		second := migrate.Make(c)
		for i, way := range second.Workloads {
			if len(way.Steps) > 0 || way.State == migrate.ToDo {
				t.Fatalf("seed %d: %s is %s, with %d steps left", seed, way.Workload, way.State, len(way.Steps))
			}
			if (way.State == migrate.Blocked) != (first.Workloads[i].State == migrate.Blocked) {
				t.Fatalf("seed %d: %s was %s and is %s", seed, way.Workload, first.Workloads[i].State, way.State)
			}
			if way.State == migrate.Ready {
				done++
				carry(t, &c, way, way.Last)
			}
		}
		for _, way := range migrate.Make(c).Workloads {
			if way.State != migrate.Blocked {
				t.Fatalf("seed %d: %s is %s after its end", seed, way.Workload, way.State)
			}
		}
	}
	if done == 0 {
		t.Error("no workload came to its end: this tries nothing")
	}
}

func TestWhatNobodyNeedsCanGo(t *testing.T) {
	t.Parallel()
	c := usual(t)
	if diff := cmp.Diff([]string{"AzureIdentity shop/api", "AzureIdentity shop/sp", "AzureIdentityBinding shop/api", "AzureIdentityBinding shop/sp"}, migrate.Make(c).Unneeded); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
