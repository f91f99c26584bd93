package arm_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A side is where a path of the matrix leads: to what is there, to what is not, to
// what another tenant has, or into a subscription that nobody has. Each has names
// of its own, so that answers about them can be compared without them.
type side struct {
	sub  scope.Scope
	name string // of everything that is not named by a GUID
	id   string // of everything else
}

var (
	here   = side{servetest.Subscription, "qHere", number(7001)}
	none   = side{servetest.Subscription, "qNone", number(7002)}
	theirs = side{sub2, "qThem", number(7003)}
	void   = side{scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000009"), "qVoid", number(7004)}
	sides  = []side{here, none, theirs, void}
)

// unnamed takes the names of all sides out of an answer.
func unnamed(text string) string {
	for _, s := range sides {
		text = strings.NewReplacer(s.name, "Name", strings.ToLower(s.name), "name", s.id, "ID", s.sub.Name(), "SUB").Replace(text)
	}
	return text
}

// fill writes the path of a route on a side.
func (s side) fill(path string) string {
	seg := strings.Split(path, "/")
	for i, word := range seg {
		if word != "*" {
			continue
		}
		switch seg[i-1] {
		case "subscriptions":
			seg[i] = s.sub.Name()
		case "providers":
			seg[i] = "microsoft.compute"
		case "provideroperations":
			seg[i] = "microsoft.compute"
		case "locations":
			seg[i] = "westeurope"
		case "accessprofiles":
			seg[i] = "clusterUser"
		case "roledefinitions", "roleassignments", "denyassignments", "operations", "operationresults",
			"roleeligibilityschedulerequests", "roleeligibilityschedules", "roleeligibilityscheduleinstances",
			"roleassignmentschedulerequests", "roleassignmentschedules", "roleassignmentscheduleinstances":
			seg[i] = s.id
		case "identities":
			seg[i] = "default"
		default:
			seg[i] = s.name
		}
	}
	return strings.Join(seg, "/")
}

// paths are those of a route on a side: one, or for what may follow any scope one at
// each sort of place.
func (s side) paths(r arm.Route) []string {
	if !r.Anywhere {
		return []string{s.fill(r.Path)}
	}
	var all []string
	for _, at := range []string{"", "/subscriptions/*", "/subscriptions/*/resourcegroups/*", "/providers/microsoft.management/managementgroups/*",
		"/subscriptions/*/resourcegroups/*/providers/microsoft.containerservice/managedclusters/*",
		"/subscriptions/*/resourcegroups/*/providers/microsoft.containerservice/managedclusters/*/namespaces/dev",
		"/subscriptions/*/resourcegroups/*/providers/microsoft.keyvault/vaults/*"} {
		all = append(all, s.fill(at+r.Path))
	}
	return all
}

// things are one of everything that a route can be about, on a side.
func (s side) things(tenant directory.TenantID, who principal.ID, n int) []record.Record {
	at := func(path string) scope.Scope { return scope.MustParse(s.fill(path)) }
	group, cluster := at("/subscriptions/*/resourcegroups/*"), at("/subscriptions/*/resourcegroups/*/providers/microsoft.containerservice/managedclusters/*")
	id := func(kind int) string { return fmt.Sprintf("63000000-0000-4000-8000-%06d%06d", n, kind) }
	app := directory.AppID(servetest.ID(id(1)))
	all := []record.Record{
		resource.ManagementGroup{Scope: at("/providers/microsoft.management/managementgroups/*"), Name: s.name, Tenant: tenant},
		resource.Group{Scope: group, Name: s.name, Location: "westeurope"},
		resource.Cluster{Scope: cluster, Name: s.name, ResourceGroup: s.name, Tenant: tenant, EntraSignIn: true, AzureRBAC: true, Attached: true},
		directory.ManagedIdentity{ID: servetest.ID(id(2)), ClientID: app, Tenant: tenant, DisplayName: s.name,
			Resource: at("/subscriptions/*/resourcegroups/*/providers/microsoft.managedidentity/userassignedidentities/*")},
		directory.FederatedCredential{Owner: app, Name: s.name, Issuer: "https://issuer.example/", Subject: "s", Audiences: []string{"a"}},
		azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(s.id)), Scope: group, Principal: who, Role: servetest.Reader},
		azurerbac.DenyAssignment{ID: azurerbac.DenyAssignmentID(servetest.ID(s.id)), Name: s.name, Scope: cluster, Principals: []principal.ID{servetest.ID(id(2))},
			Permissions: []azurerbac.Permission{{Actions: []string{"Microsoft.Compute/disks/delete"}}}},
		azurerbac.Definition{ID: role(s.id), RoleName: s.name, AssignableScopes: []scope.Scope{s.sub}, Permissions: []azurerbac.Permission{{Actions: []string{"*/read"}}}},
		azurerbac.Eligibility{ID: azurerbac.EligibilityID(servetest.ID(s.id)), Scope: group, Principal: who, Role: servetest.Reader},
		azurerbac.Request{ID: azurerbac.RequestID(servetest.ID(s.id)), ForEligibility: true, Type: azurerbac.AdminAssign, Status: azurerbac.Provisioned, Scope: group, Principal: who, Role: servetest.Reader, RequestedBy: who},
		azurerbac.Policy{Scope: group, Role: servetest.Reader, Rules: []azurerbac.Rule{{ID: "Expiration_Admin_Eligibility"}}, UpdatedBy: who},
	}
	seen := make(map[string]bool)
	for _, r := range arm.Routes() {
		if r.Kind == "resourceOfType" && !seen[r.Path] {
			seen[r.Path] = true
			sc := at(r.Path)
			all = append(all, resource.Other{Scope: sc, Name: s.name, Type: arm.TypeName(sc.Type()), Location: "westeurope"})
		}
	}
	return all
}

