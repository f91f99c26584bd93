package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/podid/migrate"
)

// A maker is a kind that makes pods.
type maker struct {
	kind     string
	resource schema.GroupVersionResource
	template []string // where its pods' template is; none when it is the pod itself
	by       []string // the kinds that may make it, which then counts in its place
	fixed    string   // why labels cannot be changed, if they cannot
}

var makers = []maker{
	{"Deployment", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, []string{"spec", "template"}, nil, ""},
	{"StatefulSet", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, []string{"spec", "template"}, nil, ""},
	{"DaemonSet", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, []string{"spec", "template"}, nil, ""},
	{"CronJob", schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}, []string{"spec", "jobTemplate", "spec", "template"}, nil, ""},
	{"ReplicaSet", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, []string{"spec", "template"}, []string{"Deployment"}, "a ReplicaSet makes no new pods for a new template: create it anew"},
	{"Job", schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, []string{"spec", "template"}, []string{"CronJob"}, "the template of a Job cannot be changed: create it anew"},
	{"Pod", schema.GroupVersionResource{Version: "v1", Resource: "pods"}, nil, []string{"ReplicaSet", "StatefulSet", "DaemonSet", "Job"}, "nothing makes it anew: delete it, and create it with the label"},
}

// path is where a field of the pods is.
func (m maker) path(field ...string) []string { return slices.Concat(m.template, field) }

// workloads reaches what runs in a cluster.
type workloads struct{ objects dynamic.Interface }

func newWorkloads(conf *rest.Config) (*workloads, error) {
	objects, err := dynamic.NewForConfig(conf)
	return &workloads{objects}, err
}

var (
	accounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	webhooks = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}
)

// read reads everything about a cluster that its own API server knows.
func (w *workloads) read(ctx context.Context) (c migrate.Cluster, err error) {
	if c.Identities, err = readAll(ctx, w, podid.Identities, podid.ParseIdentity); err != nil {
		return c, err
	}
	if c.Bindings, err = readAll(ctx, w, podid.Bindings, podid.ParseBinding); err != nil {
		return c, err
	}
	if c.Exceptions, err = readAll(ctx, w, podid.Exceptions, podid.ParseException); err != nil {
		return c, err
	}
	c.Accounts = make(map[podid.Ref]map[string]string)
	list, err := w.list(ctx, accounts)
	if err != nil {
		return c, err
	}
	for _, a := range list {
		c.Accounts[podid.Ref{Namespace: a.GetNamespace(), Name: a.GetName()}] = a.GetAnnotations()
	}
	if c.Workloads, err = w.makers(ctx); err != nil {
		return c, err
	}
	switch _, err := w.objects.Resource(webhooks).Get(ctx, "azure-wi-webhook-mutating-webhook-configuration", metav1.GetOptions{}); {
	case err == nil:
		c.Webhook = true
	case !apierrors.IsNotFound(err):
		return c, err
	}
	return c, nil
}

func (w *workloads) list(ctx context.Context, r schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	list, err := w.objects.Resource(r).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", r.GroupResource(), err)
	}
	return list.Items, nil
}

// readAll reads the objects of one kind. One that cannot be read ends the plan:
// what it says is not known, and a plan without it would be wrong.
func readAll[T any](ctx context.Context, w *workloads, resource string, parse func([]byte) (T, error)) ([]T, error) {
	list, err := w.list(ctx, schema.GroupVersionResource{Group: podid.Group, Version: podid.Version, Resource: resource})
	if apierrors.IsNotFound(errors.Unwrap(err)) {
		return nil, fmt.Errorf("there is nothing to move, for pod identity is not installed in the cluster: %w", err)
	}
	var all []T
	for _, item := range list {
		data, err := json.Marshal(item.Object)
		if err != nil {
			return nil, err
		}
		obj, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("%w: put it right or delete it, it gives nothing", err)
		}
		all = append(all, obj)
	}
	return all, err
}

// makers lists what makes pods, and pods that nothing makes. What is made by kinds
// that are not known here counts as made by them, once.
func (w *workloads) makers(ctx context.Context) ([]migrate.Workload, error) {
	var all []migrate.Workload
	seen := make(map[[3]string]bool)
	for _, mk := range makers {
		list, err := w.list(ctx, mk.resource)
		if err != nil {
			return nil, err
		}
		for i := range list {
			obj := &list[i]
			load := migrate.Workload{Kind: mk.kind, Namespace: obj.GetNamespace(), Name: obj.GetName(), Fixed: mk.fixed}
			if owner := metav1.GetControllerOf(obj); owner != nil {
				if slices.Contains(mk.by, owner.Kind) {
					continue
				}
				load.Kind, load.Name = owner.Kind, owner.Name
				load.Fixed = fmt.Sprintf("what a %s makes its pods from is not known here: label them there", owner.Kind)
			}
			load.Labels, _, _ = unstructured.NestedStringMap(obj.Object, mk.path("metadata", "labels")...)
			load.ServiceAccount, _, _ = unstructured.NestedString(obj.Object, mk.path("spec", "serviceAccountName")...)
			load.HostNetwork, _, _ = unstructured.NestedBool(obj.Object, mk.path("spec", "hostNetwork")...)
			if load.ServiceAccount == "" {
				load.ServiceAccount = "default"
			}
			if key := [3]string{load.Kind, load.Namespace, load.Name}; !seen[key] {
				seen[key] = true
				all = append(all, load)
			}
		}
	}
	return all, nil
}

func (w *workloads) annotate(ctx context.Context, account podid.Ref, name, value string) error {
	return w.patch(ctx, accounts, account, []string{"metadata", "annotations"}, name, value)
}

// label changes a label of the pods that a workload makes; a nil value takes it away.
func (w *workloads) label(ctx context.Context, load migrate.Workload, name string, value any) error {
	for _, mk := range makers {
		if mk.kind == load.Kind {
			return w.patch(ctx, mk.resource, podid.Ref{Namespace: load.Namespace, Name: load.Name}, mk.path("metadata", "labels"), name, value)
		}
	}
	return fmt.Errorf("what a %s makes its pods from is not known", load.Kind)
}

// patch sets one member of a map somewhere in an object.
func (w *workloads) patch(ctx context.Context, r schema.GroupVersionResource, ref podid.Ref, at []string, name string, value any) error {
	body := map[string]any{name: value}
	for i := len(at) - 1; i >= 0; i-- {
		body = map[string]any{at[i]: body}
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = w.objects.Resource(r).Namespace(ref.Namespace).Patch(ctx, ref.Name, types.MergePatchType, data, metav1.PatchOptions{})
	return err
}
