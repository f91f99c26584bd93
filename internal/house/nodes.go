package house

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
	"github.com/gatehouse-io/gatehouse/internal/serve/issuers"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
)

// nodesPath is where node agents ask.
const nodesPath = wire.Path

// nodes builds the door at which node agents get tokens for the pods of their nodes.
func (h *House) nodes(issuer *issue.Issuer, trace *serve.Trace) (http.Handler, error) {
	door, err := nodes.New(nodes.Config{
		Estates: h.store, Cluster: issuers.Cluster, Keys: h.foreign.Keys, House: h.conf.Authority, Pod: h.clusters.podOn, Agent: h.clusters.agentOn,
		Token: func(ctx context.Context, id imds.Identity, resource string) (imds.Token, error) {
			return identityToken(ctx, issuer, trace, id, resource)
		},
		Use: h.safe.Use, Alert: h.store.Alert,
		Events: func(_ context.Context, e serve.Event) { trace.Add(e) },
		Log:    h.conf.Log.With("door", "nodes"), Now: h.now, Machine: h.conf.Now,
	})
	if err != nil {
		return nil, err
	}
	return door.Handler(), nil
}

// podOn asks the API server of a cluster of this house whether a pod is on a node:
// so an agent, or who has stolen its token, gets tokens for pods of its node alone.
// While that does not run here there is no answer, which is an error. Of attached
// clusters nobody here knows their pods.
func (c *clusters) podOn(ctx context.Context, rec resource.Cluster, pod wire.Pod, node string) error {
	return c.on(ctx, rec, pod, node, func(p corev1.PodSpec) bool { return !p.HostNetwork })
}

// agentOn is podOn for the agent itself: the token of one that is gone is good no
// longer, although it has not ended.
func (c *clusters) agentOn(ctx context.Context, rec resource.Cluster, agent wire.Pod, node string) error {
	return c.on(ctx, rec, agent, node, func(p corev1.PodSpec) bool { return p.ServiceAccountName == wire.ServiceAccount })
}

func (c *clusters) on(ctx context.Context, rec resource.Cluster, pod wire.Pod, node string, good func(corev1.PodSpec) bool) error {
	r, ok := c.running(rec)
	switch {
	case !ok && rec.Attached:
		return nil
	case !ok:
		return notRunning(rec.Name)
	}
	got, err := (*r.core.Load()).Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", nodes.ErrNotThere, err)
	case err != nil:
		return err
	case string(got.UID) != pod.UID || got.Spec.NodeName != node || !good(got.Spec) ||
		got.Status.Phase != corev1.PodPending && got.Status.Phase != corev1.PodRunning:
		return nodes.ErrNotThere
	}
	return nil
}
