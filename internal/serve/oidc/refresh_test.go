package oidc_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

func refresh(client, text string, pairs ...string) url.Values {
	return with(form("grant_type", "refresh_token", "client_id", client, "refresh_token", text), pairs...)
}

// az refreshes for another resource all the time, through another realm.
func TestAzRefreshesAcrossResourcesAndRealms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	r := w.post(tokenPath("organizations"), ropc())
	w.verify(r.Access, "https://management.core.windows.net/")
	for _, step := range []struct{ realm, resource string }{
		{"organizations", "https://graph.microsoft.com/"}, {tid, aks}, {"teknews.cloud", "https://vault.azure.net"}, {"common", "https://management.core.windows.net/"},
	} {
		scope := step.resource + "/.default"
		next := w.post(tokenPath(step.realm), refresh(az, r.Refresh, "scope", scope+" offline_access openid profile"))
		w.verify(next.Access, step.resource)
		if next.Refresh == "" || next.Refresh == r.Refresh || next.ID == "" || !strings.Contains(" "+next.text("scope")+" ", " "+scope+" ") {
			t.Errorf("%s: %s", step.resource, next.Raw)
		}
		r = next
	}
	if bad := w.post(tokenPath(tenantB.ID.String()), refresh(az, r.Refresh)); bad.Error != "invalid_grant" {
		t.Errorf("in another tenant: %s", bad.Raw)
	}
	if bad := w.post(tokenPath(tid), refresh(native.AppID.String(), r.Refresh)); bad.Error != "invalid_grant" {
		t.Errorf("OA-26: by another client: %s", bad.Raw)
	}
	if ok := w.post(tokenPath(tid), refresh(az, r.Refresh)); ok.Access == "" {
		t.Errorf("refusals used the token up: %s", ok.Raw)
	}
}

// OA-26.
func TestOthersRefreshForWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid, client := tenantA.ID.String(), native.AppID.String()
	for _, tt := range []struct{ name, first, then, oauth string }{
		{"the same", aksScope, aksScope, ""},
		{"without a scope", aksScope, "", ""},
		{"OpenID scopes alone", aksScope, "openid", ""},
		{"another resource", aksScope, "https://vault.azure.net/.default", "invalid_scope"},
		{"a narrower scope", "https://orders.example/orders.read https://orders.example/orders.write offline_access", "https://orders.example/orders.read", ""},
		{"a wider scope", "https://orders.example/orders.read offline_access", "https://orders.example/orders.write", "invalid_scope"},
		{"everything", "https://orders.example/orders.read offline_access", "https://orders.example/.default", "invalid_scope"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := w.post(tokenPath(tid), ropc("client_id", client, "scope", tt.first))
			if first.Refresh == "" {
				t.Fatal(first.Raw)
			}
			r := w.post(tokenPath(tid), refresh(client, first.Refresh, "scope", tt.then))
			if r.Error != tt.oauth || (r.Access == "") != (tt.oauth != "") {
				t.Errorf("%d %s", r.Status, r.Raw)
			}
		})
	}
	if r := w.post(tokenPath(tid), ropc("scope", aks+"/.default openid")); r.Refresh != "" {
		t.Error("a refresh token without offline_access")
	}
}

// OA-25.
func TestARefreshTokenHasOneSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addReplica()
	w.clock.stop()
	tid := tenantA.ID.String()
	old := w.post(tokenPath(tid), ropc()).Refresh

	var wg sync.WaitGroup
	var mu sync.Mutex
	successors := make(map[string]int)
	for i := range 20 {
		wg.Go(func() {
			r := postTo(t, w.replicas[i%2], tokenPath(tid), refresh(az, old))
			mu.Lock()
			defer mu.Unlock()
			successors[r.Refresh]++
			if r.Access == "" {
				t.Errorf("within the grace: %d %s", r.Status, r.Raw)
			}
		})
	}
	wg.Wait()
	if len(successors) != 1 || successors[old] != 0 {
		t.Fatalf("20 at once made %d successors", len(successors))
	}
	var live string
	for live = range successors {
	}
	// Within the grace the old token leads to the newest one, not to a dead end.
	newer := w.post(tokenPath(tid), refresh(az, live)).Refresh
	if r := w.post(tokenPath(tid), refresh(az, old)); r.Refresh != newer {
		t.Errorf("the old token does not lead to the live one: %s", r.Raw)
	}
	w.clock.forward(3*time.Second + 50*time.Millisecond)
	if r := w.post(tokenPath(tid), refresh(az, old)); r.Error != "invalid_grant" || r.Code != 50173 {
		t.Errorf("after the grace: %d %s", r.Status, r.Raw)
	}
	for i, s := range w.replicas {
		if r := postTo(t, s, tokenPath(tid), refresh(az, newer)); r.Error != "invalid_grant" {
			t.Errorf("replica %d: the family lives on: %s", i, r.Raw)
		}
	}
	found := false
	for rec, err := range w.store.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || strings.Contains(rec.Why, "refresh token used again") && rec.By == faye.ID
	}
	if !found {
		t.Error("the reuse is not in the audit log")
	}
}

