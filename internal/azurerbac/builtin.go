package azurerbac

import (
	_ "embed"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// builtinJSON holds Azure's own roles as Azure's management API lists them, one
// a line: general ones, those of AKS, Fleet and Arc, and those of the services
// that clusters use. testdata/builtin.golden counts their operations.
//
//go:embed builtin.json
var builtinJSON []byte

var builtins = sync.OnceValue(func() []*Role {
	var definitions []Definition
	if err := record.Unmarshal(builtinJSON, &definitions); err != nil {
		panic(fmt.Sprintf("builtin.json: %v", err))
	}
	roles := make([]*Role, len(definitions))
	for i, d := range definitions {
		d.BuiltIn = true
		d.AssignableScopes = []scope.Scope{scope.Root}
		role, err := Compile(d)
		if err != nil {
			panic(fmt.Sprintf("builtin.json: %v", err))
		}
		roles[i] = role
	}
	return roles
})

// BuiltIn yields the built-in roles, whose ids and names are those of Azure.
// They are shared: do not modify what they point to.
func BuiltIn() iter.Seq[Definition] {
	return func(yield func(Definition) bool) {
		for _, role := range builtins() {
			if !yield(role.Definition) {
				return
			}
		}
	}
}

// BuiltInRoles yields the built-in roles made ready for decisions, in the order
// of BuiltIn.
func BuiltInRoles() iter.Seq[*Role] { return slices.Values(builtins()) }
