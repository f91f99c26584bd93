package oidc_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/issue"
)

const given, chosen = "given by the boss", "chosen by herself"

// temporary gives Faye a password that she must replace.
func (w *world) temporary() {
	w.t.Helper()
	op, err := issue.TemporaryPasswordOp(faye.ID, given, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.private(op)
}

func TestAPasswordThatSomebodyElseChoseIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.temporary()
	user := faye.UserPrincipalName
	if r := w.post(tokenPath("organizations"), ropc("password", given)); r.Error != "invalid_grant" || !strings.Contains(r.Raw, "AADSTS50055") {
		t.Errorf("the password grant says %s", r.Raw)
	}
	b := w.browser()
	page := b.get(authorizePath(authorizeQuery()))
	for _, tt := range []struct {
		law  string
		form []string
		want string
	}{
		{"a wrong password is a wrong password", []string{"password", "wrong horse"}, "incorrect"},
		{"the right one asks for a new one", []string{"password", given}, "Somebody else chose your password"},
		{"both new ones are the same", []string{"password", given, "new_password", chosen, "new_password_again", "something else"}, "not the same"},
		{"there is a new one", []string{"password", given, "new_password", given, "new_password_again", given}, "another one"},
		{"of some length", []string{"password", given, "new_password", "short", "new_password_again", "short"}, "8 to 256 bytes"},
		{"the one before is known", []string{"password", "wrong horse", "new_password", chosen, "new_password_again", chosen}, "incorrect"},
	} {
		page = b.submit(page, append([]string{"username", user, "action", "signin"}, tt.form...)...)
		if page.Status == http.StatusOK || !strings.Contains(page.Raw, tt.want) || strings.Contains(page.Raw, given) || strings.Contains(page.Raw, chosen) {
			t.Fatalf("%s: %d %s", tt.law, page.Status, page.Raw)
		}
		if asks := strings.Contains(page.Raw, `name="new_password"`); asks == strings.Contains(tt.want, "incorrect") {
			t.Errorf("%s: asks for a new password: %t", tt.law, asks)
		}
	}
	if page = b.submit(page, "username", user, "action", "signin", "password", given, "new_password", chosen, "new_password_again", chosen); page.Status != http.StatusSeeOther {
		t.Fatalf("with a new one she is not signed in: %d %s", page.Status, page.Raw)
	}
	for password, want := range map[string]string{given: "invalid_grant", chosen: ""} {
		if r := w.post(tokenPath("organizations"), ropc("password", password)); r.Error != want {
			t.Errorf("then %q is answered %s", password, r.Raw)
		}
	}
}

func TestAPasswordIsReplacedAtTheDevicePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.temporary()
	b := w.browser()
	page := b.submit(b.confirm(w.startDevice()), "username", faye.UserPrincipalName, "password", given, "action", "approve")
	if !strings.Contains(page.Raw, `name="new_password"`) {
		t.Fatalf("it does not ask for a new one: %s", page.Raw)
	}
	page = b.submit(page, "username", faye.UserPrincipalName, "password", given, "new_password", chosen, "new_password_again", chosen, "action", "approve")
	if page.Status != http.StatusOK || !strings.Contains(page.Raw, `id="done"`) {
		t.Errorf("with a new one: %d %s", page.Status, page.Raw)
	}
}
