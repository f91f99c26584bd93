package cli

import (
	"fmt"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// A kind of Kubernetes resource, as kubectl knows it.
type kubeResource struct {
	name, group string
	aliases     string // singular and short names
	global      bool   // not in a namespace
}

// kubeResources are what Kubernetes 1.36 serves by itself. Resources that are
// not here are written with their group: widgets.example.com.
var kubeResources = []kubeResource{
	{"bindings", "", "binding", false}, {"componentstatuses", "", "componentstatus cs", true}, {"configmaps", "", "configmap cm", false},
	{"endpoints", "", "ep", false}, {"events", "", "event ev", false}, {"groups", "", "group", true}, {"limitranges", "", "limitrange limits", false},
	{"namespaces", "", "namespace ns", true}, {"nodes", "", "node no", true}, {"persistentvolumeclaims", "", "persistentvolumeclaim pvc", false},
	{"persistentvolumes", "", "persistentvolume pv", true}, {"pods", "", "pod po", false}, {"podtemplates", "", "podtemplate", false},
	{"replicationcontrollers", "", "replicationcontroller rc", false}, {"resourcequotas", "", "resourcequota quota", false},
	{"secrets", "", "secret", false}, {"serviceaccounts", "", "serviceaccount sa", false}, {"services", "", "service svc", false}, {"users", "", "user", true},
	{"mutatingwebhookconfigurations", "admissionregistration.k8s.io", "mutatingwebhookconfiguration", true},
	{"validatingwebhookconfigurations", "admissionregistration.k8s.io", "validatingwebhookconfiguration", true},
	{"validatingadmissionpolicies", "admissionregistration.k8s.io", "validatingadmissionpolicy", true},
	{"validatingadmissionpolicybindings", "admissionregistration.k8s.io", "validatingadmissionpolicybinding", true},
	{"customresourcedefinitions", "apiextensions.k8s.io", "customresourcedefinition crd crds", true}, {"apiservices", "apiregistration.k8s.io", "apiservice", true},
	{"controllerrevisions", "apps", "controllerrevision", false}, {"daemonsets", "apps", "daemonset ds", false}, {"deployments", "apps", "deployment deploy", false},
	{"replicasets", "apps", "replicaset rs", false}, {"statefulsets", "apps", "statefulset sts", false},
	{"tokenreviews", "authentication.k8s.io", "tokenreview", true}, {"selfsubjectreviews", "authentication.k8s.io", "selfsubjectreview", true},
	{"uids", "authentication.k8s.io", "uid", true}, {"userextras", "authentication.k8s.io", "userextra", true},
	{"localsubjectaccessreviews", "authorization.k8s.io", "localsubjectaccessreview", false}, {"selfsubjectaccessreviews", "authorization.k8s.io", "selfsubjectaccessreview", true},
	{"selfsubjectrulesreviews", "authorization.k8s.io", "selfsubjectrulesreview", true}, {"subjectaccessreviews", "authorization.k8s.io", "subjectaccessreview", true},
	{"horizontalpodautoscalers", "autoscaling", "horizontalpodautoscaler hpa", false}, {"cronjobs", "batch", "cronjob cj", false}, {"jobs", "batch", "job", false},
	{"certificatesigningrequests", "certificates.k8s.io", "certificatesigningrequest csr", true}, {"signers", "certificates.k8s.io", "signer", true},
	{"leases", "coordination.k8s.io", "lease", false}, {"endpointslices", "discovery.k8s.io", "endpointslice", false},
	{"flowschemas", "flowcontrol.apiserver.k8s.io", "flowschema", true}, {"prioritylevelconfigurations", "flowcontrol.apiserver.k8s.io", "prioritylevelconfiguration", true},
	{"ingressclasses", "networking.k8s.io", "ingressclass", true}, {"ingresses", "networking.k8s.io", "ingress ing", false}, {"networkpolicies", "networking.k8s.io", "networkpolicy netpol", false},
	{"runtimeclasses", "node.k8s.io", "runtimeclass", true}, {"poddisruptionbudgets", "policy", "poddisruptionbudget pdb", false},
	{"clusterrolebindings", "rbac.authorization.k8s.io", "clusterrolebinding", true}, {"clusterroles", "rbac.authorization.k8s.io", "clusterrole", true},
	{"rolebindings", "rbac.authorization.k8s.io", "rolebinding", false}, {"roles", "rbac.authorization.k8s.io", "role", false},
	{"priorityclasses", "scheduling.k8s.io", "priorityclass pc", true},
	{"csidrivers", "storage.k8s.io", "csidriver", true}, {"csinodes", "storage.k8s.io", "csinode", true}, {"csistoragecapacities", "storage.k8s.io", "csistoragecapacity", false},
	{"storageclasses", "storage.k8s.io", "storageclass sc", true}, {"volumeattachments", "storage.k8s.io", "volumeattachment", true},
}

var kubeVerbs = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate", "use", "approve", "sign", "attest"}

// parseKube reads VERB RESOURCE[.GROUP][/SUB] [NAME] and -n. A resource that
// begins with a slash is a path that is no resource.
func parseKube(env *Env, args []string, namespace string) (*wire.Kube, error) {
	if len(args) < 2 {
		return nil, usage("want VERB RESOURCE, such as: list pods")
	}
	verb, what := args[0], args[1]
	if verb != strings.ToLower(verb) {
		return nil, usage("verbs are in lower case: %q", strings.ToLower(verb))
	}
	if !known(kubeVerbs, verb) && verb != "*" {
		if near := nearest.Names(verb, values(kubeVerbs), 1); near != nil {
			env.note("note: %q is no verb that Kubernetes uses by itself; did you mean %q?", verb, near[0])
		}
	}
	if strings.HasPrefix(what, "/") {
		if len(args) > 2 || namespace != "" {
			return nil, usage("the path %s has neither name nor namespace", what)
		}
		return &wire.Kube{Verb: verb, Path: what}, nil
	}
	k := &wire.Kube{Verb: verb, Namespace: namespace}
	if len(args) > 2 {
		k.Name = args[2]
	}
	what, k.Subresource, _ = strings.Cut(what, "/")
	name, group, dotted := strings.Cut(what, ".")
	r, found := findResource(name, group, dotted)
	switch {
	case found:
		k.Resource, k.APIGroup = r.name, r.group
	case dotted || name == "*":
		k.Resource, k.APIGroup = name, group
		if name == "*" && !dotted {
			k.APIGroup = "*"
		}
	default:
		return nil, unknown("Kubernetes has no resource", name, fmt.Sprintf("one of its own is written with its group, such as %s.example.com", name), func(yield func(string) bool) {
			for _, r := range kubeResources {
				if !yield(r.name) {
					return
				}
			}
		})
	}
	if found && r.global {
		switch {
		case r.name == "namespaces" && k.Name != "":
			k.Namespace = k.Name // so asks the API server about one namespace
		case namespace != "":
			env.note("note: %s are not in a namespace; -n %s is left out", r.name, namespace)
			k.Namespace = ""
		}
	}
	return k, nil
}

func known(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

func findResource(name, group string, dotted bool) (kubeResource, bool) {
	name = strings.ToLower(name)
	for _, r := range kubeResources {
		if (r.name == name || known(strings.Fields(r.aliases), name)) && (!dotted || r.group == group) {
			return r, true
		}
	}
	return kubeResource{}, false
}

// describeKube says what is asked, as a person would.
func describeKube(k *wire.Kube, cluster string) string {
	if k.Path != "" {
		return fmt.Sprintf("%s %s on %s", k.Verb, k.Path, cluster)
	}
	what := k.Resource
	if k.APIGroup != "" && k.APIGroup != "*" {
		what += "." + k.APIGroup
	}
	if k.Subresource != "" {
		what += "/" + k.Subresource
	}
	if k.Name != "" {
		what += " " + k.Name
	}
	where := "everywhere on " + cluster
	if k.Namespace != "" {
		where = "in namespace " + k.Namespace + " of " + cluster
	}
	return fmt.Sprintf("%s %s %s", k.Verb, what, where)
}
