// Package bench_test measures Gatehouse beside the programs that it stands in for.
package bench_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

var (
	subscription  = scope.MustParse("/subscriptions/11111111-1111-1111-1111-111111111111")
	resourceGroup = scope.MustParse(subscription.String() + "/resourceGroups/web")
	cluster       = scope.MustParse(resourceGroup.String() + "/providers/Microsoft.ContainerService/managedClusters/c1")
	tenant        = directory.TenantID{15: 1}
)

const (
	users         = 100
	groupsPerUser = 20
	requests      = 1024
)

// A room is one cluster with n bindings, for both engines: a tenth of them for
// the whole cluster, the others for namespaces of 45 bindings each. Every
// binding gives one of 20 roles of 10 rules to one group; there are half as many
// groups as bindings, and each user is in 20 of them.
type room struct {
	rng      *rand.Rand
	groups   []principal.ID
	memberOf [users][]principal.ID
	records  []record.Record
	indexes  [4]cache.Indexer // roles, role bindings, cluster roles, cluster role bindings
	byGroup  map[principal.ID][]kuberbac.Binding
}

func newRoom(b *testing.B, n int) *room {
	r := &room{rng: rand.New(rand.NewPCG(1, uint64(n))), byGroup: map[principal.ID][]kuberbac.Binding{}}
	for i := range r.indexes {
		r.indexes[i] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	}
	r.records = []record.Record{
		directory.Tenant{ID: tenant, Domains: []string{"example.com"}},
		resource.Subscription{Scope: subscription, Tenant: tenant},
		resource.Group{Scope: resourceGroup},
		resource.Cluster{Scope: cluster, Tenant: tenant, EntraSignIn: true, Mirrored: true},
	}
	r.people(max(2*groupsPerUser, n/2))
	for i := range 20 {
		o := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("role%d", i)}}
		role := kuberbac.Role{Cluster: cluster, Name: o.Name}
		for j := range 10 {
			rule := rbacv1.PolicyRule{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"apps"}, Resources: []string{resourceName(i*10 + j)}}
			o.Rules = append(o.Rules, rule)
			role.Rules = append(role.Rules, kuberbac.Rule{Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources})
		}
		r.add(b, 2, o, role)
	}
	for i := range n {
		to := r.groups[r.rng.IntN(len(r.groups))]
		bound := kuberbac.Binding{
			Cluster: cluster, Name: fmt.Sprintf("b%d", i), RoleIsCluster: true, Role: fmt.Sprintf("role%d", r.rng.IntN(20)),
			Subjects: []kuberbac.Subject{{Kind: kuberbac.Group, Name: to.String()}},
		}
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: bound.Role}
		subjects := []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: to.String()}}
		if i%10 == 0 {
			r.add(b, 3, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: bound.Name}, RoleRef: ref, Subjects: subjects}, bound)
		} else {
			bound.Namespace = namespace(i / 50)
			r.add(b, 1, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: bound.Name, Namespace: bound.Namespace}, RoleRef: ref, Subjects: subjects}, bound)
		}
		r.byGroup[to] = append(r.byGroup[to], bound)
	}
	return r
}

func resourceName(i int) string { return fmt.Sprintf("r%d", i) }
func namespace(i int) string    { return fmt.Sprintf("ns%d", i) }

func (r *room) add(b *testing.B, index int, upstream any, rec record.Record) {
	if err := r.indexes[index].Add(upstream); err != nil {
		b.Fatal(err)
	}
	r.records = append(r.records, rec)
}

func userID(i int) principal.ID { return principal.ID{0: 1, 14: byte(i >> 8), 15: byte(i)} }

