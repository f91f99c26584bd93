package doctor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

var aks = resource.Cluster{Scope: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks-1"),
	Name: "aks-1", ResourceGroup: "rg", Tenant: corp.ID, OIDCIssuer: true, IssuerURL: issuer}

func credential(name string, change func(*directory.FederatedCredential)) directory.FederatedCredential {
	c := cred
	c.Name = name
	change(&c)
	return c
}

func sa(namespace, name, client string) corev1.ServiceAccount {
	out := corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if client != "" {
		out.Annotations = map[string]string{inject.ClientIDAnnotation: client}
	}
	return out
}

func TestSweeps(t *testing.T) {
	t.Parallel()
	const right, wrong, unseen = doctor.Right, doctor.Wrong, doctor.NotEvaluated
	read := func(pods []corev1.Pod, accounts ...corev1.ServiceAccount) func(*doctor.Sweep) {
		return func(s *doctor.Sweep) {
			s.Read = []doctor.Swept{{Cluster: aks, Issuer: doctor.Know(issuer), Accounts: doctor.Know(accounts), Pods: doctor.Know(pods)}}
		}
	}
	role := func(principal principal.ID) record.Record {
		var reader azurerbac.DefinitionID
		for r := range estate.New().Definitions() {
			if r.RoleName == "Reader" {
				reader = r.Definition.ID
			}
		}
		return azurerbac.Assignment{ID: azurerbac.AssignmentID{7}, Scope: at, Principal: principal, Role: reader}
	}
	crowd := func(n int) (all []record.Record) {
		for i := range n {
			all = append(all, credential(fmt.Sprintf("repo-%d", i), func(c *directory.FederatedCredential) {
				c.Issuer, c.Subject = "https://token.actions.example", fmt.Sprintf("repo:a/b%d", i)
			}))
		}
		return all
	}
	web1 := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{inject.UseLabel: "true"}},
		Spec: corev1.PodSpec{ServiceAccountName: "web", Containers: []corev1.Container{{Name: "app"}}}}
	team := directory.Group{ID: principal.ID{8}, Tenant: corp.ID, DisplayName: "team"}
	days := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	uses := func(since time.Duration, latest ...principal.ID) func(*doctor.Sweep) {
		return func(s *doctor.Sweep) {
			u := doctor.Uses{Since: moment.Add(-since), Latest: make(map[principal.ID]time.Time)}
			for _, id := range latest {
				u.Latest[id] = moment
			}
			s.Uses = doctor.Know(u)
		}
	}
	last := func(s *doctor.Sweep, ago time.Duration) {
		u, _ := s.Uses.Get()
		u.Latest[web.ID] = moment.Add(-ago)
	}
	given := role(web.ID)
	for _, tt := range []struct {
		law     string
		records []record.Record
		change  func(*doctor.Sweep)
		check   string
		want    doctor.Verdict
		says    string
	}{
		{"all is right", []record.Record{aks, cred, given}, read(nil, sa("shop", "web", web.ClientID.String())), "credentials", right, "1 federated credential"},
		{"a pod that the webhook missed", []record.Record{aks, cred, given}, read([]corev1.Pod{web1}, sa("shop", "web", web.ClientID.String())), "webhook-missed", wrong, "did not see this pod"},
		{"an account that names nobody", []record.Record{aks, cred, given}, read(nil, sa("shop", "web", "99999999-0000-4000-8000-000000000099")), "client-id", wrong, "no application and no managed identity"},
		{"an account that its identity does not trust", []record.Record{aks, cred, given}, read(nil, sa("shop", "web", ""), sa("shop", "jobs", web.ClientID.String())), "subject", wrong, "system:serviceaccount:shop:jobs"},
		{"an issuer that nobody could read", []record.Record{aks, cred, given}, func(s *doctor.Sweep) {
			s.Read = []doctor.Swept{{Cluster: aks, Issuer: doctor.Unknown[string]("no answer"), Accounts: doctor.Know([]corev1.ServiceAccount{sa("shop", "web", web.ClientID.String())}), Pods: doctor.Know([]corev1.Pod{})}}
		}, "issuer", unseen, "no answer"},
		{"pods that may not be read", []record.Record{aks, cred, given}, func(s *doctor.Sweep) {
			s.Read = []doctor.Swept{{Cluster: aks, Accounts: doctor.Know([]corev1.ServiceAccount{sa("shop", "web", "")}), Pods: doctor.Unknown[[]corev1.Pod]("forbidden")}}
		}, "pods", unseen, "forbidden"},
		{"a cluster that was not read", []record.Record{aks, cred, given}, nil, "subject-exists", unseen, "1 credential"},
		{"no cluster was read at all", []record.Record{aks, given}, nil, "workloads", unseen, "were not looked at"},
		{"a namespace that is gone", []record.Record{aks, cred, given}, read(nil, sa("test", "web", "")), "subject-exists", wrong, "has no namespace shop: whoever makes it gets the identity"},
		{"a service account that is gone", []record.Record{aks, cred, given}, read(nil, sa("shop", "job", "")), "subject-exists", wrong, "has no service account web in namespace shop"},
		{"an issuer of no cluster", []record.Record{cred, given}, nil, "issuer-known", wrong, "az identity federated-credential delete --name shop-web"},
		{"an issuer of a cluster that one may not see", []record.Record{cred, given}, func(s *doctor.Sweep) { s.Estate.Unread = "no right" }, "issuer-known", unseen, "no right"},
		{"an issuer that is nearly a cluster's", []record.Record{aks, given, credential("near", func(c *directory.FederatedCredential) { c.Issuer = strings.TrimSuffix(issuer, "/") })}, nil, "issuer-known", wrong, "trailing slash"},
		{"an issuer that is one cluster's and nearly another's", []record.Record{func() record.Record {
			c := aks
			c.Scope, c.Name, c.IssuerURL = scope.MustParse(strings.Replace(aks.Scope.String(), "aks-1", "aks-0", 1)), "aks-0", strings.Replace(issuer, "cluster", "Cluster", 1)
			return c
		}(), aks, cred, given}, read(nil, sa("shop", "web", web.ClientID.String())), "credentials", right, "1 federated credential"},
		{"a pipeline's credential is nobody's cluster", append(crowd(1), given), nil, "credentials", right, "1 federated credential"},
		{"a credential twice but for a slip", []record.Record{aks, cred, given, credential("other", func(c *directory.FederatedCredential) { c.Subject = "system:serviceaccount:shop:Web" })}, read(nil, sa("shop", "web", "")), "twice", wrong, "a slip of the pen"},
		{"a pattern that does not count", []record.Record{aks, cred, pattern, given}, read(nil, sa("shop", "web", ""), sa("batch", "job", "")), "pattern", wrong, "takes no token"},
		{"a pattern that some account fits", []record.Record{allowing, aks, cred, pattern, given}, read(nil, sa("shop", "web", ""), sa("batch", "job", "")), "credentials", right, "2 federated"},
		{"a pattern that none fits", []record.Record{allowing, aks, cred, pattern, given}, read(nil, sa("shop", "web", "")), "subject-exists", wrong, "fits the pattern"},
		{"near the limit", append(crowd(18), given), nil, "limit", wrong, "it has 18 federated credentials"},
		{"not near the limit", append(crowd(17), given), nil, "credentials", right, "17 federated credentials"},
		{"an identity without a role that nobody uses", []record.Record{}, uses(days(36)), "needed", wrong, "needs no identity"},
		{"what ran last month is used", []record.Record{}, func(s *doctor.Sweep) { uses(days(400))(s); last(s, days(34)) }, "needed", right, "1 managed identities"},
		{"what ran long ago is not", []record.Record{}, func(s *doctor.Sweep) { uses(days(400))(s); last(s, days(36)) }, "needed", wrong, "when it got its latest"},
		{"what ran long ago, and may have run since", []record.Record{}, func(s *doctor.Sweep) { uses(days(3))(s); last(s, days(36)) }, "needed", unseen, "uses are known since"},
		{"one that is used", []record.Record{}, uses(days(36), web.ID), "needed", right, "1 managed identities"},
		{"a memory that is too short", []record.Record{}, uses(days(34)), "needed", unseen, "too short a time"},
		{"a memory that nobody may read", []record.Record{}, nil, "needed", unseen, "whether it is used is not known"},
		{"a role that one may not see", []record.Record{}, func(s *doctor.Sweep) { uses(days(36))(s); s.Estate.Unread = "no right" }, "needed", unseen, "may have one"},
		{"a role in a cluster that nobody has read", []record.Record{func() record.Record { c := aks; c.Attached = true; return c }()}, uses(days(36)), "needed", unseen, "in cluster aks-1"},
		{"a role of a group", []record.Record{team, directory.Membership{Group: team.ID, Member: web.ID}, role(team.ID)}, uses(days(36)), "needed", right, ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			s := doctor.Sweep{Now: moment, Estate: load(t, tt.records...)}
			if tt.change != nil {
				tt.change(&s)
			}
			found := doctor.ExamineAll(s)
			expect(t, found, tt.check, tt.want, tt.says)
			if got := doctor.Worst(found); got != tt.want {
				t.Errorf("all in all %s, want %s: %+v", got, tt.want, found)
			}
		})
	}
}

