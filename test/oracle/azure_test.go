package oracle_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/oracle/azureref"
)

var (
	azureQuestions = flag.Int("azure.questions", 1_000_000, "questions to compare with the Azure reference")
	azureSeed      = flag.Uint64("azure.seed", 1, "seed of the first Azure world")
)

// TestDecideAgreesWithTheAzureReference asks random worlds twice: the engine,
// and a slow evaluator that shares nothing with it (AZ-05, G29).
func TestDecideAgreesWithTheAzureReference(t *testing.T) {
	t.Parallel()
	const shards, perWorld = 2, 500
	var (
		answers [3]atomic.Int64
		wg      sync.WaitGroup
	)
	for shard := range shards {
		wg.Go(func() {
			for n := shard; n < *azureQuestions/perWorld; n += shards {
				seed := *azureSeed + uint64(n)
				if !compareAzure(t, seed, perWorld, &answers) {
					return
				}
			}
		})
	}
	wg.Wait()
	total := answers[0].Load() + answers[1].Load() + answers[2].Load()
	t.Logf("%d questions: %d none, %d allow, %d deny", total, answers[0].Load(), answers[1].Load(), answers[2].Load())
	if answers[decide.Allow].Load()*5 < total {
		t.Errorf("only %d of %d questions were allowed, want at least a fifth", answers[decide.Allow].Load(), total)
	}
	if answers[decide.Deny].Load()*50 < total {
		t.Errorf("only %d of %d questions met a deny assignment, want at least 2 %%", answers[decide.Deny].Load(), total)
	}
}

type azureWorld struct {
	rnd  *rand.Rand
	recs []record.Record
	ref  azureref.World
}

const azureSub = "/subscriptions/11111111-1111-1111-1111-11111111111"

// azurePlaces lie in two subscriptions below a tree of three management groups.
var azurePlaces = func() []string {
	out := []string{"/"}
	for _, mg := range []string{"top", "left", "right"} {
		out = append(out, "/providers/Microsoft.Management/managementGroups/"+mg)
	}
	for _, n := range []string{"1", "2"} {
		s := azureSub + n
		// Names that are prefixes of others (AZ-01).
		out = append(out, s, s+"/resourceGroups/rg", s+"/resourceGroups/rg1",
			s+"/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c",
			s+"/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c1",
			s+"/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c/namespaces/dev",
			s+"/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c/namespaces/dev2")
	}
	return out
}()