// OA-25: the grace is three seconds, and a clock that is moved back in a rehearsal makes it
// no longer: a token that was used is one that was copied.
func TestAClockThatIsMovedBackMakesNoGraceLonger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	old := w.post(tokenPath(tid), ropc()).Refresh
	w.clock.forward(8 * time.Hour)
	live := w.post(tokenPath(tid), refresh(az, old)).Refresh
	w.clock.forward(-8 * time.Hour)
	if r := w.post(tokenPath(tid), refresh(az, old)); r.Error != "invalid_grant" || r.Code != 50173 {
		t.Errorf("a token that was used eight hours from now: %d %s", r.Status, r.Raw)
	}
	if r := w.post(tokenPath(tid), refresh(az, live)); r.Error != "invalid_grant" {
		t.Errorf("the family lives on: %s", r.Raw)
	}
}

// JWT-31.
func TestARefreshTokenHasOneSpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tid := tenantA.ID.String()
	good := w.post(tokenPath(tid), ropc()).Refresh
	var bad []string
	for n := range len(good) {
		bad = append(bad, good[:n])
	}
	bad = append(bad, good+"A", good+"=", good+"\n", " "+good, strings.ToLower(good), strings.ToUpper(good), strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/")+"=")
	for n := range len(good) {
		c := byte('A')
		if good[n] == c {
			c = 'B'
		}
		bad = append(bad, good[:n]+string(c)+good[n+1:])
	}
	for _, text := range bad {
		if text == good || text == "" {
			continue
		}
		if r := w.post(tokenPath(tid), refresh(az, text)); r.Error != "invalid_grant" {
			t.Errorf("%q: %d %s", text, r.Status, r.Raw)
		}
	}
	if r := w.post(tokenPath(tid), refresh(az, good)); r.Access == "" {
		t.Errorf("made-up tokens ended the family: %s", r.Raw)
	}
}

