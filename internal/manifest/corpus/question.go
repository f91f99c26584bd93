package corpus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Now is the instant of questions that name none.
var Now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func parseQuestion(est *estate.Snapshot, text string) (Question, error) {
	q := Question{Request: decide.Request{Now: Now}}
	ask, answer, ok := strings.Cut(text, "=>")
	if !ok {
		return q, errors.New("no => in it")
	}
	if err := q.readAnswer(strings.TrimSpace(answer)); err != nil {
		return q, err
	}
	words := strings.Fields(ask)
	if len(words) < 4 {
		return q, errors.New("want at least WHO VERB RESOURCE @CLUSTER")
	}
	who, err := findWho(est, words[0])
	if err != nil {
		return q, err
	}
	q.Request.Who = who
	words, err = q.readOptions(words)
	if err != nil {
		return q, err
	}
	if words[1] == "action" || words[1] == "data" {
		if len(words) != 5 || words[3] != "at" {
			return q, fmt.Errorf("want WHO %s OPERATION at PLACE", words[1])
		}
		q.Request.Action, q.Request.Data = words[2], words[1] == "data"
		q.Request.Scope, err = findPlace(est, words[4])
		return q, err
	}
	return q, q.readKube(est, words[1:])
}

// readOptions takes the pairs off the end of a question.
func (q *Question) readOptions(words []string) ([]string, error) {
	attributes := make(map[string]string)
	for len(words) > 4 {
		key, value := words[len(words)-2], words[len(words)-1]
		switch key {
		case "when":
			now, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				return nil, err
			}
			q.Request.Now = now
		case "with":
			name, text, ok := strings.Cut(value, "=")
			if !ok {
				return nil, fmt.Errorf("with %s: want NAME=VALUE", value)
			}
			attributes[condition.CanonicalName(name)] = text
		case "only":
			planes := map[string]decide.Plane{"azure": decide.Azure, "kubernetes": decide.Kubernetes}
			plane, ok := planes[value]
			if !ok {
				return nil, fmt.Errorf("only %s: want azure or kubernetes", value)
			}
			q.Request.Only = plane
		default:
			return words, nil
		}
		words = words[:len(words)-2]
		if len(attributes) > 0 {
			q.Request.Attributes = requestAttributes(attributes)
		}
	}
	return words, nil
}

func requestAttributes(values map[string]string) func(condition.Source, string) (condition.Value, bool) {
	return func(source condition.Source, name string) (condition.Value, bool) {
		text, ok := values[name]
		if !ok || source != condition.Request {
			return condition.Value{}, false
		}
		if id, err := principal.ParseID(text); err == nil {
			return condition.GUID(id), true
		}
		return condition.String(text), true
	}
}

func (q *Question) readKube(est *estate.Snapshot, words []string) error {
	where, ok := strings.CutPrefix(words[len(words)-1], "@")
	if !ok || len(words) > 4 {
		return errors.New("want WHO VERB RESOURCE [NAME] @CLUSTER[/NAMESPACE]")
	}
	name, namespace, _ := strings.Cut(where, "/")
	cluster, err := findPlace(est, name)
	if err != nil {
		return err
	}
	q.Request.Scope = cluster
	k := kuberbac.Attributes{Verb: words[0], Namespace: namespace}
	if strings.HasPrefix(words[1], "/") {
		k.Path = words[1]
	} else {
		resource, sub, _ := strings.Cut(words[1], "/")
		k.Subresource = sub
		k.Resource, k.APIGroup, _ = strings.Cut(resource, ".")
	}
	if len(words) == 4 {
		k.Name = words[2]
	}
	q.Request.Kube = k
	return nil
}

func (q *Question) readAnswer(answer string) error {
	word, rest, _ := strings.Cut(answer, " ")
	by, isBy := strings.CutPrefix(rest, "by ")
	because, isBecause := strings.CutPrefix(rest, "because ")
	switch {
	case word == "allow" && isBy:
		q.Want, q.By = decide.Allow, by
	case word == "deny" && isBy:
		q.Want, q.By = decide.Deny, by
	case word == "deny" && isBecause:
		q.Want, q.Because = decide.Deny, because
	case answer == "none":
		q.Want = decide.NoOpinion
	default:
		return fmt.Errorf("answer %q: want allow by GRANT, deny by GRANT, deny because REASON, or none", answer)
	}
	return nil
}

func findWho(est *estate.Snapshot, who string) (decide.Subject, error) {
	if id, err := principal.ParseID(who); err == nil {
		return decide.Subject{ID: id}, nil
	}
	if name, groups, ok := strings.Cut(who, "+"); ok {
		return decide.Subject{User: name, Groups: strings.Split(groups, "+")}, nil
	}
	if sa, ok := kuberbac.ServiceAccountOf(who); ok {
		return decide.Subject{User: who, Groups: append(sa.Groups(), kuberbac.AllAuthenticated)}, nil
	}
	if u, ok := est.UserByName(who); ok {
		return decide.Subject{ID: u.ID}, nil
	}
	found := est.Named(who)
	if len(found) != 1 {
		return decide.Subject{}, fmt.Errorf("%d principals are called %q", len(found), who)
	}
	return decide.Subject{ID: found[0].ID}, nil
}

func findPlace(est *estate.Snapshot, text string) (scope.Scope, error) {
	if strings.HasPrefix(text, "/") {
		return scope.Parse(text)
	}
	name, namespace, inside := strings.Cut(text, "/")
	for c := range est.Clusters() {
		if c.Scope.Name() != name {
			continue
		}
		if inside {
			return c.Scope.Namespace(namespace)
		}
		return c.Scope, nil
	}
	return scope.Scope{}, fmt.Errorf("there is no cluster %q", name)
}
