package decide

type groupResource struct{ group, resource string }

// known are the resources that Azure has data actions for (Azure RBAC
// permissions reference, Microsoft.ContainerService). Every other resource is a
// custom resource to Azure.
var known = catalogue(map[string][]string{
	"": {"bindings", "componentstatuses", "configmaps", "endpoints", "events", "groups", "limitranges", "namespaces", "nodes",
		"persistentvolumeclaims", "persistentvolumes", "pods", "podtemplates", "replicationcontrollers", "resourcequotas",
		"secrets", "serviceaccounts", "services", "users"},
	"admissionregistration.k8s.io": {"initializerconfigurations", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"},
	"apiextensions.k8s.io":         {"customresourcedefinitions"},
	"apiregistration.k8s.io":       {"apiservices"},
	"apps":                         {"controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"},
	"authentication.k8s.io":        {"tokenreviews", "uids", "userextras"},
	"authorization.k8s.io":         {"localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"},
	"autoscaling":                  {"horizontalpodautoscalers"},
	"batch":                        {"cronjobs", "jobs"},
	"certificates.k8s.io":          {"certificatesigningrequests", "signers"},
	"coordination.k8s.io":          {"leases"},
	"discovery.k8s.io":             {"endpointslices"},
	"events.k8s.io":                {"events"},
	"extensions":                   {"daemonsets", "deployments", "ingresses", "networkpolicies", "podsecuritypolicies", "replicasets"},
	"flowcontrol.apiserver.k8s.io": {"flowschemas", "prioritylevelconfigurations"},
	"metrics.k8s.io":               {"nodes", "pods"},
	"networking.k8s.io":            {"ingressclasses", "ingresses", "networkpolicies"},
	"node.k8s.io":                  {"runtimeclasses"},
	"policy":                       {"poddisruptionbudgets", "podsecuritypolicies"},
	"rbac.authorization.k8s.io":    {"clusterrolebindings", "clusterroles", "rolebindings", "roles"},
	"scheduling.k8s.io":            {"priorityclasses"},
	"storage.k8s.io":               {"csidrivers", "csinodes", "csistoragecapacities", "storageclasses", "volumeattachments"},
})

func catalogue(groups map[string][]string) map[groupResource]bool {
	m := make(map[groupResource]bool)
	for group, resources := range groups {
		for _, r := range resources {
			m[groupResource{group, r}] = true
		}
	}
	return m
}

// knownGroups are the API groups of known.
var knownGroups = func() map[string]bool {
	m := make(map[string]bool)
	for k := range known {
		m[k.group] = true
	}
	return m
}()

// servedPaths are the first segments of the paths that kube-apiserver serves
// besides resources (same reference).
var servedPaths = map[string]bool{
	"api": true, "apis": true, "healthz": true, "livez": true, "readyz": true, "logs": true, "metrics": true,
	"openapi": true, "resetMetrics": true, "swagger-api": true, "swagger-ui": true, "ui": true, "version": true,
}
