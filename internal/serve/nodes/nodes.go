// Package nodes is the door for node agents, which ask for tokens of managed
// identities on behalf of the pods of their nodes.
//
// An agent shows a token of its service account, which the API server of its
// cluster made for its pod on its node and for this house alone: no secret is
// stored anywhere. The agent says which pod asks, for a pod has nothing to show. So
// the agents of a cluster are believed about the pods of their cluster, and may
// have what the cluster may have: identities that its kubelet identity may assign.
// For the kubelet of its node an agent gets the kubelet identity, to pull images.
package nodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// ReadIdentity is what a cluster needs beside serve.AttachIdentity to have an
// identity's tokens: both are in the role Managed Identity Operator.
const ReadIdentity = "Microsoft.ManagedIdentity/userAssignedIdentities/read"

// ErrNotThere is what Config.Pod returns for a pod that is not on the node.
var ErrNotThere = errors.New("the pod is not on the node")

// estates is what this door needs from the store.
type estates interface {
	Current() *estate.Snapshot
	Effective(*estate.Snapshot) *estate.Snapshot
	Fresh(now time.Time) error
}

// Config is what the door needs. All fields but those with a default are required.
type Config struct {
	Estates estates
	// Cluster returns the cluster that is an issuer of tokens.
	Cluster func(est *estate.Snapshot, issuer string) (resource.Cluster, bool)
	// Keys returns the keys of an issuer; see package trust.
	Keys func(ctx context.Context, issuer, kid string) (token.ForeignKeys, error)
	// House is the URL by which agents reach the house.
	House string
	// Pod returns ErrNotThere when a cluster that the house can look into has no such
	// pod on a node, and nil when it has, or when the house cannot look.
	Pod func(ctx context.Context, c resource.Cluster, pod wire.Pod, node string) error
	// Agent is Pod for the agent itself, which is on the network of its node.
	Agent func(ctx context.Context, c resource.Cluster, agent wire.Pod, node string) error
	// Token returns a token of an identity. Refusals are *imds.Error.
	Token func(ctx context.Context, id imds.Identity, resource string) (imds.Token, error)
	// Use records that an identity was used, before its token is given out.
	Use func(context.Context, store.Use) error
	// Alert tells that an agent got a token of another cluster's identity, before the
	// token is given out.
	Alert   func(context.Context, alert.Alert) error
	Events  func(context.Context, serve.Event) // nil forgets them
	Log     *slog.Logger                       // nil means no log
	Now     func() time.Time                   // nil means time.Now
	Machine func() time.Time                   // the clock of clusters; nil means time.Now
}

// A Door answers node agents. It is safe for concurrent use.
type Door struct{ conf Config }

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.Estates == nil || conf.Cluster == nil || conf.Keys == nil || conf.House == "" || conf.Pod == nil || conf.Agent == nil || conf.Token == nil || conf.Use == nil || conf.Alert == nil {
		return nil, errors.New("nodes: a required field is missing")
	}
	if conf.Events == nil {
		conf.Events = func(context.Context, serve.Event) {}
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Machine == nil {
		conf.Machine = time.Now
	}
	return &Door{conf}, nil
}

// Handler serves wire.Path.
func (d *Door) Handler() http.Handler {
	return serve.Handle(d.serve, serve.Options{Log: d.conf.Log, Now: d.conf.Now, Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
		var e *imds.Error
		if !errors.As(err, &e) {
			status, code, text := serve.Status(err)
			e = &imds.Error{Status: status, Code: code, Description: text}
		}
		imds.Refuse(w, e)
	}})
}

// maxAsk bounds a request, in bytes: a pod has few identities.
const maxAsk = 64 << 10

