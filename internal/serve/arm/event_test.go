package arm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

type eventList struct {
	Value []struct {
		Caller, CorrelationID, EventDataID, EventTimestamp, ID, ResourceGroupName, ResourceID, SubscriptionID, Level, Description string
		Category, OperationName, Status, ResourceProviderName                                                                     struct{ Value string }
		Properties                                                                                                                map[string]string
	}
	NextLink string
}

const fromTheStart = "eventTimestamp ge 2020-01-01T00:00:00 and eventTimestamp le 2099-01-01T00:00:00"

// eventPage is a page of the activity log.
func (h *house) eventPage(who principal.ID, sub scope.Scope, filter, more string) (eventList, reply) {
	h.t.Helper()
	return h.eventsAt(who, sub.String()+"/providers/Microsoft.Insights/eventtypes/management/values?api-version=2015-04-01&$filter="+url.QueryEscape(filter)+more)
}

func (h *house) eventsAt(who principal.ID, path string) (eventList, reply) {
	h.t.Helper()
	got := h.call(who, "GET", path, "")
	var list eventList
	if got.status == 200 {
		if err := json.Unmarshal([]byte(got.text), &list); err != nil {
			h.t.Fatal(err)
		}
	}
	return list, got
}

// lines are the events of all pages, one a line.
func (h *house) events(who principal.ID, sub scope.Scope, filter string) (lines []string) {
	h.t.Helper()
	list, got := h.eventPage(who, sub, filter, "")
	for {
		if got.status != 200 {
			h.t.Fatalf("%s: %d %s", filter, got.status, got.text)
		}
		for _, e := range list.Value {
			lines = append(lines, strings.TrimSpace(e.Caller+" "+e.OperationName.Value+" "+e.ResourceID[strings.LastIndexByte(e.ResourceID, '/')+1:]))
		}
		if list.NextLink == "" {
			return lines
		}
		list, got = h.eventsAt(who, strings.TrimPrefix(list.NextLink, "https://management.azure.com"))
	}
}

// What is changed is in the activity log at once, newest first, under its real
// operation; each filter of az holds.
func TestTheActivityLogTellsChanges(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	group := servetest.Group.String()
	began := time.Now().UTC().Format("2006-01-02T15:04:05.999999")
	id := group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/Log-Id"
	h.walk([]step{
		{"an identity", contrib, "PUT", id, `{"location":"westeurope"}`, 201, ""},
		{"its credential", root, "PUT", id + "/federatedIdentityCredentials/git", `{"properties":{"issuer":"https://ci.example","subject":"s","audiences":["a"]}}`, 201, ""},
		{"a role", root, "PUT", group + provider + "/roleAssignments/" + number(901), assign(servetest.Reader.String(), servetest.Faye, ""), 201, ""},
		{"it is taken back", root, "DELETE", group + provider + "/roleAssignments/" + number(901), "", 200, ""},
		{"a vault", contrib, "PUT", group + "/providers/Microsoft.KeyVault/vaults/logvault", `{"location":"westeurope","properties":{"tenantId":"` + servetest.Tenant.String() + `","sku":{"family":"A","name":"standard"}}}`, 201, ""},
		{"a group elsewhere", contrib, "PUT", servetest.Subscription.String() + "/resourceGroups/Elsewhere", `{"location":"westeurope"}`, 201, ""},
	})
	const id2 = "Log-Id"
	all := []string{
		"contrib@teknews.cloud Microsoft.Resources/subscriptions/resourceGroups/write Elsewhere",
		"contrib@teknews.cloud Microsoft.KeyVault/vaults/write logvault",
		"root@teknews.cloud Microsoft.Authorization/roleAssignments/delete " + number(901),
		"root@teknews.cloud Microsoft.Authorization/roleAssignments/write " + number(901),
		"root@teknews.cloud Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write git",
		"contrib@teknews.cloud Microsoft.ManagedIdentity/userAssignedIdentities/write " + id2,
	}
	since := "eventTimestamp ge " + began + " and eventTimestamp le 2099-01-01T00:00:00"
	list, _ := h.eventPage(root, servetest.Subscription, since, "")
	if len(list.Value) != len(all) {
		t.Fatalf("%d events, want %d", len(list.Value), len(all))
	}
	for filter, want := range map[string][]string{
		since: all,
		strings.Replace(since, began, "'"+began+"Z'", 1):                                         all,
		"eventTimestamp ge '" + began + "Z'":                                                     all,
		since + " and resourceGroupName eq 'WEB'":                                                all[1:],
		since + " and resourceId eq '" + id + "'":                                                all[4:],
		since + " and resourceUri eq '" + strings.ToUpper(id[1:]) + "'":                          nil, // filled in below
		since + " and caller eq 'root@teknews.cloud'":                                            all[2:5],
		since + " and caller eq '" + contrib.String() + "'":                                      {all[0], all[1], all[5]},
		since + " and resourceProvider eq 'microsoft.keyvault'":                                  all[1:2],
		since + " and status eq 'Succeeded'":                                                     all,
		since + " and status eq 'Failed'":                                                        nil,
		since + " and correlationId eq '" + list.Value[2].CorrelationID + "'":                    all[2:3],
		"eventTimestamp ge 2020-01-01T00:00:00 and eventTimestamp le 2020-01-02":                 nil,
		"eventTimestamp ge 2099-01-01T00:00:00Z and eventTimestamp le '2099-01-02T00:00:00.5Z' ": nil,
	} {
		if strings.Contains(filter, "resourceUri") {
			filter, want = since+" and resourceUri eq '"+strings.ToUpper(id)+"'", all[4:]
		}
		if diff := cmp.Diff(want, h.events(root, servetest.Subscription, filter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filter, diff)
		}
	}
	e := list.Value[3]
	if e.Category.Value != "Administrative" || e.ResourceGroupName != "web" || e.ResourceID != "/subscriptions/"+servetest.Subscription.Name()+"/resourceGroups/web"+provider+"/roleAssignments/"+number(901) ||
		e.SubscriptionID != servetest.Subscription.Name() || !strings.HasPrefix(e.ID, e.ResourceID+"/events/"+e.EventDataID+"/ticks/6") {
		t.Errorf("%+v", e)
	}
	got, _ := h.eventPage(root, servetest.Subscription, since, "&$select="+url.QueryEscape("caller , eventTimestamp"))
	if one := got.Value[0]; one.Caller == "" || one.EventTimestamp == "" || one.ID != "" || one.OperationName.Value != "" {
		t.Errorf("$select: %+v", one)
	}
	for _, bad := range []string{"", "caller eq 'x'", "eventTimestamp ge soon", since + " and eventTimestamp ge 2020-01-01", since + " and level eq 'x'", since + " or caller eq 'x'", "eventTimestamp gt 2020-01-01",
		since + " and resourceId eq '" + sub2.String() + "/resourceGroups/theirs'", since + " and resourceGroupName eq 'a/b'", since + " and resourceGroupName eq 'web' and resourceId eq '" + servetest.Subscription.String() + "/resourceGroups/other'"} {
		if _, got := h.eventPage(root, servetest.Subscription, bad, ""); got.status != 400 {
			t.Errorf("%q: %d %s", bad, got.status, got.text)
		}
	}
	for _, token := range []string{"x", "YWN0aXZpdHlMb2cKMA", "YWN0aXZpdHlMb2cKeA"} { // the last two are 0 and x
		if _, got := h.eventPage(root, servetest.Subscription, since, "&$skipToken="+token); got.status != 400 {
			t.Errorf("$skipToken %q: %d %s", token, got.status, got.text)
		}
	}
}

