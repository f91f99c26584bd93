package arm

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// The kinds that tell what there is.
const (
	providers           kind = "providers"
	provider            kind = "provider"
	registration        kind = "register"
	operations          kind = "operations"
	providerOperations  kind = "providerOperations"
	providerOperationsN kind = "providerOperationsOf"
	locations           kind = "locations"
	nameAvailability    kind = "checkNameAvailability"
)

var providerShapes = map[string]kind{
	"|providers":                                              providers,
	"|providers/*":                                            provider,
	"|providers/*/operations":                                 operations,
	"subscriptions/*|providers":                               providers,
	"subscriptions/*|providers/*":                             provider,
	"subscriptions/*|providers/*/register":                    registration,
	"subscriptions/*|providers/*/unregister":                  registration,
	"subscriptions/*|providers/*/checknameavailability":       nameAvailability,
	"subscriptions/*|locations":                               locations,
	"|providers/microsoft.authorization/provideroperations":   providerOperations,
	"|providers/microsoft.authorization/provideroperations/*": providerOperationsN,
}

var providerHandlers = map[kind]map[string]handler{
	providers:           {"GET": listProviders},
	provider:            {"GET": getProvider},
	registration:        {"POST": register},
	operations:          {"GET": listOperations},
	providerOperations:  {"GET": listProviderOperations},
	providerOperationsN: {"GET": getProviderOperations},
	locations:           {"GET": listLocations},
	nameAvailability:    {"POST": checkName},
}

// A namespace is a resource provider: the operations that are known of it, and the
// types of which there can be resources here.
type namespace struct {
	name  string
	ops   []azurerbac.Operation
	types []string // without the namespace, in order
}

// namespaces are the providers by their names in lower case.
var namespaces = namespacesOf(azurerbac.Operations(), otherTypes)

func namespacesOf(ops []azurerbac.Operation, types map[string]otherType) map[string]*namespace {
	all := make(map[string]*namespace)
	of := func(name string) *namespace {
		n, ok := all[lowerASCII(name)]
		if !ok {
			n = &namespace{name: name}
			all[lowerASCII(name)] = n
		}
		return n
	}
	for _, op := range ops {
		name, _, _ := strings.Cut(op.Name, "/")
		n := of(name)
		n.ops = append(n.ops, op)
	}
	kept := []string{
		"Microsoft.ContainerService/managedClusters", identityType, federatedType, "Microsoft.ManagedIdentity/identities",
		"Microsoft.Resources/subscriptions", groupType, "Microsoft.Management/managementGroups",
		eligibilityRequestType, eligibilityScheduleType, eligibilityInstanceType, assignmentRequestType, assignmentScheduleType, assignmentInstanceType, policyType, policyAssignmentType,
		assignmentType, definitionType, denyType, authorization + "/permissions", authorization + "/providerOperations",
	}
	for _, t := range types {
		kept = append(kept, t.name)
	}
	for _, t := range kept {
		name, typ, _ := strings.Cut(t, "/")
		n := of(name)
		n.types = append(n.types, typ)
	}
	for _, n := range all {
		slices.Sort(n.types)
	}
	return all
}

type providerBody struct {
	ID                 string             `json:"id,omitzero"`
	Namespace          string             `json:"namespace"`
	RegistrationPolicy string             `json:"registrationPolicy"`
	RegistrationState  string             `json:"registrationState"`
	ResourceTypes      []resourceTypeBody `json:"resourceTypes"`
}

type resourceTypeBody struct {
	ResourceType string   `json:"resourceType"`
	Locations    []string `json:"locations"`
	APIVersions  []string `json:"apiVersions"`
	Capabilities string   `json:"capabilities"`
}

// Every provider is registered: there is nothing that it would have to set up.
func (s *session) providerBody(at scope.Scope, n *namespace) providerBody {
	body := providerBody{Namespace: n.name, RegistrationPolicy: "RegistrationRequired", RegistrationState: "Registered", ResourceTypes: []resourceTypeBody{}}
	if at != scope.Root {
		body.ID = s.spell(at) + "/providers/" + n.name
	}
	for _, t := range n.types {
		// Every version is answered alike; one must be named, for clients that ask.
		body.ResourceTypes = append(body.ResourceTypes, resourceTypeBody{t, locationNames, []string{"2024-11-01"}, "SupportsTags, SupportsLocation"})
	}
	return body
}

func listProviders(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	var rows []row
	for name, n := range namespaces {
		rows = append(rows, row{name, s.providerBody(r.at, n)})
	}
	return s.page(r, rows)
}

func namespaceOf(name string) (*namespace, error) {
	n, ok := namespaces[lowerASCII(name)]
	if !ok {
		return nil, serve.Refuse(http.StatusNotFound, "InvalidResourceNamespace", fmt.Sprintf("The resource namespace '%s' is invalid.", serve.Printable(name, 80)))
	}
	return n, nil
}

func getProvider(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	n, err := namespaceOf(r.name)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: s.providerBody(r.at, n)}, nil
}

// register has nothing to do but to ask whether the caller might.
func register(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	n, err := namespaceOf(r.name)
	if err != nil {
		return answer{}, err
	}
	if err := s.needAt(n.name+"/register/action", r.at); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: s.providerBody(r.at, n)}, nil
}

