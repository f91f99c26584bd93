// Package estate holds everything an answer depends on as one immutable
// snapshot at one revision: people, groups, programs, places, roles and grants,
// with the indexes that the engines ask. It holds no secret.
//
// Apply makes the next snapshot in time that depends on the change and not on
// the size of the estate, because the two share all that did not change.
package estate

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// An Op is one change: a record to put, or the key of a record to delete.
type Op struct {
	Put    record.Record
	Delete record.Key
}

// Key is the key of the record that the op touches.
func (o Op) Key() record.Key {
	if o.Put != nil {
		return o.Put.Key()
	}
	return o.Delete
}

// A Snapshot is an estate at one revision. It never changes; any number of
// goroutines may ask it.
type Snapshot struct {
	revision int64
	// stamp is this snapshot's identity; see Resolved.
	stamp *stamp

	nodes    table[principal.ID, *node]
	upns     table[string, principal.ID]
	spOf     table[tenantApp, principal.ID]
	byClient table[directory.AppID, principal.ID] // managed identities by client id
	members  table[principal.ID, *memberSet]      // direct members of a group
	feds     table[directory.AppID, []directory.FederatedCredential]
	roles    table[directory.RoleAssignment, struct{}]
	owners   table[principal.ID, *memberSet] // of an application, service principal or group
	groups   table[scope.Scope, *resource.Group]
	others   table[scope.Scope, *resource.Other]
	global   table[globalName, scope.Scope]   // of resources whose names are unique in the world
	identity table[scope.Scope, principal.ID] // managed identities by their own scope, or that of their resource
	assigned table[azurerbac.AssignmentID, *Assigned]
	atScope  table[scope.Scope, []*Assigned]
	eligible index[azurerbac.EligibilityID, azurerbac.Eligibility]
	requests index[azurerbac.RequestID, azurerbac.Request]
	wishes   index[identityrequest.ID, identityrequest.Request] // by requester and by identity
	policies table[policyKey, *azurerbac.Policy]
	// activated are the role assignments that came of an eligibility.
	activated table[azurerbac.EligibilityID, []*Assigned]
	bindings  table[kubeKey, *kuberbac.Binding]
	subjects  table[kuberbac.Subject, *holder]

	// dangling are the records that refer to what is not there, and why; see Reload.
	dangling map[record.Key]error

	// knobs are the settings of a rehearsal; nil when there are none.
	knobs *rehearsal.Knobs

	// world is what every grant's meaning may depend on; it changes rarely, and
	// a change of it makes every principal's grants be resolved anew.
	world *world
}

type stamp struct{ _ byte }

type tenantApp struct {
	tenant directory.TenantID
	app    directory.AppID
}

type globalName struct{ typ, name string }

// A kubeKey names a role or binding; an empty namespace is the whole cluster.
type kubeKey struct {
	cluster         scope.Scope
	namespace, name string
}

// A node is everything the estate knows about one principal. A node is never
// changed: a change to the principal, to his own memberships or to his own
// assignments replaces it.
type node struct {
	rec      record.Record // nil while only memberships or assignments speak of the id
	kind     principal.Kind
	memberOf []principal.ID
	assigned []*Assigned
	roles    []directory.RoleAssignment // of the directory
	owns     []principal.ID
	resolved atomic.Pointer[Resolved]
	grants   atomic.Pointer[shared]
}

// An Assigned is a role assignment with its condition parsed.
type Assigned struct {
	azurerbac.Assignment
	Expr *condition.Expr // nil without a condition
}

// A holder is what bindings give to one Kubernetes subject; replaced, never changed.
type holder struct {
	bindings []*kuberbac.Binding
	index    atomic.Pointer[map[kubePlace][]*kuberbac.Binding]
	grants   atomic.Pointer[shared]
}

type kubePlace struct {
	cluster   scope.Scope
	namespace string
}

// New returns the empty estate at revision 0. It knows the built-in roles.
func New() *Snapshot { return newSnapshot(false) }

