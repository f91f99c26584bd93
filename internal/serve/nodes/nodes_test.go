package nodes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

const (
	house  = "https://house.example"
	issuer = "https://issuer.example/c1/"
	other  = "https://issuer.example/c2/"
)

func idOf[T ~[16]byte](text string) T { return T(guid.MustParse[struct{}](text)) }

func identityAt(n, name string) directory.ManagedIdentity {
	return directory.ManagedIdentity{ID: servetest.ID("42000000-0000-4000-8000-0000000000" + n), ClientID: idOf[directory.AppID]("43000000-0000-4000-8000-0000000000" + n), Tenant: servetest.Tenant,
		DisplayName: name, Resource: scope.MustParse(servetest.Group.String() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name)}
}

var (
	kubelet  = identityAt("10", "kubelet")
	blue     = identityAt("11", "blue")
	red      = identityAt("12", "red") // which the cluster may not assign
	addon    = identityAt("13", "addon")
	noAddon  = identityAt("14", "noaddon")
	operator = azurerbac.Assignment{ID: idOf[azurerbac.AssignmentID]("60000000-0000-4000-8000-000000000011"), Scope: blue.Resource, Principal: kubelet.ID, Role: idOf[azurerbac.DefinitionID]("f1a07417-d97a-45cb-824c-7a7467783830")}
	web      = wire.Pod{Namespace: "shop", Name: "web", UID: "u-1"}
)

// A world is the door, and what it asks.
type world struct {
	*servetest.World
	t      *testing.T
	door   http.Handler
	key    token.SigningKey
	now    time.Time
	uses   []store.Use
	told   []serve.Event
	pod    error // about every pod
	full   error // of the audit log
	alerts []alert.Alert
	untold error
	gone   error // about the agent's own pod
}

