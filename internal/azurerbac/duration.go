package azurerbac

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A Duration is a length of time as ISO 8601 writes it in days, hours, minutes and
// seconds: P365D, PT8H, P1DT12H. Years, months and weeks are refused: how long they
// are is a matter of opinion, and so are fractions and signs (JIT-06). A day has 24
// hours.
type Duration time.Duration

const (
	day = 24 * time.Hour
	// maxDuration is far above what any policy allows, and far below an overflow.
	maxDuration = 36500 * day
)

var isoDuration = regexp.MustCompile(`^P(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?$`)

// ParseDuration reads a duration that is longer than nothing.
func ParseDuration(text string) (Duration, error) {
	m := isoDuration.FindStringSubmatch(text)
	if m == nil || strings.HasSuffix(text, "T") {
		return 0, record.Invalid("duration %.40q: write it in days, hours and minutes, like PT8H or P365D", text)
	}
	var d time.Duration
	for i, unit := range []time.Duration{day, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi("0" + m[i+1])
		d += time.Duration(n) * unit
	}
	if d <= 0 || d > maxDuration {
		return 0, record.Invalid("duration %.40q: want more than nothing and at most %s", text, Duration(maxDuration))
	}
	return Duration(d), nil
}

// String writes the duration in as many days as there are, and the rest. A rest of
// less than a second is not written.
func (d Duration) String() string {
	var b strings.Builder
	rest := time.Duration(d)
	write := func(unit time.Duration, letter byte) {
		if n := rest / unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10))
			b.WriteByte(letter)
			rest %= unit
		}
	}
	b.WriteByte('P')
	write(day, 'D')
	if rest >= time.Second || b.Len() == 1 {
		b.WriteByte('T')
		write(time.Hour, 'H')
		write(time.Minute, 'M')
		write(time.Second, 'S')
	}
	if b.Len() == 2 {
		return "PT0S"
	}
	return b.String()
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	var err error
	*d, err = ParseDuration(string(text))
	return err
}
