package arm

import (
	"context"
	"net/http"
	"reflect"
	"regexp"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const clusterType = "Microsoft.ContainerService/managedClusters"

// Clusters is what this door needs of the house that runs clusters. What is to be
// done to one is written into its record; these are the things that cannot be.
type Clusters interface {
	// Credential returns the certificate that a cluster knows somebody by who did not
	// sign in: an administrator, or one who reads its metrics. It is the same one for
	// the same person until it grows old or is taken back, and every time it is
	// handed out is in the audit log.
	Credential(ctx context.Context, at scope.Scope, who principal.ID, monitor bool) (pki.Pair, error)
}

// The kinds of the provider Microsoft.ContainerService.
const (
	clusters        kind = "managedClusters"
	cluster         kind = "managedCluster"
	userCredential  kind = "listClusterUserCredential"
	adminCredential kind = "listClusterAdminCredential"
	monitorCred     kind = "listClusterMonitoringUserCredential"
	accessProfile   kind = "accessProfiles"
	accessCred      kind = "listCredential"
	rotateCerts     kind = "rotateClusterCertificates"
	rotateKeys      kind = "rotateServiceAccountSigningKeys"
	resetAAD        kind = "resetAADProfile"
	resetPrincipal  kind = "resetServicePrincipalProfile"
	startCluster    kind = "start"
	stopCluster     kind = "stop"
	abortCluster    kind = "abort"
	runCommand      kind = "runCommand"
	commandResult   kind = "commandResults"
	upgradeProfile  kind = "upgradeProfiles"
	agentPools      kind = "agentPools"
	agentPool       kind = "agentPool"
	kubeVersions    kind = "kubernetesVersions"
)

const clusterPath = "subscriptions/*/resourcegroups/*/providers/microsoft.containerservice/managedclusters/*"

var clusterShapes = map[string]kind{
	"subscriptions/*|providers/microsoft.containerservice/managedclusters":                  clusters,
	"subscriptions/*/resourcegroups/*|providers/microsoft.containerservice/managedclusters": clusters,
	clusterPath: cluster,
	clusterPath + "|listclusterusercredential":                                            userCredential,
	clusterPath + "|listclusteradmincredential":                                           adminCredential,
	clusterPath + "|listclustermonitoringusercredential":                                  monitorCred,
	clusterPath + "|accessprofiles/*":                                                     accessProfile,
	clusterPath + "|accessprofiles/*/listcredential":                                      accessCred,
	clusterPath + "|rotateclustercertificates":                                            rotateCerts,
	clusterPath + "|rotateserviceaccountsigningkeys":                                      rotateKeys,
	clusterPath + "|resetaadprofile":                                                      resetAAD,
	clusterPath + "|resetserviceprincipalprofile":                                         resetPrincipal,
	clusterPath + "|start":                                                                startCluster,
	clusterPath + "|stop":                                                                 stopCluster,
	clusterPath + "|abort":                                                                abortCluster,
	clusterPath + "|runcommand":                                                           runCommand,
	clusterPath + "|commandresults/*":                                                     commandResult,
	clusterPath + "|upgradeprofiles/default":                                              upgradeProfile,
	clusterPath + "|identitybindings":                                                     identityBindings,
	clusterPath + "|identitybindings/*":                                                   identityBinding,
	clusterPath + "|agentpools":                                                           agentPools,
	clusterPath + "|agentpools/*":                                                         agentPool,
	"subscriptions/*|providers/microsoft.containerservice/locations/*/kubernetesversions": kubeVersions,
	"subscriptions/*|providers/microsoft.containerservice/locations/*/orchestrators":      kubeVersions,
}

var clusterHandlers = map[kind]map[string]handler{
	clusters:         {"GET": listClusters},
	cluster:          {"GET": getCluster, "PUT": putCluster, "PATCH": patchCluster, "DELETE": deleteCluster},
	userCredential:   {"POST": listUserCredential},
	adminCredential:  {"POST": listAdminCredential},
	monitorCred:      {"POST": listMonitorCredential},
	accessProfile:    {"GET": getAccessProfile},
	accessCred:       {"POST": getAccessProfile},
	rotateCerts:      {"POST": rotateCertificates},
	rotateKeys:       {"POST": rotateSigningKeys},
	resetAAD:         {"POST": resetAADProfile},
	resetPrincipal:   {"POST": resetServicePrincipal},
	startCluster:     {"POST": startOrStop},
	stopCluster:      {"POST": startOrStop},
	abortCluster:     {"POST": abortWork},
	identityBindings: {"GET": listBindings},
	identityBinding:  {"GET": getBinding, "PUT": putBinding, "DELETE": deleteBinding},
	runCommand:       {"POST": refuseCommand},
	commandResult:    {"GET": getCommandResult},
	upgradeProfile:   {"GET": getUpgradeProfile},
	agentPools:       {"GET": listPools},
	agentPool:        {"GET": getPool},
	kubeVersions:     {"GET": listVersions},
}

// clusterAt returns the cluster of a request to a caller who may do an action there.
func (s *session) clusterAt(r *request, action string) (resource.Cluster, error) {
	if err := s.needAt(clusterType+action, r.at); err != nil {
		return resource.Cluster{}, err
	}
	c, ok := s.est.Cluster(r.at)
	if !ok {
		return resource.Cluster{}, s.notThere(r.at)
	}
	return c, nil
}

func listClusters(s *session, r *request) (answer, error) {
	if err := s.listable(clusterType+"/read", r.at); err != nil {
		return answer{}, err
	}
	if err := s.exists(r.at); err != nil {
		return answer{}, err
	}
	var rows []row
	for c := range s.est.Clusters() {
		if r.at.Contains(c.Scope) && s.may(clusterType+"/read", c.Scope) {
			rows = append(rows, row{c.Scope.String(), s.clusterBody(c)})
		}
	}
	return s.page(r, rows)
}

func getCluster(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/read")
	if err != nil {
		return answer{}, err
	}
	return ok(c, s.clusterBody(c)), nil
}

// clusterName is what AKS lets a cluster be called.
var clusterName = regexp.MustCompile(`^[a-zA-Z0-9]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$`)

func patchCluster(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/write")
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Tags *record.Tags `json:"tags"`
	}
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	next := c
	if in.Tags != nil {
		if next.Tags = *in.Tags; len(next.Tags) == 0 {
			next.Tags = nil
		}
	}
	if err := next.Validate(); err != nil {
		return answer{}, err
	}
	return wrote(true, !reflect.DeepEqual(c, next), next, s.clusterBody(next)), nil
}