func (r *room) people(n int) {
	for i := range n {
		id := principal.ID{0: 2, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		r.groups = append(r.groups, id)
		r.records = append(r.records, directory.Group{ID: id, Tenant: tenant, DisplayName: fmt.Sprintf("g%d", i)})
	}
	for i := range users {
		u := directory.User{ID: userID(i), Tenant: tenant, UserPrincipalName: fmt.Sprintf("u%d@example.com", i)}
		r.records = append(r.records, u)
		for _, g := range r.rng.Perm(n)[:groupsPerUser] {
			r.memberOf[i] = append(r.memberOf[i], r.groups[g])
			r.records = append(r.records, directory.Membership{Group: r.groups[g], Member: u.ID})
		}
	}
}

type request struct {
	ours     decide.Request
	upstream authorizer.AttributesRecord
}

// requests returns questions of which about half are allowed.
func (r *room) requests(n int) []request {
	out := make([]request, requests)
	for i := range out {
		u := r.rng.IntN(users)
		q := kuberbac.Attributes{Verb: "get", APIGroup: "apps", Resource: resourceName(r.rng.IntN(200)), Name: "x", Namespace: namespace(r.rng.IntN(n/50 + 1))}
		if i%2 == 0 {
			for _, g := range r.memberOf[u] {
				if bound := r.byGroup[g]; len(bound) > 0 {
					b := bound[r.rng.IntN(len(bound))]
					var role int
					fmt.Sscanf(b.Role, "role%d", &role)
					q.Resource = resourceName(role*10 + r.rng.IntN(10))
					if b.Namespace != "" {
						q.Namespace = b.Namespace
					}
					break
				}
			}
		}
		info := &user.DefaultInfo{Name: fmt.Sprintf("u%d@example.com", u), Groups: []string{user.AllAuthenticated}}
		for _, g := range r.memberOf[u] {
			info.Groups = append(info.Groups, g.String())
		}
		out[i] = request{
			decide.Request{Who: decide.Subject{ID: userID(u)}, Scope: cluster, Kube: q, Only: decide.Kubernetes},
			authorizer.AttributesRecord{User: info, Verb: q.Verb, APIGroup: q.APIGroup, Resource: q.Resource, Name: q.Name, Namespace: q.Namespace, ResourceRequest: true},
		}
	}
	return out
}

// BenchmarkDecide asks both engines the same questions over the same bindings.
// Upstream reads from the indexers that kube-apiserver's informers fill.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 100_000} {
		r := newRoom(b, n)
		asked := r.requests(n)
		original := rbac.New(
			&rbac.RoleGetter{Lister: rbaclisters.NewRoleLister(r.indexes[0])},
			&rbac.RoleBindingLister{Lister: rbaclisters.NewRoleBindingLister(r.indexes[1])},
			&rbac.ClusterRoleGetter{Lister: rbaclisters.NewClusterRoleLister(r.indexes[2])},
			&rbac.ClusterRoleBindingLister{Lister: rbaclisters.NewClusterRoleBindingLister(r.indexes[3])},
		)
		est, err := estate.Load(1, slices.Values(r.records))
		if err != nil {
			b.Fatal(err)
		}
		allowed := 0
		for i := range asked {
			want, _, _ := original.Authorize(b.Context(), &asked[i].upstream)
			if got := decide.Decide(est, asked[i].ours); (got.Effect == decide.Allow) != (want == authorizer.DecisionAllow) {
				b.Fatalf("%+v: got %s, upstream says %v", asked[i].ours, got.Effect, want)
			}
			if want == authorizer.DecisionAllow {
				allowed++
			}
		}
		if allowed < requests/3 {
			b.Fatalf("%d of %d are allowed; want about half", allowed, requests)
		}
		b.Run(fmt.Sprintf("engine=upstream/bindings=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			ctx := b.Context()
			for i := 0; b.Loop(); i++ {
				_, _, _ = original.Authorize(ctx, &asked[i%requests].upstream)
			}
		})
		b.Run(fmt.Sprintf("engine=gatehouse/bindings=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				decide.Decide(est, asked[i%requests].ours)
			}
		})
	}
}