// bodyOf is what a request of a route says, so that it is refused for who sends it
// and not for what it says.
func bodyOf(r arm.Route) string {
	switch {
	case r.Method == "GET" || r.Method == "HEAD" || r.Method == "DELETE":
		return ""
	case r.Kind == "roleAssignment":
		return assign(servetest.Reader.String(), servetest.Faye, "")
	case strings.HasPrefix(r.Kind, "roleEligibilityScheduleRequest"), strings.HasPrefix(r.Kind, "roleAssignmentScheduleRequest"):
		return wish("AdminAssign", servetest.Reader.String(), servetest.Faye, lasting("P30D"))
	case r.Kind == "roleDefinition":
		return `{"properties":{"roleName":"new","permissions":[{"actions":["*/read"]}],"assignableScopes":["` + servetest.Group.String() + `"]}}`
	case r.Kind == "checkaccess":
		return `{"Subject":{"Attributes":{"ObjectId":"` + servetest.Jet.String() + `"}},"Actions":[{"Id":"Microsoft.Compute/disks/read"}]}`
	case r.Kind == "checkNameAvailability":
		return `{"name":"abcdef","type":"Microsoft.Compute/disks"}`
	case r.Kind == "federatedIdentityCredential":
		return `{"properties":{"issuer":"https://issuer.example/","subject":"s2","audiences":["a"]}}`
	}
	return `{"location":"westeurope","properties":{}}`
}

