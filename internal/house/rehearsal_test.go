package house_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/admission"
	apiclient "github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

func mayRehearse(conf *house.Config) { conf.Rehearse = true }

// asOperator asks the management API with a new token: the clock may have ended others.
func (g *gate) asOperator() *apiclient.Client {
	return &apiclient.Client{Base: g.op.Authority, HTTP: g.public, Token: func(context.Context) (string, error) {
		return tokenFor(g.t, g.conf.Dir, "api://gatehouse"), nil
	}}
}

// turn turns the knobs as the command line does.
func (g *gate) turn(k rehearsal.Knobs) {
	g.t.Helper()
	spec, err := record.Marshal(k)
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.asOperator().Commit(g.t.Context(), wire.Changes{Why: "test", Ops: []wire.Op{{Put: &wire.Record{Kind: record.Rehearsal, Spec: spec}}}}); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gate) ahead(d time.Duration) {
	g.t.Helper()
	g.turn(rehearsal.Knobs{ClockAhead: rehearsal.Duration(d)})
}

type reply struct {
	status int
	code   string // of the error, if any
	head   http.Header
	text   string
}

// call sends a request to the public listener.
func (g *gate) call(method, path, raw string, body any) reply {
	g.t.Helper()
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			g.t.Fatal(err)
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.op.Authority+path, in)
	if err != nil {
		g.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if raw != "" {
		req.Header.Set("Authorization", "Bearer "+raw)
	}
	res, err := g.public.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	var e wire.Error
	_ = json.Unmarshal(text, &e) // "" when there is none
	return reply{res.StatusCode, e.Error.Code, res.Header, string(text)}
}

func (g *gate) access(resource string) string {
	g.t.Helper()
	raw, _ := g.signIn(resource)["access_token"].(string)
	return raw
}

const (
	armResource   = "https://management.azure.com"
	graphResource = "https://graph.microsoft.com"
	armVersion    = "?api-version=2022-04-01"
	groupPath     = subOfDoors + "/resourceGroups/rg" + armVersion
	ownerRole     = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
)

func assignmentPath(n int) string {
	return fmt.Sprintf("%s/providers/Microsoft.Authorization/roleAssignments/60000000-0000-4000-8000-%012d%s", clusterAt, n, armVersion)
}

func assignmentBody(who principal.ID, kind string) map[string]any {
	p := map[string]any{"principalId": who.String(), "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/" + reader.String()}
	if kind != "" {
		p["principalType"] = kind
	}
	return map[string]any{"properties": p}
}

