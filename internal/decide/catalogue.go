package decide

import "github.com/gatehouse-io/gatehouse/internal/azurerbac"

type groupResource struct{ group, resource string }

// known are the resources that Azure has data actions for, and those on which
// verbs are asked that the catalogue has no resource for. Every other resource is
// a custom resource to Azure.
var known = func() map[groupResource]bool {
	m := map[groupResource]bool{{"authentication.k8s.io", "uids"}: true, {"certificates.k8s.io", "signers"}: true}
	for _, r := range azurerbac.KubeResources() {
		m[groupResource{r.Group, r.Resource}] = true
	}
	return m
}()

// knownGroups are the API groups of known.
var knownGroups = func() map[string]bool {
	m := make(map[string]bool)
	for k := range known {
		m[k.group] = true
	}
	return m
}()

// servedPaths are the first segments of the paths that kube-apiserver serves
// besides resources (Azure RBAC permissions reference, Microsoft.ContainerService).
var servedPaths = map[string]bool{
	"api": true, "apis": true, "healthz": true, "livez": true, "readyz": true, "logs": true, "metrics": true,
	"openapi": true, "resetMetrics": true, "swagger-api": true, "swagger-ui": true, "ui": true, "version": true,
}
