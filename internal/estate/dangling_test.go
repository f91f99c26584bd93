package estate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

func managementGroup(name string, parent scope.Scope) resource.ManagementGroup {
	return resource.ManagementGroup{Scope: scope.MustParse("/providers/Microsoft.Management/managementGroups/" + name), Tenant: tenantID, Parent: parent}
}

func custom(n int, at ...scope.Scope) azurerbac.Definition {
	return azurerbac.Definition{ID: azurerbac.DefinitionID(id(8000 + n)), RoleName: fmt.Sprintf("Custom %d", n),
		Permissions: []azurerbac.Permission{{Actions: []string{"Microsoft.Resources/subscriptions/read"}}}, AssignableScopes: at}
}

func assigned(n int, role azurerbac.DefinitionID, who principal.ID, at scope.Scope) azurerbac.Assignment {
	return azurerbac.Assignment{ID: azurerbac.AssignmentID(id(7000 + n)), Scope: at, Principal: who, PrincipalType: principal.User, Role: role}
}

// asked is a request for an identity that user 3 approved for identity 20 on the cluster.
func asked(t testing.TB) identityrequest.Request {
	t.Helper()
	r, err := identityrequest.Request{ID: identityrequest.ID(id(6000)), Tenant: tenantID, Requester: id(2), Identity: identity(20, "ident").Resource,
		Cluster: clusterAt, Namespace: "shop", ServiceAccounts: []string{"web"}}.Ask(noon, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err = r.Approve(id(3), noon, "", identityrequest.Given{
		Object: id(20), Client: directory.AppID(id(20)), ClusterUID: resource.ClusterID(id(5000)), Issuer: "https://issuer.example/1/"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// town is an estate in which every kind of reference is made.
func town(t testing.TB) []record.Record {
	t.Helper()
	top := managementGroup("top", scope.Scope{})
	low := managementGroup("low", top.Scope)
	at, rg := scope.MustParse(sub), scope.MustParse(sub+"/resourceGroups/rg")
	byPlace, el := custom(1, top.Scope), eligible(1, id(1), top.Scope)
	act := activation(1, el, id(1))
	act.Scope = rg
	wish := asked(t)
	privileged := group(11)
	privileged.RoleAssignable = true
	mi := identity(20, "ident")
	return append(base(),
		directory.Tenant{ID: strangers, Domains: []string{"y.example"}},
		resource.Cluster{Scope: clusterAt, Name: "c1", ResourceGroup: "rg", Tenant: tenantID, EntraSignIn: true, AzureRBAC: true,
			UID: resource.ClusterID(id(5000)), OIDCIssuer: true, IssuerURL: "https://issuer.example/1/"},
		resource.Subscription{Scope: at, Tenant: tenantID, Parent: low.Scope}, top, low, vault("rg", "v1"),
		user(1), user(2), user(3), group(10), privileged, in(10, 1), in(10, 11), in(11, 2),
		app(40), directory.ServicePrincipal{ID: id(41), AppID: app(40).AppID, Tenant: tenantID, DisplayName: "app"},
		directory.ServicePrincipal{ID: id(61), AppID: app(40).AppID, Tenant: strangers, DisplayName: "app"}, mi,
		directory.FederatedCredential{Owner: app(40).AppID, Name: "one", Issuer: "https://x.example/", Subject: "s", Audiences: []string{"a"}},
		directory.Ownership{Object: id(40), Owner: id(1)}, directory.Ownership{Object: id(10), Owner: id(2)},
		directory.RoleAssignment{Principal: id(11), Role: directoryRole("Groups Administrator")},
		directory.RoleAssignment{Principal: id(1), Role: directoryRole("Application Administrator"), Object: id(40)},
		byPlace, custom(2, at), azurerbac.Policy{Scope: top.Scope, Role: byPlace.ID}, el, act,
		assigned(1, byPlace.ID, id(2), rg), assigned(2, reader, id(3), clusterAt), assigned(3, custom(2).ID, id(1), rg),
		wish, wish.Credentials()[0],
	)
}

// What a change left behind could be read nowhere but in a store that is opened again,
// where it was once a reason not to start.
func TestWhateverWasAcknowledgedCanBeLoadedAgain(t *testing.T) { // AZ-20
	t.Parallel()
	records := town(t)
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		s := must(estate.Load(1, slices.Values(records[:0:0])))
		s = apply(t, s, puts(unique(records)...)...)
		for range 40 {
			next, err := s.Apply(s.Revision()+1, randomChange(rnd, s, records)...)
			if err != nil {
				continue
			}
			s = next
			if _, err := estate.Load(s.Revision(), s.Records()); err != nil {
				t.Fatalf("seed %d: what was acknowledged cannot be loaded: %v", seed, err)
			}
		}
	}
}

// unique are records by their keys, the later ones in place of the earlier.
func unique(records []record.Record) []record.Record {
	m := model{}
	for _, r := range records {
		m[r.Key()] = r
	}
	return slices.Collect(m.records())
}

func randomChange(rnd *rand.Rand, s *estate.Snapshot, records []record.Record) []estate.Op {
	r := records[rnd.IntN(len(records))]
	if _, there := s.Get(r.Key()); !there {
		return puts(r)
	}
	switch rnd.IntN(3) {
	case 0:
		return []estate.Op{{Delete: r.Key()}}
	case 1:
		ops := []estate.Op{{Delete: r.Key()}}
		for _, dep := range s.Dependents(r.Key()) {
			ops = append(ops, estate.Op{Delete: dep})
		}
		return ops
	}
	parents := []scope.Scope{{}, managementGroup("top", scope.Scope{}).Scope, managementGroup("low", scope.Scope{}).Scope}
	switch old := r.(type) {
	case resource.Subscription:
		old.Parent = parents[rnd.IntN(3)]
		return puts(old)
	case resource.ManagementGroup:
		old.Parent = parents[rnd.IntN(3)]
		return puts(old)
	case azurerbac.Definition:
		old.AssignableScopes = []scope.Scope{[]scope.Scope{clusterAt, scope.MustParse(sub), parents[1]}[rnd.IntN(3)]}
		return puts(old)
	case directory.User: // his object id becomes that of a group
		heir := group(1)
		heir.ID = old.ID
		ops := []estate.Op{{Delete: old.Key()}}
		for _, dep := range s.Dependents(old.Key()) {
			ops = append(ops, estate.Op{Delete: dep})
		}
		return append(ops, puts(heir)...)
	case identityrequest.Request:
		next, _ := old.Retire(id(3), noon, "")
		return puts(next)
	}
	return puts(r)
}

func TestWhatOthersReferToIsNotTakenFromThem(t *testing.T) { // AZ-20
	t.Parallel()
	heir := group(3)
	for _, tt := range []struct {
		law  string
		ops  []estate.Op
		uses string
	}{
		{"an application is not deleted under its owners, and roles over it", []estate.Op{{Delete: app(40).Key()},
			{Delete: record.KeyOf(record.ServicePrincipal, id(41).String())}, {Delete: record.KeyOf(record.ServicePrincipal, id(61).String())}, {Delete: record.KeyOf(record.FederatedCredential, app(40).AppID.String(), "one")}}, id(40).String()},
		{"nor a request that made a credential", []estate.Op{{Delete: asked(t).Key()}}, asked(t).Credentials()[0].Name},
		{"nor an identity under what was granted over it", []estate.Op{{Delete: identity(20, "ident").Key()}}, asked(t).Credentials()[0].Name},
		{"nor a management group with children", []estate.Op{{Delete: managementGroup("top", scope.Scope{}).Key()}}, "depend on it"},
		{"a role stays assignable where it is assigned", puts(custom(2, clusterAt)), assigned(3, reader, id(1), clusterAt).Key().String()},
		{"a subscription does not leave a role behind", puts(resource.Subscription{Scope: scope.MustParse(sub), Tenant: tenantID}), "RoleAssignment"},
		{"nor does a management group", puts(managementGroup("low", scope.Scope{})), "RoleAssignment"},
		{"a group is not made under the object id of a person with roles", append([]estate.Op{{Delete: user(3).Key()}}, puts(heir)...), assigned(2, reader, id(3), clusterAt).Key().String()},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			s := must(estate.Load(1, slices.Values(unique(town(t)))))
			next, err := s.Apply(2, tt.ops...)
			if !errors.Is(err, estate.ErrInUse) || next != nil {
				t.Fatalf("%v, want ErrInUse", err)
			}
			if !strings.Contains(err.Error(), tt.uses) {
				t.Errorf("%v: it does not name %q", err, tt.uses)
			}
		})
	}
}

func TestATenantIsNotDeletedUnderWhatIsInIt(t *testing.T) { // AZ-20
	t.Parallel()
	program, person, place := app(60), user(60), managementGroup("theirs", scope.Scope{})
	program.Tenant, person.Tenant, place.Tenant = strangers, strangers, strangers
	other := scope.MustParse("/subscriptions/22222222-2222-2222-2222-222222222222")
	for what, r := range map[string]record.Record{
		"an application": program, "a user": person, "a management group": place,
		"a subscription": resource.Subscription{Scope: other, Tenant: strangers},
		"a cluster": resource.Cluster{Scope: scope.MustParse(sub + "/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c2"),
			Name: "c2", ResourceGroup: "rg", Tenant: strangers},
	} {
		tenant := directory.Tenant{ID: strangers, Domains: []string{"y.example"}}
		s := load(t, tenant, r)
		if _, err := s.Apply(2, estate.Op{Delete: tenant.Key()}); !errors.Is(err, estate.ErrInUse) || !strings.Contains(err.Error(), r.Key().String()) {
			t.Errorf("a tenant is deleted under %s: %v", what, err)
		}
		apply(t, s, estate.Op{Delete: tenant.Key()}, estate.Op{Delete: r.Key()})
	}
}

// Such records are left from versions that let them be made. A house that did not
// start would refuse everybody, and nobody could delete them.
func TestWhatDanglesIsLoadedAndGrantsNothing(t *testing.T) { // AZ-20
	t.Parallel()
	records := model{}
	for _, r := range town(t) {
		records[r.Key()] = r
	}
	tenant := directory.Tenant{ID: tenantID, Domains: []string{"x.example"}}
	low := managementGroup("low", scope.Scope{})
	orphaned := asked(t).Credentials()[0]
	for _, tt := range []struct {
		law      string
		lost     []record.Key
		put      record.Record // in place of what is there
		dangling record.Key
		grants   func(*estate.Snapshot) bool
	}{
		{"nobody of a tenant that is gone can act", []record.Key{tenant.Key()}, nil, user(1).Key(),
			func(s *estate.Snapshot) bool { p, _ := s.Principal(id(1)); return !p.Disabled }},
		{"nor what acts in another tenant for an application of it", []record.Key{tenant.Key()}, nil, app(40).Key(),
			func(s *estate.Snapshot) bool { p, _ := s.Principal(id(61)); return !p.Disabled }},
		{"a credential whose request is gone lets nobody in", []record.Key{asked(t).Key()}, nil, orphaned.Key(),
			func(s *estate.Snapshot) bool { return len(s.TrustsOf(orphaned.Owner, noon)) > 0 }},
		{"nor does one that the request did not make", nil, func() record.Record { f := orphaned; f.Subject = "s"; return f }(), orphaned.Key(),
			func(s *estate.Snapshot) bool { return len(s.TrustsOf(orphaned.Owner, noon)) > 0 }},
		{"a role is not held where it cannot be assigned", nil, custom(2, clusterAt), assigned(3, reader, id(1), clusterAt).Key(),
			func(s *estate.Snapshot) bool { return has(s, id(1), assigned(3, reader, id(1), clusterAt)) }},
		{"nor where its place went elsewhere", nil, low, assigned(1, reader, id(2), clusterAt).Key(),
			func(s *estate.Snapshot) bool { return has(s, id(2), assigned(1, reader, id(2), clusterAt)) }},
		{"nor by an activation beyond its eligibility", nil, low, activation(1, eligible(1, id(1), scope.Root), id(1)).Key(),
			func(s *estate.Snapshot) bool {
				return has(s, id(1), activation(1, eligible(1, id(1), scope.Root), id(1)))
			}},
		{"nor by a group under the object id of a person", []record.Key{user(3).Key()}, group(3), assigned(2, reader, id(3), clusterAt).Key(),
			func(s *estate.Snapshot) bool { return has(s, id(3), assigned(2, reader, id(3), clusterAt)) }},
		{"an owner of nothing is loaded", []record.Key{app(40).Key()}, nil, directory.Ownership{Object: id(40), Owner: id(1)}.Key(), nil},
		{"and a cluster of no tenant", []record.Key{tenant.Key()}, nil, record.KeyOf(record.Cluster, clusterAt.String()), nil},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			whole := must(estate.Load(1, records.records()))
			if tt.grants != nil && !tt.grants(whole) {
				t.Fatal("it grants nothing before")
			}
			left := model{}
			for k, r := range records {
				if !slices.Contains(tt.lost, k) {
					left[k] = r
				}
			}
			if tt.put != nil {
				left[tt.put.Key()] = tt.put
			}
			if _, err := estate.Load(1, left.records()); err == nil {
				t.Fatal("a file that says so is taken")
			}
			s, err := estate.Reload(1, left.records())
			if err != nil {
				t.Fatal(err)
			}
			if dangling := danglingIn(s); !slices.Contains(dangling, tt.dangling) {
				t.Errorf("%v are said to dangle, %s is not", dangling, tt.dangling)
			}
			if tt.grants != nil && tt.grants(s) {
				t.Error("it grants")
			}
			if _, there := s.Get(tt.dangling); !there {
				t.Fatal("it is not there to be deleted")
			}
			if _, credential := tt.put.(directory.FederatedCredential); credential {
				apply(t, s, estate.Op{Delete: tt.dangling}) // nothing else can be done with it
				return
			}
			var back []estate.Op
			for _, key := range tt.lost {
				back = append(back, estate.Op{Put: records[key]})
			}
			if tt.put != nil && len(tt.lost) > 0 {
				back = append([]estate.Op{{Delete: tt.put.Key()}}, back...)
			} else if tt.put != nil {
				back = puts(records[tt.put.Key()])
			}
			if mended := apply(t, s, back...); len(danglingIn(mended)) > 0 || tt.grants != nil && tt.grants(mended) != tt.grants(whole) {
				t.Errorf("%v dangle when all is back", danglingIn(mended))
			}
		})
	}
}

func has(s *estate.Snapshot, who principal.ID, a azurerbac.Assignment) bool {
	r, _ := s.Resolve(who)
	return slices.ContainsFunc(r.Azure, func(g *estate.Grant) bool { return g.Assigned.ID == a.ID })
}

func danglingIn(s *estate.Snapshot) []record.Key {
	var out []record.Key
	for key := range s.Dangling() {
		out = append(out, key)
	}
	return out
}