// A sweep says of a pod what the doctor says who looks at it alone, as far as its
// identity goes, and it says it once for all pods that ask for the same.
func TestASweepAgreesWithTheLookAtOnePod(t *testing.T) {
	t.Parallel()
	for law, change := range map[string]func(*doctor.Pod){
		"all is right":                func(*doctor.Pod) {},
		"another identity than named": func(p *doctor.Pod) { setEnv(p, "AZURE_CLIENT_ID", "99999999-0000-4000-8000-000000000099") },
		"another tenant":              func(p *doctor.Pod) { setEnv(p, "AZURE_TENANT_ID", "99999999-0000-4000-8000-000000000099") },
		"another audience": func(p *doctor.Pod) {
			p.Pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = "api://else"
		},
		"two tokens": func(p *doctor.Pod) {
			p.Pod.Spec.Volumes[0].Projected.Sources = append(p.Pod.Spec.Volumes[0].Projected.Sources, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "else"}})
		},
		"another issuer":                  func(p *doctor.Pod) { p.Account.Cluster.Issuer = doctor.Know("https://else.example") },
		"an issuer nobody knows":          func(p *doctor.Pod) { p.Account.Cluster.Issuer = doctor.Unknown[string]("no answer") },
		"an account without a credential": func(p *doctor.Pod) { p.Account.Estate = load(t) },
		"a tenant that nobody says": func(p *doctor.Pod) {
			p.Pod.Spec.Containers = append(p.Pod.Spec.Containers, *p.Pod.Spec.Containers[0].DeepCopy())
			p.Pod.Spec.Containers[1].Name = "second"
			setEnv(p, "AZURE_TENANT_ID", "99999999-0000-4000-8000-000000000099")
		},
		"an account that is gone": func(p *doctor.Pod) { p.Account.Object = doctor.Know[*corev1.ServiceAccount](nil) },
		"an account that says nothing, and containers neither": func(p *doctor.Pod) {
			account(p).Annotations = nil
			p.Pod.Spec.Containers[0].Env = p.Pod.Spec.Containers[0].Env[1:]
		},
		"a binding that is not there": func(p *doctor.Pod) {
			p.Pod.Annotations = map[string]string{inject.IdentityBindingAnnotation: "true"}
			p.Pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience = inject.BindingAudience
			p.Account.MayUse = map[string]doctor.Known[bool]{web.ClientID.String(): doctor.Know(true)}
		},
	} {
		t.Run(law, func(t *testing.T) {
			t.Parallel()
			p := ward(t)
			change(p)
			ofIdentity := func(all []doctor.Finding) (out []doctor.Finding) {
				for _, x := range all {
					switch x.Check {
					case "service-account", "client-id", "tenant", "issuer", "subject", "audience", "credential", "binding", "binding-use":
						out = append(out, x)
					}
				}
				return out
			}
			want := doctor.Worst(ofIdentity(doctor.ExaminePod(*p)))
			again := p.Pod.DeepCopy()
			again.Name = "web-2"
			var accounts []corev1.ServiceAccount
			if sa := account(p); sa != nil {
				accounts = append(accounts, *sa)
			}
			swept := doctor.Swept{Cluster: p.Account.Cluster.Record, Issuer: p.Account.Cluster.Issuer, Pods: doctor.Know([]corev1.Pod{*p.Pod, *again}),
				Accounts: doctor.Know(accounts), MayUse: map[[2]string]map[string]doctor.Known[bool]{{"shop", "web"}: p.Account.MayUse}}
			all := doctor.ExamineAll(doctor.Sweep{Now: moment, Estate: p.Account.Estate, Read: []doctor.Swept{swept}})
			got := slices.DeleteFunc(all, func(x doctor.Finding) bool { return !strings.HasPrefix(x.About, "pod ") && x.Check != "pods" })
			if doctor.Worst(got) != want {
				t.Errorf("the sweep says %s, the look at the pod %s: %+v", doctor.Worst(got), want, got)
			}
			for _, x := range got {
				if strings.HasPrefix(x.About, "pod shop/web-2, ") {
					t.Errorf("said twice: %+v", x)
				}
			}
		})
	}
}
