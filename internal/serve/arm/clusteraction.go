package arm

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	control "github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// act begins work on a cluster that the house runs.
func (s *session) act(r *request, c resource.Cluster, k resource.WorkKind) (answer, error) {
	if err := idle(c); err != nil {
		return answer{}, err
	}
	if c.Attached {
		return answer{}, serve.Refuse(http.StatusBadRequest, "BadRequest", "Cluster "+c.Name+" is run by others: the house cannot do that to it.")
	}
	c.Failure = resource.Failure{}
	out := answer{status: http.StatusAccepted}
	return out, s.take(&out, c, s.work(r, k, c.Scope))
}

// rotateCertificates gives a cluster another certificate authority.
func rotateCertificates(s *session, r *request) (answer, error) {
	return s.rotate(r, "/rotateClusterCertificates/action", resource.RotateCertificates)
}

// rotateSigningKeys gives a cluster another key for its service account tokens.
func rotateSigningKeys(s *session, r *request) (answer, error) {
	return s.rotate(r, "/rotateServiceAccountSigningKeys/action", resource.RotateSigningKeys)
}

func (s *session) rotate(r *request, action string, k resource.WorkKind) (answer, error) {
	c, err := s.clusterAt(r, action)
	if err != nil {
		return answer{}, err
	}
	if c.Stopped {
		return answer{}, stopped(c)
	}
	if k == resource.RotateSigningKeys && !c.OIDCIssuer {
		return answer{}, serve.Refuse(http.StatusBadRequest, "OIDCIssuerNotEnabled", "The OIDC issuer of cluster "+c.Name+" is not enabled.")
	}
	return s.act(r, c, k)
}

func stopped(c resource.Cluster) error {
	return serve.Refuse(http.StatusBadRequest, "OperationNotAllowed", "The cluster "+c.Name+" is stopped. Start it first.")
}

// startOrStop ends a control plane, or brings it back. What is in the cluster stays.
func startOrStop(s *session, r *request) (answer, error) {
	k, off := resource.Start, false
	if r.kind == stopCluster {
		k, off = resource.Stop, true
	}
	c, err := s.clusterAt(r, "/"+string(r.kind)+"/action")
	if err != nil {
		return answer{}, err
	}
	if err := idle(c); err != nil {
		return answer{}, err
	}
	if c.Stopped == off {
		return answer{status: http.StatusNoContent}, nil // it is so already
	}
	c.Stopped = off
	return s.act(r, c, k)
}

// abortWork ends what is being done to a cluster, but for its deletion. What was
// reached by then stays.
func abortWork(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/abort/action")
	if err != nil {
		return answer{}, err
	}
	switch c.Doing.Kind {
	case "":
		return answer{status: http.StatusNoContent}, nil
	case resource.Delete:
		return answer{}, idle(c)
	}
	out := answer{status: http.StatusNoContent}
	if err := s.cancel(&out, c); err != nil {
		return answer{}, err
	}
	c.Failure = resource.Failure{Code: "OperationAborted", Message: fmt.Sprintf("The operation %s was aborted.", c.Doing.Kind)}
	c.Doing = resource.Work{}
	out.ops = append(out.ops, estate.Op{Put: c})
	return out, nil
}

// resetAADProfile changes who signs in, as an update would (the deprecated way).
func resetAADProfile(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/resetAADProfile/action")
	if err != nil {
		return answer{}, err
	}
	if err := idle(c); err != nil {
		return answer{}, err
	}
	var in aadGiven
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	d := &draft{session: s, r: r, exists: true, old: c, next: c}
	if err := d.signInAs(in); err != nil {
		return answer{}, err
	}
	if err := s.need(serve.ToPut(s.est, c, d.next)...); err != nil {
		return answer{}, err
	}
	return s.act(r, d.next, resource.Update)
}

// resetServicePrincipal changes the service principal of a cluster that has one.
func resetServicePrincipal(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/resetServicePrincipalProfile/action")
	if err != nil {
		return answer{}, err
	}
	if err := idle(c); err != nil {
		return answer{}, err
	}
	var in struct {
		ClientID string `json:"clientId"`
		Secret   string `json:"secret"`
	}
	if err := r.decode(&in); err != nil {
		return answer{}, err
	}
	d := &draft{session: s, r: r, exists: true, old: c, next: c}
	if err := d.actAs(in.ClientID); err != nil {
		return answer{}, err
	}
	return s.act(r, d.next, resource.Update)
}

