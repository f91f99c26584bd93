package imds

import (
	"net/url"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A selector says which identity is asked for. The zero selector leaves it to the
// machine.
type selector struct{ name, value string }

// selectorOf reads the one parameter that chooses an identity, if there is one.
func selectorOf(v url.Values, names ...string) (selector, error) {
	var s selector
	for _, n := range names {
		if !v.Has(n) {
			continue
		}
		if s.name != "" {
			return selector{}, refuse("invalid_request", "At most one of "+s.name+" and "+n+" can be in a request.")
		}
		s = selector{n, v.Get(n)}
	}
	return s, nil
}

// choose returns the identity that is asked for, among those that the caller has:
// without a selector the system-assigned one, or the only one.
func (s selector) choose(has []Identity) (Identity, error) {
	var match func(Identity) bool
	switch s.name {
	case "":
		return theOne(has)
	case "client_id", "clientid":
		id, err := guid.Parse[struct{}](s.value)
		match = func(i Identity) bool { return err == nil && i.Client == directory.AppID(id) }
	case "object_id", "principal_id":
		id, err := principal.ParseID(s.value)
		match = func(i Identity) bool { return err == nil && i.Object == id }
	default: // a resource id
		at, err := scope.Parse(s.value)
		match = func(i Identity) bool { return err == nil && i.Resource == at }
	}
	if i := slices.IndexFunc(has, match); i >= 0 {
		return has[i], nil
	}
	return Identity{}, errNotFound()
}

func theOne(has []Identity) (Identity, error) {
	if i := slices.IndexFunc(has, func(i Identity) bool { return i.SystemAssigned }); i >= 0 {
		return has[i], nil
	}
	switch len(has) {
	case 0:
		return Identity{}, errNotFound()
	case 1:
		return has[0], nil
	}
	return Identity{}, refuse("invalid_request", "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request")
}

// errNotFound is the answer to whoever asks for an identity that is not his,
// whether or not there is one.
func errNotFound() *Error { return refuse("invalid_request", "Identity not found") }
