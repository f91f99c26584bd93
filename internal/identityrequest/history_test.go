package identityrequest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

var (
	begun    = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	team     = principal.NewID()
	owner    = principal.NewID()
	group    = "/subscriptions/30000000-0000-4000-8000-000000000001/resourceGroups/web"
	identity = scope.MustParse(group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop-web")
	cluster  = scope.MustParse(group + "/providers/Microsoft.ContainerService/managedClusters/aks-1")
)

const day = 24 * time.Hour

// asked is what a test asks for: a new identity with one role, for 30 days.
func asked(change ...func(*identityrequest.Request)) identityrequest.Request {
	r := identityrequest.Request{
		ID: identityrequest.NewID(), Tenant: directory.NewTenantID(), Requester: team, Identity: identity,
		New:     identityrequest.New{Name: "Shop-Web", Location: "westeurope", Roles: []identityrequest.Role{{Role: azurerbac.DefinitionID(principal.NewID()), Scope: cluster}}},
		Cluster: cluster, Namespace: "shop", ServiceAccounts: []string{"web", "batch"}, Lasts: azurerbac.Duration(30 * day),
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func given(r identityrequest.Request, end time.Time) identityrequest.Given {
	g := identityrequest.Given{Object: principal.NewID(), Client: directory.NewAppID(), Issuer: "https://issuer.example/1/", NotAfter: end}
	for range r.New.Roles {
		g.Assignments = append(g.Assignments, azurerbac.NewAssignmentID())
	}
	return g
}

func TestWhatIsAskedForIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := asked().Ask(begun, ""); err != nil {
		t.Fatal(err)
	}
	for law, change := range map[string]func(*identityrequest.Request){
		"there is a requester":       func(r *identityrequest.Request) { r.Requester = principal.ID{} },
		"the identity is one":        func(r *identityrequest.Request) { r.Identity = cluster },
		"the cluster is one":         func(r *identityrequest.Request) { r.Cluster = identity },
		"there is a service account": func(r *identityrequest.Request) { r.ServiceAccounts = nil },
		"none stands twice":          func(r *identityrequest.Request) { r.ServiceAccounts = []string{"web", "web"} },
		"there are not too many": func(r *identityrequest.Request) {
			r.ServiceAccounts = make([]string, identityrequest.MaxServiceAccounts+1)
		},
		"FED-01: a namespace has no colon":           func(r *identityrequest.Request) { r.Namespace = "shop:web" },
		"FED-01: a service account is no other one":  func(r *identityrequest.Request) { r.ServiceAccounts = []string{"web:admin"} },
		"no pattern is asked for":                    func(r *identityrequest.Request) { r.ServiceAccounts = []string{"*"} },
		"JIT-06: it does not last for ever":          func(r *identityrequest.Request) { r.Lasts = identityrequest.MaxLasts + 1 },
		"JIT-06: it does not last less than no time": func(r *identityrequest.Request) { r.Lasts = -1 },
		"the name is that of the resource":           func(r *identityrequest.Request) { r.New.Name = "other" },
		"roles are for a new identity":               func(r *identityrequest.Request) { r.New.Name, r.New.Location = "", "" },
		"no role stands twice":                       func(r *identityrequest.Request) { r.New.Roles = append(r.New.Roles, r.New.Roles[0]) },
		"a role has a place":                         func(r *identityrequest.Request) { r.New.Roles[0].Scope = scope.Scope{} },
	} {
		if _, err := asked(change).Ask(begun, ""); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: Ask = %v, want ErrInvalid", law, err)
		}
	}
}

// JIT-05, JIT-07, JIT-08, JIT-09.
func TestAnAnswer(t *testing.T) {
	t.Parallel()
	r, err := asked().Ask(begun, "a shop")
	if err != nil {
		t.Fatal(err)
	}
	soon, end := begun.Add(time.Hour), begun.Add(time.Hour+30*day)
	if _, err := r.Approve(team, soon, "", given(r, end)); !errors.Is(err, identityrequest.ErrOwn) {
		t.Errorf("one's own: %v", err)
	}
	if _, err := r.Refuse(team, soon, ""); !errors.Is(err, identityrequest.ErrOwn) {
		t.Errorf("one's own: %v", err)
	}
	if _, err := r.Withdraw(owner, soon, ""); !errors.Is(err, identityrequest.ErrOwn) {
		t.Errorf("another's: %v", err)
	}
	for law, g := range map[string]identityrequest.Given{"a second more": given(r, end.Add(time.Second)), "for ever": given(r, time.Time{})} {
		if _, err := r.Approve(owner, soon, "", g); !errors.Is(err, identityrequest.ErrWider) {
			t.Errorf("%s: %v, want ErrWider", law, err)
		}
	}
	if _, err := r.Approve(owner, begun.Add(identityrequest.Window), "", given(r, end)); !errors.Is(err, identityrequest.ErrStatus) {
		t.Errorf("too late: %v", err)
	}
	active, err := r.Approve(owner, soon, "fine", given(r, soon.Add(day)))
	if err != nil {
		t.Fatalf("for less: %v", err)
	}
	for law, again := range map[string]func() (identityrequest.Request, error){
		"approved twice":     func() (identityrequest.Request, error) { return active.Approve(owner, soon, "", given(r, end)) },
		"refused after that": func() (identityrequest.Request, error) { return active.Refuse(owner, soon, "") },
		"withdrawn":          func() (identityrequest.Request, error) { return active.Withdraw(team, soon, "") },
		"retired before":     func() (identityrequest.Request, error) { return r.Retire(owner, soon, "") },
	} {
		if _, err := again(); !errors.Is(err, identityrequest.ErrStatus) {
			t.Errorf("%s: %v, want ErrStatus", law, err)
		}
	}
	// JIT-01, JIT-03: it ends by itself, and no clock that is set back revives it once
	// that was written down.
	if got := active.StatusAt(soon.Add(day)); got != identityrequest.IsExpired {
		t.Errorf("at its end it is %s", got)
	}
	if got := active.StatusAt(soon.Add(day - 1)); got != identityrequest.IsActive {
		t.Errorf("before its end it is %s", got)
	}
	retired, err := active.Retire(team, soon.Add(2*day), "")
	if err != nil {
		t.Fatalf("after its end: %v", err)
	}
	if got := retired.StatusAt(begun); got != identityrequest.IsRetired {
		t.Errorf("a clock set back makes it %s", got)
	}
}

func TestHistoriesThatCannotBe(t *testing.T) {
	t.Parallel()
	r, err := asked().Ask(begun, "")
	if err != nil {
		t.Fatal(err)
	}
	good, err := r.Approve(owner, begun.Add(time.Hour), "", given(r, begun.Add(day)))
	if err != nil {
		t.Fatal(err)
	}
	for law, change := range map[string]func(*identityrequest.Request){
		"approved by the requester":    func(r *identityrequest.Request) { r.History[1].By = team },
		"approved by nobody":           func(r *identityrequest.Request) { r.History[1].By = principal.ID{} },
		"approved too late":            func(r *identityrequest.Request) { r.History[1].At = begun.Add(identityrequest.Window) },
		"approved before it was asked": func(r *identityrequest.Request) { r.History[1].At = begun.Add(-1) },
		"requested by somebody else":   func(r *identityrequest.Request) { r.History[0].By = owner },
		"nothing happened":             func(r *identityrequest.Request) { r.History = nil },
		"approved twice":               func(r *identityrequest.Request) { r.History = append(r.History, r.History[1]) },
		"refused after approval": func(r *identityrequest.Request) {
			r.History = append(r.History, identityrequest.Event{Act: identityrequest.Refused, At: r.History[1].At, By: owner})
		},
		"given without approval":           func(r *identityrequest.Request) { r.History = r.History[:1] },
		"approved and not given":           func(r *identityrequest.Request) { r.Given = identityrequest.Given{} },
		"for longer":                       func(r *identityrequest.Request) { r.Given.NotAfter = begun.Add(60 * day) },
		"for ever":                         func(r *identityrequest.Request) { r.Given.NotAfter = time.Time{} },
		"an act that is none":              func(r *identityrequest.Request) { r.History[1].Act = "Extended" },
		"an approval that says until when": func(r *identityrequest.Request) { r.History[1].Until = begun.Add(2 * day) },
		// JIT-09
		"renewed without being asked": func(r *identityrequest.Request) {
			r.History = append(r.History, identityrequest.Event{Act: identityrequest.Renewed, At: begun.Add(2 * time.Hour), By: owner, Until: begun.Add(2 * day)})
		},
		"renewed by the requester": func(r *identityrequest.Request) {
			r.History = append(r.History, identityrequest.Event{Act: identityrequest.RenewalAsked, At: begun.Add(2 * time.Hour), By: team},
				identityrequest.Event{Act: identityrequest.Renewed, At: begun.Add(3 * time.Hour), By: team, Until: begun.Add(2 * day)})
		},
		"renewed for ever": func(r *identityrequest.Request) {
			r.History = append(r.History, identityrequest.Event{Act: identityrequest.RenewalAsked, At: begun.Add(2 * time.Hour), By: team},
				identityrequest.Event{Act: identityrequest.Renewed, At: begun.Add(3 * time.Hour), By: owner})
		},
		"renewed after its end": func(r *identityrequest.Request) {
			r.History = append(r.History, identityrequest.Event{Act: identityrequest.RenewalAsked, At: begun.Add(2 * time.Hour), By: team},
				identityrequest.Event{Act: identityrequest.Renewed, At: begun.Add(day), By: owner, Until: begun.Add(2 * day)})
		},
		"a renewal that somebody else asks for": func(r *identityrequest.Request) {
			r.History = append(r.History, identityrequest.Event{Act: identityrequest.RenewalAsked, At: begun.Add(2 * time.Hour), By: owner})
		},
	} {
		bad := good
		bad.History = append([]identityrequest.Event(nil), good.History...)
		if change(&bad); bad.Validate() == nil {
			t.Errorf("%s: valid", law)
		}
		if law == "for longer" || law == "approved by the requester" {
			if err := bad.Follows(good); err == nil {
				t.Errorf("%s: follows what was stored", law)
			}
		}
	}
}

// The history of what any people do at any time is valid, has at most one end, and
// says by itself what the request has come to, as a model does that keeps no history.
func TestAnyHistoryReplaysToItsStatus(t *testing.T) {
	t.Parallel()
	people := []principal.ID{team, owner, principal.NewID()}
	ends, renewed := map[identityrequest.Status]int{}, 0
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 33))
		r, err := asked(func(r *identityrequest.Request) {
			if rnd.IntN(2) == 0 {
				r.Lasts = 0
			}
		}).Ask(begun, "")
		if err != nil {
			t.Fatal(err)
		}
		now := begun
		model, end := "pending", time.Time{}
		var renewal time.Time // until when one waits
		for range 16 {
			now = now.Add(time.Duration(rnd.Int64N(int64(5 * day))))
			if model == "pending" && !now.Before(begun.Add(identityrequest.Window)) {
				model = "lapsed"
			}
			if model == "active" && !end.IsZero() && !now.Before(end) {
				model = "expired"
			}
			if model != "active" || !now.Before(renewal) {
				renewal = time.Time{}
			}
			by := people[rnd.IntN(len(people))]
			g := given(r, now.Add(time.Duration(1+rnd.Int64N(int64(60*day)))))
			narrow := r.Lasts == 0 || !g.NotAfter.After(r.EndFrom(now))
			var next identityrequest.Request
			legal, then := false, ""
			act := rnd.IntN(10)
			if model == "active" && act == 3 && rnd.IntN(3) > 0 {
				act = 4 // else few live long enough to be renewed twice
			}
			if !renewal.IsZero() && rnd.IntN(2) == 0 {
				act = 7
			}
			switch act {
			case 0:
				next, err = r.Approve(by, now, "", g)
				legal, then = model == "pending" && by != team && narrow, "active"
			case 1:
				next, err = r.Refuse(by, now, "")
				legal, then = model == "pending" && by != team, "refused"
			case 2:
				next, err = r.Withdraw(by, now, "")
				legal, then = model == "pending" && by == team, "withdrawn"
			case 3:
				next, err = r.Retire(by, now, "")
				legal, then = model == "active" || model == "expired", "retired"
			case 4, 5, 6:
				next, err = r.AskRenewal(by, now, "")
				legal, then = model == "active" && by == team && !end.IsZero() && renewal.IsZero(), "active"
			case 7, 8:
				next, err = r.Renew(by, now, "", g.NotAfter)
				legal, then = model == "active" && by != team && !renewal.IsZero() && narrow && g.NotAfter.After(end), "active"
			default:
				next, err = r.RefuseRenewal(by, now, "")
				legal, then = model == "active" && by != team && !renewal.IsZero(), "active"
			}
			if legal != (err == nil) {
				t.Fatalf("seed %d: act %d on a request that is %s: %v", seed, act, model, err)
			}
			if err == nil {
				if err := next.Follows(r); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				r, model = next, then
				switch act {
				case 0:
					end = g.NotAfter
				case 4, 5, 6:
					if renewal = now.Add(identityrequest.Window); end.Before(renewal) {
						renewal = end
					}
				case 7, 8:
					end, renewal = g.NotAfter, time.Time{}
					renewed++
				case 3, 9:
					renewal = time.Time{}
				}
			}
			if got := r.RenewalLapses(now); !got.Equal(renewal) || !r.End().Equal(end) {
				t.Fatalf("seed %d: it ends %s and its renewal waits until %s, want %s and %s", seed, r.End(), got, end, renewal)
			}
			if got := string(r.StatusAt(now)); got != title(model) {
				t.Fatalf("seed %d: the history says %s, the model %s", seed, got, model)
			}
			if err := r.Validate(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if made := len(r.Credentials()) > 0; made != (len(r.History) > 1 && r.History[1].Act == identityrequest.Approved) {
				t.Fatalf("seed %d: credentials without an approval, or an approval without", seed)
			}
		}
		ends[r.StatusAt(now)]++
	}
	if renewed < 50 {
		t.Errorf("%d renewals; the generator has lost touch", renewed)
	}
	for _, s := range []identityrequest.Status{identityrequest.IsRefused, identityrequest.IsWithdrawn, identityrequest.IsRetired, identityrequest.IsLapsed} {
		if ends[s] < 20 {
			t.Errorf("%d of the histories end %s; the generator has lost touch: %v", ends[s], s, ends)
		}
	}
}

func title(s string) string { return fmt.Sprintf("%c%s", s[0]-'a'+'A', s[1:]) }
