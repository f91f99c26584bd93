package tour

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// A Flow is the way of one request, in the ten steps from kubectl to the answer.
type Flow struct {
	User    string     `json:"user"`
	Cluster string     `json:"cluster"`
	Request string     `json:"request,omitzero"`
	Steps   []FlowStep `json:"steps"`
}

// A FlowStep is one step. A step that the request did not take is skipped, and
// its text says why.
type FlowStep struct {
	Number  int       `json:"number"`
	Title   string    `json:"title"`
	Text    string    `json:"text"`
	At      time.Time `json:"at,omitzero"`
	Skipped bool      `json:"skipped,omitzero"`
}

// ErrNoRequest says that the house remembers no request of somebody.
var ErrNoRequest = errors.New("the house remembers no request")

// lookBack is how many events are searched: kubectl asks some ten things before
// what it was told to ask.
const lookBack = 1000

// Trace returns the way of the latest request of a user (a user principal name or
// an object id), on a cluster (a scope; "" for any). What Kubernetes RBAC says is
// asked of the house now: the API server does not tell.
func Trace(ctx context.Context, api *client.Client, user, cluster string) (Flow, error) {
	events, err := api.Trace(ctx, user, "", lookBack)
	if err != nil {
		return Flow{}, err
	}
	r, ok := latest(events, cluster)
	if !ok {
		return Flow{}, fmt.Errorf("%w of %s", ErrNoRequest, user)
	}
	if r.asked == nil {
		return r.flow(wire.Explanation{}, wire.Explanation{}), nil
	}
	q := wire.Question{Who: r.asked.ID, Scope: r.asked.Cluster, Kube: r.asked.Kube}
	azure, kubernetes := q, q
	azure.Only, kubernetes.Only = "azure", "kubernetes"
	az, err := api.Why(ctx, azure)
	if err != nil {
		return Flow{}, err
	}
	ku, err := api.Why(ctx, kubernetes)
	if err != nil {
		return Flow{}, err
	}
	return r.flow(az, ku), nil
}

// A request is what the doors noted of one request.
type request struct {
	issued  *wire.Event // the token; nil when it is forgotten
	checked *wire.Event // the token again, by the API server
	asked   *wire.Event // the request; nil when the token was refused
}

// latest finds the latest request among events, which are in order.
func latest(events []wire.Event, cluster string) (request, bool) {
	var r request
	for i := range slices.Backward(events) {
		e := &events[i]
		onCluster := cluster == "" || e.Cluster == cluster
		if r.asked != nil {
			onCluster = e.Cluster == r.asked.Cluster
		}
		switch {
		case e.Door == "authz" && onCluster && r.asked == nil && r.checked == nil && e.Kube != nil && (e.Kube.Resource != "" || !discovers(*e.Kube)):
			r.asked = e
		case e.Door == "authn" && onCluster && r.checked == nil && (r.asked != nil || e.Effect == "refused"):
			r.checked = e
		case e.Door == "oidc" && e.Effect == "issued" && strings.HasSuffix(e.Reason, serverApp) && r.issued == nil && (r.asked != nil || r.checked != nil):
			r.issued = e
		}
	}
	return r, r.asked != nil || r.checked != nil
}

// serverApp is the application that tokens for clusters are asked for.
const serverApp = "6dae42f8-4368-4678-94ff-3960e28e3630"

// discovers reports whether a request only asks what the API server can do, as
// kubectl does before every other.
func discovers(k wire.Kube) bool {
	for _, p := range []string{"/api", "/openapi", "/version", "/healthz", "/livez", "/readyz"} {
		if strings.HasPrefix(k.Path, p) {
			return true
		}
	}
	return false
}

func (r request) flow(azure, kubernetes wire.Explanation) Flow {
	first := r.asked
	if first == nil {
		first = r.checked
	}
	f := Flow{User: first.User, Cluster: first.Cluster[strings.LastIndexByte(first.Cluster, '/')+1:]}
	if f.User == "" {
		f.User = first.ID
	}
	if r.asked != nil {
		f.Request = Request(*r.asked.Kube)
	}
	add := func(title, text string, at time.Time) {
		f.Steps = append(f.Steps, FlowStep{Number: len(f.Steps) + 1, Title: title, Text: text, At: at})
	}
	skip := func(title, why string) {
		f.Steps = append(f.Steps, FlowStep{Number: len(f.Steps) + 1, Title: title, Text: why, Skipped: true})
	}
	what := f.Request
	if what == "" {
		what = "something; which request it was, the API server does not tell about a token that is refused"
	}
	add("request", fmt.Sprintf("%s asks %s for %s", f.User, f.Cluster, what), first.At)
	if r.issued != nil {
		how := strings.ReplaceAll(strings.TrimPrefix(r.issued.Reason, "urn:ietf:params:oauth:grant-type:"), "_", " ")
		add("sign-in", fmt.Sprintf("the token was issued to %s by %s", r.issued.User, how), r.issued.At)
	} else {
		skip("sign-in", "the token is older than what the house remembers")
	}
	text := "kubectl sends the request with the token"
	if first.AuditID != "" {
		text += "; audit id " + first.AuditID
	}
	add("request with token", text, first.At)
	r.token(add, skip)
	if r.asked == nil {
		skip("authorization", "nobody is asked about a token that is refused")
		skip("refusal", "not by authorization")
		skip("execution", "the request is not carried out")
		add("answer", "401 Unauthorized", first.At)
		return f
	}
	r.decision(azure, kubernetes, add, skip)
	return f
}

