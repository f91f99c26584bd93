package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Operations at the identity: who may write its credentials answers requests, and
// who may read them reads why they are there.
const (
	actionTrust     = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write"
	actionReadTrust = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/read"
	// actionPods is what it is called in Azure to create pods in a namespace.
	actionPods = "Microsoft.ContainerService/managedClusters/pods/write"
)

// maxPending bounds the requests of one person that wait for an answer.
const maxPending = 50

// askIdentity keeps a request of somebody who may create pods in the namespace:
// nobody asks an identity into somebody else's.
func (d *Door) askIdentity(w http.ResponseWriter, r *http.Request, s *session) error {
	var in wire.NewIdentityRequest
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	q, err := s.asked(in)
	if err != nil {
		return err
	}
	if err := s.mayAsk(q); err != nil {
		return err
	}
	if q, err = q.Ask(s.now, in.Why); err != nil {
		return err
	}
	c := store.Change{By: s.caller.ID, Why: cmp.Or(in.Why, "an identity is asked for"), Base: s.est, Ops: []estate.Op{{Put: q}}}
	rev, err := d.commit(r.Context(), s, c, func(again *session) error { return again.mayAsk(q) })
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusCreated, s.wireRequest(s.est, q, rev))
}

// asked reads a request.
func (s *session) asked(in wire.NewIdentityRequest) (identityrequest.Request, error) {
	q := identityrequest.Request{ID: identityrequest.NewID(), Tenant: s.tenant, Requester: s.caller.ID, Namespace: in.Namespace, ServiceAccounts: in.ServiceAccounts}
	var err1, err2, err3 error
	q.Identity, err1 = scope.Parse(in.Identity)
	q.Cluster, err2 = scope.Parse(in.Cluster)
	if in.Lasts != "" {
		q.Lasts, err3 = azurerbac.ParseDuration(in.Lasts)
	}
	if err := errors.Join(err1, err2, err3); err != nil || in.New == nil {
		return q, err
	}
	at := strings.TrimSuffix(in.Identity, "/")
	q.New.Name, q.New.Location = at[strings.LastIndexByte(at, '/')+1:], in.New.Location
	if rg, ok := q.Identity.ResourceGroup(); ok && q.New.Location == "" {
		if group, ok := s.est.ResourceGroup(rg); ok {
			q.New.Location = group.Location
		}
	}
	for _, role := range in.New.Roles {
		var id azurerbac.DefinitionID
		at, err := scope.Parse(role.Scope)
		if err := errors.Join(err, id.UnmarshalText([]byte(role.Role))); err != nil {
			return q, err
		}
		if _, ok := s.est.Definition(id); !ok {
			return q, fmt.Errorf("role definition %s: %w", id, estate.ErrUnknown)
		}
		q.New.Roles = append(q.New.Roles, identityrequest.Role{Role: id, Scope: at})
	}
	return q, nil
}

// mayAsk refuses a request that the caller may not make, or that nobody could approve
// as far as the caller may know.
func (s *session) mayAsk(q identityrequest.Request) error {
	if !runsPods(s.est, s.caller.ID, q, s.now) {
		return s.refused(actionPods, q.Cluster.String()+"/namespaces/"+q.Namespace, "does not have authorization")
	}
	if _, err := issuerFor(s.est, q); err != nil {
		return err
	}
	pending := 0
	for _, other := range s.est.IdentityRequestsBy(s.caller.ID) {
		if other.StatusAt(s.now) == identityrequest.IsPending {
			pending++
		}
	}
	if pending >= maxPending {
		return serve.Refuse(http.StatusConflict, "TooManyIdentityRequests", fmt.Sprintf("%d of your requests wait for an answer, and no more can: withdraw some.", pending))
	}
	if !s.may(identityRead, q.Identity, nil) {
		return nil // whether there is one is told to those who may read it
	}
	_, err := identityFor(s.est, q)
	return err
}

