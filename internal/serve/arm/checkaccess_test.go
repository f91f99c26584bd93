package arm_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

const (
	aks   = "Microsoft.ContainerService/managedClusters/"
	first = "?api-version=2018-09-01-preview"
	pdp   = "/providers/Microsoft.Authorization/checkAccess?api-version=2021-06-01-preview"
)

// check is the body of a question about one operation.
func check(who principal.ID, at, action, more string) string {
	return `{"Subject":{"Attributes":{"ObjectId":"` + who.String() + `","Groups":["` + servetest.Admins.String() + `"]}},"Actions":[{"Id":"` + action + `"` + more + `}],"Resource":{"Id":"` + at + `"}}`
}

func TestConditionsAskWhatTheAskerSays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	limited := azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(number(60))), Scope: servetest.AKS1, Principal: servetest.Robot, Role: servetest.Writer, ConditionVersion: "2.0"}
	custom := azurerbac.Definition{ID: role(number(61)), RoleName: "Custom resources", AssignableScopes: []scope.Scope{servetest.Subscription},
		Permissions: []azurerbac.Permission{{DataActions: []string{aks + "customresources/read"}}}}
	limited.Role = custom.ID
	limited.Condition = "@Request[" + aks + "customResources:group] StringEqualsIgnoreCase 'secrets-store.csi.x-k8s.io' AND @Request[" + aks + "customResources:kind] StringEqualsIgnoreCase 'secretproviderclasses'"
	h.put(custom, limited)
	path := servetest.AKS1.String() + provider + "/checkaccess" + first
	attributes := func(group, kind string) string {
		return `,"IsDataAction":true,"Attributes":{"` + aks + `customResources:group":"` + group + `","` + aks + `customResources:kind":` + kind + `}`
	}
	for _, tt := range []struct{ name, more, want string }{
		{"the right ones", attributes("secrets-store.csi.x-k8s.io", `"secretproviderclasses"`), "Allowed"},
		{"another kind", attributes("secrets-store.csi.x-k8s.io", `"secrets"`), "NotAllowed"},
		{"none", `,"IsDataAction":true,"Attributes":null`, "NotAllowed"},
		{"one of two", `,"IsDataAction":true,"Attributes":{"` + aks + `customResources:group":"secrets-store.csi.x-k8s.io"}`, "NotAllowed"},
		{"one that is no text", attributes("secrets-store.csi.x-k8s.io", `{}`), "BadRequest"},
	} {
		got := h.call(root, "POST", path, check(servetest.Robot, servetest.AKS1.String(), aks+"customresources/read", tt.more))
		if !strings.Contains(got.text, `"`+tt.want+`"`) {
			t.Errorf("%s: %d %s, want %s", tt.name, got.status, got.text, tt.want)
		}
	}
}

// AZ-27: one too many, or one that is none, and nothing is answered.
func TestBatchesAreAnsweredWholeOrNot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	path := servetest.AKS1.String() + provider + "/checkaccess" + first
	body := func(n int, more string) string {
		return `{"Subject":{"Attributes":{"ObjectId":"` + servetest.Jet.String() + `"}},"Actions":[` + strings.Repeat(`{"Id":"`+aks+`pods/read","IsDataAction":true},`, n) + `{"Id":"` + aks + `pods/read"` + more + `}]}`
	}
	for _, tt := range []struct {
		n    int
		more string
		want int
	}{
		{199, "", 200}, {200, "", 400}, {1, `,"Attributes":{"a":[1]}`, 400}, {1, `,"IsDataAction":"yes"`, 400},
	} {
		got := h.call(servetest.Jet, "POST", path, body(tt.n, tt.more))
		var list []any
		if got.status != tt.want || got.status == 200 && (json.Unmarshal([]byte(got.text), &list) != nil || len(list) != tt.n+1) {
			t.Errorf("%d with %q: %d, %d answers, want %d", tt.n+1, tt.more, got.status, len(list), tt.want)
		}
	}
}

func TestTheSecondVersionOfCheckAccess(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	raw := h.token(servetest.Jet, "https://authorization.azure.net/")
	pods := check(servetest.Jet, servetest.AKS1.String()+"/namespaces/dev", aks+"pods/read", "")
	got := h.bearing(raw, "POST", pdp, pods)
	var answer struct {
		Value []struct{ AccessDecision, ActionID string }
	}
	if err := json.Unmarshal([]byte(got.text), &answer); err != nil || got.status != 200 || len(answer.Value) != 1 || answer.Value[0].AccessDecision != "Allowed" {
		t.Errorf("%d %s: %v", got.status, got.text, err)
	}
	// JWT-14: the token is good for this alone, and others are as good as before.
	if got := h.bearing(raw, "GET", "/subscriptions"+version, ""); got.status != 401 {
		t.Errorf("a token for questions opened %d %s", got.status, got.text)
	}
	if got := h.call(servetest.Jet, "POST", pdp, pods); got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
	if got := h.bearing(h.token(servetest.Robot, "https://authorization.azure.net"), "POST", pdp, pods); got.status != 403 {
		t.Errorf("a question about another: %d %s", got.status, got.text)
	}
}