// token tells steps 4 to 6: is the token good, and whose is it?
func (r request) token(add func(string, string, time.Time), skip func(string, string)) {
	c := r.checked
	switch {
	case c == nil:
		skip("token check", "the API server remembers the token from before what the house remembers")
	case c.Effect == "refused":
		add("token check", "the house refuses the token: "+c.Reason, c.At)
		skip("valid token", "it is not accepted")
		add("invalid token", "the API server answers 401 Unauthorized", c.At)
		return
	case r.asked.At.Sub(c.At) > time.Second:
		add("token check", "signature, issuer, audience, time and account were checked; the API server remembers that for up to 10 s", c.At)
	default:
		add("token check", fmt.Sprintf("signature, issuer, audience, time and account are in order (checked in %s)", took(*c)), c.At)
	}
	add("valid token", fmt.Sprintf("it is %s, in %s now, resolved in the directory and not taken from the token", r.asked.User, count(c, r.asked)), r.asked.At)
	skip("invalid token", "the token is valid")
}

func count(checked, asked *wire.Event) string {
	n := asked.Groups
	if checked != nil {
		n = checked.Groups
	}
	if n == 1 {
		return "1 group"
	}
	return fmt.Sprintf("%d groups", n)
}

func took(e wire.Event) time.Duration { return time.Duration(e.Took).Round(time.Microsecond) }

// decision tells steps 7 to 10: who said what, and what came of it.
func (r request) decision(azure, kubernetes wire.Explanation, add func(string, string, time.Time), skip func(string, string)) {
	e := r.asked
	said := "Azure RBAC: " + e.Effect
	switch {
	case e.Effect != "deny" && !azure.Azure:
		said = "Azure RBAC is not asked on this cluster; the account is in order"
	case e.Effect == "allow":
		said += ": " + e.Reason
		if azure.Effect == "allow" {
			said += ", " + strings.TrimPrefix(Because(azure), "granted: ")
		}
	case e.Effect == "deny":
		said = "the house denies: " + e.Reason
	case azure.Nearest != nil:
		said += "; nearest miss: " + grant(azure.Nearest.Grant) + via(*azure.Nearest) + ": " + azure.Nearest.Outcome
	default:
		said += ": no role assignment reaches this request"
	}
	said += fmt.Sprintf(" (decided in %s at revision %d)", took(*e), e.Revision)
	allowed := e.Effect == "allow"
	switch e.Effect {
	case "allow":
		said += "\nKubernetes RBAC is not asked any more"
	case "deny":
		said += "\nKubernetes RBAC is not asked any more: a denial ends it"
	default:
		said += "\nKubernetes RBAC: " + kubernetes.Effect + ": " + Because(kubernetes)
		allowed = kubernetes.Effect == "allow"
	}
	add("authorization", said, e.At)
	if allowed {
		skip("refusal", "the request is authorized")
		add("execution", "the API server carries out: "+Request(*e.Kube), e.At)
		add("answer", "success, unless the request itself is wrong", e.At)
		return
	}
	add("refusal", "no authorizer allows the request", e.At)
	skip("execution", "the request is not carried out")
	answer := "403 Forbidden"
	if e.Reason != "" {
		answer += ": " + e.Reason
	}
	add("answer", answer, e.At)
}

// Request says what is asked of an API server.
func Request(k wire.Kube) string {
	if k.Path != "" {
		return k.Verb + " " + k.Path
	}
	what := k.Resource
	if k.Subresource != "" {
		what += "/" + k.Subresource
	}
	if k.APIGroup != "" {
		what += "." + k.APIGroup
	}
	if k.Name != "" {
		what += " " + k.Name
	}
	if k.Namespace != "" {
		what += " in " + k.Namespace
	}
	return k.Verb + " " + what
}

var tenSteps = Story{
	Number: 16, Title: "The way of one request, step by step", Source: bestPractices2019 + " (six steps); " + zeroToHero + ", section 7 (ten steps)",
	People: []string{"jet", "leonard"},
	tell: func(ctx context.Context, t *telling) {
		ten := make([]string, 10)
		for i, title := range []string{"request", "sign-in", "request with token", "token check", "valid token", "invalid token", "authorization", "refusal", "execution", "answer"} {
			ten[i] = fmt.Sprintf("%2d. %s", i+1, title)
		}
		t.kubectl(ctx, "jet", "aks-1", listNamespaces, works("allowed by Azure RBAC"), "get", "ns")
		t.operate(ctx, works("ten steps; Azure RBAC allows, and the assignment is named",
			append(ten, "jet@teknews.cloud asks aks-1 for list namespaces", "Azure RBAC: allow: Access allowed by Azure RBAC Role Assignment ")...),
			"trace", "--user", "jet@teknews.cloud")
		t.kubectl(ctx, "leonard", "aks-1", wire.Kube{Verb: "list", Resource: "pods", Namespace: "default"}, works("allowed by Kubernetes RBAC"), "get", "pods", "-n", "default")
		t.operate(ctx, works("Azure RBAC has no opinion, Kubernetes RBAC allows, and the binding is named",
			append(ten, "Azure RBAC: no opinion", "Kubernetes RBAC: allow", "binding default/defaultnsadmin of admin to leonard@teknews.cloud")...),
			"trace", "--user", "leonard@teknews.cloud")
		t.kubectl(ctx, "leonard", "aks-1", wire.Kube{Verb: "list", Resource: "secrets", Namespace: "kube-system"}, Want{Words: "refused", Fails: true, Has: []string{"(Forbidden)"}},
			"get", "secrets", "-n", "kube-system")
		t.operate(ctx, works("nobody allows", append(ten, "no authorizer allows the request", "403 Forbidden: User does not have access to the resource in Azure")...),
			"trace", "--user", "leonard@teknews.cloud")
	},
}
