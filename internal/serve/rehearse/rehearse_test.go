package rehearse_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
)

func yes(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "yes") }

// A stage whose knobs a test turns.
type theatre struct {
	knobs atomic.Pointer[rehearsal.Knobs]
	stage rehearse.Stage
}

func newTheatre() *theatre {
	th := new(theatre)
	th.knobs.Store(new(rehearsal.Knobs))
	th.stage = rehearse.Stage{Knobs: func() rehearsal.Knobs { return *th.knobs.Load() }, Machine: time.Now}
	return th
}

func (th *theatre) out(o ...rehearsal.Outage) { th.knobs.Store(&rehearsal.Knobs{Outages: o}) }

func TestADoorThatIsShutAnswersAsItsProtocolDoes(t *testing.T) {
	t.Parallel()
	for door, code := range map[rehearsal.Door]string{
		rehearsal.ARM: "ServiceUnavailable", rehearsal.Graph: "serviceNotAvailable", rehearsal.KeyVault: "ServiceUnavailable", rehearsal.Registry: "ServiceUnavailable",
		rehearsal.OIDC: "temporarily_unavailable", rehearsal.IMDS: "temporarily_unavailable",
		rehearsal.AuthN: "ServiceUnavailable", rehearsal.AuthZ: "ServiceUnavailable", rehearsal.Admission: "ServiceUnavailable",
	} {
		th := newTheatre()
		h := th.stage.Shut(door, http.HandlerFunc(yes))
		ask := func() (int, string, string) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
			return w.Code, w.Body.String(), w.Header().Get(rehearse.Header)
		}
		if status, body, head := ask(); status != http.StatusOK || body != "yes" || head != "" {
			t.Errorf("%s without a knob: %d %s %q", door, status, body, head)
		}
		th.out(rehearsal.Outage{Door: door})
		status, body, head := ask()
		var got struct {
			Error any `json:"error"`
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s: %s: %v", door, body, err)
		}
		if m, ok := got.Error.(map[string]any); ok {
			got.Error = m["code"]
		}
		if status != http.StatusServiceUnavailable || got.Error != code || head != "outage of "+string(door) {
			t.Errorf("%s: %d %s %q, want 503 %s", door, status, body, head, code)
		}
		for _, other := range rehearsal.Doors() {
			if other == door {
				continue
			}
			th.out(rehearsal.Outage{Door: other})
			if status, _, head := ask(); status != http.StatusOK || head == "" {
				t.Errorf("%s in an outage of %s: %d %q, want 200 and the header", door, other, status, head)
			}
		}
		th.out(rehearsal.Outage{Door: door, Until: time.Now().Add(-time.Second)})
		if status, _, head := ask(); status != http.StatusOK || head != "" {
			t.Errorf("%s after the end: %d %q", door, status, head)
		}
	}
}

func TestAConnectionIsCutOrHeld(t *testing.T) {
	t.Parallel()
	th := newTheatre()
	srv := httptest.NewServer(th.stage.Shut(rehearsal.AuthZ, http.HandlerFunc(yes), "/passes"))
	defer srv.Close()
	post := func(ctx context.Context, path string) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+path, strings.NewReader(`{"a":1}`))
		if err != nil {
			t.Fatal(err)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		return res.StatusCode, nil
	}
	th.out(rehearsal.Outage{Door: rehearsal.AuthZ, How: rehearsal.Reset})
	if status, err := post(t.Context(), "/x"); err == nil {
		t.Errorf("reset: %d, want an error of the connection", status)
	}
	if status, err := post(t.Context(), "/x/passes"); err != nil || status != http.StatusOK {
		t.Errorf("what the door answers for itself: %d, %v", status, err)
	}
	th.out(rehearsal.Outage{Door: rehearsal.AuthZ, How: rehearsal.Timeout})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if status, err := post(ctx, "/x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timeout: %d, %v; want that nothing is said", status, err)
	}
	// The way is not known to this version: an outage all the same.
	th.out(rehearsal.Outage{Door: rehearsal.AuthZ, How: "sulk"})
	if status, err := post(t.Context(), "/x"); err == nil {
		t.Errorf("an unknown way: %d, want an error of the connection", status)
	}
}
