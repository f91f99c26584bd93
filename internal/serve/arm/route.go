package arm

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// A kind is one of the things that this door has routes for.
type kind string

// The kinds. The empty kind is no route.
const (
	tenants         kind = "tenants"
	subscriptions   kind = "subscriptions"
	subscription    kind = "subscription"
	resourceGroups  kind = "resourceGroups"
	resourceGroup   kind = "resourceGroup"
	roleDefinitions kind = "roleDefinitions"
	roleDefinition  kind = "roleDefinition"
	roleAssignments kind = "roleAssignments"
	roleAssignment  kind = "roleAssignment"
	denyAssignments kind = "denyAssignments"
	denyAssignment  kind = "denyAssignment"
	permissions     kind = "permissions"
	checkAccess     kind = "checkaccess"
)

// A route is a path that was understood: what is asked for, and where.
type route struct {
	kind kind
	at   scope.Scope // of the collection, or of the thing itself
	name string      // of what is no scope: a role definition, an operation and so on, as it was written
	// text is the scope as it was written: what is new is named by it.
	text string
	path string // as it was written, unescaped
}

const authorization = "Microsoft.Authorization"

// extensions are the types of the provider Microsoft.Authorization: the collection
// and the kind of one of it; "" means that there is none by itself.
var extensions = map[string][2]kind{
	"roledefinitions": {roleDefinitions, roleDefinition},
	"roleassignments": {roleAssignments, roleAssignment},
	"denyassignments": {denyAssignments, denyAssignment},
	"permissions":     {permissions, ""},
	"checkaccess":     {checkAccess, ""},
}

// coreShapes are the paths that belong to no provider.
var coreShapes = map[string]kind{
	"|tenants":                         tenants,
	"|subscriptions":                   subscriptions,
	"subscriptions/*":                  subscription,
	"subscriptions/*|resourcegroups":   resourceGroups,
	"subscriptions/*/resourcegroups/*": resourceGroup,
}

// shapes are all the paths of this door but those of Microsoft.Authorization,
// which may follow any scope.
var shapes = newShapes(coreShapes)

// handlers are the methods of each kind.
var handlers = merge(coreHandlers)

var coreHandlers = map[kind]map[string]handler{
	tenants:         {"GET": listTenants},
	subscriptions:   {"GET": listSubscriptions},
	subscription:    {"GET": getSubscription},
	resourceGroups:  {"GET": listGroups},
	resourceGroup:   {"GET": getGroup, "HEAD": headGroup, "PUT": putGroup, "DELETE": deleteGroup},
	roleDefinitions: {"GET": listDefinitions},
	roleDefinition:  {"GET": getDefinition, "PUT": putDefinition, "DELETE": deleteDefinition},
	roleAssignments: {"GET": listAssignments},
	roleAssignment:  {"GET": getAssignment, "PUT": putAssignment, "DELETE": deleteAssignment},
	denyAssignments: {"GET": listDenies},
	denyAssignment:  {"GET": getDeny},
	permissions:     {"GET": listPermissions},
	checkAccess:     {"POST": checkAccessNow},
}

func methodsOf(at route) []string {
	var list []string
	for m := range handlers[at.kind] {
		list = append(list, m)
	}
	slices.Sort(list)
	return list
}

func handlerOf(at route, method string) (handler, error) {
	if h, ok := handlers[at.kind][method]; ok {
		return h, nil
	}
	return nil, serve.Refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", fmt.Sprintf(
		"%s is not supported here. Supported: %s.", serve.Printable(method, 20), strings.Join(methodsOf(at), ", ")))
}

// parseRoute understands an escaped path. Letter case does not matter, one slash
// at the end neither, and one too many at the beginning, which SDKs write when a
// scope is given with its slash. All else that is odd is refused, never repaired.
func parseRoute(path string) (route, error) {
	if strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	path = strings.TrimSuffix(path, "/")
	if !strings.HasPrefix(path, "/") {
		return route{}, unknown()
	}
	seg := strings.Split(path[1:], "/")
	for i, s := range seg {
		text, err := url.PathUnescape(s)
		if err != nil || text == "" && len(seg) > 1 || strings.ContainsAny(text, "/%") {
			return route{}, badPath(path)
		}
		seg[i] = text
	}
	for i := len(seg) - 2; i >= 0; i-- {
		if strings.EqualFold(seg[i], "providers") && strings.EqualFold(seg[i+1], authorization) && i%2 == 0 {
			return parseExtension(seg[:i], seg[i+2:])
		}
	}
	return shapes.match(seg)
}

func parseExtension(place, rest []string) (route, error) {
	if len(rest) == 0 || len(rest) > 2 {
		return route{}, unknown()
	}
	kinds, ok := extensions[strings.ToLower(rest[0])]
	if !ok {
		return route{}, unknown()
	}
	if len(rest) == 1 {
		return routeAt(kinds[0], place)
	}
	if kinds[1] == "" || rest[1] == "" {
		return route{}, unknown()
	}
	r, err := routeAt(kinds[1], place)
	r.name = rest[1]
	return r, err
}

func badPath(path string) error {
	return serve.Refuse(http.StatusBadRequest, "InvalidResourceId", fmt.Sprintf("The path '%s' is not that of a resource.", serve.Printable(path, 200)))
}

func unknown() error {
	return serve.Refuse(http.StatusNotFound, "InvalidResourceType", "There is no such resource type here. Supported are "+shapes.String()+", and of the provider Microsoft.Authorization at any scope: roleDefinitions, roleAssignments, denyAssignments, permissions and checkaccess.")
}

// A request is one call of a route.
type request struct {
	route
	query  url.Values
	header http.Header
	body   []byte
}

// parseQuery reads a query string. Every version of the API is taken for the one
// that there is, but one must be named, as Azure demands.
func parseQuery(raw string) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, serve.Refuse(http.StatusBadRequest, "BadRequest", "The query string is malformed.")
	}
	for name, values := range q {
		if len(values) > 1 {
			return nil, serve.Refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf("The query parameter '%s' is there twice.", serve.Printable(name, 40)))
		}
	}
	if q.Get("api-version") == "" {
		return nil, serve.Refuse(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	return q, nil
}