func TestChangesOfAccessTakeTheirTimeInARehearsal(t *testing.T) {
	t.Parallel()
	var skew atomic.Int64 // of the machine's clock
	const wait = 10 * time.Minute
	g := newGate(t, mayRehearse, func(c *house.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
		c.MaxAge = 24 * time.Hour // by that clock
	})
	g.turn(rehearsal.Knobs{PropagationDelay: rehearsal.Duration(wait)})
	armToken, graphToken, clusterToken := g.access(armResource), g.access(graphResource), g.access(kubeServer)
	operator := tokenFor(t, g.conf.Dir, armResource)

	newcomer := directory.ServicePrincipal{ID: idOf[principal.ID]("42000000-0000-4000-8000-0000000000d2"), AppID: idOf[directory.AppID]("41000000-0000-4000-8000-0000000000d2"), Tenant: tenant.ID, DisplayName: "newcomer"}
	newApp := directory.Application{ID: idOf[principal.ID]("40000000-0000-4000-8000-0000000000d2"), AppID: newcomer.AppID, Tenant: tenant.ID, DisplayName: "newcomer"}
	owns := azurerbac.Assignment{ID: idOf[azurerbac.AssignmentID]("60000000-0000-4000-8000-0000000000aa"), Scope: scope.Root, Principal: ana.ID, Role: idOf[azurerbac.DefinitionID](ownerRole)}
	g.commit(estate.Op{Delete: assignmentTo(1, ana.ID).Key()}, estate.Op{Put: owns}, estate.Op{Put: newApp}, estate.Op{Put: newcomer}, estate.Op{Put: assignmentTo(9, newcomer.ID)})

	if got := g.call(http.MethodGet, assignmentPath(1), operator, nil); got.status != http.StatusNotFound {
		t.Errorf("a read of what was deleted: %d %s, want 404 at once", got.status, got.text)
	}
	if got := g.call(http.MethodGet, assignmentPath(9), operator, nil); got.status != http.StatusOK {
		t.Errorf("a read of what was made: %d %s, want 200 at once", got.status, got.text)
	}
	owner := func() [2]int {
		group := map[string]any{"displayName": "g", "mailNickname": "g", "mailEnabled": false, "securityEnabled": true}
		return [2]int{g.call(http.MethodGet, groupPath, armToken, nil).status, g.call(http.MethodPost, "/v1.0/groups", graphToken, group).status}
	}
	if got := g.may(ana.UserPrincipalName, ana.ID); got != "allow" {
		t.Errorf("what was taken away: %s, want allow for a while", got)
	}
	if got := g.may(newcomer.ID.String(), newcomer.ID); got != "deny" {
		t.Errorf("who is new: %s, want deny for a while", got)
	}
	if got := owner(); got != [2]int{403, 403} {
		t.Errorf("what was given: ARM and Graph say %v, want 403 for a while", got)
	}
	// What everybody's scripts run into.
	if got := g.call(http.MethodPut, assignmentPath(10), operator, assignmentBody(newcomer.ID, "")); got.status != http.StatusBadRequest || got.code != "PrincipalNotFound" {
		t.Errorf("a role for who is new: %d %s, want PrincipalNotFound", got.status, got.text)
	}
	if got := g.call(http.MethodPut, assignmentPath(9), operator, assignmentBody(newcomer.ID, "ServicePrincipal")); got.status != http.StatusCreated {
		t.Errorf("with the principal's type: %d %s, want 201", got.status, got.text)
	}
	q := wire.Question{Who: ana.ID.String(), Scope: clusterAt.String(), Kube: &wire.Kube{Verb: "list", Resource: "pods", Namespace: "default"}, Only: "azure"}
	now := g.house.Store().Current().Revision()
	if d, err := g.asOperator().CanI(t.Context(), q); err != nil || d.Effect != "allow" || d.Revision >= now {
		t.Errorf("can-i says %+v, %v; want what the doors say, and a revision before %d", d, err, now)
	}

	skew.Store(int64(wait - time.Minute))
	if got := g.may(ana.UserPrincipalName, ana.ID); got != "allow" {
		t.Errorf("before its time: %s", got)
	}
	skew.Store(int64(wait + time.Second))
	if got := g.may(ana.UserPrincipalName, ana.ID); got != "no opinion" {
		t.Errorf("what was taken away, when its time has come: %s, want no opinion", got)
	}
	if got := g.may(newcomer.ID.String(), newcomer.ID); got != "allow" {
		t.Errorf("who was new: %s, want allow", got)
	}
	if got := owner(); got != [2]int{200, 201} {
		t.Errorf("what was given: ARM and Graph say %v, want 200 and 201", got)
	}
	if d, err := g.asOperator().CanI(t.Context(), q); err != nil || d.Effect != "no opinion" {
		t.Errorf("can-i says %+v, %v", d, err)
	}
	g.put(assignmentTo(1, ana.ID))
	skew.Add(int64(wait + time.Second))
	if got := g.may(ana.UserPrincipalName, ana.ID); got != "allow" {
		t.Errorf("what was given again: %s, want allow", got)
	}

	// What stops somebody does not wait.
	off := ana
	off.Disabled = true
	g.put(off)
	if got := g.may(ana.UserPrincipalName, ana.ID); got != "deny" {
		t.Errorf("a disabled account: %s, want deny at once", got)
	}
	if g.authenticated(clusterToken) {
		t.Error("a disabled account: its token is accepted by TokenReview")
	}
	if got := owner(); got != [2]int{401, 401} {
		t.Errorf("a disabled account: ARM and Graph say %v, want 401", got)
	}
	if d, err := g.asOperator().CanI(t.Context(), q); err != nil || d.Effect == "allow" {
		t.Errorf("a disabled account: can-i says %+v, %v", d, err)
	}
	if holders, err := g.asOperator().WhoCan(t.Context(), wire.Question{Scope: q.Scope, Kube: q.Kube, Only: q.Only}); err != nil || strings.Contains(fmt.Sprint(holders), ana.ID.String()) {
		t.Errorf("a disabled account: who-can says %+v, %v", holders, err)
	}
	g.put(ana)
	skew.Add(int64(2 * wait))
	g.commit(estate.Op{Delete: robot.Key()})
	if got := g.may(robot.ID.String(), robot.ID); got != "deny" {
		t.Errorf("a deleted account: %s, want deny at once", got)
	}
	cluster, _ := g.house.Store().Current().Cluster(clusterAt)
	cluster.RevokedCertificates = []string{"aa11"}
	g.put(cluster)

	g.turn(rehearsal.Knobs{})
	g.commit(estate.Op{Delete: assignmentTo(1, ana.ID).Key()})
	if got := g.may(ana.UserPrincipalName, ana.ID); got != "no opinion" {
		t.Errorf("without a delay: %s, want what is so now", got)
	}
}

