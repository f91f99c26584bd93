package arm

import (
	"context"
	"encoding/base64"
	"net/http"

	control "github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

type credentialsBody struct {
	Kubeconfigs []kubeconfigBody `json:"kubeconfigs"`
}

type kubeconfigBody struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// respond wraps a kubeconfig in one of the two forms that Azure has for it.
type respond func(name string, text []byte) any

func asList(name string, text []byte) any {
	return credentialsBody{[]kubeconfigBody{{name, base64.StdEncoding.EncodeToString(text)}}}
}

// listUserCredential gives the kubeconfig of everybody who signs in, which holds no
// secret. Who does not sign in, because the cluster does not know how, gets what an
// administrator gets, as in AKS.
func listUserCredential(s *session, r *request) (answer, error) {
	return s.userCredential(r, asList)
}

func (s *session) userCredential(r *request, as respond) (answer, error) {
	c, err := s.clusterAt(r, "/listClusterUserCredential/action")
	if err != nil {
		return answer{}, err
	}
	if !c.EntraSignIn {
		return s.certificate(r, c, userNames, false, as)
	}
	e, err := endpointOf(c)
	if err != nil {
		return answer{}, err
	}
	in := control.SignIn{Tenant: c.Tenant, Server: c.LegacySignIn.ServerApp, Client: c.LegacySignIn.ClientApp}
	switch format := r.query.Get("format"); format {
	case "", "exec", "azure":
		return answer{then: func(_ context.Context, d *Door) (answer, error) {
			in.Authority = d.conf.Authority
			text := control.UserKubeconfig(e, control.Kubelogin(in))
			if format == "azure" {
				text = control.AuthProviderKubeconfig(e, in)
			}
			return answer{status: http.StatusOK, body: as("clusterUser", text)}, nil
		}}, nil
	default:
		return answer{}, badParameter("format", "It is azure or exec.")
	}
}

// listAdminCredential gives a certificate of a local administrator.
func listAdminCredential(s *session, r *request) (answer, error) { return s.adminCredential(r, asList) }

func (s *session) adminCredential(r *request, as respond) (answer, error) {
	c, err := s.clusterAt(r, "/listClusterAdminCredential/action")
	if err != nil {
		return answer{}, err
	}
	return s.certificate(r, c, adminNames, false, as)
}

// listMonitorCredential gives a certificate that reads the metrics of the API server
// and nothing else.
func listMonitorCredential(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/listClusterMonitoringUserCredential/action")
	if err != nil {
		return answer{}, err
	}
	return s.certificate(r, c, monitorNames, true, asList)
}

// A spelling is what AKS calls the parts of a kubeconfig.
type spelling struct{ result, user, suffix string }

var (
	userNames = spelling{"clusterUser", "clusterUser_", ""}
	// az itself puts "-admin" behind the name of a context whose user begins like this.
	adminNames   = spelling{"clusterAdmin", "clusterAdmin_", ""}
	monitorNames = spelling{"clusterMonitoringUser", "clusterMonitoringUser_", "-monitoring"}
)

func (s *session) certificate(r *request, c resource.Cluster, n spelling, monitor bool, as respond) (answer, error) {
	if c.DisableLocalAccounts { // LA-01
		return answer{}, serve.Refuse(http.StatusBadRequest, "BadRequest", "Getting static credential is not allowed because this cluster is set to disable local accounts.")
	}
	if c.Attached {
		return answer{}, serve.Refuse(http.StatusBadRequest, "BadRequest", "Cluster "+c.Name+" is run by others: its administrators' kubeconfig is where its installer wrote it.")
	}
	e, err := endpointOf(c)
	if err != nil {
		return answer{}, err
	}
	return answer{then: func(ctx context.Context, d *Door) (answer, error) {
		if d.conf.Clusters == nil {
			return answer{}, notRunHere(c.Name)
		}
		pair, err := d.conf.Clusters.Credential(ctx, c.Scope, s.caller.ID, monitor)
		if err != nil {
			return answer{}, err
		}
		return answer{status: http.StatusOK, body: as(n.result, control.CertificateKubeconfig(e, n.user, n.suffix, pair))}, nil
	}}, nil
}

func notRunHere(name string) error {
	return serve.Refuse(http.StatusConflict, "NotRunning", "The control plane of cluster "+name+" does not run in this house. gatehouse up runs it, gatehouse serve does not.")
}

// endpointOf is what a kubeconfig says about a cluster, once it has answered.
func endpointOf(c resource.Cluster) (control.Endpoint, error) {
	if c.Endpoint == "" {
		return control.Endpoint{}, serve.Refuse(http.StatusConflict, "OperationNotAllowed", "The API server of cluster "+c.Name+" has not answered yet: its provisioning state is "+c.ProvisioningState()+".")
	}
	return control.Endpoint{Name: c.Name, ResourceGroup: c.ResourceGroup, Server: c.Endpoint, CA: []byte(c.CertificateAuthority)}, nil
}

type accessProfileBody struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Location   string            `json:"location"`
	Properties map[string]string `json:"properties"`
}

// getAccessProfile is the older way to a kubeconfig, with the rules of the new one.
func getAccessProfile(s *session, r *request) (answer, error) {
	as := func(name string, text []byte) any {
		return accessProfileBody{
			ID: s.spell(r.at) + "/accessProfiles/" + name, Name: name, Type: "Microsoft.ContainerService/ManagedClusters/AccessProfiles",
			Location: s.locationAt(r.at), Properties: map[string]string{"kubeConfig": base64.StdEncoding.EncodeToString(text)},
		}
	}
	if err := s.needAt(clusterType+map[bool]string{true: "/accessProfiles/read", false: "/accessProfiles/listCredential/action"}[r.method == http.MethodGet || r.method == http.MethodHead], r.at); err != nil {
		return answer{}, err
	}
	switch r.name {
	case "clusterUser":
		return s.userCredential(r, as)
	case "clusterAdmin":
		return s.adminCredential(r, as)
	}
	return answer{}, noResource("The access profile '%s' was not found: there are clusterUser and clusterAdmin.", serve.Printable(r.name, 40))
}
