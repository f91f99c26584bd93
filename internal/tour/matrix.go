package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// A query is one question to an API server about oneself, with the right answer.
type query struct {
	wire.Kube
	yes bool
}

// ask reads a question such as "create roles.rbac.authorization.k8s.io" or
// "create pods/exec" about a namespace; "" is the whole cluster.
func ask(text, namespace string, yes bool) query {
	verb, what, _ := strings.Cut(text, " ")
	what, sub, _ := strings.Cut(what, "/")
	resource, group, _ := strings.Cut(what, ".")
	return query{wire.Kube{Verb: verb, Resource: resource, APIGroup: group, Subresource: sub, Namespace: namespace}, yes}
}

func (q query) String() string {
	text := q.Verb + " " + q.Resource + dotted(q.APIGroup)
	if q.Subresource != "" {
		text += "/" + q.Subresource
	}
	if q.Namespace != "" {
		text += " in " + q.Namespace
	}
	return text
}

// matrix asks the API server many questions at once, as kubectl auth can-i asks
// one: a SelfSubjectAccessReview goes the way of every request, through all
// authorizers of the cluster. Nothing is validated beforehand: kubectl would have
// to list the cluster's custom resources, which few may.
func (t *telling) matrix(ctx context.Context, who, on, words string, qs []query) {
	var doc strings.Builder
	var want []string
	for _, q := range qs {
		spec := map[string]any{"resourceAttributes": map[string]string{
			"verb": q.Verb, "group": q.APIGroup, "resource": q.Resource, "subresource": q.Subresource, "namespace": q.Namespace, "name": q.Name,
		}}
		text, err := json.Marshal(map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec})
		t.must(err)
		fmt.Fprintf(&doc, "---\n%s\n", text)
		want = append(want, fmt.Sprintf("%-5t %s", q.yes, q))
	}
	const columns = `jsonpath={.status.allowed}{"\n"}`
	got, err := t.person(who).KubectlWith(ctx, on, doc.String(), "create", "--validate=false", "-f", "-", "-o", columns)
	t.must(err)
	answers := strings.Fields(got.Text)
	if got.Exit == 0 && len(answers) == len(qs) {
		lines := make([]string, len(qs))
		for i, q := range qs {
			lines[i] = fmt.Sprintf("%-5s %s", answers[i], q)
		}
		got.Text = strings.Join(lines, "\n")
	}
	t.step(Step{Who: who, On: on, Command: "kubectl create --validate=false -f reviews.yaml -o '" + columns + "'"}, got, says(words, strings.Join(want, "\n")))
}
