// Package migrate plans the way of workloads from pod identity to workload
// identity: what has to be made, written and labelled for each, what is in the
// way, and what can go once nobody needs it.
//
// Plan is pure. A plan that was carried out is a plan with nothing left to do, so
// the same plan says what to do and whether it is done.
package migrate

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// maxCredentials is how many federated credentials an identity may have.
const maxCredentials = 20

// A Cluster is everything that a plan depends on.
type Cluster struct {
	// Issuer is that of the cluster's service account tokens; "" is none.
	Issuer string
	// Webhook says that pods with the label are prepared when they are created.
	Webhook bool
	// Mode is that in which pod identity runs.
	Mode       podid.Mode
	Identities []podid.AzureIdentity
	Bindings   []podid.AzureIdentityBinding
	Exceptions []podid.AzurePodIdentityException
	Workloads  []Workload
	// Accounts are the annotations of the service accounts there are.
	Accounts map[podid.Ref]map[string]string
	// Known are the managed identities of the directory with their credentials. What
	// is not in it cannot be given one.
	Known map[directory.AppID][]directory.FederatedCredential
	// Over are those of Known that count no longer, as those by a request for an
	// identity that has ended.
	Over map[record.Key]bool
	// Assignable are the identities of which pod identity gives tokens: those that the
	// cluster's kubelet identity may assign. Whoever may write in a namespace can name
	// any other there, and has nothing by that; he must not get it by a plan either.
	Assignable map[directory.AppID]bool
}

// A Workload makes pods from a template, or is a pod that nothing makes.
type Workload struct {
	Kind           string            `json:"kind"`
	Namespace      string            `json:"namespace"`
	Name           string            `json:"name"`
	ServiceAccount string            `json:"serviceAccount"`
	Labels         map[string]string `json:"-"` // of its pods
	HostNetwork    bool              `json:"-"`
	// Fixed is why the labels of its pods cannot be changed; "" if they can.
	Fixed string `json:"-"`
}

func (w Workload) account() podid.Ref {
	return podid.Ref{Namespace: w.Namespace, Name: w.ServiceAccount}
}

func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

// pod is what pod identity would see of one of its pods.
func (w Workload) pod() podid.Pod {
	return podid.Pod{Namespace: w.Namespace, Name: w.Name, UID: "any", NodeName: "any", Labels: w.Labels, HostNetwork: w.HostNetwork}
}

// A State says how far a workload has come.
type State string

const (
	Blocked State = "blocked" // something is in the way, and nothing is done
	ToDo    State = "to-do"
	// Ready is a workload whose new pods have both: when it is seen to work with
	// workload identity, pod identity can be taken away.
	Ready State = "ready"
)

// A Way is that of one workload.
type Way struct {
	Workload
	State    State           `json:"state"`
	Identity string          `json:"identity,omitzero"` // namespace/name of the AzureIdentity
	ClientID directory.AppID `json:"clientId,omitzero"`
	// Blocks say what is in the way, each with what to do about it.
	Blocks []string `json:"blocks,omitempty"`
	// Steps bring it to Ready, in this order.
	Steps []Step `json:"steps,omitempty"`
	// Last takes pod identity away from it, once it is seen to work.
	Last  []Step   `json:"last,omitempty"`
	Notes []string `json:"notes,omitempty"`
}

// An Action is what a step does.
type Action string

const (
	AddCredential   Action = "add-federated-credential"
	AnnotateAccount Action = "annotate-service-account"
	LabelPods       Action = "label-pods"
	UnlabelPods     Action = "unlabel-pods"
)

// A Step changes one thing; the members that its action has no use for are zero.
type Step struct {
	Do         Action                         `json:"do"`
	Credential *directory.FederatedCredential `json:"credential,omitzero"`
	Resource   scope.Scope                    `json:"resource,omitzero"` // of the credential's owner
	Account    podid.Ref                      `json:"account,omitzero"`
	Name       string                         `json:"name,omitzero"` // of an annotation or label
	Value      string                         `json:"value,omitzero"`
}

func (s Step) String() string {
	switch s.Do {
	case AddCredential:
		return fmt.Sprintf("add the federated credential %s to %s: issuer %s, subject %s, audience %s", s.Credential.Name, s.Resource, s.Credential.Issuer, s.Credential.Subject, s.Credential.Audiences[0])
	case AnnotateAccount:
		return fmt.Sprintf("annotate the service account %s with %s=%s", s.Account, s.Name, s.Value)
	case LabelPods:
		return fmt.Sprintf("label its pods %s=%s", s.Name, s.Value)
	case UnlabelPods:
		return fmt.Sprintf("take the label %s away from its pods", s.Name)
	}
	return "do nothing"
}

// Plan is what there is to do, workload by workload.
type Plan struct {
	Workloads []Way `json:"workloads"`
	// Unneeded are identities, bindings and exceptions that no workload would miss:
	// "AzureIdentity shop/web".
	Unneeded []string `json:"unneeded,omitempty"`
	// NotEvaluated is what a plan cannot know, and somebody must look at.
	NotEvaluated []string `json:"notEvaluated"`
}

