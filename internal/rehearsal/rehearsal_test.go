package rehearsal_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
)

func TestDurationsAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, again string
		want        time.Duration
	}{
		{"8h", "8h", 8 * time.Hour},
		{"90s", "1m30s", 90 * time.Second},
		{"10s", "10s", 10 * time.Second},
		{"20m", "20m", 20 * time.Minute},
		{"30d", "30d", 30 * 24 * time.Hour},
		{"1d12h", "1d12h", 36 * time.Hour},
		{"36h", "1d12h", 36 * time.Hour},
		{"1h0m10s", "1h0m10s", time.Hour + 10*time.Second},
		{"1.5s", "1.5s", 1500 * time.Millisecond},
		{"0s", "0s", 0},
	} {
		got, err := rehearsal.ParseDuration(tt.text)
		if err != nil || time.Duration(got) != tt.want || got.String() != tt.again {
			t.Errorf("%q is %s (%q), %v; want %s (%q)", tt.text, time.Duration(got), got, err, tt.want, tt.again)
		}
	}
	for _, text := range []string{"", "8", "-8h", "+8h", "h", "d", "-1d", "1d-2h", "1d+2h", "99999d", "8 h", "1d1d", "10000000h", "65536d"} {
		if got, err := rehearsal.ParseDuration(text); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%q is %s, %v; want an error", text, got, err)
		}
	}
}

func TestRatesAreSoManyInSoLong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]rehearsal.Rate{
		"250/10s": {Count: 250, Per: rehearsal.Duration(10 * time.Second)},
		"5/s":     {Count: 5, Per: rehearsal.Duration(time.Second)},
		"1200/h":  {Count: 1200, Per: rehearsal.Duration(time.Hour)},
	} {
		if got, err := rehearsal.ParseRate(text); err != nil || got != want {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "/s", "0/s", "-5/s", "5/0s", "5/-1s", "5/x", "5/s/s", "9999999/s", "1.5/s"} {
		if got, err := rehearsal.ParseRate(text); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%q is %v, %v; want an error", text, got, err)
		}
	}
}

func TestKnobsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for law, k := range map[string]rehearsal.Knobs{
		"a negative delay":                  {PropagationDelay: -1},
		"a delay of days":                   {PropagationDelay: rehearsal.Duration(25 * time.Hour)},
		"a clock behind the machine's":      {ClockAhead: rehearsal.Duration(-time.Second)},
		"a clock of another century":        {ClockAhead: rehearsal.Duration(rehearsal.MaxAhead + 1)},
		"a door that is none":               {Outages: []rehearsal.Outage{{Door: "front"}}},
		"the management API, the way back":  {Outages: []rehearsal.Outage{{Door: "api"}}},
		"an outage of no kind":              {Outages: []rehearsal.Outage{{Door: rehearsal.ARM, How: "sulk"}}},
		"two outages of one door":           {Outages: []rehearsal.Outage{{Door: rehearsal.ARM}, {Door: rehearsal.ARM, How: rehearsal.Reset}}},
		"a negative quota":                  {Limits: rehearsal.Limits{GroupsInToken: -1}},
		"a rate of none":                    {Throttle: rehearsal.Throttle{Graph: rehearsal.Rate{Per: 1}}},
		"a rate in no time":                 {Throttle: rehearsal.Throttle{Graph: rehearsal.Rate{Count: 1}}},
		"a rate that is negative":           {Throttle: rehearsal.Throttle{Token: rehearsal.Rate{Count: -1, Per: 1}}},
		"a rate that goes back in its time": {Throttle: rehearsal.Throttle{ARMReads: rehearsal.Rate{Count: 1, Per: -1}}},
	} {
		if err := k.Validate(); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: %v, want an error", law, err)
		}
	}
	if err := (rehearsal.Knobs{Throttle: rehearsal.AzureThrottle(), Limits: rehearsal.AzureLimits()}).Validate(); err != nil {
		t.Errorf("Azure's own figures: %v", err)
	}
}

func TestKnobsSayWhatIsRehearsed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	if k := (rehearsal.Knobs{}); !k.Off(now) || k.Summary(now) != "" {
		t.Errorf("the zero knobs: %q", k.Summary(now))
	}
	k := rehearsal.Knobs{
		PropagationDelay: rehearsal.Duration(5 * time.Minute), ClockAhead: rehearsal.Duration(8 * time.Hour),
		Outages: []rehearsal.Outage{{Door: rehearsal.ARM, Until: now}, {Door: rehearsal.AuthZ, How: rehearsal.Reset, Until: now.Add(time.Second)}},
	}
	if got, want := k.Summary(now), "clock 8h ahead; changes delayed by 5m; outage of authz"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if how, out := k.OutageOf(rehearsal.ARM, now); out {
		t.Errorf("an outage whose end has come: %s", how)
	}
	if how, out := k.OutageOf(rehearsal.AuthZ, now); !out || how != rehearsal.Reset {
		t.Errorf("an outage before its end: %s, %t", how, out)
	}
	if _, out := k.OutageOf(rehearsal.AuthZ, now.Add(time.Second)); out {
		t.Error("an outage goes on after its end")
	}
	if how, out := (rehearsal.Knobs{Outages: []rehearsal.Outage{{Door: rehearsal.Graph}}}).OutageOf(rehearsal.Graph, now); !out || how != rehearsal.Unavailable {
		t.Errorf("an outage without end: %s, %t", how, out)
	}
}

func TestLimitsOfZeroAreNone(t *testing.T) {
	t.Parallel()
	if l := rehearsal.Limit(0); l.Reached(1<<30) || l.Exceeded(1<<30) {
		t.Error("no limit was reached")
	}
	if l := rehearsal.Limit(20); l.Reached(19) || !l.Reached(20) || l.Exceeded(20) || !l.Exceeded(21) {
		t.Error("a limit of 20 is reached by 20 and exceeded by 21")
	}
}

func FuzzDurations(f *testing.F) {
	f.Add("8h")
	f.Add("1d12h0.5s")
	f.Add("100000000m")
	f.Add("65535d23h59m59.999999999s")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := rehearsal.ParseDuration(text)
		if err != nil {
			if d != 0 {
				t.Fatalf("%q is %s and an error", text, d)
			}
			return
		}
		if again, err := rehearsal.ParseDuration(d.String()); err != nil || again != d || d < 0 {
			t.Fatalf("%q is %q, which is %s, %v", text, d, again, err)
		}
	})
}

func FuzzRates(f *testing.F) {
	f.Add("250/10s")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := rehearsal.ParseRate(text)
		if err != nil {
			if r != (rehearsal.Rate{}) {
				t.Fatalf("%q is %s and an error", text, r)
			}
			return
		}
		if again, err := rehearsal.ParseRate(r.String()); err != nil || again != r || strings.TrimSpace(r.String()) != r.String() {
			t.Fatalf("%q is %q, which is %s, %v", text, r, again, err)
		}
	})
}
