package oracle_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	rbacvalidation "k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
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

// The words that worlds are made of. There are few, so that questions meet
// rules; some are there because they look like a pattern and are none.
var (
	namespaces = []string{"ns0", "ns1", "ns2"}
	verbs      = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "escalate", "bind", "impersonate", "*", "get*", "GET"}
	apiGroups  = []string{"", "apps", "pods", "rbac.authorization.k8s.io", "*", "apps*"}
	resources  = []string{"pods", "nodes", "secrets", "apps", "pods/log", "pods/exec", "nodes/log", "apps/scale", "pods/*", "*/log", "*/scale", "*/exec", "*/*", "*", "*/", "/log", "pods/", "pods/log/x", "*/log/x", ""}
	names      = []string{"a", "b", "c", "*", ""}
	paths      = []string{"/healthz", "/healthz/*", "/healthz*", "/*", "/a*b", "/**", "*", "**", "/api/**", "/api/v1", "/metrics/", "//x", "/x/../healthz", "/%68ealthz", ""}

	askedPaths = []string{"/healthz", "/healthz/", "/healthz/etcd", "/healthzzz", "/", "/a*b", "/axb", "/api/v1", "/api/", "/api", "/metrics", "/metrics/", "//x", "/x", "/x/../healthz", "/%68ealthz", "*"}
	plainUsers = []string{"ann", "bob", "system:serviceaccount:ns0:sa0", "system:serviceaccount:ns1:sa1", "system:serviceaccount:ns0", "u/%"}
	someGroups = []string{"dev", "ops", "system:masters", "system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:serviceaccounts:ns0"}
	labelKeys  = []string{"tier", "example.com/aggregate"}
	labelVals  = []string{"gold", "iron", ""}
)

// A world is one cluster and the directory of its people, as upstream objects.
type world struct {
	roles               []*rbacv1.Role
	clusterRoles        []*rbacv1.ClusterRole
	roleBindings        []*rbacv1.RoleBinding
	clusterRoleBindings []*rbacv1.ClusterRoleBinding

	users       []directory.User
	groups      []directory.Group
	memberships []directory.Membership

	rng *rand.Rand
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// some returns 1 to n of from, with repetitions.
func some[T any](r *rand.Rand, n int, from []T) []T {
	out := make([]T, 1+r.IntN(n))
	for i := range out {
		out[i] = pick(r, from)
	}
	return out
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func newWorld(seed, number uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, number))}
	w.people()
	r := w.rng
	for i := range 12 {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("r%d", i), Labels: w.labels()}}
		for range r.IntN(4) + r.IntN(2)*6 {
			role.Rules = append(role.Rules, w.rule(true))
		}
		w.clusterRoles = append(w.clusterRoles, role)
	}
	for i := range 3 {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("agg%d", i), Labels: w.labels()}, AggregationRule: &rbacv1.AggregationRule{}}
		for range 1 + r.IntN(2) {
			role.AggregationRule.ClusterRoleSelectors = append(role.AggregationRule.ClusterRoleSelectors, w.selector())
		}
		w.clusterRoles = append(w.clusterRoles, role)
	}
	for _, ns := range namespaces {
		for _, name := range []string{"r0", "r1", "own"} { // two of them are cluster roles by the same name
			role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}}
			for range 1 + r.IntN(3) {
				role.Rules = append(role.Rules, w.rule(false))
			}
			w.roles = append(w.roles, role)
		}
		for i := range 5 {
			ref := w.roleRef()
			if chance(r, 50) {
				ref = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: pick(r, []string{"r0", "r1", "own", "missing"})}
			}
			w.roleBindings = append(w.roleBindings, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("b%d", i), Namespace: ns}, RoleRef: ref, Subjects: w.subjects(true)})
		}
	}
	for i := range 6 {
		w.clusterRoleBindings = append(w.clusterRoleBindings, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("b%d", i)}, RoleRef: w.roleRef(), Subjects: w.subjects(false)})
	}
	return w
}

// people makes a directory whose groups are nested at random, cycles included.
func (w *world) people() {
	id := func(kind byte, i int) (id principal.ID) {
		for j := range 8 {
			id[j] = byte(w.rng.Uint32())
		}
		id[14], id[15] = kind, byte(i)
		return id
	}
	var everyone, groups []principal.ID
	for i := range 5 {
		u := directory.User{ID: id(1, i), Tenant: tenant, UserPrincipalName: fmt.Sprintf("u%d@example.com", i)}
		w.users = append(w.users, u)
		everyone = append(everyone, u.ID)
	}
	for i := range 8 {
		g := directory.Group{ID: id(2, i), Tenant: tenant, DisplayName: fmt.Sprintf("dev%d", i)}
		w.groups = append(w.groups, g)
		groups = append(groups, g.ID)
	}
	everyone = append(everyone, groups...)
	for range 14 {
		w.join(pick(w.rng, groups), pick(w.rng, everyone))
	}
}