func (w *world) Effective(est *estate.Snapshot) *estate.Snapshot { return est }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: servetest.NewWorld(t), t: t, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	c, _ := w.Current().Cluster(servetest.AKS1)
	c.OIDCIssuer, c.IssuerURL = true, issuer
	c.KubeletIdentity = resource.IdentityRef{Resource: kubelet.Resource, Object: kubelet.ID}
	c.Addons = map[string]resource.Addon{"on": {Enabled: true, Identity: resource.IdentityRef{Resource: addon.Resource, Object: addon.ID}},
		"off": {Identity: resource.IdentityRef{Resource: noAddon.Resource, Object: noAddon.ID}}}
	w.Put(c, kubelet, blue, red, addon, noAddon, operator)
	var err error
	if w.key, err = token.GenerateKey(servetest.Tenant, token.AccessToken, token.RS256, w.now.Add(-time.Hour), w.now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	set, err := token.NewKeySet(w.key.Key)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := set.JWKS(servetest.Tenant, "", w.now)
	if err != nil {
		t.Fatal(err)
	}
	keys, _, err := token.ParseJWKS(doc)
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return w.now }
	door, err := nodes.New(nodes.Config{
		Estates: w, House: house + "/", Now: clock, Machine: clock,
		Cluster: func(est *estate.Snapshot, from string) (resource.Cluster, bool) {
			for c := range est.Clusters() {
				if c.IssuerURL == from {
					return c, true
				}
			}
			return resource.Cluster{}, false
		},
		Keys: func(context.Context, string, string) (token.ForeignKeys, error) { return keys, nil },
		Pod: func(_ context.Context, _ resource.Cluster, p wire.Pod, node string) error {
			if node != "node-1" || p != web {
				return nodes.ErrNotThere
			}
			return w.pod
		},
		Agent: func(_ context.Context, _ resource.Cluster, p wire.Pod, node string) error {
			if node != "node-1" || p != (wire.Pod{Namespace: "kube-system", Name: "agent", UID: "p"}) {
				return nodes.ErrNotThere
			}
			return w.gone
		},
		Token: func(_ context.Context, id imds.Identity, resource string) (imds.Token, error) {
			return imds.Token{Text: "token of " + id.Client.String() + " for " + resource, NotBefore: w.now, Expires: w.now.Add(time.Hour)}, nil
		},
		Use: func(_ context.Context, u store.Use) error {
			w.uses = append(w.uses, u)
			return w.full
		},
		Alert: func(_ context.Context, a alert.Alert) error {
			w.alerts = append(w.alerts, a)
			return w.untold
		},
		Events: func(_ context.Context, e serve.Event) { w.told = append(w.told, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.door = door.Handler()
	return w
}

type object = map[string]any

// claims are those of a good agent's token, changed.
func (w *world) claims(change func(object)) object {
	bound := object{"namespace": "kube-system", "serviceaccount": object{"name": "gatehouse-node", "uid": "s"},
		"pod": object{"name": "agent", "uid": "p"}, "node": object{"name": "node-1", "uid": "n"}}
	c := object{"iss": issuer, "sub": wire.Subject, "aud": []string{house + wire.Path}, "iat": w.now.Unix(), "nbf": w.now.Unix(), "exp": w.now.Add(time.Hour).Unix(), "jti": "j", "kubernetes.io": bound}
	if change != nil {
		change(c)
	}
	return c
}

func (w *world) sign(claims object) string {
	w.t.Helper()
	raw, err := token.Sign(w.key, claims, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// ask sends a request with a token, "" for none.
func (w *world) ask(raw string, ask wire.Ask) (int, string) {
	w.t.Helper()
	body, err := record.Marshal(ask)
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, wire.Path, strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	res := httptest.NewRecorder()
	w.door.ServeHTTP(res, r)
	return res.Code, res.Body.String()
}

func forPod(ids ...directory.ManagedIdentity) wire.Ask {
	a := wire.Ask{Pod: web, Resource: "https://vault.azure.net"}
	for _, id := range ids {
		a.Identities = append(a.Identities, wire.Identity{Client: id.ClientID, Resource: id.Resource})
	}
	return a
}

func TestOnlyNodeAgentsOfAClusterAreAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.sign(w.claims(nil))
	if status, text := w.ask(good, forPod(blue)); status != http.StatusOK {
		t.Fatalf("a good one: %d %s", status, text)
	}
	bound := func(change func(object)) func(object) {
		return func(c object) {
			b := maps.Clone(c["kubernetes.io"].(object))
			change(b)
			c["kubernetes.io"] = b
		}
	}
	for law, change := range map[string]func(object){
		"another service account":                func(c object) { c["sub"] = "system:serviceaccount:shop:gatehouse-node" },
		"a service account in another case":      func(c object) { c["sub"] = "system:serviceaccount:kube-system:Gatehouse-node" },
		"another house":                          func(c object) { c["aud"] = []string{"https://other.example" + wire.Path} },
		"the API server":                         func(c object) { c["aud"] = []string{issuer} },
		"the token exchange":                     func(c object) { c["aud"] = []string{"api://AzureADTokenExchange"} },
		"two audiences":                          func(c object) { c["aud"] = []string{house + wire.Path, issuer} },
		"another cluster's issuer":               func(c object) { c["iss"] = other },
		"expired":                                func(c object) { c["exp"] = w.now.Add(-time.Hour).Unix() },
		"bound to nothing":                       func(c object) { delete(c, "kubernetes.io") },
		"bound to no node":                       bound(func(b object) { delete(b, "node") }),
		"bound to no pod":                        bound(func(b object) { delete(b, "pod") }),
		"bound to a node without an id":          bound(func(b object) { b["node"] = object{"name": "node-1"} }),
		"bound to another account than it names": bound(func(b object) { b["namespace"] = "shop" }),
		"two claims for one":                     func(c object) { c["Kubernetes.io"] = object{} },
	} {
		if status, text := w.ask(w.sign(w.claims(change)), forPod(blue)); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", law, status, text)
		}
	}
	for law, raw := range map[string]string{"nobody": "", "no token": "x", "another's signature": good[:len(good)-8] + "AAAAAAAA"} {
		if status, text := w.ask(raw, forPod(blue)); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", law, status, text)
		}
	}
	w.Age(errors.New("old"))
	if status, _ := w.ask(good, forPod(blue)); status != http.StatusServiceUnavailable {
		t.Errorf("a directory that may be out of date: %d", status)
	}
	w.Age(nil)
	c, _ := w.Current().Cluster(servetest.AKS1)
	c.OIDCIssuer, c.IssuerURL = false, ""
	w.Put(c)
	if status, _ := w.ask(good, forPod(blue)); status != http.StatusUnauthorized {
		t.Errorf("a cluster that is no issuer any more: %d", status)
	}
}

// PI-09, at the house: what an agent may have is decided here.
func TestAClusterHasWhatItsKubeletIdentityMayAssign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.sign(w.claims(nil))
	with := func(a wire.Ask, change func(*wire.Ask)) wire.Ask {
		change(&a)
		return a
	}
	own := with(forPod(), func(a *wire.Ask) { a.Own = true })
	for _, tt := range []struct {
		law    string
		ask    wire.Ask
		status int
		want   string
	}{
		{"an identity that it may assign", forPod(blue), 200, "token of " + blue.ClientID.String()},
		{"an identity that it may not assign", forPod(red), 403, "Managed Identity Operator"},
		{"its own identity is no pod's", forPod(kubelet), 403, "Managed Identity Operator"},
		{"an identity that is not there", forPod(identityAt("99", "none")), 400, "Identity not found"},
		{"a client id and a resource of two identities", with(forPod(), func(a *wire.Ask) { a.Identities = []wire.Identity{{Client: blue.ClientID, Resource: red.Resource}} }), 400, "Identity not found"},
		{"two, and no choice", forPod(blue, red), 400, "Multiple user assigned identities"},
		{"two, and a choice by object id", with(forPod(red, blue), func(a *wire.Ask) { a.Which = imds.Selector{Name: "object_id", Value: blue.ID.String()} }), 200, "token of " + blue.ClientID.String()},
		{"a choice of what the pod has not", with(forPod(blue), func(a *wire.Ask) { a.Which = imds.Selector{Name: "object_id", Value: red.ID.String()} }), 400, "Identity not found"},
		{"none", forPod(), 400, "Identity not found"},
		{"a pod of another node", with(forPod(blue), func(a *wire.Ask) { a.Pod.Name = "api" }), 403, "knows no running pod shop/api"},
		{"no pod", with(forPod(blue), func(a *wire.Ask) { a.Pod = wire.Pod{} }), 400, "does not name a pod"},
		{"a pod with a name that breaks lines", with(forPod(blue), func(a *wire.Ask) { a.Pod.Name = "a\nb" }), 400, "does not name a pod"},
		{"the node's own, without a choice", own, 400, "Multiple user assigned identities"},
		{"the node's own kubelet identity", with(own, func(a *wire.Ask) { a.Which = imds.Selector{Name: "client_id", Value: kubelet.ClientID.String()} }), 200, "token of " + kubelet.ClientID.String()},
		{"that of an add-on", with(own, func(a *wire.Ask) { a.Which = imds.Selector{Name: "client_id", Value: addon.ClientID.String()} }), 200, "token of " + addon.ClientID.String()},
		{"that of an add-on that is off", with(own, func(a *wire.Ask) { a.Which = imds.Selector{Name: "client_id", Value: noAddon.ClientID.String()} }), 400, "Identity not found"},
		{"a pod's as the node's own", with(own, func(a *wire.Ask) { a.Which = imds.Selector{Name: "client_id", Value: blue.ClientID.String()} }), 400, "Identity not found"},
	} {
		before := len(w.uses)
		status, text := w.ask(agent, tt.ask)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %s, want %d with %q", tt.law, status, text, tt.status, tt.want)
		}
		if got := len(w.uses) - before; (status == 200) != (got == 1) {
			t.Errorf("%s: %d uses are recorded", tt.law, got)
		}
	}
	u := w.uses[0]
	if on := strings.Join(u.On, " "); u.By != kubelet.ID || !strings.Contains(on, "pod shop web u-1 node node-1") || !strings.Contains(on, blue.Resource.String()) {
		t.Errorf("recorded is %+v", u)
	}
	if e := w.told[0]; e.Effect != "issued" || e.ID != blue.ID || !strings.Contains(e.Reason, "pod shop/web on node node-1") {
		t.Errorf("told is %+v", e)
	}
}

