package imds

import (
	"net/url"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// A Selector says which identity is asked for, by a parameter and its value. The
// zero Selector leaves it to the machine.
type Selector struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// selectorOf reads the one parameter that chooses an identity, if there is one.
func selectorOf(v url.Values, names ...string) (Selector, error) {
	var s Selector
	for _, n := range names {
		if !v.Has(n) {
			continue
		}
		if s.Name != "" {
			return Selector{}, refuse("invalid_request", "At most one of "+s.Name+" and "+n+" can be in a request.")
		}
		s = Selector{n, v.Get(n)}
	}
	return s, nil
}

// Choose returns the identity that is asked for, among those that the caller has:
// without a selector the system-assigned one, or the only one.
func (s Selector) Choose(has []Identity) (Identity, error) {
	if s.Name == "" {
		return theOne(has)
	}
	if i := slices.IndexFunc(has, s.Matches); i >= 0 {
		return has[i], nil
	}
	return Identity{}, errNotFound()
}

// Matches reports whether an identity is the one that is asked for. A value that is
// no id, and the zero Selector, match none.
func (s Selector) Matches(i Identity) bool {
	switch s.Name {
	case "client_id", "clientid":
		id, err := guid.Parse[struct{}](s.Value)
		return err == nil && i.Client == directory.AppID(id)
	case "object_id", "principal_id":
		id, err := principal.ParseID(s.Value)
		return err == nil && i.Object == id
	case "msi_res_id", "mi_res_id":
		at, err := scope.Parse(s.Value)
		return err == nil && i.Resource == at
	}
	return false
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
