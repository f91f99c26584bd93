package registry

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// An operation is what Azure asks about one action of a client: at a registry whose
// rights are given for all of it, and, as a data action, at one whose rights are given
// for single repositories.
type operation struct{ registry, repository string }

const below = "Microsoft.ContainerRegistry/registries/"

// operations are those of the actions on a repository. An action that is not here
// nobody may.
var operations = map[string]operation{
	"pull":           {below + "pull/read", below + "repositories/content/read"},
	"push":           {below + "push/write", below + "repositories/content/write"},
	"delete":         {below + "artifacts/delete", below + "repositories/content/delete"},
	"metadata_read":  {below + "pull/read", below + "repositories/metadata/read"},
	"metadata_write": {below + "push/write", below + "repositories/metadata/write"},
}

// every are the actions that * stands for.
var every = []string{"delete", "metadata_read", "metadata_write", "pull", "push"}

// catalog is that of the list of all repositories.
var catalog = operation{below + "pull/read", below + "catalog/read"}

// repositoryName is by which a condition of a role assignment asks for the repository.
var repositoryName = condition.CanonicalName("Microsoft.ContainerRegistry/registries/repositories:name")

// Bounds on what one request may ask for.
const (
	maxScopes  = 50
	maxActions = 20
)

// repository is what a repository may be called: OCI distribution specification.
var repository = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// parseScopes reads scopes as clients write them: type:name:action,action.
func parseScopes(texts []string) ([]token.RegistryRight, error) {
	var all []token.RegistryRight
	for _, text := range texts {
		for _, one := range strings.Fields(text) {
			typ, rest, ok := strings.Cut(one, ":")
			at := strings.LastIndexByte(rest, ':')
			if !ok || at < 0 || len(all) >= maxScopes {
				return nil, badScope(one)
			}
			right := token.RegistryRight{Type: typ, Name: rest[:at], Actions: strings.Split(rest[at+1:], ",")}
			if right.Type == "repository" && (len(right.Name) > 255 || !repository.MatchString(right.Name)) || len(right.Actions) > maxActions {
				return nil, badScope(one)
			}
			all = append(all, right)
		}
	}
	return all, nil
}

func badScope(text string) error {
	return refuse(400, "BAD_REQUEST", fmt.Sprintf("The scope '%s' is not of the form repository:name:actions, or is one too many.", serve.Printable(text, 200)))
}

// granted returns what of some scopes a caller may do now, and what he may not.
func (c *call) granted(who principal.ID, asked []token.RegistryRight) (has []token.RegistryRight, lacks []missing) {
	for _, right := range asked {
		var may []string
		actions := right.Actions
		if right.Type == "repository" && slices.Contains(actions, "*") {
			actions = every
		}
		for _, action := range actions {
			if !c.may(who, right.Type, right.Name, action) {
				lacks = append(lacks, missing{right.Type, right.Name, action})
			} else if !slices.Contains(may, action) {
				may = append(may, action)
			}
		}
		if len(may) > 0 {
			has = append(has, token.RegistryRight{Type: right.Type, Name: right.Name, Actions: may})
		}
	}
	return has, lacks
}

// may decides about one action.
func (c *call) may(who principal.ID, typ, name, action string) bool {
	op, known := operations[action]
	switch {
	case typ == "registry" && name == "catalog" && action == "*":
		op, known, name = catalog, true, ""
	case typ != "repository":
		return false
	}
	return known && c.operation(op, name).Allowed(c.law, who, c.now)
}

// operation is what is asked about an action, with the repository for conditions.
func (c *call) operation(op operation, name string) serve.Operation {
	if !c.is.perRepository() {
		return serve.Operation{Action: op.registry, At: c.resource.Scope}
	}
	return serve.Operation{Action: op.repository, Data: true, At: c.resource.Scope, Attributes: func(from condition.Source, attribute string) (condition.Value, bool) {
		if from != condition.Request || attribute != repositoryName || name == "" {
			return condition.Value{}, false
		}
		return condition.String(name), true
	}}
}

// anything reports whether a caller may do anything at all at the registry. Where
// rights are given for single repositories, only a scope can tell.
func (c *call) anything(who principal.ID) bool {
	if c.is.perRepository() {
		return true
	}
	for _, action := range every {
		if c.operation(operations[action], "").Allowed(c.law, who, c.now) {
			return true
		}
	}
	return false
}
