package stories_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/tour"
)

// rehearse turns knobs as the operator, and all of them off when the test ends.
func rehearse(t *testing.T, stage *tour.Stage, args ...string) {
	t.Helper()
	got, err := stage.Operate(t.Context(), append([]string{"rehearse"}, args...)...)
	if err != nil || got.Exit != 0 {
		t.Fatalf("gatehouse rehearse %s: %s, %v", strings.Join(args, " "), got.Text, err)
	}
}

func endRehearsal(t *testing.T, stage *tour.Stage) {
	t.Cleanup(func() {
		if got, err := stage.Operate(context.WithoutCancel(t.Context()), "rehearse", "off"); err != nil || got.Exit != 0 {
			t.Errorf("gatehouse rehearse off: %s, %v", got.Text, err)
		}
	})
}

// TestAPIServersRefuseWhatTheyCannotAskAbout rehearses outages of the two webhooks:
// whom only a role assignment lets in stays out, in every way of not answering
// (WH-09).
func TestAPIServersRefuseWhatTheyCannotAskAbout(t *testing.T) {
	stage := onStage(t)
	endRehearsal(t, stage)
	jet, err := stage.Person("jet")
	if err != nil {
		t.Fatal(err)
	}
	get := func() tour.Outcome {
		got, err := jet.Kubectl(t.Context(), "aks-1", "get", "pods", "-n", "default")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	waitFor(t, patience, "he is let in", func() bool { return get().Exit == 0 })
	for _, how := range []string{"unavailable", "reset", "timeout"} {
		rehearse(t, stage, "outage", "authz", "--how", how)
		begun := time.Now()
		got := get()
		if got.Exit == 0 {
			t.Errorf("authz %s: let in: %s", how, got.Text)
		}
		t.Logf("authz %s: refused after %s: %.200s", how, time.Since(begun).Round(time.Millisecond), got.Text)
		rehearse(t, stage, "outage", "authz", "--end")
		if got := get(); got.Exit != 0 {
			t.Errorf("after the outage: %s", got.Text)
		}
	}
	// API servers remember for some seconds who somebody is.
	rehearse(t, stage, "outage", "authn")
	waitFor(t, patience, "an API server that cannot ask whose token it is refuses it", func() bool { return get().Exit != 0 })
	rehearse(t, stage, "outage", "authn", "--end")
	waitFor(t, patience, "he is let in again", func() bool { return get().Exit == 0 })
}

// TestKubectlWorksWhenTheClockWasMoved moves the house's clock and not that of the
// machine, by which certificates, API servers and kubectl go.
func TestKubectlWorksWhenTheClockWasMoved(t *testing.T) {
	stage := onStage(t)
	endRehearsal(t, stage)
	jet, err := stage.Person("jet")
	if err != nil {
		t.Fatal(err)
	}
	works := func(law string) {
		t.Helper()
		var last tour.Outcome
		// The first kubectl after a token has ended may say Unauthorized.
		waitFor(t, patience, law, func() bool {
			if last, err = jet.Kubectl(t.Context(), "aks-1", "get", "pods", "-n", "default"); err != nil {
				t.Fatal(err)
			}
			return last.Exit == 0
		})
	}
	works("before")
	rehearse(t, stage, "clock", "+2h")
	works("two hours on, by a token that was renewed")
	rehearse(t, stage, "clock", "+30d")
	works("a month on, by another signing key")
	// A local administrator's certificate is a matter of the machine's clock.
	admin, err := stage.Operate(t.Context(), "kubeconfig", "aks-1", "--admin")
	if err != nil || admin.Exit != 0 {
		t.Fatalf("kubeconfig --admin: %s, %v", admin.Text, err)
	}
	rehearse(t, stage, "clock", "reset")
	works("back again")
}
