package arm

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const managementType = "Microsoft.Management/managementGroups"

// The kinds of the provider Microsoft.Management.
const (
	managementGroups   kind = "managementGroups"
	managementGroup    kind = "managementGroup"
	descendants        kind = "descendants"
	groupSubscriptions kind = "managementGroupSubscriptions"
	groupSubscription  kind = "managementGroupSubscription"
	entities           kind = "getEntities"
)

var managementShapes = map[string]kind{
	"|providers/microsoft.management/managementgroups":                  managementGroups,
	"providers/microsoft.management/managementgroups/*":                 managementGroup,
	"providers/microsoft.management/managementgroups/*|descendants":     descendants,
	"providers/microsoft.management/managementgroups/*|subscriptions":   groupSubscriptions,
	"providers/microsoft.management/managementgroups/*|subscriptions/*": groupSubscription,
	"|providers/microsoft.management/getentities":                       entities,
}

var managementHandlers = map[kind]map[string]handler{
	managementGroups:   {"GET": listManagementGroups},
	managementGroup:    {"GET": getManagementGroup, "PUT": putManagementGroup, "PATCH": patchManagementGroup, "DELETE": deleteManagementGroup},
	descendants:        {"GET": listDescendants},
	groupSubscriptions: {"GET": listGroupSubscriptions},
	groupSubscription:  {"GET": getGroupSubscription, "PUT": putGroupSubscription, "DELETE": deleteGroupSubscription},
	entities:           {"POST": listEntities},
}

type managementBody struct {
	ID         string               `json:"id"`
	Type       string               `json:"type"`
	Name       string               `json:"name"`
	Properties managementProperties `json:"properties"`
}

type managementProperties struct {
	TenantID    string             `json:"tenantId"`
	DisplayName string             `json:"displayName"`
	Details     *managementDetails `json:"details,omitzero"`
	Children    []childBody        `json:"children,omitzero"`
}

type managementDetails struct {
	Version int         `json:"version"`
	Parent  *parentBody `json:"parent"`
}

type parentBody struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
}

type childBody struct {
	ID          string      `json:"id"`
	Type        string      `json:"type"`
	Name        string      `json:"name"`
	DisplayName string      `json:"displayName"`
	Children    []childBody `json:"children,omitzero"`
}

// titleOf is what people call a management group: its name when it has no other.
func titleOf(m resource.ManagementGroup) string {
	if m.DisplayName == "" {
		return nameOfGroup(m)
	}
	return m.DisplayName
}

func nameOfGroup(m resource.ManagementGroup) string {
	if m.Name == "" {
		return m.Scope.Name()
	}
	return m.Name
}

func (s *session) managementBody(m resource.ManagementGroup, details bool) managementBody {
	body := managementBody{
		ID: s.idOf(m.Scope, nameOfGroup(m)), Type: managementType, Name: nameOfGroup(m),
		Properties: managementProperties{TenantID: m.Tenant.String(), DisplayName: titleOf(m)},
	}
	if details {
		body.Properties.Details = &managementDetails{Version: 1, Parent: s.parentBody(m.Parent)}
	}
	return body
}

// parentBody is null for what is directly below the root.
func (s *session) parentBody(at scope.Scope) *parentBody {
	p, ok := s.est.ManagementGroup(at)
	if !ok {
		return nil
	}
	return &parentBody{s.spell(at), nameOfGroup(p), titleOf(p)}
}

func titleOfSubscription(sub resource.Subscription) string {
	if sub.DisplayName == "" {
		return sub.Scope.Name()
	}
	return sub.DisplayName
}

