package api

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// Operations on clusters. What the doctor finds is what AKS calls a detector.
const (
	actionAccess  = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action"
	actionAdmin   = "Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action"
	actionAttach  = "Microsoft.ContainerService/managedClusters/write"
	actionExamine = "Microsoft.ContainerService/managedClusters/detectors/read"
)

// An Attachment is what an attached cluster needs in order to ask the house: the
// paths of the two reviews, and PEM texts.
type Attachment struct {
	TokenReview, SubjectAccessReview string
	CA, ClientCert, ClientKey        []byte
}

// cluster reads which cluster a request is about. That there is none is told only
// to a caller who may do what he asks for.
func (s *session) cluster(w http.ResponseWriter, r *http.Request, action string) (resource.Cluster, error) {
	var in wire.ClusterRef
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return resource.Cluster{}, err
	}
	at, err := scope.Parse(in.Scope)
	if err != nil {
		return resource.Cluster{}, err
	}
	if err := s.need(action, at, nil); err != nil {
		return resource.Cluster{}, err
	}
	rec, ok := s.est.Cluster(at)
	if !ok {
		return resource.Cluster{}, serve.Refuse(http.StatusNotFound, "ResourceNotFound", "There is no cluster "+at.String()+".")
	}
	return rec, nil
}

// userAccess tells what goes into a kubeconfig of those who sign in, under the
// operation listClusterUserCredential of AKS.
func userAccess(w http.ResponseWriter, r *http.Request, s *session) error {
	rec, err := s.cluster(w, r, actionAccess)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, wire.Access{
		Name: rec.Name, ResourceGroup: rec.ResourceGroup, Tenant: rec.Tenant.String(),
		Endpoint: rec.Endpoint, CertificateAuthority: rec.CertificateAuthority, EntraSignIn: rec.EntraSignIn,
	})
}

// clusters says how the clusters are that the caller may read.
func (d *Door) clusters(w http.ResponseWriter, _ *http.Request, s *session) error {
	if d.conf.ClusterState == nil {
		return notHere()
	}
	out := wire.Clusters{Clusters: []wire.ClusterState{}}
	may := s.reader()
	for rec := range s.est.Clusters() {
		if !may(rec) {
			continue
		}
		state := "attached"
		if !rec.Attached {
			state = d.conf.ClusterState(rec.Scope)
		}
		out.Clusters = append(out.Clusters, wire.ClusterState{Scope: rec.Scope.String(), State: state})
	}
	return serve.JSON(w, http.StatusOK, out)
}

// adminKubeconfig hands out a local administrator's certificate, as
// listClusterAdminCredential of AKS does, under the same operation.
func (d *Door) adminKubeconfig(w http.ResponseWriter, r *http.Request, s *session) error {
	if d.conf.AdminKubeconfig == nil {
		return notHere()
	}
	rec, err := s.cluster(w, r, actionAdmin)
	if err != nil {
		return err
	}
	if rec.DisableLocalAccounts {
		return serve.Refuse(http.StatusBadRequest, "BadRequest",
			"Getting static credential is not allowed because this cluster is set to disable local accounts.")
	}
	text, err := d.conf.AdminKubeconfig(r.Context(), rec.Scope, s.caller.ID)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, wire.Kubeconfig{Kubeconfig: string(text)})
}

// attach issues the certificate by which an attached cluster asks the house. A
// control plane that the house runs has its own, which nobody else gets.
func (d *Door) attach(w http.ResponseWriter, r *http.Request, s *session) error {
	if d.conf.AttachCluster == nil {
		return notHere()
	}
	rec, err := s.cluster(w, r, actionAttach)
	if err != nil {
		return err
	}
	if !rec.Attached {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "Cluster "+rec.Name+" is run by the house; only an attached cluster gets a certificate.")
	}
	a, err := d.conf.AttachCluster(r.Context(), rec.Scope, s.caller.ID)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, wire.Attachment{
		TokenReview: a.TokenReview, SubjectAccessReview: a.SubjectAccessReview,
		CA: string(a.CA), ClientCert: string(a.ClientCert), ClientKey: string(a.ClientKey),
	})
}

// examine lets the doctor look at a control plane that the house runs.
func (d *Door) examine(w http.ResponseWriter, r *http.Request, s *session) error {
	if d.conf.Examine == nil {
		return notHere()
	}
	rec, err := s.cluster(w, r, actionExamine)
	if err != nil {
		return err
	}
	if rec.Attached {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "Cluster "+rec.Name+" is attached: the house does not see its files. Run the doctor on one of its control-plane nodes.")
	}
	found, err := d.conf.Examine(r.Context(), rec.Scope)
	if err != nil {
		return err
	}
	out := wire.Findings{Findings: make([]wire.Finding, len(found))}
	for i, f := range found {
		out.Findings[i] = wire.Finding{ID: f.ID, Severity: string(f.Severity), What: f.What, Why: f.Why, Fix: f.Fix}
	}
	return serve.JSON(w, http.StatusOK, out)
}
