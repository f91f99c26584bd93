package resource

import (
	"regexp"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// An IdentityBinding lets workloads of a cluster ask for the tokens of a managed
// identity, as far as Kubernetes RBAC in the cluster lets them use it.
type IdentityBinding struct {
	// Name keeps the letters it was created with; two differ by more than those.
	Name     string      `json:"name"`
	Identity IdentityRef `json:"identity"`
}

// bindingName is what AKS lets a binding be called.
var bindingName = regexp.MustCompile(`^[a-zA-Z0-9]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$`)

// MaxIdentityBindings is how many bindings one cluster may have.
const MaxIdentityBindings = 200

// Binding returns the binding with a name, in whatever letter case.
func (c Cluster) Binding(name string) (IdentityBinding, bool) {
	for _, b := range c.IdentityBindings {
		if strings.EqualFold(b.Name, name) {
			return b, true
		}
	}
	return IdentityBinding{}, false
}

// Binds reports whether workloads of the cluster may ask for an identity, by
// whichever of its bindings.
func (c Cluster) Binds(ref IdentityRef) bool {
	for _, b := range c.IdentityBindings {
		if b.Identity == ref {
			return true
		}
	}
	return false
}

func (c Cluster) checkBindings() error {
	if len(c.IdentityBindings) > MaxIdentityBindings {
		return record.Invalid("%d identity bindings, at most %d", len(c.IdentityBindings), MaxIdentityBindings)
	}
	seen := make(map[string]bool, len(c.IdentityBindings))
	for _, b := range c.IdentityBindings {
		name := strings.ToLower(b.Name)
		switch {
		case !bindingName.MatchString(b.Name):
			return record.Invalid("%.80q is no name of an identity binding: want 1 to 63 letters, digits, hyphens and underscores", b.Name)
		case seen[name]:
			return record.Invalid("identity binding %q is there twice", b.Name)
		case b.Identity.Resource.Type() != typeIdentity || b.Identity.Object.IsZero():
			return record.Invalid("identity binding %q does not name a user-assigned identity", b.Name)
		}
		seen[name] = true
	}
	return nil
}
