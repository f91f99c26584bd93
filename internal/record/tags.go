package record

import "strings"

// Tags are what people stick on a resource, name to value. Names differ by more
// than letter case.
type Tags map[string]string

// The limits of Azure Resource Manager.
const (
	maxTags     = 50
	maxTagName  = 512
	maxTagValue = 256
)

// Validate checks the number of tags and how they are written.
func (t Tags) Validate() error {
	if len(t) > maxTags {
		return Invalid("%d tags, at most %d", len(t), maxTags)
	}
	seen := make(map[string]bool, len(t))
	for name, value := range t {
		lower := strings.ToLower(name)
		switch {
		case name == "" || len(name) > maxTagName || strings.ContainsAny(name, `<>%&\?/`):
			return Invalid(`tag name %.80q: want 1 to %d characters without <>%%&\?/`, name, maxTagName)
		case len(value) > maxTagValue:
			return Invalid("tag %.80q: the value has more than %d characters", name, maxTagValue)
		case seen[lower]:
			return Invalid("tag %.80q is there twice, in other letters", name)
		}
		seen[lower] = true
	}
	return nil
}
