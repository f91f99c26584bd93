package rehearsal

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A Door is a protocol that the house serves, by the name that the command line
// and the logs have for it.
type Door string

// The doors that an outage can be of. The house's own management API is none of
// them: it is the way back.
const (
	ARM       Door = "arm"
	Graph     Door = "graph"
	OIDC      Door = "oidc"
	AuthN     Door = "authn"
	AuthZ     Door = "authz"
	Admission Door = "admission"
	IMDS      Door = "imds"
	KeyVault  Door = "keyvault"
	Registry  Door = "registry"
)

// Doors are all of them.
func Doors() []Door {
	return []Door{ARM, Graph, OIDC, AuthN, AuthZ, Admission, IMDS, KeyVault, Registry}
}

// A How is the way in which a door does not answer.
type How string

// The ways. The zero How is Unavailable.
const (
	Unavailable How = "unavailable" // 503, in the words of the protocol
	Reset       How = "reset"       // the connection is cut
	Timeout     How = "timeout"     // nothing is answered, for as long as the client waits
)

// Hows are all of them.
func Hows() []How { return []How{Unavailable, Reset, Timeout} }

// An Outage is a door that does not answer.
type Outage struct {
	Door Door `json:"door"`
	How  How  `json:"how,omitzero"`
	// Until is when it ends by itself, by the machine's clock; zero is never.
	Until time.Time `json:"until,omitzero"`
}

func (o Outage) at(now time.Time) bool { return o.Until.IsZero() || now.Before(o.Until) }

func (o Outage) validate() error {
	if !slices.Contains(Doors(), o.Door) {
		return record.Invalid("there is no door %.40q; they are %s", string(o.Door), joined(Doors()))
	}
	if o.How != "" && !slices.Contains(Hows(), o.How) {
		return record.Invalid("there is no outage %.40q; they are %s", string(o.How), joined(Hows()))
	}
	return nil
}

// OutageOf says how a door does not answer at an instant of the machine's clock;
// false when it answers.
func (k Knobs) OutageOf(door Door, now time.Time) (How, bool) {
	for _, o := range k.Outages {
		if o.Door == door && o.at(now) {
			if o.How == "" {
				return Unavailable, true
			}
			return o.How, true
		}
	}
	return "", false
}

func joined[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = string(t)
	}
	return strings.Join(texts, ", ")
}
