package api

import (
	"net/http"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// actionAsk is what it takes to ask about others at a place: whoever may read its
// assignments could work the answers out by himself.
const actionAsk = "Microsoft.Authorization/roleAssignments/read"

func canI(w http.ResponseWriter, r *http.Request, s *session) error {
	req, err := s.question(w, r)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, wireDecision(s.est, decide.Decide(s.est, req)))
}

func why(w http.ResponseWriter, r *http.Request, s *session) error {
	req, err := s.question(w, r)
	if err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, wireExplanation(s.est, decide.Explain(s.est, req)))
}

func whoCan(w http.ResponseWriter, r *http.Request, s *session) error {
	var in wire.Question
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	if in.Who != "" || in.Subject != nil {
		return record.Invalid("who-can asks about nobody in particular")
	}
	req, err := s.request(in)
	if err != nil {
		return err
	}
	if err := s.need(actionAsk, req.Scope, nil); err != nil {
		return err
	}
	return serve.JSON(w, http.StatusOK, wireHolders(s.est, decide.WhoCan(s.est, req)))
}

func whatCan(w http.ResponseWriter, r *http.Request, s *session) error {
	var in wire.Question
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	if in.Action != "" || in.Kube != nil || len(in.Attributes) > 0 || in.Only != "" {
		return record.Invalid("what-can asks about no operation in particular")
	}
	at, err := scope.Parse(in.Scope)
	if err != nil {
		return err
	}
	who, err := s.subject(in, at)
	if err != nil {
		return err
	}
	now := s.now
	if !in.At.IsZero() {
		now = in.At
	}
	return serve.JSON(w, http.StatusOK, wirePortfolio(s.est, decide.WhatCan(s.est, who, at, now)))
}

// question reads a question about somebody whom the caller may ask about.
func (s *session) question(w http.ResponseWriter, r *http.Request) (decide.Request, error) {
	var in wire.Question
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return decide.Request{}, err
	}
	req, err := s.request(in)
	if err != nil {
		return decide.Request{}, err
	}
	req.Who, err = s.subject(in, req.Scope)
	return req, err
}

// request returns a question without its subject.
func (s *session) request(in wire.Question) (decide.Request, error) {
	at, err := scope.Parse(in.Scope)
	if err != nil {
		return decide.Request{}, err
	}
	req := decide.Request{Scope: at, Action: in.Action, Data: in.Data, Now: s.now, Attributes: requestAttributes(in.Attributes)}
	if !in.At.IsZero() {
		req.Now = in.At
	}
	if k := in.Kube; k != nil {
		req.Kube = kuberbac.Attributes{
			Verb: k.Verb, APIGroup: k.APIGroup, Resource: k.Resource, Subresource: k.Subresource,
			Namespace: k.Namespace, Name: k.Name, Path: k.Path,
		}
	}
	if (in.Action == "") == (req.Kube.Verb == "") {
		return decide.Request{}, record.Invalid("a question has an action, or a verb of Kubernetes")
	}
	switch in.Only {
	case "":
	case "azure":
		req.Only = decide.Azure
	case "kubernetes":
		req.Only = decide.Kubernetes
	default:
		return decide.Request{}, record.Invalid("only %.40q, want azure or kubernetes", in.Only)
	}
	return req, nil
}

// subject returns whom a question is about. About himself everybody may ask.
func (s *session) subject(in wire.Question, at scope.Scope) (decide.Subject, error) {
	switch {
	case in.Who != "" && in.Subject != nil:
		return decide.Subject{}, record.Invalid("a question is about one principal or subject")
	case in.Who == "" && in.Subject == nil:
		return decide.Subject{ID: s.caller.ID}, nil
	}
	if in.Subject != nil {
		return decide.Subject{User: in.Subject.User, Groups: in.Subject.Groups}, s.need(actionAsk, at, nil)
	}
	id, err := principal.ParseID(in.Who)
	if strings.Contains(in.Who, "@") {
		u, ok := s.est.UserByName(in.Who)
		if ok {
			id, err = u.ID, nil
		}
	}
	if err == nil && id == s.caller.ID {
		return decide.Subject{ID: id}, nil
	}
	// Asked before it is said whether there is such a user.
	if need := s.need(actionAsk, at, nil); need != nil {
		return decide.Subject{}, need
	}
	if err != nil {
		return decide.Subject{}, record.Invalid("who %.80q is neither an object id nor the name of a user", in.Who)
	}
	return decide.Subject{ID: id}, nil
}

func requestAttributes(values map[string]string) attributes {
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
