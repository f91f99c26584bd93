//go:build linux

package nmi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
)

// ask is what to ask the house for when a pod asks for a token: of an identity of
// its own, or of the node's when it is excepted. It waits for MIC.
func (a *agent) ask(ctx context.Context, p pod, v *view, want imds.Ask) (wire.Ask, error) {
	out := wire.Ask{Pod: wire.Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID}, Resource: want.Resource, Which: want.Which}
	if !p.HostNetwork && v.rules.Excepted(p.Pod) {
		out.Own = true
		return out, nil
	}
	got, err := a.identities(ctx, p, v, want.Which)
	if err != nil {
		return wire.Ask{}, err
	}
	for _, id := range got {
		if id.Spec.Type != podid.UserAssigned {
			return wire.Ask{}, forbid("the AzureIdentity %s is of type %d; this agent has tokens of type 0, user-assigned managed identities, alone", id.Metadata.Ref(), id.Spec.Type)
		}
		out.Identities = append(out.Identities, wire.Identity{Client: id.Spec.ClientID, Resource: id.Spec.ResourceID})
		if want.Which.Name != "object_id" { // only the house knows object ids
			break
		}
	}
	if want.Which.Name == "" {
		out.Which = imds.Selector{}
	}
	return out, nil
}

// identities returns those identities of a pod that a selector may mean, by
// namespace and name: those that its bindings give it now and, in standard mode,
// that MIC has assigned to it. There is at least one.
func (a *agent) identities(ctx context.Context, p pod, v *view, which imds.Selector) ([]podid.AzureIdentity, error) {
	for attempt := 1; ; attempt++ {
		matched := fits(v.rules.Match(p.Pod), which)
		switch {
		case len(matched) == 0 && which.Name != "":
			return nil, &refusal{status: http.StatusNotFound, text: fmt.Sprintf("no azure identity found for request %s %.300s of pod:%s", which.Name, printable(which.Value), p.Ref())}
		case len(matched) == 0:
			return nil, &refusal{status: http.StatusNotFound, text: fmt.Sprintf("no azure identity found for pod:%s: no AzureIdentityBinding has its label %s as selector", p.Ref(), podid.BindingLabel)}
		case a.conf.Managed:
			return matched, nil
		}
		ready, begun := v.inForce(p.Pod, matched)
		if len(ready) > 0 {
			return ready, nil
		}
		if err := a.wait(ctx, p, attempt, begun); err != nil {
			return nil, err
		}
		next, err := a.views.fresh(ctx)
		if err != nil {
			return nil, later("the API server cannot be asked what is assigned to the pod", err)
		}
		if _, ok := next.find(p.Ref(), p.UID); !ok {
			return nil, &refusal{status: http.StatusNotFound, text: fmt.Sprintf("pod %s is gone", p.Ref())}
		}
		v = next
	}
}

// wait waits for MIC, in upstream's patience, and says in upstream's words when it
// has ended.
func (a *agent) wait(ctx context.Context, p pod, attempt int, begun bool) error {
	state, budget := "CREATED", a.conf.CreatedAttempts
	if begun {
		state, budget = "ASSIGNED", a.conf.CreatedAttempts+a.conf.AssignedAttempts
	}
	if attempt >= budget {
		return &refusal{status: http.StatusNotFound, text: fmt.Sprintf(
			"getting assigned identities for pod %s in %s state failed after %d attempts, retry duration [%d]s, error: <nil>. Check MIC pod logs for identity assignment errors",
			p.Ref(), state, budget, int(a.conf.Interval.Seconds()))}
	}
	if err := pause(ctx, a.conf.Interval); err != nil {
		return later("the request ended", err)
	}
	return nil
}

// fits returns the identities that a selector may mean: all without one, and with an
// object id, which the cluster does not know.
func fits(all []podid.Match, which imds.Selector) (some []podid.AzureIdentity) {
	for _, m := range all {
		id := m.Identity
		if which.Name == "" || which.Name == "object_id" ||
			which.Matches(imds.Identity{Client: id.Spec.ClientID, Resource: id.Spec.ResourceID}) {
			some = append(some, id)
		}
	}
	return some
}

// inForce returns those identities that MIC has assigned to a pod, as they are now,
// and whether it has begun to assign one.
func (v *view) inForce(p podid.Pod, matched []podid.AzureIdentity) (ready []podid.AzureIdentity, begun bool) {
	for _, id := range matched {
		for _, a := range v.assigned {
			inside := a.Spec.AzureIdentityRef
			if inside.Metadata.Ref() != id.Metadata.Ref() || a.PodUID() != p.UID {
				continue
			}
			begun = true
			if a.Gives(p) && inside.Spec.ClientID == id.Spec.ClientID && inside.Spec.ResourceID == id.Spec.ResourceID {
				ready = append(ready, id)
				break
			}
		}
	}
	return ready, begun
}