// JIT-03 and OA-37 in a house whose clock was moved: what was revoked or used up
// stays so, wherever the clock is moved to.
func TestTheClockOfARehearsal(t *testing.T) {
	t.Parallel()
	pods := startIssuer(t)
	g := newGate(t, mayRehearse, pods.open)
	g.put(pods.credential())
	window := assignmentTo(7, identity.ID)
	window.Scope, window.NotAfter = scope.MustParse(clusterAt.String()+"/namespaces/default"), time.Now().Add(3*time.Hour)
	g.commit(estate.Op{Delete: assignmentTo(3, identity.ID).Key()}, estate.Op{Put: window})
	before := g.signIn(kubeServer)
	cluster, refresh := before["access_token"].(string), before["refresh_token"].(string)
	arm, graph := g.access(armResource), g.access(graphResource)
	doors := func(cluster, arm, graph string) map[string]bool {
		return map[string]bool{"TokenReview": g.authenticated(cluster), "Azure Resource Manager": g.opens("/subscriptions?api-version=2022-12-01")(arm), "Graph": g.opens("/v1.0/me")(graph)}
	}
	want := func(law string, open bool, got map[string]bool) {
		t.Helper()
		for door, is := range got {
			if is != open {
				t.Errorf("%s: %s open: %t, want %t", law, door, is, open)
			}
		}
	}
	want("before", true, doors(cluster, arm, graph))

	g.ahead(2 * time.Hour)
	want("tokens of two hours ago", false, doors(cluster, arm, graph))
	want("new tokens", true, doors(g.access(kubeServer), g.access(armResource), g.access(graphResource)))
	if got := g.may(identity.ID.String(), identity.ID); got != "allow" {
		t.Errorf("a grant of three hours, after two: %s", got)
	}
	if raw, status, text := g.identityToken(pods, kubeServer); status != http.StatusOK || !g.authenticated(raw) {
		t.Errorf("a pod's token, whose cluster goes by the machine's clock: %d %s", status, text)
	}

	g.ahead(8 * time.Hour)
	if got := g.may(identity.ID.String(), identity.ID); got != "no opinion" {
		t.Errorf("a grant of three hours, after eight: %s", got)
	}
	// At eight, her sign-ins are revoked.
	if err := g.asOperator().SetPassword(t.Context(), ana.ID.String(), password); err != nil {
		t.Fatal(err)
	}
	g.turn(rehearsal.Knobs{})
	want("tokens that were revoked at an hour that has not come", false, doors(cluster, arm, graph))
	if status, _, text := g.token("grant_type", "refresh_token", "client_id", azClient, "refresh_token", refresh, "scope", kubeServer+"/.default"); status != http.StatusBadRequest {
		t.Errorf("a refresh token that was revoked: %d %s", status, text)
	}
	if got := g.may(identity.ID.String(), identity.ID); got != "allow" {
		t.Errorf("a grant whose time has not run out, by the clock that was moved back: %s", got)
	}
	is, err := g.asOperator().Rehearsal(t.Context())
	if err != nil || len(is.Warnings) != 1 || !strings.Contains(is.Warnings[0], ana.UserPrincipalName) {
		t.Errorf("who cannot sign in for a while is not told: %+v, %v", is.Warnings, err)
	}

	// Years on, there is a key that signs and a secret that is good, at once.
	g.ahead(3 * 365 * 24 * time.Hour)
	want("three years on", true, doors(g.access(kubeServer), g.access(armResource), g.access(graphResource)))
	if op, err := house.ReadOperator(g.conf.Dir.Operator()); err != nil || op.Secret == g.op.Secret {
		t.Errorf("the operator's secret was not renewed: %v", err)
	}
	g.turn(rehearsal.Knobs{})
	if _, err := g.asOperator().WhoAmI(t.Context()); err != nil {
		t.Errorf("back again: %v", err)
	}

	// A restart keeps the clock.
	g.ahead(time.Hour)
	g.house.Stop()
	if g.house, err = house.Start(t.Context(), g.conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.house.Stop)
	if is, err := g.asOperator().Rehearsal(t.Context()); err != nil || is.HouseTime.Sub(is.MachineTime).Round(time.Minute) != time.Hour {
		t.Errorf("after a restart the clocks say %s and %s, %v", is.HouseTime, is.MachineTime, err)
	}
}