// runsPods reports whether somebody may create pods in the namespace of a request, by
// either plane, and with them have any of its service accounts.
func runsPods(est *estate.Snapshot, who principal.ID, q identityrequest.Request, now time.Time) bool {
	return decide.Decide(est, decide.Request{
		Who: decide.Subject{ID: who}, Scope: q.Cluster, Now: now,
		Kube: kuberbac.Attributes{Verb: "create", Resource: "pods", Namespace: q.Namespace},
	}).Effect == decide.Allow
}

// issuerFor returns the cluster of a request, which must have an issuer.
func issuerFor(est *estate.Snapshot, q identityrequest.Request) (resource.Cluster, error) {
	c, ok := est.Cluster(q.Cluster)
	switch {
	case !ok || c.Tenant != q.Tenant:
		return c, serve.Refuse(http.StatusNotFound, "ResourceNotFound", "There is no cluster "+q.Cluster.String()+".")
	case !c.OIDCIssuer || c.IssuerURL == "":
		return c, serve.Refuse(http.StatusConflict, "OIDCIssuerNotEnabled", fmt.Sprintf(
			"The cluster %s publishes no keys of its service accounts. Let it: az aks update --name %s --resource-group %s --enable-oidc-issuer", c.Name, c.Name, c.ResourceGroup))
	}
	return c, nil
}

// identityFor returns the identity of a request: one that is there, or the zero one
// where there is none and one is to be made.
func identityFor(est *estate.Snapshot, q identityrequest.Request) (directory.ManagedIdentity, error) {
	m, there := est.IdentityAt(q.Identity)
	if there && (m.SystemAssigned || m.Tenant != q.Tenant) {
		there = false
	}
	if !q.IsNew() {
		if !there {
			return m, serve.Refuse(http.StatusNotFound, "ResourceNotFound", "There is no user-assigned managed identity "+q.Identity.String()+".")
		}
		return m, nil
	}
	rg, _ := q.Identity.ResourceGroup()
	group, known := est.ResourceGroup(rg)
	switch {
	case there:
		return m, serve.Refuse(http.StatusConflict, "AlreadyExists", "There is a managed identity "+q.Identity.String()+" already: ask for that one.")
	case !known:
		return m, serve.Refuse(http.StatusNotFound, "ResourceGroupNotFound", "There is no resource group "+rg.Name()+".")
	case !group.Doing.IsZero():
		return m, serve.Refuse(http.StatusConflict, "ResourceGroupBeingDeleted", "The resource group "+rg.Name()+" is being deleted.")
	}
	return directory.ManagedIdentity{}, nil
}

// showsRequest reports whether the caller may know about a request: it is his, or he
// may read or write the credentials of the identity.
func (s *session) showsRequest(q identityrequest.Request) bool {
	return q.Tenant == s.tenant && (q.Requester == s.caller.ID || s.may(actionReadTrust, q.Identity, nil) || s.may(actionTrust, q.Identity, nil))
}

// request returns the request that the path names, to who may know about it.
func (s *session) request(r *http.Request) (identityrequest.Request, error) {
	var id identityrequest.ID
	if err := id.UnmarshalText([]byte(r.PathValue("id"))); err != nil {
		return identityrequest.Request{}, err
	}
	q, ok := s.est.IdentityRequest(id)
	if !ok || !s.showsRequest(q) {
		return identityrequest.Request{}, fmt.Errorf("identity request %s: %w", id, estate.ErrNotFound)
	}
	return q, nil
}

func showIdentityRequest(w http.ResponseWriter, r *http.Request, s *session) error {
	q, err := s.request(r)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, s.wireRequest(s.est, q, s.est.Revision()))
}

