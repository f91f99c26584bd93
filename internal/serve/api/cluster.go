package api

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

const (
	actionAdmin  = "Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action"
	actionAccess = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action"
)

// userAccess tells what goes into a kubeconfig of those who sign in, under the
// operation listClusterUserCredential of AKS.
func userAccess(w http.ResponseWriter, r *http.Request, s *session) error {
	var in wire.ClusterRef
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	at, err := scope.Parse(in.Scope)
	if err != nil {
		return err
	}
	// Asked before it is said whether there is such a cluster.
	if err := s.need(actionAccess, at, nil); err != nil {
		return err
	}
	rec, ok := s.est.Cluster(at)
	if !ok {
		return serve.Refuse(http.StatusNotFound, "ResourceNotFound", "There is no cluster "+at.String()+".")
	}
	return serve.JSON(w, http.StatusOK, wire.Access{
		Name: rec.Name, ResourceGroup: rec.ResourceGroup, Tenant: rec.Tenant.String(),
		Endpoint: rec.Endpoint, CertificateAuthority: rec.CertificateAuthority, EntraSignIn: rec.EntraSignIn,
	})
}

// adminKubeconfig hands out a local administrator's certificate, as
// listClusterAdminCredential of AKS does, under the same operation.
func (d *Door) adminKubeconfig(w http.ResponseWriter, r *http.Request, s *session) error {
	if d.conf.AdminKubeconfig == nil {
		return notHere()
	}
	var in wire.ClusterRef
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	at, err := scope.Parse(in.Scope)
	if err != nil {
		return err
	}
	if err := s.need(actionAdmin, at, nil); err != nil {
		return err
	}
	rec, ok := s.est.Cluster(at)
	if !ok {
		return serve.Refuse(http.StatusNotFound, "ResourceNotFound", "There is no cluster "+at.String()+".")
	}
	if rec.DisableLocalAccounts {
		return serve.Refuse(http.StatusBadRequest, "BadRequest",
			"Getting static credential is not allowed because this cluster is set to disable local accounts.")
	}
	text, err := d.conf.AdminKubeconfig(r.Context(), at, s.caller.ID)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, wire.Kubeconfig{Kubeconfig: string(text)})
}
