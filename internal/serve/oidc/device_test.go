package oidc_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// startDevice begins a device sign-in of kubelogin's client.
func (w *world) startDevice(pairs ...string) reply {
	w.t.Helper()
	r := w.post("/"+tenantA.ID.String()+"/oauth2/v2.0/devicecode", with(form("client_id", kubeClnt, "scope", aksScope), pairs...))
	if r.Status != http.StatusOK {
		w.t.Fatal(r.Raw)
	}
	return r
}

func (r reply) text(name string) string {
	s, _ := r.Body[name].(string)
	return s
}

func poll(d reply) url.Values {
	return form("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", kubeClnt, "device_code", d.text("device_code"), "client_info", "1")
}

// confirm enters the user code and returns the page that asks for the password.
func (b *browser) confirm(d reply) reply {
	b.t.Helper()
	return b.submit(b.get("/device"), "user_code", d.text("user_code"), "action", "code")
}

// approve lets faye sign a device in.
func (w *world) approve(d reply) {
	w.t.Helper()
	b := w.browser()
	done := b.submit(b.confirm(d), "username", faye.UserPrincipalName, "password", password, "action", "approve")
	if done.Status != http.StatusOK || !strings.Contains(done.Raw, `id="done"`) {
		w.t.Fatalf("%d %s", done.Status, done.Raw)
	}
}

func TestADeviceSignsInWithTheKubeloginPattern(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, new(store.Memory), token.RS256)
	d := w.startDevice()
	if code := d.text("user_code"); len(code) != 9 || strings.Trim(code, "BCDFGHJKLMNPQRSTVWXZ") != "" {
		t.Errorf("OA-30: user code %q", code)
	}
	if want := "open the page " + authority + "/device and enter the code " + d.text("user_code"); !strings.Contains(d.text("message"), want) {
		t.Errorf("message %q", d.text("message"))
	}
	if d.Body["expires_in"] != 900.0 || d.Body["interval"] != 5.0 || strings.Contains(d.Raw, "verification_uri_complete") {
		t.Errorf("answer %s", d.Raw)
	}
	// kubelogin asks after 50, 150, 450 and 1350 ms, 4 s, and then every 5 s. It
	// must never be told to slow down.
	for _, pause := range []time.Duration{50, 150, 450, 1350, 4000, 5000, 5000, 5000, 5000, 5000, 5000, 5000} {
		w.clock.forward(pause * time.Millisecond)
		if r := w.post(tokenPath(tenantA.ID.String()), with(poll(d), "grant_type", "device_code")); r.Error != "authorization_pending" || r.Status != 400 || r.Code != 70016 {
			t.Fatalf("after %d ms: %d %s", pause, r.Status, r.Raw)
		}
	}
	w.approve(d)
	r := w.post(tokenPath(tenantA.ID.String()), with(poll(d), "scope", aksScope))
	c := w.verify(r.Access, aks)
	if c.ObjectID != faye.ID || c.AppID.String() != kubeClnt || r.Refresh == "" || r.ID == "" || r.text("client_info") == "" {
		t.Errorf("%+v %s", c, r.Raw)
	}
	// OA-33, and OA-01 for device codes: used once, and again means that somebody copied it.
	if again := w.post(tokenPath(tenantA.ID.String()), poll(d)); again.Error != "invalid_grant" {
		t.Errorf("a device code used again: %d %s", again.Status, again.Raw)
	}
	if r := w.post(tokenPath(tenantA.ID.String()), form("grant_type", "refresh_token", "client_id", kubeClnt, "refresh_token", r.Refresh)); r.Error != "invalid_grant" {
		t.Errorf("its refresh token still lives: %s", r.Raw)
	}
}

// OA-31.
func TestADeviceThatAsksTooFastIsToldButNotStarved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.stop()
	d := w.startDevice()
	slow := 0
	for range 30 {
		r := w.post(tokenPath("organizations"), poll(d))
		switch r.Error {
		case "slow_down":
			slow++
		case "authorization_pending":
		default:
			t.Fatalf("%d %s", r.Status, r.Raw)
		}
		if r.Access != "" {
			t.Fatal("a token while pending")
		}
	}
	if slow != 23 {
		t.Errorf("told to slow down %d times of 30, want 23", slow)
	}
	w.clock.forward(6 * time.Second) // the interval has grown: 6 s are not enough any more
	if r := w.post(tokenPath("organizations"), poll(d)); r.Error != "slow_down" {
		t.Errorf("the interval did not grow: %s", r.Raw)
	}
	w.approve(d)
	if r := w.post(tokenPath("organizations"), poll(d)); r.Access == "" {
		t.Errorf("approved, but starved: %s", r.Raw)
	}
}