// PI-09 for the node itself: story 23.
func TestANodeHasItsKubeletIdentityForRegistriesAlone(t *testing.T) {
	t.Parallel()
	machine := wire.Ask{Machine: true, Resource: wire.Registries}
	with := func(change func(*wire.Ask)) wire.Ask {
		a := machine
		change(&a)
		return a
	}
	cluster := func(change func(*resource.Cluster)) func(*world) {
		return func(w *world) {
			c, _ := w.Current().Cluster(servetest.AKS1)
			change(&c)
			w.Put(c)
		}
	}
	for _, tt := range []struct {
		law    string
		before func(*world)
		ask    wire.Ask
		status int
		want   string
	}{
		{law: "the kubelet identity, for registries", ask: machine, status: 200, want: "token of " + kubelet.ClientID.String() + " for " + wire.Registries},
		{law: "for nothing else", ask: with(func(a *wire.Ask) { a.Resource = "https://management.azure.com/" }), status: 400, want: "alone"},
		{law: "for the same in another spelling", ask: with(func(a *wire.Ask) { a.Resource += "/" }), status: 400, want: "alone"},
		{law: "it chooses none", ask: with(func(a *wire.Ask) { a.Which = imds.Selector{Name: "client_id", Value: addon.ClientID.String()} }), status: 400, want: "alone"},
		{law: "it names none", ask: with(func(a *wire.Ask) { a.Identities = forPod(blue).Identities }), status: 400, want: "alone"},
		{law: "it is no pod", ask: with(func(a *wire.Ask) { a.Pod = web }), status: 400, want: "alone"},
		{law: "it is not a pod that is excepted", ask: with(func(a *wire.Ask) { a.Own = true }), status: 400, want: "alone"},
		{law: "the agent is not there any more", before: func(w *world) { w.gone = nodes.ErrNotThere }, ask: machine, status: 403, want: "no running pod kube-system/agent"},
		{law: "nobody knows whether it is", before: func(w *world) { w.gone = errors.New("the API server is down") }, ask: machine, status: 503, want: "Try again"},
		{law: "the identity is disabled", before: func(w *world) { k := kubelet; k.Disabled = true; w.Put(k) }, ask: machine, status: 403, want: "no kubelet identity"},
		{law: "the identity is deleted", before: func(w *world) { w.Delete(kubelet.Key()) }, ask: machine, status: 403, want: "no kubelet identity"},
		{law: "the cluster has none", before: cluster(func(c *resource.Cluster) { c.KubeletIdentity = resource.IdentityRef{} }), ask: machine, status: 403, want: "no kubelet identity"},
		{law: "an id and a resource of two identities", before: cluster(func(c *resource.Cluster) { c.KubeletIdentity.Object = blue.ID }), ask: machine, status: 403, want: "no kubelet identity"},
		{law: "the use cannot be recorded", before: func(w *world) { w.full = errors.New("the disk is full") }, ask: machine, status: 503, want: "cannot be recorded"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.before != nil {
				tt.before(w)
			}
			status, text := w.ask(w.sign(w.claims(nil)), tt.ask)
			if status != tt.status || !strings.Contains(text, tt.want) || status != 200 && strings.Contains(text, "token of") {
				t.Errorf("%d %s, want %d with %q", status, text, tt.status, tt.want)
			}
			if status == 200 {
				if u := w.uses[0]; u.By != kubelet.ID || strings.Join(u.On, " ") != kubelet.Resource.String()+" node node-1 cluster "+servetest.AKS1.String() {
					t.Errorf("recorded is %+v", u)
				}
				if e := w.told[0]; e.Effect != "issued" || !strings.HasSuffix(e.Reason, "kubelet on node node-1") {
					t.Errorf("told is %+v", e)
				}
			}
		})
	}
}