var (
	azureTenant = mustParse(func(id *directory.TenantID) error {
		return id.UnmarshalText([]byte("10000000-0000-0000-0000-000000000001"))
	})
	azureNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func mustParse[T any](f func(*T) error) T {
	var v T
	if err := f(&v); err != nil {
		panic(err)
	}
	return v
}

func azureID(n int) principal.ID {
	return mustParse(func(id *principal.ID) error {
		return id.UnmarshalText(fmt.Appendf(nil, "20000000-0000-0000-0000-%012d", n))
	})
}

// letters scrambles the case of a text: both sides must fold it.
func (w *azureWorld) letters(s string) string {
	if w.rnd.IntN(3) > 0 {
		return s
	}
	return strings.ToUpper(s)
}

func (w *azureWorld) place() string { return azurePlaces[w.rnd.IntN(len(azurePlaces))] }

// action returns an operation; with patterns, it may have wildcards.
func (w *azureWorld) action(patterns bool) string {
	parts := []string{"Microsoft.ContainerService", "managedClusters", []string{"pods", "podsx", "secrets"}[w.rnd.IntN(3)], []string{"read", "write", "delete"}[w.rnd.IntN(3)]}
	if w.rnd.IntN(4) == 0 {
		parts = []string{"Microsoft.Authorization", "roleAssignments", []string{"read", "write"}[w.rnd.IntN(2)]}
	}
	if w.rnd.IntN(8) == 0 {
		parts = slices.Insert(parts, len(parts)-1, "exec")
	}
	text := strings.Join(parts, "/")
	if !patterns {
		return w.letters(text)
	}
	switch w.rnd.IntN(6) {
	case 0:
		text = "*"
	case 1:
		text = "*/" + parts[len(parts)-1]
	case 2:
		text = strings.Join(parts[:1+w.rnd.IntN(len(parts)-1)], "/") + "/*"
	case 3:
		i := w.rnd.IntN(len(text))
		text = text[:i] + "*" + text[min(len(text), i+w.rnd.IntN(6)):]
	}
	return w.letters(text)
}

func (w *azureWorld) actions() []string {
	var out []string
	for range w.rnd.IntN(4) {
		out = append(out, w.action(true))
	}
	return out
}

func (w *azureWorld) permission(generous bool) azurerbac.Permission {
	p := azurerbac.Permission{Actions: w.actions(), DataActions: w.actions()}
	if generous {
		p.Actions = append(p.Actions, w.action(true))
		p.DataActions = append(p.DataActions, w.action(true))
	}
	if w.rnd.IntN(2) == 0 {
		p.NotActions, p.NotDataActions = w.actions(), w.actions()
	}
	return p
}

func refPermission(p azurerbac.Permission) azureref.Permission {
	return azureref.Permission{Actions: p.Actions, NotActions: p.NotActions, DataActions: p.DataActions, NotDataActions: p.NotDataActions}
}

const azureUsers, azureGroups = 5, 7

func newAzureWorld(seed uint64) *azureWorld {
	w := &azureWorld{rnd: rand.New(rand.NewPCG(seed, 99)), ref: azureref.World{
		Groups: map[string][]string{}, Parents: map[string]string{}, Roles: map[string]azureref.Role{}}}
	mg := func(name string) scope.Scope {
		return scope.MustParse("/providers/Microsoft.Management/managementGroups/" + name)
	}
	parent := func(child, parent scope.Scope) scope.Scope {
		if w.rnd.IntN(5) == 0 {
			return scope.Scope{}
		}
		w.ref.Parents[child.String()] = parent.String()
		return parent
	}
	sub1, sub2 := scope.MustParse(azureSub+"1"), scope.MustParse(azureSub+"2")
	w.recs = []record.Record{
		directory.Tenant{ID: azureTenant, Domains: []string{"x.example"}},
		resource.ManagementGroup{Scope: mg("top"), Tenant: azureTenant},
		resource.ManagementGroup{Scope: mg("left"), Tenant: azureTenant, Parent: parent(mg("left"), mg("top"))},
		resource.ManagementGroup{Scope: mg("right"), Tenant: azureTenant, Parent: parent(mg("right"), mg("top"))},
		resource.Subscription{Scope: sub1, Tenant: azureTenant, Parent: parent(sub1, mg("left"))},
		resource.Subscription{Scope: sub2, Tenant: azureTenant, Parent: parent(sub2, mg("right"))},
	}
	for n := range azureUsers {
		w.recs = append(w.recs, directory.User{ID: azureID(n), Tenant: azureTenant, UserPrincipalName: fmt.Sprintf("u%d@x.example", n)})
	}
	for n := range azureGroups {
		w.recs = append(w.recs, directory.Group{ID: azureID(100 + n), Tenant: azureTenant, DisplayName: fmt.Sprint("g", n)})
	}
	w.memberships()
	for n := range 3 {
		w.role(n)
	}
	w.assignments()
	for n := range 1 + w.rnd.IntN(3) {
		w.deny(n)
	}
	return w
}

func (w *azureWorld) anyone() principal.ID {
	if w.rnd.IntN(3) == 0 {
		return azureID(w.rnd.IntN(azureUsers))
	}
	return azureID(100 + w.rnd.IntN(azureGroups))
}

func (w *azureWorld) memberships() {
	for range 16 {
		g := azureID(100 + w.rnd.IntN(azureGroups))
		m := w.anyone()
		if slices.Contains(w.ref.Groups[g.String()], m.String()) {
			continue
		}
		w.ref.Groups[g.String()] = append(w.ref.Groups[g.String()], m.String())
		w.recs = append(w.recs, directory.Membership{Group: g, Member: m})
	}
}

func azureRoleID(n int) azurerbac.DefinitionID {
	return mustParse(func(id *azurerbac.DefinitionID) error {
		return id.UnmarshalText(fmt.Appendf(nil, "40000000-0000-0000-0000-%012d", n+1))
	})
}

// role makes a custom role. Custom roles are kept away from the root, so the
// reference gets the same permissions at places where they may be assigned.
func (w *azureWorld) role(n int) {
	d := azurerbac.Definition{ID: azureRoleID(n), RoleName: fmt.Sprint("role ", n), AssignableScopes: []scope.Scope{
		scope.MustParse("/providers/Microsoft.Management/managementGroups/top"), scope.MustParse(azureSub + "1"), scope.MustParse(azureSub + "2")}}
	ref := azureref.Role{}
	for i := range 1 + w.rnd.IntN(2) {
		p := w.permission(i == 0)
		d.Permissions = append(d.Permissions, p)
		ref.Permissions = append(ref.Permissions, refPermission(p))
	}
	w.ref.Roles[d.ID.String()] = ref
	w.recs = append(w.recs, d)
}

func (w *azureWorld) assignments() {
	type said struct {
		who  principal.ID
		role int
		at   scope.Scope
	}
	seen := map[said]bool{}
	for n := range 16 {
		text := w.place()
		if w.rnd.IntN(3) == 0 { // high up, so that enough is allowed
			text = azurePlaces[[]int{1, 4, 11}[w.rnd.IntN(3)]]
		}
		at := scope.MustParse(text)
		s := said{w.anyone(), w.rnd.IntN(3), at}
		if at == scope.Root || strings.Contains(text, "managementGroups/left") || strings.Contains(text, "managementGroups/right") || seen[s] {
			continue // not assignable there, or said already
		}
		seen[s] = true
		a := azurerbac.Assignment{Scope: at, Principal: s.who, Role: azureRoleID(s.role), ID: mustParse(func(id *azurerbac.AssignmentID) error {
			return id.UnmarshalText(fmt.Appendf(nil, "30000000-0000-0000-0000-%012d", n+1))
		})}
		switch w.rnd.IntN(6) {
		case 0:
			a.NotBefore = azureNow.Add(time.Duration(w.rnd.IntN(3)-1) * time.Second)
		case 1:
			a.NotAfter = azureNow.Add(time.Duration(w.rnd.IntN(3)-1) * time.Second)
		}
		w.recs = append(w.recs, a)
		w.ref.Assignments = append(w.ref.Assignments, azureref.Assignment{Principal: a.Principal.String(), Role: a.Role.String(),
			Scope: w.letters(text), NotBefore: a.NotBefore, NotAfter: a.NotAfter})
	}
}

func (w *azureWorld) deny(n int) {
	text := w.place()
	p := w.permission(false)
	d := azurerbac.DenyAssignment{Name: fmt.Sprint("deny ", n), Scope: scope.MustParse(text), Everyone: w.rnd.IntN(3) == 0,
		DoNotApplyToChildren: w.rnd.IntN(3) == 0, Permissions: []azurerbac.Permission{p},
		Principals: []principal.ID{w.anyone()},
		ID: mustParse(func(id *azurerbac.DenyAssignmentID) error {
			return id.UnmarshalText(fmt.Appendf(nil, "50000000-0000-0000-0000-%012d", n+1))
		})}
	if w.rnd.IntN(2) == 0 {
		d.ExcludePrincipals = []principal.ID{w.anyone()}
	}
	w.recs = append(w.recs, d)
	w.ref.Denies = append(w.ref.Denies, azureref.Deny{Scope: text, Everyone: d.Everyone, Principals: idTexts(d.Principals),
		ExcludePrincipals: idTexts(d.ExcludePrincipals), DoNotApplyToChildren: d.DoNotApplyToChildren, Permissions: []azureref.Permission{refPermission(p)}})
}

func idTexts(ids []principal.ID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, id.String())
	}
	return out
}

func compareAzure(t *testing.T, seed uint64, questions int, answers *[3]atomic.Int64) bool {
	w := newAzureWorld(seed)
	est, err := estate.Load(1, slices.Values(w.recs))
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return false
	}
	for range questions {
		who, at, action, data := azureID(w.rnd.IntN(azureUsers)), w.place(), w.action(false), w.rnd.IntN(2) == 0
		got := decide.Decide(est, decide.Request{Who: decide.Subject{ID: who}, Scope: scope.MustParse(at), Action: action, Data: data, Now: azureNow}).Effect
		want := azureref.Answer(w.ref, azureref.Ask{Principal: who.String(), Scope: at, Action: action, Data: data, Now: azureNow})
		if spelled := map[decide.Effect]string{decide.Allow: azureref.Allow, decide.Deny: azureref.Denied, decide.NoOpinion: azureref.None}[got]; spelled != want {
			t.Errorf("-azure.seed=%d: may %s %s (data %t) at %s? engine %s, reference %s", seed, who, action, data, at, spelled, want)
			return false
		}
		answers[got].Add(1)
	}
	return true
}
