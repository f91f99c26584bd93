package wire

import (
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Request returns the question as the engine takes it, without its subject: who
// may be asked about is for whoever answers.
func (q Question) Request(now time.Time) (decide.Request, error) {
	at, err := scope.Parse(q.Scope)
	if err != nil {
		return decide.Request{}, err
	}
	req := decide.Request{Scope: at, Action: q.Action, Data: q.Data, Now: now, Attributes: requestAttributes(q.Attributes)}
	if !q.At.IsZero() {
		req.Now = q.At
	}
	if k := q.Kube; k != nil {
		req.Kube = kuberbac.Attributes{
			Verb: k.Verb, APIGroup: k.APIGroup, Resource: k.Resource, Subresource: k.Subresource,
			Namespace: k.Namespace, Name: k.Name, Path: k.Path,
		}
	}
	if (q.Action == "") == (req.Kube.Verb == "") {
		return decide.Request{}, record.Invalid("a question has an action, or a verb of Kubernetes")
	}
	switch q.Only {
	case "":
	case "azure":
		req.Only = decide.Azure
	case "kubernetes":
		req.Only = decide.Kubernetes
	default:
		return decide.Request{}, record.Invalid("only %.40q, want azure or kubernetes", q.Only)
	}
	return req, nil
}

func requestAttributes(values map[string]string) func(condition.Source, string) (condition.Value, bool) {
	if len(values) == 0 {
		return nil
	}
	byName := make(map[string]condition.Value, len(values))
	for name, text := range values {
		v := condition.String(text)
		if id, err := principal.ParseID(text); err == nil {
			v = condition.GUID(id)
		}
		byName[condition.CanonicalName(name)] = v
	}
	return func(source condition.Source, name string) (condition.Value, bool) {
		if source != condition.Request {
			return condition.Value{}, false
		}
		v, ok := byName[name]
		return v, ok
	}
}
