package rehearsal

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A Duration is a span of time whose text people write: 90s, 5m, 8h, 30d, 1d12h.
type Duration time.Duration

const day = 24 * time.Hour

// ParseDuration reads a duration that is not negative. It knows days, of 24 hours,
// in front of what time.ParseDuration knows.
func ParseDuration(text string) (Duration, error) {
	bad := record.Invalid("duration %.40q: write it like 90s, 5m, 8h or 30d", text)
	rest := text
	var d time.Duration
	if days, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, bad
		}
		if d, rest = time.Duration(n)*day, after; rest == "" {
			return Duration(d), nil
		}
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") {
		return 0, bad
	}
	// Days are bounded, so hours are too: what is read can be written and read again.
	if d += more; d < 0 || d > math.MaxUint16*day+day-1 {
		return 0, bad
	}
	return Duration(d), nil
}

// String is the shortest text that ParseDuration reads.
func (d Duration) String() string {
	if d < 0 {
		return "-" + (-d).String()
	}
	days := time.Duration(d) / day
	rest := (time.Duration(d) % day).String()
	for _, zero := range []string{"0s", "0m"} {
		// 8h0m0s, but 10s and 20m end in digits that count.
		if cut, ok := strings.CutSuffix(rest, zero); ok && (cut == "" || strings.HasSuffix(cut, "m") || strings.HasSuffix(cut, "h")) {
			rest = cut
		}
	}
	switch {
	case days == 0 && rest == "":
		return "0s"
	case days == 0:
		return rest
	}
	return strconv.FormatInt(int64(days), 10) + "d" + rest
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	var err error
	*d, err = ParseDuration(string(text))
	return err
}