func TestAnOutageOfEachDoor(t *testing.T) {
	t.Parallel()
	g := newGate(t, mayRehearse)
	arm, graph, cluster := g.access(armResource), g.access(graphResource), g.access(kubeServer)
	sar := func() int {
		var out map[string]any
		status, _ := g.post(g.paths.SubjectAccessReview, listPods(ana.UserPrincipalName, ana.ID), &out)
		return status
	}
	asks := map[rehearsal.Door]func() bool{
		rehearsal.ARM: func() bool {
			return g.call(http.MethodGet, "/subscriptions?api-version=2022-12-01", arm, nil).status == 200
		},
		rehearsal.Graph: func() bool { return g.call(http.MethodGet, "/v1.0/me", graph, nil).status == 200 },
		rehearsal.OIDC: func() bool {
			status, _, _ := g.token("grant_type", "password", "client_id", azClient, "username", ana.UserPrincipalName, "password", password, "scope", armResource+"/.default")
			keys := g.call(http.MethodGet, "/"+tenant.ID.String()+"/discovery/v2.0/keys", "", nil).status
			if (status == 200) != (keys == 200) {
				t.Errorf("tokens: %d, keys: %d", status, keys)
			}
			return status == 200
		},
		rehearsal.AuthN: func() bool { return g.authenticated(cluster) },
		rehearsal.AuthZ: func() bool { return sar() == 200 },
		rehearsal.Admission: func() bool {
			var out map[string]any
			status, _ := g.post(strings.TrimSuffix(g.paths.SubjectAccessReview, authz.Path)+admission.Path, map[string]any{}, &out)
			return status != http.StatusServiceUnavailable // it says what is wrong with the review
		},
		rehearsal.Registry: func() bool {
			return g.call(http.MethodGet, "/registries/none/v2/", "", nil).status != http.StatusServiceUnavailable
		},
		rehearsal.KeyVault: func() bool {
			return g.call(http.MethodGet, "/vaults/none/secrets?api-version=7.4", "", nil).status != http.StatusServiceUnavailable
		},
	}
	for door := range asks {
		g.turn(rehearsal.Knobs{Outages: []rehearsal.Outage{{Door: door}}})
		for other, ask := range asks {
			if got := ask(); got == (other == door) {
				t.Errorf("in an outage of %s, %s answers: %t", door, other, got)
			}
		}
		// The way back is open, and everybody is told.
		if _, err := g.asOperator().WhoAmI(t.Context()); err != nil {
			t.Errorf("in an outage of %s the management API says %v", door, err)
		}
		if got := g.call(http.MethodGet, "/livez", "", nil).head.Get(rehearse.Header); got != "outage of "+string(door) {
			t.Errorf("the header says %q", got)
		}
		if got := g.call(http.MethodGet, "/readyz?verbose", "", nil); got.status != http.StatusOK || !strings.Contains(got.text, "[!]rehearsal: outage of "+string(door)) {
			t.Errorf("/readyz says %d %s", got.status, got.text)
		}
	}
	g.turn(rehearsal.Knobs{})
	for door, ask := range asks {
		if !ask() {
			t.Errorf("after the outages, %s does not answer", door)
		}
	}
	if got := g.call(http.MethodGet, "/livez", "", nil).head.Get(rehearse.Header); got != "" {
		t.Errorf("the header says %q", got)
	}
	if !strings.Contains(g.log.String(), "REHEARSAL") {
		t.Error("the log does not say that there was a rehearsal")
	}
}