func (w *world) join(group, member principal.ID) {
	m := directory.Membership{Group: group, Member: member}
	if group != member && !slices.Contains(w.memberships, m) {
		w.memberships = append(w.memberships, m)
	}
}

// closure returns every group that id is in, the plain way.
func (w *world) closure(id principal.ID) []principal.ID {
	found := []principal.ID{}
	for at := []principal.ID{id}; len(at) > 0; at = at[1:] {
		for _, m := range w.memberships {
			if m.Member == at[0] && !slices.Contains(found, m.Group) {
				found = append(found, m.Group)
				at = append(at, m.Group)
			}
		}
	}
	return found
}

// nested reports whether id is in a group, but not directly.
func (w *world) nested(id principal.ID, group string) bool {
	in := slices.ContainsFunc(w.closure(id), func(g principal.ID) bool { return g.String() == group })
	return in && !slices.ContainsFunc(w.memberships, func(m directory.Membership) bool { return m.Member == id && m.Group.String() == group })
}

func (w *world) labels() map[string]string {
	if chance(w.rng, 30) {
		return nil
	}
	return map[string]string{pick(w.rng, labelKeys): pick(w.rng, labelVals)}
}

func (w *world) selector() (s metav1.LabelSelector) {
	if chance(w.rng, 60) {
		s.MatchLabels = map[string]string{pick(w.rng, labelKeys): pick(w.rng, labelVals)}
		return s
	}
	q := metav1.LabelSelectorRequirement{Key: pick(w.rng, labelKeys), Operator: metav1.LabelSelectorOpExists}
	switch w.rng.IntN(4) {
	case 0:
		q.Operator = metav1.LabelSelectorOpDoesNotExist
	case 1:
		q.Operator, q.Values = metav1.LabelSelectorOpIn, some(w.rng, 2, labelVals)
	case 2:
		q.Operator, q.Values = metav1.LabelSelectorOpNotIn, some(w.rng, 2, labelVals)
	}
	s.MatchExpressions = append(s.MatchExpressions, q)
	return s
}

func (w *world) rule(clusterRole bool) rbacv1.PolicyRule {
	r := w.rng
	if clusterRole && chance(r, 25) {
		return rbacv1.PolicyRule{Verbs: some(r, 2, verbs), NonResourceURLs: some(r, 2, paths)}
	}
	rule := rbacv1.PolicyRule{Verbs: some(r, 3, verbs), APIGroups: some(r, 2, apiGroups), Resources: some(r, 2, resources)}
	if chance(r, 30) {
		rule.ResourceNames = some(r, 2, names)
	}
	return rule
}

func (w *world) roleRef() rbacv1.RoleRef {
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: pick(w.rng, w.clusterRoles).Name}
	if chance(w.rng, 10) {
		ref.Name = "missing"
	}
	return ref
}

func (w *world) subjects(namespaced bool) []rbacv1.Subject {
	out := make([]rbacv1.Subject, w.rng.IntN(4))
	for i := range out {
		s := rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName}
		switch w.rng.IntN(6) {
		case 0:
			s.Kind, s.Name = rbacv1.UserKind, pick(w.rng, plainUsers)
		case 1:
			s.Kind, s.Name = rbacv1.UserKind, pick(w.rng, w.users).UserPrincipalName
		case 2:
			s.Name = pick(w.rng, someGroups)
		case 3, 4:
			s.Name = pick(w.rng, w.groups).ID.String()
		case 5:
			s = rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: fmt.Sprintf("sa%d", w.rng.IntN(2)), Namespace: pick(w.rng, namespaces)}
			if namespaced && chance(w.rng, 50) {
				s.Namespace = "" // that of the binding
			}
		}
		out[i] = s
	}
	return out
}

// objects are the four kinds in their JSON form, in no order that matters.
func (w *world) objects() (out [][]byte) {
	add := func(o any, meta *metav1.TypeMeta, kind string) {
		*meta = metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: kind}
		data, err := json.Marshal(o)
		if err != nil {
			panic(err)
		}
		out = append(out, data)
	}
	for _, o := range w.roles {
		add(o, &o.TypeMeta, "Role")
	}
	for _, o := range w.clusterRoles {
		add(o, &o.TypeMeta, "ClusterRole")
	}
	for _, o := range w.roleBindings {
		add(o, &o.TypeMeta, "RoleBinding")
	}
	for _, o := range w.clusterRoleBindings {
		add(o, &o.TypeMeta, "ClusterRoleBinding")
	}
	return out
}