// deleteCluster lets the house take a cluster down with all that was made for it,
// whatever else it is doing to it. One that others run is only forgotten.
func deleteCluster(s *session, r *request) (answer, error) {
	c, exists := s.est.Cluster(r.at)
	if !exists {
		return answer{status: http.StatusNoContent}, s.needAt(clusterType+"/delete", r.at)
	}
	ops, err := s.removal(c)
	if err != nil {
		return answer{}, err
	}
	out := answer{status: http.StatusAccepted, of: c.Key()}
	work := s.work(r, resource.Delete, c.Scope)
	if c.Attached {
		out.ops = ops
		op := NewOperation(work, c.Scope, s.caller.ID)
		op.Status, op.Ended = Succeeded, work.Since
		kept, err := op.Op()
		out.private = append(out.private, kept)
		s.point(&out, work, c.Scope)
		return out, err
	}
	if c.Doing.Kind == resource.Delete {
		s.point(&out, c.Doing, c.Scope)
		return out, nil
	}
	if err := s.cancel(&out, c); err != nil {
		return answer{}, err
	}
	return out, s.take(&out, c, work)
}

// take begins work on a cluster.
func (s *session) take(out *answer, c resource.Cluster, work resource.Work) error {
	c.Doing = work
	out.ops = append(out.ops, estate.Op{Put: c})
	return s.begin(out, work, c.Scope)
}

// takesDown returns what is to be done before a group can be deleted: its clusters,
// which take their time.
func (s *session) takesDown(r *request, out *answer, g resource.Group) (bool, error) {
	any := false
	for c := range s.est.Clusters() {
		if !g.Scope.Contains(c.Scope) || c.Attached {
			continue
		}
		any = true
		if c.Doing.Kind != resource.Delete {
			if err := s.take(out, c, s.work(r, resource.Delete, c.Scope)); err != nil {
				return false, err
			}
		}
	}
	out.header = nil // the caller asks about the group
	return any, nil
}

// RemovalOf returns the ops that delete a resource group with all that is in it,
// for whoever was allowed to.
func RemovalOf(est *estate.Snapshot, g resource.Group) ([]estate.Op, error) {
	ops, _, err := serve.Deletion(est, g.Key(), true)
	return sorted(ops), err
}
