package arm

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// members are those of a JSON object that is looked at here and there, and else
// kept as it is.
type members map[string]jsontext.Value

// membersOf takes properties apart.
func membersOf(p resource.Properties) members {
	m := make(members)
	if json.Unmarshal([]byte(p.String()), &m) != nil {
		return make(members) // they are an object, so there is no error
	}
	return m
}

// properties puts members together again.
func (m members) properties() (resource.Properties, error) {
	text, err := record.Marshal(m)
	if err != nil {
		return resource.Properties{}, err
	}
	return resource.ParseProperties(text)
}

// text is the text of a member, or "" for one that is missing or no text.
func (m members) text(name string) string {
	var s string
	if json.Unmarshal(m[name], &s) != nil {
		return ""
	}
	return s
}

// set puts a member in the place of what is there.
func (m members) set(name string, v any) {
	if text, err := record.Marshal(v); err == nil {
		m[name] = text
	}
}

// preset puts a member where there is none, or null.
func (m members) preset(name string, v any) {
	if now, ok := m[name]; !ok || now.Kind() == 'n' {
		m.set(name, v)
	}
}

// merge puts the members of a patch in the place of those that are there; null
// takes one away, and objects are merged in turn (RFC 7396).
func (m members) merge(patch members) {
	for name, v := range patch {
		switch now := m[name]; {
		case v.Kind() == 'n':
			delete(m, name)
		case v.Kind() == '{' && now.Kind() == '{':
			inner, more := make(members), make(members)
			if json.Unmarshal(now, &inner) == nil && json.Unmarshal(v, &more) == nil {
				inner.merge(more)
				m.set(name, inner)
			}
		default:
			m[name] = v
		}
	}
}

// sameName reports whether two names are one, as Azure reads the names of types and
// properties.
func sameName(a, b string) bool { return strings.EqualFold(a, b) }
