package vault

import (
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A Period is a length of time in years, months and days, as ISO 8601 writes it:
// P1Y6M, P90D. Hours are not for it. The zero Period is none.
type Period struct{ Years, Months, Days int }

// ParsePeriod returns the period written as text.
func ParsePeriod(text string) (Period, error) {
	rest, ok := strings.CutPrefix(text, "P")
	var p Period
	units := "YMD"
	for rest != "" && ok {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if i < 1 || i > 4 {
			ok = false
			break
		}
		n, _ := strconv.Atoi(rest[:i]) // at most four digits
		at := strings.IndexByte(units, rest[i])
		if at < 0 {
			ok = false
			break
		}
		*map[byte]*int{'Y': &p.Years, 'M': &p.Months, 'D': &p.Days}[rest[i]] = n
		units, rest = units[at+1:], rest[i+1:]
	}
	if !ok || p == (Period{}) {
		return Period{}, record.Invalid("%.32q is no period in years, months and days, such as P1Y or P90D", text)
	}
	return p, nil
}

// String writes the period; "" is none.
func (p Period) String() string {
	if p == (Period{}) {
		return ""
	}
	text := "P"
	for _, part := range []struct {
		n    int
		unit string
	}{{p.Years, "Y"}, {p.Months, "M"}, {p.Days, "D"}} {
		if part.n != 0 {
			text += strconv.Itoa(part.n) + part.unit
		}
	}
	return text
}

// MarshalText implements encoding.TextMarshaler.
func (p Period) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Period) UnmarshalText(text []byte) (err error) {
	*p = Period{}
	if len(text) > 0 {
		*p, err = ParsePeriod(string(text))
	}
	return err
}

// After is the instant so long after t.
func (p Period) After(t time.Time) time.Time { return t.AddDate(p.Years, p.Months, p.Days) }

// Before is the instant so long before t.
func (p Period) Before(t time.Time) time.Time { return t.AddDate(-p.Years, -p.Months, -p.Days) }

// A RotationPolicy says when a key gets a new version by itself.
type RotationPolicy struct {
	// Life is how long a new version is valid; none is for ever.
	Life Period `json:"life,omitzero"`
	// AfterCreate and BeforeExpiry say when the next version is made, counted from
	// the newest one; both zero is never.
	AfterCreate  Period `json:"afterCreate,omitzero"`
	BeforeExpiry Period `json:"beforeExpiry,omitzero"`
	// Notify is when Azure would tell about the coming end; it is kept alone.
	Notify  Period    `json:"notify,omitzero"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

// minPeriod is the shortest period of a policy, as in Azure: shorter ones would
// make versions without end.
const minPeriod = 7

// Validate checks that a policy can be followed.
func (r RotationPolicy) Validate() error {
	epoch := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	week := epoch.AddDate(0, 0, minPeriod)
	for _, p := range []Period{r.Life, r.AfterCreate, r.BeforeExpiry} {
		if p != (Period{}) && p.After(epoch).Before(week) {
			return record.Invalid("the period %s is shorter than %d days", p, minPeriod)
		}
	}
	switch {
	case r.AfterCreate != (Period{}) && r.BeforeExpiry != (Period{}):
		return record.Invalid("a key is rotated some time after it was made or before it ends, not both")
	case r.BeforeExpiry != (Period{}) && r.Life == (Period{}):
		return record.Invalid("a key that never ends is not rotated before its end: set expiryTime")
	case r.Life != (Period{}) && r.AfterCreate != (Period{}) && r.Life.After(epoch).Before(r.AfterCreate.After(epoch).AddDate(0, 0, minPeriod)),
		r.Life != (Period{}) && r.BeforeExpiry != (Period{}) && r.BeforeExpiry.Before(r.Life.After(epoch)).Before(week):
		return record.Invalid("a key must be rotated at least %d days after it is made, and as long before it ends", minPeriod)
	}
	return nil
}

// Due reports whether the policy asks for a new version at an instant.
func (r RotationPolicy) Due(current Attributes, now time.Time) bool {
	switch {
	case r.AfterCreate != (Period{}):
		return !now.Before(r.AfterCreate.After(current.Created))
	case r.BeforeExpiry != (Period{}):
		return !current.Expires.IsZero() && !now.Before(r.BeforeExpiry.Before(current.Expires))
	}
	return false
}