// records are what Gatehouse makes of the world.
func (w *world) records(t testing.TB) []record.Record {
	out := []record.Record{
		directory.Tenant{ID: tenant, Domains: []string{"example.com"}},
		resource.Subscription{Scope: subscription, Tenant: tenant},
		resource.Group{Scope: resourceGroup},
		resource.Cluster{Scope: cluster, Tenant: tenant, EntraSignIn: true, Mirrored: true},
	}
	for _, u := range w.users {
		out = append(out, u)
	}
	for _, g := range w.groups {
		out = append(out, g)
	}
	for _, m := range w.memberships {
		out = append(out, m)
	}
	for _, o := range w.objects() {
		rec, err := kuberbac.FromObject(cluster, o)
		if err != nil {
			t.Fatalf("%s: %v", o, err)
		}
		out = append(out, rec)
	}
	return out
}

// upstream is Kubernetes' own authorizer over the world. Its aggregated roles
// have the rules that kuberbac.Aggregate finds; TestAggregate answers for those.
func (w *world) upstream(records []record.Record) *rbac.RBACAuthorizer {
	all := func(yield func(kuberbac.Role) bool) {
		for _, rec := range records {
			if r, ok := rec.(kuberbac.Role); ok && !yield(r) {
				return
			}
		}
	}
	clusterRoles := slices.Clone(w.clusterRoles)
	for i, o := range clusterRoles {
		if o.AggregationRule == nil {
			continue
		}
		for r := range all {
			if r.Namespace == "" && r.Name == o.Name {
				o = o.DeepCopy()
				o.Rules = toUpstream(kuberbac.Aggregate(r, all))
				clusterRoles[i] = o
			}
		}
	}
	_, static := rbacvalidation.NewTestRuleResolver(w.roles, w.roleBindings, clusterRoles, w.clusterRoleBindings)
	return rbac.New(static, static, static, static)
}

func toUpstream(rules []kuberbac.Rule) (out []rbacv1.PolicyRule) {
	for _, r := range rules {
		out = append(out, rbacv1.PolicyRule{Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames, NonResourceURLs: r.NonResourceURLs})
	}
	return out
}

func fromUpstream(rules []rbacv1.PolicyRule) (out []kuberbac.Rule) {
	for _, r := range rules {
		out = append(out, kuberbac.Rule{Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames, NonResourceURLs: r.NonResourceURLs})
	}
	return out
}

// An asker is somebody as upstream knows him, and, when he is of the directory,
// as Gatehouse does.
type asker struct {
	user.DefaultInfo
	id principal.ID
}

// request is what Gatehouse is asked. Names and groups of a directory user are
// its own to find.
func (a asker) request(q kuberbac.Attributes) decide.Request {
	who := decide.Subject{ID: a.id}
	if a.id.IsZero() {
		who = decide.Subject{User: a.Name, Groups: a.Groups}
	}
	return decide.Request{Who: who, Scope: cluster, Kube: q, Only: decide.Kubernetes}
}

func (w *world) asker() asker {
	r := w.rng
	switch r.IntN(3) {
	case 0:
		u := pick(r, w.users)
		a := asker{user.DefaultInfo{Name: u.UserPrincipalName}, u.ID}
		for _, g := range w.closure(u.ID) {
			a.Groups = append(a.Groups, g.String())
		}
		a.Groups = append(a.Groups, kuberbac.AllAuthenticated)
		return a
	case 1:
		s := kuberbac.Subject{Kind: kuberbac.ServiceAccount, Namespace: pick(r, namespaces), Name: fmt.Sprintf("sa%d", r.IntN(3))}
		return asker{DefaultInfo: user.DefaultInfo{Name: s.UserName(), Groups: s.Groups()}}
	}
	a := asker{DefaultInfo: user.DefaultInfo{Name: pick(r, append([]string{"nobody", "", "ANN"}, plainUsers...))}}
	for range r.IntN(4) {
		a.Groups = append(a.Groups, pick(r, someGroups))
	}
	for range r.IntN(2) {
		a.Groups = append(a.Groups, pick(r, w.groups).ID.String())
	}
	return a
}

