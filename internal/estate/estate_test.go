package estate_test

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

const sub = "/subscriptions/11111111-1111-1111-1111-111111111111"

var (
	tenantID  = must(parse[directory.TenantID]("10000000-0000-0000-0000-000000000001"))
	clusterAt = scope.MustParse(sub + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c1")
	reader    = must(parse[azurerbac.DefinitionID]("7f6c6a51-bcf8-42ba-9220-52d62157d7db"))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func parse[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](s string) (T, error) {
	var v T
	err := P(&v).UnmarshalText([]byte(s))
	return v, err
}

// id numbers principals, so that failures are readable.
func id(n int) principal.ID {
	return must(principal.ParseID(fmt.Sprintf("20000000-0000-0000-0000-%012d", n)))
}

func user(n int) directory.User {
	return directory.User{ID: id(n), Tenant: tenantID, UserPrincipalName: fmt.Sprintf("u%d@x.example", n)}
}

func group(n int) directory.Group {
	return directory.Group{ID: id(n), Tenant: tenantID, DisplayName: fmt.Sprintf("g%d", n)}
}

func vault(group, name string) resource.Other {
	return resource.Other{Scope: scope.MustParse(sub + "/resourceGroups/" + group + "/providers/Microsoft.KeyVault/vaults/" + name), Name: name, Type: "Microsoft.KeyVault/vaults"}
}

func identity(n int, name string) directory.ManagedIdentity {
	return directory.ManagedIdentity{ID: id(n), ClientID: directory.AppID(id(n)), Tenant: tenantID, DisplayName: name,
		Resource: scope.MustParse(sub + "/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name)}
}

func in(g, m int) directory.Membership { return directory.Membership{Group: id(g), Member: id(m)} }

func base() []record.Record {
	return []record.Record{
		directory.Tenant{ID: tenantID, Domains: []string{"x.example"}},
		resource.Subscription{Scope: scope.MustParse(sub), Tenant: tenantID},
		resource.Group{Scope: scope.MustParse(sub + "/resourceGroups/rg"), Name: "rg"},
		resource.Cluster{Scope: clusterAt, Name: "c1", ResourceGroup: "rg", Tenant: tenantID, EntraSignIn: true, AzureRBAC: true},
	}
}

func load(t testing.TB, extra ...record.Record) *estate.Snapshot {
	t.Helper()
	s, err := estate.Load(1, slices.Values(append(base(), extra...)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func puts(recs ...record.Record) []estate.Op {
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	return ops
}

func apply(t testing.TB, s *estate.Snapshot, ops ...estate.Op) *estate.Snapshot {
	t.Helper()
	next, err := s.Apply(s.Revision()+1, ops...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestGroupsSurviveCyclesAndDiamonds(t *testing.T) { // DIR-01
	t.Parallel()
	s := load(t, user(1), group(10), group(11), group(12), group(13),
		in(10, 1), in(11, 1), in(12, 10), in(12, 11), in(13, 12), in(10, 13))
	want := []principal.ID{id(10), id(11), id(12), id(13)}
	if got := s.GroupsOf(id(1)); !slices.Equal(got, want) {
		t.Errorf("groups = %v, want %v", got, want)
	}
	var members []principal.ID
	for m := range s.MembersTransitive(id(12)) {
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b principal.ID) int { return slices.Compare(a[:], b[:]) })
	if want := []principal.ID{id(1), id(10), id(11), id(12), id(13)}; !slices.Equal(members, want) {
		t.Errorf("members of a group in a cycle = %v, want %v", members, want)
	}
}

func TestAChainOfAThousandGroupsIsFollowedToItsEnd(t *testing.T) { // DIR-01
	t.Parallel()
	recs := []record.Record{user(1), group(100), in(100, 1)}
	for n := 101; n < 1100; n++ {
		recs = append(recs, group(n), in(n, n-1))
	}
	s := load(t, recs...)
	if !s.IsMember(id(1), id(1099)) || len(s.GroupsOf(id(1))) != 1000 {
		t.Errorf("groups = %d, want 1000", len(s.GroupsOf(id(1))))
	}
	if got := s.Chain(id(1), id(1099)); len(got) != 1000 || got[0] != id(100) || got[999] != id(1099) {
		t.Errorf("chain has %d links, want 1000 from the first group to the last", len(got))
	}
}

func TestASnapshotNeverChanges(t *testing.T) {
	t.Parallel()
	before := load(t, user(1), group(10), in(10, 1))
	before.GroupsOf(id(1))
	after := apply(t, before, estate.Op{Delete: in(10, 1).Key()}, estate.Op{Put: user(2)})
	if !before.IsMember(id(1), id(10)) {
		t.Error("the older snapshot lost a membership")
	}
	if after.IsMember(id(1), id(10)) {
		t.Error("the newer snapshot still has the membership")
	}
	if !before.IsMember(id(1), id(10)) {
		t.Error("asking the newer snapshot changed what the older one says")
	}
	if _, ok := before.User(id(2)); ok {
		t.Error("the older snapshot has a user of the newer one")
	}
}

func TestChangesToAGroupReachItsMembersThroughOthers(t *testing.T) {
	t.Parallel()
	s := load(t, user(1), group(10), group(11), in(10, 1))
	s.GroupsOf(id(1))
	s = apply(t, s, estate.Op{Put: in(11, 10)})
	if !s.IsMember(id(1), id(11)) {
		t.Error("a group joined another; its member did not follow")
	}
	s = apply(t, s, estate.Op{Delete: in(11, 10).Key()}, estate.Op{Delete: group(11).Key()})
	if s.IsMember(id(1), id(11)) {
		t.Error("a deleted group still has members")
	}
}

func TestRefusedChanges(t *testing.T) {
	t.Parallel()
	a := azurerbac.Assignment{ID: must(parse[azurerbac.AssignmentID]("30000000-0000-0000-0000-000000000001")),
		Scope: clusterAt, Principal: id(1), Role: reader}
	twin := a
	twin.ID = must(parse[azurerbac.AssignmentID]("30000000-0000-0000-0000-000000000002"))
	moved := a
	moved.Principal = id(2)
	noRole := twin
	noRole.Role = must(parse[azurerbac.DefinitionID]("40000000-0000-0000-0000-000000000001"))
	wrongType := twin
	wrongType.Principal, wrongType.PrincipalType = id(2), principal.Group
	app := directory.Application{ID: id(30), AppID: directory.AppID(id(30)), Tenant: tenantID, DisplayName: "app"}
	credential := directory.FederatedCredential{Owner: identity(20, "a").ClientID, Name: "one", Issuer: "https://x.example/", Subject: "s", Audiences: []string{"a"}}
	second, ofNobody := credential, credential
	second.Name, second.Audiences = "two", []string{"b"}
	ofNobody.Owner = directory.AppID(id(77))
	posing, posed := app, identity(22, "b")
	posing.AppID, posed.ClientID = identity(20, "a").ClientID, app.AppID
	s := load(t, user(1), user(2), group(10), in(10, 1), a, vault("rg", "v1"), identity(20, "a"), app, credential)
	sameName := user(3)
	sameName.UserPrincipalName = user(1).UserPrincipalName
	for _, tt := range []struct {
		law  string
		op   estate.Op
		want error
	}{
		{"two users never share a user principal name", estate.Op{Put: sameName}, estate.ErrExists},
		{"an object id never changes its kind", estate.Op{Put: group(1)}, estate.ErrExists},
		{"AZ-17: the same grant is not made twice", estate.Op{Put: twin}, estate.ErrExists},
		{"AZ-17: an assignment keeps its principal", estate.Op{Put: moved}, estate.ErrImmutable},
		{"an assignment names a role that exists", estate.Op{Put: noRole}, estate.ErrUnknown},
		{"AZ-19: an assignment names the right type of principal", estate.Op{Put: wrongType}, estate.ErrImmutable},
		{"a membership names a group that exists", estate.Op{Put: in(77, 1)}, estate.ErrUnknown},
		{"a user who is in a group is not deleted alone", estate.Op{Delete: user(1).Key()}, estate.ErrInUse},
		{"AZ-20: a cluster is not deleted under its grants", estate.Op{Delete: record.KeyOf(record.Cluster, clusterAt.String())}, estate.ErrInUse},
		{"what is not there cannot be deleted", estate.Op{Delete: user(9).Key()}, estate.ErrNotFound},
		{"there is one key vault of a name in the world", estate.Op{Put: vault("other", "V1")}, estate.ErrExists},
		{"a place is that of one identity", estate.Op{Put: identity(21, "a")}, estate.ErrExists},
		{"FED-14: an identity trusts an issuer and subject once", estate.Op{Put: second}, estate.ErrExists},
		{"a federated credential is somebody's", estate.Op{Put: ofNobody}, estate.ErrUnknown},
		{"an identity with federated credentials is not deleted alone", estate.Op{Delete: identity(20, "a").Key()}, estate.ErrInUse},
		{"an application does not take the client id of an identity, and its credentials", estate.Op{Put: posing}, estate.ErrExists},
		{"nor an identity that of an application", estate.Op{Put: posed}, estate.ErrExists},
		{"AZ-20: a group is not deleted over its resources", estate.Op{Delete: record.KeyOf(record.ResourceGroup, sub+"/resourcegroups/rg")}, estate.ErrInUse},
		{"a malformed record is refused", estate.Op{Put: directory.User{ID: id(4), Tenant: tenantID, UserPrincipalName: "system:x"}}, record.ErrInvalid},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			next, err := s.Apply(2, tt.op)
			if !errors.Is(err, tt.want) || next != nil {
				t.Errorf("Apply = %v, %v, want no snapshot and %v", next, err, tt.want)
			}
		})
	}
}

func TestDependentsMakeADeletionPossible(t *testing.T) {
	t.Parallel()
	a := azurerbac.Assignment{ID: must(parse[azurerbac.AssignmentID]("30000000-0000-0000-0000-000000000001")),
		Scope: must(clusterAt.Namespace("dev")), Principal: id(1), Role: reader}
	s := load(t, user(1), group(10), in(10, 1), a)
	for _, key := range []record.Key{user(1).Key(), record.KeyOf(record.Cluster, clusterAt.String())} {
		ops := []estate.Op{{Delete: key}}
		for _, d := range s.Dependents(key) {
			ops = append(ops, estate.Op{Delete: d})
		}
		s = apply(t, s, ops...)
		if _, ok := s.Get(key); ok {
			t.Errorf("%s is still there", key)
		}
	}
	if got := s.AssignmentsOf(id(1)); len(got) != 0 {
		t.Errorf("AZ-20: assignments below a deleted cluster = %v", got)
	}
}

// AZ-20: what is in a place goes with it, and what was granted at it.
func TestDependentsOfPlaces(t *testing.T) {
	t.Parallel()
	v, m := vault("rg", "v1"), identity(20, "a")
	atVault := azurerbac.Assignment{ID: must(parse[azurerbac.AssignmentID]("30000000-0000-0000-0000-000000000001")), Scope: v.Scope, Principal: id(20), Role: reader}
	atIdentity := atVault
	atIdentity.ID, atIdentity.Scope = must(parse[azurerbac.AssignmentID]("30000000-0000-0000-0000-000000000002")), m.Resource
	fed := directory.FederatedCredential{Owner: m.ClientID, Name: "f-1", Issuer: "https://x.example/", Subject: "s", Audiences: []string{"a"}}
	ofCluster := directory.ManagedIdentity{ID: id(21), ClientID: directory.AppID(id(21)), Tenant: tenantID, DisplayName: "c1", Resource: clusterAt, SystemAssigned: true}
	s := load(t, v, m, fed, ofCluster, atVault, atIdentity)
	for _, tt := range []struct {
		of   record.Key
		want []record.Key
	}{
		{v.Key(), []record.Key{atVault.Key()}},
		{m.Key(), []record.Key{fed.Key(), atIdentity.Key()}},
		{ofCluster.Key(), nil},
		{record.KeyOf(record.Cluster, clusterAt.String()), []record.Key{ofCluster.Key()}},
	} {
		got := s.Dependents(tt.of)
		slices.SortFunc(got, func(a, b record.Key) int {
			return slices.Index(record.Kinds, a.Kind) - slices.Index(record.Kinds, b.Kind)
		})
		if !slices.Equal(got, tt.want) {
			t.Errorf("dependents of %s = %v, want %v", tt.of, got, tt.want)
		}
	}
	if got, ok := s.IdentityAt(clusterAt); !ok || got.ID != ofCluster.ID {
		t.Errorf("identity of the cluster = %v", got)
	}
	if got, ok := s.ResourceNamed("microsoft.keyvault/vaults", "v1"); !ok || got.Scope != v.Scope {
		t.Errorf("vault v1 = %v", got)
	}
	s = apply(t, s, estate.Op{Delete: atVault.Key()}, estate.Op{Delete: v.Key()}, estate.Op{Put: vault("other", "v1")})
	if got, ok := s.ResourceNamed("microsoft.keyvault/vaults", "v1"); !ok || got.Scope != vault("other", "v1").Scope {
		t.Errorf("vault v1 somewhere else = %v", got)
	}
}

// world makes random records, and is also the plain model that snapshots are
// held against: a map of records.
type model map[record.Key]record.Record

func (m model) records() iter.Seq[record.Record] {
	return func(yield func(record.Record) bool) {
		for _, k := range record.Kinds {
			for key, r := range m {
				if key.Kind == k && !yield(r) {
					return
				}
			}
		}
	}
}

func TestApplyAgreesWithLoad(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := estate.New()
		m := model{}
		for _, r := range base() {
			m[r.Key()] = r
		}
		s = apply(t, s, puts(slices.Collect(m.records())...)...)
		for range 150 {
			op := randomOp(rnd)
			next, err := s.Apply(s.Revision()+1, op)
			if err != nil {
				continue
			}
			s = next
			if op.Put != nil {
				m[op.Put.Key()] = op.Put
			} else {
				delete(m, op.Delete)
			}
			s.GroupsOf(id(rnd.IntN(6)))
		}
		fresh, err := estate.Load(s.Revision(), m.records())
		if err != nil {
			t.Fatalf("seed %d: the model does not load: %v", seed, err)
		}
		if diff := cmp.Diff(keys(fresh), keys(s)); diff != "" {
			t.Fatalf("seed %d: records differ (-loaded +applied):\n%s", seed, diff)
		}
		for n := range 12 {
			if a, b := s.GroupsOf(id(n)), fresh.GroupsOf(id(n)); !slices.Equal(a, b) {
				t.Fatalf("seed %d: groups of %d: applied %v, loaded %v", seed, n, a, b)
			}
			ra, oka := s.Resolve(id(n))
			rb, okb := fresh.Resolve(id(n))
			if oka != okb || oka && shape(ra) != shape(rb) {
				t.Fatalf("seed %d: grants of %d differ", seed, n)
			}
		}
	}
}

func shape(r *estate.Resolved) string {
	var out []string
	for _, g := range r.Azure {
		out = append(out, g.Record().Key().String()+" by "+g.Holder.String())
	}
	c := r.On(clusterAt)
	for _, g := range c.Bound {
		out = append(out, fmt.Sprint(g.Binding.Name, g.Rules != nil))
	}
	for ns, l := range c.BoundIn.All() {
		for _, g := range l {
			out = append(out, fmt.Sprint(ns, g.Binding.Role, g.Rules != nil))
		}
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}

func keys(s *estate.Snapshot) []record.Key {
	var out []record.Key
	for r := range s.Records() {
		out = append(out, r.Key())
		if got, ok := s.Get(r.Key()); !ok || got.Key() != r.Key() {
			panic("a listed record cannot be got: " + r.Key().String())
		}
	}
	return out
}

func randomOp(rnd *rand.Rand) estate.Op {
	var r record.Record
	switch rnd.IntN(8) {
	case 0:
		r = user(rnd.IntN(6))
	case 1:
		r = group(6 + rnd.IntN(6))
	case 2, 3:
		r = in(6+rnd.IntN(6), rnd.IntN(12))
	case 4:
		r = azurerbac.Assignment{
			ID:    must(parse[azurerbac.AssignmentID](fmt.Sprintf("30000000-0000-0000-0000-%012d", 1+rnd.IntN(8)))),
			Scope: clusterAt, Principal: id(rnd.IntN(12)), Role: reader,
		}
	case 5:
		r = rehearsal.Knobs{ClockAhead: rehearsal.Duration(rnd.IntN(3))}
	case 6:
		r = kuberbac.Role{Cluster: clusterAt, Namespace: "dev", Name: fmt.Sprintf("r%d", rnd.IntN(3)),
			Rules: []kuberbac.Rule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}
	default:
		r = kuberbac.Binding{Cluster: clusterAt, Namespace: "dev", Name: fmt.Sprintf("b%d", rnd.IntN(3)), Role: fmt.Sprintf("r%d", rnd.IntN(3)),
			Subjects: []kuberbac.Subject{{Kind: kuberbac.Group, Name: id(6 + rnd.IntN(6)).String()}, {Kind: kuberbac.User, Name: user(rnd.IntN(6)).UserPrincipalName}}}
	}
	if rnd.IntN(3) == 0 {
		return estate.Op{Delete: r.Key()}
	}
	return estate.Op{Put: r}
}

func TestDecodeReadsWhatMarshalWrites(t *testing.T) {
	t.Parallel()
	s := load(t, user(1), group(10), in(10, 1))
	for r := range s.Records() {
		data, err := record.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := estate.Decode(r.Key().Kind, data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if diff := cmp.Diff(r, got, cmp.AllowUnexported(scope.Scope{})); diff != "" {
			t.Errorf("%s came back changed (-want +got):\n%s", r.Key(), diff)
		}
	}
	if r, err := estate.Decode(record.User, []byte(`{"id":"x","surprise":1}`)); err == nil || r != nil {
		t.Errorf("Decode = %v, %v, want only an error", r, err)
	}
}

// FED-14: an identity trusts several patterns of subjects of one issuer, each once.
func TestPatternsOfOneIssuer(t *testing.T) {
	t.Parallel()
	m := identity(20, "a")
	pattern := func(name, subjects string) directory.FederatedCredential {
		return directory.FederatedCredential{Owner: m.ClientID, Name: name, Issuer: "https://x.example/", SubjectPattern: directory.SubjectPattern(subjects), Audiences: []string{"a"}}
	}
	s := apply(t, load(t, m), puts(pattern("one", "system:serviceaccount:a:*"), pattern("two", "system:serviceaccount:b:*"))...)
	if got := s.FederatedCredentials(m.ClientID); len(got) != 2 {
		t.Errorf("%d credentials, want two", len(got))
	}
	if _, err := s.Apply(3, puts(pattern("three", "system:serviceaccount:b:*"))...); !errors.Is(err, estate.ErrExists) {
		t.Errorf("the same pattern again: %v", err)
	}
}

func TestNoClusterSaysThatItIsAnother(t *testing.T) { // FED-15
	t.Parallel()
	second := scope.MustParse(sub + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c2")
	first := resource.Cluster{Scope: clusterAt, Name: "c1", Tenant: tenantID, UID: resource.ClusterID(id(1)), IssuerURL: "https://issuer.example/1/", FQDN: "c1.example"}
	for what, other := range map[string]resource.Cluster{
		"issuer": {IssuerURL: first.IssuerURL}, "name": {FQDN: first.FQDN}, "id": {UID: first.UID},
	} {
		other.Scope, other.Name, other.Tenant = second, "c2", tenantID
		if _, err := load(t, first).Apply(2, puts(other)...); !errors.Is(err, estate.ErrExists) {
			t.Errorf("a second cluster with the same %s: %v", what, err)
		}
		if _, err := estate.Load(1, slices.Values(append(base(), first, other))); !errors.Is(err, estate.ErrExists) {
			t.Errorf("two clusters with the same %s are loaded: %v", what, err)
		}
		apply(t, load(t, first), puts(resource.Cluster{Scope: clusterAt, Name: "c1", Tenant: tenantID}, other)...)
	}
}