// A matrix is a house with one of everything in two tenants.
type matrix struct {
	*house
	foreign token.SigningKey // of the other tenant
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{}
	now := time.Now()
	var err error
	if m.foreign, err = token.GenerateKey(servetest.Tenant2, token.AccessToken, token.ES256, now.Add(-time.Hour), now.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	m.house = newHouse(t, func(c *arm.Config) {
		c.Keys = func() token.KeySet {
			set, err := token.NewKeySet(m.key.Key, m.foreign.Key)
			if err != nil {
				t.Error(err)
			}
			return set
		}
	})
	m.put(here.things(servetest.Tenant, servetest.Jet, 1)...)
	m.put(theirs.things(servetest.Tenant2, servetest.Vicious, 2)...)
	return m
}

func (m *matrix) claims(who principal.ID, change func(*token.Claims)) token.Claims {
	now := time.Now().Truncate(time.Second)
	c := token.Claims{
		Version: token.V1, Use: token.AccessToken, Issuer: issuer(servetest.Tenant), Audience: "https://management.azure.com/",
		Subject: "s", Tenant: servetest.Tenant, ObjectID: who, ID: "u", IssuedAt: now, NotBefore: now, Expires: now.Add(time.Hour),
		AppID: directory.AppID(servetest.ID("04b07795-8ddb-461a-bbee-02f9e1bf7b46")), AppAuth: "0",
	}
	if change != nil {
		change(&c)
	}
	return c
}

func (m *matrix) sign(key token.SigningKey, c token.Claims) string {
	m.t.Helper()
	raw, err := token.Sign(key, c, "JWT")
	if err != nil {
		m.t.Fatal(err)
	}
	return raw
}

func (m *matrix) alien() string {
	return m.sign(m.foreign, m.claims(alien, func(c *token.Claims) { c.Tenant, c.Issuer = servetest.Tenant2, issuer(servetest.Tenant2) }))
}

// ask sends a request of a route, and says how often it was asked.
func (m *matrix) ask(raw string, r arm.Route, path string) reply {
	m.t.Helper()
	got := m.bearing(raw, r.Method, path+version, bodyOf(r))
	if got.status >= 500 {
		m.t.Errorf("%s %s: %d %s", r.Method, path, got.status, got.text)
	}
	return got
}

func (m *matrix) unchanged(before int64) {
	m.t.Helper()
	if after := m.store.Current().Revision(); after != before {
		m.t.Errorf("what was refused changed the estate: revision %d, before %d", after, before)
	}
}

// ARM-07: whoever the house does not know is told one thing at every path and method
// that there is, and at those that there are not: nothing.
func TestEveryRouteRefusesWhoIsNobody(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	gone := directory.User{ID: principal.ID(guid.New[struct{}]()), Tenant: servetest.Tenant, UserPrincipalName: "gone@teknews.cloud"}
	strange, err := token.GenerateKey(servetest.Tenant, token.AccessToken, token.ES256, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	before := m.store.Current().Revision()
	for law, raw := range map[string]string{
		"without a token":                  "",
		"no token at all":                  "x",
		"for Graph":                        m.sign(m.key, m.claims(root, func(c *token.Claims) { c.Audience = "https://graph.microsoft.com/" })),
		"for the house itself":             m.sign(m.key, m.claims(root, func(c *token.Claims) { c.Audience = "api://gatehouse" })),
		"of another issuer":                m.sign(m.key, m.claims(root, func(c *token.Claims) { c.Issuer = issuer(servetest.Tenant2) })),
		"by another tenant's key":          m.sign(m.foreign, m.claims(root, func(c *token.Claims) { c.Tenant, c.Issuer = servetest.Tenant2, issuer(servetest.Tenant2) })),
		"by another tenant's key, as ours": m.sign(m.foreign, m.claims(root, func(c *token.Claims) { c.Tenant = servetest.Tenant2 })),
		"by a key that nobody has":         m.sign(strange, m.claims(root, nil)),
		"for somebody of another tenant":   m.sign(m.key, m.claims(alien, nil)),
		"of an hour ago": m.sign(m.key, m.claims(root, func(c *token.Claims) {
			c.IssuedAt, c.NotBefore, c.Expires = c.IssuedAt.Add(-2*time.Hour), c.NotBefore.Add(-2*time.Hour), c.Expires.Add(-2*time.Hour)
		})),
		"of tomorrow":                      m.sign(m.key, m.claims(root, func(c *token.Claims) { c.NotBefore = c.NotBefore.Add(30 * time.Minute) })),
		"for somebody who is disabled":     m.sign(m.key, m.claims(servetest.Spike, nil)),
		"for somebody who is deleted":      m.sign(m.key, m.claims(gone.ID, nil)),
		"with a signature of other claims": m.sign(m.key, m.claims(root, nil)) + "A",
	} {
		answers := make(map[string]string)
		for _, r := range append(arm.Routes(), arm.Route{Method: "GET", Path: "/nothing"}, arm.Route{Method: "BREW", Path: "/subscriptions"}, arm.Route{Method: "GET", Path: "/..%2f"}) {
			path := here.paths(r)[0]
			got := m.ask(raw, r, path)
			if got.status != 401 || got.header.Get("WWW-Authenticate") == "" {
				t.Fatalf("%s: %s %s is answered %d %s", law, r.Method, path, got.status, got.text)
			}
			if r.Method != "HEAD" {
				answers[got.text] = r.Method + " " + path
			}
		}
		if len(answers) != 1 {
			t.Errorf("%s: nobody tells %d answers apart: %v", law, len(answers), answers)
		}
	}
	m.unchanged(before)
}

// open are the kinds and methods that a member of the tenant without any role is
// answered, and why. All that is not here must be refused him: a new route is shut
// until somebody has thought of it.
var open = map[string]string{
	"tenants GET":              "his own tenant",
	"subscriptions GET":        "those that he has a role in: none",
	"providers GET":            "what the house can do is the same for everybody",
	"provider GET":             "the same",
	"operations GET":           "the same",
	"providerOperations GET":   "the same",
	"providerOperationsOf GET": "the same",
	"locations GET":            "the same",
	"kubernetesVersions GET":   "the same",
	"permissions GET":          "his own: none",
	"managementGroups GET":     "those that he may read: none",
	"getEntities POST":         "those that he has something in: none",
}

// ARM-07: who has no right is refused at every route, with the same words whether
// there is what he asks for or not.
func TestEveryRouteRefusesWhoMayNot(t *testing.T) { // ARM-18
	t.Parallel()
	m := newMatrix(t)
	m.put(directory.User{ID: servetest.ID(number(7005)), Tenant: servetest.Tenant, UserPrincipalName: "plain@teknews.cloud"})
	before := m.store.Current().Revision()
	plain := m.token(servetest.ID(number(7005)), "https://management.azure.com/")
	used := make(map[string]bool)
	refused := 0
	for _, r := range arm.Routes() {
		mine, absent := here.paths(r), none.paths(r)
		for i := range mine {
			there, nowhere := m.ask(plain, r, mine[i]), m.ask(plain, r, absent[i])
			if there.status != nowhere.status || unnamed(there.text) != unnamed(nowhere.text) {
				t.Errorf("%s %s: who may not tells what is there from what is not:\n %d %s\n %d %s", r.Method, mine[i], there.status, there.text, nowhere.status, nowhere.text)
			}
			key := r.Kind + " " + strings.Replace(r.Method, "HEAD", "GET", 1)
			if open[key] != "" && there.status < 300 {
				used[key] = true
				if strings.Contains(there.text, here.name) || strings.Contains(there.text, here.sub.Name()) && !strings.Contains(mine[i], here.sub.Name()) {
					t.Errorf("%s %s: he is shown %s", r.Method, mine[i], there.text)
				}
				continue
			}
			if there.status == 404 && strings.Contains(strings.ToLower(r.Kind), "operation") {
				continue // work is for who may see what it is about, see TestOperations
			}
			if there.status != 403 || r.Method != "HEAD" && there.code() != "AuthorizationFailed" && there.code() != "LinkedAuthorizationFailed" {
				t.Errorf("%s %s (%s): who may not is answered %d %.300s", r.Method, mine[i], r.Kind, there.status, there.text)
			}
			refused++
		}
	}
	if refused < 300 {
		t.Errorf("only %d routes were refused", refused)
	}
	for _, key := range slices.Sorted(maps.Keys(open)) {
		if !used[key] {
			t.Errorf("%s is said to be open and is not", key)
		}
	}
	m.unchanged(before)
}

// ARM-07: what another tenant has is to an Owner of everything as what nobody has,
// at every route and method, in both directions.
func TestEveryRouteHidesOtherTenants(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	before := m.store.Current().Revision()
	rootToken, alienToken := m.token(root, "https://management.azure.com/"), m.alien()
	for _, r := range arm.Routes() {
		if r.Kind == "managementGroup" && r.Method == "PUT" {
			continue // names of management groups are one space: who makes one learns that its name is taken
		}
		for _, tt := range []struct {
			who    string
			raw    string
			of     side
			canary []string
		}{
			{"the Owner of everything", rootToken, theirs, []string{theirs.name, sub2.Name(), servetest.Vicious.String(), "fabrikam"}},
			{"the other tenant's Owner of everything", alienToken, here, []string{here.name, servetest.Jet.String(), "teknews"}},
		} {
			foreign, absent := tt.of.paths(r), void.paths(r)
			for i, path := range foreign {
				if !strings.Contains(path, tt.of.sub.Name()) && !strings.Contains(path, tt.of.name) && r.Method != "GET" {
					continue // what all tenants share, or have of their own: a change of it is his own
				}
				got, nothing := m.ask(tt.raw, r, path), m.ask(tt.raw, r, absent[i])
				if got.status != nothing.status || unnamed(got.text) != unnamed(nothing.text) {
					t.Errorf("%s %s: %s tells what another tenant has from what nobody has:\n %d %.300s\n %d %.300s", r.Method, path, tt.who, got.status, got.text, nothing.status, nothing.text)
				}
				if got.status < 300 && strings.Contains(path, tt.of.sub.Name()) {
					t.Errorf("%s %s: %s is answered %d %.300s", r.Method, path, tt.who, got.status, got.text)
				}
				for _, secret := range tt.canary {
					if bytes.Contains([]byte(got.text), []byte(secret)) && !strings.Contains(path, secret) {
						t.Errorf("%s %s: %s is shown %s: %.600s", r.Method, path, tt.who, secret, got.text)
					}
				}
			}
		}
	}
	m.unchanged(before)
}
