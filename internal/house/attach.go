package house

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/authn"
	"github.com/gatehouse-io/gatehouse/internal/serve/authz"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Attachment issues the certificate by which an attached cluster proves to the
// webhooks which one it is. Who got it, and which one, is in the audit log.
func (c *clusters) Attachment(ctx context.Context, at scope.Scope, who principal.ID) (api.Attachment, error) {
	rec, ok := c.store.Current().Cluster(at)
	if !ok {
		return api.Attachment{}, fmt.Errorf("cluster %s: %w", at, store.ErrNotFound)
	}
	if !rec.Attached {
		return api.Attachment{}, record.Invalid("cluster %s is run by the house and not attached", rec.Name)
	}
	pair, err := clusterCertificate(c.clientCA, at, c.now())
	if err != nil {
		return api.Attachment{}, err
	}
	leaf, err := pair.Leaf()
	if err != nil {
		return api.Attachment{}, err
	}
	why := fmt.Sprintf("webhook client certificate of cluster %s: serial %x, until %s", rec.Name, leaf.SerialNumber, leaf.NotAfter.UTC().Format(time.RFC3339))
	if _, err := c.store.Commit(ctx, store.Change{By: who, Why: why}); err != nil {
		return api.Attachment{}, err // what is not in the audit log is not handed out
	}
	return api.Attachment{
		TokenReview: reviewPath(at, authn.Path), SubjectAccessReview: reviewPath(at, authz.Path),
		CA: c.serverCA.CertPEM(), ClientCert: pair.CertPEM, ClientKey: pair.KeyPEM,
	}, nil
}

// State says how a cluster is that the house is to run.
func (c *clusters) State(at scope.Scope) string {
	if c.binary == "" {
		return "not run here"
	}
	c.mu.Lock()
	k, ok := c.keepers[at]
	c.mu.Unlock()
	if !ok {
		return "starting"
	}
	k.lock.Lock()
	defer k.lock.Unlock()
	return k.state
}

// Examine lets the doctor look at a control plane that runs here.
func (c *clusters) Examine(ctx context.Context, at scope.Scope) ([]cluster.Finding, error) {
	est := c.store.Current()
	rec, ok := est.Cluster(at)
	if !ok {
		return nil, fmt.Errorf("cluster %s: %w", at, store.ErrNotFound)
	}
	r, ok := c.running(rec)
	if !ok {
		return nil, notRunning(rec.Name)
	}
	p, err := r.cp.Patient(os.ReadFile)
	if err != nil {
		return nil, err
	}
	defer p.API.Client.CloseIdleConnections()
	defer p.Anonymous.Client.CloseIdleConnections()
	p.Groups = func(objectID string) bool {
		id, err := principal.ParseID(objectID)
		if err != nil {
			return false
		}
		_, ok := est.Group(id)
		return ok
	}
	return cluster.Doctor(ctx, p), nil
}

func notRunning(name string) error {
	return &serve.Error{Status: http.StatusConflict, Code: "NotRunning", Err: ErrNotRunning,
		Message: "The control plane of cluster " + name + " does not run in this house. gatehouse up runs it, gatehouse serve does not."}
}