func (d *Door) serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return refuse(http.StatusMethodNotAllowed, "method_not_allowed", "Agents ask by POST.")
	}
	if _, _, err := d.enter(r); err != nil {
		return err
	}
	var ask wire.Ask
	if err := serve.Decode(w, r, maxAsk, &ask); err != nil {
		return err
	}
	// A body may take its time, and what the cluster may have is asked of the directory
	// as it is when all has arrived.
	est, a, err := d.enter(r)
	if err != nil {
		return err
	}
	start := d.conf.Now()
	ans, err := d.token(r.Context(), est, a, ask, w.Header().Get("X-Request-Id"))
	d.tell(r.Context(), start, est, a, ask, ans, err)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, ans)
}

// enter returns the estate as it is now, and which agent asks.
func (d *Door) enter(r *http.Request) (*estate.Snapshot, agent, error) {
	est := d.conf.Estates.Current()
	if est == nil || d.conf.Estates.Fresh(d.conf.Machine()) != nil {
		return nil, agent{}, refuse(http.StatusServiceUnavailable, "unavailable", "The directory may be out of date. Try again.")
	}
	a, err := d.agent(r, est)
	return est, a, err
}

// An agent is who asks: what its token says, and the cluster that made the token.
type agent struct {
	token.ServiceAccount
	cluster resource.Cluster
}

// agent verifies the token of an agent.
func (d *Door) agent(r *http.Request, est *estate.Snapshot) (agent, error) {
	raw, ok := serve.BearerToken(r)
	if !ok {
		return agent{}, refuse(http.StatusUnauthorized, "invalid_client", "The request must carry one bearer token, in the header Authorization: that of the agent's service account.")
	}
	says, err := token.Peek(raw)
	if err != nil {
		return agent{}, unknown("it is not one", err)
	}
	c, ok := d.conf.Cluster(est, says.Issuer)
	if !ok || c.Doing.Kind == resource.Delete {
		return agent{}, unknown("its issuer is no cluster of this house that publishes its keys (the cluster's OIDC issuer must be on)", nil)
	}
	keys, err := d.conf.Keys(r.Context(), says.Issuer, says.KeyID)
	if err != nil {
		return agent{}, &imds.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Description: "The keys of the cluster cannot be had. Try again.", Err: err}
	}
	audience := wire.Audience(d.conf.House)
	account, err := token.VerifyServiceAccount(raw, keys, token.ForeignWant{Issuer: c.IssuerURL, Subject: wire.Subject, Audiences: []string{audience}}, d.conf.Machine())
	switch {
	case errors.Is(err, token.ErrAudience):
		return agent{}, unknown("it is not for the audience "+audience, err)
	case errors.Is(err, token.ErrSubject), errors.Is(err, token.ErrSubjectCase):
		return agent{}, unknown("it is not of the service account "+wire.Subject, err)
	case err != nil:
		return agent{}, unknown("it is expired, not bound to a pod and its node, or not signed by the cluster", err)
	}
	return agent{account, c}, nil
}

func unknown(why string, err error) error {
	return &imds.Error{Status: http.StatusUnauthorized, Code: "invalid_client", Description: "The agent's token is not accepted: " + why + ".", Err: err}
}

func refuse(status int, code, text string) error {
	return &imds.Error{Status: status, Code: code, Description: text}
}

// token decides, mints, and records.
func (d *Door) token(ctx context.Context, est *estate.Snapshot, a agent, ask wire.Ask, request string) (wire.Answer, error) {
	if ask.Machine {
		id, err := d.machine(ctx, est, a, ask)
		if err != nil {
			return wire.Answer{}, err
		}
		return d.give(ctx, est, a, ask, id, request)
	}
	for _, part := range []string{ask.Pod.Namespace, ask.Pod.Name, ask.Pod.UID} {
		if part == "" || len(part) > 253 || serve.Printable(part, 253) != part {
			return wire.Answer{}, refuse(http.StatusBadRequest, "invalid_request", "The request does not name a pod.")
		}
	}
	if err := onNode(d.conf.Pod(ctx, a.cluster, ask.Pod, a.Node), a, ask.Pod); err != nil {
		return wire.Answer{}, err
	}
	var has []imds.Identity
	if ask.Own {
		has = own(est, a.cluster)
	} else {
		has = named(est, ask.Identities)
	}
	id, err := ask.Which.Choose(has)
	if err != nil {
		return wire.Answer{}, err
	}
	if !ask.Own {
		mi, _ := est.ManagedIdentity(id.Object) // it is there: see named
		if err := MayAssign(est, d.conf.Estates.Effective(est), a.cluster, mi, d.conf.Now()); err != nil {
			return wire.Answer{}, err
		}
	}
	return d.give(ctx, est, a, ask, id, request)
}

