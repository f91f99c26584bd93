package rehearsal

import (
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Throttle bounds how often one principal may ask; a zero Rate is no bound. Each
// is a bucket of its own: for each principal, and of Azure Resource Manager for
// each of his subscriptions. Each replica counts for itself.
type Throttle struct {
	ARMReads   Rate `json:"armReads,omitzero"`
	ARMWrites  Rate `json:"armWrites,omitzero"`
	ARMDeletes Rate `json:"armDeletes,omitzero"`
	Graph      Rate `json:"graph,omitzero"`
	// Token counts what a client asks the token endpoint for, from one address.
	Token Rate `json:"token,omitzero"`
}

// AzureThrottle are the rates that Azure Resource Manager has for a principal in a
// subscription, and rates of the same order for Graph and tokens, for which no
// single figure is published.
func AzureThrottle() Throttle {
	return Throttle{
		ARMReads: Rate{250, Duration(10 * time.Second)}, ARMWrites: Rate{200, Duration(20 * time.Second)},
		ARMDeletes: Rate{200, Duration(20 * time.Second)},
		Graph:      Rate{3500, Duration(10 * time.Second)}, Token: Rate{200, Duration(30 * time.Second)},
	}
}

func (t Throttle) validate() error {
	for _, r := range []Rate{t.ARMReads, t.ARMWrites, t.ARMDeletes, t.Graph, t.Token} {
		if r != (Rate{}) && (r.Count <= 0 || r.Count > maxCount || r.Per <= 0) {
			return record.Invalid("rate %d in %s", r.Count, r.Per)
		}
	}
	return nil
}

// A Rate is a bucket of Count requests that fills up again within Per, evenly. Its
// text is like 250/10s.
type Rate struct {
	Count int
	Per   Duration
}

const maxCount = 1_000_000

// ParseRate reads a rate such as 250/10s.
func ParseRate(text string) (Rate, error) {
	count, per, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n <= 0 || n > maxCount {
		return Rate{}, record.Invalid("rate %.40q: write how many in how long, such as 250/10s", text)
	}
	if per == "s" || per == "m" || per == "h" {
		per = "1" + per
	}
	d, err := ParseDuration(per)
	if err != nil || d <= 0 {
		return Rate{}, record.Invalid("rate %.40q: write how many in how long, such as 250/10s", text)
	}
	return Rate{n, d}, nil
}

// String is the text that ParseRate reads; "" of no bound.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	return strconv.Itoa(r.Count) + "/" + r.Per.String()
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	var err error
	*r, err = ParseRate(string(text))
	return err
}