// AZ-30: the same question as a request to a cluster, through checkaccess, and held
// against the caller's permissions, over random assignments; and AZ-29, the
// explanation agrees.
func TestEveryWayToAskAgrees(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	rnd := rand.New(rand.NewPCG(7, 7))
	places := []scope.Scope{servetest.Subscription, servetest.Group, servetest.AKS1, scopeOf(servetest.AKS1.String() + "/namespaces/dev"), scopeOf(servetest.AKS1.String() + "/namespaces/dev2"), servetest.AKS2}
	roles := []string{servetest.Reader.String(), servetest.Writer.String(), "3498e952-d568-435e-9b2c-8d77e338d7f7", "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b", contributor, "acdd72a7-3385-48ef-bd42-f606fba81ae7"}
	var people []principal.ID
	var records []record.Record
	for i := range 12 {
		id := servetest.ID(fmt.Sprintf("21000000-0000-4000-8000-%012d", i))
		people = append(people, id)
		records = append(records, directory.User{ID: id, Tenant: servetest.Tenant, UserPrincipalName: fmt.Sprintf("p%d@teknews.cloud", i)})
		if rnd.IntN(2) == 0 {
			records = append(records, directory.Membership{Group: servetest.DevTeam, Member: id})
		}
		given := make(map[string]bool)
		for j := range rnd.IntN(3) {
			at, what := places[rnd.IntN(len(places))], roles[rnd.IntN(len(roles))]
			if key := at.String() + what; !given[key] {
				given[key] = true
				records = append(records, azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(fmt.Sprintf("63000000-0000-4000-8000-%010d%02d", i, j))), Scope: at, Principal: id, Role: role(what)})
			}
		}
	}
	h.put(records...)
	asked, allowed := 0, 0
	for _, who := range people {
		for _, ns := range []string{"", "dev", "dev2"} {
			at := servetest.AKS1
			if ns != "" {
				at = scopeOf(at.String() + "/namespaces/" + ns)
			}
			permissions := h.permissions(who, at)
			for _, q := range []struct {
				kube   kuberbac.Attributes
				action string
			}{
				{kuberbac.Attributes{Verb: "get", Resource: "pods", Namespace: ns}, "pods/read"},
				{kuberbac.Attributes{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: ns}, "pods/exec/action"},
				{kuberbac.Attributes{Verb: "patch", APIGroup: "apps", Resource: "deployments", Namespace: ns}, "apps/deployments/write"},
				{kuberbac.Attributes{Verb: "list", Resource: "secrets", Namespace: ns}, "secrets/read"},
				{kuberbac.Attributes{Verb: "delete", APIGroup: "rbac.authorization.k8s.io", Resource: "roles", Namespace: ns}, "rbac.authorization.k8s.io/roles/delete"},
			} {
				est := h.store.Current()
				req := decide.Request{Who: decide.Subject{ID: who}, Scope: servetest.AKS1, Kube: q.kube, Only: decide.Azure, Now: time.Now()}
				byKube := decide.Decide(est, req).Effect == decide.Allow
				byWhy := decide.Explain(est, req).Decision.Effect == decide.Allow
				got := h.call(who, "POST", at.String()+provider+"/checkaccess"+first, check(who, at.String(), aks+q.action, `,"IsDataAction":true`))
				byAPI := strings.Contains(got.text, `"accessDecision":"Allowed"`)
				byList := slices.ContainsFunc(permissions, func(c azurerbac.Compiled) bool { return c.Covers([]byte(strings.ToLower(aks+q.action)), true) })
				asked++
				if byKube {
					allowed++
				}
				if byKube != byAPI || byKube != byList || byKube != byWhy {
					t.Errorf("%s in %q %s: review %t, explanation %t, checkaccess %t, permissions %t: %s", who, ns, q.action, byKube, byWhy, byAPI, byList, got.text)
				}
			}
		}
	}
	if allowed < asked/10 || allowed > asked*9/10 {
		t.Errorf("%d of %d allowed: the questions are too easy", allowed, asked)
	}
}

// permissions reads what somebody has at a place, ready to be asked.
func (h *house) permissions(who principal.ID, at scope.Scope) []azurerbac.Compiled {
	h.t.Helper()
	got := h.call(who, "GET", at.String()+provider+"/permissions"+version, "")
	var list struct{ Value []azurerbac.Permission }
	if err := json.Unmarshal([]byte(got.text), &list); err != nil || got.status != 200 {
		h.t.Fatalf("%d %s: %v", got.status, got.text, err)
	}
	if len(list.Value) == 0 {
		return nil
	}
	compiled, err := azurerbac.Compile(azurerbac.Definition{Permissions: list.Value})
	if err != nil {
		h.t.Fatal(err)
	}
	return compiled.Permissions
}
