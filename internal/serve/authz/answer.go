package authz

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// The reasons that people know from AKS, and their scripts match.
const (
	reasonSystem  = "Azure does not have opinion for this user."
	reasonNotAAD  = "Azure does not have opinion for this non AAD user. If you are an AAD user, please set Extra:oid parameter for impersonated user in the kubeconfig"
	reasonNoGrant = "User does not have access to the resource in Azure. Update role assignment to allow access."
)

// answer says what the house has to say about a question, in this order:
//
//  1. A question that is none is denied.
//  2. On system: users there is no opinion, whatever state the house is in.
//  3. Without knowledge of the cluster, everything is denied.
//  4. Values that paths could be made of are denied.
//  5. Local administrators are denied when switched off or revoked, or when whoever
//     asked for the certificate is gone or disabled.
//  6. On users without object id there is no opinion.
//  7. Who is gone, disabled, renamed, or out of a group he claims, is denied.
//  8. Without Azure RBAC on the cluster there is no opinion, and nothing is said.
//  9. Deny assignments deny, role assignments allow, and else there is no opinion.
//
// What a principal has, and which groups he is in, is asked of law, which is est
// unless a rehearsal lets decisions lag behind. What stops somebody is asked of est.
//
// Package decide is the only source of what is allowed, so that what explains a
// decision cannot say anything else. Discovery needs no exception: the cluster's
// own system:discovery grants it.
func answer(est, law *estate.Snapshot, at scope.Scope, q *question, now time.Time) verdict {
	if why := q.complete(); why != "" {
		return denied("The request is malformed: " + why + ".")
	}
	if directory.IsSystemName(q.user) {
		if est != nil {
			if c, ok := est.Cluster(at); ok && !c.AzureRBAC {
				return verdict{}
			}
		}
		return verdict{reason: reasonSystem}
	}
	if est == nil {
		return broken("the directory is not loaded yet")
	}
	cluster, ok := est.Cluster(at)
	if !ok {
		v := broken("this cluster is not registered")
		v.knows = true
		return v
	}
	v := judge(est, law, &cluster, q, now)
	v.knows = true
	return v
}

// judge answers steps 4 to 9.
func judge(est, law *estate.Snapshot, cluster *resource.Cluster, q *question, now time.Time) verdict {
	if why := q.sound(); why != "" {
		return denied("The request is malformed: " + why + ".")
	}
	if why := localAdmin(est, cluster, q); why != "" {
		return denied(why)
	}
	if !q.claims {
		if !cluster.AzureRBAC {
			return verdict{}
		}
		return verdict{reason: reasonNotAAD}
	}
	caller, why := known(law, cluster, q)
	if why == "" && law != est {
		_, err := serve.CallerOf(est, cluster.Tenant, caller.ID)
		why = gone(err)
	}
	if why != "" {
		v := denied(why)
		v.id = caller.ID
		return v
	}
	v := verdict{id: caller.ID, groups: len(caller.Groups)}
	if !cluster.AzureRBAC {
		return v
	}
	dec := decide.Decide(law, decide.Request{
		Who: decide.Subject{ID: caller.ID}, Scope: cluster.Scope, Kube: q.attributes, Now: now, Only: decide.Azure,
	})
	v.effect = dec.Effect
	switch {
	case dec.Effect == decide.Allow && dec.By != nil && dec.By.Assigned != nil:
		v.by = "role assignment " + dec.By.Assigned.ID.String()
		v.reason = "Access allowed by Azure RBAC Role Assignment " + dec.By.Assigned.ID.String() +
			" of Role " + dec.By.Assigned.Role.String() + " to user " + q.user
	case dec.Effect == decide.NoOpinion:
		v.reason = reasonNoGrant
	case dec.Effect == decide.Deny && dec.By != nil && dec.By.Deny != nil:
		v.by = "deny assignment " + dec.By.Deny.ID.String()
		v.reason = "Access denied by Azure RBAC Deny Assignment " + dec.By.Deny.ID.String()
	default:
		v.effect, v.reason = decide.Deny, "Access denied: "+dec.Reason.String()+"."
	}
	return v
}

const guidLen = 36

func denied(reason string) verdict { return verdict{effect: decide.Deny, reason: reason} }

// known returns the caller that a question is about, or why he is denied; then
// the caller has an id at most.
func known(est *estate.Snapshot, cluster *resource.Cluster, q *question) (serve.Caller, string) {
	if len(q.oid) != 1 {
		return serve.Caller{}, "Access denied: the request does not name one object id."
	}
	id, err := principal.ParseID(q.oid[0])
	if err != nil {
		return serve.Caller{}, "Access denied: the object id of the request is not a GUID."
	}
	nobody := serve.Caller{ID: id}
	caller, err := serve.CallerOf(est, cluster.Tenant, id)
	if err != nil {
		return nobody, gone(err)
	}
	if caller.Name != q.user {
		return nobody, "Access denied: the account has another name now. Please sign in again."
	}
	for _, g := range q.groups {
		// The house gives out groups as object ids; names come from elsewhere and
		// mean nothing here.
		if len(g) != guidLen {
			continue // cheaper than the error that Parse would make
		}
		if id, err := principal.ParseID(g); err == nil && !caller.In(id) {
			return nobody, "Access denied: the account is no longer in group " + id.String() + "."
		}
	}
	return caller, ""
}

// gone says why somebody is nobody now; "" when he is.
func gone(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, serve.ErrDeleted), errors.Is(err, serve.ErrDisabled), errors.Is(err, serve.ErrOtherTenant):
		return "Access denied: " + err.Error() + "."
	}
	return "Access denied."
}

// localAdmin says why a local administrator is denied; "" for everybody else.
func localAdmin(est *estate.Snapshot, cluster *resource.Cluster, q *question) string {
	admin := slices.Contains(q.groups, LocalAdmins) || slices.Contains(q.groups, LocalMonitors)
	if admin && cluster.DisableLocalAccounts {
		return "Access denied: local accounts are disabled on this cluster."
	}
	if admin {
		if why := holder(est, q.user); why != "" {
			return why
		}
	}
	if len(cluster.RevokedCertificates) == 0 {
		return ""
	}
	shown := false
	for _, c := range q.credentials {
		sum, ok := strings.CutPrefix(c, "X509SHA256=")
		if !ok {
			continue
		}
		shown = true
		if revoked(cluster, sum) {
			return "Access denied: the certificate was revoked."
		}
	}
	if admin && !shown {
		return "Access denied: certificates of this cluster were revoked, and the API server does not say which one this is."
	}
	return ""
}

// holder says why the certificate of a local account is good no longer, by who asked
// for it: his object id is the end of its user name. His tenant is no matter: he was
// let in by the right to the cluster.
func holder(est *estate.Snapshot, user string) string {
	id, err := principal.ParseID(user[strings.LastIndexByte(user, ':')+1:])
	if err != nil {
		return "Access denied: the certificate does not say who asked for it."
	}
	who, ok := est.Resolve(id)
	switch {
	case !ok:
		return gone(serve.ErrDeleted)
	case who.Principal.Disabled:
		return gone(serve.ErrDisabled)
	}
	return ""
}

// revoked compares fingerprints; a list may write them with or without the
// API server's prefix.
func revoked(cluster *resource.Cluster, sum string) bool {
	return slices.ContainsFunc(cluster.RevokedCertificates, func(r string) bool {
		return strings.EqualFold(strings.TrimPrefix(r, "X509SHA256="), sum)
	})
}
