package identityrequest

import (
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// A Given is what an approval made, by ids: another identity or cluster at the same
// place is not the one that was approved. The zero Given is nothing.
type Given struct {
	// Object and Client are the ids of the identity.
	Object principal.ID    `json:"object"`
	Client directory.AppID `json:"client"`
	// ClusterUID is that of the cluster, and Issuer that of its tokens.
	ClusterUID resource.ClusterID `json:"clusterUid,omitzero"`
	Issuer     string             `json:"issuer"`
	// NotAfter is when all of it ends if it is not renewed; zero is when it is retired.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// Assignments are those of the roles of a new identity, in their order.
	Assignments []azurerbac.AssignmentID `json:"assignments,omitzero"`
}

// IsZero reports whether nothing was given.
func (g Given) IsZero() bool {
	return g.Object.IsZero() && g.Client.IsZero() && g.ClusterUID.IsZero() && g.Issuer == "" && g.NotAfter.IsZero() && len(g.Assignments) == 0
}

func (g Given) validate(r Request, at time.Time) error {
	switch {
	case g.Object.IsZero() || g.Client.IsZero() || g.Issuer == "":
		return record.Invalid("an approval without the ids of the identity or the issuer")
	case !g.NotAfter.IsZero() && !g.NotAfter.After(at):
		return record.Invalid("an approval that ends before it begins")
	case r.Lasts != 0 && (g.NotAfter.IsZero() || g.NotAfter.After(at.Add(time.Duration(r.Lasts)))):
		return record.Invalid("an approval for longer than was asked")
	case len(g.Assignments) != len(r.New.Roles):
		return record.Invalid("%d role assignments for %d roles", len(g.Assignments), len(r.New.Roles))
	}
	for i, id := range g.Assignments {
		if id.IsZero() || slices.Contains(g.Assignments[:i], id) {
			return record.Invalid("a role assignment without an id, or with that of another one")
		}
	}
	return nil
}

// subject is what a cluster calls a service account.
func (r Request) subject(account string) string {
	return kuberbac.Subject{Kind: kuberbac.ServiceAccount, Namespace: r.Namespace, Name: account}.UserName()
}

// Credentials are the federated credentials that the approval makes, one for each
// service account; none without an approval. There are no others of this request:
// see estate.Snapshot.
func (r Request) Credentials() []directory.FederatedCredential {
	if r.Given.IsZero() {
		return nil
	}
	out := make([]directory.FederatedCredential, len(r.ServiceAccounts))
	for i, account := range r.ServiceAccounts {
		out[i] = directory.FederatedCredential{
			Owner: r.Given.Client, Name: fmt.Sprintf("request-%s-%d", r.ID, i+1),
			Issuer: r.Given.Issuer, Subject: r.subject(account), Audiences: []string{directory.ExchangeAudience},
			Description: fmt.Sprintf("Namespace %s of cluster %s, by a request for an identity", r.Namespace, r.Cluster.Name()),
			Request:     r.ID,
		}
	}
	return out
}

// Makes returns the identity that the approval makes; false when it is there already.
func (r Request) Makes() (directory.ManagedIdentity, bool) {
	if r.Given.IsZero() || !r.IsNew() {
		return directory.ManagedIdentity{}, false
	}
	return directory.ManagedIdentity{
		ID: r.Given.Object, ClientID: r.Given.Client, Tenant: r.Tenant,
		Resource: r.Identity, DisplayName: r.New.Name, Location: r.New.Location,
	}, true
}

// Assigns are the role assignments that the approval makes. They end with it.
func (r Request) Assigns() []azurerbac.Assignment {
	if r.Given.IsZero() {
		return nil
	}
	out := make([]azurerbac.Assignment, len(r.New.Roles))
	for i, role := range r.New.Roles {
		out[i] = azurerbac.Assignment{
			ID: r.Given.Assignments[i], Scope: role.Scope, Principal: r.Given.Object, Role: role.Role, NotAfter: r.End(),
			Description: "by request " + r.ID.String() + " for an identity",
		}
	}
	return out
}