// Make returns the plan of a cluster.
func Make(c Cluster) Plan {
	m := maker{
		Cluster: c, rules: podid.NewRules(c.Mode, slices.Values(c.Identities), slices.Values(c.Bindings), slices.Values(c.Exceptions)),
		wants: make(map[podid.Ref]map[directory.AppID]bool),
	}
	m.Known, m.Accounts = maps.Clone(c.Known), maps.Clone(c.Accounts) // a step of one workload may be all that another needs
	p := Plan{Workloads: []Way{}, NotEvaluated: []string{
		"whether the programs know workload identity: their Azure SDK must have WorkloadIdentityCredential, or their pods need " + inject.InjectProxySidecarAnnotation,
		"pods that somebody makes later",
	}}
	workloads := slices.SortedFunc(slices.Values(c.Workloads), func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	for _, w := range workloads {
		for _, match := range m.rules.Match(w.pod()) {
			if m.wants[w.account()] == nil {
				m.wants[w.account()] = make(map[directory.AppID]bool)
			}
			m.wants[w.account()][match.Identity.Spec.ClientID] = true
		}
	}
	for _, w := range workloads {
		if w.Labels[podid.BindingLabel] != "" || m.rules.Excepted(w.pod()) {
			p.Workloads = append(p.Workloads, m.way(w))
		}
	}
	p.Unneeded = m.unneeded()
	return p
}

type maker struct {
	Cluster
	rules *podid.Rules
	wants map[podid.Ref]map[directory.AppID]bool // which identities an account's pods have
}

// way plans one workload. What is blocked has no steps: half a way is worse than
// none.
func (m *maker) way(w Workload) Way {
	way := Way{Workload: w, State: Blocked}
	matches := m.rules.Match(w.pod())
	switch {
	case m.rules.Excepted(w.pod()):
		way.block("an exception passes its requests on, to identities of the node, of which a system-assigned one takes no federated credential: give it a user-assigned identity of its own")
		return way
	case w.HostNetwork:
		way.block("it is on its host's network, so what it gets is the node's: give it a user-assigned identity of its own")
		return way
	case len(matches) == 0:
		why := m.rules.Why(w.pod())
		way.block("it gets no identity by pod identity now (%s): take the label %s away, or make the binding right", why, podid.BindingLabel)
		return way
	case len(matches) > 1:
		var names []string
		for _, match := range matches {
			names = append(names, match.Identity.Metadata.Ref().String())
		}
		way.block("it has %d identities (%s), and a service account names one: the program must name the others itself, or keep one", len(matches), strings.Join(names, ", "))
		return way
	}
	id := matches[0].Identity
	way.Identity, way.ClientID = id.Metadata.Ref().String(), id.Spec.ClientID
	m.block(&way, id)
	if len(way.Blocks) > 0 {
		return way
	}
	m.steps(&way, id)
	if len(way.Blocks) > 0 {
		way.Steps = nil
		return way
	}
	way.State = ToDo
	if len(way.Steps) == 0 {
		way.State = Ready
	}
	way.Last = []Step{{Do: UnlabelPods, Name: podid.BindingLabel}}
	m.note(&way)
	return way
}

func (w *Way) block(format string, args ...any) {
	w.Blocks = append(w.Blocks, fmt.Sprintf(format, args...))
}

// block says what is in the way of a workload that has one identity.
func (m *maker) block(way *Way, id podid.AzureIdentity) {
	if m.Issuer == "" {
		way.block("the cluster publishes no issuer of service account tokens: enable it, as with az aks update --enable-oidc-issuer")
	}
	if !m.Webhook {
		way.block("the webhook of workload identity is not there: enable it, as with az aks update --enable-workload-identity, or install it")
	}
	if id.Spec.Type != podid.UserAssigned {
		way.block("AzureIdentity %s is a service principal with a credential in a Secret: make a user-assigned identity with its rights, or add a federated credential to the application by hand", id.Metadata.Ref())
	} else if _, ok := m.Known[id.Spec.ClientID]; !ok {
		way.block("no managed identity with the client id %s is known, or may be read: look at AzureIdentity %s", id.Spec.ClientID, id.Metadata.Ref())
	}
	account := way.account()
	annotations, ok := m.Accounts[account]
	switch have := annotations[inject.ClientIDAnnotation]; {
	case !ok:
		way.block("its service account %s is not there", account)
	case have != "" && !strings.EqualFold(have, id.Spec.ClientID.String()):
		way.block("its service account %s is annotated for another identity, %s: give the workload a service account of its own", account, have)
	}
	if n := len(m.wants[account]); n > 1 {
		way.block("its service account %s is shared with workloads of %d other identities: give each a service account of its own", account, n-1)
	}
	if way.Fixed != "" && way.Labels[inject.UseLabel] != "true" {
		way.block("its pods cannot be labelled: %s", way.Fixed)
	}
}

// steps says what is left to do for a workload with nothing in the way.
func (m *maker) steps(way *Way, id podid.AzureIdentity) {
	account, client := way.account(), id.Spec.ClientID
	credential := Credential(client, m.Issuer, account)
	i := slices.IndexFunc(m.Known[client], func(f directory.FederatedCredential) bool { return trusts(f, credential) })
	switch {
	case i >= 0 && m.Over[m.Known[client][i].Key()]:
		way.block("the federated credential %s of the identity is for its service account and counts no longer, for the request that it came of is over: retire that, or ask again", m.Known[client][i].Name)
		return
	case i < 0 && !m.Assignable[client]:
		way.block("pod identity gives it no token of the identity now, for the cluster's kubelet identity may not assign it, and a federated credential would be more than it has: give that the role Managed Identity Operator at %s, or add the credential by hand", id.Spec.ResourceID)
		return
	case i < 0:
		if len(m.Known[client]) >= maxCredentials {
			way.block("the identity has %d federated credentials already or by this plan, and may have %d: use a pattern, or a second identity", maxCredentials, maxCredentials)
			return
		}
		m.Known[client] = append(slices.Clone(m.Known[client]), credential)
		way.Steps = append(way.Steps, Step{Do: AddCredential, Credential: &credential, Resource: id.Spec.ResourceID})
	}
	if m.Accounts[account][inject.ClientIDAnnotation] == "" {
		m.Accounts[account] = map[string]string{inject.ClientIDAnnotation: client.String()}
		way.Steps = append(way.Steps, Step{Do: AnnotateAccount, Account: account, Name: inject.ClientIDAnnotation, Value: client.String()})
	}
	if way.Labels[inject.UseLabel] != "true" {
		way.Steps = append(way.Steps, Step{Do: LabelPods, Name: inject.UseLabel, Value: "true"})
	}
}

// note says what becomes possible that was not.
func (m *maker) note(way *Way) {
	var others []string
	for _, w := range m.Workloads {
		if w.account() == way.account() && w.Labels[podid.BindingLabel] == "" {
			others = append(others, w.String())
		}
	}
	slices.Sort(others)
	if len(others) > 0 {
		way.Notes = append(way.Notes, fmt.Sprintf("these run as the same service account and could get tokens of the identity as well: %s", strings.Join(others, ", ")))
	}
	if way.ServiceAccount == "default" {
		way.Notes = append(way.Notes, "every pod of the namespace that names no service account runs as default: one of its own would be better")
	}
}

// unneeded lists the objects of pod identity that no workload's pods match.
func (m *maker) unneeded() []string {
	bindings, identities := make(map[podid.Ref]bool), make(map[podid.Ref]bool)
	var exceptions []podid.AzurePodIdentityException
	for _, w := range m.Workloads {
		for _, b := range m.Bindings {
			if b.Spec.Selector == w.Labels[podid.BindingLabel] {
				bindings[b.Metadata.Ref()], identities[b.Identity()] = true, true
			}
		}
		for _, e := range m.Exceptions {
			if e.Covers(w.pod()) {
				exceptions = append(exceptions, e)
			}
		}
	}
	var names []string
	for _, b := range m.Bindings {
		if !bindings[b.Metadata.Ref()] {
			names = append(names, "AzureIdentityBinding "+b.Metadata.Ref().String())
		}
	}
	for _, id := range m.Identities {
		if !identities[id.Metadata.Ref()] {
			names = append(names, "AzureIdentity "+id.Metadata.Ref().String())
		}
	}
	for _, e := range m.Exceptions {
		if !slices.ContainsFunc(exceptions, func(o podid.AzurePodIdentityException) bool { return o.Metadata.Ref() == e.Metadata.Ref() }) {
			names = append(names, "AzurePodIdentityException "+e.Metadata.Ref().String())
		}
	}
	slices.Sort(names)
	return names
}

// Credential is the federated credential that lets pods of a service account get
// tokens of an identity. Its name says for whom, and ends in a digest of issuer
// and subject, each with its length.
func Credential(owner directory.AppID, issuer string, account podid.Ref) directory.FederatedCredential {
	subject := "system:serviceaccount:" + account.Namespace + ":" + account.Name
	sum := sha256.New()
	for _, part := range []string{issuer, subject} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		sum.Write(size[:])
		sum.Write([]byte(part))
	}
	name := strings.ReplaceAll(account.Namespace+"-"+account.Name, ".", "-")
	if len(name) > 100 {
		name = name[:100]
	}
	return directory.FederatedCredential{
		Owner: owner, Name: name + "-" + hex.EncodeToString(sum.Sum(nil)[:6]), Issuer: issuer, Subject: subject,
		Audiences: []string{inject.DefaultAudience}, Description: "in place of pod identity",
	}
}

// trusts reports whether one credential trusts what another one does.
func trusts(a, b directory.FederatedCredential) bool {
	return a.Issuer == b.Issuer && a.Subject == b.Subject && slices.Equal(a.Audiences, b.Audiences)
}