// listIdentityRequests answers ?which= mine, to-approve or all: those of the caller,
// those that he may answer, and all that he may read; of them with ?within=P14D those
// that are active and end so soon.
func listIdentityRequests(w http.ResponseWriter, r *http.Request, s *session) error {
	keep := s.showsRequest
	switch which := r.URL.Query().Get("which"); which {
	case "", "all":
	case "mine":
		keep = func(q identityrequest.Request) bool { return q.Requester == s.caller.ID }
	case "to-approve":
		keep = func(q identityrequest.Request) bool {
			waits := q.StatusAt(s.now) == identityrequest.IsPending || !q.RenewalLapses(s.now).IsZero()
			return q.Tenant == s.tenant && q.Requester != s.caller.ID && waits && s.may(actionTrust, q.Identity, nil)
		}
	default:
		return record.Invalid("which=%.40q, want mine, to-approve or all", which)
	}
	soon := func(identityrequest.Request) bool { return true }
	if text := r.URL.Query().Get("within"); text != "" {
		within, err := azurerbac.ParseDuration(text)
		if err != nil {
			return err
		}
		soon = func(q identityrequest.Request) bool {
			end := q.End()
			return !end.IsZero() && !end.After(s.now.Add(time.Duration(within))) && s.est.RequestStatus(q, s.now) == identityrequest.IsActive
		}
	}
	var found []identityrequest.Request
	for q := range s.est.IdentityRequests() {
		if keep(q) && soon(q) {
			found = append(found, q)
		}
	}
	slices.SortFunc(found, func(a, b identityrequest.Request) int {
		return cmp.Or(a.History[0].At.Compare(b.History[0].At), strings.Compare(a.ID.String(), b.ID.String()))
	})
	out := wire.IdentityRequests{Revision: s.est.Revision(), Requests: []wire.IdentityRequest{}}
	for _, q := range found {
		out.Requests = append(out.Requests, s.wireRequest(s.est, q, out.Revision))
	}
	return serve.JSON(w, http.StatusOK, out)
}

// wireRequest shows a request as it is in an estate, at a revision.
func (s *session) wireRequest(est *estate.Snapshot, q identityrequest.Request, rev int64) wire.IdentityRequest {
	out := wire.IdentityRequest{
		ID: q.ID.String(), Status: string(est.RequestStatus(q, s.now)), Requester: wire.PrincipalOf(est, q.Requester),
		Identity: q.Identity.String(), Cluster: q.Cluster.String(), Namespace: q.Namespace, ServiceAccounts: q.ServiceAccounts,
		Ends: q.End(), RenewalLapses: q.RenewalLapses(s.now), ClientID: q.Given.Client.String(), Lacks: est.RequestLacks(q), Revision: rev,
	}
	if q.Lasts != 0 {
		out.Lasts = q.Lasts.String()
	}
	if q.IsNew() {
		out.New = &wire.NewIdentity{Location: q.New.Location}
		for _, role := range q.New.Roles {
			at := wire.RoleAt{Role: role.Role.String(), Scope: role.Scope.String()}
			if d, ok := est.Definition(role.Role); ok {
				at.Name = d.RoleName
			}
			out.New.Roles = append(out.New.Roles, at)
		}
	}
	if q.StatusAt(s.now) == identityrequest.IsPending {
		out.Lapses = q.Lapses()
	}
	for _, e := range q.History {
		out.History = append(out.History, wire.RequestEvent{Act: string(e.Act), At: e.At, By: wire.PrincipalOf(est, e.By), Why: e.Why, Until: e.Until})
	}
	for _, f := range est.CredentialsBy(q) {
		out.Credentials = append(out.Credentials, f.Name)
	}
	for _, a := range assignedBy(est, q) {
		out.Assignments = append(out.Assignments, a.ID.String())
	}
	return out
}

// assignedBy are the role assignments of a request that are still there.
func assignedBy(est *estate.Snapshot, q identityrequest.Request) []azurerbac.Assignment {
	var out []azurerbac.Assignment
	for _, id := range q.Given.Assignments {
		if a, ok := est.Assignment(id); ok && a.Principal == q.Given.Object {
			out = append(out, a.Assignment)
		}
	}
	return out
}