// ARM-07: who may not read a place is told nothing of it, and nobody anything of
// another tenant.
func TestWhoMayReadTheActivityLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.put(resource.Group{Scope: scope.MustParse(servetest.Subscription.String() + "/resourceGroups/apart"), Name: "apart", Location: "westeurope"})
	for law, tt := range map[string]struct {
		who    principal.ID
		sub    scope.Scope
		filter string
		status int
		code   string
	}{
		"who has no role":                             {servetest.Jet, servetest.Subscription, fromTheStart, 403, "AuthorizationFailed"},
		"who has no role, and asks nonsense":          {servetest.Jet, servetest.Subscription, "", 403, "AuthorizationFailed"},
		"the owner of a group, of all":                {ownerRG, servetest.Subscription, fromTheStart, 403, "AuthorizationFailed"},
		"the owner of a group, of his":                {ownerRG, servetest.Subscription, fromTheStart + " and resourceGroupName eq 'web'", 200, ""},
		"the owner of a group, of another":            {ownerRG, servetest.Subscription, fromTheStart + " and resourceGroupName eq 'apart'", 403, "AuthorizationFailed"},
		"the owner of a group, of one not there":      {ownerRG, servetest.Subscription, fromTheStart + " and resourceGroupName eq 'none'", 403, "AuthorizationFailed"},
		"an owner, of another tenant's subscription":  {root, sub2, fromTheStart, 404, "SubscriptionNotFound"},
		"an owner, of a subscription that nobody has": {root, scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000009"), fromTheStart, 404, "SubscriptionNotFound"},
	} {
		if _, got := h.eventPage(tt.who, tt.sub, tt.filter, ""); got.status != tt.status || got.code() != tt.code {
			t.Errorf("%s: %d %s", law, got.status, got.text)
		}
	}
	for _, line := range h.events(ownerRG, servetest.Subscription, fromTheStart+" and resourceGroupName eq 'web'") {
		if strings.Contains(line, "apart") || strings.Contains(line, "theirs") {
			t.Errorf("the owner of web reads %s", line)
		}
	}
	list, _ := h.eventPage(root, servetest.Subscription, fromTheStart, "")
	for _, e := range list.Value {
		if !strings.HasPrefix(e.ResourceID, servetest.Subscription.String()) {
			t.Errorf("an event of %s", e.ResourceID)
		}
	}
}