// onNode is a refusal of a pod that is not where its agent is, or about which the
// cluster said nothing.
func onNode(err error, a agent, pod wire.Pod) error {
	switch {
	case errors.Is(err, ErrNotThere):
		return &imds.Error{Status: http.StatusForbidden, Code: "access_denied", Err: err,
			Description: fmt.Sprintf("The API server of %s knows no running pod %s/%s with this uid on node %s.", a.cluster.Name, pod.Namespace, pod.Name, a.Node)}
	case err != nil:
		return &imds.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Description: "The cluster cannot be asked about the pod. Try again.", Err: err}
	}
	return nil
}

// machine is the kubelet identity of the agent's cluster, if the agent may have it
// for its node: it must run there now, and the token is for registries.
func (d *Door) machine(ctx context.Context, est *estate.Snapshot, a agent, ask wire.Ask) (imds.Identity, error) {
	if ask.Own || ask.Pod != (wire.Pod{}) || len(ask.Identities) > 0 || ask.Which != (imds.Selector{}) || ask.Resource != wire.Registries {
		return imds.Identity{}, refuse(http.StatusBadRequest, "invalid_request", "A node asks for its kubelet identity, for no pod, and for "+wire.Registries+" alone.")
	}
	self := wire.Pod{Namespace: a.Namespace, Name: a.Pod, UID: a.PodUID}
	if err := onNode(d.conf.Agent(ctx, a.cluster, self, a.Node), a, self); err != nil {
		return imds.Identity{}, err
	}
	id, ok := ofCluster(est, a.cluster, a.cluster.KubeletIdentity)
	if !ok {
		return imds.Identity{}, refuse(http.StatusForbidden, "access_denied", fmt.Sprintf("The cluster %s has no kubelet identity that is there and enabled.", a.cluster.Name))
	}
	return id, nil
}

// whom is for whom an agent asks, in words.
func whom(ask wire.Ask) string {
	if ask.Machine {
		return "kubelet"
	}
	return "pod " + ask.Pod.Namespace + "/" + ask.Pod.Name
}

// give mints a token and records for what, before it is answered.
func (d *Door) give(ctx context.Context, est *estate.Snapshot, a agent, ask wire.Ask, id imds.Identity, request string) (wire.Answer, error) {
	t, err := d.conf.Token(ctx, id, ask.Resource)
	if err != nil {
		return wire.Answer{}, err
	}
	if found, outside := alert.FromCluster(est, id.Object, alert.Agent, a.cluster.Scope, whom(ask)+" on node "+a.Node); outside {
		err = d.conf.Alert(ctx, found)
	}
	on := []string{id.Resource.String()}
	if !ask.Machine {
		on = append(on, "pod", ask.Pod.Namespace, ask.Pod.Name, ask.Pod.UID)
	}
	if err == nil {
		err = d.conf.Use(ctx, store.Use{By: a.cluster.KubeletIdentity.Object, Time: d.conf.Now(), Action: serve.AttachIdentity, Request: request,
			On: append(on, "node", a.Node, "cluster", a.cluster.Scope.String())})
	}
	if err != nil {
		return wire.Answer{}, &imds.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Description: "The use of the identity cannot be recorded. Try again.", Err: err}
	}
	return wire.Answer{AccessToken: t.Text, Client: id.Client, Object: id.Object, Resource: id.Resource, NotBefore: t.NotBefore.Unix(), Expires: t.Expires.Unix()}, nil
}