func TestWhatCannotBeRecordedIsNotGivenOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.full = errors.New("the disk is full")
	if status, text := w.ask(w.sign(w.claims(nil)), forPod(blue)); status != http.StatusServiceUnavailable || strings.Contains(text, "token of") || strings.Contains(text, "disk") {
		t.Errorf("%d %s", status, text)
	}
	w.full, w.pod = nil, errors.New("the API server is down")
	if status, text := w.ask(w.sign(w.claims(nil)), forPod(blue)); status != http.StatusServiceUnavailable || strings.Contains(text, "token of") {
		t.Errorf("%d %s", status, text)
	}
}

func TestTheRightEndsAtOnce(t *testing.T) {
	t.Parallel()
	for law, change := range map[string]func(*world){
		"the role is taken away":           func(w *world) { w.Delete(operator.Key()) },
		"the identity is disabled":         func(w *world) { b := blue; b.Disabled = true; w.Put(b) },
		"the identity is deleted":          func(w *world) { w.Delete(operator.Key(), blue.Key()) },
		"the kubelet identity is disabled": func(w *world) { k := kubelet; k.Disabled = true; w.Put(k) },
		"the kubelet identity is deleted":  func(w *world) { w.Delete(kubelet.Key()) },
		"the cluster has no kubelet any more": func(w *world) {
			c, _ := w.Current().Cluster(servetest.AKS1)
			c.KubeletIdentity = resource.IdentityRef{}
			w.Put(c)
		},
	} {
		w := newWorld(t)
		agent := w.sign(w.claims(nil))
		if status, text := w.ask(agent, forPod(blue)); status != http.StatusOK {
			t.Fatalf("before: %d %s", status, text)
		}
		change(w)
		if status, text := w.ask(agent, forPod(blue)); status < 400 || strings.Contains(text, "token of") {
			t.Errorf("%s: %d %s", law, status, text)
		}
	}
}

