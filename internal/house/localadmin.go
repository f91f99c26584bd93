package house

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/arm"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// bucketCredentials holds the certificates of local accounts that were handed out,
// by the cluster's id, the kind and the person. A client that asks twice gets the
// same one, as az demands; sealed, and gone when it ends.
const bucketCredentials = "local-credential"

// lastMinutes is how long a certificate must be good that is handed out again.
const lastMinutes = 10 * time.Minute

type keptCredential struct {
	Cert []byte `json:"cert"`
	Key  []byte `json:"key"`
}

// Credential returns the certificate of a local account for somebody who has been
// authorised. Who got which one is in the audit log, each time (LA-07).
func (c *clusters) Credential(ctx context.Context, at scope.Scope, who principal.ID, monitor bool) (pki.Pair, error) {
	rec, ok := c.store.Current().Cluster(at)
	if !ok {
		return pki.Pair{}, fmt.Errorf("cluster %s: %w", at, store.ErrNotFound)
	}
	if rec.DisableLocalAccounts {
		return pki.Pair{}, record.Invalid("local accounts of cluster %s are disabled", rec.Name)
	}
	r, ok := c.running(rec)
	if !ok {
		return pki.Pair{}, notRunning(rec.Name)
	}
	kind := "admin"
	if monitor {
		kind = "monitor"
	}
	pair, err := c.credential(ctx, rec, r, who, kind)
	if err != nil {
		return pki.Pair{}, err
	}
	leaf, err := pair.Leaf()
	if err != nil {
		return pki.Pair{}, err
	}
	id, err := cluster.CredentialID(pair.CertPEM)
	if err != nil {
		return pki.Pair{}, err
	}
	why := fmt.Sprintf("local %s certificate of cluster %s: serial %s, %s, until %s", kind, rec.Name, leaf.SerialNumber.Text(16), id, leaf.NotAfter.UTC().Format(time.RFC3339))
	if _, err := c.store.Commit(ctx, store.Change{By: who, Why: why}); err != nil {
		return pki.Pair{}, err // what is not in the audit log is not handed out
	}
	return pair, nil
}

// credential returns the certificate that was handed out before, while it is good,
// or another one.
func (c *clusters) credential(ctx context.Context, rec resource.Cluster, r *run, who principal.ID, kind string) (pki.Pair, error) {
	for {
		item, err := c.store.Private(ctx, bucketCredentials, rec.UID.String(), kind, who.String())
		rev := int64(0)
		if err == nil {
			var kept keptCredential
			if err := json.Unmarshal(item.Value, &kept); err != nil {
				return pki.Pair{}, fmt.Errorf("credential of cluster %s: %w", rec.Name, err)
			}
			pair := pki.Pair{CertPEM: kept.Cert, KeyPEM: kept.Key}
			if c.good(rec, r, pair) {
				return pair, nil
			}
			rev = item.Rev
		} else if !errors.Is(err, store.ErrNotFound) {
			return pki.Pair{}, err
		}
		issue := r.cp.IssueLocalAdmin
		if kind == "monitor" {
			issue = r.cp.IssueMonitor
		}
		fresh, err := issue(who, 0)
		if err != nil {
			return pki.Pair{}, err
		}
		value, err := json.Marshal(keptCredential{fresh.Pair.CertPEM, fresh.Pair.KeyPEM})
		if err != nil {
			return pki.Pair{}, err
		}
		err = c.store.CommitPrivate(ctx, store.PrivateOp{
			Bucket: bucketCredentials, ID: []string{rec.UID.String(), kind, who.String()}, Value: value, Expires: fresh.NotAfter, Real: true, IfRev: &rev,
		})
		if err == nil {
			return fresh.Pair, nil
		}
		if !errors.Is(err, store.ErrConflict) { // somebody asked at the same time: his is ours
			return pki.Pair{}, err
		}
	}
}

// good reports whether a certificate is still worth handing out.
func (c *clusters) good(rec resource.Cluster, r *run, pair pki.Pair) bool {
	leaf, err := pair.Leaf()
	if err != nil || !c.now().Add(lastMinutes).Before(leaf.NotAfter) || !r.cp.IssuedLocalAdmin(pair.CertPEM) {
		return false
	}
	id, err := cluster.CredentialID(pair.CertPEM)
	return err == nil && !slices.Contains(rec.RevokedCertificates, id)
}

// forgetCredentials forgets the certificates of a cluster that is gone.
func (c *clusters) forgetCredentials(ctx context.Context, of resource.ClusterID) error {
	if of.IsZero() {
		return nil
	}
	items, err := c.store.PrivateList(ctx, bucketCredentials, of.String())
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := c.store.CommitPrivate(ctx, store.PrivateOp{Bucket: bucketCredentials, ID: item.ID}); err != nil {
			return err
		}
	}
	return nil
}

// AdminKubeconfig is the kubeconfig of a local administrator.
func (c *clusters) AdminKubeconfig(ctx context.Context, at scope.Scope, who principal.ID) ([]byte, error) {
	pair, err := c.Credential(ctx, at, who, false)
	if err != nil {
		return nil, err
	}
	rec, ok := c.store.Current().Cluster(at)
	if !ok {
		return nil, fmt.Errorf("cluster %s: %w", at, store.ErrNotFound)
	}
	return cluster.AdminKubeconfig(endpoint(rec), pair.CertPEM, pair.KeyPEM), nil
}

func endpoint(rec resource.Cluster) cluster.Endpoint {
	return cluster.Endpoint{Name: rec.Name, ResourceGroup: rec.ResourceGroup, Server: rec.Endpoint, CA: []byte(rec.CertificateAuthority)}
}

// The door asks for what the house has of clusters by this.
var _ arm.Clusters = (*clusters)(nil)