// question returns what to ask for somebody. Most start from a rule that a
// binding gives him, filled in and then perhaps changed in one place: entirely
// random questions are nearly always denied.
func (w *world) question(a asker) kuberbac.Attributes {
	r := w.rng
	q, ok := w.fromRule(a)
	if !ok || chance(r, 15) {
		q = w.random()
	}
	if chance(r, 25) {
		other := w.random()
		switch r.IntN(7) {
		case 0:
			q.Verb = other.Verb
		case 1:
			q.APIGroup = other.APIGroup
		case 2:
			q.Resource = other.Resource
		case 3:
			q.Subresource = other.Subresource
		case 4:
			q.Name = other.Name
		case 5:
			q.Namespace = other.Namespace
		case 6:
			q.Path = other.Path
		}
	}
	if q.Path != "" { // the API server asks about a path or about a resource
		return kuberbac.Attributes{Verb: q.Verb, Path: q.Path}
	}
	if q.Verb == "" {
		q.Verb = "get" // zero attributes ask nothing; upstream disagrees, see kuberbac.Rule.Allows
	}
	return q
}

func (w *world) random() kuberbac.Attributes {
	r := w.rng
	if chance(r, 20) {
		return kuberbac.Attributes{Verb: pick(r, verbs), Path: pick(r, askedPaths)}
	}
	q := kuberbac.Attributes{Verb: pick(r, verbs), APIGroup: pick(r, apiGroups), Name: pick(r, names), Namespace: pick(r, append([]string{"", "elsewhere"}, namespaces...))}
	q.Resource = pick(r, resources)
	if chance(r, 80) { // a review may also ask for a resource whose name has a slash
		q.Resource, q.Subresource, _ = strings.Cut(q.Resource, "/")
	}
	return q
}

func (w *world) fromRule(a asker) (q kuberbac.Attributes, ok bool) {
	r := w.rng
	type bound struct {
		ref rbacv1.RoleRef
		ns  string
	}
	var mine []bound
	has := func(subjects []rbacv1.Subject, ns string) bool {
		return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
			if s.Namespace != "" {
				ns = s.Namespace
			}
			return kuberbac.Subject{Kind: kuberbac.SubjectKind(s.Kind), Name: s.Name, Namespace: ns}.Is(a.Name, a.Groups)
		})
	}
	for _, b := range w.clusterRoleBindings {
		if has(b.Subjects, "") {
			mine = append(mine, bound{b.RoleRef, ""})
		}
	}
	for _, b := range w.roleBindings {
		if has(b.Subjects, b.Namespace) {
			mine = append(mine, bound{b.RoleRef, b.Namespace})
		}
	}
	if len(mine) == 0 {
		return q, false
	}
	b := pick(r, mine)
	rules := w.rulesOf(b.ref, b.ns)
	if len(rules) == 0 {
		return q, false
	}
	rule := pick(r, rules)
	q.Verb = concrete(r, pick(r, rule.Verbs), verbs)
	if len(rule.NonResourceURLs) > 0 {
		p := pick(r, rule.NonResourceURLs)
		if strings.HasSuffix(p, "*") {
			p = strings.TrimRight(p, "*") + pick(r, []string{"", "etcd", "/x", "*"})
		}
		q.Path = p
		return q, true
	}
	q.APIGroup = concrete(r, pick(r, rule.APIGroups), apiGroups)
	res := pick(r, rule.Resources)
	if res == "*" {
		res = pick(r, resources)
	}
	if rest, ok := strings.CutPrefix(res, "*/"); ok && chance(r, 80) {
		res = pick(r, []string{"pods", "nodes", "apps"}) + "/" + rest
	}
	q.Resource, q.Subresource, _ = strings.Cut(res, "/")
	q.Name = pick(r, names)
	if len(rule.ResourceNames) > 0 {
		q.Name = pick(r, rule.ResourceNames)
	}
	if q.Namespace = b.ns; b.ns == "" {
		q.Namespace = pick(r, append([]string{""}, namespaces...))
	}
	return q, true
}

func (w *world) rulesOf(ref rbacv1.RoleRef, ns string) []rbacv1.PolicyRule {
	for _, o := range w.roles {
		if ref.Kind == "Role" && o.Name == ref.Name && o.Namespace == ns {
			return o.Rules
		}
	}
	for _, o := range w.clusterRoles {
		if ref.Kind == "ClusterRole" && o.Name == ref.Name {
			if o.AggregationRule != nil {
				return pick(w.rng, w.clusterRoles).Rules
			}
			return o.Rules
		}
	}
	return nil
}

func concrete(r *rand.Rand, s string, from []string) string {
	if s == "*" {
		return pick(r, from)
	}
	return s
}

func upstreamAttributes(a asker, q kuberbac.Attributes) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User: &a.DefaultInfo, Verb: q.Verb, APIGroup: q.APIGroup, Resource: q.Resource, Subresource: q.Subresource,
		Namespace: q.Namespace, Name: q.Name, Path: q.Path, ResourceRequest: q.Path == "",
	}
}
