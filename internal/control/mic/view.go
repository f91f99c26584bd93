package mic

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/gatehouse-io/gatehouse/internal/podid"
)

// A view is the cluster as it was last told.
type view struct {
	identities kind[podid.AzureIdentity]
	bindings   kind[podid.AzureIdentityBinding]
	exceptions kind[podid.AzurePodIdentityException]
	assigned   kind[podid.AzureAssignedIdentity]
	pods       kind[podid.Pod] // those with the label alone
}

// A kind is the objects of one kind, read when they change and not again.
type kind[T any] struct{ informer cache.SharedIndexInformer }

// An entry is what the informer's cache holds in place of an object.
type entry[T any] struct {
	metav1.ObjectMeta
	value T
	err   error // value is not what the object says
}

// values yields the objects that could be read.
func (k kind[T]) values() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, obj := range k.informer.GetStore().List() {
			if e, ok := obj.(*entry[T]); ok && e.err == nil && !yield(e.value) {
				return
			}
		}
	}
}

// list returns all objects. One that could not be read has what read made of it.
func (k kind[T]) list() []T {
	var got []T
	for _, obj := range k.informer.GetStore().List() {
		if e, ok := obj.(*entry[T]); ok {
			got = append(got, e.value)
		}
	}
	return got
}

// watch reads the cluster, follows its changes, and now and then reads all of it
// anew. It returns when the context ends.
func (m *mic) watch(ctx context.Context) {
	stopLast := func() {}
	defer func() { stopLast() }()
	for {
		following, stop := context.WithCancel(ctx)
		v, err := m.newView(following)
		if err == nil {
			m.view.Store(v)
			m.wake()
			stopLast()
			stopLast = stop
		} else {
			stop()
		}
		if !pause(ctx, m.Relist) {
			return
		}
	}
}

// wake says that something has changed.
func (m *mic) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// newView returns a view that has read everything once, and follows until the
// context ends. What cannot be reached is tried again by the client's own rules.
func (m *mic) newView(ctx context.Context) (*view, error) {
	pods := cache.NewSharedIndexInformer(cache.NewFilteredListWatchFromClient(m.core.RESTClient(), "pods", metav1.NamespaceAll,
		func(o *metav1.ListOptions) { o.LabelSelector = podid.BindingLabel }), &corev1.Pod{}, 0, cache.Indexers{})
	v := &view{
		identities: kind[podid.AzureIdentity]{m.informer(podid.Identities)}, bindings: kind[podid.AzureIdentityBinding]{m.informer(podid.Bindings)},
		exceptions: kind[podid.AzurePodIdentityException]{m.informer(podid.Exceptions)}, assigned: kind[podid.AzureAssignedIdentity]{m.informer(podid.AssignedIdentities)},
		pods: kind[podid.Pod]{pods},
	}
	starts := []func(context.Context) (cache.InformerSynced, error){
		start(m, v.identities, object(podid.ParseIdentity)), start(m, v.bindings, object(podid.ParseBinding)),
		start(m, v.exceptions, object(podid.ParseException)), start(m, v.assigned, readAssigned), start(m, v.pods, readPod),
	}
	var synced []cache.InformerSynced
	for _, f := range starts {
		done, err := f(ctx)
		if err != nil {
			return nil, err
		}
		synced = append(synced, done)
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil, context.Cause(ctx)
	}
	return v, nil
}

func resource(name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: podid.Group, Version: podid.Version, Resource: name}
}

func (m *mic) informer(name string) cache.SharedIndexInformer {
	return dynamicinformer.NewFilteredDynamicInformer(m.objects, resource(name), metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
}

// start returns what makes an informer read its objects and follow them.
func start[T any](m *mic, k kind[T], read func(any) (T, error)) func(context.Context) (cache.InformerSynced, error) {
	return func(ctx context.Context) (cache.InformerSynced, error) {
		if err := k.informer.SetTransform(func(obj any) (any, error) {
			meta, ok := obj.(metav1.Object)
			if _, done := obj.(*entry[T]); done || !ok {
				return obj, nil
			}
			e := &entry[T]{ObjectMeta: metav1.ObjectMeta{
				Name: meta.GetName(), Namespace: meta.GetNamespace(), UID: meta.GetUID(), ResourceVersion: meta.GetResourceVersion(),
			}}
			if e.value, e.err = read(obj); e.err != nil {
				m.Log.Warn("an object was not read", "error", e.err)
			}
			return e, nil
		}); err != nil {
			return nil, err
		}
		if err := k.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			m.Log.Warn("a kind cannot be read, and is tried again", "kind", fmt.Sprintf("%T", *new(T)), "error", err)
		}); err != nil {
			return nil, err
		}
		handler, err := k.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { m.wake() }, UpdateFunc: func(any, any) { m.wake() }, DeleteFunc: func(any) { m.wake() },
		})
		if err != nil {
			return nil, err
		}
		go k.informer.RunWithContext(ctx)
		return handler.HasSynced, nil
	}
}

func object[T any](parse func([]byte) (T, error)) func(any) (T, error) {
	return func(obj any) (T, error) {
		data, err := json.Marshal(obj)
		if err != nil {
			var none T
			return none, err
		}
		return parse(data)
	}
}

// readAssigned keeps the metadata of what could not be read, so that it can be
// removed.
func readAssigned(obj any) (podid.AzureAssignedIdentity, error) {
	a, err := object(podid.ParseAssigned)(obj)
	if u, ok := obj.(*unstructured.Unstructured); ok && err != nil {
		a.Metadata = podid.Metadata{Name: u.GetName(), Namespace: u.GetNamespace(), UID: string(u.GetUID()), ResourceVersion: u.GetResourceVersion()}
	}
	return a, err
}

func readPod(obj any) (podid.Pod, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return podid.Pod{}, fmt.Errorf("a %T among the pods", obj)
	}
	return podid.Pod{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), NodeName: p.Spec.NodeName, Labels: p.Labels, HostNetwork: p.Spec.HostNetwork,
		Ended: slices.Contains([]corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed}, p.Status.Phase),
	}, nil
}