func newSnapshot(bulk bool) *Snapshot {
	return &Snapshot{
		stamp:     new(stamp),
		nodes:     newTable[principal.ID, *node](bulk),
		upns:      newTable[string, principal.ID](bulk),
		spOf:      newTable[tenantApp, principal.ID](bulk),
		byClient:  newTable[directory.AppID, principal.ID](bulk),
		members:   newTable[principal.ID, *memberSet](bulk),
		feds:      newTable[directory.AppID, []directory.FederatedCredential](bulk),
		roles:     newTable[directory.RoleAssignment, struct{}](bulk),
		owners:    newTable[principal.ID, *memberSet](bulk),
		groups:    newTable[scope.Scope, *resource.Group](bulk),
		others:    newTable[scope.Scope, *resource.Other](bulk),
		global:    newTable[globalName, scope.Scope](bulk),
		identity:  newTable[scope.Scope, principal.ID](bulk),
		assigned:  newTable[azurerbac.AssignmentID, *Assigned](bulk),
		atScope:   newTable[scope.Scope, []*Assigned](bulk),
		eligible:  newIndex[azurerbac.EligibilityID, azurerbac.Eligibility](bulk),
		requests:  newIndex[azurerbac.RequestID, azurerbac.Request](bulk),
		wishes:    newIndex[identityrequest.ID, identityrequest.Request](bulk),
		policies:  newTable[policyKey, *azurerbac.Policy](bulk),
		activated: newTable[azurerbac.EligibilityID, []*Assigned](bulk),
		bindings:  newTable[kubeKey, *kuberbac.Binding](bulk),
		subjects:  newTable[kuberbac.Subject, *holder](bulk),
		world:     newWorld(bulk),
	}
}

func (s *Snapshot) freeze() {
	s.nodes.freeze()
	s.upns.freeze()
	s.spOf.freeze()
	s.byClient.freeze()
	s.members.freeze()
	s.owners.freeze()
	for _, sets := range []*table[principal.ID, *memberSet]{&s.members, &s.owners} {
		for _, m := range sets.all() {
			m.freeze()
		}
	}
	s.feds.freeze()
	s.roles.freeze()
	s.groups.freeze()
	s.others.freeze()
	s.global.freeze()
	s.identity.freeze()
	s.assigned.freeze()
	s.atScope.freeze()
	s.eligible.freeze()
	s.requests.freeze()
	s.wishes.freeze()
	s.policies.freeze()
	s.activated.freeze()
	s.bindings.freeze()
	s.subjects.freeze()
	s.world.freeze()
}

// Load returns the estate of all records at a revision. It is all or nothing.
func Load(revision int64, records iter.Seq[record.Record]) (*Snapshot, error) {
	e, err := bulk(revision, records)
	if err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e.s, nil
}

func bulk(revision int64, records iter.Seq[record.Record]) (*editor, error) {
	e := &editor{s: newSnapshot(true), bulk: true}
	for r := range records {
		if err := e.put(r); err != nil {
			return nil, err
		}
	}
	e.s.freeze()
	e.s.revision = revision
	return e, nil
}