// Story 25: the identity of a cluster outside of the cluster is an event of category
// Security, found by the cluster, its group and the identity.
func TestAlertsAreInTheActivityLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const types = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
	group := servetest.Group.String()
	h.walk([]step{{"an identity", contrib, "PUT", group + types + "/aks-1-agentpool", `{"location":"westeurope"}`, 201, ""}})
	mi, _ := h.store.Current().IdentityAt(scopeOf(group + types + "/aks-1-agentpool"))
	c, _ := h.store.Current().Cluster(servetest.AKS1)
	c.KubeletIdentity = resource.IdentityRef{Resource: mi.Resource, Object: mi.ID}
	h.put(c)
	a, _ := alert.FromIssuer(h.store.Current(), mi.ID, "https://ci.example", "repo:x")
	if err := h.store.Alert(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	h.walk([]step{{"a credential", root, "PUT", group + types + "/aks-1-agentpool/federatedIdentityCredentials/git", `{"properties":{"issuer":"https://ci.example","subject":"repo:y","audiences":["a"]}}`, 201, ""}})
	for _, place := range []string{"", " and resourceGroupName eq 'web'", " and resourceId eq '" + servetest.AKS1.String() + "'", " and resourceId eq '" + mi.Resource.String() + "'"} {
		list, _ := h.eventPage(root, servetest.Subscription, fromTheStart+place, "")
		var got []string
		for _, e := range list.Value {
			if e.Category.Value != "Security" {
				continue
			}
			got = append(got, fmt.Sprintf("%s %s %s %s %s %s", e.Caller, e.OperationName.Value, e.Status.Value, e.Properties["way"], e.Properties["from"], e.Properties["detail"]))
			if !strings.EqualFold(e.Properties["compromisedEntity"], mi.Resource.String()) || !strings.Contains(e.ResourceID, "/providers/Microsoft.Security/locations/") || e.Level != "Warning" {
				t.Errorf("%+v", e)
			}
		}
		want := []string{
			"root@teknews.cloud Microsoft.Security/locations/alerts/activate/action Active federated credential written https://ci.example git: repo:y",
			" Microsoft.Security/locations/alerts/activate/action Active federated credential https://ci.example repo:x",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", place, diff)
		}
	}
}

// A long log comes in pages of bounded size, each event once.
func TestTheActivityLogComesInPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.put(resource.Group{Scope: scopeOf(servetest.Group.String()), Name: "web", Location: "westeurope"})
	before := len(h.events(root, servetest.Subscription, fromTheStart))
	for i := range 450 {
		h.put(directory.ManagedIdentity{ID: principal.ID{9, byte(i >> 8), byte(i)}, ClientID: directory.AppID{9, byte(i >> 8), byte(i)}, Tenant: servetest.Tenant, DisplayName: fmt.Sprintf("page-%03d", i), Location: "westeurope",
			Resource: scope.MustParse(fmt.Sprintf("%s/providers/Microsoft.ManagedIdentity/userAssignedIdentities/page-%03d", servetest.Group, i))})
	}
	list, _ := h.eventPage(root, servetest.Subscription, fromTheStart, "")
	if len(list.Value) != 200 || list.NextLink == "" {
		t.Errorf("the first page has %d events, and the link %q", len(list.Value), list.NextLink)
	}
	all := h.events(root, servetest.Subscription, fromTheStart)
	if len(all) != before+450 || !strings.HasSuffix(all[0], "page-449") || !strings.HasSuffix(all[449], "page-000") {
		t.Errorf("%d events, want %d, from %s to %s", len(all), before+450, all[0], all[449])
	}
	slices.Sort(all[:450])
	if got := len(slices.Compact(all[:450])); got != 450 {
		t.Errorf("%d of 450 are different", got)
	}
	// Other things happen in between, and many of them.
	for range 2_100 {
		if _, err := h.store.Commit(context.Background(), store.Change{Why: "a secret", Private: []store.PrivateOp{{Bucket: "b", ID: []string{"x"}, Value: []byte("v")}}}); err != nil {
			t.Fatal(err)
		}
	}
	if list, _ := h.eventPage(root, servetest.Subscription, fromTheStart, ""); len(list.Value) != 0 || list.NextLink == "" {
		t.Errorf("after 2,100 other records: %d events, link %q", len(list.Value), list.NextLink)
	}
	if got := h.events(root, servetest.Subscription, fromTheStart); len(got) != before+450 {
		t.Errorf("all pages have %d events, want %d", len(got), before+450)
	}
}