// PI-09: whoever stole an agent's token could begin a request, and send its body when
// the right was taken away.
func TestARightThatEndsWhileABodyArrives(t *testing.T) {
	t.Parallel()
	for law, tt := range map[string]struct {
		end    func(*world)
		status int
	}{
		"nothing ends":             {func(*world) {}, http.StatusOK},
		"the right to assign":      {func(w *world) { w.Delete(operator.Key()) }, http.StatusForbidden},
		"the identity is disabled": {func(w *world) { off := blue; off.Disabled = true; w.Put(off) }, http.StatusBadRequest},
		"the cluster publishes keys no more": {func(w *world) {
			c, _ := w.Current().Cluster(servetest.AKS1)
			c.OIDCIssuer, c.IssuerURL = false, ""
			w.Put(c)
		}, http.StatusUnauthorized},
		"the token":                        {func(w *world) { w.now = w.now.Add(2 * time.Hour) }, http.StatusUnauthorized},
		"the directory may be out of date": {func(w *world) { w.Age(errors.New("old")) }, http.StatusServiceUnavailable},
	} {
		w := newWorld(t)
		body, err := record.Marshal(forPod(blue))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, wire.Path, servetest.After(func() { tt.end(w) }, bytes.NewReader(body)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+w.sign(w.claims(nil)))
		res := httptest.NewRecorder()
		w.door.ServeHTTP(res, r)
		if res.Code != tt.status || (res.Code == http.StatusOK) != (len(w.uses) == 1) {
			t.Errorf("%s: %d %s, want %d; %d uses are recorded", law, res.Code, res.Body, tt.status, len(w.uses))
		}
	}
}

func TestRequestsAreReadInOneWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.sign(w.claims(nil))
	good, err := json.Marshal(map[string]any{"pod": map[string]any{"namespace": "shop", "name": "web", "uid": "u-1"}, "resource": "r", "identities": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	for law, tt := range map[string]struct {
		method, body, kind string
		want               int
	}{
		"GET":                 {"GET", "", "application/json", 405},
		"a form":              {"POST", string(good), "application/x-www-form-urlencoded", 415},
		"a member twice":      {"POST", strings.Replace(string(good), `"resource"`, `"resource":"q","resource"`, 1), "application/json", 400},
		"an unknown member":   {"POST", strings.Replace(string(good), `"resource"`, `"Own":true,"resource"`, 1), "application/json", 400},
		"more than an object": {"POST", string(good) + "{}", "application/json", 400},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, wire.Path, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.kind)
		r.Header.Set("Authorization", "Bearer "+agent)
		res := httptest.NewRecorder()
		w.door.ServeHTTP(res, r)
		if res.Code != tt.want {
			t.Errorf("%s: %d %s", law, res.Code, res.Body)
		}
	}
}

// Story 25: an agent that may have another cluster's identity gets it, and somebody is
// told before; when nobody can be, it gets none.
func TestAnotherClustersIdentityIsAnAlert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.sign(w.claims(nil))
	if status, text := w.ask(agent, forPod(blue)); status != http.StatusOK || len(w.alerts) != 0 {
		t.Fatalf("an identity of no cluster: %d %s, alerts %v", status, text, w.alerts)
	}
	c, _ := w.Current().Cluster(servetest.AKS2)
	c.KubeletIdentity = resource.IdentityRef{Resource: blue.Resource, Object: blue.ID}
	w.Put(c)
	if status, text := w.ask(agent, forPod(blue)); status != http.StatusOK || len(w.alerts) != 1 {
		t.Fatalf("another cluster's: %d %s, alerts %v", status, text, w.alerts)
	}
	if a := w.alerts[0]; a.Identity != blue.ID || a.Way != alert.Agent || a.From != servetest.AKS1.String() || a.Clusters[0] != servetest.AKS2 || a.Detail != "pod shop/web on node node-1" {
		t.Errorf("%+v", a)
	}
	w.untold = errors.New("the disk is full")
	if status, text := w.ask(agent, forPod(blue)); status != http.StatusServiceUnavailable || strings.Contains(text, "token of") {
		t.Errorf("untold: %d %s", status, text)
	}
}