// Apply returns the estate after the ops, at a revision. s stays as it is. An
// error names the first op that could not be applied, and nothing is applied.
func (s *Snapshot) Apply(revision int64, ops ...Op) (*Snapshot, error) {
	next := *s
	next.revision = revision
	next.stamp = new(stamp)
	e := editor{s: &next, was: s}
	for _, op := range ops {
		var err error
		if op.Put != nil {
			err = e.put(op.Put)
		} else {
			err = e.remove(op.Delete)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	if err := next.keepsAdministrators(s); err != nil {
		return nil, err
	}
	next.mend()
	return &next, nil
}

// Revision is the revision of the store that the snapshot shows.
func (s *Snapshot) Revision() int64 { return s.revision }

// Records yields every stored record, built-in roles left out, ordered by kind
// (record.Kinds) and then by key.
func (s *Snapshot) Records() iter.Seq[record.Record] {
	return func(yield func(record.Record) bool) {
		for _, kind := range record.Kinds {
			recs := s.ofKind(kind)
			slices.SortFunc(recs, func(a, b record.Record) int {
				ka, kb := a.Key(), b.Key()
				return slices.Compare(ka.Parts[:], kb.Parts[:])
			})
			for _, r := range recs {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// ofKind returns the stored records of a kind in no order.
func (s *Snapshot) ofKind(kind record.Kind) []record.Record {
	var out []record.Record
	switch kind {
	case record.User, record.Group, record.ServicePrincipal, record.ManagedIdentity:
		for _, n := range s.nodes.all() {
			if n.rec != nil && string(n.kind) == string(kind) {
				out = append(out, n.rec)
			}
		}
	case record.Membership:
		for id, n := range s.nodes.all() {
			for _, g := range n.memberOf {
				out = append(out, directory.Membership{Group: g, Member: id})
			}
		}
	case record.FederatedCredential:
		for _, list := range s.feds.all() {
			for _, f := range list {
				out = append(out, f)
			}
		}
	case record.DirectoryRoleAssignment:
		for a := range s.roles.all() {
			out = append(out, a)
		}
	case record.Ownership:
		for object, set := range s.owners.all() {
			for _, owner := range set.ids {
				out = append(out, directory.Ownership{Object: object, Owner: owner})
			}
		}
	case record.ResourceGroup:
		out = values(&s.groups, out)
	case record.Resource:
		out = values(&s.others, out)
	case record.RoleAssignment:
		for _, a := range s.assigned.all() {
			out = append(out, a.Assignment)
		}
	case record.RoleEligibility:
		out = values(&s.eligible.byID, out)
	case record.RoleScheduleRequest:
		out = values(&s.requests.byID, out)
	case record.IdentityRequest:
		out = values(&s.wishes.byID, out)
	case record.RoleManagementPolicy:
		out = values(&s.policies, out)
	case record.KubeBinding:
		out = values(&s.bindings, out)
	case record.Rehearsal:
		if s.knobs != nil {
			out = append(out, *s.knobs)
		}
	default:
		out = s.world.ofKind(kind)
	}
	return out
}

func values[K comparable, R record.Record](t *table[K, *R], out []record.Record) []record.Record {
	for _, r := range t.all() {
		out = append(out, *r)
	}
	return out
}

// Get returns the stored record with a key.
func (s *Snapshot) Get(key record.Key) (record.Record, bool) {
	p := key.Parts
	switch key.Kind {
	case record.User, record.Group, record.ServicePrincipal, record.ManagedIdentity:
		id, err := principal.ParseID(p[0])
		n, ok := s.nodes.get(id)
		if err != nil || !ok || n.rec == nil || n.rec.Key() != key {
			return nil, false
		}
		return n.rec, true
	case record.Membership:
		g, err1 := principal.ParseID(p[0])
		m, err2 := principal.ParseID(p[1])
		n, ok := s.nodes.get(m)
		if err1 != nil || err2 != nil || !ok || !slices.Contains(n.memberOf, g) {
			return nil, false
		}
		return directory.Membership{Group: g, Member: m}, true
	case record.FederatedCredential:
		owner, err := parseAppID(p[0])
		list, _ := s.feds.get(owner)
		i := slices.IndexFunc(list, func(f directory.FederatedCredential) bool { return f.Name == p[1] })
		if err != nil || i < 0 {
			return nil, false
		}
		return list[i], true
	case record.DirectoryRoleAssignment:
		a, err := parseRoleAssignment(p)
		_, ok := s.roles.get(a)
		if err != nil || !ok {
			return nil, false
		}
		return a, true
	case record.Ownership:
		object, err1 := principal.ParseID(p[0])
		owner, err2 := principal.ParseID(p[1])
		set, ok := s.owners.get(object)
		if err1 != nil || err2 != nil || !ok || !set.has(owner) {
			return nil, false
		}
		return directory.Ownership{Object: object, Owner: owner}, true
	case record.ResourceGroup:
		return at(&s.groups, parseScope(p[0]))
	case record.Resource:
		return at(&s.others, parseScope(p[0]))
	case record.RoleAssignment:
		id, err := parseAssignmentID(p[0])
		a, ok := s.assigned.get(id)
		if err != nil || !ok {
			return nil, false
		}
		return a.Assignment, true
	case record.RoleEligibility:
		id, err := parseID[azurerbac.EligibilityID](p[0])
		if err != nil {
			return nil, false
		}
		return at(&s.eligible.byID, id)
	case record.RoleScheduleRequest:
		id, err := parseID[azurerbac.RequestID](p[0])
		if err != nil {
			return nil, false
		}
		return at(&s.requests.byID, id)
	case record.IdentityRequest:
		id, err := parseID[identityrequest.ID](p[0])
		if err != nil {
			return nil, false
		}
		return at(&s.wishes.byID, id)
	case record.RoleManagementPolicy:
		role, err := parseDefinitionID(p[1])
		if err != nil {
			return nil, false
		}
		return at(&s.policies, policyKey{parseScope(p[0]), role})
	case record.KubeBinding:
		return at(&s.bindings, kubeKey{parseScope(p[0]), p[1], p[2]})
	case record.Rehearsal:
		if s.knobs != nil && s.knobs.Key() == key {
			return *s.knobs, true
		}
		return nil, false
	}
	return s.world.get(key)
}

func at[K comparable, R record.Record](t *table[K, *R], k K) (record.Record, bool) {
	r, ok := t.get(k)
	if !ok {
		return nil, false
	}
	return *r, true
}

// Decode reads the stored JSON form of a record of a kind, and validates it.
func Decode(kind record.Kind, data []byte) (record.Record, error) {
	switch kind {
	case record.Tenant:
		return decode[directory.Tenant](data)
	case record.User:
		return decode[directory.User](data)
	case record.Group:
		return decode[directory.Group](data)
	case record.Membership:
		return decode[directory.Membership](data)
	case record.Application:
		return decode[directory.Application](data)
	case record.ServicePrincipal:
		return decode[directory.ServicePrincipal](data)
	case record.ManagedIdentity:
		return decode[directory.ManagedIdentity](data)
	case record.FederatedCredential:
		return decode[directory.FederatedCredential](data)
	case record.DirectoryRoleAssignment:
		return decode[directory.RoleAssignment](data)
	case record.Ownership:
		return decode[directory.Ownership](data)
	case record.ManagementGroup:
		return decode[resource.ManagementGroup](data)
	case record.Subscription:
		return decode[resource.Subscription](data)
	case record.ResourceGroup:
		return decode[resource.Group](data)
	case record.Cluster:
		return decode[resource.Cluster](data)
	case record.Resource:
		return decode[resource.Other](data)
	case record.RoleDefinition:
		return decode[azurerbac.Definition](data)
	case record.RoleAssignment:
		return decode[azurerbac.Assignment](data)
	case record.DenyAssignment:
		return decode[azurerbac.DenyAssignment](data)
	case record.RoleEligibility:
		return decode[azurerbac.Eligibility](data)
	case record.RoleScheduleRequest:
		return decode[azurerbac.Request](data)
	case record.IdentityRequest:
		return decode[identityrequest.Request](data)
	case record.RoleManagementPolicy:
		return decode[azurerbac.Policy](data)
	case record.KubeRole:
		return decode[kuberbac.Role](data)
	case record.KubeBinding:
		return decode[kuberbac.Binding](data)
	case record.Rehearsal:
		return decode[rehearsal.Knobs](data)
	}
	return nil, record.Invalid("unknown kind %q", kind)
}

func decode[R record.Record](data []byte) (record.Record, error) {
	var r R
	if err := record.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

func compareIDs(a, b principal.ID) int { return cmp.Compare(string(a[:]), string(b[:])) }

func wrap(op string, key record.Key, err error) error { return fmt.Errorf("%s %s: %w", op, key, err) }
