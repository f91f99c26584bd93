package arm

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/guid"
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
	typ  string      // of the resource or the collection, in lower case: microsoft.keyvault/vaults; "" for Microsoft.Authorization
	name string      // of what is no scope: a role definition, an operation and so on, as it was written
	// text is the scope as it was written: what is new is named by it.
	text string
	path string // as it was written, unescaped
}

const authorization = "Microsoft.Authorization"

// extensions are the paths that may follow any scope, from the provider on.
var extensions = newShapes(map[string]kind{
	"|microsoft.authorization/roledefinitions":   roleDefinitions,
	"|microsoft.authorization/roledefinitions/*": roleDefinition,
	"|microsoft.authorization/roleassignments":   roleAssignments,
	"|microsoft.authorization/roleassignments/*": roleAssignment,
	"|microsoft.authorization/denyassignments":   denyAssignments,
	"|microsoft.authorization/denyassignments/*": denyAssignment,
	"|microsoft.authorization/permissions":       permissions,
	"|microsoft.authorization/checkaccess":       checkAccess,
	"|microsoft.managedidentity/identities/*":    systemIdentity,
}, pimExtensions)

// coreShapes are the paths that belong to no provider.
var coreShapes = map[string]kind{
	"|tenants":                                   tenants,
	"|subscriptions":                             subscriptions,
	"subscriptions/*":                            subscription,
	"subscriptions/*|resourcegroups":             resourceGroups,
	"subscriptions/*/resourcegroups/*":           resourceGroup,
	"subscriptions/*|resources":                  resources,
	"subscriptions/*/resourcegroups/*|resources": resources,
}

// shapes are all the paths of this door but those of Microsoft.Authorization,
// which may follow any scope.
var shapes = newShapes(coreShapes, identityShapes, otherShapes, providerShapes, managementShapes, operationShapes, clusterShapes, pimShapes, eventShapes)

// handlers are the methods of each kind.
var handlers = merge(coreHandlers, identityHandlers, otherHandlers, providerHandlers, managementHandlers, operationHandlers, clusterHandlers, pimHandlers, eventHandlers)

var coreHandlers = map[kind]map[string]handler{
	tenants:         {"GET": listTenants},
	subscriptions:   {"GET": listSubscriptions},
	subscription:    {"GET": getSubscription},
	resourceGroups:  {"GET": listGroups},
	resourceGroup:   {"GET": getGroup, "PUT": putGroup, "PATCH": patchGroup, "DELETE": deleteGroup},
	resources:       {"GET": listResources},
	roleDefinitions: {"GET": listDefinitions},
	roleDefinition:  {"GET": getDefinition, "PUT": putDefinition, "DELETE": deleteDefinition},
	roleAssignments: {"GET": listAssignments},
	roleAssignment:  {"GET": getAssignment, "PUT": putAssignment, "DELETE": deleteAssignment},
	denyAssignments: {"GET": listDenies},
	denyAssignment:  {"GET": getDeny},
	permissions:     {"GET": listPermissions},
	checkAccess:     {"POST": checkAccessNow},
}

// methodsOf are the methods of a kind. What can be got can be asked for by HEAD.
func methodsOf(k kind) []string {
	var list []string
	for m := range handlers[k] {
		list = append(list, m)
		if m == http.MethodGet {
			list = append(list, http.MethodHead)
		}
	}
	slices.Sort(list)
	return list
}

func handlerOf(k kind, method string) (handler, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if h, ok := handlers[k][method]; ok {
		return h, nil
	}
	return nil, serve.Refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", fmt.Sprintf(
		"%s is not supported here. Supported: %s.", serve.Printable(method, 20), strings.Join(methodsOf(k), ", ")))
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
	if i := noParent(seg); i > 0 {
		seg = slices.Delete(seg, i, i+1)
	}
	for i, s := range seg {
		text, err := url.PathUnescape(s)
		if err != nil || text == "" && len(seg) > 1 || strings.ContainsAny(text, "/%") {
			return route{}, badPath(path, anyName)
		}
		seg[i] = text
	}
	// The last provider decides: what stands before it is only the place.
	for i := len(seg) - 2; i >= 0; i-- {
		if i%2 == 0 && strings.EqualFold(seg[i], "providers") {
			end := extensions.find(seg[i+1:])
			if end == nil {
				break
			}
			r, err := routeAt(end.kind, seg[:i])
			if err != nil {
				return route{}, err
			}
			if r.typ = end.typ; end.named > 0 {
				r.name = seg[i+1+end.named]
			}
			return r, nil
		}
	}
	return shapes.match(seg)
}

// noParent finds the empty segment that SDKs write behind the namespace of a
// provider, in the place of a parent that a resource does not have; 0 when there
// is none. It has no other meaning there.
func noParent(seg []string) int {
	for i := 0; i+3 < len(seg); i += 2 {
		if strings.EqualFold(seg[i], "providers") && seg[i+2] == "" {
			return i + 2
		}
	}
	return 0
}

// anyName is what every name in a path keeps to.
const anyName = "Names in it have letters from A to Z, digits and " + scope.Signs + " alone"

// badPath refuses a path for the rule that it breaks.
func badPath(path, rule string) error {
	return serve.Refuse(http.StatusBadRequest, "InvalidResourceId", fmt.Sprintf("The path '%s' is not that of a resource. %s.", serve.Printable(path, 200), rule))
}

func unknown() error {
	return serve.Refuse(http.StatusNotFound, "InvalidResourceType", "There is no such resource type here. Supported are "+shapes.String()+", and at any scope "+extensions.String()+".")
}

// A request is one call of a route.
type request struct {
	route
	method string
	query  url.Values
	header http.Header
	body   []byte
	minted map[string]guid.Of[request]
}

// since reports whether the request is of a version of the API or a later one.
func (r *request) since(date string) bool { return r.query.Get("api-version") >= date }

// mint returns a fresh id. However often a request is worked out, the id for one
// thing is the same.
func (r *request) mint(what string) guid.Of[request] {
	id, ok := r.minted[what]
	if !ok {
		if r.minted == nil {
			r.minted = make(map[string]guid.Of[request])
		}
		id = guid.New[request]()
		r.minted[what] = id
	}
	return id
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
	switch v := q.Get("api-version"); {
	case v == "":
		return nil, serve.Refuse(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	case !isVersion(v):
		return nil, serve.Refuse(http.StatusBadRequest, "InvalidApiVersionParameter", fmt.Sprintf("The api-version '%s' is invalid. It is a date like 2022-04-01, alone or with -preview or the like behind it.", serve.Printable(v, 40)))
	}
	return q, nil
}

var versionTail = regexp.MustCompile(`^(-[A-Za-z0-9.]{1,40})?$`)

func isVersion(v string) bool {
	if len(v) < len(time.DateOnly) {
		return false
	}
	_, err := time.Parse(time.DateOnly, v[:len(time.DateOnly)])
	return err == nil && versionTail.MatchString(v[len(time.DateOnly):])
}