// OA-32, OA-33, OA-35, DIR-11.
func TestADeviceCodeHasOneTerminalState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	t.Run("another client gets nothing", func(t *testing.T) {
		d := w.startDevice()
		w.approve(d)
		if r := w.post(tokenPath(tenantA.ID.String()), with(poll(d), "client_id", az)); r.Error != "bad_verification_code" {
			t.Errorf("%s", r.Raw)
		}
		if r := w.post(tokenPath(tenantA.ID.String()), with(redeem(d.text("device_code")), "client_id", kubeClnt)); r.Error != "invalid_grant" {
			t.Errorf("as an authorization code: %s", r.Raw)
		}
		if r := w.post(tokenPath(tenantB.ID.String()), poll(d)); r.Error != "bad_verification_code" {
			t.Errorf("in another tenant: %s", r.Raw)
		}
	})
	t.Run("expired", func(t *testing.T) {
		w := newWorld(t)
		d := w.startDevice()
		w.clock.forward(15*time.Minute + time.Second)
		if r := w.post(tokenPath(tenantA.ID.String()), poll(d)); r.Error != "expired_token" || r.Code != 70019 {
			t.Errorf("%s", r.Raw)
		}
		if page := w.browser().confirm(d); page.Status != http.StatusBadRequest {
			t.Errorf("an expired code is taken: %d", page.Status)
		}
	})
	t.Run("refused stays refused", func(t *testing.T) {
		d := w.startDevice()
		b, late := w.browser(), w.browser()
		page, latePage := b.confirm(d), late.confirm(d)
		b.submit(page, "action", "deny")
		if r := late.submit(latePage, "username", faye.UserPrincipalName, "password", password, "action", "approve"); r.Status != http.StatusBadRequest {
			t.Errorf("approved after it was refused: %d", r.Status)
		}
		if r := w.post(tokenPath(tenantA.ID.String()), poll(d)); r.Error != "authorization_declined" {
			t.Errorf("%s", r.Raw)
		}
	})
	t.Run("approved by two at once", func(t *testing.T) {
		d := w.startDevice()
		var pages [4]reply
		var browsers [4]*browser
		for i := range pages {
			browsers[i] = w.browser()
			pages[i] = browsers[i].confirm(d)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		done := 0
		for i := range pages {
			wg.Go(func() {
				r := browsers[i].submit(pages[i], "username", faye.UserPrincipalName, "password", password, "action", "approve")
				mu.Lock()
				defer mu.Unlock()
				if strings.Contains(r.Raw, `id="done"`) {
					done++
				}
			})
		}
		wg.Wait()
		if done != 1 {
			t.Errorf("%d of 4 were told that they signed in", done)
		}
	})
	t.Run("a live session does not approve by one click", func(t *testing.T) {
		b := w.browser()
		b.submit(b.get(authorizePath(authorizeQuery())), "username", faye.UserPrincipalName, "password", password, "action", "signin")
		d := w.startDevice()
		page := b.confirm(d)
		if !strings.Contains(page.Raw, "Azure Kubernetes Service AAD Client") || !strings.Contains(page.Raw, d.text("user_code")) {
			t.Errorf("the page does not say what is approved: %s", page.Raw)
		}
		if r := b.submit(page, "action", "approve"); strings.Contains(r.Raw, `id="done"`) {
			t.Error("approved without a password")
		}
		if r := b.get("/device?user_code=" + d.text("user_code")); r.Status != http.StatusBadRequest {
			t.Errorf("the code is taken from a link: %d", r.Status)
		}
	})
	t.Run("a disabled user approves nothing", func(t *testing.T) {
		w := newWorld(t)
		d := w.startDevice()
		b := w.browser()
		page := b.confirm(d)
		off := faye
		off.Disabled = true
		w.commit(off)
		if r := b.submit(page, "username", faye.UserPrincipalName, "password", password, "action", "approve"); r.Status != http.StatusBadRequest || !strings.Contains(r.Raw, "disabled") {
			t.Errorf("%d %s", r.Status, r.Raw)
		}
	})
	t.Run("a user who was disabled after approving gets nothing", func(t *testing.T) {
		w := newWorld(t)
		d := w.startDevice()
		w.approve(d)
		off := faye
		off.Disabled = true
		w.commit(off)
		if r := w.post(tokenPath(tenantA.ID.String()), poll(d)); r.Error != "invalid_grant" || r.Code != 50057 {
			t.Errorf("%s", r.Raw)
		}
	})
}

// OA-30.
func TestUserCodesCannotBeGuessed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	page := b.get("/device")
	statuses := make(map[int]int)
	for n := range 40 {
		r := b.submit(page, "user_code", fmt.Sprintf("BCDFGHJ%c%c", "BCDFG"[n%5], "BCDFGHJK"[n/5]), "action", "code")
		statuses[r.Status]++
		if n < 5 != (r.Status == http.StatusBadRequest) {
			t.Fatalf("guess %d: %d", n+1, r.Status)
		}
		if r.Status == http.StatusTooManyRequests && r.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	// Cookies thrown away do not help: the source is counted as well.
	for range 30 {
		fresh := w.browser()
		statuses[fresh.submit(fresh.get("/device"), "user_code", "BBBBBBBBB", "action", "code").Status]++
	}
	if statuses[http.StatusBadRequest] > 20 {
		t.Errorf("%d guesses were checked", statuses[http.StatusBadRequest])
	}
	// A right code does not help either, once over the limit.
	d := w.startDevice()
	if r := b.confirm(d); r.Status != http.StatusTooManyRequests {
		t.Errorf("over the limit a right code is answered by %d", r.Status)
	}
}
