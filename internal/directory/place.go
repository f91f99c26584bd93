package directory

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Where directories are, in lower case: /providers/Microsoft.Directory/tenants/{tenant}[/objects/{object}].
const (
	tenantsPath = "/providers/microsoft.directory/tenants/"
	objectsPath = "/objects/"
)

// Place is where the directory of a tenant is: what is granted there reaches
// every object in it. That of the zero tenant is no place.
func Place(t TenantID) scope.Scope {
	if t.IsZero() {
		return scope.Scope{}
	}
	return scope.MustParse(tenantsPath + t.String())
}

// PlaceOf is where one object of a tenant's directory is: a principal, or an
// application by its object id.
func PlaceOf(t TenantID, object principal.ID) scope.Scope {
	if t.IsZero() || object.IsZero() {
		return scope.Scope{}
	}
	return scope.MustParse(tenantsPath + t.String() + objectsPath + object.String())
}

// CutPlace returns whose directory a place is in, and which object it is: the
// zero id for the directory itself. It reports false for every other place.
func CutPlace(s scope.Scope) (t TenantID, object principal.ID, ok bool) {
	rest, ok := strings.CutPrefix(s.String(), tenantsPath)
	if !ok {
		return TenantID{}, principal.ID{}, false
	}
	text, id, deeper := strings.Cut(rest, objectsPath)
	t, err := guid.Parse[tenant](text)
	if err == nil && deeper {
		object, err = principal.ParseID(id)
	}
	if err != nil {
		return TenantID{}, principal.ID{}, false
	}
	return t, object, true
}