func TestWhoAsksTooOftenWaitsAlone(t *testing.T) { // ARM-13
	t.Parallel()
	g := newGate(t, mayRehearse)
	few := rehearsal.Rate{Count: 5, Per: rehearsal.Duration(5 * time.Hour)}
	g.put(azurerbac.Assignment{ID: idOf[azurerbac.AssignmentID]("60000000-0000-4000-8000-0000000000ab"), Scope: scope.MustParse(subOfDoors), Principal: ana.ID, Role: idOf[azurerbac.DefinitionID]("acdd72a7-3385-48ef-bd42-f606fba81ae7")})
	arm, graph, operator := g.access(armResource), g.access(graphResource), tokenFor(t, g.conf.Dir, armResource)

	// Without the knob it is counted, as Azure counts, and nobody is refused.
	for n := range 10 {
		got := g.call(http.MethodGet, groupPath, arm, nil)
		left, err := strconv.Atoi(got.head.Get("X-Ms-Ratelimit-Remaining-Subscription-Reads"))
		if err != nil || got.status != http.StatusOK || left > 249 || left < 249-n {
			t.Fatalf("request %d: %d, %d left, %v", n, got.status, left, err)
		}
	}
	g.turn(rehearsal.Knobs{Throttle: rehearsal.Throttle{ARMReads: few, Graph: few, Token: few}})
	refused := 0
	for n := range 500 { // a hundred times as many as there may be
		got := g.call(http.MethodGet, groupPath, arm, nil)
		left := got.head.Get("X-Ms-Ratelimit-Remaining-Subscription-Reads")
		switch {
		case n < 5 && (got.status != http.StatusOK || left != strconv.Itoa(4-n)):
			t.Errorf("request %d: %d, %s left", n, got.status, left)
		case n >= 5 && (got.status != http.StatusTooManyRequests || left != "0" || got.code != "SubscriptionRequestsThrottled"):
			t.Fatalf("request %d: %d %s, %s left", n, got.status, got.text, left)
		case n >= 5:
			refused++
			if wait, err := strconv.Atoi(got.head.Get("Retry-After")); err != nil || wait < 3000 || wait > 3600 {
				t.Fatalf("Retry-After %q, want about an hour in seconds", got.head.Get("Retry-After"))
			}
		}
	}
	if refused != 495 {
		t.Errorf("%d refused", refused)
	}
	if got := g.call(http.MethodGet, groupPath, operator, nil); got.status != http.StatusOK {
		t.Errorf("somebody else: %d %s", got.status, got.text)
	}
	if got := g.call(http.MethodGet, "/subscriptions?api-version=2022-12-01", arm, nil); got.status != http.StatusOK || got.head.Get("X-Ms-Ratelimit-Remaining-Tenant-Reads") != "4" {
		t.Errorf("what is of no subscription: %d, %q left", got.status, got.head.Get("X-Ms-Ratelimit-Remaining-Tenant-Reads"))
	}
	for n := range 7 {
		if got := g.call(http.MethodGet, "/v1.0/me", graph, nil); (got.status == http.StatusTooManyRequests) != (n >= 5) || (n >= 5) != (got.head.Get("Retry-After") != "") {
			t.Errorf("Graph, request %d: %d, Retry-After %q", n, got.status, got.head.Get("Retry-After"))
		}
	}
	for n := range 7 {
		status, m, text := g.token("grant_type", "refresh_token", "client_id", azClient, "refresh_token", "x", "scope", armResource+"/.default")
		if throttled := status == http.StatusTooManyRequests && strings.Contains(text, "AADSTS90055"); throttled != (n >= 5) {
			t.Errorf("token %d: %d %v", n, status, m)
		}
	}
	if raw := tokenFor(t, g.conf.Dir, "api://gatehouse"); raw == "" {
		t.Error("the way back is throttled")
	}
}