// childrenOf are the groups and subscriptions right below a group that the caller
// may read, and with recurse those below them.
func (s *session) childrenOf(at scope.Scope, recurse bool) []childBody {
	out := []childBody{}
	for m := range s.est.ManagementGroups() {
		if m.Parent == at && m.Tenant == s.tenant && s.may(managementType+"/read", m.Scope) {
			c := childBody{ID: s.spell(m.Scope), Type: managementType, Name: nameOfGroup(m), DisplayName: titleOf(m)}
			if recurse {
				c.Children = s.childrenOf(m.Scope, true)
			}
			out = append(out, c)
		}
	}
	for sub := range s.est.Subscriptions() {
		if sub.Parent == at && s.sees(sub) {
			out = append(out, childBody{ID: sub.Scope.String(), Type: "/subscriptions", Name: sub.Scope.Name(), DisplayName: titleOfSubscription(sub)})
		}
	}
	slices.SortFunc(out, func(a, b childBody) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func listManagementGroups(s *session, r *request) (answer, error) {
	var rows []row
	for m := range s.est.ManagementGroups() {
		if m.Tenant == s.tenant && s.may(managementType+"/read", m.Scope) {
			rows = append(rows, row{m.Scope.String(), s.managementBody(m, false)})
		}
	}
	return s.page(r, rows)
}

// noManagement is what Azure says of a group that is not there, and of one that
// the caller may not see: they are the same to him.
func (s *session) noManagement(action string, at scope.Scope) error {
	return s.refusal(serve.Operation{Action: action, At: at})
}

// readable returns the group of a request, for who may read it.
func (s *session) readable(r *request) (resource.ManagementGroup, error) {
	m, ok := s.est.ManagementGroup(r.at)
	if !ok || m.Tenant != s.tenant || !s.may(managementType+"/read", r.at) {
		if s.may(managementType+"/read", scope.Root) {
			return m, serve.Refuse(http.StatusNotFound, "NotFound", fmt.Sprintf("The management group '%s' cannot be found.", r.at.Name()))
		}
		return m, s.noManagement(managementType+"/read", r.at)
	}
	return m, nil
}

func getManagementGroup(s *session, r *request) (answer, error) {
	m, err := s.readable(r)
	if err != nil {
		return answer{}, err
	}
	body := s.managementBody(m, true)
	for part := range strings.SplitSeq(r.query.Get("$expand"), ",") {
		if strings.EqualFold(part, "children") {
			body.Properties.Children = s.childrenOf(m.Scope, strings.EqualFold(r.query.Get("$recurse"), "true"))
		}
	}
	return ok(m, body), nil
}

type managementInput struct {
	Properties struct {
		DisplayName *string `json:"displayName"`
		Details     struct {
			Parent struct {
				ID *string `json:"id"`
			} `json:"parent"`
		} `json:"details"`
	} `json:"properties"`
	// A patch says the same in other words.
	DisplayName   *string `json:"displayName"`
	ParentGroupID *string `json:"parentGroupId"`
}

// into puts what a body says into a group. A parent must be one that the caller
// may know of.
func (in *managementInput) into(s *session, m *resource.ManagementGroup) error {
	for _, name := range []*string{in.Properties.DisplayName, in.DisplayName} {
		if name != nil {
			m.DisplayName = *name
		}
	}
	for _, id := range []*string{in.Properties.Details.Parent.ID, in.ParentGroupID} {
		if id == nil || *id == "" {
			continue
		}
		at, err := scope.Parse(*id)
		if err != nil || at.Type() != strings.ToLower(managementType) {
			return serve.Refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf("The parent '%s' is not the id of a management group.", serve.Printable(*id, 200)))
		}
		m.Parent = at
	}
	if !m.Parent.IsZero() {
		if err := s.reach(m.Parent); err != nil {
			return err
		}
	}
	return nil
}

func putManagementGroup(s *session, r *request) (answer, error) {
	old, exists := s.est.ManagementGroup(r.at)
	next := resource.ManagementGroup{Scope: r.at, Name: r.last(), Tenant: s.tenant}
	var before record.Record
	if exists {
		if old.Tenant != s.tenant {
			return answer{}, s.noManagement(managementType+"/write", r.at)
		}
		before, next = old, old
	}
	var in managementInput
	if len(r.body) > 0 {
		if err := r.decode(&in); err != nil {
			return answer{}, err
		}
	}
	if err := in.into(s, &next); err != nil {
		return answer{}, err
	}
	for _, o := range serve.ToPut(s.est, before, next) {
		if !exists && o.At == scope.Root && !o.Allowed(s.law, s.caller.ID, s.now) {
			return answer{}, s.noManagement(managementType+"/write", r.at) // as if it were there
		}
		if err := s.need(o); err != nil {
			return answer{}, err
		}
	}
	if !exists && !groupRule.allows(next.Name) {
		return answer{}, badName(managementType, next.Name, groupRule.text)
	}
	out := wrote(true, !exists || next != old, next, nil) // clients take 201 for a failure
	return s.showing(out, func(then *session) any { return then.managementBody(next, true) })
}

func patchManagementGroup(s *session, r *request) (answer, error) {
	old, err := s.readable(r)
	if err != nil {
		return answer{}, err
	}
	next := old
	var in managementInput
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	if err := in.into(s, &next); err != nil {
		return answer{}, err
	}
	if err := s.need(serve.ToPut(s.est, old, next)...); err != nil {
		return answer{}, err
	}
	out := wrote(true, next != old, next, nil)
	return s.showing(out, func(then *session) any { return then.managementBody(next, true) })
}

// deleteManagementGroup deletes an empty group and what was granted at it.
func deleteManagementGroup(s *session, r *request) (answer, error) {
	m, ok := s.est.ManagementGroup(r.at)
	if !ok || m.Tenant != s.tenant {
		if s.may(managementType+"/delete", scope.Root) {
			return answer{status: http.StatusNoContent}, nil
		}
		return answer{}, s.noManagement(managementType+"/delete", r.at)
	}
	if err := s.need(serve.ToDelete(s.est, m)...); err != nil {
		return answer{}, err
	}
	for _, key := range s.est.Dependents(m.Key()) {
		if key.Kind == record.ManagementGroup || key.Kind == record.Subscription {
			return answer{}, serve.Refuse(http.StatusConflict, "Conflict", fmt.Sprintf(
				"The management group '%s' has children. Move or delete them first.", nameOfGroup(m)))
		}
	}
	ops, err := s.removal(m)
	return answer{status: http.StatusNoContent, ops: ops, of: m.Key()}, err // clients take 200 for a failure
}

type descendantBody struct {
	ID         string               `json:"id"`
	Type       string               `json:"type"`
	Name       string               `json:"name"`
	Properties descendantProperties `json:"properties"`
}

type descendantProperties struct {
	DisplayName string      `json:"displayName"`
	Tenant      string      `json:"tenant,omitzero"`
	State       string      `json:"state,omitzero"`
	Parent      *parentBody `json:"parent"`
}

func listDescendants(s *session, r *request) (answer, error) {
	m, err := s.readable(r)
	if err != nil {
		return answer{}, err
	}
	return s.page(r, s.below(m.Scope))
}

// below are the groups and subscriptions somewhere in a place that the caller may
// read.
func (s *session) below(at scope.Scope) []row {
	var rows []row
	for m := range s.est.ManagementGroups() {
		if m.Scope != at && m.Tenant == s.tenant && s.above(at, m.Scope) && s.may(managementType+"/read", m.Scope) {
			rows = append(rows, row{m.Scope.String(), descendantBody{s.spell(m.Scope), managementType, nameOfGroup(m),
				descendantProperties{DisplayName: titleOf(m), Parent: s.parentBody(m.Parent)}}})
		}
	}
	for sub := range s.est.Subscriptions() {
		if s.above(at, sub.Scope) && s.sees(sub) {
			rows = append(rows, row{sub.Scope.String(), descendantBody{sub.Scope.String(), "/subscriptions", sub.Scope.Name(),
				descendantProperties{DisplayName: titleOfSubscription(sub), Parent: s.parentBody(sub.Parent)}}})
		}
	}
	return rows
}

// listEntities lists all groups and subscriptions that the caller may read.
func listEntities(s *session, r *request) (answer, error) { return s.page(r, s.below(scope.Root)) }

func (s *session) groupSubscriptionBody(m resource.ManagementGroup, sub resource.Subscription) descendantBody {
	return descendantBody{
		ID: s.spell(m.Scope) + sub.Scope.String(), Type: managementType + "/subscriptions", Name: sub.Scope.Name(),
		Properties: descendantProperties{DisplayName: titleOfSubscription(sub), Tenant: sub.Tenant.String(), State: "Active", Parent: s.parentBody(m.Scope)},
	}
}

func listGroupSubscriptions(s *session, r *request) (answer, error) {
	m, err := s.readable(r)
	if err != nil {
		return answer{}, err
	}
	var rows []row
	for sub := range s.est.Subscriptions() {
		if sub.Parent == m.Scope && s.sees(sub) {
			rows = append(rows, row{sub.Scope.Name(), s.groupSubscriptionBody(m, sub)})
		}
	}
	return s.page(r, rows)
}

// member returns the group and the subscription that a request names, both of the
// caller's tenant. Who may not write the subscription, but wants to, learns nothing
// about the group.
func (s *session) member(r *request, writes bool) (m resource.ManagementGroup, sub resource.Subscription, err error) {
	at, err := scope.Parse("/subscriptions/" + r.name)
	if err != nil {
		return m, sub, badPath(r.path, "A subscription id is a GUID")
	}
	if err := s.reach(at); err != nil {
		return m, sub, err
	}
	sub, _ = s.est.Subscription(at)
	if writes {
		if err := s.need(serve.ToPut(s.est, sub, sub)...); err != nil {
			return m, sub, err
		}
	}
	m, ok := s.est.ManagementGroup(r.at)
	if !ok || m.Tenant != s.tenant {
		return m, sub, s.noManagement(managementType+"/subscriptions/write", r.at)
	}
	return m, sub, nil
}

func getGroupSubscription(s *session, r *request) (answer, error) {
	if _, err := s.readable(r); err != nil {
		return answer{}, err
	}
	m, sub, err := s.member(r, false)
	if err != nil {
		return answer{}, err
	}
	if sub.Parent != m.Scope || !s.sees(sub) {
		return answer{}, serve.Refuse(http.StatusNotFound, "NotFound", fmt.Sprintf("The subscription '%s' is not in the management group.", sub.Scope.Name()))
	}
	return ok(sub, s.groupSubscriptionBody(m, sub)), nil
}

// putGroupSubscription moves a subscription into a group, out of where it is. What
// it inherits changes with the same write: no request sees both or neither.
func putGroupSubscription(s *session, r *request) (answer, error) {
	m, sub, err := s.member(r, true)
	if err != nil {
		return answer{}, err
	}
	return s.move(m, sub, m.Scope)
}

// deleteGroupSubscription moves a subscription right below the root.
func deleteGroupSubscription(s *session, r *request) (answer, error) {
	m, sub, err := s.member(r, true)
	if err != nil {
		return answer{}, err
	}
	if sub.Parent != m.Scope {
		return answer{status: http.StatusNoContent}, nil
	}
	return s.move(m, sub, scope.Scope{})
}

func (s *session) move(m resource.ManagementGroup, sub resource.Subscription, to scope.Scope) (answer, error) {
	next := sub
	next.Parent = to
	if err := s.need(serve.ToPut(s.est, sub, next)...); err != nil {
		return answer{}, err
	}
	out := answer{status: http.StatusOK, of: next.Key(), body: s.groupSubscriptionBody(m, next)}
	if next != sub {
		out.ops = []estate.Op{{Put: next}}
	}
	return out, nil
}