type availabilityBody struct {
	NameAvailable bool   `json:"nameAvailable"`
	Reason        string `json:"reason,omitzero"`
	Message       string `json:"message,omitzero"`
}

// checkName tells whether a name is free that is unique in the world. That it is
// not is no secret: it is a host name.
func checkName(s *session, r *request) (answer, error) {
	n, err := namespaceOf(r.name)
	if err != nil {
		return answer{}, err
	}
	if err := s.needAt(n.name+"/checkNameAvailability/read", r.at); err != nil {
		return answer{}, err
	}
	var in struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	typ, known := otherTypes[lowerASCII(in.Type)]
	if !known || typ.taken == "" || !strings.HasPrefix(lowerASCII(in.Type), lowerASCII(n.name)+"/") {
		return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidResourceType", fmt.Sprintf("Names of '%s' are not unique in the world.", serve.Printable(in.Type, 80)))
	}
	body := availabilityBody{NameAvailable: true}
	if !typ.rule.allows(in.Name) {
		body = availabilityBody{false, "AccountNameInvalid", "The name must have " + typ.rule.text + "."}
	} else if _, taken := s.est.ResourceNamed(lowerASCII(typ.name), lowerASCII(in.Name)); taken {
		body = availabilityBody{false, "AlreadyExists", fmt.Sprintf("The name '%s' is already in use.", in.Name)}
	}
	return answer{status: http.StatusOK, body: body}, nil
}

type operationBody struct {
	Name         string        `json:"name"`
	IsDataAction bool          `json:"isDataAction"`
	Display      operationText `json:"display"`
	Origin       string        `json:"origin"`
}

type operationText struct {
	Provider    string `json:"provider"`
	Resource    string `json:"resource"`
	Operation   string `json:"operation"`
	Description string `json:"description"`
}

// textOf tells people what an operation is, from its name.
func textOf(op azurerbac.Operation) operationText {
	seg := strings.Split(op.Name, "/")
	verb := seg[len(seg)-1]
	rest := seg[1 : len(seg)-1]
	if verb == "action" && len(rest) > 0 {
		verb, rest = rest[len(rest)-1], rest[:len(rest)-1]
	}
	resource := strings.Join(rest, "/")
	return operationText{seg[0], resource, verb, strings.TrimSpace(verb + " " + resource)}
}

// listOperations lists what a provider can be asked to do. It is the same for
// everybody, and no secret.
func listOperations(s *session, r *request) (answer, error) {
	n, err := namespaceOf(r.name)
	if err != nil {
		return answer{}, err
	}
	list := make([]any, len(n.ops))
	for i, op := range n.ops {
		list[i] = operationBody{op.Name, op.Data, textOf(op), "user,system"}
	}
	// In one page: guard and others read no second one.
	return answer{status: http.StatusOK, body: onePage{list}}, nil
}

// onePage is a list that is never cut.
type onePage struct {
	Value []any `json:"value"`
}

type providerOperationsBody struct {
	ID            string              `json:"id"`
	Type          string              `json:"type"`
	Name          string              `json:"name"`
	DisplayName   string              `json:"displayName"`
	ResourceTypes []typeOperations    `json:"resourceTypes"`
	Operations    []providerOperation `json:"operations"`
}

type typeOperations struct {
	Name        string              `json:"name"`
	DisplayName string              `json:"displayName"`
	Operations  []providerOperation `json:"operations"`
}

type providerOperation struct {
	Name         string  `json:"name"`
	DisplayName  string  `json:"displayName"`
	Description  string  `json:"description"`
	Origin       string  `json:"origin"`
	Properties   *string `json:"properties"`
	IsDataAction bool    `json:"isDataAction"`
}

// operationsBody sorts the operations of a provider by the type that they are of.
func operationsBody(n *namespace, expand bool) providerOperationsBody {
	body := providerOperationsBody{
		ID: "/providers/" + authorization + "/providerOperations/" + n.name, Type: authorization + "/providerOperations", Name: n.name, DisplayName: n.name,
		ResourceTypes: []typeOperations{}, Operations: []providerOperation{},
	}
	if !expand {
		return body
	}
	at := make(map[string]int)
	for _, op := range n.ops {
		text := textOf(op)
		one := providerOperation{op.Name, text.Operation, text.Description, "user,system", nil, op.Data}
		if text.Resource == "" {
			body.Operations = append(body.Operations, one)
			continue
		}
		key := lowerASCII(text.Resource)
		i, known := at[key]
		if !known {
			i = len(body.ResourceTypes)
			at[key] = i
			body.ResourceTypes = append(body.ResourceTypes, typeOperations{Name: text.Resource, DisplayName: text.Resource})
		}
		body.ResourceTypes[i].Operations = append(body.ResourceTypes[i].Operations, one)
	}
	return body
}

func (r *request) expandsTypes() bool {
	return strings.EqualFold(r.query.Get("$expand"), "resourceTypes")
}

func listProviderOperations(s *session, r *request) (answer, error) {
	var rows []row
	for name, n := range namespaces {
		if len(n.ops) > 0 {
			rows = append(rows, row{name, operationsBody(n, r.expandsTypes())})
		}
	}
	return s.page(r, rows)
}

func getProviderOperations(s *session, r *request) (answer, error) {
	n, err := namespaceOf(r.name)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: operationsBody(n, r.expandsTypes())}, nil
}