// refuseCommand decides who may run a command in a cluster, and runs none: a command
// line of somebody else's is not run on the machine of the house. Whoever may do it
// may sign in and do it himself.
func refuseCommand(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/runCommand/action")
	if err != nil {
		return answer{}, err
	}
	if c.DisableRunCommand {
		return answer{}, serve.Refuse(http.StatusBadRequest, "RunCommandDisabled", "Run command is disabled on this cluster (apiServerAccessProfile.disableRunCommand).")
	}
	return answer{}, serve.Refuse(http.StatusNotImplemented, "NotSupported", "You may run commands in cluster "+c.Name+", but this house runs none for you: use kubectl with a kubeconfig of your own.")
}

func getCommandResult(s *session, r *request) (answer, error) {
	if _, err := s.clusterAt(r, "/commandResults/read"); err != nil {
		return answer{}, err
	}
	return answer{}, noResource("The command '%s' was not found.", serve.Printable(r.name, 40))
}

// getUpgradeProfile says that there is no other version to go to.
func getUpgradeProfile(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/upgradeProfiles/read")
	if err != nil {
		return answer{}, err
	}
	type profile struct {
		Name     string `json:"name,omitzero"`
		Version  string `json:"kubernetesVersion"`
		OSType   string `json:"osType"`
		Upgrades []any  `json:"upgrades"`
	}
	control := profile{Version: shownVersion(c), OSType: "Linux", Upgrades: []any{}}
	nodes := []profile{}
	for _, p := range pools(c) {
		one := control
		one.Name = p.text("name")
		nodes = append(nodes, one)
	}
	return ok(c, map[string]any{
		"id": s.spell(c.Scope) + "/upgradeprofiles/default", "name": "default", "type": clusterType + "/upgradeprofiles",
		"properties": map[string]any{"controlPlaneProfile": control, "agentPoolProfiles": nodes},
	}), nil
}

func (s *session) poolBody(c resource.Cluster, p members) any {
	name := p.text("name")
	delete(p, "name")
	return map[string]any{"id": s.spell(c.Scope) + "/agentPools/" + name, "name": name, "type": clusterType + "/agentPools", "properties": p}
}

func listPools(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/agentPools/read")
	if err != nil {
		return answer{}, err
	}
	var rows []row
	for _, p := range pools(c) {
		rows = append(rows, row{p.text("name"), s.poolBody(c, p)})
	}
	return s.page(r, rows)
}

func getPool(s *session, r *request) (answer, error) {
	c, err := s.clusterAt(r, "/agentPools/read")
	if err != nil {
		return answer{}, err
	}
	for _, p := range pools(c) {
		if strings.EqualFold(p.text("name"), r.name) {
			return ok(c, s.poolBody(c, p)), nil
		}
	}
	return answer{}, noResource("The agent pool '%s' was not found.", serve.Printable(r.name, 40))
}

// listVersions lists the one version that the house runs, in the two forms that
// Azure has for it.
func listVersions(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	if strings.HasSuffix(strings.ToLower(strings.TrimSuffix(r.path, "/")), "/orchestrators") {
		return answer{status: http.StatusOK, body: map[string]any{
			"id": r.path, "name": "default", "type": "Microsoft.ContainerService/locations/orchestrators",
			"properties": map[string]any{"orchestrators": []any{map[string]any{"orchestratorType": "Kubernetes", "orchestratorVersion": control.KubernetesVersion, "default": true, "upgrades": nil}}},
		}}, nil
	}
	var out any
	err := json.Unmarshal(fmt.Appendf(nil, `{"values":[{"version":%q,"isDefault":true,"isPreview":false,"capabilities":{"supportPlan":["KubernetesOfficial"]},"patchVersions":{%q:{"upgrades":[]}}}]}`,
		kubeMinor, control.KubernetesVersion), &out)
	return answer{status: http.StatusOK, body: out}, err
}