// OA-27, DIR-11, JWT-29: whatever ends a person's or an application's rights ends
// refresh on every replica.
func TestRefreshEndsWithTheRight(t *testing.T) {
	t.Parallel()
	disabledUser, disabledApp, disabledSP := faye, native, nativeSP
	disabledUser.Disabled, disabledApp.Disabled, disabledSP.Disabled = true, true, true
	for _, tt := range []struct {
		name string
		do   func(*world)
	}{
		{"the user is disabled", func(w *world) { w.commit(disabledUser) }},
		{"the user is deleted", func(w *world) {
			w.remove(directory.Membership{Group: inner.ID, Member: faye.ID}.Key(), faye.Key())
		}},
		{"the application is disabled", func(w *world) { w.commit(disabledApp) }},
		{"the service principal is disabled", func(w *world) { w.commit(disabledSP) }},
		{"the service principal is deleted", func(w *world) { w.remove(nativeSP.Key()) }},
		{"sign out everywhere", func(w *world) {
			u := faye
			u.TokensValidFrom = w.clock.Now()
			w.commit(u)
		}},
		{"the password is changed", func(w *world) {
			if err := w.issuer.ChangePassword(w.t.Context(), principal.ID{}, faye.ID, "another long password"); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"90 days pass", func(w *world) { w.clock.forward(90*24*time.Hour + time.Second) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.addReplica()
			client, tid := native.AppID.String(), tenantA.ID.String()
			b := w.browser()
			done := b.submit(b.get(authorizePath(authorizeQuery())), "username", faye.UserPrincipalName, "password", password, "action", "signin")
			first := w.post(tokenPath(tid), redeem(location(t, done).Get("code")))
			first = w.post(tokenPath(tid), refresh(client, first.Refresh))
			if first.Refresh == "" {
				t.Fatal(first.Raw)
			}
			code := w.code(authorizeQuery())
			tt.do(w)
			rev := w.store.Current().Revision()
			for i, s := range w.replicas {
				_ = rev
				r := postTo(t, s, tokenPath(tid), refresh(client, first.Refresh))
				for try := 0; try < 100 && r.Status == 200; try++ {
					// The other replica sees it within a moment.
					first.Refresh = r.Refresh
					r = postTo(t, s, tokenPath(tid), refresh(client, first.Refresh))
				}
				if r.Status == 200 || r.Error != "invalid_grant" && r.Error != "unauthorized_client" {
					t.Errorf("replica %d refreshes: %d %s", i, r.Status, r.Raw)
				}
			}
			if r := w.post(tokenPath(tid), redeem(code)); r.Status == 200 {
				t.Error("a code is redeemed")
			}
			if strings.Contains(tt.name, "user") || strings.Contains(tt.name, "password") || strings.Contains(tt.name, "everywhere") {
				if r := b.get(authorizePath(authorizeQuery())); strings.Contains(r.Raw, "Continue as") {
					t.Error("the browser is still signed in")
				}
			}
		})
	}
}

// The matrix of grants and states of the principal that the tokens would speak of.
func TestNoGrantSkipsTheState(t *testing.T) {
	t.Parallel()
	type grant struct {
		name string
		// prepare goes as far as it can while all is well; the result asks for tokens.
		prepare func(w *world) func() reply
		app     bool // the principal is the application
	}
	tid := tenantA.ID.String()
	grants := []grant{
		{"authorization_code", func(w *world) func() reply {
			code := w.code(authorizeQuery())
			return func() reply { return w.post(tokenPath(tid), redeem(code)) }
		}, false},
		{"device_code", func(w *world) func() reply {
			d := w.startDevice()
			w.approve(d)
			return func() reply { return w.post(tokenPath(tid), poll(d)) }
		}, false},
		{"refresh_token", func(w *world) func() reply {
			r := w.post(tokenPath(tid), ropc())
			return func() reply { return w.post(tokenPath(tid), refresh(az, r.Refresh)) }
		}, false},
		{"password", func(w *world) func() reply {
			return func() reply { return w.post(tokenPath(tid), ropc()) }
		}, false},
		{"client secret", func(w *world) func() reply {
			return func() reply { return w.post(tokenPath(tid), clientCredentials(w)) }
		}, true},
		{"certificate", func(w *world) func() reply {
			c := newCertificate(w.t, w.clock.Now())
			c.register(w)
			return func() reply { return w.post(tokenPath(tid), certificateForm(c.assertion(w, nil))) }
		}, true},
	}
	offUser, offSP := faye, webSP
	offUser.Disabled, offSP.Disabled = true, true
	moved := faye
	moved.Tenant, moved.UserPrincipalName = tenantB.ID, "faye@other.example"
	movedSP := webSP
	movedSP.Tenant = tenantB.ID
	states := []struct {
		name string
		user func(*world)
		app  func(*world)
		ok   bool
	}{
		{"enabled", func(*world) {}, func(*world) {}, true},
		{"disabled", func(w *world) { w.commit(offUser) }, func(w *world) { w.commit(offSP) }, false},
		{"deleted", func(w *world) {
			w.remove(directory.Membership{Group: inner.ID, Member: faye.ID}.Key(), faye.Key())
		}, func(w *world) { w.remove(webSP.Key()) }, false},
		{"of another tenant", func(w *world) {
			w.remove(directory.Membership{Group: inner.ID, Member: faye.ID}.Key(), faye.Key())
			w.commit(record.Record(moved))
		}, func(w *world) { w.remove(webSP.Key()); w.commit(movedSP) }, false},
	}
	for _, g := range grants {
		for _, s := range states {
			t.Run(fmt.Sprintf("%s, %s", g.name, s.name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				ask := g.prepare(w)
				if g.app {
					s.app(w)
				} else {
					s.user(w)
				}
				r := ask()
				if (r.Status == 200) != s.ok || (r.Access != "") != s.ok || r.Status >= 500 {
					t.Errorf("%d %s", r.Status, r.Raw)
				}
			})
		}
	}
}