func TestQuotasOfARehearsal(t *testing.T) {
	t.Parallel()
	g := newGate(t, mayRehearse)
	operator := tokenFor(t, g.conf.Dir, armResource)
	// The estate has three assignments in its subscription.
	g.turn(rehearsal.Knobs{Limits: rehearsal.Limits{AssignmentsOfSubscription: 4, FederatedCredentials: 1, GroupsInToken: 2}})
	for n, want := range []int{http.StatusCreated, http.StatusBadRequest} {
		path := strings.Replace(assignmentPath(20+n), clusterAt.String(), subOfDoors+"/resourcegroups/rg", 1)
		got := g.call(http.MethodPut, path, operator, assignmentBody([]principal.ID{ana.ID, robot.ID}[n], ""))
		if got.status != want || want == http.StatusBadRequest && got.code != "RoleAssignmentLimitExceeded" {
			t.Errorf("assignment %d: %d %s, want %d", n, got.status, got.text, want)
		}
	}
	put := func(r record.Record) error {
		spec, err := record.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.asOperator().Commit(t.Context(), wire.Changes{Why: "test", Ops: []wire.Op{{Put: &wire.Record{Kind: r.Key().Kind, Spec: spec}}}})
		return err
	}
	credential := func(name string) directory.FederatedCredential {
		return directory.FederatedCredential{Owner: identity.ClientID, Name: name, Issuer: "https://issuer.example/", Subject: name, Audiences: []string{"api://AzureADTokenExchange"}}
	}
	if err := put(credential("one")); err != nil {
		t.Errorf("the first credential: %v", err)
	}
	if err := put(credential("two")); err == nil || !strings.Contains(err.Error(), "Too many Federated Identity Credentials") {
		t.Errorf("the second credential: %v", err)
	}
	secret, err := g.asOperator().NewSecret(t.Context(), robotApp.AppID.String(), wire.NewSecret{Name: "ci", Days: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, m, _ := g.token("grant_type", "client_credentials", "client_id", robotApp.AppID.String(), "client_secret", secret.Text, "scope", kubeServer+"/.default")
	program, person := m["access_token"].(string), g.access(kubeServer)
	for n := range 3 {
		if !g.authenticated(program) || !g.authenticated(person) {
			t.Errorf("in %d groups: refused", n)
		}
		group := directory.Group{ID: idOf[principal.ID](fmt.Sprintf("30000000-0000-4000-8000-%012d", n)), Tenant: tenant.ID, DisplayName: fmt.Sprint("g", n)}
		g.commit(estate.Op{Put: group}, estate.Op{Put: directory.Membership{Group: group.ID, Member: robot.ID}}, estate.Op{Put: directory.Membership{Group: group.ID, Member: ana.ID}})
	}
	if g.authenticated(program) {
		t.Error("a program in one group too many is authenticated")
	}
	if !g.authenticated(person) {
		t.Error("a person in as many groups is refused")
	}
	said := func() string {
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(g.access(kubeServer), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		return string(payload)
	}
	if text := said(); !strings.Contains(text, `"_claim_names"`) || strings.Contains(text, `"groups":[`) {
		t.Errorf("a token of somebody in one group too many: %s, want a pointer to the groups", text)
	}
	g.turn(rehearsal.Knobs{})
	if text := said(); strings.Contains(text, `"_claim_names"`) || !strings.Contains(text, `"groups":[`) {
		t.Errorf("a token without the limit: %s, want the groups", text)
	}
}

// Every replica heeds the knobs that one of them was told, and none does that must
// not rehearse.
func TestReplicasRehearseTogether(t *testing.T) {
	t.Parallel()
	_, client := startEtcd(t)
	var key []byte
	start := func(rehearse bool) (*house.House, house.Config, error) {
		conf := config(t, t.TempDir()+"/data")
		conf.External, conf.Rehearse = &client, rehearse
		if key != nil {
			if err := errors.Join(os.MkdirAll(string(conf.Dir), 0o700), os.WriteFile(string(conf.Dir)+"/key", key, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		h, err := house.Start(t.Context(), conf)
		if err == nil {
			t.Cleanup(h.Stop)
		}
		return h, conf, err
	}
	one, conf, err := start(true)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = os.ReadFile(string(conf.Dir) + "/key"); err != nil {
		t.Fatal(err)
	}
	two, _, err := start(true)
	if err != nil {
		t.Fatal(err)
	}
	real, realConf, err := start(false)
	if err != nil {
		t.Fatal(err)
	}
	knobs := rehearsal.Knobs{ClockAhead: rehearsal.Duration(8 * time.Hour)}
	if _, err := real.Store().Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Put: knobs}}}); !errors.Is(err, store.ErrNoRehearsal) {
		t.Errorf("a replica that must not rehearse takes knobs: %v", err)
	}
	rev, err := one.Store().Commit(t.Context(), store.Change{Why: "test", Ops: []estate.Op{{Put: knobs}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		h     *house.House
		ahead time.Duration
	}{{"the one that was told", one, 8 * time.Hour}, {"another", two, 8 * time.Hour}, {"one that must not rehearse", real, 0}} {
		if _, err := tt.h.Store().AtLeast(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		if got := time.Until(tt.h.Store().Now()).Round(time.Minute); got != tt.ahead {
			t.Errorf("%s is %s ahead, want %s", tt.name, got, tt.ahead)
		}
	}
	status, body := get(t, realConf.Dir, house.Operator{Authority: real.Authority()}, "", "/readyz?verbose")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "[-]rehearsal failed") {
		t.Errorf("the replica that must not rehearse says %d %s, want that it is not ready", status, body)
	}
	if h, _, err := start(false); err == nil {
		h.Stop()
		t.Error("a house that must not rehearse starts on a store in a rehearsal")
	} else if !strings.Contains(err.Error(), "--end-rehearsal") {
		t.Errorf("error %q does not say what to do", err)
	}
}
