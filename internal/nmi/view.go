//go:build linux

package nmi

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/nmi/wiring"
	"github.com/gatehouse-io/gatehouse/internal/podid"
)

// A view is what the API server and the kernel said about this node, both asked
// after some instant. It is not modified.
type view struct {
	since     time.Time // that instant
	pods      []pod
	rules     *podid.Rules
	assigned  []podid.AzureAssignedIdentity // none in managed mode
	processes wiring.Processes
}

// A pod is one of this node, with the addresses that it has alone.
type pod struct {
	podid.Pod
	addresses []netip.Addr
}

// at returns the pods that have an address now: those that run or begin to, and
// have a network of their own.
func (v *view) at(addr netip.Addr) (found []pod) {
	for _, p := range v.pods {
		if !p.HostNetwork && !p.Ended && slices.Contains(p.addresses, addr) {
			found = append(found, p)
		}
	}
	return found
}

// find returns a pod that has not ended.
func (v *view) find(at podid.Ref, uid string) (pod, bool) {
	for _, p := range v.pods {
		if p.Ref() == at && !p.Ended && (uid == "" || p.UID == uid) {
			return p, true
		}
	}
	return pod{}, false
}

// A reader makes views.
type reader struct {
	core    coreclient.CoreV1Interface
	node    string
	managed bool
	mode    podid.Mode
	proc    string
}

func newReader(conf Config) (*reader, error) {
	core, err := coreclient.NewForConfig(conf.Kube)
	if err != nil {
		return nil, err
	}
	return &reader{core, conf.Node, conf.Managed, conf.Mode, conf.Proc}, nil
}

// readTimeout bounds one look at the API server.
const readTimeout = 5 * time.Second

// read asks for everything anew. Without a resource version, the API server answers
// what is true after the question came; see decision 22.
func (r *reader) read(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var v view
	var identities []podid.AzureIdentity
	var bindings []podid.AzureIdentityBinding
	var exceptions []podid.AzurePodIdentityException
	var wg sync.WaitGroup
	var errs [6]error
	wg.Go(func() { v.pods, errs[0] = r.pods(ctx) })
	wg.Go(func() { identities, errs[1] = objects(ctx, r, podid.Identities, podid.ParseIdentity) })
	wg.Go(func() { bindings, errs[2] = objects(ctx, r, podid.Bindings, podid.ParseBinding) })
	wg.Go(func() { exceptions, errs[3] = objects(ctx, r, podid.Exceptions, podid.ParseException) })
	if !r.managed {
		wg.Go(func() { v.assigned, errs[4] = objects(ctx, r, podid.AssignedIdentities, podid.ParseAssigned) })
	}
	wg.Go(func() { v.processes, errs[5] = wiring.ReadProcesses(r.proc) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	v.rules = podid.NewRules(r.mode, slices.Values(identities), slices.Values(bindings), slices.Values(exceptions))
	return &v, nil
}

func (r *reader) pods(ctx context.Context) ([]pod, error) {
	list, err := r.core.Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", r.node).String()})
	if err != nil {
		return nil, fmt.Errorf("list the pods of node %s: %w", r.node, err)
	}
	var all []pod
	for i := range list.Items {
		if p := &list.Items[i]; p.Spec.NodeName == r.node {
			all = append(all, podOf(p))
		}
	}
	return all, nil
}

func podOf(p *corev1.Pod) pod {
	out := pod{Pod: podid.Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), NodeName: p.Spec.NodeName, Labels: p.Labels, HostNetwork: p.Spec.HostNetwork,
		Ended: p.Status.Phase != corev1.PodPending && p.Status.Phase != corev1.PodRunning}}
	for _, ip := range append([]corev1.PodIP{{IP: p.Status.PodIP}}, p.Status.PodIPs...) {
		if a, err := netip.ParseAddr(ip.IP); err == nil && a.Is4() && !slices.Contains(out.addresses, a) {
			out.addresses = append(out.addresses, a)
		}
	}
	return out
}

// objects lists all objects of a kind. What is no valid one is left out: it gives
// nothing.
func objects[T any](ctx context.Context, r *reader, kind string, parse func([]byte) (T, error)) ([]T, error) {
	text, err := r.core.RESTClient().Get().AbsPath("/apis", podid.Group, podid.Version, kind).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("list %s.%s: %w", kind, podid.Group, err)
	}
	var list struct {
		Items []jsontext.Value `json:"items"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("list %s.%s: %w", kind, podid.Group, err)
	}
	var all []T
	for _, raw := range list.Items {
		if obj, err := parse(raw); err == nil {
			all = append(all, obj)
		}
	}
	return all, nil
}

// views shares looks at the API server: one at a time, and each is for all who
// asked before it began. So nobody gets a view that is older than his question,
// and a thousand pods that ask at once cost as much as two.
type views struct {
	read func(context.Context) (*view, error)

	mu      sync.Mutex
	running bool
	next    *look // for those who asked since the running one began
}

type look struct {
	done chan struct{}
	view *view
	err  error
}

// fresh returns a view that was read after the call.
func (v *views) fresh(ctx context.Context) (*view, error) {
	v.mu.Lock()
	if v.next == nil {
		v.next = &look{done: make(chan struct{})}
	}
	mine := v.next
	if !v.running {
		v.running = true
		go v.run(context.WithoutCancel(ctx))
	}
	v.mu.Unlock()
	select {
	case <-mine.done:
		return mine.view, mine.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// freshFor is how old a view may be when somebody gets something by it.
const freshFor = 2 * time.Second

// errSlow means that looking takes longer than what was seen is good for.
var errSlow = errors.New("what was seen is too old as soon as it is seen")

// still returns nil when a view that somebody is about to be answered by is fresh,
// or others agree with it that was read since. The last of those is fresh then.
func (v *views) still(ctx context.Context, seen *view, agrees func(*view) error) error {
	for try := 0; time.Since(seen.since) >= freshFor; try++ {
		if try == lookups {
			return errSlow
		}
		next, err := v.fresh(ctx)
		if err != nil {
			return err
		}
		if err := agrees(next); err != nil {
			return err
		}
		seen = next
	}
	return nil
}

// run looks until nobody waits.
func (v *views) run(ctx context.Context) {
	for {
		v.mu.Lock()
		this := v.next
		v.next = nil
		if this == nil {
			v.running = false
			v.mu.Unlock()
			return
		}
		v.mu.Unlock()
		since := time.Now()
		if this.view, this.err = v.read(ctx); this.err == nil {
			this.view.since = since
		}
		close(this.done)
	}
}