// own are the identities of a cluster's nodes: the kubelet identity, and those of
// add-ons that are on. That of the control plane is not on the nodes.
func own(est *estate.Snapshot, c resource.Cluster) []imds.Identity {
	var all []imds.Identity
	refs := []resource.IdentityRef{c.KubeletIdentity}
	for _, a := range c.Addons {
		if a.Enabled {
			refs = append(refs, a.Identity)
		}
	}
	for _, r := range refs {
		if id, ok := ofCluster(est, c, r); ok {
			all = append(all, id)
		}
	}
	return all
}

// ofCluster is an identity that a cluster names, if it is there and enabled.
func ofCluster(est *estate.Snapshot, c resource.Cluster, r resource.IdentityRef) (imds.Identity, bool) {
	mi, ok := est.ManagedIdentity(r.Object)
	if !ok || mi.Resource != r.Resource || mi.Tenant != c.Tenant || mi.Disabled {
		return imds.Identity{}, false
	}
	return identity(mi), true
}

// named are the identities that an agent names and that are there.
func named(est *estate.Snapshot, names []wire.Identity) []imds.Identity {
	var all []imds.Identity
	for _, n := range names {
		mi, ok := est.ManagedIdentityByClient(n.Client)
		if ok && !n.Client.IsZero() && mi.Resource == n.Resource && !mi.SystemAssigned && !mi.Disabled {
			all = append(all, identity(mi))
		}
	}
	return all
}

func identity(mi directory.ManagedIdentity) imds.Identity {
	return imds.Identity{Object: mi.ID, Client: mi.ClientID, Resource: mi.Resource, SystemAssigned: mi.SystemAssigned}
}

// MayAssign refuses a cluster whose kubelet identity may not assign an identity to its
// nodes, which is what MIC does in Azure before a pod gets a token. Law is the estate
// by which it is decided who may do what.
func MayAssign(est, law *estate.Snapshot, c resource.Cluster, mi directory.ManagedIdentity, now time.Time) error {
	var who principal.ID
	if !c.KubeletIdentity.IsZero() {
		if caller, err := serve.CallerOf(est, mi.Tenant, c.KubeletIdentity.Object); err == nil {
			who = caller.ID
		}
	}
	if who.IsZero() {
		return refuse(http.StatusForbidden, "access_denied", fmt.Sprintf("The cluster %s has no kubelet identity of the tenant of %s that is there and enabled.", c.Name, mi.Resource))
	}
	for _, action := range []string{serve.AttachIdentity, ReadIdentity} {
		if !(serve.Operation{Action: action, At: mi.Resource}).Allowed(law, who, now) {
			return refuse(http.StatusForbidden, "access_denied", fmt.Sprintf(
				"The kubelet identity %s of cluster %s may not do %s at %s. Give it the role Managed Identity Operator there.", who, c.Name, action, mi.Resource))
		}
	}
	return nil
}

// tell adds what became of a request to the trace.
func (d *Door) tell(ctx context.Context, start time.Time, est *estate.Snapshot, a agent, ask wire.Ask, ans wire.Answer, err error) {
	what := []string{"managed identity for " + serve.Printable(ask.Resource, 200), serve.Printable(whom(ask), 300) + " on node " + serve.Printable(a.Node, 253)}
	event := serve.Event{At: start, Door: "nodes", Cluster: a.cluster.Scope, ID: ans.Object, User: wire.Subject, Effect: "issued", Revision: est.Revision(), Took: d.conf.Now().Sub(start)}
	if err != nil {
		event.Effect, what = "refused", append(what, serve.Printable(err.Error(), 300))
	}
	event.Reason = strings.Join(what, ", ")
	d.conf.Events(ctx, event)
}
